"""Fragment intensities of peptides as a LightningDataModule: prepared and split once, memory-mapped.

Shapes: n spectra, L residues of a peptide, K channels.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Unpack

import numpy as np
from torch.utils.data import DataLoader, Dataset

from trimer.counts import counted
from trimer.data.core.batches import FragmentBatch
from trimer.data.core.drops import DropReport
from trimer.data.core.ragged import Ragged
from trimer.data.core.sampler import BatchKey, EpochPlan
from trimer.data.core.store import Store, StoreWriter
from trimer.data.core.training_keys import text_keys
from trimer.data.labelled.sequence_kinds import Peptides, Sequences, key_column
from trimer.data.modules.base import LabelledSplitData, Loading, check_split_keys
from trimer.data.peptides.fragment_files import FragmentSource, FragmentTable
from trimer.data.peptides.peptide_batches import flat_peptides
from trimer.errors import ConfigError, InputError
from trimer.peptides.channels import channels_of, possible
from trimer.peptides.conditions import CHARGES, condition_vectors
from trimer.peptides.modifications import ELEMENTS
from trimer.peptides.proforma import read_proforma
from trimer.peptides.seen_sites import seen_sites

log = logging.getLogger(__name__)

LAYOUT = 1  # increase when the columns of the store change, so that old caches are not read
IMPOSSIBLE = -1.0  # intensity of a fragment that the peptide cannot form
MODLOSS = "modloss"  # loss of a modification in libraries; read as H3PO4
KEPT = ("all", "modified", "unmodified")


class PeptideFragments(LabelledSplitData):
    """Spectra of peptides as intensities of the fragments that a model predicts.

    source: annotated spectra. channels: `b1`, `y2`, `y1-H3PO4`: series, charge, loss. Intensities are relative to the
    most intense of these fragments, 0 if not observed, and ignored if the peptide cannot form the fragment (its charge
    exceeds the precursor's, or it lacks the lost group). modifications: keep "all" peptides, or those "modified" or
    "unmodified" by `modification`, a ProForma name such as UNIMOD:21; null: by any. exclude: residue sequences to drop
    because a later study is evaluated on them. shortest, longest: residues. highest_charge: of precursors.
    """

    kind = "fragments"
    batch = FragmentBatch
    has_conditions = True  # charge, collision energy and instrument of each spectrum
    target = "fragments"

    def __init__(
        self,
        source: FragmentSource,
        tokenizer,
        channels: Sequence[str],
        split: Mapping,
        shortest: int,
        longest: int,
        highest_charge: int,
        modifications: str = "all",
        modification: str | None = None,
        exclude=None,
        **loading: Unpack[Loading],
    ):
        super().__init__(split, **loading)
        check_split_keys(split, (*Peptides.keys, *Peptides.derived))
        if modifications not in KEPT:
            raise ValueError(f"modifications={modifications} must be one of {', '.join(KEPT)}")
        if not 2 <= shortest <= longest:
            raise ValueError(
                f"shortest={shortest} and longest={longest} must be 2 or more residues, and shortest <= longest"
            )
        if not 1 <= highest_charge <= CHARGES:
            raise ValueError(f"highest_charge={highest_charge} must be from 1 to {CHARGES}")
        self.source = source
        self.tokenizer = tokenizer
        self.channels = channels_of(channels)
        self.classes = [channel.name for channel in self.channels]
        self.kept, self.modification = modifications, modification
        self.exclude = exclude
        self.shortest, self.longest, self.highest_charge = shortest, longest, highest_charge
        self.max_length = longest + 2

    def _recipe(self) -> dict:
        return {
            "layout": LAYOUT,
            "source": self.source.fingerprint(),
            "tokenizer": self.tokenizer.to_config(),
            "channels": self.classes,
            "kept": [self.kept, self.modification],
            "exclude": self.exclude.fingerprint() if self.exclude else None,
            "sizes": [self.shortest, self.longest, self.highest_charge],
        }

    # ---------------------------------------------------------------- preparation

    def _write(self, writer: StoreWriter) -> None:
        report = DropReport()
        peptides = Peptides(self.tokenizer)
        excluded = self.exclude.keys() if self.exclude else frozenset()
        for table in self.source.chunks():
            writer.append(self._columns(table, peptides, excluded, report))
        if not writer.rows:
            raise InputError(f"data: no spectrum is left\n{report}")
        writer.manifest = {"recipe": self._recipe(), "drops": report.to_dict()}
        writer.manifest["compositions"] = peptides.compositions.tolist()
        log.info("prepared %s: %s of %s spectra left", self.folder, f"{report.left:,}", f"{report.records:,}")

    def _columns(self, table: FragmentTable, peptides: Peptides, excluded: frozenset, report: DropReport) -> dict:
        report.records += len(table)
        sequences = peptides.read(["" if row in table.problems else text for row, text in enumerate(table.texts)])
        unreadable = {row: rule for rule, rows in sequences.dropped.items() for row in rows} | table.problems
        bounds = np.searchsorted(table.row, np.arange(len(table) + 1))
        spectra: dict[int, np.ndarray] = {}
        for row in range(len(table)):
            letters, text = sequences.keys["sequence"][row] or "", sequences.texts[row] or ""
            rule = unreadable.get(row) or self._drop_rule(letters, text, excluded, table, row)
            if rule is None:
                intensities = self._intensities(text, table, row, slice(bounds[row], bounds[row + 1]))
                rule = None if intensities.max() > 0 else "no fragment of the channels"
            if rule is None:
                spectra[row] = intensities
            else:
                report.add(rule, [table.places[row]])
        rows = np.array(list(spectra), np.int64)
        tokens = [ids for row, ids in enumerate(sequences.tokens) if row in spectra and ids is not None]
        numbers = [ids for row, ids in enumerate(sequences.modifications or ()) if row in spectra and ids is not None]
        return {
            "id": [table.ids[row] for row in rows],
            "text": [sequences.texts[row] for row in rows],
            "tokens": Ragged.pack(tokens, np.uint8),
            "modifications": Ragged.pack(numbers, np.uint16),
            "sequence": [sequences.keys["sequence"][row] for row in rows],
            "proforma": [sequences.keys["proforma"][row] for row in rows],
            "charge": np.asarray(table.charge)[rows].astype(np.int64),
            "energy": np.asarray(table.energy, float)[rows],
            "instrument": [table.instrument[row] for row in rows],
            "intensities": Ragged.pack([spectra[row].ravel() for row in rows], np.float32),
        }

    def _drop_rule(self, letters: str, text: str, excluded: frozenset, table: FragmentTable, row: int) -> str | None:
        """Why a readable record is dropped, or None."""
        if not self.shortest <= len(letters) <= self.longest:
            return f"peptide shorter than {self.shortest} or longer than {self.longest} residues"
        if not 1 <= table.charge[row] <= self.highest_charge:
            return f"charge not from 1 to {self.highest_charge}"
        if self.kept != "all":
            modified = "[" in text if self.modification is None else f"[{self.modification}]" in text
            if modified != (self.kept == "modified"):
                return f"peptide that is not {self.kept}"
        return "peptide held out elsewhere" if letters in excluded else None

    def _intensities(self, text: str, table: FragmentTable, row: int, fragments: slice) -> np.ndarray:
        """(L - 1, K) relative to the highest; IMPOSSIBLE if the peptide cannot form the fragment."""
        peptide = read_proforma(text)
        sites = len(peptide.letters) - 1
        out = np.zeros((sites, len(self.channels)), np.float32)
        series, number, loss = table.series[fragments], table.number[fragments], table.loss[fragments]
        for column, channel in enumerate(self.channels):
            matches = (series == "by".index(channel.series)) & (table.ion_charge[fragments] == channel.charge)
            same_loss = (loss == channel.loss) | ((loss == MODLOSS) & (channel.loss == "H3PO4"))
            matches &= same_loss & (number >= 1) & (number <= sites)
            site = number[matches] - 1 if channel.series == "b" else sites - number[matches]
            np.maximum.at(out[:, column], site, table.intensity[fragments][matches])
        can_form = possible(peptide, int(table.charge[row]), self.channels)
        out[~can_form] = 0
        highest = out.max(initial=0)
        out = out / highest if highest > 0 else out
        out[~can_form] = IMPOSSIBLE
        return out

    # ---------------------------------------------------------------- split

    def _keys(self) -> dict[str, np.ndarray]:
        names = dict.fromkeys(["sequence", *(self.split_by.get("keys") or ())])
        return {name: key_column(self.store, name) for name in names}

    def _grouping(self) -> dict[str, np.ndarray]:
        if not self.split_by.get("keys"):
            raise ConfigError("data.split needs `keys` that must not cross splits: sequence, sequence_il or proforma")
        return {name: key_column(self.store, name) for name in self.split_by["keys"]}

    def held_out_keys(self) -> frozenset:
        """The residue sequences of the validation and test peptides."""
        self.setup()
        return self.held_out(np.array(self.store.strings("sequence"), dtype=object))

    # ---------------------------------------------------------------- public access to rows

    def row_keys(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"peptide": text_keys(self.store.strings("sequence", rows))}

    def facts(self) -> dict:
        """Target and channels, as plain values."""
        return {"target": self.target, "classes": self.classes}

    def training_facts(self) -> dict:
        return {"sites": seen_sites(self.texts(self.split.rows("train")))}

    def evaluation_batches(self, split: str):
        """Batches of the rows of a split, in order."""
        dataset, lengths, rows = self._evaluation_data(split)
        plan = EpochPlan(lengths, self.tokens_per_batch, rows=rows, shuffle=False)
        return (dataset[key] for key in plan.epoch(0))

    def train_dataloader(self) -> DataLoader:
        rows = self.split.rows("train")
        return self._training(SpectraOfPeptides(self.store, len(self.channels)), self._lengths(rows), rows)

    def _evaluation_data(self, split: str) -> tuple[Dataset, np.ndarray, np.ndarray]:
        rows = self.split.rows(split)
        return SpectraOfPeptides(self.store, len(self.channels)), self._lengths(rows), rows


def predictable(
    sequences: Sequences, problems: Mapping[int, str], charges: np.ndarray, settings: Mapping
) -> dict[int, str]:
    """Row -> why a model trained with these settings of data cannot predict it. sequences: from `Peptides.read`."""
    reasons = {row: rule for rule, rows in sequences.dropped.items() for row in rows} | dict(problems)
    shortest, longest, highest = (settings[name] for name in ("shortest", "longest", "highest_charge"))
    for row, letters in enumerate(sequences.keys["sequence"]):
        if row in reasons or letters is None:
            continue
        if not shortest <= len(letters) <= longest:
            reasons[row] = f"{counted(len(letters), 'residues')}, but the model was trained on {shortest} to {longest}"
        elif not 1 <= charges[row] <= highest:
            charge = f"charge {charges[row]}" if charges[row] else "no charge"
            reasons[row] = f"{charge}, but the model was trained on charges 1 to {highest}"
    return reasons


class SpectraOfPeptides(Dataset):
    """Batches of peptides with acquisition conditions and intensities by BatchKey."""

    def __init__(self, store: Store, channels: int):
        self.store = store
        self.channels = channels
        compositions = store.manifest["compositions"]
        self.compositions = np.array(compositions, np.float32).reshape(len(compositions), len(ELEMENTS))
        instruments = store.strings("instrument")
        self.conditions = condition_vectors(store.array("charge"), store.array("energy"), instruments)

    def __getitem__(self, key: BatchKey) -> FragmentBatch:
        tokens, modifications, intensities = (
            self.store.ragged(name).take(key.rows) for name in ("tokens", "modifications", "intensities")
        )
        peptides = flat_peptides(tokens, modifications, self.compositions, self.conditions[key.rows])
        return FragmentBatch.of(peptides, intensities.values.reshape(-1, self.channels), key.rows)
