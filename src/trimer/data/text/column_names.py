"""Other names under which tables hold their SMILES or residues, found where the usual name is not there."""

from __future__ import annotations

import logging
import re

from trimer.data.text.tables import TableFile

log = logging.getLogger(__name__)

# The usual name -> others, the likeliest first, as `_plain` writes them.
OTHERS = {
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
    """The column of a table that is called `name`, or else the likeliest of its other names, which is logged."""
    if name in file or name not in OTHERS:
        return name
    columns = {_plain(column): column for column in reversed(file.header) if column}
    found = next((columns[other] for other in OTHERS[name] if other in columns), None)
    if found is None:
        return name
    log.info("%s: column %r is read as %s; another one is named by `column`", file.path, found, name)
    return found


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-.]", "", name).lower()
