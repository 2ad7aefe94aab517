import gzip

import numpy as np
import pytest

from trimer.data.proteins.clusters import read_clusters
from trimer.errors import InputError


def write(tmp_path, text: str, name: str = "clusters.tsv"):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def test_clusters_of_names(tmp_path):
    clusters = read_clusters(write(tmp_path, "id\tcluster\r\na\t0\r\nb\t1\r\n\r\nc\t0\tmore\r\na\t0\r\n"))
    numbers, known = clusters.of(["c", "b", "missing", "a"])
    assert known.tolist() == [True, True, False, True]
    assert numbers[0] == numbers[3] != numbers[1] and numbers[2] == 0
    assert [len(part) for part in clusters.of([])] == [0, 0]


def test_header_and_gzip_are_optional(tmp_path):
    path = tmp_path / "clusters.tsv"
    path.write_bytes(gzip.compress(b"a\tx\nb\tx\n"))
    numbers, known = read_clusters(path).of(["a", "b"])
    assert known.all() and np.ptp(numbers) == 0


def test_invalid_cluster_files_raise_input_error(tmp_path):
    with pytest.raises(InputError, match=r"clusters\.tsv, line 2: expected an id, a tab and a cluster, found 'b x'"):
        read_clusters(write(tmp_path, "a\tx\nb x\n"))
    with pytest.raises(InputError, match=r"1 ids are in two clusters, for example on lines 1 and 4: give each id one"):
        read_clusters(write(tmp_path, "a\tx\nb\tx\n\na\ty\n"))
    with pytest.raises(InputError, match="contains no cluster"):
        read_clusters(write(tmp_path, "id\tcluster\n"))
    with pytest.raises(InputError, match="does not exist"):
        read_clusters(tmp_path / "none.tsv")
