"""Compare the stored predictions of an evaluation with the look-ups, spectrum by spectrum, without the model's samples.

Run from the root of the checkout, with the folder of the data in TRIMER_DATA:

    python experiments/spectrums/stored_predictions.py runs/spectrums/finetune/<run>/test --ckpt spectrums

The candidates of the model are those of `predictions.parquet` in the folder. The look-ups are computed again; beside
the baselines of `trimer evaluate` there is the look-up that the model has in itself, alone: the consensus of the
training molecules whose spectra and predicted fingerprints are most similar. All are measured on the same spectra, and
the differences are paired, over resampled molecules. The tables are printed and written beside the predictions
or to `--output`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from trimer import build, compose
from trimer.baselines.spectrum_baselines import BASELINES
from trimer.checkpoint import load
from trimer.commands.evaluate import evaluated_data
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import InputError
from trimer.evaluation.compared_methods import add_methods
from trimer.evaluation.molecule_evaluation import compared_metrics, measure, shares_molecules
from trimer.files import write_text
from trimer.generation.candidates import Analogues, rank_candidates
from trimer.metrics.intervals import Measured
from trimer.reporting.differences import to_markdown
from trimer.reporting.table import ResultTable

COLUMNS = ("top1_accuracy", "top10_accuracy", "tanimoto@1", "tanimoto@10", "formula_match@1", "formula_match@10")
CONSENSUS = "consensus of the look-up"
ROUNDING = 1e-6  # of a value in a stored table, whose rows are float32


def stored_candidates(path: Path, ids: Sequence[str]) -> list[list[str]]:
    """The SMILES of these spectra, best first; InputError if the file is of other spectra."""
    columns = pq.read_table(path, columns=["id", "rank", "smiles"]).to_pydict()
    by_id: dict[str, list[tuple[int, str]]] = {}
    for name, rank, smiles in zip(columns["id"], columns["rank"], columns["smiles"], strict=True):
        ranked = by_id.setdefault(name, [])
        if smiles is not None:
            ranked.append((rank, smiles))
    if set(by_id) != set(ids):
        both = len(set(by_id) & set(ids))
        raise InputError(
            f"{path} has {len(by_id):,} spectra and the split {len(set(ids)):,}, {both:,} of them in both: name the "
            "checkpoint and the data of this evaluation"
        )
    return [[smiles for _, smiles in sorted(by_id[name])] for name in ids]


def consensus(
    table: SpectrumTable, weights: Sequence[dict[str, float]], tolerance_ppm: float | None
) -> list[list[str]]:
    """Training molecules of each spectrum, chosen as `generator.rank=consensus` does, without samples."""
    ranked = []
    for mz, adduct, of_row in zip(table["precursor_mz"], table["adduct"], weights, strict=True):
        result = rank_candidates([], str, "consensus", float(mz), adduct, tolerance_ppm, Analogues(of_row, 0))
        ranked.append([candidate.smiles for candidate in result.candidates])
    return ranked


def compare(folder: Path, ckpt: str, split: str, overrides: Sequence[str] = ()) -> ResultTable:
    """The table of the stored predictions and the look-ups. folder: that of `predictions.parquet`."""
    cfg = compose("evaluate", [f"ckpt={ckpt}", *overrides])
    loaded = load(ckpt)
    data: Any = build(evaluated_data(cfg, loaded.contract))
    data.setup()
    rows = data.split.rows(split)
    table, train = data.table(rows), data.table(data.split.rows("train"))
    options: dict[str, Any] = {"k": [1, 5, 10], "bootstrap": 1000}
    candidates = {name: rank(train, table, k=10) for name, rank in BASELINES.items()}
    generator = loaded.study.generator(cfg)
    if (search := loaded.study.analogues(generator, train)) is not None:
        sources = [data.store.ragged("source")[row] for row in rows]
        candidates[CONSENSUS] = consensus(table, search.weights(table, sources), generator.tolerance_ppm)
    candidates["model"] = stored_candidates(folder / "predictions.parquet", table["id"].tolist())
    measured: dict[str, Measured] = {}
    for name, ranked in candidates.items():
        measured[name] = measure(table, [row[:10] for row in ranked], **options).measured()
    result = ResultTable(metrics=COLUMNS)
    add_methods(result, "model", measured, compared_metrics(measured["model"], shares_molecules(train, table)))
    return result


def update(path: Path, table: ResultTable) -> None:
    """Add the intervals and differences of `table` to a stored result table; InputError if its values are others."""
    stored = ResultTable.from_dict(json.loads(path.read_text(encoding="utf-8")))
    new = {row["method"] if row["kind"] != "method" else "": row["values"] for row in table.rows}
    for row in stored.rows:
        values = new[row["method"] if row["kind"] != "method" else ""]
        for name in COLUMNS:
            if abs(values[name] - row["values"][name]) > ROUNDING:
                raise InputError(f"{path}: {name} of {row['method']} is {row['values'][name]}, not {values[name]}")
        row["values"] |= {name: value for name, value in values.items() if name not in row["values"]}
    write_text(path, stored.to_json())


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("folder", type=Path, help="folder of predictions.parquet, such as <run>/test")
    parser.add_argument("--ckpt", default="spectrums", help="shipped model, checkpoint or run folder")
    parser.add_argument("--split", default="test")
    parser.add_argument("--output", type=Path, help="folder of the tables; default: that of the predictions")
    parser.add_argument(
        "--update", type=Path, help="a table.json of this evaluation that gets intervals and differences"
    )
    parser.add_argument("--overrides", nargs="*", default=[], help="of the config, such as paths.cache=<folder>")
    arguments = parser.parse_args(words)
    table = compare(arguments.folder, arguments.ckpt, arguments.split, arguments.overrides)
    table.save(arguments.output or arguments.folder, "paired")
    if arguments.update:
        update(arguments.update, table)
    print(table.to_markdown())
    print(to_markdown(table))


if __name__ == "__main__":
    main()
