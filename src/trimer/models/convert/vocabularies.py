"""Comparison of the vocabulary of public weights with that of Trimer: equal, in another order, or different.

An embedding table loads whatever its rows mean, so the vocabulary in its folder is compared token by token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from trimer.errors import CheckpointError
from trimer.tokenizers.published import published_ids

ROWS = ("tokens.weight", "head.bias", "final_logits_bias")  # weights with one row per token, under the names in Trimer
UNUSED = "<unused_"  # name of a row without a token in the byte-pair vocabularies of Trimer


def rows_of(tokens: Sequence[str], folder: str | Path) -> list[int] | None:
    """Row of each token in the weights of a folder; None if the order is the same.

    CheckpointError if the folder has other tokens, since its rows would be assigned to the wrong ones.
    """
    theirs = published_ids(Path(folder).expanduser())
    if theirs is None or all(number < len(tokens) and tokens[number] == token for token, number in theirs.items()):
        return None
    named = [token for token in tokens if not token.startswith(UNUSED)]
    unmatched = next((token for token in named if token not in theirs), None)
    where = "is in the vocabulary of the model but not in that of the folder"
    if unmatched is None:
        ours = set(named)
        unmatched = next((token for token in theirs if token not in ours), None)
        where = "is in the vocabulary of the folder but not in that of the model"
    if unmatched is not None:
        raise CheckpointError(
            f"{folder} has another vocabulary: {unmatched!r} {where}; use the tokenizer of that folder "
            "(data/tokenizer=bpe) or other weights"
        )
    spare = iter(sorted(set(range(len(tokens))) - set(theirs.values())))
    return [theirs[token] if token in theirs else next(spare) for token in tokens]


def in_order(state: Mapping[str, Tensor], rows: Sequence[int] | None) -> dict[str, Tensor]:
    """The weights with the token rows in the order of `rows_of`; additional rows stay at the end."""
    if rows is None:
        return dict(state)
    order = [*rows, *range(len(rows), len(state["tokens.weight"]))]
    return {name: value[order] if name in ROWS else value for name, value in state.items()}
