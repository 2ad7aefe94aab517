"""What was dropped, under which rule, with examples: nothing leaves the data uncounted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

EXAMPLES = 5
NO_SEQUENCE = "no sequence"  # the rule for a record without one


@dataclass
class DropReport:
    """Counts of records in, dropped by rule and left. Rules stay in the order in which they ran."""

    records: int = 0
    rules: list[dict] = field(default_factory=list)

    def add(self, rule: str, dropped_ids: Sequence[str], count: int | None = None) -> None:
        """Count the records that a rule dropped; keeps the first few ids as examples. A rule named twice is summed."""
        count = len(dropped_ids) if count is None else count
        examples = [str(i) for i in dropped_ids[:EXAMPLES]]
        for row in self.rules:
            if row["rule"] == rule:
                row["dropped"] += count
                row["examples"] = (row["examples"] + examples)[:EXAMPLES]
                return
        self.rules.append({"rule": rule, "dropped": count, "examples": examples})

    def merge(self, other: DropReport) -> None:
        """Add the counts of another part of the same data."""
        self.records += other.records
        for row in other.rules:
            self.add(row["rule"], row["examples"], row["dropped"])

    @property
    def left(self) -> int:
        return self.records - sum(row["dropped"] for row in self.rules)

    def to_dict(self) -> dict:
        """Plain values, for JSON."""
        return {"records": self.records, "left": self.left, "rules": self.rules}

    @classmethod
    def from_dict(cls, data: dict) -> DropReport:
        return cls(data["records"], [dict(row) for row in data["rules"]])

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        lines = [f"{self.records:,} records in, {self.left:,} left"]
        for row in self.rules:
            ids = f"  e.g. {', '.join(row['examples'])}" if row["examples"] else ""
            lines.append(f"  {row['rule']:<44} {row['dropped']:>8,} dropped{ids}")
        return "\n".join(lines)
