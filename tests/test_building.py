"""Objects from configs: allowed targets, messages about mistakes, and no code before the check."""

from __future__ import annotations

import functools
import pickle
import re
import sys
import types

import pytest
from omegaconf import OmegaConf

from trimer import building as module
from trimer.building import allow, build, build_all, check
from trimer.cli.configs import compose
from trimer.errors import ConfigError, InputError

ADAMW = {"_target_": "trimer.optim.adamw", "_partial_": True, "lr": 0.5}


@pytest.fixture
def user_package(monkeypatch):
    """A user package, `mine`, with a class, a function and an import of os."""
    package = types.ModuleType("mine")
    code = """
import os
from subprocess import run
calls = []
class Thing:
    def __init__(self, size: int, parts: list | None = None, tool=None):
        calls.append("Thing")
        if size < 0:
            raise InputErrorHere("size must not be negative")
        if size > 99:
            raise ValueError(f"size {size} is too large")
        if size == 99:
            raise KeyError("a bug")
        self.size, self.parts, self.tool = size, parts, tool
    @classmethod
    def small(cls):
        return cls(1)
def double(x: int):
    return 2 * x
"""
    package.InputErrorHere = InputError
    exec(code, package.__dict__)
    monkeypatch.setitem(sys.modules, "mine", package)
    monkeypatch.setattr(module, "_user_packages", set())
    allow("mine")
    return package


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "functools.partial",
        "hydra.utils.get_method",
        "hydra.utils.instantiate",
        "torch.load",
        "torch.hub.load",
        "torch.utils.collect_env.run",
        "torch.jit.load",
        "torch.nn.modules.module.warnings.warn",
        "torch.optim.lr_scheduler.types.FunctionType",
        "torch.nn.functional.relu",
        "torch.nn.init.normal_",
        "lightning.pytorch.cli.LightningCLI",
        "lightning.pytorch.callbacks.os.system",
        "lightning.pytorch.loggers.wandb.os.system",
        "lightning.pytorch.strategies.ddp.torch.load",
        "lightning.pytorch.utilities.model_helpers.is_overridden",
        "lightning.seed_everything",
        "trimer.building.allow",
        "trimer.building.importlib.import_module",
        "trimer.cli.main.main",
        "trimer.run.git",
        "trimer.commands.train.main",
        "trimer.optim.torch.load",
        "trimer.optim.LambdaLR.__init__",
        "trimer.optim._schedule",
        "trimer.data.core.store.os.system",
        "trimer.models.bart.torch.load",
        "numpy.load",
        "pickle.loads",
        "yaml.unsafe_load",
        "trimer",
        "",
        ".trimer.optim.adamw",
        "trimer..optim.adamw",
        None,
        ["os.system"],
    ],
)
@pytest.mark.parametrize("place", ["top", "nested", "list"])
def test_foreign_targets_are_rejected(target, place):
    node = {"_target_": target, "command": "touch /tmp/never"}
    tree = {"top": node, "nested": {**ADAMW, "betas": node}, "list": {**ADAMW, "betas": [0.9, {"a": [node]}]}}[place]
    with pytest.raises(ConfigError):
        build(tree)


def test_the_message_names_key_and_target():
    cfg = OmegaConf.create({"task": {"loss": {"_target_": "os.system"}}})
    with pytest.raises(ConfigError, match=r"task\.loss: _target_: 'os\.system' is not on the allow-list"):
        build(cfg.task)


def test_nothing_is_built_or_imported_before_the_whole_config_is_checked(user_package):
    tree = [{"_target_": "mine.Thing", "size": 1}, {"_target_": "antigravity.fly"}]
    with pytest.raises(ConfigError):
        build(tree)
    assert user_package.calls == []
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "value",
    ["${oc.create:{_target_: os.system}}", "${oc.env:HOME}", "a ${b} c"],
)
def test_values_that_resolve_later_are_rejected(value):
    """Plain values come from a checkpoint; an interpolation in them would be resolved after the check."""
    with pytest.raises(ConfigError, match="resolved later"):
        build({**ADAMW, "eps": value})


def test_a_resolver_that_returns_an_interpolation_is_rejected():
    OmegaConf.register_new_resolver("test.later", lambda: "${oc.create:{_target_: os.system}}", replace=True)
    with pytest.raises(ConfigError, match="resolved later"):
        build(OmegaConf.create({**ADAMW, "eps": "${test.later:}"}))


def test_a_target_from_a_resolver_is_checked():
    cfg = OmegaConf.create({**ADAMW, "betas": "${oc.create:{_target_: os.system}}"})
    with pytest.raises(ConfigError, match=r"os\.system"):
        build(cfg)
    cfg = OmegaConf.create({"name": "os.system", "_target_": "${name}"})
    with pytest.raises(ConfigError, match=r"os\.system"):
        build(cfg)


def test_only_allowed_packages_provide_targets(user_package):
    assert build({"_target_": "mine.Thing", "size": 3}).size == 3
    assert build({"_target_": "mine.double", "x": 3}) == 6
    assert build({"_target_": "mine.Thing.small"}).size == 1
    for borrowed in ("mine.os.system", "mine.run", "mine.os"):
        with pytest.raises(ConfigError):
            build({"_target_": borrowed})
    with pytest.raises(ConfigError):
        allow("mine; import os")
    with pytest.raises(ConfigError):
        build({"_target_": "mineral.Thing"})


def test_invalid_arguments_name_the_key(user_package):
    node = OmegaConf.create({"data": {"_target_": "mine.Thing", "size": 3, "prats": []}}).data
    with pytest.raises(ConfigError, match=r"data\.prats: mine\.Thing has no argument 'prats'; did you mean parts\?"):
        build(node)
    with pytest.raises(ConfigError, match="needs the argument 'size'"):
        build({"_target_": "mine.Thing"})
    with pytest.raises(ConfigError, match=r"learning_rate: trimer\.optim\.adamw has no argument"):
        build({**ADAMW, "learning_rate": 1.0})
    with pytest.raises(ConfigError, match=r"there is no mine\.Thong; did you mean Thing"):
        build({"_target_": "mine.Thong"})
    with pytest.raises(ConfigError, match=r"data\.size has no value: add data\.size="):
        build(OmegaConf.create({"data": {"_target_": "mine.Thing", "size": "???"}}).data)


def test_objects_are_passed_unchanged(user_package):
    import torch

    net = torch.nn.Linear(2, 2)
    built = build({"_target_": "mine.Thing", "size": 3, "parts": [1, {"a": 2}]}, tool=net, size=5)
    assert built.tool is net
    assert built.size == 5
    assert built.parts == [1, {"a": 2}]
    assert type(built.parts) is list
    assert type(built.parts[1]) is dict


def test_errors_of_a_constructor_are_raised_unchanged(user_package):
    for arguments in ({}, {"tool": 1}):
        with pytest.raises(InputError, match="size must not be negative"):
            build({"_target_": "mine.Thing", "size": -1}, **arguments)


@pytest.mark.parametrize("arguments", [{}, {"tool": 1}])
def test_values_that_a_constructor_rejects_name_the_key(user_package, arguments):
    thing = {"_target_": "mine.Thing", "size": 100}
    with pytest.raises(ConfigError, match=r"^data: size 100 is too large") as caught:
        build(OmegaConf.create({"data": thing}).data, **arguments)
    assert isinstance(caught.value.__cause__, ValueError)  # for HYDRA_FULL_ERROR=1
    outer = OmegaConf.create({"data": {"_target_": "mine.Thing", "size": 1, "parts": {"a": thing}}})
    with pytest.raises(ConfigError, match=r"^data\.parts\.a: size 100 is too large"):
        build(outer.data, **arguments)
    with pytest.raises(KeyError, match="a bug"):
        build({**thing, "size": 99}, **arguments)


def test_a_factory_names_the_key_when_it_is_called():
    import torch

    factory = build(OmegaConf.create({"optimizer": {**ADAMW, "lr": -1}}).optimizer)
    with pytest.raises(ConfigError, match=r"^optimizer: Invalid learning rate: -1"):
        factory([torch.nn.Parameter(torch.zeros(2))])
    copy = pickle.loads(pickle.dumps(factory))  # as launchers do
    with pytest.raises(ConfigError, match=r"^optimizer: Invalid learning rate: -1"):
        copy([torch.nn.Parameter(torch.zeros(2))])


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("optimizer.lr", "abc", "optimizer.lr=abc must be a number"),
        ("optimizer.lr", True, "optimizer.lr=True must be a number"),
        ("optimizer.lr", None, "optimizer.lr=None must be a number"),
        ("optimizer.fused", 3, "optimizer.fused=3 must be true or false"),
        ("model.dropout", "abc", "model.dropout=abc must be a number"),
        ("model.d_model", 12.5, "model.d_model=12.5 must be a whole number"),
        ("trainer.max_steps", "abc", "trainer.max_steps=abc must be a whole number"),
        ("trainer.max_epochs", "abc", "trainer.max_epochs=abc must be a whole number or null"),
        ("trainer.accelerator", "tpv", "trainer: You selected an invalid accelerator"),
    ],
)
def test_the_type_of_a_value_is_checked(key, value, sentence):
    cfg = OmegaConf.create(
        {
            "optimizer": ADAMW,
            "model": {"_target_": "trimer.models.bart.Bart"},
            "trainer": {"_target_": "lightning.Trainer", "logger": False},
        }
    )
    OmegaConf.update(cfg, key, value)
    group = key.partition(".")[0]
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}"):
        build(cfg[group], **({"vocab_size": 10} if group == "model" else {}))


def test_values_of_compatible_types_are_accepted(user_package):
    assert build({"_target_": "mine.Thing", "size": 2.0}).size == 2.0
    assert build({**ADAMW, "lr": 1}).keywords["lr"] == 1
    assert build({"_target_": "mine.Thing", "size": 1, "parts": None}).parts is None


def test_partial_targets_build_factories(user_package):
    import torch

    factory = build(OmegaConf.create(ADAMW))
    assert isinstance(factory, functools.partial)
    assert factory.keywords == {"lr": 0.5}
    optimizer = factory([torch.nn.Parameter(torch.zeros(2))])
    assert optimizer.defaults["lr"] == 0.5
    assert build({"_target_": "mine.Thing", "_partial_": True, "size": 1}, tool="t")().tool == "t"


def test_null_is_kept_by_build_and_skipped_by_build_all(user_package):
    cfg = OmegaConf.create({"a": {"_target_": "mine.Thing", "size": 1}, "b": None})
    assert build(None) is None
    assert build_all(None) == []
    assert build(cfg)["b"] is None
    assert [thing.size for thing in build_all(cfg)] == [1]


def test_nested_objects_are_built(user_package):
    inner = {"_target_": "mine.Thing", "size": 1}
    built = build({"_target_": "mine.Thing", "size": 2, "tool": inner, "parts": [inner]})
    assert built.tool.size == 1
    assert built.parts[0].size == 1


def test_checking_builds_nothing(user_package):
    check({"_target_": "mine.Thing", "size": 2})
    assert user_package.calls == []
    with pytest.raises(ConfigError):
        check({"_target_": "mine.Thing", "sice": 2})


def test_a_missing_library_and_a_wrong_path_have_different_messages(user_package, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.pytorch.callbacks.nothing", None)
    with pytest.raises(ConfigError, match=r"there is no lightning\.pytorch\.callbacks\.Nothing"):
        build({"_target_": "lightning.pytorch.callbacks.Nothing"})


@pytest.mark.parametrize("key", ["data.source", "data.cleaning", "data.split", "data.tokenizer"])
def test_null_for_a_required_value_names_the_key(key):
    cfg = compose("train", [f"{key}=null"])
    with pytest.raises(
        ConfigError, match=rf"^{key}=null: trimer.data.modules.spectrum_pairs.SpectraToMolecules needs a value here"
    ):
        check(cfg.data)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"num_worker": 2},
            r"data\.num_worker: .*MaskedSequences has no argument 'num_worker'; did you mean num_workers",
        ),
        ({"num_workers": "two"}, r"data\.num_workers=two must be a whole number"),
        ({"tokens_per_batch": None}, r"data\.tokens_per_batch=None must be a whole number"),
        ({"prepare_workers": "all"}, r"data\.prepare_workers=all must be a whole number or null"),
    ],
)
def test_forwarded_keyword_arguments_are_checked_by_name_and_type(settings, sentence):
    """Keyword arguments described by `**loading: Unpack[Loading]`."""
    cfg = compose("train", ["data=simulated_proteins"])
    node = OmegaConf.to_container(cfg.data, resolve=True)
    check(node, "data")
    with pytest.raises(ConfigError, match=sentence):
        check({**node, **settings}, "data")
    del node["tokens_per_batch"]
    with pytest.raises(ConfigError, match=r"needs the argument 'tokens_per_batch': add data\.tokens_per_batch="):
        check(node, "data")


@pytest.mark.parametrize(
    ("key", "target", "slot"),
    [
        ("data.source", "trimer.loggers.CSV", "logger"),
        ("model", "lightning.pytorch.callbacks.EMAWeightAveraging", "callbacks"),
        ("callbacks.best", "trimer.tasks.masked_lm.MaskedLM", "task"),
        ("logger.csv", "lightning.Trainer", "trainer"),
    ],
)
def test_an_object_in_the_wrong_group_is_rejected_by_name(key, target, slot):
    with pytest.raises(ConfigError, match=f"{key}: {target} is for {slot}, it cannot be used in {key.split('.')[0]}"):
        check({"_target_": target}, key)
