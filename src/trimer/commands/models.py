"""`trimer models`: lists the models that come with Trimer, or prints the card of one."""

from __future__ import annotations

from omegaconf import DictConfig


def main(cfg: DictConfig) -> None:
    from trimer.pretrained import registry
    from trimer.pretrained.listing import listing

    if cfg.name is None:
        print("\n".join(listing()))
        return
    folder = registry.shipped(cfg.name)
    print((folder / "card.md").read_text(encoding="utf-8").rstrip())
    print(f"\nnext: trimer {registry.facts(folder)['command']} ckpt={cfg.name}")
