"""Molecules and proteins prepared in shards: records per CPU-second, memory, disk, and what whole corpora cost.

    python benchmarks/preparation.py --molecules 1000000 --proteins 1000000

Molecules are randomised SMILES of distinct simulated molecules (`trimer.simulate`), in a text file as PubChem's:
SMILES and id. Proteins are simulated families in FASTA. `--corpus file.smi.gz` adds molecules of a real file, which
are larger than the simulated ones, and takes its rate for PubChem. One process of one core prepares the shards, one
after another, and then joins them; memory is the peak of the resident set of each step, of which pages of mapped files
may be dropped at any time. Then the training split is opened as a rank does it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rdkit import Chem, RDLogger
from rich.console import Console

from trimer.data.core.masking import Masking
from trimer.data.core.sampler import EpochPlan
from trimer.data.core.shards import Shard
from trimer.data.modules.masked_sequences import MaskedSequences
from trimer.data.molecules.molecule_files import SmilesFiles
from trimer.data.proteins.protein_files import ProteinFiles
from trimer.data.text.opening import read_lines
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.simulate.simulated_proteins import SimulatedProteins
from trimer.tokenizers.protein import ProteinTokenizer
from trimer.tokenizers.smiles import SmilesTokenizer

WHOLE = {"molecules": ("PubChem", 120_000_000), "proteins": ("UniRef50", 60_000_000)}
BERT = Masking(0.15, 0.8, 0.1)
MIB, GIB = 2**20, 2**30
console = Console(soft_wrap=True, highlight=False)


def memory() -> dict[str, int]:
    """Resident memory of this process in bytes: its peak, now, and now without pages of files."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {name: int(status[name].split()[0]) * 1024 for name in ("VmHWM", "VmRSS", "RssAnon")}


@contextmanager
def measured(what: str, records: int, times: dict[str, float]) -> Iterator[None]:
    """Print CPU time, records per CPU-second and peak memory of the block; adds the CPU-seconds to `times`."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again
    started = time.process_time()
    yield
    taken = times[what] = time.process_time() - started
    peak = memory()["VmHWM"] / MIB
    console.print(f"  {what}: {taken:,.1f} CPU-s, {records / taken:,.0f} records/CPU-s, peak {peak:,.0f} MiB")


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def write_molecules(path: Path, count: int, corpus: str | None) -> None:
    """A file of randomised SMILES: of simulated molecules, or of the first ones of a corpus."""
    random = np.random.default_rng(0)
    texts = simulated_molecules(count) if corpus is None else (line.split()[0] for line in read_lines(Path(corpus)))
    with path.open("w") as file:
        for number, text in zip(range(count), texts, strict=False):
            molecule = Chem.MolFromSmiles(text)
            order = random.permutation(molecule.GetNumAtoms()).tolist()
            file.write(f"{Chem.MolToSmiles(Chem.RenumberAtoms(molecule, order), canonical=False)} m{number}\n")


def write_proteins(path: Path, count: int) -> None:
    """A FASTA file of simulated proteins, with headers as long as those of UniRef."""
    with path.open("w") as file:
        for table in SimulatedProteins(count).chunks():
            for name, family, letters in zip(table.ids, table.clusters or (), table.sequences, strict=True):
                header = f"{name} Simulated protein n=1 Tax=none TaxID=1 RepID={family}"
                file.write(f">{header}\n{letters.tobytes().decode()}\n")


def module(entity: str, path: Path, cache: Path) -> MaskedSequences:
    """The data module of `data=molecules` and `data=proteins`, without worker processes."""
    split: dict = {"fractions": {"train": 0.98, "val": 0.01, "test": 0.01}}
    split |= {"keys": ["inchikey1"]} if entity == "molecules" else {"keys": ["sequence"]}
    source = SmilesFiles(str(path)) if entity == "molecules" else ProteinFiles(str(path))
    tokenizer = SmilesTokenizer() if entity == "molecules" else ProteinTokenizer()
    settings = {"split": split, "masking": BERT, "validation_masking": BERT, "prepare_workers": 1}
    return MaskedSequences(entity, source, tokenizer, cache=str(cache), tokens_per_batch=32_768, **settings)


def prepare(entity: str, path: Path, cache: Path, count: int, shards: int) -> None:
    """Prepare and join the shards of one file, open the result for training, and print what each step takes."""
    data, times = module(entity, path, cache), {}
    text = path.stat().st_size
    console.print(f"{count:,} {entity}, {text / count:.1f} bytes of text each, {shards} shards")
    with measured("reading only", count, times):
        for _ in data.source.chunks():
            pass
    with measured("all shards", count, times):
        for number in range(shards):
            data.prepare_shard(Shard(number, shards))
    of_shards = size(cache)
    with measured("joining", count, times):
        data.prepare_from_shards(shards)
    of_store = size(data.folder)
    console.print(
        f"  disk: shards {of_shards / count:.0f} bytes/record, store {of_store / count:.0f}, "
        f"all that stays in the cache {size(cache) / count:.0f}"
    )
    once = times["all shards"] - (shards - 1) * times["reading only"]  # each shard reads the whole file
    name, whole = WHOLE[entity]
    hours = {key: whole / count * taken / 3600 for key, taken in times.items()}
    console.print(
        f"  {name} ({whole:,}): {whole / count * once / 3600:,.1f} core hours of all shards, and "
        f"{hours['reading only']:,.2f} hours of reading for each shard; joining {hours['joining']:,.1f} hours of one "
        f"core; {whole / count * (of_shards + size(cache)) / GIB:,.0f} GiB of disk while it is joined, "
        f"{whole / count * of_store / GIB:,.0f} GiB for the store"
    )
    open_for_training(data, count, whole)


def open_for_training(data: MaskedSequences, count: int, whole: int) -> None:
    """Print the memory that a rank needs for the split and for the plan of an epoch."""
    times: dict[str, float] = {}
    before = memory()["RssAnon"]
    with measured("split", count, times):
        data.setup()
    split = memory()["RssAnon"]
    with measured("plan and first batches", count, times):
        rows = data.split.rows("train")
        plan = EpochPlan(data._lengths(rows), 32_768, rows=rows)
        next(plan.epoch(0, step=8), None)  # the rows of one of eight ranks
    after = memory()["RssAnon"]
    held = f"{(split - before) / count:.0f} bytes/row after the split, {(after - split) / count:.0f} more with a plan"
    console.print(f"  a rank holds {held}: {whole / count * (after - before) / GIB:.1f} GiB for {whole:,} rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--molecules", type=int, default=1_000_000)
    parser.add_argument("--proteins", type=int, default=1_000_000)
    parser.add_argument("--corpus", help="file of real molecules, SMILES first in each line")
    parser.add_argument("--of-corpus", type=int, default=10_000, help="how many of its molecules")
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--folder", help="where to work; default: a temporary folder")
    arguments = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        work = Path(folder)
        if arguments.corpus:
            write_molecules(work / "corpus.smi", arguments.of_corpus, arguments.corpus)
            prepare("molecules", work / "corpus.smi", work / "corpus", arguments.of_corpus, arguments.shards)
        if arguments.molecules:
            write_molecules(work / "a.smi", arguments.molecules, None)
            prepare("molecules", work / "a.smi", work / "molecules", arguments.molecules, arguments.shards)
        if arguments.proteins:
            write_proteins(work / "a.fasta", arguments.proteins)
            prepare("proteins", work / "a.fasta", work / "proteins", arguments.proteins, arguments.shards)


if __name__ == "__main__":
    main()
