"""`gsc export`."""


def export() -> None:
    """Write a detector with its network and threshold as one file that needs torch alone."""
    raise NotImplementedError
