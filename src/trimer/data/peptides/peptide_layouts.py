"""Layouts of peptide tables of search engines and libraries: the columns and the notation of modifications."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from trimer.data.text.missing import known
from trimer.data.text.tables import TableFile, shown_names
from trimer.errors import InputError
from trimer.peptides.notations import CARBAMIDOMETHYL

RUNS = ("raw file", "run", "r.filename", "file.name", "raw_name", "spectrum file", "filename")
UNREAD = re.compile(
    r"(?:(?:assigned|variable|fixed|ptm) )?(?:modifications?|mods|ptms?)|mod(?:ification)?_(?:names?|string)"
)
UNMODIFIED = frozenset({"unmodified", "none", "-", "[]", "0", "false", "no"})


@dataclass(frozen=True)
class Layout:
    """Column names of a layout, in any case; of several names the first that a table has is used.

    notation: a key of NOTATIONS. observed: a list of 0 and 1 for charge 1, 2, ... needs: further columns that identify
    the layout. fixed: modifications of plain residues, if they differ from the default of the notation
    (`notations.PLAIN`). run: the raw file of a row, if retention times depend on its gradient (indexed ones do not).
    engine: see `psm_quality`, which finds decoys, ranks and q-values. complete: whether the layout writes every
    modification, so that plain residues are unmodified; tables of users may leave out a fixed one.
    """

    notation: str
    sequence: tuple[str, ...]
    modifications: str | None = None
    sites: str | None = None
    charge: tuple[str, ...] = ()
    retention: tuple[str, ...] = ()
    observed: str | None = None
    needs: tuple[str, ...] = ()
    fixed: str | None = None
    run: tuple[str, ...] = RUNS
    engine: str = ""
    complete: bool = True

    def fits(self, table: TableFile) -> bool:
        """Whether a table has the columns that identify the layout."""
        needed = [*self.needs, *filter(None, (self.modifications, self.sites))]
        return all(name in table for name in needed) and any(name in table for name in self.sequence)


_MAXQUANT = Layout("maxquant", ("Modified sequence",), charge=("Charge",), retention=("Retention time",))
# In the order in which they are tried. Retention times have the units of the file: minutes, seconds or an index.
LAYOUTS: dict[str, Layout] = {
    "maxquant_msms": replace(_MAXQUANT, needs=("Matches",)),
    "maxquant_evidence": _MAXQUANT,
    "fragpipe": Layout(
        "fragpipe",
        ("Peptide",),
        "Assigned Modifications",
        None,
        ("Charge",),
        ("Retention",),
        run=("Spectrum",),
        engine="fragpipe",
    ),
    "sage": Layout(
        "proforma", ("peptide",), charge=("charge",), retention=("rt",), needs=("scannr", "label"), engine="sage"
    ),
    "diann": Layout("diann", ("Modified.Sequence",), charge=("Precursor.Charge",), retention=("RT",)),
    "spectronaut_report": Layout(
        "spectronaut",
        ("EG.ModifiedSequence", "EG.ModifiedPeptide"),
        charge=("FG.Charge",),
        retention=("EG.ApexRT", "EG.MeanApexRT"),
    ),
    "openswath": Layout(
        "brackets",
        ("ModifiedPeptideSequence", "FullUniModPeptideName"),
        charge=("PrecursorCharge",),
        retention=("NormalizedRetentionTime", "Tr_recalibrated"),
        run=(),
    ),
    "spectronaut_library": Layout(
        "brackets",
        ("ModifiedPeptide",),
        charge=("PrecursorCharge",),
        retention=("iRT", "Tr_recalibrated", "NormalizedRetentionTime", "RT", "RetentionTime"),
        run=(),
    ),
    "alphabase": Layout(
        "alphabase", ("sequence",), "mods", "mod_sites", ("charge",), ("rt", "rt_observed", "rt_norm", "irt")
    ),
    "ms2pip": Layout("ms2pip", ("peptide",), "modifications", None, ("charge",), ("observed_retention_time", "rt")),
    "deeplc": Layout("ms2pip", ("seq",), "modifications", None, ("charge",), ("tr",), fixed=CARBAMIDOMETHYL),
    "prosit": Layout(
        "prosit",
        ("modified_sequence",),
        charge=("precursor_charge",),
        retention=("indexed_retention_time", "irt", "retention_time"),
        observed="observed_charge_states",
    ),
    "koina": Layout("brackets", ("peptide_sequences",), charge=("precursor_charges",), retention=("irt", "rt")),
    "trimer": Layout(  # predictions of Trimer, which are canonical ProForma
        "proforma", ("peptide", "sequence"), charge=("charge",), retention=("retention",), needs=("in_training",)
    ),
    "proteometools": Layout(
        "proforma", ("sequence",), charge=("charge",), retention=("irt",), needs=("irt",), fixed=CARBAMIDOMETHYL
    ),
    "proforma": Layout(
        "proforma",
        ("proforma", "peptidoform", "peptide", "sequence"),
        charge=("charge", "precursor_charge"),
        retention=("retention", "retention_time", "rt", "irt", "tr"),
        complete=False,
    ),
    "deepphospho": Layout("deepphospho", ("precursor",), charge=("precursor_charge",)),
}


def unread_modifications(table: TableFile, used: list[str]) -> list[str]:
    """Columns that seem to hold modifications but are not read."""
    taken = {name.lower() for name in used}
    return [name for name in table.header if name.lower() not in taken and UNREAD.fullmatch(name.lower().strip())]


def lost_modification(sequence: str, cells: list[str | None], columns: list[str], hint: str) -> str | None:
    """The reason to drop a row whose modifications are in a column that is not read; None if there are none."""
    if not sequence.strip(" _.").isalpha():
        return None  # the sequence includes them
    for column, cell in zip(columns, map(known, cells), strict=True):
        if cell and cell.lower() not in UNMODIFIED:
            return f"column '{column}' has modifications that are not read: {hint}"
    return None


def find_layout(table: TableFile) -> str:
    """The name of the first layout that a table fits; InputError if there is none."""
    name = next((name for name, layout in LAYOUTS.items() if layout.fits(table)), None)
    if name is None:
        raise InputError(
            f"{table.path}: the columns {shown_names(table.header)} fit no known layout of peptides: name the column "
            "of the peptides (data.source.sequence, or column to predict), and their notation if it is not ProForma"
            f"{table.without_header('sequence')}"
        )
    return name
