"""Weights from a file to the network that was meant: formats, names, architectures, questions."""
