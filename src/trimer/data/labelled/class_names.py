"""Which texts name the same class: `1` and `1.0`, `Active` and `active`."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from trimer.errors import ConfigError, InputError

log = logging.getLogger(__name__)

SHOWN = 5  # classes that a message names
_DECIMAL = re.compile(r"[+-]?\d+\.\d*")


def spelling(text: object) -> str:
    """What texts of the same meaning share: case, white space and the zeros behind a decimal point do not count."""
    text = " ".join(str(text).split()).casefold()
    if _DECIMAL.fullmatch(text):
        text = text.rstrip("0").rstrip(".")
        text = "0" if text in ("-0", "+0") else text
    return text


def class_of_text(texts: Iterable[str], wanted: Sequence[str] | None = None) -> dict[str, str]:
    """Text -> the class that it means.

    Texts that differ only in case, white space or the zeros behind a decimal point are one class, called by its most
    frequent text, a number by its shortest. wanted: names that are classes of their own as they are written, so that
    `[A, a]` keeps both apart.
    """
    counts = Counter(texts)
    named = dict.fromkeys(wanted or ())
    texts_of: dict[str, list[str]] = {}
    numbers = {text for text in counts if _DECIMAL.fullmatch(text)}
    for text in sorted(counts, key=lambda text: (text in numbers, -counts[text], len(text), text)):
        texts_of.setdefault(spelling(text), []).append(text)
    chosen: dict[str, str] = {}
    for name in named:
        chosen.setdefault(spelling(name), name)
    return {
        text: text if text in named else chosen.get(key, same[0]) for key, same in texts_of.items() for text in same
    }


def warn_of_merged(names: Mapping[str, str], counts: Mapping[str, int]) -> None:
    """Say which texts were taken for one class, where they are more than one. names: text -> class."""
    texts_of: dict[str, list[str]] = {}
    for text, name in names.items():
        texts_of.setdefault(name, []).append(text)
    merged = {name: texts for name, texts in texts_of.items() if len(texts) > 1}
    for name, texts in list(merged.items())[:SHOWN]:
        told = ", ".join(f"{text!r} ({counts[text]:,})" for text in texts)
        log.warning("one class %r: the labels %s; name them in data.classes to keep them apart", name, told)
    if len(merged) > SHOWN:
        log.warning("%s more classes have labels that differ only in how they are written", len(merged) - SHOWN)


def chosen_classes(counts: Mapping[str, int], wanted: int | Sequence[str] | None) -> list[str]:
    """The classes in the order of the outputs: all by name, the `wanted` most frequent ones, or those named.

    counts: class -> records, or residues, of it. ConfigError for a name that no record has, and InputError where there
    is one class alone.
    """
    if isinstance(wanted, int):
        chosen = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))][:wanted]
    else:
        chosen = sorted(counts) if wanted is None else list(dict.fromkeys(wanted))
    if absent := [name for name in chosen if name not in counts]:
        raise ConfigError(f"data.classes: no record has the label {absent[0]!r}; there are {', '.join(counts)}")
    if len(counts) == 1:
        raise InputError(f"data: every label is {chosen[0]!r}, which is nothing to learn: give records of others too")
    return chosen
