"""Warnings about records that are unlike the training data."""

from __future__ import annotations

from types import SimpleNamespace

from trimer.training_facts import UNKNOWN, unseen_sites_of

PEPTIDES = ["PEPK", "PEPK[UNIMOD:121]", None]


def test_modifications_are_seen_unseen_or_unknown(caplog):
    known = SimpleNamespace(training_keys=[{"facts": {"sites": ["P", "E"]}}, {"facts": {"sites": ["K"]}}])
    assert unseen_sites_of(known, PEPTIDES, range(2)) == {0: "", 1: "K[UNIMOD:121]"}
    assert "1 peptide has residues or modifications that are not in the training data" in caplog.text
    for old in (SimpleNamespace(training_keys=None), SimpleNamespace(training_keys=[{"facts": {}}])):
        assert unseen_sites_of(old, PEPTIDES, range(2)) == {0: UNKNOWN, 1: UNKNOWN}
    assert "does not list the modifications" in caplog.text
