"""Builds objects from configs: the only caller of `hydra.utils.instantiate`, behind an allow-list.

A `_target_` names what is called, and a config may come out of a checkpoint from elsewhere. So the whole tree is read
before anything is built: each target must be a class of the packages below (a few packages may lend functions too),
reached by its own path and not through a module that happens to import it; and each argument must be one that the
target has. A package of your own is added from Python, by `allow("mypackage")`, or by an entry point of the group
`trimer` in its pyproject.toml; a file of your own by `--plugin` (`trimer.plugins`). Nothing is added from YAML.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import types
import typing
from collections.abc import Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, NoReturn

from trimer.errors import ConfigError
from trimer.suggestions import did_you_mean

# Exact names, and packages whose public classes may be built. `trimer.commands`, `trimer.run` and the like act on files
# and processes and are not among them.
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
# Where functions may be called too: they compute, and touch neither files nor processes.
FUNCTIONS = {"trimer.baselines", "trimer.metrics", "trimer.models", "trimer.optim"}
# Hydra's own keys of a node.
WORDS = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}
# Annotations whose values are checked, in words.
SIMPLE = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", types.NoneType: "null"}

# The default of a keyword argument that a constructor passes on to its base class, which knows it.
PASSED_ON = object()

_own: set[str] = set()


class Factory(functools.partial):
    """The result of `_partial_: true`; an error of a call names the key of the config."""

    where = ""

    def __call__(self, /, *args: Any, **keywords: Any) -> Any:
        try:
            return super().__call__(*args, **keywords)
        except Exception as error:
            refuse(error, self.where)


def allow(package: str) -> None:
    """Let configs name the classes and functions of a package of yours, as `allow("mypackage")`."""
    if not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*\.?", package):
        raise ConfigError(f"allow({package!r}): give the dotted name of a package")
    _own.add(package.rstrip("."))


def build(cfg: Any, **arguments: Any) -> Any:
    """The object that a config describes, or a factory (`_partial_: true`), a list, or a dict of them; None for None.

    cfg: a node of the run's config, or plain values as a checkpoint has them.
    arguments: objects for the top node's constructor that no config can hold, such as a tokenizer or a network; they
    are passed on as they are, and win over the config.
    Raises ConfigError naming the key: before anything is built where that can be seen, else with what the constructor
    says about the values.
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
        cause = error.__cause__ or error  # the message of the constructor itself, not that of Hydra
    else:
        if not arguments and not partial:
            return built
        factory = Factory(built.func, *built.args, **{**built.keywords, **arguments})
        factory.where = key
        return factory if partial else factory()
    refuse(cause, where)


def refuse(error: BaseException, key: str) -> NoReturn:
    """Raise a ConfigError for values that a constructor cannot use; any other error as it is."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    if isinstance(error, (TypeError, ValueError, MisconfigurationException)):
        raise ConfigError(f"{where_is(key)}{' '.join(str(error).split()) or type(error).__name__}") from error
    raise error


def build_all(group: Any) -> list[Any]:
    """The objects of a group of named nodes, as callbacks and loggers are; a node set to null is left out.

    ConfigError for a node without a target: often settings of an object that another choice of the group would have.
    """
    tree, key = plain(group)
    for name, node in (tree or {}).items():
        if node is not None and "_target_" not in node:
            raise ConfigError(f"{where_is(f'{key}.{name}')}has settings but no _target_: choose the {key} that has it")
    return [built for built in (build(group) or {}).values() if built is not None]


def check(cfg: Any, key: str | None = None, arguments: dict[str, Any] | None = None) -> None:
    """Raise ConfigError where a target is not allowed or has no such argument; builds nothing."""
    tree, key = plain(cfg) if key is None else (cfg, key)
    nodes = list(targets(tree, key))
    for where, node in nodes:  # names first: nothing is imported for a tree that names something foreign
        check_allowed(node["_target_"], where)
    for number, (where, node) in enumerate(nodes):
        check_arguments(node, where, arguments or {} if number == 0 and node is tree else {})


def plain(cfg: Any) -> tuple[Any, str]:
    """The config as plain values, all interpolations resolved, and its key in the whole config ('' at the top)."""
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationResolutionError, MissingMandatoryValue

    if not OmegaConf.is_config(cfg):
        return cfg, ""
    try:
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True), cfg._get_full_key(None)
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key} has no value: add {error.full_key}=...") from error
    except InterpolationResolutionError as error:
        raise ConfigError(f"{error.full_key}: {str(error).splitlines()[0]}") from error


def targets(node: Any, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node with a target, outermost first, with its dotted key."""
    if isinstance(node, str):
        # Resolved once already: what would resolve again has not been looked at.
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
    good = isinstance(target, str) and re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", target)
    if not good or not (target in NAMES or inside(target, PACKAGES | own_packages())):
        raise ConfigError(
            f"{where_is(key)}_target_: {target!r} is not on the allow-list; a file of your own is added by "
            f"--plugin {str(target).partition('.')[0]}.py, a package by an entry point of the group 'trimer', or from "
            "Python by trimer.allow('mypackage')"
        )


def check_arguments(node: dict[str, Any], key: str, given: dict[str, Any]) -> None:
    """Raise ConfigError unless the target exists, is allowed, and takes the node's arguments and their types."""
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
    arguments = [str(name) for name in node if name not in WORDS]
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
        if name in names and name not in given and not suits(node[name], types_of.get(name), parameters[name].default):
            raise ConfigError(f"{key + '.' if key else ''}{name}={node[name]} must be {in_words(types_of[name])}")
        if name in names and name not in given and node[name] is None and needs_value(parameters[name], hints):
            raise ConfigError(f"{key + '.' if key else ''}{name}=null: {node['_target_']} needs a value here")
    if not node.get("_partial_") and not node.get("_args_"):
        for name in names:
            if parameters[name].default is inspect.Parameter.empty and name not in arguments and name not in given:
                raise ConfigError(
                    f"{where_is(key)}{node['_target_']} needs the argument {name!r}: add {key}.{name}=..."
                )


def parameters_of(target: Any) -> dict[str, inspect.Parameter]:
    """The parameters of a target; `**settings: Unpack[Settings]` as the keyword arguments that the TypedDict names."""
    parameters = dict(inspect.signature(target).parameters)
    for name, described in described_keywords(target).items():
        del parameters[name]
        for keyword in described.__annotations__:
            default = inspect.Parameter.empty if keyword in described.__required_keys__ else PASSED_ON
            parameters[keyword] = inspect.Parameter(keyword, inspect.Parameter.KEYWORD_ONLY, default=default)
    return parameters


def described_keywords(target: Any) -> dict[str, Any]:
    """`settings` -> the TypedDict of `**settings: Unpack[Settings]`, at most one."""
    return {
        name: typing.get_args(hint)[0]
        for name, hint in type_hints(target).items()
        if typing.get_origin(hint) is typing.Unpack
    }


def type_hints(target: Any) -> dict[str, Any]:
    """The annotations of the arguments; none where they are written for type checkers only."""
    try:
        return typing.get_type_hints(getattr(target, "__init__") if isinstance(target, type) else target)  # noqa: B009
    except (AttributeError, NameError, TypeError):
        return {}


def annotated_types(target: Any) -> dict[str, set[type]]:
    """The types that each annotated argument takes."""
    hints = type_hints(target)
    for described in described_keywords(target).values():
        hints |= typing.get_type_hints(described)
    unions = (typing.Union, types.UnionType)
    return {
        name: set(typing.get_args(hint) if typing.get_origin(hint) in unions else [hint])
        for name, hint in hints.items()
    }


def needs_value(parameter: inspect.Parameter, hints: dict[str, set[type]]) -> bool:
    """Whether null cannot be given: the argument has no default and no type, or a type without null."""
    if parameter.default is None or not (hints.get(parameter.name) or parameter.default is inspect.Parameter.empty):
        return False
    return not hints.get(parameter.name, set()) & {types.NoneType, typing.Any, object}


def suits(value: Any, members: set[type] | None, default: Any) -> bool:
    """Whether a value of the config is of one of the types. A number may stand for a text, and 1.0 for 1."""
    if members is None or (value is None and default is None):
        return True
    if isinstance(value, bool) or value is None:
        return type(value) in members
    if isinstance(value, (int, float)):
        whole = isinstance(value, int) or value.is_integer()
        return bool(members & {float, str}) or (int in members and whole)
    return isinstance(value, str) and str in members


def in_words(members: set[type]) -> str:
    """`a whole number or null` of the types."""
    return " or ".join(words for kind, words in SIMPLE.items() if kind in members)


def located(target: str, key: str) -> Any:
    """The class or function of that path."""
    parts = target.split(".")
    found: Any = None
    for end in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            # A missing library is another matter than a misspelt path, and than a fault in the package itself.
            if error.name is None or (inside(error.name, {parts[0]}) and not inside(target, {error.name})):
                raise
            if not inside(target, {error.name}):
                raise ConfigError(
                    f"{where_is(key)}{target} needs the package {error.name}, which is not installed"
                ) from error
            continue
        break
    for part in parts[end:]:
        if not hasattr(found, part):
            public = [name for name in dir(found) if not name.startswith("_")]
            raise ConfigError(f"{where_is(key)}there is no {target}{did_you_mean(part, public)}")
        found = getattr(found, part)
        home = getattr(found, "__module__", None) or ""
        if isinstance(found, ModuleType) or not (target in NAMES or inside(home, PACKAGES | own_packages())):
            raise ConfigError(
                f"{where_is(key)}{target} is not on the allow-list: it belongs to {home or part}, not to that path"
            )
    if not isinstance(found, type) and not (callable(found) and inside(found.__module__, FUNCTIONS | own_packages())):
        raise ConfigError(
            f"{where_is(key)}{target} is not on the allow-list: only classes of {parts[0]}.{parts[1]} are"
        )
    return found


def inside(name: str, packages: set[str]) -> bool:
    """Whether the dotted name is one of the packages or lies in one."""
    return any(name == package or name.startswith(package + ".") for package in packages)


def own_packages() -> set[str]:
    """The user's packages: those given to `allow`, and those installed with an entry point of the group `trimer`."""
    return _own | _declared()


@functools.cache
def _declared() -> set[str]:
    return {point.value.partition(":")[0] for point in entry_points(group="trimer")}


def where_is(key: str) -> str:
    """`model: ` in front of a sentence, or nothing at the top of a config."""
    return f"{key}: " if key else ""
