import json
import subprocess
import sys

import numpy as np
import pytest

from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.tokenizers.joint import SpectrumMoleculeTokenizer
from trimer.tokenizers.molecule import MoleculeTokenizer
from trimer.tokenizers.spectrum import SpectrumTokenizer
from trimer.tokenizers.vocabulary import BOS, EOS, MASK, PAD, UNK

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


@pytest.fixture(scope="module")
def tokenizer():
    return SpectrumMoleculeTokenizer(SpectrumTokenizer(), MoleculeTokenizer())


def test_token_ranges_of_the_languages_do_not_overlap(tokenizer):
    (a, b), (c, d) = tokenizer.molecule_ids, tokenizer.spectrum_ids
    assert (a, b, d) == (5, c, len(tokenizer)) and len(tokenizer) == len(tokenizer.vocabulary)
    assert tokenizer.vocabulary.tokens[a:b] == tokenizer.molecule.tokens
    assert tokenizer.vocabulary.tokens[c:d] == tokenizer.spectrum.tokens
    assert (tokenizer.bos, tokenizer.pad, tokenizer.eos, tokenizer.unk, tokenizer.mask) == (0, 1, 2, 3, 4)
    assert len(tokenizer) < 2**16


@pytest.mark.parametrize("representation", ["smiles", "deepsmiles", "selfies"])
@pytest.mark.parametrize(
    "settings", [{}, {"decimals": 1}, {"decimals": 3}, {"decimals": 0, "intensity_bins": 50}], ids=str
)
def test_no_token_belongs_to_two_languages(representation, settings):
    joint = SpectrumMoleculeTokenizer(SpectrumTokenizer(**settings), MoleculeTokenizer(representation))
    assert not set(joint.molecule.tokens) & set(joint.spectrum.tokens)
    assert len(set(joint.vocabulary.tokens)) == len(joint)


def test_molecules_round_trip(tokenizer):
    ids = tokenizer.encode_molecule(ASPIRIN)
    assert ids[0] == BOS and ids[-1] == EOS and ids.dtype == np.int32
    inner = ids[1:-1]
    assert tokenizer.decode_molecule(ids) == tokenizer.decode_molecule(inner.tolist()) == ASPIRIN
    assert tokenizer.decode_molecule([EOS, *ids, PAD, PAD]) == ASPIRIN  # as a decoder that starts from </s> writes it
    assert tokenizer.decode_molecule([*ids, *inner]) == ASPIRIN  # tokens after </s> are ignored
    assert tokenizer.encode_molecule("c1cc") is None


def test_invalid_molecules_decode_to_none(tokenizer):
    inner = tokenizer.encode_molecule(ASPIRIN)[1:-1].tolist()
    for ids in (
        [],
        [BOS, EOS],
        [PAD],
        [EOS],
        [*inner, tokenizer.spectrum_ids[0]],
        [MASK, *inner],
        [*inner, UNK],
        inner[:9],
    ):
        assert tokenizer.decode_molecule(ids) is None
    assert tokenizer.decode_molecule([len(tokenizer)]) is None and tokenizer.decode_molecule([-1]) is None


def test_spectra_are_enclosed_by_bos_and_eos(tokenizer):
    columns = {
        "precursor_mz": [300.1, np.nan, 200.2],
        "adduct": ["[M+H]+", None, "[M+Na]+"],
        "collision_energy": ["20 eV"] * 3,
    }
    table = SpectrumTable.build([50.0, 60.0, 70.0], [1.0, 2.0, 3.0], [0, 2, 2, 3], columns)
    values, offsets = tokenizer.encode_spectra(table)
    local, local_offsets = tokenizer.spectrum.encode_table(table)
    assert offsets[-1] == len(values)
    for row in range(3):
        ids = values[offsets[row] : offsets[row + 1]]
        assert ids[0] == BOS and ids[-1] == EOS
        expected = local[local_offsets[row] : local_offsets[row + 1]]
        assert (ids[1:-1] - tokenizer.spectrum_ids[0] == expected).all()
    decoded = tokenizer.spectrum.decode(expected)
    assert decoded.adduct == "[M+Na]+" and decoded.precursor_mz == 200.2 and decoded.collision_energy == "20 eV"
    values, offsets = tokenizer.encode_spectra(table.take(np.zeros(0, int)))
    assert len(values) == 0 and offsets.tolist() == [0]


def test_the_config_rebuilds_the_tokenizer():
    tokenizer = SpectrumMoleculeTokenizer(
        SpectrumTokenizer(decimals=1, order="mz"), MoleculeTokenizer("selfies", stereo=True)
    )
    config = json.loads(json.dumps(tokenizer.to_config()))
    parts = {name: dict(config[name]) for name in ("spectrum", "molecule")}
    assert parts["spectrum"].pop("_target_") == f"{SpectrumTokenizer.__module__}.SpectrumTokenizer"
    assert parts["molecule"].pop("_target_") == f"{MoleculeTokenizer.__module__}.MoleculeTokenizer"
    again = SpectrumMoleculeTokenizer(SpectrumTokenizer(**parts["spectrum"]), MoleculeTokenizer(**parts["molecule"]))
    assert again.vocabulary.digest == tokenizer.vocabulary.digest
    assert again.to_config() == tokenizer.to_config()


def test_importing_tokenizers_needs_neither_torch_nor_rdkit():
    code = "import sys, trimer.tokenizers.joint; print([m for m in ('torch', 'rdkit', 'selfies') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
