"""Folds of cross-validation: each group of rows is in the test split of exactly one fold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from trimer.data.core.splits import FRACTIONS, Keys, Split, grouped_split, row_groups
from trimer.errors import ConfigError, InputError

OTHER_WAYS = ("column", "ordered_by")  # keys of data.split that leave no choice of a fold


def fold_split(keys: Keys, fold: int, folds: int, fractions: Mapping[str, float] | None = None, seed: int = 0) -> Split:
    """Fold `fold` of `folds` is the test split, the other folds are train, without a validation split drawn from them.

    keys, seed: as for `grouped_split`: rows that share a value of any key are in one fold. fractions: those of train
    and val give the share of the validation rows; without val there is no validation split.
    """
    groups = row_groups(keys)
    sizes = np.bincount(groups)
    if len(sizes) < folds:
        raise InputError(
            f"data.split.folds={folds} is more than the {len(sizes)} groups over {' and '.join(keys)}: use fewer "
            "folds, or other data.split.keys"
        )
    # Large groups first, while all folds are nearly empty; the others in random order, each to the smallest fold.
    order = np.random.default_rng(seed).permutation(len(sizes))
    large = sizes[order] > 0.1 * len(groups) / folds
    order = np.concatenate([order[large][np.argsort(-sizes[order][large], kind="stable")], order[~large]])
    fold_of, have = np.zeros(len(sizes), np.int64), np.zeros(folds, np.int64)
    for group in order:
        fold_of[group] = np.argmin(have)
        have[fold_of[group]] += sizes[group]
    split = Split.build(
        fold_of[groups] == fold,
        ("train", "test"),
        method=f"fold {fold} of {folds} over {' and '.join(keys)}",
        keys=list(keys),
        seed=seed,
        fold=fold,
        fold_sizes=have.tolist(),
        groups=len(sizes),
        largest_group=int(sizes.max()),
    )
    shares = FRACTIONS if fractions is None else fractions
    if "val" in shares:
        split = split.with_validation(keys, shares["val"] / (shares["train"] + shares["val"]), seed)
    split.assert_disjoint(keys)
    return split


def key_split(keys: Keys, by: Mapping[str, Any]) -> Split:
    """The split of rows by groups that the settings `data.split` describe: one of several folds, or by fractions."""
    if by.get("fold") is None:
        return grouped_split(keys, by.get("fractions"), seed=by.get("seed", 0))
    return fold_split(keys, by["fold"], by["folds"], by.get("fractions"), by.get("seed", 0))


def checked_folds(split: Mapping[str, Any]) -> dict[str, Any]:
    """The settings `data.split` without those of folds if no fold is chosen; ConfigError for an impossible fold."""
    fold, folds = split.get("fold"), split.get("folds")
    if fold is None:  # as if the keys did not exist, so that earlier caches stay valid
        return {key: value for key, value in split.items() if key not in ("fold", "folds")}
    if not isinstance(folds, int) or folds < 2:
        raise ConfigError(f"data.split.folds={folds} must be a whole number from 2")
    if not isinstance(fold, int) or not 0 <= fold < folds:
        raise ConfigError(f"data.split.fold={fold} must be from 0 to {folds - 1}, since data.split.folds={folds}")
    for other in OTHER_WAYS:
        if split.get(other):
            raise ConfigError(
                f"data.split.fold={fold}: the data are split by data.split.{other}={split[other]}; for folds set "
                f"data.split.{other}=null and data.split.keys"
            )
    return dict(split)
