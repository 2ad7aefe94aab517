"""`trimer embed`: vectors for the proteins of a file, by our checkpoint or by public ESM-2 weights."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from trimer.errors import CheckpointError, ConfigError, InputError

log = logging.getLogger(__name__)

KIND = "trimer.tasks.masked_lm.MaskedLM"


def main(cfg: DictConfig) -> None:
    """Read, embed and write in chunks; memory does not grow with the file."""
    from trimer.embedding import EmbeddingFile

    target = EmbeddingFile(cfg.output, cfg.pooling)  # what cannot be written is said before the work
    from trimer.data.sources.protein_files import ProteinFiles
    from trimer.hardware import computing, place

    if Path(cfg.input).expanduser().resolve() == target.path.resolve():
        raise InputError(f"output={cfg.output} would overwrite input={cfg.input}; name another file")
    if cfg.tokens_per_batch < 1:
        raise ConfigError(f"tokens_per_batch={cfg.tokens_per_batch} must be 1 or more")
    precision = computing(cfg.trainer)
    source = ProteinFiles(cfg.input, column=cfg.column, id_column=cfg.id_column)
    source.files()
    net, tokenizer = encoder(cfg.ckpt)
    if cfg.layer is not None and not 0 <= cfg.layer <= len(net.layers):
        raise ConfigError(f"layer={cfg.layer}: this model has layers 0 (embeddings) to {len(net.layers)}")
    net = place(net, cfg.trainer)
    with target, precision:
        for table in source.chunks():
            for part in embedded(net, tokenizer, table, cfg):
                target.add(*part)
    print(target.summary())


def encoder(path: str):
    """Network and tokenizer of a checkpoint of ours, of a Hugging Face folder, or of a `.pt` file of fair-esm."""
    from trimer.checkpoint import is_public, load
    from trimer.tokenizers.protein import ProteinTokenizer

    if is_public(path):
        from trimer.models.convert.esm2 import load_esm2

        return load_esm2(path), ProteinTokenizer()
    loaded = load(path, kind=KIND)
    if not isinstance(loaded.tokenizer, ProteinTokenizer):
        raise CheckpointError(f"{loaded.path} reads no proteins, and vectors are made of proteins only")
    return loaded.net, loaded.tokenizer


def embedded(net, tokenizer, table, cfg: DictConfig) -> Iterator[tuple[list, list, list, list]]:
    """Ids, lengths, vectors and reasons of the proteins of a table, in parts."""
    from trimer.data.store import Ragged
    from trimer.embedding import CHUNK, embed

    for start in range(0, len(table), CHUNK):
        stop = min(start + CHUNK, len(table))
        letters = table.sequences.slice(start, stop)
        lengths = letters.lengths.tolist()
        reasons: list[str | None] = [table.problems.get(row) for row in range(start, stop)]
        for row, length in enumerate(lengths):
            if cfg.longest is not None and length > cfg.longest:
                reasons[row] = reasons[row] or f"{length:,} residues, longer than longest={cfg.longest:,}"
        usable = [row for row, reason in enumerate(reasons) if reason is None]
        tokens = tokenizer.encode_many(letters.values, letters.offsets).take(usable) if usable else Ragged.pack([])
        vectors = iter(embed(net, tokens, cfg.pooling, cfg.layer, cfg.tokens_per_batch))
        yield table.ids[start:stop], lengths, [None if reason else next(vectors) for reason in reasons], reasons
