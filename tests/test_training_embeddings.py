"""Nearness of embeddings to those of the training data."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from trimer.checkpoint import Loaded
from trimer.errors import CheckpointError
from trimer.training_embeddings import NEIGHBOURS, Neighbours, unit

WIDTH = 8
RANDOM = np.random.default_rng(0)
CLUSTER = RANDOM.normal(size=WIDTH) + 0.1 * RANDOM.normal(size=(40, WIDTH))  # training sequences of one family
OTHERS = RANDOM.normal(size=(40, WIDTH))  # and of none


def neighbours(validation=(0.2, 0.4, 0.6, 0.8)) -> Neighbours:
    train = np.concatenate([CLUSTER, OTHERS])
    mean = train.mean(0)
    return Neighbours(unit(train - mean).astype(np.float16), mean, np.array(validation, np.float32))


def test_nearness_is_the_mean_cosine_to_the_nearest_training_embeddings():
    near = neighbours()
    query = RANDOM.normal(size=(3, WIDTH))
    cosines = unit(query - near.mean) @ near.vectors.T
    np.testing.assert_allclose(near.nearness(query), np.sort(cosines, 1)[:, -NEIGHBOURS:].mean(1), rtol=1e-5)


def test_a_relative_of_the_training_data_is_nearer_than_a_stranger():
    near = neighbours()
    relative, stranger = CLUSTER.mean(0), -CLUSTER.mean(0)
    first, second = near.applicability(np.stack([relative, stranger]))
    assert first == 1.0 > second


def test_applicability_is_the_rank_among_validation_sequences():
    near = neighbours()
    query = RANDOM.normal(size=(20, WIDTH))
    nearness, values = near.nearness(query), near.applicability(query)
    assert values == [float((near.validation <= value).mean()) for value in nearness]
    assert neighbours(validation=()).applicability(query) == [None] * 20
    assert near.applicability(np.zeros((0, WIDTH))) == []


def loaded(stored) -> Loaded:
    net = SimpleNamespace(encoder=SimpleNamespace(d_model=WIDTH))
    return Loaded(net, None, {}, Path("x.ckpt"), training_embeddings=stored)


def test_damaged_embeddings_raise_an_error():
    near = neighbours()
    good = {name: torch.from_numpy(getattr(near, name)) for name in ("vectors", "mean", "validation")}
    assert Neighbours.of(loaded(good)).applicability(CLUSTER[:1]) == near.applicability(CLUSTER[:1])
    assert Neighbours.of(loaded(None)) is None
    for change in (
        {"mean": torch.zeros(3)},
        {"vectors": torch.zeros(4)},
        {"validation": 3},
        {"vectors": good["vectors"] / 0},
    ):
        with pytest.raises(CheckpointError, match=r"x\.ckpt: the key training_embeddings"):
            Neighbours.of(loaded(good | change))
