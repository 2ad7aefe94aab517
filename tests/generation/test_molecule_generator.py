"""Parameters of the generator are checked when it is built, before any spectrum is read."""

import numpy as np
import pytest

from trimer.errors import ConfigError
from trimer.generation.molecule_generator import MoleculeGenerator, generation_key


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
