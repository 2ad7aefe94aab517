import pytest
import torch
import torch.nn.functional as F

from trimer.models import loss as module
from trimer.models.loss import token_loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equals_cross_entropy_with_its_gradients(monkeypatch, smoothing):
    monkeypatch.setitem(module.ROWS, "cpu", 3)  # several parts, the last one short
    torch.manual_seed(0)
    hidden, table = torch.randn(7, 5, requires_grad=True), torch.randn(11, 5, requires_grad=True)
    bias, labels, weights = torch.randn(11), torch.randint(11, (7,)), torch.rand(7)
    results = []
    for loss in (
        token_loss(hidden, table, bias, labels, smoothing),
        F.cross_entropy(hidden @ table.T + bias, labels, reduction="none", label_smoothing=smoothing),
    ):
        results.append([loss, *torch.autograd.grad((loss * weights).sum(), [hidden, table])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_half_precision_stays_close_and_sums_in_full():
    torch.manual_seed(0)
    hidden, table = torch.randn(300, 64), torch.randn(500, 64) * 0.1
    labels = torch.randint(500, (300,))
    full = token_loss(hidden, table, torch.zeros(500), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = token_loss(hidden, table, torch.zeros(500), labels)
    assert half.dtype == torch.float32
    assert abs(half.mean() - full.mean()) < 2e-3 * full.mean()


def test_no_labels_is_no_loss():
    hidden = torch.zeros(0, 4, requires_grad=True)
    token_loss(
        hidden, torch.zeros(5, 4, requires_grad=True), torch.zeros(5), torch.zeros(0, dtype=torch.long)
    ).sum().backward()
    assert hidden.grad.shape == (0, 4)
