"""`trimer prepare`: cleans, tokenises, splits and stores data, and reports dropped records.

With `shards=n shard=i` it prepares one shard, and with `shards=n` it joins all shards into the store.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from trimer.commands.next_steps import suggest
from trimer.counts import counted
from trimer.errors import ConfigError, InputError

if TYPE_CHECKING:
    from trimer.data.modules.base import PreparedData


def main(cfg: DictConfig) -> None:
    from trimer.building import build

    if cfg.shard is not None and cfg.shards is None:
        raise ConfigError(f"shard={cfg.shard} needs the number of all shards: add shards=<number>")
    data = build(cfg.data)
    if cfg.shard is not None:
        prepare_shard(data, cfg.shard, cfg.shards)
        return
    if cfg.shards is not None:
        join(data, cfg.shards)
    data.setup()
    print(data.drops)
    print(f"\n{counted(len(data.store), 'rows')} in {data.folder} (vocabulary size {len(data.tokenizer):,})")
    suggest("trimer train with the same choices, which reads the prepared data")


def prepare_shard(data: PreparedData, number: int, count: int) -> None:
    """Prepare one shard, unless it exists."""
    from trimer.data.core.shards import Shard

    folder = data.prepare_shard(Shard(number, count))
    print(f"shard {number} of {count} is in {folder}" if folder != data.folder else f"already joined: {folder}")
    suggest(f"{command(count)} when all shards are prepared, which joins them")


def join(data: PreparedData, count: int) -> None:
    """Join all shards; InputError that names the missing ones and the command that prepares them."""
    from trimer.data.core.shards import MissingShards

    try:
        data.prepare_from_shards(count)
    except MissingShards as error:
        numbers = ",".join(map(str, error.numbers))
        raise InputError(f"{error}: {command(count, f'shard={numbers}')}") from error


def command(count: int, *words: str) -> str:
    """The command of this process with other shards, as a line for a shell."""
    from hydra.core.hydra_config import HydraConfig

    given = [text for text in HydraConfig.get().overrides.task if text.partition("=")[0] not in ("shard", "shards")]
    flags = ["-m"] if words else []
    return shlex.join(["trimer", "prepare", *flags, *given, f"shards={count}", *words])
