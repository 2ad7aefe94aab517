"""Where proteins with a label for each residue come from: 3-line files, FASTA as biotrainer writes it, and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from trimer.data.core.label_table import FILE, LabelTable, check_limit, limited
from trimer.data.labelled.label_files import LabelledFiles, fingerprint_of
from trimer.data.labelled.residue_labels import joined_labels
from trimer.data.text.fasta import FastaRecords, read_fasta
from trimer.data.text.letters import WHITE
from trimer.data.text.missing import known
from trimer.data.text.opening import read_chunks
from trimer.data.text.paths import find_files, named_paths
from trimer.errors import InputError

WANTED = "a 3-line file, a FASTA file, or a table in CSV, TSV or Parquet"
LABEL, TARGET, MASK, VALIDATION = "label", "TARGET", "MASK", "VALIDATION"


class ResidueFiles:
    """Proteins whose residues have labels, of FASTA files and tables; what a file is, its content says.

    FASTA: 3-line files (SignalP, TMbed, DeepTMHMM: header, sequence, a label for each residue), and biotrainer's files,
    whose headers say `TARGET=HHEE SET=train` and perhaps `MASK=1101` (0: no label); its older files keep the labels in
    a FASTA file of their own, `labels_paths`, where `SET=train VALIDATION=True` is a row of validation. Of a table
    `labels` names the column of the labels, and `column` and `id_column` those of the sequence and the id.

    paths: files or globs. pattern: a regular expression that is searched for in each header; its named groups are
    columns for a split, as `\\|(?P<fold>\\d)$`, and `id` is the id, else the first word. Other columns of headers are
    their `key=value`s. limit: stop after so many proteins.
    """

    def __init__(
        self,
        paths: str | Sequence[str],
        column: str = "sequence",
        labels: str | None = None,
        id_column: str | None = None,
        labels_paths: str | Sequence[str] | None = None,
        pattern: str | None = None,
        limit: int | None = None,
    ):
        check_limit(limit)
        self.paths = named_paths(paths, WANTED)
        self.labels_paths = named_paths(labels_paths, "a FASTA file of labels") if labels_paths else []
        self.column, self.labels, self.id_column, self.limit = column, labels, id_column, limit
        try:
            self.pattern = re.compile(pattern) if pattern else None
        except re.error as error:
            raise ValueError(f"pattern {pattern!r} is no regular expression: {error}") from error

    def files(self) -> list[Path]:
        """The files that the paths name, sorted within each glob."""
        return find_files(self.paths, WANTED)

    def fingerprint(self) -> str:
        names = ("column", "labels", "id_column", "limit")
        settings = {name: getattr(self, name) for name in names} | {"pattern": self.pattern and self.pattern.pattern}
        return fingerprint_of([*self.files(), *self._label_files()], settings)

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """Tables of some hundred proteins with the label `label`, and with the columns asked for."""
        return limited(self._tables(columns), self.limit, " and ".join(self.paths))

    def _label_files(self) -> list[Path]:
        return find_files(self.labels_paths, "a FASTA file of labels") if self.labels_paths else []

    def _tables(self, columns: Sequence[str]) -> Iterator[LabelTable]:
        apart = {name: entry for path in self._label_files() for name, entry in _labels_apart(path)}
        for path in self.files():
            start = next(read_chunks(path, 1 << 16), b"")
            if start.lstrip(WHITE)[:1] == b">":
                yield from self._fasta(path, columns, apart)
            else:
                yield from self._table(path, columns)

    def _table(self, path: Path, columns: Sequence[str]) -> Iterator[LabelTable]:
        if self.labels is None:
            raise InputError(f"{path} is a table: name the column of its labels, data.source.labels=<column>")
        for table in LabelledFiles(str(path), self.column, self.labels, self.id_column).chunks(columns):
            table.labels = {LABEL: table.labels[self.labels]}
            yield table

    def _fasta(self, path: Path, columns: Sequence[str], apart: dict[str, FastaEntry]) -> Iterator[LabelTable]:
        first = True
        for records in read_fasta(path):
            table = self._of_records(path, records, columns, apart)
            if first and not any(table.labels[LABEL]):
                raise InputError(
                    f"{path} has no labels of residues: neither a line of labels below each sequence nor TARGET=... in "
                    f"its headers; the first header is '{records.headers[0][:80]}'. Name a file of labels, "
                    "data.source.labels_paths=<file>, where they are kept apart"
                )
            if first and (lost := next((name for name in columns if not any(table.columns[name])), None)):
                raise InputError(
                    f"{path}: no header gives '{lost}': name it in data.source.pattern, as (?P<{lost}>\\d+)"
                )
            first = False
            yield table

    def _of_records(
        self, path: Path, records: FastaRecords, columns: Sequence[str], apart: dict[str, FastaEntry]
    ) -> LabelTable:
        lines = records.lines.tolist()
        found = [self.pattern.search(header) if self.pattern else None for header in records.headers]
        groups = {name: [known(one[name]) if one else None for one in found] for name in self._groups()}
        ids = groups.pop("id", [None] * len(lines))
        named = zip(ids, records.ids, lines, strict=True)
        names = [name or first or f"{path.name}:{line}" for name, first, line in named]
        beside = [apart.get(name) for name in names]
        labels = records.labels or [None] * len(lines)
        told = zip(labels, records.values(TARGET), records.values(MASK), beside, strict=True)
        return LabelTable(
            names,
            [records.sequences[row].tobytes().decode("utf-8", "replace") for row in range(len(lines))],
            {LABEL: [one or _masked(target, mask) or (entry and entry.labels) for one, target, mask, entry in told]},
            {name: self._column(name, path, records, groups, beside) for name in columns},
            [f"{path.name}, line {line}" for line in lines],
            records.problems,
        )

    def _groups(self) -> list[str]:
        return list(self.pattern.groupindex) if self.pattern else []

    def _column(self, name, path: Path, records: FastaRecords, groups, beside) -> list[str | None]:
        if name in groups:
            return groups[name]
        if name == FILE:
            return [path.name] * len(records)
        own = [known(value) for value in records.values(name)]
        return [value or (entry and known(entry.values.get(name))) for value, entry in zip(own, beside, strict=True)]


class FastaEntry:
    """The labels of a protein in a file of their own, and what its header says as `key=value`."""

    def __init__(self, labels: str, header: str):
        self.labels = labels
        self.values: dict[str, str] = dict(re.findall(r"(\w+)=(\S+)", header))
        if self.values.get(VALIDATION, "").lower() == "true":
            self.values["SET"] = "val"


def _labels_apart(path: Path) -> Iterator[tuple[str, FastaEntry]]:
    for records in read_fasta(path):
        for row, (name, header) in enumerate(zip(records.ids, records.headers, strict=True)):
            yield name, FastaEntry(records.sequences[row].tobytes().decode("utf-8", "replace"), header)


def _masked(target: str | None, mask: str | None) -> str | None:
    """The labels of a header, without those that its mask takes away."""
    if target is None or mask is None or len(mask) != len(target):
        return target
    return joined_labels([label if keep == "1" else None for label, keep in zip(target, mask, strict=True)])
