"""`trimer models`: lists the models that come with Trimer, prints the card of one, or downloads one of the Hub."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from trimer.commands.next_steps import suggest, word


def main(cfg: DictConfig) -> None:
    from trimer.pretrained import registry
    from trimer.pretrained.listing import listing

    if cfg.pull is not None:
        pull_model(cfg)
        return
    if cfg.name is None:
        print("\n".join(listing()))
        return
    folder = registry.shipped(cfg.name)
    print((folder / "card.md").read_text(encoding="utf-8").rstrip())
    print(f"\nnext: trimer {registry.facts(folder)['command']} ckpt={cfg.name}")


def pull_model(cfg: DictConfig) -> None:
    """Download a model of the Hub, and say how it is used."""
    from trimer.errors import ConfigError
    from trimer.export.hub import pull

    if cfg.output is None:
        raise ConfigError(f"pull={cfg.pull} needs output=<new folder>")
    folder = pull(cfg.pull, Path(cfg.output).expanduser(), cfg.revision)
    print(folder)
    suggest(f"trimer embed ckpt={word(folder)} input=<your file>, or predict")
