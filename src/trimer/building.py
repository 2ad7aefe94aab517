"""Builds objects from configs: the only caller of `hydra.utils.instantiate`, behind an allow-list.

A `_target_` names the class to build, and a config may come from a checkpoint of another source. So the whole config is
checked before anything is built: each target must be a class of the packages below (a few packages allow functions
too), named by the module that defines it, not one that imports it; and each argument must exist. Users add a package
from Python by `trimer.allow("mypackage")`, or by an entry point of the group `trimer` in its pyproject.toml; a file by
`--plugin` (`trimer.plugins`). YAML files cannot add packages.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, NoReturn

from trimer.cli.values import unresolved_reference
from trimer.errors import ConfigError
from trimer.signatures import SIMPLE, annotated_types, has_type, needs_value, parameters_of, type_names
from trimer.slots import check_slots
from trimer.suggestions import did_you_mean

# Names, and packages whose public classes may be built. `trimer.commands`, `trimer.run` and similar modules are not
# included, because they act on files and processes.
NAMES = {"lightning.Trainer", "lightning.pytorch.Trainer"}
PACKAGES = {
    "trimer.accelerators",
    "trimer.baselines",
    "trimer.callbacks",
    "trimer.data",
    "trimer.generation",
    "trimer.loggers",
    "trimer.metrics",
    "trimer.models",
    "trimer.optim",
    "trimer.simulate",
    "trimer.studies",
    "trimer.tasks",
    "trimer.tokenizers",
    "trimer.trackers",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers",
    "lightning.pytorch.plugins.precision",
    "lightning.pytorch.profilers",
    "lightning.pytorch.strategies",
    "torch.nn",
    "torch.optim",
    "torchmetrics.classification",
    "torchmetrics.regression",
}
# Packages whose functions may be called too: they only compute, without access to files or processes.
FUNCTIONS = {"trimer.baselines", "trimer.metrics", "trimer.models", "trimer.optim"}
# Keys of a node that Hydra interprets.
HYDRA_KEYS = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}
_user_packages: set[str] = set()


class Factory(functools.partial):
    """The result of `_partial_: true`; errors of a call name the key of the config."""

    where = ""

    def __call__(self, /, *args: Any, **keywords: Any) -> Any:
        try:
            return super().__call__(*args, **keywords)
        except Exception as error:  # `raise_config_error` raises all but a few types unchanged
            raise_config_error(error, self.where)


def allow(package: str) -> None:
    """Allow the classes and functions of a user package in configs, e.g. `trimer.allow("mypackage")`."""
    if not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*\.?", package):
        raise ConfigError(f"allow({package!r}): give the dotted name of a package, such as 'mypackage'")
    _user_packages.add(package.rstrip("."))


def build(cfg: Any, **arguments: Any) -> Any:
    """The object that a config describes, or a factory (`_partial_: true`), a list, or a dict of them; None for None.

    cfg: a node of the config of a run, or plain values from a checkpoint.
    arguments: objects for the constructor of the top node that a config cannot hold, such as a tokenizer or a network;
    they are passed unchanged and override the config.
    Raises ConfigError that names the key, if possible before anything is built, else with the message of the
    constructor.
    """
    if cfg is None:
        return None
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    tree, key = plain(cfg)
    check(tree, key, arguments)
    partial = isinstance(tree, dict) and bool(tree.get("_partial_"))
    try:
        built = instantiate({**tree, "_partial_": True} if arguments else tree, _convert_="all")
    except InstantiationException as error:
        inner = re.search(r"^full_key: (.+)$", str(error), flags=re.MULTILINE)
        where = ".".join(part for part in (key, inner and inner.group(1)) if part)
        cause = error.__cause__ or error  # the message of the constructor, not of Hydra
    else:
        if not arguments and not partial:
            return built
        factory = Factory(built.func, *built.args, **{**built.keywords, **arguments})
        factory.where = key
        return factory if partial else factory()
    raise_config_error(cause, where)


def raise_config_error(error: BaseException, key: str) -> NoReturn:
    """Raise a ConfigError for values that a constructor rejects; raise any other error unchanged."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    if isinstance(error, (TypeError, ValueError, MisconfigurationException)):
        raise ConfigError(f"{where_is(key)}{' '.join(str(error).split()) or type(error).__name__}") from error
    raise error


def build_all(group: Any) -> list[Any]:
    """The objects of a group of named nodes, such as callbacks and loggers, without nodes set to null.

    ConfigError for a node without a target, which often holds settings for another choice of the group.
    """
    tree, key = plain(group)
    for name, node in (tree or {}).items():
        if node is not None and "_target_" not in node:
            raise ConfigError(
                f"{where_is(f'{key}.{name}')}has settings but no _target_: choose the {key} that defines it"
            )
    return [built for built in (build(group) or {}).values() if built is not None]


def check(cfg: Any, key: str | None = None, arguments: dict[str, Any] | None = None) -> None:
    """Raise ConfigError if a target is not allowed or an argument does not exist; builds nothing."""
    tree, key = plain(cfg) if key is None else (cfg, key)
    nodes = list(targets(tree, key))
    for where, node in nodes:  # names first
        check_allowed(node["_target_"], where)
    check_slots(nodes, key)
    for number, (where, node) in enumerate(nodes):
        check_arguments(node, where, arguments or {} if number == 0 and node is tree else {})


def plain(cfg: Any) -> tuple[Any, str]:
    """The config as plain values with resolved interpolations, and its key in the whole config ('' at the top)."""
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue

    if not OmegaConf.is_config(cfg):
        return cfg, ""
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True), cfg._get_full_key(None)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} has no value: add {error.full_key}=...") from error
    except InterpolationResolutionError as error:
        raise ConfigError(unresolved_reference(error)) from error


def targets(node: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node with a target, outermost first, with its dotted key."""
    if isinstance(node, str):
        # The value is resolved already: it must not be resolved again after the check.
        if "${" in node:
            raise ConfigError(f"{key or 'the config'} holds {node!r}: a value that is resolved later cannot be checked")
    elif isinstance(node, dict):
        if "_target_" in node:
            yield key, node
        for name, value in node.items():
            yield from targets(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, (list, tuple)):
        for number, value in enumerate(node):
            yield from targets(value, f"{key}[{number}]")


def check_allowed(target: Any, key: str) -> None:
    """Raise ConfigError unless the name alone is on the allow-list."""
    valid = isinstance(target, str) and re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", target)
    if not valid or not (target in NAMES or inside(target, PACKAGES | user_packages())):
        raise ConfigError(
            f"{where_is(key)}_target_: {target!r} is not on the allow-list; allow a file with "
            f"--plugin {str(target).partition('.')[0]}.py, a package by an entry point of the group 'trimer' or, in "
            "Python, by trimer.allow('mypackage')"
        )


def check_arguments(node: dict[str, Any], key: str, objects: dict[str, Any]) -> None:
    """Raise ConfigError unless the target exists, is allowed, and accepts the arguments of the node and their types.

    objects: arguments that are passed from Python.
    """
    target = located(node["_target_"], key)
    try:
        parameters = parameters_of(target)
    except ValueError:  # written in C, without a signature
        return
    kinds = {parameter.kind for parameter in parameters.values()}
    names = [
        name
        for name, parameter in parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    arguments = [str(name) for name in node if name not in HYDRA_KEYS]
    if inspect.Parameter.VAR_KEYWORD not in kinds:
        for name in arguments:
            if name not in names:
                hint = did_you_mean(name, names) or f"; it has {', '.join(names) or 'none'}"
                raise ConfigError(
                    f"{key + '.' if key else ''}{name}: {node['_target_']} has no argument {name!r}{hint}"
                )
    hints = annotated_types(target)
    types_of = {name: members for name, members in hints.items() if members <= SIMPLE.keys()}
    for name in arguments:
        if name not in names or name in objects:
            continue
        if not has_type(node[name], types_of.get(name), parameters[name].default):
            raise ConfigError(f"{key + '.' if key else ''}{name}={node[name]} must be {type_names(types_of[name])}")
        if node[name] is None and needs_value(parameters[name], hints):
            raise ConfigError(f"{key + '.' if key else ''}{name}=null: {node['_target_']} needs a value here")
    if not node.get("_partial_") and not node.get("_args_"):
        for name in names:
            if parameters[name].default is inspect.Parameter.empty and name not in arguments and name not in objects:
                raise ConfigError(
                    f"{where_is(key)}{node['_target_']} needs the argument {name!r}: add {key}.{name}=..."
                )


def located(target: str, key: str) -> Any:
    """The class or function with this dotted path; ConfigError if it does not exist or is not allowed."""
    parts = target.split(".")
    value: Any = None
    for end in range(len(parts) - 1, 0, -1):
        try:
            value = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            # Distinguish a missing library, a misspelt path and an error inside the package.
            if error.name is None or (inside(error.name, {parts[0]}) and not inside(target, {error.name})):
                raise
            if not inside(target, {error.name}):
                raise ConfigError(
                    f"{where_is(key)}{target} needs the package {error.name}, which is not installed"
                ) from error
            continue
        break
    for part in parts[end:]:
        if not hasattr(value, part):
            public = [name for name in dir(value) if not name.startswith("_")]
            raise ConfigError(f"{where_is(key)}there is no {target}{did_you_mean(part, public)}")
        value = getattr(value, part)
        module = getattr(value, "__module__", None) or ""
        if isinstance(value, ModuleType) or not (target in NAMES or inside(module, PACKAGES | user_packages())):
            raise ConfigError(
                f"{where_is(key)}{target} is not on the allow-list: it is defined in {module or part}, not at that path"
            )
    if not isinstance(value, type) and not (callable(value) and inside(value.__module__, FUNCTIONS | user_packages())):
        raise ConfigError(
            f"{where_is(key)}{target} is not on the allow-list: only classes of {parts[0]}.{parts[1]} are"
        )
    return value


def inside(name: str, packages: set[str]) -> bool:
    """Whether the dotted name is one of the packages or inside one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def user_packages() -> set[str]:
    """The packages of the user: those passed to `allow`, and those with an entry point of the group `trimer`."""
    return _user_packages | _declared_packages()


@functools.cache
def _declared_packages() -> set[str]:
    return {point.value.partition(":")[0] for point in entry_points(group="trimer")}


def where_is(key: str) -> str:
    """`model: ` as the start of a message, empty at the top of a config."""
    return f"{key}: " if key else ""
