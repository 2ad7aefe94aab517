"""A failing page or figure never fails a run: it is named with the reason, and all numbers are written."""

from __future__ import annotations

import json
import logging

import pytest

from trimer.cli.main import main
from trimer.errors import InputError
from trimer.reporting.attempts import FAILED, attempt, failed_reports
from trimer.reporting.page import Detail, write_page
from trimer.reporting.table import ResultTable
from trimer.simulate.simulated_molecules import simulated_molecules


@pytest.fixture(autouse=True)
def nothing_failed_before():
    FAILED.clear()


def broken(*arguments, **named):
    raise ZeroDivisionError("a drawing\nfailed")


def test_results_are_returned_and_failures_reported_once(caplog):
    assert attempt("a sum", sum, [1, 2]) == 3
    with caplog.at_level(logging.WARNING):
        assert attempt("curves.png", broken, 1, path="x") is None
    assert "could not make curves.png: ZeroDivisionError at test_attempts.py:" in caplog.text
    assert "a drawing failed; the run continues without it" in caplog.text
    (sentence,) = failed_reports()["not_made"]
    assert sentence.startswith("curves.png: ZeroDivisionError") and failed_reports() == {}


def test_known_errors_give_their_sentence_and_interruptions_are_raised():
    def unusable():
        raise InputError("run.json is not JSON")

    def stopped():
        raise KeyboardInterrupt

    attempt("page.html", unusable)
    assert failed_reports() == {"not_made": ["page.html: run.json is not JSON"]}
    with pytest.raises(KeyboardInterrupt):
        attempt("page.html", stopped)


def test_a_failing_section_keeps_the_rest_of_the_page(tmp_path):
    table = ResultTable(k=[1])
    table.add("mine", {"tanimoto@1": 0.25})
    spectrum = {"id": "s", "smiles": "CCO", "adduct": "[M+H]+", "precursor_mz": 47.0491, "mz": [29.0]}
    spectrum["candidates"] = ["CCO"]
    good = {**spectrum, "id": "whole", "intensity": [1.0]}
    details = [Detail("Classes", [{"a": 1}, {"b": 2}])]  # the second row lacks the column
    page = {"predictions": [spectrum, good], "details": details, "pictures": [None, tmp_path / "gone.png"]}
    text = write_page(tmp_path / "page.html", title="x", table=table, **page).read_text(encoding="utf-8")
    assert "This section could not be made: table Classes." in text and "0.250" in text
    assert text.count('<article class="card') == 1 and "whole" in text
    named = " ".join(failed_reports()["not_made"])
    assert "the card of s: KeyError" in named and "gone.png" in named and "section table Classes" in named


CANDIDATES = ["*N", "*", "C[*:1]", "[CH3]", "[Na+]", "CC(=O)[O-].[Na+]", "C1CC", "C~C", "[2H]O", "[13CH4]", "CCO"]


@pytest.mark.parametrize("smiles", CANDIDATES)
def test_every_generated_text_has_a_card_and_a_figure(tmp_path, smiles):
    from trimer.reporting.figures import spectra_grid

    record = {"id": "s", "smiles": "CCO", "adduct": "[M+H]+", "precursor_mz": 47.0491, "mz": [29.0], "intensity": [1.0]}
    records = [{**record, "candidates": [{"smiles": smiles, "count": 2}]}]
    text = write_page(tmp_path / "page.html", title="x", table=ResultTable(), predictions=records).read_text()
    assert failed_reports() == {}
    assert ("no molecule: " in text) == (smiles not in ("CCO", "[2H]O", "[13CH4]"))
    assert spectra_grid(records, tmp_path / "grid.png").stat().st_size > 0


# ---------------------------------------------------------------- complete runs in which every page and figure fails

DRAWN = {
    "trimer.reporting.figures": ["training_curves", "residue_bars", "similarity_distribution", "spectra_grid"],
    "trimer.reporting.label_figures": ["confusion_matrix", "reliability", "embedding_map"],
    "trimer.reporting.number_figures": ["predicted_against_observed"],
    "trimer.reporting.protocol_figures": ["metric_curves"],
    "trimer.reporting.fragment_figures": ["mirror_spectra", "similarity_distributions"],
    "trimer.reporting.embedding_page": ["embedding_page"],
    "trimer.reporting.run_page": ["write_run_page"],
    "trimer.evaluation.largest_errors": ["mistakes"],
}
SMALL = ["trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.enable_progress_bar=false", "baselines=false",
         "data.tokens_per_batch=1500", "model.d_model=32"]  # fmt: skip
LABELS = ["data=labelled_molecules", "model=smiles_nano"]
RUNS = {
    "molecules": (
        ["data.source.molecules=60", "task.generator.num_samples=2", "task.generator.max_length=24"],
        {"curves.png", "tanimoto.png", "spectra.png", "page.html"},
    ),
    "language": (
        ["data=simulated_proteins", "data.source.proteins=120", "model=esm2_nano", "task=masked_lm"],
        {"curves.png", "residues.png", "page.html"},
    ),
    "classes": (
        [*LABELS, "task=classification", "data.target=single", "data.source.labels=kind", "callbacks=embeddings"],
        {"curves.png", "confusion.png", "reliability.png", "the tables of the page", "the embeddings", "page.html"},
    ),
    "numbers": (
        [*LABELS, "task=regression", "data.target=regression", "data.source.labels=length", "callbacks=protocol"],
        {"curves.png", "predicted.png", "protocol.png", "before_and_after.png", "the tables of the page", "page.html"},
    ),
    "fragments": (
        ["data=simulated_fragments", "data.source.count=200", "model=peptides_nano", "task=fragments"],
        {"curves.png", "similarity.png", "spectra.png", "page.html"},
    ),
}


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_with_failing_figures_succeeds_and_names_them(tmp_path, monkeypatch, kind):
    import importlib

    for module, names in DRAWN.items():
        for name in names:
            monkeypatch.setattr(importlib.import_module(module), name, broken)
    words, named = RUNS[kind]
    rows = [f"{smiles},{len(smiles)},{'ab'[smiles.count('O') > 1]}" for smiles in simulated_molecules(60, seed=3)]
    (tmp_path / "my.csv").write_text("\n".join(["smiles,length,kind", *rows]) + "\n")
    if words[: len(LABELS)] == LABELS:
        split = "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}"
        words = [*words, f"data.source.paths={tmp_path / 'my.csv'}", split]
    folder = tmp_path / "run"
    assert main(["train", *words, *SMALL, f"paths.cache={tmp_path / 'cache'}", f"hydra.run.dir={folder}"]) == 0
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "ok" and any(name.startswith("test/") for name in result["metrics"])
    assert {sentence.partition(":")[0] for sentence in result["not_made"]} == named
    assert (folder / "test" / "table.csv").is_file() and not (folder / "test" / "page.html").exists()
