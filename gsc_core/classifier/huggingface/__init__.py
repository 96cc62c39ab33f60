"""Folders as Hugging Face has them: configuration, weights, networks; nothing in them is run."""
