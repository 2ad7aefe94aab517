"""Predicted and measured fragments of peptides, as mirrored spectra of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from trimer.peptides.fragment_ions import residue_masses
from trimer.peptides.proforma import WATER, read_proforma
from trimer.reporting.attempts import attempt
from trimer.reporting.fragment_figures import SHOWN, fragment_peaks
from trimer.reporting.spectrum_cards import cards_section, printed
from trimer.reporting.spectrum_svg import mirror_svg
from trimer.reporting.templates import render

if TYPE_CHECKING:
    from trimer.evaluation.fragment_evaluation import FragmentEvaluation

KEYS = [("similarity", "cosine", "down"), ("mz", "mass (Da)", "up"), ("length", "length (residues)", "up")]


def mirror_cards(evaluation: FragmentEvaluation, examples: int = 24) -> Markup:
    """The section of a page: spectra spaced evenly from the highest to the lowest cosine."""
    order = np.argsort(-np.nan_to_num(evaluation.values["cos"], nan=-1.0), kind="stable")
    count = min(examples, len(order))
    if not count:
        return Markup()
    ranks = [round(i * (len(order) - 1) / max(1, count - 1)) for i in range(count)]
    paper = printed(count)
    cards = [
        attempt(f"the card of {evaluation.ids[order[rank]]}", _card, evaluation, int(order[rank]), rank, place in paper)
        for place, rank in enumerate(ranks)
    ]
    return cards_section(
        heading="Predicted and measured spectra",
        cards=cards,
        total=len(order),
        ranked=True,
        keys=KEYS,
        layout="mirrors",
        words="peptide, id",
        note="Predicted above, measured below; y ions are orange, b ions blue.",
    )


def _card(evaluation: FragmentEvaluation, row: int, rank: int, on_paper: bool) -> Markup:
    peptide = read_proforma(evaluation.texts[row])
    predicted, measured = fragment_peaks(evaluation, row)
    values = {SHOWN[name].lower(): float(evaluation.values[name][row]) for name in ("cos", "sa")}
    return render(
        "mirror_card.html",
        name=evaluation.texts[row],
        id=evaluation.ids[row],
        values={label: f"{value:.3f}" for label, value in values.items() if np.isfinite(value)},
        similarity=values["cosine"],
        mass=float(residue_masses(peptide).sum() + WATER),
        length=len(peptide.letters),
        rank=rank + 1,
        total=len(evaluation.ids),
        printed=on_paper,
        spectrum=mirror_svg(predicted, measured),
    )
