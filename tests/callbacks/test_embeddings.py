"""A figure that cannot be drawn is rejected before the training."""

import pytest

from trimer.callbacks import embeddings
from trimer.callbacks.embeddings import EmbeddingsBefore
from trimer.errors import ConfigError


def test_umap_without_its_package_is_rejected(monkeypatch, tmp_path):
    EmbeddingsBefore(tmp_path, projection="pca")
    monkeypatch.setattr(embeddings, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"projection=umap needs a package: pip install 'trimer\[umap\]'"):
        EmbeddingsBefore(tmp_path, projection="umap")
    with pytest.raises(ValueError, match="projection=tsne must be one of pca, umap"):
        EmbeddingsBefore(tmp_path, projection="tsne")
