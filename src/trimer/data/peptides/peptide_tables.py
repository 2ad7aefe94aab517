"""Peptides that do not stand in a plain table, as tables: alphabase's HDF5, DeepPhospho's JSON, what psm_utils reads.

h5py and psm_utils are optional: `pip install trimer[peptides]`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np

from trimer.data.text.opening import read_chunks, read_text
from trimer.data.text.tables import Row, TableFile
from trimer.errors import InputError

HDF5 = b"\x89HDF"
PSM_UTILS = "psm_utils"
PSM_COLUMNS = (
    "proforma", "charge", "retention_time", "spectrum_id", "run", "is_decoy", "qvalue", "pep", "rank", "protein_list",
)  # fmt: skip
PSM_ENDINGS = (".idxml", ".mzid", ".pepxml", ".pep.xml", ".t.xml", ".pout", ".osw", ".pin")


class ColumnTable(TableFile):
    """Rows out of columns that something else reads. read: the texts of a named column."""

    def __init__(self, path: Path, header: Sequence[str], read: Callable[[str], list[str | None]], unit: str = "row"):
        self.path = path
        self.parquet = True  # there is no line to name
        self.unit = unit
        self.header = list(header)
        self.read = read

    def rows_at(self, positions: Sequence[int]) -> Iterator[Row]:
        columns = [self.read(self.header[place]) for place in positions]
        for number, cells in enumerate(zip(*columns, strict=True), 1):
            yield list(cells), number, None


def open_table(path: Path, layout: str | None = None) -> TableFile:
    """What a file of peptides holds, as a table; what kind of file it is, its content says.

    layout: `psm_utils` or `psm_utils:sage` leaves the reading to psm_utils, whatever the file is.
    """
    low = path.name.lower().removesuffix(".gz")
    if (layout or "").partition(":")[0] == PSM_UTILS or low.endswith(PSM_ENDINGS):
        return _psm_table(path, (layout or "").partition(":")[2] or "infer")
    start = next(read_chunks(path, 1 << 12), b"")
    if start.startswith(HDF5):
        return _hdf_table(path)
    if start.lstrip()[:1] == b"{":
        return _deepphospho_table(path)
    return TableFile(path)


def optional(name: str, path: Path) -> ModuleType:
    """An optional package; InputError where it is not installed. path: the file that needs it."""
    try:
        return __import__(name, fromlist=["*"])
    except ImportError as error:
        package = name.partition(".")[0]
        raise InputError(f"{path} is read with {package}, which is missing: pip install 'trimer[peptides]'") from error


# ---------------------------------------------------------------- alphabase


def _hdf_table(path: Path) -> ColumnTable:
    columns = precursor_columns(path)
    return ColumnTable(path, list(columns), lambda name: _as_texts(columns[name]))


def precursor_columns(path: Path) -> dict[str, np.ndarray]:
    """Column -> values of precursor_df, (n,) each, text as str; those of mod_seq_df too where they are kept apart."""
    with open_hdf(path) as file:
        frame = _frame(file, path, "precursor_df")
        columns = {name: hdf_values(values) for name, values in frame.items() if _is_column(values, frame)}
        if "sequence" in columns:
            return columns
        key = "mod_seq_charge_hash"
        apart = _frame(file, path, "mod_seq_df")
        if key not in columns or key not in apart:
            raise InputError(f"{path}: there is no column sequence in precursor_df, and no {key} to find it by")
        own = {int(value): row for row, value in enumerate(apart[key][:])}
        rows = [own.get(int(value), -1) for value in columns[key]]
        if -1 in rows:
            raise InputError(f"{path}, row {rows.index(-1) + 1} of precursor_df: its {key} is not in mod_seq_df")
        return columns | {n: hdf_values(v)[rows] for n, v in apart.items() if n != key and _is_column(v, apart)}


def fragment_columns(path: Path) -> dict[str, np.ndarray]:
    """Charged fragment type, as `b_z1` -> intensities of fragment_intensity_df, (rows,) each."""
    with open_hdf(path) as file:
        return {name: values[:] for name, values in _frame(file, path, "fragment_intensity_df").items()}


def open_hdf(path: Path) -> Any:
    """An open HDF5 file; InputError for one that is damaged."""
    try:
        return optional("h5py", path).File(path, "r")
    except OSError as error:
        raise InputError(f"{path} is no HDF5 file that can be read ({error}): write or fetch it again") from error


def hdf_values(values: Any) -> np.ndarray:
    """A column of HDF5, text decoded."""
    return values.asstr()[:] if values.dtype.kind == "O" else values[:]


def _frame(file: Any, path: Path, name: str) -> Any:
    found = file.get(f"library/{name}", file.get(name))
    if found is None:
        raise InputError(f"{path}: there is no {name} in it; it holds {', '.join(file) or 'nothing'}")
    return found


def _is_column(values: Any, frame: Any) -> bool:
    return getattr(values, "ndim", 0) == 1


def _as_texts(values: np.ndarray) -> list[str | None]:
    return [None if isinstance(value, float) and value != value else str(value) for value in values.tolist()]


# ---------------------------------------------------------------- DeepPhospho


def deepphospho_records(path: Path) -> list[tuple[str, Any]]:
    """The keys of DeepPhospho's JSON (`@AES2K.2`) and what stands under them, objects as lists of pairs."""
    try:
        records = json.loads(read_text(path), object_pairs_hook=list)
    except json.JSONDecodeError as error:
        hint = "write or fetch it again"
        raise InputError(f"{path}, line {error.lineno}: {error.msg}, which is no JSON: {hint}") from error
    return records


def split_precursor(key: str) -> tuple[str, str | None]:
    """`@AES2K.2` as the peptide and its charge."""
    peptide, dot, charge = key.rpartition(".")
    return (peptide, charge) if dot else (key, None)


def _deepphospho_table(path: Path) -> ColumnTable:
    pairs = [split_precursor(key) for key, _ in deepphospho_records(path)]
    columns = {"precursor": [peptide for peptide, _ in pairs], "precursor_charge": [charge for _, charge in pairs]}
    return ColumnTable(path, list(columns), columns.__getitem__, unit="record")


# ---------------------------------------------------------------- psm_utils


def _psm_table(path: Path, kind: str) -> ColumnTable:
    io = optional("psm_utils.io", path)
    try:
        with _unzipped(path) as plain:
            psms = list(io.read_file(str(plain), filetype=kind))
    except InputError:
        raise
    except Exception as error:  # every reader of psm_utils raises its own
        words = " ".join(str(error).split())[:200]
        raise InputError(f"{path} cannot be read by psm_utils as {kind} ({type(error).__name__}: {words})") from error
    columns = {
        "proforma": [psm.peptidoform.proforma for psm in psms],
        "charge": [psm.peptidoform.precursor_charge for psm in psms],
        **{name: [getattr(psm, name, None) for psm in psms] for name in PSM_COLUMNS[2:]},
    }
    texts = {name: [_psm_text(value) for value in values] for name, values in columns.items()}
    return ColumnTable(path, PSM_COLUMNS, texts.__getitem__, unit="record")


def _psm_text(value: Any) -> str | None:
    return None if value is None else ";".join(map(str, value)) if isinstance(value, list) else str(value)


@contextmanager
def _unzipped(path: Path) -> Iterator[Path]:
    """A gzipped file as a plain one of the same name, for a package that reads no gzip."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    if not zipped:
        yield path
        return
    with TemporaryDirectory() as folder:
        plain = Path(folder) / (path.stem if path.suffix.lower() == ".gz" else path.name)
        with plain.open("wb") as target:
            for chunk in read_chunks(path):
                target.write(chunk)
        yield plain
