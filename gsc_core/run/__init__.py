"""A finished run, read: its folder, its document, its scores."""
