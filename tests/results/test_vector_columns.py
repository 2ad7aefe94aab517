"""Arrow columns of vectors: the same lists as from Python objects, in bounded chunks."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from trimer.results import vector_columns
from trimer.results.vector_columns import offsets_of, vector_column


def vectors_of(lengths: list[int], per_position: bool) -> list[np.ndarray | None]:
    """One vector of 4 numbers, or one for each position; None for the length 0."""
    random = np.random.default_rng(0)
    return [random.random((n, 4) if per_position else 4) if n else None for n in lengths]


@pytest.mark.parametrize("per_position", [False, True])
@pytest.mark.parametrize("lengths", [[3, 0, 7, 2, 30, 5, 0], [0, 0], []])
@pytest.mark.parametrize("most", [2**26, 40])
def test_lists_are_those_of_python_objects_in_bounded_chunks(monkeypatch, per_position, lengths, most):
    monkeypatch.setattr(vector_columns, "VALUES", most)
    vectors = vectors_of(lengths, per_position)
    column = vector_column(vectors, per_position)
    kind = pa.list_(pa.list_(pa.float32())) if per_position else pa.list_(pa.float32())
    assert column.type == kind
    assert column.to_pylist() == pa.array([None if v is None else v.tolist() for v in vectors], kind).to_pylist()
    if most == 40 and len(lengths) == 7:
        assert [len(chunk) for chunk in column.chunks] == ([3, 1, 1, 2] if per_position else [7])


def test_no_number_becomes_a_python_object():
    """Each would take 32 bytes beside the 4 of the column."""
    import tracemalloc

    vectors = list(np.zeros((2000, 64), np.float32))
    vector_column(vectors[:1], False)
    tracemalloc.start()
    vector_column(vectors, False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 2000 * 64 * 4


def test_offsets_beyond_32_bits_raise_an_error():
    assert offsets_of([2, 0, 3]).to_pylist() == [0, 2, 2, 5]
    with pytest.raises(pa.ArrowInvalid):
        offsets_of([2**30, 2**30])
