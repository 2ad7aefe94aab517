"""Which modifications and residues a model was trained on."""

from trimer.peptides.seen_sites import seen_sites, unseen_sites


def test_new_modifications_new_sites_and_unmodified_residues_are_unseen():
    seen = seen_sites(["AC[UNIMOD:4]K", "M[UNIMOD:35]K", "[UNIMOD:1]-AK", "AK-[UNIMOD:2]"])
    assert seen == ["-[UNIMOD:2]", "A", "C[UNIMOD:4]", "K", "M[UNIMOD:35]", "[UNIMOD:1]-"]
    assert unseen_sites("[UNIMOD:1]-AC[UNIMOD:4]M[UNIMOD:35]K-[UNIMOD:2]", seen) == ""
    assert unseen_sites("[UNIMOD:737]-ACMK[UNIMOD:35]", seen) == "[UNIMOD:737]-; C; M; K[UNIMOD:35]"
