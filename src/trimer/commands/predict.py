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
CHUNK = 128  # records of a line of the partial result, which a kill may cost


def main(cfg: DictConfig) -> None:
    """Read the checkpoint, and let it answer for every record of the input."""
    from trimer.accelerators.hardware import computing
    from trimer.checkpoint import load
    from trimer.prediction.library_formats import FORMATS
    from trimer.prediction.prediction_tables import SUFFIXES, PredictionFile, output_path
    from trimer.prediction.spectral_library import library_path

    words = f"the suffix must be one of {', '.join(SUFFIXES)}, or of a spectral library one of {', '.join(FORMATS)}"
    output_path(cfg.output, {*SUFFIXES, *FORMATS}, words)  # what cannot be written is reported before the work
    if cfg.candidates < 1:
        raise ConfigError(f"candidates={cfg.candidates} must be at least 1")
    source = Path(cfg.input).expanduser()
    if source.resolve() == Path(cfg.output).expanduser().resolve():
        raise InputError(f"output={cfg.output} would overwrite input={cfg.input}; name another file")
    computing(cfg.trainer)
    loaded = load(cfg.ckpt)
    if loaded.contract.get("labels", {}).get("target") == "fragments":
        from trimer.commands.predict_library import predict_library

        library_path(cfg.output)
        predict_library(cfg, loaded, source)
        return
    PredictionFile(cfg.output, (), "")
    if "labels" in loaded.contract:
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
    from trimer.accelerators.hardware import computing, place
    from trimer.build import build, check
    from trimer.checkpoint import changed
    from trimer.data.core.training_keys import text_keys, token_keys
    from trimer.data.modules.denoising import molecules_of_spectra
    from trimer.data.spectra.cleaning import clean_rows, warn_of_adducts
    from trimer.data.spectra.readers import read_spectra, spectrum_files
    from trimer.evaluation.training_overlap import training_overlap
    from trimer.prediction.partial import Partial, asked_of
    from trimer.prediction.prediction_tables import MoleculePredictions, spectrum_heads
    from trimer.training_facts import warn_of_unseen_spectra

    target = MoleculePredictions(cfg.output, cfg.ranked, cfg.candidates, cfg.tolerance_ppm, cfg.only_agreeing)
    if target.path.resolve() in [file.resolve() for file in spectrum_files(source)]:
        raise InputError(f"output={cfg.output} is among the files of input={cfg.input}; name another file")
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
    warn_of_adducts(steps.values(), loaded.tokenizer)
    cleaned, kept, reasons = clean_rows(table, steps)
    values, offsets = loaded.tokenizer.encode_spectra(cleaned)
    sources = [values[start:stop] for start, stop in pairwise(offsets)]
    measured = {"precursor_mz": cleaned["precursor_mz"], "adducts": cleaned["adduct"]}
    net = place(loaded.net, cfg.trainer)
    log.info("%s spectra, %s usable", f"{len(table):,}", f"{len(cleaned):,}")
    warn_of_unseen_spectra(loaded, cleaned["adduct"])
    heads = spectrum_heads(table)
    asked = asked_of(cfg, loaded.path, values, offsets, *measured.values(), heads, reasons)

    keys = {"molecule": text_keys([of_smiles or given for _, of_smiles, given in molecules_of_spectra(cleaned)])}
    overlap = training_overlap(loaded.training_keys, keys | {"spectrum": token_keys(sources)})
    overlap.add_to_heads(heads, kept.tolist())

    def answers(part: slice) -> list:
        own = {name: column[part] for name, column in measured.items()}
        written = generator.write(net, loaded.tokenizer, sources[part], **own)
        return [target.answers(row, result) for row, result in zip(kept[part].tolist(), written, strict=True)]

    with Partial(cfg.output, asked) as partial, target.writing(heads, reasons), computing(cfg.trainer):
        for start in range(0, len(cleaned), CHUNK):
            target.add(partial.once(f"spectra {start}", answers, slice(start, start + CHUNK)))
    print("\n".join([target.summary(), *overlap.lines(target.what)]))


def predict_labels(cfg: DictConfig, loaded, source: Path) -> None:
    """Labels for the molecules or proteins of a table, a SMILES file or a FASTA file."""
    import torch

    from trimer.accelerators.hardware import computing, place
    from trimer.commands.evaluate import thresholds_text
    from trimer.commands.predict_library import read_as
    from trimer.data.core.training_keys import sequence_keys
    from trimer.data.labelled.sequence_files import read_sequences
    from trimer.data.labelled.sequence_kinds import KINDS, flat, shortened
    from trimer.evaluation.training_overlap import training_overlap
    from trimer.prediction.partial import Partial, asked_of
    from trimer.prediction.prediction_tables import LabelPredictions
    from trimer.training_facts import unseen_of_peptides

    labels, data = loaded.contract["labels"], loaded.contract["data"]
    thresholds, of_peptides = loaded.net.thresholds, data["entity"] == "peptides"
    beside = ("unseen",) if of_peptides else ()
    target = LabelPredictions(cfg.output, labels["target"], labels["classes"], thresholds, beside)
    kind = KINDS[data["entity"]](loaded.tokenizer)
    table = read_sequences(source, data["entity"], cfg.column, cfg.id_column, **read_as(cfg, data))
    found = kind.read(table.texts)
    kind.spelling.warn()
    broken = found.reasons() | table.problems
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
    if len(table) and not usable:
        log.warning(
            "%s: none of %s rows could be read as %s; the suffix tells the format (.csv, .tsv, .fasta, .smi), "
            "and column=<name> the column of a table",
            source,
            f"{len(table):,}",
            data["entity"],
        )

    heads = [{"id": name, "sequence": text} for name, text in zip(table.ids, table.texts, strict=True)]
    for row, sites in (unseen_of_peptides(loaded, found.texts, usable) if of_peptides else {}).items():
        heads[row]["unseen"] = sites
    asked = asked_of(cfg, loaded.path, heads, reasons, tokens)
    known = found.texts if data["entity"] == "proteins" else found.keys[kind.keys[0]]
    overlap = training_overlap(loaded.training_keys, sequence_keys(data["entity"], [known[row] for row in usable]))
    overlap.add_to_heads(heads, usable)

    def answers(rows: list[int]) -> list:
        batch = flat(kind, found, rows, tokens).to(device)
        predicted = net.answers(net(batch)).cpu()
        sizes = [size - 2 for size in batch.sizes] if labels["target"] == "residue" else 1
        return [target.answers(row, own.numpy()) for row, own in zip(rows, predicted.split(sizes), strict=True)]

    with (
        Partial(cfg.output, asked) as partial,
        target.writing(heads, reasons),
        computing(cfg.trainer),
        torch.inference_mode(),
    ):
        for start in range(0, len(usable), CHUNK):
            target.add(partial.once(f"sequences {start}", answers, usable[start : start + CHUNK]))
    print("\n".join([target.summary(), *overlap.lines(target.what)]))
    if labels["target"] != "regression":
        print(thresholds_text(loaded))


def writes_molecules(data: dict) -> bool:
    """Whether a model of these data has learnt to write molecules: the data had some as labels."""
    from trimer.build import check_allowed, located

    check_allowed(data["_target_"], "data")
    return getattr(located(data["_target_"], "data"), "has_labels", True)


def changed_cleaning(trained: dict, changes: DictConfig) -> DictConfig:
    """The steps of the checkpoint with the changes; a step that it does not have needs a target."""
    from omegaconf import OmegaConf

    from trimer.suggestions import did_you_mean

    for name, change in changes.items():
        settings = OmegaConf.is_dict(change)
        if not (settings and "_target_" in change) and not (trained.get(name) and (settings or change is None)):
            hint = "" if name in trained else did_you_mean(name, trained)
            raise ConfigError(
                f"cleaning.{name} is no step of this checkpoint that could be changed{hint}; its steps are "
                f"{', '.join(key for key, step in trained.items() if step)}, and a new one needs a _target_"
            )
    return OmegaConf.merge({"cleaning": trained}, {"cleaning": changes}).cleaning
