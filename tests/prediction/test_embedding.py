"""The file of embeddings: complete or absent, beside the partial file of a prediction."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from trimer.prediction.embedding import EmbeddingFile


def test_the_partial_file_of_a_prediction_of_the_same_name_is_kept(tmp_path):
    partial = tmp_path / "out.parquet.partial"  # of `trimer predict`, which writes Parquet too
    partial.write_text("finished chunks")
    with EmbeddingFile(tmp_path / "out.parquet", "mean") as file:
        file.add(["a"], [3], [np.ones(4, np.float32)], [None])
    assert partial.read_text() == "finished chunks"
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "out.parquet.partial"]


@pytest.mark.parametrize("when", ["in the block", "while it is closed"])
def test_an_error_keeps_the_earlier_file(tmp_path, monkeypatch, when):
    path = tmp_path / "out.parquet"
    path.write_text("earlier")

    def full(self):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"), EmbeddingFile(path, "mean") as file:
        file.add(["a"], [3], [np.ones(4, np.float32)], [None])
        if when == "in the block":
            full(file)
        monkeypatch.setattr(pq.ParquetWriter, "close", full)
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "earlier"
