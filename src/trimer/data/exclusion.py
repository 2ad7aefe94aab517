"""Molecules and proteins that a pre-training corpus must not contain, since a later study will be judged on them."""

from __future__ import annotations

import json


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
