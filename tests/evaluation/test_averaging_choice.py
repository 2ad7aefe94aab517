"""What a model of labels averages is chosen on the validation split, and predictions are what the table measures."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from trimer.baselines.molecule_baselines import MoleculeBoosting
from trimer.baselines.stored_boosting import NAME, restored, stored
from trimer.data.labelled.label_files import LabelledFiles
from trimer.data.modules.labelled_data import LabelledSequences
from trimer.errors import CheckpointError, ConfigError
from trimer.evaluation import averaging_choice
from trimer.evaluation.averaging_choice import best_weight, choose
from trimer.evaluation.label_evaluation import evaluate_labels
from trimer.evaluation.label_outputs import averaged_predictions, raw_outputs
from trimer.models.esm2 import Esm2
from trimer.models.labelled_model import Labelled
from trimer.prediction.averaging import ALONE, BOOSTED, CANONICAL, Averaging, RandomVariant
from trimer.tokenizers.smiles import SmilesTokenizer

SMILES = [f"{'C' * length}{end}" for length in range(1, 24) for end in ("O", "N", "C(=O)O", "Cl")]
TARGETS = {"single": "kind", "multi": ["acid", "long"], "regression": "length"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """target -> labels that boosting can learn from the features and an untrained network cannot."""
    folder = tmp_path_factory.mktemp("molecules")
    lines = ["smiles,kind,acid,long,length"]
    for text in SMILES:
        kind = "OH" if text.endswith("O") else "other"
        lines.append(f"{text},{kind},{int('=' in text)},{int(len(text) > 12)},{len(text)}")
    (folder / "my.csv").write_text("\n".join(lines) + "\n")

    def of(target: str, tokens: int = 300) -> LabelledSequences:
        found = LabelledSequences(
            LabelledFiles(str(folder / "my.csv"), "smiles", TARGETS[target], None), SmilesTokenizer(), "molecules",
            target, {"keys": ["inchikey1"], "fractions": {"train": 0.5, "val": 0.25, "test": 0.25}},
            cache=str(folder / "cache"), tokens_per_batch=tokens,
        )  # fmt: skip
        found.setup()
        return found

    return of


def network(data: LabelledSequences) -> Labelled:
    torch.manual_seed(0)
    net = Labelled(Esm2(len(data.tokenizer), 32, layers=1, heads=2), len(data.classes), data.target).eval()
    net.head.output.weight.data *= 20
    return net


@pytest.fixture(autouse=True)
def _few_trees(monkeypatch):
    monkeypatch.setattr(averaging_choice, "MoleculeBoosting", lambda *given: MoleculeBoosting(*given, trees=8))


@pytest.mark.parametrize("target", TARGETS)
def test_the_weight_of_boosting_is_chosen_on_validation_and_the_table_measures_the_average(data, target):
    found = data(target)
    net = network(found)
    labels = found.labels.copy()
    test = found.split.rows("test")
    found.labels[test] = found.labels[test][::-1]  # the choice must not depend on the test split
    averaging, metrics, predictions = choose(net, found, Averaging(), 0, True)
    found.labels = labels
    assert averaging.weight > 0.3, "boosting learns what an untrained network does not know"
    assert metrics["val/loss_average"] <= min(metrics["val/loss_canonical"], metrics["val/loss_boosting"]) + 1e-6
    evaluation = evaluate_labels(net, found, "test", name="mine", averaging=averaging, baselines=False, bootstrap=5)
    methods = [row["method"] for row in evaluation.table.ordered()]
    assert methods == [ALONE, NAME, BOOSTED], "the model of the table is the average"
    raw = raw_outputs(net, found, "test")[0]
    expected = averaging.weight * averaging.boosting.predict(evaluation.texts)
    expected = expected + (1 - averaging.weight) * net.predictions(raw).detach().numpy()
    assert evaluation.predictions == pytest.approx(expected, abs=1e-5)
    assert len(predictions) == len(found.split.rows("val"))
    main = next(iter(row for row in evaluation.table.rows if row["method"] == ALONE))["values"]
    assert any(name.endswith("_difference_p") for name in main), "compared with its parts by paired differences"


@pytest.mark.parametrize("target", TARGETS)
def test_stored_boosting_predicts_the_same_without_lightgbm(data, target):
    found = data(target)
    classes = len(found.classes) if target == "single" else None
    fitted = MoleculeBoosting(target, trees=8)
    fitted.fit(found.texts(found.split.rows("train")), found.training_labels().numpy(), classes)
    values = stored(fitted)
    again = restored(values, target, len(found.classes), Path("my.ckpt"))
    assert again.predict(SMILES[:20]) == pytest.approx(fitted.predict(SMILES[:20]), abs=1e-9)
    with pytest.raises(CheckpointError, match=r"my.ckpt: its boosted trees cannot be used: they have other labels"):
        restored(values, target, len(found.classes) + 1, Path("my.ckpt"))
    values["features"] = [*values["features"][:-1], "NoDescriptor"]
    with pytest.raises(CheckpointError, match="'NoDescriptor' is unknown"):
        restored(values, target, len(found.classes), Path("my.ckpt"))


def test_labels_without_training_rows_of_both_kinds_are_stored():
    labels = np.array([[1.0, np.nan, 0.0], [1.0, np.nan, 1.0]] * 8)
    fitted = MoleculeBoosting("multi", trees=2).fit(SMILES[:16], labels)
    again = restored(stored(fitted), "multi", 3, Path())
    assert again.predict(SMILES[:4]) == pytest.approx(fitted.predict(SMILES[:4]))
    assert (again.predict(SMILES[:4])[:, :2] == [1.0, 0.5]).all()


def test_the_best_weight_minimises_the_loss():
    labels, deviation = np.zeros((50, 1)), np.ones(1)
    model = np.random.default_rng(0).standard_normal((50, 1)).astype(np.float32)
    other = -2 * model
    assert best_weight("regression", model, other, labels, deviation) == pytest.approx(0.35), "grid point near 1/3"
    assert best_weight("regression", model * 0, other, labels, deviation) == 0


def test_random_smiles_are_the_same_for_any_batch_and_other_for_another_seed(data):
    small, large = data("single", 60), data("single", 100_000)
    net = network(small)
    canonical = net.predictions(raw_outputs(net, small, "test")[0]).numpy()
    three, other = Averaging(random_smiles=3, seed=1), Averaging(random_smiles=3, seed=2)
    one = averaged_predictions(net, small, "test", three, canonical)
    assert one == pytest.approx(averaged_predictions(net, large, "test", three, canonical), abs=1e-5)
    assert np.abs(one - canonical).max() > 1e-3 and one.sum(1) == pytest.approx(1, abs=1e-5)
    assert np.abs(one - averaged_predictions(net, small, "test", other, canonical)).max() > 1e-4
    rows = evaluate_labels(net, small, "test", averaging=three, baselines=False, bootstrap=0).table.ordered()
    assert [row["method"] for row in rows] == [CANONICAL, "model"]


def test_a_variant_depends_on_the_molecule_not_on_its_row():
    tokenizer = SmilesTokenizer()
    text = "CC(C)Cc1ccc(cc1)C(C)C(=O)O"
    tokens = tokenizer.encode_as_written(text)
    first, second = (RandomVariant(tokenizer, 100, 0, number) for number in (0, 1))
    assert np.array_equal(first(text, tokens, 0, 3), first(text, tokens, 5, 9))
    assert not np.array_equal(first(text, tokens), second(text, tokens))
    assert np.array_equal(RandomVariant(tokenizer, 5, 0, 0)(text, tokens), tokens), "too long: the canonical one"


def test_random_smiles_that_do_not_help_are_not_stored(data):
    found = data("regression")
    net = network(found)
    worse = dataclasses.replace(Averaging(), random_smiles=2)
    averaging, metrics, _ = choose(net, found, Averaging(), 2, None)
    helps = metrics["val/loss_random_smiles"] < metrics["val/loss_canonical"]
    assert averaging.random_smiles == (2 if helps else 0)
    assert choose(net, found, worse, None, None)[0].random_smiles == 2, "an earlier choice is kept"
    with pytest.raises(ConfigError, match="augment=101 must be 0 to 100"):
        choose(net, found, Averaging(), 101, None)
