"""Groups of similar proteins to split by, and the largest similarity of validation and test proteins to train.

Both are computed once and cached. k-mers, similarities and groups are defined in `trimer.data.proteins.kmers`.

Shapes: n proteins.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trimer.data.core.ragged import Ragged
from trimer.data.core.splits import Split
from trimer.data.core.store import Store, StoreWriter, cache_folder, cached_store
from trimer.data.proteins.kmers import LONGEST_K, SHARE, K, kmer_groups, kmers_of, largest_similarity
from trimer.errors import ConfigError
from trimer.tokenizers.protein import ProteinTokenizer

log = logging.getLogger(__name__)

KMERS = "kmers"  # name of the split key
LAYOUT = 1  # increase when groups or similarities are computed differently, so that old caches are not read
MEASURED = 2_000  # proteins of a split that are compared with train, a random sample
COMPARED = 1_000_000  # proteins of train that they are compared with, a random sample
CHUNK = 4_000  # of these at a time


@dataclass(frozen=True)
class Relatives:
    """Similar proteins (relatives) within a store.

    store: prepared proteins. tokens: rows -> sequences in the protein alphabet. k: residues of a k-mer.
    share: similarity above which two proteins are relatives.
    """

    store: Store
    tokens: Callable[[np.ndarray], Ragged]
    cache: Path
    k: int = K
    share: float = SHARE

    def __post_init__(self) -> None:
        if not 3 <= self.k <= LONGEST_K:
            raise ConfigError(f"data.split.kmers.k={self.k} must be from 3 to {LONGEST_K} residues")
        if not 0 < self.share < 1:
            raise ConfigError(f"data.split.kmers.share={self.share} must be between 0 and 1")

    def groups(self) -> np.ndarray:
        """(n,) int64 group number of each protein."""

        def build(writer: StoreWriter) -> None:
            log.info("grouping %s proteins by shared %d-mers", f"{len(self.store):,}", self.k)
            everything = self.tokens(np.arange(len(self.store)))
            writer.append({"group": kmer_groups(kmers_of(everything, self.k), self.share).astype(np.int64)})

        return self._cached("kmer_groups", {"share": self.share}, build).array("group")

    def to_train(self, split: Split) -> list[dict]:
        """For each split after the first (train): how similar its proteins are to the most similar one of train."""
        if len(split.names) < 2:
            return []

        def build(writer: StoreWriter) -> None:
            train = drawn(split.rows(split.names[0]), COMPARED)
            rows = [drawn(split.rows(name), MEASURED) for name in split.names[1:]]
            asked = kmers_of(self.tokens(np.concatenate(rows)), self.k)
            chunks = (train[start : start + CHUNK] for start in range(0, len(train), CHUNK))
            similarity = largest_similarity(asked, (kmers_of(self.tokens(chunk), self.k) for chunk in chunks))
            writer.append({"row": np.concatenate(rows), "similarity": similarity})

        measured = self._cached("kmer_similarity", {"split": split.manifest["sha256"], "names": split.names}, build)
        rows, similarity = measured.array("row"), measured.array("similarity")
        return [self._summary(split, name, similarity[np.isin(rows, split.rows(name))]) for name in split.names[1:]]

    def _summary(self, split: Split, name: str, similarity: np.ndarray) -> dict:
        related, whole = int((similarity > self.share).sum()), len(split.rows(name))
        key = f"more than {100 * self.share:g} % of {self.k}-mers"
        of = f"{whole:,}" if len(similarity) == whole else f"{len(similarity):,} sampled"
        largest, median = float(similarity.max()), float(np.median(similarity))
        return {
            "part": name,
            "key": key,
            **dict.fromkeys(("values", "rows"), len(similarity)),
            **dict.fromkeys(("shared_values", "shared_rows"), related),
            "largest_similarity": round(largest, 4),
            "median_similarity": round(median, 4),
            "text": f"relatives: {related:,} of {of} proteins ({100 * related / len(similarity):.1f} %) share {key} "
            f"with one of {split.names[0]}; largest similarity {100 * largest:.1f} %, median {100 * median:.1f} %",
        }

    def _cached(self, name: str, settings: Mapping, build: Callable[[StoreWriter], None]) -> Store:
        key = {"layout": LAYOUT, "store": self.store.folder.name, "k": self.k, **settings}
        return cached_store(cache_folder(self.cache, name, key), build)


def drawn(rows: np.ndarray, most: int) -> np.ndarray:
    """All rows, or a reproducible random sample of `most` of them in ascending order."""
    return rows if len(rows) <= most else np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def encode_proteins(texts: Sequence[str]) -> Ragged:
    """Tokens of sequences in the protein alphabet."""
    letters = [text.encode("latin-1", "replace") for text in texts]
    return ProteinTokenizer().encode_many(b"".join(letters), np.cumsum([0, *map(len, letters)]))
