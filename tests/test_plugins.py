"""Python files of the user are loaded only by the command line flag or the environment variable."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import py_compile
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from trimer import building as build_module
from trimer import plugins
from trimer.building import build
from trimer.checkpoint import contract, load
from trimer.errors import CheckpointError, ConfigError
from trimer.plugins import exported, load_plugin, load_plugins, named_plugins, plugins_of
from trimer.run import RunFolder
from trimer.tokenizers.protein import ProteinTokenizer

CODE = """
from pathlib import Path
Path("imported").write_text("yes")

class Thing:
    def __init__(self, size: int = 1):
        self.size = size
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(build_module, "_user_packages", set())
    monkeypatch.delenv("TRIMER_PLUGINS", raising=False)
    monkeypatch.chdir(tmp_path)
    yield
    for name in ("my_thing", "my_bug"):
        sys.modules.pop(name, None)


def plugin(name: str = "my_thing.py", code: str = CODE) -> Path:
    path = Path(name).resolve()
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)
    return path


def test_plugins_are_not_imported_without_the_flag(trimer, empty_folder, capsys):
    plugin()
    assert trimer("train", "model._target_=my_thing.Thing", "+model.size=3") == 0  # a toy, which builds nothing
    with pytest.raises(ConfigError, match=r"'my_thing\.Thing' is not on the allow-list; .* --plugin my_thing\.py"):
        build({"_target_": "my_thing.Thing"})
    assert not Path("imported").exists() and "my_thing" not in sys.modules


def test_the_flag_loads_a_file_and_the_run_keeps_a_copy(trimer, empty_folder):
    path = plugin()
    assert trimer("train", "--plugin", "my_thing.py", "hydra.run.dir=run") == 0
    assert build({"_target_": "my_thing.Thing", "size": 3}).size == 3
    (kept,) = json.loads(Path("run/run.json").read_text())["plugins"]
    assert kept["path"] == str(path) and kept["copy"] == "plugins/my_thing.py" and len(kept["sha256"]) == 64
    assert Path("run/plugins/my_thing.py").read_text() == CODE
    assert "TRIMER_PLUGINS" not in os.environ


def test_the_environment_variable_loads_files(monkeypatch, trimer, empty_folder):
    plugin()
    monkeypatch.setenv("TRIMER_PLUGINS", "my_thing.py")
    assert trimer("train") == 0 and Path("imported").exists()


def test_config_keys_cannot_load_a_file(trimer, empty_folder, capsys):
    plugin()
    assert trimer("train", "plugin=my_thing.py") == 2
    assert not Path("imported").exists()


def test_a_resumed_run_needs_the_flag_again(trimer, empty_folder, capsys):
    plugin()
    assert trimer("train", "--plugin", "my_thing.py", "hydra.run.dir=run") == 0
    assert trimer("train", "resume=run") == 1
    message = capsys.readouterr().err
    assert "resume=run used a plug-in: pass it again, --plugin" in message and "run/plugins/my_thing.py" in message
    plugin(code=CODE + "\nversion = 2\n")
    plugins._loaded.clear()
    sys.modules.pop("my_thing")
    assert trimer("train", "resume=run", "--plugin", "my_thing.py") == 0
    (resumed,) = json.loads(Path("run/run.json").read_text())["resumed"]
    assert (
        resumed["plugins"][0]["copy"].startswith("plugins/my_thing.") and len(list(Path("run/plugins").iterdir())) == 2
    )


def test_child_processes_load_the_same_files():
    plugin()
    with exported(["my_thing.py"]):
        assert os.environ["TRIMER_PLUGINS"] == str(Path("my_thing.py").resolve())
        load_plugins()
    assert "my_thing" in sys.modules and "TRIMER_PLUGINS" not in os.environ


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("my_bug.py", "x = 1\nraise KeyError('here')\n", r"my_bug\.py line 2: KeyError: 'here'"),
        ("my_bug.py", "def broken(:\n", r"my_bug\.py line 1: SyntaxError"),
        ("numpy.py", "", "Python already has a module 'numpy': rename the file"),
        ("json.py", "", "Python already has a module 'json': rename the file"),
    ],
)
def test_files_that_cannot_be_loaded_give_one_sentence(name, code, message):
    path = plugin(name, code)
    with pytest.raises(ConfigError, match=message):
        load_plugin(path)
    assert "my_bug" not in sys.modules


def test_two_files_with_the_same_name_are_rejected():
    load_plugin(plugin())
    assert load_plugin(plugin()).module == "my_thing"  # the same file again
    with pytest.raises(ConfigError, match="another plug-in of this name is loaded"):
        load_plugin(plugin("other/my_thing.py"))


def test_an_edited_file_is_loaded_again():
    load_plugin(plugin())
    allowed = {"_target_": "my_thing.Thing"}
    old = build(allowed)
    code = "class Thing:\n    version = 2\n"
    assert load_plugin(plugin(code=code)).content == code.encode()
    assert build(allowed).version == 2 and not hasattr(sys.modules["my_thing"], "Path")
    assert not hasattr(old, "version") and old.size == 1


def test_an_edit_with_an_error_keeps_the_loaded_module():
    path = plugin()
    loaded = load_plugin(path)
    plugin(code="class Thing:\n    size = 2\n\nmissing\n")
    with pytest.raises(ConfigError, match=r"my_thing\.py line 4: NameError"):
        load_plugin(path)
    assert build({"_target_": "my_thing.Thing"}).size == 1 and plugins._loaded == {"my_thing": loaded}
    module = sys.modules["my_thing"]
    plugin()
    assert load_plugin(path) == loaded and sys.modules["my_thing"] is module  # the content that is loaded


def test_the_kept_copy_is_the_code_that_ran(tmp_path):
    path = plugin()
    load_plugin(path)
    path.write_text("changed = True\n")
    (kept,) = plugins.keep_copies(tmp_path / "run")
    copy = tmp_path / "run" / kept["copy"]
    assert copy.read_text() == CODE and hashlib.sha256(copy.read_bytes()).hexdigest() == kept["sha256"]


def test_stale_byte_code_does_not_run():
    """Python trusts a .pyc if size and time of the source agree, which an edit within a second can leave unchanged."""
    path = plugin(code="value = 1\n")
    compiled = Path(py_compile.compile(str(path), doraise=True))
    before = path.stat()
    plugin(code="value = 2\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    load_plugin(path)
    assert compiled.is_file() and sys.modules["my_thing"].value == 2


def test_the_code_runs_without_the_future_statements_of_the_loader():
    load_plugin(plugin(code="class Thing:\n    size: int = 1\n"))
    assert sys.modules["my_thing"].Thing.__annotations__ == {"size": int}


@pytest.mark.parametrize("name", ["missing.py", "my_thing.txt", "my-thing.py"])
def test_paths_that_are_not_python_files_are_rejected(name):
    plugin("my_thing.txt"), plugin("my-thing.py")
    with pytest.raises(ConfigError, match="give an existing Python file"):
        named_plugins([name])


def test_a_checkpoint_names_the_plugin_it_needs(caplog):
    import torch

    code = "from trimer.models.esm2 import Esm2\n\nclass Mine(Esm2):\n    pass\n"
    path = plugin(code=code)
    load_plugin(path)
    model = {"_target_": "my_thing.Mine", "d_model": 16, "layers": 1, "heads": 2}
    task = {"_target_": "trimer.tasks.masked_lm.MaskedLM"}
    tokenizer = ProteinTokenizer()
    described = contract({"model": model, "task": task, "data": {}}, tokenizer)
    assert [entry["file"] for entry in described["plugins"]] == ["my_thing.py"]
    state = {f"net.{name}": value for name, value in build(model, vocab_size=33).state_dict().items()}
    torch.save({"trimer": described, "state_dict": state}, "a.ckpt")
    assert type(load("a.ckpt").net).__name__ == "Mine"
    plugins._loaded.clear()
    with pytest.raises(
        CheckpointError, match=r"a\.ckpt needs the plug-in my_thing\.py: if you trust it, pass --plugin"
    ):
        load("a.ckpt")
    plugin(code=code + "\n")
    sys.modules.pop("my_thing")
    load_plugin(path)
    with caplog.at_level(logging.WARNING):
        load("a.ckpt")
    assert "has changed since the training of a.ckpt" in caplog.text


def test_a_checkpoint_names_only_the_plugins_it_uses():
    load_plugin(plugin())
    assert plugins_of({"task": {"metrics": [{"_target_": "trimer.models.esm2.Esm2"}]}}) == []
    assert len(plugins_of({"data": {"source": {"_target_": "my_thing.Thing"}}})) == 1


def test_a_package_with_an_entry_point_needs_no_flag(monkeypatch):
    info = Path("my_thing-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_thing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[trimer]\nmy_thing = my_thing\n")
    plugin()
    monkeypatch.syspath_prepend(str(Path.cwd()))
    build_module._declared_packages.cache_clear()
    try:
        assert build({"_target_": "my_thing.Thing"}).size == 1
    finally:
        build_module._declared_packages.cache_clear()


def test_runs_without_plugins_have_no_plugin_entry(tmp_path):
    run = RunFolder(tmp_path / "run").start(OmegaConf.create({"seed": 0}), overrides=[])
    assert "plugins" not in run.record and not (run.path / "plugins").exists()
    run.finish({})
