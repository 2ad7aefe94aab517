"""3-line and PIR files are recognised; symbols, digits and DNA in a sequence have a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trimer.data.text.fasta import read_fasta
from trimer.data.text.fasta_layouts import THREE_LINES, has_three_lines
from trimer.data.text.letters import DIGITS, DNA, INNER_STOP, checked, letters_of
from trimer.errors import InputError

CASES = Path(__file__).parents[2] / "cases" / "proteins"
SIGNALP = """>Q1|EUKARYA|SP|1
MKTAYIAKQRQISFVKSHFS
SSSSSSSSSSSSIIIIIIII
>Q2|ARCHAEA|NO_SP|0
MSSRALPAVPFL
IIIIIIIIIIII
"""
TMBED = """>a|P1|ONE
MASPKKKLQGLVAATITPMT
iiiiHHHHHHHHHHHHoooo
>b|P2|TWO
MSSRALPAVPFLLLS
UUUUBBBBBB22222
"""
DEEPTMHMM = """>O43613 | TM
MASPKKKLQGLVAATITPMT
IIIIMMMMMMMMMMMMOOOO

>Q9 | GLOB
MSSRALPAVPF
OOOOOOOOOOO
"""


def records(path):
    """(id, sequence, labels, problem, line) of every record."""
    return [
        (
            name,
            part.sequences[row].tobytes().decode(),
            (part.labels or [None] * len(part))[row],
            part.problems.get(row),
            line,
        )
        for part in read_fasta(path)
        for row, (name, line) in enumerate(zip(part.ids, part.lines.tolist(), strict=True))
    ]


def write(tmp_path, text: str, name: str = "a.fasta") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("text", [SIGNALP, TMBED, DEEPTMHMM], ids=["SignalP", "TMbed", "DeepTMHMM"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_three_line_files_are_sequences_and_labels(text, ends, tmp_path):
    read = records(write(tmp_path, text.replace("\n", ends)))
    lines = [line for line in text.split("\n") if line]
    assert [(seq, labels) for _, seq, labels, _, _ in read] == [(lines[1], lines[2]), (lines[4], lines[5])]
    assert [name for name, *_ in read] == [lines[0][1:].split()[0], lines[3][1:].split()[0]]
    assert all(problem is None for _, _, _, problem, _ in read)
    assert [line for *_, line in read] == [1, 5 if text is DEEPTMHMM else 4]


def test_labels_are_a_problem_for_readers_of_sequences():
    read = records(CASES / "3line.fasta")
    text = (CASES / "3line.fasta").read_text().split("\n")
    assert [len(seq) for _, seq, *_ in read] == [len(line) for line in text[1::3]]
    assert [labels for _, _, labels, _, _ in read] == text[2::3]
    rows = [problem for part in read_fasta(CASES / "3line.fasta") for problem in part.without_labels.values()]
    assert rows == [THREE_LINES] * 3 and "data=labelled_residues" in THREE_LINES


def test_invalid_records_of_three_line_files_have_a_reason(tmp_path):
    wrong = SIGNALP * 8 + ">short\nMKTAY\nIII\n>bare\nMKV\n>four\nMKT\nIII\nOOO\n"
    path = write(tmp_path, wrong)
    read = {name: (seq, labels, problem) for name, seq, labels, problem, _ in records(path)}
    assert read["short"] == ("MKTAY", None, "5 residues and 3 labels in a 3-line file")
    assert read["bare"] == ("MKV", None, None)
    assert read["four"][2] == "3 lines below the header of a 3-line file"


def test_wrapped_sequences_and_alignments_are_not_labels(tmp_path):
    random = np.random.default_rng(0)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    same = "".join(
        f">p{i}\n{''.join(random.choice(letters, 60))}\n{''.join(random.choice(letters, 60))}\n" for i in range(5)
    )
    assert not has_three_lines(same.encode())
    assert {len(seq) for _, seq, *_ in records(write(tmp_path, same))} == {120}
    one = ">p\n" + "".join(random.choice(letters, 60)) + "\n" + "".join(random.choice(letters, 60)) + "\n"
    assert not has_three_lines(one.encode())
    wrapped = "".join(f">p{i}\n" + "\n".join(["MKTAYIAKQR"] * (i % 4 + 1)) + "\n" for i in range(20))
    assert not has_three_lines(wrapped.encode())
    assert has_three_lines(b">one\nMKTAYIAKQR\n0001110000\n")


def test_pir_titles_are_not_residues(tmp_path):
    ((name, sequence, _, problem, _),) = records(CASES / "pir.fasta")
    assert (name, sequence, problem) == ("CRAB_ANAPL", "MDITIHNPLI", None)
    both = ">P1;ONE\nA TITLE\nMKTA\nYIA*\n>DL;TWO\nSOME DNA\nACGTACGTACGT*\n>P1;three not PIR\nMKT\n"
    read = {name: (seq, problem, line) for name, seq, _, problem, line in records(write(tmp_path, both))}
    assert read == {"ONE": ("MKTAYIA", None, 1), "TWO": ("ACGTACGTACGT", DNA, 5), "P1;three": ("MKT", None, 8)}


@pytest.mark.parametrize(
    ("case", "problems"),
    [
        ("digits.fasta", [DIGITS]),
        ("dna.fasta", [DNA]),
        (
            "nonascii_seq.fasta",
            ["'α' inside the sequence, which is not a residue", "'–' inside the sequence, which is not a residue"],
        ),
    ],
)
def test_other_sequences_have_a_reason(case, problems):
    assert [problem for *_, problem, _ in records(CASES / case)] == problems


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ACGTACGTAC", DNA),
        ("acgtacgtNN", DNA),
        ("ACGUACGUAC", DNA),
        ("ACGTACGTA", None),  # a peptide may be so short
        ("GAGAGAGAGAGAG", None),  # silk
        ("AAAAAAAAAAAA", None),
        ("ACGTACGTACGTK", None),
        ("MK-T.A", None),
        ("MKJXBZUO", None),
        ("MK?T", "'?' inside the sequence, which is not a residue"),
        ("MK1", DIGITS),
        ("MK*T*", INNER_STOP),
        ("MÉT", "'É' inside the sequence, which is not a residue"),
    ],
)
def test_only_letters_and_gaps_are_allowed(text, problem):
    assert checked(letters_of(["MK", text]))[1] == ({} if problem is None else {1: problem})


def test_a_genbank_file_is_recognised():
    with pytest.raises(InputError, match=r"genbank\.gb, line 1: .*'LOCUS +X'; .* a GenBank file: export it as FASTA"):
        records(CASES / "genbank.gb")


@pytest.mark.parametrize("case", ["utf16.fasta", "in.zip", "x.fasta.bz2", "x.fasta.xz"])
def test_compressed_and_utf16_files_are_read(case):
    assert records(CASES / case)[0][:2] == ("a", "MKTAYI" if case == "utf16.fasta" else "MKT")
