"""`trimer report`: summarises the runs of folders as a page, Markdown and CSV, with means and intervals over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from trimer.commands.next_steps import suggest, word
from trimer.errors import InputError

if TYPE_CHECKING:
    from trimer.reporting.runs import Summary

FILES = (".html", ".md", ".csv")  # what output= may end with to get one file


def main(cfg: DictConfig) -> None:
    from trimer.reporting.runs import read_runs, summarise
    from trimer.terminal_tables import print_table

    folders = input_folders(cfg.input)
    summary = summarise(read_runs(*folders), list(cfg.metrics))
    output = Path(cfg.output).expanduser() if cfg.output else folders[0]
    files = write_report(summary, output, " and ".join(folder.resolve().name for folder in folders[:3]))
    print_table(summary.to_rich(), next((path for path in files if path.suffix == ".md"), files[0]))
    for path in files:
        print(path)
    for sentence in summary.notes:
        print(sentence)
    suggest(f"open {word(files[0])}")
    if summary.errors:
        raise InputError("; ".join(summary.errors))


def input_folders(value: Any) -> list[Path]:
    """The folders of `input`, one or a list; InputError for one that does not exist."""
    names = list(value) if OmegaConf.is_list(value) else [value]
    folders = [Path(str(name)).expanduser() for name in names]
    if not folders:
        raise InputError("input=[] names no folder; name a run folder, a sweep folder, or a folder of them")
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"input={folder} is not a folder; name a run folder, a sweep folder, or a folder of them")
    return folders


def write_report(summary: Summary, output: Path, title: str) -> Sequence[Path]:
    """One file by the suffix of `output` (.html, .md or .csv), or all of them in the folder `output`; their paths."""
    from trimer.reporting.summary_files import write_markdown, write_summary, write_table
    from trimer.reporting.sweep_page import write_sweep_page

    if output.suffix.lower() not in FILES or output.is_dir():
        if output.is_file():
            raise InputError(f"output={output} is a file; name a folder, or a file that ends with {', '.join(FILES)}")
        return [write_sweep_page(summary, output / "report.html", title), *write_summary(summary, output)]
    output.parent.mkdir(parents=True, exist_ok=True)
    if output.suffix.lower() == ".html":
        write_sweep_page(summary, output, title)
    elif output.suffix.lower() == ".md":
        write_markdown(summary, output)
    else:
        write_table(summary, output)
    return [output]
