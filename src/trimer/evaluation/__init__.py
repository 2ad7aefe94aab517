"""A model on a split, beside what it has to beat: the same rows, the same metrics, one table."""
