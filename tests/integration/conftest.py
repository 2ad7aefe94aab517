"""What makes the trainings of these tests short: few trees, rough figures, and no C++ compiler.

tests/baselines tests what forests learn, tests/reporting how figures look, tests/tasks compiled layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
import torch

from trimer.baselines.molecule_baselines import DescriptorForest, MorganForest


@pytest.fixture(autouse=True, scope="module")
def _short_trainings(rough_figures: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for forest in (MorganForest, DescriptorForest):
            patch.setattr(forest, "trees", 20)
        patch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # runs the captured graphs
        yield
