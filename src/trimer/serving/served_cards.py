"""The card of a served model: what it does, reads, returns and knows, its limits, results and an example."""

from __future__ import annotations

import csv
import functools
import json
import logging
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trimer import __version__
from trimer.examples import example, known_proteins
from trimer.pretrained import registry
from trimer.pretrained.packed import is_packed
from trimer.serving import parameters
from trimer.serving.limits import Limits
from trimer.serving.plain_json import finite
from trimer.serving.uploads import FILES

if TYPE_CHECKING:
    from trimer.serving.models import ServedModel
    from trimer.serving.rows import Answer

log = logging.getLogger(__name__)

EXAMPLES = 3  # records of the example of a card
BOUNDS = ("max_length", "shortest", "longest", "highest_charge")  # of the training data, in tokens and residues
FIELDS = ("id", "name", "precursor_mz", "adduct", "collision_energy", "instrument")  # of an example spectrum
RECORDS = {
    "spectra": "objects with mz, intensity (or peaks), precursor_mz, adduct, and other fields of spectrum files",
    "molecules": "texts (SMILES or InChI), or objects with smiles and id",
    "proteins": "texts of residues, or objects with sequence and id",
    "peptides": "texts in ProForma, or objects with sequence and id",
    "precursors": "texts in ProForma with a charge (PEPTIDEK/2), or objects with sequence, charge, nce, instrument",
}

LONGER = {  # what happens to longer records, by the setting too_long of the training data
    "drop": "a record with more tokens has a reason in place of a prediction",
    "ends": "of a record with more tokens, both ends are read",
    "start": "of a record with more tokens, the start is read",
}
KNOWN = {"M": "membrane-bound", "S": "soluble"}  # labels of the known proteins


def card(model: ServedModel, limits: Limits, records: list, answers: Mapping[str, Answer]) -> dict[str, Any]:
    """The card, plain values. records: of the example. answers: of each operation, to the first of these records."""
    study, loaded = model.study, model.model.loaded
    kind = study.example if "predict" in model.operations else study.entity
    shown, written = model.model.card, facts_of(model)
    contract = loaded.contract
    return {
        "name": model.name,
        "task": written.get("does") or study.description,
        "caveats": list(written.get("limits") or ()),
        "model": shown.model,
        "parameters": shown.parameters,
        "licence": written.get("licence"),
        "version": model.version,
        "trimer_version": __version__,
        "input": {
            "kind": kind,
            "records": RECORDS[kind],
            "files": FILES[kind],
            "max_tokens": min(filter(None, (contract["data"].get("max_length"), limits.tokens))),
            "longer": LONGER[contract["data"].get("too_long") or "drop"],
        },
        "operations": {
            operation: {
                "columns": columns_of(answer),
                "parameters": parameters.facts(study, operation, limits, defaults_of(answer)),
                "formats": formats_of(answer),
            }
            for operation, answer in answers.items()
        },
        "knows": knowledge(model),
        "training": shown.stages,
        "metrics": finite(shown.metrics),
        "table": test_table(model),
        "limits": limits.facts(),
        "example": {"records": records, "parameters": {}, **({"known": known()} if kind == "proteins" else {})},
    }


def facts_of(model: ServedModel) -> Mapping[str, Any]:
    """What the card of a packed model says: its purpose, licence and caveats; nothing for a run of the user."""
    path = model.model.path
    return registry.facts(path) if is_packed(path) else {}


def columns_of(answer: Answer) -> list[dict[str, str]]:
    """Name and type of each column: text, number, integer, boolean, list; unknown if the example leaves it empty."""
    return [{"name": name, "type": type_of([row[name] for row in answer.rows])} for name in answer.columns]


def type_of(values: list) -> str:
    """The type of the values of a column, in words."""
    names = {bool: "boolean", int: "integer", float: "number", str: "text", list: "list"}
    types = {names.get(type(value), "other") for value in values if value is not None}
    return "number" if types == {"integer", "number"} else types.pop() if len(types) == 1 else "unknown"


def defaults_of(answer: Answer) -> dict[str, Any]:
    """The default of each setting, by its dotted name."""
    from trimer.resuming import plain_dict

    return parameters.dotted(plain_dict(answer.computer.cfg))


def formats_of(answer: Answer) -> list[str]:
    """The formats of the response that the query parameter `format` or the header Accept choose."""
    from trimer.serving.answers import formats

    return list(formats(answer))


def knowledge(model: ServedModel) -> dict[str, Any]:
    """What the training data hold: classes, adducts, residues with modifications, whether they were simulated."""
    contract, stages = model.model.loaded.contract, model.model.loaded.training_keys or []
    facts = [stage.get("facts") or {} for stage in stages]
    bounds = {name: contract["data"].get(name) for name in BOUNDS}
    known: dict[str, Any] = {name: value for name, value in bounds.items() if value is not None}
    if classes := (contract.get("labels") or {}).get("classes"):
        known |= {"target": contract["labels"]["target"], "classes": list(classes)}
    if any("adducts" in fact for fact in facts):
        adducts: dict[str, int] = {}
        for fact in facts:
            for name, count in fact.get("adducts", {}).items():
                adducts[name] = adducts.get(name, 0) + count
        known |= {"adducts": adducts, "simulated_only": all(f["simulated"] for f in facts if "adducts" in f)}
    if any("sites" in fact for fact in facts):
        known["sites"] = sorted({site for fact in facts for site in fact.get("sites", ())})
    return known


def test_table(model: ServedModel) -> Any:
    """Methods and baselines on the test split, as `table.json` of the run holds them; None if there is none."""
    run = model.model.loaded.run
    for path in (run / "table.json", run / "test" / "table.json"):
        if path.is_file():
            try:
                return finite(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                log.warning("%s cannot be read, so the card has no table: %s", path, error)
    return None


def known() -> list[dict[str, str]]:
    """What is known of the example proteins, in their order: the name, and whether it is membrane-bound."""
    return [
        {"id": protein["id"], "name": protein["name"], "label": protein["label"], "meaning": KNOWN[protein["label"]]}
        for protein in known_proteins()
    ]


@functools.cache
def example_records(kind: str) -> list:
    """Some shipped example records of a kind (`trimer.examples`), as a client would send them."""
    path = example(kind)
    if kind == "proteins":
        return [{"id": protein["id"], "sequence": protein["sequence"]} for protein in known_proteins()]
    if kind == "spectra":
        from trimer.data.spectra.readers import read_spectra

        table = read_spectra(path)
        rows = []
        for row in range(min(EXAMPLES, len(table))):
            mz, intensity = table.peaks(row)
            fields = {name: value_of(table[name][row]) for name in FIELDS if name in table.columns}
            fields = {name: value for name, value in fields.items() if value is not None}
            rows.append({**fields, "mz": mz.tolist(), "intensity": intensity.tolist()})
        return rows
    if kind == "precursors":
        with path.open(encoding="utf-8", newline="") as stream:
            return [row for row, _ in zip(csv.DictReader(stream), range(EXAMPLES), strict=False)]
    from trimer.data.labelled.sequence_files import read_sequences

    fixed = "Carbamidomethyl@C"  # of the file of peptides, which were measured so
    return read_sequences(path, kind, fixed=fixed).texts[:EXAMPLES]


def value_of(value: Any) -> Any:
    """A cell of a table as a plain value, None if it is empty."""
    value = value.item() if hasattr(value, "item") else value
    return None if value is None or value == "" or (isinstance(value, float) and math.isnan(value)) else value
