"""Studies: all operations on trained models, one module per kind of model."""
