"""Peptides: how fast models of retention time and fragment intensity are, and how good at equal time.

    python benchmarks/peptides.py PEPTIDES --peer PEER/bin/python --seconds 120 --rounds 3
    python benchmarks/peptides.py PEPTIDES --peer PEER/bin/python --tasks rt --limit 3000 --seconds 10 --rounds 1

This package beside peptdeep (AlphaPeptDeep), each in an environment of its own (README.md says how to make the peer's),
as child processes in turns: the peer first, then ours with the CPU-seconds that the peer has trained. Both get the same
tables and leave predictions and times; the quality of both is computed here, by `peptides_metrics`.

PEPTIDES holds proteomTools_train.csv and proteomTools_test.csv (sequence, irt) and
ms2_deepphospho/rpe1_dia_train.json.gz, which is split 90/10 by stripped sequence. A child is called as

    <python> peptides_peer.py|peptides_ours.py rt|ms2 INPUT OUTPUT --seconds S [--batch B --lr R --threads 1 --seed N]

and INPUT holds, as parquet:

    train.parquet       rt: id, sequence, mods, mod_sites, proforma, retention
                        ms2: id, sequence, mods, mod_sites, charge, nce, instrument, proforma
    fragments.parquet   ms2, training rows only: id, series (b, y), number, charge (1, 2), loss ("", "H3PO4"), intensity
                        relative to the strongest that is kept; ions that are not listed were not seen
    test.parquet        the same columns as train.parquet, without retention

`mods` and `mod_sites` are in the notation of alphabase (`Acetyl@Protein_N-term;Phospho@S`, `0;3`), `proforma` says the
same with UNIMOD accessions; the carbamidomethyl group that every cysteine has is written in neither. The collision
energy and the instrument are not in the file: they are one assumed value for all.

The child trains on train.parquet and writes to OUTPUT:

    predictions.parquet rt: id, retention in the unit of the training rows
                        ms2: id, series, number, charge, loss, intensity in any scale; cells that are missing are zero
                        neither is clipped; rows in any order, every id of test.parquet once (ms2: every cell, at most)
    times.json          model, parameters, {training,prediction}_samples_per_second, epochs,
                        {training,prediction}_seconds (CPU), {training,prediction}_wall_seconds, and what else is of use

Training is clocked from tables in memory to a trained model, prediction from a table in memory to predictions; both
with everything that is done once a peptide. The measured values of the test rows stay with this script.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from peptides_contract import Columns, read_columns, write_columns
from peptides_metrics import CHANNELS, ms2_metrics, possible_cells, retention_metrics

HERE = Path(__file__).resolve().parent
QUALITY = {
    "rt": ("MAE", "p95", "R2", "r2"),
    "ms2": ("median cosine", "median Pearson", "median spectral angle", "median Spearman"),
}
# DeepPhospho's signs: residue, name in alphabase, accession
SIGNS = {"1": ("M", "Oxidation@M", 35), **{n: (r, f"Phospho@{r}", 21) for n, r in zip("234", "STY", strict=True)}}
NCE, INSTRUMENT = 28.0, "QE"


def prepare_retention(peptides: Path, folder: Path, limit: int | None) -> None:
    """The indexed retention times of ProteomeTools, as they are split."""
    start = 0
    for part in ("train", "test"):
        with (peptides / f"proteomTools_{part}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))[:limit]
        sequences = np.array([row["sequence"] for row in rows], object)
        ids = start + np.arange(len(rows))
        start += len(rows)
        empty = np.full(len(rows), "", object)
        retention = np.array([float(row["irt"]) for row in rows])
        columns = {"id": ids, "sequence": sequences, "mods": empty, "mod_sites": empty, "proforma": sequences}
        write_columns(folder / f"{part}.parquet", columns | ({"retention": retention} if part == "train" else {}))
        if part == "test":
            write_columns(folder / "truth" / "test.parquet", {"id": ids, "retention": retention})


def prepare_spectra(peptides: Path, folder: Path, limit: int | None) -> None:
    """Phosphorylated and other peptides of RPE1 cells, split 90/10 by stripped sequence."""
    with gzip.open(peptides / "ms2_deepphospho" / "rpe1_dia_train.json.gz", "rt") as file:
        spectra = [parse_spectrum(key, peaks) for key, peaks in json.load(file).items()]
    spectra = [spectrum for spectrum in spectra if 7 <= len(spectrum[0]["sequence"]) <= 30]
    spectra = [spectrum for spectrum in spectra if spectrum[0]["charge"] <= 4]
    rng = np.random.default_rng(0)
    sequences = sorted({precursor["sequence"] for precursor, _ in spectra})
    held = {sequences[i] for i in rng.permutation(len(sequences))[: len(sequences) // 10]}
    parts: dict[str, tuple[list, list]] = {"train": ([], []), "test": ([], [])}
    for identity in rng.permutation(len(spectra)).tolist():
        precursor, ions = spectra[identity]
        precursors, fragments = parts["test" if precursor["sequence"] in held else "train"]
        if ions and (limit is None or len(precursors) < limit):
            precursors.append({"id": identity, **precursor})
            fragments.extend({"id": identity, **ion} for ion in ions)
    for part, path in (("train", folder / "fragments.parquet"), ("test", folder / "truth" / "test.parquet")):
        write_columns(folder / f"{part}.parquet", as_columns(parts[part][0]))
        write_columns(path, as_columns(parts[part][1]))


def parse_spectrum(key: str, peaks: dict[str, float]) -> tuple[dict, list[dict]]:
    """A precursor and its ions of DeepPhospho's file: `*AC2DE1K.2` is Acetyl-ACpSDEoxMK, 2+."""
    text, charge = key.split(".")
    mods, proforma = ([("Acetyl@Protein_N-term", 0)], "[UNIMOD:1]-") if text[0] == "*" else ([], "")
    sequence = ""
    for sign in text[1:]:
        residue, name, accession = SIGNS.get(sign, (sign, "", 0))
        sequence += residue
        proforma += f"{residue}[UNIMOD:{accession}]" if accession else residue
        if name:
            mods.append((name, len(sequence)))
    precursor = {
        "sequence": sequence,
        "mods": ";".join(name for name, _ in mods),
        "mod_sites": ";".join(str(site) for _, site in mods),
        "charge": int(charge),
        "nce": NCE,
        "instrument": INSTRUMENT,
        "proforma": proforma,
    }
    possible = possible_cells(as_columns([precursor])).reshape(-1, len(CHANNELS))
    ions = []
    for name, intensity in peaks.items():
        series, number, ion, loss = re.fullmatch(r"([by])(\d+)\+(\d)-(.+)", name).groups()
        channel = (series, int(ion), {"Noloss": "", "1,H3PO4": "H3PO4"}.get(loss))
        site = int(number) - 1 if series == "b" else len(sequence) - 1 - int(number)
        if channel in CHANNELS and possible[site, CHANNELS.index(channel)]:
            row = dict(zip(("series", "charge", "loss"), channel, strict=True))
            ions.append(row | {"number": int(number), "intensity": intensity})
    strongest = max((ion["intensity"] for ion in ions), default=0)
    return precursor, [ion | {"intensity": ion["intensity"] / strongest} for ion in ions]


def as_columns(rows: list[dict]) -> Columns:
    """Rows as columns, text as objects."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {name: np.array(values, object if isinstance(values[0], str) else None) for name, values in columns.items()}


def run_side(python: Path, script: str, task: str, folder: Path, output: Path, words: list[str]) -> dict:
    """One child; its times, with the quality of its predictions."""
    threads = words[words.index("--threads") + 1]
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    command = [str(python), str(HERE / script), task, str(folder), str(output), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    predicted = read_columns(output / "predictions.parquet")
    truth = read_columns(folder / "truth" / "test.parquet")
    times = json.loads((output / "times.json").read_text())
    if task == "ms2":
        return times | {"quality": ms2_metrics(read_columns(folder / "test.parquet"), truth, predicted)}
    place = {identity: row for row, identity in enumerate(predicted["id"].tolist())}
    if len(place) != len(predicted["id"]) or place.keys() != set(truth["id"].tolist()):
        raise SystemExit(f"{output / 'predictions.parquet'} has not every test row once")
    retention = predicted["retention"][[place[identity] for identity in truth["id"].tolist()]]
    return times | {"quality": retention_metrics(truth["retention"], retention)}


def markdown(task: str, runs: dict[str, list[dict]]) -> str:
    """The table of a task: medians over rounds, and the median ratio of the paired rounds."""

    def middle(side: str, name: str) -> float:
        return statistics.median(run[name] for run in runs[side])

    rates = ("training_samples_per_second", "prediction_samples_per_second")
    lines = [
        "| | parameters | training, samples/CPU-s | prediction, samples/CPU-s | CPU-seconds trained | epochs | "
        + " | ".join(QUALITY[task])
        + " |",
        "| --- |" + " --: |" * (5 + len(QUALITY[task])),
    ]
    for side, rounds in runs.items():
        quality = [statistics.median(run["quality"][name] for run in rounds) for name in QUALITY[task]]
        cells = [f"{middle(side, 'parameters'):,.0f}", *(f"{middle(side, name):,.0f}" for name in rates)]
        cells += [f"{middle(side, 'training_seconds'):.0f}", f"{middle(side, 'epochs'):g}"]
        cells += [
            f"{value:.2f}" if name in ("MAE", "p95") else f"{value:.4f}"
            for name, value in zip(QUALITY[task], quality, strict=True)
        ]
        lines.append(f"| {rounds[0]['model']} | " + " | ".join(cells) + " |")
    if len(runs) == 2:
        ratios = [
            statistics.median(o[name] / p[name] for o, p in zip(runs["ours"], runs["peer"], strict=True))
            for name in ("parameters", *rates)
        ]
        cells = [f"{ratios[0]:.2f}", *(f"**{ratio:.2f}**" for ratio in ratios[1:])]
        lines.append("| ours to theirs | " + " | ".join(cells) + " |" + " |" * (2 + len(QUALITY[task])))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peptides", type=Path, help="folder with the files named above")
    parser.add_argument("--tasks", nargs="+", choices=["rt", "ms2"], default=["rt", "ms2"])
    parser.add_argument("--peer", type=Path, help="python of the peer's environment; without it, only ours")
    parser.add_argument("--ours", default=sys.executable, help="python of our environment; 'none' leaves ours out")
    parser.add_argument("--seconds", type=float, default=120, help="CPU-seconds of training")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=int, help="use so many training and test rows")
    parser.add_argument("--output", type=Path, default=Path("runs/benchmarks/peptides"))
    options = parser.parse_args()
    sides = {}
    if options.peer:
        sides["peer"] = options.peer, "peptides_peer.py"
    if options.ours != "none":
        sides["ours"] = options.ours, "peptides_ours.py"
    tables = []
    for task in options.tasks:
        folder = options.output / task
        {"rt": prepare_retention, "ms2": prepare_spectra}[task](options.peptides, folder / "tables", options.limit)
        runs: dict[str, list[dict]] = {side: [] for side in sides}
        for seed in range(options.rounds):
            seconds = options.seconds
            for side, (python, script) in sides.items():
                words = ["--seconds", str(seconds), "--threads", str(options.threads), "--seed", str(seed)]
                output = folder / f"{side}-{seed}"
                run = run_side(python, script, task, folder / "tables", output, words)
                seconds = run["training_seconds"]  # of the peer, for ours
                runs[side].append(run)
                quality = ", ".join(f"{name} {run['quality'][name]:.4g}" for name in QUALITY[task])
                print(f"{task} {seed} {run['model']}: {seconds:.0f} s, {run['epochs']:g} epochs, {quality}", flush=True)
        (folder / "runs.json").write_text(json.dumps(runs, indent=2) + "\n")
        tables.append(f"## {task}\n\n{markdown(task, runs)}\n")
    text = "\n".join(tables)
    (options.output / "result.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
