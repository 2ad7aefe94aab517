"""RoBERTa: independence of the batch, dropout, checkpointing, compilation, lengths, sizes of configs."""

import re
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn.functional import cross_entropy

from trimer.cli.configs import compose
from trimer.errors import ConfigError, InputError
from trimer.flat import Flat
from trimer.models.roberta import Roberta

MASK = 4
SEQUENCES = [[0, 5, MASK, 9, MASK, 20, 2], [0, 14, 14, 7, 11, 23, 22, 21, 15, 3, 25, 2], [0, 6, 2], [0, 2]]
CONFIGS = sorted(
    path
    for path in (Path(__file__).parents[2] / "conf" / "model").glob("*.yaml")
    if "base/roberta@" in path.read_text()
)


def nano(**settings) -> Roberta:
    torch.manual_seed(0)
    shape = {"vocab_size": 33, "d_model": 32, "layers": 2, "heads": 2, "max_positions": 34, "init_std": 0.2}
    return Roberta(**{**shape, **settings})


@pytest.mark.parametrize(("dtype", "tolerance"), [("32", 2e-6), ("autocast", 2e-2), ("bf16", 4e-2)])
@torch.no_grad()
def test_results_do_not_depend_on_other_sequences(dtype, tolerance):
    net = nano().eval()
    if dtype == "bf16":
        net = net.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == "autocast"):
        alone = [net(Flat.pack([s])).float() for s in SEQUENCES]
        for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
            pack = Flat.pack([SEQUENCES[i] for i in order])
            for i, got in zip(order, net(pack).float().split(pack.sizes), strict=True):
                assert (got - alone[i]).abs().max() <= tolerance * alone[i].abs().max()


@torch.no_grad()
def test_half_precision_is_close_to_full():
    torch.manual_seed(1)
    net = Roberta(100, d_model=64, layers=4, heads=4).eval()
    sequence = Flat.pack([[0, *torch.randint(5, 100, (500,)).tolist(), 2]])
    full = net(sequence)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = net(sequence)
    assert half.dtype == torch.bfloat16
    assert (half - full).norm() / full.norm() < 0.025


@torch.no_grad()
def test_positions_begin_after_the_padding_token():
    net = nano(pad=3).eval()
    net.embedding_norm = torch.nn.Identity()
    embeddings = net.embed(Flat.pack([[0, 7, 2], [7]]))
    rows = net.tokens.weight[[0, 7, 2, 7]] + net.positions.weight[[4, 5, 6, 4]] + net.token_type.weight
    torch.testing.assert_close(embeddings, rows)


@torch.no_grad()
def test_predictions_depend_on_the_order_of_tokens():
    net = nano().eval()
    there, back = net(Flat.pack([[0, 5, 6, 2]])), net(Flat.pack([[0, 6, 5, 2]]))
    assert (there[1] - back[2]).abs().max() > 1e-2


@torch.no_grad()
def test_dropout_acts_in_training_only():
    net, batch = nano(dropout=0.3, attention_dropout=0.3), Flat.pack(SEQUENCES)
    assert torch.equal(net.eval()(batch), net(batch))
    assert not torch.equal(net.train()(batch), net(batch))
    assert not torch.equal(net.embed(batch), net.embed(batch))
    assert torch.equal(nano(dropout=0.0).train()(batch), nano(dropout=0.3).eval()(batch))
    alone = nano(dropout=0.0, attention_dropout=0.3)
    assert torch.equal(alone.embed(batch), alone.embed(batch))
    assert not torch.equal(alone(batch), alone(batch))


@pytest.mark.parametrize("half", [False, True])
def test_overfits_the_masked_positions_of_a_small_batch(half):
    net = nano(init_std=0.02, dropout=0.0)
    batch = Flat.pack(SEQUENCES)
    positions, labels = torch.tensor([2, 4, 15, 23]), torch.tensor([7, 8, 9, 10])
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(100):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            loss = cross_entropy(net(batch, positions).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert cross_entropy(net(batch)[positions], labels) < 0.1


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        net = nano(checkpointing=checkpointing, dropout=0.2, attention_dropout=0.2).train()
        torch.manual_seed(3)
        net(Flat.pack(SEQUENCES)).square().sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    assert all(torch.equal(a, b) and b.abs().max() > 0 for a, b in zip(*gradients, strict=True))


@torch.no_grad()
def test_hidden_states_of_inner_layers():
    net, batch = nano().eval(), Flat.pack(SEQUENCES)
    assert torch.equal(net.hidden(batch, 0), net.embed(batch))
    assert torch.equal(net.hidden(batch, 2), net.hidden(batch))
    assert not torch.equal(net.hidden(batch, 1), net.hidden(batch))
    torch.testing.assert_close(net.logits(net.hidden(batch))[[3, 8]], net(batch, torch.tensor([3, 8])))


@torch.no_grad()
def test_compiled_layers_are_not_recompiled_for_other_lengths(monkeypatch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *a, **k: real(*a, **k, backend=backend))
    net = nano(layers=1, dropout=0.0).eval()
    plain = [net(Flat.pack(sequences)) for sequences in (SEQUENCES, SEQUENCES[:1], SEQUENCES[1:3])]
    net.compile_parts()
    for sequences, expected in zip((SEQUENCES, SEQUENCES[:1], SEQUENCES[1:3]), plain, strict=True):
        torch.testing.assert_close(net(Flat.pack(sequences)), expected)
    assert len(graphs) == 2


def test_flops_equal_the_counted_matrix_products():
    # A layer: four square matrices and two of 32 x 64 for each token, scores and sums for each pair of tokens.
    net = nano(ffn=64)
    tokens, pairs, positions = 7 + 12, 7 * 7 + 12 * 12, 2
    layer = 2 * (4 * 32 * 32 + 2 * 32 * 64) * tokens + 2 * 2 * 32 * pairs
    head = 2 * (32 * 32 + 32 * 33) * positions
    assert net.training_flops((7, 12), positions) == 3 * (2 * layer + head)


def test_a_sequence_may_have_two_tokens_fewer_than_the_table_has_rows():
    net = nano()
    assert net.longest == 32
    assert net(Flat.pack([[7] * 32])).shape == (32, 33)
    with pytest.raises(InputError, match=r"33 tokens is longer than the 32 tokens that this model can read \(34 rows"):
        net(Flat.pack([[7], [7] * 33]))
    assert nano(pad=0).longest == 33


def test_invalid_arguments_raise_errors():
    with pytest.raises(ConfigError, match=r"model\.heads=4 does not divide model\.d_model=30"):
        Roberta(33, d_model=30, heads=4)
    with pytest.raises(ConfigError, match=r"model\.dropout=1"):
        nano(dropout=1)
    with pytest.raises(ConfigError, match=r"model\.max_positions=2 leaves no position"):
        nano(max_positions=2)
    with pytest.raises(ConfigError, match=r"build it with model\.head=true"):
        nano(head=False)(Flat.pack(SEQUENCES))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_have_the_size_in_their_name(path):
    settings = OmegaConf.to_container(compose("train", [f"model={path.stem}"]).model)
    assert settings.pop("_target_") == "trimer.models.roberta.Roberta"
    with torch.device("meta"):
        net = Roberta(**{**settings, "vocab_size": 0})
    named = float(re.search(r"([\d.]+) million weights and the vocabulary", path.read_text())[1])
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(named * 1e6, rel=0.1)


def test_there_are_configs():
    assert {path.stem for path in CONFIGS} >= {"roberta_nano", "chemberta", "chemberta_77m"}
