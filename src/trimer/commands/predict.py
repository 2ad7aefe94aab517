"""`trimer predict`: ranked molecules for the spectra of any file, one answer or one reason per spectrum."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path

from omegaconf import DictConfig

from trimer.errors import CheckpointError, ConfigError, InputError

log = logging.getLogger(__name__)

KIND = "trimer.tasks.seq2seq.Seq2Seq"
CHUNK = 128  # spectra between two writes of the partial result


def main(cfg: DictConfig) -> None:
    """Read, clean, write molecules, and save a table that has a row for every spectrum of the input."""
    from trimer.predictions import PredictionFile

    target = PredictionFile(cfg.output, cfg.ranked, cfg.candidates)  # what cannot be written is said before the work
    source = Path(cfg.input).expanduser()
    if source.resolve() == target.path.resolve():
        raise InputError(f"output={cfg.output} would overwrite the spectra of input={cfg.input}; name another file")

    from trimer.build import build, check
    from trimer.checkpoint import changed, load
    from trimer.data.cleaning import clean_rows
    from trimer.data.readers import read_spectra
    from trimer.evaluation.molecules import neutral_masses
    from trimer.hardware import computing, place

    precision = computing(cfg.trainer)
    table = read_spectra(source)
    loaded = load(cfg.ckpt, kind=KIND)
    if not writes_molecules(loaded.contract["data"]):
        raise CheckpointError(
            f"{loaded.path} was trained to restore noisy sequences, not to write molecules for spectra: fine-tune it "
            "with trimer train data=<spectra> ckpt=..., and predict with that run"
        )
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

    with target.writing(table, reasons) as partial, precision:
        for start in range(0, len(cleaned), CHUNK):
            part = slice(start, start + CHUNK)
            written = generator.write(net, loaded.tokenizer, sources[part], cleaned["id"][part], masses[part])
            partial.add(dict(zip(kept[part].tolist(), written, strict=True)))
    print(target.summary())


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
