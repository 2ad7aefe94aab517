"""Short names of settings are distinct."""

from __future__ import annotations

from trimer.reporting.setting_names import short_keys


def test_keys_with_the_same_last_word_are_told_apart():
    keys = ["seed", "data.split.seed", "optimizer.lr", "task.head.pooling", "model.pooling"]
    assert list(short_keys(keys).values()) == ["seed", "split.seed", "lr", "head.pooling", "model.pooling"]
    assert short_keys(["a.b.x", "c.b.x"]) == {"a.b.x": "a.b.x", "c.b.x": "c.b.x"}
