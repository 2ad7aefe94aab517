"""A checkpoint records its training data across fine-tuning and resuming; evaluate and predict report overlap."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from table_helpers import write_csv

from trimer.cli.main import main
from trimer.data.core.training_keys import contains, text_keys
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.simulate.simulated_spectra import simulate_table

SHORT = [
    "trainer.max_steps=2",
    "trainer.val_check_interval=1",
    "trainer.enable_progress_bar=false",
    "trainer.precision=32-true",
    "data.tokens_per_batch=900",
    "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}",
    "baselines=false",
    "test=false",
]
SMILES = simulated_molecules(80, seed=5)


def read(path: Path) -> list[dict]:
    return list(csv.DictReader(path.open(encoding="utf-8")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A corpus of 40 molecules, 40 labelled molecules (10 from the corpus), and new ones mixed with some of both."""
    folder = tmp_path_factory.mktemp("overlap")
    (folder / "corpus.smi").write_text("".join(f"{text} c{n}\n" for n, text in enumerate(SMILES[:40])))
    rows = [[text, f"m{n}", n % 2] for n, text in enumerate(SMILES)]
    write_csv(folder / "labelled.csv", ["smiles", "id", "one"], rows[30:70])
    write_csv(folder / "new.csv", ["smiles", "id", "one"], [*rows[:5], *rows[40:60], *rows[70:]])
    return folder


def command(name: str, folder: Path, out: Path, *words: str) -> int:
    return main([name, *words, f"hydra.run.dir={out}", f"paths.cache={folder / 'cache'}"])


LABELS = ["data=labelled_molecules", "data.source.labels=one", "data.target=multi", "data.source.id_column=id"]
TINY = ["model=smiles_nano", "model.d_model=32"]


@pytest.fixture(scope="module")
def runs(folder):
    """Pre-trained on the corpus, then fine-tuned on the labelled molecules."""
    corpus = ["data=molecules", f"data.source.paths={folder / 'corpus.smi'}", *TINY, "task=masked_lm", *SHORT]
    assert command("train", folder, folder / "pre", *corpus, "name=pre") == 0
    labels = [*LABELS, f"data.source.paths={folder / 'labelled.csv'}", *TINY, "task=classification", *SHORT]
    labels += ["callbacks.last.every_n_train_steps=1", f"ckpt={folder / 'pre'}", "name=fine"]
    assert command("train", folder, folder / "fine", *labels) == 0
    return folder


def stages(run: Path, name: str = "best") -> list[dict]:
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["training_keys"]


def split_of(run: Path) -> dict[str, set[str]]:
    """Ids of the train and validation rows, from the saved split of the run and the order of the file."""
    saved = np.load(run / "split.npz")
    ids = [row["id"] for row in read(run.parent / "labelled.csv")]
    names = saved["names"].tolist()
    return {name: {ids[row] for row in np.flatnonzero(saved["codes"] == code)} for code, name in enumerate(names)}


def expected(runs: Path) -> dict[str, str]:
    """id -> expected overlap of each new record: whether its SMILES was in a train or validation split."""
    split = split_of(runs / "fine")
    pre = np.load(runs / "pre" / "split.npz")
    corpus = {code: set(np.flatnonzero(pre["codes"] == code)) for code in (0, 1)}
    overlap = {}
    for row in read(runs / "new.csv"):
        number = int(row["id"][1:])
        if number in corpus[0] or row["id"] in split["train"]:
            overlap[row["id"]] = "train: molecule"
        elif number in corpus[1] or row["id"] in split["val"]:
            overlap[row["id"]] = "validation: molecule"
        else:
            overlap[row["id"]] = "no"
    return overlap


def test_a_checkpoint_holds_training_keys_of_all_stages_and_only_of_train_splits(runs):
    pre, fine = stages(runs / "fine")
    assert [pre["name"], fine["name"]] == ["pre", "fine"]
    (alone,) = stages(runs / "pre")
    assert alone["keys"]["train"]["molecule"]["sorted"].equal(pre["keys"]["train"]["molecule"]["sorted"])
    assert stages(runs / "fine", "last")[1]["rows"] == fine["rows"]
    from trimer.data.molecules.molecule_keys import keys_of

    rows = read(runs / "labelled.csv")
    known = dict(zip([row["id"] for row in rows], keys_of([row["smiles"] for row in rows]), strict=True))
    for split, ids in split_of(runs / "fine").items():
        hit = contains(fine["keys"]["train"]["molecule"], text_keys([known[name].inchikey1 for name in sorted(ids)]))
        assert hit.all() if split == "train" else not hit.any(), split


def test_other_data_are_evaluated_in_full_and_their_training_overlap_is_reported(runs, tmp_path, capsys):
    words = [*LABELS, f"data.source.paths={runs / 'new.csv'}", f"ckpt={runs / 'fine'}"]
    assert command("evaluate", runs, tmp_path / "out", *words) == 0
    right = expected(runs)
    assert {*right.values()} == {"train: molecule", "validation: molecule", "no"}
    table = pq.read_table(tmp_path / "out" / "all" / "predictions.parquet").to_pylist()
    assert {row["id"]: row["in_training"] for row in table} == right
    rows = read(tmp_path / "out" / "all" / "training_overlap.csv")
    assert {row["id"]: row["in_training"] for row in rows} == right and len(rows) == 35
    counts = json.loads((tmp_path / "out" / "result.json").read_text())["training_overlap"]
    answers = list(right.values())
    assert counts["records"] == 35 and counts["in_train"] == answers.count("train: molecule")
    assert (counts["in_validation"], counts["new"]) == (answers.count("validation: molecule"), answers.count("no"))
    assert f"{counts['in_train']} of 35 records were in train" in capsys.readouterr().err
    page = (tmp_path / "out" / "all" / "page.html").read_text()
    assert "molecule, in train of pre" in page and "molecule, in train of fine" in page


@pytest.mark.parametrize("words", [["split=test"], ["data.split.seed=1"]])
def test_a_split_of_other_data_is_evaluated_on_request(runs, tmp_path, words):
    words = [*LABELS, f"data.source.paths={runs / 'new.csv'}", f"ckpt={runs / 'fine'}", "baselines=false", *words]
    assert command("evaluate", runs, tmp_path / "out", *words) == 0
    assert 0 < len(read(tmp_path / "out" / "test" / "training_overlap.csv")) < 20
    assert not (tmp_path / "out" / "all").exists()


def test_predictions_mark_records_of_the_training_data(runs, tmp_path, capsys):
    rows = [*read(runs / "new.csv"), {"smiles": "C(", "id": "broken"}]
    write_csv(tmp_path / "in.csv", ["smiles", "id"], [[row["smiles"], row["id"]] for row in rows])
    words = [f"ckpt={runs / 'fine'}", f"input={tmp_path / 'in.csv'}", f"output={tmp_path / 'out.csv'}", "id_column=id"]
    assert main(["predict", *words]) == 0
    right = expected(runs)
    assert {row["id"]: row["in_training"] for row in read(tmp_path / "out.csv")} == {**right, "broken": ""}
    count = list(right.values()).count("train: molecule")
    assert f"{count} of 35 molecules were in train" in capsys.readouterr().out


def test_an_old_checkpoint_reports_unknown_training_overlap(runs, tmp_path, capsys):
    checkpoint = torch.load(runs / "fine" / "checkpoints" / "best.ckpt", weights_only=True)
    del checkpoint["training_keys"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    words = [f"ckpt={tmp_path / 'old.ckpt'}", f"input={runs / 'new.csv'}", f"output={tmp_path / 'out.csv'}"]
    assert main(["predict", *words]) == 0
    assert {row["in_training"] for row in read(tmp_path / "out.csv")} == {"unknown"}
    assert "this checkpoint, which carries no keys, was trained on" in capsys.readouterr().out
    labels = [*LABELS, f"data.source.paths={runs / 'labelled.csv'}", *TINY, "task=classification", *SHORT]
    assert command("train", runs, tmp_path / "next", *labels, f"ckpt={tmp_path / 'old.ckpt'}", "name=next") == 0
    assert [(one["name"], one["known"]) for one in stages(tmp_path / "next")] == [
        ("checkpoint old.ckpt", False),
        ("next", True),
    ]


def test_a_resumed_run_keeps_its_keys_without_the_initial_checkpoint(runs, tmp_path):
    shutil.copytree(runs / "fine", tmp_path / "fine")
    before = stages(tmp_path / "fine", "last")
    shutil.move(runs / "pre", tmp_path / "moved")
    try:
        assert main(["train", f"resume={tmp_path / 'fine'}", "trainer.max_steps=3"]) == 0
    finally:
        shutil.move(tmp_path / "moved", runs / "pre")
    after = stages(tmp_path / "fine", "last")
    assert [one["name"] for one in after] == [one["name"] for one in before] == ["pre", "fine"]
    for one, two in zip(before, after, strict=True):
        assert one["keys"]["train"]["molecule"]["sorted"].equal(two["keys"]["train"]["molecule"]["sorted"])


# ---------------------------------------------------------------- other types of data


def mgf(path: Path, table, rows, structure: bool = True) -> Path:
    """Write spectra to an MGF file, with or without structures."""
    blocks = []
    for row in rows:
        mz, intensity = table.peaks(row)
        head = [f"TITLE=s{row}", f"PEPMASS={float(table['precursor_mz'][row])!r}", f"ADDUCT={table['adduct'][row]}"]
        head += [f"SMILES={table['smiles'][row]}"] if structure else []
        peaks = [f"{x!r} {float(y)!r}" for x, y in zip(mz.tolist(), intensity, strict=True)]
        blocks.append("\n".join(["BEGIN IONS", *head, *peaks, "END IONS", ""]))
    path.write_text("\n".join(blocks))
    return path


def test_training_spectra_are_recognized_by_molecule_and_by_peaks(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMER_CACHE", str(tmp_path / "cache"))
    table = simulate_table(SMILES[:12], seed=1)
    mgf(tmp_path / "train.mgf", table, range(len(table)))
    words = ["data=spectral_library", f"data.source.paths={tmp_path / 'train.mgf'}", "model.d_model=32", *SHORT]
    words += ["task.generator.num_samples=1", "task.generator.max_length=8", "data.cleaning.duplicates=null"]
    assert main(["train", *words, f"hydra.run.dir={tmp_path / 'run'}", "data.split.keys=[inchikey1]"]) == 0
    (own,) = stages(tmp_path / "run")
    assert set(own["keys"]["train"]) == {"molecule", "spectrum"}
    for structure in (True, False):
        mgf(tmp_path / "in.mgf", table, range(len(table)), structure)
        out = tmp_path / "out.csv"
        assert main(["predict", f"ckpt={tmp_path / 'run'}", f"input={tmp_path / 'in.mgf'}", f"output={out}"]) == 0
        answers = [row["in_training"] for row in read(out) if row["in_training"]]
        seen = "train: molecule, spectrum" if structure else "train: spectrum"
        assert answers.count(seen) == own["rows"]["train"], answers
        new = "no" if structure else "unknown"
        assert answers.count(new) == len(answers) - own["rows"]["train"] - own["rows"]["val"]
    renamed = [*words[:1], f"data.source.paths={tmp_path / 'train.mgf'}", "data.cleaning.duplicates=null"]
    evaluated = ["evaluate", *renamed, f"ckpt={tmp_path / 'run'}", f"hydra.run.dir={tmp_path / 'all'}"]
    assert main(evaluated) == 0
    counts = json.loads((tmp_path / "all" / "result.json").read_text())["training_overlap"]
    assert counts["in_train"] == own["rows"]["train"] and counts["records"] == sum(own["rows"].values()) + counts["new"]


def test_training_proteins_are_recognized_across_both_data_modules(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMER_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(list("ACDEFGHIKLMNPQRSTVWY"), 60)) for _ in range(40)]
    (tmp_path / "a.fasta").write_text("".join(f">p{n}\n{text}\n" for n, text in enumerate(texts)))
    words = ["data=proteins", f"data.source.paths={tmp_path / 'a.fasta'}", "model=esm2_nano", "task=masked_lm", *SHORT]
    assert main(["train", *words, f"hydra.run.dir={tmp_path / 'pre'}", "name=pre", "data.split.seed=1"]) == 0
    rows = [[text, n % 2] for n, text in enumerate(texts)]
    write_csv(tmp_path / "b.csv", ["sequence", "one"], rows)
    words = ["data=labelled_proteins", f"data.source.paths={tmp_path / 'b.csv'}", "data.source.labels=one", *SHORT]
    words += ["data.target=multi", "model=esm2_nano", "task=classification", "test=true", f"ckpt={tmp_path / 'pre'}"]
    assert main(["train", *words, f"hydra.run.dir={tmp_path / 'fine'}", "name=fine"]) == 0
    assert [set(one["keys"]["train"]) for one in stages(tmp_path / "fine")] == [{"protein"}, {"protein"}]
    facts = json.loads((tmp_path / "fine" / "test" / "training_overlap.json").read_text())
    shared = {(row["stage"], row["split"]): row["shared"] for row in facts["found"]}
    assert shared["fine", "train"] == 0
    ids = [int(row["id"].rpartition(":")[2]) - 2 for row in read(tmp_path / "fine" / "test" / "training_overlap.csv")]
    codes = np.load(tmp_path / "pre" / "split.npz")["codes"]
    assert shared["pre", "train"] == (codes[ids] == 0).sum() > 0, "the test proteins that the first stage had"


def test_training_peptides_are_recognized_by_their_residues(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMER_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(list("ACDEFGHILMNPQSTVWY"), 9)) + "K" for _ in range(40)]
    write_csv(tmp_path / "a.csv", ["sequence", "rt"], [[text, n] for n, text in enumerate(texts)])
    words = ["data=labelled_peptides", f"data.source.paths={tmp_path / 'a.csv'}", "data.source.labels=rt", *SHORT]
    words += ["data.target=regression", "task=regression", "model=peptides_nano"]
    assert main(["train", *words, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    codes = np.load(tmp_path / "run" / "split.npz")["codes"]
    modified = [f"{text[0]}[Oxidation]{text[1:]}" if text[0] == "M" else text for text in texts]
    write_csv(tmp_path / "in.csv", ["sequence"], [[text] for text in modified])
    out = tmp_path / "out.csv"
    assert main(["predict", f"ckpt={tmp_path / 'run'}", f"input={tmp_path / 'in.csv'}", f"output={out}"]) == 0
    answers = {0: "train: peptide", 1: "validation: peptide", 2: "no"}
    assert [row["in_training"] for row in read(out)] == [answers[code] for code in codes]


def test_a_resumed_fine_tuning_keeps_the_modifications_of_its_first_stage(tmp_path, monkeypatch):
    monkeypatch.setenv("TRIMER_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    texts = ["".join(random.choice(list("ADEFGHILNPQSTVWY"), 9)) for _ in range(60)]
    write_csv(
        tmp_path / "a.csv", ["sequence", "rt"], [[f"{text}M[Oxidation]K", n] for n, text in enumerate(texts[:30])]
    )
    write_csv(tmp_path / "b.csv", ["sequence", "rt"], [[f"{text}K", n] for n, text in enumerate(texts[30:])])
    words = ["data=labelled_peptides", "data.source.labels=rt", "data.target=regression", "task=regression"]
    words += ["model=peptides_nano", *SHORT]
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["train", *words, f"data.source.paths={tmp_path / 'a.csv'}", f"hydra.run.dir={first}"]) == 0
    words += [f"data.source.paths={tmp_path / 'b.csv'}", f"ckpt={first}", f"hydra.run.dir={second}"]
    assert main(["train", *words]) == 0
    assert main(["train", f"resume={second}", "trainer.max_steps=3"]) == 0
    write_csv(tmp_path / "in.csv", ["sequence"], [["PEPTIDEM[Oxidation]K"], ["PEPTIDEC[Oxidation]K"]])
    out = tmp_path / "out.csv"
    words = [f"ckpt={second / 'checkpoints' / 'last.ckpt'}", f"input={tmp_path / 'in.csv'}", f"output={out}"]
    assert main(["predict", *words]) == 0
    assert [row["unseen"] for row in read(out)] == ["", "C[UNIMOD:35]"]
