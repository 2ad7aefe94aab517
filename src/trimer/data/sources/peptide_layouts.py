"""The tables of peptides that search engines and libraries write: which column holds what, in which notation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from trimer.data.text.tables import SHOWN, TableFile
from trimer.errors import InputError
from trimer.peptides.notations import CARBAMIDOMETHYL


@dataclass(frozen=True)
class Layout:
    """Names of columns, of several the first that a table has; whatever their case.

    notation: a key of NOTATIONS. observed: a list of 0 and 1 for charge 1, 2, ... decoy: says `+`, `1` or `true` on a
    decoy. needs: other columns by which the layout is known. fixed: what its plain residues carry, where that is more
    than its notation says (`notations.PLAIN`).
    """

    notation: str
    sequence: tuple[str, ...]
    modifications: str | None = None
    sites: str | None = None
    charge: tuple[str, ...] = ()
    retention: tuple[str, ...] = ()
    observed: str | None = None
    decoy: str | None = None
    needs: tuple[str, ...] = ()
    fixed: str | None = None

    def fits(self, table: TableFile) -> bool:
        """Whether a table has the sequence, the modifications and what else the layout is known by."""
        needed = [*self.needs, *filter(None, (self.modifications, self.sites))]
        return all(name in table for name in needed) and any(name in table for name in self.sequence)


_MAXQUANT = ("Modified sequence",)
# In the order in which they are tried. The retention time is as it stands: minutes, seconds or an index.
LAYOUTS: dict[str, Layout] = {
    "maxquant_msms": Layout(
        "maxquant", _MAXQUANT, None, None, ("Charge",), ("Retention time",), None, "Reverse", ("Matches",)
    ),
    "maxquant_evidence": Layout("maxquant", _MAXQUANT, None, None, ("Charge",), ("Retention time",), None, "Reverse"),
    "diann": Layout("diann", ("Modified.Sequence",), charge=("Precursor.Charge",), retention=("RT",), decoy="Decoy"),
    "spectronaut_report": Layout(
        "spectronaut",
        ("EG.ModifiedSequence", "EG.ModifiedPeptide"),
        charge=("FG.Charge",),
        retention=("EG.ApexRT", "EG.MeanApexRT"),
        decoy="EG.IsDecoy",
    ),
    "openswath": Layout(
        "diann",
        ("ModifiedPeptideSequence", "FullUniModPeptideName"),
        charge=("PrecursorCharge",),
        retention=("NormalizedRetentionTime", "Tr_recalibrated"),
        decoy="decoy",
    ),
    "spectronaut_library": Layout(
        "spectronaut", ("ModifiedPeptide",), charge=("PrecursorCharge",), retention=("iRT", "RT", "RetentionTime")
    ),
    "alphabase": Layout(
        "alphabase",
        ("sequence",),
        "mods",
        "mod_sites",
        ("charge",),
        ("rt", "rt_observed", "rt_norm", "irt"),
        decoy="decoy",
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
    "proteometools": Layout(
        "proforma", ("sequence",), charge=("charge",), retention=("irt",), needs=("irt",), fixed=CARBAMIDOMETHYL
    ),
    "proforma": Layout(
        "proforma",
        ("proforma", "peptidoform", "peptide", "sequence"),
        charge=("charge", "precursor_charge"),
        retention=("retention", "retention_time", "rt", "irt", "tr"),
        decoy="is_decoy",
    ),
    "deepphospho": Layout("deepphospho", ("precursor",), charge=("precursor_charge",)),
}


def find_layout(table: TableFile) -> str:
    """The name of the first layout that a table fits; InputError where there is none."""
    found = next((name for name, layout in LAYOUTS.items() if layout.fits(table)), None)
    if found is None:
        shown = ", ".join(table.header[:SHOWN]) + (", ..." if len(table.header) > SHOWN else "")
        raise InputError(
            f"{table.path}: the columns {shown} are of no layout of peptides that is known: name the column of the "
            "peptides (data.source.sequence, or column to predict), and their notation where it is not ProForma"
        )
    return found


def first_column(table: TableFile, names: Iterable[str]) -> str | None:
    """The first of the names that the table has."""
    return next((name for name in names if name in table), None)
