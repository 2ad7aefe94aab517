"""The speed of a CPU is measured once and cached; the precision it chooses is recorded with the run."""

import json
import os
import subprocess
import sys

import pytest
import torch

from trimer.accelerators import cpu_speed
from trimer.cli import configs
from trimer.cli.main import main
from trimer.run import RunFolder

SHORT = [
    "data.source.molecules=40", "data.tokens_per_batch=700", "model.d_model=32", "model.encoder_ffn=64",
    "model.decoder_ffn=64", "trainer.val_check_interval=100", "trainer.limit_val_batches=0", "test=false",
    "trainer.enable_progress_bar=false", "callbacks.last.every_n_train_steps=1", "scheduler=null",
]  # fmt: skip


@pytest.fixture
def _speeds(monkeypatch, tmp_path):
    """A separate cache folder, and no speeds measured yet."""
    monkeypatch.setenv("TRIMER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(cpu_speed.CHOICE, raising=False)
    forget()
    yield
    forget()


def forget():
    cpu_speed.speeds.cache_clear()
    cpu_speed.faster_precision.cache_clear()
    cpu_speed.flash_is_faster_in_bf16.cache_clear()


def set_measured_speeds(monkeypatch, fp32, bf16):
    """Pretend that this CPU was measured to be that fast."""
    (stored,) = cpu_speed.cache_folder().glob("cpu-speed-*.json")
    stored.write_text(json.dumps({"fp32": fp32, "bf16": bf16}))
    forget()


def test_speeds_are_measured_once_and_cached(_speeds, monkeypatch):
    found = cpu_speed.speeds()
    assert 1 < found["fp32"] < 1e5 and 1 < found["bf16"] < 1e5
    (stored,) = cpu_speed.cache_folder().glob("cpu-speed-*.json")
    assert json.loads(stored.read_text())["cpu"].startswith(cpu_speed.cpu_name())
    forget()
    monkeypatch.setattr(cpu_speed, "measure_speeds", None)
    assert cpu_speed.speeds() == found


def test_the_faster_attention_in_bf16_is_measured_once_and_cached(_speeds, monkeypatch):
    choice = cpu_speed.flash_is_faster_in_bf16()
    (stored,) = cpu_speed.cache_folder().glob("cpu-attention-*.json")
    seconds = json.loads(stored.read_text())
    assert 0 < seconds["flash"] < 10 and 0 < seconds["products"] < 10
    assert choice is (seconds["flash"] < seconds["products"])
    monkeypatch.setattr(cpu_speed, "measure_attention", None)
    for flash, products in ((1.0, 2.0), (2.0, 1.0)):
        stored.write_text(json.dumps({"flash": flash, "products": products}))
        forget()
        assert cpu_speed.flash_is_faster_in_bf16() is (flash < products)


@pytest.mark.parametrize(("seconds", "products"), [(0.1, 6), (1.0, 6), (2.9, 6), (5.6, 2), (900.0, 2)])
def test_a_cpu_with_slow_bf16_products_computes_few_of_them(monkeypatch, seconds, products):
    """Without bf16 instructions a product takes up to seconds; with them it may still be slower than in fp32."""
    clock, computed = [0.0], []

    def linear(x, weight):
        computed.append(x.dtype)
        clock[0] += seconds if x.dtype == torch.bfloat16 else 1.0

    monkeypatch.setattr(torch.nn.functional, "linear", linear)
    monkeypatch.setattr(cpu_speed.time, "process_time", lambda: clock[0])
    found = cpu_speed.measure_speeds()
    assert computed.count(torch.bfloat16) == computed.count(torch.float32) == products
    assert (found["fp32"] > found["bf16"]) is (seconds > 1)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"fp32": 3}', '{"fp32": "fast", "bf16": 2}'])
def test_an_unreadable_cache_is_measured_again(_speeds, content):
    cpu_speed.speeds()
    (stored,) = cpu_speed.cache_folder().glob("cpu-speed-*.json")
    stored.write_text(content)
    forget()
    assert set(cpu_speed.speeds()) == {"fp32", "bf16"}
    assert json.loads(stored.read_text())["fp32"] > 1


def test_an_unwritable_cache_is_not_needed(_speeds, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRIMER_CACHE", str(tmp_path / "file"))
    assert cpu_speed.speeds()["fp32"] > 1


@pytest.mark.parametrize(
    ("fp32", "bf16", "expected"), [(152, 91, "32-true"), (107, 450, "bf16-mixed"), (100, 120, "32-true")]
)
def test_the_faster_precision_is_chosen(_speeds, monkeypatch, caplog, fp32, bf16, expected):
    cpu_speed.speeds()
    set_measured_speeds(monkeypatch, fp32, bf16)
    caplog.set_level("INFO")
    for command in ("train", "predict", "embed", "evaluate"):
        arguments = [f"{key}=x" for key in ("ckpt", "input") if command != "train"][: 1 if command == "evaluate" else 2]
        assert configs.compose(command, arguments).trainer.precision == expected
    for trainer in ("ddp", "fsdp2"):
        words = [f"trainer={trainer}", "trainer.accelerator="]
        assert configs.compose("train", [words[0], words[1] + "cpu"]).trainer.precision == expected
        assert configs.compose("train", [words[0], words[1] + "gpu"]).trainer.precision == "bf16-mixed"
    assert configs.compose("train", ["trainer.precision=64-true"]).trainer.precision == "64-true"
    assert not caplog.text
    cpu_speed.log_choice(expected)
    assert (
        f"precision {expected}: this CPU computes matrix products at {fp32} GFLOP/s in fp32 and {bf16}" in caplog.text
    )
    caplog.clear()
    cpu_speed.log_choice("64-true")  # not chosen in this run
    assert not caplog.text


def test_a_resumed_run_keeps_its_precision_whatever_the_cache_says(_speeds, monkeypatch, tmp_path):
    """The other precision would change every weight."""
    cpu_speed.speeds()
    set_measured_speeds(monkeypatch, 100, 400)
    weights = {}
    for name, steps in (("whole", [4]), ("resumed", [2, 4])):
        set_measured_speeds(monkeypatch, 100, 400)
        for part, length in enumerate(steps):
            words = [f"resume={tmp_path / name}"] if part else [*SHORT, f"hydra.run.dir={tmp_path / name}"]
            if part:
                set_measured_speeds(monkeypatch, 400, 100)
            assert main(["train", *words, f"trainer.max_steps={length}"]) == 0
        run = RunFolder(tmp_path / name)
        assert run.config["trainer"]["precision"] == "bf16-mixed"
        saved = torch.load(run.path / "checkpoints" / "last.ckpt", weights_only=True)
        assert saved["global_step"] == 4
        weights[name] = saved["state_dict"]
    assert run.record["device"]["cpu_gflops"] == {"fp32": 100, "bf16": 400}
    assert run.record["precision"] == "bf16-mixed"
    for key, value in weights["whole"].items():
        assert torch.equal(value, weights["resumed"][key]), key
    assert configs.compose("train").trainer.precision == "32-true"
    assert configs.compose("train", [f"from={run.path}"]).trainer.precision == "bf16-mixed"  # also for `reproduce`


def test_later_processes_use_the_choice_of_the_first(_speeds):
    code = "from trimer.accelerators.cpu_speed import cpu_precision; print(cpu_precision())"
    choices = []
    for chosen in ("32-true", "bf16-mixed"):
        environment = {**os.environ, cpu_speed.CHOICE: chosen, "LOCAL_RANK": "1"}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        choices.append(done.stdout.strip())
    assert choices == ["32-true", "bf16-mixed"]


def test_cpus_with_the_same_name_are_distinguished(monkeypatch):
    text = "model name : Intel(R) Xeon(R) Processor\nflags : {}\n"
    found = set()
    for flags in ("avx512_bf16", "avx512_bf16 amx_bf16", "amx_bf16 avx512_bf16"):
        monkeypatch.setattr(cpu_speed, "cpuinfo", lambda flags=flags: text.format(flags))
        assert cpu_speed.cpu_name() == "Intel(R) Xeon(R) Processor"
        found.add(cpu_speed.instructions_digest())
    assert len(found) == 2
