import numpy as np

from trimer.data.core.draws import digests, keys, mix, positions, uniform


def test_mix_is_splitmix64():
    """The third to fifth numbers of the published generator, seeded with 0."""
    step = 0x9E3779B97F4A7C15
    words = np.array([(step * i) % 2**64 for i in (1, 2, 3)], np.uint64)
    assert [hex(word) for word in mix(words)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4", "0x6c45d188009454f"]


def test_numbers_of_a_row_do_not_depend_on_other_rows():
    rows = np.array([7, 3, 900, -5])
    lengths = np.array([4, 0, 6, 2])
    together = np.split(positions(keys(1, 2, rows), lengths), np.cumsum(lengths)[:-1])
    for row, length, in_batch in zip(rows, lengths, together, strict=True):
        alone = positions(keys(1, 2, np.array([row])), np.array([length]))
        assert alone.tolist() == in_batch.tolist()
    assert len(positions(keys(1, 2, rows[:0]), lengths[:0])) == 0


def test_every_word_changes_the_key():
    rows = np.arange(1000)
    drawn = [keys(*words) for words in ((0, 0, rows), (0, 1, rows), (1, 0, rows), (0, rows, 0), (0, 0, 0, rows))]
    assert len(np.unique(np.concatenate(drawn))) >= 5000 - 2, "rows 0 of (0, 0, rows) and (0, rows, 0) are the same"


def test_numbers_are_uniform_and_independent():
    numbers = uniform(positions(keys(0, 0, np.arange(200)), np.full(200, 500)))
    assert numbers.min() >= 0 and numbers.max() < 1
    counts = np.bincount((numbers * 20).astype(int), minlength=20)
    assert np.abs(counts - 5000).max() < 5 * np.sqrt(100_000 * 0.05 * 0.95)
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.016  # five standard errors
    table = numbers.reshape(200, 500)
    assert abs(np.corrcoef(table[:-1].ravel(), table[1:].ravel())[0, 1]) < 0.016


def test_digests_differ_between_texts():
    hashes = digests(str(i).encode() for i in range(10_000))
    assert hashes.dtype == np.int64 and len(np.unique(hashes)) == 10_000
    assert digests([b"17"])[0] == hashes[17]
    assert len(digests([])) == 0
