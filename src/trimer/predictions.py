"""The table that `trimer predict` writes: a row for every record of the input, with its id, an answer or a reason.

Rows reach the file in parts as they are computed, so that nothing is lost when a long prediction is stopped.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from trimer.data.spectra import SpectrumTable
from trimer.errors import ConfigError, InputError

SUFFIXES = (".csv", ".parquet", ".json")
MOLECULE_COLUMNS = (
    "row",
    "id",
    "precursor_mz",
    "adduct",
    "rank",
    "smiles",
    "count",
    "log_likelihood",
    "score",
    "in_training",
    "reason",
)


HEADS = ("row", "id", "sequence", "in_training", "reason")  # columns of every table of labels


class PredictionFile:
    """Writes one or several rows for every record of the input, in its order.

    output: a .csv, .parquet or .json file. columns: their names; `row` and `reason` are among them. what: the records,
    in words. While it is being written the file is called `<output>.partial`, in CSV.
    """

    def __init__(self, output: str | Path, columns: Sequence[str], what: str):
        self.path = Path(output).expanduser()
        self.columns, self.what = list(columns), what
        if self.path.is_dir():
            raise InputError(
                f"output={output} is a folder; name a file in it, as output={self.path / 'predictions.csv'}"
            )
        if self.path.suffix.lower() not in SUFFIXES:
            raise ConfigError(f"output={output}: the suffix must be one of {', '.join(SUFFIXES)}")
        if not self.path.parent.is_dir():
            raise InputError(f"output={output}: the folder {self.path.parent} does not exist; make it first")
        self.answered = self.unanswered = 0

    @contextmanager
    def writing(self, heads: Sequence[dict], reasons: Sequence[str | None]) -> Iterator[PredictionFile]:
        """Open the partial file; on success it becomes the output.

        heads: what is known of each record beside its row. reasons: why a record has no answer, where it is known.
        """
        self._heads = heads
        self._partial = self.path.with_name(self.path.name + ".partial")
        self._rows: dict[int, list[dict]] = {}
        with self._partial.open("w", newline="", encoding="utf-8") as self._stream:
            self._csv = csv.DictWriter(self._stream, self.columns)
            self._csv.writeheader()
            try:
                yield self
            except BaseException:
                print(f"trimer: what was computed so far is kept in {self._partial}", file=sys.stderr)
                raise
            for row in range(len(heads)):
                if row not in self._rows:
                    self.refuse(row, reasons[row])
        self._save([record for row in range(len(heads)) for record in self._rows[row]])
        self._partial.unlink()

    def answer(self, row: int, answers: Sequence[dict]) -> None:
        """The answers to a record, best first."""
        self.answered += 1
        self._put(row, [{**answer, "reason": None} for answer in answers])

    def refuse(self, row: int, reason: str | None) -> None:
        """Why a record has no answer."""
        self.unanswered += 1
        self._put(row, [{"reason": reason}])

    def flush(self) -> None:
        """What was given so far is on disk when this returns."""
        self._stream.flush()

    def summary(self) -> str:
        text = f"{self.path}: {self.answered:,} {self.what} answered"
        return text + (f", {self.unanswered:,} without an answer (column `reason`)" if self.unanswered else "")

    def _put(self, row: int, answers: Sequence[dict]) -> None:
        empty = {**dict.fromkeys(self.columns), "row": row + 1, **self._heads[row]}
        self._rows[row] = [{**empty, **answer} for answer in answers]
        self._csv.writerows(self._rows[row])

    def _save(self, records: list[dict]) -> None:
        """Write the whole table under a temporary name, then give it its own."""
        temporary = self.path.with_name(self.path.name + ".writing")
        suffix = self.path.suffix.lower()
        if suffix == ".csv":
            with temporary.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, self.columns)
                writer.writeheader()
                writer.writerows(records)
        elif suffix == ".json":
            temporary.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")
        else:
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.table({name: [r[name] for r in records] for name in self.columns}), temporary)
        temporary.replace(self.path)


class MoleculePredictions(PredictionFile):
    """The molecules written for each spectrum. ranked: one row per candidate, at most `candidates`; else the best."""

    def __init__(self, output: str | Path, ranked: bool = False, candidates: int = 10):
        super().__init__(output, MOLECULE_COLUMNS, "spectra")
        if candidates < 1:
            raise ConfigError(f"candidates={candidates} must be at least 1")
        self.kept = candidates if ranked else 1

    def add(self, written: Mapping[int, object]) -> None:
        """Answers by row of the input; they are on disk when this returns."""
        for row, result in written.items():
            kept = result.candidates[: self.kept]
            if kept:
                self.answer(row, [molecule_answer(rank, candidate) for rank, candidate in enumerate(kept, 1)])
            else:
                self.refuse(row, f"none of the {result.written} texts written is a molecule")
        self.flush()


def molecule_answer(rank: int, candidate) -> dict:
    """A candidate as a row."""
    return {
        "rank": rank,
        "smiles": candidate.smiles,
        "count": candidate.count,
        "log_likelihood": candidate.log_likelihood,
        "score": candidate.score,
    }


def spectrum_heads(table: SpectrumTable) -> list[dict]:
    """What a row says of its spectrum."""
    return [
        {"id": name, "precursor_mz": float(mz) if np.isfinite(mz) else None, "adduct": adduct}
        for name, mz, adduct in zip(table["id"], table["precursor_mz"], table["adduct"], strict=True)
    ]


class LabelPredictions(PredictionFile):
    """The labels of each sequence. target: as that of the data; classes: their names, or those of the labels."""

    def __init__(self, output: str | Path, target: str, classes: Sequence[str]):
        self.target, self.classes = target, list(classes)
        self.names = {
            "single": ["label", "probability", *(f"probability of {name}" for name in classes)],
            "multi": [f"probability of {name}" for name in classes],
            "regression": [f"predicted {name}" if name in HEADS else name for name in classes],
            "residue": ["labels"],
        }[target]
        super().__init__(output, [*HEADS[:3], *self.names, *HEADS[3:]], "sequences")

    def add(self, answers: Mapping[int, np.ndarray]) -> None:
        """(K,) probabilities or numbers, or (R, C) probabilities of residues, by row; on disk when this returns."""
        for row, said in answers.items():
            values: list = [float(value) for value in said.ravel()]
            if self.target == "single":
                best = int(said.argmax())
                values = [self.classes[best], values[best], *values]
            elif self.target == "residue":
                values = ["".join(self.classes[best] for best in said.argmax(1))]
            self.answer(row, [dict(zip(self.names, values, strict=True))])
        self.flush()
