"""The logged gradient is that of the mean loss before clipping; steps that are not logged cost nothing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from trimer.callbacks.norms import Norms, norm


def test_norms_are_logged_at_logging_steps_only():
    net = torch.nn.Linear(3, 2)
    logged: dict[str, float] = {}
    task = SimpleNamespace(net=net, device=torch.device("cpu"), gradient_factor=torch.tensor(0.25),
                           log_dict=lambda values, **_: logged.update(values))  # fmt: skip
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(_should_accumulate=lambda: False))
    trainer = SimpleNamespace(global_step=8, log_every_n_steps=10, fit_loop=loop)
    callback = Norms()
    for parameter in net.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    callback.on_before_optimizer_step(trainer, task, None)
    callback.on_train_batch_end(trainer, task, None, None, 0)
    assert not logged, "step 9"
    trainer.global_step = 9
    callback.on_before_optimizer_step(trainer, task, None)
    for parameter in net.parameters():
        parameter.grad.zero_()  # clipping comes later
    callback.on_train_batch_end(trainer, task, None, None, 1)
    assert logged["gradient_norm"] == pytest.approx(0.25 * 2 * 8**0.5)
    expected = sum(float((p.detach() ** 2).sum()) for p in net.parameters()) ** 0.5
    assert logged["parameter_norm"] == pytest.approx(expected)
    assert float(norm([])) == 0
