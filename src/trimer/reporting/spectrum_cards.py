"""Spectra with the molecules that were generated for them, as cards of a page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from trimer.metrics.molecule_properties import (
    candidate_facts,
    flaw,
    molecule_facts,
    precursor_ppm,
    same_molecule,
    tanimoto,
)
from trimer.reporting.attempts import attempt
from trimer.reporting.drawing import molecule_svg
from trimer.reporting.spectrum_svg import spectrum_svg
from trimer.reporting.templates import render

DRAWING = (165, 135)  # pixels, as large as it is shown, so that atom labels stay legible
FIT = 10.0  # ppm: the deviation of a candidate from the precursor above which it is shown in the colour of a warning
MOLECULES = 4  # of a card, the true one included
PRINTED = 6  # cards on paper
SIMILARITY = ("similarity", "Tanimoto of the first candidate", "down")  # key, label, first direction of sorting
MASS = ("mz", "precursor m/z (Th)", "up")


def spectrum_cards(predictions: Sequence[Mapping], examples: int) -> Markup:
    """The section of a page: spectra spaced evenly from the best to the worst, each with its candidates."""
    shown = evenly(predictions, examples)
    if not shown:
        return Markup()
    total = len(predictions)
    paper = printed(len(shown))
    cards = [
        attempt(f"the card of {record['id']}", _card, record, rank, total, place in paper)
        for place, (rank, record) in enumerate(shown)
    ]
    labelled = any(record.get("smiles") for _, record in shown)
    return cards_section(
        heading="Spectra and molecules",
        cards=cards,
        total=total,
        ranked=labelled,
        tinted=labelled,
        keys=[SIMILARITY, MASS] if labelled else [MASS],
        words="name, adduct, formula",
    )


def cards_section(**content: Any) -> Markup:
    """The section of a page with cards. content: of the template, with nothing extraordinary by default."""
    usual = {"ranked": False, "tinted": False, "selection": "", "layout": "", "note": "", "printed": PRINTED}
    return render("spectra.html", **usual | content)


def printed(count: int) -> set[int]:
    """Which of some cards are on paper: evenly spaced ones."""
    return {round(i * (count - 1) / max(1, PRINTED - 1)) for i in range(min(PRINTED, count))}


def evenly(predictions: Sequence[Mapping], examples: int) -> list[tuple[int, Mapping]]:
    """(rank, prediction) of spectra spaced evenly from the best to the worst; unlabelled ones in their order."""
    ranked = sorted(predictions, key=lambda record: -_first_and_best(record)[0])
    count = min(examples, len(ranked))
    indices = [round(i * (len(ranked) - 1) / max(1, count - 1)) for i in range(count)]
    return [(index + 1, ranked[index]) for index in dict.fromkeys(indices)]


def similarities(predictions: Sequence[Mapping]) -> dict[str, list[float]]:
    """Tanimoto similarities to the true molecules, for a chart; empty where no true molecule is known."""
    scores = [_first_and_best(record) for record in predictions if record.get("smiles")]
    return {"first candidate": [s[0] for s in scores], "best of the first 10": [s[1] for s in scores]} if scores else {}


def _first_and_best(record: Mapping) -> tuple[float, float]:
    """Tanimoto similarity of the first candidate and the highest of the first ten to the true molecule."""
    target = molecule_facts(record.get("smiles"))
    first = [candidate_facts(_smiles(candidate), record.get("adduct")) for candidate in record["candidates"][:10]]
    scores = [tanimoto(candidate, target) for candidate in first]
    return (scores[0], max(scores)) if scores else (0.0, 0.0)


def _card(record: Mapping, rank: int, total: int, on_paper: bool) -> Markup:
    mz = record.get("precursor_mz")
    energy = record.get("collision_energy")
    about = [
        record.get("adduct"),
        f"m/z {mz:.4f}" if mz and math.isfinite(mz) else "no precursor m/z",
        f"CE {energy}" if energy else None,
        record.get("instrument_type"),
    ]
    true = molecule_facts(record.get("smiles"))
    shown = record["candidates"][: MOLECULES - (true is not None)]
    formulas = [
        facts.formula for facts in [true, *(molecule_facts(_smiles(generated)) for generated in shown)] if facts
    ]
    words = [record["id"], record.get("name"), *about, record.get("smiles"), *formulas]
    sorting = {"similarity": f"{_first_and_best(record)[0]:.4f}"} if true else {}
    sorting |= {"mz": f"{mz:.4f}"} if mz and math.isfinite(mz) else {}
    return render(
        "card.html",
        name=record.get("name") or record["id"],
        text=" ".join(str(word) for word in words if word),
        sorting=sorting,
        printed=on_paper,
        about=[text for text in about if text],
        rank=rank if true else None,
        total=total,
        spectrum=spectrum_svg(record["mz"], record["intensity"], mz),
        true_molecule=true
        and {"drawing": molecule_svg(record["smiles"], *DRAWING), "formula": formula_markup(true.formula)},
        candidates=[_candidate(candidate, number, record, true) for number, candidate in enumerate(shown, 1)],
        problem=record.get("problem") or "no candidate is a valid molecule",
    )


def _candidate(candidate: Mapping | str, number: int, record: Mapping, true: Any) -> dict[str, Any]:
    """What a card shows of a candidate; true: facts of the true molecule, None where it is unknown."""
    smiles, adduct = _smiles(candidate), record.get("adduct")
    facts = candidate_facts(smiles, adduct)
    hit = same_molecule(facts, true)
    readable = molecule_facts(smiles)
    ppm = precursor_ppm(facts, record.get("precursor_mz"), adduct) if readable else None
    count = candidate.get("count") if isinstance(candidate, Mapping) else None
    return {
        "hit": hit,
        "heading": f"#{number}" + (", the true molecule" if hit else f", generated {count}×" if count else ""),
        "drawing": molecule_svg(smiles, *DRAWING, shared_with=record.get("smiles") if true else None),
        "tanimoto": tanimoto(facts, true) if true is not None else None,
        "formula": formula_markup(readable.formula) if readable else "",
        "deviation": "" if ppm is None else deviation(ppm),
        "off": ppm is not None and abs(ppm) > FIT,
        "flaw": flaw(smiles, adduct),
    }


def deviation(ppm: float) -> str:
    """The deviation from the precursor m/z: in ppm below 1,000 ppm, else in percent."""
    text = f"{ppm:+.1f} ppm" if abs(ppm) < 1000 else f"{ppm / 1e4:+.1f} %"
    return text.replace("-0.0 ", "+0.0 ").replace("-", "−")


def formula_markup(formula: str) -> Markup:
    """A formula with its numbers as subscripts and its charge as a superscript."""
    match = re.fullmatch(r"(.*?)(?:([+-])(\d*))?", formula)
    body, sign, charge = match.groups(default="") if match else (formula, "", "")
    text = re.sub(r"\d+", lambda number: f"<sub>{number.group()}</sub>", str(escape(body)))
    return Markup(text + (f"<sup>{charge}{sign.replace('-', '−')}</sup>" if sign else ""))


def _smiles(candidate: Mapping | str) -> str:
    return candidate if isinstance(candidate, str) else candidate["smiles"]
