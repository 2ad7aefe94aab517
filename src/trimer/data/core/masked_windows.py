"""Masked windows of sequences by batch: new ones in every epoch of training, the same ones in every evaluation."""

from __future__ import annotations

import numpy as np
from torch.utils.data import Dataset

from trimer.data.core.batches import MaskedBatch
from trimer.data.core.draws import keys, uniform
from trimer.data.core.masking import Masking
from trimer.data.core.sampler import BatchKey
from trimer.data.core.store import Store
from trimer.tokenizers.alphabet import Alphabet
from trimer.tokenizers.protein import ALPHABET

WINDOW = 1  # tells the draw of the window from those of the masks
FIXED_SEED = 20_000  # of windows and masks in evaluation: the same in all runs


class MaskedSequences(Dataset):
    """Batches of masked sequences by BatchKey.

    store: columns `tokens` (`<cls>` ... `<eos>`) and `name` (digest of the id). crop: residues of a window, null for
    whole sequences; a window has its own frame, and every window of a sequence is equally likely.
    Window and masks of a sequence depend on (seed, epoch, row), or, where they are fixed, on its id alone; never on the
    other rows of the batch.
    """

    def __init__(
        self,
        store: Store,
        masking: Masking,
        crop: int | None,
        seed: int = 0,
        fixed: bool = False,
        alphabet: Alphabet = ALPHABET,
    ):
        self.store = store
        self.masking = masking
        self.crop = crop
        self.seed = seed
        self.alphabet = alphabet
        self.names = store.array("name") if fixed else None

    @property
    def masked_share(self) -> float:
        """The largest share of the tokens that is masked at any step."""
        return max(self.masking.ratio, self.masking.end_ratio or 0.0)

    def __getitem__(self, key: BatchKey) -> MaskedBatch:
        if self.names is None:
            drawn, step = keys(self.seed, key.epoch, key.rows), key.step
        else:
            drawn, step = keys(FIXED_SEED, self.names[key.rows]), 0
        tokens, lengths = self._windows(key.rows, drawn)
        damaged, places = self.masking(tokens, lengths, drawn, step, self.alphabet)
        return MaskedBatch.pack(damaged, lengths, places, tokens[places], key.rows)

    def _windows(self, rows: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T,) tokens of all windows end to end, and their (B,) lengths."""
        column = self.store.ragged("tokens")
        whole = [column[row] for row in rows.tolist()]
        sizes = np.fromiter(map(len, whole), np.int64, len(whole))
        lengths = window_lengths(sizes, self.crop)
        starts = (uniform(keys(drawn, WINDOW)) * (sizes - lengths + 1)).astype(np.int64)
        stops = (starts + lengths).tolist()
        tokens = np.concatenate(
            [sequence[start:stop] for sequence, start, stop in zip(whole, starts.tolist(), stops, strict=True)]
        )
        ends = np.cumsum(lengths)
        tokens[ends - lengths], tokens[ends - 1] = self.alphabet.begin, self.alphabet.end
        return tokens, lengths


def window_lengths(lengths: np.ndarray, crop: int | None) -> np.ndarray:
    """(n,) tokens of the window of each sequence, of lengths in tokens; two of them are `<cls>` and `<eos>`."""
    return lengths if crop is None else np.minimum(lengths, crop + 2)
