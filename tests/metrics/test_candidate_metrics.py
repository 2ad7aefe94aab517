"""The collection of all metrics: names, slices, standard errors, and independence of the batches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from trimer.metrics.candidate_metrics import MoleculeRanking, resampled

TARGETS = ["CCO", "CCCO", "c1ccccc1O", "CC(=O)O", "CCN", "CCOC"]
CANDIDATES = [["CCO"], ["CCO", "CCCO"], ["Cc1ccccc1"], ["C1CC", "CC(=O)O"], [], ["CCCO", "CCOC", "C"]]
ADDUCTS = ["[M+H]+", "[M+Na]+", "[M+H]+", None, "[M+H]+", "[M+Na]+"]
MZ = [47.04914, 83.04674, 95.04914, 61.0284, 46.0651, 83.04674]


def update(metric: MoleculeRanking, rows: range) -> None:
    pick = lambda column: [column[row] for row in rows]  # noqa: E731
    metric.update(
        pick(CANDIDATES),
        pick(TARGETS),
        groups={"adduct": pick(ADDUCTS)},
        adducts=pick(ADDUCTS),
        precursor_mz=pick(MZ),
    )


def test_metrics_have_the_expected_names_and_values():
    metric = MoleculeRanking(k=[1, 10])
    update(metric, range(6))
    values = metric.compute()
    assert values["top1_accuracy"] == pytest.approx(1 / 6)
    assert values["top10_accuracy"] == pytest.approx(4 / 6)
    assert values["formula_match@1"] == pytest.approx(2 / 6)
    assert values["spectra"] == 6
    for name in ("tanimoto@1", "tanimoto@10", "validity", "uniqueness", "precursor_ppm@1", "precursor_within_10ppm@1"):
        assert math.isfinite(values[name])
    assert not [name for name in values if "formula_known" in name or "mces" in name]
    assert all(type(value) is float for value in values.values())


def test_a_slice_is_the_metric_of_its_spectra():
    whole, alone = MoleculeRanking(k=[1, 10], by=["adduct"]), MoleculeRanking(k=[1, 10])
    update(whole, range(6))
    for row in (0, 2, 4):
        update(alone, range(row, row + 1))
    values = whole.compute()
    for name, value in alone.compute().items():
        assert values[f"{name}/adduct=[M+H]+"] == pytest.approx(value, nan_ok=True), name
    assert values["spectra/adduct=not stated"] == 1


def test_metrics_do_not_depend_on_the_batches():
    together, apart = MoleculeRanking(by=["adduct"], bootstrap=50), MoleculeRanking(by=["adduct"], bootstrap=50)
    update(together, range(6))
    for row in range(6):
        update(apart, range(row, row + 1))
    assert together.compute() == pytest.approx(apart.compute(), nan_ok=True)


def test_a_known_formula_is_in_the_metric_name_and_improves_accuracy():
    metric = MoleculeRanking(k=[1], formula_known=True)
    update(metric, range(6))
    values = metric.compute()
    assert values["top1_accuracy_formula_known"] > values["top1_accuracy"]
    assert "validity_formula_known" not in values


def test_candidates_beyond_the_last_rank_are_ignored():
    counts = {"generated": [20], "valid": [20], "distinct": [3]}
    long, short = MoleculeRanking(k=[1, 2]), MoleculeRanking(k=[1, 2])
    long.update([["CCCO", "CCOC", "CCO"]], ["CCO"], **counts)
    short.update([["CCCO", "CCOC"]], ["CCO"], **counts)
    assert long.compute() == pytest.approx(short.compute(), nan_ok=True)
    known = MoleculeRanking(k=[1], formula_known=True)
    known.update([["CCCO", "CCOC", "CCO"]], ["CCO"], **counts)
    assert known.compute()["top1_accuracy_formula_known"] == 1


def test_rows_keep_the_order_of_the_spectra():
    metric = MoleculeRanking(k=[10])
    update(metric, range(6))
    assert metric.rows()["top10_accuracy"].tolist() == [1, 1, 0, 1, 0, 1]


def test_without_spectra_every_metric_is_nan():
    values = MoleculeRanking(k=[1]).compute()
    assert math.isnan(values["tanimoto@1"])
    assert values["spectra"] == 0


def test_slices_without_labels_are_rejected():
    with pytest.raises(ValueError, match="slices by"):
        MoleculeRanking(by=["instrument"]).update([["C"]], ["C"])


def errors(rows: np.ndarray, **options) -> np.ndarray:
    """The standard error of each column."""
    return resampled(rows, **options).std(0, ddof=1)


def test_standard_errors_depend_on_the_number_of_molecules_not_spectra():
    random = np.random.default_rng(0)
    molecules = random.normal(size=(100, 1))
    rows = np.repeat(molecules, 20, axis=0)
    naive = errors(rows, resamples=400)
    grouped = errors(rows, groups=np.repeat(np.arange(100), 20), resamples=400)
    assert grouped[0] == pytest.approx(molecules.std() / 10, rel=0.15)
    assert naive[0] == pytest.approx(molecules.std() / math.sqrt(2000), rel=0.15)


def test_standard_errors_of_a_median_and_of_columns_with_missing_values():
    rows = np.random.default_rng(1).normal(size=(400, 2))
    rows[:200, 1] = np.nan
    mean, gappy = errors(rows, resamples=1000)
    median = errors(rows, resamples=1000, medians=[0])[0]
    assert mean == pytest.approx(rows[:, 0].std() / math.sqrt(400), rel=0.1)
    assert gappy == pytest.approx(rows[200:, 1].std() / math.sqrt(200), rel=0.1)
    assert median == pytest.approx(1.25 * mean, rel=0.25)  # sqrt(pi / 2) for a normal distribution


def _rank(rank: int, port: int, path: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    metric = MoleculeRanking(by=["adduct"])
    if rank == 0:
        update(metric, range(6))  # the other rank has no spectra
    values = metric.compute()
    torch.save(values, f"{path}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_ranks_give_the_same_metrics_as_one(tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(_rank, (port, str(tmp_path)), nprocs=2, start_method="fork")
    single = MoleculeRanking(by=["adduct"])
    update(single, range(6))
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt") == pytest.approx(single.compute(), nan_ok=True)


def test_mces_distance_and_its_value_for_invalid_candidates():
    pytest.importorskip("myopic_mces")
    metric = MoleculeRanking(k=[1, 2], mces=True)
    metric.update([["CCO"], ["C1CC"], ["C1CC", "CCCO"]], ["CCO", "CCO", "CCO"])
    values = metric.compute()
    assert values["mces@1"] == pytest.approx((0 + 100 + 100) / 3)
    assert values["mces@2"] == pytest.approx((0 + 100 + 1) / 3)
