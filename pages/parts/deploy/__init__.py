"""Parts of the Deploy page."""
