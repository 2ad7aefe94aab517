"""Several processes prepare what one does, bit for bit."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from trimer.building import build
from trimer.cli.configs import compose
from trimer.data.core import parallel
from trimer.data.core.parallel import for_each, in_order, preparing
from trimer.simulate.simulated_molecules import simulated_molecules


def square(number, times=1):
    if number < 0:
        raise ValueError("negative")
    return times * number * number


@pytest.mark.parametrize("workers", [0, 1, 2, None])
def test_parts_come_in_their_order(workers):
    parts = list(range(20))
    assert list(in_order(square, iter(parts), workers, 3)) == [(part, 3 * part * part) for part in parts]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_part_is_the_callers(workers):
    found = in_order(square, [1, -1, 2], workers)
    assert next(found) == (1, 1)
    with pytest.raises(ValueError, match="negative"):
        next(found)


def test_the_reader_is_never_far_ahead(monkeypatch):
    read = []
    monkeypatch.setattr(parallel, "AHEAD", 2)
    found = in_order(square, (read.append(part) or part for part in range(1000)), 2)
    next(found)
    assert len(read) == 5
    found.close()


def test_few_values_need_no_process_and_many_use_those_that_are_allowed(monkeypatch):
    monkeypatch.setattr(parallel, "FEW", 4)
    values = list(range(11))
    assert for_each(square, values) == [n * n for n in values]
    with preparing(2):
        assert for_each(partial(square, times=2), values) == [2 * n * n for n in values]
        monkeypatch.setattr(parallel, "in_order", None)
        assert for_each(square, values[:4]) == [0, 1, 4, 9]
    assert for_each(square, values) == [n * n for n in values]  # one process again


def stored(folder: Path) -> dict[str, bytes]:
    """The files of all stores of a cache."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def corpus(tmp_path):
    """A library of spectra whose molecules are partly unusable, and a file of SMILES."""
    smiles = [*simulated_molecules(60, seed=1), "CC(=O)[O-].[Na+]", "not a molecule", "*CC"]
    rng = np.random.default_rng(0)
    with (tmp_path / "library.mgf").open("w") as file:
        for i, text in enumerate(smiles):
            peaks = "\n".join(f"{mz:.4f} {rng.random():.3f}" for mz in sorted(rng.uniform(50, 200, 8)))
            file.write(
                f"BEGIN IONS\nTITLE={i}\nPEPMASS=250.1\nCHARGE=1+\nADDUCT=[M+H]+\nSMILES={text}\n{peaks}\nEND IONS\n"
            )
    (tmp_path / "molecules.smi").write_text("\n".join(smiles) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["data=spectral_library", "data.source.paths={corpus}/library.mgf", "data.cleaning.mass_agreement=null"],
        ["data=molecules", "data.source.paths={corpus}/molecules.smi"],
        ["data=denoising", "data.molecules.paths={corpus}/molecules.smi", "data.spectra={{}}"],
    ],
    ids=["spectra", "molecules", "denoising"],
)
def test_a_store_does_not_depend_on_the_number_of_processes(monkeypatch, corpus, words):
    monkeypatch.setattr(parallel, "FEW", 7)
    monkeypatch.setattr("trimer.data.molecules.molecule_keys.CHUNK", 10)
    written = []
    for workers in (1, 2):
        cache = corpus / f"cache{workers}"
        given = [word.format(corpus=corpus) for word in words]
        cfg = compose("train", [*given, f"data.prepare_workers={workers}", f"paths.cache={cache}"])
        build(cfg.data).prepare_data()
        written.append(stored(cache))
    assert written[0] and written[0] == written[1]
