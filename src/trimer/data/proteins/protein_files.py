"""Sources of proteins: the user's FASTA, annotated entries and tables; UniRef and Swiss-Prot.

Every source has `fingerprint()`, which changes when and only when its proteins change, and `chunks()`, which yields
`ProteinTable`s. The simulated source in `trimer.simulate.simulated_proteins` has the same methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from trimer.data.core.label_table import check_limit
from trimer.data.proteins.entry_files import COLUMNS, EntryFormat, entry_format, read_entries
from trimer.data.proteins.protein_table import ProteinTable
from trimer.data.text.compression import plain_name
from trimer.data.text.content import content_digest
from trimer.data.text.fasta import read_fasta
from trimer.data.text.letters import WHITE, checked, letters_of
from trimer.data.text.missing import known
from trimer.data.text.opening import read_chunks
from trimer.data.text.paths import DownloadedFile, NamedFiles, named_paths
from trimer.data.text.tables import ROWS, TableFile
from trimer.errors import InputError

TABLES = (".csv", ".tsv", ".tab", ".txt")
UNIPROT = "https://ftp.uniprot.org/pub/databases/uniprot/current_release"


class ProteinFiles(NamedFiles):
    """Proteins of FASTA, PIR, Parquet, CSV and TSV files, and of annotated entries (GenBank, EMBL, Swiss-Prot, UniProt
    XML, Stockholm: see `trimer.data.proteins.entry_files`), compressed or not.

    paths: files or globs; the format is detected from the content. column, id_column: of a table. In FASTA the id is
    the first word of the header, and other columns are its `key=value` pairs, such as UniProt's `OX`; entries have the
    columns accession, name, description, OS, OX, GN and family. cluster_column: the family of each protein. limit:
    largest number of proteins to read. Without an id a protein is named by file and line, such as `mine.csv:12`.
    Duplicate ids are kept, as isoforms and merged files have them; the data module counts them, and keeps identical
    sequences in one split.
    """

    wanted = "a FASTA, Parquet, CSV or TSV file"

    def __init__(
        self,
        paths: str | Sequence[str],
        column: str = "sequence",
        id_column: str | None = None,
        cluster_column: str | None = None,
        limit: int | None = None,
    ):
        self.paths = named_paths(paths, self.wanted)
        check_limit(limit)
        self.column = column
        self.id_column = id_column
        self.cluster_column = cluster_column
        self.limit = limit

    def fingerprint(self) -> str:
        settings = f"{self.column}/{self.id_column}/{self.cluster_column}/{self.limit}"
        return f"{content_digest(self.files())}/{settings}"

    def chunks(self, columns: Sequence[str] = ()) -> Iterator[ProteinTable]:
        """Tables of a few thousand proteins, with the requested columns."""
        left = self.limit
        for path in self.files():
            for table in self._tables(path, columns):
                if left is not None:
                    table = table.head(left)
                    left -= len(table)
                yield table
                if left == 0:
                    return

    def _tables(self, path: Path, columns: Sequence[str]) -> Iterator[ProteinTable]:
        start = next(read_chunks(path, 1 << 16), b"")
        if not start:
            raise InputError(f"{path} is empty; write or download it again")
        kind = entry_format(start, path)
        if kind is not None:
            return self._entries(path, kind, columns)
        return self._columns(path, columns) if self._is_table(path, start) else self._fasta(path, columns)

    def _is_table(self, path: Path, start: bytes) -> bool:
        """Whether a file is a table (not FASTA), by its first bytes or else its suffix."""
        if start[:4] == b"PAR1":
            return True
        if start.lstrip(WHITE)[:1] == b">":
            return False
        head = start.split(b"\n", 1)[0].lower()
        return Path(plain_name(path)).suffix.lower() in TABLES or self.column.lower().encode() in head

    def _fasta(self, path: Path, columns: Sequence[str]) -> Iterator[ProteinTable]:
        wanted = dict.fromkeys(filter(None, (*columns, self.cluster_column, self.id_column)))
        first = True
        for records in read_fasta(path):
            values = {name: records.values(name) for name in wanted}
            for name, texts in values.items():
                if first and not any(texts):
                    raise InputError(f"{path}: no header has '{name}=...': name another column, or none")
            first = False
            ids = values[self.id_column] if self.id_column else records.ids
            lines, problems = records.lines.tolist(), records.without_labels
            yield self._table(path, ids, lines, records.sequences, values, columns, problems)

    def _entries(self, path: Path, kind: EntryFormat | str, columns: Sequence[str]) -> Iterator[ProteinTable]:
        wanted = list(dict.fromkeys(filter(None, (*columns, self.cluster_column, self.id_column))))
        if unknown := [name for name in wanted if name not in COLUMNS]:
            raise InputError(f"{path}: entries have no column '{unknown[0]}'; use one of {', '.join(COLUMNS)}")
        entries = read_entries(path, kind)
        while chunk := list(islice(entries, ROWS)):
            values = {name: [entry.values.get(name) for entry in chunk] for name in wanted}
            ids = values[self.id_column] if self.id_column else [entry.id for entry in chunk]
            sequences, problems = checked(letters_of([entry.sequence for entry in chunk]))
            problems |= {row: entry.problem for row, entry in enumerate(chunk) if entry.problem}
            yield self._table(path, ids, [entry.line for entry in chunk], sequences, values, columns, problems)

    def _columns(self, path: Path, columns: Sequence[str]) -> Iterator[ProteinTable]:
        wanted = list(dict.fromkeys(filter(None, (self.column, *columns, self.cluster_column, self.id_column))))
        rows = TableFile(path).rows(wanted)
        while chunk := list(islice(rows, ROWS)):
            texts = zip(*([known(cell) for cell in cells] for cells, _, _ in chunk), strict=True)
            values = dict(zip(wanted, map(list, texts), strict=True))
            ids = values[self.id_column] if self.id_column else [None] * len(chunk)
            sequences, problems = checked(letters_of(values[self.column]))
            problems |= {row: problem for row, (_, _, problem) in enumerate(chunk) if problem}
            yield self._table(path, ids, [line for _, line, _ in chunk], sequences, values, columns, problems)

    def _table(self, path, ids, lines, sequences, values, columns, problems) -> ProteinTable:
        named = [name or f"{path.name}:{line}" for name, line in zip(ids, lines, strict=True)]
        clusters = values[self.cluster_column] if self.cluster_column else None
        return ProteinTable(named, sequences, clusters, {name: values[name] for name in columns}, problems)


class PublishedProteins(DownloadedFile, ProteinFiles):
    """Proteins of a published file: downloaded once to `folder`, then read like any file.

    path: an existing copy, instead of a download. sha256: expected checksum of the file; null: not checked (UniProt
    publishes only md5 sums, in the RELEASE.metalink of each release).
    """

    def __init__(
        self, url: str, folder: str, path: str | None = None, sha256: str | None = None, limit: int | None = None
    ):
        super().__init__(path or str(Path(folder) / Path(url).name), limit=limit)
        self.url, self.folder, self.path, self.sha256 = url, folder, path, sha256


class UniRef(PublishedProteins):
    """UniRef of the current release: representatives of all UniProt sequences at 50, 90 or 100 % identity.

    About 60 million sequences at 50 %, 200 million at 90 %. Other arguments: see PublishedProteins.
    """

    def __init__(
        self,
        identity: int = 50,
        folder: str = "data/uniref",
        path: str | None = None,
        sha256: str | None = None,
        limit: int | None = None,
        url: str = UNIPROT,
    ):
        if identity not in (50, 90, 100):
            raise ValueError(f"identity={identity} must be 50, 90 or 100")
        name = f"uniref{identity}"
        super().__init__(f"{url}/uniref/{name}/{name}.fasta.gz", folder, path, sha256, limit)
        self.identity = identity


class SwissProt(PublishedProteins):
    """The reviewed proteins of UniProt's current release, about 570,000. Arguments: see PublishedProteins."""

    def __init__(
        self,
        folder: str = "data/swissprot",
        path: str | None = None,
        sha256: str | None = None,
        limit: int | None = None,
        url: str = UNIPROT,
    ):
        super().__init__(f"{url}/knowledgebase/complete/uniprot_sprot.fasta.gz", folder, path, sha256, limit)
