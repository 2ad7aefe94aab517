"""Weights to and from the public formats: same numbers, other names."""
