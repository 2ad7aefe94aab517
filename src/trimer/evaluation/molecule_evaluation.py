"""Evaluate generated molecules on a split, and compare the model with baselines: same spectra, same metrics."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch import nn

from trimer.baselines.spectrum_baselines import BASELINES
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError
from trimer.evaluation.baseline_choice import chosen_baselines
from trimer.evaluation.candidate_trust import COLUMNS as TRUST_COLUMNS
from trimer.evaluation.candidate_trust import CandidateTrust, reliability_metrics
from trimer.evaluation.compared_methods import add_methods
from trimer.evaluation.evaluation import Evaluation
from trimer.generation.candidates import Candidate
from trimer.generation.molecule_generator import GeneratedMolecules, MoleculeGenerator
from trimer.metrics.candidate_metrics import MoleculeRanking
from trimer.metrics.intervals import Measured
from trimer.prediction.analogue_search import AnalogueSearch
from trimer.reporting.table import ResultTable
from trimer.reporting.verdicts import NO_RIVAL, is_exact

log = logging.getLogger(__name__)

GROUPS = ("adduct", "instrument_type")


@dataclass
class MoleculeEvaluation(Evaluation):
    """The table of methods by metrics, and one prediction per spectrum: plain values, best candidate first.

    similarities: per method, Tanimoto similarity of the first candidate to the true molecule, for every spectrum.
    slices: the model's metrics by the labels of a group, as by adduct, for the groups that were asked for.
    """

    table: ResultTable
    predictions: list[dict]
    metrics: dict[str, float]
    similarities: dict[str, list[float]]
    slices: dict[str, ResultTable] = field(default_factory=dict)

    def save(self, out: Path) -> None:
        """Write `table.*`, a `by_<group>.*` for each slice, and `predictions.parquet`."""
        self.table.save(out)
        for group, table in self.slices.items():
            table.save(out, f"by_{group}")
        write_predictions(out / "predictions.parquet", self.predictions)


def evaluate_pairs(
    net: nn.Module,
    tokenizer,
    generator: MoleculeGenerator,
    data: Any,
    split: str = "test",
    *,
    name: str = "model",
    baselines: bool | Sequence[str] = True,
    lookups: Mapping[str, Callable[..., list[list[str]]]] | None = None,
    k: Sequence[int] = (1, 5, 10),
    by: Sequence[str] = (),
    formula_known: bool = False,
    mces: bool = False,
    bootstrap: int = 200,
    limit: int | None = None,
    seed: int = 0,
    trust: CandidateTrust | None = None,
    library: AnalogueSearch | None = None,
) -> MoleculeEvaluation:
    """Generate molecules for every spectrum of a split (or of a seeded sample of `limit`), and measure them.

    data: a `SpectraToMolecules` that has been prepared.
    by: slices of the metrics, of adduct and instrument_type. formula_known: also with the candidates of the true
    formula first, under names that say so. mces: also the edit distance of molecules. bootstrap: resamples of molecules
    for standard errors.
    The baselines use the train split only, and predict at most as many candidates for the same spectra. baselines: as
    in `chosen_baselines`. lookups: more, by name, as `trimer.baselines.matchms_lookup.MatchmsLookup`. trust: adds its
    columns to the candidates, and metrics of their reliability. library: for the look-up of the generator.
    """
    if unknown := set(by) - set(GROUPS):
        raise ConfigError(f"by={sorted(unknown)}: slices are by {' and '.join(GROUPS)}")
    rows = sample_rows(data.split.rows(split), limit, seed)
    table = data.table(rows)
    sources = [data.store.ragged("source")[row] for row in rows]
    precursors, adducts = table["precursor_mz"].tolist(), table["adduct"].tolist()
    analogues = None if library is None else library.weights(table, sources)
    generated = generator.generate(net, tokenizer, sources, precursors, adducts, analogues)
    result = ResultTable(k=list(k))
    options: dict[str, Any] = {
        "k": sorted({1, *k}),
        "bootstrap": bootstrap,
        "formula_known": formula_known,
        "mces": mces,
    }
    ranking = measure(table, [[c.smiles for c in g.candidates] for g in generated], generated, by=by, **options)
    of_model, scores = ranking.measured(), ranking.rows()
    measured: dict[str, Measured] = {}
    similarities = {name: scores["tanimoto@1"].tolist()}
    shared = True
    if baselines:
        train = data.table(data.split.rows("train"))
        shared = shares_molecules(train, table)
        methods = {name: BASELINES[name] for name in chosen_baselines(baselines, BASELINES)}
        for baseline, rank in {**methods, **(lookups or {})}.items():
            log.info("baseline: %s", baseline)
            candidates = rank(train, table, k=max(k), seed=seed)
            of_baseline = measure(table, candidates, **options)
            measured[baseline] = of_baseline.measured()
            similarities[baseline] = of_baseline.rows()["tanimoto@1"].tolist()
    add_methods(result, name, measured | {name: of_model}, compared_metrics(of_model, shared))
    metrics = of_model.without_ends()
    slices = {group: slice_table(group, metrics, k) for group in by}
    records = predictions(table, generated, scores, trust)
    metrics |= reliability_metrics(records)
    return MoleculeEvaluation(result, records, metrics, similarities, slices)


def shares_molecules(train: SpectrumTable, table: SpectrumTable) -> bool:
    """Whether a molecule of the table is in train, by InChIKey block 1."""
    return not set(train["inchikey1"]).isdisjoint(table["inchikey1"])


def compared_metrics(measured: Measured, shared: bool) -> list[str]:
    """The metrics in which a look-up in the train split can be compared with a model.

    shared: whether molecules are in both splits; else no look-up can have the true molecule.
    """
    return [name for name in measured.draws if name not in NO_RIVAL and (shared or not is_exact(name))]


def slice_table(group: str, metrics: Mapping[str, float], k: Sequence[int]) -> ResultTable:
    """The metrics of each label of a group, as each adduct, a row each."""
    labels = [name.partition("=")[2] for name in metrics if name.startswith(f"spectra/{group}=")]
    table = ResultTable(k=list(k))
    for label in labels:
        end = f"/{group}={label}"
        values = {name.removesuffix(end): value for name, value in metrics.items() if name.endswith(end)}
        table.add(f"{group} {label} ({values['spectra']:,.0f} spectra)", values)
    return table


def sample_rows(rows: np.ndarray, limit: int | None, seed: int) -> np.ndarray:
    """All rows, or a seeded sample of them in ascending order."""
    if limit is None or limit >= len(rows):
        return rows
    return np.sort(np.random.default_rng(seed).permutation(rows)[:limit])


def measure(
    table: SpectrumTable,
    candidates: list[list[str]],
    generated: Sequence[GeneratedMolecules] | None = None,
    **options,
) -> MoleculeRanking:
    """The ranking metrics of candidates for labelled spectra; a process of a distributed run measures by itself."""
    ranking = MoleculeRanking(**options, sync_on_compute=False)
    details = {"adducts": list(table["adduct"]), "precursor_mz": list(table["precursor_mz"])}
    if generated is not None:
        details |= {
            "generated": [g.generated for g in generated],
            "valid": [g.valid for g in generated],
            "distinct": [sum(c.count > 0 for c in g.candidates) for g in generated],  # without analogues
        }
    ranking.update(candidates, list(table["smiles"]), groups={name: list(table[name]) for name in GROUPS}, **details)
    return ranking


def predictions(
    table: SpectrumTable,
    generated: Sequence[GeneratedMolecules],
    scores: dict[str, np.ndarray],
    trust: CandidateTrust | None = None,
) -> list[dict]:
    """One record of plain values per spectrum: measurement, true molecule, candidates and scores."""
    records = []
    for row, result in enumerate(generated):
        mz, intensity = table.peaks(row)
        columns = {} if trust is None else trust.columns(result)
        records.append(
            {
                "id": table["id"][row],
                "smiles": table["smiles"][row],
                "adduct": table["adduct"][row],
                "precursor_mz": float(table["precursor_mz"][row]),
                "collision_energy": table["collision_energy"][row],
                "instrument_type": table["instrument_type"][row],
                "mz": mz.tolist(),
                "intensity": intensity.tolist(),
                "candidates": [
                    asdict(candidate) | columns.get(rank, {}) for rank, candidate in enumerate(result.candidates, 1)
                ],
                "scores": {name: float(values[row]) for name, values in scores.items()},
            }
        )
    return records


def write_predictions(path: Path, records: list[dict]) -> None:
    """One row per spectrum and candidate, best first; a spectrum without a molecule keeps one row without a SMILES."""
    rows = []
    for record in records:
        head = {name: record[name] for name in ("id", "precursor_mz", "adduct")} | {"true_smiles": record["smiles"]}
        nothing = dict.fromkeys([*(column.name for column in fields(Candidate)), *TRUST_COLUMNS]) | {"count": 0}
        for rank, candidate in enumerate(record["candidates"] or [nothing], start=1):
            rows.append({**head, "rank": rank, **nothing, **candidate})
    pq.write_table(pa.Table.from_pylist(rows), path)
