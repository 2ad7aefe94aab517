"""The table that `trimer predict` writes: a row for every record of the input, with its id, an answer or a reason.

The columns of molecules:
- row, id, precursor_mz, adduct: of the spectrum, as in the input;
- rank: the position of the molecule among all candidates of the spectrum, by `generator.rank`; candidates: how many
  different molecules were generated; agreeing: how many of them agree with the precursor (empty: cannot be checked);
- smiles, formula, neutral_mass (Da), ppm_error, count, log_likelihood, score: see `Candidate` in
  `trimer.generation.candidates`;
- agrees: whether ppm_error lies within `tolerance_ppm`; empty where adduct or precursor m/z are not known;
- reason: why a spectrum has no answer.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np

from trimer.chemistry.molecule_definition import in_words
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError, InputError
from trimer.files import written
from trimer.metrics.decisions import decide_classes, decide_labels

SUFFIXES = (".csv", ".parquet", ".json")
MOLECULE_COLUMNS = (
    "row",
    "id",
    "precursor_mz",
    "adduct",
    "rank",
    "candidates",
    "agreeing",
    "smiles",
    "formula",
    "neutral_mass",
    "ppm_error",
    "agrees",
    "count",
    "log_likelihood",
    "score",
    "in_training",
    "reason",
)


DIGITS = 5  # decimals of the probabilities of residues
HEADS = ("row", "id", "sequence", "in_training", "reason")  # columns of every table of labels
Answers = tuple[int, list[dict], str | None]  # a row of the input, its answers best first, or why there is none


def output_path(output: str | Path, suffixes: Collection[str], wanted: str) -> Path:
    """The path of a file that can be written there.

    Raises InputError for a folder or where the folder of the file is missing, ConfigError, which says what is wanted,
    where the suffix is none of `suffixes`.
    """
    path = Path(output).expanduser()
    if path.is_dir():
        raise InputError(f"output={output} is a folder; name a file in it, as output={path / 'predictions.csv'}")
    if path.suffix.lower() not in suffixes:
        raise ConfigError(f"output={output}: {wanted}")
    if not path.parent.is_dir():
        raise InputError(f"output={output}: the folder {path.parent} does not exist; make it first")
    return path


class PredictionFile:
    """Writes one or several rows for every record of the input, in its order.

    output: a .csv, .parquet or .json file. columns: their names; `row` and `reason` are among them. what: the records,
    in words.
    """

    def __init__(self, output: str | Path, columns: Sequence[str], what: str):
        self.path = output_path(output, SUFFIXES, f"the suffix must be one of {', '.join(SUFFIXES)}")
        self.columns, self.what = list(columns), what
        self.answered = self.unanswered = 0

    @contextmanager
    def writing(self, heads: Sequence[dict], reasons: Sequence[str | None]) -> Iterator[PredictionFile]:
        """Take answers inside; at the end, without an error, write the file.

        heads: what is known of each record beside its row. reasons: why a record has no answer, where it is known.
        """
        self._heads = heads
        self._rows: dict[int, list[dict]] = {}
        yield self
        for row in range(len(heads)):
            if row not in self._rows:
                self._put(row, [], reasons[row])
        self._save([record for row in range(len(heads)) for record in self._rows[row]])

    def add(self, answers: Sequence[Answers]) -> None:
        """The answers to some records, each with its row of the input."""
        for answer in answers:
            self._put(*answer)

    def summary(self) -> str:
        text = f"{self.path}: {self.answered:,} {self.what} answered"
        return text + (f", {self.unanswered:,} without an answer (column `reason`)" if self.unanswered else "")

    def _put(self, row: int, answers: Sequence[dict], reason: str | None) -> None:
        empty = {**dict.fromkeys(self.columns), "row": row + 1, **self._heads[row], "reason": reason}
        self._rows[row] = [{**empty, **answer} for answer in answers or [{}]]
        self.answered += bool(answers)
        self.unanswered += not answers

    def _save(self, records: list[dict]) -> None:
        """Write the whole table under a temporary name, then give it its own."""
        suffix = self.path.suffix.lower()
        with written(self.path, self.path.name + ".writing") as temporary:
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


class MoleculePredictions(PredictionFile):
    """The molecules generated for each spectrum.

    ranked: one row per candidate, at most `candidates`; else the best. tolerance_ppm: within which a molecule agrees
    with the precursor. only_agreeing: leave the others out, also those whose agreement cannot be checked; `rank` stays
    that among all candidates.
    """

    def __init__(
        self,
        output: str | Path,
        ranked: bool = False,
        candidates: int = 10,
        tolerance_ppm: float = 10.0,
        only_agreeing: bool = False,
    ):
        super().__init__(output, MOLECULE_COLUMNS, "spectra")
        if candidates < 1:
            raise ConfigError(f"candidates={candidates} must be at least 1")
        if not 0 < tolerance_ppm < float("inf"):
            raise ConfigError(f"tolerance_ppm={tolerance_ppm} must be a number above 0")
        self.kept = candidates if ranked else 1
        self.tolerance_ppm, self.only_agreeing = tolerance_ppm, only_agreeing

    def answers(self, row: int, result) -> Answers:
        """What the generator has written for a spectrum, as rows."""
        from trimer.generation.candidates import agrees

        if not result.candidates:
            return row, [], f"none of the {result.written} texts generated is a molecule ({in_words(result.flaws)})"
        within = [agrees(candidate.ppm_error, self.tolerance_ppm) for candidate in result.candidates]
        agreeing = None if None in within else sum(within)
        counts = {"candidates": len(within), "agreeing": agreeing}
        records = [
            {"rank": rank, **counts, **asdict(candidate), "agrees": fits}
            for rank, (candidate, fits) in enumerate(zip(result.candidates, within, strict=True), 1)
        ]
        if self.only_agreeing and not agreeing:
            return row, [], self._no_agreement(result.candidates)
        if self.only_agreeing:
            records = [record for record in records if record["agrees"]]
        return row, records[: self.kept], None

    def summary(self) -> str:
        """Counts, and how many answers agree with the measured precursor."""
        answers = [records[0] for _, records in sorted(self._rows.items()) if records[0]["rank"] is not None]
        checked = [record for record in answers if record["agrees"] is not None]
        first = sum(record["agrees"] and record["rank"] == 1 for record in checked)
        any_of_them = sum(record["agreeing"] > 0 for record in checked)
        text = super().summary()
        if checked:
            text += (
                f"\nwithin {self.tolerance_ppm:g} ppm of the precursor m/z: the first candidate for {first:,} of "
                f"{len(checked):,} answered spectra ({first / len(checked):.1%}), any candidate for {any_of_them:,}"
            )
        if unchecked := len(answers) - len(checked):
            text += f"\n{unchecked:,} answers cannot be checked against the precursor: its m/z or the adduct is unknown"
        return text

    def _no_agreement(self, candidates: Sequence) -> str:
        errors = [candidate.ppm_error for candidate in candidates if candidate.ppm_error is not None]
        if not errors:
            return "only_agreeing=true, and without precursor m/z and a known adduct the agreement cannot be checked"
        nearest = min(errors, key=abs)
        return (
            f"only_agreeing=true, and none of the {len(candidates):,} molecules generated is within "
            f"{self.tolerance_ppm:g} ppm of the precursor m/z; the nearest is {nearest:+,.1f} ppm away"
        )


def spectrum_heads(table: SpectrumTable) -> list[dict]:
    """What a row says of its spectrum."""
    return [
        {"id": name, "precursor_mz": float(mz) if np.isfinite(mz) else None, "adduct": adduct}
        for name, mz, adduct in zip(table["id"], table["precursor_mz"], table["adduct"], strict=True)
    ]


class LabelPredictions(PredictionFile):
    """The labels of each sequence.

    target: as that of the data. classes: their names, or those of the labels. thresholds: (K,) by which answers are
    taken from probabilities (`trimer.metrics.decisions`). beside: columns of the heads that stand behind the labels.
    """

    def __init__(
        self,
        output: str | Path,
        target: str,
        classes: Sequence[str],
        thresholds: np.ndarray | None = None,
        beside: Sequence[str] = (),
    ):
        self.target, self.classes, self.thresholds = target, list(classes), thresholds
        self.names = {
            "single": ["label", "probability", *(f"probability of {name}" for name in classes)],
            "multi": [f"{what} {name}" for name in classes for what in ("predicted", "probability of")],
            "regression": [f"predicted {name}" if name in HEADS else name for name in classes],
            "residue": ["labels", "probability", *(f"probability of {name}" for name in classes)],
        }[target]
        super().__init__(output, [*HEADS[:3], *self.names, *beside, *HEADS[3:]], "sequences")

    def answers(self, row: int, predicted: np.ndarray) -> Answers:
        """(K,) probabilities or numbers of a sequence, or (R, C) probabilities of its residues, as a row."""
        values: list = [float(value) for value in predicted.ravel()]
        if self.target == "single":
            best = int(decide_classes(predicted.reshape(1, -1), self.thresholds)[0])
            values = [self.classes[best], values[best], *values]
        elif self.target == "multi":
            words = ["yes" if yes else "no" for yes in decide_labels(predicted.reshape(1, -1), self.thresholds)[0]]
            values = [value for pair in zip(words, values, strict=True) for value in pair]
        elif self.target == "residue":
            values = self._of_residues(predicted)
        return row, [dict(zip(self.names, values, strict=True))], None

    def _of_residues(self, predicted: np.ndarray) -> list:
        """One text of labels, the probability of each, and of each class the probability at every residue."""
        from trimer.data.labelled.residue_labels import joined_labels

        predicted = np.asarray(predicted, np.float64).round(DIGITS)
        best = decide_classes(predicted, self.thresholds)
        labels = joined_labels([self.classes[number] for number in best])
        return [labels, predicted[np.arange(len(best)), best].tolist(), *predicted.T.tolist()]
