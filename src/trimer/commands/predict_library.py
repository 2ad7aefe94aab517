"""The part of `trimer predict` that writes a spectral library: fragments and retention times of a table of peptides."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from omegaconf import DictConfig

from trimer.errors import CheckpointError, ConfigError

log = logging.getLogger(__name__)

CHUNK = 128  # peptides of a batch
# Columns of a table of peptides that say how they are measured.
CONDITIONS = {
    "energy": ("nce", "collision_energy", "collision_energies", "collisionenergy", "energy"),
    "instrument": ("instrument", "instrument_types"),
}


def predict_library(cfg: DictConfig, loaded, source: Path) -> None:
    """A spectral library for the peptides of a table with their charges."""
    import numpy as np
    import torch

    from trimer.accelerators.hardware import computing, place
    from trimer.checkpoint import checkpoint_path
    from trimer.data.core.training_keys import sequence_keys
    from trimer.data.labelled.sequence_files import read_peptides
    from trimer.data.labelled.sequence_kinds import Peptides, flat
    from trimer.data.modules.fragment_data import predictable
    from trimer.data.peptides.peptide_tables import open_table
    from trimer.data.peptides.psm_quality import GENES, PROTEINS, first_column
    from trimer.evaluation.training_overlap import training_overlap
    from trimer.peptides.channels import channels_of, possible
    from trimer.peptides.conditions import condition_vectors
    from trimer.peptides.proforma import read_proforma
    from trimer.prediction.partial import Partial, asked_of
    from trimer.prediction.spectral_library import Entry, LibraryFile
    from trimer.training_facts import unseen_of_peptides

    data, channels = loaded.contract["data"], channels_of(loaded.contract["labels"]["classes"])
    table_file = open_table(source, None)
    wanted = CONDITIONS | {"proteins": PROTEINS, "genes": GENES}
    columns = {what: column for what, names in wanted.items() if (column := first_column(table_file, names))}
    table = read_peptides(source, "charge", cfg.column, cfg.id_column, [*columns.values()], **read_as(cfg, data))
    kind = Peptides(loaded.tokenizer)
    found = kind.read(table.texts)
    charges = np.array([int(text or 0) for text in table.labels["charge"]])
    reasons = predictable(found, table.problems, charges, data)
    beside = {what: table.columns[column] for what, column in columns.items()}
    energy, wrong = energies(beside.get("energy"), len(table), cfg.energy)
    reasons |= {row: reason for row, reason in wrong.items() if row not in reasons}
    instrument = beside.get("instrument") or [cfg.instrument] * len(table)
    warn_of_conditions(loaded.net, energy, instrument)
    reasons |= repeated(found.texts, charges, table.places, reasons)
    net = place(loaded.net, cfg.trainer)
    device = next(net.parameters()).device
    usable = [row for row in range(len(table)) if row not in reasons]

    def intensities(rows: list[int], mask: np.ndarray) -> np.ndarray:
        conditions = condition_vectors(charges[rows], energy[rows], [instrument[row] for row in rows])
        batch = flat(kind, found, rows, found.tokens, conditions).to(device)
        return net.answers(net(batch), batch, torch.from_numpy(mask).to(device)).cpu().numpy()

    if not cfg.retention:
        log.warning("the library has no retention times: name retention=<run that predicts them> to have them in it")
    marked = unseen_of_peptides(loaded, found.texts, usable)
    log.info("%s peptides, %s usable", f"{len(table):,}", f"{len(usable):,}")
    inputs = [charges, energy, instrument, table.ids, table.places, sorted(reasons.items()), beside]
    asked = asked_of(
        cfg, loaded.path, found.texts, *inputs, *([checkpoint_path(cfg.retention)] if cfg.retention else [])
    )
    letters = [found.keys["sequence"][row] for row in usable]
    overlap = training_overlap(loaded.training_keys, sequence_keys("peptides", letters))
    library = LibraryFile(cfg.output, channels)
    with Partial(cfg.output, asked) as partial:
        retention = _retention_times(cfg, found, kind, usable, partial) if cfg.retention else {}
        with library as target, computing(cfg.trainer), torch.inference_mode():
            for row, reason in reasons.items():
                target.refuse(row + 1, table.ids[row], table.texts[row], f"{table.places[row]}: {reason}")
            for start in range(0, len(usable), CHUNK):
                rows = usable[start : start + CHUNK]
                peptides = [read_proforma(found.texts[row]) for row in rows]
                masks = [possible(one, int(charges[row]), channels) for one, row in zip(peptides, rows, strict=True)]
                predicted = partial.once_array(f"fragments {start}", intensities, rows, np.concatenate(masks))
                parts = np.split(predicted, np.cumsum([len(mask) for mask in masks])[:-1])
                for row, peptide, part in zip(rows, peptides, parts, strict=True):
                    named = {what: beside[what][row] or "" for what in ("proteins", "genes") if what in beside}
                    measured = {"energy": float(energy[row]), "instrument": instrument[row] or ""}
                    known = {"retention": retention.get(row), "unseen": marked[row], **named, **measured}
                    target.add(Entry(peptide, int(charges[row]), part, **known))
    precursors = {"peptide": [found.texts[row] for row in usable], "charge": charges[usable].tolist()}
    listed = library.path.with_name(f"{library.path.stem}.in_training.csv")
    overlap.save_rows(listed, [table.ids[row] for row in usable], **precursors)
    print("\n".join([library.summary(), *overlap.lines("peptides"), f"  each peptide: {listed}"]))


def read_as(cfg: DictConfig, data: dict) -> dict[str, str | None]:
    """How the peptides of a table are written; what the tables of the training left out is put back, unless said.

    Not in a table that writes it: its plain residues are unmodified.
    """
    if data.get("entity", "peptides") != "peptides":
        return {}
    trained = (data.get("source") or {}).get("fixed")
    return {"notation": cfg.notation, "fixed": cfg.fixed, "left_out": trained or None}


def warn_of_conditions(net, energy, instrument: list[str | None]) -> None:
    """Where what is known of the measurement does not reach the model."""
    import numpy as np

    from trimer.peptides.conditions import KINDS, instrument_kind

    known = {name for name in instrument if name}
    if getattr(net.encoder, "conditions", None) is None:
        if known or not np.isnan(energy).all():
            log.warning("this model was not told charge, energy and instrument (model.conditions=false), and uses none")
        return
    if strange := sorted(name for name in known if instrument_kind(name) is None):
        log.warning("instrument %s is of no known kind (%s): taken as unknown", ", ".join(strange), ", ".join(KINDS))


def repeated(texts, charges, places, refused) -> dict[int, str]:
    """Row -> where the same peptide with the same charge stood before: a library holds it once."""
    first: dict[tuple, int] = {}
    again = {}
    for row, text in enumerate(texts):
        if row not in refused:
            earlier = first.setdefault((text, int(charges[row])), row)
            if earlier != row:
                again[row] = f"the same peptide and charge as {places[earlier]}"
    return again


def _retention_times(cfg: DictConfig, found, kind, rows: list[int], partial) -> dict[int, float]:
    """Row -> what the model of cfg.retention says of it."""
    import torch

    from trimer.accelerators.hardware import place
    from trimer.checkpoint import load
    from trimer.data.labelled.sequence_kinds import flat

    loaded = load(cfg.retention)
    labels = loaded.contract.get("labels", {})
    if labels.get("target") != "regression" or loaded.contract["data"].get("entity") != "peptides":
        raise CheckpointError(
            f"retention={cfg.retention} is no model of retention times of peptides: name a run of one"
        )
    net = place(loaded.net, cfg.trainer)
    device = next(net.parameters()).device

    @torch.inference_mode()
    def answers(some: list[int]) -> list[float]:
        batch = flat(kind, found, some, found.tokens).to(device)
        return net.answers(net(batch))[:, 0].tolist()

    times: dict[int, float] = {}
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        times |= dict(zip(some, partial.once(f"retention {start}", answers, some), strict=True))
    return times


def energies(texts: list[str | None] | None, count: int, default: float | None):
    """(n,) float64, the default or NaN where the table has none; and row -> why an energy cannot be used."""
    import numpy as np

    if default is not None and not (math.isfinite(float(default)) and float(default) >= 0):
        raise ConfigError(f"energy={default} must be 0 or more: a normalised collision energy, in percent")
    missing = math.nan if default is None else float(default)
    values, wrong = np.full(count, missing), {}
    for row, text in enumerate(texts or ()):
        try:
            value = missing if text is None else float(text)
        except ValueError:
            wrong[row] = f"collision energy {text} is no number"
            continue
        if value < 0 or math.isinf(value):
            wrong[row] = f"collision energy {text} is below 0 or infinite"
        else:
            values[row] = value
    return values, wrong
