"""Chunks of vectors are computed once, also after an interruption, and files hold vectors by sequence or by residue."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq

from trimer.prediction.partial import Partial
from trimer.serving.vectors import kept, write_vectors


def test_kept_chunks_are_not_computed_again(tmp_path):
    computed: list[list] = []

    def compute(inputs: list):
        computed.append(inputs)
        return lambda: [np.full(3, value, np.float32) if value else "too long" for value in inputs]

    try:
        with Partial(tmp_path / "rows", {"version": "1"}) as partial:
            start = kept(compute, partial)
            first, second = start([1, 0]), start([2])
            first()
            raise RuntimeError  # the second chunk was started and not finished
    except RuntimeError:
        assert second
    with Partial(tmp_path / "rows", {"version": "1"}) as partial:
        start = kept(compute, partial)
        (vector, reason), (other,) = start([1, 0])(), start([2])()
    assert computed == [[1, 0], [2], [2]]
    assert (vector == 1).all() and vector.dtype == np.float32 and reason == "too long"
    assert (other == 2).all()


def test_vectors_by_residue_and_rows_without_vectors(tmp_path):
    rows = [
        {"row": 1, "id": "a", "length": 0, "embedding": None, "reason": "no sequence"},
        {"row": 2, "id": "b", "length": 2, "embedding": [[0.5, 1.0], [2.0, 3.0]], "reason": None},
    ]
    write_vectors("parquet", iter(rows), tmp_path / "rows.parquet", by_residue=True)
    assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == rows
    write_vectors("csv", iter(rows), tmp_path / "rows.csv", by_residue=True)
    assert (tmp_path / "rows.csv").read_text().splitlines()[2] == '2,b,2,"[[0.5, 1.0], [2.0, 3.0]]",'
