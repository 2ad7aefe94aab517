"""The loss of the next token, without ever holding all scores in full precision.

Scores over a vocabulary are the largest tensor of a small model. They are computed a few rows at a time, so that the
passes over them stay in the cache, and what is kept for the gradient is their softmax in the dtype of the products.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = {"cpu": 128, "cuda": 4096}  # rows at a time: what stays in the cache, what fills the device


def token_loss(hidden: Tensor, table: Tensor, bias: Tensor, labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """-log p(label) of each token, with p = softmax(hidden table^T + bias).

    hidden: (T, D); table: (V, D), output embedding; bias: (V,), not trained; labels: (T,) int64. label_smoothing: share
    of the target probability spread evenly over the vocabulary. Returns (T,) in fp32.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    with torch.autocast(device, enabled=False):
        return _TokenLoss.apply(hidden.to(dtype), table.to(dtype), bias.to(dtype), labels, label_smoothing)


class _TokenLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, hidden, table, bias, labels, smoothing):
        needs_grad = any(ctx.needs_input_grad[:2])
        losses, gradients = [], []
        rows = ROWS.get(hidden.device.type, 4096)
        for part, wanted in zip(hidden.split(rows), labels[:, None].split(rows), strict=True):
            log_p = torch.log_softmax(F.linear(part, table, bias).float(), -1)  # (rows, V)
            loss = log_p.gather(1, wanted)
            losses.append(loss if not smoothing else (1 - smoothing) * loss + smoothing * log_p.mean(1, keepdim=True))
            if needs_grad:
                p = log_p.exp_()
                if smoothing:
                    p -= smoothing / p.shape[1]
                p.scatter_add_(1, wanted, p.new_full((), smoothing - 1.0).expand_as(wanted))
                gradients.append(p.to(hidden.dtype))
        if needs_grad:
            ctx.save_for_backward(hidden, table, *gradients)
        return torch.cat(losses).squeeze(1).neg() if losses else hidden.new_zeros(0, dtype=torch.float32)

    @staticmethod
    def backward(ctx, grad):
        hidden, table, *gradients = ctx.saved_tensors
        grad_hidden, grad_table = torch.empty_like(hidden), None
        start = 0
        scaled = []
        for part in gradients:
            stop = start + part.shape[0]
            scaled.append(part * grad[start:stop, None].to(part.dtype))
            torch.mm(scaled[-1], table, out=grad_hidden[start:stop])
            start = stop
        if ctx.needs_input_grad[1]:
            grad_table = torch.mm(torch.cat(scaled).t(), hidden) if scaled else torch.zeros_like(table)
        return grad_hidden, grad_table, None, None, None
