"""Every sample file of the page on own data is read, and no record of it has a problem."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import trimer
from trimer.data.labelled.sequence_files import read_sequences

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "own_data.md"
SAMPLE = re.compile(r"<!-- sample: (\w+) (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
SAMPLES = SAMPLE.findall(PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("kind", "name", "text"), SAMPLES, ids=[f"{kind} {name}" for kind, name, _ in SAMPLES])
def test_sample_is_read(kind, name, text, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    if kind == "spectra":
        table = trimer.read_spectra(path)
        assert len(table) == 1
        assert not any(table["problem"])
        assert table["precursor_mz"][0] == pytest.approx(195.0877)
        assert table["adduct"][0] == "[M+H]+"
    else:
        table = read_sequences(path, kind)
        assert len(table.texts) >= 1
        assert not table.problems


def test_every_kind_of_record_has_samples():
    assert {kind for kind, _, _ in SAMPLES} == {"spectra", "molecules", "proteins", "peptides"}
