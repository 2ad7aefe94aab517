import random
import sys

import pytest
from rdkit import Chem

from trimer.errors import ConfigError
from trimer.tokenizers.codec import REPRESENTATIONS, MoleculeCodec

MOLECULES = [
    "CC(=O)Oc1ccccc1C(=O)O",  # aspirin
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",  # caffeine, Kekule form
    "C1CC2CCC1C2", "OC1CCCCCCCCCCCCC1", "[O-][N+](=O)c1ccccc1", "CC(C)(C)c1ccc(Cl)cc1Br", "Cc1c[nH]cn1", "C[Si](C)(C)C",
    "CC(=O)[O-].[Na+]", "[H][H]", "C#N", "O=S(=O)(O)O", "C[Se]C", "c1ccc2c(c1)ccc1ccccc12", "BrC#CCCCOC(C1)OCCC1",
]  # fmt: skip
CHIRAL = ["C[C@H](N)C(=O)O", "F/C=C/F", "F/C=C\\F", "[2H]OC", "[13CH4]", "C[S@](=O)c1ccccc1"]
SPOILT = [
    "", "#", "C(C", "C C", "C\0", "C\n", "é", "CC))))C", "cccc6", ")", "%", "%(", "%(x)C", "CC9999", "C%(100)", "[",
    "[C", "[nop]", "[Fe+9999999999999999999]", "[C:99999999999999999999]", "C>>C", "C |$x$|", "C" * 10**6, "(" * 4000,
    "N" * 3000 + "9", "[Branch3]" * 800, "C=1=CC=1", "F(F)(F)F", "c1cccc1", None, 7, b"CC",
]  # fmt: skip


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_molecules_round_trip(representation):
    codec = MoleculeCodec(representation)
    for smiles in MOLECULES:
        text = codec.encode(smiles)
        assert text is not None
        assert codec.decode(text) == codec.canonical(smiles)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_stereochemistry_is_kept_on_request(representation):
    for smiles in CHIRAL:
        kept = MoleculeCodec(representation, stereo=True)
        assert kept.decode(kept.encode(smiles)) == Chem.CanonSmiles(smiles)
        flat = MoleculeCodec(representation)
        assert flat.decode(flat.encode(smiles)) == flat.canonical(smiles)
        assert not set("@/\\") & set(flat.encode(smiles))


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_all_smiles_of_a_molecule_give_one_text(representation):
    codec = MoleculeCodec(representation)
    for smiles in MOLECULES:
        molecule = Chem.MolFromSmiles(smiles)
        texts = {codec.encode(Chem.MolToSmiles(molecule, doRandom=True)) for _ in range(5)}
        Chem.Kekulize(molecule, clearAromaticFlags=True)
        texts.add(codec.encode(Chem.MolToSmiles(molecule)))
        assert texts == {codec.encode(smiles)}


@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("text", SPOILT, ids=lambda text: repr(text)[:20])
def test_corrupted_text_is_none_or_a_molecule(representation, text):
    codec = MoleculeCodec(representation)
    decoded = codec.decode(text)
    assert decoded is None or Chem.MolFromSmiles(decoded) is not None
    encoded, canonical = codec.encode(text), codec.canonical(text)
    assert (encoded is None) == (canonical is None)
    assert encoded is None or codec.decode(encoded) == canonical


def test_text_that_rdkit_would_truncate_is_rejected():
    codec = MoleculeCodec("smiles")
    assert [codec.decode(text) for text in ("C C", "C\0", "C\tname", " C", "", "CC |$a$|")] == [None] * 6


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_random_text_never_raises(representation):
    codec, rng = MoleculeCodec(representation), random.Random(0)
    signs = "CNOScnos()[]=#123456789%@+-/\\.H" + "".join(map(chr, range(0, 300, 7)))
    seeds = [codec.encode(smiles) for smiles in MOLECULES]
    for _ in range(600):
        text = list(rng.choice(seeds) if rng.random() < 0.7 else "".join(rng.choices(signs, k=rng.randrange(30))))
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(text) + 1)
            text[place : place + rng.randrange(2)] = rng.choice(signs)
        decoded = codec.decode("".join(text))
        assert decoded is None or codec.canonical(decoded) == decoded


def test_long_chains_do_not_exceed_the_recursion_limit():
    codec, limit = MoleculeCodec("deepsmiles"), sys.getrecursionlimit()
    chain = "NCC(=O)" * 300
    assert codec.decode(codec.encode(chain)) == codec.canonical(chain)
    assert sys.getrecursionlimit() == limit


def test_more_rings_than_deepsmiles_can_number_are_rejected():
    assert MoleculeCodec("deepsmiles").encode("C1CC1" * 120) is None
    assert MoleculeCodec("smiles").encode("C1CC1" * 120) is not None


def test_an_unknown_representation_is_rejected():
    with pytest.raises(ConfigError, match="deepsmiles"):
        MoleculeCodec("inchi")
