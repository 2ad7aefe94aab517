"""What is no checkpoint of ours is refused in one sentence that names the file."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from trimer.checkpoint import KEYS, copy_weights, read
from trimer.errors import CheckpointError

CONTRACT = {"format": 1, **{key: {} for key in KEYS[1:]}}


class Foreign:
    """Anything that only Python's pickle can hold."""


def test_a_file_that_holds_more_than_plain_values(tmp_path):
    path = tmp_path / "foreign.ckpt"
    torch.save({"trimer": CONTRACT, "state_dict": {}, "odd": Foreign()}, path)
    pickled = tmp_path / "pickled.ckpt"
    pickled.write_bytes(pickle.dumps(Foreign()))
    for file in (path, pickled):
        with pytest.raises(CheckpointError, match="holds more than tensors and plain values") as caught:
            read(file)
        assert str(file) in str(caught.value) and "weights_only" not in str(caught.value)


def test_files_that_are_no_checkpoint(tmp_path):
    whole = tmp_path / "whole.ckpt"
    torch.save({"trimer": CONTRACT, "state_dict": {"net.weight": torch.zeros(999)}}, whole)
    for content, words in (
        (b"", "is no checkpoint"),
        (b"text", "is no checkpoint"),
        (whole.read_bytes()[:900], "damaged"),
    ):
        path = tmp_path / "odd.ckpt"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=rf"odd\.ckpt .*{words}"):
            read(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1], "not of Trimer"),
        ({"state_dict": {}}, "not of Trimer"),
        ({"trimer": "1", "state_dict": {}}, "not of Trimer"),
        ({"trimer": {**CONTRACT, "format": 99}, "state_dict": {}}, "update Trimer"),
        ({"trimer": CONTRACT}, "it lacks state_dict"),
        ({"trimer": {"vocabulary": []}, "state_dict": {}}, "it lacks format, kind"),
    ],
)
def test_the_contract_is_checked(tmp_path, content, words):
    path = tmp_path / "a.ckpt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=rf"a\.ckpt .*{words}"):
        read(path)


def test_weights_that_do_not_fit_are_named():
    checkpoint = {"state_dict": {"net.weight": torch.zeros(3, 2), "net.odd": torch.zeros(1)}}
    with pytest.raises(
        CheckpointError, match=r"a\.ckpt does not fit model=Linear: bias is missing; odd is not .* \(3, 2\)"
    ):
        copy_weights(nn.Linear(2, 2), checkpoint, "a.ckpt")
