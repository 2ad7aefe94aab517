"""Tables of peptides in ProForma with labels of any kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trimer.data.core.label_table import LabelTable
from trimer.data.labelled.label_files import LabelledFiles
from trimer.data.peptides.peptide_layouts import lost_modification, unread_modifications
from trimer.data.text.tables import TableFile

HINT = "write them into the sequence (ProForma), or use data=peptide_properties"


class LabelledPeptides(LabelledFiles):
    """LabelledFiles of peptides; a row whose modifications are in another column than the sequence has a problem."""

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[LabelTable]:
        used = [self.column, *filter(None, [self.id_column]), *(self.labels or ()), *columns]
        tables = [TableFile(path) for path in self.files()]
        unread = [name for name in unread_modifications(tables[0], used) if all(name in table for table in tables)]
        for table in super().chunks([*columns, *unread]):
            unread_cells = [table.columns.pop(name) for name in unread]
            for row, text in enumerate(table.texts):
                reason = lost_modification(text, [cells[row] for cells in unread_cells], unread, HINT)
                if reason:
                    table.problems.setdefault(row, reason)
            yield table
