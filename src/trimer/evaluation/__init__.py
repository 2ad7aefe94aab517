"""Evaluation of a model on a split, compared with baselines on the same rows by the same metrics."""
