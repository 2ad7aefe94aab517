"""Mistakes in YAML files, choices and sweeps: the first line names the file, the line, the key and what to do."""

from __future__ import annotations

import pytest

PACKAGE = "# @package _global_\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"{PACKAGE}name: x\noptimizer: {{lr: 1e-3\nseed: 3\n", "mine.yaml line 4, column 5: expected ',' or '}'"),
        (f"{PACKAGE}name: x\n\tseed: 3\n", "mine.yaml line 3, column 1: found character '\\t'"),
        (f"{PACKAGE}seed: 3\nseed: 4\n", "mine.yaml line 3, column 1: found duplicate key seed"),
        (f"{PACKAGE}name: x\nseeed: 3\n", "mine.yaml: unknown key 'seeed'; did you mean seed?"),
        (f"{PACKAGE}seed: abc\n", "mine.yaml: seed: Value 'abc' of type 'str' could not be converted to Integer"),
        ("name: x\n", "mine.yaml: the first line must be '# @package _global_'"),
        (f"{PACKAGE}defaults:\n  - override /model: bart_nan\n", "mine.yaml: there is no model=bart_nan; did you mean"),
        (
            f"{PACKAGE}defaults:\n  - /model: bart_nan\n",
            "mine.yaml: there is no model=bart_nan; did you mean bart_nano?",
        ),
        (b"\xff\xfe", "mine.yaml is not UTF-8 text (byte 0): save it as UTF-8"),
    ],
)
@pytest.mark.parametrize("flag", [True, False])
def test_a_broken_experiment_names_its_file(trimer, empty_folder, capsys, text, sentence, flag):
    file = empty_folder / ("own" if flag else "conf") / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    folder = ["--config-dir", "own"] if flag else []
    assert trimer("train", "experiment=mine", *folder) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith(f"trimer: {file.parent}/") and sentence in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("seed=1,2", "seed=1,2 has several values: add -m to run them all (trimer train -m seed=1,2), or 'seed=[1,2]'"),
        ("model=bart_nano,bart_mini", "add -m to run them all (trimer train -m model=bart_nano,bart_mini)"),
        ("seed=choice(1,2)", "add -m to run them all (trimer train -m 'seed=choice(1,2)')"),
    ],
)
def test_several_values_without_the_multirun_flag_are_rejected(trimer, capsys, word, hint):
    assert trimer("train", word) == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("model=glob(zzz*)", "model=glob(zzz*) matches no option; there are bart_base, "),
        ("seed=range(5,1)", "seed=range(5,1) has no value, so the sweep would have no job"),
    ],
)
def test_a_sweep_without_jobs_is_an_error(trimer, empty_folder, capsys, word, sentence):
    assert trimer("train", "-m", word) == 2
    assert sentence in capsys.readouterr().err
    assert list(empty_folder.iterdir()) == []
