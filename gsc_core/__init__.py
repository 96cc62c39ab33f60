"""GSC Audit: what an image classifier does with pictures it was never meant to see."""

__version__ = "0.1.0"
