"""Metrics of ranked candidate molecules: one small metric per question, one row of scores per spectrum.

Rows are kept (a few numbers per spectrum), so the same metrics give means, medians, slices and standard errors.
Two molecules are the same when block 1 of their InChIKeys is the same, as in MassSpecGym.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from trimer.errors import InputError
from trimer.metrics import molecule_properties as facts
from trimer.metrics.molecule_properties import MoleculeFacts, candidate_facts, molecule_facts

NAN = math.nan


@dataclass
class SpectrumPrediction:
    """The candidates for one spectrum, best first, and the true molecule.

    A candidate that is not a molecule (`trimer.chemistry.molecule_definition`) is None: it keeps its rank and scores 0.
    `generated`, `valid` and `distinct` count the samples before ranking: all texts, those that are molecules, and the
    distinct molecules.
    """

    candidates: list[MoleculeFacts | None]
    target: MoleculeFacts
    generated: int
    valid: int
    distinct: int
    adduct: str | None = None
    precursor_mz: float | None = None

    @functools.cached_property
    def similarities(self) -> list[float]:
        """Tanimoto similarity of each candidate to the target."""
        return [facts.tanimoto(candidate, self.target) for candidate in self.candidates]

    @functools.cached_property
    def hits(self) -> list[bool]:
        """Whether each candidate is the target."""
        return [facts.same_molecule(candidate, self.target) for candidate in self.candidates]

    def with_formula_first(self) -> SpectrumPrediction:
        """The same candidates, those with the true formula first: the ranking if the formula were known."""
        order = sorted(self.candidates, key=lambda candidate: not facts.same_formula(candidate, self.target))
        return replace(self, candidates=order)


def spectrum_predictions(
    candidates: Sequence[Sequence[str]],
    targets: Sequence[str],
    generated: Sequence[int] | None = None,
    valid: Sequence[int] | None = None,
    distinct: Sequence[int] | None = None,
    adducts: Sequence[str | None] | None = None,
    precursor_mz: Sequence[float] | None = None,
    ranks: int | None = None,
) -> Iterator[SpectrumPrediction]:
    """One SpectrumPrediction per spectrum. Without counts, the candidates themselves are counted.

    ranks: candidates beyond this rank are ignored, unless they have to be counted.
    """
    columns = {
        "targets": targets, "generated": generated, "valid": valid, "distinct": distinct,
        "adducts": adducts, "precursor_mz": precursor_mz,
    }  # fmt: skip
    for name, column in columns.items():
        if column is not None and len(column) != len(candidates):
            raise ValueError(f"{len(column)} {name} for the candidates of {len(candidates)} spectra")
    for row, (ranked, smiles) in enumerate(zip(candidates, targets, strict=True)):
        target = molecule_facts(smiles)
        if target is None:
            raise InputError(
                f"the true molecule of spectrum {row} of this batch, '{smiles}', cannot be read as SMILES; "
                "correct the SMILES or let the cleaning step Structure drop the record"
            )
        counted = generated is not None and valid is not None and distinct is not None
        adduct = None if adducts is None else adducts[row]
        molecules = [candidate_facts(candidate, adduct) for candidate in (ranked[:ranks] if counted else ranked)]
        readable = [molecule for molecule in molecules if molecule is not None]
        yield SpectrumPrediction(
            candidates=molecules,
            target=target,
            generated=len(molecules) if generated is None else int(generated[row]),
            valid=len(readable) if valid is None else int(valid[row]),
            distinct=len({m.canonical for m in readable}) if distinct is None else int(distinct[row]),
            adduct=adduct,
            precursor_mz=None if precursor_mz is None else float(precursor_mz[row]),
        )


class MoleculeMetric(Metric):
    """Base class: a subclass names M numbers and computes them for each spectrum; NaN (undefined) is not averaged.

    update: arguments of `spectrum_predictions`. compute() -> {name: mean over spectra}, or median for `medians`.
    """

    full_state_update = False
    medians: frozenset[str] = frozenset()
    values: list[Tensor]

    def __init__(self, names: Sequence[str], **kwargs):
        super().__init__(**kwargs)
        self.names = list(names)
        # One flat float32 state: a process without spectra gathers an empty float32 vector; any other shape would hang.
        self.add_state("values", default=[], dist_reduce_fx="cat")

    def score(self, prediction: SpectrumPrediction) -> list[float]:
        """The M numbers of one spectrum."""
        raise NotImplementedError

    def update(self, candidates: Sequence[Sequence[str]], targets: Sequence[str], **details) -> None:
        self.add_rows([self.score(prediction) for prediction in spectrum_predictions(candidates, targets, **details)])

    def compute(self) -> dict[str, float]:
        return self.reduce(self.matrix(len(self.names)))

    def add_rows(self, rows: list[list[float]]) -> None:
        if rows:
            self.values.append(torch.tensor(rows, dtype=torch.float32, device=self.device).flatten())

    def matrix(self, width: int) -> Tensor:
        """(n, width) float64: all rows added so far, from all processes once synchronised."""
        empty = isinstance(self.values, list) and not self.values
        values = torch.zeros(0) if empty else dim_zero_cat(self.values)
        return values.reshape(-1, width).cpu().double()

    def reduce(self, rows: Tensor) -> dict[str, float]:
        """{name: mean or median of the column, NaN left out} of (n, M) rows."""
        return {
            name: (column.nanmedian() if name in self.medians else column.nanmean()).item() if len(column) else NAN
            for name, column in zip(self.names, rows.T, strict=True)
        }


_SAME: dict[str, tuple[str, Callable[[SpectrumPrediction, int], bool]]] = {
    "inchikey": ("top{}_accuracy", lambda prediction, rank: prediction.hits[rank]),
    "smiles": (
        "top{}_same_smiles",
        lambda prediction, rank: facts.same_smiles(prediction.candidates[rank], prediction.target),
    ),
    "fingerprint": ("top{}_same_fingerprint", lambda prediction, rank: prediction.similarities[rank] == 1.0),
}


class TopKAccuracy(MoleculeMetric):
    """Share of spectra whose true molecule is among the first k candidates.

    definition: when two molecules are the same. "inchikey" (block 1, the standard definition); "smiles" (canonical, no
    stereo; stricter: tautomers differ); "fingerprint" (Tanimoto 1; less strict: homologues agree).
    """

    def __init__(self, k: Sequence[int] = (1, 5, 10), definition: str = "inchikey", **kwargs):
        name, self.same = _SAME[definition]
        self.k = list(k)
        super().__init__([name.format(k) for k in self.k], **kwargs)

    def score(self, prediction: SpectrumPrediction) -> list[float]:
        ranks = range(min(max(self.k), len(prediction.candidates)))
        first = next((rank for rank in ranks if self.same(prediction, rank)), max(self.k))
        return [float(first < k) for k in self.k]


class TanimotoAtK(MoleculeMetric):
    """Highest Tanimoto similarity (Morgan radius 2, 2048 bits) to the true molecule among the first k candidates.

    A spectrum without a valid candidate counts 0.
    """

    def __init__(self, k: Sequence[int] = (1, 10), **kwargs):
        self.k = list(k)
        super().__init__([f"tanimoto@{k}" for k in self.k], **kwargs)

    def score(self, prediction: SpectrumPrediction) -> list[float]:
        return [max(prediction.similarities[:k], default=0.0) for k in self.k]


class Validity(MoleculeMetric):
    """Share of the generated texts that are molecules, averaged over spectra."""

    def __init__(self, **kwargs):
        super().__init__(["validity"], **kwargs)

    def score(self, prediction: SpectrumPrediction) -> list[float]:
        return [prediction.valid / prediction.generated if prediction.generated else NAN]


class Uniqueness(MoleculeMetric):
    """Share of different molecules among the valid ones of a spectrum, averaged over the spectra that have any."""

    def __init__(self, **kwargs):
        super().__init__(["uniqueness"], **kwargs)

    def score(self, prediction: SpectrumPrediction) -> list[float]:
        return [prediction.distinct / prediction.valid if prediction.valid else NAN]


class FormulaMatch(MoleculeMetric):
    """Share of spectra with the true molecular formula among the first k candidates."""

    def __init__(self, k: Sequence[int] = (1, 10), **kwargs):
        self.k = list(k)
        super().__init__([f"formula_match@{k}" for k in self.k], **kwargs)

    def score(self, prediction: SpectrumPrediction) -> list[float]:
        ranked = prediction.candidates[: max(self.k)]
        first = next((i for i, c in enumerate(ranked) if facts.same_formula(c, prediction.target)), max(self.k))
        return [float(first < k) for k in self.k]


class PrecursorPpmError(MoleculeMetric):
    """Difference of the first candidate's ion, by the adduct, from the measured precursor.

    `precursor_ppm@1`: median absolute error in ppm, over spectra that have a candidate. `precursor_within_{w}ppm@1`:
    share of spectra whose first candidate fits within w ppm; a missing candidate does not fit. Spectra without
    precursor m/z or with an unknown adduct are left out of both.
    """

    medians = frozenset({"precursor_ppm@1"})

    def __init__(self, within: float = 10.0, **kwargs):
        self.within = within
        super().__init__(["precursor_ppm@1", f"precursor_within_{within:g}ppm@1"], **kwargs)

    def score(self, prediction: SpectrumPrediction) -> list[float]:
        if facts.precursor_ppm(prediction.target, prediction.precursor_mz, prediction.adduct) is None:
            return [NAN, NAN]
        first = prediction.candidates[0] if prediction.candidates else None
        error = facts.precursor_ppm(first, prediction.precursor_mz, prediction.adduct)
        return [NAN, 0.0] if error is None else [abs(error), float(abs(error) <= self.within)]
