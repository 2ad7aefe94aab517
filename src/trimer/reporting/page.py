"""The result of a study on one page: a self-contained HTML file with table, curves, spectra and molecules.

Nothing is loaded from elsewhere and nothing runs: inline SVG and one style sheet, so it can be mailed and archived.
Input is plain data; no torch is needed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from trimer.data.drops import DropReport
from trimer.metrics.facts import molecule_facts, precursor_ppm, same_molecule, tanimoto
from trimer.reporting.charts import curves_svg, histogram_svg, spectrum_svg
from trimer.reporting.curves import Curve, panels
from trimer.reporting.drawing import molecule_svg
from trimer.reporting.table import ResultTable, column

DRAWING = (165, 135)  # pixels, as large as it is shown, so that atom labels stay legible
FIT = 10.0  # ppm: a candidate farther from the precursor is shown in the colour of a warning
HEADLINES = ("tanimoto@1", "tanimoto@10", "top10_accuracy", "formula_match@10", "validity", "perplexity")
MOLECULES = (
    "Two molecules are the same when block 1 of their InChIKeys is the same; Tanimoto is of Morgan fingerprints "
    "(radius 2, 2048 bits), the best of the first k. ± is the standard error over molecules."
)
_KINDS = {"baseline": "Baselines", "bound": "Bound of every look-up", "method": "This run"}


def write_page(
    path: str | Path,
    *,
    title: str,
    table: ResultTable,
    predictions: Sequence[Mapping],
    subtitle: str = "",
    curves: Mapping[str, Curve] | None = None,
    distributions: Mapping[str, Sequence[float]] | None = None,
    split: Mapping | None = None,
    overlap: Sequence[Mapping] = (),
    drops: DropReport | None = None,
    commands: Sequence[str] = (),
    about: Mapping[str, object] | None = None,
    note: str = MOLECULES,
    examples: int = 24,
) -> Path:
    """Write the page and return its path.

    predictions: one mapping per spectrum with `id`, `mz`, `intensity`, `precursor_mz`, `adduct`, `candidates` (mappings
    with `smiles` and perhaps `count`, or plain SMILES; best first) and, where they are known, `smiles` (the true
    molecule), `name`, `collision_energy`, `instrument_type`, `problem`. `examples` of them are shown, spaced evenly
    from the best to the worst. curves: of `read_curves`. distributions: {name: Tanimoto similarities}, by default those
    of the predictions. split: its manifest (`method` and `sizes` are shown). overlap: of `Split.overlap`.
    commands: what reproduces the run. about: versions and such. note: how the metrics are meant, under the table.
    """
    parts = [
        _header(title, subtitle, table),
        _results(table, note),
        _learning(curves or {}, distributions if distributions is not None else _similarities(predictions)),
        _spectra(predictions, examples),
        _data(split or {}, overlap, drops),
        _reproduction(commands, about or {}),
    ]
    style = files("trimer.reporting").joinpath("page.css").read_text(encoding="utf-8")
    head = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>\n{style}</style></head>\n<body>"
    )
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + "\n".join(part for part in parts if part) + "\n</body></html>\n", encoding="utf-8")
    return path


def evenly(predictions: Sequence[Mapping], examples: int) -> list[tuple[int, Mapping]]:
    """(place, prediction) of spectra spaced evenly from the best to the worst; unlabelled ones in their order."""
    ranked = sorted(predictions, key=lambda record: -_first_and_best(record)[0])
    count = min(examples, len(ranked))
    places = [round(i * (len(ranked) - 1) / max(1, count - 1)) for i in range(count)]
    return [(place + 1, ranked[place]) for place in dict.fromkeys(places)]


def _header(title: str, subtitle: str, table: ResultTable) -> str:
    methods = [row for row in table.rows if row["kind"] == "method"]
    lead = f'<p class="lead">{escape(subtitle)}</p>' if subtitle else ""
    figures = [_figure(name, methods[-1]["values"], table) for name in HEADLINES] if methods else []
    return f'<header><h1>{escape(title)}</h1>{lead}<div class="figures">{"".join(figures)}</div></header><main>'


def _figure(name: str, values: Mapping[str, float], table: ResultTable) -> str:
    """One number of the run with the best baseline beside it."""
    if name not in values:
        return ""
    shown = column(name)
    others = [
        (row["values"][name], row["method"])
        for row in table.rows
        if row["kind"] == "baseline" and name in row["values"]
    ]
    beside = ""
    if others and name != "validity":
        choose = min if shown.lower_is_better else max
        best, method = choose(reversed(others), key=lambda other: other[0])  # of equals the strongest, named last
        word = "above" if values[name] > best else "below" if values[name] < best else "equal to"
        good = "below" if shown.lower_is_better else "above"
        sign = "" if word == "equal to" else "up" if word == good else "down"
        beside = f'<span class="{sign}">{word}</span> {escape(method)}, {shown.show(best)}'
    return (
        f'<div class="figure"><div class="name">{escape(shown.label)}</div>'
        f'<div class="value">{shown.show(values[name])}</div><div class="beside">{beside}</div></div>'
    )


def _results(table: ResultTable, note: str) -> str:
    if not table.rows:
        return ""
    head = "".join(f"<th>{escape(column(name).label)}</th>" for name in table.columns)
    body, kind = [], None
    for row in table.ordered():
        if row["kind"] != kind:
            kind = row["kind"]
            body.append(f'<tr class="kind"><td colspan="{len(table.columns) + 1}">{_KINDS[kind]}</td></tr>')
        cells = "".join(f"<td{' class=best' if best else ''}>{_spread(text)}</td>" for text, best in table.cells(row))
        body.append(f'<tr class="{kind}"><td>{escape(row["method"])}</td>{cells}</tr>')
    spectra = next((row["values"]["spectra"] for row in table.rows if "spectra" in row["values"]), None)
    count = f" on the same {spectra:,.0f} spectra" if spectra else ""
    return (
        f'<section><h2>Result</h2><p class="note">All methods{count}. {escape(note)}</p>'
        f'<div class="panel"><table><thead><tr><th>Method</th>{head}'
        f"</tr></thead><tbody>{''.join(body)}</tbody></table></div></section>"
    )


def _spread(text: str) -> str:
    value, plus_minus, error = text.partition(" ± ")
    return f'{value} <span class="spread">± {error}</span>' if plus_minus else value


def _learning(curves: Mapping[str, Curve], distributions: Mapping[str, Sequence[float]]) -> str:
    charts = []
    for metric, series in panels(curves).items():
        shown = column(metric)
        charts.append(curves_svg(shown.label, {name: curve.scaled(shown.scale) for name, curve in series.items()}))
    groups = {name: [v for v in values if math.isfinite(v)] for name, values in distributions.items()}
    groups = {name: values for name, values in groups.items() if values}
    if groups:
        charts.append(histogram_svg("Similarity to the true molecule", groups, 360, 210, 20))
    boxes = "".join(f'<div class="panel">{chart}</div>' for chart in charts)
    heading = "Learning and similarity" if groups else "Learning"
    return f'<section><h2>{heading}</h2><div class="row">{boxes}</div></section>' if charts else ""


def _similarities(predictions: Sequence[Mapping]) -> dict[str, list[float]]:
    scores = [_first_and_best(record) for record in predictions if record.get("smiles")]
    return {"first candidate": [s[0] for s in scores], "best of the first 10": [s[1] for s in scores]} if scores else {}


def _first_and_best(record: Mapping) -> tuple[float, float]:
    """Tanimoto similarity of the first candidate and the highest of the first ten to the true molecule."""
    target = molecule_facts(record.get("smiles"))
    scores = [tanimoto(molecule_facts(_smiles(candidate)), target) for candidate in record["candidates"][:10]]
    return (scores[0], max(scores)) if scores else (0.0, 0.0)


def _spectra(predictions: Sequence[Mapping], examples: int) -> str:
    shown = evenly(predictions, examples)
    if not shown:
        return ""
    labelled = any(record.get("smiles") for _, record in shown)
    order = (
        "spaced evenly from the best to the worst answer, not picked" if labelled else "evenly spaced over the input"
    )
    tint = ' What a candidate <span class="tinted">shares</span> with the true molecule, bond by bond, is tinted.'
    note = f"{len(shown)} of {len(predictions):,} spectra, {order}.{tint if labelled else ''}"
    cards = "".join(_card(record, place, len(predictions)) for place, record in shown)
    return f'<section><h2>Spectra and molecules</h2><p class="note">{note}</p>{cards}</section>'


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
    smiles = _smiles(candidate)
    facts = molecule_facts(smiles)
    hit = same_molecule(facts, target)
    lines = []
    if target is not None:
        score = tanimoto(facts, target)
        lines.append(f'<span class="bar"><i style="width:{score:.0%}"></i></span><b>Tanimoto {score:.2f}</b>')
    if facts is not None:
        error = precursor_ppm(facts, record.get("precursor_mz"), record.get("adduct"))
        lines.append(_formula(facts.formula) + (f" {_ppm(error)}" if error is not None else ""))
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
    body, sign, charge = re.match(r"([A-Za-z0-9]*)([+-]?)(\d*)$", formula).groups()
    text = re.sub(r"\d+", lambda number: f"<sub>{number.group()}</sub>", body)
    return text + (f"<sup>{charge}{sign.replace('-', '−')}</sup>" if sign else "")


def _smiles(candidate: Mapping | str) -> str:
    return candidate if isinstance(candidate, str) else candidate["smiles"]


def _data(split: Mapping, overlap: Sequence[Mapping], drops: DropReport | None) -> str:
    boxes = []
    if split.get("sizes"):
        total = sum(split["sizes"].values()) or 1
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{size:,}</td><td>{size / total:.1%}</td></tr>"
            for name, size in split["sizes"].items()
        )
        method = f'<p class="note">Split by {escape(str(split["method"]))}.</p>' if split.get("method") else ""
        boxes.append(
            f'<div class="panel">{method}<table><thead><tr><th>Part</th><th>Spectra</th><th>Share</th></tr></thead>'
            f"<tbody>{rows}</tbody></table>{_overlap(overlap)}</div>"
        )
    if drops is not None and drops.records:
        rows = "".join(_rule(row) for row in drops.rules)
        boxes.append(
            f'<div class="panel"><p class="note">{drops.records:,} records in, {drops.left:,} left.</p>'
            '<table class="rules"><thead><tr><th>Rule</th><th>Dropped</th></tr></thead>'
            f"<tbody>{rows}</tbody></table></div>"
        )
    return f'<section><h2>Data</h2><div class="two">{"".join(boxes)}</div></section>' if boxes else ""


def _overlap(overlap: Sequence[Mapping]) -> str:
    """How many keys of each part occur in the training part too: what a leaky split cannot hide."""
    rows = "".join(
        f"<tr><td>{escape(row['part'])}, {escape(row['key'])}</td>"
        f"<td>{row['shared_values']:,} of {row['values']:,}</td></tr>"
        for row in overlap
    )
    head = "<thead><tr><th>Also in train</th><th>Values</th></tr></thead>"
    return f'<table class="overlap">{head}<tbody>{rows}</tbody></table>' if rows else ""


def _rule(row: Mapping) -> str:
    examples = f'<div class="ids">{escape(", ".join(row["examples"][:3]))}</div>' if row["examples"] else ""
    none = "" if row["dropped"] else ' class="none"'
    return f"<tr{none}><td>{escape(row['rule'])}{examples}</td><td>{row['dropped']:,}</td></tr>"


def _reproduction(commands: Sequence[str], about: Mapping[str, object]) -> str:
    lines = "\n".join(f'<span class="prompt">$ </span>{escape(command)}' for command in commands)
    facts = "".join(f"<dt>{escape(str(key))}</dt><dd>{escape(str(value))}</dd>" for key, value in about.items())
    boxes = f'<div class="panel"><pre>{lines}</pre></div>' if lines else ""
    boxes += f'<div class="panel" style="margin-top:12px"><dl>{facts}</dl></div>' if facts else ""
    section = f"<section><h2>Reproduce</h2>{boxes}</section>" if boxes else ""
    return f"{section}</main><footer>Written by Trimer.</footer>"
