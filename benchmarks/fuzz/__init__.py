"""Fuzzing of what reads files from elsewhere: six targets, each with its seeds."""
