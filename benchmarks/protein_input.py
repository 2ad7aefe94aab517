"""How fast proteins come in: reading FASTA beside Biopython, tokens, and what the whole input side delivers.

    python benchmarks/protein_input.py --proteins 50000 --repeats 5
    python benchmarks/protein_input.py --fasta uniref.fasta.gz
    python benchmarks/protein_input.py --prepare 1000000

The proteins are simulated, or those of a FASTA file. They are read from files with a sequence on one line and on lines
of 60 letters, and from a gzipped one, by each reader in turn and in one process, until id and sequence of every record
have been made; that these are equal is checked first. Tokens are made of all sequences at once and one by one. The
input side is store -> window -> masks -> flat batch of 32,768 tokens, in one process. Rates are per CPU-second.
`--prepare` writes so many simulated proteins to a FASTA file and measures only how they become a store, and the memory.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from trimer.data.core.masking import Masking
from trimer.data.core.sampler import EpochPlan
from trimer.data.modules.masked_sequences import MaskedSequences, MaskedWindows
from trimer.data.proteins.protein_files import ProteinFiles
from trimer.data.proteins.protein_table import ProteinTable
from trimer.data.text.fasta import read_fasta
from trimer.simulate.simulated_proteins import SimulatedProteins
from trimer.tokenizers.protein import ProteinTokenizer

CROP, BUDGET = 1022, 32_768
Way = tuple[Callable[[], object], float]  # what is timed, and how much it does


def compare(title: str, unit: str, ways: Mapping[str, Way], repeats: int) -> None:
    """Run every way in turns, print its rate and the median ratio of paired runs to the first; one round warms up."""
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(repeats + 1):
        for name, (run, amount) in ways.items():
            start = time.process_time()
            run()
            if round_:
                rates[name].append(amount / (time.process_time() - start))
    table = Table("", f"{unit}/CPU-s", "first, times this", title=title, title_justify="left")
    first = next(iter(rates.values()))
    for name, of_reader in rates.items():
        ratio = statistics.median(a / b for a, b in zip(first, of_reader, strict=True))
        table.add_row(name, f"{statistics.median(of_reader):,.0f}", f"{ratio:.2f}")
    Console(width=100).print(table)


# -------------------------------------------------------------------- FASTA


def write(tables: list[ProteinTable], path: Path, width: int | None, opener: Callable = open) -> Path:
    """A FASTA file in the manner of UniRef, its sequences on lines of `width` letters or on one."""
    with opener(path, "wt") as file:
        for table in tables:
            for row, name in enumerate(table.ids):
                text = table.sequences[row].tobytes().decode()
                lines = text if width is None else "\n".join(text[i : i + width] for i in range(0, len(text), width))
                file.write(f">{name} some protein n=1 Tax=Homo sapiens TaxID=9606 RepID={row}_HUMAN\n{lines}\n")
    return path


def trimer_blocks(path: Path) -> int:
    return sum(len(records.ids) for records in read_fasta(path))


def trimer_records(path: Path) -> Iterator[tuple[str, str]]:
    for records in read_fasta(path):
        letters = records.sequences.values.tobytes().decode("latin-1")
        for name, (start, stop) in zip(records.ids, pairwise(records.sequences.offsets.tolist()), strict=True):
            yield name, letters[start:stop]


def simple_parser(path: Path) -> Iterator[tuple[str, str]]:
    from Bio.SeqIO.FastaIO import SimpleFastaParser

    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
        for header, sequence in SimpleFastaParser(file):
            yield header.split(None, 1)[0], sequence


def seq_io(path: Path) -> Iterator[tuple[str, str]]:
    from Bio import SeqIO

    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
        for record in SeqIO.parse(file, "fasta"):
            yield record.id, str(record.seq)


def compare_readers(path: Path, kind: str, repeats: int) -> None:
    readers = {
        "trimer, in blocks (as the data module reads)": None,
        "trimer, record by record": trimer_records,
        "Biopython SimpleFastaParser": simple_parser,
        "Biopython SeqIO": seq_io,
    }
    read_by_each = [list(read(path)) for read in readers.values() if read]
    if not read_by_each[0] == read_by_each[1] == read_by_each[2]:
        raise SystemExit(f"the readers differ on {path}")
    records = len(read_by_each[0])

    def way(read: Callable | None) -> Way:
        return (lambda: trimer_blocks(path) if read is None else sum(1 for _ in read(path))), records

    ways = {name: way(read) for name, read in readers.items()}
    compare(f"Reading {records:,} records, {path.stat().st_size / 1e6:.0f} MB, {kind}", "records", ways, repeats)


# -------------------------------------------------------------------- tokens


def compare_tokenizers(tables: list[ProteinTable], repeats: int) -> None:
    tokenizer = ProteinTokenizer()
    texts = [table.sequences[row].tobytes().decode() for table in tables for row in range(len(table))]
    some = texts[: max(len(texts) // 20, 1)]
    ids = tokenizer.vocabulary.ids
    theirs = esm_tokenizer(tokenizer, texts[0])
    ways = {
        "trimer, all at once": (
            lambda: [tokenizer.encode_many(table.sequences.values, table.sequences.offsets) for table in tables],
            tokens_of(texts),
        ),
        "trimer, one by one": (lambda: [tokenizer.encode(text) for text in texts], tokens_of(texts)),
        "a dictionary, one by one": (
            lambda: [np.array([0, *(ids.get(letter, 3) for letter in text), 2]) for text in some],
            tokens_of(some),
        ),
        "transformers EsmTokenizer, one by one": (lambda: [theirs(text) for text in some], tokens_of(some)),
        "transformers EsmTokenizer, as a list": (lambda: theirs(some), tokens_of(some)),
    }
    compare(f"Tokens of {len(texts):,} proteins", "tokens", ways, repeats)


def tokens_of(texts: list[str]) -> int:
    return sum(len(text) + 2 for text in texts)


def esm_tokenizer(tokenizer: ProteinTokenizer, text: str):
    from transformers import EsmTokenizer

    with tempfile.TemporaryDirectory() as folder:
        vocabulary = Path(folder) / "vocab.txt"
        vocabulary.write_text("\n".join(tokenizer.vocabulary.tokens))
        theirs = EsmTokenizer(str(vocabulary))
    if theirs(text)["input_ids"] != tokenizer.encode(text).tolist():
        raise SystemExit("EsmTokenizer and trimer differ")
    return theirs


# -------------------------------------------------------------------- the input side


def proteins(source, split: dict, cache: Path) -> MaskedSequences:
    masking = Masking(0.15, 0.8, 0.1)
    loading = {"cache": str(cache), "tokens_per_batch": BUDGET}
    return MaskedSequences("proteins", source, ProteinTokenizer(), split, masking, masking, crop=CROP, **loading)


def measure_input(source, folder: Path, repeats: int) -> None:
    data = proteins(source, {"fractions": {"train": 0.9, "val": 0.05, "test": 0.05}}, folder)
    start = time.process_time()
    data.prepare_data()
    prepared = time.process_time() - start
    data.setup()
    rows = data.split.rows("train")
    lengths = np.minimum(data.store.ragged("tokens").lengths[rows], CROP + 2)
    dataset = MaskedWindows(data.store, data.tokenizer.alphabet, data.masking, CROP)
    plan = EpochPlan(lengths, BUDGET, rows=rows)
    keys = list(plan.epoch(0))
    sizes = [dataset[key].real_tokens for key in keys]
    ways = {"store -> window -> masks -> flat batch": (lambda: [dataset[key] for key in keys], sum(sizes))}
    compare(f"Batches of {BUDGET:,} tokens, 1 process", "tokens", ways, repeats)
    useful = sum(sizes) / (len(sizes) * max(sizes))
    print(f"prepared: {len(data.store) / prepared:,.0f} proteins/CPU-s, files and digests included")
    print(f"useful share of the budget: {useful:.1%} (real tokens over {len(sizes)} batches times the largest)")


def measure_preparation(count: int, folder: Path) -> None:
    source = SimulatedProteins(count)
    fasta = folder / "proteins.fasta"
    with open(fasta, "wb") as file:
        for table in source.chunks():
            file.write(
                b"".join(b">%s\n%s\n" % (n.encode(), table.sequences[i].tobytes()) for i, n in enumerate(table.ids))
            )
    data = proteins(ProteinFiles(str(fasta)), {"keys": ["sequence"]}, folder / "cache")
    before, start = peak_memory(), time.process_time()
    data.prepare_data()
    seconds, after = time.process_time() - start, peak_memory()
    print(f"{count:,} proteins ({fasta.stat().st_size / 1e6:,.0f} MB) prepared in {seconds:.1f} CPU-seconds")
    print(f"most memory: {after:,.0f} MB, {after - before:,.0f} MB more than before")


def peak_memory() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proteins", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--prepare", type=int, help="measure only how so many proteins are prepared")
    parser.add_argument("--fasta", help="a FASTA file instead of simulated proteins")
    arguments = parser.parse_args()
    if arguments.prepare:
        with tempfile.TemporaryDirectory() as name:
            measure_preparation(arguments.prepare, Path(name))
        return
    source = ProteinFiles(arguments.fasta) if arguments.fasta else SimulatedProteins(arguments.proteins)
    tables = list(source.chunks())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare_readers(write(tables, folder / "one.fasta", None), "one line a sequence", arguments.repeats)
        compare_readers(write(tables, folder / "wrapped.fasta", 60), "lines of 60 letters", arguments.repeats)
        compare_readers(write(tables, folder / "one.fasta.gz", None, gzip.open), "gzipped", arguments.repeats)
        compare_tokenizers(tables, arguments.repeats)
        measure_input(ProteinFiles(str(folder / "one.fasta")), folder / "cache", arguments.repeats)


if __name__ == "__main__":
    main()
