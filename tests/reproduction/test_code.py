"""What a run folder records of the code: commits, changes, untracked files with copies of small sources."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from trimer.reproduction import code


@pytest.fixture
def checkout(tmp_path):
    """A git checkout with one commit and one tracked file."""
    return new_checkout(tmp_path / "checkout")


def new_checkout(folder: Path) -> Path:
    folder.mkdir()
    (folder / "run.py").write_text("a = 1\n")
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "run.py"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    return folder


def test_untracked_sources_are_hashed_and_copied(checkout, tmp_path, monkeypatch):
    monkeypatch.chdir(checkout)
    monkeypatch.setattr(code, "PACKAGE", checkout)
    monkeypatch.setattr(code, "LARGEST", 100)
    (checkout / "own").mkdir()
    for name in ("own/new.py", "own/näme.yaml", "secret_keys.yaml", ".env", "api_token.py", "data.bin"):
        (checkout / name).write_text(name)
    (checkout / "long.py").write_text("#" * 101)
    (checkout / "runs").mkdir()
    (checkout / "runs" / "other.py").write_text("a file of another run")
    found = code.code_version(checkout / "runs" / "run")["git"]
    files = {file["path"]: file for file in found["untracked_files"]}
    assert found["untracked"] == len(files) == 7, "files of runs are not code"
    copied = {path for path, file in files.items() if "copy" in file}
    assert copied == {"own/new.py", "own/näme.yaml"}
    assert {path for path, file in files.items() if "sha256" in file} == copied
    assert files["own/new.py"]["sha256"] == hashlib.sha256(b"own/new.py").hexdigest()
    assert (checkout / "runs" / "run" / files["own/new.py"]["copy"]).read_text() == "own/new.py"
    kept = sorted(path.name for path in (checkout / "runs" / "run").rglob("*") if path.is_file())
    assert kept == ["new.py", "näme.yaml"]


def test_number_and_size_of_copies_are_bounded(checkout, tmp_path, monkeypatch):
    monkeypatch.setattr(code, "FILES", 3)
    monkeypatch.setattr(code, "TOTAL", 20)
    names = [f"{number}.py" for number in range(5)]
    for name in names:
        (checkout / name).write_text("0123456789")
    files = code.kept_files(checkout, names, tmp_path / "run", "untracked")
    assert [("copy" in file, "sha256" in file) for file in files] == [(True, True), (True, True), (False, True)]


def test_the_project_in_the_working_directory_is_recorded_too(checkout, tmp_path, monkeypatch):
    project = new_checkout(tmp_path / "project")
    (project / "run.py").write_text("a = 2\n")
    (project / "parts.py").write_text("b = 1\n")
    monkeypatch.setattr(code, "PACKAGE", checkout)
    monkeypatch.chdir(project)
    (tmp_path / "run").mkdir()
    found = code.code_version(tmp_path / "run")
    assert (found["git"]["dirty"], found["project"]["dirty"]) == (False, True)
    assert "+a = 2" in (tmp_path / "run" / "project.diff").read_text()
    assert (tmp_path / "run" / "untracked" / "project" / "parts.py").read_text() == "b = 1\n"
    monkeypatch.setattr(code, "PACKAGE", project)
    assert "project" not in code.code_version(tmp_path / "run")
