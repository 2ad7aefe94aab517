"""Checks of the section `hydra` of a config, from which Hydra builds objects itself, outside the allow-list of Trimer.

Hydra builds callbacks (`hydra.callbacks`), a launcher, a sweeper with its sampler, and the handlers and formatters of
its logging from the names in a config, and sets environment variables (`hydra.job.env_set`), of which some load code.
Every config is checked when it is composed, before anything is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trimer.building import inside, located, targets, user_packages
from trimer.errors import ConfigError

CALLBACKS = {"hydra.experimental.callbacks.LogJobReturnCallback"}
PLUGINS = {"hydra_plugins", "hydra._internal.core_plugins"}  # Hydra itself checks that these are its plugins
SAMPLERS = {"optuna.samplers", "optuna.pruners"}
LOGGING = {
    "colorlog.ColoredFormatter",
    "logging.FileHandler",
    "logging.Formatter",
    "logging.NullHandler",
    "logging.StreamHandler",
    "logging.handlers.RotatingFileHandler",
    "logging.handlers.TimedRotatingFileHandler",
}
OUTPUT = "${hydra.runtime.output_dir}/"
STREAMS = {"ext://sys.stdout", "ext://sys.stderr"}
# Variables that only set numbers, devices, names and log levels. Others can load code (PYTHONPATH, LD_PRELOAD,
# TRIMER_PLUGINS, NCCL_NET_PLUGIN): these are set in the shell.
VARIABLES = {
    "CUDA_VISIBLE_DEVICES",
    "GLOO_SOCKET_IFNAME",
    "MKL_NUM_THREADS",
    "NCCL_DEBUG",
    "NCCL_SOCKET_IFNAME",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TOKENIZERS_PARALLELISM",
    "TORCH_LOGS",
    "WANDB_ENTITY",
    "WANDB_MODE",
    "WANDB_PROJECT",
    "WANDB_TAGS",
}


def check_hydra(cfg: DictConfig) -> None:
    """ConfigError if the section `hydra` names an object or a variable that is not allowed; builds nothing."""
    hydra = cfg.get("hydra")
    if not hydra:
        return
    check_callbacks(hydra)
    for section in ("launcher", "sweeper"):
        check_plugin(hydra, section)
    for section in ("job_logging", "hydra_logging"):
        check_logging(hydra, section)
    for name in raw(hydra.get("job"), "env_set", "hydra.job.env_set"):
        if name not in VARIABLES:
            raise ConfigError(
                f"hydra.job.env_set.{name}: a config cannot set this environment variable: set it in the shell; a "
                f"config can set {', '.join(sorted(VARIABLES))}"
            )


def check_callbacks(hydra: DictConfig) -> None:
    """ConfigError unless all callbacks are on the list or in a package of the user."""
    callbacks = raw(hydra, "callbacks", "hydra.callbacks")
    for name, node in callbacks.items():
        if not isinstance(node, dict):
            raise ConfigError(f"hydra.callbacks.{name} must hold a _target_ and its arguments, written out")
    for key, node in list(targets(callbacks, "hydra.callbacks")):
        target = str(node["_target_"])
        if target in CALLBACKS:
            continue
        if not inside(target, user_packages()):
            raise ConfigError(
                f"{key}: _target_: {target!r} is not on the allow-list: use {', '.join(sorted(CALLBACKS))}, or a class "
                "of your package with an entry point of the group 'trimer'; callbacks of a training belong in "
                "callbacks.<name>"
            )
        located(target, key)


def check_plugin(hydra: DictConfig, section: str) -> None:
    """ConfigError unless a launcher or sweeper is a plugin of Hydra, with samplers of Optuna only."""
    top = f"hydra.{section}"
    for key, name, value in leaves(hydra, section, top):
        if name == "_target_":
            allowed = PLUGINS if key == f"{top}._target_" else SAMPLERS
            if not inside(str(value), allowed):
                raise ConfigError(
                    f"{key}: {value!r} is not on the allow-list: choose hydra/{section}=<choice>, or a class of "
                    f"{', '.join(sorted(allowed))}"
                )
        elif name == "custom_search_space" and value is not None and not inside(str(value), user_packages()):
            raise ConfigError(
                f"{key}={value}: only functions of your package, with an entry point of the group 'trimer', can be "
                "called"
            )


def leaves(parent: Any, name: Any, key: str) -> Iterator[tuple[str, str, Any]]:
    """Key, last name and value of all values below a node.

    ConfigError for an interpolation to a section, which could hold a target, and for a target by interpolation.
    """
    node = parent._get_node(name)
    if node is None:
        return
    if node._is_interpolation():
        try:
            value_node = node._dereference_node()
        except OmegaConfBaseException as error:
            raise ConfigError(
                f"{key}={node._value()} has no value yet, so it cannot be checked: write it out"
            ) from error
        if name == "_target_" or isinstance(value_node, (DictConfig, ListConfig)):
            raise ConfigError(f"{key}={node._value()}: write the value out, so that it can be checked")
        yield key, str(name), value_node._value()
    elif isinstance(node, (DictConfig, ListConfig)):
        if node._is_none() or node._is_missing():
            return
        children: list[Any] = list(node.keys()) if isinstance(node, DictConfig) else list(range(len(node)))
        for child in children:
            yield from leaves(node, child, f"{key}.{child}")
    else:
        yield key, str(name), node._value()


def check_logging(hydra: DictConfig, section: str) -> None:
    """ConfigError unless handlers and formatters of a logging config are those of LOGGING."""
    key = f"hydra.{section}"
    config = raw(hydra, section, key)
    for kind in ("handlers", "formatters", "filters"):
        nodes = config.get(kind) or {}
        if not isinstance(nodes, dict) or not all(isinstance(node, dict) for node in nodes.values()):
            raise ConfigError(f"{key}.{kind} must hold settings that are written out")
        for name, node in nodes.items():
            for word in ("class", "()"):
                if word in node and node[word] not in LOGGING:
                    raise ConfigError(
                        f"{key}.{kind}.{name}: {word}: {node[word]!r} is not on the allow-list: use "
                        f"{', '.join(sorted(LOGGING))}"
                    )
            if "." in node:
                raise ConfigError(f"{key}.{kind}.{name}: remove the key '.', which sets attributes of objects")
    for where, text in texts(config, key):
        # Logging imports what follows ext:// at the start of a text; the folder of a run is absolute.
        start, interpolation, _ = text.partition("${")
        open_start = interpolation and any(prefix.startswith(start) for prefix in ("ext://", "cfg://"))
        if ("://" in text and text not in STREAMS) or (open_start and not text.startswith(OUTPUT)):
            raise ConfigError(
                f"{where}={text!r} cannot be checked: use ext://sys.stdout, ext://sys.stderr, or a path below "
                "${hydra.runtime.output_dir}/"
            )


def texts(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """All texts of plain values with their keys."""
    if isinstance(node, str):
        yield key, node
    elif isinstance(node, dict):
        for name, value in node.items():
            yield from texts(value, f"{key}.{name}")
    elif isinstance(node, list):
        for value in node:
            yield from texts(value, key)


def raw(parent: Any, name: str, key: str) -> dict[str, Any]:
    """A section as plain values with unresolved interpolations; {} if it is empty. ConfigError if it is no section."""
    node = None if parent is None else parent._get_node(name)
    if node is None or node._is_none() or node._is_missing():
        return {}
    if node._is_interpolation() or not isinstance(node, DictConfig):
        raise ConfigError(f"{key} must be a section of settings that are written out")
    tree = OmegaConf.to_container(node, resolve=False)
    return {str(name): value for name, value in tree.items()} if isinstance(tree, dict) else {}
