"""Fragment intensities: losses without impossible fragments, and a training that exceeds the mean spectrum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trimer.data.core.batches import FragmentBatch
from trimer.data.labelled.sequence_kinds import Peptides, flat, model_inputs
from trimer.errors import ConfigError
from trimer.models.peptide_encoder import PeptideEncoder
from trimer.peptides.conditions import condition_vectors
from trimer.tasks.fragments import FragmentIntensities
from trimer.tokenizers.protein import ProteinTokenizer

TEXTS = ["PEPTIDEK", "AC[UNIMOD:4]DEM[UNIMOD:35]K", "GGK"]
SITES = 7 + 5 + 2


class Data:
    target, classes = "fragments", ["b1", "y1", "y2"]


def batch(labels: np.ndarray, texts=TEXTS) -> FragmentBatch:
    kind = Peptides(ProteinTokenizer())
    peptide_table = kind.read(texts)
    conditions = condition_vectors(np.full(len(texts), 2), np.full(len(texts), 28.0), ["QE"] * len(texts))
    peptides = flat([*model_inputs(kind, peptide_table, dict(enumerate(peptide_table.tokens))).values()], conditions)
    return FragmentBatch.of(peptides, labels.astype(np.float32), np.arange(len(texts)))


def labels(seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    out = random.random((SITES, 3))
    out[random.random((SITES, 3)) < 0.3] = -1
    return out


def task(loss: str = "spectral_angle") -> FragmentIntensities:
    torch.manual_seed(0)
    net = PeptideEncoder(d_model=16, layers=2, conditions=True)
    head = {"dropout": 0.0, "activation": "linear" if loss == "absolute" else "softplus"}
    made = FragmentIntensities(net, ProteinTokenizer(), loss=loss, head=head)
    made.contract = {}
    made.configure_for(Data())
    return made


@pytest.mark.parametrize("loss", ["spectral_angle", "absolute"])
def test_impossible_fragments_have_no_gradient_and_no_effect(loss):
    made, measured = task(loss), labels()
    inputs = batch(measured)
    raw = torch.randn(SITES, 3, requires_grad=True)
    value, count = made.loss(raw, inputs)
    value.backward()
    impossible = torch.from_numpy(measured < 0)
    assert not raw.grad[impossible].any() and raw.grad[~impossible].abs().sum() > 0
    changed = torch.where(impossible, 50.0, raw.detach())
    again, same = made.loss(changed, inputs)
    assert torch.allclose(value.detach(), again) and count == same


def test_the_loss_is_the_spectral_angle_of_each_spectrum():
    made, measured = task(), labels()
    raw = torch.randn(SITES, 3)
    value, count = made.loss(raw, batch(measured))
    predicted, expected = torch.nn.functional.softplus(raw).numpy(), 0.0
    for a, b in ((0, 7), (7, 12), (12, 14)):
        can = measured[a:b] >= 0
        p, t = predicted[a:b][can], measured[a:b][can]
        expected += 2 * np.arccos(p @ t / np.linalg.norm(p) / np.linalg.norm(t)) / np.pi
    assert value.item() == pytest.approx(expected, rel=1e-5) and count == 3


def test_results_do_not_depend_on_other_spectra():
    made = task()
    alone = batch(labels()[:7], TEXTS[:1])
    raw = torch.randn(SITES, 3)
    value, _ = made.loss(raw[:7], alone)
    all_impossible = labels()
    all_impossible[7:] = -1
    wide, count = made.loss(raw, batch(all_impossible))
    assert count == 1 and torch.allclose(value, wide)


def test_gradients_stay_finite_at_a_perfect_and_at_an_empty_spectrum():
    made = task()
    raw = torch.randn(SITES, 3, requires_grad=True)
    perfect = torch.nn.functional.softplus(raw.detach()).numpy()
    perfect /= perfect.max()
    perfect[7:12] = 0
    perfect[12:] = -1
    value, count = made.loss(raw, batch(perfect))
    value.backward()
    assert torch.isfinite(raw.grad).all() and count == 1 and value < 2e-3


def test_absolute_error_is_the_mean_over_possible_fragments():
    made, measured = task("absolute"), labels()
    inputs = batch(measured)
    raw = torch.randn(SITES, 3)
    value, count = made.loss(raw, inputs)
    predicted = raw.numpy()
    can = measured >= 0
    assert count == can.sum() and value.item() == pytest.approx(np.abs(predicted - measured)[can].sum(), rel=1e-5)


@pytest.mark.parametrize("loss", ["spectral_angle", "absolute"])
def test_predictions_of_sparse_spectra_are_not_all_zero(loss):
    """The mean of an intensity that is mostly 0 must not swallow the rest: all-zero spectra were a known trap."""
    random = np.random.default_rng(0)
    letters = np.array(list("ACDEFGHILMNPQSTVWY"))
    texts = ["".join(random.choice(letters, 8)) + "K" for _ in range(60)]
    intensities = np.zeros((60 * 8, 3))
    for row, text in enumerate(texts):  # a proline behind the bond, and the third y ion
        for site in range(8):
            intensities[row * 8 + site] = [0.0, 1.0 if text[site + 1] == "P" else 0.0, 0.0]
        intensities[row * 8 + 5, 1] = 0.6
    made = task(loss)
    made.train()
    optimizer = torch.optim.AdamW(made.net.parameters(), lr=5e-3)
    inputs = batch(intensities, texts)
    for _ in range(60):
        value, count = made.loss(made.net(inputs.sequence), inputs)
        (value / count).backward()
        optimizer.step()
        optimizer.zero_grad()
    made.eval()
    with torch.no_grad():
        made.validation_step(inputs, 0)
    assert made.validation_metrics()["cos_median"] > 0.9


def test_invalid_losses_raise_errors():
    with pytest.raises(ConfigError, match=r"task\.loss=squared"):
        FragmentIntensities(PeptideEncoder(d_model=16), ProteinTokenizer(), loss="squared")
    with pytest.raises(ConfigError, match="predicts only zeros"):
        FragmentIntensities(PeptideEncoder(d_model=16), ProteinTokenizer(), loss="absolute")
