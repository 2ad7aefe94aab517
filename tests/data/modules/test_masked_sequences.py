"""Sequences for masked language modelling: what is dropped, how it is split, and windows and masks made again.

What holds for proteins and molecules alike is tested with both.
"""

from __future__ import annotations

import hashlib
import json

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from trimer.building import build
from trimer.cli.configs import compose
from trimer.data.core.masking import Masking
from trimer.data.core.sampler import BatchKey, EpochPlan
from trimer.data.modules import masked_sequences
from trimer.data.modules.held_out import HeldOutMolecules, HeldOutProteins
from trimer.data.modules.masked_sequences import MaskedSequences, MaskedWindows
from trimer.data.molecules.molecule_files import SmilesFiles
from trimer.data.proteins.protein_files import ProteinFiles
from trimer.errors import ConfigError, InputError
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.simulate.simulated_proteins import SimulatedProteins
from trimer.tokenizers.protein import ProteinTokenizer
from trimer.tokenizers.smiles import SmilesTokenizer

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
TOKENIZER = ProteinTokenizer()
ENTITIES = ["proteins", "molecules"]
BERT = Masking(0.15, 0.8, 0.1)
HALF = Masking(0.5, 1.0, 0.0)
CROP = {"proteins": 60, "molecules": 12}  # tokens of a window; many sequences are longer


def module(tmp_path, source=None, entity="proteins", **settings) -> MaskedSequences:
    """A data module that has not prepared anything yet; 300 simulated records by default."""
    split = {"fractions": FRACTIONS} | ({} if entity == "proteins" else {"keys": ["inchikey1"]})
    settings = {"split": split, "tokens_per_batch": 4000, "masking": BERT, "validation_masking": BERT, **settings}
    if entity == "proteins":
        source, tokenizer = source or SimulatedProteins(300), TOKENIZER
    else:
        source, tokenizer = source or smiles(tmp_path, simulated_molecules(300, seed=3)), SmilesTokenizer()
    return MaskedSequences(entity, source, tokenizer, cache=str(tmp_path / "cache"), **settings)


def smiles(tmp_path, texts: list[str], name: str = "a.smi") -> SmilesFiles:
    """A file of molecules that are called m0, m1, ..."""
    (tmp_path / name).write_text("".join(f"{text} m{number}\n" for number, text in enumerate(texts)))
    return SmilesFiles(str(tmp_path / name))


def records(tmp_path, entity: str, count: int):
    """A source of some records of an entity, and their ids."""
    if entity == "proteins":
        return fasta(tmp_path, *random_proteins(count)), [f"p{number}" for number in range(count)]
    return smiles(tmp_path, simulated_molecules(count, seed=3)), [f"m{number}" for number in range(count)]


def fasta(tmp_path, *records: tuple[str, str], name: str = "a.fasta", **settings) -> ProteinFiles:
    path = tmp_path / name
    path.write_text("".join(f">{header}\n{sequence}\n" for header, sequence in records))
    return ProteinFiles(str(path), **settings)


def random_proteins(count: int, seed: int = 0) -> list[tuple[str, str]]:
    random = np.random.default_rng(seed)
    return [
        (f"p{i}", "".join(random.choice(list("ACDEFGHIKLMNPQRSTVWY"), random.integers(20, 90)))) for i in range(count)
    ]


@pytest.fixture(scope="module", params=ENTITIES)
def data(tmp_path_factory, request) -> MaskedSequences:
    """300 simulated records of each entity, prepared and split; windows of CROP tokens."""
    prepared = module(tmp_path_factory.mktemp(request.param), entity=request.param, crop=CROP[request.param])
    prepared.setup()
    return prepared


@pytest.fixture(scope="module")
def proteins(tmp_path_factory) -> MaskedSequences:
    prepared = module(tmp_path_factory.mktemp("proteins"), crop=60)
    prepared.setup()
    return prepared


# ---------------------------------------------------------------- preparation


def test_every_rule_counts_what_it_drops(tmp_path):
    kept = random_proteins(20)
    source = fasta(
        tmp_path,
        *kept,
        ("stop", "MK*LLLLLLLLL"),
        ("empty", ""),
        ("short", "MKLVA"),
        ("unclear", "MKLVAXXXXXJJX"),
        ("numbered", "1MKLVAGSTE10"),
        ("clear", "MKLVAGSTXXXJ*"),
    )
    data = module(tmp_path, source, min_length=6, max_unknown=0.5)
    data.setup()
    assert data.drops.to_dict() == {
        "records": 26,
        "left": 21,
        "rules": [
            {"rule": "no sequence", "dropped": 1, "examples": ["empty"]},
            {"rule": "stop (*) inside the sequence", "dropped": 1, "examples": ["stop"]},
            {"rule": "digits inside the sequence (numbered lines?)", "dropped": 1, "examples": ["numbered"]},
            {"rule": "shorter than 6 residues", "dropped": 1, "examples": ["short"]},
            {"rule": "more than 50 % unknown residues", "dropped": 1, "examples": ["unclear"]},
        ],
    }
    tokens = data.store.ragged("tokens")
    assert data.store.strings("id") == [*(name for name, _ in kept), "clear"]
    assert [tokens[row].tolist() for row in range(20)] == [TOKENIZER.encode(text).tolist() for _, text in kept]
    assert tokens[20].tolist() == TOKENIZER.encode("MKLVAGSTXXXJ").tolist()
    with pytest.raises(InputError, match=r"no protein is left for training\n26 records in, 0 left"):
        module(tmp_path, source, min_length=1000).setup()


@pytest.mark.parametrize("entity", ENTITIES)
def test_store_is_cached_and_rebuilt_after_changes(tmp_path, entity):
    source, ids = records(tmp_path, entity, 30)

    def made(**settings):
        return module(tmp_path, source, entity, **settings)

    data = made()
    data.prepare_data()
    written = (data.folder / "manifest.json").stat().st_mtime_ns
    again = made(crop=10, seed=5, masking=Masking(0.3, 0.8, 0.1), tokens_per_batch=99, prepare_workers=2)
    again.prepare_data()
    assert again.folder == data.folder and (again.folder / "manifest.json").stat().st_mtime_ns == written
    assert made(**({"min_length": 2} if entity == "proteins" else {"max_length": 9})).folder != data.folder
    (tmp_path / "clusters.tsv").write_text(f"{ids[0]}\tx\n")
    with_clusters = made(clusters=str(tmp_path / "clusters.tsv")).folder
    (tmp_path / "clusters.tsv").write_text(f"{ids[0]}\ty\n")
    assert len({data.folder, with_clusters, made(clusters=str(tmp_path / "clusters.tsv")).folder}) == 3


@pytest.mark.parametrize(
    ("entity", "limits", "folder", "digest"),
    [
        ("proteins", {"max_unknown": 0.5}, "proteins-e63f2f85c4364e37", "82c6bc9c4e7d9007"),
        ("molecules", {"max_length": 256}, "molecules_masked-994107cff84d3afd", "2fc55a3fc2afccda"),
    ],
)
def test_caches_of_earlier_versions_are_read(tmp_path, entity, limits, folder, digest):
    """The name of a store, its tokens and its split are those of the two modules that this one replaces."""
    data = module(tmp_path, records(tmp_path, entity, 40)[0], entity, **limits)
    data.setup()
    tokens = hashlib.sha256(data.store.ragged("tokens").take(np.arange(40)).values.tobytes()).hexdigest()
    assert (data.folder.name, tokens[:16]) == (folder, digest)
    assert data.split.manifest["sha256"].startswith("7a72590ea6f4586e")


def test_molecules_that_break_a_rule_are_counted(tmp_path):
    kept = simulated_molecules(20, seed=3)
    source = smiles(tmp_path, [*kept, kept[0], "C(", "C" * 300])
    data = module(tmp_path, source, "molecules", max_length=256)
    data.setup()
    dropped = {row["rule"]: (row["dropped"], row["examples"]) for row in data.drops.rules if row["dropped"]}
    assert dropped["molecule longer than 256 tokens"] == (1, ["m22"])
    assert (data.drops.records, data.drops.left) == (23, 20)
    assert data.store.strings("id") == [f"m{number}" for number in range(20)]
    any_length = module(tmp_path, source, "molecules")
    any_length.setup()
    assert any_length.drops.left == 21
    with pytest.raises(InputError, match=r"no molecule is left for training\n23 records in, 0 left"):
        module(tmp_path, source, "molecules", max_length=3).setup()


def test_duplicates_are_kept_and_counted(tmp_path):
    records = random_proteins(30)
    source = fasta(tmp_path, *records, records[0], ("other", records[1][1]), (records[2][0], records[3][1][::-1]))
    data = module(tmp_path, source, crop=40)
    data.setup()
    facts = data.facts()
    assert (facts["sequences"], facts["distinct_ids"], facts["distinct_sequences"]) == (33, 31, 31)
    lengths = [len(text) for _, text in records]
    assert facts["longer_than_crop"] >= sum(length > 40 for length in lengths)
    assert "distinct_clusters" not in facts
    data.save_reports(tmp_path)
    assert json.loads((tmp_path / "sequences.json").read_text()) == facts
    assert json.loads((tmp_path / "drops.json").read_text())["left"] == 33
    assert json.loads((tmp_path / "split_overlap.json").read_text())["manifest"]["method"] == "groups over sequence"
    assert (tmp_path / "split.npz").is_file()


# ---------------------------------------------------------------- splits


def test_no_two_splits_share_a_key(data):
    names = ["cluster", "sequence"] if data.kind == "proteins" else ["inchikey1"]
    groups = data.store.values(names[0])
    parts = [set(groups[data.split.rows(name)].tolist()) for name in ("train", "val", "test")]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert {row["shared_rows"] for row in data.split.overlap(data._keys())} == {0}
    assert {row["key"] for row in data.split.overlap(data._keys())} == set(names)


def test_molecules_are_split_by_the_keys_that_the_split_names(tmp_path):
    keys = {"keys": ["inchikey1", "scaffold"], "fractions": FRACTIONS}
    data = module(tmp_path, entity="molecules", split=keys)
    data.setup()
    assert {row["key"] for row in data.split.overlap(data._keys())} == {"inchikey1", "scaffold"}
    assert {row["shared_rows"] for row in data.split.overlap(data._keys())} == {0}
    with pytest.raises(ConfigError, match=r"data\.split needs `keys`.*inchikey1 or scaffold, or both"):
        module(tmp_path, entity="molecules", split={"fractions": FRACTIONS}).setup()


def test_split_of_a_large_store_is_computed_once(data, monkeypatch):
    def opened(**settings) -> MaskedSequences:
        again = MaskedSequences(
            "proteins" if data.kind == "proteins" else "molecules",
            data.source,
            data.tokenizer,
            cache=str(data.cache),
            split={**data.split_by, **settings},
            tokens_per_batch=4000,
            masking=BERT,
            validation_masking=BERT,
        )
        again.setup()
        return again

    monkeypatch.setattr(masked_sequences, "LARGE", 100)
    first = opened()
    assert (first.split.codes == data.split.codes).all() and first.split.manifest == data.split.manifest
    other = opened(seed=7)
    with monkeypatch.context() as patch:  # no key is read again
        patch.setattr(MaskedSequences, "_keys", None)
        second = opened()
        assert (opened(seed=7).split.codes == other.split.codes).all()
    assert (second.split.codes == data.split.codes).all() and second.split.names == data.split.names
    assert second._overlap() == data._overlap()
    assert len(opened(train_limit=20).split.rows("train")) == 20


def test_identical_sequences_do_not_cross_splits_without_clusters(tmp_path):
    records = random_proteins(40)
    source = fasta(tmp_path, *records, *((f"copy of {name}", text.lower()) for name, text in records))
    data = module(tmp_path, source)
    data.setup()
    part = data.split.codes
    assert (part[:40] == part[40:]).all() and len(set(part.tolist())) == 3


def test_split_by_column_reports_leaks(tmp_path):
    data = module(tmp_path, split={"fractions": FRACTIONS, "keys": ["sequence"]})
    data.setup()
    shared = {(row["key"], row["part"]): row["shared_rows"] for row in data.split.overlap(data._keys())}
    assert shared["sequence", "test"] == 0 and shared["cluster", "test"] > 10
    with pytest.raises(ConfigError, match=r"data\.split\.keys: the source has no cluster; set data.clusters=<file>"):
        module(tmp_path, fasta(tmp_path, *random_proteins(20)), split={"keys": ["cluster"]}).setup()


@pytest.mark.parametrize("entity", ENTITIES)
def test_clusters_of_a_file(tmp_path, entity):
    source, ids = records(tmp_path, entity, 60)
    lines = [f"{name}\tc{number % 20}" for number, name in enumerate(ids)]
    (tmp_path / "clusters.tsv").write_text("\n".join(["id\tcluster", *lines]) + "\n")
    split = {"keys": ["cluster"], "fractions": FRACTIONS}
    data = module(tmp_path, source, entity, clusters=str(tmp_path / "clusters.tsv"), split=split)
    data.setup()
    clusters = data.store.array("cluster")
    assert len(np.unique(clusters)) == 20 and data.store.strings("id") == ids
    assert (clusters[:20] == clusters[40:]).all()
    assert (data.split.codes[:20] == data.split.codes[20:40]).all()
    (tmp_path / "clusters.tsv").write_text("\n".join(lines[:57]) + "\n")
    missing = rf"clusters\.tsv: 3 of 60 {entity} are in no cluster, for example {', '.join(ids[57:])}"
    with pytest.raises(InputError, match=missing):
        module(tmp_path, source, entity, clusters=str(tmp_path / "clusters.tsv")).setup()


def test_column_of_the_source_can_name_the_split(tmp_path):
    names = ["training"] * 10 + ["validation"] * 3 + ["holdout"] * 4
    records = [(f"{head} SET={part}", text) for (head, text), part in zip(random_proteins(17), names, strict=True)]
    split = {"column": "SET", "names": {"training": "train", "validation": "val", "holdout": "test"}}
    data = module(tmp_path, fasta(tmp_path, *records), split=split)
    data.setup()
    assert [len(data.split.rows(name)) for name in ("train", "val", "test")] == [10, 3, 4]
    with pytest.raises(InputError, match="the split column holds 'holdout'"):
        module(
            tmp_path, fasta(tmp_path, *records), split={**split, "names": {"training": "train", "validation": "val"}}
        ).setup()


@pytest.mark.parametrize(("entity", "held_out"), [("proteins", HeldOutProteins), ("molecules", HeldOutMolecules)])
def test_held_out_records_are_dropped(tmp_path, entity, held_out):
    study = module(tmp_path, records(tmp_path, entity, 30)[0], entity)
    (tmp_path / "corpus").mkdir()
    corpus, _ = records(tmp_path / "corpus", entity, 50)
    data = module(tmp_path, corpus, entity, exclude=held_out(study))
    data.setup()
    count = len(study.split.rows("val")) + len(study.split.rows("test"))
    rule = next(row for row in data.drops.rules if "held out elsewhere" in row["rule"])
    assert rule["dropped"] == count > 5
    assert not set(data.store.values(data.records.identity).tolist()) & study.held_out_keys()
    moved = module(tmp_path, study.source, entity, split={**study.split_by, "seed": 1})
    assert module(tmp_path, corpus, entity, exclude=held_out(moved)).folder != data.folder


@pytest.mark.parametrize(
    ("entity", "settings", "sentence"),
    [
        *((entity, *case) for entity in ENTITIES for case in [
            ({"sampling": "members"}, "sampling=members must be one of sequences, clusters"),
            ({"crop": 0}, "crop=0 must be 1 residue or more, or null"),
            ({"tokens_per_batch": 0}, "tokens_per_batch=0 must be 1"),
            ({"num_workers": -1}, "num_workers=-1 must be 0"),
            ({"seed": -1}, "seed=-1 must be 0"),
        ]),
        ("peptides", {}, "entity=peptides must be one of proteins, molecules"),
        ("proteins", {"min_length": 0}, "min_length=0 must be 1"),
        ("proteins", {"max_unknown": 1.5}, r"max_unknown=1\.5 must be a fraction"),
        ("proteins", {"max_length": 9}, "max_length=9: entity=proteins has no such limit, only min_length"),
        ("proteins", {"split": {"keys": ["family"]}}, r"split\.keys: family must be among cluster, sequence, kmers"),
        ("molecules", {"max_length": 2}, "max_length=2 must be 3 or more"),
        ("molecules", {"min_length": 2}, "min_length=2: entity=molecules has no such limit, only max_length"),
        ("molecules", {"split": {"column": "fold"}}, r"split\.column: molecules have no columns to split by"),
        ("molecules", {"split": {"keys": ["kmers"]}}, r"split\.keys: kmers must be among inchikey1, scaffold"),
    ],
)  # fmt: skip
def test_invalid_settings_raise_errors(tmp_path, entity, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        module(tmp_path, entity=entity, **settings)


@pytest.mark.parametrize("entity", ENTITIES)
def test_sampling_clusters_needs_clusters(tmp_path, entity):
    with pytest.raises(ConfigError, match=r"data\.sampling=clusters: the source has no clusters"):
        module(tmp_path, records(tmp_path, entity, 20)[0], entity, sampling="clusters").setup()


# ---------------------------------------------------------------- batches


def windows(data: MaskedSequences, masking: Masking = BERT, crop: int | None = -1, **settings) -> MaskedWindows:
    """The dataset of a data module, with its crop by default."""
    return MaskedWindows(data.store, data.tokenizer.alphabet, masking, data.crop if crop == -1 else crop, **settings)


def restored(batch) -> list[np.ndarray]:
    """The windows of a batch as they were before masking."""
    tokens = batch.sequence.tokens.numpy().copy()
    tokens[batch.positions.numpy()] = batch.labels.numpy()
    return np.split(tokens, np.cumsum(batch.sequence.sizes)[:-1])


def test_batch_holds_masked_windows_and_their_labels(data):
    rows, alphabet = np.array([5, 0, 17, 44]), data.tokenizer.alphabet
    batch = windows(data)[BatchKey(0, 0, rows)]
    assert len(batch) == 4 and batch.rows.tolist() == rows.tolist()
    assert batch.real_tokens == len(batch.sequence.tokens) == sum(batch.sequence.sizes)
    assert batch.residues == batch.real_tokens - 8
    for row, window in zip(rows, restored(batch), strict=True):
        whole = data.store.ragged("tokens")[row]
        assert window[0] == alphabet.begin and window[-1] == alphabet.end
        assert len(window) == min(len(whole), data.crop + 2)
        assert window[1:-1].astype("<u2").tobytes() in whole[1:-1].astype("<u2").tobytes()
        assert alphabet.hideable[batch.labels.numpy()].all()
    assert (batch.sequence.tokens == alphabet.mask).sum() > 0.7 * len(batch.positions) > 0
    moved = batch.to("cpu", non_blocking=True)
    assert torch.equal(moved.positions, batch.positions) and moved.sequence.sizes == batch.sequence.sizes
    for values in (batch.sequence.tokens, batch.positions, batch.labels, batch.rows):
        assert values.dtype == torch.int64


def test_batch_without_masked_positions_is_valid(data):
    batch = windows(data, Masking(1e-9, 0.8, 0.1))[BatchKey(0, 0, np.array([3]))]
    assert batch.positions.shape == batch.labels.shape == (0,)
    assert batch.positions.dtype == torch.int64 and batch.real_tokens > 2


def test_windows_are_equally_likely_and_new_in_every_epoch(tmp_path):
    data = module(
        tmp_path,
        fasta(tmp_path, ("a", "ACDEFGHIKLMN"), ("b", "MKLV"), ("c", "WYWY")),
        crop=5,
        split={"keys": ["sequence"], "fractions": {"train": 0.5, "val": 0.25, "test": 0.25}},
    )
    data.setup()
    dataset = windows(data)
    epochs = 1600
    drawn = [TOKENIZER.decode(restored(dataset[BatchKey(epoch, 0, np.array([0]))])[0]) for epoch in range(epochs)]
    starts = {"ACDEFGHIKLMN".index(window): drawn.count(window) for window in set(drawn)}
    assert sorted(starts) == list(range(8)), "the first and the last window are reached"
    assert max(abs(count - epochs / 8) for count in starts.values()) < 5 * np.sqrt(epochs * (1 / 8) * (7 / 8))
    whole = dataset[BatchKey(0, 0, np.array([1]))]
    assert TOKENIZER.decode(restored(whole)[0]) == "MKLV"
    uncut = windows(data, crop=None)[BatchKey(0, 0, np.array([0]))]
    assert TOKENIZER.decode(restored(uncut)[0]) == "ACDEFGHIKLMN"


def by_row(*batches) -> dict[int, tuple[list, list, list]]:
    """Row -> masked tokens, positions in the sequence, labels."""
    windows = {}
    for batch in batches:
        ends = np.cumsum(batch.sequence.sizes)
        for row, start, stop in zip(batch.rows.tolist(), ends - batch.sequence.sizes, ends, strict=True):
            inside = (batch.positions >= start) & (batch.positions < stop)
            tokens = batch.sequence.tokens[start:stop].tolist()
            windows[row] = (tokens, (batch.positions[inside] - start).tolist(), batch.labels[inside].tolist())
    return windows


def test_window_and_masks_of_a_row_do_not_depend_on_the_batch(data):
    dataset = windows(data, seed=3)
    rows = data.split.rows("train")
    together = by_row(dataset[BatchKey(2, 0, rows)])
    assert together == by_row(*(dataset[BatchKey(2, i, part)] for i, part in enumerate(np.array_split(rows[::-1], 17))))
    assert together == by_row(*(dataset[BatchKey(2, i, rows[i : i + 1])] for i in range(len(rows))))
    for other in (BatchKey(1, 0, rows), BatchKey(3, 0, rows)):
        changed = by_row(dataset[other])
        assert sum(changed[row] != together[row] for row in together) > 0.95 * len(rows)
    assert by_row(windows(data, seed=4)[BatchKey(2, 0, rows)]) != together


def test_evaluation_does_not_depend_on_batch_size_or_seed(data):
    reference = by_row(*data.evaluation_batches("val"))
    assert sorted(reference) == data.split.rows("val").tolist()
    for size in (300, 100_000):
        assert by_row(*data.evaluation_batches("val", size)) == reference
    assert by_row(*data.evaluation_batches("val")) == reference
    fixed = windows(data, seed=99, fixed=True)
    rows = data.split.rows("val")
    assert by_row(fixed[BatchKey(7, 3, rows, 1000)]) == reference


def test_masks_of_a_protein_do_not_depend_on_the_file(proteins, tmp_path):
    reference = by_row(*proteins.evaluation_batches("val"))
    moved = proteins.split.rows("val")[::-1]
    texts = [TOKENIZER.decode(proteins.store.ragged("tokens")[row]) for row in moved]
    named = zip(proteins.store.strings("id", moved), texts, strict=True)
    other = module(tmp_path, fasta(tmp_path, *random_proteins(17), *named), crop=60, seed=8, masking=HALF)
    other.setup()
    again = by_row(*(batch for part in other.split.names for batch in other.evaluation_batches(part)))
    assert [again[17 + index] for index in range(len(moved))] == [reference[row] for row in moved]


def test_validation_masking_is_independent_of_training_masking(data, tmp_path):
    def validated(**settings):
        entity = "proteins" if data.kind == "proteins" else "molecules"
        other = module(tmp_path, data.source, entity, crop=data.crop, **settings)
        other.setup()
        return by_row(*other.evaluation_batches("val"))

    reference = by_row(*data.evaluation_batches("val"))
    assert validated(masking=HALF) == reference
    assert validated(validation_masking=HALF) != reference


def test_masking_ratio_follows_optimizer_steps(data):
    dataset = windows(data, Masking(0.6, 0.8, 0.1, end_ratio=0.1, total_steps=100))
    rows = data.split.rows("train")

    def share(step: int) -> float:
        batch = dataset[BatchKey(0, 0, rows, step)]
        return len(batch.positions) / data.tokenizer.alphabet.hideable[np.concatenate(restored(batch))].sum()

    assert share(0) == pytest.approx(0.6, abs=0.04) and share(50) == pytest.approx(0.35, abs=0.04)
    assert share(100) == share(10_000) == pytest.approx(0.1, abs=0.03)


def test_batches_use_most_of_the_token_budget():
    """Lengths like those of UniRef, cut at 1,022 residues: real tokens over batches times the largest batch."""
    lengths = np.random.default_rng(0).lognormal(np.log(280), 0.75, 30_000).astype(int).clip(20, 1022) + 2
    plan = EpochPlan(lengths, 32_768)
    for epoch in range(3):
        tokens = [lengths[key.rows].sum() for key in plan.epoch(epoch)]
        assert sum(tokens) / (len(tokens) * max(tokens)) > 0.96


# ---------------------------------------------------------------- training


class Recorder(L.LightningModule):
    """Trains one number and records its batches."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list = []
        self.validated: list = []

    def training_step(self, batch, batch_idx):
        self.seen.append((batch.rows.tolist(), batch.sequence.tokens.tolist(), batch.positions.tolist()))
        return self.weight * 1.0

    def validation_step(self, batch, batch_idx):
        self.validated.append((batch.rows.tolist(), batch.sequence.tokens.tolist()))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(data: MaskedSequences, folder, steps: int, resume: str | None = None, **settings) -> Recorder:
    recorder = Recorder()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    settings = {"max_steps": steps, "use_distributed_sampler": False, "num_sanity_val_steps": 0, **quiet, **settings}
    trainer = L.Trainer(default_root_dir=folder, enable_checkpointing=False, **settings)
    trainer.fit(recorder, datamodule=data, ckpt_path=resume, weights_only=True)
    trainer.save_checkpoint(folder / "last.ckpt")
    return recorder


@pytest.mark.parametrize(
    ("entity", "sampling", "workers", "settings"),
    [
        ("proteins", "sequences", 0, {}),
        ("proteins", "sequences", 2, {}),
        ("proteins", "clusters", 0, {"accumulate_grad_batches": 2}),
        ("proteins", "clusters", 0, {"limit_train_batches": 3}),
        ("molecules", "sequences", 0, {}),
        ("molecules", "sequences", 0, {"accumulate_grad_batches": 2}),
    ],
)
def test_resumed_run_gets_the_batches_of_an_uninterrupted_run(tmp_path, entity, sampling, workers, settings):
    def fresh() -> MaskedSequences:
        masking = Masking(0.5, 0.8, 0.1, end_ratio=0.1, total_steps=8)
        loading = {"num_workers": workers, "tokens_per_batch": 1500 if entity == "proteins" else 300}
        crop = {"proteins": 100, "molecules": None}[entity]
        return module(tmp_path, entity=entity, crop=crop, sampling=sampling, masking=masking, **loading)

    steps = 8
    whole = fit(fresh(), tmp_path, steps, **settings)
    first = fit(fresh(), tmp_path, 3, **settings)
    rest = fit(fresh(), tmp_path, steps, resume=str(tmp_path / "last.ckpt"), **settings)
    assert whole.seen == first.seen + rest.seen
    assert len({str(batch) for batch in whole.seen}) == steps * settings.get("accumulate_grad_batches", 1)
    masked = [len(positions) / len(tokens) for _, tokens, positions in whole.seen]
    assert masked[0] > 0.4 and masked[-1] < 0.25, "the ratio followed the steps"


@pytest.mark.parametrize("entity", ENTITIES)
def test_validation_is_the_same_in_every_epoch_and_with_workers(tmp_path, entity):
    data = module(tmp_path, entity=entity, num_workers=2, tokens_per_batch=1000)
    recorder = fit(data, tmp_path, 4, val_check_interval=2, limit_train_batches=2)
    half = len(recorder.validated) // 2
    assert recorder.validated[:half] == recorder.validated[half:]
    batches = [(batch.rows.tolist(), batch.sequence.tokens.tolist()) for batch in data.evaluation_batches("val")]
    assert recorder.validated[:half] == batches


def test_sampling_clusters_trains_on_one_member_of_each(tmp_path):
    data = module(tmp_path, crop=50, sampling="clusters", tokens_per_batch=1000)
    data.setup()
    clusters = data.store.array("cluster")
    families = len(np.unique(clusters[data.split.rows("train")]))
    recorder = fit(data, tmp_path, 10_000, max_epochs=3, limit_val_batches=0)
    rows = [row for batch in recorder.seen for row in batch[0]]
    assert len(rows) == 3 * families
    per_epoch = np.split(np.array(rows), 3)
    assert all(len(np.unique(clusters[part])) == families for part in per_epoch)
    assert not np.array_equal(*(np.sort(part) for part in per_epoch[:2])), "other members in another epoch"
    assert set(rows) <= set(data.split.rows("train").tolist())


# ---------------------------------------------------------------- configs


def test_configs_build_masked_sequences(tmp_path):
    fasta(tmp_path, *random_proteins(60))
    smiles(tmp_path, simulated_molecules(60, seed=3))
    cache = f"paths.cache={tmp_path}/cache"
    data = build(compose("train", ["data=proteins", f"data.source.paths={tmp_path}/a.fasta", cache]).data)
    data.setup()
    assert data.masking.ratio == data.validation_masking.ratio == 0.15 and data.crop == 1022
    assert sum(len(data.split.rows(part)) for part in ("train", "val", "test")) == 60
    cramming = [
        "data/masking=cramming",
        "data.masking.end_ratio=0.1",
        "data.masking.total_steps=${trainer.max_steps}",
    ]
    simulated = build(compose("train", ["data=simulated_proteins", "data.source.proteins=100", cache, *cramming]).data)
    simulated.setup()
    assert (simulated.masking.ratio, simulated.masking.mask, simulated.validation_masking.mask) == (0.25, 1.0, 0.8)
    assert simulated.masking.ratio_at(10**9) == pytest.approx(0.1)
    for choice, name in (("uniref50", "UniRef"), ("uniref90", "UniRef"), ("swissprot", "SwissProt")):
        copy = [f"data.source.path={tmp_path}/a.fasta", "data.split.fractions={train: 0.8, val: 0.1, test: 0.1}"]
        published = build(compose("train", [f"data={choice}", cache, *copy]).data)
        published.setup()
        assert type(published.source).__name__ == name and len(published.store) == 60
    molecules = build(compose("train", ["data=molecules", f"data.source.paths={tmp_path}/a.smi", cache]).data)
    molecules.setup()
    assert molecules.masking.ratio == molecules.validation_masking.ratio == 0.3 and molecules.crop is None
    assert molecules.records.max_length == 256 and len(molecules.store) == 60
