"""Keys of training records, stored in checkpoints to tell whether a model was trained on a record.

A key is the first 64 bits of a BLAKE2b hash: of the InChIKey block 1 of a molecule, of the tokens of a spectrum, of the
residues of a protein, of the letters of a peptide (without modifications). Clusters of proteins are not keys, because
their names differ between files. Up to LIMIT keys are stored sorted; larger sets become a Bloom filter (Bloom 1970),
which contains every stored key and reports another key as contained at the rate FALSE_POSITIVES: 14.4 bits a key
instead of 64.

A training stage is a dict of plain values and tensors: `name`, `data`, `known`, `rows` (split -> count), `keys`
(split -> kind of key -> set) and `facts` (`trimer.training_facts`). A checkpoint has one stage for its training and one
for each earlier training that it started from, the earliest first. Keys cover the whole train split, even if training
ended within the first epoch.

Shapes: n records; a key of 0 means missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from trimer.data.core.draws import digest, digests, mix

LIMIT = 2_000_000  # keys of one set that are stored exactly: 16 MB
FALSE_POSITIVES = 0.001  # fraction of other keys that a filter reports as contained
SPLITS = {"train": "train", "val": "validation"}  # splits with stored keys -> their names in reports
NO_KEY = bytes(8)  # of a missing text
BLOCK = 1 << 16  # keys that are looked up together
IDENTITY = ("molecule", "protein", "peptide")  # kinds of key that identify a record


def text_keys(texts: Sequence[str | None]) -> np.ndarray:
    """(n,) int64 keys of texts, 0 for missing ones."""
    keys = b"".join(digest(text.encode()) if text else NO_KEY for text in texts)
    return np.frombuffer(keys, np.int64).copy()


def protein_keys(texts: Sequence[str | None]) -> np.ndarray:
    """(n,) int64 keys of protein sequences, as in `MaskedSequences`: all letters that are not residues are equal."""
    from trimer.tokenizers.protein import ProteinTokenizer

    tokenizer = ProteinTokenizer()
    keys = b"".join(digest(tokenizer.encode(text).tobytes()) if text else NO_KEY for text in texts)
    return np.frombuffer(keys, np.int64).copy()


def sequence_keys(entity: str, texts: Sequence[str | None]) -> dict[str, np.ndarray]:
    """Kind of key -> (n,) keys; texts: InChIKey blocks 1 of molecules, residues of proteins, letters of peptides."""
    return {entity.removesuffix("s"): protein_keys(texts) if entity == "proteins" else text_keys(texts)}


def token_keys(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """(n,) int64 keys of token sequences."""
    return digests(np.asarray(tokens, np.int64).tobytes() for tokens in sequences)


# ---------------------------------------------------------------- sets of keys


def key_set(keys: np.ndarray, limit: int = LIMIT) -> dict:
    """A set of keys as plain values and tensors, without missing keys. limit: keys that are stored exactly."""
    keys = np.unique(keys[keys != 0])
    if len(keys) <= limit:
        return {"count": len(keys), "sorted": torch.from_numpy(keys)}
    size = 8 * math.ceil(-len(keys) * math.log(FALSE_POSITIVES) / math.log(2) ** 2 / 8)
    probes = max(round(size / len(keys) * math.log(2)), 1)
    bits = np.zeros(size, bool)
    for start in range(0, len(keys), BLOCK):
        bits[_probes(keys[start : start + BLOCK], probes, size)] = True
    filter_ = {"filter": torch.from_numpy(np.packbits(bits, bitorder="little")), "probes": probes}
    return {"count": len(keys), **filter_, "false_positives": FALSE_POSITIVES}


def compacted(splits: Mapping[str, Mapping[str, Mapping]], limit: int) -> dict:
    """The keys of a training stage, in which each set of more than `limit` keys is a filter.

    A larger set of spectra is left out if that of their molecules is there: these find the same records, and so large a
    set is usually simulated.
    """
    return {
        split: {
            kind: key_set(stored["sorted"].numpy(), limit) if "sorted" in stored else stored
            for kind, stored in sets.items()
            if kind in IDENTITY or stored["count"] <= limit or not set(IDENTITY) & set(sets)
        }
        for split, sets in splits.items()
    }


def contains(stored: Mapping, keys: np.ndarray) -> np.ndarray:
    """(n,) bool: whether each key is in a set of `key_set`; False for missing keys."""
    if "sorted" in stored:
        values = stored["sorted"].numpy()
        if not len(values):
            return np.zeros(len(keys), bool)
        contained = values[np.searchsorted(values, keys).clip(max=len(values) - 1)] == keys
    else:
        bytes_ = stored["filter"].numpy()
        contained = np.empty(len(keys), bool)
        for start in range(0, len(keys), BLOCK):
            block = slice(start, start + BLOCK)
            bits = _probes(keys[block], stored["probes"], 8 * len(bytes_))
            contained[block] = (bytes_[bits >> np.uint64(3)] >> (bits & np.uint64(7)).astype(np.uint8) & 1).all(0)
    return contained & (keys != 0)


def _probes(keys: np.ndarray, count: int, size: int) -> np.ndarray:
    """(count, n) uint64 numbers of the bits that the probes read, by double hashing (Kirsch and Mitzenmacher 2008)."""
    words = keys.view(np.uint64)
    first, step = mix(words), mix(words ^ np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)
    return (first + np.arange(count, dtype=np.uint64)[:, None] * step) % np.uint64(size)


# ---------------------------------------------------------------- stages of training


def stage(data, name: str) -> dict:
    """The training stage of a data module after setup: keys of its train and validation splits."""
    rows = {split: data.split_rows(split) for split in SPLITS}
    keys = {
        split: {kind: key_set(values) for kind, values in data.row_keys(some).items()}
        for split, some in rows.items()
        if len(some)
    }
    counts = {split: len(some) for split, some in rows.items()}
    facts = data.training_facts()
    return {"name": name, "data": type(data).__name__, "known": True, "rows": counts, "keys": keys, "facts": facts}


def unknown_stage(name: str, facts: Mapping | None = None) -> dict:
    """A training stage without keys, for example that of public weights."""
    return {"name": name, "data": "", "known": False, "rows": {}, "keys": {}, "facts": dict(facts or {})}


def stages_of(data, name: str, ckpt: str | Path | None, resumed: str | Path | None = None) -> list[dict]:
    """The stages of a run: those of its initial checkpoint and its own; a resumed run keeps its stages."""
    from trimer.checkpoint import read
    from trimer.public import is_public
    from trimer.training_facts import facts_of_config

    if resumed is not None and (stages := read(resumed).get("training_keys")):
        return stages
    if not ckpt:
        earlier = []
    elif is_public(ckpt):
        earlier = [unknown_stage(f"public weights {Path(ckpt).name}")]
    else:
        checkpoint = read(ckpt)
        facts = facts_of_config(checkpoint["trimer"]["data"])
        earlier = checkpoint.get("training_keys") or [unknown_stage(f"checkpoint {Path(ckpt).name}", facts)]
    return [*earlier, stage(data, name)]
