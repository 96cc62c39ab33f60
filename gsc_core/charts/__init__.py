"""Charts: score histograms and curves, thresholds, ablations, one image's channels."""
