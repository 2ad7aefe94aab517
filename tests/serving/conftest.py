"""A service with shipped models and a tiny classifier of molecules, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx2")

from starlette.testclient import TestClient

from trimer.cli.configs import compose
from trimer.cli.main import main
from trimer.resuming import plain_dict
from trimer.serving.app import create_app
from trimer.serving.limits import Limits, limits_of
from trimer.serving.server import loaded
from trimer.serving.service import Service


@pytest.fixture(scope="session")
def molecule_run(tmp_path_factory) -> Path:
    """The run folder of a classifier of molecules, trained for two steps."""
    folder = tmp_path_factory.mktemp("served")
    rows = [f"{'C' * (n + 1)}{end},{kind}" for n in range(8) for end, kind in (("O", "alcohol"), ("N", "amine"))]
    (folder / "mine.csv").write_text("\n".join(["smiles,kind", *rows]) + "\n")
    words = [
        "data=labelled_molecules", f"data.source.paths={folder}/mine.csv", "data.source.labels=kind",
        "data.target=single", "task=classification", "model=roberta_nano", "model.d_model=16", "model.heads=2",
        "model.layers=1", "trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.enable_progress_bar=false",
        "trainer.precision=32-true", "baselines=false", "test=false", "name=kinds",
    ]  # fmt: skip
    assert main(["train", *words, f"paths.cache={folder / 'cache'}", f"hydra.run.dir={folder / 'kinds'}"]) == 0
    return folder / "kinds"


@pytest.fixture(scope="session")
def serve_config():
    return compose("serve", ["trainer.precision=32-true"])


@pytest.fixture(scope="session")
def service(molecule_run, serve_config) -> Iterator[Service]:
    """`peptide-rt`, `peptide-ms2` and `kinds`, ready."""
    service = Service(limits_of(Limits, plain_dict(serve_config.limits), "limits"))
    service.start(lambda: loaded(["peptide-rt", "peptide-ms2", str(molecule_run)], serve_config))
    yield service
    service.close()


@pytest.fixture(scope="session")
def client(service) -> TestClient:
    """A client of the application of the service."""
    return TestClient(create_app(service))
