"""The baselines for each kind of labelled sequence, by their names in result tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from trimer.baselines import stored_boosting
from trimer.baselines.label_baseline import LabelBaseline, Majority
from trimer.baselines.linear_baselines import CompositionModel, PeptideComposition
from trimer.baselines.molecule_baselines import DescriptorForest, MoleculeBoosting, MorganForest, TanimotoMachine
from trimer.baselines.residue_baselines import ResidueFrequencies, ResidueWindows

TRIVIAL = "trivial baseline: majority or mean"
# Name in result tables -> baseline, built by (kind, seed, threads); the strongest last.
Baselines = Mapping[str, Callable[[str, int, int], LabelBaseline]]
FOR_MOLECULES: Baselines = {
    TRIVIAL: Majority,
    "random forest on descriptors": DescriptorForest,
    "random forest on Morgan fingerprints": MorganForest,
    "SVM, Tanimoto of Morgan counts": TanimotoMachine,
    stored_boosting.NAME: MoleculeBoosting,
}
FOR_PEPTIDES: Baselines = {TRIVIAL: Majority, "linear model on composition": PeptideComposition}
FOR_PROTEINS: Baselines = {TRIVIAL: Majority, "linear model on composition": CompositionModel}
FOR_RESIDUES: Baselines = {TRIVIAL: ResidueFrequencies, "linear model on windows": ResidueWindows}
