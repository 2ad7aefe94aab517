import pytest

from trimer.errors import ConfigError
from trimer.generation.cache import Hypothesis
from trimer.generation.candidates import rank_candidates

TEXTS = {
    10: "CCO",
    11: "CCO",  # another writing of the same molecule
    12: "CCCCO",
    13: "CCCO",
    14: "c1ccccc1",
    15: None,
}


def decode(tokens):
    return TEXTS[tokens[0]]


def written(*pairs):
    return [Hypothesis([token, 2], value, value) for token, value in pairs]


def names(ranked):
    return [c.smiles for c in ranked.candidates]


def test_frequency_counts_molecules_and_then_the_likelihood_decides():
    ranked = rank_candidates(
        written((14, -1.0), (10, -3.0), (11, -2.0), (15, -0.1), (12, -4.0), (13, -5.0), (14, -1.0), (10, -3.0)), decode
    )
    assert names(ranked) == ["CCO", "c1ccccc1", "CCCCO", "CCCO"]
    assert [c.count for c in ranked.candidates] == [3, 2, 1, 1]
    assert ranked.candidates[0].log_likelihood == -2.0 and ranked.candidates[0].score == 3
    assert ranked.invalid == 1


def test_likelihood_ranks_by_the_best_writing_and_beams_by_their_score():
    samples = written((14, -1.5), (10, -3.0), (11, -1.0), (12, -0.5))
    assert names(rank_candidates(samples, decode, "likelihood")) == ["CCCCO", "CCO", "c1ccccc1"]
    beams = [Hypothesis([12, 2], -8.0, -1.0), Hypothesis([10, 2], -4.0, -2.0)]
    assert names(rank_candidates(beams, decode, "likelihood")) == ["CCCCO", "CCO"]
    assert rank_candidates(beams, decode, "likelihood").candidates[0].log_likelihood == -8.0


def test_consensus_prefers_what_lies_in_the_middle():
    # benzene is written most often by itself, but the alcohols resemble each other
    samples = written((14, -1.0), (14, -1.0), (10, -2.0), (12, -2.0), (13, -2.0))
    assert names(rank_candidates(samples, decode))[0] == "c1ccccc1"
    ranked = rank_candidates(samples, decode, "consensus")
    assert names(ranked)[:2] == ["CCCO", "c1ccccc1"]  # the second answers for what the first is far from
    scores = [c.score for c in ranked.candidates]
    assert all(0 < score <= 1 for score in scores) and scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1.0)  # with all of them, every writing is matched by itself


def test_molecules_of_the_measured_mass_come_first():
    samples = written((14, -1.0), (14, -1.0), (10, -2.0), (13, -3.0))
    ranked = rank_candidates(samples, decode, precursor_mass=60.0576, tolerance_ppm=10)  # C3H8O
    assert names(ranked) == ["CCCO", "c1ccccc1", "CCO"]
    assert names(rank_candidates(samples, decode, precursor_mass=60.0576)) == ["c1ccccc1", "CCO", "CCCO"]


@pytest.mark.parametrize("rank", ["frequency", "likelihood", "consensus"])
def test_nothing_valid_is_no_candidate(rank):
    ranked = rank_candidates(written((15, -1.0), (15, -2.0)), decode, rank)
    assert ranked.candidates == [] and ranked.invalid == 2
    assert rank_candidates([], decode, rank).candidates == []


def test_an_unknown_ranking_is_refused():
    with pytest.raises(ConfigError, match="rank=best is not one of frequency, likelihood, consensus"):
        rank_candidates([], decode, "best")
