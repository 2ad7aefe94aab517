"""The loss in chunks of tokens: the same loss and gradients, without the scores of all tokens."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from trimer.data.core.batches import MISSING, MaskedBatch, PairBatch
from trimer.errors import ConfigError
from trimer.models.bart import Bart
from trimer.models.esm2 import Esm2
from trimer.models.roberta import Roberta
from trimer.tasks.masked_lm import MaskedLM
from trimer.tasks.seq2seq import Seq2Seq
from trimer.tasks.token_loss import check_chunked_loss, token_loss

VOCABULARY = 200
TEXTS = [np.r_[0, np.arange(4, 4 + length), 2] for length in (30, 5, 61)]
pytestmark = pytest.mark.skipif(not hasattr(torch.nn, "LinearCrossEntropyOptions"), reason="needs torch 2.13")


class Largest(TorchDispatchMode):
    """The largest number of values in a new tensor that has a score for each token of the vocabulary."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.ndim == 2 and tensor.shape[1] == VOCABULARY:
                self.scores = max(self.scores, len(tensor))
        return result


def encoder(kind: type) -> tuple[nn.Module, tuple, torch.Tensor]:
    torch.manual_seed(0)
    net = kind(VOCABULARY, d_model=16, layers=1, heads=2)
    tokens, lengths = np.concatenate(TEXTS), np.array([len(text) for text in TEXTS])
    positions = np.arange(len(tokens))
    batch = MaskedBatch.pack(tokens, lengths, positions, tokens, np.arange(3))
    return net, (batch.sequence, batch.positions), batch.labels.clone()


def bart() -> tuple[nn.Module, tuple, torch.Tensor]:
    torch.manual_seed(0)
    shape = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn": 32, "decoder_ffn": 32}
    net = Bart(VOCABULARY, d_model=16, encoder_heads=2, decoder_heads=2, dropout=0.0, **shape)
    batch = PairBatch.pack(TEXTS, TEXTS, np.arange(3))
    return net, (batch.source, batch.target), batch.labels.clone()


NETS = {"esm2": lambda: encoder(Esm2), "roberta": lambda: encoder(Roberta), "bart": bart}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(None, 1e-5), (torch.bfloat16, 3e-2)])
def test_loss_and_gradients_are_those_of_all_scores_at_once(name, dtype, tolerance):
    net, inputs, labels = NETS[name]()
    labels[3:9] = MISSING
    results, sizes = [], []
    for chunked in (False, True):
        net.eval().zero_grad()  # without dropout
        with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None), Largest() as largest:
            loss = token_loss(net, inputs, labels, chunked)
        (0.5 * loss).backward()
        sizes.append(largest.scores)
        results.append([loss, *(p.grad for p in net.parameters() if p.grad is not None)])
        assert loss.dtype == torch.float32
    assert len(results[0]) == len(results[1]) > 5
    for whole, in_chunks in zip(*results, strict=True):
        scale = whole.abs().max()
        torch.testing.assert_close(in_chunks / scale, whole / scale, atol=tolerance, rtol=tolerance)
    assert sizes[0] >= len(labels) and sizes[1] <= len(labels) // 2


def test_a_batch_without_predicted_tokens_has_a_loss_of_zero():
    net, (sequence, positions), labels = NETS["esm2"]()
    loss = token_loss(net, (sequence, positions[:0]), labels[:0], chunked=True)
    loss.backward()
    assert loss == 0 and all(p.grad is not None and not p.grad.any() for p in net.head.parameters())


def test_what_does_not_allow_chunks_gives_one_sentence(monkeypatch):
    net = NETS["bart"]()[0]
    check_chunked_loss(True, net)
    with pytest.raises(ConfigError, match=r"does not work with task\.label_smoothing=0\.1: set it to 0"):
        Seq2Seq(net, None, label_smoothing=0.1, chunked_loss=True).check_parts(SimpleNamespace(batch=PairBatch))
    with pytest.raises(ConfigError, match="forward of model=Linear has no argument score"):
        check_chunked_loss(True, nn.Linear(2, 2))
    monkeypatch.delattr(torch.nn, "LinearCrossEntropyOptions")
    esm2 = MaskedLM(Esm2(d_model=16, layers=1, heads=2), SimpleNamespace(mask=32), chunked_loss=True)
    with pytest.raises(ConfigError, match=r"needs torch 2\.13 or later, and 2\."):
        esm2.check_parts(SimpleNamespace(batch=MaskedBatch, tokenizer=SimpleNamespace(mask=32)))
    check_chunked_loss(None, net, label_smoothing=0.1)
