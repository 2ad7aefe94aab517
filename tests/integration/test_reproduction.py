"""A run of each kind is trained again from its folder, bit for bit; changed data and other results are reported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from trimer.cli.main import main
from trimer.run import RunFolder
from trimer.simulate.simulated_molecules import simulated_molecules

SHORT = [
    "trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.enable_progress_bar=false",
    "trainer.precision=32-true", "trainer.limit_val_batches=1", "trainer.log_every_n_steps=1", "seed=7",
]  # fmt: skip
KINDS = {
    "spectra to molecules": [
        "data.source.molecules=40", "data.tokens_per_batch=600", "data.cleaning.duplicates=null", "model.d_model=32",
        "model.dropout=0.2", "calibration_spectra=0",
    ],
    "masked language model": [
        "data=simulated_proteins", "data.source.proteins=60", "data.tokens_per_batch=600", "model=esm2_nano",
        "task=masked_lm", "callbacks=ema",
    ],
    "regression": [
        "data=simulated_peptides", "data.source.count=80", "data.tokens_per_batch=600", "model=peptides_nano",
        "task=regression",
    ],
    "fragments": [
        "data=simulated_fragments", "data.source.count=60", "data.tokens_per_batch=600", "model=peptides_nano",
        "task=fragments",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reproduction")


def train(folder: Path, *words: str) -> None:
    assert main(["train", *SHORT, f"paths.cache={folder.parent / 'cache'}", f"hydra.run.dir={folder}", *words]) == 0


def reproduced(run: Path, name: str, *words: str) -> tuple[int, dict]:
    """The exit code of the command, and the comparison that it has written."""
    new = run.with_name(f"{run.name} {name}")
    code = main(["reproduce", str(run), f"output={new}", *words])
    path = new / "reproduction.json"
    return code, json.loads(path.read_text()) if path.is_file() else {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_reproduced_bit_for_bit(folder, kind, capsys):
    train(folder / kind, *KINDS[kind], "test=false")
    code, outcome = reproduced(folder / kind, "again")
    printed = capsys.readouterr().out
    assert code == 0 and outcome["bit_for_bit"]
    assert set(outcome["weights"]) == {"last.ckpt", "best.ckpt"} and "val/loss" in outcome["metrics"]
    assert "code, packages and device are those of the run" in printed
    assert "bit for bit equal: the weights of last.ckpt and best.ckpt" in printed


@pytest.fixture(scope="module")
def classified(folder) -> Path:
    """A classification of molecules of a file, with the test table."""
    path = folder / "my.csv"
    rows = [f"{smiles},{'ab'[smiles.count('O') > 1]}" for smiles in simulated_molecules(80, seed=3)]
    path.write_text("\n".join(["smiles,y", *rows]) + "\n")
    words = [
        "data=labelled_molecules", f"data.source.paths={path}", "data.source.labels=y", "data.target=single",
        "data.tokens_per_batch=400", "model=roberta_nano", "task=classification", "baselines=false",
    ]  # fmt: skip
    train(folder / "classification", *words)
    return folder / "classification"


def test_a_classification_is_reproduced_from_a_moved_file(classified, folder, capsys):
    (file,) = [file for file in RunFolder(classified).record["files"] if file["path"].endswith("my.csv")]
    assert file["bytes"] == (folder / "my.csv").stat().st_size
    (folder / "my.csv").rename(folder / "moved.csv")
    assert reproduced(classified, "without data") == (1, {})
    assert "my.csv: no such file" in capsys.readouterr().err
    code, outcome = reproduced(classified, "moved", f"data.source.paths={folder / 'moved.csv'}")
    (folder / "moved.csv").rename(folder / "my.csv")
    assert code == 0 and outcome["bit_for_bit"]
    assert "table: model: accuracy" in outcome["metrics"]
    assert main(["diff", str(classified), str(classified.with_name("classification moved"))]) == 0
    assert "moved.csv" in capsys.readouterr().out


def test_changed_data_and_other_results_are_reported(classified, folder, capsys):
    text = (folder / "my.csv").read_text()
    (folder / "my.csv").write_text(text.replace(",a", ",c").replace(",b", ",a").replace(",c", ",b"))
    try:
        assert reproduced(classified, "changed") == (1, {})
        said = capsys.readouterr().err
        assert "my.csv has changed: " in said and "force=true trains on the data as they are" in said
        code, outcome = reproduced(classified, "forced", "force=true")
        captured = capsys.readouterr()
        assert code == 1 and not outcome["bit_for_bit"] and "val/loss" in outcome["beyond_tolerance"]
        assert "differ by more than the tolerance of 0.001" in captured.err
        assert "weights: last.ckpt differs, best.ckpt differs" in captured.out
        assert "metrics.csv: differs from row 1, step 0: " in captured.out
    finally:
        (folder / "my.csv").write_text(text)


def test_a_run_that_cannot_be_compared_is_reported(classified, folder, capsys):
    unfinished = folder / "unfinished"
    shutil.copytree(classified, unfinished)
    (unfinished / "result.json").unlink()
    assert reproduced(unfinished, "again")[0] == 1
    assert "has not ended successfully" in capsys.readouterr().err
    assert main(["reproduce", str(classified), "optimizer.rate=1"]) in (1, 2)
    assert "unknown key 'optimizer.rate'" in capsys.readouterr().err
