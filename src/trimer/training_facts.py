"""What the training data of a checkpoint hold beside the keys of their records, and warnings that follow.

Each stage of a training (`trimer.data.core.training_keys`) has the facts that its data module states, as plain values:
- of spectra with molecules `simulated`, whether a source simulated them, and `adducts`, name -> training spectra;
- of peptides `sites`, the residues and modifications in train (`trimer.peptides.seen`).
Spectra without molecules, as in denoising, state none. A checkpoint of an older version is judged by its configuration.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from trimer.chemistry.adducts import harmonise_adduct

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded

log = logging.getLogger(__name__)

NO_ADDUCT = "no adduct"


def warn_of_unseen_spectra(loaded: Loaded, adducts: Sequence[str | None]) -> None:
    """Warn where spectra to be predicted are of a kind that no stage of the training had. adducts: of each spectrum."""
    facts = [stage["facts"] for stage in loaded.training_keys or () if "adducts" in stage.get("facts", ())]
    facts = facts or [found for found in [facts_of_config(loaded.contract["data"])] if found]
    if facts and all(own["simulated"] for own in facts):
        log.warning(
            "this checkpoint was trained on simulated spectra only: do not trust its molecules for measured spectra; "
            "fine-tune it on a measured library with trimer train data=... ckpt=..."
        )
    seen = {adduct_name(name) for own in facts for name in own["adducts"]}
    counts = Counter(map(adduct_name, adducts))
    unseen = {name: count for name, count in counts.most_common() if name not in seen}
    if seen and unseen:
        log.warning(
            "%s of %s spectra have an adduct that this checkpoint never saw in training: %s; it was trained on %s",
            f"{sum(unseen.values()):,}",
            f"{len(adducts):,}",
            ", ".join(f"{name} ({count:,})" for name, count in unseen.items()),
            ", ".join(sorted(seen)),
        )


def unseen_of_peptides(loaded: Loaded, texts: Sequence[str | None], rows: Iterable[int]) -> dict[int, str]:
    """Row -> its residues and modifications that no stage of the training had, as `C; K[UNIMOD:121]`."""
    from trimer.peptides.seen import unseen_sites

    facts = [stage.get("facts", {}) for stage in loaded.training_keys or ()]
    if not facts or not all("sites" in own for own in facts):
        log.warning("this checkpoint does not say which modifications it was trained on, so none can be marked as new")
        return dict.fromkeys(rows, "")
    seen = frozenset(site for own in facts for site in own["sites"])
    marked = {row: unseen_sites(texts[row], seen) for row in rows}
    if count := sum(map(bool, marked.values())):
        log.warning("%s peptides hold residues or modifications that the model never saw: see `unseen` of each", count)
    return marked


def adduct_name(adduct: str | None) -> str:
    """The one name of an adduct, the text itself where it cannot be read, or `no adduct`."""
    return harmonise_adduct(adduct) or adduct or NO_ADDUCT


def facts_of_config(data: Mapping) -> dict:
    """What a configuration of spectra says: whether the source simulates, and the adducts that it lets through."""
    from trimer.building import located

    target = (data.get("source") or {}).get("_target_")
    if target is None or "cleaning" not in data:
        return {}
    step = (data.get("cleaning") or {}).get("adducts") or {}
    simulated = getattr(located(target, "data.source"), "simulated", False)
    return {"simulated": simulated, "adducts": dict.fromkeys(step.get("allowed") or (), 0)}
