"""`trimer init`: the project trains, passes its own tests, and can be reproduced."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from trimer import plugins
from trimer.cli.main import main


@pytest.fixture
def project(empty_folder, monkeypatch):
    """A new project as the working directory."""
    assert main(["init", "mine"]) == 0
    monkeypatch.chdir("mine")
    monkeypatch.delenv("TRIMER_PLUGINS", raising=False)
    yield Path.cwd()
    plugins._loaded.pop("my_parts", None)
    sys.modules.pop("my_parts", None)


def test_the_project_trains_and_passes_its_tests(project, tmp_path, monkeypatch):
    short = ["trainer.max_steps=20", "baselines=false", "test=false", "hydra.run.dir=runs/first/one"]
    assert main(["train", "--plugin", "my_parts.py", "experiment=first", *short]) == 0
    spec = importlib.util.spec_from_file_location("test_of_the_project", project / "tests" / "test_project.py")
    tests = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tests)
    tests.test_the_source_reads_every_record()
    tests.test_the_first_experiment_trains(tmp_path, monkeypatch)
    assert main(["train", "from=runs/first/one", "seed=1"]) == 1, "a run folder loads no plug-in"
    assert (project / ".gitignore").read_text().startswith("runs/")


def test_the_commands_of_the_readme_compose(project, capsys):
    lines = [line for line in Path("README.md").read_text().splitlines() if line.startswith("trimer train --plugin")]
    assert len(lines) == 2
    for line in lines:
        assert main([*line.split()[1:], "--cfg", "job"]) == 0
    assert "_target_: my_parts.JsonLines" in capsys.readouterr().out


def test_a_folder_with_files_is_not_overwritten(empty_folder, capsys):
    (empty_folder / "notes.txt").touch()
    assert main(["init", str(empty_folder)]) == 1
    assert "exists and is not empty" in capsys.readouterr().err
    assert [path.name for path in empty_folder.iterdir()] == ["notes.txt"]
