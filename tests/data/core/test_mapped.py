import numpy as np
import pytest

from trimer.data.core import mapped
from trimer.data.core.mapped import collected, numbered, ranges


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(mapped, "LARGE", 100)
    monkeypatch.setattr(mapped, "PART", 10)


def test_parts_are_joined_in_memory_or_in_a_file(small, tmp_path):
    for count in (0, 1, 10, 25, 26, 1000):
        for folder in (None, tmp_path):
            numbers = numbered(count, folder)
            assert numbers.tolist() == list(range(count))
            in_file = folder is not None and numbers.nbytes > 100
            assert numbers.flags.owndata is not in_file and numbers.flags.writeable
    assert list(tmp_path.iterdir()) == []


def test_values_get_the_type_that_is_asked_for(small, tmp_path):
    joined = collected((np.full(30, value, np.int64) for value in (1, 70_000)), np.int32, tmp_path)
    assert joined.dtype == np.int32 and joined.tolist() == [1] * 30 + [70_000] * 30


def test_a_folder_that_cannot_be_written_is_not_needed(small, tmp_path, caplog):
    numbers = numbered(1000, tmp_path / "absent")
    assert numbers.tolist() == list(range(1000))
    assert "held in memory" in caplog.text and "absent" in caplog.text


def test_ranges_cover_all_numbers(small):
    assert [number for part in ranges(25) for number in part] == list(range(25))
    assert list(ranges(0)) == []
