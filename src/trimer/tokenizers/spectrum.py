"""Mass spectra as tokens: m/z as integer and fraction, intensity as a bin, in a vocabulary fixed by construction.

A sequence reads: adduct, precursor m/z, collision energy, then the peaks. With the defaults

    [M+H]+ mz460 .99 <40 eV> i9 mz141 .01 i8 mz158 .04 i3 mz113 .02 i2 mz159 .04

An intensity token holds for the peaks after it, until the next one. Peaks come from the most to the least intense, so
it is written a few times a spectrum only, and a peak costs little more than two tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.errors import ConfigError
from trimer.tokenizers.collision_energy import parse_collision_energy

__all__ = ["DecodedSpectrum", "SpectrumTokenizer", "parse_collision_energy"]

ADDUCT_FORMS = (
    "[M+H]+", "[M+Na]+", "[M+K]+", "[M+NH4]+", "[M+Li]+", "[M]+", "[M-H2O+H]+", "[M-2H2O+H]+", "[2M+H]+", "[2M+Na]+",
    "[M+2H]2+", "[M-H]-", "[M+Cl]-", "[M+HCOO]-", "[M+CH3COO]-", "[M]-", "[M-H2O-H]-", "[2M-H]-", "[M-2H]2-",
)  # fmt: skip
NO_ADDUCT, NO_PRECURSOR, NO_ENERGY = "<adduct?>", "<precursor?>", "<ce?>"
ENERGY_STEP, ENERGY_LEVELS = 10, 21  # 0, 10, ... 200; higher energies count as 200
ENERGY_UNITS = ("eV", "NCE", None)
LOG_DECADES = 2  # intensity_scale="log": the lowest level is 0.01 of the base peak and below


@dataclass
class DecodedSpectrum:
    """A spectrum read back from tokens: K peaks in the order of the sequence, m/z in Th, the base peak at 1."""

    mz: np.ndarray
    intensity: np.ndarray
    precursor_mz: float | None
    adduct: str | None
    collision_energy: str | None


class SpectrumTokenizer:
    """Turns tandem mass spectra into tokens and back.

    max_mz: highest m/z with a token, Th. A peak above it, and one without a positive, finite intensity, gets no token
        (`encodable` says which); a precursor above it is encoded as `<precursor?>`.
    decimals: decimals of m/z, rounded half up with carry (99.996 is mz100 .00); peaks on one value are summed.
    max_peaks: the most intense peaks of a spectrum are kept.
    order: "intensity" (most intense first) or "mz" (ascending).
    intensity_bins: number of intensity levels, relative to the base peak; 0 leaves intensities out.
    intensity_scale: levels are evenly spaced in the intensity ("linear"), its square root ("sqrt") or its logarithm
        over two decades ("log"; spreads real peaks most evenly over the levels).
    repeat_intensity: write the intensity token before every peak, not only where it changes.
    adduct, precursor, collision_energy: leading tokens, each with a token for "unknown".
    more_adducts: adducts with a token in addition to ADDUCT_FORMS; any other is encoded as `<adduct?>`.
    Ids are local: they start at 0 and do not include special tokens or other languages.
    """

    def __init__(
        self,
        max_mz: float = 1000.0,
        decimals: int = 2,
        max_peaks: int = 60,
        order: str = "intensity",
        intensity_bins: int = 10,
        intensity_scale: str = "log",
        repeat_intensity: bool = False,
        adduct: bool = True,
        precursor: bool = True,
        collision_energy: bool = True,
        more_adducts: Sequence[str] = (),
    ):
        _check("max_mz", max_mz, max_mz >= 1, "at least 1")
        _check("decimals", decimals, decimals in (0, 1, 2, 3), "0, 1, 2 or 3")
        _check("max_peaks", max_peaks, max_peaks >= 1, "at least 1")
        _check("order", order, order in ("intensity", "mz"), "'intensity' or 'mz'")
        _check("intensity_bins", intensity_bins, intensity_bins == 0 or intensity_bins >= 2, "0 (none) or at least 2")
        _check(
            "intensity_scale",
            intensity_scale,
            intensity_scale in ("linear", "sqrt", "log"),
            "'linear', 'sqrt' or 'log'",
        )
        self.max_mz = max_mz
        self.decimals = decimals
        self.max_peaks = max_peaks
        self.order = order
        self.intensity_bins = intensity_bins
        self.intensity_scale = intensity_scale
        self.repeat_intensity = repeat_intensity
        self.adduct = adduct
        self.precursor = precursor
        self.collision_energy = collision_energy
        self.adducts = [*ADDUCT_FORMS, *_further(more_adducts)]

        groups = {
            "adduct": [NO_ADDUCT, *self.adducts] if adduct else [],
            "precursor": [NO_PRECURSOR] if precursor else [],
            "energy": [NO_ENERGY, *_energy_names()] if collision_energy else [],
            "integer": [f"mz{i}" for i in range(int(max_mz) + 1)],
            "fraction": [f".{i:0{decimals}d}" for i in range(10**decimals)] if decimals else [],
            "intensity": [f"i{i}" for i in range(intensity_bins)],
        }
        self.tokens: list[str] = [token for group in groups.values() for token in group]
        ends = np.cumsum([len(group) for group in groups.values()])
        self._start = {name: int(end) - len(group) for (name, group), end in zip(groups.items(), ends, strict=True)}
        self._kind = np.repeat(list(groups), [len(group) for group in groups.values()])  # of each local id

    def __len__(self) -> int:
        return len(self.tokens)

    def encodable(self, table: SpectrumTable) -> np.ndarray:
        """(P,) bool: peaks that have a token; `encode_table` skips the others."""
        with np.errstate(invalid="ignore"):
            return self._in_range(table.mz) & (table.intensity > 0) & np.isfinite(table.intensity)

    def encode_table(self, table: SpectrumTable) -> tuple[np.ndarray, np.ndarray]:
        """(T,) int32 concatenated local ids of all spectra, and (n + 1,) int64 offsets.

        A spectrum without a usable peak has its leading tokens only.
        """
        n = len(table)
        lead = self._lead(table)  # (n, C), -1 where there is no token
        owner, units, level = self._peaks(table)
        peak = self._peak_tokens(owner, units, level)  # (K, 1 to 3), -1 where there is no token

        lead_counts = (lead >= 0).sum(1)
        peak_counts = (peak >= 0).sum(1)
        ends = np.concatenate([[0], np.cumsum(lead_counts + np.bincount(owner, peak_counts, n).astype(np.int64))])
        values = np.empty(ends[-1], np.int32)
        tokens_before = np.concatenate([[0], np.cumsum(lead_counts)])
        values[np.arange(lead_counts.sum()) + np.repeat(ends[:-1] - tokens_before[:-1], lead_counts)] = lead[lead >= 0]
        values[np.arange(peak_counts.sum()) + np.repeat(tokens_before[1:][owner], peak_counts)] = peak[peak >= 0]
        return values, ends.astype(np.int64)

    def encode(
        self,
        mz: Sequence[float] | np.ndarray,
        intensity: Sequence[float] | np.ndarray,
        precursor_mz: float | None = None,
        adduct: str | None = None,
        collision_energy: str | float | None = None,
    ) -> np.ndarray:
        """(L,) int32 local ids of one spectrum."""
        columns: dict[str, Sequence] = {
            "precursor_mz": [np.nan if precursor_mz is None else precursor_mz],
            "adduct": [adduct],
            "collision_energy": [collision_energy],
        }
        return self.encode_table(SpectrumTable.build(mz, intensity, (0, len(mz)), columns))[0]

    def decode(self, ids: Sequence[int] | np.ndarray) -> DecodedSpectrum:
        """The spectrum of local ids. Misplaced tokens are skipped, and so is an m/z without its fraction."""
        adduct = energy = precursor = integer = None
        awaits_precursor = self.precursor
        level = self.intensity_bins - 1
        units, levels = [], []
        for i in np.asarray(ids, dtype=np.int64).tolist():
            kind, value = self._kind[i], i - self._start[self._kind[i]]
            if kind == "integer":
                integer = value
            if kind == "fraction" or (kind == "integer" and not self.decimals):
                if integer is None:
                    continue
                unit = integer * 10**self.decimals + (value if self.decimals else 0)
                integer = None
                if awaits_precursor:
                    precursor, awaits_precursor = unit / 10**self.decimals, False
                else:
                    units.append(unit)
                    levels.append(level)
            elif kind != "integer":
                integer = None
            if kind == "precursor":
                awaits_precursor = False
            elif kind == "intensity":
                level = value
            elif kind == "adduct" and value:
                adduct = self.tokens[i]
            elif kind == "energy" and value:
                energy = self.tokens[i][1:-1]
        mz = np.array(units, np.float64) / 10**self.decimals
        return DecodedSpectrum(mz, self._relative(np.array(levels, np.int64)), precursor, adduct, energy)

    def to_config(self) -> dict:
        """Plain values that rebuild this tokenizer."""
        names = (
            "max_mz", "decimals", "max_peaks", "order", "intensity_bins", "intensity_scale", "repeat_intensity",
            "adduct", "precursor", "collision_energy",
        )  # fmt: skip
        further = self.adducts[len(ADDUCT_FORMS) :]
        return {
            "_target_": "trimer.tokenizers.spectrum.SpectrumTokenizer",
            **{name: getattr(self, name) for name in names},
            **({"more_adducts": further} if further else {}),  # configs of older checkpoints stay the same
        }

    def without_token(self, adducts: Sequence[str]) -> list[str]:
        """The adducts that are encoded as `<adduct?>`."""
        return [name for name in adducts if self.adduct and not self._adduct_index(name)]

    def _in_range(self, mz: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore"):
            return (mz >= 0) & (self._round(np.where(mz < 1e9, mz, 1e9)) < 10**self.decimals * (int(self.max_mz) + 1))

    def _round(self, mz: np.ndarray) -> np.ndarray:
        """m/z in units of the last decimal."""
        with np.errstate(invalid="ignore"):
            return np.floor(np.nan_to_num(mz, nan=-1.0) * 10**self.decimals + 0.5).astype(np.int64)

    def _adduct_index(self, text: str | None) -> int:
        """0 when unknown, else the number of the adduct from 1."""
        from trimer.chemistry.adducts import harmonise_adduct

        name = harmonise_adduct(text)
        return 1 + self.adducts.index(name) if name in self.adducts else 0

    def _lead(self, table: SpectrumTable) -> np.ndarray:
        """(n, C) leading tokens; columns are adduct, precursor integer, precursor fraction, collision energy."""
        columns = []
        if self.adduct:
            columns.append(self._start["adduct"] + _translate(table["adduct"], self._adduct_index))
        if self.precursor:
            mz = table["precursor_mz"]
            known = self._in_range(mz) & (mz > 0)
            integer, fraction = np.divmod(self._round(np.where(known, mz, 0.0)), 10**self.decimals)
            columns.append(np.where(known, self._start["integer"] + integer, self._start["precursor"]))
            if self.decimals:
                columns.append(np.where(known, self._start["fraction"] + fraction, -1))
        if self.collision_energy:
            columns.append(self._start["energy"] + _translate(table["collision_energy"], _energy_index))
        return np.stack(columns, 1) if columns else np.zeros((len(table), 0), np.int64)

    def _peaks(self, table: SpectrumTable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Owner, m/z units and intensity level of the K peaks to write, in their order."""
        usable = self.encodable(table)
        owner, units, intensity = table.owners[usable], self._round(table.mz[usable]), table.intensity[usable]
        key = owner * 10 ** (self.decimals + 7) + units
        if len(key) and (np.diff(key) < 0).any():  # not ascending in m/z, as peaks by hand may be
            by_mz = np.argsort(key, kind="stable")
            key, owner, units, intensity = key[by_mz], owner[by_mz], units[by_mz], intensity[by_mz]
        first = np.flatnonzero(np.diff(key, prepend=-1))  # peaks that share a rounded m/z are one
        if not len(first):
            return owner, units, units
        owner, units = owner[first], units[first]
        intensity = np.add.reduceat(intensity.astype(np.float64), first)

        starts = np.flatnonzero(np.diff(owner, prepend=-1))  # of each spectrum that has peaks
        counts = np.diff(starts, append=len(owner))
        relative = (intensity / np.repeat(np.maximum.reduceat(intensity, starts), counts)).astype(np.float32)
        # One sort for all: bits of positive floats order like the floats, ties stay in order of m/z.
        descending = np.uint32(0xFFFFFFFF) - relative.view(np.uint32)
        by_intensity = np.argsort((owner.astype(np.uint64) << np.uint64(32)) | descending, kind="stable")
        rank = np.arange(len(owner)) - np.repeat(starts, counts)
        chosen = by_intensity[rank < self.max_peaks]
        if self.order == "mz":
            chosen = np.sort(chosen)
        return owner[chosen], units[chosen], self._level(relative[chosen])

    def _peak_tokens(self, owner: np.ndarray, units: np.ndarray, level: np.ndarray) -> np.ndarray:
        integer, fraction = np.divmod(units, 10**self.decimals)
        columns = [self._start["integer"] + integer]
        if self.decimals:
            columns.append(self._start["fraction"] + fraction)
        if self.intensity_bins:
            token = self._start["intensity"] + level
            if not self.repeat_intensity:
                same = (np.diff(level, prepend=-1) == 0) & (np.diff(owner, prepend=-1) == 0)
                token = np.where(same, -1, token)
            columns.insert(0, token)
        return np.stack(columns, 1)

    def _level(self, relative: np.ndarray) -> np.ndarray:
        """Level of intensities relative to the base peak, from 0 to intensity_bins - 1 (the base peak)."""
        if self.intensity_scale == "sqrt":
            relative = np.sqrt(relative)
        elif self.intensity_scale == "log":
            relative = np.clip(1 + np.log10(relative) / LOG_DECADES, 0, 1)
        return np.rint(relative * max(self.intensity_bins - 1, 0)).astype(np.int64)

    def _relative(self, level: np.ndarray) -> np.ndarray:
        """(K,) float32 intensity in the middle of its level; 1 everywhere when intensities are left out."""
        if not self.intensity_bins:
            return np.ones(len(level), np.float32)
        scaled = np.maximum(level, 0.25) / (self.intensity_bins - 1)  # the lowest level reaches down to 0
        if self.intensity_scale == "sqrt":
            scaled = scaled**2
        elif self.intensity_scale == "log":
            scaled = 10 ** (LOG_DECADES * (scaled - 1))
        return scaled.astype(np.float32)


def _check(name: str, value: object, ok: bool, allowed: str) -> None:
    if not ok:
        raise ConfigError(f"spectrum tokenizer: {name}={value!r} cannot be used, it must be {allowed}.")


def _energy_names() -> list[str]:
    return [f"<{ENERGY_STEP * i} {unit or '?'}>" for unit in ENERGY_UNITS for i in range(ENERGY_LEVELS)]


def _translate(column: np.ndarray, index) -> np.ndarray:
    """(n,) int64 index of each text; each distinct text is looked up once."""
    known = {text: index(text) for text in set(column.tolist())}
    return np.fromiter((known[text] for text in column.tolist()), np.int64, len(column))


def _further(adducts: Sequence[str]) -> list[str]:
    """The names of adducts that are not among the ADDUCT_FORMS."""
    if not adducts:
        return []
    from trimer.chemistry.adducts import harmonise_adduct

    names: dict[str, None] = {}
    for text in adducts:
        name = harmonise_adduct(text)
        _check("more_adducts", text, name is not None, "an adduct such as [M+H]+")
        names |= {name: None} if name else {}
    return [name for name in names if name not in ADDUCT_FORMS]


def _energy_index(text: str | None) -> int:
    """0 when unknown, else the number of the level and unit from 1."""
    value, unit = parse_collision_energy(text)
    if value is None:
        return 0
    level = int(min(value / ENERGY_STEP + 0.5, ENERGY_LEVELS - 1))
    return 1 + ENERGY_UNITS.index(unit) * ENERGY_LEVELS + level
