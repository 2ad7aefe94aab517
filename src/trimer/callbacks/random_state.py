"""Dropout continues exactly in a resumed run: the checkpoint holds the state of torch's random number generators."""

from __future__ import annotations

import lightning as L
import torch


class RandomState(L.Callback):
    """Saves torch's random state with every checkpoint and restores it before the first batch of a resumed run.

    A checkpoint of an interrupted validation holds the state before that validation, since it is repeated.
    """

    def __init__(self) -> None:
        self._restored: dict | None = None
        self._before_validation: dict | None = None
        self._xla = False

    def setup(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        self._xla = trainer.strategy.root_device.type == "xla"

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._before_validation = self.state_dict()

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._before_validation = None

    def state_dict(self) -> dict:
        if self._before_validation is not None:
            return self._before_validation
        state = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state()
        if self._xla:
            import torch_xla.core.xla_model as xm

            state["xla"] = xm.get_rng_state()
        return state

    def load_state_dict(self, state: dict) -> None:
        self._restored = state

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._before_validation = None
        if self._restored is None:
            return
        torch.set_rng_state(self._restored["cpu"])
        if "cuda" in self._restored and torch.cuda.is_available():
            torch.cuda.set_rng_state(self._restored["cuda"])
        if "xla" in self._restored and self._xla:
            import torch_xla.core.xla_model as xm

            xm.set_rng_state(self._restored["xla"])
        self._restored = None
