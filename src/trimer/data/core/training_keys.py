"""What a model was trained on, as keys that a checkpoint carries: enough to say whether a record was among it.

A key is the first 64 bits of a BLAKE2b hash: of the InChIKey block 1 of a molecule, of the tokens of a spectrum, of the
residues of a protein, of the letters of a peptide (whatever its modifications). Clusters of proteins are no keys, since
their names mean something else in other files. Up to LIMIT keys are kept as they are, sorted; more become a Bloom
filter (Bloom 1970), which knows every key it was given, and takes another one for known at the rate FALSE_POSITIVES:
14.4 bits a key instead of 64.

A training stage is a dict of plain values and tensors: `name`, `data`, `known`, `rows` (split -> count), `keys`
(split -> kind of key -> set) and `facts` (`trimer.training_facts`). A checkpoint has one for its own training and one
for each that it began with, the earliest first. Keys are those of the whole train split, also where a training ended
before its first epoch did.

Shapes: n records; a key of 0 is a missing one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from trimer.data.core.draws import digests, mix

LIMIT = 2_000_000  # keys of one set that are kept as they are: 16 MB
FALSE_POSITIVES = 0.001  # share of other keys that a filter takes for known
SPLITS = {"train": "train", "val": "validation"}  # whose keys are kept -> as users know it
IDENTITY = ("molecule", "protein", "peptide")  # keys without which nobody can say whether a record is new


def text_keys(texts: Sequence[str | None]) -> np.ndarray:
    """(n,) int64 keys of texts, 0 for a missing one."""
    keys = np.zeros(len(texts), np.int64)
    known = [row for row, text in enumerate(texts) if text]
    keys[known] = digests(texts[row].encode() for row in known)
    return keys


def protein_keys(texts: Sequence[str | None]) -> np.ndarray:
    """(n,) int64 keys of sequences, those of `MaskedSequences`: letters that are no residue are one."""
    from trimer.tokenizers.protein import ProteinTokenizer

    tokenizer = ProteinTokenizer()
    keys = np.zeros(len(texts), np.int64)
    known = [row for row, text in enumerate(texts) if text]
    keys[known] = digests(tokenizer.encode(texts[row]).tobytes() for row in known)
    return keys


def sequence_keys(entity: str, texts: Sequence[str | None]) -> dict[str, np.ndarray]:
    """Kind of key -> (n,) keys; texts: InChIKey blocks 1 of molecules, residues of proteins, letters of peptides."""
    return {entity.removesuffix("s"): protein_keys(texts) if entity == "proteins" else text_keys(texts)}


def token_keys(sequences: Sequence[np.ndarray]) -> np.ndarray:
    """(n,) int64 keys of what a model reads."""
    return digests(np.asarray(tokens, np.int64).tobytes() for tokens in sequences)


# ---------------------------------------------------------------- sets of keys


def key_set(keys: np.ndarray) -> dict:
    """A set of keys as plain values and tensors; missing ones are left out."""
    keys = np.unique(keys[keys != 0])
    if len(keys) <= LIMIT:
        return {"count": len(keys), "sorted": torch.from_numpy(keys)}
    size = 8 * math.ceil(-len(keys) * math.log(FALSE_POSITIVES) / math.log(2) ** 2 / 8)
    probes = max(round(size / len(keys) * math.log(2)), 1)
    bits = np.zeros(size, bool)
    for probe in range(probes):
        bits[_probe(keys, probe, size)] = True
    filter_ = {"filter": torch.from_numpy(np.packbits(bits, bitorder="little")), "probes": probes}
    return {"count": len(keys), **filter_, "false_positives": FALSE_POSITIVES}


def contains(known: Mapping, keys: np.ndarray) -> np.ndarray:
    """(n,) bool whether each key is in a set; a missing one is not."""
    if "sorted" in known:
        have = known["sorted"].numpy()
        if not len(have):
            return np.zeros(len(keys), bool)
        found = have[np.searchsorted(have, keys).clip(max=len(have) - 1)] == keys
    else:
        bytes_ = known["filter"].numpy()
        found = np.ones(len(keys), bool)
        for probe in range(known["probes"]):
            place = _probe(keys, probe, 8 * len(bytes_))
            found &= (bytes_[place >> np.uint64(3)] >> (place & np.uint64(7)).astype(np.uint8) & 1).astype(bool)
    return found & (keys != 0)


def _probe(keys: np.ndarray, number: int, size: int) -> np.ndarray:
    """(n,) uint64 bit that a probe looks at, by double hashing (Kirsch and Mitzenmacher 2008)."""
    words = keys.view(np.uint64)
    first, step = mix(words), mix(words ^ np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)
    return (first + np.uint64(number) * step) % np.uint64(size)


# ---------------------------------------------------------------- stages of training


def stage(data, name: str) -> dict:
    """The keys of the train and the validation split of a data module that has been set up."""
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
    """A training of which no keys are known, as that of public weights."""
    return {"name": name, "data": "", "known": False, "rows": {}, "keys": {}, "facts": dict(facts or {})}


def stages_of(data, name: str, ckpt: str | Path | None, resumed: str | Path | None = None) -> list[dict]:
    """The stages of a run: those of the checkpoint that it begins with, then its own; of a resumed run those it had."""
    from trimer.checkpoint import read
    from trimer.public import is_public
    from trimer.training_facts import facts_of_config

    if resumed is not None and (had := read(resumed).get("training_keys")):
        return had
    if not ckpt:
        earlier = []
    elif is_public(ckpt):
        earlier = [unknown_stage(f"public weights {Path(ckpt).name}")]
    else:
        checkpoint = read(ckpt)
        facts = facts_of_config(checkpoint["trimer"]["data"])
        earlier = checkpoint.get("training_keys") or [unknown_stage(f"checkpoint {Path(ckpt).name}", facts)]
    return [*earlier, stage(data, name)]
