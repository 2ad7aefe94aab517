"""Checks of the settings of labelled data, before any file is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trimer.data.labelled.sequence_kinds import KINDS
from trimer.targets import TARGETS

CLUSTER = "cluster"  # name of the split key for clusters of a file or a column
TOO_LONG = ("drop", "ends", "start")


def check_settings(
    entity: str,
    target: str,
    classes: int | Sequence[str] | None,
    max_length: int,
    too_long: str,
    validation: float,
    random_smiles: float,
    features: Sequence[str] = (),
) -> None:
    """ValueError for an unknown setting, and for settings that exclude each other."""
    for name, value, known in (
        ("entity", entity, tuple(KINDS)),
        ("target", target, tuple(TARGETS)),
        ("too_long", too_long, TOO_LONG),
    ):
        if value not in known:
            raise ValueError(f"{name}={value} must be one of {', '.join(known)}")
    if max_length < 3:
        raise ValueError(f"max_length={max_length} must be 3 or more: two tokens mark begin and end")
    if not 0 < validation < 1:
        raise ValueError(f"validation={validation} must be a fraction between 0 and 1")
    if entity == "peptides" and too_long != "drop":
        raise ValueError(f"too_long={too_long}: a shortened peptide is another peptide; use too_long=drop")
    if TARGETS[target].by_residue and too_long != "drop":
        raise ValueError(f"too_long={too_long}: residue labels need whole sequences; use too_long=drop")
    if TARGETS[target].by_residue and entity != "proteins":
        raise ValueError(f"target=residue: {entity} have no residue labels; use entity=proteins")
    if classes is not None and not TARGETS[target].has_classes:
        raise ValueError(f"classes={classes}: target={target} has labels, not classes; use classes=null")
    if classes is not None and (classes if isinstance(classes, int) else len(set(classes))) < 2:
        raise ValueError(f"classes={classes} must be 2 or more, a list of names, or null")
    if features and entity != "molecules":
        raise ValueError(f"features={list(features)} are those of molecules, not of entity={entity}; use []")
    if random_smiles and entity != "molecules":
        raise ValueError(f"random_smiles={random_smiles} applies to molecules only, not to entity={entity}; use 0")


def check_clusters(split: Mapping, clusters: str | None, cluster_column: str | None) -> None:
    """ValueError if clusters come from two sources, or are a split key without a source."""
    if clusters and cluster_column:
        raise ValueError(f"clusters={clusters} and cluster_column={cluster_column} both set clusters: use one of them")
    if CLUSTER in (split.get("keys") or ()) and not (clusters or cluster_column):
        raise ValueError("split.keys contains cluster: set clusters=<file> or cluster_column=<column>")
