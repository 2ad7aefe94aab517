"""DeepLoc: subcellular locations of proteins, and whether they are membrane-bound.

DeepLoc 1.0 (Almagro Armenteros et al. 2017, doi:10.1093/bioinformatics/btx431) has one location per protein; DeepLoc
2.0 (Thumuluri et al. 2022, doi:10.1093/nar/gkac278) has one or several, and five partitions that keep homologous
proteins together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from trimer.data.core.label_table import LabelTable
from trimer.data.labelled.label_files import LabelledFasta, LabelledFiles
from trimer.data.text.paths import DownloadedFile

LOCATIONS = (
    "Cytoplasm",
    "Nucleus",
    "Extracellular",
    "Cell membrane",
    "Mitochondrion",
    "Plastid",
    "Endoplasmic reticulum",
    "Lysosome/Vacuole",
    "Golgi apparatus",
    "Peroxisome",
)
BOTH = "Cytoplasm-Nucleus"
TWO_LOCATIONS = "in two locations (Cytoplasm-Nucleus)"
OTHER_LOCATION = "in none of the ten locations"
NO_FLAG = "a label is neither 0 nor 1"
KINDS = ("location", "membrane")
SET = "set"
DEEPLOC2 = "https://services.healthtech.dtu.dk/services/DeepLoc-2.0/data/Swissprot_Train_Validation_dataset.csv"


class DeepLoc1(LabelledFasta):
    """Proteins of DeepLoc 1.0: FASTA with headers such as `Q9H400 Cell.membrane-M test`.

    labels: "location", one of ten, spelled as in the file (`Cell.membrane`); the few proteins of both cytoplasm and
    nucleus have a problem, as the ten-class task of the paper excludes them. Or "membrane": M (bound) or S (soluble),
    missing for U (unknown). The column `set` is the third word of the header, by default train.
    """

    def __init__(self, paths: str | Sequence[str], labels: str = "location", limit: int | None = None):
        _check_kind(labels)
        super().__init__(paths, r"^(?P<id>\S+)\s+(?P<location>\S+)-(?P<membrane>[MSU])(?:\s+(?P<set>\S+))?", limit)
        self.labels = labels

    def fingerprint(self) -> str:
        return f"{super().fingerprint()}/labels={self.labels}"

    def _table(self, path: Path, records, columns: Sequence[str]) -> LabelTable:
        table = super()._table(path, records, columns)
        values = {**table.labels, **table.columns}
        if SET in columns:
            table.columns[SET] = [value or "train" for value in values[SET]]
        texts = values[self.labels]
        if self.labels == "membrane":
            texts = [None if text == "U" else text for text in texts]
        else:
            locations = {name.replace(" ", ".") for name in LOCATIONS}
            for row, text in enumerate(texts):
                if text not in locations and row not in table.problems:
                    table.problems[row] = TWO_LOCATIONS if text == BOTH else OTHER_LOCATION
        table.labels = {self.labels: texts}
        return table


class DeepLoc2(DownloadedFile, LabelledFiles):
    """Proteins of DeepLoc 2.0: the published table of Swiss-Prot proteins.

    path: an existing copy; by default the file is downloaded once to `folder` (no checksum is published). labels:
    "location", ten labels "1" or "0" of which several may be "1", or "membrane", one such label. Split by the column
    `Partition` (0 to 4). The table has an unnamed index, then ACC, Kingdom, Partition, Membrane, the ten locations and
    Sequence. Tested on small tables of this layout, not on the published file.
    """

    def __init__(
        self,
        path: str | None = None,
        labels: str = "location",
        folder: str = "data/deeploc2",
        limit: int | None = None,
        url: str = DEEPLOC2,
    ):
        _check_kind(labels)
        names = LOCATIONS if labels == "location" else ["Membrane"]
        super().__init__(path or str(Path(folder) / Path(url).name), "Sequence", names, "ACC", limit)
        self.path, self.folder, self.url = path, folder, url

    def _tables(self, columns: Sequence[str]) -> Iterator[LabelTable]:
        for table in super()._tables(columns):
            for texts in table.labels.values():
                for row, text in enumerate(texts):
                    if text is None:
                        continue
                    texts[row] = {"1.0": "1", "0.0": "0"}.get(text, text)
                    if texts[row] not in ("0", "1"):
                        table.problems.setdefault(row, NO_FLAG)
            yield table


def _check_kind(labels: str) -> None:
    if labels not in KINDS:
        raise ValueError(f"labels={labels} must be one of {', '.join(KINDS)}")
