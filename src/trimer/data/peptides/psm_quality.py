"""Rows of a search result to drop: decoys, lower ranks, and matches above an error rate."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from trimer.data.text.missing import known
from trimer.data.text.tables import TableFile

# Column names of all layouts, in any case; of several the first that a table has is used.
DECOYS = ("decoy", "is_decoy", "isdecoy", "eg.isdecoy", "reverse")
LABELS = ("label",)  # Sage and Percolator: -1 is a decoy
RANKS = ("rank", "hit_rank", "psm_rank")
Q_VALUES = ("q_value", "qvalue", "q-value", "q.value", "eg.qvalue", "spectrum_q", "psm_q_value", "m_score", "fdr")
PEPS = ("pep", "posterior_error_probability", "eg.pep")
PROBABILITIES = ("peptideprophet probability", "probability")  # FragPipe: 1 - PEP
PROTEINS = (
    "protein", "proteins", "proteinid", "protein.ids", "protein.group", "protein_ids", "pg.proteinaccessions",
    "proteingroup", "proteinname", "uniprotid", "protein_list", "protein_name",
)  # fmt: skip
GENES = ("genes", "gene", "genename", "gene names", "gene_names", "pg.genes")
LABELLING = ("labeling state",)  # MaxQuant: 0 light, 1 and 2 labelled

TRUE = frozenset({"+", "1", "true", "yes", "decoy", "1.0"})
REVERSED = re.compile(r"(?:rev|decoy|reverse|xxx)_", re.I)
DECOY = "decoy"
FDR = 0.01
ROUNDING = 1e-9  # 1 - 0.99 is a little above 0.01


def check_fdr(fdr: float | None) -> None:
    """ValueError for an invalid error rate."""
    if fdr is not None and not 0 < fdr <= 1:
        raise ValueError(f"fdr={fdr} must be above 0 and at most 1, or null")


def first_column(table: TableFile, names: Sequence[str]) -> str | None:
    """The first of these columns that the table has."""
    return next((name for name in names if name in table), None)


class Quality:
    """Finds the rows of a table to drop, by the columns of decoys, ranks and error rates.

    fdr: highest q-value, or posterior error probability (PEP, which is stricter) if the table has no q-value; null
    keeps all q-values and ranks. Rows without a value are kept. engine: "fragpipe" or "sage", whose column names have
    special meanings. used: columns of the peptide, which are not checked.
    """

    def __init__(self, table: TableFile, fdr: float | None = FDR, engine: str = "", used: Sequence[str] = ()):
        used_names = {name.lower() for name in used}

        def find(names: Sequence[str]) -> str | None:
            return first_column(table, [name for name in names if name not in used_names])

        columns = {"decoy": find(DECOYS), "proteins": find(PROTEINS), "state": find(LABELLING)}
        if engine == "sage":
            columns["label"] = find(LABELS)
        if fdr is not None:
            columns |= {"rank": find(RANKS), "q-value": find(Q_VALUES)}
            if not columns["q-value"]:
                columns["PEP"] = find(PEPS)
                columns["probability"] = find(PROBABILITIES) if engine == "fragpipe" and not columns["PEP"] else None
        self.fdr = fdr
        self.column_of = {what: column for what, column in columns.items() if column}
        self.columns = list(self.column_of.values())

    def reason(self, cells: Sequence[str | None]) -> str | None:
        """Why a row is dropped, or None. cells: those of `columns`."""
        for (what, column), cell in zip(self.column_of.items(), map(known, cells), strict=True):
            if cell is not None and (problem := self._problem(what, column, cell)):
                return problem
        return None

    def _problem(self, what: str, column: str, cell: str) -> str | None:
        if what == "decoy":
            return DECOY if cell.lower() in TRUE else None
        if what == "proteins":
            return DECOY if all(REVERSED.match(name.strip()) for name in re.split("[;,]", cell)) else None
        value = _number(cell)
        if math.isnan(value):
            return f"{what} {cell} (column '{column}') is not a number"
        if what == "label":
            return DECOY if value < 0 else None
        if what == "state":
            why = "the file does not state which residues carry the label"
            return f"labelled peptide ({column} {cell}): {why}" if value else None
        if what == "rank":
            return "rank below the first" if value > 1 else None
        error = 1 - value if what == "probability" else value
        shown = "PEP (1 - probability)" if what == "probability" else what
        return f"{shown} above {self.fdr:g}" if error > (self.fdr or 0) + ROUNDING else None


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan
