"""Tables of labelled records: selection of rows, concatenation, limits."""

import pytest

from trimer.data.core.label_table import LabelTable, label_names, limited
from trimer.data.text.missing import known
from trimer.errors import InputError


def table(first: int, count: int, problems: dict[int, str] | None = None) -> LabelTable:
    names = [str(first + i) for i in range(count)]
    return LabelTable(
        [f"id{name}" for name in names],
        [f"C{name}" for name in names],
        {"y": [f"y{name}" for name in names], "z": [None] * count},
        {"fold": [f"f{name}" for name in names]},
        [f"a.csv, line {name}" for name in names],
        problems or {},
    )


def test_take_keeps_every_column_and_the_problems_with_their_rows():
    taken = table(0, 4, {1: "bad", 2: "worse"}).take([3, 1, 1])
    assert taken == LabelTable(
        ["id3", "id1", "id1"],
        ["C3", "C1", "C1"],
        {"y": ["y3", "y1", "y1"], "z": [None] * 3},
        {"fold": ["f3", "f1", "f1"]},
        ["a.csv, line 3", "a.csv, line 1", "a.csv, line 1"],
        {1: "bad", 2: "bad"},
    )


def test_concatenate_is_the_inverse_of_take():
    whole = table(0, 5, {0: "bad", 4: "worse"})
    chunks = [whole.take(range(0, 2)), whole.take([]), whole.take(range(2, 5))]
    assert LabelTable.concatenate(chunks) == whole
    assert chunks[0].ids == ["id0", "id1"], "the chunks are not changed"
    other = table(0, 1)
    other.labels["x"] = other.labels.pop("z")
    with pytest.raises(ValueError, match=r"\['y', 'z', 'fold'\] and \['y', 'x', 'fold'\]"):
        LabelTable.concatenate([whole, other])


def test_limited_returns_at_most_the_limit_and_reads_no_further():
    tables = [table(0, 3, {2: "bad"}), table(3, 0), table(3, 3)]
    assert [chunk.ids for chunk in limited(tables, None, "x")] == [["id0", "id1", "id2"], ["id3", "id4", "id5"]]
    assert [chunk.ids for chunk in limited(tables, 4, "x")] == [["id0", "id1", "id2"], ["id3"]]
    assert [(chunk.ids, chunk.problems) for chunk in limited(tables, 2, "x")] == [(["id0", "id1"], {})]
    reader = iter(tables)
    assert [len(chunk) for chunk in limited(reader, 3, "x")] == [3]
    assert list(reader) == tables[1:], "nothing is read after the limit"
    with pytest.raises(InputError, match=r"mine\.csv holds no record"):
        list(limited([table(0, 0)], None, "mine.csv"))


@pytest.mark.parametrize("text", ["", "  ", "NA", " nan\n", "NaN", "N/A", "null", "NULL", "<NA>", None])
def test_texts_that_mean_missing_become_none(text):
    assert known(text) is None


@pytest.mark.parametrize("text", ["0", "None", "Na", "nano", " 1.5 ", "no", "-"])
def test_other_texts_are_stripped_values(text):
    assert known(text) == text.strip()


def test_label_names_are_a_list_without_repeats():
    assert label_names("y") == ["y"]
    assert label_names(("y", "z")) == ["y", "z"]
    assert label_names(None) is None
    for wrong, message in ((["y", "y"], "names 'y' twice"), ([], "labels is empty"), ("", "labels is empty")):
        with pytest.raises(ValueError, match=message):
            label_names(wrong)
