"""Warnings before training if an encoder ignores modifications of peptides or conditions of a spectrum."""

from __future__ import annotations

import logging

import numpy as np

log = logging.getLogger(__name__)


def warn_of_ignored_inputs(encoder, data) -> None:
    """Warn when the encoder ignores modifications or acquisition conditions that the prepared data have."""
    store, name = getattr(data, "store", None), type(encoder).__name__
    modified, records = 0, 0
    if store is not None and store.manifest.get("compositions"):
        records = len(store)
        numbers = store.ragged("modifications").take(np.arange(records))
        owners = np.repeat(np.arange(len(numbers.lengths)), numbers.lengths)
        modified = len(np.unique(owners[np.flatnonzero(numbers.values)]))
    if modified and not getattr(encoder, "reads_modifications", False):
        log.warning(
            "model=%s ignores modifications: %s of %s peptides have some and are treated as unmodified; choose "
            "model=peptides_small or another model of peptides",
            name,
            f"{modified:,}",
            f"{records:,}",
        )
    if getattr(data, "has_conditions", False) and getattr(encoder, "conditions", None) is None:
        log.warning(
            "model=%s ignores the charge, the collision energy and the instrument of a spectrum: choose "
            "model=peptides_fragments, or set model.conditions=true for a model of peptides",
            name,
        )
