"""An audit: from its specification to a finished run, and a finished run opened again."""
