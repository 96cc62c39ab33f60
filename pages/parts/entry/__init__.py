"""What comes before any page: getting ready, the login, a shared report."""
