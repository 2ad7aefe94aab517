"""Encoder of peptides: independence of the batch, termini, modifications by composition, conditions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trimer.data.labelled.sequence_kinds import Peptides, flat, model_inputs
from trimer.errors import ConfigError
from trimer.models.fragment_model import Fragments
from trimer.models.labelled_model import Labelled
from trimer.models.peptide_encoder import BODIES, PeptideEncoder
from trimer.peptides.conditions import CONDITIONS, condition_vectors
from trimer.tokenizers.protein import ProteinTokenizer

TEXTS = [
    "PEPTIDEK",
    "[UNIMOD:1]-AC[UNIMOD:4]DEM[UNIMOD:35]K",
    "GG",
    "LMNPQRSTVWYACDEFGHIKLMNPQRSTVWYACDEFGHIK",
    "AAK-[UNIMOD:2]",
]


def read(texts, conditions=None):
    kind = Peptides(ProteinTokenizer())
    peptide_table = kind.read(texts)
    assert not peptide_table.dropped
    return flat([*model_inputs(kind, peptide_table, dict(enumerate(peptide_table.tokens))).values()], conditions)


def encoder(body: str, **settings) -> PeptideEncoder:
    torch.manual_seed(0)
    return PeptideEncoder(d_model=16, layers=3, body=body, heads=2, **settings)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("training", [False, True])
def test_results_do_not_depend_on_other_peptides(body, training):
    net = encoder(body).train(training)
    together = net.hidden(read(TEXTS)).split(read(TEXTS).sizes)
    for text, expected in zip(TEXTS, together, strict=True):
        assert torch.allclose(net.hidden(read([text])), expected, atol=1e-5)
    mixed = net.hidden(read(TEXTS[::-1])).split(read(TEXTS[::-1]).sizes)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(together, mixed[::-1], strict=True))


@pytest.mark.parametrize("body", BODIES)
def test_gradients_do_not_cross_peptides(body):
    net = encoder(body)
    batch = read(TEXTS)
    tables = []
    net.tokens.register_forward_hook(lambda module, given, out: tables.append(out) or out.retain_grad())
    hidden = net.hidden(batch)
    first = batch.sizes[0]
    hidden[:first].sum().backward()
    assert tables[0].grad[:first].abs().sum() > 0 and not tables[0].grad[first:].any()


def test_terminal_modifications_are_added_to_the_terminus():
    batch = read(TEXTS)
    starts = np.cumsum([0, *batch.sizes])
    assert batch.places.tolist() == [starts[1], starts[1] + 2, starts[1] + 5, starts[5] - 1]


def test_modifications_enter_by_elemental_composition():
    """Two modifications with the same atoms are the same to the network, and others are not."""
    net = encoder("convolution")
    names = ("UNIMOD:35", "Formula:O", "UNIMOD:21", "Formula:C2H6")
    oxidised, oxygen, phospho, ethane = (net.hidden(read([f"AM[{name}]K"])) for name in names)
    assert torch.equal(oxidised, oxygen)
    assert not torch.allclose(oxidised, phospho) and not torch.allclose(phospho, ethane)


def test_positional_isomers_have_different_embeddings():
    net = encoder("convolution")
    assert not torch.allclose(net.hidden(read(["[UNIMOD:1]-KAAAK"])), net.hidden(read(["K[UNIMOD:1]AAAK"])), atol=1e-3)
    assert not torch.allclose(net.hidden(read(["AK-[UNIMOD:2]"])), net.hidden(read(["AK[UNIMOD:2]"])), atol=1e-3)


def test_hidden_states_of_inner_layers():
    net = encoder("convolution").eval()
    batch = read(TEXTS)
    assert torch.equal(net.hidden(batch, 3), net.hidden(batch))
    assert torch.equal(net.hidden(batch, 0), net.embed(batch))


def test_conditions_change_predictions_and_are_required():
    conditions = condition_vectors(
        np.array([2] * 5), np.array([28.0, 28, 28, np.nan, 28]), ["QE", "Lumos", None, "x", "QE HF"]
    )
    assert conditions.shape == (5, CONDITIONS) and (conditions.sum(1) >= 2).all()
    net = encoder("convolution", conditions=True)
    output, reversed_output = net.hidden(read(TEXTS, conditions)), net.hidden(read(TEXTS, conditions[::-1].copy()))
    assert not torch.allclose(output, reversed_output)
    with pytest.raises(ConfigError, match="no charge, collision energy and instrument"):
        net.hidden(read(TEXTS))


def test_outputs_have_one_row_per_cleavage_site():
    batch = read(["PEPTIDEK", "GG"])
    assert [int(position) for position in batch.bonds()] == [1, 2, 3, 4, 5, 6, 7, 11]
    assert batch.bond_owners().tolist() == [0] * 7 + [1]


def test_intensities_are_relative_to_the_highest_possible_one():
    conditions = condition_vectors(np.full(2, 2), np.full(2, 28.0), ["QE"] * 2)
    batch = read(["PEPTIDEK", "GGK"], conditions)
    net = Fragments(encoder("convolution", conditions=True), 3).eval()
    possible = torch.rand(9, 3) > 0.3
    possible[0], possible[7] = True, True
    predicted = net.predictions(net(batch), batch, possible)
    assert (predicted[~possible] == 0).all() and (predicted[possible] > 0).all()
    assert predicted[:7].max() == 1 and predicted[7:].max() == 1
    assert not net.predictions(net(batch), batch, torch.zeros(9, 3, dtype=torch.bool)).any()


@pytest.mark.parametrize("settings", [{"body": "tree"}, {"kernel": 4}, {"body": "transformer", "heads": 3}])
def test_invalid_arguments_raise_errors(settings):
    with pytest.raises(ConfigError, match="model\\."):
        PeptideEncoder(d_model=16, **settings)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_pooling_of_many_short_peptides_does_not_depend_on_the_batch(pooling):
    net = Labelled(encoder("convolution"), 1, "regression", {"pooling": pooling}).eval()
    many = read(TEXTS * 40)
    alone = torch.cat([net(read([text])) for text in TEXTS])
    assert torch.allclose(net(many), alone.repeat(40, 1), atol=1e-5)
