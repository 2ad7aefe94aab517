"""Matrices made orthogonal, for the optimizer Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration; steepest at zero
ITERATIONS = 5
SMALLEST_NORM = 1e-7
TOGETHER = 2**26  # elements that are computed at a time, which bounds the memory


def orthogonal(matrices: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Nearly orthogonal matrices U V^T, in that dtype, of matrices U S V^T; those of one shape are computed together.

    A matrix that is sharded over devices is gathered, and each device keeps its own shard of the result.
    """
    results: list[Tensor] = list(matrices)
    alike: dict[tuple[int, ...], list[int]] = {}
    for i, matrix in enumerate(matrices):
        alike.setdefault(tuple(sorted(matrix.shape)), []).append(i)
    for (rows, columns), members in alike.items():
        some = max(1, TOGETHER // (rows * columns))
        for start in range(0, len(members), some):
            these = members[start : start + some]
            wide = [whole(matrices[i]).to(dtype) for i in these]
            stack = torch.stack([x if x.shape[0] <= x.shape[1] else x.T for x in wide])
            for i, result in zip(these, newton_schulz(stack), strict=True):
                result = result if matrices[i].shape[0] <= matrices[i].shape[1] else result.T
                results[i] = sharded_like(result, matrices[i])
    return results


def newton_schulz(x: Tensor) -> Tensor:
    """Bring all singular values of (n, rows, columns), rows <= columns, close to one."""
    a, b, c = COEFFICIENTS
    x = x / x.flatten(1).norm(dim=1).clamp(min=SMALLEST_NORM)[:, None, None]
    for _ in range(ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def whole(matrix: Tensor) -> Tensor:
    """A matrix gathered from all devices where it is sharded."""
    return matrix.full_tensor() if hasattr(matrix, "full_tensor") else matrix


def sharded_like(whole: Tensor, matrix: Tensor) -> Tensor:
    """The part of a whole matrix, the same on every device, that this device holds of `matrix`."""
    if not hasattr(matrix, "full_tensor"):
        return whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.contiguous(), matrix.device_mesh, matrix.placements, src_data_rank=None)
