"""Splits into train, validation and test: by groups that must stay together, or by a column of the data.

Groups are connected components: two rows that share any key (InChIKey block 1, scaffold, cluster) are in one group, and
so are all rows that share another key with either of them. A split is an array with a manifest, saved with the run and
reused by every baseline.

Shapes: n rows, k key columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from trimer.counts import counted
from trimer.data.core.mapped import ranges
from trimer.errors import ConfigError, InputError

Keys = Mapping[str, Sequence | np.ndarray]  # name of a key -> its value in each row

FRACTIONS = {"train": 0.8, "val": 0.1, "test": 0.1}
WHOLE = "all"  # the only split of data that are not divided
UNUSED = 255  # code of a row that is in no split
SYNONYMS = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test"}


@dataclass(frozen=True)
class Split:
    """The split of each of n rows: train, val, test.

    codes: (n,) uint8 index into names, 255 where a row is in no split. manifest: method, seed, sizes, sha256 of codes.
    """

    codes: np.ndarray
    names: tuple[str, ...]
    manifest: dict = field(default_factory=dict)

    @classmethod
    def build(cls, codes: np.ndarray, names: Sequence[str], **manifest: object) -> Split:
        """Create a split and its manifest; InputError if a split has no rows."""
        codes = np.asarray(codes, np.uint8)
        sizes = {name: int((codes == code).sum()) for code, name in enumerate(names)}
        empty = [name for name, size in sizes.items() if not size]
        if empty:
            raise InputError(
                f"the split by {manifest.get('method')} leaves {', '.join(empty)} empty ({len(codes):,} rows): "
                "use more data, other fractions, or fewer keys"
            )
        sha256 = hashlib.sha256(codes.tobytes()).hexdigest()
        facts = {"rows": len(codes), "sizes": sizes, "unused": int((codes == UNUSED).sum()), "sha256": sha256}
        others = {key: value for key, value in manifest.items() if key not in facts}  # in their order
        return cls(codes, tuple(names), others | facts)

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self, name: str) -> np.ndarray:
        """Row indices of a split, ascending."""
        return np.flatnonzero(self.codes == self._code(name))

    def rows_in_parts(self, name: str) -> Iterator[np.ndarray]:
        """The same in parts, for splits whose rows are not held in memory."""
        code = self._code(name)
        return (np.flatnonzero(self.codes[part.start : part.stop] == code) + part.start for part in ranges(len(self)))

    def _code(self, name: str) -> int:
        if name not in self.names:
            raise InputError(f"there is no split '{name}': the data have {', '.join(self.names)}")
        return self.names.index(name)

    def save(self, path: str | Path) -> None:
        """Write the codes to `path` (.npz) and the manifest beside it (.json)."""
        path = Path(path).with_suffix(".npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, codes=self.codes, names=np.array(self.names))
        path.with_suffix(".json").write_text(json.dumps(self.manifest, indent=1) + "\n", encoding="utf-8")

    def with_validation(self, keys: Keys, share: float, seed: int = 0) -> Split:
        """The same split with a validation split `val`, drawn from train by groups of the keys."""
        train = self.rows(self.names[0])
        inside = grouped_split(
            {name: np.asarray(values, dtype=object)[train] for name, values in keys.items()},
            {"train": 1 - share, "val": share},
            seed,
        )
        names = [self.names[0], "val", *self.names[1:]]
        codes = np.array([names.index(name) for name in self.names] + [UNUSED], np.uint8)[
            np.minimum(self.codes, len(self.names))
        ]
        codes[train[inside.rows("val")]] = 1
        return Split.build(codes, names, **self.manifest, validation={"share": share, "seed": seed})

    def limited(self, count: int, seed: int = 0) -> Split:
        """The same split with at most `count` rows of train, drawn by the seed; the other train rows are unused."""
        if count < 1:
            raise ConfigError(f"data.split.train_limit={count} must be 1 or more, or null")
        codes = self.codes.copy()
        codes[np.random.default_rng(seed).permutation(self.rows(self.names[0]))[count:]] = UNUSED
        return Split.build(codes, self.names, **self.manifest, train_limit=count)

    def spread(self, rows: np.ndarray, count: int) -> Split:
        """This split of `rows` as a split of all `count` rows; the other rows are unused."""
        if len(rows) == count:
            return self
        codes = np.full(count, UNUSED, np.uint8)
        codes[rows] = self.codes
        return Split.build(codes, self.names, **self.manifest)

    def overlap(self, keys: Keys) -> list[dict]:
        """For every key and every split except the first (train): how many values and rows also occur in the first.

        Missing keys (None, empty text, NaN) are not counted.
        """
        overlaps = []
        for key, values in keys.items():
            numbers = _numbered(values, len(self))
            first = np.unique(numbers[self.rows(self.names[0])])
            for name in self.names[1:]:
                present = numbers[self.rows(name)]
                present = present[present >= 0]
                distinct = np.unique(present)
                overlaps.append(
                    {
                        "key": key,
                        "part": name,
                        "values": len(distinct),
                        "shared_values": int(np.isin(distinct, first).sum()),
                        "rows": len(present),
                        "shared_rows": int(np.isin(present, first).sum()),
                    }
                )
        return overlaps

    def overlap_report(self, overlap: Sequence[Mapping], related: Sequence[Mapping] = ()) -> str:
        """The overlap as text: a line with the sizes, then a line for each key and split.

        overlap: result of `overlap`. related: result of `Relatives.to_train`. With it, a line that no sequence is
        identical is left out: it would reassure without saying anything about similar sequences.
        """
        if self.names == (WHOLE,):
            return f"not split: all {counted(len(self.rows(WHOLE)), 'rows', 'are')} measured"
        sizes = ", ".join(f"{name} {len(self.rows(name)):,}" for name in self.names)
        lines = [f"split by {self.manifest.get('method')}: {sizes} rows"]
        for row in overlap:
            if related and row["key"] == "sequence" and not row["shared_rows"]:
                continue
            share = 100 * row["shared_rows"] / max(row["rows"], 1)
            lines.append(
                f"  {row['part']:<5} {row['key']}: {row['shared_values']:,} of {row['values']:,} values, "
                f"{row['shared_rows']:,} of {row['rows']:,} rows ({share:.1f} %) also in {self.names[0]}"
            )
        return "\n".join([*lines, *(f"  {row['part']:<5} {row['text']}" for row in related)])

    def assert_disjoint(self, keys: Keys) -> None:
        """Raise InputError if a value of any key is in two splits."""
        for key, values in keys.items():
            numbers = _numbered(values, len(self))
            used = (numbers >= 0) & (self.codes != UNUSED)
            pairs = np.unique(np.stack([numbers[used], self.codes[used].astype(np.int64)], 1), axis=0)
            again = np.flatnonzero(pairs[1:, 0] == pairs[:-1, 0])
            if len(again):
                row = int(np.flatnonzero(numbers == pairs[again[0], 0])[0])
                first, second = (self.names[pairs[again[0] + i, 1]] for i in (0, 1))
                raise InputError(
                    f"{len(again):,} values of {key} are in two splits, for example {values[row]!r} in {first} "
                    f"and {second}: split by this key (data.split.keys=[{key}])"
                )


def grouped_split(keys: Keys, fractions: Mapping[str, float] | None = None, seed: int = 0) -> Split:
    """Split so that all rows with the same value of any key are in the same split.

    keys: k named columns of n values; None, empty text and NaN are not keys, so acyclic molecules (empty scaffold) are
    not one group. fractions: split -> fraction of the rows. Groups are connected components over all keys. Groups of
    more than a tenth of the smallest split after train go to train, unless the smaller ones could not fill the other
    splits twice; the rest are assigned in random order, each to the split that lacks most.
    """
    names, shares = _fractions(fractions)
    count = _common_length(keys)
    groups = row_groups(keys)
    sizes = np.bincount(groups)
    target = shares * count
    ascending = np.sort(sizes)
    enough = int(np.searchsorted(np.cumsum(ascending), min(2 * target[1:].sum(), count)))
    large = sizes > max(0.1 * target[1:].min(initial=np.inf), ascending[enough])
    split_of = np.zeros(len(sizes), np.uint8)
    have = np.zeros(len(names))
    have[0] = sizes[large].sum()
    for group in np.random.default_rng(seed).permutation(np.flatnonzero(~large)):
        split_of[group] = np.argmax((target - have) / target)
        have[split_of[group]] += sizes[group]
    split = Split.build(
        split_of[groups],
        names,
        method="groups over " + " and ".join(keys),
        keys=list(keys),
        seed=seed,
        fractions=dict(zip(names, shares.tolist(), strict=True)),
        groups=len(sizes),
        largest_group=int(sizes.max(initial=0)),
    )
    split.assert_disjoint(keys)
    return split


def ordered_split(
    values: Sequence | np.ndarray, fractions: Mapping[str, float] | None = None, name: str = "scaffold"
) -> Split:
    """Assign the largest groups first: to train until it is full, then val, then test (DeepChem's scaffold split).

    values: (n,) group of each row; missing values (acyclic molecules have no scaffold) are one group. Among groups of
    equal size the one that begins last comes first, as in DeepChem. Deterministic, so there is no seed.
    """
    names, shares = _fractions(fractions)
    numbers = _numbered(values, len(values))
    first: dict[int, list[int]] = {}
    for row, number in enumerate(numbers.tolist()):
        first.setdefault(number, []).append(row)
    groups = sorted(first.values(), key=lambda rows: (len(rows), rows[0]), reverse=True)
    bounds = np.cumsum(shares) * len(values)
    codes = np.full(len(values), len(names) - 1, np.uint8)
    filled = np.zeros(len(names), np.int64)
    for rows in groups:
        for code in range(len(names)):
            last = code == len(names) - 1
            if last or filled[: code + 1].sum() + len(rows) <= bounds[code]:
                codes[rows] = code
                filled[code] += len(rows)
                break
    return Split.build(codes, names, method=f"{name}, largest first", keys=[name], groups=len(groups))


def row_groups(keys: Keys) -> np.ndarray:
    """(n,) number of the connected component of each row; a row without any key is a separate group."""
    count = _common_length(keys)
    rows, values, nodes = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], count
    for column in keys.values():
        numbers = _numbered(column, count)
        known = np.flatnonzero(numbers >= 0)
        rows.append(known)
        values.append(numbers[known] + nodes)
        nodes += int(numbers.max(initial=-1)) + 1
    edges = np.concatenate(rows), np.concatenate(values)
    graph = coo_array((np.ones(len(edges[0]), np.int8), edges), shape=(nodes, nodes))
    labels = connected_components(graph, directed=False)[1][:count]
    return np.unique(labels, return_inverse=True)[1]


def whole_split(usable: np.ndarray) -> Split:
    """All usable rows as the single split `all`, for data that are only evaluated."""
    if not usable.any():
        raise InputError("no row is left to evaluate: every record was dropped, see the drop report")
    return Split.build(np.where(usable, 0, UNUSED), (WHOLE,), method="nothing, since all rows are measured")


def column_split(values: Sequence[str | None], names: Mapping[str, str | None] | None = None) -> Split:
    """Split by a column that names the split of each row, such as FOLD.

    names: value of the column -> train, val or test; null leaves these rows out. By default the values are the names,
    in any case, with the synonyms `valid`, `validation`, `dev`, `training` and `testing`.
    """
    names = None if names is None else {str(value): split for value, split in names.items()}  # YAML makes 1 a number
    wanted: dict[str | None, str | None] = {}
    for value in dict.fromkeys(values):
        text = "" if value is None else str(value).strip()
        if names is not None and text in names:
            wanted[value] = names[text]
        elif names is None and text:
            wanted[value] = SYNONYMS.get(text.lower(), text.lower())
        else:
            row = next(i for i, other in enumerate(values) if other == value)
            known = "train, val and test" if names is None else ", ".join(names)
            raise InputError(f"row {row + 1}: the split column holds {value!r}, expected {known}: set data.split.names")
    usual = [name for name in ("train", "val", "test") if name in wanted.values()]
    splits = usual + sorted({name for name in wanted.values() if name is not None} - set(usual))
    codes = {value: UNUSED if name is None else splits.index(name) for value, name in wanted.items()}
    return Split.build(np.array([codes[value] for value in values], np.uint8), splits, method="column")


def _fractions(fractions: Mapping[str, float] | None) -> tuple[list[str], np.ndarray]:
    fractions = FRACTIONS if fractions is None else fractions
    if not fractions or min(fractions.values()) <= 0:
        raise ConfigError(f"data.split.fractions: every split needs a fraction above 0, found {dict(fractions)}")
    if "train" not in fractions:
        raise ConfigError(f"data.split.fractions={dict(fractions)} has no train: give it a fraction")
    total = sum(map(float, fractions.values()))
    if abs(total - 1) > 1e-6:
        shown = ", ".join(f"{name}: {share:g}" for name, share in fractions.items())
        raise ConfigError(f"data.split.fractions={{{shown}}} sum to {total:g}: they must sum to 1")
    names = sorted(fractions, key=lambda name: name != "train")  # train first, the others in their order
    shares = np.array([float(fractions[name]) for name in names])
    return names, shares / shares.sum()


def _common_length(keys: Keys) -> int:
    lengths = {name: len(values) for name, values in keys.items()}
    if not lengths:
        raise ConfigError("a split needs at least one key column (data.split.keys)")
    if len(set(lengths.values())) != 1:
        raise ValueError(f"key columns of different lengths: {lengths}")
    count = next(iter(lengths.values()))
    if not count:
        raise InputError("no row is left to split: every record was dropped, see the drop report")
    return count


def _numbered(values: Sequence | np.ndarray, count: int) -> np.ndarray:
    """(n,) int64: a number from 0 for each distinct value, -1 for missing ones; integers are never missing."""
    if len(values) != count:
        raise ValueError(f"{len(values)} keys for {count} rows")
    if isinstance(values, np.ndarray) and values.dtype.kind in "iu":
        return np.unique(values, return_inverse=True)[1]
    numbers: dict = {}
    missing = (None, "")
    return np.fromiter(
        (-1 if value in missing or value != value else numbers.setdefault(value, len(numbers)) for value in values),
        np.int64,
        count,
    )
