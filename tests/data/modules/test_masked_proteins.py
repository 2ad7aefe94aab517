"""Proteins for masked language modelling: what is dropped, how it is split, and windows and masks made again."""

from __future__ import annotations

import json

import lightning as L
import numpy as np
import pytest
import torch
from torch import nn

from trimer.build import build
from trimer.cli.configs import compose
from trimer.data.core.masked_windows import MaskedSequences
from trimer.data.core.masking import Masking
from trimer.data.core.sampler import BatchKey, EpochPlan
from trimer.data.modules.held_out import HeldOutProteins
from trimer.data.modules.masked_proteins import ProteinSequences
from trimer.data.proteins.protein_files import ProteinFiles
from trimer.errors import ConfigError, InputError
from trimer.simulate.simulated_proteins import SimulatedProteins
from trimer.tokenizers.protein import CLS, EOS, MASK, ProteinTokenizer

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
TOKENIZER = ProteinTokenizer()


def module(tmp_path, source=None, **settings) -> ProteinSequences:
    """A data module that has not prepared anything yet; 300 simulated proteins by default."""
    settings = {"split": {"fractions": FRACTIONS}, "tokens_per_batch": 4000, **settings}
    return ProteinSequences(source or SimulatedProteins(300), TOKENIZER, cache=str(tmp_path / "cache"), **settings)


def fasta(tmp_path, *records: tuple[str, str], name: str = "a.fasta", **settings) -> ProteinFiles:
    path = tmp_path / name
    path.write_text("".join(f">{header}\n{sequence}\n" for header, sequence in records))
    return ProteinFiles(str(path), **settings)


def random_proteins(count: int, seed: int = 0) -> list[tuple[str, str]]:
    random = np.random.default_rng(seed)
    return [
        (f"p{i}", "".join(random.choice(list("ACDEFGHIKLMNPQRSTVWY"), random.integers(20, 90)))) for i in range(count)
    ]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ProteinSequences:
    """300 simulated proteins, prepared and split; windows of 60 residues."""
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
    with pytest.raises(InputError, match=r"no protein is left to train on\n26 records in, 0 left"):
        module(tmp_path, source, min_length=1000).setup()


def test_the_store_is_made_once_and_anew_when_something_changes(tmp_path):
    source = fasta(tmp_path, *random_proteins(30))
    data = module(tmp_path, source)
    data.prepare_data()
    written = (data.folder / "manifest.json").stat().st_mtime_ns
    again = module(tmp_path, source, crop=10, seed=5, masking=Masking(0.3))
    again.prepare_data()
    assert again.folder == data.folder and (again.folder / "manifest.json").stat().st_mtime_ns == written
    assert module(tmp_path, source, min_length=2).folder != data.folder
    (tmp_path / "clusters.tsv").write_text("p0\tx\n")
    with_clusters = module(tmp_path, source, clusters=str(tmp_path / "clusters.tsv")).folder
    (tmp_path / "clusters.tsv").write_text("p0\ty\n")
    assert (
        len({data.folder, with_clusters, module(tmp_path, source, clusters=str(tmp_path / "clusters.tsv")).folder}) == 3
    )


def test_what_is_there_twice_stays_and_is_counted(tmp_path):
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


def test_families_do_not_cross_the_split(data):
    clusters = data.store.array("cluster")
    parts = [set(clusters[data.split.rows(name)].tolist()) for name in ("train", "val", "test")]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert {row["shared_rows"] for row in data.split.overlap(data._keys())} == {0}
    assert {row["key"] for row in data.split.overlap(data._keys())} == {"cluster", "sequence"}


def test_identical_sequences_do_not_cross_without_clusters_either(tmp_path):
    records = random_proteins(40)
    source = fasta(tmp_path, *records, *((f"copy of {name}", text.lower()) for name, text in records))
    data = module(tmp_path, source)
    data.setup()
    part = data.split.codes
    assert (part[:40] == part[40:]).all() and len(set(part.tolist())) == 3


def test_a_row_wise_split_says_what_leaks(tmp_path):
    data = module(tmp_path, split={"fractions": FRACTIONS, "keys": ["sequence"]})
    data.setup()
    shared = {(row["key"], row["part"]): row["shared_rows"] for row in data.split.overlap(data._keys())}
    assert shared["sequence", "test"] == 0 and shared["cluster", "test"] > 10
    with pytest.raises(ConfigError, match=r"data\.split\.keys: the source has no cluster; name a file"):
        module(tmp_path, fasta(tmp_path, *random_proteins(20)), split={"keys": ["cluster"]}).setup()


def test_clusters_of_a_file(tmp_path):
    source = fasta(tmp_path, *random_proteins(60))
    lines = [f"p{i}\tc{i % 20}" for i in range(60)]
    (tmp_path / "clusters.tsv").write_text("\n".join(["id\tcluster", *lines]) + "\n")
    data = module(tmp_path, source, clusters=str(tmp_path / "clusters.tsv"))
    data.setup()
    table = data.table(np.arange(60))
    assert len(np.unique(table["cluster"])) == 20
    assert (table["cluster"][:20] == table["cluster"][40:]).all()
    assert table["id"][7] == "p7" and table["residues"][7] == len(random_proteins(60)[7][1])
    assert (data.split.codes[:20] == data.split.codes[20:40]).all()
    (tmp_path / "clusters.tsv").write_text("\n".join(lines[:57]) + "\n")
    with pytest.raises(InputError, match=r"clusters\.tsv: 3 of 60 proteins are in no cluster, such as p57, p58, p59"):
        module(tmp_path, source, clusters=str(tmp_path / "clusters.tsv")).setup()


def test_a_column_of_the_source_may_name_the_part(tmp_path):
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


def test_held_out_proteins_are_left_out(tmp_path):
    records = random_proteins(50)
    later = module(tmp_path, fasta(tmp_path, *records[:30]))
    early = module(
        tmp_path,
        fasta(tmp_path, *((f"x{name}", text) for name, text in records), name="b.fasta"),
        exclude=HeldOutProteins(later),
    )
    early.setup()
    held_out = len(later.split.rows("val")) + len(later.split.rows("test"))
    assert early.drops.rules[-1]["rule"] == "sequence held out elsewhere"
    assert early.drops.rules[-1]["dropped"] == held_out > 5
    assert not set(early.store.array("sequence").tolist()) & later.held_out_keys()
    moved = module(tmp_path, fasta(tmp_path, *records[:30]), split={"fractions": FRACTIONS, "seed": 1})
    assert module(tmp_path, early.source, exclude=HeldOutProteins(moved)).folder != early.folder


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"sampling": "members"}, "sampling=members must be one of sequences, clusters"),
        ({"crop": 0}, "crop=0 must be 1 residue or more, or null"),
        ({"min_length": 0}, "min_length=0 must be 1"),
        ({"max_unknown": 1.5}, r"max_unknown=1\.5 must be a share"),
        ({"split": {"keys": ["family"]}}, r"split\.keys: family is none of cluster, sequence"),
        ({"tokens_per_batch": 0}, "tokens_per_batch=0 must be 1"),
        ({"num_workers": -1}, "num_workers=-1 must be 0"),
        ({"seed": -1}, "seed=-1 must be 0"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path, settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        module(tmp_path, **settings)


def test_sampling_clusters_needs_clusters(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.sampling=clusters: the source has no clusters"):
        module(tmp_path, fasta(tmp_path, *random_proteins(20)), sampling="clusters").setup()


# ---------------------------------------------------------------- batches


def restored(batch) -> list[np.ndarray]:
    """The windows of a batch as they were before masking."""
    tokens = batch.sequence.tokens.numpy().copy()
    tokens[batch.places.numpy()] = batch.labels.numpy()
    return np.split(tokens, np.cumsum(batch.sequence.sizes)[:-1])


def test_a_batch_holds_damaged_windows_and_what_stood_there(data):
    rows = np.array([5, 0, 17, 44])
    batch = MaskedSequences(data.store, Masking(), 60)[BatchKey(0, 0, rows)]
    assert len(batch) == 4 and batch.rows.tolist() == rows.tolist()
    assert batch.real_tokens == len(batch.sequence.tokens) == sum(batch.sequence.sizes)
    assert batch.residues == batch.real_tokens - 8
    for row, window in zip(rows, restored(batch), strict=True):
        whole = data.store.ragged("tokens")[row]
        assert window[0] == CLS and window[-1] == EOS
        assert len(window) == min(len(whole), 62)
        assert bytes(window[1:-1].astype(np.uint8)) in bytes(whole[1:-1])
    assert (batch.sequence.tokens == MASK).sum() > 0.7 * len(batch.places) > 0
    moved = batch.to("cpu", non_blocking=True)
    assert torch.equal(moved.places, batch.places) and moved.sequence.sizes == batch.sequence.sizes
    for values in (batch.sequence.tokens, batch.places, batch.labels, batch.rows):
        assert values.dtype == torch.int64


def test_a_batch_without_a_masked_place_is_whole(data):
    batch = MaskedSequences(data.store, Masking(1e-9), 60)[BatchKey(0, 0, np.array([3]))]
    assert batch.places.shape == batch.labels.shape == (0,)
    assert batch.places.dtype == torch.int64 and batch.real_tokens > 2


def test_every_window_is_alike_likely_and_new_in_every_epoch(tmp_path):
    data = module(
        tmp_path,
        fasta(tmp_path, ("a", "ACDEFGHIKLMN"), ("b", "MKLV"), ("c", "WYWY")),
        crop=5,
        split={"keys": ["sequence"], "fractions": {"train": 0.5, "val": 0.25, "test": 0.25}},
    )
    data.setup()
    dataset = MaskedSequences(data.store, Masking(), 5)
    epochs = 1600
    windows = [TOKENIZER.decode(restored(dataset[BatchKey(epoch, 0, np.array([0]))])[0]) for epoch in range(epochs)]
    found = {"ACDEFGHIKLMN".index(window): windows.count(window) for window in set(windows)}
    assert sorted(found) == list(range(8)), "the first and the last window are reached"
    assert max(abs(count - epochs / 8) for count in found.values()) < 5 * np.sqrt(epochs * (1 / 8) * (7 / 8))
    whole = MaskedSequences(data.store, Masking(), 5)[BatchKey(0, 0, np.array([1]))]
    assert TOKENIZER.decode(restored(whole)[0]) == "MKLV"
    uncut = MaskedSequences(data.store, Masking(), None)[BatchKey(0, 0, np.array([0]))]
    assert TOKENIZER.decode(restored(uncut)[0]) == "ACDEFGHIKLMN"


def by_row(*batches) -> dict[int, tuple[list, list, list]]:
    """row -> damaged tokens, places in the sequence, labels."""
    found = {}
    for batch in batches:
        ends = np.cumsum(batch.sequence.sizes)
        for row, start, stop in zip(batch.rows.tolist(), ends - batch.sequence.sizes, ends, strict=True):
            inside = (batch.places >= start) & (batch.places < stop)
            tokens = batch.sequence.tokens[start:stop].tolist()
            found[row] = (tokens, (batch.places[inside] - start).tolist(), batch.labels[inside].tolist())
    return found


def test_a_row_is_cut_and_masked_alike_in_any_batch_of_its_epoch(data):
    dataset = MaskedSequences(data.store, Masking(), 60, seed=3)
    rows = data.split.rows("train")
    together = by_row(dataset[BatchKey(2, 0, rows)])
    assert together == by_row(*(dataset[BatchKey(2, i, part)] for i, part in enumerate(np.array_split(rows[::-1], 17))))
    assert together == by_row(*(dataset[BatchKey(2, i, rows[i : i + 1])] for i in range(len(rows))))
    for other in (BatchKey(1, 0, rows), BatchKey(3, 0, rows)):
        changed = by_row(dataset[other])
        assert sum(changed[row] != together[row] for row in together) > 0.95 * len(rows)
    assert by_row(MaskedSequences(data.store, Masking(), 60, seed=4)[BatchKey(2, 0, rows)]) != together


def test_evaluation_is_the_same_at_any_size_of_batch_and_in_every_run(data, tmp_path):
    reference = by_row(*data.evaluation_batches("val"))
    assert sorted(reference) == data.split.rows("val").tolist()
    for size in (300, 100_000):
        assert by_row(*data.evaluation_batches("val", size)) == reference
    assert by_row(*data.evaluation_batches("val")) == reference
    fixed = MaskedSequences(data.store, Masking(), 60, seed=99, fixed=True)
    rows = data.split.rows("val")
    assert by_row(fixed[BatchKey(7, 3, rows, 1000)]) == reference
    moved = rows[::-1]  # the same proteins, elsewhere in another file
    texts = [TOKENIZER.decode(data.store.ragged("tokens")[row]) for row in moved]
    source = fasta(tmp_path, *random_proteins(17), *zip(data.table(moved)["id"], texts, strict=True))
    other = module(tmp_path, source, crop=60, seed=8, masking=Masking(0.4))
    other.setup()
    again = by_row(*(batch for part in other.split.names for batch in other.evaluation_batches(part)))
    assert [again[17 + place] for place in range(len(moved))] == [reference[row] for row in moved]


def test_validation_masks_as_published_whatever_training_does(data, tmp_path):
    other = module(tmp_path, crop=60, masking=Masking(0.5, 1.0, 0.0))
    other.setup()
    assert by_row(*other.evaluation_batches("val")) == by_row(*data.evaluation_batches("val"))
    harder = module(tmp_path, crop=60, validation_masking=Masking(0.5, 1.0, 0.0))
    harder.setup()
    assert by_row(*harder.evaluation_batches("val")) != by_row(*data.evaluation_batches("val"))


def test_the_ratio_follows_the_optimiser_steps(data):
    dataset = MaskedSequences(data.store, Masking(0.6, end_ratio=0.1, total_steps=100), 60)
    rows = data.split.rows("train")

    def share(step: int) -> float:
        batch = dataset[BatchKey(0, 0, rows, step)]
        return len(batch.places) / batch.residues

    assert share(0) == pytest.approx(0.6, abs=0.03) and share(50) == pytest.approx(0.35, abs=0.03)
    assert share(100) == share(10_000) == pytest.approx(0.1, abs=0.02)


def test_whole_sequences_of_a_split(data):
    tokens = data.tokens("test")
    rows = data.split.rows("test")
    assert [tokens[i].tolist() for i in range(len(rows))] == [data.store.ragged("tokens")[row].tolist() for row in rows]
    assert len(data.tokens("test", limit=3)) == 3 and tokens.values.dtype == np.uint8


def test_nearly_all_of_the_token_budget_is_used():
    """Lengths like those of UniRef, cut at 1,022 residues: real tokens over batches times the largest batch."""
    lengths = np.random.default_rng(0).lognormal(np.log(280), 0.75, 30_000).astype(int).clip(20, 1022) + 2
    plan = EpochPlan(lengths, 32_768)
    for epoch in range(3):
        tokens = [lengths[key.rows].sum() for key in plan.epoch(epoch)]
        assert sum(tokens) / (len(tokens) * max(tokens)) > 0.96


# ---------------------------------------------------------------- training


class Recorder(L.LightningModule):
    """Trains one number, and writes down what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list = []
        self.validated: list = []

    def training_step(self, batch, batch_idx):
        self.seen.append((batch.rows.tolist(), batch.sequence.tokens.tolist(), batch.places.tolist()))
        return self.weight * 1.0

    def validation_step(self, batch, batch_idx):
        self.validated.append((batch.rows.tolist(), batch.sequence.tokens.tolist()))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fit(data: ProteinSequences, folder, steps: int, resume: str | None = None, **settings) -> Recorder:
    recorder = Recorder()
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    settings = {"max_steps": steps, "use_distributed_sampler": False, "num_sanity_val_steps": 0, **quiet, **settings}
    trainer = L.Trainer(default_root_dir=folder, enable_checkpointing=False, **settings)
    trainer.fit(recorder, datamodule=data, ckpt_path=resume, weights_only=True)
    trainer.save_checkpoint(folder / "last.ckpt")
    return recorder


@pytest.mark.parametrize(
    ("sampling", "workers", "settings"),
    [
        ("sequences", 0, {}),
        ("sequences", 2, {}),
        ("clusters", 0, {"accumulate_grad_batches": 2}),
        ("clusters", 0, {"limit_train_batches": 3}),
    ],
)
def test_a_resumed_run_is_given_the_batches_of_an_uninterrupted_one(tmp_path, sampling, workers, settings):
    def fresh() -> ProteinSequences:
        masking = Masking(0.5, end_ratio=0.1, total_steps=8)
        return module(
            tmp_path, crop=100, sampling=sampling, num_workers=workers, tokens_per_batch=1500, masking=masking
        )

    steps = 8
    whole = fit(fresh(), tmp_path, steps, **settings)
    first = fit(fresh(), tmp_path, 3, **settings)
    rest = fit(fresh(), tmp_path, steps, resume=str(tmp_path / "last.ckpt"), **settings)
    assert whole.seen == first.seen + rest.seen
    assert len({str(batch) for batch in whole.seen}) == steps * settings.get("accumulate_grad_batches", 1)
    masked = [len(places) / len(tokens) for _, tokens, places in whole.seen]
    assert masked[0] > 0.4 and masked[-1] < 0.25, "the ratio followed the steps"


def test_validation_is_the_same_in_every_epoch_and_with_workers(tmp_path):
    data = module(tmp_path, crop=100, num_workers=2)
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


def test_the_configs_build_what_they_say(tmp_path):
    (tmp_path / "a.fasta").write_text("".join(f">{name}\n{text}\n" for name, text in random_proteins(60)))
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
