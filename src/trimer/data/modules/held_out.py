"""What a pre-training corpus must not hold, since a later study is judged on it: molecules, proteins, peptides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from trimer.data.molecules.molecule_files import MoleculeSource
from trimer.data.molecules.molecule_keys import molecule_table


class HeldOutMolecules:
    """The validation and test molecules of another data module, by InChIKey block 1.

    data: the data module of the study that comes later, with its own source, cleaning and split.
    """

    def __init__(self, data):
        self.data = data

    def keys(self) -> frozenset[str]:
        return self.data.held_out_keys()

    def fingerprint(self) -> str:
        """Changes with the records and with the split of the later study."""
        return json.dumps([str(self.data.folder.name), self.data.split_by], sort_keys=True, default=list)


class HeldOutProteins(HeldOutMolecules):
    """The validation and test proteins of another data module, by identical sequence; relatives are not left out."""


class HeldOutPeptides:
    """The validation and test peptides of other data modules, by their letters, whatever their modifications.

    data: name -> the data module of a study that comes later.
    """

    def __init__(self, data: Mapping):
        self.data = dict(data)

    def keys(self) -> frozenset[str]:
        return frozenset().union(*(module.held_out_keys() for module in self.data.values()))

    def fingerprint(self) -> str:
        """Changes with the records and with the splits of the later studies."""
        studies = [[str(module.folder.name), module.split_by] for module in self.data.values()]
        return json.dumps(studies, sort_keys=True, default=list)


class MoleculesOf:
    """Every molecule of some files, by InChIKey block 1: whatever split a later study makes of them, none was seen.

    sources: SMILES files. cache: where their keys are kept.
    """

    def __init__(self, sources: Sequence[MoleculeSource], cache: str):
        self.sources = list(sources)
        self.cache = cache

    def keys(self) -> frozenset[str]:
        tables = [molecule_table(source, self.cache) for source in self.sources]
        return frozenset(key for table in tables for key in table.strings("inchikey1"))

    def fingerprint(self) -> str:
        """Changes with the files."""
        return json.dumps([source.fingerprint() for source in self.sources])
