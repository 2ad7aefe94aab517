"""Parameters that a client may set: no path, no class and no device, within the limits of the server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from trimer.serving.limits import Limits, Refusal
from trimer.serving.plain_json import DEEPEST, read_json
from trimer.studies.settings import KINDS
from trimer.suggestions import did_you_mean

if TYPE_CHECKING:
    from trimer.studies.study import Study

# Settings of `trimer predict` that name files or classes, or that the server sets.
OF_THE_SERVER = ("library", "library_ppm", "cleaning", "retention")
GENERATOR = (
    "method", "num_samples", "temperature", "top_k", "top_p", "beams", "length_penalty", "max_length", "rank",
    "formulas", "formula_ppm", "keep_formula", "redraws", "lookup", "agreeing_first", "tolerance_ppm",
)  # fmt: skip
EMBED = ("pooling", "layer", "longest", "column", "id_column")
# Parameter -> the limit of the server that bounds it.
BOUNDED = {
    "augment": "num_samples",
    "candidates": "candidates",
    "generator.num_samples": "num_samples",
    "generator.beams": "num_samples",
    "generator.formulas": "num_samples",
    "generator.max_length": "max_length",
}
WHOLE = {*BOUNDED, "longest", "layer", "seed"}  # a text of digits would pass the limits
TEXT = 1000  # characters of a parameter


def allowed(study: Study, operation: str) -> list[str]:
    """The dotted names of the parameters of a model. operation: "predict" or "embed"."""
    if operation == "embed":
        return list(EMBED)
    names = [name for kind in study.predict_settings for name in KINDS[kind] if name not in OF_THE_SERVER]
    if "generator" in names:
        names.remove("generator")
        names += [f"generator.{name}" for name in GENERATOR]
    return [*names, "seed"] if samples(study) else names


def samples(study: Study) -> bool:
    """Whether predictions of a model can depend on a random seed."""
    return bool({"generator", "augment"} & {name for kind in study.predict_settings for name in KINDS[kind]})


def checked(values: Any, study: Study, operation: str, limits: Limits) -> dict[str, Any]:
    """The parameters as nested settings of the command; Refusal for an unknown name, a wrong type or a large value."""
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise Refusal(422, "invalid_parameters", 'parameters must be an object, such as {"parameters": {"seed": 1}}')
    names = allowed(study, operation)
    settings: dict[str, Any] = {}
    for name, value in dotted(values).items():
        if name not in names:
            known = f"; there are {', '.join(names)}"
            hint = did_you_mean(name, names) or known
            raise Refusal(422, "invalid_parameters", f"{name} is not a parameter of {operation} by this model{hint}")
        if value is not None and not isinstance(value, bool | int | float | str):
            raise Refusal(422, "invalid_parameters", f"{name} must be a number, a text, true, false or null")
        if isinstance(value, str) and (len(value) > TEXT or "${" in value or "???" in value):
            raise Refusal(422, "invalid_parameters", f"{name} must be a text of at most {TEXT} characters, without ${{")
        limit = getattr(limits, BOUNDED[name]) if name in BOUNDED else None
        if name in WHOLE and value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise Refusal(422, "invalid_parameters", f"{name} must be a whole number")
        if limit is not None and isinstance(value, int) and value > limit:
            raise Refusal(
                422, "invalid_parameters", f"{name}={value} is above the limit limits.{BOUNDED[name]}={limit}"
            )
        parent, _, key = name.rpartition(".")
        (settings.setdefault(parent, {}) if parent else settings)[key] = value
    return settings


def dotted(values: Mapping, prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names; Refusal if they are nested too deep."""
    flat: dict[str, Any] = {}
    if prefix.count(".") > DEEPEST:
        raise Refusal(422, "invalid_parameters", "parameters are nested too deep")
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= dotted(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def of_query(query: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of a URL: `candidates=3&generator.num_samples=20`. Values are JSON, or else texts."""
    values: dict[str, Any] = {}
    for name, text in query.items():
        try:
            values[name] = read_json(text)
        except ValueError:
            values[name] = text
    return values


@cache
def described() -> dict[str, dict[str, str]]:
    """Command -> key -> its comment in the YAML file."""
    from trimer.cli import configs

    comments = {}
    for command in ("predict", "embed"):
        text = configs.command_text(command)
        comments[command] = {m[1]: m[2] for m in re.finditer(r"^(\w+): *[^#\n]*?# (.*)$", text, flags=re.MULTILINE)}
    return comments


def facts(study: Study, operation: str, limits: Limits, defaults: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parameters for a card: name, default, limit and help. defaults: by dotted name."""
    comments = described()[operation] | {"generator": "how molecules are generated; null: as in training"}
    return [
        {
            "name": name,
            "default": defaults.get(name),
            "limit": getattr(limits, BOUNDED[name]) if name in BOUNDED else None,
            "help": comments.get(name.partition(".")[0], ""),
        }
        for name in allowed(study, operation)
    ]
