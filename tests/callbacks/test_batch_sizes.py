"""The batch-size finder: its search, and out-of-memory errors of real training steps, raised by a stand-in."""

from __future__ import annotations

import csv

import pytest
import torch
from tiny_trainings import TINY

from trimer.callbacks.batch_sizes import BatchSizeFinder, Measurement, estimated, fast_enough, search
from trimer.cli.main import main
from trimer.errors import ConfigError


def tried(most: int, data: int = 10**9, largest: int = 10**6) -> tuple[list[int], int]:
    """Sizes that are measured, and the largest that fits, where `most` tokens fit and the data hold `data` tokens."""
    measured: list[Measurement] = []

    def measure(size: int) -> Measurement:
        measured.append(Measurement(size, size <= most, min(size, data), 1.0, None))
        return measured[-1]

    search(measure, 512, largest)
    return [m.size for m in measured], max((m.size for m in measured if m.fits), default=0)


def test_sizes_are_doubled_until_one_does_not_fit_then_bisected():
    sizes, best = tried(most=5000)
    assert sizes[:5] == [512, 1024, 2048, 4096, 8192] and sizes[5] == 6144
    assert 5000 * 7 / 8 < best <= 5000
    assert tried(most=10**9, largest=2048) == ([512, 1024, 2048], 2048)
    assert tried(most=100) == ([512], 0)


def test_the_search_ends_when_the_data_hold_no_larger_batch():
    assert tried(most=10**9, data=1500) == ([512, 1024, 2048, 4096], 4096)


def test_the_smallest_of_the_fast_sizes_is_suggested():
    speeds = {512: 100, 1024: 188, 2048: 196, 4096: 199, 8192: 180}
    fitting = [Measurement(size, True, float(size), size / speed) for size, speed in speeds.items()]
    assert fast_enough(fitting).size == 1024 * 2


def test_memory_is_estimated_from_the_two_largest_sizes():
    measured = [Measurement(n, True, n, 1.0, 100 + n / 10) for n in (1000, 2000)]
    assert estimated(measured, 4000) == pytest.approx(500)
    assert estimated(measured[:1], 4000) == 200 and estimated([], 4000) == 0


def test_impossible_settings_are_named():
    with pytest.raises(ConfigError, match="smallest=9 must be above 0 and at most largest=8"):
        BatchSizeFinder("unused", smallest=9, largest=8, steps=1, memory_gb=None)


def test_a_step_out_of_memory_bounds_the_size_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    """Steps with more than 700 tokens fail, as on a GPU that is full."""
    from trimer.tasks.seq2seq import Seq2Seq

    step, tokens = Seq2Seq.training_step, []

    def limited(task, batch, number):
        assert task._step_count is None  # nothing is left of the step before
        before = task.work["tokens"]
        loss = step(task, batch, number)
        tokens.append(task.work["tokens"] - before)
        if tokens[-1] > 700:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss

    monkeypatch.setattr(Seq2Seq, "training_step", limited)
    folder = tmp_path / "run"
    settings = ["callbacks.batch_sizes.smallest=150", "callbacks.batch_sizes.steps=1"]
    assert main(["train", *TINY, "debug=batch_size", f"hydra.run.dir={folder}", *settings]) == 0
    with (folder / "batch_sizes.csv").open() as file:
        rows = [(int(row["tokens_per_batch"]), row["fits"], row["tokens_per_second"]) for row in csv.DictReader(file)]
    assert rows == sorted(rows) and {fits for _, fits, _ in rows} == {"True", "False"}
    largest = max(size for size, fits, _ in rows if fits == "True")
    assert largest < min(size for size, fits, _ in rows if fits == "False") and max(tokens) > 700
    assert all(float(speed) > 0 for _, fits, speed in rows if fits == "True")
    picture = (folder / "batch_sizes.svg").read_text()
    assert "does not fit" in picture and ">300<" in picture and "math" not in picture
    output = " ".join(capsys.readouterr().err.split())
    assert f"largest batch that fits: data.tokens_per_batch={largest}" in output
    assert "next: look at" in output and "batch_sizes.svg, or the same command with data.tokens_per_batch=" in output


def test_on_the_cpu_sizes_beyond_the_limit_are_not_tried(tmp_path, capsys):
    folder = tmp_path / "run"
    settings = ["callbacks.batch_sizes.smallest=150", "callbacks.batch_sizes.steps=1"]
    settings += ["callbacks.batch_sizes.memory_gb=0.01"]  # less than the process has at its start
    assert main(["train", *TINY, "debug=batch_size", f"hydra.run.dir={folder}", *settings]) == 0
    output = " ".join(capsys.readouterr().err.split())
    assert "not even data.tokens_per_batch=150 fits into the memory" in output
    assert "the same command with a smaller model" in output
