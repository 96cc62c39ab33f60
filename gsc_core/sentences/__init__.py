"""What is said of a run and of a threshold, in words: the same on every page, report and screen."""
