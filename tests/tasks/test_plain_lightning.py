"""Every task works in a plain `lightning.Trainer`, built in Python, without Hydra and without a run folder."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassF1Score
from torchmetrics.regression import MeanAbsoluteError

from trimer.checkpoint import load
from trimer.data.core.masking import Masking
from trimer.data.core.noise import Corruption
from trimer.data.labelled.label_files import LabelledFiles
from trimer.data.modules.denoising import DenoisingCorpus
from trimer.data.modules.fragment_data import PeptideFragments
from trimer.data.modules.labelled_data import LabelledSequences
from trimer.data.modules.masked_sequences import MaskedSequences
from trimer.data.modules.spectrum_pairs import SpectraToMolecules
from trimer.data.spectra.cleaning import Structure
from trimer.errors import CheckpointError, ConfigError
from trimer.generation.molecule_generator import MoleculeGenerator
from trimer.models.bart import Bart
from trimer.models.esm2 import Esm2
from trimer.models.peptide_encoder import PeptideEncoder
from trimer.optim import adamw, warmup_linear
from trimer.simulate.simulated_peptides import SimulatedFragments
from trimer.simulate.simulated_proteins import SimulatedProteins
from trimer.simulate.simulated_spectra import SimulatedSpectra
from trimer.tasks.classification import Classification
from trimer.tasks.fragments import FragmentIntensities
from trimer.tasks.masked_lm import MaskedLM
from trimer.tasks.regression import Regression
from trimer.tasks.seq2seq import Seq2Seq
from trimer.tasks.task import Task
from trimer.tokenizers.joint import SpectrumMoleculeTokenizer
from trimer.tokenizers.molecule import MoleculeTokenizer
from trimer.tokenizers.protein import ProteinTokenizer
from trimer.tokenizers.smiles import SmilesTokenizer
from trimer.tokenizers.spectrum import SpectrumTokenizer

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
KINDS = ["classification", "regression", "masked", "seq2seq", "fragments"]
OPTIMIZER = partial(adamw, lr=1e-3, fused=False)


def joint() -> SpectrumMoleculeTokenizer:
    return SpectrumMoleculeTokenizer(SpectrumTokenizer(max_peaks=10), MoleculeTokenizer())


def labelled(folder: Path, target: str, **settings) -> LabelledSequences:
    rows = [(f"{'C' * n}O", "abc"[n % 3], n * 2.5) for n in range(1, 31)]
    path = folder / "table.csv"
    path.write_text("\n".join(["smiles,group,size", *(",".join(map(str, row)) for row in rows)]) + "\n")
    source = LabelledFiles(str(path), "smiles", "group" if target == "single" else "size")
    split = {"keys": ["inchikey1"], "fractions": FRACTIONS}
    return LabelledSequences(
        source, SmilesTokenizer(), "molecules", target, split, cache=str(folder / "cache"), tokens_per_batch=100,
        **settings,
    )  # fmt: skip


def study(kind: str, folder: Path) -> tuple[Task, L.LightningDataModule]:
    """A tiny task and its data, made in plain Python."""
    torch.manual_seed(0)
    cache = str(folder / "cache")
    if kind in ("classification", "regression"):
        data = labelled(folder, "single" if kind == "classification" else "regression")
        net = Esm2(len(data.tokenizer), d_model=16, layers=1, heads=2, token_dropout=False)
        task = Classification if kind == "classification" else Regression
        settings = {"class_weights": "balanced"} if kind == "classification" else {}
        return task(net, data.tokenizer, OPTIMIZER, head={"dropout": 0.0}, **settings), data
    if kind == "masked":
        split = {"fractions": FRACTIONS}
        data = MaskedSequences(
            "proteins",
            SimulatedProteins(60),
            ProteinTokenizer(),
            split,
            cache=cache,
            crop=40,
            tokens_per_batch=1000,
            masking=Masking(0.2, 0.8, 0.1),
            validation_masking=Masking(0.2, 0.8, 0.1),
        )
        return MaskedLM(Esm2(d_model=16, layers=1, heads=2), data.tokenizer, OPTIMIZER), data
    if kind == "fragments":
        split = {"keys": ["sequence"], "fractions": FRACTIONS}
        data = PeptideFragments(
            SimulatedFragments(40),
            ProteinTokenizer(),
            ["b1", "y1", "y2"],
            split,
            shortest=3,
            longest=30,
            highest_charge=6,
            cache=cache,
            tokens_per_batch=300,
        )
        net = PeptideEncoder(d_model=16, layers=1, conditions=True)
        return FragmentIntensities(net, data.tokenizer, OPTIMIZER), data
    split = {"keys": ["inchikey1"], "fractions": FRACTIONS}
    data = SpectraToMolecules(
        SimulatedSpectra(60),
        joint(),
        {"structure": Structure()},
        split,
        max_target=128,
        cache=cache,
        tokens_per_batch=1500,
    )
    net = Bart(
        len(data.tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_heads=2, decoder_heads=2,
        encoder_ffn=32, decoder_ffn=32,
    )  # fmt: skip
    generator = MoleculeGenerator(num_samples=2, max_length=12)
    return Seq2Seq(net, data.tokenizer, OPTIMIZER, generator=generator), data


def trainer(folder: Path, steps: int = 3, **settings) -> L.Trainer:
    quiet = {name: False for name in ("enable_progress_bar", "enable_model_summary", "logger")}
    settings = {"enable_checkpointing": False, **settings}
    return L.Trainer(
        accelerator="cpu", devices=1, max_steps=steps, log_every_n_steps=1, default_root_dir=folder, **quiet, **settings
    )


@pytest.mark.parametrize("kind", KINDS)
def test_fit_validate_test_predict_and_load(kind, tmp_path):
    task, data = study(kind, tmp_path)
    saved = ModelCheckpoint(tmp_path / "ckpt", filename="end", every_n_train_steps=3)
    plain = trainer(tmp_path, callbacks=[saved], enable_checkpointing=True)
    plain.fit(task, datamodule=data)
    assert plain.global_step == 3
    assert np.isfinite(plain.validate(task, datamodule=data, verbose=False)[0]["val/loss"])
    tested = plain.test(task, datamodule=data, verbose=False)[0]
    assert np.isfinite(tested["test/loss"])
    predicted = plain.predict(task, datamodule=data)
    rows = torch.cat([batch["rows"] for batch in predicted]).tolist()
    assert sorted(rows) == data.split_rows("test").tolist()

    path = tmp_path / "ckpt" / "end.ckpt"
    loaded = load(path)  # with weights_only=True, behind the allow-list
    assert loaded.contract["kind"] == f"{type(task).__module__}.{type(task).__name__}"
    assert loaded.tokenizer.vocabulary.tokens == data.tokenizer.vocabulary.tokens
    for name, weight in task.net.state_dict().items():
        assert torch.equal(loaded.net.state_dict()[name], weight), name

    loaded = type(task).load_from_checkpoint(path)
    assert type(Task.load_from_checkpoint(path)) is type(task)
    assert trainer(tmp_path).test(loaded, datamodule=data, verbose=False)[0] == pytest.approx(tested)
    assert all("rows" in batch for batch in trainer(tmp_path).predict(loaded, datamodule=data))


def test_predictions_are_in_the_units_of_the_data(tmp_path):
    task, data = study("regression", tmp_path)
    trainer(tmp_path).fit(task, datamodule=data)
    predicted = torch.cat([batch["predictions"] for batch in trainer(tmp_path).predict(task, datamodule=data)])
    mean = data.training_labels().mean()
    assert predicted.shape == (len(data.split_rows("test")), 1) and (predicted - mean).abs().max() < 25
    task, data = study("classification", tmp_path)
    predicted = trainer(tmp_path).predict(task, datamodule=data)
    assert torch.allclose(torch.cat([batch["predictions"] for batch in predicted]).sum(1), torch.ones(6))


def test_a_loaded_task_continues_to_train_with_the_weights_of_its_classes(tmp_path):
    task, data = study("classification", tmp_path)
    plain = trainer(tmp_path)
    plain.fit(task, datamodule=data)
    plain.save_checkpoint(tmp_path / "a.ckpt")
    loaded = Classification.load_from_checkpoint(tmp_path / "a.ckpt", optimizer=OPTIMIZER)
    assert torch.equal(loaded.weights, task.weights) and loaded.training
    before = loaded.net.head.output.weight.clone()
    trainer(tmp_path, 2).fit(loaded, datamodule=data)
    assert not torch.equal(loaded.net.head.output.weight, before)


def test_a_plain_checkpoint_is_resumed_by_lightning(tmp_path):
    task, data = study("regression", tmp_path)
    uninterrupted = trainer(tmp_path, 4)
    uninterrupted.fit(task, datamodule=data)
    first, data = study("regression", tmp_path)
    half = trainer(tmp_path, 2)
    half.fit(first, datamodule=data)
    half.save_checkpoint(tmp_path / "half.ckpt")
    second, data = study("regression", tmp_path)
    resumed = trainer(tmp_path, 4)
    resumed.fit(second, datamodule=data, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert resumed.global_step == 4 and second.real_tokens == task.real_tokens > 0


def test_other_labels_than_those_of_the_checkpoint_raise_an_error(tmp_path):
    task, data = study("classification", tmp_path)
    plain = trainer(tmp_path)
    plain.fit(task, datamodule=data)
    plain.save_checkpoint(tmp_path / "a.ckpt")
    loaded = Classification.load_from_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"was trained on labels with data\.target=single"):
        trainer(tmp_path).test(loaded, datamodule=labelled(tmp_path, "regression"))
    with pytest.raises(CheckpointError, match="contains a Classification"):
        Regression.load_from_checkpoint(tmp_path / "a.ckpt")


def test_a_head_needs_a_datamodule(tmp_path):
    task, _ = study("regression", tmp_path)
    with pytest.raises(ConfigError, match="pass a datamodule to the trainer"):
        trainer(tmp_path).fit(task, DataLoader([], batch_size=None))
    task, _ = study("masked", tmp_path)
    with pytest.raises(ConfigError, match="needs batches of MaskedBatch, but data=LabelledSequences"):
        trainer(tmp_path).fit(task, datamodule=labelled(tmp_path, "single"))


def test_data_without_a_test_split_raise_an_error(tmp_path):
    data = DenoisingCorpus(
        joint(),
        Corruption(masking=0.5, deletion=0.5, infilling=0.0, ratio=0.2),
        cache=str(tmp_path / "cache"),
        spectra={"simulated": SimulatedSpectra(60)},
        validation=0.3,
        max_length=128,
        tokens_per_batch=1500,
    )
    net = Bart(len(data.tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, encoder_heads=2, decoder_heads=2)
    task = Seq2Seq(net, data.tokenizer, OPTIMIZER)
    trainer(tmp_path, 1).fit(task, datamodule=data)
    with pytest.raises(ConfigError, match="DenoisingCorpus has no test split"):
        trainer(tmp_path).test(task, datamodule=data)


def test_a_network_without_known_arguments_trains_with_a_warning(tmp_path, caplog):
    class Mine(nn.Module):
        def __init__(self, vocab_size: int, width: int):
            super().__init__()
            self.d_model = width
            self.table = nn.Embedding(vocab_size, width)

        def hidden(self, sequence, layer=None):
            return self.table(sequence.tokens)

    data = labelled(tmp_path, "regression")
    task = Regression(Mine(len(data.tokenizer), 8), data.tokenizer, OPTIMIZER)
    plain = trainer(tmp_path)
    with caplog.at_level(logging.WARNING):
        plain.fit(task, datamodule=data)
    assert "no config describes net (" in caplog.text and "KeepsArguments" in caplog.text
    plain.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="lacks the key 'trimer'"):
        load(tmp_path / "a.ckpt")


def test_lightning_may_not_distribute_batches_again(tmp_path):
    task, data = study("masked", tmp_path)
    task.trainer = SimpleNamespace(
        world_size=2, datamodule=data, precision_plugin=None,
        _accelerator_connector=SimpleNamespace(use_distributed_sampler=True),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="pass use_distributed_sampler=False"):
        task.setup("fit")


# ---------------------------------------------------------------- metrics of the user


def test_user_metrics_are_logged_for_validation_and_test(tmp_path):
    data = labelled(tmp_path, "regression")
    data.setup()
    task = Regression(
        Esm2(len(data.tokenizer), d_model=16, layers=1, heads=2, token_dropout=False), data.tokenizer, OPTIMIZER,
        metrics={"my_mae": MeanAbsoluteError()},
    )  # fmt: skip
    plain = trainer(tmp_path)
    plain.fit(task, datamodule=data)
    values = plain.validate(task, datamodule=data, verbose=False)[0]
    assert values["val/my_mae"] == pytest.approx(values["val/mae"], rel=1e-5)
    values = plain.test(task, datamodule=data, verbose=False)[0]
    assert values["test/my_mae"] == pytest.approx(values["test/mae"], rel=1e-5)
    assert task.evaluate(data.evaluation_batches("test"))["my_mae"] == pytest.approx(values["test/my_mae"], rel=1e-5)


def test_user_metrics_get_labelled_classes_only(tmp_path):
    data = labelled(tmp_path, "single")
    net = Esm2(len(data.tokenizer), d_model=16, layers=1, heads=2, token_dropout=False)
    metrics = {"f1": MulticlassF1Score(num_classes=3, average="macro")}
    task = Classification(net, data.tokenizer, OPTIMIZER, metrics=metrics)
    values = trainer(tmp_path).validate(task, datamodule=data, verbose=False)[0]
    assert 0 <= values["val/f1"] <= 1
    with pytest.raises(ConfigError, match=r"task\.metrics\.f1 is a float: pass a torchmetrics\.Metric"):
        Classification(net, data.tokenizer, metrics={"f1": 1.0})


# ---------------------------------------------------------------- tuning


@pytest.mark.parametrize("kind", ["regression", "masked"])
def test_the_learning_rate_finder_sets_the_rate(kind, tmp_path):
    task, data = study(kind, tmp_path)
    task.scheduler_factory = partial(warmup_linear, total_steps=5, warmup=1)
    finder = LearningRateFinder(num_training_steps=20, min_lr=1e-6, max_lr=1e-1)
    plain = trainer(tmp_path, 2, callbacks=[finder])
    plain.fit(task, datamodule=data)
    assert task.lr == finder.optimal_lr.suggestion() != 1e-3
    assert plain.global_step == 2
    assert plain.optimizers[0].param_groups[0]["initial_lr"] == task.lr
    assert plain.optimizers[0].param_groups[0]["lr"] == pytest.approx(task.lr * 3 / 4)  # by the schedule


def test_unsupported_tuners_raise_an_error(tmp_path):
    task, data = study("regression", tmp_path)
    with pytest.raises(ConfigError, match="BatchSizeFinder changes the number of rows"):
        trainer(tmp_path, callbacks=[BatchSizeFinder()]).fit(task, datamodule=data)
    with pytest.raises(ConfigError, match="this task has no optimizer"):
        _ = Regression(Esm2(), None).lr
    with pytest.raises(ConfigError, match=r"layer_decay=0\.5"):
        _ = Regression(Esm2(), None, OPTIMIZER, layer_decay=0.5).lr
