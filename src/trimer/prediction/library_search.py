"""Search of a library of spectra: for each spectrum the most similar one, by the cosine of binned peaks."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trimer.baselines.spectrum_baselines import binned_cosines
from trimer.chemistry.identifiers import inchikey_block1, parse
from trimer.counts import counted
from trimer.data.spectra.cleaning import clean_rows
from trimer.data.spectra.cleaning.structures import fill_smiles
from trimer.data.spectra.readers import read_spectra
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError, InputError

log = logging.getLogger(__name__)

COLUMNS = (
    "library_id",
    "library_name",
    "library_smiles",
    "library_inchikey",
    "library_precursor_mz",
    "library_cosine",
    "library_reason",
)
NO_LIBRARY = "no library is given: name a file of spectra with library=<file>"


class SpectrumLibrary:
    """The spectra of a file or folder, cleaned like the spectra to predict.

    ppm: largest difference of precursor m/z between a spectrum and a hit; None: any, so that analogues are found too.
    The cosine is that of square-root intensities in bins of 0.02 Th, as in the baseline `cosine look-up`.
    """

    def __init__(self, path: str, steps: Mapping[str, Any], ppm: float | None):
        if ppm is not None and not 0 < ppm < float("inf"):
            raise ConfigError(f"library_ppm={ppm} must be a number above 0, or null for any precursor m/z")
        table = read_spectra(Path(path))
        self.table, _, reasons = clean_rows(table, steps)
        if not len(self.table):
            first = next((reason for reason in reasons if reason), "no spectrum")
            raise InputError(
                f"library={path}: none of {counted(len(table), 'spectra')} can be used; the first: {first}"
            )
        self.ppm = ppm
        log.info("library=%s: %s, %s usable", path, counted(len(table), "spectra"), f"{len(self.table):,}")

    def search(self, spectra: SpectrumTable) -> list[tuple[int, float] | None]:
        """Row in `table` and cosine of the most similar spectrum for each cleaned one; None without a shared peak.

        Of equal spectra, the first in the library is the hit.
        """
        precursors, library = spectra["precursor_mz"], self.table["precursor_mz"]
        hits: list[tuple[int, float] | None] = []
        for scores in binned_cosines(self.table, spectra) if len(spectra) else ():
            if self.ppm is not None:
                mz = precursors[len(hits) : len(hits) + len(scores), None]
                with np.errstate(invalid="ignore"):
                    scores[~(np.abs(library - mz) <= 1e-6 * self.ppm * mz)] = 0.0
            best = scores.argmax(1)
            scored = [(int(row), float(score[row])) for row, score in zip(best, scores, strict=True)]
            hits += [(row, cosine) if cosine > 0 else None for row, cosine in scored]
        return hits

    def columns(self, hit: tuple[int, float] | None, precursor_mz: float) -> dict[str, Any]:
        """The columns of a hit of `search` by the names in COLUMNS, or the reason why there is none."""
        if hit is None:
            return {"library_reason": self._reason_of_no_hit(precursor_mz)}
        row, cosine = hit
        spectrum = fill_smiles(self.table.take(np.array([row])))
        smiles, key, mz = (spectrum[name][0] for name in ("smiles", "inchikey", "precursor_mz"))
        return {
            "library_id": spectrum["id"][0],
            "library_name": spectrum["name"][0],
            "library_smiles": smiles or None,
            "library_inchikey": key or inchikey_block1(parse(smiles)),
            "library_precursor_mz": float(mz) if np.isfinite(mz) else None,
            "library_cosine": round(min(cosine, 1.0), 4),
        }

    def _reason_of_no_hit(self, precursor_mz: float) -> str:
        if self.ppm is None:
            return "no spectrum of the library shares a peak with this one"
        if not np.isfinite(precursor_mz):
            return "no precursor m/z is stated: set library_ppm=null to compare with spectra of any precursor m/z"
        return f"no spectrum of the library within {self.ppm:g} ppm of the precursor m/z shares a peak with this one"
