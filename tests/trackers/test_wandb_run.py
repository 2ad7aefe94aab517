"""W&B runs are read back from their offline files with the reader of W&B, `wandb leet inspect`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from trimer.cli.configs import compose
from trimer.errors import InputError
from trimer.loggers import open_loggers
from trimer.reporting import attempts
from trimer.targets import target_of
from trimer.trackers import publishing
from trimer.trackers.guard import FAILURES
from trimer.trackers.wandb_run import WandbRun, summary_of

pytest.importorskip("wandb")
CLASSES = ["acid", "base", "salt"]
SHA = "0123456789abcdef"


def wandb_run(folder: Path, **settings) -> WandbRun:
    """The logger of conf/logger/wandb.yaml for a folder."""
    cfg = OmegaConf.to_container(compose("train", ["logger=wandb", f"paths.run={folder}"]).logger.wandb, resolve=True)
    cfg.pop("_target_")
    return WandbRun(**{**cfg, "name": "demo", "id": "an-id", **settings})


def evaluation() -> SimpleNamespace:
    """Predicted classes of 30 molecules, mostly right."""
    source = np.random.default_rng(0)
    labels = source.integers(0, 3, 30)
    probabilities = source.dirichlet([1, 1, 1], 30) * 0.5 + 0.5 * np.eye(3)[labels]
    return SimpleNamespace(
        kind=target_of("single"), classes=CLASSES, labels=labels, predictions=probabilities, thresholds=None,
        ids=[f"m{i}" for i in range(30)], texts=["CCO"] * 30,
    )  # fmt: skip


def make_folder(folder: Path) -> None:
    """What a training leaves in its run folder."""
    (folder / "test").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    record = {"argv": ["trimer", "train", "optimizer.lr=1e-3"], "git": {"sha": SHA, "dirty": True}}
    for name, content in {
        "run.json": record,
        "split.json": {"method": "groups", "sha256": "feed" * 16, "sizes": {"train": 9, "test": 3}},
        "drops.json": {"records": 12, "rules": [{"rule": "too long", "dropped": 2}]},
    }.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "git.diff").write_text("+ a change\n")
    (folder / "config.yaml").write_text("seed: 1\n")
    (folder / "checkpoints" / "best.ckpt").write_bytes(b"weights")
    (folder / "test" / "table.csv").write_text("method,kind,accuracy\nbaseline,baseline,0.5\nmodel,method,\n")
    (folder / "test" / "predictions.parquet").write_bytes(b"rows")
    (folder / "test" / "page.html").write_text("<p>the page</p>")
    for name in ("confusion", "embeddings"):
        Image.new("RGB", (20, 10)).save(folder / "test" / f"{name}.png")


def records(folder: Path) -> list[dict]:
    """All records of the offline run in a run folder."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, list[dict]]:
    folder = tmp_path_factory.mktemp("multirun-x") / "3"
    make_folder(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("WANDB_X_DISABLE_STATS", "true")
        logger = wandb_run(folder, tags=["mine"], offline=True)
        trainer = SimpleNamespace(loggers=[logger], is_global_zero=True)
        with open_loggers([logger], {"seed": 1, "optimizer": {"lr": 1e-3}}):
            for step in range(4):
                row = {"train/loss": 2.0 / (1 + step), "lr": 1e-3 * (step != 2), "tokens_per_second": 900.0 + step % 2}
                logger.log_metrics({**row, "epoch": step, "real_tokens": 512 * step, "gradient_norm": step**2}, step)
            record = json.loads((folder / "run.json").read_text())
            (folder / "run.json").write_text(json.dumps(record | {"data": "store-7"}))  # once the data are prepared
            publishing.log_data(trainer, folder)
            late = {"val/loss": 0.7, "val/accuracy": 0.8, "val/labels_seen": 30.0, "epoch": 3}
            logger.log_metrics(late, 1)  # a late value joins the last row
            logger.log_metrics({"val/loss": 0.9, "val/accuracy": 0.6, "test/accuracy_std_error": 0.1}, 4)
            logger.log_objects({"test/predictions": publishing.sample_table(evaluation(), drawn=True, most=4)})
            publishing.log_results(trainer, folder, "test", evaluation())
            publishing.log_checkpoint(trainer, folder, {"steps": 4, "real_tokens": 2048})
            publishing.log_summary(trainer, {"steps": 4, "metrics": {"val/loss": 0.9}}, "val/loss")
    return folder, records(folder)


def summary(found: list[dict]) -> dict:
    """The last summary."""
    values: dict = {}
    for record in found:
        values |= record.get("summary", {}).get("update", {})
    return values


def test_the_run_is_named_grouped_and_described(finished):
    folder, found = finished
    run = next(record["run"] for record in found if record["type"] == "run")
    assert (run["run_group"], run["job_type"], run["display_name"]) == (folder.parent.name, "train", "demo 3")
    assert run["tags"] == ["mine"] and run["notes"].startswith("trimer train optimizer.lr=1e-3\ngit " + SHA)
    config: dict = {}
    for record in found:
        config |= record.get("config", {}).get("update", {})
    assert config["run"]["git"]["sha"] == SHA and config["optimizer"]["lr"] == 1e-3
    assert config["run"]["data"] == "store-7"
    assert (next(folder.glob("wandb/offline-run-*/files")) / "git.diff").read_text() == "+ a change\n"


def test_no_metric_is_a_straight_line_and_each_has_a_section(finished):
    _, found = finished
    curves: dict[str, list[tuple[int, float]]] = {}
    for record in found:
        row = record.get("history", {}).get("item", {})
        for name, value in row.items():
            if not name.startswith("_") and isinstance(value, int | float):
                curves.setdefault(name, []).append((row["_step"], value))
    metrics = {name for name in curves if "_table" not in name and "." not in name}
    assert {name.partition("/")[0] for name in metrics} == {"train", "val", "optimizer", "speed"}
    assert not {"epoch", "real_tokens", "trainer/global_step", "test/accuracy_std_error", "val/labels_seen"} & metrics
    for name in metrics:
        steps, values = np.array(curves[name], float).T
        if len(steps) > 2:
            assert np.ptp(values) == 0 or abs(np.corrcoef(steps, values)[0, 1]) < 0.999, f"{name} is a straight line"
    assert curves["val/loss"] == [(3, 0.7), (4, 0.9)]


def test_the_summary_holds_best_values_objective_and_errors(finished):
    values = summary(finished[1])
    assert values["val/loss"] == {"last": 0.9, "min": 0.7} and values["val/accuracy"]["max"] == 0.8
    assert (values["objective"], values["objective_name"], values["data/train"]) == (0.9, "val/loss", 9)
    assert values["test/accuracy_std_error"] == 0.1 and values["val/labels_seen"] == 30
    assert summary_of("val/slope") == summary_of("test/coverage") == "last"
    assert summary_of("optimizer/lr") == "last" and summary_of("train/loss_epoch") == "min,last"


def test_artifacts_name_the_split_and_all_files_are_in_the_run_folder(finished):
    folder, found = finished
    artifacts = {record["artifact"]["name"]: record["artifact"] for record in found if record["type"] == "artifact"}
    kinds = {artifact["type"]: artifact for artifact in artifacts.values()}
    assert artifacts["split-feedfeedfeedfeed"]["type"] == "dataset"
    for kind in ("dataset", "model", "predictions"):
        assert json.loads(kinds[kind]["metadata"])["split"] == "feed" * 16
    assert json.loads(kinds["predictions"]["metadata"])["model"] == "model-an-id"
    assert json.loads(kinds["dataset"]["metadata"])["dropped"] == {"too long": 2}
    for artifact in artifacts.values():
        for entry in artifact["manifest"]["contents"]:
            assert Path(entry["local_path"]).is_file() and folder.resolve() in Path(entry["local_path"]).parents


def test_tables_curves_drawings_and_the_page_are_stored(finished):
    folder, found = finished
    rows = [record["history"]["item"] for record in found if record["type"] == "history"]
    keys = {name.partition("._")[0].removesuffix("_table") for row in rows for name in row}
    pictures = ("confusion", "embeddings")
    for name in ("predictions", "table", "confusion matrix", "precision-recall", "calibration", *pictures, "page"):
        assert any(key.partition(".")[0].removesuffix("_table") == f"test/{name}" for key in keys), name
    media = next(folder.glob("wandb/offline-run-*/files/media"))
    (page,) = media.glob("html/test/page_*.html")
    assert page.read_text() == "<p>the page</p>"
    assert all(len(list(media.glob(f"images/test/{name}_*.png"))) == 1 for name in pictures)
    (table,) = media.glob("table/test/predictions_*.table.json")
    content = json.loads(table.read_text())
    assert content["columns"] == ["id", "record", "drawing", "label", "prediction", "probability or error"]
    assert [row[0] for row in content["data"]] == ["m0", "m10", "m19", "m29"]
    # Drawings are in the artifact of the table, which W&B shows.
    artifact = next(r["artifact"] for r in found if "testpredictions" in r.get("artifact", {}).get("name", ""))
    files = {entry["path"]: Path(entry["local_path"]) for entry in artifact["manifest"]["contents"]}
    drawing = json.loads(files["test/predictions.table.json"].read_text())["data"][0][2]
    assert drawing["_type"] == "image-file" and Image.open(files[drawing["path"]]).size == (240, 170)
    (table,) = media.glob("table/test/table_*.table.json")
    assert json.loads(table.read_text())["data"] == [["baseline", "baseline", 0.5], ["model", "method", None]]


def test_a_failed_run_has_its_reason_and_exit_code(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_X_DISABLE_STATS", "true")
    make_folder(tmp_path)
    logger = wandb_run(tmp_path, offline=True)
    with pytest.raises(InputError), open_loggers([logger], {}):
        raise InputError("the training loss is nan at step 3")
    found = records(tmp_path)
    assert summary(found)["failure"] == "the training loss is nan at step 3"
    assert next(record["exit"] for record in found if record["type"] == "exit")["exit_code"] == 1


class Broken:
    """A run whose service has died."""

    id, resumed, step, notes, calls = "x", False, 0, "", 0

    def define_metric(self, *arguments, **named) -> None:
        self.calls += 1
        raise ConnectionError("the service has died")


def test_a_tracker_that_breaks_does_not_end_the_training(tmp_path, caplog):
    logger = wandb_run(tmp_path, offline=True)
    logger._experiment = broken = Broken()
    for step in range(10):
        logger.log_metrics({"train/loss": 1.0}, step)
    assert broken.calls == FAILURES and "the service has died" in caplog.text
    attempts.failed_reports()


class Resumed(Broken):
    """A run that is resumed after step 530."""

    resumed, step = True, 530

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict]] = []
        self.config, self.summary = SimpleNamespace(update=lambda *a, **n: None), {}

    def define_metric(self, *arguments, **named) -> None:
        pass

    def log(self, values, step) -> None:
        self.rows.append((step, values))


def test_a_resumed_run_continues_the_curve(tmp_path):
    """It repeats the steps after its checkpoint, which the tracker has already, and then continues."""
    logger = wandb_run(tmp_path)
    logger._experiment = resumed = Resumed()
    logger.log_hyperparams({})
    for step in (500, 520, 530, 540):
        logger.log_metrics({"train/loss": 1.0}, step)
    assert [step for step, _ in resumed.rows] == [530, 540]
