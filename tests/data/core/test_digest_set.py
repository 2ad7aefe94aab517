"""The set that recognises duplicates: like a Python set, for any sizes of the calls."""

from __future__ import annotations

import numpy as np

from trimer.data.core.digest_set import Seen


def test_repeated_digests_are_those_of_a_set():
    random = np.random.default_rng(0)
    seen, expected = Seen(), set()
    for size in (0, 5, 100, 1, 3000, 7, 500):
        digests = random.integers(-2000, 2000, size) * 2**50
        repeated = seen.repeated(digests)
        for digest, again in zip(digests.tolist(), repeated.tolist(), strict=True):
            assert again == (digest in expected)
            expected.add(digest)
    assert len(seen) == len(expected)
    assert len(seen._sorted) < 12  # merged now and then, so a look-up searches few arrays
