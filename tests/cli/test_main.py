"""The command line: output, speed and errors."""

from __future__ import annotations

import json
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from trimer.cli import completion, screens
from trimer.cli import main as cli
from trimer.cli.configs import shipped_folder
from trimer.cli.schema import SCHEMAS
from trimer.pretrained import registry
from trimer.run import command_line_overrides
from trimer.suggestions import nearest

ROOT = Path(__file__).resolve().parents[2]

HEAVY = {"torch", "lightning", "rdkit", "numpy", "wandb", "torchmetrics", "matplotlib", "pyarrow", "matchms", "pandas"}


def runs(folder: Path) -> list[Path]:
    return sorted(folder.glob("runs/*/*"))


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--help"], "trimer train experiment=demo"),
        ([], "Usage"),
        (["--version"], "trimer 0.2.0"),
        (["train", "--help"], "bart_nano*"),
        (["predict", "--help"], "file of spectra"),
        (["train", "--cfg", "job"], "_target_: lightning.Trainer"),
        (["train", "--cfg", "job", "-p", "optimizer", "optimizer.lr=0.25"], "lr: 0.25"),
        (["train", "--info", "searchpath"], "hydra"),
    ],
)
def test_informational_commands_start_no_run(trimer, empty_folder, capsys, words, shown):
    assert trimer(*words) == 0
    assert shown in capsys.readouterr().out
    assert list(empty_folder.iterdir()) == []


@pytest.mark.parametrize("words", [[], *([command] for command in SCHEMAS)])
def test_help_fits_one_screen(trimer, capsys, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "96")
    assert trimer(*words, "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 96


@pytest.mark.parametrize("words", [[], ["train"], ["predict"], ["report"], ["serve"]])
def test_help_fits_the_width_of_the_terminal(trimer, capsys, monkeypatch, words):
    for width in (80, 100, 160):
        monkeypatch.setenv("COLUMNS", str(width))
        assert trimer(*words, "--help") == 0
        for line in capsys.readouterr().out.splitlines():
            assert len(line) <= width
            assert not re.match(r"  [a-z_]{2,}[^ a-z_=.]", line), "a name and its value are two cells"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trian"], "unknown command 'trian'; did you mean train?"),
        (["train", "data.numworkers=2"], "did you mean data.num_workers?"),
        (["train", "trainer.maxsteps=2"], "did you mean trainer.max_steps?"),
        (["train", "lr=0.1"], "did you mean optimizer.lr?"),
        (
            ["train", "task=classification", "task.lora.rank=4"],
            "task.lora is null, so it has no 'rank': write 'task.lora={rank: 4}'",
        ),
        (["train", "modle=bart_nano"], "did you mean model?"),
        (["train", "model=bart_nan"], "there is no model=bart_nan; did you mean bart_nano?"),
        (["train", "trainer=abacus"], "there are cpu, ddp"),
        (["train", "experiment=nothing_like_it"], "there is no experiment=nothing_like_it"),
        (["train", "trainer/kind=cpu"], "unknown group 'trainer/kind'"),
        (["train", "seed=abc"], "seed=abc: Value 'abc' of type 'str' could not be converted to Integer"),
        (["train", "seed"], "write key=value"),
        (["train", "seed=1,2"], "seed=1,2"),
        (["train", "--fast"], "--fast"),
        (["predict"], "trimer predict needs ckpt=..."),
        (["train", "data.source.molecules=???"], "trimer train needs data.source.molecules=..."),
        (["train", "name=${x}"], "name: it refers to 'x', and the config has no such key; write a value"),
        (["train", "data.source.molecules=${x}"], "data.source.molecules: it refers to 'x', and the config has no"),
        (["train", "tags=[a,${x.y}]"], "tags[1]: it refers to 'x.y', and the config has no such key"),
        (["train", "data.source.molecules=${foo:1}"], "data.source.molecules: it uses the resolver 'foo', which does"),
        (["train", "data.cache=${oc.env:NO_SUCH}"], "data.cache: the environment variable NO_SUCH is not set"),
        (["train", "data.cache=${data.cache}"], "data.cache: "),
        (["train", "-m", "seed=1", "resume=runs/x"], "cannot be part of a sweep"),
        (["train", "resume=auto"], "add hydra.run.dir=<folder>"),
        (["--completion", "tcsh"], "bash, zsh, fish"),
    ],
)
def test_usage_errors_give_one_sentence_and_exit_code_2(trimer, capsys, words, sentence):
    assert trimer(*words) == 2
    stderr = capsys.readouterr().err.strip()
    assert sentence in stderr
    assert stderr.startswith("trimer: ")
    assert len(stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "input"),
    [
        (["runs/a"], "runs/a"),
        (["runs/a b", "name=x", 'runs/"c"'], ["runs/a b", 'runs/"c"']),
        (["input=[x,y]"], ["x", "y"]),
    ],
)
def test_the_first_words_of_report_are_its_folders(capsys, trimer, words, input):
    assert trimer("report", *words, "--cfg", "job") == 0
    assert yaml.safe_load(capsys.readouterr().out)["input"] == input


def test_nothing_of_the_command_line_is_left_in_hydra(trimer, empty_folder):
    assert trimer("train", "name=bad_input") == 1  # it composes a job, which fails in reading the spectra
    assert runs(empty_folder)
    assert not HydraConfig.initialized()
    assert command_line_overrides() == []


def test_input_errors_give_one_sentence_and_exit_code_1(trimer, empty_folder, capsys):
    assert trimer("train", "name=bad_input") == 1
    assert capsys.readouterr().err.strip() == "trimer: spectra.mgf line 3: no precursor m/z; add PEPMASS"
    result = json.loads((runs(empty_folder)[0] / "result.json").read_text())
    assert result["status"] == "failed"
    assert "line 3" in result["error"]


def test_the_full_traceback_is_shown_on_request(trimer, capsys, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    assert trimer("train", "name=bad_input") == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(trimer, empty_folder, capsys):
    assert trimer("train", "name=bug") == 1
    stderr = capsys.readouterr().err
    assert "Traceback" in stderr
    assert "ValueError: a bug" in stderr
    assert json.loads((runs(empty_folder)[0] / "result.json").read_text())["error"] == "ValueError: a bug"


def test_a_full_disk_names_the_folder(trimer, capsys):
    assert trimer("train", "name=full") == 1
    stderr = capsys.readouterr().err
    assert "the disk is full in" in stderr
    assert "checkpoints" in stderr
    assert "Traceback" not in stderr


def test_an_interruption_has_exit_code_130(trimer, capsys):
    assert trimer("train", "name=stopped") == 130
    assert "Traceback" not in capsys.readouterr().err


def test_an_interruption_caught_by_lightning_has_exit_code_130():
    try:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)
    except SystemExit as error:
        assert cli.failures.report(error) == 130


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[/pytorch/gloo/transport/tcp/pair.cc:537] Read error [10.77.0.2]:62134: Connection reset by peer."
        ),
        type("DistBackendError", (RuntimeError,), {})(
            "NCCL error: remote process exited or there was a network error\nx"
        ),
    ],
    ids=["Gloo", "NCCL"],
)
def test_the_end_of_another_process_of_a_training_is_a_sentence(capsys, error):
    assert cli.failures.report(error) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "another process of this distributed training has ended or cannot be reached" in message
    assert "resume=<run folder> on all hosts" in message


def test_two_runs_in_the_same_second_have_separate_folders(trimer, empty_folder):
    assert [trimer("train"), trimer("train")] == [0, 0]
    assert len(runs(empty_folder)) == 2


@pytest.mark.parametrize(
    ("overrides", "single"),
    [([], True), (["hparams_search=grid"], False), (["hydra.mode=MULTIRUN", "seed=1,2"], False), (["seed=1,2"], None)],
)
def test_a_sweep_is_asked_for_by_a_config_or_an_override(empty_folder, overrides, single):
    with cli.open_hydra([]) as hydra:
        if single is None:
            with pytest.raises(ConfigCompositionException, match="Ambiguous value for argument 'seed=1,2'"):
                cli.config_of_single_run(hydra, "train", overrides)
        else:
            assert (cli.config_of_single_run(hydra, "train", overrides) is not None) == single


def test_the_config_of_a_run_is_composed_once(trimer, monkeypatch):
    composed = []
    load = ConfigLoaderImpl.load_configuration
    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", lambda *a, **k: composed.append(k) or load(*a, **k))
    assert trimer("train") == 0 and len(composed) == 1


def test_python_m_trimer_runs_the_command_line(shell):
    done = shell("trimer", "--version")
    assert (done.returncode, done.stdout.strip()) == (0, "trimer 0.2.0")
    assert shell("trimer", "trian").returncode == 2
    assert shell("toy", "train", "name=stopped").returncode == 130


def test_no_heavy_library_is_imported_before_a_run(shell, empty_folder):
    code = f"""
import sys
from trimer.cli.main import main
main(["train", "--cfg", "job"]); main(["--complete", "trimer train model="]); main(["train", "lr=1"])
print(sorted({HEAVY} & set(sys.modules)), file=sys.stderr)
"""
    (empty_folder / "probe.py").write_text(code)
    done = shell("probe")
    assert done.stderr.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        (["--help"], 0.5),
        (["train", "--help"], 0.5),
        (["--complete", "trimer tr"], 0.5),
        (["--complete", "trimer train model=ba"], 0.6),
        (["--complete", "trimer train optimizer.l"], 0.8),
        (["train", "--cfg", "job"], 1.0),
    ],
)
def test_informational_commands_are_fast(shell, words, seconds):
    """CPU seconds in the best of three attempts: wall time is not reliable on a busy machine."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert shell("trimer", *words).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert any(once() < seconds for _ in range(3))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("trimer ", {"train", "predict", "--help"}),
        ("trimer ev", {"evaluate"}),
        ("trimer train mod", {"model=", "model."}),
        ("trimer train model=bart_n", {"model=bart_nano"}),
        ("trimer train trainer=cpu optimizer.l", {"optimizer.lr="}),
        ("trimer train hparams_search=", {"hparams_search=grid"}),
        ("trimer train --c", {"--cfg", "--config-dir"}),
        ("trimer --completion z", {"zsh"}),
        ("trimer nothing x", set()),
    ],
)
def test_completion_offers_keys_choices_and_commands(trimer, line, expected):
    candidates = set(completion.candidates(line))
    assert expected <= candidates
    assert bool(expected) == bool(candidates)


def test_names_of_shipped_models_are_completed(trimer, empty_folder, tmp_path, monkeypatch):
    for name in ("peptide-rt", "peptide-ms2", "smiles"):
        (tmp_path / "models" / name).mkdir(parents=True)
        (tmp_path / "models" / name / "model.json").write_text("{}")
    monkeypatch.setattr(registry, "FOLDER", tmp_path / "models")
    (empty_folder / "peptides").mkdir()
    expected = ["ckpt=peptide-ms2", "ckpt=peptide-rt", "ckpt=peptides/"]
    assert completion.candidates("trimer predict ckpt=pep") == expected
    assert completion.candidates("trimer models name=s") == ["name=smiles"]


def test_paths_are_completed(trimer, empty_folder):
    (empty_folder / "spectra.mgf").touch()
    assert completion.candidates("trimer predict input=spec") == ["input=spectra.mgf"]
    assert not [word for word in completion.candidates("trimer train ") if word.startswith(("hydra", "_"))]


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_script_is_valid(shell_name, capsys):
    assert cli.main(["--completion", shell_name]) == 0
    script = capsys.readouterr().out
    assert "trimer --complete" in script
    program = shutil.which(shell_name)
    if program:
        assert subprocess.run([program, "-n"], input=script, text=True, check=False).returncode == 0


def test_bash_completes_words(empty_folder):
    """The function called by bash fills its list of completions."""
    program = empty_folder / "trimer"
    program.write_text(f'#!/bin/bash\nPYTHONPATH={ROOT / "src"} exec {sys.executable} -m trimer "$@"\n')
    program.chmod(0o755)
    line = "trimer train scheduler=warmup_c"
    script = f"""{completion.script("bash")}
compopt() {{ :; }}
PATH={empty_folder}:$PATH; COMP_LINE={line!r}; COMP_POINT={len(line)}
_trimer; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "--norc"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["scheduler=warmup_constant", "scheduler=warmup_cosine"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("data.numworkers", "data.num_workers"),
        ("lr", "optimizer.lr"),
        ("maxsteps", "trainer.max_steps"),
        ("seed", "seed"),
        ("xyzzy", None),
    ],
)
def test_the_nearest_key_is_suggested(word, expected):
    assert nearest(word, ["data.num_workers", "optimizer.lr", "trainer.max_steps", "seed", "data.seed"]) == expected


def test_every_command_has_a_schema_a_config_and_a_screen():
    assert set(screens.COMMANDS) == set(SCHEMAS) == {path.stem for path in shipped_folder().glob("*.yaml")}


@pytest.mark.parametrize("word", ["logger=null", "scheduler=null", "experiment=null", "+debug=null"])
def test_an_optional_group_may_be_null(trimer, empty_folder, word):
    assert trimer("train", word) == 0
    (config,) = empty_folder.glob("runs/*/*/config.yaml")
    assert OmegaConf.load(config).get(word.lstrip("+").partition("=")[0]) is None


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("trainer=null", "choose one of cpu, ddp,"),
        ("launcher=null", "choose one of joblib, process, ray, slurm"),
        ("callbacks=null", "choose one of default, early_stopping,"),
        ("data=null", "choose one of bace,"),
        ("optimizer=null", "choose one of adamw, muon"),
        ("hydra/launcher=null", "leave it out"),
    ],
)
def test_a_required_group_that_is_null_is_reported(trimer, capsys, word, hint):
    assert trimer("train", word) == 2
    assert f"{word} is not possible, since trimer train needs this group: {hint}" in capsys.readouterr().err


def test_other_hydra_launchers_can_be_used(trimer, empty_folder):
    assert trimer("train", "-m", "seed=1,2", "hydra/launcher=basic", "hydra.sweep.dir=sweep") == 0
    assert [json.loads(path.read_text())["objective"] for path in sorted(empty_folder.glob("sweep/*/result.json"))] == [
        2,
        4,
    ]


def test_null_among_the_choices_of_a_sweep_is_reported(trimer, capsys):
    assert trimer("train", "-m", "logger=csv,null") == 2
    assert "logger=csv,null: null cannot be one of several choices" in capsys.readouterr().err
