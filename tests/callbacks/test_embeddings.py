"""A figure that cannot be drawn is rejected before the training."""

from types import SimpleNamespace

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


@pytest.mark.parametrize(
    ("chosen", "target", "expected"),
    [
        (None, "multi", ["sweet", "bitter", "green", "woody"]),
        (["fatty", "sweet"], "multi", ["fatty", "sweet"]),
        (None, "single", []),
        (None, "regression", []),
    ],
)
def test_the_first_labels_colour_the_figure_unless_others_are_chosen(chosen, target, expected, tmp_path):
    data = SimpleNamespace(target=target, classes=["sweet", "bitter", "green", "woody", "fatty"])
    assert EmbeddingsBefore(tmp_path, labels=chosen).labels_of(data) == expected


def test_labels_that_the_data_do_not_have_are_rejected(tmp_path):
    data = SimpleNamespace(target="multi", classes=["sweet", "bitter"])
    with pytest.raises(ConfigError, match=r"'biter' is not a label of these data; did you mean bitter\?"):
        EmbeddingsBefore(tmp_path, labels=["biter"]).labels_of(data)
    data.target = "single"
    with pytest.raises(ConfigError, match=r"labels=\['sweet'\] chooses among yes-or-no labels.*target=single: set it"):
        EmbeddingsBefore(tmp_path, labels=["sweet"]).labels_of(data)
