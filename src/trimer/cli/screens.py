"""The texts of `--help` and `--version`; keys and groups are described by the comments of the YAML files."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence

from trimer import __version__
from trimer.cli import configs

COMMANDS = {
    "train": "train a model and evaluate it; everything is kept in a run folder",
    "evaluate": "evaluate a checkpoint on a split and compare it with baselines",
    "predict": "predict molecules for spectra, labels for sequences, spectral libraries for peptides",
    "embed": "compute embeddings of proteins, molecules or peptides",
    "serve": "serve trained models over HTTP: REST, KServe and SageMaker",
    "prepare": "read, clean, tokenize and store data without training",
    "report": "summarise the runs of folders on a page and in tables",
    "dashboard": "create a W&B workspace and report for the runs of folders",
    "models": "list the models that come with Trimer, or print the card of one",
    "demo": "predict the example spectra with a shipped model, and fine-tune it briefly",
    "pack": "pack a run into a small folder, to share it",
    "export": "write a model for transformers, torch.export, ONNX or safetensors",
    "reproduce": "train a run again from its folder, and compare the results",
    "diff": "compare two runs: config, code, data, packages, device and results",
    "init": "write a project with your own configs, source, encoder and test",
}

EXAMPLES = (
    ("trimer demo", "a shipped model on example spectra, in three minutes"),
    ("trimer train experiment=demo", "a small study, in a few minutes"),
    ("trimer train model=bart_small optimizer.lr=3e-4", "choose a model, set a number"),
    ("trimer train -m seed=1,2,3", "a sweep, one process per job"),
    ("trimer train resume=runs/demo/<run>", "continue a run where it stopped"),
    ("trimer train from=runs/demo/<run> seed=1", "a new run with the config of another, changed"),
    ("trimer predict ckpt=spectrums input=my.mgf", "molecules for your own spectra, by a shipped model"),
)

FLAGS = (
    ("<command> --help", "its keys, groups and choices"),
    ("<command> --cfg job", "print the whole config, run nothing"),
    ("-q, --quiet", "print only warnings, errors and the result"),
    ("-v, --verbose", "print debug messages too"),
    ("--config-dir <folder>", "your own configs; ./conf and $TRIMER_CONF are searched too"),
    ("--plugin <file.py>", "your own classes, named in configs as file.Class; repeatable; or $TRIMER_PLUGINS"),
    ("--version", "print the version"),
    ("--completion <shell>", 'tab completion: eval "$(trimer --completion bash)"; also zsh, fish'),
)

# Keys that a command accepts, so that it takes the words of another, and does not use.
UNUSED = {"prepare": ("test", "baselines", "calibration_spectra", "augment", "boosting", "objective")}

NARROW, WIDE = 60, 100  # characters of a line: at least, and at most


def width() -> int:
    """Characters of a line: those of the terminal within bounds, 96 in a file."""
    return min(max(shutil.get_terminal_size((96, 24)).columns, NARROW), WIDE)


def version() -> str:
    """`trimer 0.2.0`."""
    return f"trimer {__version__}"


def bold(text: str) -> str:
    """Bold on a terminal, plain in a file and where NO_COLOR is set."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def overview() -> str:
    """The screen of `trimer --help`."""
    return "\n".join(
        [
            f"{bold('trimer')} - language models of mass spectra, molecules, proteins and peptides",
            "",
            f"{bold('Usage')}  trimer <command> [group=choice] [key=value] [flags]",
            "",
            *columns([(name, text) for name, text in COMMANDS.items()]),
            "",
            bold("Examples"),
            *columns(EXAMPLES),
            "",
            bold("Flags"),
            *columns(FLAGS),
        ]
    )


def command(name: str) -> str:
    """The screen of one command: its own keys, then the groups it composes."""
    text = configs.command_text(name)
    purpose = textwrap.wrap(text.splitlines()[0].lstrip("# "), width(), break_long_words=False)
    keys = re.findall(r"^(\w+): *([^#\n]*?) *(?:# (.*))?$", text, flags=re.MULTILINE)
    lines = [bold(f"trimer {name}"), "", *purpose, "", bold("Keys")]
    lines += columns([row for row in keys if row[0] not in ("defaults", *UNUSED.get(name, ()))])
    chosen, groups = configs.defaults(name), configs.choices(name)
    if groups:
        lines += ["", bold("Groups") + "  (* is the default)"]
        for group, options in groups.items():
            if options == ["default"]:
                continue  # nothing to choose
            marked = [f"{option}*" if option == chosen[group] else option for option in options]
            lines += choices_of(group, [option for option in marked if (group, option) != ("trainer", "default")])
    lines += ["", f"trimer {name} --cfg job shows every key; set any of them with <key>=<value>."]
    return "\n".join(lines)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells under each other, the first in bold, the last on as many lines as it needs.

    Cells are two spaces apart; where too little is left for the last one, it starts on the next line.
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)][:-1]
    indent = 2 + sum(size + 2 for size in widths)
    last_below = width() - indent < 24
    if last_below:
        indent = 6
    lines = []
    for first, *middle, last in rows:
        cells = [bold(first) + " " * (widths[0] - len(first))]
        cells += [f"{cell:<{size}}" for cell, size in zip(middle, widths[1:], strict=True)]
        start = "  " + "  ".join(cells)
        texts = textwrap.wrap(last, width() - indent) or [""]
        if last_below:
            lines += [start.rstrip(), *(" " * indent + text for text in texts if text)]
        else:
            lines += [f"{start}  {texts[0]}".rstrip(), *(" " * indent + text for text in texts[1:])]
    return lines


def choices_of(group: str, options: Sequence[str]) -> list[str]:
    """A group and its options, on as many lines as they need."""
    texts = textwrap.wrap(" ".join(options), width() - 17, break_long_words=False, break_on_hyphens=False) or [""]
    first = "  " + bold(group) + " " * (15 - len(group)) + texts[0]
    return [first.rstrip(), *(" " * 17 + text for text in texts[1:])]
