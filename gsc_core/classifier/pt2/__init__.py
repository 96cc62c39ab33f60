"""The gate for `.pt2` files: what of an exported program is safe to be loaded."""
