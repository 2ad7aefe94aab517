import pytest

from trimer.generation.cache import Hypothesis
from trimer.generation.candidates import Analogues, rank_candidates
from trimer.metrics.molecule_properties import molecule_facts, tanimoto

TEXTS = {
    10: "CCO",
    11: "CCO",  # another text of the same molecule
    12: "CCCCO",
    13: "CCCO",
    14: "c1ccccc1",
    15: None,
}


def decode(tokens):
    return TEXTS[tokens[0]]


def hypotheses(*pairs):
    return [Hypothesis([token, 2], value, value) for token, value in pairs]


def names(ranked):
    return [c.smiles for c in ranked.candidates]


def test_frequency_ranks_by_count_and_then_by_likelihood():
    ranked = rank_candidates(
        hypotheses((14, -1.0), (10, -3.0), (11, -2.0), (15, -0.1), (12, -4.0), (13, -5.0), (14, -1.0), (10, -3.0)),
        decode,
    )
    assert names(ranked) == ["CCO", "c1ccccc1", "CCCCO", "CCCO"]
    assert [c.count for c in ranked.candidates] == [3, 2, 1, 1]
    assert ranked.candidates[0].log_likelihood == -2.0
    assert ranked.flaws == {"unreadable": 1}


def test_likelihood_ranks_by_the_best_text_and_beams_by_their_score():
    samples = hypotheses((14, -1.5), (10, -3.0), (11, -1.0), (12, -0.5))
    assert names(rank_candidates(samples, decode, "likelihood")) == ["CCCCO", "CCO", "c1ccccc1"]
    beams = [Hypothesis([12, 2], -8.0, -1.0), Hypothesis([10, 2], -4.0, -2.0)]
    assert names(rank_candidates(beams, decode, "likelihood")) == ["CCCCO", "CCO"]
    assert rank_candidates(beams, decode, "likelihood").candidates[0].log_likelihood == -8.0


def test_consensus_prefers_the_molecule_most_similar_to_all():
    # benzene is the most frequent molecule, but the alcohols are similar to each other
    samples = hypotheses((14, -1.0), (14, -1.0), (10, -2.0), (12, -2.0), (13, -2.0))
    assert names(rank_candidates(samples, decode))[0] == "c1ccccc1"
    ranked = rank_candidates(samples, decode, "consensus")
    assert names(ranked)[:2] == ["CCCO", "c1ccccc1"]  # the second represents the molecules that differ from the first
    assert max(ranked.candidates, key=lambda candidate: candidate.score).smiles == "CCCO"


@pytest.mark.parametrize("rank", ["frequency", "likelihood", "consensus"])
def test_score_is_the_mean_similarity_to_all_generated_molecules_for_every_ranking(rank):
    samples = hypotheses((14, -1.0), (14, -1.0), (10, -2.0), (15, -1.0))
    similarity = tanimoto(molecule_facts("c1ccccc1"), molecule_facts("CCO"))
    scores = {c.smiles: c.score for c in rank_candidates(samples, decode, rank).candidates}
    assert scores == pytest.approx({"c1ccccc1": (2 + similarity) / 3, "CCO": (1 + 2 * similarity) / 3})
    assert rank_candidates(hypotheses((14, -1.0), (14, -3.0)), decode, rank).candidates[0].score == 1.0


def test_molecules_of_the_measured_mass_come_first():
    samples = hypotheses((14, -1.0), (14, -1.0), (10, -2.0), (13, -3.0))
    measured = {"precursor_mz": 61.0648, "adduct": "[M+H]+"}  # C3H9O+: 60.05751 + 1.00728
    ranked = rank_candidates(samples, decode, **measured, tolerance_ppm=10)
    assert names(ranked) == ["CCCO", "c1ccccc1", "CCO"]
    assert names(rank_candidates(samples, decode, **measured)) == ["c1ccccc1", "CCO", "CCCO"]


def test_candidates_have_formula_mass_and_precursor_error():
    candidate = rank_candidates(hypotheses((13, -1.0)), decode, precursor_mz=61.0654, adduct="[M+H]+").candidates[0]
    mass = 3 * 12 + 8 * 1.00782503207 + 15.99491461956
    assert candidate.formula == "C3H8O" and candidate.neutral_mass == pytest.approx(mass, abs=1e-6)
    ion = mass + 1.00782503207 - 0.00054857990907
    assert candidate.ppm_error == pytest.approx((ion - 61.0654) / 61.0654 * 1e6, abs=0.05)
    assert rank_candidates(hypotheses((13, -1.0)), decode, precursor_mz=61.0654).candidates[0].ppm_error is None


def test_invalid_texts_are_counted_by_reason():
    texts = ["CCO", "*N", "[CH2]C", "[Na+]", "CC(=O)[O-].[Na+]", "C~C", None, "C[N+](C)(C)C"]
    ranked = rank_candidates(
        [Hypothesis([n], -1.0, -1.0) for n in range(8)], lambda ids: texts[ids[0]], adduct="[M+H]+"
    )
    assert names(ranked) == ["CCO"]
    assert ranked.flaws == {"wildcard": 2, "net charge": 2, "radical": 1, "several components": 1, "unreadable": 1}
    cations = rank_candidates([Hypothesis([n], -1.0, -1.0) for n in range(8)], lambda ids: texts[ids[0]], adduct="[M]+")
    assert sorted(names(cations)) == ["CCO", "C[N+](C)(C)C", "[Na+]"] and "net charge" not in cations.flaws


@pytest.mark.parametrize("rank", ["frequency", "likelihood", "consensus"])
def test_invalid_texts_give_no_candidate(rank):
    ranked = rank_candidates(hypotheses((15, -1.0), (15, -2.0)), decode, rank)
    assert ranked.candidates == [] and ranked.flaws.total() == 2
    assert rank_candidates([], decode, rank).candidates == []


def test_analogues_take_part_in_the_consensus_and_may_be_candidates():
    samples = hypotheses((14, -1.0), (12, -2.0), (13, -3.0))  # benzene, butanol, propanol
    alone = rank_candidates(samples, decode, "consensus")
    assert alone.candidates[0].smiles == "CCCCO"
    toluene = Analogues({"Cc1ccccc1": 0.45, "c1ccccc1": 0.05}, agreeing_first=0)
    ranked = rank_candidates(samples, decode, "consensus", analogues=toluene)
    assert names(ranked)[:2] == ["Cc1ccccc1", "CCCCO"]
    first = ranked.candidates[0]
    assert (first.count, first.log_likelihood) == (0, None)
    total = 0.45 + (0.5 / 3 + 0.05) * tanimoto_of("Cc1ccccc1", "c1ccccc1")
    total += sum(0.5 / 3 * tanimoto_of("Cc1ccccc1", other) for other in ("CCCCO", "CCCO"))
    assert first.score == pytest.approx(total)


def test_candidates_that_agree_with_the_precursor_come_before_analogues():
    samples = hypotheses((12, -2.0), (13, -3.0))
    butanol = {"precursor_mz": 75.0804, "adduct": "[M+H]+", "tolerance_ppm": 20}
    toluene = Analogues({"Cc1ccccc1": 0.9}, agreeing_first=1)
    assert names(rank_candidates(samples, decode, "consensus", **butanol, analogues=toluene)) == [
        "CCCCO",
        "Cc1ccccc1",
        "CCCO",
    ]
    without = Analogues({"Cc1ccccc1": 0.9}, agreeing_first=0)
    assert names(rank_candidates(samples, decode, "consensus", **butanol, analogues=without))[0] == "Cc1ccccc1"
    assert names(rank_candidates([], decode, "consensus", analogues=without)) == ["Cc1ccccc1"]


def tanimoto_of(first: str, second: str) -> float:
    return tanimoto(molecule_facts(first), molecule_facts(second))
