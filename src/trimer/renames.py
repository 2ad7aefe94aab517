"""Renamed modules and classes, so that checkpoints and run folders of earlier versions can be read."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

# Former module: present module, both inside the package `trimer`.
MODULES = {
    "data.batches": "data.core.batches",
    "data.store": "data.core.store",
    "data.store_files": "data.core.store_files",
    "data.sampler": "data.core.sampler",
    "data.splits": "data.core.splits",
    "data.loaders": "data.core.loaders",
    "data.draws": "data.core.draws",
    "data.drops": "data.core.drops",
    "data.packing": "data.core.packing",
    "data.static": "data.core.static_batches",
    "data.static_plan": "data.core.static_plan",
    "data.parallel": "data.core.parallel",
    "data.training_keys": "data.core.training_keys",
    "data.masking": "data.core.masking",
    "data.masked": "data.modules.masked_sequences",
    "data.noise": "data.core.noise",
    "data.sources.label_table": "data.core.label_table",
    "data.prepared": "data.modules.base",
    "data.denoising": "data.modules.denoising",
    "data.fragments": "data.modules.fragment_data",
    "data.labelled": "data.modules.labelled_data",
    "data.pairs": "data.modules.spectrum_pairs",
    "data.molecules": "data.modules.masked_sequences",
    "data.proteins": "data.modules.masked_sequences",
    "data.exclusion": "data.modules.held_out",
    "data.class_names": "data.labelled.class_names",
    "data.label_checks": "data.labelled.label_checks",
    "data.label_counts": "data.labelled.label_counts",
    "data.label_duplicates": "data.labelled.label_duplicates",
    "data.label_lists": "data.labelled.label_lists",
    "data.label_numbers": "data.labelled.label_numbers",
    "data.label_values": "data.labelled.label_values",
    "data.residue_labels": "data.labelled.residue_labels",
    "data.labelled_columns": "data.labelled.labelled_columns",
    "data.labelled_rows": "data.labelled.labelled_rows",
    "data.sequence_kinds": "data.labelled.sequence_kinds",
    "data.sources.sequence_files": "data.labelled.sequence_files",
    "data.sources.label_files": "data.labelled.label_files",
    "data.sources.foodb": "data.labelled.foodb",
    "data.sources.deeploc": "data.labelled.deeploc",
    "data.sources.descriptors": "data.labelled.descriptors",
    "data.sources.residue_files": "data.labelled.residue_files",
    "data.sources.peptide_labels": "data.labelled.peptide_labels",
    "data.spectra": "data.spectra.spectrum_table",
    "data.polarity": "data.spectra.polarity",
    "data.splash": "data.spectra.splash",
    "data.cleaning": "data.spectra.cleaning",
    "data.cleaning.chain": "data.spectra.cleaning.chain",
    "data.cleaning.peaks": "data.spectra.cleaning.peaks",
    "data.cleaning.records": "data.spectra.cleaning.records",
    "data.cleaning.step": "data.spectra.cleaning.step",
    "data.cleaning.structures": "data.spectra.cleaning.structures",
    "data.readers.mgf": "data.spectra.readers.mgf",
    "data.readers.msp": "data.spectra.readers.msp",
    "data.readers.mzml": "data.spectra.readers.mzml",
    "data.readers.mzxml": "data.spectra.readers.mzxml",
    "data.readers.gnps_json": "data.spectra.readers.gnps_json",
    "data.readers.massbank": "data.spectra.readers.massbank",
    "data.readers.massspecgym": "data.spectra.readers.massspecgym",
    "data.readers.fields": "data.spectra.readers.fields",
    "data.readers.records": "data.spectra.readers.record_table",
    "data.readers": "data.spectra.readers",
    "data.sources.spectral_sources": "data.spectra.spectrum_sources",
    "data.molecule_keys": "data.molecules.molecule_keys",
    "data.molecule_rules": "data.molecules.molecule_rules",
    "data.random_smiles": "data.molecules.random_smiles",
    "data.sources.molecule_files": "data.molecules.molecule_files",
    "data.sources.structure_tables": "data.molecules.structure_tables",
    "data.clusters": "data.proteins.clusters",
    "data.kmers": "data.proteins.kmers",
    "data.relatives": "data.proteins.relatives",
    "data.sources.protein_files": "data.proteins.protein_files",
    "data.sources.protein_table": "data.proteins.protein_table",
    "data.peptide_batches": "data.peptides.peptide_batches",
    "data.sources.peptide_files": "data.peptides.peptide_files",
    "data.sources.peptide_layouts": "data.peptides.peptide_layouts",
    "data.sources.peptide_merging": "data.peptides.peptide_merging",
    "data.sources.peptide_values": "data.peptides.peptide_values",
    "data.sources.fragment_files": "data.peptides.fragment_files",
    "data.readers.annotated_spectra": "data.peptides.annotated_spectra",
    "data.readers.annotations": "data.peptides.fragment_annotations",
    "data.readers.fragment_records": "data.peptides.fragment_records",
    "data.readers.library_tables": "data.peptides.library_tables",
    "data.readers.library_texts": "data.peptides.library_texts",
    "data.readers.peptide_tables": "data.peptides.peptide_tables",
    "data.readers.plain_residues": "data.peptides.plain_residues",
    "data.readers.psm_quality": "data.peptides.psm_quality",
    "data.sources.column_names": "data.text.column_names",
    "data.sources.files": "data.text.paths",
    "data.sources.download": "data.text.download",
    "data.spelling": "data.text.spelling",
    "baselines.labels": "baselines.label_baselines",
    "baselines.proteins": "baselines.protein_baselines",
    "baselines.spectra": "baselines.spectrum_baselines",
    "baselines.before": "baselines.model_before",
    "metrics.calibration": "metrics.temperature",
    "metrics.fragments": "metrics.fragment_metrics",
    "metrics.labels": "metrics.label_metrics",
    "metrics.language": "metrics.perplexity",
    "metrics.molecules": "metrics.molecule_metrics",
    "metrics.spectra": "metrics.candidate_metrics",
    "metrics.facts": "metrics.molecule_properties",
    "metrics.measured": "metrics.intervals",
    "metrics.weighted": "metrics.weighted_rows",
    "models.fragments": "models.fragment_model",
    "models.labelled": "models.labelled_model",
    "models.peptides": "models.peptide_encoder",
    "models.convert.bart": "models.convert.bart_weights",
    "models.convert.esm2": "models.convert.esm2_weights",
    "models.convert.roberta": "models.convert.roberta_weights",
    "generation.molecules": "generation.molecule_generator",
    "simulate.molecules": "simulate.simulated_molecules",
    "simulate.peptides": "simulate.simulated_peptides",
    "simulate.proteins": "simulate.simulated_proteins",
    "simulate.spectra": "simulate.simulated_spectra",
}

# Task: its study. Checkpoints of earlier versions name no study.
STUDIES = {
    "trimer.tasks.seq2seq.Seq2Seq": "trimer.studies.molecule_study.MoleculeStudy",
    "trimer.tasks.masked_lm.MaskedLM": "trimer.studies.masked_token_study.MaskedTokenStudy",
    "trimer.tasks.classification.Classification": "trimer.studies.label_study.LabelStudy",
    "trimer.tasks.regression.Regression": "trimer.studies.label_study.LabelStudy",
    "trimer.tasks.fragments.FragmentIntensities": "trimer.studies.fragment_study.FragmentStudy",
}


def current_contract(contract: dict[str, Any]) -> dict[str, Any]:
    """The contract of a checkpoint, with former names replaced by present ones."""
    kind = current_target(contract["kind"])
    study = contract.get("study") or STUDIES.get(kind, "trimer.studies.study.Study")
    return current_config(contract) | {"kind": kind, "study": current_target(study)}


# `_target_=trimer.<name>` of an override, or `_target_: trimer.<name>` inside a dict of one.
TARGET_VALUE = re.compile(r"(?P<key>\b_target_\s*[=:]\s*[\"']?)(?P<target>trimer(?:\.\w+)+)")
BERT = {"_target_": "trimer.data.core.masking.Masking", "ratio": 0.15, "mask": 0.8, "replace": 0.1}
# Former class in its present module: present class, and arguments that keep the behaviour of the former class if a
# config does not set them.
CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "data.modules.masked_sequences.ProteinSequences": (
        "data.modules.masked_sequences.MaskedSequences",
        {
            "entity": "proteins",
            "crop": 1022,
            "masking": BERT,
            "validation_masking": BERT,
            "tokens_per_batch": 32768,
        },
    ),
    "data.modules.masked_sequences.MoleculeSequences": (
        "data.modules.masked_sequences.MaskedSequences",
        {
            "entity": "molecules",
            "max_length": 256,
            "masking": BERT | {"ratio": 0.3},
            "validation_masking": BERT | {"ratio": 0.3},
            "tokens_per_batch": 8192,
        },
    ),
}


def current_target(target: str) -> str:
    """The present dotted name of a class or function that a config of an earlier version names."""
    return _current(target)[0]


def current_override(text: str) -> str:
    """A command-line override with each `_target_` under its present name.

    >>> current_override("data.source._target_=trimer.data.sources.foodb.FooDB")
    'data.source._target_=trimer.data.labelled.foodb.FooDB'
    """
    return TARGET_VALUE.sub(lambda match: match["key"] + current_target(match["target"]), text)


def current_config(node: Any) -> Any:
    """A config of plain values with each `_target_` under its present name and with the arguments it requires now."""
    if isinstance(node, list):
        return [current_config(value) for value in node]
    if not isinstance(node, dict):
        return node
    node = {key: current_config(value) for key, value in node.items()}
    if isinstance(node.get("_target_"), str):
        target, arguments = _current(node["_target_"])
        node = {**node, "_target_": target}
        for name, value in arguments.items():
            if name not in node or (node[name] is None and isinstance(value, dict)):
                node[name] = deepcopy(value)
    return node


def _current(target: str) -> tuple[str, dict[str, Any]]:
    """The present name of a target, and the arguments that keep the behaviour of its former name."""
    package, _, path = target.partition(".")
    module, _, name = path.rpartition(".")
    if package != "trimer" or not module:
        return target, {}
    path = f"{MODULES.get(module, module)}.{name}"
    path, arguments = CLASSES.get(path, (path, {}))
    return f"trimer.{path}", arguments
