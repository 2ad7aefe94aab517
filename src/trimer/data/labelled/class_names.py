"""Class names: texts such as `1` and `1.0`, or `Active` and `active`, name the same class."""

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
    """Normalised text: case, white space and trailing zeros of decimals are ignored."""
    text = " ".join(str(text).split()).casefold()
    if _DECIMAL.fullmatch(text):
        text = text.rstrip("0").rstrip(".")
        text = "0" if text in ("-0", "+0") else text
    return text


def class_of_text(texts: Iterable[str], wanted: Sequence[str] | None = None) -> dict[str, str]:
    """Text -> class name.

    Texts that differ only in case, white space or trailing zeros of decimals are one class, named by its most frequent
    text (numbers by the shortest). wanted: exact names of classes, so that `[A, a]` keeps both apart.
    """
    counts = Counter(texts)
    exact = dict.fromkeys(wanted or ())
    texts_of: dict[str, list[str]] = {}
    numbers = {text for text in counts if _DECIMAL.fullmatch(text)}
    for text in sorted(counts, key=lambda text: (text in numbers, -counts[text], len(text), text)):
        texts_of.setdefault(spelling(text), []).append(text)
    chosen: dict[str, str] = {}
    for name in exact:
        chosen.setdefault(spelling(name), name)
    return {
        text: text if text in exact else chosen.get(key, same[0]) for key, same in texts_of.items() for text in same
    }


def warn_of_merged(names: Mapping[str, str], counts: Mapping[str, int]) -> None:
    """Warn about classes that several texts name. names: text -> class."""
    texts_of: dict[str, list[str]] = {}
    for text, name in names.items():
        texts_of.setdefault(name, []).append(text)
    merged = {name: texts for name, texts in texts_of.items() if len(texts) > 1}
    for name, texts in list(merged.items())[:SHOWN]:
        listed = ", ".join(f"{text!r} ({counts[text]:,})" for text in texts)
        log.warning("the labels %s form one class %r; name them in data.classes to keep them apart", listed, name)
    if len(merged) > SHOWN:
        log.warning("%s more classes have labels with several spellings", len(merged) - SHOWN)


def chosen_classes(counts: Mapping[str, int], wanted: int | Sequence[str] | None) -> list[str]:
    """The classes in the order of the model's outputs: all by name, the `wanted` most frequent, or those listed.

    counts: class -> number of records or residues. ConfigError for a name without records, InputError for a single
    class.
    """
    if isinstance(wanted, int):
        chosen = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))][:wanted]
    else:
        chosen = sorted(counts) if wanted is None else list(dict.fromkeys(wanted))
    if absent := [name for name in chosen if name not in counts]:
        raise ConfigError(f"data.classes: no record has the label {absent[0]!r}; the labels are {', '.join(counts)}")
    if len(counts) == 1:
        raise InputError(
            f"data: every label is {chosen[0]!r}, so there is nothing to learn: add records of other classes"
        )
    return chosen
