"""Jobs: their queue and index, the workers that do them, and the process that keeps these."""
