"""Device and precision outside of training, with the names of Lightning's trainer."""

import re

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from trimer.accelerators.hardware import check_gpu, computing, device_of, place
from trimer.cli.main import main
from trimer.data.core.ragged import Ragged
from trimer.errors import ConfigError
from trimer.models.bart import Bart
from trimer.models.esm2 import Esm2
from trimer.models.int8 import Int8Linear, largest_weight
from trimer.models.roberta import Roberta
from trimer.prediction.embedding import embed


def trainer(**settings):
    return OmegaConf.create({"accelerator": "cpu", "devices": 1, "precision": "32-true", **settings})


def test_the_first_device_of_a_list_is_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of(trainer(devices=[1])) == torch.device("cpu")
    assert device_of(trainer(accelerator="gpu", devices=2)) == torch.device("cuda", 0)
    assert device_of(trainer(accelerator="gpu", devices=[1, 0])) == torch.device("cuda", 1)
    with pytest.raises(ConfigError, match=r"trainer\.devices=\[3\]: the GPUs of this machine are \[0, 1\]"):
        device_of(trainer(accelerator="gpu", devices=[3]))


@pytest.mark.parametrize(
    ("cuda", "reason"), [("13.0", "torch finds no GPU"), (None, "torch 2.* is a build without GPU support")]
)
def test_a_missing_gpu_gives_one_sentence_before_data_are_prepared(tmp_path, capsys, monkeypatch, cuda, reason):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for name in ("is_available", "is_built"):
        monkeypatch.setattr(torch.backends.mps, name, lambda: False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    assert main(["train", "trainer=gpu", f"hydra.run.dir={tmp_path / 'run'}"]) == 1
    assert re.fullmatch(rf"trimer: trainer\.accelerator=gpu: .*{reason}; use trainer=cpu\n", capsys.readouterr().err)
    assert not (tmp_path / "run" / "run.json").exists()
    check_gpu("cpu")
    check_gpu("auto")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)  # a Mac
    check_gpu("gpu")
    with pytest.raises(ConfigError, match="accelerator=cuda"):
        check_gpu("cuda")


def test_all_names_of_a_precision_are_accepted():
    for name in ("bf16-mixed", "bf16-true", "16-mixed", "32-true", 32, "64-true"):
        with computing(trainer(precision=name)):
            assert torch.is_autocast_enabled("cpu") == str(name).startswith("bf16")
    with pytest.raises(ConfigError, match=r"trainer\.precision=bf16-mixd .*did you mean bf16-mixed"):
        computing(trainer(precision="bf16-mixd"))


@pytest.mark.parametrize("make", [Esm2, Roberta])
def test_int8_weights_change_vectors_by_a_few_percent(make):
    torch.manual_seed(0)
    net = make(vocab_size=33, d_model=64, layers=2, heads=4)
    generator = np.random.default_rng(0)
    tokens = Ragged.pack([np.r_[0, generator.integers(4, 24, n), 2] for n in (5, 40, 12)])
    expected = list(embed(net.eval(), tokens))
    size = sum(parameter.numel() for parameter in net.parameters())
    int8_trainer = trainer(precision="int8")
    with computing(int8_trainer):
        small = place(net, int8_trainer)
        rounded = list(embed(small, tokens))
    assert sum(parameter.numel() for parameter in small.parameters()) < 0.3 * size
    for exact_vector, rounded_vector in zip(expected, rounded, strict=True):
        difference = np.linalg.norm(exact_vector - rounded_vector) / np.linalg.norm(exact_vector)
        assert 1e-5 < difference < 0.05
    alone = next(embed(small, tokens.take([1])))  # rounding does not depend on the rest of the batch
    np.testing.assert_allclose(alone, rounded[1], rtol=1e-4, atol=1e-5)


def test_int8_products_are_exact_for_the_largest_weights():
    """Some CPUs add two products in 16 bits; the weights are limited so that the sum never overflows."""
    weight = torch.full((16, 64), float(largest_weight()))
    weight[::2] *= -1
    linear = torch.nn.Linear(64, 16, bias=False)
    linear.weight.data = weight
    x = torch.full((32, 64), 127.0)
    x[::3] *= -1
    torch.testing.assert_close(Int8Linear(linear)(x), x @ weight.T, rtol=1e-6, atol=0)


def test_int8_is_limited_to_encoders_on_the_cpu(tmp_path, capsys, monkeypatch):
    with pytest.raises(ConfigError, match="is for encoders only"):
        place(Bart(vocab_size=40, d_model=32), trainer(precision="int8"))
    assert main(["train", "trainer.precision=int8", f"hydra.run.dir={tmp_path / 'run'}"]) == 1
    assert "trainer.precision=int8 cannot train" in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="runs on the CPU only"):
        computing(trainer(precision="int8", accelerator="gpu"))
