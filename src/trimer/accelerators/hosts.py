"""Agreement between the hosts of a TPU pod slice, which run one process each.

The chips of all hosts compute one program (`trimer.accelerators.chips`). What Python decides, such as a stop on a
signal, must be the same on every host, or one would wait for the others forever.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

PORT = 12355
TIMEOUT = timedelta(minutes=30)  # the first host may write a large checkpoint meanwhile


def host_rank(accelerator: str) -> int:
    """Number of this host, from 0: NODE_RANK, or the worker id of the TPU slice."""
    if (rank := os.environ.get("NODE_RANK")) is not None:
        return int(rank)
    if accelerator != "tpu":
        return 0
    from torch_xla._internal import tpu

    return tpu.worker_id()


def first_address(accelerator: str) -> tuple[str, int]:
    """Address and port of the first host: MASTER_ADDR and MASTER_PORT, or that of worker 0 of the TPU slice."""
    address, port = os.environ.get("MASTER_ADDR"), int(os.environ.get("MASTER_PORT", PORT))
    if address is None and accelerator == "tpu":
        from torch_xla._internal import tpu

        address = tpu.get_worker_ips()[0]
    return address or "localhost", port


class Hosts:
    """Connection between hosts. rank: of this host, from 0. count: of all. address, port: of the first host.

    It is no default group of torch.distributed: torchmetrics would add up over it what every host already has whole.
    """

    def __init__(self, rank: int, count: int, address: str, port: int):
        from torch.distributed import PrefixStore, ProcessGroupGloo, TCPStore

        self.rank = rank
        self._store = TCPStore(address, port, count, is_master=rank == 0, timeout=TIMEOUT)
        # Its collectives are missing in PyTorch's types.
        self._group: Any = ProcessGroupGloo(PrefixStore("trimer", self._store), rank, count, TIMEOUT)

    def barrier(self) -> None:
        """Wait until all hosts are here."""
        self._group.barrier().wait()

    def any(self, decision: bool) -> bool:
        """Whether the decision of any host is true."""
        votes = torch.tensor([int(decision)])
        self._group.allreduce([votes]).wait()
        return bool(votes)

    def broadcast(self, value: Any) -> Any:
        """The value of the first host: None, text, a number, a path, or a list or dict of these."""
        content = json.dumps(value, default=_path).encode()
        size = torch.tensor([len(content)])
        self._group.broadcast([size]).wait()
        data = torch.zeros(int(size), dtype=torch.uint8)
        if self.rank == 0:
            data = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        self._group.broadcast([data]).wait()
        return json.loads(bytes(data.tolist()), object_hook=_with_paths)


def _path(value: Any) -> dict[str, str]:
    if isinstance(value, Path):
        return {"path of a file": str(value)}
    raise TypeError(f"{type(value).__name__} cannot be sent to other hosts")


def _with_paths(value: dict) -> Any:
    return Path(value["path of a file"]) if list(value) == ["path of a file"] else value
