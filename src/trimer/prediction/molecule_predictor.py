"""Generates ranked molecules for spectra. docs/reference/files.md describes the columns of the table."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.building import build
from trimer.chemistry.molecule_definition import in_words
from trimer.counts import counted
from trimer.data.spectra.cleaning import clean_rows, warn_of_adducts
from trimer.data.spectra.readers import read_spectra, spectrum_files
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError
from trimer.evaluation.candidate_trust import COLUMNS as TRUST_COLUMNS
from trimer.evaluation.candidate_trust import CandidateTrust
from trimer.generation.candidates import agrees
from trimer.prediction.library_search import COLUMNS as LIBRARY_COLUMNS
from trimer.prediction.library_search import NO_LIBRARY, SpectrumLibrary
from trimer.prediction.pages import is_page, page_settings
from trimer.prediction.prediction_tables import MoleculeFile, Write
from trimer.prediction.predictor import Predictor, Records
from trimer.prediction.structure_file import SDF, write_sdf
from trimer.reporting.prediction_cards import CardSpectrum
from trimer.reporting.prediction_page import HTML, MoleculePage
from trimer.suggestions import did_you_mean
from trimer.training_facts import warn_of_unseen_spectra

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.checkpoint import Loaded
    from trimer.generation.molecule_generator import GeneratedMolecules, MoleculeGenerator
    from trimer.prediction.analogue_search import AnalogueSearch

log = logging.getLogger(__name__)

# Tokens, precursor m/z, adduct, and the cleaned spectrum if analogues of it are searched.
SpectrumInput = tuple[np.ndarray, float, str | None, SpectrumTable | None]
TEXT_COST = 16  # tokens that a text counts for in a batch: above about 128 texts a step gains no speed


class MoleculePredictor(Predictor):
    """Generates molecules for spectra, which are cleaned as in training.

    cfg.ranked: one row per candidate, at most `candidates`; else one row for the best. cfg.tolerance_ppm: largest mass
    error at which a molecule agrees with the precursor. cfg.only_agreeing: omit all other molecules, including those
    whose agreement cannot be checked; `rank` still counts all candidates.
    """

    columns = (
        "row",
        "id",
        "precursor_mz",
        "adduct",
        "rank",
        "candidates",
        "agreeing",
        "smiles",
        "formula",
        "neutral_mass",
        "ppm_error",
        "agrees",
        *TRUST_COLUMNS,
        "count",
        "log_likelihood",
        "score",
        *LIBRARY_COLUMNS,
        "in_training",
        "reason",
    )
    plural = "spectra"
    structure: str = "smiles"
    no_library: str | None = NO_LIBRARY  # `library_reason` without a library

    def __init__(
        self, loaded: Loaded, cfg: DictConfig, generator: MoleculeGenerator, analogues: AnalogueSearch | None = None
    ):
        super().__init__(loaded, cfg)
        if cfg.candidates < 1:
            raise ConfigError(f"candidates={cfg.candidates} must be at least 1")
        if not 0 < cfg.tolerance_ppm < float("inf"):
            raise ConfigError(f"tolerance_ppm={cfg.tolerance_ppm} must be a number above 0")
        self.generator = generator
        self.analogues = analogues
        steps = build(changed_cleaning(loaded.contract["data"]["cleaning"], cfg.cleaning))
        self.steps = {
            name: step
            for name, step in steps.items()
            if step is not None and not step.needs_label and not step.training_only
        }
        self.trust = CandidateTrust(loaded, generator)
        self.empty |= self.trust.empty
        self.page = is_page(cfg)
        self.spectra: dict[int, CardSpectrum] = {}  # row of the input -> its peaks, for a page

    @functools.cached_property
    def library(self) -> SpectrumLibrary | None:
        """The library to search; read when it is first needed, in the main process only."""
        cfg = self.cfg
        return None if cfg.library is None else SpectrumLibrary(cfg.library, self.steps, cfg.library_ppm)

    def writer(self, output: str | Path) -> MoleculeFile:
        further: dict[str, Write] = {SDF: functools.partial(write_sdf, structure=self.structure)}
        if self.page:
            shown = page_settings(self, "Predicted molecules")
            tolerance, ranked = self.cfg.tolerance_ppm, self.cfg.ranked
            further[HTML] = MoleculePage(**shown, spectra=self.spectra, ppm=tolerance, ranked=ranked)
        return MoleculeFile(output, self.columns, self.cfg.tolerance_ppm, further)

    def files(self, path: Path) -> list[Path]:
        return spectrum_files(path)

    def read(self, path: Path) -> Iterator[Records]:
        yield self._cleaned(read_spectra(path))

    def records(self, values: Any) -> Records:
        from trimer.objects import spectra_of

        return self._cleaned(spectra_of(values))

    def _cleaned(self, table: SpectrumTable) -> Records:
        """The usable spectra as tokens with their precursors, and the reasons of the others."""
        from trimer.data.core.training_keys import text_keys, token_keys
        from trimer.data.modules.denoising import molecules_of_spectra
        from trimer.evaluation.training_overlap import training_overlap

        warn_of_adducts(self.steps.values(), self.loaded.tokenizer)
        cleaned, kept, reasons = clean_rows(table, self.steps)
        rows = kept.tolist()
        values, offsets = self.loaded.tokenizer.encode_spectra(cleaned)
        tokens = [values[start:stop] for start, stop in pairwise(offsets)]
        log.info("%s, %s usable", counted(len(table), "spectra"), f"{len(cleaned):,}")
        warn_of_unseen_spectra(self.loaded, cleaned["adduct"].tolist())
        self.report_empty_columns()
        heads = [
            {"id": name, "precursor_mz": float(mz) if np.isfinite(mz) else None, "adduct": adduct}
            for name, mz, adduct in zip(table["id"], table["precursor_mz"], table["adduct"], strict=True)
        ]
        molecules = {
            "molecule": text_keys([smiles or original for _, smiles, original in molecules_of_spectra(cleaned)])
        }
        overlap = training_overlap(self.loaded.training_keys, molecules | {"spectrum": token_keys(tokens)})
        overlap.add_to_heads(heads, rows)
        if self.library is None:
            log.info("library_...: empty, because no library is given; name a file of spectra with library=<file>")
        hits = [None] * len(rows) if self.library is None else self.library.search(cleaned)
        for index, (row, hit) in enumerate(zip(rows, hits, strict=True)):
            if self.library is None:
                heads[row]["library_reason"] = self.no_library
            else:
                heads[row] |= self.library.columns(hit, cleaned["precursor_mz"][index])
            if self.page:
                nearest = None if self.library is None or hit is None else self.library.table.peaks(hit[0])
                self.spectra[row + 1] = CardSpectrum(*cleaned.peaks(index), library=nearest)
        spectra = [None] * len(rows) if self.analogues is None else one_by_one(cleaned)
        inputs = zip(tokens, cleaned["precursor_mz"].tolist(), cleaned["adduct"].tolist(), spectra, strict=True)
        return Records(heads, reasons.tolist(), rows, dict(zip(rows, inputs, strict=True)), overlap)

    def tokens_of(self, value: SpectrumInput) -> int:
        return len(value[0])

    def cost_of(self, value: SpectrumInput) -> int:
        """That of the generated texts; reading the spectrum costs little beside them."""
        generator = self.generator
        return TEXT_COST * (generator.beams if generator.method == "beam" else generator.num_samples)

    def predict_chunk(self, inputs: Sequence[SpectrumInput]) -> list[list[dict]]:
        tokens, precursors, adducts, spectra = zip(*inputs, strict=True)
        # Searched here, where spectra of several requests are together, and not when they are read.
        search = self.analogues
        together = SpectrumTable.concatenate([spectrum for spectrum in spectra if spectrum is not None])
        analogues = None if search is None else search.weights(together, tokens)
        generated = self.generator.generate(self.net, self.loaded.tokenizer, tokens, precursors, adducts, analogues)
        count = self.cfg.candidates if self.cfg.ranked or self.page else 1
        tolerance, only_agreeing = self.cfg.tolerance_ppm, self.cfg.only_agreeing
        return [
            self._with_trust(candidate_rows(candidates, count, tolerance, only_agreeing), candidates)
            for candidates in generated
        ]

    def _with_trust(self, rows: list[dict], generated: GeneratedMolecules) -> list[dict]:
        """The rows with the probabilities of their candidates, and their similarity to the training molecules."""
        columns = self.trust.columns(generated, [row["rank"] for row in rows if "rank" in row])
        for row in rows:
            row |= columns.get(row.get("rank", 0), {})
        return rows


def one_by_one(spectra: SpectrumTable) -> list[SpectrumTable]:
    """A table for each spectrum, with its peaks and its precursor m/z."""
    columns = {"precursor_mz": spectra["precursor_mz"]}
    bare = SpectrumTable.build(spectra.mz, spectra.intensity, spectra.offsets, columns)
    return [bare.take(np.array([row])) for row in range(len(bare))]


def candidate_rows(generated: GeneratedMolecules, count: int, tolerance_ppm: float, only_agreeing: bool) -> list[dict]:
    """The columns of the first `count` candidates of a spectrum, or the reason why there is none."""
    candidates = generated.candidates
    if not candidates:
        flaws = in_words(generated.flaws)
        return [{"reason": f"none of the {generated.generated} generated texts is a valid molecule ({flaws})"}]
    agreement = [agrees(candidate.ppm_error, tolerance_ppm) for candidate in candidates]
    agreeing = None if None in agreement else agreement.count(True)
    if only_agreeing and not agreeing:
        return [{"reason": reason_of_no_agreement([candidate.ppm_error for candidate in candidates], tolerance_ppm)}]
    counts = {"candidates": len(agreement), "agreeing": agreeing}
    rows = [
        {"rank": rank, **counts, **asdict(candidate), "agrees": candidate_agrees}
        for rank, (candidate, candidate_agrees) in enumerate(zip(candidates, agreement, strict=True), 1)
        if candidate_agrees or not only_agreeing
    ]
    return rows[:count]


def reason_of_no_agreement(ppm_errors: Sequence[float | None], tolerance_ppm: float) -> str:
    """The reason why only_agreeing=true leaves no candidate of a spectrum."""
    errors = [error for error in ppm_errors if error is not None]
    if not errors:
        return "only_agreeing=true, but the agreement cannot be checked without precursor m/z and a known adduct"
    return (
        f"only_agreeing=true, but none of the {len(ppm_errors):,} generated molecules is within {tolerance_ppm:g} ppm "
        f"of the precursor m/z; the nearest is {min(errors, key=abs):+,.1f} ppm away"
    )


def changed_cleaning(trained: dict, changes: DictConfig) -> DictConfig:
    """The cleaning steps of the checkpoint with the changes; a new step needs a `_target_`."""
    from omegaconf import OmegaConf

    for key, change in changes.items():
        name, settings = str(key), OmegaConf.is_dict(change)
        if not (settings and "_target_" in change) and not (trained.get(name) and (settings or change is None)):
            hint = "" if name in trained else did_you_mean(name, trained)
            raise ConfigError(
                f"cleaning.{name} is not a step of this checkpoint{hint}; its steps are "
                f"{', '.join(key for key, step in trained.items() if step)}, and a new one needs a _target_"
            )
    return OmegaConf.merge({"cleaning": trained}, {"cleaning": changes}).cleaning
