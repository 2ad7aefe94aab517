"""Tab completion: the script that a shell evaluates, and the words that complete a command line.

The shell calls `trimer --complete "<line up to the cursor>"`, which prints one word per line.
"""

from __future__ import annotations

import glob
import os
from itertools import pairwise

from trimer.cli import configs
from trimer.cli.schema import LISTS, POSITIONAL
from trimer.cli.screens import COMMANDS
from trimer.errors import UsageError
from trimer.pretrained import registry

# bash splits words at "=" and would complete "model=ba" as "ba": remove "=" from its word breaks.
BASH = r"""
_trimer() {
    local IFS=$'\n'
    COMPREPLY=($(trimer --complete "${COMP_LINE:0:$COMP_POINT}" 2>/dev/null))
    case "${COMPREPLY[*]}" in *=|*.|*/) compopt -o nospace ;; esac
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o default -o nosort -F _trimer trimer
"""

ZSH = r"""
_trimer() {
    local -a words_open words_done
    local word
    for word in ${(f)"$(trimer --complete "$BUFFER[1,CURSOR]" 2>/dev/null)"}; do
        case $word in *=|*.|*/) words_open+=("$word") ;; *) words_done+=("$word") ;; esac
    done
    compadd -Q -S '' -- $words_open
    compadd -Q -- $words_done
    (( $#words_open + $#words_done )) || _files
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _trimer trimer
"""

FISH = r"""
complete -c trimer -f -a '(trimer --complete (commandline -cp) 2>/dev/null)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
FLAGS = (
    "--help", "--quiet", "--verbose", "--cfg", "--multirun", "--config-dir", "--plugin", "--resolve", "--package",
    "--info",
)  # fmt: skip


def script(shell: str) -> str:
    """The script to evaluate in the shell's start-up file."""
    if shell not in SCRIPTS:
        raise UsageError(f"--completion needs one of {', '.join(SCRIPTS)}, not {shell!r}")
    return SCRIPTS[shell].strip()


def candidates(line: str) -> list[str]:
    """Words that complete a command line at the cursor. line: the text up to the cursor."""
    words = line.split()[1:]
    word = "" if not words or line[-1].isspace() else words.pop()
    if not words:
        return [name for name in (*COMMANDS, "--help", "--version", "--completion") if name.startswith(word)]
    command, *before = words
    if command == "--completion":
        return [shell for shell in SCRIPTS if shell.startswith(word)]
    if command not in COMMANDS:
        return []
    if word.startswith("-"):
        return [flag for flag in FLAGS if flag.startswith(word)]
    return overrides(command, before, word)


def overrides(command: str, before: list[str], word: str) -> list[str]:
    """Groups, options, keys, values and paths that begin with `word`. before: the words between command and `word`."""
    folders = [folder for flag, folder in pairwise(before) if flag in ("--config-dir", "-cd")]
    groups = configs.choices(command, folders)
    key, equals, start = word.partition("=")
    if equals and key in groups:
        return [f"{key}={option}" for option in groups[key] if option.startswith(start)]
    words = [] if equals else [f"{group}=" for group in groups if group.startswith(word)]
    chosen = [text for text in before if "=" in text]
    words += [text for text in keys(command, chosen, folders, word) if "hydra" in word or not text.startswith("hydra")]
    if not equals and command == "train" and "from=".startswith(word):
        words.append("from=")
    if not equals and command in {*POSITIONAL, *LISTS} and not word.startswith("-"):
        words += names_from(word) if LISTS.get(command) == "ckpt" else []
        words += paths_from(word)
    if not words and equals:  # an unknown value may be a path
        names = names_from(start) if key == "ckpt" or (command, key) == ("models", "name") else []
        words = [f"{key}={value}" for value in [*names, *paths_from(start)]]
    return sorted(set(words))


def names_from(start: str) -> list[str]:
    """Names of shipped models that begin with a text."""
    return [name for name in registry.names() if name.startswith(start)]


def paths_from(start: str) -> list[str]:
    """Files and folders that begin with a text; folders end with a slash."""
    return [path + "/" * os.path.isdir(path) for path in glob.glob(glob.escape(start) + "*")]


def keys(command: str, chosen: list[str], folders: list[str], word: str) -> list[str]:
    """Keys that begin with `word`, with a dot after those that hold others; after `=`, the value of the key.

    chosen: the overrides so far.
    """
    from hydra.errors import HydraException
    from hydra.plugins.completion_plugin import CompletionPlugin
    from hydra.types import RunMode

    try:
        cfg = configs.config_loader(folders).load_configuration(command, chosen, RunMode.RUN)
    except (HydraException, OSError):  # an unfinished line may not compose
        return []
    return [text for text in CompletionPlugin._get_matches(cfg, word) if "._" not in text and not text.startswith("_")]
