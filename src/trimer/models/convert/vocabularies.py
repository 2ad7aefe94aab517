"""Whether the rows of public weights stand for the tokens of ours: the same, the same in another order, or others.

A table of embeddings loads whatever its rows mean, so the vocabulary beside it is compared with ours token by token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from trimer.errors import CheckpointError
from trimer.tokenizers.published import published_ids

ROWS = ("tokens.weight", "head.bias", "final_logits_bias")  # the weights with a row for each token, under our names
UNUSED = "<unused_"  # how a row without a token is called in our byte-pair vocabularies


def rows_of(tokens: Sequence[str], folder: str | Path) -> list[int] | None:
    """The row that each of our tokens has in the weights of a folder; None where all of them are in their places.

    CheckpointError where the folder has other tokens: its rows would be taken for something else.
    """
    theirs = published_ids(Path(folder).expanduser())
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
            "tokenizer of that folder (data/tokenizer=bpe) or other weights"
        )
    spare = iter(sorted(set(range(len(tokens))) - set(theirs.values())))
    return [theirs[token] if token in theirs else next(spare) for token in tokens]


def in_order(state: Mapping[str, Tensor], rows: Sequence[int] | None) -> dict[str, Tensor]:
    """The weights under our names, with the rows of the tokens in the order of `rows_of`; more rows stay behind."""
    if rows is None:
        return dict(state)
    order = [*rows, *range(len(rows), len(state["tokens.weight"]))]
    return {name: value[order] if name in ROWS else value for name, value in state.items()}
