"""Predicts fragment intensities and retention times of peptides: the precursors of a spectral library.

One row per precursor: row, id, peptide (ProForma), charge, intensities (of L - 1 cleavage sites by K channels,
relative to the highest), retention (in the unit of its model), proteins, genes, energy, instrument, unseen,
in_training, reason.
"""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from trimer.accelerators.hardware import place
from trimer.counts import counted
from trimer.data.core.label_table import LabelTable
from trimer.data.core.training_keys import sequence_keys
from trimer.data.labelled.sequence_files import peptide_chunks, read_as
from trimer.data.labelled.sequence_kinds import ModelInput, Peptides, flat, model_inputs
from trimer.data.modules.fragment_data import predictable
from trimer.data.peptides.peptide_tables import open_table
from trimer.data.peptides.psm_quality import GENES, PROTEINS, first_column
from trimer.data.text.file_kinds import check_kind
from trimer.errors import CheckpointError, ConfigError
from trimer.evaluation.training_overlap import training_overlap
from trimer.peptides.channels import channels_of, possible
from trimer.peptides.conditions import CONDITION_COLUMNS, KINDS, condition_vectors, instrument_kind
from trimer.peptides.proforma import read_proforma
from trimer.prediction.pages import is_page, page_settings
from trimer.prediction.prediction_tables import PredictionFile
from trimer.prediction.predictor import Predictor, Records
from trimer.prediction.spectral_library import LibraryFile
from trimer.reporting.prediction_page import HTML, PeptidePage
from trimer.training_facts import unseen_sites_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.checkpoint import Loaded

log = logging.getLogger(__name__)

# Columns of a peptide table that are copied to the library, or describe the measurement.
TABLE_COLUMNS = {
    "energy": CONDITION_COLUMNS["energy"],
    "instrument": CONDITION_COLUMNS["instrument"],
    "proteins": PROTEINS,
    "genes": GENES,
}


class Precursor(NamedTuple):
    """The model inputs of a peptide with a charge. energy: normalised collision energy in percent, NaN if unknown."""

    sequence: ModelInput
    peptide: str
    charge: int
    energy: float
    instrument: str | None


class FragmentPredictor(Predictor):
    """Predicts fragments of peptides, and retention times if `cfg.retention` names a model that predicts them."""

    plural = "peptides"
    libraries = ("tsv", "msp")
    each_once = True  # a library holds each precursor once; a later one has a reason in place of a prediction
    columns = (
        "row",
        "id",
        "sequence",
        "peptide",
        "charge",
        "intensities",
        "retention",
        "proteins",
        "genes",
        "energy",
        "instrument",
        "unseen",
        "in_training",
        "reason",
    )

    def __init__(self, loaded: Loaded, cfg: DictConfig):
        super().__init__(loaded, cfg)
        if cfg.energy is not None and not (math.isfinite(cfg.energy) and cfg.energy >= 0):
            raise ConfigError(f"energy={cfg.energy} must be 0 or more: a normalised collision energy, in percent")
        self.data = loaded.contract["data"]
        self.channels = channels_of(loaded.contract["labels"]["classes"])
        self.kind = Peptides(loaded.tokenizer)
        self.retention: Any = None
        if cfg.retention:
            model = retention_model(cfg.retention)
            self.checkpoints.append(model.path)
            self.retention = place(model.net, cfg.trainer)
        else:
            log.warning("the library will have no retention times: set retention=<run that predicts them> to add them")

    def writer(self, output: str | Path) -> LibraryFile | PredictionFile:
        if is_page(self.cfg):
            page = PeptidePage(**page_settings(self, "Predicted fragments"), channels=self.channels)
            return PredictionFile(output, self.columns, self.plural, {HTML: page})
        return LibraryFile(output, self.channels)

    def plotter(self) -> Callable[..., Any]:
        from trimer.results.plots import plot_fragments

        return functools.partial(plot_fragments, channels=self.channels)

    def read(self, path: Path) -> Iterator[Records]:
        check_kind(path, "peptides")
        table_file = open_table(path, None)
        columns = {name: column for name, names in TABLE_COLUMNS.items() if (column := first_column(table_file, names))}
        options = read_as(self.cfg, self.data)
        chunks = peptide_chunks(path, "charge", self.cfg.column, self.cfg.id_column, [*columns.values()], **options)
        table = LabelTable.concatenate(list(chunks))  # the whole table: a library holds each precursor once
        yield self._precursors(table, {name: table.columns[column] for name, column in columns.items()})

    def records(self, values: Any) -> Records:
        from trimer.objects import sequences_of

        cfg = self.cfg
        table = sequences_of(values, "peptides", cfg.column, cfg.id_column, **read_as(cfg, self.data))
        table.labels.setdefault("charge", [None] * len(table))
        return self._precursors(table, {name: table.columns[name] for name in TABLE_COLUMNS if name in table.columns})

    def _precursors(self, table: LabelTable, columns: Mapping[str, list[str | None]]) -> Records:
        """The usable precursors, and the reasons of the others. columns: by the names of TABLE_COLUMNS."""
        sequences = self.kind.read(table.texts)
        charges = np.array([int(text or 0) for text in table.labels["charge"]], np.int64)
        energy, unusable = energies(columns.get("energy"), len(table), self.cfg.energy)
        instrument = columns.get("instrument") or [self.cfg.instrument] * len(table)
        self._warn_of_conditions(energy, instrument)
        problems = unusable | predictable(sequences, table.problems, charges, self.data)
        if self.each_once:
            problems |= duplicates(sequences.texts, charges, table.places, problems)
        usable = [row for row in range(len(table)) if row not in problems]
        log.info("%s, %s usable", counted(len(table), "peptides"), f"{len(usable):,}")
        unseen = unseen_sites_of(self.loaded, sequences.texts, usable)
        heads: list[dict] = []
        for row, (name, text) in enumerate(zip(table.ids, table.texts, strict=True)):
            copied = {column: columns[column][row] or "" for column in ("proteins", "genes") if column in columns}
            measured = {"energy": float(energy[row]), "instrument": instrument[row] or ""}
            peptide = {"peptide": sequences.texts[row], "charge": int(charges[row]), "unseen": unseen.get(row, "")}
            heads.append({"id": name, "sequence": text, **peptide, **measured, **copied})
        identities = self.kind.identities(sequences)
        keys = sequence_keys("peptides", [identities[row] for row in usable])
        overlap = training_overlap(self.loaded.training_keys, keys)
        overlap.add_to_heads(heads, usable)
        reasons = [f"{place}: {problems[row]}" if row in problems else None for row, place in enumerate(table.places)]
        tokens = {row: ids for row in usable if (ids := sequences.tokens[row]) is not None}
        inputs = {
            row: Precursor(ids, sequences.texts[row] or "", int(charges[row]), float(energy[row]), instrument[row])
            for row, ids in model_inputs(self.kind, sequences, tokens).items()
        }
        return Records(heads, reasons, usable, inputs, overlap)

    def tokens_of(self, value: Precursor) -> int:
        return len(value.sequence.tokens)

    def predict_chunk(self, inputs: Sequence[Precursor]) -> list[list[dict]]:
        sequences, peptides, charges, energy, instruments = zip(*inputs, strict=True)
        masks = [
            possible(read_proforma(peptide), charge, self.channels)
            for peptide, charge in zip(peptides, charges, strict=True)
        ]
        conditions = condition_vectors(np.array(charges), np.array(energy), list(instruments))
        batch = flat(sequences, conditions).to(self.device)
        mask = torch.from_numpy(np.concatenate(masks)).to(self.device)
        intensities = self.net.predictions(self.net(batch), batch, mask).cpu().numpy()
        spectra = np.split(intensities, np.cumsum([len(mask) for mask in masks])[:-1])
        times = self._retention_times(sequences)
        return [
            [{"intensities": spectrum.tolist(), "retention": time}]
            for spectrum, time in zip(spectra, times, strict=True)
        ]

    def _retention_times(self, sequences: Sequence[ModelInput]) -> list[float | None]:
        if self.retention is None:
            return [None] * len(sequences)
        batch = flat(sequences).to(self.device)
        return self.retention.predictions(self.retention(batch))[:, 0].tolist()

    def _warn_of_conditions(self, energy: np.ndarray, instrument: Sequence[str | None]) -> None:
        """Warn if the model ignores measurement conditions, or if an instrument is unknown."""
        instruments = {name for name in instrument if name}
        if getattr(self.loaded.net.encoder, "conditions", None) is None:
            if instruments or not np.isnan(energy).all():
                log.warning(
                    "this model ignores charge, energy and instrument: it was trained with model.conditions=false"
                )
            return
        if unknown := sorted(name for name in instruments if instrument_kind(name) is None):
            log.warning(
                "unknown instruments: %s; the model treats them as unspecified (known: %s)",
                ", ".join(unknown),
                ", ".join(KINDS),
            )


def duplicates(
    texts: Sequence[str | None], charges: np.ndarray, places: Sequence[str], problems: Mapping[int, str]
) -> dict[int, str]:
    """Row -> the reason that an earlier row has the same peptide and charge: a library holds each once."""
    first: dict[tuple, int] = {}
    reasons = {}
    for row, text in enumerate(texts):
        if row not in problems:
            earlier = first.setdefault((text, int(charges[row])), row)
            if earlier != row:
                reasons[row] = f"the same peptide and charge as {places[earlier]}"
    return reasons


def retention_model(path: str) -> Loaded:
    """The checkpoint that predicts retention times; CheckpointError if it predicts something else."""
    from trimer.checkpoint import load

    loaded = load(path)
    labels = loaded.contract.get("labels", {})
    if labels.get("target") != "regression" or loaded.contract["data"].get("entity") != "peptides":
        raise CheckpointError(
            f"retention={path} does not predict retention times of peptides: give a run that was trained on peptides "
            "with data.target=regression"
        )
    return loaded


def energies(
    texts: Sequence[str | None] | None, count: int, default: float | None
) -> tuple[np.ndarray, dict[int, str]]:
    """(n,) float64, the default or NaN if the table has none; and row -> the reason why an energy cannot be used."""
    missing = math.nan if default is None else float(default)
    values, reasons = np.full(count, missing), {}
    for row, text in enumerate(texts or ()):
        try:
            value = missing if text is None else float(text)
        except ValueError:
            reasons[row] = f"collision energy {text} is not a number"
            continue
        if value < 0 or math.isinf(value):
            reasons[row] = f"collision energy {text} is below 0 or infinite"
        else:
            values[row] = value
    return values, reasons
