"""Proteins as tokens: one residue, one token, in the alphabet of the ESM models and in its published order.

Source: the alphabet of ESM-1b and ESM-2 (Lin et al. 2023, "Evolutionary-scale prediction of atomic-level protein
structure with a language model"): four specials, 20 amino acids by frequency, the ambiguous and rare X B U Z O, the
alignment's `.` and `-`, an unused id, and `<mask>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from trimer.data.core.ragged import Ragged
from trimer.errors import ConfigError
from trimer.tokenizers.alphabet import Alphabet
from trimer.tokenizers.vocabulary import Vocabulary

SPECIALS = ("<cls>", "<pad>", "<eos>", "<unk>")
LETTERS = "LAGVSERTIDPKQNFYMHWCXBUZO.-"
CLS, PAD, EOS, UNK = range(4)
MASK = 32
RESIDUES = np.arange(4, 24)  # the 20 amino acids
# Tokens that may be masked: residues and ambiguity letters, but no special token and no unknown letter.
ALPHABET = Alphabet(CLS, EOS, MASK, (np.arange(33) >= len(SPECIALS)) & (np.arange(33) < 4 + len(LETTERS)), RESIDUES)
LOWER = ("upper", "unknown")  # how lower case may be read


class ProteinTokenizer:
    """Turns amino acid sequences into `<cls>` ... `<eos>` and back.

    lower: "upper" reads lower case (soft-masked regions) as upper case, "unknown" as `<unk>`.
    A character is always one token, so that labels of residues keep their positions: characters outside the alphabet
    (J, digits, white space) become `<unk>`.
    """

    cls, pad, eos, unk, mask = CLS, PAD, EOS, UNK, MASK
    alphabet = ALPHABET
    entity = "proteins"

    def __init__(self, lower: str = "upper"):
        if lower not in LOWER:
            raise ConfigError(f"lower={lower!r} is not known: choose one of {', '.join(LOWER)}.")
        self.lower = lower
        self.vocabulary = Vocabulary([*LETTERS, "<null_1>", "<mask>"], specials=SPECIALS)
        table = np.full(256, UNK, np.uint8)
        table[np.frombuffer(LETTERS.encode(), np.uint8)] = np.arange(len(LETTERS)) + len(SPECIALS)
        if lower == "upper":
            table[ord("a") : ord("z") + 1] = table[ord("A") : ord("Z") + 1]
        self.table = table  # (256,) uint8, the id of each byte
        self._known = np.flatnonzero(table != UNK).astype(np.uint8).tobytes()

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, sequence: str | bytes) -> np.ndarray:
        """(L + 2,) uint8 ids of L residues between `<cls>` and `<eos>`."""
        letters = sequence.encode("latin-1", "replace") if isinstance(sequence, str) else sequence
        return self.encode_many(letters, np.array([0, len(letters)])).values

    def encode_many(self, letters: bytes | np.ndarray, offsets: np.ndarray) -> Ragged:
        """The ids of n sequences, each `<cls>` ... `<eos>`.

        letters: (P,) uint8 or bytes, all sequences concatenated. offsets: (n + 1,), sequence i is
        letters[offsets[i]:offsets[i + 1]].
        """
        ids = bytes(letters).translate(self.table.tobytes())
        count = len(offsets) - 1
        framed = bytes([EOS, CLS]).join([ids[start:stop] for start, stop in pairwise(offsets.tolist())])
        values = np.frombuffer(bytes([CLS]) + framed + bytes([EOS]) if count else b"", np.uint8)
        return Ragged(values, np.asarray(offsets, np.int64) - offsets[0] + 2 * np.arange(count + 1))

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The sequence without `<cls>`, `<eos>` and `<pad>`; special tokens are written by their names, as `<mask>`."""
        tokens = self.vocabulary.tokens
        return "".join([tokens[i] for i in np.asarray(ids).tolist() if i not in (CLS, PAD, EOS)])

    def unspelled(self, text: str) -> list[str]:
        """The letters of a sequence that have no token and become `<unk>`, in its order."""
        return list(text.encode("latin-1", "replace").translate(None, self._known).decode("latin-1"))

    def to_config(self) -> dict:
        """Plain values that rebuild this tokenizer."""
        return {"_target_": "trimer.tokenizers.protein.ProteinTokenizer", "lower": self.lower}
