"""`trimer export`: writes a model as a folder for other programs."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from trimer.commands.next_steps import suggest, word


def main(cfg: DictConfig) -> None:
    from trimer.errors import ConfigError
    from trimer.export.folder import export

    output = Path(cfg.output).expanduser()
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise ConfigError(f"output={output} exists already: name another folder")
    if cfg.push is not None:
        check_push(cfg.push)
    sizes = export(cfg.ckpt, cfg.format, output, weights=cfg.weights, packed=cfg.packed)
    for name, size in sizes.items():
        print(f"{size / 1e6:9.3f} MB  {name}")
    print(f"{sum(sizes.values()) / 1e6:9.3f} MB  {output}")
    if cfg.push is not None:
        from trimer.export.hub import push

        print(push(output, cfg.push, cfg.private))
    if cfg.format == "safetensors":
        suggest(f"trimer.load({str(output)!r}) in Python")
    else:
        suggest(f"read {word(output / 'README.md')}")


def check_push(name: str) -> None:
    """ConfigError before the export if it could not be uploaded."""
    from trimer.export.hub import check_name, hub_package

    hub_package()
    check_name(name, "push")
