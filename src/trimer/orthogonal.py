"""Orthogonalisation of matrices for the optimizer Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic iteration; steepest at zero
ITERATIONS = 5
SMALLEST_NORM = 1e-7
TOGETHER = 2**26  # matrix elements per computation, a limit of the memory


def orthogonal(
    matrices: Sequence[Tensor], dtype: torch.dtype, parts: Sequence[int] | None = None, shared: bool = True
) -> list[Tensor]:
    """Nearly orthogonal matrices U V^T, in that dtype, of matrices U S V^T; equal shapes are computed together.

    parts: number of row blocks of each matrix, which are orthogonalised separately; 1 by default. shared: if several
    processes train one model, each computes a share of the matrices and receives the results of the others. A matrix
    that is sharded over devices is gathered, and each device keeps its shard of the result.
    """
    results: list[Tensor] = list(matrices)
    same_shape: dict[tuple[int, int, int], list[int]] = {}
    for i, matrix in enumerate(matrices):
        n = 1 if parts is None else parts[i]
        rows, columns = sorted((matrix.shape[0] // n, matrix.shape[1]))
        same_shape.setdefault((n, rows, columns), []).append(i)
    group = process_group(matrices) if shared else None
    processes = dist.get_world_size(group) if group else 1
    for (n, rows, columns), members in same_shape.items():
        count = max(processes, TOGETHER // (n * rows * columns))
        for start in range(0, len(members), count):
            chosen = members[start : start + count]
            wide = _orthogonal_blocks([matrices[i] for i in chosen], dtype, (n, rows, columns), group, processes)
            for i, result in zip(chosen, wide, strict=True):
                result = result if matrices[i].shape[0] // n <= matrices[i].shape[1] else result.transpose(1, 2)
                results[i] = sharded_like(result.flatten(0, 1), matrices[i])
    return results


def _orthogonal_blocks(
    matrices: Sequence[Tensor], dtype: torch.dtype, shape: tuple[int, int, int], group: Any, processes: int
) -> Iterable[Tensor]:
    """The orthogonalised blocks (n, rows, columns) of each matrix, rows <= columns, computed by all processes."""
    share = -(-len(matrices) // processes)
    first = share * dist.get_rank(group) if group else 0
    mine = []
    for i, matrix in enumerate(matrices):
        gathered = whole(matrix)  # a collective operation: all processes take part
        if first <= i < first + share:
            blocks = gathered.to(dtype).unflatten(0, (shape[0], -1))
            mine.append(blocks if blocks.shape[1] <= blocks.shape[2] else blocks.transpose(1, 2))
    device = gathered.device
    results = newton_schulz(torch.cat(mine)) if mine else torch.zeros(0, *shape[1:], dtype=dtype, device=device)
    if group:
        sent = torch.zeros(share * shape[0], *shape[1:], dtype=dtype, device=device)
        sent[: len(results)] = results
        results = torch.empty(processes * len(sent), *shape[1:], dtype=dtype, device=device)
        # As bytes: not every backend sends every type.
        dist.all_gather(list(results.view(torch.uint8).chunk(processes)), sent.view(torch.uint8), group)
    return results.unflatten(0, (-1, shape[0]))[: len(matrices)]


def process_group(matrices: Sequence[Tensor]) -> Any:
    """The process group that trains one model and holds (shards of) the same matrices; None for a single process."""
    if not (dist.is_available() and dist.is_initialized()):
        return None
    mesh = next((matrix.device_mesh for matrix in matrices if hasattr(matrix, "device_mesh")), None)
    group = dist.group.WORLD if mesh is None else mesh.get_group()
    return group if dist.get_world_size(group) > 1 else None


def newton_schulz(x: Tensor) -> Tensor:
    """Matrices (n, rows, columns), rows <= columns, with all singular values close to one."""
    a, b, c = COEFFICIENTS
    x = x / x.flatten(1).norm(dim=1).clamp(min=SMALLEST_NORM)[:, None, None]
    for _ in range(ITERATIONS):
        gram = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def whole(matrix: Tensor) -> Tensor:
    """The whole matrix, gathered from all devices if it is sharded."""
    return matrix.full_tensor() if hasattr(matrix, "full_tensor") else matrix


def sharded_like(whole: Tensor, matrix: Tensor) -> Tensor:
    """The whole matrix, or this device's shard of it if `matrix` is sharded. whole: identical on every device."""
    if not hasattr(matrix, "full_tensor"):
        return whole
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(matrix, DTensor)
    return distribute_tensor(whole.contiguous(), matrix.device_mesh, matrix.placements, src_data_rank=None)
