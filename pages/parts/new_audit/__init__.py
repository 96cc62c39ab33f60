"""Parts of the New audit page."""
