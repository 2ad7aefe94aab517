"""The spectra with molecules that a checkpoint was trained on, kept in it as `trained_on`, and warnings that follow.

`trained_on` is `{"simulated": bool, "adducts": {name: spectra}}` over all training stages: simulated is true where
every spectrum of every stage was. Spectra without molecules, as in denoising, do not count. A checkpoint without it
is judged by its configuration.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trimer.adducts import harmonise_adduct
from trimer.errors import TrimerError

log = logging.getLogger(__name__)

NO_ADDUCT = "no adduct"


def training_record(data: Any, begun_with: str | Path | None, resumed: Mapping | None = None) -> dict | None:
    """The record of a training on a data module and of the stages before it; None where none had such spectra.

    begun_with: the checkpoint that the training starts from. resumed: the contract of the run that is resumed, whose
    record stays.
    """
    if resumed is not None:
        return resumed.get("trained_on")
    own = data.training_record() if hasattr(data, "training_record") else None
    earlier = _record_of(begun_with)
    if own is None or earlier is None:
        return own or earlier
    adducts = Counter(earlier["adducts"]) + Counter(own["adducts"])
    return {"simulated": own["simulated"] and earlier["simulated"], "adducts": dict(adducts)}


def warn_of_unseen(contract: Mapping, adducts: Sequence[str | None]) -> None:
    """Warn where spectra to be predicted are of a kind that the training had none of. adducts: of each spectrum."""
    record = contract.get("trained_on") or _from_config(contract["data"])
    if record is None:
        return
    if record["simulated"]:
        log.warning(
            "this checkpoint was trained on simulated spectra only: do not trust its molecules for measured spectra; "
            "fine-tune it on a measured library with trimer train data=... ckpt=..."
        )
    seen = set(map(adduct_name, record["adducts"]))
    unseen = Counter(map(adduct_name, adducts))
    unseen = {name: count for name, count in unseen.most_common() if name not in seen}
    if seen and unseen:
        log.warning(
            "%s of %s spectra have an adduct that this checkpoint never saw in training: %s; it was trained on %s",
            f"{sum(unseen.values()):,}",
            f"{len(adducts):,}",
            ", ".join(f"{name} ({count:,})" for name, count in unseen.items()),
            ", ".join(sorted(seen)),
        )


def adduct_name(adduct: str | None) -> str:
    """The one name of an adduct, the text itself where it cannot be read, or `no adduct`."""
    return harmonise_adduct(adduct) or adduct or NO_ADDUCT


def _record_of(path: str | Path | None) -> dict | None:
    """The record of a checkpoint of ours; None for public weights and for what is no longer there."""
    from trimer.checkpoint import read
    from trimer.public import is_public

    if path is None or is_public(path):
        return None
    try:
        contract = read(path)["trimer"]
    except TrimerError:
        return None
    return contract.get("trained_on") or _from_config(contract["data"])


def _from_config(data: Mapping) -> dict | None:
    """What the configuration of the data says: whether the source simulates, and the adducts that it lets through."""
    from trimer.build import located

    target = (data.get("source") or {}).get("_target_")
    if target is None:
        return None
    step = (data.get("cleaning") or {}).get("adducts") or {}
    simulated = getattr(located(target, "data.source"), "simulated", False)
    return {"simulated": simulated, "adducts": dict.fromkeys(step.get("allowed") or (), 0)}
