"""Cards name data, recipe, cost and results, and no path of the computer that trained the model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from trimer.pretrained import cards, registry
from trimer.reporting.table import ResultTable


def run_folder(path: Path, data: Path, overrides: list[str], ckpt: Path | None = None) -> Path:
    path.mkdir(parents=True)
    config = {
        "name": path.name,
        "ckpt": None if ckpt is None else str(ckpt),
        "paths": {"data": str(data)},
        "data": {
            "source": {"paths": f"{data}/molecules/*.csv"},
            "exclude": {"source": {"paths": f"{data}/proteins/test.fasta"}},
        },
    }
    OmegaConf.save(OmegaConf.create(config), path / "config.yaml")
    OmegaConf.save(OmegaConf.create(overrides), path / "overrides.yaml")
    (path / "run.json").write_text(json.dumps({"device": {"cpu": "a CPU", "threads": 2}, "command": "train"}))
    (path / "result.json").write_text(json.dumps({"seconds": 90.0, "steps": 10, "ended": "2026-02-03T04:05:06+00:00"}))
    return path


@pytest.fixture
def runs(tmp_path) -> list[Path]:
    """Two stages of a training, the second from the first."""
    data = tmp_path / "data"
    for name in ("molecules/a.csv", "proteins/test.fasta"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text(name)
    first = run_folder(tmp_path / "smiles", data, ["experiment=foodb/pretrain", f"paths.data={data}"])
    words = [
        "experiment=foodb/superclass",
        f"ckpt={first}",
        f"data.source.paths={data}/molecules/a.csv",
        "x=/home/me/b.csv",
    ]
    second = run_folder(tmp_path / "superclass", data, [*words, f"hydra.run.dir={tmp_path}/superclass"], first)
    return cards.runs_of(second)


def test_all_stages_are_listed_the_earliest_first(runs, tmp_path):
    assert [run.name for run in runs] == ["smiles", "superclass"]
    commands = cards.commands_of(runs)
    assert commands[0] == "trimer train experiment=foodb/pretrain"
    assert commands[1] == (
        "trimer train experiment=foodb/superclass ckpt=<run of smiles> "
        "data.source.paths=$TRIMER_DATA/molecules/a.csv x=<b.csv>"
    )
    assert str(tmp_path) not in "".join(commands)


def test_cost_and_date_are_those_of_all_stages(runs):
    assert cards.cost_of(runs) == "20 steps in 3 minutes on 2 threads of a CPU"
    assert cards.date_of(runs) == "2026-02-03"


def test_the_cost_includes_stages_that_were_stopped(runs):
    """Their result.json has no time: it is that of the logged intervals, 1,000 tokens at 10 and 500 at 5 a second."""
    (runs[0] / "result.json").write_text(json.dumps({"status": "failed", "error": "stopped by SIGTERM"}))
    lines = ["step,real_tokens,tokens_per_second,val/loss", "49,1000,10,", "99,1500,5,", "99,,,0.5"]
    (runs[0] / "metrics.csv").write_text("\n".join(lines) + "\n")
    assert cards.steps_and_seconds(runs[0]) == (100, 200.0)
    assert cards.cost_of(runs) == "110 steps in 5 minutes on 2 threads of a CPU"


def test_the_runs_of_an_average_are_stages_once(runs, tmp_path):
    third = run_folder(tmp_path / "other_seed", tmp_path / "data", [f"ckpt={runs[0]}", "seed=1"], runs[0])
    mean = run_folder(tmp_path / "mean", tmp_path / "data", [])
    (mean / "result.json").unlink()
    config = OmegaConf.merge(OmegaConf.load(mean / "config.yaml"), {"ckpt": [str(runs[1]), str(third)]})
    OmegaConf.save(config, mean / "config.yaml")
    stages = cards.runs_of(mean)
    assert [run.name for run in stages] == ["smiles", "superclass", "other_seed", "mean"]
    assert cards.commands_of(stages)[2:] == [
        "trimer train ckpt=<run of smiles> seed=1",
        "python experiments/spectrums/average_runs.py <the 2 runs before>",
    ]
    assert cards.cost_of(stages).startswith("30 steps in 4 minutes")


def test_a_checkpoint_of_an_earlier_run_is_named_by_its_run(runs):
    OmegaConf.save(OmegaConf.create([f"ckpt={runs[0]}/checkpoints/last.ckpt"]), runs[1] / "overrides.yaml")
    assert cards.commands_of(runs[1:]) == ["trimer train ckpt=<run of smiles>/checkpoints/last.ckpt"]


def test_data_have_licence_and_checksum_and_excluded_files_are_not_training_data(runs):
    known = {"molecules/a.csv": {"from": "a source", "licence": "MIT"}}
    (only,) = cards.data_of(runs, known)
    digest = hashlib.sha256(b"molecules/a.csv").hexdigest()
    assert only == {"file": "molecules/a.csv", "from": "a source", "licence": "MIT", "sha256": digest}


def test_the_table_has_intervals_and_says_where_they_are_from():
    table = ResultTable(metrics=["accuracy", "mcc"])
    table.add("trivial", {"accuracy": 0.5, "accuracy_std_error": 0.1}, baseline=True)
    table.add("model", {"accuracy": 0.8, "accuracy_ci95_low": 0.7, "accuracy_ci95_high": 0.9, "mcc": 0.4})
    lines = cards.table_with_intervals(table)
    assert lines[2:] == ["| trivial | 50.0 [30.4, 69.6] | – |", "| model | 80.0 [70.0, 90.0] | 0.400 |"]
    resamples, normal = cards.note_on_intervals(table).split(". ")
    assert resamples == "In brackets: the 95 % interval over resampled records" and "± 1.96 standard errors" in normal
    assert cards.note_on_intervals(ResultTable(rows=table.rows[1:], metrics=["accuracy"])) == f"{resamples}."
    assert cards.note_on_intervals(ResultTable(rows=table.rows, metrics=["mcc"])) == ""
    assert cards.main_metric(table.to_dict(), None) == {"name": "accuracy", "label": "Accuracy (%)", "shown": "80.0"}
    assert cards.main_metric(table.to_dict(), "mcc")["shown"] == "0.400"
    assert cards.main_metric(None, "mcc") is None


@pytest.mark.parametrize("name", registry.names())
def test_the_card_of_a_shipped_model_is_complete_and_agrees_with_its_facts(name):
    folder = registry.FOLDER / name
    facts, table = registry.facts(folder), json.loads((folder / "table.json").read_text(encoding="utf-8"))
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != "card.md"}
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert card == cards.markdown(facts, table, files)
    for heading in ("| Date |", "| Cost |", "| Weights |", "## Limits", "## Test split", "## Data", "## Recipe"):
        assert heading in card, heading
    assert "[" in next(line for line in card.splitlines() if line.startswith(f"| {table['rows'][-1]['method']} |"))
    assert cards.KEYS in card and facts["limits"] == list(cards.about(name)[0]["limits"])
    for file in facts["data"]:
        assert "unknown" not in (file["from"], file["licence"])
        assert len(file["sha256"]) == 64 or file["from"] == "simulated by Trimer"


def test_every_described_model_has_purpose_and_limits_and_its_data_licences():
    content = OmegaConf.load(cards.ABOUT)
    for name, model in content.models.items():
        assert model.does and not model.does.endswith("."), name
        assert model.limits, name
    for name, file in content.data.items():
        assert file["from"] and file.licence, name
