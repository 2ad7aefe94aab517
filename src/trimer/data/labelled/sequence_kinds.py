"""Kinds of sequences and how their texts are read: molecules, proteins and peptides."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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

SEQUENCE_IL = "sequence_il"  # residues of a peptide with I written as L, since both have the same mass


@dataclass
class Sequences:
    """n sequences as token ids.

    tokens: (L,) ids of each, None if it was dropped. texts: canonical. keys: name -> n texts, the keys of a split.
    dropped: rule -> rows. why: row -> details of why it was dropped. modifications: of peptides, (L,) numbers aligned
    with the tokens: 0 for none, else 1 + the row in the `compositions` of their kind.
    """

    tokens: list[np.ndarray | None]
    texts: Sequence[str | None]
    keys: Mapping[str, Sequence[str | None]]
    dtype: type
    dropped: dict[str, list[int]] = field(default_factory=dict)
    modifications: list[np.ndarray | None] | None = None
    why: dict[int, str] = field(default_factory=dict)

    def reasons(self) -> dict[int, str]:
        """Row -> why it was dropped: the rule and its details."""
        rules = {row: rule for rule, rows in self.dropped.items() for row in rows}
        return {row: f"{rule}: {self.why[row]}" if row in self.why else rule for row, rule in rules.items()}


class SequenceKind:
    """A kind of sequence: how its texts are read, and the keys of its splits.

    derived: split keys that are computed from the others, not stored. has_modifications: whether residues may carry
    modifications, of which `compositions` are the (n, E) elemental compositions. spelling: counts symbols outside the
    vocabulary.
    """

    keys: tuple[str, ...]
    derived: tuple[str, ...] = ()
    plural: str
    has_modifications = False

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.spelling = Spelling(tokenizer, self.plural)

    @property
    def compositions(self) -> np.ndarray | None:
        return None

    def bound(self, most: int) -> None:
        """Forget the modifications that were read before, if there are more than `most`; they get new numbers."""

    def read(self, texts: Sequence[str]) -> Sequences:
        """Canonical texts, tokens and split keys of sequences."""
        raise NotImplementedError

    def identities(self, sequences: Sequences) -> Sequence[str | None]:
        """The texts by which sequences are recognised in training data (`training_keys.sequence_keys`)."""
        raise NotImplementedError

    def fingerprint(self) -> str:
        """Changes when the same texts are read in another way."""
        raise NotImplementedError


class Molecules(SequenceKind):
    """Molecules: SMILES or InChI, read as canonical SMILES with stereochemistry, including all components."""

    keys = ("inchikey1", "scaffold")
    plural = "molecules"

    def fingerprint(self) -> str:
        return "molecules/2"

    def identities(self, sequences: Sequences) -> Sequence[str | None]:
        return sequences.keys["inchikey1"]

    def read(self, texts: Sequence[str]) -> Sequences:
        molecules = [molecule_keys(text.strip(), stereo=True) for text in texts]
        dropped: dict[str, list[int]] = {}
        tokens: list[np.ndarray | None] = []
        for row, keys in enumerate(molecules):
            ids = None if keys.dropped else self.tokenizer.encode(keys.smiles)
            tokens.append(ids)
            if ids is None:
                dropped.setdefault(keys.dropped or "molecule cannot be tokenized", []).append(row)
        self.spelling.count(None if ids is None else keys.smiles for ids, keys in zip(tokens, molecules, strict=True))
        columns = {name: [getattr(keys, name) for keys in molecules] for name in self.keys}
        why = {row: keys.why for row, keys in enumerate(molecules) if keys.why}
        smiles = [keys.smiles for keys in molecules]
        return Sequences(tokens, smiles, columns, id_type(self.tokenizer, np.uint16), dropped, why=why)


class Proteins(SequenceKind):
    """Proteins: residues without white space and final stop; empty texts and DNA are dropped."""

    keys = ("sequence",)
    plural = "proteins"

    def fingerprint(self) -> str:
        return "proteins/2"

    def identities(self, sequences: Sequences) -> Sequence[str | None]:
        return sequences.texts

    def read(self, texts: Sequence[str]) -> Sequences:
        sequences, problems = checked(letters_of(texts))
        letters = [sequences[row].tobytes().decode().upper() for row in range(len(texts))]
        dropped: dict[str, list[int]] = {}
        for row in sorted(problems):
            dropped.setdefault(problems[row], []).append(row)
        encoded = self.tokenizer.encode_many(sequences.values, sequences.offsets)
        tokens: list[np.ndarray | None] = [None if row in problems else encoded[row] for row in range(len(texts))]
        self.spelling.count(text for row, text in enumerate(letters) if row not in problems)
        names = [hashlib.blake2b(text.encode(), digest_size=12).hexdigest() for text in letters]
        return Sequences(tokens, letters, {"sequence": names}, id_type(self.tokenizer, np.uint8), dropped)


class Peptides(SequenceKind):
    """Peptides in ProForma: residues as tokens, with the elemental compositions of modified residues and termini.

    compositions: (n, E) of all modifications read so far; two modifications of one residue have a row together.
    """

    keys = ("sequence", "proforma")
    derived = (SEQUENCE_IL,)
    plural = "peptides"
    has_modifications = True

    def __init__(self, tokenizer):
        super().__init__(tokenizer)
        self._numbers: dict[tuple[Modification, ...], int] = {}
        self._compositions = np.zeros((0, len(ELEMENTS)), np.int16)

    @property
    def compositions(self) -> np.ndarray:
        if len(self._compositions) != len(self._numbers):
            rows = [composition_vector(modifications) for modifications in self._numbers]
            self._compositions = np.array(rows, np.int16).reshape(len(rows), len(ELEMENTS))
        return self._compositions

    def bound(self, most: int) -> None:
        if len(self._numbers) > most:
            self._numbers, self._compositions = {}, np.zeros((0, len(ELEMENTS)), np.int16)

    def fingerprint(self) -> str:
        return "peptides/1"

    def identities(self, sequences: Sequences) -> Sequence[str | None]:
        return sequences.keys["sequence"]

    def read(self, texts: Sequence[str]) -> Sequences:
        peptides: list[Peptide | None] = []
        dropped: dict[str, list[int]] = {}
        for row, text in enumerate(texts):
            try:
                peptides.append(read_proforma(text.strip()))
            except PeptideError as error:
                dropped.setdefault(str(error), []).append(row)
                peptides.append(None)
        tokens = [None if peptide is None else self.tokenizer.encode(peptide.letters) for peptide in peptides]
        modifications = [None if peptide is None else self._modified(peptide) for peptide in peptides]
        letters = [None if peptide is None else peptide.letters for peptide in peptides]
        proforma = [None if peptide is None else peptide.proforma for peptide in peptides]
        keys = {"sequence": letters, "proforma": proforma}
        return Sequences(tokens, proforma, keys, id_type(self.tokenizer, np.uint8), dropped, modifications)

    def _modified(self, peptide: Peptide) -> np.ndarray:
        """(L + 2,) number of the modifications of each token, including both termini."""
        out = np.zeros(len(peptide.letters) + 2, np.uint16)
        by_position: dict[int, list[Modification]] = {}
        for position, modification in peptide.modifications:
            by_position.setdefault(position, []).append(modification)
        for position, modifications in by_position.items():
            key = tuple(sorted(modifications, key=lambda modification: modification.name))
            out[position] = self._numbers.setdefault(key, len(self._numbers) + 1)
        return out


def key_column(store: Store, name: str) -> np.ndarray:
    """(n,) texts of a split key: a column of the store, or one computed from it."""
    if name == SEQUENCE_IL:
        return np.array([(letters or "").replace("I", "L") for letters in store.strings("sequence")], dtype=object)
    return np.array(store.strings(name), dtype=object)


def id_type(tokenizer, least: type) -> type:
    """The smallest integer type, at least `least`, that holds every id of a vocabulary."""
    return np.promote_types(least, np.min_scalar_type(len(tokenizer) - 1)).type


def shortened(tokens: np.ndarray, max_length: int, too_long: str) -> np.ndarray | None:
    """At most max_length tokens: of longer sequences both "ends", the "start" and the end token, or None for "drop"."""
    if len(tokens) <= max_length:
        return tokens
    if too_long == "drop":
        return None
    last = max_length // 2 if too_long == "ends" else 1
    return np.concatenate([tokens[: max_length - last], tokens[-last:]])


class ModelInput(NamedTuple):
    """The input of a model for one sequence of L tokens.

    modifications: (L,) of peptides: 0 for none, else 1 + the row in `compositions`, which sequences that are read
    together share. text: the canonical SMILES of a molecule.
    """

    tokens: np.ndarray
    modifications: np.ndarray | None = None
    compositions: np.ndarray | None = None
    text: str | None = None


def model_inputs(kind: SequenceKind, sequences: Sequences, tokens: Mapping[int, np.ndarray]) -> dict[int, ModelInput]:
    """Row -> input of a model. tokens: of the rows to predict, possibly shortened."""
    if sequences.modifications is None:
        return {row: ModelInput(ids, text=sequences.texts[row]) for row, ids in tokens.items()}
    compositions = kind.compositions
    return {row: ModelInput(ids, sequences.modifications[row], compositions) for row, ids in tokens.items()}


def flat(inputs: Sequence[ModelInput], conditions: np.ndarray | None = None) -> Flat:
    """One batch of the sequences. conditions: (B, C) acquisition conditions, for spectra of peptides."""
    tokens = Ragged.pack([sequence.tokens for sequence in inputs])
    tables = {
        id(sequence.compositions): sequence.compositions for sequence in inputs if sequence.compositions is not None
    }
    if not tables:
        return Flat.from_concatenated(tokens.values, tokens.lengths)
    modifications = Ragged.pack([row.modifications for row in inputs if row.modifications is not None])
    if len(tables) > 1:  # of several requests
        first = dict(zip(tables, np.cumsum([0, *map(len, tables.values())]), strict=False))
        before = np.repeat([first[id(sequence.compositions)] for sequence in inputs], modifications.lengths)
        numbers = modifications.values
        modifications = Ragged(np.where(numbers > 0, numbers + before, 0), modifications.offsets)
    return flat_peptides(tokens, modifications, np.concatenate(list(tables.values())), conditions)


KINDS: dict[str, type[SequenceKind]] = {"molecules": Molecules, "proteins": Proteins, "peptides": Peptides}
