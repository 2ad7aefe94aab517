"""Report of dropped records: how many each rule dropped, with examples."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trimer.counts import counted
from trimer.errors import InputError

WIDTH = 80  # characters of a line
SHOWN = 2  # examples in the text
EXAMPLES = 5  # ids kept for each rule
NO_SEQUENCE = "no sequence"  # the rule that drops a record without a sequence


@dataclass
class DropReport:
    """Numbers of records read, dropped by each rule, and left. Rules stay in the order in which they ran."""

    records: int = 0
    rules: list[dict] = field(default_factory=list)

    def add(self, rule: str, dropped_ids: Sequence[str], count: int | None = None) -> None:
        """Count records dropped by a rule and keep the first ids as examples; counts of the same rule are added."""
        count = len(dropped_ids) if count is None else count
        examples = [str(i) for i in dropped_ids[:EXAMPLES]]
        for row in self.rules:
            if row["rule"] == rule:
                row["dropped"] += count
                row["examples"] = (row["examples"] + examples)[:EXAMPLES]
                return
        self.rules.append({"rule": rule, "dropped": count, "examples": examples})

    def merge(self, other: DropReport) -> None:
        """Add the counts of another report, on other records of the same data."""
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
        """Write the report as JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        lines = [f"{counted(self.records, 'records')} in, {self.left:,} left"]
        for row in self.rules:
            if not row["dropped"]:
                continue
            lines += textwrap.wrap(
                f"{row['dropped']:>8,} dropped: {row['rule']}",
                WIDTH,
                initial_indent="  ",
                subsequent_indent=" " * 19,
                break_long_words=False,
            )
            if row["examples"]:
                examples = [textwrap.shorten(text, WIDTH - 24, placeholder=" ...") for text in row["examples"][:SHOWN]]
                lines += [f"{'e.g.' if number == 0 else '':>23} {text}" for number, text in enumerate(examples)]
        return "\n".join(lines)


@contextmanager
def explained_by(report: DropReport) -> Iterator[None]:
    """Append a drop report to an InputError: the rows that are missing may be among the dropped ones."""
    try:
        yield
    except InputError as error:
        if report.left == report.records or str(report) in str(error):
            raise
        raise InputError(f"{error}\n{report}") from None
