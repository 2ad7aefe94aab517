"""Sources of proteins with a label for each residue: 3-line files, biotrainer's FASTA files, and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from trimer.data.core.label_table import FILE, LabelTable, check_limit, limited
from trimer.data.labelled.label_files import LabelledFiles, fingerprint_of
from trimer.data.text.fasta import FastaRecords, read_fasta
from trimer.data.text.letters import WHITE
from trimer.data.text.missing import known
from trimer.data.text.opening import read_chunks
from trimer.data.text.paths import NamedFiles, find_files, named_paths
from trimer.errors import InputError
from trimer.targets import joined_labels

LABEL, TARGET, MASK, VALIDATION = "label", "TARGET", "MASK", "VALIDATION"


class ResidueFiles(NamedFiles):
    """Proteins with residue labels from FASTA files and tables; the format is detected from the content.

    FASTA: 3-line files (SignalP, TMbed, DeepTMHMM: header, sequence, a label for each residue), and biotrainer's files
    with headers such as `TARGET=HHEE SET=train` and optionally `MASK=1101` (0: no label). biotrainer's older files have
    the labels in a separate FASTA file, `labels_paths`, where `SET=train VALIDATION=True` is a row of validation. In a
    table `labels`, `column` and `id_column` name the columns of labels, sequence and id.

    paths: files or globs. pattern: a regular expression to search for in each header; its named groups are columns for
    a split, such as `\\|(?P<fold>\\d)$`, and `id` is the id (by default the first word). Other columns are the
    `key=value` pairs of the header. limit: largest number of proteins to read.
    """

    wanted = "a 3-line file, a FASTA file, or a table in CSV, TSV or Parquet"

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
        self.paths = named_paths(paths, self.wanted)
        self.labels_paths = named_paths(labels_paths, "a FASTA file of labels") if labels_paths else []
        self.column, self.labels, self.id_column, self.limit = column, labels, id_column, limit
        try:
            self.pattern = re.compile(pattern) if pattern else None
        except re.error as error:
            raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from error

    def fingerprint(self) -> str:
        names = ("column", "labels", "id_column", "limit")
        settings = {name: getattr(self, name) for name in names} | {"pattern": self.pattern and self.pattern.pattern}
        return fingerprint_of([*self.files(), *self._label_files()], settings)

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """Tables of a few hundred proteins with the label `label` and the requested columns."""
        return limited(self._tables(columns), self.limit, " and ".join(self.paths))

    def _label_files(self) -> list[Path]:
        return find_files(self.labels_paths, "a FASTA file of labels") if self.labels_paths else []

    def _tables(self, columns: Sequence[str]) -> Iterator[LabelTable]:
        label_entries = {name: entry for path in self._label_files() for name, entry in _read_labels(path)}
        for path in self.files():
            start = next(read_chunks(path, 1 << 16), b"")
            if start.lstrip(WHITE)[:1] == b">":
                yield from self._fasta(path, columns, label_entries)
            else:
                yield from self._table(path, columns)

    def _table(self, path: Path, columns: Sequence[str]) -> Iterator[LabelTable]:
        if self.labels is None:
            raise InputError(f"{path} is a table: name its column of labels with data.source.labels=<column>")
        for table in LabelledFiles(str(path), self.column, self.labels, self.id_column).chunks(columns):
            table.labels = {LABEL: table.labels[self.labels]}
            yield table

    def _fasta(self, path: Path, columns: Sequence[str], label_entries: dict[str, FastaEntry]) -> Iterator[LabelTable]:
        first = True
        for records in read_fasta(path):
            table = self._of_records(path, records, columns, label_entries)
            if first and not any(table.labels[LABEL]):
                raise InputError(
                    f"{path} has no residue labels: neither a line of labels below each sequence nor TARGET=... in its "
                    f"headers; the first header is '{records.headers[0][:80]}'. If the labels are in another file, set "
                    "data.source.labels_paths=<file>"
                )
            if first and (missing := next((name for name in columns if not any(table.columns[name])), None)):
                raise InputError(
                    f"{path}: no header has '{missing}': add it to data.source.pattern, for example (?P<{missing}>\\d+)"
                )
            first = False
            yield table

    def _of_records(
        self, path: Path, records: FastaRecords, columns: Sequence[str], label_entries: dict[str, FastaEntry]
    ) -> LabelTable:
        lines = records.lines.tolist()
        matches = [self.pattern.search(header) if self.pattern else None for header in records.headers]
        groups = {name: [known(match[name]) if match else None for match in matches] for name in self._groups()}
        ids = groups.pop("id", [None] * len(lines))
        id_parts = zip(ids, records.ids, lines, strict=True)
        names = [name or first or f"{path.name}:{line}" for name, first, line in id_parts]
        entries = [label_entries.get(name) for name in names]
        labels = records.labels or [None] * len(lines)
        texts = [
            line or _masked(*cells)
            for line, *cells in zip(labels, records.values(TARGET), records.values(MASK), strict=True)
        ]
        return LabelTable(
            names,
            [records.sequences[row].tobytes().decode("utf-8", "replace") for row in range(len(lines))],
            {LABEL: [text or (entry.labels if entry else None) for text, entry in zip(texts, entries, strict=True)]},
            {name: self._column(name, path, records, groups, entries) for name in columns},
            [f"{path.name}, line {line}" for line in lines],
            records.problems,
        )

    def _groups(self) -> list[str]:
        return list(self.pattern.groupindex) if self.pattern else []

    def _column(
        self,
        name: str,
        path: Path,
        records: FastaRecords,
        groups: dict[str, list[str | None]],
        entries: list[FastaEntry | None],
    ) -> list[str | None]:
        if name in groups:
            return groups[name]
        if name == FILE:
            return [path.name] * len(records)
        values = zip(map(known, records.values(name)), entries, strict=True)
        return [value or (known(entry.values.get(name)) if entry else None) for value, entry in values]


class FastaEntry:
    """The residue labels of a protein in a separate file, and the `key=value` pairs of its header."""

    def __init__(self, labels: str, header: str):
        self.labels = labels
        self.values: dict[str, str] = dict(re.findall(r"(\w+)=(\S+)", header))
        if self.values.get(VALIDATION, "").lower() == "true":
            self.values["SET"] = "val"


def _read_labels(path: Path) -> Iterator[tuple[str, FastaEntry]]:
    for records in read_fasta(path):
        for row, (name, header) in enumerate(zip(records.ids, records.headers, strict=True)):
            yield name, FastaEntry(records.sequences[row].tobytes().decode("utf-8", "replace"), header)


def _masked(target: str | None, mask: str | None) -> str | None:
    """The labels of a header, without those that its mask removes."""
    if target is None or mask is None or len(mask) != len(target):
        return target
    return joined_labels([label if keep == "1" else None for label, keep in zip(target, mask, strict=True)])
