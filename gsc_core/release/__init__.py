"""The release gate: limits that were agreed beforehand, and whether a run keeps them."""
