"""A packed checkpoint holds what the checkpoint holds, without the state of the training, pickle or local paths."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from trimer.data.core.training_keys import contains, key_set
from trimer.errors import CheckpointError, ConfigError
from trimer.pretrained import packed
from trimer.pretrained.packed import is_packed, read_packed, with_places, write_packed
from trimer.pretrained.weights import halved, restored, stored

PATHS = {"data": "/here/data", "cache": "/here/cache"}


def checkpoint(keys: int = 10) -> dict:
    contract = {
        "format": 1,
        "data": {"cache": "/here/cache", "source": {"paths": ["/here/data/a.csv", "/here/database/b.csv"]}},
        "vocabulary": ["<pad>", "é"],
    }
    stage = {"name": "x", "rows": {"train": keys}, "facts": {"adducts": {"[M+H]+": 3}}}
    return {
        "trimer": contract,
        "state_dict": {"net.weight": torch.randn(4, 3), "net.bias": torch.randn(4), "metric.total": torch.ones(1)},
        "training_keys": [{**stage, "keys": {"train": {"molecule": key_set(np.arange(1, keys + 1))}}}],
        "training_molecules": {"fingerprints": torch.arange(8, dtype=torch.uint8).reshape(2, 4)},
        "calibration": {"weights": [0.5, 1.0], "table": torch.ones(2)},
        "optimizer_states": [{"exp_avg": torch.ones(4, 3)}],
        "loops": {"fit_loop": {}},
        "epoch": 3,
    }


def test_only_what_is_read_again_is_packed(tmp_path):
    original = checkpoint()
    write_packed(tmp_path / "a", original, PATHS, "float32", facts={"name": "a"})
    assert is_packed(tmp_path / "a")
    again = read_packed(tmp_path / "a")
    assert set(again) == {"trimer", "state_dict", "training_keys", "training_molecules", "calibration", "epoch"}
    assert again["calibration"]["weights"] == [0.5, 1.0]
    assert torch.equal(again["state_dict"]["net.weight"], original["state_dict"]["net.weight"])
    assert set(again["state_dict"]) == {"net.weight", "net.bias"}
    assert torch.equal(again["training_molecules"]["fingerprints"], original["training_molecules"]["fingerprints"])
    assert again["training_keys"][0]["facts"] == {"adducts": {"[M+H]+": 3}}
    assert again["trimer"]["vocabulary"] == ["<pad>", "é"]


def test_half_precision_is_of_matrices_only(tmp_path):
    original = checkpoint()
    write_packed(tmp_path / "a", original, PATHS, "float16", facts={})
    weights = read_packed(tmp_path / "a")["state_dict"]
    assert {value.dtype for value in weights.values()} == {torch.float32}
    assert torch.equal(weights["net.bias"], original["state_dict"]["net.bias"])
    assert not torch.equal(weights["net.weight"], original["state_dict"]["net.weight"])
    assert torch.allclose(weights["net.weight"], original["state_dict"]["net.weight"], rtol=1e-3)


def test_weights_that_do_not_fit_half_precision_are_rejected():
    with pytest.raises(CheckpointError, match=r"net\.w are too large for half precision: pack with weights=float32"):
        halved(torch.full((2, 2), 1e6), "net.w")


def test_long_texts_are_compressed_and_bounded(tmp_path, monkeypatch):
    text = "tree é\n" * 20_000
    averaging = {"boosting": text, "weight": 0.5}
    write_packed(tmp_path / "a", checkpoint() | {"averaging": averaging}, PATHS, "float32", facts={})
    assert "tree" not in (tmp_path / "a" / "model.json").read_text(encoding="utf-8")
    assert read_packed(tmp_path / "a")["averaging"] == averaging
    monkeypatch.setattr(packed, "LARGEST_TEXT", 1000)
    with pytest.raises(CheckpointError, match="a compressed text of the model is cut or longer than"):
        read_packed(tmp_path / "a")


def test_int8_rounds_each_row_to_one_of_255_multiples_of_its_scale():
    sizes = torch.tensor([[1e-3], [1], [1e4], [0], [1]])
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * sizes
    tensors = stored({"net.w": weight, "net.b": weight[0]}, "int8")
    assert tensors["net.w"].dtype == torch.int8
    assert torch.equal(tensors["net.b"], weight[0])
    again = restored(tensors)
    assert set(again) == {"net.w", "net.b"}
    step = weight.abs().amax(1, keepdim=True) / 127
    assert ((again["net.w"] - weight).abs() <= step / 2 * (1 + 1e-5)).all()
    assert torch.equal(stored(again, "int8")["net.w"], tensors["net.w"])  # a copy of a packed model is the same


def test_an_unknown_number_format_is_refused():
    with pytest.raises(ConfigError, match="weights=int4 must be one of float32, float16, int8"):
        stored({}, "int4")


def test_paths_become_those_of_the_reader(tmp_path, monkeypatch):
    write_packed(tmp_path / "a", checkpoint(), PATHS, "float32", facts={})
    assert "/here/data/" not in (tmp_path / "a" / "model.json").read_text()
    monkeypatch.setenv("TRIMER_DATA", "/there")
    monkeypatch.setenv("TRIMER_CACHE", "/tmp/cache")
    data = read_packed(tmp_path / "a")["trimer"]["data"]
    assert data == {"cache": "/tmp/cache", "source": {"paths": ["/there/a.csv", "/here/database/b.csv"]}}


def test_a_folder_is_replaced_only_at_a_separator():
    assert with_places(["/a", "/a/b", "/ab", 1], {"X": "/a/"}) == ["/a", "X/b", "/ab", 1]


def test_many_keys_become_a_filter_that_contains_them_all(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "KEYS", 100)
    original = checkpoint(keys=2_000)
    write_packed(tmp_path / "a", original, PATHS, "float32", facts={})
    (stage,) = read_packed(tmp_path / "a")["training_keys"]
    sets = stage["keys"]["train"]["molecule"]
    assert sets["count"] == 2_000 and sets["false_positives"] == 0.001
    assert sets["filter"].numel() < 2_000 * 2
    assert contains(sets, np.arange(1, 2_001)).all()
    assert contains(sets, np.arange(10_000, 20_000)).mean() < 0.01


def test_a_newer_format_is_rejected(tmp_path):
    write_packed(tmp_path / "a", checkpoint(), PATHS, "float32", facts={})
    path = tmp_path / "a" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(CheckpointError, match="has format 99, this version reads up to 2: update Trimer"):
        read_packed(tmp_path / "a")


def test_equal_weights_of_a_base_are_not_stored_again(tmp_path):
    base, tuned = checkpoint(), checkpoint()
    tuned["state_dict"] = {
        "net.encoder.base_layer.weight": base["state_dict"]["net.weight"].clone(),
        "net.adapter": torch.randn(2, 3),
        "net.scale": torch.tensor(2.0),
        "net.transposed": base["state_dict"]["net.weight"].T.contiguous(),  # same values, another shape
    }
    with pytest.raises(CheckpointError, match=r"base=base: .*base is not a packed model; pack it first"):
        write_packed(tmp_path / "tuned", tuned, PATHS, "float16", facts={}, base="base")
    write_packed(tmp_path / "base", base, PATHS, "float16", facts={})
    write_packed(tmp_path / "tuned", tuned, PATHS, "float16", facts={}, base="base")
    shared = json.loads((tmp_path / "tuned" / "model.json").read_text())["base"]
    assert shared["weights"] == {"net.encoder.base_layer.weight": "net.weight"} and shared["model"] == "base"
    again, alone = read_packed(tmp_path / "tuned"), tmp_path / "alone"
    write_packed(alone, tuned, PATHS, "float16", facts={})
    for name, value in read_packed(alone)["state_dict"].items():
        assert torch.equal(again["state_dict"][name], value)
    write_packed(tmp_path / "base", checkpoint(), PATHS, "float16", facts={})  # other weights
    with pytest.raises(CheckpointError, match=r"shares weights with .*base, which is missing or has changed"):
        read_packed(tmp_path / "tuned")
