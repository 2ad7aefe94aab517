"""`EndpointHandler` of a Hugging Face inference endpoint: predictions or embeddings of records in a request.

An exported folder has a `handler.py` that imports it. Records are taken from the request only: no text is read as a
path, and settings that name files, devices or other models are rejected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trimer.errors import ConfigError, InputError, TrimerError

RECORDS = 1024  # in one request
CHARACTERS = 1_000_000  # of all texts in one request
SETTINGS = {  # keys of `trimer predict` and `trimer embed` that a request may set
    "predict": ("candidates", "tolerance_ppm", "only_agreeing", "ranked", "energy", "instrument", "seed", "notation"),
    "embed": ("pooling", "layer"),
}


class EndpointHandler:
    """Loads the packed model of a folder, else its public weights, and answers requests.

    path: folder of the export. A model that predicts gives the rows of `trimer predict`; an encoder gives `embedding`.
    """

    def __init__(self, path: str | Path = ""):
        from trimer.api import load
        from trimer.export.folder import PACKED

        folder = Path(path)
        self.model = load(folder / PACKED if (folder / PACKED).is_dir() else folder)
        study, contract = self.model.loaded.study, self.model.loaded.contract
        self.command = "predict" if study.can_predict(contract) else "embed"

    def __call__(self, data: Mapping[str, Any]) -> list[dict[str, Any]] | dict[str, str]:
        """One or more rows for each record, as plain values; a record without a prediction has a `reason`.

        data: `inputs`, one record or a list (texts, or spectra as objects with `mz`, `intensity` and `precursor_mz`),
        and `parameters`, settings of the command. A request that cannot be answered gives {"error": sentence}.
        """
        try:
            records = checked_records(data.get("inputs"))
            settings = checked_settings(data.get("parameters") or {}, self.command)
            if not records:
                return []
            return self.predicted(records, settings) if self.command == "predict" else self.embedded(records, settings)
        except TrimerError as error:
            return {"error": str(error)}

    def predicted(self, records: list[Any], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of `trimer predict`."""
        predictor = self.model.predictor(**settings)
        return [plain(row) for rows in predictor.predict([predictor.records(records)]) for row in rows]

    def embedded(self, records: list[Any], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        """One `embedding` for each record, or `reason`."""
        result = self.model.embed(records, **settings)
        pairs = zip(result.vectors, result.reasons, strict=True)
        return [
            {"row": number, "embedding": None if vector is None else vector.tolist(), "reason": reason}
            for number, (vector, reason) in enumerate(pairs, 1)
        ]


def checked_records(inputs: Any) -> list[Any]:
    """The records of a request as a list; InputError for other types and above the limits."""
    records = inputs if isinstance(inputs, list) else [inputs]
    if not all(isinstance(record, str | dict) for record in records):
        raise InputError("inputs must be a text, an object with the peaks of a spectrum, or a list of these")
    if len(records) > RECORDS:
        raise InputError(f"a request may have {RECORDS:,} records, this one has {len(records):,}: send several")
    if sum(map(size_of, records)) > CHARACTERS:
        raise InputError(f"a request may have {CHARACTERS:,} characters or values: send fewer records at once")
    return records


def size_of(record: Any) -> int:
    """Number of characters and values in a record."""
    if isinstance(record, Mapping):
        return sum(map(size_of, record.values()))
    return len(record) if isinstance(record, str | list) else 1


def checked_settings(parameters: Any, command: str) -> dict[str, Any]:
    """The settings of a request; ConfigError for one that a request may not set."""
    if not isinstance(parameters, Mapping):
        raise ConfigError("parameters must be an object")
    known = SETTINGS[command]
    for name, value in parameters.items():
        if name not in known:
            raise ConfigError(f"parameters.{name} cannot be set in a request: it may set {', '.join(known)}")
        if not isinstance(value, str | int | float | bool | None):
            raise ConfigError(f"parameters.{name} must be a text, a number, true or false")
    return dict(parameters)


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as values of JSON: NaN and infinite numbers become null."""
    return {key: plain_value(value) for key, value in row.items()}


def plain_value(value: Any) -> Any:
    """A value of JSON."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [plain_value(item) for item in value] if isinstance(value, list | tuple) else value
