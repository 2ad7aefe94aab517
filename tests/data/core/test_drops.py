"""The drop report as text, and after an error about the rows that are left."""

import pytest

from trimer.data.core.drops import DropReport, explained_by
from trimer.errors import InputError

RULE = "molecule RDKit cannot read, or which holds more atoms, more components and more charges than the model reads"


def report(dropped: int) -> DropReport:
    made = DropReport(5)
    made.add(RULE, [f"file.csv, line {line}: {'C' * 200}" for line in range(dropped)])
    return made


def test_long_rules_and_examples_fit_a_terminal_of_80_columns():
    lines = str(report(3)).splitlines()
    assert lines[0] == "5 records in, 2 left" and max(map(len, lines)) <= 80
    words = " ".join(" ".join(lines).split())
    assert f"3 dropped: {RULE}" in words and "e.g. file.csv, line 0:" in words


def test_an_error_about_the_rows_is_followed_by_what_was_dropped():
    with pytest.raises(InputError, match=r"val is empty\n5 records in, 2 left\n.*3 dropped"), explained_by(report(3)):
        raise InputError("val is empty")
    with pytest.raises(InputError, match=r"val is empty$"), explained_by(report(0)):
        raise InputError("val is empty")
