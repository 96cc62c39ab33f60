"""What is noticed about the image sets beside each other, before anyone reads a figure."""
