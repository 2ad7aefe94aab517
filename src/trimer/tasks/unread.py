"""What an encoder is not told of peptides is said before it trains: it learns all the same, and less."""

from __future__ import annotations

import logging

import numpy as np

log = logging.getLogger(__name__)


def warn_of_unread(encoder, data) -> None:
    """A warning where the peptides of prepared data have modifications, or spectra conditions, that are not read."""
    store, name = getattr(data, "store", None), type(encoder).__name__
    if store is None or not store.manifest.get("compositions"):
        modified = 0
    else:
        numbers = store.ragged("modifications").take(np.arange(len(store)))
        owners = np.repeat(np.arange(len(numbers.lengths)), numbers.lengths)
        modified = len(np.unique(owners[np.flatnonzero(numbers.values)]))
    if modified and not getattr(encoder, "reads_modifications", False):
        log.warning(
            "model=%s cannot see modifications: %s of %s peptides have some and are read as if they had none; choose "
            "model=peptides_small, or another model of peptides",
            name,
            f"{modified:,}",
            f"{len(store):,}",
        )
    if getattr(data, "target", None) == "fragments" and getattr(encoder, "conditions", None) is None:
        log.warning(
            "model=%s is not told the charge, the collision energy and the instrument of a spectrum: choose "
            "model=peptides_fragments, or set model.conditions=true where the model is one of peptides",
            name,
        )
