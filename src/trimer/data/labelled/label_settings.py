"""Settings of labelled data that exclude each other, checked before anything is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trimer.data.labelled.label_values import TARGETS
from trimer.data.labelled.sequence_kinds import KINDS

CLUSTER = "cluster"  # the key of a split by clusters of a file or a column
TOO_LONG = ("drop", "ends", "start")


def check_settings(
    entity: str,
    target: str,
    classes: int | Sequence[str] | None,
    max_length: int,
    too_long: str,
    validation: float,
    random_smiles: float,
) -> None:
    """ValueError for a setting that is not known, and for two that exclude each other."""
    for name, value, known in (
        ("entity", entity, tuple(KINDS)),
        ("target", target, TARGETS),
        ("too_long", too_long, TOO_LONG),
    ):
        if value not in known:
            raise ValueError(f"{name}={value} must be one of {', '.join(known)}")
    if max_length < 3:
        raise ValueError(f"max_length={max_length} must be 3 tokens or more: two frame the sequence")
    if not 0 < validation < 1:
        raise ValueError(f"validation={validation} must be a share between 0 and 1")
    if entity == "peptides" and too_long != "drop":
        raise ValueError(f"too_long={too_long}: a part of a peptide is another peptide; choose drop")
    if target == "residue" and too_long != "drop":
        raise ValueError("too_long: labels of residues belong to whole sequences; choose drop")
    if target == "residue" and entity != "proteins":
        raise ValueError(f"target=residue: {entity} have no residues; choose entity=proteins")
    if classes is not None and target not in ("single", "residue"):
        raise ValueError(f"classes: target={target} has labels of its own names; leave it null")
    if classes is not None and (classes if isinstance(classes, int) else len(set(classes))) < 2:
        raise ValueError(f"classes={classes} must be 2 or more, their names, or null")
    if random_smiles and entity != "molecules":
        raise ValueError(f"random_smiles={random_smiles} rewrites molecules, and entity={entity}")


def check_clusters(split: Mapping, clusters: str | None, cluster_column: str | None) -> None:
    """ValueError where clusters are given twice, or are a key of the split and not given."""
    if clusters and cluster_column:
        raise ValueError(f"clusters={clusters} and cluster_column={cluster_column} are two of one kind: give one")
    if CLUSTER in (split.get("keys") or ()) and not (clusters or cluster_column):
        raise ValueError("split.keys names cluster: say where it is known from, clusters=<file> or cluster_column")
