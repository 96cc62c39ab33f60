"""`gsc gate`."""


def gate() -> None:
    """Say whether a run keeps the limits of a release policy."""
    raise NotImplementedError
