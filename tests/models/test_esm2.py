"""ESM2: independence of the batch, token dropout, checkpointing, compilation, sizes of configs."""

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn.functional import cross_entropy

from trimer.cli.configs import compose
from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.models.attention import attention
from trimer.models.esm2 import MASK, Esm2

SEQUENCES = [[0, 5, MASK, 9, MASK, 20, 2], [0, 4, 4, 7, 11, 23, 22, 21, 15, 3, 25, 2], [0, 6, 2], [0, MASK, MASK, 2]]
CONFIGS = sorted((Path(__file__).parents[2] / "conf" / "model").glob("esm2_*.yaml"))
# Own count of the weights of the published models, without the contact head (layers x heads + 1).
PUBLISHED = {"esm2_8m": 7_512_474, "esm2_35m": 33_501_394, "esm2_150m": 148_140_154, "esm2_650m": 651_043_254,
             "esm2_3b": 2_839_005_634}  # fmt: skip


def nano(**settings) -> Esm2:
    torch.manual_seed(0)
    return Esm2(**{"d_model": 32, "layers": 2, "heads": 2, "init_std": 0.2, **settings})


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
    net = Esm2(d_model=64, layers=4, heads=4).eval()
    sequence = Flat.pack([[0, *torch.randint(4, 24, (500,)).tolist(), 2]])
    full = net(sequence)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = net(sequence)
    assert (half - full).norm() / full.norm() < 0.025


@torch.no_grad()
def test_token_dropout_scales_each_sequence_separately():
    net = nano()
    table = net.tokens.weight
    vectors = net.embed(Flat.pack(SEQUENCES)).split([len(s) for s in SEQUENCES])
    torch.testing.assert_close(vectors[0][1], table[5] * 0.88 / (1 - 2 / 7))
    assert not vectors[0][2].any()
    torch.testing.assert_close(vectors[1][1], table[4] * 0.88)  # also where nothing is masked
    torch.testing.assert_close(vectors[3][0], table[0] * 0.88 / 0.5)
    plain = nano(token_dropout=False).embed(Flat.pack(SEQUENCES))
    torch.testing.assert_close(plain, table[Flat.pack(SEQUENCES).tokens])
    other = nano(masked_share=0.25).embed(Flat.pack(SEQUENCES[2:3]))
    torch.testing.assert_close(other, table[[0, 6, 2]] * 0.75)


@torch.no_grad()
def test_token_dropout_counts_more_masks_than_half_precision_can():
    sequence = Flat.pack([[0, *[5] * 500, *[MASK] * 500, 2]])  # bf16 has no integer between 256 and 258
    full, half = nano().embed(sequence), nano().bfloat16().embed(sequence).float()
    assert (half - full).norm() / full.norm() < 0.01


@torch.no_grad()
def test_a_sequence_of_masks_only_is_finite():
    assert nano()(Flat.pack([[MASK, MASK], [MASK]])).isfinite().all()


@pytest.mark.parametrize("half", [False, True])
def test_overfits_the_masked_positions_of_a_small_batch(half):
    net = nano(init_std=0.02)
    batch = Flat.pack(SEQUENCES)
    positions, labels = torch.tensor([2, 4, 23, 24]), torch.tensor([7, 8, 9, 10])
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(150):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            loss = cross_entropy(net(batch, positions).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert cross_entropy(net(batch)[positions], labels) < 0.1


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        net = nano(checkpointing=checkpointing).train()
        net(Flat.pack(SEQUENCES)).square().sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@torch.no_grad()
def test_hidden_states_of_inner_layers():
    net, batch = nano().eval(), Flat.pack(SEQUENCES)
    torch.testing.assert_close(net.hidden(batch, 0), net.embed(batch))
    assert torch.equal(net.hidden(batch, 2), net.hidden(batch))
    assert not torch.equal(net.hidden(batch, 1), net.hidden(batch))


def test_every_trainable_weight_has_a_gradient():
    """DDP waits for the gradient of each: the head of the contacts is left out, by masks and by labels."""
    sequence = Flat.pack(SEQUENCES)
    for net, result in ((nano(contacts=True), Esm2.forward), (nano(contacts=True).alone(), Esm2.hidden)):
        result(net, sequence).sum().backward()
        assert [n for n, p in net.named_parameters() if p.requires_grad and p.grad is None] == []


@torch.no_grad()
def test_contacts_are_symmetric_and_need_their_head():
    contacts = nano(contacts=True).contacts(Flat.pack(SEQUENCES[:2]))
    assert [tuple(c.shape) for c in contacts] == [(5, 5), (10, 10)]
    torch.testing.assert_close(contacts[1], contacts[1].T)
    with pytest.raises(ConfigError, match=r"model\.contacts=true"):
        nano().contacts(Flat.pack(SEQUENCES[:2]))


def test_flops_equal_the_counted_matrix_products():
    net, sizes = nano(), (7, 12)
    batch = Flat.pack(SEQUENCES[:2])
    positions = torch.tensor([2, 4])
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        net(batch, positions)
    counted = counter.get_total_flops() + sum(2 * 2 * 32 * n * n * 2 for n in sizes) * (counter_misses_attention())
    assert net.training_flops(sizes, 2) == 3 * counted


def counter_misses_attention() -> int:
    """Whether the counter sees the products inside our autograd function: 0 if it does, 1 if not."""
    from torch.utils.flop_counter import FlopCounterMode

    q = torch.randn(4, 2, 8, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        attention(q, q, q, (4,), (4,))
    return int(counter.get_total_flops() == 0)


def test_invalid_arguments_raise_errors():
    with pytest.raises(ConfigError, match=r"model\.d_model=30 must be a multiple of 2 x model\.heads=4"):
        Esm2(d_model=30, heads=4)
    with pytest.raises(ConfigError, match=r"model\.masked_share=1"):
        Esm2(masked_share=1)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_configs_have_the_published_sizes(path):
    settings = OmegaConf.to_container(compose("train", [f"model={path.stem}"]).model)
    assert settings.pop("_target_") == "trimer.models.esm2.Esm2"
    with torch.device("meta"):
        net = Esm2(**settings)
    if path.stem in PUBLISHED:
        contact_head = settings["layers"] * settings["heads"] + 1
        assert sum(p.numel() for p in net.parameters()) == PUBLISHED[path.stem] - contact_head
