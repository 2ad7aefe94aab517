"""`POST /v1/explain`: which peaks of a spectrum a molecule explains, as on the pages of `trimer predict`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from trimer.serving.limits import Refusal
from trimer.serving.page_routes import checked
from trimer.serving.plain_json import Json
from trimer.serving.requests import Threads, json_of
from trimer.serving.rest import REFUSALS, json_body

PPM = 10.0  # default tolerance between an ion and a peak, as that of `trimer predict`
WIDEST_PPM = 1000.0
MOST_PEAKS = 20_000  # of a spectrum; the most intense ones are explained
NUMBERS = {"type": "array", "items": {"type": "number"}}
BODY = json_body(
    "smiles",
    {
        "smiles": {"type": "string"},
        "adduct": {"type": "string"},
        "mz": NUMBERS,
        "intensity": NUMBERS,
        "precursor_mz": {"type": "number"},
        "ppm": {"type": "number", "default": PPM},
    },
)


def router(threads: Threads) -> APIRouter:
    """The route of explanations."""
    routes = APIRouter(tags=["models"])

    @routes.post("/v1/explain", summary="The peaks that a molecule explains", openapi_extra=BODY, responses=REFUSALS)
    async def explain(request: Request) -> Json:
        async with threads.admitted(), json_of(request, threads.service.limits.unpacked_mib) as document:
            return Json(await threads.run(request, lambda cancelled: explained(document)))

    return routes


def explained(document: Mapping[str, Any]) -> dict[str, Any]:
    """The ions of a molecule that have the m/z of a peak, and the share of the intensity that they explain.

    A document has smiles, mz and intensity (P,), adduct, and if known precursor_mz (Th) and ppm. The share and the
    number of peaks leave out that of the precursor, which any molecule of its mass explains.
    """
    from trimer.chemistry.adducts import parse_adduct
    from trimer.reporting.prediction_cards import CardSpectrum, explained_share
    from trimer.simulate.peak_annotation import explain_peaks

    smiles, adduct = text_of(document, "smiles"), text_of(document, "adduct")
    checked(smiles)
    spectrum, ppm = spectrum_of(document), number_of(document, "ppm", PPM)
    precursor = number_of(document, "precursor_mz", None)
    if ppm is None or ppm > WIDEST_PPM:
        raise invalid(f"ppm must be a number above 0 and at most {WIDEST_PPM:g}")
    mz, intensity = CardSpectrum(*spectrum).most_intense()
    known = parse_adduct(adduct) is not None
    ions = explain_peaks(smiles, mz, adduct, ppm)
    share, count, peaks = explained_share(mz, intensity, ions, precursor)
    return {
        "ions": [
            {"peak_mz": float(peak), "formula": ion.formula, "mz": ion.mz, "ppm": ion.ppm, "broken": ion.broken}
            for peak, ion in zip(mz, ions, strict=True)
            if ion is not None
        ],
        "peaks": peaks,
        "explained": count,
        "share": share,
        "reason": None if known else "the adduct is unknown, so peaks are not explained",
    }


def spectrum_of(document: Mapping[str, Any]) -> tuple[Any, Any]:
    """m/z and intensity (P,) of a document; Refusal if they are not two lists of P numbers above 0."""
    import numpy as np

    lists = []
    for name in ("mz", "intensity"):
        values = document.get(name)
        if not isinstance(values, list) or not 0 < len(values) <= MOST_PEAKS or not all(map(is_number, values)):
            raise invalid(f"{name} must be a list of 1 to {MOST_PEAKS:,} finite numbers, 0 or above")
        lists.append(np.array(values, np.float64))
    if len(lists[0]) != len(lists[1]):
        raise invalid(f"mz has {len(lists[0])} numbers and intensity {len(lists[1])}: both must have one for each peak")
    return lists[0], lists[1]


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that is not negative and not above any m/z or intensity."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e30


def number_of(document: Mapping[str, Any], name: str, default: float | None) -> float | None:
    """A number above 0, or the default where there is none."""
    value = document.get(name)
    if value is None:
        return default
    if not is_number(value) or not value > 0 or not math.isfinite(value):
        raise invalid(f"{name} must be a number above 0")
    return float(value)


def text_of(document: Mapping[str, Any], name: str) -> str:
    """A text; Refusal for another value."""
    value = document.get(name, "" if name == "adduct" else None)
    if not isinstance(value, str):
        raise invalid(f'{name} must be a text, as in {{"smiles": "CCO", "adduct": "[M+H]+", "mz": [...], ...}}')
    return value


def invalid(message: str) -> Refusal:
    """The refusal of a document."""
    return Refusal(422, "invalid_input", message)
