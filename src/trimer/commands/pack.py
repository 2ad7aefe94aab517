"""`trimer pack`: packs a run folder or checkpoint into a small folder that every command takes as `ckpt=`."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from trimer.commands.next_steps import suggest, word


def main(cfg: DictConfig) -> None:
    from trimer.errors import ConfigError
    from trimer.pretrained.pack_model import pack
    from trimer.pretrained.registry import facts

    output = Path(cfg.output).expanduser()
    if output.exists() and not (output / "model.json").is_file() and (output.is_file() or any(output.iterdir())):
        raise ConfigError(f"output={output} exists and is not a packed model: name another folder")
    results = Path(cfg.results).expanduser() if cfg.results else None
    if results is not None and not (results / "table.json").is_file():
        raise ConfigError(f"results={results} has no table.json: name the folder of a split, such as <run>/test")
    sizes = pack(cfg.ckpt, output, results, weights=cfg.weights, base=cfg.base)
    for name, size in sizes.items():
        print(f"{size / 1e6:9.3f} MB  {name}")
    print(f"{sum(sizes.values()) / 1e6:9.3f} MB  {output}")
    suggest(f"trimer {facts(output)['command']} ckpt={word(output)}")
