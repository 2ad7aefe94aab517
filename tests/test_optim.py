"""Weight decay, learning rate schedules, and optimizers with Lightning's gradient clipping."""

from __future__ import annotations

import copy
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from trimer import orthogonal as orthogonal_module
from trimer.building import build
from trimer.cli.configs import compose
from trimer.errors import ConfigError
from trimer.optim import (
    Muon,
    WarmupPlateau,
    adamw,
    parameter_groups,
    warmup_constant,
    warmup_cosine,
    warmup_linear,
    weight_decay,
)
from trimer.orthogonal import orthogonal


class Net(nn.Module):
    """An embedding tied to the output, and one block with a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.linear = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.output = nn.Linear(4, 7, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.output(self.norm(self.linear(self.embedding(ids))))


def loss_of(net: Net) -> torch.Tensor:
    ids = torch.arange(7)
    return nn.functional.cross_entropy(net(ids), ids.roll(1))


def test_weight_decay_applies_to_matrices_only():
    net = Net()
    groups = {group["name"]: group for group in parameter_groups(net, 0.1)}
    assert [id(p) for p in groups["matrices"]["params"]] == [id(net.linear.weight)]
    assert groups["matrices"]["weight_decay"] == 0.1
    assert groups["rest"]["weight_decay"] == 0.0
    assert len(groups["rest"]["params"]) == 4  # the tied weight once, one bias, two of the norm


def test_frozen_parameters_are_not_optimized():
    net = Net()
    net.linear.weight.requires_grad_(False)
    assert [group["name"] for group in parameter_groups(net, 0.1)] == ["rest"]


def rates(schedule, steps: int, **settings) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = schedule(optimizer, **settings)
    seen = []
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return seen


def test_schedules_have_the_expected_rates():
    cosine = rates(warmup_cosine, 101, total_steps=100, warmup=10, min_lr_ratio=0.1)
    assert cosine[0] == pytest.approx(2 / 11)  # the first step has a nonzero rate
    assert cosine[10] == pytest.approx(2.0)
    assert cosine[55] == pytest.approx(1.1)
    assert cosine[100] == pytest.approx(0.2)
    assert all(a > b for a, b in pairwise(cosine[10:]))
    linear = rates(warmup_linear, 120, total_steps=100, warmup=0.2)
    assert linear[20] == pytest.approx(2.0)
    assert linear[60] == pytest.approx(1.0)
    assert linear[100] == linear[119] == 0.0  # and stays at the minimum
    constant = rates(warmup_constant, 50, total_steps=100, warmup=0.0)
    assert set(constant) == {2.0}


def test_plateau_schedule_warms_up_reduces_and_resumes():
    """The rate rises exactly to the peak, falls after `patience` validations without improvement, and resumes."""

    def run(values: list[float], state: dict | None = None, **settings) -> tuple[list[float], dict]:
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
        schedule = WarmupPlateau(optimizer, warmup=4, patience=1, **settings)
        if state is not None:
            schedule.load_state_dict(state["schedule"])
            optimizer.load_state_dict(state["optimizer"])
        seen = []
        for value in values:  # a validation after every second step
            for _ in range(2):
                seen.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                schedule.step()
            schedule.observe(value)
        return seen, copy.deepcopy({"schedule": schedule.state_dict(), "optimizer": optimizer.state_dict()})

    values = [9.0, 5.0, 4.0, 4.0, 4.5, 3.0, 3.0, 3.0]
    whole, _ = run(values)
    assert whole[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert whole == pytest.approx([0.4, 0.8, 1.2, 1.6, *[2.0] * 6, *[1.0] * 6])
    assert run([*values, 3.0], min_lr_ratio=0.4)[0][-2:] == pytest.approx([0.8, 0.8])
    assert run([-value for value in values], mode="max")[0] == pytest.approx(whole)
    first, state = run(values[:4])
    assert first + run(values[4:], state)[0] == pytest.approx(whole)
    with pytest.raises(ConfigError, match="factor must lie between 0 and 1"):
        run([1.0], factor=1.0)


@pytest.mark.parametrize("settings", [{"total_steps": -1}, {"total_steps": 10, "min_lr_ratio": 2.0}])
def test_invalid_schedule_settings_raise_errors(settings):
    with pytest.raises(ConfigError):
        rates(warmup_cosine, 1, **settings)


def test_schedule_state_holds_plain_values(tmp_path):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = warmup_cosine(optimizer, total_steps=10)
    torch.save(scheduler.state_dict(), tmp_path / "state.pt")
    optimizer.step()
    scheduler.step()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert (state["last_epoch"], scheduler.last_epoch) == (0, 1)
    scheduler.load_state_dict(state)
    assert scheduler.last_epoch == 0


def trained(make, net: Net, steps: int, state: dict | None = None):
    optimizer = make(parameter_groups(net, 0.01))
    if state is not None:
        optimizer.load_state_dict(state)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = optimizer.step(lambda: (value := loss_of(net)).backward() or value)
    return optimizer, loss


@pytest.mark.parametrize("make", [lambda g: adamw(g, lr=0.05), lambda g: Muon(g, lr=0.05, adamw_lr=0.05)])
def test_optimizers_learn_and_resume_exactly(make, tmp_path):
    torch.manual_seed(0)
    net = Net()
    before = loss_of(net).item()
    optimizer, _ = trained(make, net, 20)
    other = copy.deepcopy(net)
    torch.save(optimizer.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    for _ in range(5):
        optimizer.zero_grad()
        loss_of(net).backward()
        optimizer.step()
    trained(make, other, 5, state)
    assert loss_of(net).item() < 0.5 * before
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16-mixed", 2e-4), ("32-true", 2e-3)])
@pytest.mark.parametrize("together", [1, 2**26], ids=["one by one", "together"])
def test_muon_updates_agree_with_torch(monkeypatch, precision, tolerance, together):
    """torch orthogonalizes one matrix at a time in bf16; in fp32 the result differs by the rounding of bf16."""
    monkeypatch.setattr(orthogonal_module, "TOGETHER", together)
    torch.manual_seed(0)
    shapes = [(8, 20), (20, 8), (8, 8), (8, 20), (24, 8), (1, 5)]
    ours = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    group = {"name": "matrices", "params": ours, "weight_decay": 0.1}
    ours_steps = Muon([group], lr=0.03, momentum=0.9, precision=precision)
    theirs_steps = torch.optim.Muon(theirs, lr=0.03, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for our_parameter, their_parameter in zip(ours, theirs, strict=True):
            our_parameter.grad = torch.randn_like(our_parameter)
            their_parameter.grad = our_parameter.grad.clone()
        ours_steps.step()
        theirs_steps.step()
    for our_parameter, their_parameter in zip(ours, theirs, strict=True):
        torch.testing.assert_close(our_parameter, their_parameter, atol=tolerance, rtol=0)


def test_orthogonalized_matrices_have_singular_values_near_one():
    torch.manual_seed(0)
    matrices = [torch.randn(6, 30), torch.randn(30, 6) * 1e-3, torch.zeros(6, 30)]
    first, second, zero = orthogonal(matrices, torch.float32)
    for matrix, found in ((matrices[0], first), (matrices[1], second)):
        values = torch.linalg.svdvals(found)
        assert values.min() > 0.6 and values.max() < 1.3
        u, _, v = torch.linalg.svd(matrix, full_matrices=False)
        assert torch.nn.functional.cosine_similarity(found.flatten(), (u @ v).flatten(), dim=0) > 0.95
    assert not zero.any()


def test_muon_has_two_groups_with_separate_rates():
    optimizer = Muon(parameter_groups(Net(), 0.01), lr=0.03, adamw_lr=0.02)
    assert [(group["name"], group["lr"]) for group in optimizer.param_groups] == [("matrices", 0.03), ("rest", 0.02)]
    scheduler = warmup_constant(optimizer, total_steps=10, warmup=1)
    assert [group["lr"] for group in optimizer.param_groups] == [0.015, 0.01]
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [0.03, 0.02]


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_gradient_clipping_by_the_trainer_works(name, precision, tmp_path, monkeypatch):
    """Lightning does not clip for fused optimizers that unscale gradients; ours declare that they do not."""
    import lightning

    monkeypatch.chdir(tmp_path)
    cfg = compose("train", [f"optimizer={name}", f"trainer.precision={precision}", "trainer.max_steps=2"])
    cfg.trainer.enable_progress_bar = False
    cfg.trainer.val_check_interval = None

    class Task(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()

        def training_step(self, batch, _):
            return loss_of(self.net)

        def configure_optimizers(self):
            optimizer = build(cfg.optimizer)(parameter_groups(self.net, 0.1))
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": build(cfg.scheduler)(optimizer)}}

    trainer = build(cfg.trainer, logger=False, enable_checkpointing=False)
    trainer.fit(Task(), torch.utils.data.DataLoader(torch.zeros(4, 1), batch_size=1))
    assert trainer.global_step == 2


def test_weight_decay_comes_from_the_config_or_the_optimizer_default():
    assert weight_decay(partial(torch.optim.AdamW, weight_decay=0.3)) == 0.3
    assert weight_decay(partial(torch.optim.AdamW, lr=0.1)) == 0.01
    assert weight_decay(partial(torch.optim.SGD, lr=0.1)) == 0
    assert weight_decay(partial(torch.optim.LBFGS, lr=0.1)) == 0


def rates_of_epochs(values: list[float], **settings) -> list[float]:
    """The rate of each epoch in units of 1e-4, for a peak of 5e-4 and these metrics after each epoch."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=5e-4)
    schedule = WarmupPlateau(optimizer, interval="epoch", **{"warmup": 5, "patience": 3, **settings})
    seen = []
    for value in values:
        seen.append(optimizer.param_groups[0]["lr"] * 1e4)
        optimizer.step()
        schedule.step()
        schedule.observe(value)
    return seen


def test_a_warm_up_in_epochs_ends_at_the_peak_exactly():
    assert rates_of_epochs([1.0 / n for n in range(1, 11)]) == pytest.approx([1, 2, 3, 4, *[5] * 6], rel=1e-15)
    assert rates_of_epochs([1.0, 0.9, 0.8], warmup=0) == rates_of_epochs([1.0, 0.9, 0.8], warmup=1) == [5, 5, 5]


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_the_rate_is_reduced_after_patience_plus_one_epochs_without_improvement(patience):
    """The first epoch after the warm-up is the reference; earlier metrics do not count."""
    epoch_rates = rates_of_epochs([0.01] * 5 + [0.06] * 20, patience=patience)
    flat = 5 + 1 + patience + 1
    assert epoch_rates[:flat] == pytest.approx([1, 2, 3, 4, *[5] * (flat - 4)])
    assert epoch_rates[flat : flat + patience + 1] == pytest.approx([2.5] * (patience + 1))
    assert epoch_rates[flat + patience + 1] == pytest.approx(1.25)


def test_settings_of_an_epoch_schedule_are_checked():
    with pytest.raises(ConfigError, match="interval=day must be one of step, epoch"):
        rates(WarmupPlateau, 1, warmup=1, interval="day")
    with pytest.raises(ConfigError, match=r"set scheduler\.interval=epoch"):
        rates(WarmupPlateau, 1, warmup=1, monitor="train/loss_epoch")
    cfg = compose("train", ["scheduler=warmup_plateau", "scheduler.interval=epoch", "scheduler.patience=7"])
    schedule = build(cfg.scheduler)(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=2.0))
    assert (schedule.interval, schedule.patience, schedule.factor) == ("epoch", 7, 0.5)
