"""`gsc watch`."""


def watch() -> None:
    """Say whether more new pictures are outside than calibration promised."""
    raise NotImplementedError
