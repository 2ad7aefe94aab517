"""The commands of the README and the documentation, and what makes them small enough for a test.

A console block below `<!-- not run: reason -->` is composed only, and so are all blocks of a page that holds
`<!-- commands of this page are not run: reason -->`. The commands of a page that holds `<!-- commands of this page are
run together ... -->` are run in their order by tests/docs/test_daily_commands.py, those of all other pages by
tests/docs/test_commands.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(
            path
            for path in (ROOT / "docs").rglob("*.md")
            if "generated" not in path.parts and "_build" not in path.parts
        ),
        *(ROOT / "experiments").glob("*/RESULTS.md"),
    ]
)
FENCE = re.compile(r"(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<language>console|python)\n(?P<text>.*?)```", re.DOTALL)
NOT_RUN = re.compile(r"<!-- commands of this page are not run: .+ -->")
TOGETHER = re.compile(r"<!-- commands of this page are run together.* -->")

# What makes a training of the documentation small enough for a test.
SMALL = {
    "*": ["trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.enable_progress_bar=false"],
    "experiment=demo": [
        "data.source.molecules=60",
        "data.tokens_per_batch=512",
        "task.generator.num_samples=2",
        "trainer.limit_val_batches=1",
        "callbacks.ranking.sample=2",
    ],
    "data=simulated_proteins": ["data.source.proteins=60", "data.crop=62"],
    "data=simulated_peptides": ["data.source.count=100"],
}


@dataclass(frozen=True)
class Command:
    """A command line of a page; runs: `alone`, `together` with those of its page, or `no`: it is only composed."""

    page: str
    line: str
    runs: str

    def __str__(self) -> str:
        return f"{self.page}: {self.line[:80]}"

    @property
    def of_trimer(self) -> bool:
        return self.line.split()[0] in ("trimer", ".venv/bin/trimer")


def commands_of(path: Path) -> list[Command]:
    """The lines of all console blocks of a page."""
    text = path.read_text(encoding="utf-8")
    of_page = "no" if NOT_RUN.search(text) or path.name == "RESULTS.md" else "alone"
    of_page = "together" if TOGETHER.search(text) else of_page
    found = []
    for block in FENCE.finditer(text):
        if block["language"] == "console":
            lines = block["text"].replace("\\\n", " ").splitlines()
            runs = "no" if (block["mark"] or "").startswith("not run: ") else of_page
            page = str(path.relative_to(ROOT))
            found += [Command(page, re.sub(r"\s+", " ", line).strip(), runs) for line in lines if line.strip()]
    return found


def with_newest_run(word: str) -> str:
    """A word with the newest run of its folder in place of `<run>`, and the one before it in place of `<other>`."""
    key, equals, value = word.partition("=") if "=" in word else ("", "", word)
    for name, place in (("<run>", -1), ("<other>", -2)):
        if name in value:
            folders = [path for path in Path(value.replace(name, "")).iterdir() if (path / "result.json").is_file()]
            value = str(sorted(folders, key=lambda path: path.stat().st_mtime)[place])
    return f"{key}{equals}{value}"
