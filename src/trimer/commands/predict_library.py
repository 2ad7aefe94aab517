"""The part of `trimer predict` that writes a spectral library: fragments and retention times of a table of peptides."""

from __future__ import annotations

import logging
from pathlib import Path

from omegaconf import DictConfig

from trimer.errors import CheckpointError

log = logging.getLogger(__name__)

CHUNK = 128  # peptides of a batch
# Columns of a table of peptides that say how they are measured.
TOLD = {"energy": ("nce", "collision_energy", "energy"), "instrument": ("instrument",)}


def predict_library(cfg: DictConfig, loaded, source: Path) -> None:
    """A spectral library for the peptides of a table with their charges."""
    import numpy as np
    import torch

    from trimer.data.fragments import predictable
    from trimer.data.readers.peptide_tables import open_table
    from trimer.data.sequence_kinds import Peptides, flat
    from trimer.data.sources.peptide_layouts import first_column
    from trimer.data.sources.sequence_files import read_peptides
    from trimer.data.training_keys import sequence_keys
    from trimer.evaluation.training_overlap import training_overlap
    from trimer.hardware import computing, place
    from trimer.peptides.channels import channels_of, possible
    from trimer.peptides.conditions import condition_vectors
    from trimer.peptides.proforma import read_proforma
    from trimer.spectral_library import LibraryFile

    data, channels = loaded.contract["data"], channels_of(loaded.contract["labels"]["classes"])
    table_file = open_table(source, None)
    told = {name: first_column(table_file, names) for name, names in TOLD.items()}
    columns = list(filter(None, told.values()))
    table = read_peptides(source, "charge", cfg.column, cfg.id_column, columns, **read_as(cfg, data))
    kind = Peptides(loaded.tokenizer)
    found = kind.read(table.texts)
    charges = np.array([int(text or 0) for text in table.labels["charge"]])
    reasons = predictable(found, table.problems, charges, data)
    energy = _numbers(table.columns.get(told["energy"]), len(table), cfg.energy)
    instrument = table.columns.get(told["instrument"]) or [cfg.instrument] * len(table)
    warn_of_conditions(loaded.net, energy, instrument)
    reasons |= repeated(found.texts, charges, table.places, reasons)
    net = place(loaded.net, cfg.trainer)
    device = next(net.parameters()).device
    usable = [row for row in range(len(table)) if row not in reasons]
    retention = _retention_times(cfg, found, kind, usable) if cfg.retention else {}
    log.info("%s peptides, %s usable", f"{len(table):,}", f"{len(usable):,}")
    letters = [found.keys["sequence"][row] for row in usable]
    overlap = training_overlap(loaded.training_keys, sequence_keys("peptides", letters))
    with LibraryFile(cfg.output, channels) as target, computing(cfg.trainer), torch.inference_mode():
        for row, reason in reasons.items():
            target.refuse(row + 1, table.ids[row], table.texts[row], f"{table.places[row]}: {reason}")
        for start in range(0, len(usable), CHUNK):
            rows = usable[start : start + CHUNK]
            conditions = condition_vectors(charges[rows], energy[rows], [instrument[row] for row in rows])
            batch = flat(kind, found, rows, found.tokens, conditions).to(device)
            masks = [possible(read_proforma(found.texts[row]), int(charges[row]), channels) for row in rows]
            said = net.answers(net(batch), batch, torch.from_numpy(np.concatenate(masks)).to(device)).cpu().numpy()
            parts = np.split(said, np.cumsum([len(mask) for mask in masks])[:-1])
            for row, part in zip(rows, parts, strict=True):
                target.add(found.texts[row], int(charges[row]), part, retention.get(row))
    peptides = {"peptide": [found.texts[row] for row in usable], "charge": charges[usable].tolist()}
    beside = target.path.with_name(f"{target.path.stem}.in_training.csv")
    overlap.save_rows(beside, [table.ids[row] for row in usable], **peptides)
    print("\n".join([target.summary(), *overlap.lines("peptides"), f"  each peptide: {beside}"]))


def read_as(cfg: DictConfig, data: dict) -> dict[str, str | None]:
    """How the peptides of a table are written; what the tables of the training left out is put back, unless said."""
    if data.get("entity", "peptides") != "peptides":
        return {}
    trained = (data.get("source") or {}).get("fixed")
    if trained and cfg.fixed is None:
        log.info("fixed=%s, as in the training: residues without a modification get it; fixed='' adds none", trained)
    return {"notation": cfg.notation, "fixed": (trained if cfg.fixed is None else cfg.fixed) or None}


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


def _retention_times(cfg: DictConfig, found, kind, rows: list[int]) -> dict[int, float]:
    """Row -> what the model of cfg.retention says of it."""
    import torch

    from trimer.checkpoint import load
    from trimer.data.sequence_kinds import flat
    from trimer.hardware import place

    loaded = load(cfg.retention)
    labels = loaded.contract.get("labels", {})
    if labels.get("target") != "regression" or loaded.contract["data"].get("entity") != "peptides":
        raise CheckpointError(
            f"retention={cfg.retention} is no model of retention times of peptides: name a run of one"
        )
    net = place(loaded.net, cfg.trainer)
    times: dict[int, float] = {}
    with torch.inference_mode():
        for start in range(0, len(rows), CHUNK):
            some = rows[start : start + CHUNK]
            batch = flat(kind, found, some, found.tokens).to(next(net.parameters()).device)
            times |= dict(zip(some, net.answers(net(batch))[:, 0].tolist(), strict=True))
    return times


def _numbers(texts: list[str | None] | None, count: int, default: float | None):
    """(n,) float64; the default, or NaN, where there is no number."""
    import numpy as np

    missing = np.nan if default is None else float(default)
    if texts is None:
        return np.full(count, missing)
    values = []
    for text in texts:
        try:
            values.append(missing if text is None else float(text))
        except ValueError:
            values.append(missing)
    return np.array(values)
