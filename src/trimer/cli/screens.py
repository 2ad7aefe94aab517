"""What `--help` and `--version` print; the texts about groups and keys are the comments of the YAML files."""

from __future__ import annotations

import re
import sys
import textwrap

from trimer import __version__
from trimer.cli import configs

COMMANDS = {
    "train": "train a model, measure it, keep it in a run folder",
    "evaluate": "measure a checkpoint on a split, beside the baselines",
    "predict": "molecules for spectra, labels for molecules and proteins",
    "embed": "vectors for the proteins of a file",
    "prepare": "read, clean, tokenise and store data without training",
    "report": "the runs of a folder in one table",
}

WIDTH = 96


def version() -> str:
    """`trimer 0.1.0`."""
    return f"trimer {__version__}"


def bold(text: str) -> str:
    """Bold on a terminal, plain in a file."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


def overview() -> str:
    """The first screen."""
    commands = "\n".join(f"  {bold(f'{name:<10}')}{text}" for name, text in COMMANDS.items())
    return f"""{bold("trimer")} - language models of mass spectra, molecules and proteins

{bold("Usage")}  trimer <command> [group=choice] [key=value] [flags]

{commands}

{bold("Start here")}
  trimer train experiment=demo                               a small study in a few minutes
  trimer train model=bart_small optimizer.lr=3e-4            any part, any number
  trimer train -m seed=1,2,3                                 a sweep, one process a job
  trimer train resume=runs/demo/<run>                        go on where a run stopped
  trimer predict ckpt=runs/demo/<run> input=my.mgf           molecules for your own spectra

{bold("Flags")}
  <command> --help       its groups, choices and keys
  <command> --cfg job    the whole config, nothing is run
  --config-dir <folder>  your own configs; also found in ./conf and $TRIMER_CONF
  --plugin <file.py>     classes of your own, named in configs as file.Class; repeatable, or $TRIMER_PLUGINS
  --version
  --completion <shell>   tab completion: eval "$(trimer --completion bash)", also zsh and fish"""


def command(name: str) -> str:
    """The screen of one command: its own keys, then the groups it composes."""
    text = configs.command_text(name)
    about = text.splitlines()[0].lstrip("# ")
    keys = re.findall(r"^(\w+): *([^#\n]*?) *(?:# (.*))?$", text, flags=re.MULTILINE)
    rows = [line for key, value, comment in keys if key != "defaults" for line in described(key, value, comment)]
    lines = [f"{bold(f'trimer {name}')} - {COMMANDS[name]}", "", about, "", bold("Keys"), *rows]
    chosen, groups = configs.defaults(name), configs.choices(name)
    if groups:
        lines += ["", bold("Groups") + "  (* is the default)"]
        for group, options in groups.items():
            marked = [f"{option}*" if option == chosen[group] else option for option in options]
            lines += wrapped(group, [option for option in marked if (group, option) != ("trainer", "default")])
    lines += ["", f"trimer {name} --cfg job shows every key; any of them is changed by <key>=<value>."]
    return "\n".join(lines)


def described(key: str, value: str, comment: str) -> list[str]:
    """A key with its default, and its comment beside them on as many lines as it needs."""
    first = f"  {bold(f'{key:<12}')}{value:<16} "
    texts = textwrap.wrap(comment, WIDTH - 31) or [""]
    return [(first + texts[0]).rstrip(), *(" " * 31 + text for text in texts[1:])]


def wrapped(group: str, options: list[str]) -> list[str]:
    """`group=` and its options, on as many lines as they need."""
    lines, line = [], f"  {bold(f'{group:<15}')}"
    length = 17
    for option in options:
        if length + len(option) > WIDTH:
            lines.append(line.rstrip())
            line, length = " " * 17, 17
        line, length = f"{line}{option} ", length + len(option) + 1
    return [*lines, line.rstrip()]
