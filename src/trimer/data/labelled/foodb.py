"""FooDB: food compounds with chemical classes, flavours, health effects and ontology terms.

FooDB (foodb.ca) requires permission for commercial use. Unpack its CSV release of 2020-04-07 yourself; the archive is a
plain tar despite its name.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from trimer.data.core.drops import NO_SEQUENCE
from trimer.data.core.label_table import (
    LabelTable,
    check_limit,
    empty_table,
    limited,
    settings_text,
)
from trimer.data.text.content import content_digest
from trimer.data.text.missing import known
from trimer.data.text.tables import ROWS, TableFile
from trimer.errors import InputError

log = logging.getLogger(__name__)

CLASSES = ("superklass", "klass", "subklass", "kingdom")
# Wrong column names in the header of Compound.csv of the 2020 release, in this order -> the right names.
RIGHT_NAMES = {
    "moldb_iupac": "state",
    "state": "annotation_quality",
    "annotation_quality": "description",
    "description": "cas_number",
    "cas_number": "moldb_smiles",
    "moldb_inchikey": "moldb_inchi",
    "moldb_inchi": "moldb_mono_mass",
    "moldb_smiles": "moldb_inchikey",
    "moldb_mono_mass": "moldb_iupac",
}
INCHIKEY = re.compile(r"[A-Z]{14}-[A-Z]{10}-[A-Z]")


@dataclass(frozen=True)
class Terms:
    """A table of links (compound_id, `key`) and the table of the linked terms (id, `name`)."""

    links: str
    key: str
    table: str
    name: str


TERMS = {
    "flavors": Terms("CompoundsFlavor.csv", "flavor_id", "Flavor.csv", "name"),
    "health_effects": Terms("CompoundsHealthEffect.csv", "health_effect_id", "HealthEffect.csv", "name"),
    "ontology": Terms("CompoundOntologyTerm.csv", "ontology_term_id", "OntologyTerm.csv", "term"),
}
ROW_KINDS = ("compounds", "flavors")


@dataclass(eq=False)
class FooDB:
    """Compounds of FooDB's CSV release in `folder`: Compound.csv and, for terms, two more tables.

    label: one class per compound, "superklass", "klass", "subklass" or "kingdom"; or many labels, "flavors",
    "health_effects" or "ontology": the `terms` most frequent terms, each "1" if the compound has it, "0" if it only has
    others, and missing if it has none. rows: "compounds", one record for each; "flavors", a record for each flavour of
    a compound, all with the same label. Split by rows, this puts the same molecule into train and test; it is meant for
    reproducing results obtained this way. limit: largest number of records to read.

    In the release of 2020 the header of Compound.csv is in another order than its columns (moldb_smiles holds
    InChIKeys); this header is recognised and corrected. Links to compounds and terms that are not in the release are
    dropped, and their number is logged. Tested on small files of this layout, not on the release.
    """

    folder: str
    label: str = "superklass"
    terms: int = 50
    rows: str = "compounds"
    limit: int | None = None

    def __post_init__(self) -> None:
        check_limit(self.limit)
        if self.label not in (*CLASSES, *TERMS):
            raise ValueError(f"label={self.label} must be one of {', '.join((*CLASSES, *TERMS))}")
        if self.rows not in ROW_KINDS:
            raise ValueError(f"rows={self.rows} must be one of {', '.join(ROW_KINDS)}")
        if self.terms < 1:
            raise ValueError(f"terms={self.terms} must be 1 or more")

    def files(self) -> list[Path]:
        """The tables to read; InputError if one is missing."""
        names = ["Compound.csv"]
        if self.label in TERMS:
            names += [TERMS[self.label].links, TERMS[self.label].table]
        if self.rows == "flavors":
            names.append(TERMS["flavors"].links)
        folder = Path(self.folder).expanduser()
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise InputError(
                f"{folder}: {missing[0]} is missing; unpack the CSV release of foodb.ca/downloads there (tar -xf), or "
                "set the right folder"
            )
        return [folder / name for name in dict.fromkeys(names)]

    def fingerprint(self) -> str:
        settings = {name: getattr(self, name) for name in ("label", "terms", "rows", "limit")}
        return f"{content_digest(self.files())}/{settings_text(settings)}"

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """Tables of a few thousand records, with the requested columns of Compound.csv."""
        self.files()
        return limited(self._tables(columns), self.limit, str(self._path("Compound.csv")))

    def _tables(self, columns: Sequence[str]) -> Iterator[LabelTable]:
        keys, table = self._compounds(columns)
        if self.label in TERMS:
            table.labels = self._term_labels(keys)
        if self.rows == "flavors":
            table = self._by_flavor(keys, table)
        for first in range(0, len(table), ROWS):
            yield table.take(range(first, min(first + ROWS, len(table))))

    # ---------------------------------------------------------------- compounds

    def _compounds(self, columns: Sequence[str]) -> tuple[list[str | None], LabelTable]:
        """The compounds, and the ids by which other tables refer to them."""
        file = TableFile(self._path("Compound.csv"))
        _correct_header(file)
        classes = [self.label] if self.label in CLASSES else []
        table = empty_table(classes, columns)
        lists = [*table.labels.values(), *table.columns.values()]
        keys: list[str | None] = []
        rows = file.rows(["id", "public_id", "moldb_smiles", *classes, *columns])
        for row, (cells, number, problem) in enumerate(rows):
            key, name, smiles, *values = map(known, cells)
            keys.append(key)
            table.ids.append(name or f"{file.path.name}:{number}")
            table.texts.append(smiles or "")
            table.places.append(file.place_of(number))
            for texts, value in zip(lists, values, strict=True):
                texts.append(value)
            problem = problem or (None if smiles else NO_SEQUENCE)
            if problem:
                table.problems[row] = problem
        return keys, table

    def _by_flavor(self, keys: Sequence[str | None], table: LabelTable) -> LabelTable:
        """One record for each link of a compound to a flavour, in the order of the links."""
        rows_of = {key: row for row, key in enumerate(keys) if key}
        file = TableFile(self._path(TERMS["flavors"].links))
        keys_and_lines = [(known(key), line) for (key,), line, problem in file.rows(["compound_id"]) if not problem]
        links = [(rows_of[key], line) for key, line in keys_and_lines if key in rows_of]
        repeated = table.take(row for row, _ in links)
        repeated.places = [file.place_of(line) for _, line in links]
        log.warning(
            "%s: %s records of %s compounds, one for each flavour: a split by rows puts a molecule into train and test",
            file.path,
            f"{len(links):,}",
            f"{len({row for row, _ in links}):,}",
        )
        return repeated

    # ---------------------------------------------------------------- terms

    def _term_labels(self, keys: Sequence[str | None]) -> dict[str, list[str | None]]:
        """Most frequent term -> "1", "0" or None for each compound."""
        terms_of = self._terms_of(set(filter(None, keys)))
        counts = Counter(term for terms in terms_of.values() for term in terms)
        kept = sorted(counts, key=lambda term: (-counts[term], term))[: self.terms]
        if not kept:
            raise InputError(
                f"{self.folder}: no compound has a term of {self.label}; check that the release is complete"
            )
        terms_by_row = [terms_of.get(key) for key in keys]
        return {term: [None if terms is None else "01"[term in terms] for terms in terms_by_row] for term in kept}

    def _terms_of(self, compounds: set[str]) -> dict[str | None, set[str]]:
        """Compound id -> names of its terms."""
        tables = TERMS[self.label]
        rows = TableFile(self._path(tables.table)).rows(["id", tables.name])
        names = {known(key): known(name) for (key, name), _, problem in rows if not problem}
        file = TableFile(self._path(tables.links))
        terms_of: dict[str | None, set[str]] = {}
        count = dropped = 0
        for cells, _, problem in file.rows(["compound_id", tables.key]):
            compound, key = map(known, cells)
            count += 1
            term = names.get(key) if key else None
            if problem or term is None or compound not in compounds:
                dropped += 1
            else:
                terms_of.setdefault(compound, set()).add(term)
        if dropped:
            log.warning(
                "%s: dropped %s of %s links, whose compound or term is not in the release",
                file.path,
                f"{dropped:,}",
                f"{count:,}",
            )
        return terms_of

    def _path(self, name: str) -> Path:
        return Path(self.folder).expanduser() / name


def _correct_header(file: TableFile) -> None:
    """Correct the header of Compound.csv; InputError if it is wrong in another way than in the 2020 release."""
    texts = (known(cell) for (cell,), _, problem in islice(file.rows(["moldb_smiles"]), ROWS) if not problem)
    values = [text for text in texts if text]
    keys = sum(INCHIKEY.fullmatch(text) is not None for text in values)
    if 2 * keys <= len(values):
        return
    if [name for name in file.header if name in RIGHT_NAMES] != list(RIGHT_NAMES):
        fix = "write the names in the order of the columns"
        raise InputError(f"{file.path}, line 1: the column moldb_smiles holds InChIKeys; {fix}")
    log.info("%s: corrected the header, whose names are in another order than the columns", file.path)
    file.header = [RIGHT_NAMES.get(name, name) for name in file.header]
