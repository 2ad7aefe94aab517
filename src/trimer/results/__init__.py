"""What predictions and embeddings are returned as: tables that can be converted, drawn and shown in a notebook."""

from trimer.results.embeddings import Embeddings
from trimer.results.predictions import Predictions

__all__ = ["Embeddings", "Predictions"]
