"""Conversion of weights to and from public formats: the names change, the values stay the same."""
