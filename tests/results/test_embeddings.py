"""Embeddings as arrays, tables, HTML and a plot."""

from __future__ import annotations

import matplotlib
import numpy as np
import pyarrow.parquet as pq
import pytest

from trimer.errors import InputError
from trimer.prediction.embedding import EmbeddingFile
from trimer.results import Embeddings

matplotlib.use("Agg")

VECTORS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
REASONS = [None, "row 2: <b>no</b> sequence", None, None, None]


@pytest.fixture
def pooled() -> Embeddings:
    return Embeddings(["a", "<i>b</i>", "c", "d", "e"], VECTORS, REASONS)


@pytest.fixture
def positions() -> Embeddings:
    return Embeddings(["a", "b", "c"], [VECTORS[:2], None, VECTORS[2:]], [None, "too long", None])


def test_one_vector_for_each_record(pooled):
    assert (len(pooled), pooled.width, pooled.per_position) == (5, 3, False)
    array = pooled.to_numpy()
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array[[0, 2, 3, 4]], VECTORS[[0, 2, 3, 4]])
    assert np.isnan(array[1]).all(), "a record with a reason has no vector"
    frame = pooled.to_pandas()
    assert list(frame.columns) == ["id", "reason", "0", "1", "2"]
    np.testing.assert_array_equal(frame[["0", "1", "2"]].to_numpy(), array)
    table = pooled.to_arrow()
    assert table["embedding"].to_pylist()[1] is None
    assert table["embedding"].to_pylist()[0] == VECTORS[0].tolist()
    assert table["reason"].to_pylist() == REASONS
    assert table["row"].to_pylist() == [1, 2, 3, 4, 5] and table["length"].to_pylist() == [None] * 5
    assert repr(pooled) == "Embeddings: a vector for each of 5 records, 1 without; 3 values in a vector"


def test_one_vector_for_each_position(positions):
    assert positions.per_position
    array = positions.to_numpy()
    assert [None if row is None else row.shape for row in array] == [(2, 3), None, (3, 3)]
    frame = positions.to_pandas()
    assert frame["id"].tolist() == ["a", "a", "b", "c", "c", "c"]
    assert frame["position"].fillna(0).tolist() == [1, 2, 0, 1, 2, 3]
    np.testing.assert_array_equal(frame[["0", "1", "2"]].to_numpy()[[0, 1, 3, 4, 5]], VECTORS)
    assert positions.to_arrow()["embedding"].to_pylist()[0] == VECTORS[:2].tolist()


def test_html_escapes_texts(pooled, positions):
    html = pooled._repr_html_()
    assert "<i>" not in html and "&lt;i&gt;b&lt;/i&gt;" in html
    assert "<b>" not in html and "5 records, vectors of 3 values" in html
    assert "positions" in positions._repr_html_()


@pytest.mark.parametrize("labels", [None, ["x", "y", "$z_", None, "x"], [0.1, 0.2, 0.3, 0.4, 0.5]])
def test_principal_components_are_plotted(pooled, labels):
    axes = pooled.plot(labels)
    axes.figure.canvas.draw()
    points = np.concatenate([collection.get_offsets() for collection in axes.collections])
    assert len(points) == 4
    usable = VECTORS[[0, 2, 3, 4]].astype(float)
    variances = np.linalg.eigvalsh(np.cov(usable.T))[::-1]
    np.testing.assert_allclose(np.sort(points.var(axis=0, ddof=1))[::-1], variances[:2], rtol=1e-5)
    assert f"({variances[0] / variances.sum():.0%} of variance)" in axes.get_xlabel()


def test_what_does_not_fit_is_an_error(pooled, positions):
    with pytest.raises(InputError, match="2 of 3 records have a vector: a plot needs at least 3"):
        positions.plot()
    with pytest.raises(ValueError, match="1 labels for 5 records"):
        pooled.plot(["x"])
    with pytest.raises(ValueError, match="1 ids, 5 vectors and 1 reasons"):
        Embeddings(["a"], VECTORS)
    with pytest.raises(ValueError, match="1 ids and 2 lengths"):
        Embeddings(["a"], VECTORS[:1], lengths=[3, 4])


@pytest.mark.parametrize("pooling", ["mean", "residue"])
def test_the_columns_are_those_of_the_file_of_trimer_embed(tmp_path, pooling):
    vectors = [VECTORS[:2], None, VECTORS[2:]] if pooling == "residue" else [VECTORS[0], None, VECTORS[1]]
    ids, lengths, reasons = ["a", "b", "c"], [2, 9, len(VECTORS) - 2], [None, "too long", None]
    with EmbeddingFile(tmp_path / "out.parquet", pooling) as file:
        file.add(ids, lengths, vectors, reasons)
    assert Embeddings(ids, vectors, reasons, lengths).to_arrow() == pq.read_table(tmp_path / "out.parquet")


def test_no_record_has_a_vector():
    nothing = Embeddings(["a"], [None], ["no sequence"])
    assert nothing.to_numpy().shape == (1, 0)
    assert nothing.to_pandas()["reason"].tolist() == ["no sequence"]
    assert nothing.to_arrow()["embedding"].to_pylist() == [None]
