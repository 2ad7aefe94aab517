"""`trimer prepare`: cleans, tokenises, splits and stores data, and reports dropped records."""

from __future__ import annotations

from omegaconf import DictConfig

from trimer.commands.next_steps import suggest


def main(cfg: DictConfig) -> None:
    from trimer.building import build

    data = build(cfg.data)
    data.setup()
    print(data.drops)
    print(f"\n{len(data.store):,} rows in {data.folder} (vocabulary size {len(data.tokenizer):,})")
    suggest("trimer train with the same choices, which reads the prepared data")
