"""Predicted fragment spectra of peptides as cards of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from trimer.peptides.channels import Channel
from trimer.peptides.fragment_ions import fragment_mz, residue_masses
from trimer.peptides.proforma import PROTON, WATER, read_proforma
from trimer.reporting.attempts import attempt
from trimer.reporting.spectrum_cards import MASS, cards_section, printed
from trimer.reporting.spectrum_svg import Annotation, spectrum_svg
from trimer.reporting.templates import render

LEAST = 0.01  # of the highest fragment; lower ones are not drawn
MOST_LABELS = 12
ROW, LENGTH, TIME = ("row", "row", "up"), ("length", "length (residues)", "up"), ("time", "retention time", "up")


def peptide_cards(rows: Sequence[Mapping], channels: Sequence[Channel], cards: int) -> Markup:
    """The section of a page with the first `cards` peptides that have a prediction."""
    predicted = [row for row in rows if row["reason"] is None]
    shown = predicted[:cards]
    if not shown:
        return Markup()
    paper = printed(len(shown))
    made = [
        attempt(f"the card of {row['id']}", _card, row, channels, place in paper) for place, row in enumerate(shown)
    ]
    timed = [TIME] if any(row["retention"] is not None for row in shown) else []
    return cards_section(
        heading="Predicted spectra",
        cards=made,
        total=len(rows),
        keys=[ROW, MASS, LENGTH, *timed],
        selection="all that have a prediction."
        if len(shown) == len(predicted)
        else "the first that have a prediction.",
        layout="mirrors",
        words="peptide, id",
        note="y ions are orange, b ions blue; intensities are relative to the highest fragment.",
    )


def fragment_annotations(
    text: str, intensities: Sequence[Sequence[float]], channels: Sequence[Channel]
) -> tuple[list[float], list[float], dict[float, Annotation]]:
    """m/z in Th, relative intensity and annotation of each fragment above LEAST.

    text: the peptide in ProForma. intensities: of its cleavage sites by channels.
    """
    peptide, values = read_proforma(text), np.array(intensities, np.float64)
    sites = len(peptide.letters) - 1
    mz, heights, notes = [], [], {}
    for site, column in np.argwhere(values >= LEAST * values.max(initial=0.0)).tolist():
        if values[site, column] <= 0:
            continue
        channel = channels[column]
        number = channel.number(site, sites)
        mz.append(fragment_mz(peptide, channel.series, number, channel.charge, channel.loss))
        heights.append(float(values[site, column]))
        notes[mz[-1]] = Annotation(channel.ion(number), kind=channel.series)
    return mz, heights, notes


def _card(row: Mapping, channels: Sequence[Channel], on_paper: bool) -> Markup:
    mz, heights, notes = fragment_annotations(row["peptide"], row["intensities"], channels)
    peptide = read_proforma(row["peptide"])
    precursor = (float(residue_masses(peptide).sum()) + WATER) / row["charge"] + PROTON
    time = row["retention"]
    about = [
        f"charge {row['charge']}",
        f"m/z {precursor:.4f}",
        None if time is None else f"retention time {time:.2f}",
        f"not in training: {row['unseen']}" if row["unseen"] else None,
    ]
    sorting = {"row": row["row"], "mz": f"{precursor:.4f}", "length": len(peptide.letters)}
    return render(
        "peptide_card.html",
        name=row["peptide"],
        id=row["id"],
        row=row["row"],
        about=[text for text in about if text],
        sorting=sorting | ({} if time is None else {"time": f"{time:.4f}"}),
        printed=on_paper,
        spectrum=spectrum_svg(mz, heights, None, labels=MOST_LABELS, annotations=notes),
    )
