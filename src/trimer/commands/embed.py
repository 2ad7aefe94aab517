"""`trimer embed`: embeddings of the sequences in a file, by a checkpoint or public weights of ESM-2 or RoBERTa."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from trimer.errors import InputError


def main(cfg: DictConfig) -> None:
    """Read, embed and write in chunks, with constant memory."""
    from trimer.prediction.embedding import EmbeddingFile

    target = EmbeddingFile(cfg.output, cfg.pooling)  # first, so that an unusable output is reported immediately
    from trimer.accelerators.hardware import computing
    from trimer.data.text.paths import find_files
    from trimer.prediction.embedder import Embedder
    from trimer.progress import progress

    source = Path(cfg.input).expanduser()
    files = find_files([cfg.input], "a file of sequences")
    if target.path.resolve() in [file.resolve() for file in files]:
        raise InputError(f"output={cfg.output} would overwrite input={cfg.input}; name another file")
    computing(cfg.trainer)
    embedder = Embedder.of_checkpoint(cfg.ckpt, cfg)
    target.what = embedder.entity
    with target, progress("embed", unit=embedder.entity) as advance:
        for chunk in embedder.embed(embedder.read(source)):
            target.add(chunk.ids, chunk.lengths, chunk.vectors, chunk.reasons)
            advance(len(chunk.ids))
    embedder.kind.spelling.warn()
    print(target.summary())
