"""What a vocabulary cannot spell: how many texts a model reads without some of their atoms or letters, and which."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

log = logging.getLogger(__name__)

HINT = "; data.tokenizer.atoms=true (of trimer embed: atoms=true) cuts by atoms"
SHOWN = 5  # signs that a message names


class Spelling:
    """Counts the texts of which a tokenizer loses something. A tokenizer without `unspelled` loses nothing.

    what: the texts, in words.
    """

    def __init__(self, tokenizer, what: str):
        self.unspelled: Callable[[str], list[str]] | None = getattr(tokenizer, "unspelled", None)
        self.hint = HINT if getattr(tokenizer, "atoms", None) is False else ""
        self.what = what
        self.texts = self.incomplete = 0
        self.signs: Counter[str] = Counter()

    def count(self, texts: Iterable[str | None]) -> None:
        """Add these texts; None stands for one that is not read."""
        for text in texts:
            if text is None or self.unspelled is None:
                continue
            self.texts += 1
            if lost := self.unspelled(text):
                self.incomplete += 1
                self.signs.update(lost)

    def to_dict(self) -> dict:
        """Plain values, for the manifest of a store; empty where nothing is lost."""
        if not self.incomplete:
            return {}
        signs = dict(self.signs.most_common(20))
        facts = {"texts": self.texts, "incomplete": self.incomplete, "signs": signs}
        return {"what": self.what, "hint": self.hint, **facts}

    def warn(self) -> None:
        """A warning with the share, where something is lost."""
        warn_of_spelling(self.to_dict())


def warn_of_spelling(found: Mapping | None) -> None:
    """The warning for what `Spelling.to_dict` counted, perhaps in an earlier run; nothing where nothing is lost."""
    if not found:
        return
    signs = ", ".join(f"{sign!r} {count:,} times" for sign, count in list(found["signs"].items())[:SHOWN])
    log.warning(
        "%s of %s %s (%.1f %%) hold what the vocabulary cannot spell, and are read without it: %s%s",
        f"{found['incomplete']:,}",
        f"{found['texts']:,}",
        found["what"],
        100 * found["incomplete"] / found["texts"],
        signs,
        found["hint"],
    )
