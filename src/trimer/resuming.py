"""Resuming a run in its folder with its stored settings, of which only those listed here may change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from trimer import __version__
from trimer.errors import ConfigError, InputError, UsageError
from trimer.plugins import named_plugins
from trimer.renames import current_override

if TYPE_CHECKING:
    from trimer.run import RunFolder

# Settings that a resumed run may change: they alter no finished step and take effect from then on. A key includes all
# keys below it. Values that depend on these by interpolation (the length of a schedule) change with them.
MAY_CHANGE = {
    "length": (
        "trainer.max_steps", "trainer.max_epochs", "trainer.max_time", "scheduler.total_steps",
        "callbacks.early_stopping",
    ),
    "devices": (
        "trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy", "trainer.precision",
        "trainer.plugins", "data.num_workers", "data.prepare_workers", "model.checkpointing",
    ),
    "logging": (
        "logger", "name", "tags", "trainer.log_every_n_steps", "trainer.enable_progress_bar",
        "trainer.enable_model_summary", "trainer.profiler", "callbacks.throughput", "callbacks.memory",
        "callbacks.norms",
        "callbacks.last.every_n_train_steps",
    ),
    "paths": ("paths", "data.cache"),
    "final evaluation": ("test", "baselines", "objective", "calibration_spectra", "augment", "boosting"),
    "the sweep": ("n_jobs", "resume", "from_run"),
}  # fmt: skip
AUTO = "auto"  # resume=auto: the run in hydra.run.dir, or a new one
# Data files may have moved; their content is compared when they are read.
DATA_FILES = re.compile(r"data\.(.+\.)?(path|paths|folder|file|files)(\[\d+\])?")


def resume(
    folder: str, overrides: Sequence[str], config_dirs: Sequence[str] = (), plugins: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """Overrides and config folders that resume the run in `folder`: the stored ones, changed by the new ones.

    plugins: the files of --plugin, which must include those of the run.
    InputError if the folder does not exist or is not the folder of a training run.
    """
    from omegaconf import OmegaConf

    from trimer.run import RunFolder

    run = RunFolder(Path(folder).expanduser())
    if not run.path.is_dir():
        raise InputError(f"resume={folder}: there is no such folder")
    if not run.started or not (run.path / "overrides.yaml").is_file():
        raise InputError(
            f"resume={folder} is not a run folder: it has no run.json and overrides.yaml{nearest_run(run.path)}"
        )
    if (command := run.record.get("command")) != "train":
        raise InputError(f"resume={folder} is the folder of trimer {command}; only a training run can be resumed")
    require_plugins(run, plugins, f"resume={folder}")
    resumed = run.record.get("resumed") or [{}]
    stored = resumed[-1].get("overrides") or [str(text) for text in OmegaConf.load(run.path / "overrides.yaml")]
    stored = [current_override(text) for text in stored]
    new = [text for text in overrides if not text.startswith(("resume=", "hydra.run.dir="))]
    replaced = {key_of(text) for text in new} | {"resume", "hydra.run.dir"}
    kept = [text for text in stored if key_of(text) not in replaced]
    if any(key_of(text) == "from_run" for text in stored):  # the folder itself holds the whole config
        kept = [override("from_run", run.path)]
    folders = list(config_dirs) or run.record.get("config_dirs", [])
    return [*kept, *new, override("resume", run.path), override("hydra.run.dir", run.path)], folders


def begun(overrides: Sequence[str]) -> str | None:
    """The folder of hydra.run.dir if it holds a run to resume; None if the run has to start, perhaps again.

    A run that was killed before its first checkpoint starts again. UsageError without hydra.run.dir.
    """
    from trimer.locks import FolderLock
    from trimer.run import RunFolder, first_process

    named = [text.partition("=")[2].strip("'\"") for text in overrides if key_of(text) == "hydra.run.dir"]
    if not named or "${" in named[-1]:
        raise UsageError(
            f"resume={AUTO} continues the run in a fixed folder, or starts it there: add hydra.run.dir=<folder>"
        )
    run = RunFolder(Path(named[-1]).expanduser())
    if not run.started:
        return None
    if run.record.get("command") == "train" and run.last_checkpoint() is None and run.result.get("status") != "ok":
        if first_process():
            FolderLock(run.path).require().release()  # another process may be about to write one
            run.clear()
        return None
    return named[-1]


def override(key: str, value: str | Path) -> str:
    """`key="value"` in Hydra's syntax, for any text."""
    quoted = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'{key}="{quoted}"'


def require_plugins(run: RunFolder, plugins: Sequence[str], where: str) -> None:
    """InputError unless the files of --plugin include those of the run, since a run folder never loads a plug-in."""
    plugin_names = {path.name for path in named_plugins(plugins)}
    for plugin in run.record.get("plugins", []):
        if Path(plugin["path"]).name not in plugin_names:
            raise InputError(
                f"{where} used a plug-in: pass it again, --plugin {plugin['path']} (a copy is "
                f"{run.path / plugin['copy']})"
            )


def nearest_run(folder: Path) -> str:
    """A hint for a path that is the parent of a run folder, or lies inside one."""
    if (folder.parent / "run.json").is_file():
        return f"; its parent is one: resume={folder.parent}"
    runs = sorted(path.parent for path in folder.glob("*/run.json"))
    return f"; the newest run in it is resume={runs[-1]}" if runs else ""


def key_of(override: str) -> str:
    """`optimizer.lr` of `+optimizer.lr=1e-3`."""
    return override.lstrip("+~").partition("=")[0]


def check_changes(cfg: Any, before: Mapping[str, Any], version: str | None, where: str | Path) -> None:
    """ConfigError that names the keys which differ from those of the run and may not change.

    before: the resolved config of the run. version: of Trimer when the run began; keys that a later version has added
    or removed are ignored.
    """
    from omegaconf import OmegaConf

    tree = plain_dict(cfg, resolve=False)
    for key in (key for keys in MAY_CHANGE.values() for key in keys):
        set_value(tree, key, value_at(before, key))
    new, old = dotted_values(plain_dict(OmegaConf.create(tree))), dotted_values(before)
    changed = [key for key in {**old, **new} if old.get(key, ABSENT) != new.get(key, ABSENT)]
    if version != __version__:
        changed = [key for key in changed if key in old and key in new]
    changed = [key for key in changed if not DATA_FILES.fullmatch(key)]
    if changed:
        shown = ", ".join(f"{key} ({value_text(old, key)}, now {value_text(new, key)})" for key in changed[:5])
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise ConfigError(
            f"resume={where}: these settings of the run cannot change: {shown}{more}. A resumed run may change "
            f"{', '.join(list(MAY_CHANGE)[:4])}. Leave the others as they were, or start a new run from its weights "
            "with ckpt="
        )


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every key that differs, with its values `from` and `to`; a missing key has only one of them."""
    old, new = dotted_values(before), dotted_values(after)
    return {
        key: {word: values[key] for word, values in (("from", old), ("to", new)) if key in values}
        for key in {**old, **new}
        if key not in ("resume", "from_run") and old.get(key, ABSENT) != new.get(key, ABSENT)
    }


def with_changes(config: dict[str, Any], resumed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The config of a run, updated with the changes of its resumptions."""
    for changes in (resumption.get("changes") or {} for resumption in resumed):
        for key in [key for key, change in changes.items() if "to" not in change]:
            set_value(config, key, ABSENT)
        for key, change in changes.items():
            if "to" in change:
                set_value(config, key, change["to"])
    return config


def is_complete(run: RunFolder, cfg: Any) -> bool:
    """Whether the run has ended successfully and the config of its resumption requires nothing more."""
    result = run.result
    if result.get("status") != "ok":
        return False
    changes = differences(run.config, plain_dict(cfg))
    requested = [key for key in changes if key.startswith((*MAY_CHANGE["length"], "test"))]
    in_steps = (cfg.trainer.max_steps or 0) > 0
    reached = in_steps and cfg.trainer.max_steps <= result.get("steps", 0)
    stopped = result.get("stopped_early") or cfg.trainer.get("max_time") is not None
    if not requested and in_steps and not reached and not stopped:
        return cfg.trainer.get("max_epochs") not in (None, -1)  # otherwise a callback of the user has stopped it
    return not requested or (reached and "test" not in requested)


def plain_dict(cfg: Any, resolve: bool = True) -> dict[str, Any]:
    """A config as nested dicts and lists."""
    from omegaconf import OmegaConf

    return cast("dict[str, Any]", OmegaConf.to_container(cfg, resolve=resolve))


class Absent:
    """The value of a missing key."""


ABSENT = Absent()


def dotted_values(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every leaf of nested dicts under its dotted key; a list or an empty dict is a leaf."""
    return dict(_leaves(tree, prefix))


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def value_at(tree: Mapping[str, Any], key: str) -> Any:
    """The value or subtree at a dotted key, ABSENT if it is missing."""
    for name in key.split("."):
        if not isinstance(tree, Mapping) or name not in tree:
            return ABSENT
        tree = tree[name]
    return tree


def set_value(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set the value at a dotted key, or remove the key if the value is ABSENT."""
    *above, last = key.split(".")
    for name in above:
        if not isinstance(tree.get(name), dict):
            if value is ABSENT:
                return
            tree[name] = {}
        tree = tree[name]
    if value is ABSENT:
        tree.pop(last, None)
    else:
        tree[last] = value


def value_text(values: Mapping[str, Any], key: str) -> str:
    """The value of a key as text, `not set` if it is missing."""
    value = values.get(key, ABSENT)
    return "not set" if value is ABSENT else "null" if value is None else str(value)
