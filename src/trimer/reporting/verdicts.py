"""Is the model better than a baseline? A difference, its standard error, and a verdict in words and as a sign.

Differences are oriented: above 0 is better, also where a lower value of the metric is better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimer.reporting.table import DIFFERENCE, ERROR, P_VALUE, Column, ResultTable

CERTAIN = 1.96  # standard errors of a difference beyond which it is not explained by chance, at 95 %
LEVEL = 0.05  # of a p-value
SIGNS = {"better": "▲", "worse": "▼", "within": "≈", "unknown": "?", "none": ""}
EXACT = ("accuracy", "same_smiles", "same_fingerprint")  # after `top<k>_`: only the true molecule scores
NO_RIVAL = ("validity", "uniqueness")  # properties of generated text, which a baseline does not generate
NO_LOOKUP = "no molecule of this split is in the training split, so no look-up can be right"


@dataclass(frozen=True)
class Verdict:
    """A comparison with a baseline. kind: a key of SIGNS; "none" where there is nothing to compare with.

    difference, error: in the unit of the metric, oriented; error is None where it is not known.
    """

    kind: str
    text: str
    method: str = ""
    difference: float = math.nan
    error: float | None = None

    @property
    def sign(self) -> str:
        """The verdict as one character, for readers who do not see the colour."""
        return SIGNS[self.kind]


def judge(shown: Column, difference: float, error: float | None, method: str, p: float | None = None) -> Verdict:
    """The verdict of an oriented difference to a method.

    error: its standard error, None if it is not known. p: of its test, if there is one: of an accuracy, resamples
    within classes understate the error, and the exact test does not.
    """
    amount = shown.show(abs(difference))
    if error is None or not math.isfinite(error) or (error == 0 and difference != 0):
        word = "equal to" if difference == 0 else "better than" if difference > 0 else "worse than"
        by = "" if difference == 0 else f" by {amount}"
        return Verdict("unknown", f"{word} {method}{by}; without a standard error", method, difference)
    spread = shown.show(error)
    if abs(difference) <= CERTAIN * error or difference == 0 or (p is not None and p >= LEVEL):
        signed = ("+" if difference > 0 else "−" if difference < 0 else "") + amount
        return Verdict("within", f"within error of {method}: {signed} ± {spread}", method, difference, error)
    kind = "better" if difference > 0 else "worse"
    return Verdict(kind, f"{kind} than {method} by {amount} ± {spread}", method, difference, error)


def verdict(
    metric: str,
    method: str,
    table: ResultTable,
    no_lookup: bool = False,
) -> Verdict:
    """How a method of the table compares with the best baseline that can score.

    By the paired difference in the table, else the standard errors of both methods are added as independent ones, which
    is cautious. no_lookup: by the split, no true molecule is in the training split. The oracle is never a rival.
    """
    rows = {row["method"]: row for row in table.rows}
    values_of_model = rows[method]["values"]
    if metric in NO_RIVAL or not math.isfinite(values_of_model.get(metric, math.nan)):
        return Verdict("none", "")
    rivals, reason = rivals_of(metric, table, no_lookup)
    if not rivals:
        return Verdict("none", reason)
    shown = table.column(metric)
    direction = -1.0 if shown.lower_is_better else 1.0
    best = max(reversed(rivals), key=lambda row: direction * row["values"][metric])  # of equals the one named last
    difference = direction * (values_of_model[metric] - best["values"][metric])
    if metric + DIFFERENCE in best["values"]:
        values = best["values"]
        return judge(
            shown, difference, values.get(metric + DIFFERENCE + ERROR), best["method"], values.get(metric + P_VALUE)
        )
    errors = [values.get(metric + ERROR, math.nan) for values in (values_of_model, best["values"])]
    return judge(shown, difference, math.hypot(*errors), best["method"])  # NaN if one of them is unknown


def rivals_of(metric: str, table: ResultTable, no_lookup: bool = False) -> tuple[list[dict], str]:
    """The baselines that have a value of a metric and can score, and why there are none."""
    rows = [row for row in table.rows if row["kind"] == "baseline" and metric in row["values"]]
    defined = [row for row in rows if math.isfinite(row["values"][metric])]
    if rows and not defined:
        return [], "not compared: the metric is undefined for every baseline"
    if is_exact(metric):
        bounds = [row["values"][metric] for row in table.rows if row["kind"] == "bound" and metric in row["values"]]
        if no_lookup or (bounds and max(bounds) == 0):
            able = [row for row in defined if row["values"][metric] > 0]
            return able, "" if able else f"not compared: {NO_LOOKUP}"
    return defined, ""


def is_exact(metric: str) -> bool:
    """Whether only the true molecule scores in a metric, such as `top10_accuracy`."""
    return metric.startswith("top") and metric.partition("_")[2].removesuffix("_formula_known") in EXACT


def no_shared_molecules(split: str, overlap: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an overlap report states that no molecule of a split is in the training split."""
    shared = [row["shared_values"] for row in overlap if row["part"] == split and row["key"] == "inchikey1"]
    return bool(shared) and max(shared) == 0
