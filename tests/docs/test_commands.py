"""Every command of the README and the documentation: composed, and run on small data unless it is marked.

tests/helpers/documented_commands.py says which are run, and where. Python blocks are executed, or compiled where they
are marked.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from documented_commands import FENCE, PAGES, ROOT, SMALL, Command, commands_of, with_newest_run

from trimer.cli.configs import config_loader
from trimer.cli.main import main

pytestmark = pytest.mark.usefixtures("rough_figures")
SHELL = (
    "python3 -m venv",
    ".venv/bin/",
    "pip install",
    "eval ",
    "make ",
    "python ",
    "optuna-dashboard ",
    "wandb ",
    "export ",
    "torchrun ",
    "... ",
)  # "...": the line above with these overrides

COMMANDS = [command for page in PAGES for command in commands_of(page)]
OF_TRIMER = [command for command in COMMANDS if command.of_trimer]
RUN = [command for command in OF_TRIMER if command.runs == "alone"]


def words_of(command: Command) -> list[str]:
    """The words after `trimer`, without the comment and with a 1 in place of <run> and other names."""
    return shlex.split(re.sub(r"<[^>]+>", "1", command.line), comments=True)[1:]


def first_values(overrides: list[str]) -> list[str]:
    """The first job of a sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create(config_loader=config_loader([]))
    first = []
    for text, override in zip(overrides, parser.parse_overrides(overrides), strict=True):
        if override.is_interval_sweep():
            text = f"{override.key_or_group}={override.value().start}"
        elif override.is_sweep_override():
            text = f"{override.input_line.partition('=')[0]}={next(iter(override.sweep_string_iterator()))}"
        first.append(text)
    return first


def test_the_pages_have_commands():
    assert len(OF_TRIMER) > 50
    assert len(RUN) >= 10


@pytest.mark.parametrize("command", OF_TRIMER, ids=str)
def test_command_composes(command, empty_folder, capsys):
    words = words_of(command)
    if words[0].startswith("-") or "--help" in words:
        assert main(words) == 0
        return
    flags = {"-m", "--cfg", "job"} & set(words)
    plain = [word for word in words[1:] if "=" not in word and word not in flags]  # a run folder or a name
    overrides = [*plain, *first_values([word for word in words[1:] if word not in flags and word not in plain])]
    overrides = [word for word in overrides if not word.startswith(("resume=", "from="))]  # they read a run folder
    assert main([words[0], *overrides, "--cfg", "job"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in OF_TRIMER], ids=str)
def test_other_commands_are_known(command):
    assert command.line.startswith(SHELL), f"{command}: neither trimer nor one of {SHELL}"
    if command.line.startswith("make "):
        target = command.line.split()[1]
        pattern = re.sub(r"^(bench|study)-.*", r"\1-%", target)
        assert re.search(rf"^{re.escape(pattern)}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """A folder with the small input files that the pages name."""
    folder = tmp_path_factory.mktemp("workspace")
    peaks = "69.0447 12\n83.0604 9\n110.0713 20\n138.0662 100\n195.0877 35\n"
    head = "BEGIN IONS\nTITLE=caffeine\nPEPMASS=195.0877\nADDUCT=[M+H]+\n"
    (folder / "my.mgf").write_text(f"{head}{peaks}END IONS\n")
    rows = [f"{'C' * (n % 10 + 1)}{end},{n % 7}" for n, end in enumerate(["O", "N", "Cl", "c1ccccc1"] * 10)]
    (folder / "mine.csv").write_text("smiles,logP\n" + "\n".join(sorted(set(rows))) + "\n")
    (folder / "new.csv").write_text("id,smiles\nethanol,CCO\ntoluene,Cc1ccccc1\n")
    (folder / "mine.fasta").write_text(">insulin A chain\nGIVEQCCTSICSLYQLENYCN\n")
    (folder / "peptides.csv").write_text("id,sequence\n1,LGGNEQVTR\n2,AC[UNIMOD:4]DEFGHK\n")
    return folder


def test_commands_run_in_their_order(workspace, monkeypatch, capsys):
    """The same command on two pages runs once; <run> is the newest run of its folder."""
    monkeypatch.chdir(workspace)
    done = set()
    for command in RUN:
        words = shlex.split(command.line, comments=True)[1:]
        if command.line in done or words[0].startswith("-") or "--help" in words or "--cfg" in words:
            continue
        done.add(command.line)
        words = [with_newest_run(word) for word in words]
        if words[0] == "train":
            chosen = [small for key, small in SMALL.items() if key == "*" or key in words]
            words += [override for overrides in chosen for override in overrides]
        if words[0] == "predict" and any(word.startswith("generator.num_samples=") for word in words):
            words.append("generator.num_samples=2")
        assert main(words) == 0, f"{command}\n{capsys.readouterr().err}"
        output = next((word.partition("=")[2] for word in words if word.startswith("output=")), None)
        assert output is None or (workspace / output).stat().st_size > 0


PYTHON = [
    pytest.param(block["text"], (block["mark"] or "").startswith("not run: "), id=f"{page.relative_to(ROOT)}:{number}")
    for page in PAGES
    for number, block in enumerate(FENCE.finditer(page.read_text(encoding="utf-8")))
    if block["language"] == "python"
]


@pytest.mark.parametrize(("text", "only_compiled"), PYTHON)
def test_python_block_runs(text, only_compiled, empty_folder):
    code = compile(text, "<documentation>", "exec")
    if not only_compiled:
        exec(code, {})


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 800


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        path = (page.parent / target).resolve()
        if "://" in target or path.parent.name == "generated":  # made by docs/_ext/config_reference.py
            continue
        if path.parent == ROOT / "docs/tutorials/notebooks":  # copied by docs/_ext/copied_files.py
            path = ROOT / "notebooks" / path.name
        assert path.exists(), f"{page.relative_to(ROOT)}: {target}"
