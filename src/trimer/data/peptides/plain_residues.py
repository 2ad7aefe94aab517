"""Fixed modifications: those of residues that a table of peptides writes without a modification."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Sequence

from trimer.data.text.tables import TableFile

log = logging.getLogger(__name__)

# How notations that may omit carbamidomethyl write it if they do not omit it.
WRITTEN = re.compile(r"carbamidomethyl|C\((?:ca|cam)\)|UNIMOD:4\b|57\.02", re.I)


def fixed_modifications(name: str, texts: Iterable[str | None], default: str | None, fixed: str | None) -> str | None:
    """Fixed modifications of a file, such as `Carbamidomethyl@C`; None if its plain residues are unmodified.

    name: of the file. texts: its peptides and modifications as written. default: modifications that the layout usually
    omits; ignored if the file writes carbamidomethyl anywhere, as its plain C is then free cysteine. fixed: the user's
    setting; null: the default, an empty text: none.
    """
    if fixed is not None:
        return fixed or None
    if default is None or any(text and WRITTEN.search(text) for text in texts):
        return None
    log.warning(
        "%s: this file does not write %s, so plain residues are assumed to carry it; confirm by data.source.fixed=%s "
        "(trimer predict: fixed=%s), or set it to '' if they are unmodified",
        name,
        default,
        default,
        default,
    )
    return default


def cells_of(table: TableFile, columns: Sequence[str]) -> Iterator[str | None]:
    """All cells of the given columns, row by row."""
    return (cell for cells, _, _ in table.rows(columns) for cell in cells)
