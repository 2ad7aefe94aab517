"""Molecules as the sequences of an encoder: the atom-level tokens of `tokenizers.molecule` between `<s>` and `</s>`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from trimer.errors import ConfigError
from trimer.tokenizers.alphabet import Alphabet
from trimer.tokenizers.molecule import MoleculeTokenizer
from trimer.tokenizers.vocabulary import BOS, EOS, MASK, PAD, SPECIALS, UNK, Vocabulary


class SmilesTokenizer:
    """Turns SMILES into `<s>` ... `</s>` and back, by way of the canonical molecule.

    representation: smiles, deepsmiles or selfies. stereo: whether it is kept; two stereoisomers may smell differently.
    """

    cls, pad, eos, unk, mask = BOS, PAD, EOS, UNK, MASK

    def __init__(self, representation: str = "smiles", stereo: bool = True):
        self.molecule = MoleculeTokenizer(representation, stereo)
        self.vocabulary = Vocabulary(self.molecule.tokens)

    def __len__(self) -> int:
        return len(self.vocabulary)

    @cached_property
    def alphabet(self) -> Alphabet:
        """Every token of a molecule may be masked, and replaced by any other."""
        ids = np.arange(len(self))
        return Alphabet(BOS, EOS, MASK, ids >= len(SPECIALS), ids[len(SPECIALS) :])

    def encode(self, smiles: str) -> np.ndarray | None:
        """(L + 2,) uint16 ids, or None where the SMILES cannot be read or written."""
        local = self.molecule.encode(smiles)
        return None if local is None else np.concatenate([[BOS], local + len(SPECIALS), [EOS]]).astype(np.uint16)

    def encode_as_written(self, smiles: str) -> np.ndarray:
        """(L + 2,) uint16 ids of a SMILES in the order in which it is written, for augmentation."""
        if self.molecule.representation != "smiles":
            raise ConfigError(
                f"data.random_smiles needs data.tokenizer.representation=smiles, not {self.molecule.representation}"
            )
        return np.concatenate([[BOS], self.molecule.encode_text(smiles) + len(SPECIALS), [EOS]]).astype(np.uint16)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str | None:
        """Canonical SMILES, or None where the ids make no molecule."""
        tokens = np.asarray(ids, np.int64)
        tokens = tokens[(tokens != BOS) & (tokens != EOS) & (tokens != PAD)]
        if not len(tokens) or tokens.min() < len(SPECIALS):
            return None
        return self.molecule.decode(tokens - len(SPECIALS))

    def to_config(self) -> dict:
        """Plain values that rebuild this tokenizer."""
        return {
            "_target_": "trimer.tokenizers.smiles.SmilesTokenizer",
            "representation": self.molecule.representation,
            "stereo": self.molecule.stereo,
        }
