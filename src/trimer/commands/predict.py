"""`trimer predict`: molecules for spectra, labels for sequences, or a spectral library for peptides.

The checkpoint decides what is predicted, the suffix of the output whether it is a table, a library, a page or an SDF.
Every record of the input gets a prediction or a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from trimer.commands.next_steps import suggest, word
from trimer.errors import InputError
from trimer.examples import example

if TYPE_CHECKING:
    from trimer.evaluation.training_overlap import TrainingOverlap
    from trimer.prediction.predictor import Records
    from trimer.studies.study import Study


def main(cfg: DictConfig) -> None:
    """Predict every record of `cfg.input` and write the file `cfg.output`."""
    from trimer.accelerators.hardware import computing
    from trimer.evaluation.training_overlap import merged
    from trimer.prediction.library_formats import FORMATS
    from trimer.prediction.partial import Partial, dependencies_of
    from trimer.prediction.prediction_tables import SUFFIXES, output_path
    from trimer.prediction.predictor import check_inherits
    from trimer.prediction.structure_file import SDF, reasons_path
    from trimer.progress import progress
    from trimer.public_classifier import load_any
    from trimer.reporting.prediction_page import HTML, rows_path

    tables = (*SUFFIXES, SDF, HTML)
    formats = f"the suffix must be one of {', '.join(tables)}, or for a spectral library one of {', '.join(FORMATS)}"
    output_path(cfg.output, {*tables, *FORMATS}, formats)  # reported before the checkpoint is read
    computing(cfg.trainer)
    study = load_any(cfg.ckpt).study
    predictor = study.predictor(cfg)
    check_inherits(predictor, cfg.ckpt, "writes no files")
    writer = predictor.writer(cfg.output)
    source = input_or_example(cfg.input, study)
    files = predictor.files(source)
    beside = {HTML: [rows_path(writer.path)], SDF: [reasons_path(writer.path)]}.get(writer.path.suffix.lower(), [])
    if {path.resolve() for path in (writer.path, *beside)} & {file.resolve() for file in files}:
        raise InputError(f"output={cfg.output} would overwrite input={cfg.input}; name another file")
    overlaps: list[TrainingOverlap] = []
    chunks = with_overlaps(predictor.read(source), overlaps)
    partial = Partial(cfg.output, dependencies_of(cfg, predictor.checkpoints, files))
    with partial, writer, progress("predict", unit=predictor.plural) as advance:
        for rows in predictor.predict(chunks, partial):
            writer.add(rows)
            advance(1)
    print("\n".join([writer.summary(), *merged(overlaps).lines(predictor.plural), *predictor.notes()]))
    ckpt = word(cfg.ckpt)
    suggest(
        f"trimer evaluate ckpt={ckpt} data=<choice> for data with known values"
        if cfg.input
        else f"trimer predict ckpt={ckpt} input=<your file>"
    )


def input_or_example(path: str | None, study: Study) -> Path:
    """The path of the input; by default the shipped example records of the kind that the model reads."""
    if path is not None:
        return Path(path).expanduser()
    source = example(study.example)
    print(f"no input given: reading the example {study.example} in {source}")
    return source


def with_overlaps(chunks: Iterable[Records], overlaps: list[TrainingOverlap]) -> Iterator[Records]:
    """The unchanged chunks; the training overlap of each is appended to the list."""
    for records in chunks:
        overlaps.append(records.overlap)
        yield records
