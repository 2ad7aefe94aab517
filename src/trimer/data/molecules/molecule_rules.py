"""Names of the rules that drop molecules, as shown in drop reports."""

from __future__ import annotations

UNREADABLE = "molecule RDKit cannot read"
REPEATED = "duplicate molecule"
