"""A network over padded rows gives the outputs of the flat batch, whatever the padding."""

from __future__ import annotations

import pytest
import torch

from trimer.errors import ConfigError
from trimer.export.padded import Padded
from trimer.flat import Flat, FlatPeptides
from trimer.models.bart import Bart
from trimer.models.esm2 import Esm2
from trimer.models.fragment_model import Fragments
from trimer.models.heads import mean_of_inner
from trimer.models.labelled_model import Labelled
from trimer.models.peptide_encoder import PeptideEncoder
from trimer.models.roberta import Roberta
from trimer.peptides.modifications import ELEMENTS

SEQUENCES = [[0, 5, 9, 20, 2], [0, 4, 4, 7, 11, 32, 22, 2], [0, 6, 2]]
HEADS = {"mean": {}, "cls": {"pooling": "cls", "dense": True}, "attention": {"pooling": "attention"}}
SETTINGS = {"d_model": 16, "layers": 1, "heads": 2, "init_std": 0.3}


def rows(extra: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Padded rows and their mask; the padding has ids of residues, which must not matter."""
    ids = torch.full((3, 8 + extra), 9)
    mask = torch.zeros(3, 8 + extra, dtype=torch.int64)
    for row, sequence in enumerate(SEQUENCES):
        ids[row, : len(sequence)], mask[row, : len(sequence)] = torch.tensor(sequence), 1
    return ids, mask


def labelled(encoder: torch.nn.Module, target: str, head: dict) -> Labelled:
    torch.manual_seed(1)
    net = Labelled(encoder, 3, target, head)
    for name in ("mean", "deviation", "weight", "prior", "temperature"):
        buffer = getattr(net, name)
        buffer.copy_(torch.rand(buffer.shape) + 0.5)
    return net.eval()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("target", ["single", "multi", "regression"])
@torch.no_grad()
def test_predictions_equal_those_of_the_flat_batch(target, head):
    torch.manual_seed(0)
    net = labelled(Roberta(33, **SETTINGS) if head == "cls" else Esm2(**SETTINGS), target, HEADS[head])
    net.focal.fill_(1.5 if target == "single" else 0.0)
    expected = net.predictions(net(Flat.pack(SEQUENCES)))
    for extra in (0, 5):
        (predictions,) = Padded(net)(*rows(extra))
        torch.testing.assert_close(predictions, expected, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_residues_keep_their_positions_and_padding_is_zero():
    net = labelled(Esm2(**SETTINGS), "residue", {"pooling": "residue"})
    ids, mask = rows(2)
    (predictions,) = Padded(net)(ids, mask)
    inner = torch.cat([row[1 : len(s) - 1] for row, s in zip(predictions, SEQUENCES, strict=True)])
    torch.testing.assert_close(inner, net.predictions(net(Flat.pack(SEQUENCES))), atol=1e-6, rtol=1e-5)
    assert not predictions[~mask.bool()].any()


@torch.no_grad()
def test_embeddings_of_an_encoder():
    net = Esm2(**SETTINGS).eval()
    ids, mask = rows(1)
    embedding, hidden = Padded(net)(ids, mask)
    flat = Flat.pack(SEQUENCES)
    torch.testing.assert_close(hidden[mask.bool()], net.hidden(flat), atol=2e-6, rtol=1e-5)
    torch.testing.assert_close(embedding, mean_of_inner(net.hidden(flat), flat), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("body", ["convolution", "transformer"])
@torch.no_grad()
def test_modifications_and_conditions_of_peptides(body):
    net = labelled(PeptideEncoder(d_model=16, layers=2, heads=2, body=body, conditions=True), "regression", {})
    flat = Flat.pack(SEQUENCES)
    atoms, conditions = torch.randn(2, len(ELEMENTS)), torch.rand(3, 18)
    ids, mask = rows(3)
    composition = torch.zeros(*ids.shape, len(ELEMENTS))
    composition[0, 2], composition[1, 0] = atoms
    peptides = FlatPeptides(flat.tokens, flat.lengths, flat.sizes, torch.tensor([2, 5]), atoms, conditions)
    padded = Padded(net)
    assert padded.inputs == ["input_ids", "attention_mask", "composition", "conditions"]
    (predictions,) = padded(ids, mask, composition, conditions)
    torch.testing.assert_close(predictions, net.predictions(net(peptides)), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("conditions", [True, False])
@torch.no_grad()
def test_intensities_of_fragments_equal_those_of_the_flat_batch(conditions):
    """At the bond after each residue; impossible fragments, padding and positions without a bond are 0."""
    torch.manual_seed(0)
    net = Fragments(PeptideEncoder(d_model=16, layers=1, conditions=conditions), 4).eval()
    sequences = [*SEQUENCES[:2], [0, 6, 9, 2]]  # a fragment needs two residues
    flat = Flat.pack(sequences)
    ids, mask = torch.full((3, 10), 9), torch.zeros(3, 10, dtype=torch.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)], mask[row, : len(sequence)] = torch.tensor(sequence), 1
    atoms, measured = torch.randn(2, len(ELEMENTS)), torch.rand(3, 18) if conditions else None
    composition = torch.zeros(*ids.shape, len(ELEMENTS))
    composition[0, 2], composition[1, 0] = atoms
    peptides = FlatPeptides(flat.tokens, flat.lengths, flat.sizes, torch.tensor([2, 5]), atoms, measured)
    possible = torch.randint(0, 2, (*ids.shape, 4))
    bonds = [possible[row, 1 : len(one) - 2] for row, one in enumerate(sequences)]
    expected = net.predictions(net(peptides), peptides, torch.cat(bonds).bool())
    padded = Padded(net)
    assert padded.inputs[-1] == "possible" and ("conditions" in padded.inputs) == conditions
    (intensities,) = padded(ids, mask, composition, *[measured] * conditions, possible)
    found = [intensities[row, 1 : len(one) - 2] for row, one in enumerate(sequences)]
    torch.testing.assert_close(torch.cat(found), expected, atol=2e-6, rtol=1e-5)
    assert intensities.count_nonzero() == expected.count_nonzero() > 0


def test_other_networks_are_rejected():
    with pytest.raises(ConfigError, match="model=Bart is not an encoder"):
        Padded(Bart(33, 16, 1, 1, 2, 2, 32, 32))
    with pytest.raises(ConfigError, match=r"model\.body=recurrent cannot be exported"):
        Padded(PeptideEncoder(d_model=16, body="recurrent"))
