"""Sequences to predict for, without labels: tables, SMILES files, FASTA files and results of search engines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from trimer.data.core.label_table import LabelTable
from trimer.data.molecules.structure_tables import SDF
from trimer.data.text.compression import plain_name
from trimer.data.text.file_kinds import check_kind
from trimer.data.text.opening import decode
from trimer.data.text.paths import matching_files
from trimer.errors import ConfigError

TABLES = (".csv", ".tsv", ".parquet", *SDF)
COLUMNS = {"molecules": ("smiles",), "proteins": ("sequence",)}


def read_sequences(path: Path, entity: str, *arguments: str | None, **peptides: str | None) -> LabelTable:
    """All records of a file in one table; arguments as in `sequence_chunks`."""
    return LabelTable.concatenate(list(sequence_chunks(path, entity, *arguments, **peptides)))


def sequence_chunks(
    path: Path, entity: str, column: str | None = None, id_column: str | None = None, **peptides: str | None
) -> Iterator[LabelTable]:
    """The records of a file in tables of a few thousand; unusable ones have a problem.

    entity: "molecules", "proteins" or "peptides". column: the column of sequences in a table, by default `smiles` or
    `sequence`, and for peptides that of the layout, which is recognised from the header. peptides: `notation`, `fixed`
    and `left_out` as in PeptideFiles. InputError for an empty file, and for one of another kind than the entity.
    """
    kinds = [check_kind(file, entity) for file in matching_files(path)]
    if entity == "peptides":
        return peptide_chunks(path, "nothing", column, id_column, (), **peptides)
    if Path(plain_name(path)).suffix.lower() in TABLES and not (entity == "proteins" and any(kinds)):
        return _table(path, column or COLUMNS[entity][0], id_column)
    return _molecules(path) if entity == "molecules" else _proteins(path)


def peptide_chunks(
    path: Path,
    what: str,
    column: str | None,
    id_column: str | None,
    columns: Sequence[str] = (),
    notation: str | None = None,
    fixed: str | None = None,
    left_out: str | None = None,
) -> Iterator[LabelTable]:
    """The peptides of a table, in canonical ProForma. what: "nothing", or "charge" for the charge as label."""
    from trimer.data.peptides.peptide_files import PeptideFiles

    try:
        source = PeptideFiles(
            str(path),
            what,
            notation=notation,
            sequence=column,
            merge=None,
            id_column=id_column,
            fixed=fixed,
            fdr=None,
            left_out=left_out,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return source.chunks(columns)


def read_as(settings: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, str | None]:
    """Arguments for reading peptides: `notation` and `fixed` of the command, `left_out` as in training.

    Modifications that the training tables did not write are assumed here too, unless the table writes them: then plain
    residues are unmodified. Empty for other kinds of sequence. data: settings of the checkpoint.
    """
    if data.get("entity", "peptides") != "peptides":
        return {}
    trained = (data.get("source") or {}).get("fixed")
    return {"notation": settings["notation"], "fixed": settings["fixed"], "left_out": trained or None}


def _table(path: Path, column: str, id_column: str | None) -> Iterator[LabelTable]:
    from trimer.data.labelled.label_files import UnlabelledFiles

    return UnlabelledFiles(str(path), column, id_column).chunks()


def _molecules(path: Path) -> Iterator[LabelTable]:
    from trimer.data.molecules.molecule_files import SmilesFiles

    first = 1
    for table in SmilesFiles(str(path)).chunks():
        places = [f"{path.name}, molecule {number}" for number in range(first, first + len(table.ids))]
        first += len(table.ids)
        yield LabelTable(list(table.ids), list(table.smiles), {}, places=places, problems=dict(table.problems))


def _proteins(path: Path) -> Iterator[LabelTable]:
    from trimer.data.proteins.protein_files import ProteinFiles

    first = 1
    for table in ProteinFiles(str(path)).chunks():
        letters = table.sequences.values.tobytes()
        texts = [decode(letters[start:stop]) for start, stop in pairwise(table.sequences.offsets.tolist())]
        places = [f"{path.name}, record {number}" for number in range(first, first + len(texts))]
        first += len(texts)
        yield LabelTable(list(table.ids), texts, {}, places=places, problems=dict(table.problems))
