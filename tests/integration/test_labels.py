"""From labelled files to a checkpoint, its result table and its predictions, for each type of label."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from table_helpers import write_csv

from trimer.baselines.label_baselines import FOR_MOLECULES
from trimer.checkpoint import load
from trimer.cli.main import main
from trimer.flat import Flat
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.targets import target_of

NAMES = ["a, b", 'say "yes"', "naïve ☃ $x_$"]
SHORT = [
    "trainer.max_steps=6",
    "trainer.val_check_interval=3",
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
    "trainer.precision=32-true",
    "optimizer.lr=0.01",
    "data.tokens_per_batch=400",
    "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}",
]
MOLECULES = ["data=labelled_molecules", "model=smiles_nano", "model.d_model=32"]
PROTEINS = ["data=labelled_proteins", "model=esm2_nano", "model.d_model=32", "model.layers=2"]
LORA = "task.lora={rank: 2, targets: [query_key_value, up]}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Tables of molecules and proteins in the layout of each type of label."""
    folder = tmp_path_factory.mktemp("labels")
    smiles = simulated_molecules(60, seed=3)
    header = ["smiles", "kind", "one", "two", "number", "id"]
    thirds = np.quantile([len(s) for s in smiles], [1 / 3, 2 / 3])
    kinds = [NAMES[np.searchsorted(thirds, len(s))] for s in smiles]
    kinds[::9] = kinds[1::9]  # cannot be learned
    rows = [[s, kinds[n], n % 2, "" if n % 4 else 1, 100 + len(s), f"m{n}"] for n, s in enumerate(smiles)]
    rows[5][0] = "C("
    write_csv(folder / "molecules.csv", header, rows)
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("LAGVSERTIDPKQNFYMHWC"), rng.integers(5, 40))) for _ in range(60)]
    rows = [[t, "".join("HE."[rng.choice(3, p=(0.5, 0.3, 0.2))] for _ in t), f"p{n}"] for n, t in enumerate(texts)]
    write_csv(folder / "proteins.csv", ["sequence", "states", "id"], rows)
    return folder


RUNS = {
    "single": [*MOLECULES, "task=classification", "data.source.labels=kind", "data.target=single",
               "task.class_weights=balanced"],
    "multi": [*MOLECULES, "task=classification", "data.source.labels=[two,one]", "data.target=multi"],
    "regression": [*MOLECULES, "task=regression", "data.source.labels=number", "data.target=regression"],
    "lora": [*MOLECULES, "task=classification", "data.source.labels=kind", "data.target=single", LORA],
    "residue": [
        *PROTEINS, "task=classification", "data.source.labels=states", "data.target=residue", "data.too_long=drop",
        "task.head.pooling=residue", 'data.missing=["."]',
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def run(folder):
    """kind -> folder of its run, trained on first use."""
    done: dict[str, Path] = {}

    def trained(kind: str) -> Path:
        if kind not in done:
            done[kind] = folder / kind
            table = folder / ("proteins.csv" if kind == "residue" else "molecules.csv")
            words = [*RUNS[kind], f"data.source.paths={table}", "data.source.id_column=id", *SHORT]
            words += [f"hydra.run.dir={done[kind]}", f"paths.cache={folder / 'cache'}", f"name={kind}"]
            assert main(["train", *words, f"baselines={str(kind == 'single').lower()}"]) == 0
        return done[kind]

    return trained


def last_error_line(capsys) -> str:
    text = capsys.readouterr().err.strip()
    assert "Traceback" not in text
    return text.splitlines()[-1]


def output_of(capsys) -> str:
    text = capsys.readouterr()
    return " ".join((text.out + text.err).split())


# ---------------------------------------------------------------- output of a run


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_writes_labels_table_and_figures(run, kind):
    labels = json.loads((run(kind) / "labels.json").read_text())
    drops = json.loads((run(kind) / "drops.json").read_text())
    checkpoint = torch.load(run(kind) / "checkpoints" / "best.ckpt", weights_only=True)["trimer"]
    assert checkpoint["labels"] == {"target": labels["target"], "classes": labels["classes"]}
    expected = {"multi": ["two", "one"], "regression": ["number"], "residue": ["E", "H"]}
    assert labels["classes"] == expected.get(kind, sorted(NAMES))
    assert sum(rule["dropped"] for rule in drops["rules"]) == (0 if kind == "residue" else 1)
    files = {path.name for path in (run(kind) / "test").iterdir()}
    assert {"table.md", "table.csv", "page.html", "undefined.json", "curves.png"} <= files
    assert "predictions.parquet" in files
    assert ("reliability.png" in files) == (kind != "regression")
    assert ("confusion.png" in files) == (kind in ("single", "residue", "lora"))
    result = json.loads((run(kind) / "result.json").read_text())
    assert result["status"] == "ok"
    assert {"single": "test/accuracy", "multi": "test/one/accuracy", "regression": "test/rmse"}.get(
        kind, "test/accuracy"
    ) in result["metrics"]


def test_the_table_includes_the_baselines(run):
    table = (run("single") / "test" / "table.md").read_text()
    assert all(name in table for name in FOR_MOLECULES) and "Model minus this (p)" in table
    rows = csv.DictReader((run("single") / "test" / "table.csv").read_text().splitlines())
    paired = {row["method"]: row["accuracy_difference_p"] for row in rows}
    assert paired.pop("single") == "" and all(0 < float(p) <= 1 for p in paired.values())


def test_a_lora_checkpoint_holds_head_and_adapters_and_loads_merged(run):
    state = torch.load(run("lora") / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert sum(".lora_A." in name for name in state) == sum(".lora_B." in name for name in state) == 4
    assert any(".base_layer." in name for name in state) and "net.head.output.weight" in state
    net = load(run("lora")).net
    assert not any("lora" in name or "base_layer" in name for name in net.state_dict())


@pytest.mark.parametrize("kind", ["single", "multi", "lora", "residue"])
def test_the_temperature_is_fitted_on_the_validation_split_only(run, kind):
    from trimer.building import build
    from trimer.evaluation.label_evaluation import calibration

    loaded = load(run(kind))
    temperature = loaded.net.temperature.numpy()
    assert (temperature != 1.0).all() and temperature.shape == ((2,) if kind == "multi" else ())
    last = torch.load(run(kind) / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert (last["net.temperature"] == 1).all()
    data = build(loaded.contract["data"])
    data.setup()
    assert calibration(loaded.net, data)["temperature"].numpy() == pytest.approx(temperature, rel=1e-4)
    asked = []
    batches = data.evaluation_batches
    data.evaluation_batches = lambda split: asked.append(split) or batches(split)
    calibration(loaded.net, data)
    assert asked == ["val"]


@pytest.mark.parametrize("kind", ["single", "multi", "lora"])
def test_thresholds_are_saved_in_the_checkpoint_and_reported(run, kind, tmp_path, capsys):
    """Thresholds of binary labels and weighted classes are tuned; table, page and predictions use them."""
    net = load(run(kind)).net
    plain = torch.full_like(net.threshold, 0.5 if kind == "multi" else 1 / 3)
    assert torch.allclose(net.threshold, plain) == (kind == "lora")
    assert bool((net.weight != 1).any()) == (kind == "single")
    rows = list(csv.DictReader((run(kind) / "test" / "probabilities.csv").open(encoding="utf-8")))
    assert [float(row["threshold"]) for row in rows] == pytest.approx(net.threshold.tolist())
    assert all(0 <= float(row["mean probability"]) <= 1 for row in rows)
    page = (run(kind) / "test" / "page.html").read_text()
    assert "mean probability" in page and "Probabilities" in page
    write_csv(tmp_path / "my.csv", ["smiles", "id"], [["CCO", "a"], ["c1ccccc1O", "b"]])
    assert predict(run(kind), tmp_path / "my.csv", tmp_path / "out.csv") == 0
    stated = "the predicted class is the most probable one" if kind == "lora" else "thresholds of the probability: "
    assert stated in capsys.readouterr().out
    for row in read(tmp_path / "out.csv"):
        if kind == "multi":
            for name, threshold in zip(["two", "one"], net.threshold.tolist(), strict=True):
                assert row[f"predicted {name}"] == ("yes" if float(row[f"probability of {name}"]) > threshold else "no")
        else:
            chances = np.array([float(row[f"probability of {name}"]) for name in sorted(NAMES)])
            assert row["label"] == sorted(NAMES)[int((chances / net.threshold.numpy()).argmax())]


def test_polymers_and_complexes_are_predicted_and_embedded_or_have_a_reason(run, tmp_path):
    cases = Path(__file__).parents[1] / "cases" / "molecules"
    assert predict(run("single"), cases / "chem.csv", tmp_path / "out.csv", "id_column=name") == 0
    rows = {row["id"]: row for row in read(tmp_path / "out.csv")}
    for name in ("wildcard", "polymer", "rgroup_mapped", "cx", "cisplatin_dative", "any_bond", "quad", "inchi"):
        assert rows[name]["label"] and not rows[name]["reason"], name
    assert rows["valence"]["reason"].endswith(
        "molecule RDKit cannot read: Explicit valence for atom # 1 N, 5, is greater than permitted"
    )
    assert "unclosed ring" in rows["lower_bad"]["reason"] and rows["empty"]["reason"].endswith("no sequence")
    vectors = tmp_path / "vectors.parquet"
    assert main(["embed", f"ckpt={run('single')}", f"input={cases / 'chem.csv'}", f"output={vectors}"]) == 0
    embedded_rows = pq.read_table(vectors).to_pylist()
    names = [line.split(",")[0] for line in (cases / "chem.csv").read_text(encoding="utf-8").splitlines()[1:]]
    embedded = {name for name, row in zip(names, embedded_rows, strict=True) if row["embedding"] is not None}
    assert {"polymer", "cx", "cisplatin_dative", "inchi"} <= embedded and "valence" not in embedded
    assert predict(run("single"), cases / "mols.sdf", tmp_path / "sdf.csv", "id_column=name") == 0
    assert [row["id"] for row in read(tmp_path / "sdf.csv") if row["label"]] == [f"m{n}" for n in range(10)]


@pytest.mark.parametrize("kind", RUNS)
def test_evaluating_again_gives_the_same_table(run, kind, tmp_path):
    baselines = f"baselines={str(kind == 'single').lower()}"
    words = [
        "evaluate",
        f"ckpt={run(kind)}",
        "trainer.precision=32-true",
        baselines,
        f"hydra.run.dir={tmp_path / 'again'}",
    ]
    assert main([*words, f"paths.cache={tmp_path / 'other-cache'}"]) == 0
    tables = [list(csv.reader((path / "test" / "table.csv").open())) for path in (run(kind), tmp_path / "again")]
    assert len(tables[0]) == (7 if kind == "single" else 2)  # the header, five baselines of molecules, the model
    assert [row[1:] for row in tables[0]] == [row[1:] for row in tables[1]]  # except for the name of the model
    if kind != "residue":
        one, two = (pq.read_table(path / "test" / "predictions.parquet") for path in (run(kind), tmp_path / "again"))
        assert one.equals(two)


def test_named_baselines_alone_are_in_the_table(run, tmp_path):
    words = ["evaluate", f"ckpt={run('single')}", "baselines=[majority]", f"hydra.run.dir={tmp_path / 'out'}"]
    assert main(words) == 0
    lines = (tmp_path / "out" / "test" / "table.csv").read_text().splitlines()
    assert len(lines) == 3 and lines[1].startswith("trivial baseline: majority or mean,baseline,")


def test_validation_metrics_are_named_by_label(run):
    header = (run("multi") / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/loss", "val/auroc", "val/one/accuracy", "val/two/accuracy", "train/loss"} <= set(header)
    assert not any("task" in name for name in header)


def test_training_works_without_a_test_split(folder, tmp_path):
    rows = list(csv.reader((folder / "molecules.csv").open(encoding="utf-8")))
    rows = [[*row, "part" if number == 0 else "train"] for number, row in enumerate(rows)]
    table = write_csv(tmp_path / "my.csv", rows[0], rows[1:])
    words = [*RUNS["single"], f"data.source.paths={table}", "data.split.column=part", "callbacks=embeddings", *SHORT]
    assert main(["train", *words, f"hydra.run.dir={tmp_path / 'run'}", f"paths.cache={tmp_path}"]) == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "ok"
    assert not (tmp_path / "run" / "test").exists()


def test_fine_tuning_reuses_the_head_if_the_labels_are_the_same(run, folder, tmp_path, capsys):
    words = [*RUNS["single"], f"data.source.paths={folder / 'molecules.csv'}", *SHORT, "optimizer.lr=0.0"]
    words += ["optimizer.weight_decay=0.0", "test=false", f"ckpt={run('single')}"]
    assert main(["train", *words, f"hydra.run.dir={tmp_path / 'same'}"]) == 0
    assert "with its head: the labels are the same" in output_of(capsys)
    states = [load(path).net.state_dict() for path in (run("single"), tmp_path / "same")]
    names = states[0].keys() - {
        "temperature",
        "threshold",
    }  # baselines are fitted after the training, which evaluation does not run
    assert all(torch.equal(states[0][name], states[1][name]) for name in names)

    assert main(["train", *words, "task.head.pooling=cls", f"hydra.run.dir={tmp_path / 'other'}"]) == 0
    assert "with a new head: task.head differs" in output_of(capsys)
    state = load(tmp_path / "other").net.state_dict()
    shared = [name for name in states[0] if name.startswith("encoder.")]
    assert shared and all(torch.equal(states[0][name], state[name]) for name in shared)
    assert not torch.equal(states[0]["head.output.weight"], state["head.output.weight"])


def test_adapters_of_the_initial_checkpoint_are_merged(run, folder, tmp_path, capsys):
    words = [*RUNS["multi"], f"data.source.paths={folder / 'molecules.csv'}", *SHORT, "optimizer.lr=0.0", "test=false"]
    words += ["optimizer.weight_decay=0.0", f"ckpt={run('lora')}"]
    assert main(["train", *words, f"hydra.run.dir={tmp_path / 'next'}"]) == 0
    assert "with a new head: it was trained on other labels" in output_of(capsys)
    states = [load(path).net.state_dict() for path in (run("lora"), tmp_path / "next")]
    assert not any("lora" in name for name in states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0] if name.startswith("encoder."))


def test_a_fine_tuned_model_cannot_continue_masked_training(run, folder, tmp_path, capsys):
    words = ["data=molecules", f"data.source.paths={folder / 'molecules.csv'}", "model=smiles_nano", "task=masked_lm"]
    assert main(["train", *words, f"ckpt={run('single')}", f"hydra.run.dir={tmp_path / 'run'}"]) == 1
    assert "was fine-tuned on labels, and task=MaskedLM needs the model before fine-tuning" in last_error_line(capsys)


def test_label_columns_keep_their_names():
    columns = target_of("regression").columns

    names = ["predicted id", "predicted id_low", "predicted id_high", "logS", "logS_low", "logS_high"]
    assert columns(["id", "logS"]) == names
    assert columns(["T", "T_low"])[:3] == ["T", "interval T_low", "T_high"], "no column twice"


# ---------------------------------------------------------------- other data


def test_other_data_are_evaluated_with_the_class_order_of_the_checkpoint(run, folder, tmp_path):
    """The classes of the file alone would have another order, and one of them is unknown."""
    rows = list(csv.reader((folder / "molecules.csv").open(encoding="utf-8")))
    for row in rows[2::7]:
        row[1] = "A new one"
    other = write_csv(tmp_path / "other.csv", rows[0], rows[1:])
    words = ["data=labelled_molecules", f"data.source.paths={other}", "data.source.labels=kind", "data.target=single"]
    words += ["split=train", "baselines=false", f"ckpt={run('single')}", f"hydra.run.dir={tmp_path / 'out'}"]
    assert main(["evaluate", *words]) == 0
    labels = json.loads((tmp_path / "out" / "labels.json").read_text())
    assert labels["classes"] == sorted(NAMES) and labels["left_out_by_class"] == 9


def test_other_data_may_lack_a_class(run, folder, tmp_path):
    rows = list(csv.reader((folder / "molecules.csv").open(encoding="utf-8")))
    fewer = [row for row in rows[1:] if row[1] != NAMES[0]]
    other = write_csv(tmp_path / "other.csv", rows[0], fewer)
    words = ["data=labelled_molecules", f"data.source.paths={other}", "data.source.labels=kind", "data.target=single"]
    words += ["data.split.column=file", "data.split.names={other.csv: test}", "baselines=false"]
    assert main(["evaluate", *words, f"ckpt={run('single')}", f"hydra.run.dir={tmp_path / 'out'}"]) == 0
    table = list(csv.DictReader((tmp_path / "out" / "test" / "classes.csv").open(encoding="utf-8")))
    support = {row["class"]: int(row["support"]) for row in table}
    assert support[NAMES[0]] == 0 and sum(support.values()) == len(fewer)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["data.source.labels=kind", "data.target=single", "data.classes=2"],
            "was trained on 3 labels, these data have 2",
        ),
        (
            ["data.source.labels=[one,two]", "data.target=multi"],
            "was trained on labels with data.target=single, these data have multi",
        ),
    ],
)
def test_other_labels_are_rejected(run, folder, tmp_path, capsys, words, sentence):
    words = ["data=labelled_molecules", f"data.source.paths={folder / 'molecules.csv'}", *words]
    assert main(["evaluate", *words, f"ckpt={run('single')}", f"hydra.run.dir={tmp_path / 'out'}"]) == 1
    assert sentence in last_error_line(capsys)


def test_labels_in_another_order_are_rejected(run, folder, tmp_path, capsys):
    words = ["data=labelled_molecules", f"data.source.paths={folder / 'molecules.csv'}", "data.target=multi"]
    words += ["data.source.labels=[one,two]", f"ckpt={run('multi')}", f"hydra.run.dir={tmp_path / 'out'}"]
    assert main(["evaluate", *words]) == 1
    assert "number 1 is 'two' in the checkpoint and 'one' in the data" in last_error_line(capsys)


def test_a_resumed_run_keeps_its_labels(run, tmp_path, capsys):
    import shutil

    shutil.copytree(run("single"), tmp_path / "run")
    classes = 'data.classes=["naïve ☃ $x_$","a, b",\'say "yes"\']'
    assert main(["train", f"resume={tmp_path / 'run'}", classes, "trainer.max_steps=7"]) == 1
    assert "data.classes" in last_error_line(capsys)


# ---------------------------------------------------------------- predict

RECORDS = [("CCO", "first"), ("C(", "broken"), ("", "empty"), ("c1ccccc1O", "last")]


def predict(run: Path, source: Path, output: Path, *words: str) -> int:
    return main(["predict", f"ckpt={run}", f"input={source}", f"output={output}", "trainer.precision=32-true", *words])


def read(path: Path) -> list[dict]:
    return list(csv.DictReader(path.open(encoding="utf-8")))


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz", "parquet"])
def test_every_input_row_has_an_output_row(run, tmp_path, suffix):
    source, output = tmp_path / f"my.{suffix}", tmp_path / "out.csv"
    if suffix == "parquet":
        pq.write_table(pa.table({"smiles": [s for s, _ in RECORDS], "id": [n for _, n in RECORDS]}), source)
    else:
        mark = "\t" if suffix == "tsv" else ","
        text = "\n".join(mark.join(row) for row in [("smiles", "id"), *RECORDS]) + "\n"
        source.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    assert predict(run("single"), source, output, "id_column=id") == 0
    rows = read(output)
    assert [(row["row"], row["id"], row["sequence"]) for row in rows] == [
        (str(n), name, smiles) for n, (smiles, name) in enumerate(RECORDS, 1)
    ]
    unit, first = ("row", 1) if suffix == "parquet" else ("line", 2)
    refused = f"{source.name}, {unit} {first + 1}: molecule RDKit cannot read: "
    assert rows[1]["reason"].startswith(refused) and "syntax error" in rows[1]["reason"]
    assert rows[2]["reason"] == f"{source.name}, {unit} {first + 2}: no sequence"
    for row in (rows[0], rows[3]):
        chances = [float(row[f"probability of {name}"]) for name in sorted(NAMES)]
        assert sum(chances) == pytest.approx(1) and row["reason"] == ""
        best = sorted(NAMES).index(row["label"])
        assert best == int(np.argmax(chances / load(run("single")).net.threshold.numpy()))
        assert float(row["probability"]) == chances[best]
    assert all(row["label"] == "" for row in rows[1:3])


def test_smiles_files_and_custom_columns_are_read(run, tmp_path):
    (tmp_path / "my.smi").write_text("CCO first\nC( broken\n\nc1ccccc1O\n")
    assert predict(run("single"), tmp_path / "my.smi", tmp_path / "out.csv") == 0
    rows = read(tmp_path / "out.csv")
    assert [row["id"] for row in rows] == ["first", "broken", "my.smi:4"]
    assert rows[1]["reason"].startswith("my.smi, molecule 2: molecule RDKit cannot read: ")
    write_csv(tmp_path / "my.csv", ["structure", "smiles"], [["CCO", "nonsense"]])
    assert predict(run("single"), tmp_path / "my.csv", tmp_path / "two.csv", "column=structure") == 0
    (row,) = read(tmp_path / "two.csv")
    assert (row["id"], row["label"]) == ("my.csv:2", rows[0]["label"])


def test_a_table_with_the_suffix_of_smiles_is_reported(run, tmp_path, capsys):
    write_csv(tmp_path / "my.txt", ["smiles", "id"], [["CCO", "a"], ["CCN", "b"]])
    assert predict(run("single"), tmp_path / "my.txt", tmp_path / "out.csv") == 0
    text = " ".join(output_of(capsys).split())
    assert "none of the 3 rows of" in text and "molecule RDKit cannot read" in text
    assert all(row["reason"] for row in read(tmp_path / "out.csv"))


def test_a_row_of_empty_cells_has_an_output_row(run, tmp_path):
    write_csv(tmp_path / "my.csv", ["smiles", "note"], [["CCO", ""], ["", ""], ["CCN", ""]])
    assert predict(run("single"), tmp_path / "my.csv", tmp_path / "out.csv") == 0
    rows = read(tmp_path / "out.csv")
    assert [row["reason"] for row in rows] == ["", "my.csv, line 3: no sequence", ""]


def test_predictions_equal_the_network_output_and_ignore_the_batch(run, tmp_path):
    for kind in ("multi", "regression", "lora"):
        write_csv(tmp_path / "my.csv", ["smiles", "id"], RECORDS)
        assert predict(run(kind), tmp_path / "my.csv", tmp_path / "out.csv") == 0
        row = read(tmp_path / "out.csv")[3]
        loaded = load(run(kind))
        with torch.no_grad():
            raw = loaded.net(Flat.pack([loaded.tokenizer.encode("c1ccccc1O")]))
            expected = loaded.net.predictions(raw)[0].tolist()
        names = loaded.contract["labels"]["classes"]
        columns = names if kind == "regression" else [f"probability of {name}" for name in names]
        assert [float(row[name]) for name in columns] == pytest.approx(expected, abs=1e-5)
        if kind == "regression":
            assert 80 < expected[0] < 200, "in the units of the file"


def test_numbers_have_intervals_from_the_validation_split(run, tmp_path, capsys):
    """90 % of the validation numbers lie inside; before the calibration the columns are empty, with the reason."""
    net = load(run("regression")).net
    write_csv(tmp_path / "my.csv", ["smiles", "id"], RECORDS)
    assert predict(run("regression"), tmp_path / "my.csv", tmp_path / "out.csv") == 0
    row = read(tmp_path / "out.csv")[0]
    ends = [float(row[f"number{end}"]) - float(row["number"]) for end in ("_low", "_high")]
    assert ends == pytest.approx([-net.half_widths[0], net.half_widths[0]], abs=1e-4) and ends[1] > 0
    values = json.loads((run("regression") / "result.json").read_text())["metrics"]
    tested = pq.read_table(run("regression") / "test" / "predictions.parquet").to_pydict()
    inside = np.abs(np.array(tested["label: number"]) - tested["predicted: number"]) <= net.half_widths[0]
    assert values["test/coverage"] == pytest.approx(inside.mean())
    assert values["test/interval_width"] == pytest.approx(2 * net.half_widths[0])
    assert np.subtract(tested["high: number"], tested["low: number"]) == pytest.approx(2 * net.half_widths[0])
    last = run("regression") / "checkpoints" / "last.ckpt"
    assert predict(last, tmp_path / "my.csv", tmp_path / "two.csv") == 0
    row = read(tmp_path / "two.csv")[0]
    assert (row["number_low"], row["number_high"]) == ("", "") and float(row["number"])
    assert "intervals (_low, _high): empty, because the checkpoint is not calibrated" in output_of(capsys)


def test_residue_labels_are_predicted_for_a_fasta_file(run, tmp_path):
    (tmp_path / "my.fasta").write_text(">p1 a protein\nMKLAGS\nSSE*\n>p2\nMK*L\n>p3\n\n>p4\nL\n")
    assert predict(run("residue"), tmp_path / "my.fasta", tmp_path / "out.json") == 0
    rows = json.loads((tmp_path / "out.json").read_text())
    assert [row["id"] for row in rows] == ["p1", "p2", "p3", "p4"]
    assert len(rows[0]["labels"]) == 9 and set(rows[0]["labels"]) <= {"E", "H"} and len(rows[3]["labels"]) == 1
    assert rows[1]["reason"].startswith("my.fasta, record 2: ") and "stop" in rows[1]["reason"]
    assert rows[2]["reason"] == "my.fasta, record 3: no sequence"
    assert [row["labels"] for row in rows[1:3]] == [None, None]


def test_sequences_that_are_too_long_have_a_reason(run, tmp_path):
    write_csv(tmp_path / "my.csv", ["smiles"], [["C" * 600], ["CC"]])
    assert predict(run("single"), tmp_path / "my.csv", tmp_path / "out.csv") == 0
    rows = read(tmp_path / "out.csv")
    assert rows[0]["reason"] == "my.csv, line 2: 602 tokens, the model was trained on at most 512"
    assert rows[1]["reason"] == ""


@pytest.mark.parametrize(
    ("name", "text", "words", "sentence"),
    [
        ("my.csv", "molecule,id\nCC,1\n", [], "no column 'smiles', there are molecule, id"),
        ("my.csv", "smiles,id\nCC,1\n", ["id_column=name"], "no column 'name', there are smiles, id"),
        ("my.csv", "", [], "my.csv is empty"),
        ("my.csv", "smiles,id\n", [], "holds no record"),
        ("my.smi", "", [], "is empty"),
        ("none.csv", None, [], "none.csv"),
        (".", None, [], ""),
        ("my.parquet", "PAR1 but no more", [], "is not a readable Parquet file"),
    ],
)
def test_unreadable_input_gives_one_sentence(run, tmp_path, capsys, name, text, words, sentence):
    if text is not None:
        (tmp_path / name).write_text(text)
    run("single")
    capsys.readouterr()
    assert predict(run("single"), tmp_path / name, tmp_path / "out.csv", *words) == 1
    err = capsys.readouterr().err.strip()
    assert sentence in err and "\n" not in err and "Traceback" not in err
    assert not (tmp_path / "out.csv").exists()


def test_an_empty_fasta_file_gives_one_sentence(run, tmp_path, capsys):
    run("residue")
    for text in ("", "\n\n"):
        (tmp_path / "my.fasta").write_text(text)
        capsys.readouterr()
        assert predict(run("residue"), tmp_path / "my.fasta", tmp_path / "out.csv") == 1
        err = capsys.readouterr().err.strip()
        assert "my.fasta" in err and "\n" not in err


def test_a_model_of_masked_tokens_predicts_no_labels(folder, tmp_path, capsys):
    (tmp_path / "my.smi").write_text("\n".join(simulated_molecules(60, seed=3)) + "\n")
    words = ["data=molecules", "model=smiles_nano", "model.d_model=32", "task=masked_lm", *SHORT]
    words += [f"data.source.paths={tmp_path / 'my.smi'}", "test=false", f"hydra.run.dir={tmp_path / 'run'}"]
    exclude = (
        "{_target_: trimer.data.modules.held_out.MoleculesOf, cache: '${paths.cache}', sources: [{_target_: "
        "trimer.data.molecules.molecule_files.SmilesFiles, paths: '%s'}]}" % (tmp_path / "out.smi")
    )
    (tmp_path / "out.smi").write_text("CCO\n")
    assert main(["train", *words, "data.prepare_workers=0", f"data.exclude={exclude}"]) == 0
    capsys.readouterr()
    assert predict(tmp_path / "run", tmp_path / "my.smi", tmp_path / "out.csv") == 1
    message = last_error_line(capsys)
    assert "was trained to restore corrupted or masked sequences, not to predict: trimer embed ckpt=" in message
    words = [f"ckpt={tmp_path / 'run'}", f"input={tmp_path / 'my.smi'}", f"output={tmp_path / 'out.parquet'}"]
    assert main(["embed", *words]) == 0
    assert "60 of 60 molecules embedded" in capsys.readouterr().out
    assert main(["evaluate", f"ckpt={tmp_path / 'run'}", f"hydra.run.dir={tmp_path / 'out'}"]) == 0
    assert "perplexity" in (tmp_path / "out" / "test" / "table.csv").read_text()


# ---------------------------------------------------------------- rejected trainings


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["task.lora={rnak: 8}"],
            "task.lora.rnak: trimer.models.lora.add_lora has no argument 'rnak'; did you mean rank?",
        ),
        (["task.lora={rank: many}"], "task.lora.rank=many must be a whole number"),
        (["task.lora=8"], "task.lora=8 must hold settings"),
        (["task.head.pooling=max"], "task.head.pooling=max must be one of"),
        (["+task.head.depth=2"], "task.head.depth"),
        (["task.freeze=9"], "task.freeze=9 must be -1 (all) or 0 to 2"),
        (["model=esm2_nano"], "set model.token_dropout=false"),
        (["baselines=[SVM,forrest]"], "'forrest' is in no name of a baseline; use names or parts of: trivial"),
        (["task=regression"], "learns regression labels, but data.target=single"),
        (["data.target=residue", "data.too_long=drop"], "molecules have no residue labels"),
    ],
)
def test_invalid_settings_are_reported_before_the_data_are_prepared(folder, tmp_path, capsys, words, sentence):
    small = [word for word in SHORT if not word.startswith("model")]
    words = [*RUNS["single"][:2], *RUNS["single"][3:], *small, f"data.source.paths={folder / 'molecules.csv'}", *words]
    words = [word for word in words if not (word.startswith("task.class") and "task=regression" in words)]
    assert main(["train", *words, f"hydra.run.dir={tmp_path / 'run'}", f"paths.cache={tmp_path / 'cache'}"]) == 1
    err = capsys.readouterr().err.strip()
    assert sentence in err and "\n" not in err
    assert not (tmp_path / "cache").exists()
