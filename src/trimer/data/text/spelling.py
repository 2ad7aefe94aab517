"""Counts texts with atoms or letters that a vocabulary lacks, which the model therefore does not see."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

log = logging.getLogger(__name__)

HINT = "; data.tokenizer.atoms=true (of trimer embed: atoms=true) cuts by atoms"
SHOWN = 5  # most frequent ones in the message


class Spelling:
    """Counts texts that a tokenizer cannot represent completely.

    A tokenizer without the method `unspelled` represents all texts. what: name of the texts in the message.
    """

    def __init__(self, tokenizer, what: str):
        self.unspelled: Callable[[str], list[str]] | None = getattr(tokenizer, "unspelled", None)
        self.hint = HINT if getattr(tokenizer, "atoms", None) is False else ""
        self.what = what
        self.reset()

    def reset(self) -> None:
        """Forget the texts so far."""
        self.texts = self.incomplete = 0
        self.signs: Counter[str] = Counter()

    def count(self, texts: Iterable[str | None]) -> None:
        """Count these texts; None is skipped."""
        for text in texts:
            if text is None or self.unspelled is None:
                continue
            self.texts += 1
            if missing := self.unspelled(text):
                self.incomplete += 1
                self.signs.update(missing)

    def counts(self) -> list[dict]:
        """The counts so far for `add`, a list of at most one dict of plain values; none if nothing was counted."""
        return [{"texts": self.texts, "incomplete": self.incomplete, "signs": dict(self.signs)}] if self.texts else []

    def add(self, counts: Iterable[Mapping]) -> None:
        """Add the counts of other texts."""
        for part in counts:
            self.texts += part["texts"]
            self.incomplete += part["incomplete"]
            self.signs.update(part["signs"])

    def to_dict(self) -> dict:
        """Plain values, for the manifest of a store; empty if all texts are complete."""
        if not self.incomplete:
            return {}
        signs = dict(self.signs.most_common(20))
        facts = {"texts": self.texts, "incomplete": self.incomplete, "signs": signs}
        return {"what": self.what, "hint": self.hint, **facts}

    def warn(self) -> None:
        """Warn if some texts are incomplete."""
        warn_of_spelling(self.to_dict())


def warn_of_spelling(counts: Mapping | None) -> None:
    """Warn of incomplete texts; counts: result of `Spelling.to_dict`, which may come from an earlier run."""
    if not counts:
        return
    signs = ", ".join(f"{sign!r} {count:,} times" for sign, count in list(counts["signs"].items())[:SHOWN])
    log.warning(
        "%s of %s %s (%.1f %%) hold what the vocabulary cannot spell, and are read without it: %s%s",
        f"{counts['incomplete']:,}",
        f"{counts['texts']:,}",
        counts["what"],
        100 * counts["incomplete"] / counts["texts"],
        signs,
        counts["hint"],
    )
