"""How often intervals hold, by simulation: `python -m benchmarks.coverage > docs/intervals.md`."""
