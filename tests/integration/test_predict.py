"""`trimer predict` gives a prediction or a reason for every spectrum of a file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from trimer.cli.main import main

CASES = Path(__file__).parents[1] / "cases" / "spectra"

MGF = """BEGIN IONS
TITLE=usable
PEPMASS=180.0655
ADDUCT=[M+H]+
85.028 20
97.028 30
127.039 100
145.049 60
END IONS

BEGIN IONS
TITLE=no precursor
85.028 20
97.028 30
END IONS

BEGIN IONS
TITLE=other adduct
PEPMASS=300.1
ADDUCT=[M+Cl]-
85.028 20
97.028 30
127.039 100
END IONS

BEGIN IONS
TITLE=not a number
PEPMASS=200.1
ADDUCT=[M+H]+
85.028 nan
97.028 30
127.039 100
END IONS

BEGIN IONS
TITLE=last
PEPMASS=250.1
ADDUCT=[M+H]+
85.028 20
97.028 30
127.039 100
"""
IDS = ["usable", "no precursor", "other adduct", "not a number", "last"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny model trained on simulated spectra."""
    folder = tmp_path_factory.mktemp("run")
    overrides = [
        "data.source.molecules=60",
        "data.tokens_per_batch=2000",
        f"paths.cache={folder / 'cache'}",
        "model.d_model=32",
        "trainer.max_steps=4",
        "trainer.val_check_interval=2",
        "trainer.enable_progress_bar=false",
        "task.generator.num_samples=2",
        "task.generator.max_length=24",
        "test=false",
    ]
    assert main(["train", *overrides, f"hydra.run.dir={folder / 'run'}"]) == 0
    return folder / "run"


def predict(run, tmp_path, *overrides: str) -> int:
    source = tmp_path / "my.mgf"
    if not source.exists():
        source.write_text(MGF)
    return main(["predict", f"ckpt={run}", f"input={source}", "trainer=cpu", *overrides])


def test_every_spectrum_has_a_row_with_its_id(run, tmp_path):
    output = tmp_path / "out.csv"
    assert predict(run, tmp_path, f"output={output}") == 0
    rows = list(csv.DictReader(output.open()))
    assert [row["id"] for row in rows] == IDS
    assert [row["row"] for row in rows] == ["1", "2", "3", "4", "5"]
    reasons = {row["id"]: row["reason"] for row in rows}
    source = tmp_path / "my.mgf"
    assert reasons["no precursor"] == f"{source}, line 11: no precursor m/z"
    adducts = "the adduct '[M+Cl]-' is none of [M+H]+, [M+Na]+"
    assert reasons["other adduct"] == f"{source}, line 17 (other adduct): {adducts}"
    peak = "the peak on line 30 (85.028, nan) is not a positive m/z with an intensity"
    assert reasons["not a number"] == f"{source}, line 26: {peak}"
    assert reasons["last"] == f"{source}, line 35: the record is truncated: END IONS is missing"
    usable = rows[0]
    assert bool(usable["smiles"]) != bool(usable["reason"])
    assert not list(tmp_path.glob("*.partial")), "the partial file is gone"


@pytest.mark.parametrize("suffix", ["parquet", "json"])
def test_all_output_formats_hold_the_same_rows(run, tmp_path, suffix):
    csv_file, other = tmp_path / "out.csv", tmp_path / f"out.{suffix}"
    assert predict(run, tmp_path, f"output={csv_file}") == 0
    assert predict(run, tmp_path, f"output={other}") == 0
    expected = list(csv.DictReader(csv_file.open()))
    rows = pq.read_table(other).to_pylist() if suffix == "parquet" else json.loads(other.read_text())
    assert [r["id"] for r in rows] == [r["id"] for r in expected]
    assert [r["smiles"] or "" for r in rows] == [r["smiles"] for r in expected]


def test_ranks_start_at_one(run, tmp_path):
    output = tmp_path / "out.csv"
    changes = "generator.num_samples=8"
    assert predict(run, tmp_path, f"output={output}", "ranked=true", "candidates=3", changes) == 0
    rows = [row for row in csv.DictReader(output.open()) if row["id"] == "usable" and row["rank"]]
    assert [row["rank"] for row in rows] == [str(i + 1) for i in range(len(rows))] and len(rows) <= 3


def test_predictions_do_not_depend_on_the_other_spectra_of_the_file(run, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "my.mgf").write_text(MGF.split("\n\n")[0] + "\n")
    assert predict(run, tmp_path, f"output={tmp_path / 'all.csv'}") == 0
    assert predict(run, alone, f"output={alone / 'one.csv'}") == 0
    first = next(csv.DictReader((tmp_path / "all.csv").open()))
    assert next(csv.DictReader((alone / "one.csv").open()))["smiles"] == first["smiles"]


def test_predictions_do_not_depend_on_file_name_or_position(run, tmp_path, monkeypatch):
    """The spectrum has only a name, no adduct; the files have different names and hold further spectra."""
    decode = "trimer.tokenizers.joint.SpectrumMoleculeTokenizer.decode_molecule"  # untrained: no valid molecules
    monkeypatch.setattr(decode, lambda self, ids: "C" * (1 + sum(ids) % 50))
    msp = (CASES / "noadduct.msp").read_text()
    (tmp_path / "one.msp").write_text(msp)
    above = "NAME: before\nPRECURSORMZ: 90\nNum Peaks: 0\n\n"
    (tmp_path / "other.msp").write_text(above + msp.replace("NAME", "TITLE"))
    predictions = {}
    for name in ("one", "other"):
        output = tmp_path / f"{name}.csv"
        changes = ["ranked=true", "generator.num_samples=20", f"input={tmp_path / name}.msp"]
        assert main(["predict", f"ckpt={run}", f"output={output}", "trainer=cpu", *changes]) == 0
        rows = [row for row in csv.DictReader(output.open()) if row["id"] != "before"]
        assert {row["id"] for row in rows} == {"glycoside-like unknown"}
        predictions[name] = [(row["smiles"], row["count"], row["reason"]) for row in rows]
    assert predictions["one"] == predictions["other"] and predictions["one"][0][0]


def test_spectra_of_unsupported_charges_have_a_reason(run, tmp_path):
    output = tmp_path / "out.csv"
    source = CASES / "b16_neg_noionmode.mgf"
    assert main(["predict", f"ckpt={run}", f"input={source}", f"output={output}", "trainer=cpu"]) == 0
    rows = list(csv.DictReader(output.open()))
    assert [row["id"] for row in rows] == ["a", "b", "c", "d"]
    assert all(not row["smiles"] and "the charge is " in row["reason"] for row in rows)


def test_folders_and_globs_are_accepted_as_input(run, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.mgf", "b.mgf"):
        (tmp_path / "in" / name).write_text(MGF.split("\n\n")[0] + "\n")
    for source in (tmp_path / "in", tmp_path / "in" / "*.mgf"):
        output = tmp_path / "out.csv"
        assert main(["predict", f"ckpt={run}", f"input='{source}'", f"output={output}", "trainer=cpu"]) == 0
        rows = list(csv.DictReader(output.open()))
        assert [row["id"] for row in rows] == ["usable", "usable"] and rows[0]["smiles"] == rows[1]["smiles"]
    inside = tmp_path / "in" / "out.json"
    inside.write_text("[]")
    assert main(["predict", f"ckpt={run}", f"input={tmp_path / 'in'}", f"output={inside}", "trainer=cpu"]) != 0
    assert inside.read_text() == "[]"


def test_cleaning_steps_of_the_checkpoint_can_be_changed_removed_and_added(run, tmp_path):
    output = tmp_path / "out.csv"
    window = "+cleaning.late={_target_:trimer.data.spectra.cleaning.PrecursorWindow,min:200,max:1000}"
    changes = ["+cleaning.peak_count.min=5", "+cleaning.intensity=null", window]
    assert predict(run, tmp_path, f"output={output}", *changes) == 0
    reasons = {row["id"]: row["reason"] for row in csv.DictReader(output.open())}
    assert "fewer than 5 peaks" in reasons["usable"]


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["ckpt=nowhere", "input={mgf}", "output={out}.csv"], "no such file or run folder"),
        (["ckpt={run}", "input=nowhere.mgf", "output={out}.csv"], "nowhere.mgf"),
        (["ckpt={run}", "input={mgf}", "output={out}.xlsx"], ".csv, .parquet, .json"),
        (["ckpt={run}", "input={mgf}", "output={out}/no/folder.csv"], "does not exist"),
        (["ckpt={text}", "input={mgf}", "output={out}.csv"], "is not a checkpoint"),
        (["ckpt={run}", "input={mgf}", "output={folder}"], "is a folder; name a file in it"),
        (["ckpt={run}", "input={csv}", "output={csv}"], "would overwrite input="),
        (["ckpt={run}", "input={mgf}", "output={out}.csv", "candidates=0"], "candidates=0 must be at least 1"),
        (
            ["ckpt={run}", "input={mgf}", "output={out}.csv", "generator.num_samples=abc"],
            "generator.num_samples=abc must be a whole number",
        ),
        (["ckpt={run}", "input={mgf}", "output={out}.csv", "generator.top_p=2"], "generator.top_p=2 must be"),
        (
            ["ckpt={run}", "input={mgf}", "output={out}.csv", "trainer.precision=bf61"],
            "trainer.precision=bf61 is not one",
        ),
        (
            ["ckpt={run}", "input={mgf}", "output={out}.csv", "+cleaning.peak_cuont.min=2"],
            "cleaning.peak_cuont is not a step of this checkpoint; did you mean peak_count?",
        ),
        (
            ["ckpt={run}", "input={mgf}", "output={out}.csv", "+cleaning.peak_count.min=abc"],
            "cleaning.peak_count.min=abc must be a whole number",
        ),
        (
            ["ckpt={denoising}", "input={mgf}", "output={out}.csv"],
            "was trained to restore corrupted or masked sequences",
        ),
    ],
)
def test_invalid_arguments_give_one_sentence(run, tmp_path, capsys, overrides, sentence):
    (tmp_path / "my.mgf").write_text(MGF)
    (tmp_path / "text.ckpt").write_text("this is no checkpoint")
    (tmp_path / "my.csv").write_text("id\n")
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["trimer"]["data"] = {"_target_": "trimer.data.modules.denoising.DenoisingCorpus"}
    torch.save(checkpoint, tmp_path / "denoising.ckpt")
    places = {"run": run, "mgf": tmp_path / "my.mgf", "csv": tmp_path / "my.csv", "folder": tmp_path}
    places |= {name: tmp_path / f"{name}.ckpt" for name in ("text", "denoising")} | {"out": tmp_path / "out"}
    assert main(["predict", "trainer=cpu", *(o.format(**places) for o in overrides)]) == 1
    error_lines = capsys.readouterr().err.strip().splitlines()
    assert sentence in error_lines[-1] and "Traceback" not in "".join(error_lines)
