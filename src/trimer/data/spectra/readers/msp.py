"""MSP libraries in the dialects of NIST, MoNA, MassBank and MS-DIAL.

A record has lines 'Key: value', then 'Num Peaks: N' and N pairs of m/z and intensity, one or several on a line,
separated by blanks, commas, colons or brackets, and by ';' between pairs; text in quotes, or after a pair, is an
annotation. The keys may have any order and 'Num Peaks' may be missing; see `MspRecord.ends_before`. Format: NIST MS
Search user guide, "NIST Text Format of Individual Spectra".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from trimer.counts import counted
from trimer.data.spectra.readers.record_table import Records
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
    """All records of an MSP file; unusable ones have the reason in `problem`."""
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
    """The records in numbered, stripped lines of a file."""
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
            record.add_field(key, value.strip())
        else:
            record.lines.append((number, text))
    if record is not None:
        yield record


class MspRecord:
    """One record while its lines are read.

    fields: lower-case key -> text. comments: texts of its comments. lines: number and text of each line of peaks.
    """

    def __init__(self, line: int, first: str) -> None:
        self.line = line
        self.first = first  # first key of the record
        self.fields: dict[str, str] = {}
        self.comments: list[str] = []
        self.lines: list[tuple[int, str]] = []
        self.counted: str | None = None  # value of 'Num Peaks'
        self.gap = False  # whether the last line was empty

    def ends_before(self, key: str) -> bool:
        """Whether a line with this key ('' for a peak) belongs to the next record.

        It does after the peaks; after an empty line if the record has peaks or a name; and if it repeats the name or
        the first key of the record, as in files without empty lines.
        """
        gap, self.gap = self.gap, False
        if not key:
            return gap and bool(self.lines)
        named = "name" in self.fields
        return bool(self.lines) or self.counted is not None or key == self.first or (named and (gap or key == "name"))

    def add_field(self, key: str, value: str) -> None:
        """Add a field of the record."""
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
        """Parse the peaks and comments, and add the record to `records`."""
        for comment in self.comments:
            self._add_comment(comment)
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
        stated = self.counted or str(len(mz))  # if not stated, the number of peaks that follow
        if not stated.isdecimal():
            problem = problem or f"'Num Peaks' is '{self.counted}', not a number"
        elif stated.lstrip("0") != str(len(mz) or ""):  # Python reads no number with thousands of digits
            problem = (
                problem
                or f"'Num Peaks' is {self.counted}, but {counted(len(mz), 'peaks', 'follow')}; the record may be "
                "truncated"
            )
        records.add(path, mz, intensity, self.fields, self.line, problem)

    def _add_comment(self, text: str) -> None:
        """Read the fields in comments of MoNA and NIST: '"SMILES=CCO" "author=..."' or 'Parent=195.1 Nrep=3'."""
        pairs = _QUOTED_PAIR.findall(text)
        if not pairs:
            pairs = [(key, value.strip('"')) for key, value in _PLAIN_PAIR.findall(text)]
        for key, value in pairs:
            name = key.strip().lower()
            self.fields.setdefault("precursor_mz" if name == "parent" else name, value)
        if not pairs:
            self.fields["comment"] = f"{self.fields['comment']}; {text}" if "comment" in self.fields else text


def _pairs(text: str) -> list[list[str]]:
    """The peaks of one line as [m/z, intensity] texts; ValueError if it has no such pairs."""
    if '"' in text:
        text = _ANNOTATION.sub(" ", text)
    pairs: list[list[str]] = []
    for pair_text in text.split(";"):
        words = [word for word in _SEPARATORS.split(pair_text) if word]
        if len(words) > 3 and len(words) % 2 == 0 and _PEAK.match(words[2]):  # only pairs: '41 8 42 53'
            pairs += [words[i : i + 2] for i in range(0, len(words), 2)]
        elif len(words) in (2, 3) or (len(words) > 3 and not _PEAK.match(words[2])):  # the rest is an annotation
            pairs.append(words[:2])
        elif words:
            raise ValueError(text)
    return pairs
