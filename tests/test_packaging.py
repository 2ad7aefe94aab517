"""The wheel contains the configs and the plugins, and works in an empty directory."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from trimer import __version__
from trimer.checkpoint import load
from trimer.cli.configs import compose
from trimer.pretrained import registry

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs the checkout")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    words = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_contains_configs_and_plugins(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {f"trimer/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert shipped <= names
    assert "hydra_plugins/trimer/process_launcher.py" in names
    assert "hydra_plugins/__init__.py" not in names  # other projects put their plugins into the same package
    assert "trimer/py.typed" in names
    assert {"trimer/reporting/templates/page.html", "trimer/reporting/templates/page.css"} <= names
    assert packaged_data(ROOT / "src") <= names
    assert "trimer/examples/data/spectra.mgf" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {"trimer", "hydra_plugins", f"trimer-{__version__}.dist-info"}


def packaged_data(source: Path) -> set[str]:
    """The files of the shipped models, examples and the project template, relative to the folder of the source."""
    folders = [source / "trimer" / name for name in ("pretrained", "examples/data", "project/template")]
    files = {path for folder in folders for path in folder.rglob("*") if path.is_file()}
    return {path.relative_to(source).as_posix() for path in files if "__pycache__" not in path.parts}


def test_the_source_distribution_contains_models_and_examples(tmp_path):
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    words = ["-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {f"src/{name}" for name in packaged_data(ROOT / "src")} <= names


def test_the_models_take_at_most_20_mb_of_the_wheel(wheel):
    parts = zipfile.ZipFile(wheel).infolist()
    assert sum(part.compress_size for part in parts if part.filename.startswith("trimer/pretrained/")) <= 20_000_000


@pytest.mark.parametrize("name", registry.names())
def test_a_shipped_model_needs_no_optional_package(name, monkeypatch):
    for package in ("peft", "torchao", "transformers", "huggingface_hub", "onnx", "fastapi"):
        monkeypatch.setitem(sys.modules, package, None)  # importing it raises ImportError
    assert next(load(name).net.parameters()).isfinite().all()


def test_the_examples_take_at_most_1_mb():
    sizes = {name: (ROOT / "src" / name).stat().st_size for name in packaged_data(ROOT / "src")}
    examples = sum(size for name, size in sizes.items() if "/examples/" in name)
    assert 0 < examples <= 1_000_000


def test_the_wheel_works_in_an_empty_directory(wheel, tmp_path):
    target, folder = tmp_path / "site", tmp_path / "empty"
    folder.mkdir()
    words = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target), str(wheel)]
    subprocess.run([sys.executable, *words], check=True)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    environment.pop("TRIMER_CONF", None)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    where = run(
        "-c", "import trimer.cli.configs as c, hydra_plugins.trimer as p; print(c.shipped_folder(), p.__file__)"
    )
    assert where.stdout.split() == [str(target / "trimer" / "conf"), str(target / "hydra_plugins/trimer/__init__.py")]
    shown = run("-m", "trimer", "train", "--cfg", "job", "model=bart_small")
    assert shown.returncode == 0, shown.stderr
    assert "_target_: trimer.models.bart.Bart" in shown.stdout
    launcher = run("-m", "trimer", "train", "--cfg", "hydra", "-p", "hydra.launcher")
    assert "ProcessLauncher" in launcher.stdout, launcher.stderr
    assert run("-m", "trimer", "train", "data.numworkers=2").returncode == 2
    assert list(folder.iterdir()) == []
    predicted = run("-m", "trimer", "predict", "ckpt=peptide-rt", "output=times.csv")
    assert predicted.returncode == 0, predicted.stderr
    assert len((folder / "times.csv").read_text().splitlines()) == 201
    short = ["data.source.molecules=40", "trainer.max_steps=2", "trainer.val_check_interval=2", "test=false"]
    trained = run("-m", "trimer", "train", *short, "hydra.run.dir=run", f"paths.cache={tmp_path / 'cache'}")
    assert trained.returncode == 0, trained.stderr
    assert (folder / "run" / "checkpoints" / "best.ckpt").is_file()
    assert (target / "bin" / "trimer").is_file()


def test_the_citation_names_the_version():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_required_version_limits_are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dependencies = project["dependencies"]
    assert "hydra-core>=1.3.8,<1.4" in dependencies
    assert "lightning>=2.6.6" in dependencies  # 2.6.2 and 2.6.3 were malicious releases
    assert "omegaconf>=2.3,<2.4" in dependencies
    assert project["scripts"] == {"trimer": "trimer.cli.main:main"}


def test_the_license_is_complete():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


TARGETS = [
    "demo", "demo-scratch", "models", "test", "lint", "types", "docs", "notebooks", "clean", "bench-mgf-reading",
    "study-foodb",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_the_makefile_has_its_documented_targets(target):
    words = ["make", "--dry-run", "--directory", str(ROOT), target]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    if target == "study-foodb":
        assert "experiments/make_study.py foodb" in done.stdout and "--small" not in done.stdout
    if target == "bench-mgf-reading":
        assert "benchmarks/mgf_reading.py" in done.stdout


def test_continuous_integration_runs_lint_tests_and_documentation():
    lines = [line.partition(" #")[0] for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    assert "set -euo pipefail" in lines
    assert [line for line in lines if line.startswith("make ")][:3] == ["make lint", "make test", "make docs"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_make_models_trains_earlier_stages_first_and_packs_all_models(tmp_path):
    words = ["make", "--dry-run", "--directory", str(ROOT), "models"]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    trained = [line.partition("hydra.run.dir=runs/models/")[2].split()[0] for line in lines if " train " in line]
    packed = [line.partition("output=src/trimer/pretrained/")[2].split()[0] for line in lines if " pack " in line]
    assert trained.index("denoise") < trained.index("simulate") < trained.index("spectrums")
    assert trained.index("smiles") < trained.index("superclass")
    assert len(trained) == len(set(trained))
    assert {"spectrums", "superclass", "peptide-ms2", "membrane"} <= set(packed)
    about = OmegaConf.load(ROOT / "src/trimer/pretrained/about.yaml")
    assert set(packed) == set(about.models)
    for line in lines:
        if " train " in line:
            compose("train", [word for word in line.split()[2:] if not word.startswith(("hydra.", "ckpt="))])
