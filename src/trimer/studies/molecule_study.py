"""Sequence-to-sequence models: molecules generated for spectra, and the denoising that pretrains them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trimer.building import build, check, check_allowed, located
from trimer.counts import counted
from trimer.errors import ConfigError
from trimer.studies.settings import MOLECULES, check_predict_settings
from trimer.studies.study import FINE_TUNE, PRE_TRAINED, Measurement, Study

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from trimer.data.spectra.spectrum_table import SpectrumTable
    from trimer.evaluation.evaluation import Evaluation
    from trimer.generation.molecule_generator import MoleculeGenerator
    from trimer.prediction.analogue_search import AnalogueSearch
    from trimer.prediction.predictor import Predictor

log = logging.getLogger(__name__)

TRACKED = 32  # spectra in the table of predictions of a tracker
DEFAULT_GENERATOR = {"_target_": "trimer.generation.molecule_generator.MoleculeGenerator"}  # for public weights

NOTE = (
    "Two molecules are the same when block 1 of their InChIKeys is the same; Tanimoto is of Morgan fingerprints "
    "(radius 2, 2048 bits), the best of the first k candidates. ± is the standard error over molecules."
)


class MoleculeStudy(Study):
    """Generated and ranked molecules, compared with look-up baselines."""

    extra_settings = ("by", "formula_known", "mces", "lookups", "generator")

    predict_settings = (MOLECULES,)
    without_predictor = f"{PRE_TRAINED}: {FINE_TUNE}"

    @property
    def file_source(self) -> dict[str, Any]:
        return {"_target_": "trimer.data.spectra.spectrum_sources.SpectralFiles"}

    @property
    def description(self) -> str:
        if not generates_molecules(self.loaded.contract["data"]):
            return "restores corrupted spectra and molecules"
        return "generates ranked molecules for tandem mass spectra"

    @property
    def example(self) -> str:
        return "spectra"

    def generator(self, cfg: DictConfig) -> MoleculeGenerator:
        """The generator of the checkpoint, with the changes of the command."""
        from trimer.checkpoint import changed

        settings = changed(self.loaded.contract["task"].get("generator") or DEFAULT_GENERATOR, cfg.get("generator"))
        check(settings, "generator")
        return build(settings, seed=cfg.seed)

    @classmethod
    def can_predict(cls, contract: Mapping[str, Any]) -> bool:
        return generates_molecules(contract["data"])

    def predictor(self, cfg: DictConfig) -> Predictor:
        from trimer.prediction.molecule_predictor import MoleculePredictor

        if not generates_molecules(self.loaded.contract["data"]):
            return super().predictor(cfg)
        check_predict_settings(cfg, self.predict_settings, self.loaded.path)
        generator = self.generator(cfg)
        return MoleculePredictor(self.loaded, cfg, generator, self.analogues(generator))

    @classmethod
    def training_records(cls, data: Any, contract: Mapping[str, Any]) -> dict[str, Any]:
        """The fingerprints of the training molecules and, for a look-up, the training spectra."""
        from trimer import training_spectra as spectra
        from trimer.training_molecules import KEY, training_molecules

        rows = data.split.rows("train")
        records = {KEY: training_molecules([text for text in data.store.strings("smiles", rows) if text])}
        if (contract["task"].get("generator") or {}).get("lookup"):
            records[spectra.KEY] = spectra.training_spectra(data.table(rows))
        return records

    def analogues(self, generator: MoleculeGenerator, train: SpectrumTable | None = None) -> AnalogueSearch | None:
        """The training spectra for the look-up of a generator: those of the checkpoint, else `train`; None without."""
        from trimer.baselines.analogue_lookup import AnalogueLibrary
        from trimer.prediction.analogue_search import AnalogueSearch, FingerprintRegression
        from trimer.training_spectra import analogues_of

        if not generator.lookup:
            return None
        library = analogues_of(self.loaded)
        if library is None and train is None:
            log.warning(
                "generator.lookup=%g: the checkpoint has no training spectra, so nothing is looked up; add them with "
                "trimer evaluate ckpt=... calibrate=true", generator.lookup,
            )  # fmt: skip
        if library is None and train is not None:
            library = AnalogueLibrary(train)
        regression = FingerprintRegression.of_checkpoint(self.loaded.fingerprint_regression)
        return None if library is None else AnalogueSearch(library, regression, self.loaded.net)

    def fit_fingerprints(self, data: Any, seed: int) -> None:
        """Fit the prediction of fingerprints on the training spectra, and store it in the checkpoint."""
        from trimer.checkpoint_updates import update_checkpoint
        from trimer.evaluation.molecule_evaluation import sample_rows
        from trimer.prediction.analogue_search import KEY, LIMIT, fit_fingerprints

        rows = sample_rows(data.split.rows("train"), LIMIT, seed)
        sources = [data.store.ragged("source")[row] for row in rows]
        stored = fit_fingerprints(self.loaded.net, data.table(rows), sources).stored()
        self.loaded.fingerprint_regression = stored
        update_checkpoint(self.loaded.path, {KEY: stored})

    def calibrate(self, data: Any, cfg: DictConfig, folder: Path) -> dict[str, float]:
        """Fit the probabilities of candidates on a sample of the validation spectra, and store them."""
        from trimer.accelerators.hardware import computing
        from trimer.checkpoint_updates import update_checkpoint
        from trimer.evaluation.candidate_calibration import KEY, calibrate_candidates, metrics_of, save_report
        from trimer.evaluation.molecule_evaluation import sample_rows
        from trimer.training_molecules import library_of

        limit = cfg.calibration_spectra
        if limit < 0:
            raise ConfigError(f"calibration_spectra={limit} must be 0 or more")
        rows = data.split.rows("val") if limit and "val" in data.split.names else np.zeros(0, int)
        if not len(rows):
            log.info(
                "p_molecule and p_formula are not calibrated: %s", "no validation spectra" if limit else "switched off"
            )
            return {}
        rows = sample_rows(rows, limit, cfg.seed)
        table = data.table(rows)
        sources = [data.store.ragged("source")[row] for row in rows]
        with computing(cfg.trainer):
            generator = self.generator(cfg)
            if generator.lookup:
                self.fit_fingerprints(data, cfg.seed)
            precursors, adducts = table["precursor_mz"].tolist(), table["adduct"].tolist()
            library = self.analogues(generator, data.table(data.split.rows("train")))
            weights = None if library is None else library.weights(table, sources)
            generated = generator.generate(
                self.loaded.net, self.loaded.tokenizer, sources, precursors, adducts, weights
            )
        stored, report = calibrate_candidates(table, generated, library_of(self.loaded), generator)
        self.loaded.calibration = stored
        update_checkpoint(self.loaded.path, {KEY: stored})
        save_report(report, folder / "calibration.json")
        return metrics_of(report)

    def check_data(self, data: Any) -> None:
        if not data.has_labels:
            raise ConfigError(
                "the data of this checkpoint have no molecules to compare with: choose spectra with data=<choice>"
            )

    @classmethod
    def baseline_names(cls, data: Any) -> Sequence[str]:
        from trimer.baselines.spectrum_baselines import BASELINES

        return list(BASELINES)

    def evaluate(self, measurement: Measurement) -> Evaluation:
        from trimer.accelerators.hardware import computing
        from trimer.baselines.matchms_lookup import MatchmsLookup
        from trimer.evaluation.candidate_trust import CandidateTrust
        from trimer.evaluation.molecule_evaluation import evaluate_pairs
        from trimer.reporting.attempts import attempt
        from trimer.reporting.figures import similarity_distribution, spectra_grid
        from trimer.reporting.run_page import evaluated_rows
        from trimer.reporting.spectrum_cards import evenly
        from trimer.reporting.split_report import publish, save_results

        cfg, out, net = measurement.cfg, measurement.out, measurement.net
        options: dict[str, Any] = {"name": measurement.name, "baselines": cfg.baselines, "seed": cfg.seed}
        if "by" in cfg:  # only in `trimer evaluate`
            options |= {"by": list(cfg.by), "formula_known": cfg.formula_known, "mces": cfg.mces}
            options["lookups"] = {f"{name.replace('_', ' ')} (matchms)": MatchmsLookup(name) for name in cfg.lookups}
        with computing(cfg.trainer):
            generator, tokenizer = self.generator(cfg), self.loaded.tokenizer
            options["trust"] = CandidateTrust(self.loaded, generator)
            train = measurement.data.table(measurement.data.split.rows("train")) if generator.lookup else None
            options["library"] = self.analogues(generator, train)
            evaluation = evaluate_pairs(net, tokenizer, generator, measurement.data, measurement.split, **options)
        save_results(measurement, evaluation)
        shown = evaluation.predictions
        attempt("tanimoto.png", similarity_distribution, evaluation.similarities, out / "tanimoto.png")
        attempt("spectra.png", lambda: spectra_grid([record for _, record in evenly(shown, 8)], out / "spectra.png"))
        short = ["top1_accuracy", "top10_accuracy", "tanimoto@1", "tanimoto@10", "validity"]
        count = counted(len(shown), "spectra")
        where = (measurement.folder, measurement.split, len(shown), "spectra")
        rows = attempt("the description of the rows", lambda: evaluated_rows(*where)) or count
        page = {
            "title": "Spectra to structures",
            "subtitle": f"A language model generates molecules from tandem mass spectra. Evaluated on {rows}.",
            "note": NOTE,
            "records": "spectra",
            "distributions": evaluation.similarities,
        }
        publish(measurement, evaluation, short, count, shown, **page)
        return evaluation

    def log_predictions(self, trainer: Any, evaluation: Any) -> None:
        from trimer.callbacks.rank_molecules import log_prediction_table
        from trimer.reporting.attempts import attempt

        shown = evaluation.predictions[:TRACKED]
        attempt("test/predictions of the tracker", log_prediction_table, trainer, "test/predictions", shown)


def generates_molecules(data: Mapping[str, Any]) -> bool:
    """Whether a model of these data generates molecules: the data have molecules as labels."""
    check_allowed(data["_target_"], "data")
    return getattr(located(data["_target_"], "data"), "has_labels", True)
