"""`trimer embed`: embeddings of the sequences in a file, by a checkpoint or public weights of ESM-2 or RoBERTa."""

from __future__ import annotations

from omegaconf import DictConfig

from trimer.commands.next_steps import suggest, word
from trimer.commands.predict import input_or_example
from trimer.errors import InputError


def main(cfg: DictConfig) -> None:
    """Read, embed and write in chunks, with constant memory."""
    from trimer.prediction.embedding import EmbeddingFile

    target = EmbeddingFile(cfg.output, cfg.pooling)  # first, so that an unusable output is reported immediately
    from trimer.accelerators.hardware import computing
    from trimer.data.text.paths import find_files
    from trimer.prediction.embedder import Embedder
    from trimer.progress import progress

    files = find_files([cfg.input], "a file of sequences") if cfg.input is not None else []
    if target.path.resolve() in [file.resolve() for file in files]:
        raise InputError(f"output={cfg.output} would overwrite input={cfg.input}; name another file")
    computing(cfg.trainer)
    embedder = Embedder.of_checkpoint(cfg.ckpt, cfg)
    source = input_or_example(cfg.input, embedder.loaded.study)
    target.what = embedder.entity
    with target, progress("embed", unit=embedder.entity) as advance:
        for chunk in embedder.embed(embedder.read(source)):
            target.add(chunk.ids, chunk.lengths, chunk.vectors, chunk.reasons)
            advance(len(chunk.ids))
    embedder.kind.spelling.warn()
    print(target.summary())
    suggest(
        f"trimer.load({str(cfg.ckpt)!r}).embed(...) in Python"
        if cfg.input
        else f"trimer embed ckpt={word(cfg.ckpt)} input=<your file>"
    )
