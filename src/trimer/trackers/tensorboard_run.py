"""TensorBoard event files with metrics in sections, without epoch, token count and the empty `hp_metric`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from trimer.trackers.descriptions import panel_name


class TensorBoardRun(TensorBoardLogger):
    """Event files in `<save_dir>/tensorboard`; metrics have the names of the other trackers, as `optimizer/lr`."""

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name="tensorboard", version="", default_hp_metric=False)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log a row; metrics that are straight lines over the steps are left out."""
        super().log_metrics({p: value for name, value in metrics.items() if (p := panel_name(name)) is not None}, step)
