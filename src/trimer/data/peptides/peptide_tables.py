"""Tables of peptides from other formats: alphabase's HDF5, DeepPhospho's JSON, and all formats of psm_utils.

h5py and psm_utils are optional: `pip install 'trimer[peptides]'`.
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
    """A table of columns that another reader provides. read: returns the texts of a named column."""

    def __init__(
        self, path: Path, header: Sequence[str], read: Callable[[str], Sequence[str | None]], unit: str = "row"
    ):
        self.path = path
        self.parquet = True  # messages name no line
        self.unit = unit
        self.header = list(header)
        self.read = read

    def rows_at(self, positions: Sequence[int]) -> Iterator[Row]:
        columns = [self.read(self.header[position]) for position in positions]
        for number, cells in enumerate(zip(*columns, strict=True), 1):
            yield list(cells), number, None


def open_table(path: Path, layout: str | None = None) -> TableFile:
    """A file of peptides as a table; the format is detected from the content.

    layout: `psm_utils` or `psm_utils:sage` reads any file with psm_utils.
    """
    low = path.name.lower().removesuffix(".gz")
    if (layout or "").partition(":")[0] == PSM_UTILS or low.endswith(PSM_ENDINGS):
        return _psm_table(path, (layout or "").partition(":")[2] or "infer")
    start = next(read_chunks(path, 1 << 12), b"")
    if start.startswith(HDF5):
        columns = precursor_columns(path)
        return ColumnTable(path, list(columns), lambda name: _as_texts(columns[name]))
    if start.lstrip()[:1] == b"{":
        return _deepphospho_table(path)
    return TableFile(path)


def optional(name: str, path: Path) -> ModuleType:
    """Import an optional package; InputError if it is not installed. path: the file that needs it."""
    try:
        return __import__(name, fromlist=["*"])
    except ImportError as error:
        package = name.partition(".")[0]
        raise InputError(f"{path} is read with {package}, which is missing: pip install 'trimer[peptides]'") from error


# ---------------------------------------------------------------- alphabase


def precursor_columns(path: Path) -> dict[str, np.ndarray]:
    """Column -> (n,) values of precursor_df, and of mod_seq_df if the sequences are stored there."""
    with open_hdf(path) as file:
        frame = _frame(file, path, "precursor_df")
        columns = {name: hdf_values(values) for name, values in frame.items() if _is_column(values)}
        if "sequence" in columns:
            return columns
        key = "mod_seq_charge_hash"
        sequences = _frame(file, path, "mod_seq_df")
        if key not in columns or key not in sequences:
            raise InputError(f"{path}: precursor_df has no column sequence, and no {key} that refers to mod_seq_df")
        row_of = {int(value): row for row, value in enumerate(sequences[key][:])}
        rows = [row_of.get(int(value), -1) for value in columns[key]]
        if -1 in rows:
            raise InputError(f"{path}, row {rows.index(-1) + 1} of precursor_df: its {key} is not in mod_seq_df")
        return columns | {n: hdf_values(v)[rows] for n, v in sequences.items() if n != key and _is_column(v)}


def fragment_columns(path: Path) -> dict[str, np.ndarray]:
    """Charged fragment type, such as `b_z1` -> (rows,) intensities of fragment_intensity_df."""
    with open_hdf(path) as file:
        return {name: values[:] for name, values in _frame(file, path, "fragment_intensity_df").items()}


def open_hdf(path: Path) -> Any:
    """An open HDF5 file; InputError if it is damaged."""
    try:
        return optional("h5py", path).File(path, "r")
    except OSError as error:
        raise InputError(f"{path} cannot be read as HDF5 ({error}): export or download it again") from error


def hdf_values(values: Any) -> np.ndarray:
    """The values of an HDF5 column, with text decoded."""
    return values.asstr()[:] if values.dtype.kind == "O" else values[:]


def _frame(file: Any, path: Path, name: str) -> Any:
    frame = file.get(f"library/{name}", file.get(name))
    if frame is None:
        raise InputError(f"{path} has no {name}; it holds {', '.join(file) or 'nothing'}")
    return frame


def _is_column(values: Any) -> bool:
    return getattr(values, "ndim", 0) == 1


def _as_texts(values: np.ndarray) -> list[str | None]:
    return [None if isinstance(value, float) and value != value else str(value) for value in values.tolist()]


# ---------------------------------------------------------------- DeepPhospho


def deepphospho_records(path: Path) -> list[tuple[str, Any]]:
    """Keys (`@AES2K.2`) and values of DeepPhospho's JSON, with objects as lists of pairs."""
    try:
        return json.loads(read_text(path), object_pairs_hook=list)
    except json.JSONDecodeError as error:
        hint = "export or download it again"
        raise InputError(f"{path}, line {error.lineno}: invalid JSON, {error.msg}: {hint}") from error


def split_precursor(key: str) -> tuple[str, str | None]:
    """Peptide and charge of a key such as `@AES2K.2`."""
    peptide, dot, charge = key.rpartition(".")
    return (peptide, charge) if dot else (key, None)


def _deepphospho_table(path: Path) -> ColumnTable:
    pairs = [split_precursor(key) for key, _ in deepphospho_records(path)]
    columns: dict[str, list[str | None]] = {
        "precursor": [peptide for peptide, _ in pairs],
        "precursor_charge": [charge for _, charge in pairs],
    }
    return ColumnTable(path, list(columns), columns.__getitem__, unit="record")


# ---------------------------------------------------------------- psm_utils


def _psm_table(path: Path, kind: str) -> ColumnTable:
    io = optional("psm_utils.io", path)
    try:
        with _unzipped(path) as plain:
            psms = list(io.read_file(str(plain), filetype=kind))
    except InputError:
        raise
    except Exception as error:  # the readers of psm_utils raise many types of error
        message = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: psm_utils cannot read it as {kind} ({type(error).__name__}: {message})") from error
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
    """A plain copy of a gzipped file with the same name, for a package that cannot read gzip."""
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
