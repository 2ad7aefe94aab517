"""Settings of `trimer predict` that only some kinds of models use."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from trimer.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.studies.study import Study

MOLECULES = "models that generate molecules for spectra"
SEQUENCES = "models that read molecules, proteins or peptides"
LABELS = "models that predict labels of molecules"
PEPTIDES = "models that read peptides"
LIBRARIES = "models that predict spectral libraries"
KINDS: dict[str, tuple[str, ...]] = {
    MOLECULES: (
        "ranked",
        "candidates",
        "tolerance_ppm",
        "only_agreeing",
        "library",
        "library_ppm",
        "generator",
        "cleaning",
    ),
    SEQUENCES: ("column", "id_column"),
    LABELS: ("augment",),
    PEPTIDES: ("notation", "fixed"),
    LIBRARIES: ("energy", "instrument", "retention"),
}


def check_predict_settings(cfg: DictConfig, kinds: Collection[str], checkpoint: Any) -> None:
    """ConfigError for a changed setting that this model does not use. kinds: those of KINDS that the model is of."""
    defaults = _defaults()
    for kind, names in KINDS.items():
        if kind in kinds:
            continue
        for name in names:
            for key, value in _leaves(name, cfg.get(name)):
                if value != defaults.get(key):
                    raise ConfigError(
                        f"{key} is for {kind}, and {checkpoint} is not one of them: remove the setting, or use another "
                        "checkpoint"
                    )


def check_averaging(cfg: DictConfig, study: type[Study], data: Mapping[str, Any]) -> None:
    """ConfigError for settings of averages that this kind of model does not use.

    study: of the task. data: config of its training data.
    """
    for name in ("augment", "boosting"):
        if cfg.get(name) and not study.can_average(data):
            raise ConfigError(f"{name}={cfg[name]} is for {LABELS}, and this one does not: remove the setting")
    if cfg.get("boosting") is not None and cfg.get("calibrate") is False:
        raise ConfigError(
            f"boosting={cfg.boosting} is stored in the checkpoint with its weight, chosen on the validation split: add "
            "calibrate=true"
        )


@cache
def _defaults() -> dict[str, Any]:
    """The default of every setting, by its dotted key."""
    from omegaconf import OmegaConf

    from trimer.cli.configs import shipped_folder

    cfg: Any = OmegaConf.load(shipped_folder() / "predict.yaml")
    return {key: value for names in KINDS.values() for name in names for key, value in _leaves(name, cfg[name])}


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key in value:
            yield from _leaves(f"{name}.{key}", value[key])
    else:
        yield name, value
