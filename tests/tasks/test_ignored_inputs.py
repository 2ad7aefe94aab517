"""Training with an encoder that ignores modifications or conditions gives a warning."""

from __future__ import annotations

import pytest

from trimer.data.modules.fragment_data import PeptideFragments
from trimer.data.modules.labelled_data import LabelledSequences
from trimer.models.esm2 import Esm2
from trimer.models.peptide_encoder import PeptideEncoder
from trimer.simulate.simulated_peptides import SimulatedFragments, SimulatedPeptides
from trimer.tasks.fragments import FragmentIntensities
from trimer.tasks.regression import Regression
from trimer.tokenizers.protein import ProteinTokenizer

SPLIT = {"keys": ["sequence"], "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}}
WITHOUT_MODIFICATIONS, WITHOUT_CONDITIONS = "ignores modifications", "ignores the charge"


def retention(tmp_path, modified: float = 0.5) -> LabelledSequences:
    source = SimulatedPeptides(60, "retention", modified=modified)
    return LabelledSequences(
        source, ProteinTokenizer(), "peptides", "regression", SPLIT, cache=str(tmp_path), tokens_per_batch=4096
    )


def fragments(tmp_path) -> PeptideFragments:
    settings = {"shortest": 7, "longest": 30, "highest_charge": 6, "cache": str(tmp_path), "tokens_per_batch": 4096}
    return PeptideFragments(SimulatedFragments(60), ProteinTokenizer(), ["b1", "y1"], SPLIT, **settings)


def warnings_of(net, data, caplog) -> str:
    data.setup()
    task = (Regression if data.target == "regression" else FragmentIntensities)(net, data.tokenizer)
    task.contract = {}
    caplog.clear()
    task.configure_for(data)
    return caplog.text


def esm2() -> Esm2:
    return Esm2(d_model=32, layers=1, heads=2)


@pytest.mark.parametrize(
    ("net", "data", "expected"),
    [
        (esm2, retention, [WITHOUT_MODIFICATIONS]),
        (PeptideEncoder, retention, []),
        (esm2, lambda folder: retention(folder, modified=0.0), []),
        (esm2, fragments, [WITHOUT_MODIFICATIONS, WITHOUT_CONDITIONS]),
        (PeptideEncoder, fragments, [WITHOUT_CONDITIONS]),
        (lambda: PeptideEncoder(conditions=True), fragments, []),
    ],
)
def test_ignored_inputs_give_a_warning(tmp_path, caplog, net, data, expected):
    text = warnings_of(net(), data(tmp_path), caplog)
    assert [sentence for sentence in (WITHOUT_MODIFICATIONS, WITHOUT_CONDITIONS) if sentence in text] == expected


def test_peptides_with_ignored_modifications_are_counted(tmp_path, caplog):
    data = retention(tmp_path)
    text = warnings_of(esm2(), data, caplog)
    count = sum("[" in sequence for sequence in data.store.strings("text"))
    assert f"{count} of 60 peptides" in text
