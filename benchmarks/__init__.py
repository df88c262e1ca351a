"""Benchmarks: asv classes, and one script that prints ratios measured within one run."""
