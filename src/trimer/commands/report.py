"""`trimer report`: summarises the runs of a folder in one table, with mean and standard deviation over seeds."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from trimer.commands.next_steps import suggest, word


def main(cfg: DictConfig) -> None:
    from trimer.errors import InputError
    from trimer.reporting.runs import read_runs, summarise, write_summary
    from trimer.terminal_tables import print_table

    folder = Path(cfg.input).expanduser()
    if not folder.is_dir():
        raise InputError(f"input={folder} is not a folder; name a run folder, a sweep folder, or a folder of them")
    summary = summarise(read_runs(folder), list(cfg.metrics))
    output = Path(cfg.output).expanduser() if cfg.output else folder
    files = write_summary(summary, output)
    print_table(summary.to_rich(), output / "summary.md")
    for path in files:
        print(path)
    for sentence in summary.notes:
        print(sentence)
    suggest(f"open {word(output / 'summary.md')}, or a run's page under test/")
    if summary.errors:
        raise InputError("; ".join(summary.errors))
