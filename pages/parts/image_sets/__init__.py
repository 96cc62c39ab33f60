"""Parts of the Image sets page."""
