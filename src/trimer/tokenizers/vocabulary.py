"""The list of tokens that a model knows: the special ones, then those of the languages it speaks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

from trimer.errors import ConfigError

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # in the order of BART's vocabulary
BOS, PAD, EOS, UNK, MASK = range(len(SPECIALS))


class Vocabulary:
    """Tokens and their ids: the specials come first (BART's are 0 to 4), `tokens` follow in the order given.

    Raises ConfigError when a token is empty or named twice.
    """

    def __init__(self, tokens: Sequence[str], specials: Sequence[str] = SPECIALS):
        self.tokens: list[str] = [*specials, *tokens]
        self.ids: dict[str, int] = {token: i for i, token in enumerate(self.tokens)}
        if "" in self.ids:
            raise ConfigError("the vocabulary holds an empty token: remove it.")
        if len(self.ids) != len(self.tokens):
            twice = next(token for i, token in enumerate(self.tokens) if self.ids[token] != i)
            raise ConfigError(f"the token '{twice}' is in the vocabulary twice: rename it in one of the languages.")

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def digest(self) -> str:
        """sha256 over all tokens in order: two vocabularies with the same digest give every token the same id."""
        return hashlib.sha256("\0".join(self.tokens).encode()).hexdigest()
