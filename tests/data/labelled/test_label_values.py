"""Texts of labels one by one: spellings of a class, lists in a cell, numbers."""

from __future__ import annotations

import pytest

from trimer.data.labelled.class_names import class_of_text, spelling
from trimer.data.labelled.label_lists import holds_lists, listed
from trimer.data.labelled.label_values import LabelReader, number


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1.0"), ("1.", "1"), ("-0.0", "0"), ("Active", "active "), ("0.50", "0.5"), ("A  b", "a B")],
)
def test_texts_of_one_class(one, other):
    assert spelling(one) == spelling(other)


@pytest.mark.parametrize(
    ("one", "other"), [("1", "01"), ("1", "-1"), ("1.5", "15"), ("a", "b"), ("10", "1.0"), ("1", "")]
)
def test_texts_of_two_classes(one, other):
    assert spelling(one) != spelling(other)


def test_a_class_is_called_by_its_most_frequent_text_and_a_number_by_its_shortest():
    assert class_of_text(["b", "B", "B", "1.0", "1.0", "1"]) == {"b": "B", "B": "B", "1": "1", "1.0": "1"}
    assert class_of_text(["b", "B", "b "], ["B", "b"]) == {"b": "b", "B": "B", "b ": "B"}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("['sweet', 'woody']", ["sweet", "woody"]),
        ('["sweet", "woody"]', ["sweet", "woody"]),
        ("[sweet, woody]", ["sweet", "woody"]),
        ("sweet;woody; sweet", ["sweet", "woody"]),
        ("sweet|woody", ["sweet", "woody"]),
        ("sweet", ["sweet"]),
        ("[]", []),
    ],
)
def test_names_of_a_list_in_one_cell(text, names):
    assert listed(text) == names


def test_a_comma_divides_only_where_it_is_named():
    assert listed("a, b") == ["a, b"] and listed("a, b", ",") == ["a", "b"]
    assert not holds_lists(["a, b", None]) and holds_lists(["a, b"], ",") and holds_lists([None, "a", "a;b"])


@pytest.mark.parametrize(
    ("text", "decimal", "value"),
    [("5.2", ".", 5.2), ("1e-3", ".", 0.001), ("5,2", ",", 5.2), ("-7", ",", -7), ("5.2", ",", None),
     ("5,2", ".", None), ("1_000", ".", None), ("inf", ".", None), ("1,200.5", ",", None), ("~5", ".", None)],
)  # fmt: skip
def test_numbers(text, decimal, value):
    assert number(text, decimal) == value


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"target": "regression", "decimal": ";"}, "decimal=';' must be"),
        ({"target": "single", "positive": ["a"]}, "target=single has no yes-or-no labels"),
        ({"target": "multi", "positive": ["A"], "negative": ["a"]}, "'a' means both yes and no"),
    ],
)
def test_settings_that_cannot_be(settings, says):
    with pytest.raises(ValueError, match=says):
        LabelReader(**settings)
