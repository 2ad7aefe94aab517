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
from trimer.serving.models import ServedModel
from trimer.serving.server import loaded
from trimer.serving.service import Service


@pytest.fixture(autouse=True)
def _precision_of_the_server(fp32: None) -> None:
    pass


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
def protein_runs(tmp_path_factory) -> Path:
    """A folder with two run folders of ESM-2 with one layer, trained for one step.

    `states` predicts labels of residues, `esm2` is a masked language model.
    """
    folder = tmp_path_factory.mktemp("proteins")
    proteins = ["M" + letters[n:] + letters * (n % 6 + 3) for n in range(6) for letters in ("LIVFAG", "DEKRST")]
    fasta = folder / "proteins.fasta"
    fasta.write_text("".join(f">Q{n:05d}\n{sequence}\n" for n, sequence in enumerate(proteins)))
    states = [f"{n},{sequence},{'HEC' * 30:.{len(sequence)}}" for n, sequence in enumerate(proteins)]
    (folder / "states.csv").write_text("\n".join(["id,sequence,states", *states]) + "\n")
    for name, words in {
        "states": [
            "data=labelled_residues", f"data.source.paths={folder}/states.csv", "data.source.labels=states",
            "data.source.id_column=id", "task=classification", "task.head.pooling=residue",
        ],
        "esm2": ["data=proteins", f"data.source.paths={fasta}", "task=masked_lm"],
    }.items():  # fmt: skip
        words += [
            "model=esm2_nano", "model.d_model=16", "model.heads=2", "model.layers=1", "model.ffn=32",
            "trainer.max_steps=1", "trainer.val_check_interval=1", "trainer.enable_progress_bar=false",
            "trainer.precision=32-true", "baselines=false", "test=false", f"name={name}",
        ]  # fmt: skip
        assert main(["train", *words, f"paths.cache={folder}/cache", f"hydra.run.dir={folder / name}"]) == 0
    return folder


@pytest.fixture(scope="session")
def serve_config():
    return compose("serve", ["trainer.precision=32-true", "limits.seconds=600"])  # also on a busy machine


@pytest.fixture(scope="session")
def service(molecule_run, serve_config) -> Iterator[Service]:
    """`peptide-rt`, `peptide-ms2` and `kinds`, ready."""
    service = Service(limits_of(Limits, plain_dict(serve_config.limits), "limits"))
    service.start(lambda: loaded(["peptide-rt", "peptide-ms2", str(molecule_run)], serve_config))
    yield service
    service.close()


@pytest.fixture(scope="session")
def further_models(service, serve_config, protein_runs) -> dict[str, tuple[ServedModel, dict]]:
    """`spectrums`, `membrane`, `states` and `esm2` with their cards, for tests that add them to the service."""
    models = loaded(["spectrums", "membrane", f"{protein_runs}/states", f"{protein_runs}/esm2"], serve_config)
    return {name: (model, service._warmed_up(model)) for name, model in models.items()}


@pytest.fixture
def all_models(service, further_models, monkeypatch) -> dict[str, ServedModel]:
    """The models of the service by name, during one test all of them."""
    for name, (model, card) in further_models.items():
        monkeypatch.setitem(service.models, name, model)
        monkeypatch.setitem(service.cards, name, card)
    return service.models


@pytest.fixture(scope="session")
def client(service) -> TestClient:
    """A client of the application of the service."""
    return TestClient(create_app(service))
