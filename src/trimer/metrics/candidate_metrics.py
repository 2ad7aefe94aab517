"""All metrics of ranked candidate molecules at once, under one set of names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from trimer.metrics.intervals import Measured, with_errors
from trimer.metrics.mces import MCES
from trimer.metrics.molecule_metrics import (
    FormulaMatch,
    MoleculeMetric,
    PrecursorPpmError,
    TanimotoAtK,
    TopKAccuracy,
    Uniqueness,
    Validity,
    spectrum_predictions,
)

KEY, LABEL = 14, 48  # bytes kept of a molecule's key and of a slice's label
FORMULA_KNOWN = "_formula_known"


class MoleculeRanking(MoleculeMetric):
    """Top-k accuracy, Tanimoto@k, formula match@k, validity, uniqueness and precursor error of ranked candidates.

    k: the ranks to report. by: names of `groups` to slice by, for example ["adduct"]; slices are named
    `tanimoto@1/adduct=[M+H]+` and come with `spectra/adduct=[M+H]+`, how many they hold.
    bootstrap: resamples for `<name>_std_error`, drawn over molecules: spectra of one molecule are not independent.
    formula_known: adds `<name>_formula_known`, where candidates with the *true* formula are ranked first. Never compare
    these with numbers that did not see the formula. mces: adds the MCES distance (slow).
    """

    _ranked: list[MoleculeMetric]
    _counted: list[MoleculeMetric]
    medians = frozenset({"precursor_ppm@1", f"precursor_ppm@1{FORMULA_KNOWN}"})

    def __init__(
        self,
        k: Sequence[int] = (1, 5, 10),
        by: Sequence[str] = (),
        bootstrap: int = 0,
        formula_known: bool = False,
        mces: bool = False,
        **kwargs,
    ):
        k = list(k)
        ranked: list[MoleculeMetric] = [TopKAccuracy(k), TanimotoAtK(k), FormulaMatch(k), PrecursorPpmError()]
        ranked += [TopKAccuracy(k, "smiles"), TopKAccuracy(k, "fingerprint")] + ([MCES(k)] if mces else [])
        counted: list[MoleculeMetric] = [Validity(), Uniqueness()]
        names = [name for part in ranked + counted for name in part.names]
        if formula_known:
            names += [name + FORMULA_KNOWN for part in ranked for name in part.names]
        super().__init__(names, **kwargs)
        # Not registered as submodules: they only score, and the rows are kept here.
        self.__dict__["_ranked"], self.__dict__["_counted"] = ranked, counted
        self.ranks = None if formula_known else max(k)  # a known formula may lift a candidate from any rank
        self.by = list(by)
        self.bootstrap = bootstrap
        self.formula_known = formula_known

    def score(self, prediction) -> list[float]:
        scores = [score for part in self._ranked + self._counted for score in part.score(prediction)]
        if self.formula_known:
            prediction = prediction.with_formula_first()
            scores += [score for part in self._ranked for score in part.score(prediction)]
        return scores

    def update(
        self,
        candidates: Sequence[Sequence[str]],
        targets: Sequence[str],
        groups: Mapping[str, Sequence[str | None]] | None = None,
        **details,
    ) -> None:
        """candidates: ranked SMILES per spectrum; targets: the true SMILES; groups: labels to slice `by`.

        details: `generated`, `valid`, `distinct` (counts per spectrum), `adducts`, `precursor_mz`: as in
        `spectrum_predictions`.
        """
        groups = groups or {}
        missing = [name for name in self.by if name not in groups]
        if missing:
            raise ValueError(f"slices by {missing} need groups={{'{missing[0]}': [one label per spectrum]}}")
        rows = []
        for row, prediction in enumerate(spectrum_predictions(candidates, targets, ranks=self.ranks, **details)):
            text = _bytes(prediction.target.inchikey1 or "", KEY)
            for name in self.by:
                text += _bytes(groups[name][row] or "not stated", LABEL)
            rows.append([*self.score(prediction), *text])
        self.add_rows(rows)

    def measured(self) -> Measured:
        """The metrics over all spectra with their resamples, and those of the slices.

        Two methods with the same targets have the same resamples.
        """
        scores, molecules, labels = self._table()
        draws = np.array([list(self.reduce(scores).values())])  # (1 + resamples, M)
        if self.bootstrap and len(scores):
            resamples = resampled(scores.numpy(), molecules, self.bootstrap, medians=self._median_columns())
            draws = np.concatenate([draws, resamples])
        measured = with_errors(dict(zip(self.names, draws.T, strict=True)))
        measured.values["spectra"] = float(len(scores))
        for name, column in labels.items():
            for label in np.unique(column):
                chosen = torch.from_numpy(column == label)
                slice_values = {**self.reduce(scores[chosen]), "spectra": float(chosen.sum())}
                measured.values |= {f"{key}/{name}={label}": value for key, value in slice_values.items()}
        return measured

    def compute(self) -> dict[str, float]:
        """{name: value} over all spectra, with the standard errors and slices asked for."""
        return self.measured().without_ends()

    def rows(self) -> dict[str, np.ndarray]:
        """{name: (n,) one number per spectrum}, in the order of the updates."""
        scores = self._table()[0].numpy()
        return dict(zip(self.names, scores.T, strict=True))

    def _table(self) -> tuple[torch.Tensor, np.ndarray, dict[str, np.ndarray]]:
        matrix = self.matrix(len(self.names) + KEY + LABEL * len(self.by))
        scores, text = matrix[:, : len(self.names)], matrix[:, len(self.names) :].numpy().astype(np.uint8)
        starts = [KEY + LABEL * i for i in range(len(self.by))]
        labels = {name: _texts(text[:, start : start + LABEL]) for name, start in zip(self.by, starts, strict=True)}
        return scores, _texts(text[:, :KEY]), labels

    def _median_columns(self) -> list[int]:
        return [i for i, name in enumerate(self.names) if name in self.medians]


def resampled(
    rows: np.ndarray,
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
    medians: Sequence[int] = (),
) -> np.ndarray:
    """(resamples, M) column means of (n, M) rows, NaN left out, when whole groups are drawn with replacement.

    groups: (n,) label of each row, for example the molecule; None resamples single rows. medians: columns whose median
    is used instead of the mean. The same groups and seed give the same resamples.
    """
    n = len(rows)
    _, group = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)
    count = group.max() + 1
    random = np.random.default_rng(seed)
    known = ~np.isnan(rows)
    sums = np.zeros((count, rows.shape[1]))
    sizes = np.zeros((count, rows.shape[1]))
    np.add.at(sums, group, np.where(known, rows, 0.0))
    np.add.at(sizes, group, known)
    weights = random.multinomial(count, np.full(count, 1 / count), size=resamples)  # (resamples, groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = (weights @ sums) / (weights @ sizes)
    for column in medians:
        order = np.argsort(rows[:, column], kind="stable")[: known[:, column].sum()]
        if len(order):
            cumulative = np.cumsum(weights[:, group[order]], axis=1)
            middle = (cumulative >= cumulative[:, -1:] / 2).argmax(axis=1)
            means[:, column] = rows[order, column][middle]
    return means


def _bytes(text: str, width: int) -> list[int]:
    """The UTF-8 bytes of a label in a fixed width, so that it can be gathered from all processes with the numbers."""
    raw = text.encode()[:width]
    return list(raw) + [0] * (width - len(raw))


def _texts(raw: np.ndarray) -> np.ndarray:
    return np.array([bytes(row).rstrip(b"\0").decode(errors="ignore") for row in raw], dtype=object)
