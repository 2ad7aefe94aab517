"""`trimer embed`: vectors for the sequences of a file, by our checkpoint or by public weights of ESM-2 or RoBERTa."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig

from trimer.errors import CheckpointError, ConfigError, InputError

log = logging.getLogger(__name__)


def main(cfg: DictConfig) -> None:
    """Read, embed and write in chunks; memory does not grow with the file."""
    from trimer.prediction.embedding import EmbeddingFile

    target = EmbeddingFile(cfg.output, cfg.pooling)  # what cannot be written is said before the work
    from trimer.accelerators.hardware import computing, place
    from trimer.data.labelled.sequence_kinds import KINDS
    from trimer.data.proteins.protein_files import ProteinFiles
    from trimer.data.text.spelling import Spelling

    if Path(cfg.input).expanduser().resolve() == target.path.resolve():
        raise InputError(f"output={cfg.output} would overwrite input={cfg.input}; name another file")
    if cfg.tokens_per_batch is not None and cfg.tokens_per_batch < 1:
        raise ConfigError(f"tokens_per_batch={cfg.tokens_per_batch} must be 1 or more")
    precision = computing(cfg.trainer)
    if not Path(cfg.input).expanduser().exists():
        raise InputError(f"input={cfg.input}: no such file; check the path")
    net, tokenizer, target.what = encoder(cfg.ckpt, cfg.atoms)
    if cfg.layer is not None and not 0 <= cfg.layer <= len(net.layers):
        raise ConfigError(f"layer={cfg.layer}: this model has layers 0 (embeddings) to {len(net.layers)}")
    net = place(net, cfg.trainer)
    with target, precision:
        if target.what == "proteins":
            source = ProteinFiles(cfg.input, column=cfg.column or "sequence", id_column=cfg.id_column)
            spelling = Spelling(tokenizer, target.what)
            parts = (part for table in source.chunks() for part in embedded(net, tokenizer, table, cfg, spelling))
        else:
            kind = KINDS[target.what](tokenizer)
            spelling = kind.spelling
            parts = embedded_texts(net, kind, target.what, cfg)
        for part in parts:
            target.add(*part)
    spelling.warn()
    print(target.summary())


def encoder(path: str, atoms: bool = False):
    """Network, tokenizer and what it reads: of a checkpoint of ours, a Hugging Face folder, a `.pt` file of fair-esm.

    What was fine-tuned gives the vectors of its encoder. atoms: a public RoBERTa reads SMILES cut by atoms.
    """
    from trimer.checkpoint import load
    from trimer.public import is_public, load_public
    from trimer.tokenizers.protein import ProteinTokenizer

    if is_public(path):
        loaded = load_public(path, atoms=atoms)
        return loaded.net, loaded.tokenizer, loaded.contract["data"]["entity"]
    loaded = load(path)
    if not hasattr(loaded.net, "hidden") or "source" not in loaded.contract["data"]:
        raise CheckpointError(f"{loaded.path} writes molecules, and has no vectors of what it reads")
    if getattr(loaded.net, "target", None) == "fragments":
        raise CheckpointError(f"{loaded.path} reads measurements: its vectors are of a charge and an energy, too")
    known = "proteins" if isinstance(loaded.tokenizer, ProteinTokenizer) else "molecules"
    return loaded.net, loaded.tokenizer, loaded.contract["data"].get("entity", known)


def embedded_texts(net, kind, entity: str, cfg: DictConfig) -> Iterator[tuple[list, list, Iterator, list]]:
    """Ids, lengths (tokens without the frame), vectors and reasons of the molecules or peptides of a file, in parts."""
    from trimer.data.core.store import Ragged
    from trimer.data.labelled.sequence_files import read_sequences
    from trimer.data.labelled.sequence_kinds import flat
    from trimer.prediction.embedding import CHUNK, embed

    table = read_sequences(Path(cfg.input).expanduser(), entity, cfg.column, cfg.id_column)
    most = getattr(getattr(net, "encoder", net), "longest", None) or math.inf
    for start in range(0, len(table), CHUNK):
        some = table.take(range(start, min(start + CHUNK, len(table))))
        found = kind.read(some.texts)
        reasons = found.reasons() | some.problems
        lengths = [0 if tokens is None else len(tokens) - 2 for tokens in found.tokens]
        for row, length in enumerate(lengths):
            if cfg.longest is not None and length > cfg.longest:
                reasons.setdefault(row, f"{length:,} tokens, longer than longest={cfg.longest:,}")
            if length + 2 > most:
                reasons.setdefault(row, f"{length + 2:,} tokens with both ends, the model reads at most {most:,}")
        told = [f"{place}: {reasons[row]}" if row in reasons else None for row, place in enumerate(some.places)]
        usable = [row for row in range(len(some)) if row not in reasons]
        tokens = Ragged.pack([found.tokens[row] for row in usable])

        def lay(rows: range, found=found, usable=usable):
            return flat(kind, found, [usable[row] for row in rows], found.tokens)

        vectors = iter(embed(net, tokens, cfg.pooling, cfg.layer, cfg.tokens_per_batch, lay))
        yield some.ids, lengths, (None if reason else next(vectors) for reason in told), told


def embedded(net, tokenizer, table, cfg: DictConfig, spelling) -> Iterator[tuple[list, list, Iterator, list]]:
    """Ids, lengths, vectors and reasons of the proteins of a table, in parts; their letters are counted in spelling."""
    from trimer.data.core.store import Ragged
    from trimer.prediction.embedding import CHUNK, embed

    for start in range(0, len(table), CHUNK):
        stop = min(start + CHUNK, len(table))
        letters = table.sequences.slice(start, stop)
        lengths = letters.lengths.tolist()
        reasons: list[str | None] = [table.problems.get(row) for row in range(start, stop)]
        for row, length in enumerate(lengths):
            if cfg.longest is not None and length > cfg.longest:
                reasons[row] = reasons[row] or f"{length:,} residues, longer than longest={cfg.longest:,}"
        usable = [row for row, reason in enumerate(reasons) if reason is None]
        spelling.count(letters[row].tobytes().decode("latin-1") for row in usable)
        tokens = tokenizer.encode_many(letters.values, letters.offsets).take(usable) if usable else Ragged.pack([])
        vectors = iter(embed(net, tokens, cfg.pooling, cfg.layer, cfg.tokens_per_batch))
        yield table.ids[start:stop], lengths, (None if reason else next(vectors) for reason in reasons), reasons
