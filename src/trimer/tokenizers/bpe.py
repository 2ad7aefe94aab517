"""Texts as tokens of a byte-level byte-pair encoding, as in the files of RoBERTa and ChemBERTa.

Sennrich et al. 2016, https://arxiv.org/abs/1508.07909; over bytes: Radford et al. 2019 (GPT-2). A text is cut into
words (runs of letters, of digits, of other signs), a word into bytes, and the bytes are joined by the merges in their
order. The work is done by the `tokenizers` library, and the ids are those of `transformers`.
The files of ChemBERTa-2 have tokens for whole atoms and nothing to merge: by bytes their vocabulary cannot spell `Cl`,
charges or stereo. The tokenizer that those models were trained with cuts a SMILES into atoms (Schwaller et al. 2019,
https://doi.org/10.1021/acscentsci.9b00576); `atoms` does the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from trimer.data.core.ragged import Ragged
from trimer.errors import ConfigError, InputError
from trimer.tokenizers.alphabet import Alphabet
from trimer.tokenizers.published import added_tokens, published_ids, read_object, vocabulary_of
from trimer.tokenizers.vocabulary import Vocabulary

SPECIALS = {"cls": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
BERT_SPECIALS = {"cls": "[CLS]", "pad": "[PAD]", "eos": "[SEP]", "unk": "[UNK]", "mask": "[MASK]"}
NAMES = {"cls": "cls_token", "pad": "pad_token", "eos": "sep_token", "unk": "unk_token", "mask": "mask_token"}
UNUSED = "<unused_{}>"  # name of an id with a row in the model but no token in the files
TEXTS = 20_000  # encoded at once
ATOMS = r"\[[^\]]+\]|Br|Cl|%\d\d|>>|."  # bracket atoms, atoms of two letters, rings above 9; else sign by sign


class BytePairTokenizer:
    """Turns texts into `<s>` ... `</s>` and back.

    folder: a Hugging Face folder with all other settings (see `read_files`). Or, without it: tokens, all in the order
    of their ids, with the special ones; merges, as `left right` in their order; specials, the names of `cls`, `pad`,
    `eos`, `unk` and `mask` among the tokens; prefix_space, whether a space is added before a text. tokens and merges
    may also be JSON text, as in a checkpoint: 52,000 items of a config take seconds. atoms: a SMILES is cut into its
    atoms, bonds and rings; pieces without a token become `unk`, and merges are not used.

    Without `atoms` bytes without a token are dropped, as in `transformers`; `unspelled` lists them. This cannot happen
    if all 256 bytes are tokens. It happens with files like those of ChemBERTa-2: where `[`, `]`, `@`, `H`
    and `l` are not tokens by themselves, `[C@@H](N)Cl` becomes the tokens of `C(N)C`.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        tokens: Sequence[str] | str | None = None,
        merges: Sequence[str] | str = (),
        specials: Mapping[str, str] | None = None,
        prefix_space: bool = False,
        atoms: bool = False,
    ):
        if (folder is None) == (tokens is None):
            raise ConfigError("a byte-pair tokenizer is read from a folder or built from tokens: give one of the two")
        where = ""
        if folder is not None:
            where = f"{folder}: "
            files = read_files(folder, atoms)
            tokens, merges = files["tokens"], files["merges"]
            specials, prefix_space = files["specials"], files["prefix_space"]
        self.merges: list[str] = json.loads(merges) if isinstance(merges, str) else list(merges)
        self.vocabulary = Vocabulary(json.loads(tokens) if isinstance(tokens, str) else tokens or (), specials=())
        self.specials = {**SPECIALS, **(specials or {})}
        self.prefix_space, self.atoms = prefix_space, atoms
        for role, token in self.specials.items():
            if role not in SPECIALS:
                raise ConfigError(f"specials.{role} is not known: it has {', '.join(SPECIALS)}")
            if token not in self.vocabulary.ids:
                raise InputError(f"{where}the special token {token!r} ({role}) is not among the tokens")
        self.cls, self.pad, self.eos, self.unk, self.mask = (self.vocabulary.ids[self.specials[r]] for r in SPECIALS)
        self._bytes = {token for token in self.vocabulary.tokens if len(token) == 1}
        self._dtype = np.uint16 if len(self.vocabulary) <= 65_536 else np.int32
        self._backend = self._by_atoms() if atoms else self._build(where)

    def __len__(self) -> int:
        return len(self.vocabulary)

    @cached_property
    def alphabet(self) -> Alphabet:
        """All tokens that are not special may be masked; tokens that a text can be cut into may replace them."""
        ids = self.vocabulary.ids
        hideable = np.ones(len(self), bool)
        hideable[[ids[token] for token in self.specials.values()]] = False
        if self.atoms:
            special = set(self.specials.values())
            reached = {ids[token] for token in self.vocabulary.tokens if token not in special and _is_atom(token)}
        else:
            reached = {ids[token] for token in (*self._bytes, *(merge.replace(" ", "") for merge in self.merges))}
        return Alphabet(self.cls, self.eos, self.mask, hideable, np.array(sorted(reached), np.int64))

    def encode(self, text: str) -> np.ndarray:
        """(L,) ids, `<s>` and `</s>` included; uint16, or int32 where the vocabulary needs it."""
        return np.array(self._backend.encode(text).ids, self._dtype)

    def encode_many(self, texts: Sequence[str]) -> Ragged:
        """The ids of n texts, each `<s>` ... `</s>`."""
        rows = []
        for start in range(0, len(texts), TEXTS):
            encodings = self._backend.encode_batch_fast(list(texts[start : start + TEXTS]))
            rows += [np.array(encoding.ids, self._dtype) for encoding in encodings]
        return Ragged.pack(rows, self._dtype)

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """The text without `<s>`, `</s>` and `<pad>`; other special tokens are written by their names, as `<mask>`."""
        frame = (self.cls, self.eos, self.pad)
        return self._backend.decode([i for i in np.asarray(ids).tolist() if i not in frame], skip_special_tokens=False)

    def unspelled(self, text: str) -> list[str]:
        """The pieces of a text without a token, in order: bytes, which `encode` drops, or atoms, which become `unk`."""
        words = self._backend.pre_tokenizer.pre_tokenize_str(text)
        if self.atoms:
            return [word for word, _ in words if word not in self.vocabulary.ids]
        return [sign for word, _ in words for sign in word if sign not in self._bytes]

    def to_config(self) -> dict:
        """Plain values that rebuild this tokenizer, without its files."""
        return {
            "_target_": "trimer.tokenizers.bpe.BytePairTokenizer",
            "tokens": _json(self.vocabulary.tokens),
            "merges": _json(self.merges),
            "specials": dict(self.specials),
            "prefix_space": self.prefix_space,
            **({"atoms": True} if self.atoms else {}),
        }

    def to_json(self) -> str:
        """The text of `tokenizer.json`, which `transformers` and the `tokenizers` library read."""
        return self._backend.to_str(pretty=True)

    def _build(self, where: str):
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers

        pairs: list[tuple[str, str]] = []
        for merge in self.merges:
            left, space, right = merge.partition(" ")
            if not space or any(token not in self.vocabulary.ids for token in (left, right, left + right)):
                raise InputError(f"{where}the merge {merge!r} is not of two tokens that make a third one")
            pairs.append((left, right))
        backend = Tokenizer(models.BPE(vocab=self.vocabulary.ids, merges=pairs))
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=self.prefix_space)
        backend.decoder = decoders.ByteLevel()
        return self._framed(backend)

    def _by_atoms(self):
        from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

        backend = Tokenizer(models.WordLevel(self.vocabulary.ids, self.specials["unk"]))
        backend.pre_tokenizer = pre_tokenizers.Split(Regex(ATOMS), "isolated")
        backend.decoder = decoders.Fuse()
        return self._framed(backend)

    def _framed(self, backend):
        """The same with `<s>` and `</s>` around a text, and the special tokens read as such."""
        from tokenizers import AddedToken, processors

        last, first = ((self.specials[role], self.vocabulary.ids[self.specials[role]]) for role in ("eos", "cls"))
        backend.post_processor = processors.RobertaProcessing(last, first, True, self.prefix_space)
        backend.add_special_tokens([AddedToken(token, normalized=False) for token in self.specials.values()])
        return backend


def _is_atom(token: str) -> bool:
    """Whether a SMILES can be cut into this token."""
    return re.findall(ATOMS, token) == [token]


def read_files(folder: str | Path, atoms: bool = False) -> dict[str, Any]:
    """The tokens, merges, specials and prefix_space of a Hugging Face folder.

    It has `tokenizer.json`, or `vocab.json` and `merges.txt`; of atoms any vocabulary will do, `vocab.txt` too, and
    there are no merges. Where they are, `added_tokens.json` adds tokens,
    `tokenizer_config.json` and `special_tokens_map.json` name the special ones, and `config.json` says how many rows
    the model has: ids without a token, in between or after the last, get a name and are never used.
    """
    folder = Path(folder).expanduser()
    tokenizer, vocabulary, merges = folder / "tokenizer.json", folder / "vocab.json", folder / "merges.txt"
    pairs: list = []
    if atoms:
        ids = published_ids(folder)
    elif tokenizer.is_file():
        ids, pairs = _of_one_file(tokenizer)
    elif vocabulary.is_file() and merges.is_file():
        ids, pairs = read_object(vocabulary), _merges(merges)
    else:
        ids = None
    if ids is None:
        needed = "no vocabulary" if atoms else "neither tokenizer.json nor vocab.json with merges.txt"
        raise InputError(f"{folder} has {needed}: give another folder")
    ids = {**ids, **read_object(folder / "added_tokens.json")}
    tokens: dict[int, str] = {}
    for token, number in ids.items():
        if not isinstance(number, int) or number < 0 or number in tokens:
            raise InputError(f"{folder}: the id {number} of {token!r} is not a number, or that of another token too")
        tokens[number] = token
    last = max(tokens, default=-1)
    rows = read_object(folder / "config.json").get("vocab_size", last + 1)
    if rows <= last:
        raise InputError(f"{folder / 'config.json'}: vocab_size={rows} leaves no row for the id {last}")
    settings = read_object(folder / "special_tokens_map.json") | read_object(folder / "tokenizer_config.json")
    specials = {}
    for role, name in NAMES.items():
        usual = BERT_SPECIALS[role] if SPECIALS[role] not in ids and BERT_SPECIALS[role] in ids else SPECIALS[role]
        token = settings.get(name, usual)
        specials[role] = token["content"] if isinstance(token, dict) else token
    return {
        "tokens": [tokens.get(number, UNUSED.format(number)) for number in range(rows)],
        "merges": pairs,
        "specials": specials,
        "prefix_space": bool(settings.get("add_prefix_space", False)),
    }


def _of_one_file(path: Path) -> tuple[dict[str, int], list[str]]:
    """Ids and merges of a `tokenizer.json`; InputError unless it is a byte-level byte-pair encoding."""
    content = read_object(path)
    model, cut = content.get("model") or {}, content.get("pre_tokenizer") or {}
    kinds = (model.get("type", "BPE"), cut.get("type"), content.get("normalizer"))
    if kinds != ("BPE", "ByteLevel", None) or "vocab" not in model:
        raise InputError(f"{path} holds no byte-level byte-pair encoding (model {kinds[0]}, words cut by {kinds[1]})")
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model.get("merges", [])]
    return {**vocabulary_of(model), **added_tokens(content)}, pairs


def _merges(path: Path) -> list[str]:
    pairs = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        line = line.rstrip("\r")
        if not line or (number == 1 and line.startswith("#version")):
            continue
        if len(line.split(" ")) != 2:
            raise InputError(f"{path} line {number}: {line[:80]!r} is not a merge of two tokens")
        pairs.append(line)
    return pairs


def _json(texts: Sequence[str]) -> str:
    """A list as one text; without `$`, by which a config would refer to another value."""
    return json.dumps(texts, separators=(",", ":")).replace("$", "\\u0024")
