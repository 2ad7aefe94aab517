"""Sequences to predict for, without labels: tables, SMILES files, FASTA files and what search engines write."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from trimer.data.core.label_table import LabelTable
from trimer.data.molecules.structure_tables import SDF
from trimer.data.text.compression import plain_name
from trimer.errors import ConfigError

TABLES = (".csv", ".tsv", ".parquet", *SDF)
COLUMNS = {"molecules": ("smiles",), "proteins": ("sequence",)}


def read_sequences(
    path: Path, entity: str, column: str | None = None, id_column: str | None = None, **peptides: str | None
) -> LabelTable:
    """All records of a file, the unusable ones with their problem.

    entity: "molecules", "proteins" or "peptides". column: that of the sequences in a table, by default `smiles` or
    `sequence`; of peptides that of the layout, which is found from the header. peptides: their `notation` and what is
    `fixed` or `left_out`, as in PeptideFiles.
    """
    if entity == "peptides":
        return read_peptides(path, "nothing", column, id_column, **peptides)
    if Path(plain_name(path)).suffix.lower() in TABLES:
        return _table(path, column or COLUMNS[entity][0], id_column)
    return _molecules(path) if entity == "molecules" else _proteins(path)


def read_peptides(
    path: Path,
    what: str,
    column: str | None,
    id_column: str | None,
    columns: Sequence[str] = (),
    notation: str | None = None,
    fixed: str | None = None,
    left_out: str | None = None,
) -> LabelTable:
    """The peptides of a table, in canonical ProForma; what: "nothing", or "charge" as the label."""
    from trimer.data.peptides.peptide_files import PeptideFiles

    options = {"sequence": column, "notation": notation, "fixed": fixed, "left_out": left_out}
    try:
        source = PeptideFiles(str(path), what, merge=None, id_column=id_column, fdr=None, **options)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return LabelTable.concatenate(list(source.chunks(columns)))


def _table(path: Path, column: str, id_column: str | None) -> LabelTable:
    from trimer.data.labelled.label_files import UnlabelledFiles

    return LabelTable.concatenate(list(UnlabelledFiles(str(path), column, id_column).chunks()))


def _molecules(path: Path) -> LabelTable:
    from trimer.data.molecules.molecule_files import SmilesFiles

    table = LabelTable([], [], {})
    for part in SmilesFiles(str(path)).chunks():
        table.problems |= {len(table) + row: problem for row, problem in part.problems.items()}
        table.ids += part.ids
        table.texts += part.smiles
    table.places = [f"{path.name}, molecule {number}" for number in range(1, len(table) + 1)]
    return table


def _proteins(path: Path) -> LabelTable:
    from trimer.data.proteins.protein_files import ProteinFiles

    table = LabelTable([], [], {})
    for part in ProteinFiles(str(path)).chunks():
        letters = part.sequences.values.tobytes().decode("latin-1")
        table.problems |= {len(table) + row: problem for row, problem in part.problems.items()}
        table.ids += part.ids
        table.texts += [letters[start:stop] for start, stop in pairwise(part.sequences.offsets.tolist())]
    table.places = [f"{path.name}, record {number}" for number in range(1, len(table) + 1)]
    return table
