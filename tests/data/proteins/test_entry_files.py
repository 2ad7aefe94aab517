"""GenBank, EMBL, Swiss-Prot, UniProt XML, PIR and Stockholm files as proteins."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import sys

import pyarrow.parquet as pq
import pytest
import torch

from trimer.cli.main import main
from trimer.data.labelled.sequence_files import read_sequences
from trimer.data.proteins.protein_files import ProteinFiles
from trimer.errors import InputError
from trimer.models.convert.esm2_weights import save_esm2
from trimer.models.esm2 import Esm2

GENPEPT = """LOCUS       P{number}                   8 aa            linear   PRI 01-JAN-2020
DEFINITION  protein {number}.
ACCESSION   P{number}
VERSION     P{number}.1
SOURCE      Homo sapiens
  ORGANISM  Homo sapiens
            Eukaryota.
FEATURES             Location/Qualifiers
     source          1..8
                     /organism="Homo sapiens"
                     /db_xref="taxon:9606"
ORIGIN
        1 mkwvtfis
//
"""
NUCLEOTIDES = """LOCUS       X1                        60 bp    DNA     linear   BCT 01-JAN-2020
DEFINITION  a piece of a genome.
ACCESSION   X1
VERSION     X1.1
SOURCE      Escherichia coli
  ORGANISM  Escherichia coli
            Bacteria.
FEATURES             Location/Qualifiers
     source          1..60
                     /organism="Escherichia coli"
                     /db_xref="taxon:562"
     CDS             1..12
                     /gene="abc"
                     /product="first"
                     /protein_id="AAA1.1"
                     /translation="MKW
                     V"
     CDS             complement(13..24)
                     /locus_tag="b2"
                     /translation="MKV"
     CDS             25..36
                     /gene="noseq"
     CDS             37..48
                     /pseudo
                     /gene="dead"
ORIGIN
        1 atgaaatggg tgatgaaatg ggtgatgaaa tgggtgatga aatgggtgat gaaatgggtg
//
"""
EMBL = """ID   X5; SV 1; linear; genomic DNA; STD; PRO; 12 BP.
XX
AC   X5;
XX
DE   a piece
XX
OS   Escherichia coli
XX
FH   Key             Location/Qualifiers
FT   source          1..12
FT                   /organism="Escherichia coli"
FT                   /db_xref="taxon:562"
FT   CDS             1..12
FT                   /protein_id="CAA5.1"
FT                   /translation="MKWV"
XX
SQ   Sequence 12 BP; 4 A; 0 C; 5 G; 3 T; 0 other;
     atgaaatggg tg                                                           12
//
"""
SWISS = """ID   {name}_HUMAN              Reviewed;          {length} AA.
AC   {accession}; Q9XXX1;
DT   01-JAN-1990, integrated into UniProtKB/Swiss-Prot.
DE   RecName: Full=Protein {name};
GN   Name={name};
OS   Homo sapiens (Human).
OC   Eukaryota; Metazoa.
OX   NCBI_TaxID=9606;
RN   [1]
RP   NUCLEOTIDE SEQUENCE.
RX   this line is never parsed
CC   -!- FUNCTION: none.
FT   CHAIN           1..8
SQ   SEQUENCE   {length} AA;  1000 MW;  0000000000000000 CRC64;
     MKWVTFIS
//
"""
XML_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<uniprot xmlns="{space}">\n'
XML_ENTRY = """<entry dataset="Swiss-Prot" created="2000-01-01" modified="2001-01-01" version="1">
<accession>{accession}</accession><name>{accession}_HUMAN</name>
<protein><recommendedName><fullName>Serum &lt;albumin&gt;</fullName></recommendedName></protein>
<gene><name type="primary">ALB</name></gene>
<organism><name type="scientific">Homo sapiens</name><dbReference type="NCBI Taxonomy" id="9606"/></organism>
<comment type="function"><text>long</text></comment>
<sequence length="{length}" mass="1000">MKWV
TFIS</sequence>
</entry>
"""
STOCKHOLM = """# STOCKHOLM 1.0
#=GF ID   Family{number}
#=GF AC   PF0000{number}.1
#=GS A/1-4 AC P1.1
A/1-4          MK-W.V
B/3-6          mkvw--
#=GC SS_cons   HHHHHH
//
"""
PIR = ">P1;CRAB\nALPHA CRYSTALLIN\n MKWV\n TFIS*\n>P1;CRAC\n\nMKV*\n"


def swiss(accession: str, length: int = 8) -> str:
    return SWISS.format(name=accession[-3:], accession=accession, length=length)


def xml(*entries: str, space: str = "http://uniprot.org/uniprot") -> str:
    return XML_HEAD.format(space=space) + "".join(entries) + "</uniprot>\n"


def proteins(path, **settings) -> list[tuple]:
    """(id, sequence) of every protein, with its problem where it has one."""
    return [
        (
            table.ids[row],
            table.sequences[row].tobytes().decode(),
            *([table.problems[row]] if row in table.problems else []),
        )
        for table in ProteinFiles(str(path), **settings).chunks()
        for row in range(len(table))
    ]


def write(tmp_path, name: str, text: str):
    (tmp_path / name).write_text(text)
    return tmp_path / name


CASES = {
    "genpept.gb": (GENPEPT.format(number=1) + GENPEPT.format(number=2), ["P1.1", "P2.1"], ["MKWVTFIS"] * 2),
    "genome.gbk": (NUCLEOTIDES, ["AAA1.1", "b2", "X1.1:[24:36](+)"], ["MKWV", "MKV", ""]),
    "a.embl": (EMBL, ["CAA5.1"], ["MKWV"]),
    "sprot.dat": (swiss("P00001") + swiss("P00002"), ["P00001", "P00002"], ["MKWVTFIS"] * 2),
    "up.xml": (xml(*(XML_ENTRY.format(accession=a, length=8) for a in "AB")), ["A", "B"], ["MKWVTFIS"] * 2),
    "a.pir": (PIR, ["CRAB", "CRAC"], ["MKWVTFIS", "MKV"]),
    "a.sto": (STOCKHOLM.format(number=1) * 2, ["A/1-4", "B/3-6"] * 2, ["MKWV", "MKVW"] * 2),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("compressed", ["", ".gz", ".bz2", ".xz"])
def test_entry_formats_are_read(tmp_path, name, compressed):
    text, ids, sequences = CASES[name]
    pack = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[compressed]
    path = tmp_path / (name + compressed)
    path.write_bytes(pack(text.encode()))
    rows = proteins(path)
    assert [row[:2] for row in rows] == list(zip(ids, sequences, strict=True))
    table = read_sequences(path, "proteins")
    assert (table.ids, table.texts) == (ids, sequences)


@pytest.mark.parametrize("name", CASES)
def test_entry_format_is_detected_from_content_with_any_line_ends(tmp_path, name):
    text, ids, _ = CASES[name]
    path = tmp_path / "unknown.txt"
    path.write_bytes(text.replace("\n", "\r\n").encode())
    assert [row[0] for row in proteins(path)] == ids


def test_coding_sequences_without_a_translation_are_problems(tmp_path):
    rows = proteins(write(tmp_path, "a.gbk", NUCLEOTIDES))
    assert rows[2] == ("X1.1:[24:36](+)", "", "a CDS without a /translation")
    assert len(rows) == 3, "a pseudogene has no protein"
    bare = NUCLEOTIDES[: NUCLEOTIDES.index("     CDS")] + NUCLEOTIDES[NUCLEOTIDES.index("ORIGIN") :]
    rows = proteins(write(tmp_path, "b.gbk", bare + GENPEPT.format(number=1)))
    assert rows == [("X1.1", "", "a nucleotide entry without a CDS encodes no protein"), ("P1.1", "MKWVTFIS")]


def test_entries_have_columns(tmp_path):
    (tmp_path / "a.dat").write_text(swiss("P00001"))
    source = ProteinFiles(str(tmp_path / "a.dat"), id_column="name", cluster_column="OX")
    table = next(source.chunks(["OS", "GN", "accession", "description"]))
    assert (table.ids, table.clusters) == (["001_HUMAN"], ["9606"])
    assert table.columns == {
        "OS": ["Homo sapiens (Human)"],
        "GN": ["001"],
        "accession": ["P00001"],
        "description": ["RecName: Full=Protein 001"],
    }
    write(tmp_path, "a.xml", xml(XML_ENTRY.format(accession="A", length=8)))
    table = next(ProteinFiles(str(tmp_path / "a.xml")).chunks(["OS", "OX", "GN", "description"]))
    assert [values[0] for values in table.columns.values()] == ["Homo sapiens", "9606", "ALB", "Serum <albumin>"]
    write(tmp_path, "a.gbk", NUCLEOTIDES)
    table = next(ProteinFiles(str(tmp_path / "a.gbk"), cluster_column="OX").chunks(["GN", "description"]))
    assert table.clusters == ["562"] * 3
    assert table.columns == {"GN": ["abc", None, "noseq"], "description": ["first", None, None]}
    write(tmp_path, "a.sto", STOCKHOLM.format(number=7))
    table = next(ProteinFiles(str(tmp_path / "a.sto"), cluster_column="family").chunks(["accession"]))
    assert (table.clusters, table.columns) == (["Family7"] * 2, {"accession": ["P1.1", "B"]})
    with pytest.raises(InputError, match=r"a\.dat: entries have no column 'fold'; use one of accession, name"):
        list(source.chunks(["fold"]))


DAMAGED = {
    "a.gb": (GENPEPT.format(number=1), GENPEPT.format(number=2).replace("mkwvtfis", "mkwv"), "instead of the 8"),
    "b.gb": (GENPEPT.format(number=1), GENPEPT.format(number=2).replace(" 8 aa ", " aa "), "cannot be parsed"),
    "a.dat": (
        swiss("P00001"),
        swiss("P00002", length=9),
        "8 residues instead of the 9 that the entry states: it is damaged",
    ),
    "b.dat": (swiss("P00001"), swiss("P00002").replace("OX   NCBI_TaxID=9606;", "OX   what"), "cannot be parsed"),
    "c.dat": (swiss("P00001"), swiss("P00002").replace("//\n", ""), "the entry has no end line (//)"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_entry_does_not_stop_the_rest(tmp_path, name):
    good, bad, reason = DAMAGED[name]
    rows = proteins(write(tmp_path, name, good + bad + good))
    assert [len(row) for row in rows] == [2, 3, 2]
    assert reason in rows[1][2]
    assert rows[0] == rows[2]
    table = read_sequences(tmp_path / name, "proteins")
    assert (list(table.problems), table.places[1]) == ([1], f"{name}, record 2")


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("<entry><accession>B</accession><name>b</name></entry>", "the entry has no sequence"),
        ("<entry><accession>B</accession><sequence length='many'>MK</sequence></entry>", "parsed"),
        (
            XML_ENTRY.format(accession="B", length=80),
            "8 residues instead of the 80 that the entry states: it is damaged",
        ),
    ],
)
def test_a_damaged_xml_entry_does_not_stop_the_rest(tmp_path, bad, reason):
    good = XML_ENTRY.format(accession="A", length=8)
    rows = proteins(write(tmp_path, "a.xml", xml(good, bad, good, space="https://uniprot.org/uniprot")))
    assert [row[0] for row in rows] == ["A", "B", "A"]
    assert reason in rows[1][2]
    assert len(rows[2]) == 2


TRUNCATED = {
    "a.gb": GENPEPT.format(number=1) * 3,
    "a.embl": EMBL * 3,
    "a.dat": swiss("P00001") * 3,
    "a.xml": xml(*[XML_ENTRY.format(accession="A", length=8)] * 3),
    "a.sto": STOCKHOLM.format(number=1) * 3,
}


@pytest.mark.parametrize("name", TRUNCATED)
def test_a_truncated_file_keeps_its_whole_entries(tmp_path, name):
    whole = proteins(write(tmp_path, name, TRUNCATED[name]))
    rows = proteins(write(tmp_path, name, TRUNCATED[name][:-30]))
    assert rows[:-1] == whole[: len(rows) - 1]
    assert len(rows) >= 3
    sentence = "the XML is damaged after entry" if name == "a.xml" else "is truncated here"
    assert sentence in rows[-1][2]


@pytest.mark.parametrize("name", TRUNCATED)
def test_file_with_only_a_truncated_entry_raises_input_error(tmp_path, name):
    text = TRUNCATED[name][: len(TRUNCATED[name]) // 3 - 30]
    with pytest.raises(
        InputError, match=r"the entry has no end line \(//\)|the XML is damaged before the first whole entry"
    ):
        proteins(write(tmp_path, name, text))


@pytest.mark.parametrize("name", TRUNCATED)
def test_truncated_compressed_file_reports_its_end(tmp_path, name):
    path = tmp_path / f"{name}.gz"
    path.write_bytes(gzip.compress(TRUNCATED[name].encode(), 0)[:-60])
    rows = proteins(path)
    assert len(rows) >= 3
    assert len(rows[-1]) == 3 and "not a complete gzip file" in rows[-1][2]


def test_title_of_a_release_is_skipped(tmp_path):
    title = "GBPLN1.SEQ          Genetic Sequence Data Bank\n\n   2 loci\n\n"
    rows = proteins(write(tmp_path, "a.gbff", title + GENPEPT.format(number=1)))
    assert rows == [("P1.1", "MKWVTFIS")]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.gb", "hello\n", r"a\.gb is not a GenBank file: it begins with 'hello'"),
        ("a.sto", "MKV\n", r"a\.sto is not a Stockholm file"),
        ("a.xml", "<?xml version='1.0'?>\n<html></html>\n", r"a\.xml is XML, but not UniProt XML"),
        ("a.xml", XML_HEAD.format(space="http://uniprot.org/uniprot") + "</uniprot>", "contains no UniProt XML entry"),
    ],
)
def test_content_of_another_format_raises_input_error(tmp_path, name, text, sentence):
    with pytest.raises(InputError, match=sentence):
        proteins(write(tmp_path, name, text))


def test_tables_and_fasta_are_not_read_as_entries(tmp_path):
    assert proteins(write(tmp_path, "a.csv", "ID   ,sequence\nx,MK\n"), id_column="ID") == [("x", "MK")]
    assert proteins(write(tmp_path, "a.gb", ">x\nMK\n")) == [("x", "MK")]


def test_entries_respect_limit_and_letter_checks(tmp_path):
    path = write(tmp_path, "a.dat", swiss("P00001") * 3)
    assert len(proteins(path, limit=2)) == 2
    path = write(tmp_path, "b.dat", swiss("P00001").replace("MKWVTFIS", "MKW*TFIS"))
    assert proteins(path) == [("P00001", "MKW*TFIS", "stop (*) inside the sequence")]


@pytest.mark.parametrize("name", ["sprot.dat", "up.xml", "genome.gbk"])
def test_embed_reads_entries(tmp_path, name):
    torch.manual_seed(0)
    weights = save_esm2(Esm2(d_model=16, layers=1, heads=1), tmp_path / "weights")
    text, ids, sequences = CASES[name]
    source, output = write(tmp_path, name, text), tmp_path / "vectors.parquet"
    assert main(["embed", f"ckpt={weights}", f"input={source}", f"output={output}"]) == 0
    rows = pq.read_table(output).to_pylist()
    assert [row["id"] for row in rows] == ids
    assert [row["embedding"] is not None for row in rows] == [bool(sequence) for sequence in sequences]


def test_fasta_needs_no_biopython(tmp_path):
    path = write(tmp_path, "a.fasta", ">x\nMK\n")
    code = (
        "import sys; from trimer.data.proteins.protein_files import ProteinFiles;"
        f"list(ProteinFiles({str(path)!r}).chunks()); print('Bio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
