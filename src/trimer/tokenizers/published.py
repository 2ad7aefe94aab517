"""The vocabulary files of a Hugging Face folder: `vocab.txt`, `tokenizer.json`, `vocab.json`, `added_tokens.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trimer.errors import InputError


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where there is no such file."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} cannot be read ({error}): copy it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object: copy it again")
    return content


def published_ids(folder: Path) -> dict[str, int] | None:
    """Token -> id of a folder, for any kind of tokenizer; None if it has no vocabulary."""
    lines, tokenizer, plain = folder / "vocab.txt", folder / "tokenizer.json", folder / "vocab.json"
    if lines.is_file():
        tokens = lines.read_text(encoding="utf-8").rstrip("\n").split("\n")
        ids: dict[str, Any] = {token.rstrip("\r"): number for number, token in enumerate(tokens)}
    elif tokenizer.is_file():
        content = read_object(tokenizer)
        ids = {**vocabulary_of(content.get("model") or {}), **added_tokens(content)}
    elif plain.is_file():
        ids = read_object(plain)
    else:
        return None
    return {**ids, **read_object(folder / "added_tokens.json")}


def vocabulary_of(model: dict[str, Any]) -> dict[str, int]:
    """Token -> id of the model in a `tokenizer.json`; that of a unigram model is a list of tokens with scores."""
    tokens = model.get("vocab") or {}
    return {pair[0]: number for number, pair in enumerate(tokens)} if isinstance(tokens, list) else tokens


def added_tokens(content: dict[str, Any]) -> dict[str, int]:
    """Token -> id of the tokens that a `tokenizer.json` adds to its model, such as special tokens."""
    return {token["content"]: token["id"] for token in content.get("added_tokens") or []}
