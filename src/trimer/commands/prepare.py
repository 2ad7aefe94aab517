"""`trimer prepare`: clean, tokenise and store the data of a study, and say what was dropped and how it was split."""

from __future__ import annotations

from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    from trimer.building import build

    data = build(cfg.data)
    data.setup()
    print(data.drops)
    print(f"\n{len(data.store):,} rows of {len(data.tokenizer):,} kinds of token in {data.folder}")
