"""Stores that are written at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trimer.data.core.store import Store, StoreWriter


def write_store(folder: Path, columns: Mapping, manifest: Mapping) -> Store:
    """Write a store of n rows and open it."""
    with StoreWriter(folder, manifest) as writer:
        writer.append(columns)
    return Store(folder)
