"""Spectra with the molecules that were written for them, as cards of a page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape

from trimer.metrics.molecule_properties import (
    candidate_facts,
    flaw,
    molecule_facts,
    precursor_ppm,
    same_molecule,
    tanimoto,
)
from trimer.reporting.attempts import attempt
from trimer.reporting.charts import spectrum_svg
from trimer.reporting.drawing import molecule_svg

DRAWING = (165, 135)  # pixels, as large as it is shown, so that atom labels stay legible
FIT = 10.0  # ppm: a candidate farther from the precursor is shown in the colour of a warning


def spectrum_cards(predictions: Sequence[Mapping], examples: int) -> str:
    """The section of a page: spectra spaced evenly from the best to the worst, each with its candidates."""
    shown = evenly(predictions, examples)
    if not shown:
        return ""
    labelled = any(record.get("smiles") for _, record in shown)
    order = (
        "spaced evenly from the best to the worst answer, not picked" if labelled else "evenly spaced over the input"
    )
    tint = ' What a candidate <span class="tinted">shares</span> with the true molecule, bond by bond, is tinted.'
    note = f"{len(shown)} of {len(predictions):,} spectra, {order}.{tint if labelled else ''}"
    cards = "".join(
        attempt(f"the card of {record['id']}", _card, record, place, len(predictions)) or "" for place, record in shown
    )
    return f'<section><h2>Spectra and molecules</h2><p class="note">{note}</p>{cards}</section>'


def evenly(predictions: Sequence[Mapping], examples: int) -> list[tuple[int, Mapping]]:
    """(place, prediction) of spectra spaced evenly from the best to the worst; unlabelled ones in their order."""
    ranked = sorted(predictions, key=lambda record: -_first_and_best(record)[0])
    count = min(examples, len(ranked))
    places = [round(i * (len(ranked) - 1) / max(1, count - 1)) for i in range(count)]
    return [(place + 1, ranked[place]) for place in dict.fromkeys(places)]


def similarities(predictions: Sequence[Mapping]) -> dict[str, list[float]]:
    """Tanimoto similarities to the true molecules, for a histogram; nothing where there is none."""
    scores = [_first_and_best(record) for record in predictions if record.get("smiles")]
    return {"first candidate": [s[0] for s in scores], "best of the first 10": [s[1] for s in scores]} if scores else {}


def _first_and_best(record: Mapping) -> tuple[float, float]:
    """Tanimoto similarity of the first candidate and the highest of the first ten to the true molecule."""
    target = molecule_facts(record.get("smiles"))
    first = [candidate_facts(_smiles(candidate), record.get("adduct")) for candidate in record["candidates"][:10]]
    scores = [tanimoto(candidate, target) for candidate in first]
    return (scores[0], max(scores)) if scores else (0.0, 0.0)


def _card(record: Mapping, place: int, total: int) -> str:
    mz = record.get("precursor_mz")
    about = [record.get("adduct"), f"m/z {mz:.4f}" if mz and math.isfinite(mz) else "no precursor m/z"]
    energy = record.get("collision_energy")
    about += [f"CE {energy}" if energy else None, record.get("instrument_type")]
    target = molecule_facts(record.get("smiles"))
    molecules = [_true(record, target)] if target else []
    molecules += [
        _candidate(c, rank, record, target) for rank, c in enumerate(record["candidates"][: 4 - len(molecules)], 1)
    ]
    if not record["candidates"]:
        reason = record.get("problem") or "no candidate is a valid molecule"
        molecules.append(
            f'<figure><span class="rank">no answer</span><figcaption>{escape(str(reason))}</figcaption></figure>'
        )
    position = f'<span class="place">place {place:,} of {total:,}</span>' if target else ""
    return (
        f'<article class="card"><h3>{escape(str(record.get("name") or record["id"]))} <span class="about">'
        f'{escape("  ·  ".join(str(text) for text in about if text))}</span>{position}</h3><div class="answer">'
        f'{spectrum_svg(record["mz"], record["intensity"], mz)}<div class="molecules">{"".join(molecules)}</div>'
        "</div></article>"
    )


def _true(record: Mapping, target) -> str:
    return (
        f'<figure class="true"><span class="rank">true molecule</span>{molecule_svg(record["smiles"], *DRAWING)}'
        f"<figcaption>{_formula(target.formula)}</figcaption></figure>"
    )


def _candidate(candidate: Mapping | str, rank: int, record: Mapping, target) -> str:
    smiles, adduct = _smiles(candidate), record.get("adduct")
    facts, wrong = candidate_facts(smiles, adduct), flaw(smiles, adduct)
    hit = same_molecule(facts, target)
    lines = []
    if target is not None:
        score = tanimoto(facts, target)
        lines.append(f'<span class="bar"><i style="width:{score:.0%}"></i></span><b>Tanimoto {score:.2f}</b>')
    if readable := molecule_facts(smiles):
        error = precursor_ppm(facts, record.get("precursor_mz"), adduct)
        lines.append(_formula(readable.formula) + (f" {_ppm(error)}" if error is not None else ""))
    if wrong:
        lines.append(f'<span class="off">no molecule: {wrong}</span>')
    count = candidate.get("count") if isinstance(candidate, Mapping) else None
    heading = f"#{rank}" + (", the true molecule" if hit else f", written {count}×" if count else "")
    drawing = molecule_svg(smiles, *DRAWING, shared_with=record.get("smiles") if target else None)
    return (
        f'<figure{" class=hit" if hit else ""}><span class="rank">{heading}</span>{drawing}'
        f"<figcaption>{'<br>'.join(lines)}</figcaption></figure>"
    )


def _ppm(error: float) -> str:
    """The deviation from the precursor: in ppm while that says something, else in per cent."""
    text = f"{error:+.1f} ppm" if abs(error) < 1000 else f"{error / 1e4:+.1f} %"
    text = text.replace("-0.0 ", "+0.0 ")
    return f'<span class="{"off" if abs(error) > FIT else "fit"}">{text.replace("-", "−")}</span>'


def _formula(formula: str) -> str:
    """A formula with its numbers as subscripts and its charge as a superscript."""
    body, sign, charge = re.fullmatch(r"(.*?)(?:([+-])(\d*))?", formula).groups(default="")
    text = re.sub(r"\d+", lambda number: f"<sub>{number.group()}</sub>", escape(body))
    return text + (f"<sup>{charge}{sign.replace('-', '−')}</sup>" if sign else "")


def _smiles(candidate: Mapping | str) -> str:
    return candidate if isinstance(candidate, str) else candidate["smiles"]
