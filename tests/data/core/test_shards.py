"""Data prepared in shards: the store of one process bit for bit; missing, damaged and failed shards."""

from __future__ import annotations

from pathlib import Path

import pytest
from whole_stores import write_store

from trimer.data.core import shards
from trimer.data.core.masking import Masking
from trimer.data.core.shards import MissingShards, Shard
from trimer.data.core.store import BATCH_ROWS, Store
from trimer.data.modules.masked_sequences import MaskedSequences
from trimer.data.molecules import molecule_keys
from trimer.data.molecules.molecule_files import SmilesFiles
from trimer.data.proteins.protein_files import ProteinFiles
from trimer.errors import ConfigError
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.tokenizers.protein import ProteinTokenizer
from trimer.tokenizers.smiles import SmilesTokenizer

BERT = Masking(0.15, 0.8, 0.1)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(shards, "CHUNKS", 2)
    monkeypatch.setattr(molecule_keys, "CHUNK", 6)


@pytest.fixture(scope="module")
def molecules(tmp_path_factory) -> SmilesFiles:
    """Molecules in blocks of 12, with duplicates in other blocks and unreadable ones."""
    texts = simulated_molecules(40, seed=3)
    texts = [*texts, *texts[5:12], "C1CC", texts[2], "[Xx]", "OCC", "C(O)C", *texts[30:34]]
    path = tmp_path_factory.mktemp("molecules") / "a.smi"
    path.write_text("".join(f"{text} m{number}\n" for number, text in enumerate(texts)))
    return SmilesFiles(str(path))


@pytest.fixture(scope="module")
def proteins(tmp_path_factory) -> ProteinFiles:
    """Proteins in seven files, each a chunk: with unknown letters, stops and short ones, in clusters."""
    folder = tmp_path_factory.mktemp("proteins")
    for number in range(7):
        odd = ("MK*LLLL", "MKLVBJOXX", "M", "MKLVAGSTEE")[number % 4]
        (folder / f"{number}.fasta").write_text(f">a{number}\nMKLVAGST{'ACDEFGH'[number]}\n>b{number}\n{odd}\n")
    (folder / "clusters.tsv").write_text("".join(f"{kind}{n}\tc{n % 3}\n" for n in range(7) for kind in "ab"))
    return ProteinFiles(str(folder / "*.fasta"))


def module(source, cache: Path, **settings) -> MaskedSequences:
    entity, tokenizer = "molecules", SmilesTokenizer()
    if isinstance(source, ProteinFiles):
        clusters = Path(source.paths[0]).with_name("clusters.tsv")
        entity, tokenizer = "proteins", ProteinTokenizer()
        settings = {"min_length": 2, "max_unknown": 0.9, "clusters": str(clusters), **settings}
    else:
        settings = {"max_length": 40, **settings}
    settings |= {"split": {"keys": None}, "masking": BERT, "validation_masking": BERT, "prepare_workers": 1}
    return MaskedSequences(entity, source, tokenizer, cache=str(cache), tokens_per_batch=1000, **settings)


def content(data: MaskedSequences) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in data.folder.iterdir() if path.name != ".lock"}


@pytest.mark.parametrize("entity", ["molecules", "proteins"])
@pytest.mark.parametrize("count", [1, 3, 20])
def test_shards_give_the_store_of_one_process_bit_for_bit(tmp_path, request, entity, count):
    source = request.getfixturevalue(entity)
    whole, data = module(source, tmp_path / "whole"), module(source, tmp_path / "shards")
    whole.prepare_data()
    for number in reversed(range(count)):
        data.prepare_shard(Shard(number, count))
    data.prepare_from_shards(count)
    assert content(data) == content(whole) and set(content(data)) == {"columns.arrow", "manifest.json"}
    assert sorted(path.name for path in (tmp_path / "shards").iterdir()) == sorted(
        path.name for path in (tmp_path / "whole").iterdir()
    )  # the shards are removed
    dropped = {rule["rule"]: rule["dropped"] for rule in Store(data.folder).manifest["drops"]["rules"]}
    if entity == "molecules":
        assert dropped["duplicate molecule"] == 13 and dropped["molecule RDKit cannot read"] == 2
    else:
        assert dropped["stop (*) inside the sequence"] == 2 and dropped["shorter than 2 residues"] == 2
        assert Store(data.folder).manifest["unspelled"]
    assert data.prepare_shard(Shard(0, count)) == data.folder  # nothing left to do


def test_missing_and_damaged_shards_are_named_and_prepared_alone(tmp_path, molecules):
    data = module(molecules, tmp_path)
    with pytest.raises(MissingShards, match="no shard of 4 is prepared with these data and settings"):
        data.prepare_from_shards(4)
    folders = {number: data.prepare_shard(Shard(number, 4)) for number in (0, 1, 3)}
    written = (folders[0] / "manifest.json").stat().st_mtime_ns
    (folders[3] / "columns.arrow").write_bytes(b"")
    with pytest.raises(MissingShards, match="2 of 4 shards are missing, unfinished or damaged") as error:
        data.prepare_from_shards(4)
    assert error.value.numbers == [2, 3]
    with pytest.raises(MissingShards, match=r"no shard of 3 .*there are shards of 4"):
        data.prepare_from_shards(3)
    with pytest.raises(MissingShards, match="no shard of 4"):  # other settings have other shards
        module(molecules, tmp_path, max_length=30).prepare_from_shards(4)
    for number in (0, 2, 3):
        data.prepare_shard(Shard(number, 4))
    assert (folders[0] / "manifest.json").stat().st_mtime_ns == written
    data.prepare_from_shards(4)
    assert len(Store(data.folder)) > 20


def test_a_shard_that_fails_leaves_nothing_and_is_prepared_again(tmp_path, molecules, monkeypatch):
    data = module(molecules, tmp_path)
    data.prepare_shard(Shard(0, 2))
    encode, calls = SmilesTokenizer.encode, []

    def failing(self, text):
        calls.append(text)
        if len(calls) == 9:
            raise MemoryError
        return encode(self, text)

    with monkeypatch.context() as patch:
        patch.setattr(SmilesTokenizer, "encode", failing)
        with pytest.raises(MemoryError):
            data.prepare_shard(Shard(1, 2))
    (shards_folder,) = tmp_path.glob("*.shards")
    assert [path.name[:6] for path in shards_folder.iterdir()] == ["0_of_2"]
    data.prepare_shard(Shard(1, 2))
    data.prepare_from_shards(2)
    whole = module(molecules, tmp_path / "whole")
    whole.prepare_data()
    assert content(data) == content(whole)


@pytest.mark.parametrize(("number", "count"), [(4, 4), (-1, 4), (0, 0)])
def test_impossible_shards_are_rejected(number, count):
    with pytest.raises(ConfigError, match="shards="):
        Shard(number, count)


def test_columns_between_two_rows_cross_record_batches(tmp_path):
    rows = BATCH_ROWS + 10
    store = write_store(tmp_path / "store", {"text": [None, *map(str, range(1, rows))]}, {})
    assert store.between(BATCH_ROWS - 1, BATCH_ROWS + 1)["text"] == [str(BATCH_ROWS - 1), str(BATCH_ROWS)]
    assert store.between(0, 1)["text"] == [None] and store.between(5, 5)["text"] == []
