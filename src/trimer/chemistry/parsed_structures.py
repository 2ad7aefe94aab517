"""Molecules as users write them, SMILES or InChI, and why RDKit rejects one.

For generated text, `trimer.chemistry.identifiers.parse` is stricter: it accepts only SMILES.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rdkit import Chem, RDLogger, rdBase

from trimer.chemistry.identifiers import LONGEST, foreign_sign, parse

INCHI = "InChI="
NO_REASON = "no reason given"
REACTION = "it is a reaction (reactants>agents>products), not a molecule: write one molecule a row"
_TIME = re.compile(r"^\[\d\d:\d\d:\d\d\]\s*")
_AROUND = re.compile(r"check for mistakes around position (\d+)")


def read_structure(text: str) -> Chem.Mol | None:
    """The molecule of a SMILES or an InChI, or None if RDKit cannot read it."""
    if not text.startswith(INCHI):
        return parse(text)
    molecule = Chem.MolFromInchi(text)
    return molecule if molecule is not None and molecule.GetNumAtoms() else None


def rejection_reason(text: str) -> str:
    """RDKit's reason why it cannot read a SMILES or an InChI."""
    if not text:
        return "empty text"
    if text.startswith(INCHI):
        return reason_of(lambda: Chem.MolFromInchi(text), "not a valid InChI")
    if len(text) > LONGEST:
        return f"{len(text):,} characters, more than the {LONGEST:,} that are read"
    if sign := foreign_sign(text):
        return f"{sign!r} is not a sign of SMILES"
    if "".join(text.split()[:1]).replace("->", "").count(">") == 2:  # -> is a dative bond
        return REACTION
    return reason_of(lambda: Chem.MolFromSmiles(text))


def reason_of(read: Callable[[], object], unknown: str = NO_REASON) -> str:
    """The first error that RDKit logs while `read` runs, or `unknown`."""
    with _reports() as lines:
        try:
            read()
        except Exception as error:  # RDKit raises its own C++ types on some malformed text
            lines.append(str(error))
    reports = [_TIME.sub("", line).strip() for line in "\n".join(lines).splitlines()]
    reports = [line.removeprefix("SMILES Parse Error: ").removeprefix("ERROR:").strip() for line in reports]
    first = next((line for line in reports if line and not line.startswith(("WARNING", "*", "Post-condition"))), None)
    if first is None:
        return unknown
    around = next((match[1] for match in map(_AROUND.search, reports) if match), None)
    return f"{first}, around position {around}" if around else first


@contextmanager
def _reports() -> Iterator[list[str]]:
    """The lines that RDKit logs as errors, which are not printed."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.getLogger("rdkit")
    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [Kept()], False
    rdBase.LogToPythonLogger()
    RDLogger.EnableLog("rdApp.error")  # type: ignore[attr-defined]
    try:
        yield lines
    finally:
        RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]
        rdBase.LogToCppStreams()
        RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]
        logger.handlers, logger.propagate = handlers, propagate
