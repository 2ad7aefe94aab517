"""One sentence for a config that does not compose: the file, line, key or choice, and the nearest valid name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from trimer.cli import configs
from trimer.cli.failures import causes
from trimer.cli.schema import SCHEMAS
from trimer.cli.values import unresolved_reference
from trimer.suggestions import did_you_mean

# Launchers and sweepers of Hydra's plugins, and our choice that does the same without the plugin.
OURS = {
    "optuna": "hparams_search=optuna",
    "submitit_slurm": "launcher=slurm",
    "submitit_local": "launcher=submitit_local",
    "ray": "launcher=ray",
    "joblib": "launcher=joblib",
}


def is_composition_error(error: BaseException) -> bool:
    """Whether the config could not be composed, because of a mistake in an override or in a YAML file."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    return isinstance(error, (HydraException, OmegaConfBaseException, YAMLError))


def explain(error: BaseException, loader: Any, command: str, overrides: Sequence[str], sweep: bool) -> str | None:
    """The sentence for a composition error, None for any other error.

    loader: Hydra's config loader. sweep: whether `-m` was given.
    """
    if isinstance(error, UnicodeDecodeError):
        return encoding_mistake(loader)
    if not is_composition_error(error):
        return None
    return (
        yaml_mistake(error)
        or override_mistake(loader, command, overrides, sweep)
        or reference_mistake(error, overrides)
        or config_mistake(error, loader)
    )


def reference_mistake(error: BaseException, overrides: Sequence[str]) -> str | None:
    """The sentence for a value that refers to something that does not exist."""
    from omegaconf.errors import InterpolationResolutionError

    return unresolved_reference(error, overrides) if isinstance(error, InterpolationResolutionError) else None


def yaml_mistake(error: BaseException) -> str | None:
    """The sentence for a file that is not YAML, with the file and the line."""
    from yaml import MarkedYAMLError, YAMLError

    for cause in causes(error):
        if isinstance(cause, MarkedYAMLError) and (mark := cause.problem_mark or cause.context_mark):
            problem = cause.problem or cause.context or "it is not YAML"
            return f"{mark.name} line {mark.line + 1}, column {mark.column + 1}: {problem}; correct the YAML there"
        if isinstance(cause, YAMLError):
            return f"{getattr(cause, 'name', 'a config')} is not YAML: {first_line(cause)}"
    return None


def encoding_mistake(loader: Any) -> str | None:
    """The sentence for a YAML file of the user that is not UTF-8 text, None if all are."""
    for path in user_files(config_folders(loader)):
        try:
            path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            return f"{path} is not UTF-8 text (byte {error.start}): save it as UTF-8"
    return None


def override_mistake(loader: Any, command: str, overrides: Sequence[str], sweep: bool) -> str | None:
    """The sentence for the first override that cannot be used, None if all can."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    choices = Choices(loader, command)
    chosen, values = [], []
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            key, equals, value = text.partition("=")
            quoted = f""", as '{key}="{value}"'""" if equals and '"' not in value else ""
            return f"cannot read {text!r}: write key=value; quote a value with special characters twice{quoted}"
        if override.is_sweep_override() and not sweep:
            return several_values(command, text, override.key_or_group not in choices.groups)
        group = override.key_or_group
        if group in choices.groups or "/" in group:
            if sentence := choices.mistake(group, text, override):
                return sentence
            chosen.append(text)
        else:
            values.append((text, override))
    return key_mistake(loader, command, chosen, values, choices.groups)


def several_values(command: str, text: str, may_be_list: bool) -> str:
    """The sentence for `seed=1,2` without `-m`."""
    key, _, value = text.partition("=")
    as_list = f", or '{key}=[{value}]' for a list" if may_be_list and re.fullmatch(r"[\w.,+-]+", value) else ""
    return f"{text} has several values: add -m to run them all (trimer {command} -m {quote(text)}){as_list}"


class Choices:
    """The config groups of a command and their options, as Hydra finds them."""

    def __init__(self, loader: Any, command: str) -> None:
        from hydra.core.object_type import ObjectType

        self._list = lambda group, kind: loader.get_group_options(group, kind, config_name=command)
        self._folder, self._file = ObjectType.GROUP, ObjectType.CONFIG
        self.groups = [group for group in self._list("", self._folder) if group != "hydra"]

    def options(self, group: str, above: str = "") -> list[str]:
        """Options of a group, also those in its subfolders, such as `study/small` of the group `experiment`."""
        options = [f"{above}{option}" for option in self._list(group, self._file)]
        for folder in self._list(group, self._folder):
            options += self.options(f"{group}/{folder}", f"{above}{folder}/")
        return options

    def mistake(self, group: str, text: str, override: Any) -> str | None:
        """The sentence for an override of an unknown group, or with an unknown option."""
        options = self.options(group)
        if not options and group not in self.groups:
            return f"unknown group {group!r} in {text!r}{did_you_mean(group, self.groups)}"
        value = override.value()
        if isinstance(value, str) and value not in options:
            return no_option(group, value, options)
        return None


def no_option(group: str, option: str, options: Sequence[str]) -> str:
    """The sentence for an option that a group does not have."""
    hint = did_you_mean(option, options) or (options and "; there are " + ", ".join(options)) or ""
    return f"there is no {group}={option}{hint}"


def key_mistake(
    loader: Any, command: str, chosen: Sequence[str], values: Sequence[tuple[str, Any]], groups: Sequence[str]
) -> str | None:
    """The sentence for a key that the config does not have.

    chosen: overrides of groups. values: the text of each other override, and what Hydra has parsed.
    """
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    start = [text for text, _ in values if text.startswith(("from_run=", "from="))]
    try:  # all keys, with the choices and without the values that may be wrong
        cfg = loader.load_configuration(command, [*start, *chosen], RunMode.MULTIRUN, validate_sweep_overrides=False)
        keys = [*configs.dotted_keys(cfg)]
    except Exception:  # of any type: an error here would hide the one that is being explained
        return None  # an invalid choice, which `config_mistake` explains
    for text, override in values:
        key = override.key_or_group
        if key in keys or override.is_add() or override.is_force_add():
            continue
        parent, _, name = key.rpartition(".")
        if parent in keys and OmegaConf.select(cfg, parent, default="") is None:
            value = text.partition("=")[2]
            return f"{parent} is null, so it has no {name!r}: write '{parent}={{{name}: {value}}}' (or +{text})"
        of_hydra = key.startswith("hydra.")
        hint = did_you_mean(key, [known for known in keys if of_hydra or not known.startswith("hydra.")] + [*groups])
        return f"unknown key {key!r} in {text!r}{hint or '; to add a key, write + before it'}"
    return None


def config_mistake(error: BaseException, loader: Any) -> str:
    """The sentence for a mistake inside a config file, which Hydra names without its suffix, else the first lines."""
    text = str(error)
    match = re.match(r"In '([\w/.-]+)': ", text)
    name = match.group(1) if match else ""
    folders = config_folders(loader)
    where = f"{file_of(name, folders)}: " if name else ""
    if missing := re.search(r"Could not find '([\w/]+)/([\w.-]+)'", text):
        group, option = missing.groups()
        if option in OURS and group.startswith("hydra/"):
            return f"{group}={option} is a plugin of Hydra that is not installed; use {OURS[option]}"
        options = re.findall(r"^\t([\w/.-]+)$", text, flags=re.MULTILINE)
        if name in SCHEMAS:  # Hydra names the command, but a file of the user overrides its choice
            where = next((f"{path}: " for path in user_files(folders) if option in path.read_text("utf-8")), "")
        return f"{where}{no_option(group, option, options)}"
    for cause in causes(error) if name else ():
        key, reason = getattr(cause, "full_key", None), first_line(cause)
        if key and re.match(r"Key '.*' (not in|is not in)", reason):
            if key == name.partition("/")[0]:  # the file is merged below its group, not at the top
                return f"{where}the first line must be '# @package _global_'"
            known = [name for schema in SCHEMAS.values() for name in schema.__dataclass_fields__]
            return f"{where}unknown key {key!r}{did_you_mean(key, known) or '; correct or remove it'}"
        if key:
            return f"{where}{key}: {reason}"
    lines = [first_line(raised) for raised in (error, error.__cause__) if raised is not None and str(raised).strip()]
    return ": ".join(dict.fromkeys(lines)).removeprefix("Error merging override ")


def config_folders(loader: Any) -> list[Path]:
    """The folders that Hydra's loader searches, in its order."""
    paths = [str(part.path) for part in loader.get_search_path().get_path()]
    return [Path(path.removeprefix("file://")) for path in paths if path.startswith("file://")]


def user_files(folders: Sequence[Path]) -> list[Path]:
    """The YAML files of the folders that are not shipped."""
    return [path for folder in folders if folder != configs.shipped_folder() for path in sorted(folder.rglob("*.yaml"))]


def file_of(name: str, folders: Sequence[Path]) -> str:
    """The file of a config that Hydra calls `experiment/mine`; its name if no folder has it."""
    return str(next((path for folder in folders if (path := folder / f"{name}.yaml").is_file()), name))


def first_line(error: BaseException) -> str:
    """The first line of an error's text."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
