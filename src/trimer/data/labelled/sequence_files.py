"""Sequences to predict for, without labels: tables, SMILES files, FASTA files and what search engines write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from trimer.data.core.label_table import LabelTable
from trimer.data.molecules.structure_tables import SDF
from trimer.data.text.compression import plain_name
from trimer.errors import ConfigError

TABLES = (".csv", ".tsv", ".parquet", *SDF)
COLUMNS = {"molecules": ("smiles",), "proteins": ("sequence",)}


def read_sequences(path: Path, entity: str, *arguments: str | None, **peptides: str | None) -> LabelTable:
    """All records of a file in one table; arguments as in `sequence_chunks`."""
    return LabelTable.concatenate(list(sequence_chunks(path, entity, *arguments, **peptides)))


def sequence_chunks(
    path: Path, entity: str, column: str | None = None, id_column: str | None = None, **peptides: str | None
) -> Iterator[LabelTable]:
    """The records of a file in tables of some thousand, the unusable ones with their problem.

    entity: "molecules", "proteins" or "peptides". column: that of the sequences in a table, by default `smiles` or
    `sequence`; of peptides that of the layout, which is found from the header. peptides: their `notation` and what is
    `fixed` or `left_out`, as in PeptideFiles.
    """
    if entity == "peptides":
        return peptide_chunks(path, "nothing", column, id_column, **peptides)
    if Path(plain_name(path)).suffix.lower() in TABLES:
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
    """The peptides of a table, in canonical ProForma; what: "nothing", or "charge" as the label."""
    from trimer.data.peptides.peptide_files import PeptideFiles

    options = {"sequence": column, "notation": notation, "fixed": fixed, "left_out": left_out}
    try:
        source = PeptideFiles(str(path), what, merge=None, id_column=id_column, fdr=None, **options)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    return source.chunks(columns)


def read_as(settings: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, str | None]:
    """How the peptides of a table are written: `notation` and `fixed` of the command, `left_out` as in training.

    What the tables of the training left out is put back, but not in a table that writes it: its plain residues are
    unmodified. Nothing for other kinds of sequence. data: of the checkpoint.
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
    for part in SmilesFiles(str(path)).chunks():
        places = [f"{path.name}, molecule {number}" for number in range(first, first + len(part.ids))]
        first += len(part.ids)
        yield LabelTable(list(part.ids), list(part.smiles), {}, places=places, problems=dict(part.problems))


def _proteins(path: Path) -> Iterator[LabelTable]:
    from trimer.data.proteins.protein_files import ProteinFiles

    first = 1
    for part in ProteinFiles(str(path)).chunks():
        letters = part.sequences.values.tobytes().decode("latin-1")
        texts = [letters[start:stop] for start, stop in pairwise(part.sequences.offsets.tolist())]
        places = [f"{path.name}, record {number}" for number in range(first, first + len(texts))]
        first += len(texts)
        yield LabelTable(list(part.ids), texts, {}, places=places, problems=dict(part.problems))
