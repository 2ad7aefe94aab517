import gzip
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from trimer.errors import InputError
from trimer.tokenizers.codec import REPRESENTATIONS
from trimer.tokenizers.molecule import MoleculeTokenizer

CORPUS = Path(__file__).parents[3] / "shared/data/molecules/corpus_263k.smi.gz"
ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def test_atoms_rings_and_branches_are_tokens():
    assert MoleculeTokenizer("smiles").split("C[N+](=O)[O-]") == ["C", "[N+]", "(", "=", "O", ")", "[O-]"]
    assert MoleculeTokenizer("smiles").split("BrC%12Cl") == ["Br", "C", "%12", "Cl"]
    assert MoleculeTokenizer("deepsmiles").split("cccccc6))))))C%14") == [*"cccccc6", "))))))", "C", "%14"]
    assert MoleculeTokenizer("selfies").split("[C][=Branch1][Ring1]") == ["[C]", "[=Branch1]", "[Ring1]"]


def test_rare_atoms_are_split_into_characters():
    assert MoleculeTokenizer("smiles").split("[Cu-5]C") == [*"[Cu-5]", "C"]
    assert MoleculeTokenizer("deepsmiles").split("C%41" + ")" * 26) == ["C", *"%41", ")" * 24, "))"]


@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("stereo", [False, True])
def test_tokens_round_trip(representation, stereo):
    tokenizer = MoleculeTokenizer(representation, stereo)
    for smiles in (
        ASPIRIN,
        "C[C@H](N)C(=O)O",
        "F/C=C/F",
        "[Na+].[Cl-]",
        "[Pt+2]",
        "C[Te]C",
        "[235U]",
        "OC1CCCCCCCCCCCCC1",
    ):
        ids = tokenizer.encode(smiles)
        assert ids.dtype == np.int32
        assert tokenizer.decode_text(ids) == tokenizer.codec.encode(smiles)
        assert tokenizer.decode(ids) == tokenizer.codec.canonical(smiles)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_every_element_can_be_written(representation):
    tokenizer, table = MoleculeTokenizer(representation, stereo=True), Chem.GetPeriodicTable()
    for number in range(1, 119):
        for form in ("[{}]", "[{}+3]", "[{}-]", "[{}H2+]", "[99{}]"):
            text = form.format(table.GetElementSymbol(number))
            assert "".join(tokenizer.split(text)) == text


def test_unreadable_molecules_encode_to_none():
    tokenizer = MoleculeTokenizer()
    assert tokenizer.encode("c1ccccc") is None and tokenizer.encode("") is None
    assert tokenizer.decode(tokenizer.encode_text("C))))C")) is None
    with pytest.raises(InputError, match="'é'"):
        tokenizer.split("Cé")


def test_the_vocabulary_is_fixed():
    sizes = {representation: len(MoleculeTokenizer(representation)) for representation in REPRESENTATIONS}
    assert sizes == {"smiles": 173, "deepsmiles": 206, "selfies": 189}
    for representation in REPRESENTATIONS:
        tokens = MoleculeTokenizer(representation).tokens
        assert len(set(tokens)) == len(tokens)
        assert tokens == MoleculeTokenizer(representation, stereo=True).tokens  # fine-tuning may change it


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is not at hand")
@pytest.mark.parametrize(("representation", "stereo"), [("smiles", True), ("deepsmiles", False), ("deepsmiles", True)])
def test_encoding_is_lossless_on_a_sample_of_the_corpus(representation, stereo):
    tokenizer = MoleculeTokenizer(representation, stereo)
    with gzip.open(CORPUS, "rt") as lines:
        sample = [line.split()[0] for line in lines][::600]
    for smiles in sample:
        ids = tokenizer.encode(smiles)
        assert tokenizer.decode_text(ids) == tokenizer.codec.encode(smiles)
        assert tokenizer.decode(ids) == tokenizer.codec.canonical(smiles)


def test_a_formula_is_written_before_the_molecule_and_skipped_when_read():
    plain, tokenizer = MoleculeTokenizer("selfies"), MoleculeTokenizer("selfies", formula=True)
    ids = tokenizer.encode(ASPIRIN)
    prefix = tokenizer.encode_formula("C9H8O4")
    assert [tokenizer.tokens[i] for i in prefix] == ["<C9>", "<H8>", "<O4>", "<formula>"]
    assert (
        ids[: len(prefix)].tolist() == prefix.tolist() and ids[len(prefix) :].tolist() == plain.encode(ASPIRIN).tolist()
    )
    assert tokenizer.decode(ids) == plain.decode(plain.encode(ASPIRIN)) == tokenizer.decode(ids[len(prefix) :])
    assert tokenizer.decode(np.concatenate([ids, prefix])) is None  # a formula inside a molecule
    assert tokenizer.decode(prefix) is None
    assert tokenizer.tokens[: len(plain)] == plain.tokens and tokenizer.to_config()["formula"]
    assert "formula" not in plain.to_config()
    with pytest.raises(ValueError, match=r"molecule\.formula is false"):
        plain.encode_formula("C9H8O4")


def test_formulas_without_tokens_are_unknown():
    tokenizer = MoleculeTokenizer("selfies", formula=True)
    for formula in ("C2H5Pt", "C9H8O4+", "C101H2", "", "nonsense"):
        assert [tokenizer.tokens[i] for i in tokenizer.encode_formula(formula)] == ["<formula?>", "<formula>"]
