"""Result types of predictions and embeddings: tables to convert, plot and show in a notebook."""

from trimer.results.embeddings import Embeddings
from trimer.results.predictions import Predictions

__all__ = ["Embeddings", "Predictions"]
