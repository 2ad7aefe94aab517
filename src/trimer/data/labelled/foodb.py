"""FooDB: compounds of food with their chemical class, flavours, health effects and terms of an ontology.

FooDB (foodb.ca) asks for permission before any commercial use. Its CSV release of 2020-04-07 is unpacked by hand; the
archive is a plain tar in spite of its name.
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
# What the release of 2020 prints over some columns of Compound.csv, in this order -> what they hold.
MEANT = {
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
    """A table of links (compound_id and `key`), and the table of the terms that they lead to (id and `name`)."""

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


class FooDB:
    """Compounds of FooDB's CSV release, as they stand in `folder`: Compound.csv and, for terms, two tables beside.

    label: one text a compound, of "superklass", "klass", "subklass" or "kingdom"; or many labels, of "flavors",
    "health_effects" or "ontology": the `terms` that most compounds have, each "1" where the compound has it and "0"
    where it only has others, missing where nobody has given it any. rows: "compounds", one record each. "flavors" gives
    a compound once for each of its flavours, with the same label each time; split by rows, that puts the same molecule
    into training and test, and is here to reproduce results that did so. limit: stop after so many records.

    The header of Compound.csv in the release of 2020 is in another order than its columns (InChIKeys stand under
    moldb_smiles); this header is known and put right. Links to compounds and terms that are not in the release are left
    out, and their number is logged. Tested on small files of this layout, not on the release itself.
    """

    def __init__(
        self,
        folder: str,
        label: str = "superklass",
        terms: int = 50,
        rows: str = "compounds",
        limit: int | None = None,
    ):
        check_limit(limit)
        if label not in (*CLASSES, *TERMS):
            raise ValueError(f"label={label} must be one of {', '.join((*CLASSES, *TERMS))}")
        if rows not in ROW_KINDS:
            raise ValueError(f"rows={rows} must be one of {', '.join(ROW_KINDS)}")
        if terms < 1:
            raise ValueError(f"terms={terms} must be 1 or more")
        self.folder = folder
        self.label = label
        self.terms = terms
        self.rows = rows
        self.limit = limit

    def files(self) -> list[Path]:
        """The tables that are read; InputError for one that is not there."""
        names = ["Compound.csv"]
        if self.label in TERMS:
            names += [TERMS[self.label].links, TERMS[self.label].table]
        if self.rows == "flavors":
            names.append(TERMS["flavors"].links)
        folder = Path(self.folder).expanduser()
        lost = [name for name in names if not (folder / name).is_file()]
        if lost:
            raise InputError(
                f"{folder}: there is no {lost[0]}; unpack the CSV release of foodb.ca/downloads there (tar -xf), or "
                "name its folder"
            )
        return [folder / name for name in dict.fromkeys(names)]

    def fingerprint(self) -> str:
        settings = {name: getattr(self, name) for name in ("label", "terms", "rows", "limit")}
        return f"{content_digest(self.files())}/{settings_text(settings)}"

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        """Tables of some thousand records, with the columns of Compound.csv that are asked for."""
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
        """The numbers by which other tables name the compounds, and the compounds."""
        file = TableFile(self._path("Compound.csv"))
        _put_right(file)
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
        """A record for each link of a compound with a flavour, in the order of the links."""
        rows_of = {key: row for row, key in enumerate(keys) if key}
        file = TableFile(self._path(TERMS["flavors"].links))
        links = [(known(key), number) for (key,), number, problem in file.rows(["compound_id"]) if not problem]
        links = [(rows_of[key], number) for key, number in links if key in rows_of]
        repeated = table.take(row for row, _ in links)
        repeated.places = [file.place_of(number) for _, number in links]
        log.warning(
            "%s: %s records of %s compounds, one for each flavour: split by rows, the same molecule is on both sides",
            file.path,
            f"{len(links):,}",
            f"{len({row for row, _ in links}):,}",
        )
        return repeated

    # ---------------------------------------------------------------- terms

    def _term_labels(self, keys: Sequence[str | None]) -> dict[str, list[str | None]]:
        """The most frequent terms -> "1", "0" or None for each compound."""
        terms_of = self._terms_of(set(filter(None, keys)))
        counts = Counter(term for terms in terms_of.values() for term in terms)
        kept = sorted(counts, key=lambda term: (-counts[term], term))[: self.terms]
        if not kept:
            raise InputError(f"{self.folder}: no compound has a term of {self.label}: is the release complete?")
        own = [terms_of.get(key) for key in keys]
        return {term: [None if terms is None else "01"[term in terms] for terms in own] for term in kept}

    def _terms_of(self, compounds: set[str]) -> dict[str | None, set[str]]:
        """The names of the terms of each compound that has any."""
        tables = TERMS[self.label]
        rows = TableFile(self._path(tables.table)).rows(["id", tables.name])
        names = {known(key): known(name) for (key, name), _, problem in rows if not problem}
        file = TableFile(self._path(tables.links))
        found: dict[str | None, set[str]] = {}
        count = lost = 0
        for cells, _, problem in file.rows(["compound_id", tables.key]):
            compound, key = map(known, cells)
            count += 1
            term = names.get(key) if key else None
            if problem or term is None or compound not in compounds:
                lost += 1
            else:
                found.setdefault(compound, set()).add(term)
        if lost:
            log.warning(
                "%s: %s of %s links lead to a compound or a term that is not there, and are left out",
                file.path,
                f"{lost:,}",
                f"{count:,}",
            )
        return found

    def _path(self, name: str) -> Path:
        return Path(self.folder).expanduser() / name


def _put_right(file: TableFile) -> None:
    """Give Compound.csv the header that its columns have; InputError for another one that does not fit them."""
    texts = (known(cell) for (cell,), _, problem in islice(file.rows(["moldb_smiles"]), ROWS) if not problem)
    some = [text for text in texts if text]
    keys = sum(INCHIKEY.fullmatch(text) is not None for text in some)
    if 2 * keys <= len(some):
        return
    if [name for name in file.header if name in MEANT] != list(MEANT):
        fix = "put the names in the order of the columns"
        raise InputError(f"{file.path}, line 1: moldb_smiles stands over a column of InChIKeys; {fix}")
    log.info("%s: the names in its header are in another order than its columns, which is put right", file.path)
    file.header = [MEANT.get(name, name) for name in file.header]
