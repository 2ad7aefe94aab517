"""The corpus for denoising: what is in it, what is kept out of it, and that its noise can be made again."""

from __future__ import annotations

import numpy as np
import pytest

from trimer.building import build
from trimer.cli.configs import compose
from trimer.data.core.sampler import BatchKey
from trimer.errors import InputError

MOLECULES = ["CCO", "c1ccccc1O", "CC(=O)Oc1ccccc1C(=O)O", "CCN(CC)CC"]
ASPIRIN = "BSYNRYMUTXBXSQ-UHFFFAOYSA-N"
SALT = "CC(=O)Oc1ccccc1C(=O)[O-].[Na+]"  # of aspirin


def mgf(path, *records: dict) -> str:
    """A file of spectra with two peaks each."""
    text = ""
    for number, fields in enumerate(records):
        lines = "".join(f"{name.upper()}={value}\n" for name, value in fields.items())
        text += (
            f"BEGIN IONS\nTITLE=s{number}\nPEPMASS=181.05\nADDUCT=[M+H]+\n{lines}121.03 100\n163.04 40\nEND IONS\n\n"
        )
    path.write_text(text)
    return str(path)


class HeldOut:
    """Stands for the molecules of another study."""

    def keys(self) -> frozenset[str]:
        return frozenset({ASPIRIN[:14]})

    def fingerprint(self) -> str:
        return "aspirin"


def corpus(tmp_path, *files: str, molecules=(), exclude=None, **settings):
    overrides = ["data=denoising", f"paths.cache={tmp_path}/cache", "data.cleaning.peak_count.min=1"]
    overrides += [
        "data.cleaning.precursor_peak=null",
        "data.cleaning.duplicates=null",
        "data.prepare_workers=1",
        "data.molecules.paths=none",
    ]
    cfg = compose("train", overrides).data
    if molecules:
        (tmp_path / "molecules.smi").write_text("\n".join(molecules) + "\n")
        cfg.molecules.paths = str(tmp_path / "molecules.smi")
    else:
        cfg.molecules = None
    target = "trimer.data.spectra.spectrum_sources.SpectralFiles"
    cfg.spectra = {f"s{i}": {"_target_": target, "paths": file} for i, file in enumerate(files)}
    data = build(cfg, exclude=exclude, **settings)
    data.setup()
    return data


@pytest.mark.parametrize(
    "named",
    [
        {"inchikey": ASPIRIN},
        {"smiles": MOLECULES[2]},
        {"smiles": MOLECULES[2], "inchikey": "X"},
        {"smiles": "CCCC", "inchikey": ASPIRIN},
        {"smiles": SALT},
    ],
)
def test_spectra_of_held_out_molecules_are_dropped_by_smiles_or_inchikey(tmp_path, named):
    file = mgf(tmp_path / "a.mgf", named, {"smiles": "CCCO"}, {})
    data = corpus(tmp_path, file, exclude=HeldOut())
    assert len(data.store) == 1
    rules = {row["rule"]: row["dropped"] for row in data.drops.rules}
    assert rules["spectra: molecule held out elsewhere"] == 1
    assert rules["spectra: no structure that says whether it is held out"] == 1
    assert data.drops.left == 1


def test_held_out_molecules_are_dropped(tmp_path):
    data = corpus(tmp_path, molecules=[*MOLECULES, SALT], exclude=HeldOut())
    written = {data.tokenizer.decode_molecule(data.store.ragged("tokens")[row]) for row in range(len(data.store))}
    assert written == {"CCO", "Oc1ccccc1", "CCN(CC)CC"}


def test_source_without_remaining_records_adds_no_row(tmp_path):
    gone = mgf(tmp_path / "gone.mgf", {"adduct": "[M+Xe]+"})
    data = corpus(tmp_path, gone, mgf(tmp_path / "kept.mgf", {}))
    assert len(data.store) == data.drops.left == 1
    assert data.store.ragged("tokens").lengths.min() > 2
    with pytest.raises(InputError, match="no molecule and no spectrum is left"):
        corpus(tmp_path, gone)


def test_noise_is_new_every_epoch_and_fixed_in_validation(tmp_path):
    data = corpus(tmp_path, molecules=MOLECULES * 3, validation=0.001)
    from trimer.data.modules.denoising import Corrupted

    def source(epoch: int, fixed: bool) -> np.ndarray:
        batch = Corrupted(data.store, data.noise, 0, fixed)[BatchKey(epoch, 0, np.arange(len(data.store)))]
        return batch.source.tokens.numpy()

    assert np.array_equal(source(1, False), source(1, False))
    assert not np.array_equal(source(1, False), source(2, False))
    assert np.array_equal(source(1, True), source(2, True))


def test_file_without_a_molecule_raises_input_error(tmp_path):
    (tmp_path / "none.smi").write_text("hello\nfoo bar\n")
    words = ["data=denoising", f"data.molecules.paths={tmp_path}/none.smi", f"paths.cache={tmp_path}/cache"]
    data = build(compose("train", words).data)
    with pytest.raises(InputError, match="no molecule and no spectrum is left for training\n2 records in, 0 left"):
        data.setup()
