"""Predictions for spectra as cards of a page: peaks that the first candidate explains, the nearest library spectrum,
and the structures of the first candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from trimer.reporting.attempts import attempt
from trimer.reporting.drawing import molecule_svg
from trimer.reporting.labelled_peaks import PRECURSOR_WINDOW
from trimer.reporting.spectrum_cards import DRAWING, MASS, cards_section, deviation, formula_markup, printed
from trimer.reporting.spectrum_svg import Annotation, mirror_svg, spectrum_svg
from trimer.reporting.templates import render
from trimer.simulate.peak_annotation import Explanation, explain_peaks

MOST_PEAKS = 150  # of a spectrum that are drawn, the most intense ones
MOST_LISTED = 30  # explained peaks in the table of a card
MOST_MOLECULES = 4  # structures of a card, that of the library spectrum included
SAME_PEAK = 0.02  # Th between a measured peak and the library's that is drawn as shared, the bins of the cosine
PROBABILITY = ("probability", "p(molecule)", "down")  # key, label, first direction of sorting
EXPLAINED = ("explained", "explained intensity (%)", "down")
COSINE = ("cosine", "library cosine", "down")
SIMILARITY = ("similarity", "similarity to training", "down")
ROW = ("row", "row", "up")
NOTE = (
    "Blue peaks have the m/z of a fragment that bond breaking in the first candidate gives, with its formula and error "
    "(calculated − measured). They support a candidate and do not prove it: similar molecules share many of them."
)


@dataclass(frozen=True)
class CardSpectrum:
    """A cleaned spectrum: m/z (P,) in Th, intensity (P,), and both of the nearest library spectrum, if there is one."""

    mz: np.ndarray
    intensity: np.ndarray
    library: tuple[np.ndarray, np.ndarray] | None = None

    def most_intense(self) -> tuple[np.ndarray, np.ndarray]:
        """m/z and relative intensity of at most MOST_PEAKS peaks, by ascending m/z."""
        return _most_intense(self.mz, self.intensity)


def _most_intense(mz: np.ndarray, intensity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    kept = np.sort(np.argsort(-intensity, kind="stable")[:MOST_PEAKS])
    return mz[kept].astype(np.float64), intensity[kept].astype(np.float64) / (float(intensity.max(initial=0.0)) or 1.0)


def prediction_cards(
    groups: Sequence[Sequence[Mapping]], spectra: Mapping[int, CardSpectrum], cards: int, ppm: float
) -> Markup:
    """The section of a page with at most `cards` spectra.

    groups: the rows of each spectrum, best candidate first. spectra: row of the input -> its peaks. ppm: largest error
    of an explained peak.
    """
    usable = [rows for rows in groups if rows[0]["row"] in spectra]
    shown, selection = selected(usable, cards)
    if not shown:
        return Markup()
    paper = printed(len(shown))
    made = [
        attempt(f"the card of {rows[0]['id']}", _card, rows, spectra[rows[0]["row"]], ppm, place in paper)
        for place, rows in enumerate(shown)
    ]
    known = {name for rows in shown for name, value in rows[0].items() if value is not None}
    optional = {"p_molecule": PROBABILITY, "library_cosine": COSINE, "similarity_to_training": SIMILARITY}
    return cards_section(
        heading="Spectra and candidates",
        cards=made,
        total=len(groups),
        keys=[ROW, *(key for name, key in optional.items() if name in known), EXPLAINED, MASS],
        selection=selection,
        words="id, adduct, formula, SMILES",
        note=NOTE,
    )


def selected(groups: Sequence[Sequence[Mapping]], cards: int) -> tuple[list[Sequence[Mapping]], str]:
    """At most `cards` spectra in the order of the input, and in words which they are."""
    if len(groups) <= cards:
        return list(groups), "all that could be read."
    certain = [index for index, rows in enumerate(groups) if rows[0].get("p_molecule") is not None]
    if not certain:
        return list(groups[:cards]), "the first of the input; the others are in the table."
    best = sorted(certain, key=lambda index: (-groups[index][0]["p_molecule"], index))[:cards]
    return [groups[index] for index in sorted(best)], "those with the highest p(molecule)."


def _card(rows: Sequence[Mapping], spectrum: CardSpectrum, ppm: float, on_paper: bool) -> Markup:
    first = rows[0]
    mz, intensity = spectrum.most_intense()
    explained = explain_peaks(first["smiles"], mz, first["adduct"], ppm)
    share, count, of_peaks = explained_share(mz, intensity, explained, first["precursor_mz"])
    notes = {
        float(m): Annotation(explanation.formula, deviation(explanation.ppm))
        for m, explanation in zip(mz, explained, strict=True)
        if explanation
    }
    precursor, library = first["precursor_mz"], spectrum.library
    drawn = [row for row in rows if row["smiles"]][: MOST_MOLECULES - (library is not None)]
    facts = [name for row in drawn for name in (row["formula"], row["smiles"])]
    words = [first["id"], first["adduct"], first.get("library_name"), first.get("library_id"), *facts, first["reason"]]
    about = [
        first["adduct"] or "unknown adduct",
        f"m/z {precursor:.4f}" if precursor is not None else "no precursor m/z",
        f"in training data: {first['in_training']}" if first["in_training"] not in ("no", "unknown", None) else None,
        f"{len(mz)} most intense of {len(spectrum.mz):,} peaks" if len(mz) < len(spectrum.mz) else None,
    ]
    return render(
        "prediction_card.html",
        name=first["id"],
        row=first["row"],
        text=" ".join(str(word) for word in words if word),
        about=[text for text in about if text],
        sorting=_sorting(first, share),
        printed=on_paper,
        spectrum=spectrum_svg(mz.tolist(), intensity.tolist(), precursor, annotations=notes),
        explained=_listed(mz, intensity, explained),
        summary=explanation_text(first, share, count, of_peaks),
        mirror=_mirror(mz, intensity, library) if library is not None else None,
        library=_library(first),
        candidates=[_candidate(row) for row in drawn],
        reason=first["reason"],
    )


def _sorting(row: Mapping, share: float | None) -> dict[str, str]:
    """The `data-` attributes of a card, by the keys above."""
    values = {
        "row": row["row"],
        "mz": row["precursor_mz"],
        "probability": row.get("p_molecule"),
        "similarity": row.get("similarity_to_training"),
        "cosine": row.get("library_cosine"),
        "explained": None if share is None else 100 * share,
    }
    known = {name: value for name, value in values.items() if value is not None}
    return {name: str(value) if name == "row" else f"{value:.4f}" for name, value in known.items()}


def explained_share(
    mz: np.ndarray, intensity: np.ndarray, explained: Sequence[Explanation | None], precursor: float | None
) -> tuple[float | None, int, int]:
    """Share of the intensity that is explained, explained peaks, and peaks, all without that of the precursor.

    Any molecule with the right mass explains the precursor. The share is None without other peaks.
    """
    others = np.ones(len(mz), bool) if precursor is None else np.abs(mz - precursor) > PRECURSOR_WINDOW
    matched = np.array([explanation is not None for explanation in explained], bool) & others
    total = float(intensity[others].sum())
    return (float(intensity[matched].sum()) / total if total > 0 else None), int(matched.sum()), int(others.sum())


def explanation_text(row: Mapping, share: float | None, count: int, of_peaks: int) -> str:
    """What the first candidate explains, or why nothing is known of it."""
    if not row["smiles"]:
        return ""
    if not row["adduct"]:
        return "The adduct is unknown, so peaks are not explained."
    if share is None:
        return "There is no peak other than that of the precursor."
    return (
        f"#{row['rank']} explains {count} of {of_peaks} peaks and {share:.0%} of the intensity, without the precursor"
    )


def _listed(mz: np.ndarray, intensity: np.ndarray, explained: Sequence[Explanation | None]) -> list[dict[str, Any]]:
    """The most intense explained peaks by m/z, as texts."""
    order = [index for index in np.argsort(-intensity, kind="stable").tolist() if explained[index]][:MOST_LISTED]
    peaks = []
    for index in sorted(order):
        peak = explained[index]
        assert peak is not None  # chosen above
        peaks.append({
            "mz": f"{mz[index]:.4f}", "share": f"{100 * intensity[index]:.1f}", "formula": formula_markup(peak.formula),
            "ppm": deviation(peak.ppm).removesuffix(" ppm"), "broken": peak.broken,
        })  # fmt: skip
    return peaks


def _mirror(mz: np.ndarray, intensity: np.ndarray, library: tuple[np.ndarray, np.ndarray]) -> Markup:
    other, height = _most_intense(*library)
    near = np.abs(mz[:, None] - other[None]) <= SAME_PEAK
    shared = {*mz[near.any(1)].tolist(), *other[near.any(0)].tolist()}
    above, below = (
        [(float(m), float(i), f"{m:.3f}") for m, i in zip(*both, strict=True) if i > 0]
        for both in ((mz, intensity), (other, height))
    )
    return mirror_svg(above, below, sides=("measured", "library"), shared=shared)


def _library(row: Mapping) -> dict[str, Any] | None:
    """The hit in the library: its name, cosine and drawing."""
    if row.get("library_cosine") is None:
        return None
    smiles, mz = row["library_smiles"], row["library_precursor_mz"]
    name = row["library_name"] or row["library_id"]
    facts = [f"cosine {row['library_cosine']:.2f}", f"m/z {mz:.4f}" if mz is not None else "no precursor m/z"]
    return {"name": name, "facts": facts, "drawing": molecule_svg(smiles, *DRAWING) if smiles else None}


def _candidate(row: Mapping) -> dict[str, Any]:
    """What a card shows of a candidate."""
    count, ppm = row.get("count"), row["ppm_error"]
    facts = {
        "neutral mass": f"{row['neutral_mass']:.4f} Da" if row["neutral_mass"] is not None else None,
        "p(molecule)": _probability(row.get("p_molecule")),
        "p(formula)": _probability(row.get("p_formula")),
        "similarity to training": _fraction(row.get("similarity_to_training")),
    }
    return {
        "heading": f"#{row['rank']}" + (f", generated {count}×" if count else ""),
        "drawing": molecule_svg(row["smiles"], *DRAWING),
        "formula": formula_markup(row["formula"] or ""),
        "deviation": "" if ppm is None else deviation(ppm),
        "agrees": {True: "agrees with the precursor", False: "disagrees with the precursor"}.get(
            row["agrees"], "agreement cannot be checked"
        ),
        "off": row["agrees"] is False,
        "facts": {name: value for name, value in facts.items() if value is not None},
    }


def _probability(value: float | None) -> str | None:
    """Two decimals; a small probability is not shown as 0, which it is not."""
    return "< 0.01" if value is not None and value < 0.005 else _fraction(value)


def _fraction(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"
