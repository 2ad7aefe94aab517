import torch

from trimer.models.dropout import dropout, dropped_indices


def test_values_are_dropped_independently_with_the_given_probability():
    torch.manual_seed(0)
    size, p, repeats = 200, 0.1, 5000
    masks = torch.zeros(repeats, size)
    for row in masks:
        row[dropped_indices(size, p)] = 1
    share = masks.mean(0)
    assert (share - p).abs().max() < 5 * (p * (1 - p) / repeats) ** 0.5
    both = (masks[:, :-1] * masks[:, 1:]).mean()
    assert abs(both - p * p) < 5 * p / (repeats * size) ** 0.5
    counts = masks.sum(1)
    assert abs(counts.var() / (size * p * (1 - p)) - 1) < 0.1


def test_gradients_are_zero_where_values_were_dropped():
    torch.manual_seed(0)
    x = torch.ones(64, 32).t().requires_grad_()  # not contiguous
    y = dropout(x, 0.25, training=True)
    y.sum().backward()
    assert torch.equal(y, x.grad)
    assert torch.allclose(y.unique(), torch.tensor([0.0, 4 / 3]))


def test_dropout_is_reproducible_and_off_in_evaluation():
    x = torch.randn(50)
    torch.manual_seed(5)
    first = dropout(x, 0.1, training=True)
    torch.manual_seed(5)
    assert torch.equal(dropout(x, 0.1, training=True), first)
    assert dropout(x, 0.1, training=False) is x and dropout(x, 0.0, training=True) is x
    high = dropout(torch.ones(100_000), 0.8, training=True)
    assert abs((high == 0).float().mean() - 0.8) < 0.01
