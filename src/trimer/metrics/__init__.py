"""Metrics: classes and numbers (label_metrics), generated molecules, fragments, perplexity, and their intervals."""
