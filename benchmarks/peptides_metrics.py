"""The quality of predicted retention times and fragment intensities, for every side alike. Only numpy is imported.

A spectrum is a vector over cells: for each of the length - 1 cleavage sites the eight of `CHANNELS`. Cells that cannot
be are left out: an ion of more charges than its precursor, and a loss of H3PO4 from a fragment without a phosphorylated
residue. Cells that could be and were not seen are zeros, and count. Predictions below zero are taken as zero.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

Columns = Mapping[str, np.ndarray]

# series, charge, loss
CHANNELS = tuple((series, charge, loss) for loss in ("", "H3PO4") for series in "by" for charge in (1, 2))


def retention_metrics(measured: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Absolute errors in the unit of the retention time; R2 is that of the prediction, r2 that of the best line."""
    measured, predicted = np.asarray(measured, np.float64), np.asarray(predicted, np.float64)
    error = np.abs(predicted - measured)
    spread = ((measured - measured.mean()) ** 2).sum()
    correlation = _cosine(measured - measured.mean(), predicted - predicted.mean())
    return {
        "MAE": float(error.mean()),
        "p95": float(np.percentile(error, 95)),
        "R2": float(1 - (error**2).sum() / spread) if spread else float("nan"),
        "r2": correlation**2,
    }


def spectrum_metrics(measured: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Similarities of two vectors of intensities; a vector without spread, or of zeros, resembles nothing (0)."""
    measured, predicted = np.asarray(measured, np.float64), np.maximum(np.asarray(predicted, np.float64), 0)
    cosine = _cosine(measured, predicted)
    ranks = average_ranks(measured), average_ranks(predicted)
    return {
        "cosine": cosine,
        "Pearson": _cosine(measured - measured.mean(), predicted - predicted.mean()),
        "spectral angle": float(1 - 2 * np.arccos(min(cosine, 1.0)) / np.pi),
        "Spearman": _cosine(*(rank - rank.mean() for rank in ranks)),
    }


def ms2_metrics(precursors: Columns, measured: Columns, predicted: Columns) -> dict[str, float]:
    """Medians and means over spectra of `spectrum_metrics`, from tables of precursors and of their fragments."""
    possible = possible_cells(precursors)
    sides = [fragment_cells(precursors, fragments) for fragments in (measured, predicted)]
    rows = []
    for start, stop in zip(*_bounds(precursors), strict=True):
        inside = possible[start:stop]
        rows.append(spectrum_metrics(*(side[start:stop][inside] for side in sides)))
    summary = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        summary[f"median {name}"], summary[f"mean {name}"] = float(np.median(values)), float(np.mean(values))
    return summary


def possible_cells(precursors: Columns) -> np.ndarray:
    """Which cells of all the spectra, one after the other, can be."""
    possible = []
    for sequence, mods, sites, charge in zip(
        *(precursors[name] for name in ("sequence", "mods", "mod_sites", "charge")), strict=True
    ):
        phospho = np.zeros(len(sequence) + 1, bool)  # by residue, from 1
        for mod, site in zip(*(str(text).split(";") for text in (mods, sites)), strict=True):
            if mod.startswith("Phospho@"):
                phospho[int(site)] = True
        until = np.cumsum(phospho)[1:-1]  # phosphorylated residues of b1, b2, ...
        carries = {"b": until > 0, "y": phospho.sum() - until > 0}
        cells = [(carries[series] | (not loss)) & (ion <= charge) for series, ion, loss in CHANNELS]
        possible.append(np.stack(cells, 1).ravel())
    return np.concatenate(possible)


def fragment_cells(precursors: Columns, fragments: Columns) -> np.ndarray:
    """Intensities of a long table of fragments in the cells of all the spectra, one after the other."""
    starts, stops = _bounds(precursors)
    order = np.argsort(precursors["id"])
    row = order[np.searchsorted(precursors["id"], fragments["id"], sorter=order)]
    length = np.array([len(sequence) for sequence in precursors["sequence"]])[row]
    series, number = np.asarray(fragments["series"]).astype(str), np.asarray(fragments["number"], np.int64)
    site = np.where(series == "b", number - 1, length - 1 - number)
    losses = np.asarray(fragments["loss"]).astype(str)
    channel = np.full(len(series), -1)
    for index, (name, charge, loss) in enumerate(CHANNELS):
        channel[(series == name) & (fragments["charge"] == charge) & (losses == loss)] = index
    if (channel < 0).any() or (site < 0).any() or (site > length - 2).any():
        raise ValueError("a fragment is none of the series, charges and losses of CHANNELS, or outside its peptide")
    cells = np.zeros(stops[-1])
    cells[starts[row] + site * len(CHANNELS) + channel] = fragments["intensity"]
    return cells


def site_table(ids: np.ndarray, lengths: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    """The long table of cells: of peptides with these ids and residues, values with a row for each cleavage site."""
    sites = np.asarray(lengths) - 1
    first = np.concatenate([np.arange(1, count + 1) for count in sites])
    number = {"b": first, "y": np.repeat(sites, sites) + 1 - first}
    columns: dict[str, list] = {"id": [], "series": [], "number": [], "charge": [], "loss": [], "intensity": []}
    for index, (series, charge, loss) in enumerate(CHANNELS):
        cells = (np.repeat(ids, sites), series, number[series], charge, loss, values[:, index])
        for name, value in zip(columns, cells, strict=True):
            columns[name].append(np.broadcast_to(value, len(first)))
    return {name: np.concatenate(parts) for name, parts in columns.items()}


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def _bounds(precursors: Columns) -> tuple[np.ndarray, np.ndarray]:
    sizes = [(len(sequence) - 1) * len(CHANNELS) for sequence in precursors["sequence"]]
    stops = np.cumsum(sizes)
    return stops - sizes, stops


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    length = np.linalg.norm(first) * np.linalg.norm(second)
    return float(first @ second / length) if length else 0.0
