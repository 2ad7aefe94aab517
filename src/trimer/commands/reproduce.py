"""`trimer reproduce`: trains a run again from its folder and compares the results; exit code 1 if they differ."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from trimer.commands.next_steps import suggest, word


def main(cfg: DictConfig) -> None:
    from trimer.errors import ConfigError, TrimerError
    from trimer.reproduction.reproducing import Reproduction
    from trimer.reproduction.start_config import training_run
    from trimer.run import first_process

    if cfg.tolerance < 0:
        raise ConfigError(f"tolerance={cfg.tolerance} must be 0 or more: the largest relative difference of a metric")
    run = training_run(cfg.run, "")
    output = Path(cfg.output).expanduser() if cfg.output else None
    reproduction = Reproduction(run, list(cfg.changes), output, cfg.force)
    reproduction.check()
    for sentence in reproduction.differences():
        print(sentence, flush=True)
    reproduction.train()
    if not first_process():
        return
    outcome = reproduction.compare(cfg.tolerance)
    outcome.save(reproduction.folder / "reproduction.json")
    print("\n".join(outcome.sentences()))
    suggest(f"trimer diff {word(run.path)} {word(reproduction.folder)}")
    if outcome.beyond:
        raise TrimerError(
            f"{len(outcome.beyond)} of {len(outcome.metrics)} metrics differ by more than the tolerance of "
            f"{cfg.tolerance:g}: see {reproduction.folder / 'reproduction.json'}"
        )
