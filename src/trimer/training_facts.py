"""Facts about the training data of a checkpoint, and warnings about records that are unlike the training data.

Each training stage (`trimer.data.core.training_keys`) holds the facts of its data module as plain values:
- spectra with molecules: `simulated` (whether a source simulated them) and `adducts` (name -> training spectra);
- peptides: `sites`, the residues and modifications in the train split (`trimer.peptides.seen_sites`).
Spectra without molecules, as in denoising, have no facts. For a checkpoint of an older version, the facts are derived
from its config.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from trimer.chemistry.adducts import harmonise_adduct
from trimer.counts import counted

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded

log = logging.getLogger(__name__)

NO_ADDUCT = "no adduct"
UNKNOWN = "unknown"


def warn_of_unseen_spectra(loaded: Loaded, adducts: Sequence[str | None]) -> None:
    """Warn if the training data were simulated or lack some of these adducts. adducts: of each spectrum to predict."""
    facts = [stage["facts"] for stage in loaded.training_keys or () if "adducts" in stage.get("facts", ())]
    facts = facts or [fact for fact in [facts_of_config(loaded.contract["data"])] if fact]
    if facts and all(fact["simulated"] for fact in facts):
        log.warning(
            "this checkpoint was trained on simulated spectra only: do not trust its molecules for measured spectra; "
            "fine-tune it on a measured library with trimer train data=... ckpt=..."
        )
    seen = {adduct_name(name) for fact in facts for name in fact["adducts"]}
    counts = Counter(map(adduct_name, adducts))
    unseen = {name: count for name, count in counts.most_common() if name not in seen}
    if seen and unseen:
        log.warning(
            "%s of %s have an adduct that is not in the training data of this checkpoint: %s (trained on %s)",
            f"{sum(unseen.values()):,}",
            counted(len(adducts), "spectra"),
            ", ".join(f"{name} ({count:,})" for name, count in unseen.items()),
            ", ".join(sorted(seen)),
        )


def unseen_sites_of(loaded: Loaded, texts: Sequence[str | None], rows: Iterable[int]) -> dict[int, str]:
    """Row -> residues and modifications that are in no training stage, such as `C; K[UNIMOD:121]`.

    "" if all are; UNKNOWN if the checkpoint does not list those of its training data.
    """
    from trimer.peptides.seen_sites import unseen_sites

    facts = [stage.get("facts", {}) for stage in loaded.training_keys or ()]
    if not facts or not all("sites" in fact for fact in facts):
        log.warning("`unseen` is unknown: this checkpoint does not list the modifications it was trained on")
        return dict.fromkeys(rows, UNKNOWN)
    seen = frozenset(site for fact in facts for site in fact["sites"])
    unseen = {row: unseen_sites(text, seen) for row in rows if (text := texts[row]) is not None}
    if count := sum(map(bool, unseen.values())):
        log.warning(
            "%s residues or modifications that are not in the training data: see the column `unseen`",
            counted(count, "peptides", "have"),
        )
    return unseen


def adduct_name(adduct: str | None) -> str:
    """The harmonised name of an adduct, the text itself if it cannot be parsed, or `no adduct`."""
    return harmonise_adduct(adduct) or adduct or NO_ADDUCT


def facts_of_config(data: Mapping) -> dict:
    """Facts of the config of a data module of spectra: whether the source simulates, and the allowed adducts."""
    from trimer.building import located

    target = (data.get("source") or {}).get("_target_")
    if target is None or "cleaning" not in data:
        return {}
    step = (data.get("cleaning") or {}).get("adducts") or {}
    simulated = getattr(located(target, "data.source"), "simulated", False)
    return {"simulated": simulated, "adducts": dict.fromkeys(step.get("allowed") or (), 0)}
