"""Parameters of the generator are checked when it is built, before any spectrum is read."""

import numpy as np
import pytest
import torch

from trimer.errors import ConfigError
from trimer.generation.molecule_generator import MoleculeGenerator, generation_key
from trimer.models.bart import Bart
from trimer.tokenizers.joint import SpectrumMoleculeTokenizer
from trimer.tokenizers.molecule import MoleculeTokenizer
from trimer.tokenizers.spectrum import SpectrumTokenizer


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("method", ["greedy"]),
        ("rank", ["best", None]),
        ("num_samples", [0, -1, 2.5, True, "abc", None]),
        ("temperature", [0, -1.0, float("nan"), float("inf"), "hot", True]),
        ("top_k", [-1, 1.5]),
        ("top_p", [0.0, 1.1, float("nan")]),
        ("beams", [0, "3"]),
        ("length_penalty", [float("inf"), "abc"]),
        ("max_length", [1, None]),
        ("tolerance_ppm", [0, -5.0, "abc"]),
        ("redraws", [-1, 11, 1.5]),
        ("batch", [0]),
        ("seed", [-1]),
    ],
)
def test_errors_name_the_parameter(name, values):
    for value in values:
        with pytest.raises(ConfigError, match=f"generator.{name}={value} "):
            MoleculeGenerator(**{name: value})


def test_limits_of_parameters_are_valid():
    generator = MoleculeGenerator(
        num_samples=1, temperature=1, top_k=0, top_p=1, beams=1, length_penalty=-1, max_length=2, batch=1
    )
    assert generator.tolerance_ppm is None
    with pytest.raises(ConfigError, match=r"generator\.method=beam generator\.beams=1"):
        MoleculeGenerator(temperature=0)


def test_random_numbers_of_a_spectrum_depend_on_its_tokens_only():
    tokens = np.array([0, 512, 7, 2])
    assert generation_key(tokens.astype(np.uint16)) == generation_key(tokens.astype(np.int32))
    assert generation_key(tokens) != generation_key(tokens[::-1])


def test_samples_that_are_not_molecules_are_drawn_again():
    torch.manual_seed(0)
    tokenizer = SpectrumMoleculeTokenizer(SpectrumTokenizer(max_mz=300), MoleculeTokenizer("selfies"))
    heads = {"encoder_heads": 2, "decoder_heads": 2}
    net = Bart(len(tokenizer), d_model=16, encoder_layers=1, decoder_layers=1, **heads, max_positions=40).eval()
    sources = [np.array([0, 9, 5, 2]), np.array([0, 7, 2]), np.array([0, 11, 30, 8, 2])]
    common = {"num_samples": 12, "max_length": 8, "temperature": 1.5}

    def generated(**settings):
        results = MoleculeGenerator(**common | settings).generate(net, tokenizer, sources)
        return [({c.smiles: c.count for c in result.candidates}, result.valid, result.generated) for result in results]

    once, thrice = generated(), generated(redraws=3)
    assert [count for *_, count in thrice] == [12, 12, 12]
    assert sum(valid for _, valid, _ in thrice) > sum(valid for _, valid, _ in once)
    for (before, *_), (after, *_) in zip(once, thrice, strict=True):
        assert all(after[smiles] >= count for smiles, count in before.items())  # valid samples stay
    assert generated(redraws=3, batch=1) == thrice  # also in other parts
