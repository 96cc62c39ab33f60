"""For whoever runs the app: is it well, what does it do, a copy of all that it has."""
