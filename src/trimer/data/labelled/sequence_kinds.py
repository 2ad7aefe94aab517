"""What is done to the text of a labelled record: molecules are canonicalised, proteins and peptides read by letter."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from trimer.data.core.ragged import Ragged
from trimer.data.core.store import Store
from trimer.data.molecules.molecule_keys import molecule_keys
from trimer.data.peptides.peptide_batches import flat_peptides
from trimer.data.text.letters import checked, letters_of
from trimer.data.text.spelling import Spelling
from trimer.flat import Flat
from trimer.peptides.modifications import ELEMENTS, Modification, composition_vector
from trimer.peptides.proforma import Peptide, PeptideError, read_proforma

SEQUENCE_IL = "sequence_il"  # the letters of a peptide with I written as L, which have the same mass


@dataclass
class Sequences:
    """n texts as a model reads them.

    tokens: (L,) ids of each, None where it was dropped. texts: canonical. keys: name -> n texts, by which a
    split groups. dropped: rule -> rows. why: row -> what more is known of why it was dropped. modifications: of
    peptides, (L,) numbers aligned with the tokens: 0, or one more than the row in the `compositions` of their kind.
    """

    tokens: list[np.ndarray | None]
    texts: list[str | None]
    keys: dict[str, list[str | None]]
    dtype: type
    dropped: dict[str, list[int]] = field(default_factory=dict)
    modifications: list[np.ndarray | None] | None = None
    why: dict[int, str] = field(default_factory=dict)

    def reasons(self) -> dict[int, str]:
        """Row -> why it was dropped: the rule, and what more is known."""
        rules = {row: rule for rule, rows in self.dropped.items() for row in rows}
        return {row: f"{rule}: {self.why[row]}" if row in self.why else rule for row, rule in rules.items()}


class SequenceKind(Protocol):
    """How the texts of one kind are read. derived: keys of a split that follow from the others, and are not kept.

    has_modifications: whether residues carry modifications. spelling: counts what the vocabulary cannot spell of the
    texts that were read.
    """

    keys: ClassVar[tuple[str, ...]]
    derived: ClassVar[tuple[str, ...]]
    plural: ClassVar[str]
    has_modifications: ClassVar[bool]
    spelling: Spelling

    def read(self, texts: Sequence[str]) -> Sequences: ...

    def identities(self, sequences: Sequences) -> list[str | None]:
        """Of each text that by which it is recognised in training data (`training_keys.sequence_keys`)."""
        ...

    def fingerprint(self) -> str: ...


class Molecules:
    """SMILES or InChI: the whole molecule as it stands, as canonical SMILES with its stereochemistry."""

    keys = ("inchikey1", "scaffold")
    derived = ()
    plural = "molecules"
    has_modifications = False

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.spelling = Spelling(tokenizer, self.plural)

    def fingerprint(self) -> str:
        return "molecules/2"

    def identities(self, sequences: Sequences) -> list[str | None]:
        return sequences.keys["inchikey1"]

    def read(self, texts: Sequence[str]) -> Sequences:
        found = [molecule_keys(text.strip(), stereo=True) for text in texts]
        dropped: dict[str, list[int]] = {}
        tokens: list[np.ndarray | None] = []
        for row, keys in enumerate(found):
            ids = None if keys.dropped else self.tokenizer.encode(keys.smiles)
            tokens.append(ids)
            if ids is None:
                dropped.setdefault(keys.dropped or "molecule cannot be written", []).append(row)
        self.spelling.count(None if ids is None else keys.smiles for ids, keys in zip(tokens, found, strict=True))
        columns = {name: [getattr(keys, name) for keys in found] for name in self.keys}
        why = {row: keys.why for row, keys in enumerate(found) if keys.why}
        texts, kind = [keys.smiles for keys in found], id_type(self.tokenizer, np.uint16)
        return Sequences(tokens, texts, columns, kind, dropped, why=why)


class Proteins:
    """Residues: white space and a stop at the end are taken off; what is empty or no protein is dropped."""

    keys = ("sequence",)
    derived = ()
    plural = "proteins"
    has_modifications = False

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.spelling = Spelling(tokenizer, self.plural)

    def fingerprint(self) -> str:
        return "proteins/2"

    def identities(self, sequences: Sequences) -> list[str | None]:
        return sequences.texts

    def read(self, texts: Sequence[str]) -> Sequences:
        sequences, problems = checked(letters_of(texts))
        letters = [sequences[row].tobytes().decode().upper() for row in range(len(texts))]
        dropped: dict[str, list[int]] = {}
        for row in sorted(problems):
            dropped.setdefault(problems[row], []).append(row)
        encoded = self.tokenizer.encode_many(sequences.values, sequences.offsets)
        tokens = [None if row in problems else encoded[row] for row in range(len(texts))]
        self.spelling.count(text for row, text in enumerate(letters) if row not in problems)
        names = [hashlib.blake2b(text.encode(), digest_size=12).hexdigest() for text in letters]
        return Sequences(tokens, letters, {"sequence": names}, id_type(self.tokenizer, np.uint8), dropped)


class Peptides:
    """ProForma: letters as tokens, and the atoms that modifications add, each at its residue or at its own end.

    compositions: (n, E) of the modifications met so far, in that order; two on one residue are one more.
    """

    keys = ("sequence", "proforma")
    derived = (SEQUENCE_IL,)
    plural = "peptides"
    has_modifications = True

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.spelling = Spelling(tokenizer, self.plural)
        self._numbers: dict[tuple[Modification, ...], int] = {}

    @property
    def compositions(self) -> np.ndarray:
        rows = [composition_vector(found) for found in self._numbers]
        return np.array(rows, np.int16).reshape(len(rows), len(ELEMENTS))

    def fingerprint(self) -> str:
        return "peptides/1"

    def identities(self, sequences: Sequences) -> list[str | None]:
        return sequences.keys["sequence"]

    def read(self, texts: Sequence[str]) -> Sequences:
        found = Sequences([], [], {name: [] for name in self.keys}, id_type(self.tokenizer, np.uint8), {}, [])
        for row, text in enumerate(texts):
            try:
                peptide = read_proforma(text.strip())
            except PeptideError as error:
                found.dropped.setdefault(str(error), []).append(row)
                peptide = None
            found.tokens.append(None if peptide is None else self.tokenizer.encode(peptide.letters))
            found.modifications.append(None if peptide is None else self._modified(peptide))
            found.texts.append(None if peptide is None else peptide.proforma)
            found.keys["sequence"].append(None if peptide is None else peptide.letters)
            found.keys["proforma"].append(found.texts[-1])
        return found

    def _modified(self, peptide: Peptide) -> np.ndarray:
        """(L + 2,) numbers of what sits on each token."""
        out = np.zeros(len(peptide.letters) + 2, np.uint16)
        here: dict[int, list[Modification]] = {}
        for place, modification in peptide.modifications:
            here.setdefault(place, []).append(modification)
        for place, several in here.items():
            several = tuple(sorted(several, key=lambda modification: modification.name))
            out[place] = self._numbers.setdefault(several, len(self._numbers) + 1)
        return out


def key_column(store: Store, name: str) -> np.ndarray:
    """(n,) texts by which a split groups: a column of the store, or one that follows from it."""
    if name == SEQUENCE_IL:
        return np.array([letters.replace("I", "L") for letters in store.strings("sequence")], dtype=object)
    return np.array(store.strings(name), dtype=object)


def id_type(tokenizer, least: type) -> type:
    """The smallest type of integers, but at least `least`, that holds every id of a vocabulary."""
    return np.promote_types(least, np.min_scalar_type(len(tokenizer) - 1)).type


def shortened(tokens: np.ndarray, most: int, way: str) -> np.ndarray | None:
    """At most so many tokens: both "ends" of a longer sequence, its "start" with the last token, or None for "drop"."""
    if len(tokens) <= most:
        return tokens
    if way == "drop":
        return None
    last = most // 2 if way == "ends" else 1
    return np.concatenate([tokens[: most - last], tokens[-last:]])


class ModelInput(NamedTuple):
    """What a model reads of one sequence of L tokens.

    modifications: (L,) of peptides: 0, or one more than the row in `compositions`, which sequences share.
    """

    tokens: np.ndarray
    modifications: np.ndarray | None = None
    compositions: np.ndarray | None = None


def model_inputs(kind: SequenceKind, sequences: Sequences, tokens: Mapping[int, np.ndarray]) -> dict[int, ModelInput]:
    """Row -> what a model reads of it. tokens: of the rows that are read, perhaps shortened."""
    if sequences.modifications is None:
        return {row: ModelInput(ids) for row, ids in tokens.items()}
    compositions = kind.compositions
    return {row: ModelInput(ids, sequences.modifications[row], compositions) for row, ids in tokens.items()}


def flat(inputs: Sequence[ModelInput], conditions: np.ndarray | None = None) -> Flat:
    """Sequences as one batch. conditions: of peptides whose spectra are predicted."""
    tokens = Ragged.pack([one.tokens for one in inputs])
    compositions = inputs[0].compositions
    if compositions is None:
        return Flat.from_concatenated(tokens.values, tokens.lengths)
    modifications = Ragged.pack([one.modifications for one in inputs], np.uint16)
    return flat_peptides(tokens, modifications, compositions, conditions)


KINDS: dict[str, type[SequenceKind]] = {"molecules": Molecules, "proteins": Proteins, "peptides": Peptides}
