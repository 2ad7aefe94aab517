"""NDJSON: rows begin before the computation ends, and every record has one, whatever happens after the first."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import pytest

from trimer.prediction.predictor import CHUNK
from trimer.serving.rows import piece_size
from trimer.serving.streams import UNEXPECTED

LETTERS = "ADEFGHIKLM"
RECORDS = ["not a peptide" if n % 97 == 5 else f"PEPT{LETTERS[n % 10]}{LETTERS[n // 10 % 10]}K" for n in range(300)]


@pytest.fixture
def begun(service):
    """The stream of a request for `peptide-rt`, of which the first piece is computed."""
    return lambda operation="predict", **values: service.stream(
        service.models["peptide-rt"], operation, RECORDS, values
    )


def same(rows: list[dict], others: list[dict]) -> bool:
    """Whether rows are equal; numbers up to the last digits, in which the kernels of a CPU differ."""
    assert len(rows) == len(others)
    return all(one == pytest.approx(other, abs=1e-4) for one, other in zip(rows, others, strict=True))


def remaining(stream) -> list[dict]:
    """The rows of all pieces after the first."""
    return [row for piece in iter(stream.piece, []) for prediction in piece for row in prediction]


def test_rows_are_computed_as_they_are_taken_and_are_those_of_json(client, begun):
    stream = begun()
    first = [row for prediction in stream.first for row in prediction]
    assert len(first) == stream.rows.size == CHUNK and not stream.complete
    answer = client.post("/v1/models/peptide-rt/predict", json={"records": RECORDS}).json()
    assert same([*first, *remaining(stream)], answer["rows"])
    assert stream.complete
    lines = client.post("/v1/models/peptide-rt/predict?format=ndjson", json={"records": RECORDS})
    assert same([json.loads(line) for line in lines.text.splitlines()], answer["rows"])
    assert lines.headers["trimer-records"] == "300"
    assert lines.headers["trimer-model-version"] == answer["model_version"]
    assert "content-length" not in lines.headers and "trimer-without" not in lines.headers
    short = client.post("/v1/models/peptide-rt/predict?format=ndjson", json={"records": RECORDS[:6]})
    assert same([json.loads(line) for line in short.text.splitlines()], answer["rows"][:6])
    assert short.headers["trimer-without"] == "1"


def test_an_error_after_the_first_rows_is_the_reason_of_all_further_records(begun, caplog):
    late, broken = begun(), begun()
    late.ticket.deadline = 0.0
    rows = remaining(late)
    assert [row["row"] for row in rows] == list(range(CHUNK + 1, 301))
    left = [row for row in rows if row["row"] > CHUNK + 4]  # 128 records with a prediction were computed together
    assert all("limits.seconds" in row["reason"] for row in left if row["sequence"] != "not a peptide")
    own = [row["reason"] for row in rows if row["sequence"] == "not a peptide"]
    assert own and not any("limits.seconds" in reason for reason in own)

    def one_row_and_an_error():
        yield [{"row": CHUNK + 1, "reason": None}]
        raise ValueError("broken")

    broken.rows.computed = one_row_and_an_error()
    with caplog.at_level(logging.ERROR, "trimer.serving.streams"):
        rows = remaining(broken)
    assert [row["row"] for row in rows] == list(range(CHUNK + 1, 301))
    assert [row["reason"] for row in rows[:2]] == [None, UNEXPECTED]
    assert "after 129 records" in caplog.text


def test_embeddings_above_the_limit_of_numbers_have_it_as_their_reason(service, begun, monkeypatch):
    width = len(begun("embed").first[0][0]["embedding"])
    monkeypatch.setattr(service, "limits", replace(service.limits, numbers=200 * width))
    stream = begun("embed")
    rows = [row for prediction in stream.first for row in prediction] + remaining(stream)
    assert [row["row"] for row in rows] == list(range(1, 301))
    good = [row for row in rows if row["reason"] is None]
    assert len(good) == 200 and all(len(row["embedding"]) == width for row in good)
    assert "limits.numbers" in rows[-1]["reason"] and rows[-1]["embedding"] is None
    assert "limits.numbers" not in rows[296]["reason"]  # not a peptide


def test_pieces_of_costly_records_are_smaller(service):
    predictor = service.models["peptide-rt"].computer("predict", {})
    chunks = [predictor.records(RECORDS)]
    cost = predictor.cost_of(chunks[0].inputs[0])
    assert piece_size(predictor, chunks, 10 * cost) == 20
    assert piece_size(predictor, chunks, 1) == 1
    assert piece_size(predictor, chunks, 10**6) == CHUNK
