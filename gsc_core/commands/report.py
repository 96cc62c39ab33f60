"""`gsc report`."""


def report() -> None:
    """Write a run's report: HTML, PDF, JSON, or all scores as CSV."""
    raise NotImplementedError
