"""Molecules, proteins and peptides to exclude from a pre-training corpus, since a later study is evaluated on them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from trimer.data.molecules.molecule_files import MoleculeSource
from trimer.data.molecules.molecule_keys import molecule_table


class HeldOutMolecules:
    """The validation and test molecules of another data module, by InChIKey block 1.

    data: the data module of the later study, with its source, cleaning and split.
    """

    def __init__(self, data):
        self.data = data

    def keys(self) -> frozenset[str]:
        return self.data.held_out_keys()

    def fingerprint(self) -> str:
        """Changes with the records and with the split of the later study."""
        return json.dumps([str(self.data.folder.name), self.data.split_by], sort_keys=True, default=list)


class HeldOutProteins(HeldOutMolecules):
    """The validation and test proteins of another data module, by identical sequence; relatives are not excluded."""


class HeldOutPeptides:
    """The validation and test peptides of other data modules, by residues, with any modifications.

    data: name -> the data module of a later study.
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
    """Every molecule of some files, by InChIKey block 1, so that none is seen for any split of a later study.

    sources: SMILES files. cache: folder for their keys.
    """

    def __init__(self, sources: Sequence[MoleculeSource], cache: str):
        self.sources = list(sources)
        self.cache = cache

    def keys(self) -> frozenset[str]:
        tables = [molecule_table(source, self.cache) for source in self.sources]
        return frozenset(key for table in tables for key in table.strings("inchikey1") if key is not None)

    def fingerprint(self) -> str:
        """Changes with the files."""
        return json.dumps([source.fingerprint() for source in self.sources])
