"""Grammars that keep a molecule within its formula: what they accept of real molecules, and what samples become."""

import numpy as np
import pytest
import torch
from rdkit import Chem, RDLogger
from rdkit.Chem.rdMolDescriptors import CalcMolFormula

from trimer.flat import Flat
from trimer.generation.cache import EOS, allowed_ids
from trimer.generation.deepsmiles_grammar import DeepSmilesGrammar, smiles_atom
from trimer.generation.formula_grammar import valences
from trimer.generation.formula_prompts import Formulas, prompts_of_samples
from trimer.generation.sampling import sample
from trimer.generation.selfies_grammar import SelfiesGrammar
from trimer.models.bart import Bart
from trimer.tokenizers.joint import SpectrumMoleculeTokenizer
from trimer.tokenizers.molecule import MoleculeTokenizer
from trimer.tokenizers.spectrum import SpectrumTokenizer

START = 5
GRAMMARS = {"deepsmiles": DeepSmilesGrammar, "selfies": SelfiesGrammar}
SIMPLE = {
    "deepsmiles": "C N O = ) )) 3 4 5 6",
    "selfies": "[C] [=C] [N] [=N] [O] [=O] [Branch1] [=Branch1] [Ring1] [Ring2]",
}
MOLECULES = [
    "CCO",
    "Cn1c(=O)c2c(ncn2C)n(C)c1=O",  # caffeine: substituted aromatic nitrogens, exocyclic double bonds
    "Cc1ccc(Nc2nc(O)nc(O)n2)cc1N=[N+]=[N-]",  # an azide
    "CS(=O)(=O)Nc1ccc([N+](=O)[O-])cc1Oc1ccccc1",  # nimesulide: sulfur of six bonds, a nitro group
    "O=P(O)(O)OCC1OC(n2cnc3c(N)ncnc32)C(O)C1O",  # AMP
    "CC(C)Cc1ccc(C(C)C(=O)O)cc1",
    "c1ccc(-c2ccc3[nH]ccc3c2)cc1",
    "CC12CCC3c4ccc(O)cc4CCC3C1CCC2O",  # estradiol
    "FC(F)(F)c1cc(Cl)c(I)c(Br)c1B(O)O",
    "C#CCN1CC2CC1C2",
    "C[Si](C)(C)C#N",
    "[O-][n+]1ccccc1C[Se]C",
]


def rows(name: str, molecules: list[str]):
    """A grammar and the (R, L) indices of the tokens of molecules, ended by `</s>`."""
    tokenizer = MoleculeTokenizer(name, formula=True)
    allowed = torch.tensor([EOS, *range(START, START + len(tokenizer))])
    tokens = [np.append(tokenizer.encode(smiles) + 1, 0) for smiles in molecules]
    padded = np.zeros((len(tokens), max(map(len, tokens))), np.int64)
    for row, ids in zip(padded, tokens, strict=True):
        row[: len(ids)] = ids
    return GRAMMARS[name](tokenizer, allowed, START), torch.from_numpy(padded), [len(ids) for ids in tokens]


@pytest.mark.parametrize("name", GRAMMARS)
def test_real_molecules_keep_to_the_grammar_and_end_with_their_formula(name):
    grammar, tokens, lengths = rows(name, MOLECULES)
    state = grammar.start(len(MOLECULES), tokens.shape[1])
    for step in range(tokens.shape[1]):
        choice = tokens[:, step]
        may_follow = grammar.mask(state).gather(1, choice[:, None]).squeeze(1) | grammar.in_formula[choice]
        for row, smiles in enumerate(MOLECULES):
            if step < lengths[row]:
                assert may_follow[row], (smiles, step)
            if step == lengths[row] - 1:
                assert state.exact[row], smiles
        grammar.advance(state, choice)


@pytest.mark.parametrize("name", GRAMMARS)
def test_a_text_of_another_formula_is_stopped(name):
    """The tokens of ibuprofen after the formula of an isomer, and after one with fewer hydrogens or other atoms."""
    ibuprofen = "CC(C)Cc1ccc(C(C)C(=O)O)cc1"
    grammar, tokens, lengths = rows(name, [ibuprofen] * 3)
    encode = MoleculeTokenizer(name, formula=True).encode_formula
    for row, formula in enumerate(("C13H18O2", "C13H16O2", "C12H18O3")):
        prompt = encode(formula) + 1
        tokens[row, : len(prompt)] = torch.from_numpy(prompt)
    state, stopped = grammar.start(3, tokens.shape[1]), [False] * 3
    for step in range(lengths[0]):
        choice = tokens[:, step]
        allowed = grammar.mask(state).gather(1, choice[:, None]).squeeze(1) | grammar.in_formula[choice]
        stopped = [before or not now for before, now in zip(stopped, allowed.tolist(), strict=True)]
        grammar.advance(state, choice)
    assert stopped == [False, True, True]


def may_follow(formula: str, text: str) -> set[str]:
    """The tokens that may follow a deepSMILES text; "end" for the end."""
    tokenizer = MoleculeTokenizer("deepsmiles", formula=True)
    allowed = torch.tensor([EOS, *range(START, START + len(tokenizer))])
    grammar = DeepSmilesGrammar(tokenizer, allowed, START)
    state = grammar.start(1, 40)
    for token in [*tokenizer.encode_formula(formula), *tokenizer.encode_text(text)]:
        grammar.advance(state, torch.tensor([token + 1]))
    return {grammar.texts[i] or "end" for i in grammar.mask(state)[0].nonzero()[:, 0]}


@pytest.mark.parametrize(
    ("formula", "text", "some", "none"),
    [
        ("C6H6", "cccc", "c", "end 4 ) ))"),  # benzene: what has begun as aromatic is closed
        ("C6H6", "cccccc", "6", "end 5 ) ))"),
        ("C6H6", "cccccc6", "end", "c C 5 6"),
        ("C7H8", "Ccccccc", "6", "end ) ))"),  # not left by a branch
        ("C7H8", "Ccccccc6", "end", "="),
        ("C4H5N", "ccc", "c n [nH]", "end ) ))"),
        ("C5H4O", "ccccc5", "=", "end O ) ))"),  # a ring of five carbon atoms needs a double bond to outside
        ("C5H4O", "ccccc5=", "O", "o"),
        ("C6H12O", "CCC", "C O = ) ))", "c o"),  # too little unsaturation for an aromatic ring
        ("C10H8", "cccccccccc%10", "6", "end c ) 4"),  # naphthalene: an outline of two rings is divided
        ("C10H8", "cccccccccc%106", "end", "c 5 6"),
        ("C8H8O", "O=Ccccccc", "6", "end ) ))"),
    ],
)
def test_aromatic_atoms_get_into_aromatic_rings(formula, text, some, none):
    allowed = may_follow(formula, text)
    assert allowed >= set(some.split())
    assert not allowed & set(none.split())


@pytest.mark.parametrize(
    ("formula", "text", "some", "none"),
    [
        ("C7H14O", "CCCCCC)", "C O", "3 4 5 6"),  # the decoder would bind a ring to the atom of the branch
        ("C7H12O", "CCCCCC)=", "C O", "3 4 5 6"),
        ("C6H10", "CCCCCC6", "3 4 5", "6"),  # two atoms are bonded once
        ("C7H12", "CCCCCC6", "5 C", "6"),
        ("CH3NO2", "C[N+][O-]", ")", "))"),  # the nitrogen atom lacks a bond, and gets none behind the branch
        ("C9H12", "Ccccccc6C)", ")", "C = -"),  # three neighbours of an aromatic atom
        ("C6H6O", "O", "c", "end"),
    ],
)
def test_atoms_get_the_bonds_that_they_can_have(formula, text, some, none):
    allowed = may_follow(formula, text)
    assert allowed >= set(some.split())
    assert not allowed & set(none.split())


@pytest.mark.parametrize(
    ("formula", "text", "none"),
    [
        ("C8H7N", "cccccccc[nH]", "9"),  # no bond is left for the second ring
        ("C8H6O", "cccccccco", "9"),
        ("C9H8", "ccccccccc", "9"),  # an odd number of carbon atoms
    ],
)
def test_an_outline_of_two_rings_is_closed_only_if_a_second_ring_can_divide_it(formula, text, none):
    assert none not in may_follow(formula, text)


def test_an_odd_number_of_double_bonds_in_aromatic_rings_is_mended_before_they_are_left():
    # Indolizine: the second ring gives the nitrogen atom its third bond, and eight carbon atoms stay.
    assert "9" in may_follow("C8H7N", "ccccncccc")
    assert may_follow("C8H7N", "ccccncccc9") == {"5"}
    # N-methylpyrrole: the nitrogen atom gets its third bond from the substituent.
    allowed = may_follow("C5H7N", "ccccn5")
    assert "C" in allowed
    assert not allowed & {")", "))", "end"}
    assert may_follow("C5H7N", "ccccn5C") == {"end"}


def test_open_aromatic_atoms_keep_the_bonds_that_close_their_ring():
    assert "C" not in may_follow("C8H10", "Cc")  # the first atom of a ring has two more neighbours in it
    assert "C" in may_follow("C8H10", "Ccc")
    assert "C" not in may_follow("C9H12", "CccC)")
    assert "6" not in may_follow("C10H12", "CccccCC")
    assert "5" in may_follow("C10H12", "CccccCC")


def test_a_branch_leaves_what_an_open_ring_needs():
    # Four carbon atoms become a ring of five only with an atom that is no carbon, and a ring of six with two more.
    assert "N" not in may_follow("C5H7N", "cccc")
    assert may_follow("C5H7N", "cccc") >= {"c", "n"}
    assert "N" in may_follow("C6H7N", "cccc")
    # The benzene ring of the branch is lost to the ring of the first three atoms.
    assert "))))))" not in may_follow("C9H7N", "ccccccccc6")
    assert "))))))" in may_follow("C10H9N", "ccccccccc6")


def test_an_unknown_formula_leaves_the_text_free():
    grammar, _, _ = rows("selfies", ["CCO"])
    state = grammar.start(1, 8)
    unknown = torch.tensor([grammar.texts.index("<formula?>")])
    grammar.advance(state, unknown)
    assert grammar.mask(state)[0].equal(~grammar.in_formula)


def test_valences_are_those_of_the_atom_with_as_many_electrons():
    assert valences("N", 1) == (4,)
    assert valences("O", -1) == (1,)
    assert valences("S", 0) == (2, 4, 6)
    assert valences("C", 1) == valences("C", -1) == (3,)
    assert smiles_atom("[nH]").hydrogens[2] == 1
    assert smiles_atom("n").hydrogens[2:5] == (0, 0, -1)
    assert smiles_atom("[") is None


@pytest.mark.parametrize("name", GRAMMARS)
def test_samples_of_an_untrained_model_have_the_formula_of_their_prompt(name):
    tokenizer = SpectrumMoleculeTokenizer(SpectrumTokenizer(max_mz=300), MoleculeTokenizer(name, formula=True))
    torch.manual_seed(0)
    shape = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn": 16, "decoder_ffn": 16}
    net = Bart(vocab_size=len(tokenizer), max_positions=96, encoder_heads=2, decoder_heads=2, **shape).eval()
    start, count = tokenizer.molecule_ids[0], 40
    names = ["C9H11NO2", "C6H12O6"]
    formulas = [Formulas([n], [1.0], [tokenizer.molecule.encode_formula(n) + start]) for n in names]
    words = SIMPLE[name].split() + tokenizer.molecule.formula.tokens
    usual = torch.zeros(len(tokenizer), dtype=torch.bool)
    usual[[tokenizer.molecule.tokens.index(word) + start for word in words]] = True
    source = [np.array([0, tokenizer.spectrum_ids[0] + 3, 2])] * 2

    def formulas_of_samples(grammar):
        texts = sample(
            net, Flat.pack(source), [1, 2], count, max_length=96, allowed_tokens=usual,
            prompts=prompts_of_samples(formulas, count), opening=tokenizer.formula_ids, grammar=grammar,
        )  # fmt: skip
        smiles = [[tokenizer.decode_molecule(text.tokens) for text in own] for own in texts]
        return [[None if s is None else CalcMolFormula(Chem.MolFromSmiles(s)) for s in own] for own in smiles]

    with RDLog():
        grammar = GRAMMARS[name](tokenizer.molecule, allowed_ids(net, usual), start)
        kept, free = formulas_of_samples(grammar), formulas_of_samples(None)
    hits = [np.mean([f == n for f in own]) for own, n in zip(kept, names, strict=True)]
    assert min(hits) > {"selfies": 0.6, "deepsmiles": 0.1}[name], hits
    assert all(n not in own for own, n in zip(free, names, strict=True))


class RDLog:
    """Without RDKit's messages about unreadable texts."""

    def __enter__(self):
        RDLogger.DisableLog("rdApp.*")

    def __exit__(self, *_):
        RDLogger.EnableLog("rdApp.error")
