"""What the data modules share: columns that are prepared once, the split of their rows, and how batches are loaded.

A data module says what its store holds (`_recipe`, `_write`), what must not cross a split (`_keys`), and what a row
costs; the rest is here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, TypedDict, Unpack

import lightning as L
import numpy as np
from torch.utils.data import DataLoader, Dataset

from trimer.arguments import KeepsArguments
from trimer.data.core.drops import DropReport
from trimer.data.core.loaders import check_loading, evaluation_loader, training_loader
from trimer.data.core.parallel import preparing
from trimer.data.core.ragged import Ragged
from trimer.data.core.splits import WHOLE, Split, column_split, grouped_split, whole_split
from trimer.data.core.store import Store, StoreWriter, cache_folder, cached_store
from trimer.data.proteins.relatives import Relatives
from trimer.data.text.spelling import warn_of_spelling
from trimer.errors import ConfigError

log = logging.getLogger(__name__)


class CacheAndBatches(TypedDict):
    """The loading settings that have no default here: the YAML of each kind of data owns them."""

    cache: str
    tokens_per_batch: int


class Loading(CacheAndBatches, total=False):
    """How data are prepared and loaded, the same settings for every data module.

    cache: the folder of prepared stores. tokens_per_batch: on average, frame tokens counted. shuffle: a new order in
    each epoch; false: the same order, so the same batches. num_workers: processes that load; 0: this process.
    prepare_workers: processes that prepare, null for one for each core; the store does not depend on it. seed: of the
    order, windows, masks and noise.

    The keys stand at the top of `data` (`data.tokens_per_batch=...`), and not in a node of their own, since commands,
    studies and checkpoints name them there. Their values are owned once: in conf/data/base/loading.yaml, and
    `tokens_per_batch` by each kind of data. A data module takes them as `**loading: Unpack[Loading]`; the defaults in
    `PreparedData` are for Python and for checkpoints that are older than a key.
    """

    shuffle: bool
    num_workers: int
    prepare_workers: int | None
    seed: int


class PreparedData(KeepsArguments, L.LightningDataModule):
    """Data that are read, cleaned and tokenised into a column store once, and memory-mapped from then on.

    A subclass names its part of the cache (`kind`), the class of its batches (`batch`), and whether it knows what a
    model should predict, so that a test split can be measured after training (`has_labels`).
    """

    kind: str
    batch: ClassVar[type]
    has_labels: bool

    def __init__(
        self,
        *,
        cache: str,
        tokens_per_batch: int,
        shuffle: bool = True,
        num_workers: int = 0,
        prepare_workers: int | None = None,
        seed: int = 0,
    ):
        super().__init__()
        check_loading(tokens_per_batch, num_workers, seed)
        self.cache = Path(cache).expanduser()
        self.tokens_per_batch = tokens_per_batch
        self.shuffle = shuffle
        self.num_workers = num_workers
        self.prepare_workers = prepare_workers
        self.seed = seed
        self.store: Store | None = None

    @property
    def folder(self) -> Path:
        """Where the prepared columns lie: named by the content of the source and every setting that shapes them."""
        return cache_folder(self.cache, self.kind, self._recipe())

    def prepare_data(self) -> None:
        """Write the store, unless that was done before."""
        self._prepared()

    def setup(self, stage: str | None = None) -> None:
        """Open the store."""
        if self.store is None:
            self.store = self._prepared()
            warn_of_spelling(self.store.manifest.get("unspelled"))

    def _prepared(self) -> Store:
        with preparing(self.prepare_workers):
            return cached_store(self.folder, self._write)

    @property
    def drops(self) -> DropReport:
        return DropReport.from_dict(self.store.manifest["drops"])

    def split_rows(self, split: str) -> np.ndarray:
        """The rows of a split, each once; none where there is no such split."""
        raise NotImplementedError

    def row_keys(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Kind of key -> (n,) keys of some rows, by which training data are known later (`data.training_keys`)."""
        raise NotImplementedError

    def training_facts(self) -> dict:
        """What else a checkpoint keeps of the train split, as plain values (`trimer.training_facts`)."""
        return {}

    # ---------------------------------------------------------------- loaders

    def val_dataloader(self) -> DataLoader:
        """Every row of the validation split, in order."""
        return self._evaluation(*self._evaluation_part("val"))

    def test_dataloader(self) -> DataLoader:
        """Every row of the test split, in order; all rows where `measure_whole` was called."""
        if not len(self.split_rows(self._measured_split())):
            raise ConfigError(f"data={type(self).__name__} has no test split: use the validation split, or other data")
        return self._evaluation(*self._evaluation_part(self._measured_split()))

    def predict_dataloader(self) -> DataLoader:
        """The rows that are predicted: those of the test split, or of validation where there is none."""
        split = self._measured_split()
        return self._evaluation(*self._evaluation_part(split if len(self.split_rows(split)) else "val"))

    def _measured_split(self) -> str:
        return "test"

    def _evaluation_part(self, split: str) -> tuple[Dataset, np.ndarray, np.ndarray]:
        """The dataset of a split as it is evaluated, the (n,) or (n, 2) lengths in tokens of its rows, and the rows."""
        raise NotImplementedError

    def save_reports(self, folder: Path) -> None:
        """Leave the drop report in a run folder."""
        self.drops.save(folder / "drops.json")

    def _recipe(self) -> dict:
        """Everything that shapes the store, as plain values."""
        raise NotImplementedError

    def _write(self, writer: StoreWriter) -> None:
        """Fill the store, and put `recipe` and `drops` into its manifest."""
        raise NotImplementedError

    def _training(
        self, dataset: Dataset, lengths: np.ndarray, rows: np.ndarray, clusters: np.ndarray | None = None
    ) -> DataLoader:
        return training_loader(
            dataset,
            lengths,
            rows,
            self.tokens_per_batch,
            trainer=self.trainer,
            seed=self.seed,
            num_workers=self.num_workers,
            shuffle=self.shuffle,
            clusters=clusters,
        )

    def _evaluation(self, dataset: Dataset, lengths: np.ndarray, rows: np.ndarray) -> DataLoader:
        return evaluation_loader(
            dataset, lengths, rows, self.tokens_per_batch, trainer=self.trainer, num_workers=self.num_workers
        )


class SplitData(PreparedData):
    """Prepared data whose rows are assigned to train, val and test; the same settings give the same rows.

    split: a column of the source that names the split (`column`, `names`), or the `keys` that no two splits may share,
    joined by union-find, with `fractions` and a `seed`. `train_limit` keeps so many rows of train.
    """

    def __init__(self, split: Mapping, **loading: Unpack[Loading]):
        super().__init__(**loading)
        self.split_by = dict(split)
        self.split: Split | None = None
        self.whole = False  # whether all rows are one split, to be measured

    def measure_whole(self) -> None:
        """Make one split, `all`, of all rows; to be called before setup."""
        self.whole = True

    def _measured_split(self) -> str:
        return WHOLE if self.whole else "test"

    def split_rows(self, split: str) -> np.ndarray:
        return self.split.rows(split) if split in self.split.names else np.zeros(0, np.int64)

    def setup(self, stage: str | None = None) -> None:
        """Open the store and assign its rows."""
        if self.split is None:
            super().setup(stage)
            self.split = whole_split(self._usable()) if self.whole else self._assign()
            if (limit := self.split_by.get("train_limit")) is not None and not self.whole:
                self.split = self.split.limited(limit, self.split_by.get("seed", 0))
            log.info("%s", self.split.overlap_report(self._keys(), self._related()))

    def save_reports(self, folder: Path) -> None:
        """Leave the split, its overlap and the drop report in a run folder."""
        super().save_reports(folder)
        self.split.save(folder / "split.npz")
        shared = [*self.split.overlap(self._keys()), *self._related()]
        overlap = {"manifest": self.split.manifest, "overlap": shared}
        (folder / "split_overlap.json").write_text(json.dumps(overlap, indent=1) + "\n", encoding="utf-8")

    def held_out(self, column: np.ndarray) -> frozenset:
        """The values of a column in the validation and test rows, for a pre-training corpus to leave out."""
        rows = np.concatenate([self.split.rows("val"), self.split.rows("test")])
        return frozenset(column[rows].tolist())

    def _usable(self) -> np.ndarray:
        """(n,) bool: the rows that can be measured."""
        return np.ones(len(self.store), bool)

    def _protein_tokens(self, rows: np.ndarray) -> Ragged | None:
        """Whole sequences of some rows in the protein alphabet; None where the rows are no proteins."""
        return None

    @property
    def _relatives(self) -> Relatives:
        return Relatives(self.store, self._protein_tokens, self.cache, **self.split_by.get("kmers") or {})

    def _related(self) -> list[dict]:
        """How similar the proteins of each split are to train, as `Relatives.to_train`."""
        proteins = self._protein_tokens(np.zeros(0, np.int64)) is not None
        return self._relatives.to_train(self.split) if proteins else []

    def _keys(self) -> dict[str, np.ndarray]:
        """The columns whose overlap is reported, by name."""
        raise NotImplementedError

    def _grouping(self) -> dict[str, np.ndarray]:
        """The columns that must not cross parts, by name; ConfigError where there is none."""
        raise NotImplementedError

    def _assign(self) -> Split:
        if self.split_by.get("column"):
            values = np.array(self.store.strings("split"), dtype=object)
            return column_split(values, self.split_by.get("names"))
        return grouped_split(self._grouping(), self.split_by.get("fractions"), seed=self.split_by.get("seed", 0))


def check_split_keys(split: Mapping, known: tuple[str, ...]) -> None:
    """ValueError for split keys that the data module does not have."""
    if unknown := set(split.get("keys") or ()) - set(known):
        raise ValueError(f"split.keys: {', '.join(sorted(unknown))} is none of {', '.join(known)}")
