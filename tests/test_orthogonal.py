"""Matrices are orthogonalized part by part, and by two processes that share the work."""

from __future__ import annotations

import socket

import pytest
import torch
import torch.distributed as dist
from torch import nn

from trimer import orthogonal as orthogonal_module
from trimer.models.esm2 import Esm2
from trimer.optim import Muon, parameter_groups
from trimer.orthogonal import orthogonal

SHAPES = [(24, 8), (8, 8), (24, 8), (8, 20), (20, 8), (24, 8)]
PARTS = [3, 1, 1, 1, 1, 3]


def matrices() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(shape) for shape in SHAPES]


def test_parts_of_a_fused_matrix_are_orthogonalized_separately():
    fused, whole = matrices()[0], matrices()[2]
    in_parts, as_whole = orthogonal([fused, whole], torch.float32, [3, 1])
    alone = orthogonal(list(fused.chunk(3)), torch.float32)
    torch.testing.assert_close(in_parts, torch.cat(alone))
    torch.testing.assert_close(as_whole, orthogonal([whole], torch.float32)[0])


def test_queries_keys_and_values_are_orthogonalized_separately_on_request():
    torch.manual_seed(0)
    net = Esm2(d_model=8, layers=1, heads=2, ffn=16)
    groups = parameter_groups(net, 0.0)
    layer = net.layers[0].query_key_value.weight
    before = layer.detach().clone()
    layer.grad = torch.randn_like(layer)
    expected = torch.cat(orthogonal(list(layer.grad.chunk(3)), torch.float32))
    Muon(groups, lr=0.1, momentum=0.0, separate_qkv=True).step()
    torch.testing.assert_close(before - layer, 0.1 * 0.2 * 8**0.5 * expected)


def test_fused_projections_stay_one_matrix_by_default():
    net = nn.ModuleDict({"query_key_value": nn.Linear(8, 24)})
    weight = net["query_key_value"].weight
    before = weight.detach().clone()
    weight.grad = torch.randn_like(weight)
    Muon(parameter_groups(net, 0.0), lr=0.1, momentum=0.0).step()
    expected = orthogonal([weight.grad], torch.float32)[0]
    torch.testing.assert_close(before - weight, 0.1 * 0.2 * 24**0.5 * expected)


def share(rank: int, port: int, kind: str, dtype: torch.dtype) -> None:
    """Runs in each process: half of the products give the result of a single process."""
    torch.set_num_threads(1)
    inputs = matrices()
    expected = orthogonal(inputs, dtype, PARTS)
    computed = []
    newton_schulz = orthogonal_module.newton_schulz
    orthogonal_module.newton_schulz = lambda x: computed.append(len(x)) or newton_schulz(x)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    try:
        if kind == "sharded":
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.tensor import Shard, distribute_tensor

            mesh = init_device_mesh("cpu", (2,))
            inputs = [distribute_tensor(matrix, mesh, [Shard(0)]) for matrix in inputs]
        results = orthogonal(inputs, dtype, PARTS)
        if kind == "sharded":
            assert [result.placements for result in results] == [matrix.placements for matrix in inputs]
            results = [result.full_tensor() for result in results]
        for result, reference in zip(results, expected, strict=True):
            torch.testing.assert_close(result, reference)
        # Two matrices of three parts and two of (8, 20): one for each process. One (8, 8) and one (24, 8): both here.
        assert sum(computed) == (3 + 1 + 1 + 1 if rank == 0 else 3 + 1)
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(("kind", "dtype"), [("copied", torch.bfloat16), ("sharded", torch.float32)])
def test_two_processes_share_the_orthogonalization(kind, dtype):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Forked: the imports of a new process take seconds. Threads of autograd cannot be forked, and none are needed.
    torch.multiprocessing.start_processes(share, (port, kind, dtype), nprocs=2, start_method="fork")
