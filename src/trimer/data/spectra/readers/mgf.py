"""Fast reader of the Mascot generic format (MGF): numpy separates headers and peaks, Arrow parses the numbers.

Format: https://www.matrixscience.com/help/data_file_help.html. A record is BEGIN IONS, lines KEY=value, lines
'm/z intensity [charge]', END IONS. KEY=value lines before the first record are defaults for all of them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from trimer.data.spectra.readers.record_table import Records, assemble, stem
from trimer.data.spectra.spectrum_table import SpectrumTable, filled
from trimer.data.text.numbers import to_float
from trimer.data.text.opening import broken_end, decode, read_blocks
from trimer.errors import BrokenOff, InputError

_BLOCK = 1 << 22  # bytes parsed at once, so that arrays reuse allocated memory

BLANK, PEAK, COMMENT, WORDS = range(4)
_KIND = np.full(256, WORDS, np.uint8)
_KIND[:33] = BLANK
_KIND[np.frombuffer(b"0123456789.+-", np.uint8)] = PEAK
_KIND[np.frombuffer(b"#;!/", np.uint8)] = COMMENT


def read_mgf(path: Path) -> SpectrumTable:
    """All records of an MGF file, compressed or not; unusable ones have the reason in `problem`."""
    tables: list[SpectrumTable] = []
    defaults: dict[str, str] = {}
    line, first = 1, 1

    def parse(block: bytes) -> None:
        nonlocal line, first
        table = _parse_block(path, block, line, first, defaults)
        line += block.count(b"\n")
        if len(table):
            tables.append(table)
            first += len(table)

    broken: BrokenOff | None = None
    try:
        for block in read_blocks(path, b"begin ions", _BLOCK, any_case=True):
            parse(block)
    except BrokenOff as error:
        broken = error
        if error.unfinished:
            parse(error.unfinished)
    if not tables:
        raise broken or InputError(f"{path} holds no spectrum: it has no line BEGIN IONS; check that it is an MGF file")
    if broken:
        end = Records()
        end.add(path, (), (), {"id": f"{stem(path)}:{first}"}, line, broken_end(broken))
        tables.append(end.table())
    return SpectrumTable.concatenate(tables)


def _parse_block(path: Path, block: bytes, first_line: int, first: int, defaults: dict[str, str]) -> SpectrumTable:
    """The records of a block (only the last of a file may be truncated); lines before the first one fill `defaults`."""
    if not block.endswith(b"\n"):
        block += b"\n"
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == 10)
    starts = np.concatenate([[0], ends[:-1] + 1])
    kind = _KIND[data[starts]]
    for i in np.flatnonzero((kind == BLANK) & (ends > starts)):  # indented lines
        stripped = block[starts[i] : ends[i]].lstrip()
        kind[i] = _KIND[stripped[0]] if stripped else BLANK
    lengths = ends - starts + 1

    is_words = kind == WORDS
    words = decode(data[np.repeat(is_words, lengths)].tobytes()).split("\n")
    records = _Headers(first_line, open_at_start=first > 1)
    records.walk(np.flatnonzero(is_words).tolist(), words, defaults)
    begins, finals, problems = records.close(len(starts))
    n = len(begins)

    # other lines inside a record ('nan 12') are parsed as peaks, which reports them as unreadable
    kind[records.odd] = PEAK
    peak_lines = np.flatnonzero(kind == PEAK)
    mz, intensity, good = _numbers(data[np.repeat(kind == PEAK, lengths)])
    low, high = np.searchsorted(peak_lines, begins), np.searchsorted(peak_lines, finals)
    for number in peak_lines[~good]:
        row = int(np.searchsorted(begins, number, side="right")) - 1
        if row >= 0 and number < finals[row]:
            text = decode(block[starts[number] : ends[number]]).strip()[:60]
            problems.setdefault(row, f"line {first_line + number} '{text}' is not 'm/z intensity'")
    inside = np.zeros(len(peak_lines) + 1, np.int64)
    np.add.at(inside, low, 1)
    np.add.at(inside, high, -1)
    keep = (np.cumsum(inside[:-1]) > 0) & good
    counts = np.concatenate([[0], np.cumsum(keep)])
    offsets = np.concatenate([[0], np.cumsum(counts[high] - counts[low])]).astype(np.int64)
    return assemble(
        [path] * n,
        mz[keep],
        intensity[keep],
        offsets,
        records.columns(n, defaults),
        begins + first_line,
        problems,
        first=first,
        peak_lines=peak_lines[keep] + first_line,
    )


class _Headers:
    """Parser of the lines that are not peaks: begin and end of records, and their KEY=value pairs by key."""

    def __init__(self, first_line: int, open_at_start: bool) -> None:
        self.first_line = first_line
        self.begins: list[int] = []
        self.finals: list[int] = []
        self.problems: dict[int, str] = {}
        self.odd: list[int] = []
        self.pairs: dict[str, tuple[list[int], list[str]]] = {}  # key as written -> rows, values
        self.inside = False
        self.started = open_at_start
        self.row = -1

    def walk(self, numbers: list[int], words: list[str], defaults: dict[str, str]) -> None:
        """Parse the lines of a block, by number and text; `words` has one more, empty text after the last line end."""
        pairs = self.pairs
        for number, text in zip(numbers, words, strict=False):
            key, equals, value = text.partition("=")
            if not equals:
                self._mark(number, text)
            elif self.inside or self.started:
                if not self.inside:
                    self._begin(number, "BEGIN IONS is missing before the record")
                pair = pairs.get(key)
                if pair is None:
                    pair = pairs[key] = ([], [])
                pair[0].append(self.row)
                pair[1].append(value)
            else:
                defaults[key.strip().lower()] = value.strip()

    def _mark(self, number: int, text: str) -> None:
        word = text.strip().upper()
        if word == "BEGIN IONS":
            if self.inside:
                self._end(number, f"END IONS is missing before the next record, line {self.first_line + number}")
            self._begin(number)
        elif word == "END IONS":
            if not self.inside:
                self._begin(number, "END IONS without BEGIN IONS")
            self._end(number)
        elif self.inside:
            self.odd.append(number)

    def close(self, lines: int) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
        """First and last line of each record, from 0 in the block, and row -> why it cannot be used."""
        if self.inside:
            self._end(lines, "the record is truncated: END IONS is missing")
        return np.array(self.begins, np.int64), np.array(self.finals, np.int64), self.problems

    def columns(self, n: int, defaults: dict[str, str]) -> dict[str, np.ndarray]:
        columns: dict[str, np.ndarray] = {}
        for key, (rows, values) in self.pairs.items():
            name = key.strip().lower()
            if name not in columns:
                columns[name] = np.full(n, None, dtype=object)
            columns[name][rows] = values
        for key, value in defaults.items():
            column = columns.setdefault(key, np.full(n, None, dtype=object))
            column[~filled(column)] = value
        return columns

    def _begin(self, number: int, problem: str | None = None) -> None:
        self.row = len(self.begins)
        self.begins.append(number)
        self.inside = self.started = True
        if problem:
            self.problems[self.row] = problem

    def _end(self, number: int, problem: str | None = None) -> None:
        self.finals.append(number)
        self.inside = False
        if problem:
            self.problems.setdefault(self.row, problem)


def _numbers(data: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """m/z and intensity of L peak lines, and which lines begin with two numbers.

    data: the bytes of these lines, each with its line end. Other words are the charge or an annotation; a line of four
    or more numbers may contain several peaks and is not read.
    """
    ink = data > 32
    edges = np.flatnonzero(ink[1:] != ink[:-1]) + 1  # the last byte is a line end, so only the first is special
    edges = np.concatenate([[0], edges]) if len(ink) and ink[0] else edges
    starts, stops = edges[::2], edges[1::2]
    line_of = np.searchsorted(np.flatnonzero(data == 10), starts)
    lines = int(np.count_nonzero(data == 10))
    words = np.bincount(line_of, minlength=lines)
    good = words >= 2
    if not np.all(words == 2):
        first = np.cumsum(words) - words
        for line in np.flatnonzero(words > 3):
            more = range(first[line] + 2, first[line] + words[line])
            good[line] = not all(_is_number(data[starts[word] : stops[word]].tobytes()) for word in more)
        word_of_line = np.arange(len(starts)) - first[line_of]
        use = good[line_of] & (word_of_line < 2)
        drop = ~use
        for start, stop in zip(starts[drop], stops[drop], strict=True):
            ink[start:stop] = False
        starts, stops = starts[use], stops[use]
    values, parsed = to_float(data[ink].tobytes(), stops - starts)
    mz, intensity = np.full(lines, np.nan), np.full(lines, np.nan)
    mz[good], intensity[good] = values[::2], values[1::2]
    good[good] = parsed[::2] & parsed[1::2]
    return mz, intensity, good


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
