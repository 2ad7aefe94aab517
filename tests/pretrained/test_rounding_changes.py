"""The change by half precision is measured for models that embed, too, and is small but not zero."""

from __future__ import annotations

import re

import torch

from trimer.checkpoint import contract, load
from trimer.models.esm2 import Esm2
from trimer.pretrained.pack_model import pack
from trimer.tokenizers.protein import ProteinTokenizer


def test_half_precision_of_a_masked_language_model_is_measured_on_the_example_proteins(tmp_path):
    torch.manual_seed(0)
    tokenizer, shape = ProteinTokenizer(), {"d_model": 16, "layers": 1, "heads": 2}
    config = {
        "task": {"_target_": "trimer.tasks.masked_lm.MaskedLM"},
        "data": {"entity": "proteins"},
        "model": {"_target_": "trimer.models.esm2.Esm2", **shape},
    }
    state = {f"net.{name}": value for name, value in Esm2(len(tokenizer), **shape).state_dict().items()}
    torch.save({"trimer": contract(config, tokenizer), "state_dict": state}, tmp_path / "a.ckpt")
    pack(tmp_path / "a.ckpt", tmp_path / "packed")
    card = (tmp_path / "packed" / "card.md").read_text()
    found = re.search(r"changes a component of a unit embedding by at most (\S+) \(40 example proteins\)", card)
    assert found and 0 < float(found[1]) < 0.01
    assert load(tmp_path / "packed").study.entity == "proteins"
    pack(tmp_path / "a.ckpt", tmp_path / "whole", weights="float32")
    assert "| Weights |" not in (tmp_path / "whole" / "card.md").read_text()
