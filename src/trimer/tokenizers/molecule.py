"""Molecules as tokens: atoms, bonds, rings and branches, in a vocabulary that no data can change."""

from __future__ import annotations

import re
from functools import cached_property

import numpy as np

from trimer.errors import InputError
from trimer.tokenizers.codec import MoleculeCodec
from trimer.tokenizers.formula import FormulaTokens, element_counts

# Every character that a SMILES can hold; with these alone any molecule can be written, rare atoms letter by letter.
CHARACTERS = "ABCDEFGHIKLMNOPRSTUVWXYZabcdefghiklmnoprstuvy0123456789()[]=#$:/\\-+.@%*~<>"

# Whole tokens: atoms that are frequent in PubChem-like collections.
ATOMS = ["Cl", "Br"]
BRACKET_ATOMS = (
    "[C@H] [C@@H] [C@] [C@@] [S@] [S@@] [P@] [P@@] "
    "[nH] [n+] [n-] [nH+] [n] [N+] [N-] [NH+] [NH2+] [NH3+] [NH4+] [NH-] [N] [NH] [NH2] "
    "[O-] [O+] [OH+] [OH-] [O] [OH] [o+] "
    "[C] [CH] [CH2] [CH3] [C-] [CH-] [CH2-] [C+] [c] [c-] [cH-] "
    "[S] [SH] [S+] [S-] [SH+] [SH-] [s+] [P] [PH] [P+] [P-] [B-] [BH-] [Si] [SiH] [Se] [se] [As] [Sn] [Ge] [Hg] "
    "[F-] [Cl-] [Br-] [I-] [Cl] [Br] [I] [I+] [Cl+3] [H] [H+] [2H] [13C] "
    "[Na+] [K+] [Li+] [Na] [K] [NaH] [KH] [Ca+2] [Mg+2] [Zn+2]"
)

_SELFIES_ATOMS = (
    "[C] [=C] [#C] [N] [=N] [#N] [O] [=O] [S] [=S] [#S] [P] [=P] [#P] [F] [Cl] [Br] [I] [B] [=B] "
    "[NH1] [=NH1] [N+1] [=N+1] [#N+1] [N-1] [=N-1] [NH1+1] [NH2+1] [NH3+1] [=NH1+1] [=NH2+1] [O-1] [O+1] [=O+1] [#O+1] "
    "[OH0] [OH1] [OH1+1] [=OH1+1] [NH0] [=NH0] [NH2] [CH0] [=CH0] [CH1] [CH2] [CH3] [C-1] [CH1-1] [#C-1] [=C-1] "
    "[S+1] [=S+1] [S-1] [SH0] [=SH0] [SH1] [SH1+1] [P+1] [P-1] [PH1] [B-1] [BH1-1] [Si] [SiH1] [Se] [=Se] "
    "[As] [Sn] [Ge] [Hg] [ClH0] [F-1] [Cl-1] [Br-1] [I-1] [Cl+3] [Na+1] [K+1] [Li+1] [Na] [K] [NaH1] [KH1] "
    "[C@H1] [C@@H1] [C@] [C@@] [/C] [\\C] [/N] [\\N] [/O] [\\O] [/S] [\\S]"
)
_SELFIES_SHAPES = [f"[{bond}{shape}{n}]" for shape in ("Branch", "Ring") for n in (1, 2, 3) for bond in ("", "=", "#")]


def _whole_tokens(representation: str) -> list[str]:
    if representation == "selfies":
        return _SELFIES_SHAPES + _SELFIES_ATOMS.split()
    bonds = ["->", "<-"]  # RDKit's dative bonds
    if representation == "smiles":
        return ATOMS + BRACKET_ATOMS.split() + bonds + [f"%{n}" for n in range(10, 20)]  # ring numbers
    # deepSMILES counts: the size of a ring, and how many atoms a branch goes back. A run of brackets as one token makes
    # the text a quarter shorter, and a branch one decision, as the ring already is.
    rings = [f"%{n}" for n in range(10, 30)]
    return ATOMS + BRACKET_ATOMS.split() + bonds + rings + [")" * n for n in range(2, 25)]


class MoleculeTokenizer:
    """Turns a molecule into atom-level tokens and back.

    representation, stereo: see MoleculeCodec. formula: whether the molecular formula is written before the molecule
    (`trimer.tokenizers.formula`).
    Frequent atoms are one token, rare ones fall apart into characters, so that there is no unknown token and
    nothing is lost. Ids are local: they start at 0 and know nothing of special tokens or other languages.
    """

    def __init__(self, representation: str = "deepsmiles", stereo: bool = False, formula: bool = False):
        self.codec = MoleculeCodec(representation, stereo)
        self.representation = representation
        self.stereo = stereo
        self.formula = FormulaTokens() if formula else None
        text_tokens = [*CHARACTERS, *_whole_tokens(representation)]
        self.ids: dict[str, int] = {token: i for i, token in enumerate(text_tokens)}
        self.tokens: list[str] = [*text_tokens, *(self.formula.tokens if self.formula else [])]

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def _pattern(self) -> re.Pattern:
        longest_first = sorted(self.ids, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)))

    def split(self, text: str) -> list[str]:
        """The tokens of a text, which joined give the text again; InputError at a character that no molecule holds."""
        tokens = self._pattern.findall(text)
        if sum(map(len, tokens)) != len(text):
            alien = next(c for c in text if c not in self.ids)
            raise InputError(f"the character {alien!r} in {text[:80]!r} belongs to no molecule: check the column read.")
        return tokens

    def encode_text(self, text: str) -> np.ndarray:
        """(L,) int32 local ids of a text in the tokenizer's representation."""
        return np.array([self.ids[token] for token in self.split(text)], dtype=np.int32)

    def decode_text(self, ids: np.ndarray) -> str:
        """The text of local ids."""
        return "".join([self.tokens[i] for i in ids])

    def encode(self, smiles: str) -> np.ndarray | None:
        """(L,) int32 local ids of a molecule, or None where its SMILES cannot be read or written."""
        text = self.codec.encode(smiles)
        if text is None or self.formula is None:
            return None if text is None else self.encode_text(text)
        from trimer.chemistry.identifiers import formula as formula_of
        from trimer.chemistry.identifiers import parse

        formula = formula_of(parse(smiles))
        return np.concatenate([self.encode_formula(formula or ""), self.encode_text(text)])

    def encode_formula(self, formula: str) -> np.ndarray:
        """(L,) int32 local ids of a Hill formula, the first tokens of a molecule; needs formula=True."""
        if self.formula is None:
            raise ValueError("this tokenizer writes no formulas: data.tokenizer.molecule.formula is false")
        return self.formula.encode(element_counts(formula)) + np.int32(len(self.ids))

    def decode(self, ids: np.ndarray) -> str | None:
        """Canonical SMILES of local ids, or None where they make no molecule; a formula in front is skipped."""
        ids = np.asarray(ids)
        if self.formula is not None:
            is_text = ids < len(self.ids)
            start = int(is_text.argmax()) if is_text.any() else len(ids)
            if not is_text[start:].all():
                return None  # formula tokens within a molecule
            ids = ids[start:]
        return self.codec.decode(self.decode_text(ids))

    def to_config(self) -> dict:
        """Plain values that rebuild this tokenizer."""
        return {
            "_target_": "trimer.tokenizers.molecule.MoleculeTokenizer",
            "representation": self.representation,
            "stereo": self.stereo,
            **({"formula": True} if self.formula else {}),  # configs of older checkpoints stay the same
        }
