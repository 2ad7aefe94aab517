"""The page at `/`: one HTML file with its styles and scripts, over the public REST; and drawings of molecules."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from trimer.serving.limits import Refusal
from trimer.serving.requests import Threads
from trimer.serving.rest import REFUSALS

if TYPE_CHECKING:
    from rdkit.Chem import Mol

TEMPLATES = Path(__file__).with_name("templates")
SCRIPTS = (
    "basics.js", "form.js", "spectrum.js", "candidates.js", "details.js", "table.js", "code.js", "jobs.js", "link.js",
    "start.js",
)  # fmt: skip
LONGEST = 600  # characters of a SMILES that is drawn
LARGEST = 120  # atoms of a molecule that is drawn, without hydrogen; the time of the layout grows with the size
KEY = "Trimer-InChIKey"  # header of a drawing
DRAWN_SECONDS = 86_400  # how long browsers keep a drawing


def router(threads: Threads) -> APIRouter:
    """The routes of the page."""
    routes = APIRouter()

    @routes.get("/", include_in_schema=False)
    async def page() -> Response:
        document, policy = page_and_policy()
        return HTMLResponse(
            document,
            headers={"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"},
        )

    @routes.get(
        "/v1/draw",
        tags=["models"],
        summary="A drawing of a molecule",
        response_class=Response,
        responses={
            200: {
                "description": "An SVG that takes the text color of a page",
                "content": {"image/svg+xml": {}},
                "headers": {KEY: {"description": "The InChIKey of the molecule", "schema": {"type": "string"}}},
            },
            **REFUSALS,
        },
    )
    async def draw(smiles: str, request: Request) -> Response:
        async with threads.admitted():
            svg, key = await threads.run(request, lambda cancelled: (drawing(smiles), inchikey(smiles)))
        policy = "default-src 'none'"
        headers = {"Cache-Control": f"private, max-age={DRAWN_SECONDS}", "Content-Security-Policy": policy}
        headers |= {KEY: key} if key else {}
        return Response(svg, media_type="image/svg+xml", headers=headers)

    return routes


@cache
def page_and_policy() -> tuple[str, str]:
    """The page, and a content security policy that allows these styles and scripts, and requests to its server."""
    style = read("page.css")
    script = '"use strict";\n' + "\n".join(read(name) for name in SCRIPTS)
    document = read("page.html").replace("/* styles */", style).replace("/* scripts */", script)
    policy = (
        f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return document, policy


def read(name: str) -> str:
    """A file of the page."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """The hash of an inline style or script, as a content security policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def drawing(smiles: str) -> str:
    """An SVG of a molecule; Refusal if the text is not one, or if it is too large."""
    from trimer.reporting.drawing import molecule_svg

    checked(smiles)
    return str(molecule_svg(smiles))


def checked(smiles: str) -> Mol:
    """The molecule of a SMILES; Refusal if it is not one, or if it is too large for drawings and explanations."""
    from trimer.chemistry.identifiers import parse

    if len(smiles) > LONGEST:
        raise Refusal(422, "too_large", f"a SMILES of more than {LONGEST} characters is not read here")
    molecule = parse(smiles)
    if molecule is None:
        raise Refusal(422, "no_molecule", "the text is not a SMILES that RDKit can read")
    if molecule.GetNumAtoms() > LARGEST:
        raise Refusal(422, "too_large", f"a molecule of more than {LARGEST} atoms is not read here")
    return molecule


def inchikey(smiles: str) -> str | None:
    """The InChIKey of a molecule, by which databases find it; None if it has none."""
    from rdkit import Chem

    return Chem.MolToInchiKey(checked(smiles)) or None
