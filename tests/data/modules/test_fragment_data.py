"""Spectra of peptides as data: cells, drops, splits and batches."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from trimer.data.modules.fragment_data import PeptideFragments
from trimer.data.modules.held_out import HeldOutPeptides
from trimer.data.peptides.fragment_files import FragmentFiles
from trimer.errors import InputError
from trimer.simulate.simulated_peptides import SimulatedFragments
from trimer.tokenizers.protein import ProteinTokenizer

CHANNELS = ["b1", "y1", "y2", "y1-H3PO4"]
SPECTRA = {
    "@PEPTIDEK.2": {"y3+1-Noloss": 50.0, "y4+2-Noloss": 100.0, "b2+1-Noloss": 25.0, "y3+1-1,H2O": 90.0},
    "@AA2AAAAK.1": {"y6+1-1,H3PO4": 20.0, "y2+1-Noloss": 10.0, "b3+1-Noloss": 40.0, "y3+2-Noloss": 80.0},
    "@AAAAAAAK.9": {"y3+1-Noloss": 100.0},
    "@AAK.2": {"y1+1-Noloss": 100.0},
    "@GGGGGGGK.2": {"y3+1-1,H2O": 100.0},
    "@GGGGZGGK.2": {"y3+1-Noloss": 100.0},
    "*LLLLLLLK.2": {"y3+1-Noloss": 100.0},
}
SPLIT = {"keys": ["sequence"], "fractions": {"train": 0.4, "val": 0.3, "test": 0.3}, "seed": 0}

SIZES = {"shortest": 7, "longest": 30, "highest_charge": 6}


def made(tmp_path, source=None, **settings) -> PeptideFragments:
    if source is None:
        path = tmp_path / "library.json.gz"
        with gzip.open(path, "wt") as stream:
            json.dump(SPECTRA, stream)
        source = FragmentFiles(str(path))
    settings = {
        **SIZES,
        "split": SPLIT,
        "channels": CHANNELS,
        "cache": str(tmp_path / "cache"),
        "tokens_per_batch": 4096,
    } | settings
    data = PeptideFragments(source, ProteinTokenizer(), **settings)
    data.setup()
    return data


def test_intensities_are_assigned_to_bonds_relative_to_the_highest(tmp_path):
    data = made(tmp_path)
    cells = data.store.ragged("intensities")[0].reshape(-1, 4)
    expected = np.zeros((7, 4))
    expected[1, 0], expected[4, 1], expected[3, 2], expected[:, 3] = 0.25, 0.5, 1.0, -1
    assert np.allclose(cells, expected)


def test_impossible_fragments_do_not_scale_intensities(tmp_path):
    data = made(tmp_path)
    cells = data.store.ragged("intensities")[1].reshape(-1, 4)
    assert (cells[:, 2] == -1).all()  # charge 2 of a peptide of charge 1, though the file has one
    assert cells[2, 0] == 1.0 and cells[1, 3] == pytest.approx(0.5) and (cells[2:, 3][1:] == -1).all()


def test_every_dropped_record_has_a_reason(tmp_path):
    data = made(tmp_path)
    reasons = {row["rule"]: row["dropped"] for row in data.drops.to_dict()["rules"] if row["dropped"]}
    assert reasons == {
        "charge not from 1 to 6": 1,
        "peptide shorter than 7 or longer than 30 residues": 1,
        "no fragment of the channels": 1,
        "residue Z is not one of the 20": 1,
    }
    assert data.drops.records == 7 and len(data.store) == 3


def test_peptides_are_filtered_by_modification(tmp_path):
    halves = SPLIT | {"fractions": {"train": 0.5, "test": 0.5}}
    any_of_them = made(tmp_path, modifications="modified", split=halves)
    assert any_of_them.texts(np.arange(2)) == ["AAS[UNIMOD:21]AAAAK", "[UNIMOD:1]-LLLLLLLK"]
    without = made(tmp_path, modifications="unmodified", modification="UNIMOD:21", split=halves)
    assert without.texts(np.arange(2)) == ["PEPTIDEK", "[UNIMOD:1]-LLLLLLLK"]
    with pytest.raises(InputError, match="leaves"):
        made(tmp_path, modifications="modified", modification="UNIMOD:21", split=halves)


def test_peptides_do_not_cross_splits_and_can_be_excluded(tmp_path):
    source = SimulatedFragments(count=300, seed=1)
    data = made(tmp_path, source)
    letters = np.array(data.store.strings("sequence"), dtype=object)
    parts = [set(letters[data.split.rows(name)]) for name in data.split.names]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    held_out = data.held_out_keys()
    assert held_out == parts[1] | parts[2]
    later = made(tmp_path, source, exclude=HeldOutPeptides({"later": data}))
    assert not held_out & set(later.store.strings("sequence")) and len(later.store) == len(data.split.rows("train"))


def test_split_by_sequence_il_treats_leucine_and_isoleucine_as_equal(tmp_path):
    source = SimulatedFragments(count=600, seed=1)
    data = made(tmp_path, source, split=SPLIT | {"keys": ["sequence_il"]})
    data.split.assert_disjoint({"il": [text.replace("I", "L") for text in data.store.strings("sequence")]})
    assert data.folder == made(tmp_path, source).folder, "nothing is prepared again"


def test_train_limit_reduces_train_only(tmp_path):
    source = SimulatedFragments(count=300, seed=1)
    whole, few = made(tmp_path, source), made(tmp_path, source, split=SPLIT | {"train_limit": 20})
    assert len(few.split.rows("train")) == 20 and set(few.split.rows("train")) <= set(whole.split.rows("train"))
    assert np.array_equal(whole.split.rows("test"), few.split.rows("test"))


def test_batches_hold_whole_spectra(tmp_path):
    data = made(tmp_path, SimulatedFragments(count=200, seed=1), tokens_per_batch=300)
    seen = 0
    for batch in data.evaluation_batches("train"):
        assert batch.labels.shape == (sum(size - 3 for size in batch.sequence.sizes), 4)
        assert batch.sequence.conditions.shape == (len(batch), 18)
        assert batch.real_tokens == len(batch.sequence.tokens)
        seen += len(batch)
    assert seen == len(data.split.rows("train"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modifications": "some"}, "modifications=some must be one of"),
        ({"shortest": 1}, "shortest=1"),
        ({"highest_charge": 9}, "highest_charge=9 must be from 1 to 8"),
        ({"split": {"keys": ["scaffold"]}}, "split.keys: scaffold must be among sequence, proforma, sequence_il"),
    ],
)
def test_invalid_settings_raise_value_error(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        made(tmp_path, **settings)
