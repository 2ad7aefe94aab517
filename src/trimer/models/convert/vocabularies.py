"""Whether the rows of public weights stand for the tokens of ours: the same, the same in another order, or others.

A table of embeddings loads whatever its rows mean, so the vocabulary beside it is compared with ours token by token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from trimer.errors import CheckpointError
from trimer.models.convert.folders import read_object

ROWS = ("tokens.weight", "head.bias", "final_logits_bias")  # the weights with a row for each token, under our names
UNUSED = "<unused_"  # how a row without a token is called in our byte-pair vocabularies


def published_ids(folder: str | Path) -> dict[str, int] | None:
    """Token -> id of a Hugging Face folder: `vocab.txt`, `tokenizer.json` or `vocab.json`; None where none is there."""
    folder = Path(folder).expanduser()
    lines, whole, plain = folder / "vocab.txt", folder / "tokenizer.json", folder / "vocab.json"
    if lines.is_file():
        tokens = lines.read_text(encoding="utf-8").rstrip("\n").split("\n")
        ids: dict[str, Any] = {token.rstrip("\r"): number for number, token in enumerate(tokens)}
    elif whole.is_file():
        content = read_object(whole)
        found = (content.get("model") or {}).get("vocab") or {}
        if isinstance(found, list):  # of a unigram model: pairs of token and score
            found = {pair[0]: number for number, pair in enumerate(found)}
        ids = {**found, **{token["content"]: token["id"] for token in content.get("added_tokens") or []}}
    elif plain.is_file():
        ids = read_object(plain)
    else:
        return None
    if (added := folder / "added_tokens.json").is_file():
        ids = {**ids, **read_object(added)}
    return ids


def rows_of(tokens: Sequence[str], folder: str | Path) -> list[int] | None:
    """The row that each of our tokens has in the weights of a folder; None where all of them are in their places.

    CheckpointError where the folder has other tokens: its rows would be taken for something else.
    """
    theirs = published_ids(folder)
    if theirs is None or all(number < len(tokens) and tokens[number] == token for token, number in theirs.items()):
        return None
    named = [token for token in tokens if not token.startswith(UNUSED)]
    other = next((token for token in named if token not in theirs), None)
    where = "is in the vocabulary of the model and not in that of the folder"
    if other is None:
        ours = set(named)
        other = next((token for token in theirs if token not in ours), None)
        where = "is in the vocabulary of the folder and not in that of the model"
    if other is not None:
        raise CheckpointError(
            f"{folder} has another vocabulary: {other!r} {where}; its weights mean other tokens, so take the "
            "tokenizer of that folder (data/tokenizer@data.tokenizer=bpe) or other weights"
        )
    spare = iter(sorted(set(range(len(tokens))) - set(theirs.values())))
    return [theirs[token] if token in theirs else next(spare) for token in tokens]


def in_order(state: Mapping[str, Tensor], rows: Sequence[int] | None) -> dict[str, Tensor]:
    """The weights under our names, with the rows of the tokens in the order of `rows_of`; more rows stay behind."""
    if rows is None:
        return dict(state)
    order = [*rows, *range(len(rows), len(state["tokens.weight"]))]
    return {name: value[order] if name in ROWS else value for name, value in state.items()}
