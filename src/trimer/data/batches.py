"""What a sequence-to-sequence model is fed: flat sources, flat decoder inputs, a label for each decoder position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trimer.flat import Flat


@dataclass
class PairBatch:
    """B pairs. labels: (T,) int64, what follows each decoder input. rows: (B,) row of each pair in its store."""

    source: Flat
    target: Flat
    labels: Tensor
    rows: Tensor

    @classmethod
    def pack(cls, sources: Sequence[np.ndarray], targets: Sequence[np.ndarray], rows: np.ndarray) -> PairBatch:
        """Sources and targets are `<s> ... </s>`; the decoder reads all but the last, and writes all but the first."""
        labels = np.concatenate([np.asarray(t[1:], dtype=np.int64) for t in targets])
        return cls(
            Flat.pack(sources),
            Flat.pack([t[:-1] for t in targets]),
            torch.from_numpy(labels),
            torch.from_numpy(np.asarray(rows, dtype=np.int64)),
        )

    def __len__(self) -> int:
        return len(self.source)

    @property
    def real_tokens(self) -> int:
        """Tokens read and written; there is no padding to leave out."""
        return sum(self.source.sizes) + sum(self.target.sizes)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PairBatch:
        return PairBatch(
            self.source.to(device, non_blocking),
            self.target.to(device, non_blocking),
            self.labels.to(device, non_blocking=non_blocking),
            self.rows.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self) -> PairBatch:
        return PairBatch(
            self.source.pin_memory(), self.target.pin_memory(), self.labels.pin_memory(), self.rows.pin_memory()
        )
