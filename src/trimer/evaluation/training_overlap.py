"""Which records a checkpoint was trained on, with counts for each stage of its training.

Shapes: n records.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from trimer.counts import counted
from trimer.data.core.training_keys import IDENTITY, SPLITS, contains
from trimer.files import write_csv, write_text

log = logging.getLogger(__name__)

COLUMN = "in_training"  # of predictions
NO, UNKNOWN = "no", "unknown"
BY = {
    "molecule": "InChIKey block 1",
    "spectrum": "identical peaks",
    "protein": "identical sequence (relatives are not searched)",
    "peptide": "identical letters",
}
FILE = "training_overlap"


@dataclass
class TrainingOverlap:
    """Records that were in the training data of a checkpoint.

    rows: n texts: "train: molecule" (the split and the kinds of key it is known by), "validation: molecule", "no", or
    "unknown" if the record has no key, or the checkpoint has no keys of its data. Stages without keys are ignored.
    shared: for each stage, split and kind of key, the number of records with a key, and how many of these it contains.
    unknown: names of the stages without keys.
    """

    rows: list[str]
    shared: list[dict] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Number of records in total, in train, in validation only, in neither, and unknown."""
        first = [row.partition(":")[0] for row in self.rows]
        named = {"in_train": "train", "in_validation": "validation", "new": NO, "unknown": UNKNOWN}
        return {"records": len(first)} | {name: first.count(text) for name, text in named.items()}

    def lines(self, what: str = "records") -> list[str]:
        """The counts in words. what: the records, such as "spectra"."""
        counts = self.counts()
        if not counts["records"]:
            return []
        verb = "was" if 1 in (counts["in_train"], counts["records"]) else "were"
        lines = [
            f"training data of the checkpoint: {counts['in_train']:,} of {counted(counts['records'], what)} {verb} in "
            f"train, {counts['in_validation']:,} in validation only, {counts['new']:,} in neither, "
            f"{counts['unknown']:,} unknown"
        ]
        for row in self.shared:
            if row["shared"]:
                line = f"  {row['stage']}, {row['split']}: {row['shared']:,} of {row['records']:,} by {BY[row['key']]}"
                rate = row.get("false_positives")
                lines.append(line + (f", up to {row['records'] * rate:,.0f} of them by chance" if rate else ""))
        if self.unknown:
            lines.append(f"  not known what {', '.join(self.unknown)} was trained on")
        return lines

    def save(self, out: Path, ids: Sequence[str]) -> None:
        """Write `training_overlap.json` with the counts, and `training_overlap.csv` with a row for each record."""
        out.mkdir(parents=True, exist_ok=True)
        facts = {"counts": self.counts(), "found": self.shared, "not_known": self.unknown}
        write_text(out / f"{FILE}.json", json.dumps(facts, indent=1) + "\n")
        write_csv(out / f"{FILE}.csv", ["id", COLUMN], zip(ids, self.rows, strict=True))

    def add_to_heads(self, heads: list[dict], rows: Sequence[int]) -> None:
        """Write the column `in_training` of predictions. rows: the input row of each record of the overlap."""
        for row, text in zip(rows, self.rows, strict=True):
            heads[row][COLUMN] = text

    def add_to(self, path: Path) -> None:
        """Add the column `in_training` to a table of predictions in Parquet: one row a record, or several by `rank`."""
        table = pq.read_table(path)
        owner = np.arange(len(table))
        if "rank" in table.column_names:
            owner = np.cumsum(np.asarray(table["rank"]) == 1) - 1
        if len(owner) and owner[-1] + 1 == len(self.rows):
            pq.write_table(table.append_column(COLUMN, pa.array([self.rows[row] for row in owner])), path)


def training_overlap(stages: Sequence[Mapping] | None, keys: Mapping[str, np.ndarray]) -> TrainingOverlap:
    """Look records up in the training stages of a checkpoint.

    stages: None for a checkpoint that carries no keys. keys: kind of key -> (n,) keys, 0 for a missing one.
    """
    count = len(next(iter(keys.values())))
    if not stages:
        return TrainingOverlap([UNKNOWN] * count, [], ["this checkpoint, which carries no keys,"])
    known: dict[str, dict[str, np.ndarray]] = {split: {} for split in SPLITS}
    compared: set[str] = set()
    shared = []
    for stage in stages:
        for split, sets in stage["keys"].items():
            for kind in [kind for kind in sets if kind in keys]:
                hit = contains(sets[kind], keys[kind])
                compared.add(kind)
                known[split][kind] = known[split].get(kind, False) | hit
                facts = {"stage": stage["name"], "split": SPLITS[split], "key": kind, "keys": sets[kind]["count"]}
                rate = {name: sets[kind][name] for name in ("false_positives",) if name in sets[kind]}
                records = int((keys[kind] != 0).sum())
                shared.append({**facts, "records": records, "shared": int(hit.sum()), **rate})
    must = [kind for kind in keys if kind in IDENTITY and kind in compared]
    seen_in = np.full(count, NO if must else UNKNOWN, dtype=object)
    for kind in must:
        seen_in[keys[kind] == 0] = UNKNOWN
    for split in reversed(SPLITS):  # train overwrites validation
        by = np.full(count, "", dtype=object)
        for kind, hit in known[split].items():
            by[hit] = [f"{text}, {kind}" if text else kind for text in by[hit]]
        hit = by != ""
        seen_in[hit] = [f"{SPLITS[split]}: {text}" for text in by[hit]]
    return TrainingOverlap(seen_in.tolist(), shared, [stage["name"] for stage in stages if not stage["known"]])


def merged(overlaps: Sequence[TrainingOverlap]) -> TrainingOverlap:
    """The overlap of records that were looked up in chunks, in the same checkpoint."""
    total = TrainingOverlap([], [], overlaps[0].unknown if overlaps else [])
    for overlap in overlaps:
        total.rows += overlap.rows
        if not total.shared:
            total.shared = [dict(row) for row in overlap.shared]
            continue
        for sums, row in zip(total.shared, overlap.shared, strict=True):
            sums["records"] += row["records"]
            sums["shared"] += row["shared"]
    return total


def report_split(out: Path, stages: Sequence[Mapping] | None, data, split: str) -> TrainingOverlap:
    """Look up the records of a split in the training data, log the counts, and write the result to a folder."""
    rows = data.split.rows(split)
    overlap = training_overlap(stages, data.row_keys(rows))
    overlap.save(out, data.store.strings("id", rows))
    counts = overlap.counts()
    level = logging.WARNING if counts["in_train"] or counts["in_validation"] else logging.INFO
    log.log(level, "%s", "\n".join(overlap.lines()))
    return overlap
