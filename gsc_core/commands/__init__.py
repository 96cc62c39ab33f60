"""Commands of `gsc` from scores to a decision: one file each, registered in `cli`."""
