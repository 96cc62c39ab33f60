"""A detector to deploy: one file that needs torch alone, and a watch over what it sees."""
