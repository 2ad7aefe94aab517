"""`trimer predict`: ranked molecules for the spectra of any file, one answer or one reason per spectrum."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path

from omegaconf import DictConfig

log = logging.getLogger(__name__)

KIND = "trimer.tasks.seq2seq.Seq2Seq"
CHUNK = 512  # spectra between two writes of the partial result


def main(cfg: DictConfig) -> None:
    """Read, clean, write molecules, and save a table that has a row for every spectrum of the input."""
    from trimer.predictions import PredictionFile

    target = PredictionFile(cfg.output, ranked=cfg.ranked)  # a wrong suffix or folder is said before the work

    from omegaconf import OmegaConf

    from trimer.build import build
    from trimer.checkpoint import changed, load
    from trimer.data.cleaning import clean_rows
    from trimer.data.readers import read_spectra
    from trimer.evaluation import neutral_masses
    from trimer.hardware import computing, place

    table = read_spectra(Path(cfg.input).expanduser())
    loaded = load(cfg.ckpt, kind=KIND)
    cleaning = OmegaConf.merge(loaded.contract["data"]["cleaning"], cfg.cleaning)
    generator = build(changed(loaded.contract["task"]["generator"], cfg.generator), seed=cfg.seed)
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

    with target.writing(table, reasons, cfg.candidates) as partial, computing(cfg.trainer):
        for start in range(0, len(cleaned), CHUNK):
            part = slice(start, start + CHUNK)
            written = generator.write(net, loaded.tokenizer, sources[part], cleaned["id"][part], masses[part])
            partial.add(dict(zip(kept[part].tolist(), written, strict=True)))
    print(target.summary())
