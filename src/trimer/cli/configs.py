"""The folders of the configs, and how a command's config is composed from them.

The shipped folder is `conf/` at the top of a checkout and `trimer/conf` in an installed package. The user's folders
are searched after it, so they add choices and never replace shipped ones: `--config-dir`, `TRIMER_CONF`, `./conf`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimer.cli import resolvers, schema
from trimer.cli.positional_words import with_values
from trimer.errors import ConfigError, UsageError
from trimer.suggestions import did_you_mean

if TYPE_CHECKING:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from omegaconf import DictConfig

OPTIONAL = ("logger", "scheduler")  # groups that may be null: no tracker, a constant learning rate
PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folder() -> Path:
    """The folder of the configs that come with Trimer."""
    installed = PACKAGE / "conf"
    return installed if installed.is_dir() else PACKAGE.parents[1] / "conf"


def user_folders() -> list[Path]:
    """The config folders of the user: those of `TRIMER_CONF`, then `./conf`; without the shipped one."""
    named = [Path(part) for part in os.environ.get("TRIMER_CONF", "").split(os.pathsep) if part]
    for folder in named:
        if not folder.is_dir():
            raise ConfigError(f"TRIMER_CONF names {folder}, which is not a folder; correct or unset it")
    folders: list[Path] = []
    for folder in (*named, Path("conf")):
        folder = folder.resolve()
        if folder.is_dir() and folder != shipped_folder() and folder not in folders:
            folders.append(folder)
    return folders


def shadowed(config_dirs: Iterable[str | Path] = ()) -> list[Path]:
    """Files of the user that are ignored, because a shipped config has the same name."""
    shipped = shipped_folder()
    return [
        path
        for folder in (*map(Path, config_dirs), *user_folders())
        for path in sorted(folder.rglob("*.yaml"))
        if (shipped / path.relative_to(folder)).is_file()
    ]


def choices(command: str, config_dirs: Iterable[str | Path] = ()) -> dict[str, list[str]]:
    """The groups of a command with their options, read from the folders without Hydra.

    Experiments may be in subfolders, such as `spectrums/finetune`; in other groups a subfolder holds shared fragments.
    """
    groups = dict.fromkeys(sorted(defaults(command)), "*.yaml")
    if "experiment" in groups:
        groups["experiment"] = "**/*.yaml"
    folders = [shipped_folder(), *map(Path, config_dirs), *user_folders()]
    return {
        group: sorted(
            {
                path.relative_to(folder / group).with_suffix("").as_posix()
                for folder in folders
                for path in (folder / group).glob(pattern)
            }
        )
        for group, pattern in groups.items()
    }


def defaults(command: str) -> dict[str, str]:
    """The groups that a command composes, each with its default option."""
    groups = dict(re.findall(r"^  - (\w+): (\w+)$", command_text(command), flags=re.MULTILINE))
    groups.pop("hydra", None)
    return groups


def command_text(command: str) -> str:
    """The YAML text of a command, followed by that of the command it inherits from, as prepare does from train."""
    text = (shipped_folder() / f"{command}.yaml").read_text(encoding="utf-8")
    inherited = [name for name in re.findall(r"^  - (\w+)$", text, flags=re.MULTILINE) if name in schema.SCHEMAS]
    return "\n".join([text, *map(command_text, inherited)])


def without_nulls(command: str, overrides: Sequence[str]) -> list[str]:
    """The overrides with `group=null` in Hydra's syntax, `~group`; UsageError for a group that the command needs.

    A Hydra launcher (`hydra/launcher=...`) replaces the group `launcher`, whose settings it does not accept.
    """
    groups = defaults(command)
    words = []
    for word in overrides:
        if word.startswith("from=") and "from_run" in schema.SCHEMAS[command].__dataclass_fields__:
            word = f"from_run={word.removeprefix('from=')}"
        group, _, value = word.partition("=")
        group = group.lstrip("+")
        if group in groups and value != "null" and re.search(r"\bnull\b", value):
            raise UsageError(f"{word}: null cannot be one of several choices; run {group}=null separately")
        if value != "null" or not (group in groups or "/" in group or group == "hydra"):
            words.append(word)
        elif group in OPTIONAL:
            words.append(f"~{group}")
        elif groups.get(group) != "null":  # a group whose default is null needs no override
            options = choices(command).get(group, [])
            hint = f"choose one of {', '.join(options)}" if options else "leave it out"
            raise UsageError(f"{group}=null is not possible, since trimer {command} needs this group: {hint}")
    launcher = [word.partition("=")[2] for word in words if word.startswith("hydra/launcher=")]
    if launcher and launcher[-1] != "process" and not any(word.startswith("launcher=") for word in words):
        words.append("~launcher")
    return words


def register() -> None:
    """Register our schemas and resolvers with Hydra; safe to call again."""
    from hydra import version

    version.setbase("1.3")
    resolvers.register()
    schema.register()


def config_loader(config_dirs: Sequence[str | Path] = ()) -> ConfigLoaderImpl:
    """The loader for the shipped folder and the user's; our search path plugin adds the latter."""
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery
    from hydra.core.utils import setup_globals

    from trimer.cli.config_loader import ConfigLoader

    setup_globals()
    register()
    path = create_config_search_path(f"file://{shipped_folder()}")
    for folder in config_dirs:
        if not Path(folder).is_dir():
            raise ConfigError(f"--config-dir {folder} is not a folder")
        has_user_folders = any(part.provider == "trimer-user" for part in path.get_path())
        anchor = SearchPathQuery(provider="trimer-user" if has_user_folders else "schema")
        path.prepend("command-line", f"file://{Path(folder).resolve()}", anchor)
    return ConfigLoader(config_search_path=path)


def compose(command: str, overrides: Sequence[str] = (), config_dirs: Sequence[str | Path] = ()) -> DictConfig:
    """The config of `trimer <command> <overrides>`, for tests and notebooks.

    `paths.run` is the folder that the run would use; nothing is created. ConfigError if it cannot be composed.
    """
    from hydra.types import RunMode
    from omegaconf import OmegaConf, open_dict, read_write

    from trimer.cli.composition_errors import explain

    if isinstance(overrides, str):
        raise ConfigError(f"overrides must be a list of texts, such as [{overrides!r}]")
    if not (shipped_folder() / f"{command}.yaml").is_file():
        raise ConfigError(f"{command} is not a command that has settings{did_you_mean(command, schema.SCHEMAS)}")
    loader = config_loader(config_dirs)
    try:
        cfg = loader.load_configuration(command, with_values(command, overrides), RunMode.RUN)
    except Exception as error:  # those without an explanation are raised unchanged
        sentence = explain(error, loader, command, overrides, sweep=False)
        if sentence is None:
            raise
        raise ConfigError(sentence) from error
    folder = Path(str(OmegaConf.select(cfg, "hydra.run.dir"))).absolute()
    with read_write(cfg), open_dict(cfg):
        if cfg.get("paths") and not any(override.startswith("paths.run=") for override in overrides):
            cfg.paths.run = str(folder)
        del cfg["hydra"]
    return cfg


def dotted_keys(node: Any, prefix: str = "") -> Iterator[str]:
    """Every key of a config, such as `trainer` and `trainer.max_steps`; interpolations are not resolved."""
    from omegaconf import DictConfig

    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing() or node._is_interpolation():
        return
    for key in map(str, node):
        if not key.startswith("_"):
            yield f"{prefix}{key}"
            yield from dotted_keys(node._get_node(key), f"{prefix}{key}.")
