"""Baselines of these tests have few trees, and figures are rough: tests/baselines and tests/reporting test them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trimer.baselines.molecule_baselines import DescriptorForest, MorganForest


@pytest.fixture(autouse=True, scope="module")
def _few_trees(rough_figures: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for forest in (MorganForest, DescriptorForest):
            patch.setattr(forest, "trees", 20)
        yield
