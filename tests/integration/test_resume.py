"""A run that is stopped and resumed ends with the weights of the uninterrupted run, bit for bit on the CPU."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import lightning as L
import pytest
import torch
from tiny_trainings import tiny_bart

from trimer.cli.main import main
from trimer.run import RunFolder
from trimer.simulate.simulated_molecules import simulated_molecules

SMALL = [
    *tiny_bart(32, 64)[:-1],
    "data.source.molecules=60",
    "data.cleaning.duplicates=null",
    "model.dropout=0.2",
    "data.noise={_target_: trimer.data.core.noise.Corruption}",
    "trainer.enable_progress_bar=false",
    "test=false",
    "trainer.limit_val_batches=1",
    "trainer.log_every_n_steps=1",
]


def train(folder, *overrides: str) -> None:
    resumed = any(word.startswith("resume=") for word in overrides)
    assert main(["train", *([] if resumed else SMALL), f"hydra.run.dir={folder}", *overrides]) == 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """words -> folder of the run with these words that nothing has stopped; trained on first use."""
    folders: dict[tuple[str, ...], Path] = {}

    def trained(*words: str) -> Path:
        if words not in folders:
            folder = tmp_path_factory.mktemp("uninterrupted") / "run"
            assert main(["train", *words, f"hydra.run.dir={folder}"]) == 0
            folders[words] = folder
        return folders[words]

    return trained


def state(folder) -> dict:
    return torch.load(folder / "checkpoints/last.ckpt", weights_only=True)


def batches_per_epoch(folder) -> int:
    checkpoint = state(folder)
    return checkpoint["global_step"]


@pytest.mark.parametrize(
    ("stop", "settings"),
    [
        pytest.param(3, [], id="middle of an epoch"),
        pytest.param(7, ["trainer.val_check_interval=7"], id="right at a validation"),
        pytest.param(4, ["trainer.accumulate_grad_batches=2"], id="with accumulation"),
        pytest.param(5, ["data.num_workers=2"], id="with two workers"),
        pytest.param(3, ["trainer.limit_train_batches=3", "trainer.val_check_interval=3"], id="end of an epoch"),
        pytest.param(4, ["trainer.limit_train_batches=3", "trainer.val_check_interval=100"], id="after an epoch"),
    ],
)
def test_resumed_run_equals_uninterrupted_run(tmp_path, stop, settings):
    steps = 9
    schedule = [f"scheduler.total_steps={steps}", "callbacks.last.every_n_train_steps=1", *settings]
    train(tmp_path / "whole", f"trainer.max_steps={steps}", *schedule)
    train(tmp_path / "parts", f"trainer.max_steps={stop}", *schedule)
    assert state(tmp_path / "parts")["global_step"] == stop
    train(tmp_path / "parts", f"resume={tmp_path / 'parts'}", f"trainer.max_steps={steps}")
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert parts["global_step"] == whole["global_step"] == steps
    assert parts["work"] == whole["work"]
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(parts["state_dict"][name], tensor), name


PROTEINS = [
    "data=simulated_proteins",
    "data.source.proteins=200",
    "data.sampling=clusters",
    "data.masking.end_ratio=0.3",
    "data.masking.total_steps=9",
    "data.tokens_per_batch=800",
    "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}",
    "model=esm2_nano",
    "task=masked_lm",
    "callbacks=ema",
]


@pytest.mark.parametrize(
    ("stop", "settings"),
    [
        pytest.param(4, [], id="middle of an epoch"),
        pytest.param(5, ["trainer.accumulate_grad_batches=2", "data.num_workers=2"], id="accumulation and workers"),
        pytest.param(4, ["trainer.limit_train_batches=3", "trainer.val_check_interval=100"], id="after an epoch"),
    ],
)
def test_a_resumed_masked_language_model_equals_the_uninterrupted_one(tmp_path, stop, settings):
    """With clusters sampled in every epoch, a mask ratio that changes with the steps, and averaged weights."""
    common = [*PROTEINS, *SMALL[-4:], "scheduler.total_steps=9", "callbacks.last.every_n_train_steps=1", *settings]

    def run(folder, *words: str) -> None:
        assert main(["train", *common, f"hydra.run.dir={folder}", *words]) == 0

    run(tmp_path / "whole", "trainer.max_steps=9")
    run(tmp_path / "parts", f"trainer.max_steps={stop}")
    run(tmp_path / "parts", f"resume={tmp_path / 'parts'}", "trainer.max_steps=9")
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert parts["global_step"] == whole["global_step"] == 9
    assert parts["work"] == whole["work"]
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")
    for part in ("state_dict", "current_model_state"):
        for name, tensor in whole[part].items():
            assert torch.equal(parts[part][name], tensor), (part, name)
    assert any(not torch.equal(whole["current_model_state"][n], t) for n, t in whole["state_dict"].items())


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Command line arguments of a classification of molecules from a small table."""
    path = tmp_path_factory.mktemp("labelled") / "my.csv"
    rows = [f"{smiles},{'ab'[smiles.count('O') > 1]}" for smiles in simulated_molecules(80, seed=3)]
    path.write_text("\n".join(["smiles,y", *rows]) + "\n")
    return [
        "data=labelled_molecules", f"data.source.paths={path}", "data.source.labels=y", "data.target=single",
        "data.tokens_per_batch=200", "model=roberta_nano", "model.dropout=0.2", "task=classification",
        "task.head.pooling=attention", "task.head.dropout=0.2", "task.class_weights=balanced", "task.layer_decay=0.8",
        "scheduler.total_steps=9", "callbacks.last.every_n_train_steps=1", *SMALL[-4:],
    ]  # fmt: skip


LORA = "task.lora={rank: 2, dropout: 0.3, targets: [query_key_value, up]}"
LABELS = [
    pytest.param(4, [LORA, "trainer.accumulate_grad_batches=2"], id="adapters with dropout, and accumulation"),
    pytest.param(5, ["task.freeze=1", "trainer.val_check_interval=5", "optimizer=muon"], id="frozen blocks and muon"),
    pytest.param(4, ["trainer.limit_train_batches=3", "trainer.val_check_interval=100"], id="after an epoch"),
]


@pytest.mark.parametrize(("stop", "settings"), LABELS)
def test_a_resumed_classification_equals_the_uninterrupted_one(tmp_path, labelled, stop, settings):
    common = [*labelled, *settings]

    def run(folder, *words: str) -> None:
        assert main(["train", *common, f"hydra.run.dir={folder}", *words]) == 0

    run(tmp_path / "whole", "trainer.max_steps=9")
    run(tmp_path / "parts", f"trainer.max_steps={stop}")
    run(tmp_path / "parts", f"resume={tmp_path / 'parts'}", "trainer.max_steps=9")
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert parts["global_step"] == whole["global_step"] == 9
    assert parts["trimer"]["labels"] == whole["trimer"]["labels"] == {"target": "single", "classes": ["a", "b"]}
    assert any(".lora_" in name for name in whole["state_dict"]) == (LORA in settings)
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(parts["state_dict"][name], tensor), name


def test_an_interrupted_classification_keeps_its_completed_steps(tmp_path, labelled, monkeypatch):
    common = [*labelled, LORA, "trainer.max_steps=9", "trainer.accumulate_grad_batches=2"]
    common[common.index("callbacks.last.every_n_train_steps=1")] = "callbacks.last.every_n_train_steps=500"
    assert main(["train", *common, f"hydra.run.dir={tmp_path / 'whole'}"]) == 0

    def ask(self, trainer, module, outputs, batch, batch_idx) -> None:
        if batch_idx == 4:
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr("trimer.callbacks.host_memory.HostMemory.on_train_batch_end", ask)
        assert main(["train", *common, f"hydra.run.dir={tmp_path / 'parts'}"]) == 143
    signal.signal(signal.SIGINT, before)
    assert state(tmp_path / "parts")["global_step"] == 3  # the current step is finished
    assert main(["train", f"resume={tmp_path / 'parts'}", f"hydra.run.dir={tmp_path / 'parts'}"]) == 0
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert parts["global_step"] == 9
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(parts["state_dict"][name], tensor), name


def test_a_used_folder_and_changed_settings_are_rejected_and_the_result_is_kept(tmp_path, capsys):
    folder = tmp_path / "run"
    train(folder, "trainer.max_steps=2")
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    common = ["train", *SMALL, f"hydra.run.dir={folder}", "trainer.max_steps=4"]
    for words, sentence in (
        ([], "already holds a run"),
        ([f"resume={folder}", "data.split.seed=7"], "data.split.seed (0, now 7)"),
        ([f"resume={folder}", "model.d_model=64"], "model.d_model (32, now 64)"),
        ([f"resume={folder}", "optimizer.lr=0.5"], "optimizer.lr (0.001, now 0.5)"),
    ):
        RunFolder._started_here.clear()  # what follows is another process
        capsys.readouterr()
        assert main([*common, *words]) == 1
        error_lines = capsys.readouterr().err.strip().splitlines()
        assert sentence in error_lines[-1] and not any("Traceback" in line for line in error_lines)
        assert before == {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file in before}
    train(folder, f"resume={folder}", "trainer.max_steps=4")
    assert state(folder)["global_step"] == 4
    assert RunFolder(folder).record["resumed"][0]["changes"]["trainer.max_steps"] == {"from": 2, "to": 4}


def test_resuming_a_finished_run_changes_nothing(tmp_path, capsys):
    folder = tmp_path / "run"
    train(folder, "trainer.max_steps=2", "objective=val/loss", "trainer.val_check_interval=2")
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    for words in ([], ["trainer.max_steps=1"], ["logger=null"]):
        assert main(["train", *SMALL, f"resume={folder}", f"hydra.run.dir={folder}", *words]) == 0
        heard = " ".join("".join(capsys.readouterr()).split())
        assert "has ended; to continue it, increase trainer.max_steps" in heard
        after = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != "trimer.log"}
        assert after == {file: content for file, content in before.items() if file.name != "trimer.log"}


def test_a_run_without_a_checkpoint_is_rejected(tmp_path, capsys, monkeypatch):
    def die(self, trainer, *args) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("trimer.callbacks.host_memory.HostMemory.on_train_batch_end", die)
        assert main(["train", *SMALL, f"hydra.run.dir={tmp_path / 'run'}", "trainer.max_steps=2"]) == 1
    capsys.readouterr()
    assert main(["train", f"resume={tmp_path / 'run'}"]) == 1
    assert "this run has no checkpoint, because it ended before it wrote the first one" in capsys.readouterr().err
    (tmp_path / "run" / "checkpoints").mkdir(exist_ok=True)
    (tmp_path / "run" / "checkpoints" / "best.ckpt").touch()
    assert main(["train", f"resume={tmp_path / 'run'}"]) == 1
    assert "its best weights can start a new run (ckpt=" in capsys.readouterr().err
    (tmp_path / "run" / "metrics.csv").write_text("epoch,step,train/loss\n0,0,9.0\n")
    again = ["train", *SMALL, f"hydra.run.dir={tmp_path / 'run'}", "trainer.max_steps=2", "resume=auto"]
    for _ in range(2):  # starts anew, since nothing was saved; then it has ended
        assert main(again) == 0
        assert state(tmp_path / "run")["global_step"] == 2 and "resumed" not in RunFolder(tmp_path / "run").record
        assert len([row for row in metrics(tmp_path / "run") if "train/loss" in row]) == 2  # none of the first attempt


def test_changed_data_are_rejected(tmp_path, labelled, capsys):
    """Other labels of the same molecules with the same split are rejected."""
    folder, table = tmp_path / "run", tmp_path / "my.csv"
    path = next(word for word in labelled if word.startswith("data.source.paths=")).partition("=")[2]
    table.write_text(Path(path).read_text())
    words = [word for word in labelled if not word.startswith("data.source.paths=")]
    assert main(["train", *words, f"data.source.paths={table}", "trainer.max_steps=2", f"hydra.run.dir={folder}"]) == 0
    (tmp_path / "elsewhere").mkdir()
    moved = table.rename(tmp_path / "elsewhere" / table.name)  # the name of the file is in the ids of its records
    more = ["train", f"resume={folder}", f"data.source.paths={moved}"]
    assert main([*more, "trainer.max_steps=3"]) == 0  # a file may move
    rows = moved.read_text().splitlines()
    moved.write_text("\n".join([*rows[:-1], rows[-1][:-1] + {"a": "b", "b": "a"}[rows[-1][-1]]]) + "\n")
    capsys.readouterr()
    assert main([*more, "trainer.max_steps=4"]) == 1
    assert "the source of the data has changed since this run was started" in capsys.readouterr().err
    assert state(folder)["global_step"] == 3


@pytest.mark.parametrize("settings", [["callbacks.last.every_n_train_steps=1"], []], ids=["an earlier one", "none"])
def test_a_full_disk_error_names_the_last_complete_checkpoint(tmp_path, settings):
    """The file size is limited to less than a checkpoint, or to the size of the first checkpoint."""
    script = """
        import resource, sys
        from trimer.callbacks import checkpoints
        from trimer.cli.main import main
        write = checkpoints.WholeFiles.save_checkpoint
        def limited(self, checkpoint, path, storage_options=None):
            if not checkpoints.Path(path).exists() and "every" in sys.argv[-1]:
                return write(self, checkpoint, path)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            write(self, checkpoint, path)
        checkpoints.WholeFiles.save_checkpoint = limited
        sys.exit(main(sys.argv[1:]))
    """
    folder = tmp_path / "run"
    words = ["train", *SMALL, f"hydra.run.dir={folder}", "trainer.max_steps=3", *settings]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    last_line = done.stderr.splitlines()[-1]
    assert f"the disk is full: {folder}/checkpoints/last.ckpt could not be written" in last_line
    assert "Traceback" not in done.stderr
    kept = f"Free some space, then continue with resume={folder} from last.ckpt, which was written at 20"
    anew = "Free some space, then train again: no checkpoint that a training can continue from was written before"
    assert (kept if settings else anew) in last_line
    assert "disk is full" in json.loads((folder / "result.json").read_text())["error"]
    assert [path.name for path in folder.glob("checkpoints/*")] == (["last.ckpt"] if settings else [])
    assert not settings or state(folder)["global_step"] == 1


def test_a_run_folder_deleted_during_training_gives_one_sentence(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "run"

    def delete(self, trainer, *args) -> None:
        if trainer.global_step == 2:
            shutil.rmtree(folder)

    monkeypatch.setattr("trimer.callbacks.host_memory.HostMemory.on_train_batch_end", delete)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    settings = ["trainer.max_steps=3", "callbacks.last.every_n_train_steps=1"]
    assert main(["train", *SMALL, f"hydra.run.dir={folder}", *settings]) == 1
    stderr = capsys.readouterr().err
    assert f"the run folder {folder} was deleted or moved during the run" in stderr.splitlines()[-1]
    assert f"result.json could not be written; it is {tmp_path}/trimer-run-result.json" in stderr
    assert "Traceback" not in stderr
    assert json.loads((tmp_path / "trimer-run-result.json").read_text())["status"] == "failed"


@pytest.mark.slow
def test_a_preempted_run_continues_by_the_same_command_in_the_same_folder(tmp_path):
    """A queue warns with SIGUSR1 and later runs the same command again; nothing of SLURM is needed."""
    folder = tmp_path / "run"
    words = ["train", *SMALL, "resume=auto", f"hydra.run.dir={folder}", "trainer.val_check_interval=5"]
    command = [sys.executable, "-m", "trimer", *words, "trainer.max_steps=100000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    best = folder / "checkpoints" / "best.ckpt"
    for _ in range(1200):
        if best.exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGUSR1)
    error_text = process.communicate(timeout=120)[1]
    assert process.returncode == 143 and "stopped by SIGTERM" in error_text
    assert json.loads((folder / "result.json").read_text())["error"] == "stopped by SIGTERM"
    stopped, record = state(folder)["global_step"], RunFolder(folder).record
    assert main([*words, f"trainer.max_steps={stopped + 2}"]) == 0
    assert state(folder)["global_step"] == stopped + 2
    again = RunFolder(folder).record
    assert again["id"] == record["id"] and len(again["resumed"]) == 1  # the id is that of the W&B run
    steps = [int(row["step"]) for row in metrics(folder) if "train/loss" in row]
    assert steps == list(range(1, stopped + 3)) or steps == list(range(stopped + 2))


@pytest.mark.parametrize(
    ("number", "settings", "stop"),
    [
        (signal.SIGINT, ["trainer.val_check_interval=100"], 5),
        (signal.SIGTERM, ["trainer.val_check_interval=100"], 5),
        (signal.SIGINT, ["trainer.val_check_interval=5"], 5),  # the resumed run starts with the validation
        (signal.SIGHUP, ["trainer.val_check_interval=5"], 5),
        (signal.SIGINT, ["trainer.accumulate_grad_batches=3", "trainer.val_check_interval=100"], 2),
        (signal.SIGUSR1, ["trainer.accumulate_grad_batches=2", "trainer.val_check_interval=100"], 3),
        (signal.SIGINT, ["data.num_workers=1"], 5),
    ],
)
def test_an_interrupted_run_keeps_its_completed_steps(tmp_path, uninterrupted, monkeypatch, number, settings, stop):
    common = ["trainer.max_steps=9", *settings]
    complete = uninterrupted(*SMALL, *common)

    def ask(self, trainer, module, outputs, batch, batch_idx) -> None:
        if batch_idx == 4:
            signal.raise_signal(number)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        patch.setattr("trimer.callbacks.host_memory.HostMemory.on_train_batch_end", ask)
        words = ["train", *SMALL, f"hydra.run.dir={tmp_path / 'parts'}", *common]
        assert main(words) == {signal.SIGINT: 130}.get(number, 143)
    signal.signal(signal.SIGINT, before)  # Lightning leaves the signal ignored because the process is about to end
    assert state(tmp_path / "parts")["global_step"] == stop
    train(tmp_path / "parts", f"resume={tmp_path / 'parts'}")
    assert metrics(tmp_path / "parts") == metrics(complete)
    whole, parts = state(complete), state(tmp_path / "parts")
    assert parts["global_step"] == 9
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(parts["state_dict"][name], tensor), name


def metrics(folder) -> list[dict]:
    """The logged metrics of each step, without those that depend on time."""
    with open(folder / "metrics.csv", newline="") as file:
        rows = [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
    clock = ("tokens_per_second", "residues_per_second")
    return [{name: value for name, value in row.items() if name not in clock} for row in rows]


def test_a_kill_after_a_validation_keeps_its_metrics_and_the_best_checkpoint(tmp_path, monkeypatch):
    settings = ["trainer.val_check_interval=3", "trainer.max_steps=9", "callbacks.last.every_n_train_steps=3"]
    settings += ["callbacks.best.mode=max", "trainer.log_every_n_steps=2"]  # the first loss is the highest
    train(tmp_path / "whole", *settings)

    def die(self, trainer, *args) -> None:
        if trainer.global_step == 5:
            raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("trimer.callbacks.host_memory.HostMemory.on_train_batch_end", die)
        assert main(["train", *SMALL, f"hydra.run.dir={tmp_path / 'parts'}", *settings]) == 1
    train(tmp_path / "parts", f"resume={tmp_path / 'parts'}")
    for file in ("best.ckpt", "last.ckpt"):
        whole = torch.load(tmp_path / "whole" / "checkpoints" / file, weights_only=True)
        parts = torch.load(tmp_path / "parts" / "checkpoints" / file, weights_only=True)
        assert whole["global_step"] == parts["global_step"]
        for name, tensor in whole["state_dict"].items():
            assert torch.equal(parts["state_dict"][name], tensor), (file, name)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")


def test_a_second_kill_within_an_accumulated_step_changes_nothing(tmp_path, monkeypatch):
    """Both kills come after the first of three batches of a step, whose gradients are in no checkpoint."""
    settings = ["trainer.max_steps=5", "trainer.accumulate_grad_batches=3", "trainer.val_check_interval=4"]
    settings += ["callbacks.last.every_n_train_steps=1", "trainer.log_every_n_steps=2"]
    train(tmp_path / "whole", *settings)

    def die(self, trainer, module, *args) -> None:
        if trainer.fit_loop.total_batch_idx == 7:
            raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("trimer.callbacks.host_memory.HostMemory.on_train_batch_start", die, raising=False)
        assert main(["train", *SMALL, f"hydra.run.dir={tmp_path / 'parts'}", *settings]) == 1
        assert main(["train", f"resume={tmp_path / 'parts'}", f"hydra.run.dir={tmp_path / 'parts'}"]) == 1
    progress = state(tmp_path / "parts")["loops"]["fit_loop"]["epoch_loop.batch_progress"]
    assert progress["total"]["completed"] == 6
    train(tmp_path / "parts", f"resume={tmp_path / 'parts'}")
    same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_resumed_finished_run_is_unchanged(tmp_path):
    train(tmp_path, "trainer.max_steps=3", "trainer.val_check_interval=2")
    before, logged = state(tmp_path), (tmp_path / "metrics.csv").read_text()
    result = json.loads((tmp_path / "result.json").read_text())
    for _ in range(2):
        train(tmp_path, f"resume={tmp_path}")
    after, again = state(tmp_path), json.loads((tmp_path / "result.json").read_text())
    assert (tmp_path / "metrics.csv").read_text() == logged
    assert after["epoch"] == before["epoch"] and after["loops"]["fit_loop"] == before["loops"]["fit_loop"]
    assert again["metrics"].pop("tokens_per_second") > 0 and result["metrics"].pop("tokens_per_second") > 0
    assert again["metrics"] == result["metrics"] and again["real_tokens"] == result["real_tokens"]


def test_a_stop_request_waits_for_the_end_of_an_accumulated_step(tmp_path, monkeypatch):
    steps = ["trainer.max_steps=6", "trainer.accumulate_grad_batches=3", "trainer.val_check_interval=100"]
    train(tmp_path / "whole", *steps)

    def stop(self, trainer, module, outputs, batch, batch_idx) -> None:
        trainer.should_stop = trainer.should_stop or batch_idx == 4

    with monkeypatch.context() as patch:
        patch.setattr(L.Callback, "on_train_batch_end", stop)
        train(tmp_path / "parts", *steps)
    assert state(tmp_path / "parts")["global_step"] == 2
    train(tmp_path / "parts", f"resume={tmp_path / 'parts'}")
    whole, parts = state(tmp_path / "whole"), state(tmp_path / "parts")
    assert parts["global_step"] == 6
    for name, tensor in whole["state_dict"].items():
        assert torch.equal(parts["state_dict"][name], tensor), name


def test_a_plateau_schedule_resumes_its_state(tmp_path):
    """The schedule receives the validation metric before the checkpoint of the same step is written."""
    common = ["trainer.max_steps=12", "trainer.val_check_interval=2", "callbacks.last.every_n_train_steps=1"]
    common += ["scheduler=warmup_plateau", "scheduler.warmup=2", "scheduler.patience=0", "scheduler.mode=max"]
    train(tmp_path / "whole", *common)
    train(tmp_path / "parts", *common, "trainer.max_steps=6")
    train(tmp_path / "parts", f"resume={tmp_path / 'parts'}", "trainer.max_steps=12")
    rates = [float(row["lr"]) for row in metrics(tmp_path / "whole") if "lr" in row]
    assert len(set(rates)) > 4, "the rate rises, and falls because the loss does not rise"
    assert [float(row["lr"]) for row in metrics(tmp_path / "parts") if "lr" in row] == rates
    for name, tensor in state(tmp_path / "whole")["state_dict"].items():
        assert torch.equal(state(tmp_path / "parts")["state_dict"][name], tensor), name


@pytest.fixture(scope="module")
def in_epochs(labelled):
    """The same for four epochs, with a schedule that monitors the training loss and is soon reduced."""
    words = [word for word in labelled if not word.startswith(("scheduler", "callbacks.last"))]
    words += ["trainer=epochs", "trainer.max_epochs=4", "scheduler=warmup_plateau", "scheduler.interval=epoch"]
    words += ["scheduler.warmup=2", "scheduler.patience=0", "scheduler.monitor=train/loss_epoch", "scheduler.mode=max"]
    return [*words, "callbacks.last.every_n_train_steps=1", "trainer.limit_train_batches=4"]


@pytest.mark.parametrize(
    ("batch", "settings"),
    [
        pytest.param(5, [], id="middle of an epoch"),
        pytest.param(7, [], id="end of an epoch"),
        pytest.param(8, [], id="first step of an epoch"),
        pytest.param(7, ["trainer.check_val_every_n_epoch=4"], id="end of an epoch that is not validated"),
        pytest.param(6, ["trainer.accumulate_grad_batches=2", "data.num_workers=1"], id="accumulation"),
    ],
)
@pytest.mark.parametrize("how", ["asked", "killed"])
def test_a_run_measured_in_epochs_resumes_exactly(
    tmp_path, in_epochs, uninterrupted, batch, settings, how, monkeypatch
):
    def run(folder, *words: str) -> int:
        return main(["train", *in_epochs, *settings, f"hydra.run.dir={folder}", *words])

    complete = uninterrupted(*in_epochs, *settings)

    def stop(self, trainer, module, *args) -> None:
        if trainer.fit_loop.total_batch_idx == batch:
            if how == "killed":
                raise RuntimeError("killed")
            signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGINT)
    hook = "on_train_batch_end" if how == "asked" else "on_train_batch_start"
    with monkeypatch.context() as patch:
        patch.setattr(f"trimer.callbacks.host_memory.HostMemory.{hook}", stop, raising=False)
        assert run(tmp_path / "parts") != 0
    signal.signal(signal.SIGINT, before)
    assert run(tmp_path / "parts", f"resume={tmp_path / 'parts'}") == 0
    same_run(complete, tmp_path / "parts")


def same_run(one, other) -> None:
    """Compare weights, optimizer, schedule and logged metrics, except those that depend on time."""
    whole, parts = state(one), state(other)
    assert whole["global_step"] == parts["global_step"] and whole["epoch"] == parts["epoch"]
    for name in ("work", "epoch_sums", "lr_schedulers"):
        assert whole[name] == parts[name], name
    for file in ("best.ckpt", "last.ckpt"):
        states = [torch.load(path / "checkpoints" / file, weights_only=True)["state_dict"] for path in (one, other)]
        assert all(torch.equal(states[0][name], tensor) for name, tensor in states[1].items())
    assert metrics(one) == metrics(other)


def test_a_finished_run_can_be_extended_by_more_epochs(tmp_path, in_epochs):
    for every in (1, 500):  # the last checkpoint was written at a validation or at the end
        common = [*in_epochs[:-2], f"callbacks.last.every_n_train_steps={every}"]
        whole, parts = tmp_path / f"whole{every}", tmp_path / f"parts{every}"
        assert main(["train", *common, f"hydra.run.dir={whole}"]) == 0
        assert main(["train", *common, "trainer.max_epochs=2", f"hydra.run.dir={parts}"]) == 0
        assert json.loads((parts / "result.json").read_text())["steps"] * 2 == state(whole)["global_step"]
        assert main(["train", f"resume={parts}", f"hydra.run.dir={parts}", "trainer.max_epochs=4"]) == 0
        same_run(whole, parts)


def test_the_number_of_epochs_is_exact(tmp_path, in_epochs):
    words = ["trainer.max_epochs=7", "trainer.limit_train_batches=1", "data.tokens_per_batch=2000"]
    assert main(["train", *in_epochs, *words, f"hydra.run.dir={tmp_path}"]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["steps"] == 7 and "train/loss_epoch" in result["metrics"]
    assert [row["epoch"] for row in metrics(tmp_path) if "val/loss" in row] == list("0123456")
    assert [row["epoch"] for row in metrics(tmp_path) if "train/loss_epoch" in row] == list("0123456")
    assert main(["train", *in_epochs, "scheduler.warmup=5", f"hydra.run.dir={tmp_path / 'long'}"]) == 1
    assert "more than trainer.max_epochs=4" in json.loads((tmp_path / "long" / "result.json").read_text())["error"]
