"""Hydra's config loader, in which `from_run=<run folder>` starts from the config of a run.

The recorded config takes the place of the defaults of `trimer train`: after the groups, before experiment, debug and
the values of the command line. Groups that are chosen on the command line replace those of the run. The section `hydra`
of each config is checked (`hydra_checks`).
"""

from __future__ import annotations

from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from trimer.cli.hydra_checks import check_hydra
from trimer.errors import UsageError

KEY = "from_run"
COMMANDS = ("train", "prepare")  # that have this key


class ConfigLoader(ConfigLoaderImpl):
    """The loader of all commands; without `from_run` it is Hydra's, with a check."""

    _start: dict[str, Any] | None = None  # the config of the run, while one is composed
    _chosen: frozenset[str] = frozenset()  # groups of the command line

    def _load_configuration_impl(self, config_name: str | None, overrides: list[str], *args: Any, **named: Any) -> Any:
        # `from=` is the short form of `from_run=`.
        overrides = [f"{KEY}={text.removeprefix('from=')}" if text.startswith("from=") else text for text in overrides]
        self._start, self._chosen = None, frozenset()
        if config_name in COMMANDS and any(text.startswith(f"{KEY}=") for text in overrides):
            overrides = self._prepare(overrides)
        try:
            cfg = super()._load_configuration_impl(config_name, overrides, *args, **named)
        finally:
            self._start, self._chosen = None, frozenset()
        check_hydra(cfg)
        return cfg

    def _prepare(self, overrides: list[str]) -> list[str]:
        """Read the run and the chosen groups; returns the overrides, with the run's choice above a chosen subgroup."""
        from trimer.reproduction.start_config import start_config, training_run

        parsed = OverridesParser.create().parse_overrides(overrides)
        named = [override for override in parsed if override.key_or_group == KEY]
        if named[-1].is_sweep_override() or named[-1].value() in (None, ""):
            return overrides
        run = training_run(str(named[-1].value()), "from=")
        groups = set(self.get_group_options("", ObjectType.GROUP))
        keys = [override.key_or_group for override in parsed]
        self._chosen = frozenset(key for key in keys if key.partition("/")[0] in groups)
        if "experiment" in self._chosen:
            raise UsageError(
                "experiment= chooses all groups, and from= takes them from a run: give one of them; single groups, "
                "such as model=<choice>, can be changed"
            )
        above = {key.partition("/")[0] for key in self._chosen if "/" in key} - self._chosen
        self._start = start_config(run)
        choices = run.record.get("choices") or {}
        return [*(f"{group}={choices[group]}" for group in sorted(above) if group in choices), *overrides]

    def _compose_config_from_defaults_list(self, defaults: list[Any], repo: Any) -> DictConfig:
        if self._start is None:
            return super()._compose_config_from_defaults_list(defaults, repo)
        end = 1 + max(number for number, default in enumerate(defaults) if default.config_path == "train")
        cfg = super()._compose_config_from_defaults_list(defaults[:end], repo)
        replace(cfg, self._start, self._chosen)
        cfg.merge_with(super()._compose_config_from_defaults_list(defaults[end:], repo))
        return cfg


def replace(cfg: DictConfig, start: dict[str, Any], chosen: frozenset[str]) -> None:
    """Replace the top-level keys of a config by those of a run, except chosen groups and keys that no longer exist."""
    with open_dict(cfg):
        for key, value in start.items():
            if key == "paths":
                for name, folder in value.items():
                    cfg.paths[name] = folder
            elif key in cfg and key not in chosen:
                inner = [group for group in chosen if group.startswith(f"{key}/")]
                fresh = {group: OmegaConf.select(cfg, group.replace("/", ".")) for group in inner}
                cfg[key] = value
                for group, node in fresh.items():
                    OmegaConf.update(cfg, group.replace("/", "."), node, merge=False, force_add=True)
