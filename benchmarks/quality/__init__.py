"""Our detectors and pytorch-ood's on the same images and models; `python -m benchmarks.quality`."""
