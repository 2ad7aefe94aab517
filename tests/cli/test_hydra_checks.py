"""The section `hydra` of a config: what Hydra would build or set by itself is checked before it does."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from trimer import building
from trimer.cli.hydra_checks import check_hydra
from trimer.errors import ConfigError

NAMES = "${oc.create:{_target_: os.system, command: 'touch built'}}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("hydra: {callbacks: {x: {_target_: subprocess.run, args: [touch, built]}}}", "hydra.callbacks.x: _target_"),
        ("hydra: {callbacks: {x: {_target_: trimer.callbacks.norms.Norms}}}", "belong in callbacks.<name>"),
        (f'hydra: {{callbacks: {{x: "{NAMES}"}}}}', "hydra.callbacks.x must hold a _target_"),
        ('theirs: {x: {_target_: os.system}}\nhydra: {callbacks: "${theirs}"}', "hydra.callbacks"),
        ('hydra: {callbacks: {x: {_target_: "${name}"}}}', "resolved later"),
        (
            "hydra: {callbacks: {x: {_target_: hydra.experimental.callbacks.LogJobReturnCallback, "
            "y: {_target_: os.system}}}}",
            "hydra.callbacks.x.y",
        ),
        ("hydra: {sweeper: {_target_: os.system}}", "hydra.sweeper._target_"),
        ("hydra: {sweeper: {params: {_target_: os.system}}}", "hydra.sweeper.params._target_"),
        ("hydra: {launcher: {n_jobs: {_target_: os.system}}}", "hydra.launcher.n_jobs._target_"),
        ('theirs: {x: {_target_: os.system}}\nhydra: {sweeper: {params: "${theirs.x}"}}', "hydra.sweeper.params="),
        (f'hydra: {{sweeper: {{params: "{NAMES}"}}}}', "hydra.sweeper.params="),
        ("hydra: {job_logging: {handlers: {file: {class: os.system}}}}", "hydra.job_logging.handlers.file: class"),
        ("hydra: {job_logging: {handlers: {x: {(): os.system}}}}", "hydra.job_logging.handlers.x: ()"),
        ("hydra: {job_logging: {formatters: {x: {(): os.system}}}}", "hydra.job_logging.formatters.x: ()"),
        ("hydra: {job_logging: {filters: {x: {(): os.system}}}}", "hydra.job_logging.filters.x: ()"),
        ("hydra: {job_logging: {handlers: {file: {filename: 'ext://os.environ'}}}}", "ext://os.environ"),
        ("hydra: {job_logging: {handlers: {file: {filename: '${name}'}}}}", "cannot be checked"),
        (f'hydra: {{job_logging: {{handlers: {{x: "{NAMES}"}}}}}}', "written out"),
        ("hydra: {hydra_logging: {handlers: {x: {class: os.system}}}}", "hydra.hydra_logging.handlers.x"),
        ("hydra: {job: {env_set: {TRIMER_PLUGINS: theirs.py}}}", "hydra.job.env_set.TRIMER_PLUGINS"),
        ("hydra: {job: {env_set: {LD_PRELOAD: theirs.so}}}", "hydra.job.env_set.LD_PRELOAD"),
    ],
)
def test_objects_that_hydra_builds_are_checked_by_name(text, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        check_hydra(OmegaConf.merge({"name": "os.system"}, OmegaConf.create(text)))


@pytest.mark.parametrize(
    "text",
    [
        "hydra: {job: {env_set: {OMP_NUM_THREADS: '1'}}}",
        "hydra: {callbacks: {x: {_target_: hydra.experimental.callbacks.LogJobReturnCallback}}}",
        "hydra: {callbacks: {x: {_target_: theirs.Callback, size: 2}}}",
        "hydra: {sweeper: {_target_: hydra_plugins.x.Y, n: '${name}', x: {_target_: optuna.samplers.Y}}}",
    ],
)
def test_callbacks_of_user_packages_and_plugins_of_hydra_are_allowed(monkeypatch, text):
    package = types.ModuleType("theirs")
    exec("__name__ = 'theirs'\nclass Callback:\n    pass\nfrom os import system", package.__dict__)
    monkeypatch.setitem(sys.modules, "theirs", package)
    monkeypatch.setattr(building, "_user_packages", {"theirs"})
    check_hydra(OmegaConf.merge({"name": "mine"}, OmegaConf.create(text)))
    with pytest.raises(ConfigError, match="not on the allow-list: it is defined in posix"):
        check_hydra(OmegaConf.create({"hydra": {"callbacks": {"x": {"_target_": "theirs.system"}}}}))


@pytest.mark.parametrize("group", ["job_logging", "hydra_logging"])
def test_the_logging_of_hydra_is_allowed(group):
    files = sorted((Path(hydra.__file__).parent / "conf" / "hydra" / group).glob("*.yaml"))
    assert files
    for path in files:
        check_hydra(OmegaConf.create({"hydra": {group: OmegaConf.load(path)}}))


def test_a_run_with_a_foreign_callback_builds_nothing(trimer, empty_folder, capsys):
    path = empty_folder / "conf" / "experiment" / "theirs.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("# @package _global_\nhydra: {callbacks: {x: {_target_: subprocess.run, args: [touch, built]}}}\n")
    for words in (["train", "experiment=theirs"], ["train", "-m", "experiment=theirs", "seed=0,1"]):
        assert trimer(*words) == 1
        assert "subprocess.run" in capsys.readouterr().err
        assert not (empty_folder / "built").exists()
        assert not (empty_folder / "runs").exists()
