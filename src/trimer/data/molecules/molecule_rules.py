"""The rules by which a molecule is refused, as drop reports call them."""

from __future__ import annotations

UNREADABLE = "molecule RDKit cannot read"
REPEATED = "molecule given before"
