"""Which validations count as no improvement, and that a stopped run is evaluated with its best weights."""

from __future__ import annotations

import json
import math

import pytest
import torch

from trimer.callbacks.early_stopping import FLAT, NOT_FINITE, RISING, EarlyStopping
from trimer.cli.main import main
from trimer.errors import ConfigError
from trimer.simulate.simulated_molecules import simulated_molecules

DIVERGING = [0.9, 0.6, 0.4, 0.3, 0.36, 0.45, 0.6, 0.8, 1.1, 1.5]
CONVERGING = [0.9 * 0.7**n for n in range(12)]
FLATTENING = [0.9, 0.6, 0.4, 0.3, 0.25, 0.2496, 0.2494, 0.2493, 0.2492, 0.2491]


def stopped(values, **settings) -> tuple[int, str] | None:
    """The position of the value that stops the training, and the reason."""
    callback = EarlyStopping(**{"patience": 3, **settings})
    return next(((position, why) for position, value in enumerate(values) if (why := callback.update(value))), None)


@pytest.mark.parametrize("sign", [1, -1])
def test_three_typical_traces_stop_at_the_expected_value(sign):
    """A loss that rises again, one that keeps falling, and one that falls by 0.1 %."""
    mode = "min" if sign == 1 else "max"
    for trace, end in ((DIVERGING, (6, RISING)), (CONVERGING, None), (FLATTENING, (7, FLAT))):
        stop = stopped([sign * value for value in trace], mode=mode)
        assert stop == end, trace


def test_small_improvements_add_up():
    steady = [0.992**n for n in range(60)]
    assert stopped(steady, patience=2) is None and stopped(steady, patience=1) == (1, FLAT)
    assert stopped([0.25, 0.2482, 0.2461, 0.2459, 0.2458, 0.2457]) == (5, FLAT)  # counted from 0.2461
    assert stopped([1.1**n for n in range(30)], mode="max") is None


def test_the_first_value_can_be_the_best():
    assert stopped([0.1, 0.5, 0.5, 0.5]) == (3, RISING)
    assert stopped([0.1, 0.5, 0.4, 0.3, 0.2], patience=5) is None
    callback = EarlyStopping(patience=9)
    for value in (0.1, 0.5, 0.3):
        callback.update(value)
    assert (callback.best, callback.bad) == (0.1, 2)


def test_zero_and_negative_values_are_compared_correctly():
    assert stopped([0.0] * 9) == (3, FLAT)
    assert stopped([1.0, 0.0, 0.0, 0.0, 0.0]) == (4, FLAT)
    assert stopped([0.0, -1.0, -2.0, -3.0, -4.0]) is None
    assert stopped([-2.0, -2.01, -2.015, -2.019]) == (3, FLAT)
    assert stopped([-2.0, -1.9, -1.8, -1.7]) == (3, RISING)
    assert stopped([-0.3, -0.1, 0.001, 0.2, 0.4], mode="max") is None  # R2 crosses zero
    assert stopped([1e-9, 0.9e-9, 0.8e-9, 0.7e-9], min_delta=1e-6) == (3, FLAT)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nonfinite_values_stop_immediately(value):
    assert stopped([1.0, 0.5, value, 0.4], patience=100) == (2, NOT_FINITE)
    assert stopped([value], patience=100) == (0, NOT_FINITE)


def test_the_state_is_restored():
    for trace in (DIVERGING, FLATTENING):
        first, second = EarlyStopping(patience=3), EarlyStopping(patience=3)
        for value in trace[:5]:
            first.update(value)
        second.load_state_dict(first.state_dict())
        assert [first.update(v) for v in trace[5:8]] == [second.update(v) for v in trace[5:8]]
        assert first.state_dict() == second.state_dict()


@pytest.mark.parametrize(
    "settings", [{"patience": 0}, {"patience_multiple": 0}, {"margin": -1.0}, {"mode": "best"}, {"min_delta": math.nan}]
)
def test_invalid_settings_raise_errors(settings):
    (name,) = settings
    with pytest.raises(ConfigError, match=name):
        EarlyStopping(**settings)


# ---------------------------------------------------------------- in a run


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A regression in epochs that stops early."""
    folder = tmp_path_factory.mktemp("stopping")
    rows = [f"{smiles},{len(smiles)}" for smiles in simulated_molecules(60, seed=3)]
    (folder / "my.csv").write_text("\n".join(["smiles,y", *rows]) + "\n")
    return [
        "data=labelled_molecules", f"data.source.paths={folder / 'my.csv'}", "data.source.labels=y",
        "data.target=regression", "data.tokens_per_batch=600", "model=smiles_nano", "model.d_model=32",
        "task=regression", "trainer=epochs", "trainer.max_epochs=12", "trainer.precision=32-true",
        "trainer.enable_progress_bar=false", "scheduler=warmup_plateau", "scheduler.interval=epoch",
        "scheduler.warmup=2", "callbacks=early_stopping", "callbacks.early_stopping.patience=2", "baselines=false",
        "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}", f"paths.cache={folder / 'cache'}",
    ]  # fmt: skip


def validations_are(monkeypatch, values: dict[int, float]) -> None:
    """Set the validation loss of these epochs, independent of the network."""
    from trimer.tasks.task import Task

    log_validation = Task.log_validation

    def log_changed(self, measured) -> None:
        log_validation(self, {**measured, "loss": values.get(self.trainer.current_epoch, measured["loss"])})

    monkeypatch.setattr(Task, "log_validation", log_changed)


def run(folder, *words: str) -> dict:
    assert main(["train", *words, f"hydra.run.dir={folder}"]) == 0
    return json.loads((folder / "result.json").read_text())


def test_the_test_split_is_evaluated_with_the_best_weights(words, tmp_path, monkeypatch, capsys):
    """The loss rises after epoch 3: the table is that of a run which ended there."""
    epochs = {epoch: 1.0 / (epoch + 1) if epoch <= 3 else float(epoch) for epoch in range(12)}
    validations_are(monkeypatch, epochs)
    late = run(tmp_path / "late", *words)
    output = " ".join(capsys.readouterr().err.split())
    assert (
        late["stopped_early"] == RISING
        and "stopped early (rising): val/loss is 5, the best value is 0.25, and 2" in output
    )
    picture = (tmp_path / "late" / "schedule.svg").read_text()
    assert "stopped at step" in picture and "planned end" in picture
    assert "without improvement: 2 of 2" in (tmp_path / "late" / "test" / "page.html").read_text()
    best, last = (torch.load(tmp_path / f"late/checkpoints/{n}.ckpt", weights_only=True) for n in ("best", "last"))
    assert (best["epoch"], last["epoch"]) == (3, 5)  # the end of the sixth epoch
    short = run(tmp_path / "short", *words, "trainer.max_epochs=4")
    assert short["stopped_early"] is None
    tested = {name: value for name, value in late["metrics"].items() if name.startswith("test/")}
    assert tested and tested == {name: short["metrics"][name] for name in tested}


def test_a_stopped_run_resumes_only_with_a_longer_patience(words, tmp_path, monkeypatch):
    validations_are(monkeypatch, {epoch: float(epoch + 1) for epoch in range(12)})
    first = run(tmp_path / "run", *words)
    again = run(tmp_path / "run", *words, f"resume={tmp_path / 'run'}")
    longer = run(tmp_path / "run", *words, f"resume={tmp_path / 'run'}", "callbacks.early_stopping.patience=4")
    whole = run(tmp_path / "whole", *words, "callbacks.early_stopping.patience=4")
    assert [result["stopped_early"] for result in (first, again, longer, whole)] == [RISING] * 4
    steps = [result["steps"] for result in (first, again, longer, whole)]
    assert steps[0] == steps[1] and steps[2] == steps[3] == steps[0] // 3 * 5
    states = [torch.load(tmp_path / n / "checkpoints/last.ckpt", weights_only=True) for n in ("run", "whole")]
    assert all(torch.equal(states[0]["state_dict"][name], value) for name, value in states[1]["state_dict"].items())


@pytest.mark.parametrize(
    ("settings", "stop"),
    [
        (["callbacks.early_stopping.patience_multiple=2", "scheduler.patience=3"], 6),  # the first and six more
        (["callbacks.early_stopping.patience_multiple=4", "scheduler.patience=0"], 1),  # never 0
        (["trainer.check_val_every_n_epoch=2", "callbacks.early_stopping.patience=3"], 7),
    ],
)
def test_patience_is_counted_in_validations(words, tmp_path, monkeypatch, settings, stop):
    validations_are(monkeypatch, {epoch: 1.0 for epoch in range(12)})
    assert run(tmp_path, *words, "test=false", *settings)["stopped_early"] == FLAT
    assert torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["epoch"] == stop


def test_a_nan_loss_ends_the_run(words, tmp_path, monkeypatch):
    validations_are(monkeypatch, {1: math.nan})
    assert run(tmp_path, *words, "test=false")["stopped_early"] == NOT_FINITE
    assert torch.load(tmp_path / "checkpoints/best.ckpt", weights_only=True)["epoch"] == 0


def test_fast_dev_runs_and_sanity_checks_do_not_update_early_stopping(words, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        validations_are(patch, {0: math.nan})
        assert run(tmp_path / "try", *words, "trainer.fast_dev_run=true")["stopped_early"] is None
    fed = []
    update = EarlyStopping.update
    monkeypatch.setattr(EarlyStopping, "update", lambda self, value: fed.append(value) or update(self, value))
    validations_are(monkeypatch, {0: 1.0, 1: 0.5})
    run(tmp_path / "run", *words, "test=false", "trainer.num_sanity_val_steps=2", "trainer.max_epochs=2")
    assert fed == [1.0, 0.5]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        (
            "callbacks.early_stopping.monitor=val/nothing",
            "is not a validation metric; there are val/intercept, val/labels_seen, val/loss",
        ),
        ("callbacks.early_stopping.monitor=train/loss_epoch", "is not a validation metric"),
        ("callbacks.early_stopping.patience=0", "callbacks.early_stopping.patience=0 must be 1 or more"),
    ],
)
def test_invalid_monitors_and_patience_are_reported(words, tmp_path, capsys, word, sentence):
    assert main(["train", *words, word, f"hydra.run.dir={tmp_path / 'run'}"]) == 1
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_a_multiple_needs_a_schedule_with_a_patience(words, tmp_path, capsys):
    others = [word for word in words if not word.startswith(("scheduler", "trainer=", "trainer.max_epochs"))]
    others += ["trainer.max_steps=2", "callbacks.early_stopping.patience_multiple=4"]
    assert main(["train", *others, f"hydra.run.dir={tmp_path / 'run'}"]) == 1
    assert "use scheduler=warmup_plateau" in " ".join(capsys.readouterr().err.split())
