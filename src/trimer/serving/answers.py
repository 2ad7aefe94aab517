"""Answers as JSON, NDJSON, CSV, Parquet, SDF, and for fragments as a spectral library."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer import __version__
from trimer.files import write_csv
from trimer.prediction.embedder import Embedder
from trimer.results.predictions import Predictions
from trimer.serving.limits import Refusal
from trimer.serving.plain_json import json_bytes, json_text
from trimer.serving.rows import Answer
from trimer.serving.vectors import write_vectors

if TYPE_CHECKING:
    from trimer.serving.models import ServedModel

# Format -> media type; others that clients send for it are in ALIASES.
MEDIA = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "sdf": "chemical/x-mdl-sdfile",
    "tsv": "text/tab-separated-values",
    "msp": "chemical/x-msp",
}
ALIASES = {
    "*/*": "json",
    "application/*": "json",
    "text/*": "csv",
    "application/jsonlines": "ndjson",
    "application/jsonl": "ndjson",
    "application/ndjson": "ndjson",
    "application/x-parquet": "parquet",
    "application/parquet": "parquet",
    "chemical/x-sdf": "sdf",
} | {media: name for name, media in MEDIA.items()}
TABLES = ("json", "ndjson", "csv", "parquet")  # of every answer


def formats(answer: Answer) -> tuple[str, ...]:
    """The formats of an answer. Spectral libraries hold no records without a prediction."""
    if isinstance(answer.computer, Embedder):
        return TABLES
    return (*TABLES, *answer.computer.libraries, *(["sdf"] if answer.computer.structure else []))


def chosen_format(accept: str | None, query: str | None) -> str:
    """The format of a response. query: the parameter `format`, which comes first; accept: the header."""
    if query is not None:
        if query not in MEDIA:
            raise Refusal(406, "unknown_format", f"format must be one of {', '.join(MEDIA)}")
        return query
    choices = []
    for number, part in enumerate((accept or "*/*").split(",")):
        media, _, options = part.partition(";")
        quality = re.search(r"q=(\d+(?:\.\d*)?)", options)
        choices.append((-float(quality[1]) if quality else -1.0, number, media))
    for negative, _, media in sorted(choices):
        if negative and (name := ALIASES.get(media.strip().lower())):  # a quality of 0 excludes the type
            return name
    raise Refusal(406, "unknown_format", f"Accept must name one of {', '.join(MEDIA.values())}")


def check_format(name: str, answer: Answer) -> None:
    """Refusal if an answer has no such format."""
    if name not in formats(answer):
        raise Refusal(406, "unknown_format", f"this model returns {', '.join(formats(answer))}, not {name}")


def origin(model: ServedModel, seed: int | None, records: int, without: int | None = None) -> dict[str, Any]:
    """What an answer was computed with, and how many records it has. without: a prediction; None if it is unknown."""
    facts = {
        "model": model.name,
        "model_version": model.version,
        "trimer_version": __version__,
        "seed": seed,
        "records": records,
    }
    return facts if without is None else facts | {"without": without}


def origin_of(model: ServedModel, answer: Answer) -> dict[str, Any]:
    """The same of a complete answer."""
    return origin(model, answer.seed, len(answer.predictions), answer.without)


def headers(origin: Mapping[str, Any]) -> dict[str, str]:
    """The same as headers, for formats that have no place for it."""
    facts = {name.removeprefix("trimer_"): value for name, value in origin.items()}
    return {
        f"Trimer-{name.replace('_', '-').title()}": "" if value is None else str(value) for name, value in facts.items()
    }


def document(model: ServedModel, answer: Answer) -> dict[str, Any]:
    """The answer as a JSON document."""
    return {**origin_of(model, answer), "columns": answer.columns, "warnings": answer.warnings, "rows": answer.rows}


def write_answer(name: str, model: ServedModel, answer: Answer, folder: Path) -> Path:
    """Write an answer to a file in a folder; NDJSON is streamed instead."""
    check_format(name, answer)
    path = folder / f"answer.{name}"
    if name == "json":
        path.write_bytes(json_bytes(document(model, answer)))
    elif isinstance(answer.computer, Embedder):
        write_vectors(name, answer.rows, path, answer.computer.per_position)
    elif name == "parquet":
        import pyarrow.parquet as pq

        pq.write_table(Predictions(answer.rows, answer.columns).to_arrow(), path)
    elif name == "sdf":
        with path.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(sdf_records(answer.columns, answer.rows, answer.computer.structure or ""))
    elif name in answer.computer.libraries:
        with answer.computer.writer(path) as writer:
            for prediction in answer.predictions:
                writer.add(prediction)
    else:
        write_csv(path, answer.columns, ([cell(row[name]) for name in answer.columns] for row in answer.rows))
    return path


def cell(value: Any) -> Any:
    """A cell of a CSV file; lists are JSON."""
    return json_text(value) if isinstance(value, list) else value


def lines(rows: Iterable[dict]) -> Iterator[str]:
    """A line of JSON for each row."""
    for row in rows:
        yield json_text(row) + "\n"


def sdf_records(columns: Sequence[str], rows: Iterable[dict], structure: str) -> Iterator[str]:
    """A molecule for each row, with the columns as data fields; a row with a reason is a molecule without atoms.

    structure: the column with SMILES.
    """
    from trimer.prediction.structure_file import field, mol_block

    for row in rows:
        smiles = "" if row["reason"] is not None else str(row[structure])
        fields = "".join(field(name, row[name]) for name in columns if row[name] not in (None, ""))
        yield f"{mol_block(smiles, str(row['id']))}{fields}$$$$\n"
