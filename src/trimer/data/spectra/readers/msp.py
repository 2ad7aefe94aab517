"""MSP libraries in the dialects of NIST, MoNA, MassBank and MS-DIAL.

A record is lines 'Key: value', then 'Num Peaks: N' and N pairs of m/z and intensity, one or many to a line, separated
by blanks, commas, colons or brackets, and by ';' between pairs; text in quotes, or after a pair, is an annotation.
The keys come in any order and 'Num Peaks' may be missing; see `MspRecord.ends_before`. Described in the NIST MS Search
user guide, "NIST Text Format of Individual Spectra".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from trimer.data.spectra.readers.records import Records
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.data.text.opening import broken_end, lines_until_break
from trimer.errors import BrokenOff

_PEAK = re.compile(r"[-+.\d]")
_ANNOTATION = re.compile(r'"[^"]*"')
_SEPARATORS = re.compile(r"[\s,:()\[\]{}]+")
_QUOTED_PAIR = re.compile(r'"([^"=]+)=([^"]*)"')
_PLAIN_PAIR = re.compile(r'(\w[\w ]*?)=("[^"]*"|\S+)')
_PEAK_COUNT = ("num peaks", "num_peaks", "numpeaks", "num peak")


def read_msp(path: Path) -> SpectrumTable:
    """All records of an MSP file, unusable ones with their problem."""
    records = Records()
    broken: list[BrokenOff] = []
    line = 0
    for record in msp_records(lines_until_break(path, broken)):
        record.add_to(records, path)
        line = record.line
    if broken and not records:
        raise broken[0]
    if broken:
        records.add(path, (), (), {}, line, broken_end(broken[0]))
    return records.table()


def msp_records(lines: Iterable[tuple[int, str]]) -> Iterator[MspRecord]:
    """The records of the lines of a file, each with its number and without white space around it."""
    record: MspRecord | None = None
    for number, text in lines:
        if not text:
            if record is not None:
                record.gap = True
            continue
        key, colon, value = text.partition(":")
        key = key.strip().lower() if colon and not _PEAK.match(text) else ""
        if record is not None and record.ends_before(key):
            yield record
            record = None
        if record is None:
            if text[0] in "#!":
                continue
            record = MspRecord(number, key)
        if key:
            record.field(key, value.strip())
        else:
            record.lines.append((number, text))
    if record is not None:
        yield record


class MspRecord:
    """The lines of one record as they come.

    fields: lower-case key -> text. comments: those of the record. lines: number and text of each line of peaks.
    """

    def __init__(self, line: int, first: str) -> None:
        self.line = line
        self.first = first  # the key that it begins with
        self.fields: dict[str, str] = {}
        self.comments: list[str] = []
        self.lines: list[tuple[int, str]] = []
        self.counted: str | None = None  # what 'Num Peaks' says
        self.gap = False  # an empty line came last

    def ends_before(self, key: str) -> bool:
        """Whether a line with this key ('' for a peak) belongs to the next record.

        It does after the peaks; after an empty line where the record has its peaks or a name; and where it repeats the
        name, or the first key of the record, as in files without empty lines.
        """
        gap, self.gap = self.gap, False
        if not key:
            return gap and bool(self.lines)
        named = "name" in self.fields
        return bool(self.lines) or self.counted is not None or key == self.first or (named and (gap or key == "name"))

    def field(self, key: str, value: str) -> None:
        if key in _PEAK_COUNT:
            self.counted = value
        elif key in ("comment", "comments"):
            self.comments.append(value)
        elif key in self.fields:
            self.fields[key] += f"; {value}"  # 'Synon' may be repeated
        elif key == "retentiontime":  # MS-DIAL writes minutes
            self.fields["rtinminutes"] = value
        else:
            # NIST puts two fields on one line: 'CAS#: 50-00-0; NIST#: 12'
            first, *others = re.split(r";\s*(?=[\w#]+:\s)", value) if key.endswith("#") else [value]
            self.fields[key] = first
            for other in others:
                name, _, text = other.partition(":")
                self.fields.setdefault(name.strip().lower(), text.strip())

    def add_to(self, records: Records, path: Path) -> None:
        for comment in self.comments:
            self._comment(comment)
        mz: list[float] = []
        intensity: list[float] = []
        problem: str | None = None
        for number, text in self.lines:
            try:
                peaks = [(float(first), float(second)) for first, second in _pairs(text)]
            except ValueError:
                problem = problem or f"line {number} '{text[:60]}' is not 'm/z intensity'"
                continue
            mz += [peak[0] for peak in peaks]
            intensity += [peak[1] for peak in peaks]
        counted = self.counted or str(len(mz))  # without a number, the peaks that stand there are all that is known
        if not counted.isdigit():
            problem = problem or f"'Num Peaks' is '{self.counted}', not a number"
        elif int(counted) != len(mz):
            problem = problem or f"'Num Peaks' says {self.counted}, but {len(mz)} peaks follow; is the record cut off?"
        records.add(path, mz, intensity, self.fields, self.line, problem)

    def _comment(self, text: str) -> None:
        """MoNA and NIST keep fields in the comment: '"SMILES=CCO" "author=..."' or 'Parent=195.1 Nrep=3'."""
        pairs = _QUOTED_PAIR.findall(text)
        if not pairs:
            pairs = [(key, value.strip('"')) for key, value in _PLAIN_PAIR.findall(text)]
        for key, value in pairs:
            name = key.strip().lower()
            self.fields.setdefault("precursor_mz" if name == "parent" else name, value)
        if not pairs:
            self.fields["comment"] = f"{self.fields['comment']}; {text}" if "comment" in self.fields else text


def _pairs(text: str) -> list[list[str]]:
    """The peaks of one line as [m/z, intensity]; raises ValueError where there is no such pair."""
    if '"' in text:
        text = _ANNOTATION.sub(" ", text)
    found: list[list[str]] = []
    for part in text.split(";"):
        words = [word for word in _SEPARATORS.split(part) if word]
        if len(words) > 3 and len(words) % 2 == 0 and _PEAK.match(words[2]):  # pairs alone: '41 8 42 53'
            found += [words[i : i + 2] for i in range(0, len(words), 2)]
        elif len(words) in (2, 3) or (len(words) > 3 and not _PEAK.match(words[2])):  # the rest is an annotation
            found.append(words[:2])
        elif words:
            raise ValueError(text)
    return found
