"""Base classes of the data modules: prepared stores, splits and data loaders.

A data module defines its store (`_recipe`, `_write`), the keys that must not cross splits (`_keys`), and the length of
a row; everything else is here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypedDict, Unpack

import lightning as L
import numpy as np
from torch.utils.data import DataLoader, Dataset

from trimer.arguments import KeepsArguments
from trimer.data.core.drops import DropReport, explained_by
from trimer.data.core.folds import checked_folds, key_split
from trimer.data.core.loaders import check_loading, evaluation_loader, training_loader
from trimer.data.core.parallel import preparing
from trimer.data.core.ragged import Ragged
from trimer.data.core.shards import Shard, Shards
from trimer.data.core.splits import WHOLE, Split, column_split, whole_split
from trimer.data.core.store import Store, StoreWriter, cache_folder, cached_store, is_store
from trimer.data.proteins.relatives import Relatives
from trimer.data.text.spelling import warn_of_spelling
from trimer.errors import ConfigError

log = logging.getLogger(__name__)


class CacheAndBatches(TypedDict):
    """Loading settings without a default here: the YAML file of each kind of data sets them."""

    cache: str
    tokens_per_batch: int


class Loading(CacheAndBatches, total=False):
    """Settings of preparing and loading data, the same for every data module.

    cache: the folder of prepared stores. tokens_per_batch: mean number, including begin and end tokens. shuffle: a new
    order in each epoch; false: the same order, and so the same batches. num_workers: processes that load batches; 0:
    the main process. prepare_workers: processes that prepare the store, null for one per CPU core; the store does not
    depend on it. seed: of the order, windows, masks and noise.

    The keys are directly under `data` (`data.tokens_per_batch=...`), since commands, studies and checkpoints name them
    there. Their values are set in conf/data/base/loading.yaml, and `tokens_per_batch` by each kind of data. A data
    module takes them as `**loading: Unpack[Loading]`; the defaults of `PreparedData` are for use from Python and for
    checkpoints that are older than a key.
    """

    shuffle: bool
    num_workers: int
    prepare_workers: int | None
    seed: int


class PreparedData(KeepsArguments, L.LightningDataModule):
    """Data that are read, cleaned and tokenised into a column store once, and then memory-mapped.

    A subclass sets its name in the cache (`kind`), the class of its batches (`batch`), and whether it has labels, so
    that the test split can be evaluated after training (`has_labels`). store: set by `setup`.
    """

    kind: str
    batch: ClassVar[type]
    has_labels: bool
    store: Store

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
        self.shards: Shards | None = None  # that `_write` joins

    @property
    def folder(self) -> Path:
        """The folder of the store, named by the content of the source and all settings that shape the store."""
        return cache_folder(self.cache, self.kind, self._recipe())

    def prepare_data(self) -> None:
        """Write the store if it does not exist yet."""
        self._prepared()

    def setup(self, stage: str | None = None) -> None:
        """Open the store."""
        if not hasattr(self, "store"):
            self.store = self._prepared()
            warn_of_spelling(self.store.manifest.get("unspelled"))

    def _prepared(self) -> Store:
        with preparing(self.prepare_workers):
            return cached_store(self.folder, self._write)

    def prepare_shard(self, shard: Shard) -> Path:
        """Prepare one shard of the records and return its folder; nothing to do if the shard or the store exists."""
        shards = Shards(self.folder, self._recipe(), shard.count)
        if is_store(self.folder):
            return self.folder
        with preparing(self.prepare_workers):
            return self._write_shard(shards, shard).folder

    def prepare_from_shards(self, count: int) -> None:
        """Write the store from its shards and remove them; InputError that names those which are missing."""
        self.shards = Shards(self.folder, self._recipe(), count)
        if not is_store(self.folder):
            self.shards.check_complete()
            self._prepared()
        self.shards.remove()
        self.shards = None

    @property
    def drops(self) -> DropReport:
        return DropReport.from_dict(self.store.manifest["drops"])

    def split_rows(self, split: str) -> np.ndarray:
        """The distinct rows of a split; none if the split does not exist."""
        raise NotImplementedError

    def row_keys(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Kind of key -> (n,) keys of the given rows, to recognise training data later (`data.core.training_keys`)."""
        raise NotImplementedError

    def training_facts(self) -> dict:
        """Further facts about the train split for the checkpoint, as plain values (`trimer.training_facts`)."""
        return {}

    # ---------------------------------------------------------------- loaders

    def val_dataloader(self) -> DataLoader:
        """Every row of the validation split, in order."""
        return self._evaluation(*self._evaluation_data("val"))

    def test_dataloader(self) -> DataLoader:
        """Every row of the test split, in order; all rows if `measure_whole` was called."""
        if not len(self.split_rows(self._measured_split())):
            raise ConfigError(f"data={type(self).__name__} has no test split: use the validation split, or other data")
        return self._evaluation(*self._evaluation_data(self._measured_split()))

    def predict_dataloader(self) -> DataLoader:
        """The rows to predict: those of the test split, or of validation if there is no test split."""
        split = self._measured_split()
        return self._evaluation(*self._evaluation_data(split if len(self.split_rows(split)) else "val"))

    def _measured_split(self) -> str:
        return "test"

    def _evaluation_data(self, split: str) -> tuple[Dataset, np.ndarray, np.ndarray]:
        """The dataset for evaluating a split, the (n,) or (n, 2) lengths of its rows in tokens, and the rows."""
        raise NotImplementedError

    def save_reports(self, folder: Path) -> None:
        """Write the drop report to a run folder."""
        self.drops.save(folder / "drops.json")

    def _recipe(self) -> dict:
        """All settings that shape the store, as plain values."""
        raise NotImplementedError

    def _write(self, writer: StoreWriter) -> None:
        """Fill the store, from `self.shards` if set, and set `recipe` and `drops` in its manifest."""
        raise NotImplementedError

    def _write_shard(self, shards: Shards, shard: Shard) -> Store:
        raise ConfigError(
            f"data={type(self).__name__} is not prepared in shards, only molecules and proteins for masked language "
            "modelling are: leave out shards= and shard="
        )

    def _training(
        self, dataset: Dataset, lengths: np.ndarray, rows: np.ndarray, clusters: np.ndarray | None = None
    ) -> DataLoader:
        order: dict[str, Any] = {"seed": self.seed, "shuffle": self.shuffle, "folder": self.cache}
        return training_loader(dataset, lengths, rows, **self._loading(), **order, clusters=clusters)

    def _evaluation(self, dataset: Dataset, lengths: np.ndarray, rows: np.ndarray) -> DataLoader:
        return evaluation_loader(dataset, lengths, rows, **self._loading())

    def _loading(self) -> dict[str, Any]:
        if self.trainer is None:
            raise RuntimeError(
                f"{type(self).__name__} has no trainer: its loaders are called by trainer.fit(model, data)"
            )
        return {"tokens_per_batch": self.tokens_per_batch, "trainer": self.trainer, "num_workers": self.num_workers}


class SplitData(PreparedData):
    """Prepared data whose rows are assigned to train, val and test; the same settings give the same rows.

    split: a column of the source that names the split (`column`, `names`), or the `keys` that no two splits may share,
    with `fractions` and a `seed`; rows are grouped by union-find. `fold`: which of `folds` is the test split, instead
    of the fractions. `train_limit`: largest number of rows of train.
    """

    split: Split  # set by `setup`

    def __init__(self, split: Mapping, **loading: Unpack[Loading]):
        super().__init__(**loading)
        self.split_by = checked_folds(split)
        self.whole = False  # whether all rows are one split, to be evaluated

    def measure_whole(self) -> None:
        """Put all rows into one split, `all`; call it before setup."""
        self.whole = True

    def _measured_split(self) -> str:
        return WHOLE if self.whole else "test"

    def split_rows(self, split: str) -> np.ndarray:
        return self.split.rows(split) if split in self.split.names else np.zeros(0, np.int64)

    def setup(self, stage: str | None = None) -> None:
        """Open the store and assign its rows to splits."""
        if not hasattr(self, "split"):
            super().setup(stage)
            with explained_by(self.drops):
                self.split = whole_split(self._usable()) if self.whole else self._assign()
            if (limit := self.split_by.get("train_limit")) is not None and not self.whole:
                self.split = self.split.limited(limit, self.split_by.get("seed", 0))
            log.info("%s", self.split.overlap_report(self._overlap(), self._related()))

    def save_reports(self, folder: Path) -> None:
        """Write the split, its overlap and the drop report to a run folder."""
        super().save_reports(folder)
        self.split.save(folder / "split.npz")
        shared = [*self._overlap(), *self._related()]
        overlap = {"manifest": self.split.manifest, "overlap": shared}
        (folder / "split_overlap.json").write_text(json.dumps(overlap, indent=1) + "\n", encoding="utf-8")

    def _overlap(self) -> list[dict]:
        """Values of the keys that the other splits share with train (`Split.overlap`)."""
        return [] if self.whole else self.split.overlap(self._keys())

    def held_out(self, column: np.ndarray) -> frozenset:
        """The values of a column in the validation and test rows, for a pre-training corpus to exclude."""
        rows = np.concatenate([self.split.rows("val"), self.split.rows("test")])
        return frozenset(column[rows].tolist())

    def _usable(self) -> np.ndarray:
        """(n,) bool: rows that can be evaluated."""
        return np.ones(len(self.store), bool)

    def _holds_proteins(self) -> bool:
        return False

    def _protein_tokens(self, rows: np.ndarray) -> Ragged:
        """Uncropped sequences of the given rows in the protein alphabet."""
        raise NotImplementedError

    @property
    def _relatives(self) -> Relatives:
        return Relatives(self.store, self._protein_tokens, self.cache, **self.split_by.get("kmers") or {})

    def _related(self) -> list[dict]:
        """Similarity of the proteins of each split to train (`Relatives.to_train`)."""
        return self._relatives.to_train(self.split) if self._holds_proteins() else []

    def _keys(self) -> dict[str, np.ndarray]:
        """The columns whose overlap is reported, by name."""
        raise NotImplementedError

    def _grouping(self) -> dict[str, np.ndarray]:
        """The columns that must not cross splits, by name; ConfigError if there is none."""
        raise NotImplementedError

    def _assign(self) -> Split:
        if self.split_by.get("column"):
            return column_split(self.store.strings("split"), self.split_by.get("names"))
        return key_split(self._grouping(), self.split_by)


class LabelledSplitData(SplitData):
    """Split data with labels, whose store has the columns `id`, `text` and `tokens`.

    target: what is predicted, such as "single" (classes), "regression" (numbers) or "fragments".
    """

    has_labels = True
    target: str

    def facts(self) -> dict:
        """Target and labels, as plain values."""
        raise NotImplementedError

    def save_reports(self, folder: Path) -> None:
        """Write the split, its overlap, the drop report and the labels to a run folder."""
        super().save_reports(folder)
        (folder / "labels.json").write_text(json.dumps(self.facts(), indent=1) + "\n", encoding="utf-8")

    def texts(self, rows: np.ndarray) -> list[str]:
        """SMILES, residues or ProForma of the given rows."""
        return [text or "" for text in self.store.strings("text", rows)]

    def ids(self, rows: np.ndarray) -> list[str]:
        """Ids of the given rows."""
        return [name or "" for name in self.store.strings("id", rows)]

    def _lengths(self, rows: np.ndarray) -> np.ndarray:
        """(n,) numbers of tokens of the given rows."""
        return self.store.ragged("tokens").lengths[rows]


def check_split_keys(split: Mapping, known: tuple[str, ...]) -> None:
    """ValueError for split keys that the data module does not have."""
    if unknown := set(split.get("keys") or ()) - set(known):
        raise ValueError(f"split.keys: {', '.join(sorted(unknown))} must be among {', '.join(known)}")
