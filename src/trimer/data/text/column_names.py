"""Alternative names of the SMILES and sequence columns of tables."""

from __future__ import annotations

import logging
import re

from trimer.data.text.tables import TableFile

log = logging.getLogger(__name__)

# Usual name -> alternatives, the most likely first, written as by `_plain`.
ALTERNATIVES = {
    "smiles": (
        "canonicalsmiles", "isomericsmiles", "standardizedsmiles", "stdsmiles", "rdkitsmiles", "smilesstring", "smi",
        "molsmiles", "ligandsmiles", "drugsmiles", "compoundsmiles", "moldbsmiles", "mol", "structure",
        "inchi", "standardinchi", "stdinchi", "moldbinchi",
    ),
    "sequence": (
        "seq", "proteinsequence", "aasequence", "aaseq", "aminoacidsequence", "targetsequence", "primary", "protein",
    ),
}  # fmt: skip


def column_called(file: TableFile, name: str) -> str:
    """The column `name` of a table, or the most likely alternative; the choice of an alternative is logged."""
    if name in file or name not in ALTERNATIVES:
        return name
    columns = {_plain(column): column for column in reversed(file.header) if column}
    alternative = next((columns[plain] for plain in ALTERNATIVES[name] if plain in columns), None)
    if alternative is None:
        return name
    log.info("%s: reading column %r as %s; set `column` to read another one", file.path, alternative, name)
    return alternative


def is_called(column: str, name: str) -> bool:
    """Whether a column is `name`, or an alternative of it."""
    plain = _plain(column)
    return plain == _plain(name) or plain in ALTERNATIVES.get(name, ())


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.]", "", name).lower()
