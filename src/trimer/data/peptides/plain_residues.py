"""What the residues without a written modification carry in a table of peptides."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence

from trimer.data.text.tables import TableFile

log = logging.getLogger(__name__)

# How the notations that may leave carbamidomethyl out write it where they do not.
WRITTEN = re.compile(r"carbamidomethyl|C\((?:ca|cam)\)|UNIMOD:4\b|57\.02", re.I)


def fixed_modifications(name: str, texts: Iterable[str | None], default: str | None, given: str | None) -> str | None:
    """The fixed modifications of a file, as `Carbamidomethyl@C`; None where its plain residues are unmodified.

    name: of the file. texts: its peptides and modifications as written. default: what the layout leaves out as a rule.
    It does not hold for a file that writes carbamidomethyl somewhere: the plain C of such a file is free cysteine.
    given: the user's setting; null takes the default, an empty text adds nothing.
    """
    if given is not None:
        return given or None
    if default is None or any(text and WRITTEN.search(text) for text in texts):
        return None
    log.warning(
        "%s: residues without a modification are read as %s, which this file leaves out; set data.source.fixed (to "
        "predict: fixed) to confirm it, or to '' for unmodified ones",
        name,
        default,
    )
    return default


def cells_of(table: TableFile, columns: Sequence[str]) -> Iterator[str | None]:
    """The cells of some columns, row by row."""
    return (cell for cells, _, _ in table.rows(columns) for cell in cells)
