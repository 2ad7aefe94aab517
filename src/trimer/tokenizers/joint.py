"""One vocabulary for two languages: mass spectra and molecules, for a model that translates between them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.tokenizers.formula import END
from trimer.tokenizers.molecule import MoleculeTokenizer
from trimer.tokenizers.spectrum import SpectrumTokenizer
from trimer.tokenizers.vocabulary import BOS, EOS, MASK, PAD, SPECIALS, UNK, Vocabulary


class SpectrumMoleculeTokenizer:
    """Spectra and molecules as ids of one vocabulary: specials, then molecule tokens, then spectrum tokens.

    Every sequence begins with `<s>` and ends with `</s>`. `molecule_ids` and `spectrum_ids` are (start, stop) of the
    ids of each language, so that generation can be restricted to one of them, and noise stays within it.
    """

    bos, pad, eos, unk, mask = BOS, PAD, EOS, UNK, MASK

    def __init__(self, spectrum: SpectrumTokenizer, molecule: MoleculeTokenizer):
        self.spectrum = spectrum
        self.molecule = molecule
        self.vocabulary = Vocabulary([*molecule.tokens, *spectrum.tokens])
        first = len(SPECIALS)
        self.molecule_ids = (first, first + len(molecule.tokens))
        self.spectrum_ids = (first + len(molecule.tokens), len(self.vocabulary))

    def __len__(self) -> int:
        return len(self.vocabulary)

    @property
    def formula_ids(self) -> tuple[int, int, int] | None:
        """(start, stop) of the ids of formulas, which precede a molecule, and the id that ends them; or None."""
        if self.molecule.formula is None:
            return None
        start = self.molecule_ids[0] + len(self.molecule.ids)
        return start, self.molecule_ids[1], start + self.molecule.formula.ids[END]

    def encode_spectra(self, table: SpectrumTable) -> tuple[np.ndarray, np.ndarray]:
        """(T,) int32 concatenated ids of all spectra, and (n + 1,) int64 offsets; each is `<s>` ... `</s>`."""
        values, offsets = self.spectrum.encode_table(table)
        n = len(offsets) - 1
        framed = offsets + 2 * np.arange(n + 1)
        ids = np.empty(framed[-1], np.int32)
        inside = np.ones(len(ids), bool)
        inside[framed[:-1]] = inside[framed[1:] - 1] = False
        ids[inside] = values + self.spectrum_ids[0]
        ids[framed[:-1]], ids[framed[1:] - 1] = BOS, EOS
        return ids, framed

    def encode_molecule(self, smiles: str) -> np.ndarray | None:
        """(L,) int32 ids of a molecule between `<s>` and `</s>`, or None where it cannot be read or written."""
        local = self.molecule.encode(smiles)
        return None if local is None else np.concatenate([[BOS], local + self.molecule_ids[0], [EOS]]).astype(np.int32)

    def encode(self, text: str) -> np.ndarray | None:
        """The same as encode_molecule: what an encoder of labelled molecules reads."""
        return self.encode_molecule(text)

    def decode_molecule(self, ids: Sequence[int] | np.ndarray) -> str | None:
        """Canonical SMILES up to the first `</s>`; None where the ids make no molecule or leave its language."""
        ids = _content(ids)
        start, stop = self.molecule_ids
        if not len(ids) or ids.min() < start or ids.max() >= stop:
            return None
        return self.molecule.decode(ids - start)

    def to_config(self) -> dict:
        """Plain values that rebuild this tokenizer."""
        return {
            "_target_": "trimer.tokenizers.joint.SpectrumMoleculeTokenizer",
            "spectrum": self.spectrum.to_config(),
            "molecule": self.molecule.to_config(),
        }


def _content(ids: Sequence[int] | np.ndarray) -> np.ndarray:
    """The ids before the first `</s>`, without `<s>` and `<pad>`; a decoder's own first `</s>` does not count."""
    ids = np.asarray(ids, dtype=np.int64).reshape(-1)
    words = np.flatnonzero((ids != EOS) & (ids != BOS) & (ids != PAD))
    if not len(words):
        return ids[:0]
    ids = ids[words[0] :]
    ends = np.flatnonzero(ids == EOS)
    ids = ids[: ends[0]] if len(ends) else ids
    return ids[(ids != BOS) & (ids != PAD)]
