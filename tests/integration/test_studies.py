"""Studies: every command of `make study-<name>` composes, small versions run, and pages keep what was not measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import make_study
import pytest
import study_plan
import study_runs
import study_tables
from foodb import generated_release
from stored_runs import write_predictions

from trimer.data.labelled.foodb import FooDB
from trimer.errors import ConfigError

STUDIES = ["alphadia", "cramming", "deeploc", "foodb", "spectrums"]
PAGE = "# A study\n\nText.\n\n<!-- table: scores -->\n\n| old |\n| --- |\n\n<!-- end -->\n\nMore text.\n"
CONTENT = {
    "runs": {
        "first": {"train": ["model=a"], "seeds": [0, 1]},
        "second-{kind}": {
            "train": ["ckpt=@first", "task={rank: 8}"],
            "seeds": [0, 1],
            "each": {"kind": {"plain": [], "long": ["trainer.max_steps=9"]}},
        },
        "other": {"train": ["limit={limit}"], "each": {"limit": [5]}},
    },
    "tables": {
        "scores": {
            "cell": {"run": "second-{kind}"},
            "columns": [{"heading": "Accuracy", "metric": "accuracy"}, {"heading": "MAE", "metric": "mae"}],
            "rows": [
                {"each_method": "baseline", "kind": "plain"},
                {"label": "plain", "kind": "plain"},
                {"label": "long, seed 0", "kind": "long", "seeds": [0]},
            ],
        }
    },
}


@pytest.fixture
def study(tmp_path):
    return study_plan.study_of(CONTENT, "toy", tmp_path / "runs", tmp_path)


class Trainings:
    """Stands in for `trimer`: writes the files of a finished run, or fails if the folder has a name of `failing`."""

    def __init__(self, *failing: str):
        self.failing = failing
        self.commands: list[list[str]] = []

    def __call__(self, words: list[str]) -> int:
        self.commands.append(words)
        folder = Path(words[-1].partition("=")[2])
        if any(name in str(folder) for name in self.failing):
            return 1
        seed = int(folder.name.removeprefix("seed"))
        (folder / "test").mkdir(parents=True, exist_ok=True)
        if not words[1].startswith("resume="):
            (folder / "overrides.yaml").write_text(json.dumps(words[1:]))
        (folder / "run.json").write_text(json.dumps({"started": f"{len(self.commands):04d}"}))
        (folder / "result.json").write_text(json.dumps({"status": "ok"}))
        longer = "long" in str(folder)
        rows = [
            {"method": "a baseline", "kind": "baseline", "values": {"accuracy": 0.5, "mae": 9}},
            {
                "method": "m",
                "kind": "method",
                "values": {"accuracy": 0.8 + seed / 10 - longer / 10, "accuracy_std_error": 0.02, "mae": 2 - longer},
            },
        ]
        (folder / "test" / "table.json").write_text(json.dumps({"rows": rows}))
        return 0


def test_words_folders_and_needs_of_each_step(study):
    names = [str(step) for step in study.steps]
    assert names[:4] == ["first, seed 0", "first, seed 1", "second-plain, seed 0", "second-plain, seed 1"]
    assert len(names) == 7
    step = study.of_run("second-long")[1]
    first = study.folder / "first" / "seed1"
    assert step.words == (f"ckpt={first}", "task={rank: 8}", "trainer.max_steps=9")
    assert step.needs == (first,)
    assert step.command[0] == "train" and step.command[-2:] == ["seed=1", f"hydra.run.dir={step.folder}"]
    assert study.of_run("other")[0].words == ("limit=5",)
    assert [str(s) for s in study.chosen(["second-plain"])] == names[:4], "with what they need"
    with pytest.raises(ConfigError, match="no run of toy has such a name; the runs are first, second-plain"):
        study.chosen(["third*"])


@pytest.mark.parametrize(
    ("run", "says"),
    [
        ({"train": ["ckpt=@later"]}, "@later is not a run above it"),
        ({"training": []}, "'training' has no meaning"),
        ({"train": [], "script": []}, "give one of train, evaluate, script"),
    ],
)
def test_wrong_runs_are_rejected(run, says, tmp_path):
    with pytest.raises(ConfigError, match=says):
        study_plan.study_of({"runs": {"wrong": run}}, "toy", tmp_path, tmp_path)


def test_a_failure_stops_only_the_runs_that_need_it(study):
    trainings = Trainings("first/seed1")
    problems = study_runs.run_steps(study, study.steps, trainings)
    failed = study.folder / "first" / "seed1"
    assert problems[failed].startswith("failed (exit code 1)")
    assert {path.parent.name for path in problems} == {"first", "second-plain", "second-long"}
    assert all(path.name == "seed1" for path in problems)
    assert f"not run, because {failed}" in problems[study.folder / "second-long" / "seed1"]
    trainings.failing = ()
    assert study_runs.run_steps(study, study.steps, trainings) == {}
    assert len(trainings.commands) == 5 + 3, "only what had failed or was not run"
    assert study_runs.run_steps(study, study.steps, trainings) == {}
    assert len(trainings.commands) == 8, "nothing is repeated"


def test_stopped_runs_are_resumed_and_those_without_a_checkpoint_start_again(study):
    step = study.steps[0]
    (step.folder / "checkpoints").mkdir(parents=True)
    (step.folder / "checkpoints" / "last.ckpt").touch()
    assert study_runs.next_command(step) == ["train", f"resume={step.folder}"]
    (step.folder / "checkpoints" / "last.ckpt").unlink()
    assert study_runs.next_command(step) == step.command
    assert not step.folder.exists()


def test_ctrl_c_ends_the_study(study):
    with pytest.raises(KeyboardInterrupt):
        study_runs.run_steps(study, study.steps, lambda words: 130)


def test_runs_with_other_settings_or_older_than_their_checkpoint_are_not_used(study):
    trainings = Trainings()
    study_runs.run_steps(study, study.steps, trainings)
    path = study.folder / "second-plain" / "seed0" / "overrides.yaml"
    path.write_text(json.dumps([*json.loads(path.read_text()), "optimizer.lr=1"]))
    (study.folder / "first" / "seed1" / "run.json").write_text(json.dumps({"started": "9999"}))
    problems = study_runs.run_steps(study, study.steps, trainings)
    assert "other settings than those of study.yaml (optimizer.lr=1)" in problems[path.parent]
    assert "is older than" in problems[study.folder / "second-plain" / "seed1"]
    assert set(problems) == {study.folder / f"second-{name}" for name in ("plain/seed0", "plain/seed1", "long/seed1")}


def test_a_run_records_the_data_folder_in_place_of_its_name():
    settings = ["data.source.paths=${paths.data}/a.csv", "task={rank: 8}", "seed=0"]
    recorded = ["data.source.paths=/data/a.csv", "task={rank: 8}", "seed=0"]
    assert study_runs.differences(settings, recorded) == []
    recorded[0] = "data.source.paths=/data/b.csv"
    assert study_runs.differences(settings, recorded) == [settings[0], recorded[0]]
    assert study_runs.differences(settings[1:], settings[2:]) == ["task={rank: 8}"]


def test_a_table_shows_mean_spread_and_the_best_values(study, tmp_path):
    study_runs.run_steps(study, study.steps, Trainings())
    (tmp_path / "page.md").write_text(PAGE)
    assert study_tables.write_page(study, tmp_path / "page.md", tmp_path / "new.md", {}) == []
    text = (tmp_path / "new.md").read_text()
    assert "| Method | Accuracy | MAE |\n| :-- | --: | --: |\n| a baseline | 50.0 | 9.000 |\n" in text
    assert "| plain | **85.0 ± 7.1** | 2.000 |\n| long, seed 0 | 70.0 ± 2.0 | **1.000** |\n" in text
    assert text.startswith("# A study\n\nText.") and text.endswith("<!-- end -->\n\nMore text.\n")
    assert "| old |" not in text


def test_a_table_shows_paired_differences_to_a_baseline_and_to_another_run(tmp_path):
    content = {
        "runs": {"new": {"train": [], "seeds": [0, 1]}, "old": {"train": [], "seeds": [0, 1]}},
        "tables": {
            "scores": {
                "best": None,
                "cell": {"run": "new", "metric": "accuracy", "minus": "{label}", "p": True},
                "columns": [{"heading": "Seed 0 (p)", "seeds": [0]}, {"heading": "Seed 1 (p)", "seeds": [1]}],
                "rows": [{"label": "a baseline"}, {"label": "before", "minus": "@old"}],
            }
        },
    }
    study = study_plan.study_of(content, "toy", tmp_path / "runs", tmp_path)
    labels = ["no", "yes"] * 20
    for step in study.steps:
        right = 40 if step.name == "new" else 20
        write_predictions(step.folder, labels, [0.1, 0.9] * (right // 2) + [0.9, 0.1] * ((40 - right) // 2))
        values = {"accuracy": 0.5, "accuracy_difference": 0.25, "accuracy_difference_std_error": 0.1 * (step.seed + 1)}
        values["accuracy_difference_p"] = 0.012 if step.seed == 0 else 0.2
        rows = [{"method": "a baseline", "kind": "baseline", "values": values | {"mae": None}}]
        (step.folder / "test" / "table.json").write_text(json.dumps({"rows": rows}))
    (tmp_path / "page.md").write_text(PAGE)
    assert study_tables.write_page(study, tmp_path / "page.md", tmp_path / "new.md", {}) == []
    text = (tmp_path / "new.md").read_text()
    assert "| a baseline | ▲ +25.0 ± 10.0 (0.012) | ≈ +25.0 ± 20.0 (0.200) |\n" in text
    assert "| before | ▲ +50.0 ± " in text and text.count("(< 0.001)") == 2
    kept = study_tables.write_page(study, tmp_path / "page.md", tmp_path / "new.md", {study.steps[-1].folder: "failed"})
    assert kept == [f"table scores is unchanged: no result of {study.steps[-1]}"]


def test_a_page_keeps_its_tables_until_all_their_runs_are_finished(study, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    problems = study_runs.run_steps(study, study.steps, Trainings("second-long/seed0"))
    kept = study_tables.write_page(study, page, page, problems)
    assert page.read_text() == PAGE
    assert kept == ["table scores is unchanged: no result of second-long, seed 0"]


def test_a_table_without_markers_is_reported(study, tmp_path):
    study_runs.run_steps(study, study.steps, Trainings())
    (tmp_path / "page.md").write_text("# A study\n")
    kept = study_tables.write_page(study, tmp_path / "page.md", tmp_path / "page.md", {})
    assert "write <!-- table: scores --> and <!-- end --> once" in kept[0]


@pytest.mark.parametrize("name", STUDIES)
def test_without_any_run_no_page_changes(name, tmp_path):
    """All tables name runs that exist, and have their place on the page."""
    assert study_plan.studies() == STUDIES
    study = study_plan.read_study(name, tmp_path, tmp_path)
    page = study_plan.STUDIES / name / "RESULTS.md"
    missing = {step.folder: "is missing" for step in study.steps}
    kept = study_tables.write_page(study, page, tmp_path / "page.md", missing)
    assert (tmp_path / "page.md").read_text() == page.read_text()
    assert len(kept) == len(study.tables) + len(study.figures)
    for table in study.tables:
        study_tables.replaced(page.read_text(), table, "", page)  # raises an error without markers


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_command_of_a_study_composes(name, tmp_path, capsys):
    assert make_study.main([name, "--small", "--dry-run", "--runs", str(tmp_path)]) == 0, capsys.readouterr().err
    assert make_study.main([name, "--dry-run", "--runs", str(tmp_path)]) == 0
    assert "missing: train experiment=" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("rough_figures")
@pytest.mark.parametrize("name", STUDIES)
def test_the_small_version_of_a_study_runs(name, tmp_path, monkeypatch, capsys):
    """`make study-<name> SMALL=1`: all runs, and a page with all tables and figures."""
    monkeypatch.setenv("TRIMER_DATA", "")  # restored after the test
    assert make_study.main([name, "--small", "--runs", str(tmp_path)]) == 0, capsys.readouterr().err
    assert "is unchanged" not in capsys.readouterr().out
    check_page(study_plan.read_study(name, tmp_path, tmp_path, small=True))
    if name == "foodb":
        pictures = {path.name for path in (tmp_path / name / "terms-flavors-scratch/seed0/test").iterdir()}
        assert {"embeddings.png", "embeddings.html", "embeddings_4.html"} <= pictures


def check_page(study: study_plan.Study) -> None:
    """All tables of a study's page have their rows and a value in each cell, and all figures are there."""
    page = (study.folder / "RESULTS.md").read_text()
    assert "its numbers mean nothing" in page
    for table, spec in study.tables.items():
        lines = page.partition(f"<!-- table: {table} -->")[2].partition("<!-- end -->")[0].strip().splitlines()
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
        labels = [str(row["label"]) for row in spec["rows"] if "label" in row and 0 in row.get("seeds", [0])]
        assert set(labels) <= {row[0] for row in rows[2:]}, table
        assert {len(row) for row in rows} == {1 + len(spec["columns"])} and all(map(all, rows[2:])), table
    assert {path.name for path in (study.folder / "figures").iterdir()} == set(study.figures)
    assert all(step.folder.is_dir() for step in study.steps)


def test_the_generated_release_is_read_as_foodb(tmp_path):
    smiles = generated_release.molecules(None, 150, seed=1)
    counts = generated_release.write_release(tmp_path / "a", [*smiles, "no molecule"], seed=1, noise=0.0, share=0.5)
    assert counts["compounds"] == 150
    generated_release.write_release(tmp_path / "b", [*smiles, "no molecule"], seed=1, noise=0.0, share=0.5)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    table = next(iter(FooDB(str(tmp_path / "a")).chunks()))
    assert len(table.texts) == 150 and table.ids[0] == "GEN000001" and not table.problems
    assert all("(generated)" in name for name in table.labels["superklass"])
    flavours = next(iter(FooDB(str(tmp_path / "a"), "flavors").chunks()))
    assert flavours.texts == table.texts, "the header of 2020 is corrected"
    effects = next(iter(FooDB(str(tmp_path / "a"), "health_effects").chunks())).labels
    known = effects["health effect of halogen (generated)"]
    for value, text in zip(known, flavours.texts, strict=True):
        assert value is None or (value == "1") == any(atom in text for atom in ("F", "Cl", "Br", "I"))
    assert 20 < sum(value is None for value in known) < 130


def test_noise_flips_labels_of_the_generated_release(tmp_path):
    smiles = generated_release.molecules(None, 300, seed=2)

    def links(noise: float) -> set[tuple[str, str]]:
        folder = tmp_path / str(noise)
        generated_release.write_release(folder, smiles, seed=2, noise=noise, share=1.0)
        with (folder / "CompoundOntologyTerm.csv").open(newline="") as stream:
            return {(row["compound_id"], row["ontology_term_id"]) for row in csv.DictReader(stream)}

    flipped = len(links(0.0) ^ links(0.1)) / (300 * 5)
    assert 0.07 < flipped < 0.13
    with pytest.raises(SystemExit, match=r"noise=0\.9 must be from 0 to 0\.5"):
        generated_release.write_release(tmp_path, smiles, noise=0.9)
