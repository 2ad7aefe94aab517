"""Test-time tuning: does a model that is tuned on the training spectra most like a spectrum predict it better?

Run from the root of the checkout, with the folder of the data in TRIMER_DATA:

    python experiments/spectrums/test_time_tuning.py --output runs/test_time_tuning.csv

For each of some validation spectra, each of another molecule, copies of the weights are tuned for a few steps on the
most similar training spectra, by the scores of the look-up of analogues (shared peaks, shared neutral losses and a
predicted fingerprint). Then molecules are sampled as `trimer predict` does. The settings are compared on the first half
of the spectra; the best is compared with the model before tuning on the other half: same spectra, same random seeds.

The output has a row for each spectrum and setting. The script adds what is missing, so it can be stopped and started
again. Seconds are CPU seconds.
"""

from __future__ import annotations

import argparse
import copy
import csv
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from trimer import build, compose
from trimer.baselines.analogue_lookup import AnalogueLibrary
from trimer.checkpoint import Loaded, load
from trimer.commands.evaluate import evaluated_data
from trimer.data.core.sampler import BatchKey
from trimer.data.modules.spectrum_pairs import Pairs
from trimer.errors import InputError
from trimer.evaluation.molecule_evaluation import measure
from trimer.generation.cache import Hypothesis
from trimer.generation.candidates import rank_candidates
from trimer.generation.molecule_generator import GeneratedMolecules
from trimer.metrics.candidate_metrics import resampled
from trimer.prediction.analogue_search import AnalogueSearch, mean_states

METRICS = {  # of `MoleculeRanking` -> heading
    "tanimoto@1": "Tanimoto@1",
    "tanimoto@10": "Tanimoto@10",
    "formula_match@1": "Formula@1",
    "top1_accuracy": "Top-1",
    "top10_accuracy": "Top-10",
}
RANKINGS = {"": "samples and look-up", "samples_": "samples alone"}  # prefix of the columns -> heading
HALVES = ("choice", "report")


@dataclass(frozen=True)
class Setting:
    """similar: training spectra to tune on; per_molecule: at most so many of one molecule. rate: of AdamW.

    parameters: `all`, or `decoder` to keep the encoder and the embeddings.
    """

    similar: int = 0
    per_molecule: int = 0
    rate: float = 0.0
    parameters: str = "none"
    steps: int = 0

    def __str__(self) -> str:
        if not self.steps:
            return "before tuning"
        return (
            f"{self.similar} spectra, {self.per_molecule} per molecule, {self.steps} steps, {self.rate:g}, "
            f"{self.parameters}"
        )


UNTUNED = Setting()


def drawn_rows(rows: np.ndarray, molecules: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A random spectrum of each of `count` random molecules, in random order. molecules: of all rows of the store."""
    shuffled = np.random.default_rng(seed).permutation(rows)
    _, first = np.unique(molecules[shuffled].astype(str), return_index=True)
    return shuffled[np.sort(first)[:count]]


def similar_rows(scores: np.ndarray, of_row: np.ndarray, count: int, per_molecule: int) -> np.ndarray:
    """The `count` highest scores of training spectra, at most `per_molecule` of a molecule. of_row: their molecules."""
    taken: dict[int, int] = {}
    chosen: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        molecule = int(of_row[index])
        if taken.get(molecule, 0) < per_molecule:
            taken[molecule] = taken.get(molecule, 0) + 1
            chosen.append(index)
        if len(chosen) == count:
            break
    return np.array(chosen, np.int64)


class Experiment:
    """A model, its data, and everything that is the same for all settings.

    rows: (n,) rows of the spectra in the store; of each spectrum `scores` has those of all training spectra.
    """

    def __init__(self, loaded: Loaded, data: Any, cfg: Any, count: int, seed: int):
        self.net, self.tokenizer, self.data, self.seed = loaded.net, loaded.tokenizer, data, seed
        self.weights = copy.deepcopy(self.net.state_dict())
        self.smoothing = loaded.contract["task"].get("label_smoothing", 0.0)
        self.pairs = Pairs(data.store, seed, data.noise)
        self.plain = Pairs(data.store)
        self.train = data.split.rows("train")
        self.molecules = np.array(data.store.strings("inchikey1"), dtype=object)
        self.rows = drawn_rows(data.split.rows("val"), self.molecules, count, seed)
        self.table = data.table(self.rows)
        self.sources = [data.store.ragged("source")[row] for row in self.rows]
        self.generator = loaded.study.generator(cfg)
        train = data.table(self.train)
        search: AnalogueSearch | None = loaded.study.analogues(self.generator, train)
        self.analogues = None if search is None else search.weights(self.table, self.sources)
        library = AnalogueLibrary(train)
        fitted = None if search is None else search.regression
        expected = None if fitted is None else fitted.predict(mean_states(self.net, self.sources))
        self.scores = list(library.scores(self.table, expected))
        self.of_row = library.molecules.of_row

    def similar(self, index: int, setting: Setting) -> np.ndarray:
        """Rows of the store of the training spectra most like a spectrum; InputError if one is of its molecule."""
        indices = similar_rows(self.scores[index], self.of_row, setting.similar, setting.per_molecule)
        rows, molecule = self.train[indices], self.molecules[self.rows[index]]
        if (self.molecules[rows] == molecule).any():
            raise InputError(f"the molecule {molecule} of a validation spectrum is in the train split: check the split")
        return rows

    def tuned(self, index: int, setting: Setting, steps: Sequence[int]) -> Iterator[tuple[int, float]]:
        """Tune the network from its first weights; yields after each of these steps with the seconds so far."""
        self.net.load_state_dict(self.weights)
        torch.manual_seed(self.seed)
        start = time.process_time()
        rows = self.similar(index, setting)
        frozen = () if setting.parameters == "all" else ("encoder", "tokens", "decoder_embedding")
        weights = [w for name, w in self.net.named_parameters() if not name.startswith(frozen)]
        optimizer = torch.optim.AdamW(weights, lr=setting.rate, weight_decay=0.0)
        seconds = time.process_time() - start
        for step in range(1, max(steps) + 1):
            start = time.process_time()
            self.net.train()
            batch = self.pairs[BatchKey(step, 0, rows)]  # new noise in each step
            logits = self.net(batch.source, batch.target).float()
            self.net.zero_grad()
            F.cross_entropy(logits, batch.labels, label_smoothing=self.smoothing).backward()
            optimizer.step()
            self.net.eval()
            seconds += time.process_time() - start
            if step in steps:
                yield step, seconds

    def measured(self, index: int) -> dict[str, float]:
        """Sample and rank molecules with the present weights: metrics, seconds, and the loss of the true molecule."""
        table, start = self.table.take(np.array([index])), time.process_time()
        precursors, adducts = table["precursor_mz"].tolist(), table["adduct"].tolist()
        analogues = None if self.analogues is None else [self.analogues[index]]
        (generated,) = self.generator.generate(
            self.net, self.tokenizer, [self.sources[index]], precursors, adducts, analogues
        )
        values = {"seconds_sampling": time.process_time() - start, "true_loss": self.true_loss(index)}
        for prefix, result in zip(RANKINGS, (generated, self.without_lookup(generated, index)), strict=True):
            ranking = measure(table, [[c.smiles for c in result.candidates]], [result], k=(1, 10))
            scores = ranking.rows()
            values |= {prefix + name: float(scores[name][0]) for name in METRICS}
        return values

    def without_lookup(self, generated: GeneratedMolecules, index: int) -> GeneratedMolecules:
        """The same samples, ranked alone."""
        drawn = [c for c in generated.candidates if c.count]
        samples = [
            Hypothesis([number], c.log_likelihood or 0.0) for number, c in enumerate(drawn) for _ in range(c.count)
        ]
        precursor, adduct = float(self.table["precursor_mz"][index]), self.table["adduct"][index]
        generator, names = self.generator, [c.smiles for c in drawn]
        ranked = rank_candidates(
            samples, lambda ids: names[ids[0]], generator.rank, precursor, adduct, generator.tolerance_ppm
        )
        return GeneratedMolecules(ranked.candidates, generated.generated, generated.valid)

    @torch.inference_mode()
    def true_loss(self, index: int) -> float:
        """Cross-entropy of the text of the true molecule, in nats per token."""
        batch = self.plain[BatchKey(0, 0, self.rows[index : index + 1])]
        return F.cross_entropy(self.net(batch.source, batch.target).float(), batch.labels).item()


class Results:
    """The file of results, with a row for each spectrum and setting. fixed: columns that all rows share."""

    def __init__(self, path: Path, fixed: Mapping[str, Any]):
        self.path, self.fixed = path, {name: str(value) for name, value in fixed.items()}
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as stream:
                self.rows = list(csv.DictReader(stream))
        for row, (name, value) in itertools.product(self.rows, self.fixed.items()):
            if row.get(name) != value:
                raise InputError(f"{path} has rows with {name}={row.get(name)}, not {value}: choose another --output")
        self.known = {(int(row["row"]), setting_of(row)) for row in self.rows}

    def add(self, row: int, setting: Setting, values: Mapping[str, Any]) -> None:
        entry = {**self.fixed, "row": row, **asdict(setting), **values}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(entry))
            if not self.rows:
                writer.writeheader()
            writer.writerow(entry)
        self.rows.append({name: str(value) for name, value in entry.items()})
        self.known.add((row, setting))

    def values(self, half: str, setting: Setting, rows: Sequence[int] | None = None) -> dict[int, dict[str, float]]:
        """Row of a spectrum -> the numbers of a setting, in the order of the file."""
        texts = [field.name for field in fields(Setting)] + ["row", "half", "molecule", *self.fixed]
        return {
            int(entry["row"]): {name: float(value) for name, value in entry.items() if name not in texts}
            for entry in self.rows
            if entry["half"] == half and setting_of(entry) == setting and (rows is None or int(entry["row"]) in rows)
        }


def setting_of(row: Mapping[str, str]) -> Setting:
    """The setting of a row of the file."""
    return Setting(
        int(row["similar"]), int(row["per_molecule"]), float(row["rate"]), row["parameters"], int(row["steps"])
    )


def run_settings(experiment: Experiment, results: Results, half: str, settings: Sequence[Setting]) -> None:
    """Measure what is missing of these settings and the model before tuning, spectrum by spectrum.

    Settings that differ in `steps` only share a tuning.
    """
    middle = len(experiment.rows) // 2
    groups: dict[Setting, list[int]] = {}
    for setting in settings:
        groups.setdefault(Setting(**{**asdict(setting), "steps": 0}), []).append(setting.steps)
    for index in range(middle) if half == HALVES[0] else range(middle, len(experiment.rows)):
        row = int(experiment.rows[index])
        head = {"half": half, "molecule": experiment.molecules[row]}
        if (row, UNTUNED) not in results.known:
            experiment.net.load_state_dict(experiment.weights)
            results.add(row, UNTUNED, head | {"seconds_tuning": 0.0} | experiment.measured(index))
        for group, all_steps in groups.items():
            if steps := [n for n in all_steps if (row, Setting(**{**asdict(group), "steps": n})) not in results.known]:
                for step, seconds in experiment.tuned(index, group, steps):
                    setting = Setting(**{**asdict(group), "steps": step})
                    results.add(row, setting, head | {"seconds_tuning": seconds} | experiment.measured(index))
        print(f"{half}: {index + 1} of {len(experiment.rows)} spectra", flush=True)


def difference(results: Results, half: str, setting: Setting, name: str) -> tuple[float, float, float, int]:
    """Mean of a column, its mean difference to the model before tuning, the standard error of that, and the spectra."""
    before, after = results.values(half, UNTUNED), results.values(half, setting)
    shared = [row for row in after if row in before]
    changes = np.array([[after[row][name] - before[row][name]] for row in shared])
    error = resampled(changes).std(ddof=1) if len(changes) > 1 else float("nan")
    return float(np.mean([after[row][name] for row in shared])), float(changes.mean()), float(error), len(shared)


def best_setting(results: Results, settings: Sequence[Setting]) -> Setting:
    """The highest mean of Tanimoto@1 and Tanimoto@10 on the first half, with the look-up, as `predict` ranks."""

    def score(setting: Setting) -> float:
        return sum(difference(results, HALVES[0], setting, name)[1] for name in ("tanimoto@1", "tanimoto@10"))

    return max(settings, key=score)


def table(results: Results, half: str, settings: Sequence[Setting]) -> str:
    """Markdown: for each ranking and setting the means, and the paired differences with their standard errors."""
    names = list(METRICS)
    lines = [
        "| Ranking | Setting | " + " | ".join(METRICS.values()) + " | Loss of the true molecule | CPU seconds |",
        "| :-- | :-- |" + " --: |" * (len(names) + 2),
    ]
    for (prefix, heading), setting in itertools.product(RANKINGS.items(), (UNTUNED, *settings)):
        cells = [heading, str(setting)]
        for name in [*(prefix + name for name in names), "true_loss"]:
            mean, change, error, _ = difference(results, half, setting, name)
            cells.append(f"{mean:.3f}" + ("" if setting == UNTUNED else f" ({change:+.3f} ± {error:.3f})"))
        seconds = [difference(results, half, setting, f"seconds_{name}")[0] for name in ("tuning", "sampling")]
        lines.append("| " + " | ".join([*cells, f"{sum(seconds):.1f}"]) + " |")
    spectra = difference(results, half, UNTUNED, "tanimoto@1")[3]
    return "\n".join([f"{half}: {spectra} spectra; in brackets: paired difference ± standard error", "", *lines])


def arguments_of(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    add: Callable[..., Any] = parser.add_argument
    add("--ckpt", default="spectrums", help="shipped model, checkpoint or run folder")
    add("--output", type=Path, default=Path("runs/test_time_tuning.csv"), help="the file of results")
    add("--spectra", type=int, default=96, help="validation spectra, each of another molecule")
    add("--samples", type=int, default=32, help="samples per spectrum")
    add("--seed", type=int, default=0, help="of the drawn spectra, the noise and the samples")
    add("--similar", type=int, nargs="+", default=[16, 32], help="training spectra to tune on")
    add("--per-molecule", type=int, nargs="+", default=[1], help="training spectra of one molecule, at most")
    add("--rates", type=float, nargs="+", default=[3e-5, 1e-4], help="learning rates of AdamW")
    add("--steps", type=int, nargs="+", default=[4, 8], help="optimizer steps, each on all the training spectra")
    add("--parameters", nargs="+", default=["all"], choices=["all", "decoder"], help="what is tuned")
    add("--overrides", nargs="*", default=[], help="of the config of trimer evaluate, such as paths.cache=<folder>")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = arguments_of(words)
    torch.set_num_threads(1)
    cfg = compose("evaluate", [f"ckpt={arguments.ckpt}", f"seed={arguments.seed}", *arguments.overrides])
    cfg.generator.num_samples = arguments.samples
    loaded = load(arguments.ckpt)
    data = build(evaluated_data(cfg, loaded.contract))
    data.setup()
    fixed = {"spectra": arguments.spectra, "samples": arguments.samples, "seed": arguments.seed}
    results = Results(arguments.output, fixed)
    grid = itertools.product(
        arguments.similar, arguments.per_molecule, arguments.rates, arguments.parameters, arguments.steps
    )
    settings = [Setting(*values) for values in grid]
    experiment = Experiment(loaded, data, cfg, arguments.spectra, arguments.seed)
    run_settings(experiment, results, HALVES[0], settings)
    print(table(results, HALVES[0], settings))
    best = best_setting(results, settings)
    run_settings(experiment, results, HALVES[1], [best])
    print(table(results, HALVES[1], [best]))


if __name__ == "__main__":
    main()
