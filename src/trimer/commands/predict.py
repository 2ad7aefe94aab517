"""`trimer predict`: molecules for spectra, or labels for molecules and proteins; an answer or a reason for each record.

What is predicted is the checkpoint's to say.
"""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path

from omegaconf import DictConfig

from trimer.errors import CheckpointError, ConfigError, InputError

log = logging.getLogger(__name__)

WRITES_MOLECULES = "trimer.tasks.seq2seq.Seq2Seq"
CHUNK = 128  # records between two writes of the partial result
# Columns of a table of peptides that say how they are measured.
TOLD = {"energy": ("nce", "collision_energy", "energy"), "instrument": ("instrument",)}


def main(cfg: DictConfig) -> None:
    """Read the checkpoint, and let it answer for every record of the input."""
    from trimer.checkpoint import load
    from trimer.hardware import computing
    from trimer.predictions import PredictionFile

    library = Path(cfg.output).suffix.lower() == ".tsv"  # of fragments, and of nothing else
    if not library:
        PredictionFile(cfg.output, (), "")  # what cannot be written is said before the work
    if cfg.candidates < 1:
        raise ConfigError(f"candidates={cfg.candidates} must be at least 1")
    source = Path(cfg.input).expanduser()
    if source.resolve() == Path(cfg.output).expanduser().resolve():
        raise InputError(f"output={cfg.output} would overwrite input={cfg.input}; name another file")
    computing(cfg.trainer)
    loaded = load(cfg.ckpt)
    if library != (loaded.contract.get("labels", {}).get("target") == "fragments"):
        what = "a spectral library is written by a model of fragments" if library else "this model writes a library"
        raise ConfigError(f"output={cfg.output}: {what}; name a {'.csv or .parquet' if library else '.tsv'} file")
    if library:
        predict_fragments(cfg, loaded, source)
    elif "labels" in loaded.contract:
        predict_labels(cfg, loaded, source)
    elif loaded.contract["kind"] == WRITES_MOLECULES and writes_molecules(loaded.contract["data"]):
        predict_molecules(cfg, loaded, source)
    else:
        raise CheckpointError(
            f"{loaded.path} was trained to restore noisy or masked sequences, not to predict: fine-tune it with "
            "trimer train data=<labelled data> ckpt=..., and predict with that run"
        )


def predict_molecules(cfg: DictConfig, loaded, source: Path) -> None:
    """Ranked molecules for the spectra of a file; each is cleaned as in training."""
    from trimer.build import build, check
    from trimer.checkpoint import changed
    from trimer.data.cleaning import clean_rows
    from trimer.data.readers import read_spectra
    from trimer.evaluation.molecules import neutral_masses
    from trimer.hardware import computing, place
    from trimer.predictions import MoleculePredictions, spectrum_heads

    target = MoleculePredictions(cfg.output, cfg.ranked, cfg.candidates)
    table = read_spectra(source)
    cleaning = changed_cleaning(loaded.contract["data"]["cleaning"], cfg.cleaning)
    settings = changed(loaded.contract["task"]["generator"], cfg.generator)
    check(settings, "generator")  # here, where the key is known
    generator = build(settings, seed=cfg.seed)
    steps = {
        name: step
        for name, step in build(cleaning).items()
        if step is not None and not step.needs_label and not step.training_only
    }
    cleaned, kept, reasons = clean_rows(table, steps)
    values, offsets = loaded.tokenizer.encode_spectra(cleaned)
    sources = [values[start:stop] for start, stop in pairwise(offsets)]
    masses = neutral_masses(cleaned)
    net = place(loaded.net, cfg.trainer)
    log.info("%s spectra, %s usable", f"{len(table):,}", f"{len(cleaned):,}")

    with target.writing(spectrum_heads(table), reasons), computing(cfg.trainer):
        for start in range(0, len(cleaned), CHUNK):
            part = slice(start, start + CHUNK)
            written = generator.write(net, loaded.tokenizer, sources[part], cleaned["id"][part], masses[part])
            target.add(dict(zip(kept[part].tolist(), written, strict=True)))
    print(target.summary())


def predict_labels(cfg: DictConfig, loaded, source: Path) -> None:
    """Labels for the molecules or proteins of a table, a SMILES file or a FASTA file."""
    import torch

    from trimer.data.sequence_kinds import KINDS, flat, shortened
    from trimer.data.sources.sequence_files import read_sequences
    from trimer.hardware import computing, place
    from trimer.predictions import LabelPredictions

    labels, data = loaded.contract["labels"], loaded.contract["data"]
    target = LabelPredictions(cfg.output, labels["target"], labels["classes"])
    kind = KINDS[data["entity"]](loaded.tokenizer)
    table = read_sequences(source, data["entity"], cfg.column, cfg.id_column, **read_as(cfg, data))
    found = kind.read(table.texts)
    broken = {row: rule for rule, rows in found.dropped.items() for row in rows} | table.problems
    reasons = [f"{place}: {broken[row]}" if row in broken else None for row, place in enumerate(table.places)]
    tokens = [None if reason else ids for ids, reason in zip(found.tokens, reasons, strict=True)]
    for row, ids in enumerate(tokens):
        if ids is not None and len(ids) > data["max_length"]:
            tokens[row] = shortened(ids, data["max_length"], data["too_long"])
            if tokens[row] is None:
                reasons[row] = f"{table.places[row]}: {len(ids):,} tokens, and the model was trained on at most "
                reasons[row] += f"{data['max_length']:,}"
    usable = [row for row, ids in enumerate(tokens) if ids is not None]
    net = place(loaded.net, cfg.trainer)
    device = next(net.parameters()).device
    log.info("%s sequences, %s usable", f"{len(table):,}", f"{len(usable):,}")

    heads = [{"id": name, "sequence": text} for name, text in zip(table.ids, table.texts, strict=True)]
    with target.writing(heads, reasons), computing(cfg.trainer), torch.inference_mode():
        for start in range(0, len(usable), CHUNK):
            rows = usable[start : start + CHUNK]
            batch = flat(kind, found, rows, tokens).to(device)
            answers = net.answers(net(batch)).cpu()
            sizes = [size - 2 for size in batch.sizes] if labels["target"] == "residue" else 1
            target.add({row: said.numpy() for row, said in zip(rows, answers.split(sizes), strict=True)})
    print(target.summary())


def predict_fragments(cfg: DictConfig, loaded, source: Path) -> None:
    """A spectral library for the peptides of a table with their charges."""
    import numpy as np
    import torch

    from trimer.data.fragments import predictable
    from trimer.data.readers.peptide_tables import open_table
    from trimer.data.sequence_kinds import Peptides, flat
    from trimer.data.sources.peptide_layouts import first_column
    from trimer.data.sources.sequence_files import read_peptides
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
    print(target.summary())


def read_as(cfg: DictConfig, data: dict) -> dict[str, str | None]:
    """How the peptides of a table are written; what the model's own had left out is pointed at."""
    trained = (data.get("source") or {}).get("fixed")
    if trained and not cfg.fixed:
        log.warning(
            "the model has learnt from tables with data.source.fixed=%s: say fixed= if this one needs it", trained
        )
    return {"notation": cfg.notation, "fixed": cfg.fixed}


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


def writes_molecules(data: dict) -> bool:
    """Whether a model of these data has learnt to write molecules: the data had some as labels."""
    from trimer.build import located, named

    named(data["_target_"], "data")
    return getattr(located(data["_target_"], "data"), "has_labels", True)


def changed_cleaning(trained: dict, changes: DictConfig) -> DictConfig:
    """The steps of the checkpoint with the changes; a step that it does not have needs a target."""
    from omegaconf import OmegaConf

    from trimer.nearest import did_you_mean

    for name, change in changes.items():
        settings = OmegaConf.is_dict(change)
        if not (settings and "_target_" in change) and not (trained.get(name) and (settings or change is None)):
            hint = "" if name in trained else did_you_mean(name, trained)
            raise ConfigError(
                f"cleaning.{name} is no step of this checkpoint that could be changed{hint}; its steps are "
                f"{', '.join(key for key, step in trained.items() if step)}, and a new one needs a _target_"
            )
    return OmegaConf.merge({"cleaning": trained}, {"cleaning": changes}).cleaning
