"""The setting `baselines`: all, none, or those with a name."""

from __future__ import annotations

import pytest

from trimer.errors import ConfigError
from trimer.evaluation.baseline_choice import chosen_baselines

NAMES = ["majority", "random forest on descriptors", "SVM, Tanimoto of Morgan counts"]


@pytest.mark.parametrize(
    ("setting", "chosen"),
    [
        (True, NAMES), (False, []), ([], []), (["svm", "Forest"], NAMES[1:]), ([NAMES[2], "tanimoto"], NAMES[2:]),
    ],
)  # fmt: skip
def test_baselines_are_chosen_by_parts_of_their_names_in_the_order_of_the_table(setting, chosen):
    assert chosen_baselines(setting, NAMES) == chosen


@pytest.mark.parametrize(
    ("setting", "names", "sentence"),
    [
        (["majority", "forrest"], NAMES, "'forrest' is in no name of a baseline; use names or parts of: majority"),
        ("SVM", NAMES, "baselines=SVM must be true, false or a list of names"),
        ([1], NAMES, "must be true, false or a list of names"),
        (1, NAMES, "baselines=1 must be true, false or a list of names"),
        (["SVM"], [], "there are none to choose from"),
    ],
)  # fmt: skip
def test_a_choice_that_is_not_possible_is_reported(setting, names, sentence):
    with pytest.raises(ConfigError, match=sentence.replace("[", r"\[")):
        chosen_baselines(setting, names)
