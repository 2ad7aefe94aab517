"""The page that `trimer predict output=<name>.html` writes, and beside it `<name>.rows.csv` with all rows and columns.

A page has at most `cards` cards (or drawings) and ROWS rows in its table, and says how many rows there are, so its size
is bounded. It loads nothing from elsewhere; without scripts it shows the same, unsorted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rdkit import Chem

from trimer.chemistry.parsed_structures import read_structure
from trimer.files import write_csv
from trimer.peptides.channels import Channel
from trimer.reporting.drawing import molecule_svg
from trimer.reporting.page import DRAWING, FINDABLE, PRINTED, shortened, write_page
from trimer.reporting.peptide_cards import peptide_cards
from trimer.reporting.prediction_cards import CardSpectrum, prediction_cards
from trimer.reporting.table import ResultTable
from trimer.reporting.templates import render

HTML = ".html"
ROWS = 1000  # of the table of a page
MOST_CARDS = 500  # of a page, about 25 MB
LIKELY_CLASSES = "likely classes"
LIKELY = 3  # classes of a row whose probabilities are shown

# Column of the predicted molecules -> its heading.
OF_MOLECULES = {
    "row": "Row", "id": "Id", "precursor_mz": "Precursor m/z", "adduct": "Adduct", "rank": "Rank",
    "molecule": "SMILES or reason", "formula": "Formula", "ppm_error": "Error (ppm)", "agrees": "Agrees",
    "p_molecule": "p(molecule)", "similarity_to_training": "Similarity to training", "library": "Library spectrum",
    "library_cosine": "Cosine", "in_training": "In training data",
}  # fmt: skip
OF_PEPTIDES = {
    "row": "Row", "id": "Id", "peptide": "Peptide", "sequence": "Input", "charge": "Charge",
    "retention": "Retention time", "energy": "Energy", "instrument": "Instrument", "unseen": "Not in training",
    "in_training": "In training data", "reason": "Reason",
}  # fmt: skip
DECIMALS = {"precursor_mz": 4, "ppm_error": 1, "p_molecule": 3, "p_formula": 3, "similarity_to_training": 2,
            "library_cosine": 2, "retention": 2, "energy": 1, "applicability": 2}  # fmt: skip
PROBABILITY_OF = "probability of "


@dataclass(frozen=True)
class PredictionPage:
    """Writes a page; called with (path, columns, rows) when all predictions are made.

    title: what is predicted. source: name of the input. about: name -> value, such as the checkpoint. cards: largest
    number of cards or drawings. what: name of the records.
    """

    title: str
    what: str
    source: str
    cards: int
    about: Mapping[str, str] = field(default_factory=dict)

    def write(
        self, path: Path, columns: Sequence[str], rows: Sequence[Mapping], sections: Mapping[str, Callable[[], Markup]]
    ) -> None:
        """Write both files. rows: those of the file beside the page. sections: heading -> what makes it."""
        write_csv(rows_path(path), columns, rows)
        groups = [list(group) for _, group in groupby(rows, key=lambda row: row["row"])]
        without = sum(group[0]["reason"] is not None for group in groups)
        subtitle = f"{len(groups) - without:,} of {len(groups):,} {self.what} have a prediction"
        subtitle += f", {without:,} have a reason why there is none." if without else "."
        ckpt = self.about.get("Checkpoint")  # a shipped model, or a run folder such as `demo/<time>-<random>`
        write_page(
            path,
            title=self.title,
            data=f"{self.source} · model {'/'.join(Path(ckpt).parts[-2:])}" if ckpt else self.source,
            subtitle=f"{subtitle} All rows and columns are in {rows_path(path).name}.",
            table=ResultTable(),
            predictions=[],
            further=sections,
            about=self.about,
        )


@dataclass(frozen=True)
class MoleculePage(PredictionPage):
    """The page of molecules that are generated for spectra.

    spectra: row of the input -> its peaks. ppm: largest error of an explained peak. ranked: whether the table lists all
    candidates or the first of each spectrum.
    """

    spectra: Mapping[int, CardSpectrum] = field(default_factory=dict)
    ppm: float = 10.0
    ranked: bool = False

    def __call__(self, path: Path, columns: Sequence[str], rows: list[dict]) -> None:
        groups = [list(group) for _, group in groupby(rows, key=lambda row: row["row"])]
        listed = rows if self.ranked else [group[0] for group in groups]
        table = [
            row | {"library": row["library_name"] or row["library_id"], "molecule": row["smiles"] or row["reason"]}
            for row in listed
        ]
        headings = {name: text for name, text in OF_MOLECULES.items() if self.ranked or name != "rank"}
        sections = {
            "Spectra": lambda: prediction_cards(groups, self.spectra, self.cards, self.ppm),
            "All rows": lambda: row_table(path, headings, table, words=("id", "molecule", "library")),
        }
        self.write(path, columns, listed, sections)


@dataclass(frozen=True)
class LabelPage(PredictionPage):
    """The page of predicted labels: a table, with drawings of molecules.

    names: the columns of the labels. labels: those on the page, by default all. molecules: what the sequences are.
    """

    labels: Sequence[str] = ()
    names: Sequence[str] = ()
    molecules: bool = False

    def __call__(self, path: Path, columns: Sequence[str], rows: list[dict]) -> None:
        drawn = ["structure"] if self.molecules else []
        labels = self.labels or self.names
        shown = ["row", "id", *drawn, "sequence", *labels, "unseen", "applicability", "in_training", "reason"]
        headings = {name: name[:1].upper() + name[1:].replace("_", " ") for name in shown}
        listed = [self._row(row, place < self.cards) for place, row in enumerate(rows[:ROWS])]
        words = ("id", "sequence", "label", "labels", "likely classes", "predicted", "unseen", "reason")
        table = lambda: row_table(path, headings, listed, len(rows), words)  # noqa: E731
        self.write(path, columns, rows, {"Predictions": table})

    def _row(self, row: Mapping, drawn: bool) -> dict[str, Any]:
        """The row with a drawing and, for classes, the most probable ones as a text."""
        known = row["reason"] is None
        more: dict[str, Any] = {}
        if self.molecules and drawn and known:
            molecule = read_structure(row["sequence"])
            more["structure"] = molecule_svg(molecule and Chem.MolToSmiles(molecule), *DRAWING)
        if LIKELY_CLASSES in self.labels and known:
            likely = {
                name.removeprefix(PROBABILITY_OF): row[name] for name in self.names if name.startswith(PROBABILITY_OF)
            }
            best = sorted(likely, key=lambda name: -likely[name])[:LIKELY]
            more[LIKELY_CLASSES] = ", ".join(f"{name} {likely[name]:.2f}" for name in best)
        if "predicted" in self.labels and known:
            positive = [name.removeprefix("predicted ") for name in self.names if row[name] == "yes"]
            more["predicted"] = ", ".join(positive) or "none"
        return {**row, **more}


@dataclass(frozen=True)
class PeptidePage(PredictionPage):
    """The page of predicted fragments: spectra as sticks, and a table. channels: the fragments of the model."""

    channels: Sequence[Channel] = ()

    def __call__(self, path: Path, columns: Sequence[str], rows: list[dict]) -> None:
        sections = {
            "Spectra": lambda: peptide_cards(rows, self.channels, self.cards),
            "All rows": lambda: row_table(
                path, OF_PEPTIDES, rows, words=("id", "peptide", "sequence", "unseen", "reason")
            ),
        }
        self.write(path, columns, rows, sections)


def rows_path(path: Path) -> Path:
    """The table of all rows and columns, beside a page."""
    return path.with_name(f"{path.stem}.rows.csv")


def row_table(
    path: Path,
    headings: Mapping[str, str],
    rows: Sequence[Mapping],
    total: int | None = None,
    words: Sequence[str] = (),
) -> Markup:
    """The first ROWS rows, without columns that are empty in all of them. words: columns of text, which may wrap."""
    shown, total = rows[:ROWS], len(rows) if total is None else total
    names = [name for name in headings if any(row.get(name) not in (None, "") for row in shown)]
    cells = [{headings[name]: cell(name, row.get(name)) for name in names} for row in shown]
    note = f"The first {len(shown):,} of {total:,} rows; {rows_path(path).name} has all." if total > len(shown) else ""
    return render(
        "table.html",
        title="All rows" if not note else "Rows",
        note=note,
        columns=[headings[name] for name in names],
        words=[headings[name] for name in names if name in words],
        rows=cells,
        findable=FINDABLE,
        printed=PRINTED,
    )


def cell(name: str, value: Any) -> str:
    """A value of a table as text; nothing where it is unknown."""
    if value is None or isinstance(value, Markup):
        return value or ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "" if value != value else f"{value:.{DECIMALS.get(name, 3)}f}"
    return shortened(str(value))
