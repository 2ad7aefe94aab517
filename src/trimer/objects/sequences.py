"""Tables of molecules, proteins and peptides from texts, DataFrames, RDKit, Biopython and psm_utils objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from trimer.data.core.drops import NO_SEQUENCE
from trimer.data.core.label_table import LabelTable
from trimer.data.peptides.peptide_tables import ColumnTable
from trimer.data.peptides.peptide_values import is_charge
from trimer.errors import ConfigError
from trimer.objects.frames import as_table, columns_of, package_of, place_of, text_of
from trimer.peptides.conditions import CONDITION_COLUMNS

ENTITIES = ("molecules", "proteins", "peptides")
ONE_RECORD = {"Seq", "MutableSeq", "SeqRecord", "PSM", "Peptidoform"}  # classes of Biopython and psm_utils

Record = dict[str, str | None]  # text; optionally id, problem, charge, energy, instrument


def sequences_of(
    values: Any, entity: str, column: str | None = None, id_column: str | None = None, **peptides: str | None
) -> LabelTable:
    """The records of Python values, in order; an unusable one has the reason in `problems`.

    values: one value or several, also an iterator such as `Bio.SeqIO.parse(...)`. Molecules: SMILES, InChI, RDKit
    `Mol`. Proteins: text, Biopython `Seq` and `SeqRecord`. Peptides: ProForma, optionally followed by a charge,
    psm_utils `PSM`, `PSMList` and `Peptidoform`; the texts become canonical ProForma. A table (DataFrame of pandas or
    polars, pyarrow Table, dictionary of lists, list of dictionaries) is read like a file with these columns. A `Path`
    is read as a file; a text never is.
    entity: "molecules", "proteins" or "peptides". column, id_column: columns of a table; without id_column the ids come
    from a column `id`, else they are numbers from 1. peptides: how peptides of a table are written, as in
    `peptide_chunks`: notation, fixed, left_out.

    For peptides, `labels["charge"]` and the columns `energy` and `instrument` contain the measurement conditions, if
    any record has them.
    """
    if entity not in ENTITIES:
        raise ConfigError(f"entity={entity} must be one of {', '.join(ENTITIES)}")
    if isinstance(values, LabelTable):
        return values
    if isinstance(values, Path):
        from trimer.data.labelled.sequence_files import read_sequences

        return read_sequences(values.expanduser(), entity, column, id_column, **peptides)
    if entity == "peptides":
        check_notation(peptides.get("notation"))
    columns = columns_of(values)
    if columns:  # records without any field are no table: each gets a reason
        return _table(columns, entity, column, id_column, peptides)
    read = _READERS[entity]
    return _assembled([_record(value, read) for value in _listed(values)], entity)


def check_notation(notation: str | None) -> None:
    """ConfigError for an unknown notation of peptides, also if the values are texts, which are ProForma."""
    from trimer.peptides.notations import NOTATIONS

    if notation is not None and notation not in NOTATIONS:
        raise ConfigError(f"notation={notation} must be one of null, {', '.join(NOTATIONS)}")


def _listed(values: Any) -> Iterable:
    """The values, or a single value as a list."""
    if package_of(values) == "pyarrow" and hasattr(values, "to_pylist"):
        return values.to_pylist()
    if getattr(values, "shape", None) == ():  # a NumPy value
        values = values.item()
    single = isinstance(values, str | bytes) or not isinstance(values, Iterable)
    return [values] if single or _is_one_record(values) else values


def _is_one_record(value: Any) -> bool:
    """Whether an iterable object is a single record: a Biopython sequence, a PSM or a Peptidoform.

    Other objects of these packages contain records: an alignment, a PSMList, what `Bio.SeqIO.parse` returns.
    """
    return package_of(value) in ("Bio", "psm_utils") and any(kind.__name__ in ONE_RECORD for kind in type(value).mro())


def _record(value: Any, read: Callable[[Any], Record]) -> Record:
    try:
        record = read(value)
    except Exception as error:  # objects of other packages raise any type
        return {"text": "", "problem": " ".join(str(error).split()) or type(error).__name__}
    if not record["text"]:
        record.setdefault("problem", NO_SEQUENCE)
    return record


def _assembled(records: list[Record], entity: str) -> LabelTable:
    numbers = range(1, len(records) + 1)
    table = LabelTable(
        [record.get("id") or str(number) for number, record in zip(numbers, records, strict=True)],
        [record["text"] or "" for record in records],
        {},
        places=[place_of(number) for number in numbers],
        problems={row: problem for row, record in enumerate(records) if (problem := record.get("problem"))},
    )
    if entity == "peptides":
        _add_conditions(table, {name: [record.get(name) for record in records] for name in CONDITION_COLUMNS})
    return table


def _add_conditions(table: LabelTable, conditions: dict[str, list[str | None]]) -> None:
    """Add the conditions that any record has to the table; an invalid charge is a problem of its record."""
    for row, text in enumerate(conditions.get("charge", ())):
        if text is not None:
            charge = text.removesuffix("+").removesuffix(".0")
            if is_charge(charge):
                conditions["charge"][row] = charge
            else:
                conditions["charge"][row] = None
                table.problems.setdefault(row, f"the charge '{text}' is not a whole number above 0")
    for name, values in conditions.items():
        if any(values):
            (table.labels if name == "charge" else table.columns)[name] = values


# ---------------------------------------------------------------- single values


def _molecule(value: Any) -> Record:
    """A SMILES, an InChI or an RDKit `Mol`."""
    if package_of(value) != "rdkit":
        return {"text": _text(value, "molecule: give a SMILES, an InChI or an RDKit Mol")}
    from rdkit import Chem

    name = value.GetProp("_Name").strip() if value.HasProp("_Name") else ""
    return {"text": Chem.MolToSmiles(value), "id": name or None}


def _protein(value: Any) -> Record:
    """A text of residues, or a `Seq` or `SeqRecord` of Biopython."""
    if package_of(value) != "Bio":
        return {"text": _text(value, "protein: give its residues as text, a Biopython Seq or a SeqRecord")}
    if not hasattr(value, "seq"):
        return {"text": str(value)}
    name = None if value.id in (None, "", "<unknown id>") else str(value.id)
    return {"text": "" if value.seq is None else str(value.seq), "id": name}


def _peptide(value: Any) -> Record:
    """A ProForma text, or a `PSM` or `Peptidoform` of psm_utils."""
    record: Record = {}
    if package_of(value) == "psm_utils":
        peptidoform = getattr(value, "peptidoform", value)
        text = peptidoform if isinstance(peptidoform, str) else peptidoform.proforma
        record = _conditions_of_psm(value)
    else:
        text = _text(value, "peptide: give ProForma, a psm_utils PSM or a Peptidoform")
    return record | _canonical(text, record.get("charge"))


def _canonical(text: str | None, charge: str | None = None) -> Record:
    """Canonical ProForma and the charge, which may follow the peptide in the text; a problem if it cannot be read."""
    from trimer.peptides.modifications import PeptideError
    from trimer.peptides.proforma import read_proforma_charged

    if not text:
        return {"text": "", "problem": NO_SEQUENCE, "charge": charge}
    try:
        peptide, charge_in_text = read_proforma_charged(text)
    except PeptideError as error:
        return {"text": text, "problem": str(error), "charge": charge}
    return {"text": peptide.proforma, "charge": charge or (None if charge_in_text is None else str(charge_in_text))}


def _conditions_of_psm(value: Any) -> Record:
    """The id of a PSM, and the energy and instrument in its metadata."""
    metadata = {str(key).lower(): entry for key, entry in (getattr(value, "metadata", None) or {}).items()}
    record = {"id": text_of(getattr(value, "spectrum_id", None))}
    for name in ("energy", "instrument"):
        record[name] = next((text_of(metadata[key]) for key in CONDITION_COLUMNS[name] if key in metadata), None)
    return record


def _text(value: Any, expected: str) -> str:
    """The text of a value, empty for a missing one; TypeError for another type."""
    if isinstance(value, str):
        return value.strip()
    if value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and value != value):
        return ""
    raise TypeError(f"a value of type {type(value).__name__} is not a {expected}")


_READERS: dict[str, Callable[[Any], Record]] = {"molecules": _molecule, "proteins": _protein, "peptides": _peptide}


# ---------------------------------------------------------------- tables


def _table(
    columns: Mapping[str, list],
    entity: str,
    column: str | None,
    id_column: str | None,
    peptides: Mapping[str, str | None],
) -> LabelTable:
    from trimer.data.labelled.sequence_files import COLUMNS
    from trimer.data.text.column_names import column_called

    file = as_table(columns)
    id_column = id_column or ("id" if "id" in file else None)
    if entity == "peptides":
        table = _peptide_table(file, column, peptides) if any(columns.values()) else LabelTable([], [], {})
    else:
        name = file.header[file.position(column_called(file, column or COLUMNS[entity][0]))]
        table = _assembled([_record(value, _READERS[entity]) for value in columns[name]], entity)
    if id_column is not None:
        table.ids = [name or number for name, number in zip(_texts(file, id_column), table.ids, strict=True)]
    return table


def _texts(file: ColumnTable, name: str) -> list[str | None]:
    """A column by its name, in any case; InputError if there is none."""
    return list(file.read(file.header[file.position(name)]))


def _peptide_table(file: ColumnTable, column: str | None, written: Mapping[str, str | None]) -> LabelTable:
    """Peptides in the notation and columns of any known file layout."""
    from trimer.data.peptides.peptide_files import NOTHING, PeptideFiles
    from trimer.peptides.proforma import CHARGE

    class TableOfPeptides(PeptideFiles):
        def files(self) -> list[Path]:
            return [file.path]

        def open(self, path: Path) -> ColumnTable:
            return file

    options: dict[str, Any] = dict(written)
    try:
        source = TableOfPeptides(str(file.path), NOTHING, merge=None, fdr=None, sequence=column, **options)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    table = LabelTable.concatenate(list(source.chunks()))
    table.ids = [str(number) for number in range(1, len(table) + 1)]
    column_of = {key: next((name for name in names if name in file), None) for key, names in CONDITION_COLUMNS.items()}
    conditions = {key: _texts(file, name) for key, name in column_of.items() if name}
    if "charge" not in conditions:
        peptides = next(name for name in source.sequence_columns(file) if name in file)
        matches = [CHARGE.search(text or "") for text in _texts(file, peptides)]
        conditions["charge"] = [match and match[1] for match in matches]
    _add_conditions(table, conditions)
    return table
