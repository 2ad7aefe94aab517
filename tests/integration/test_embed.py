"""`trimer embed`: a row for every protein, vectors that do not depend on the batch, public and own weights."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from trimer.cli.main import main
from trimer.data.core.ragged import Ragged
from trimer.flat import Flat
from trimer.models.convert.esm2_weights import save_esm2
from trimer.models.esm2 import Esm2
from trimer.prediction.embedding import EmbeddingFile, batches, embed
from trimer.tokenizers.protein import ProteinTokenizer

PROTEINS = {"long": "MKTAYIAKQR" * 9, "short": "M", "bad": "MK*LV", "empty": "", "middle": "GAVLIWXJ", "short2": "M"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    save_esm2(Esm2(d_model=32, layers=2, heads=2, init_std=0.2), folder)
    return folder


@pytest.fixture
def fasta(tmp_path):
    path = tmp_path / "proteins.fasta"
    path.write_text("".join(f">{name} a header\n{sequence}\n" for name, sequence in PROTEINS.items()))
    return path


def run(weights, fasta, *words: str) -> list[dict]:
    output = fasta.with_name("out.parquet")
    assert main(["embed", f"ckpt={weights}", f"input={fasta}", f"output={output}", *words]) == 0
    assert not output.with_name("out.parquet.partial").exists()
    return pq.read_table(output).to_pylist()


def expected(weights, sequence: str, pooling: str, layer: int | None = None) -> np.ndarray:
    from trimer.models.convert.esm2_weights import load_esm2

    with torch.no_grad():
        hidden = load_esm2(weights).eval().hidden(Flat.pack([ProteinTokenizer().encode(sequence)]), layer)
    return {"cls": hidden[0], "mean": hidden[1:-1].mean(0), "residue": hidden[1:-1]}[pooling].numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls", "residue"])
@pytest.mark.parametrize("layer", [None, 0, 1])
def test_every_protein_has_a_row_with_a_vector_or_a_reason(weights, fasta, pooling, layer):
    words = [f"pooling={pooling}", f"layer={'null' if layer is None else layer}", "trainer.precision=32-true"]
    rows = run(weights, fasta, *words, "tokens_per_batch=50")
    assert [row["id"] for row in rows] == list(PROTEINS)
    assert [row["row"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[2]["reason"] == "proteins.fasta, record 3: stop (*) inside the sequence"
    assert rows[3]["reason"] == "proteins.fasta, record 4: no sequence"
    for row in rows:
        if row["reason"]:
            assert row["embedding"] is None
        else:
            reference = expected(weights, PROTEINS[row["id"]], pooling, layer)
            np.testing.assert_allclose(np.array(row["embedding"]), reference, atol=2e-5)
            assert row["length"] == len(PROTEINS[row["id"]])


def test_vectors_do_not_depend_on_the_batch_and_long_sequences_can_be_excluded(weights, fasta):
    one, all_ = (run(weights, fasta, f"tokens_per_batch={n}", "trainer.precision=32-true") for n in (1, 10_000))
    for a, b in zip(one, all_, strict=True):
        if a["embedding"]:
            np.testing.assert_allclose(a["embedding"], b["embedding"], atol=2e-6)
    short = run(weights, fasta, "longest=50")
    assert short[0]["reason"] == "proteins.fasta, record 1: 90 tokens, longer than longest=50"
    assert sum(row["embedding"] is not None for row in short) == 3


def test_sequences_are_read_from_tables(weights, tmp_path):
    (tmp_path / "proteins.csv").write_text("name,seq\na,MKV\nb,GG\n")
    rows = run(weights, tmp_path / "proteins.csv", "column=seq", "id_column=name")
    assert [row["id"] for row in rows] == ["a", "b"]


@pytest.mark.parametrize("entity", ["molecules", "peptides"])
def test_fine_tuned_models_embed_molecules_and_peptides(entity, tmp_path):
    few = ["trainer.max_steps=1", "trainer.enable_progress_bar=false", "test=false", "trainer.precision=32-true"]
    if entity == "peptides":
        texts = ["PEPTIDEK", "AAS[UNIMOD:21]AAAAK", "AASAAAAK", "AAJAAAAK"]
        data = ["data=simulated_peptides", "data.source.count=60", "model=peptides_nano", "task=regression"]
    else:
        texts = ["CCO", "c1ccccc1O", "CCO.Cl", "C("]
        rows = "".join(f"{'C' * n}O,{n % 2}\n" for n in range(1, 40))
        (tmp_path / "labels.csv").write_text("smiles,y\n" + rows)
        data = ["data=labelled_molecules", f"data.source.paths={tmp_path}/labels.csv", "data.source.labels=y"]
        data += ["data.target=single", "model=smiles_nano", "task=classification"]
    assert main(["train", *data, *few, f"hydra.run.dir={tmp_path / 'run'}", f"paths.cache={tmp_path}"]) == 0
    column = "smiles" if entity == "molecules" else "sequence"
    (tmp_path / "in.csv").write_text("\n".join([column, *texts]) + "\n")
    rows = run(tmp_path / "run", tmp_path / "in.csv", "trainer.precision=32-true", "tokens_per_batch=12")
    assert len(rows) == 4 and rows[3]["embedding"] is None and rows[3]["reason"].startswith("in.csv, line 5: ")
    vectors = [np.array(row["embedding"]) for row in rows[:3]]
    assert not np.allclose(vectors[1], vectors[2], atol=1e-4)
    again = run(tmp_path / "run", tmp_path / "in.csv", "trainer.precision=32-true")
    np.testing.assert_allclose(vectors[1], again[1]["embedding"], atol=2e-6)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["pooling=max"], "pooling=max must be one of mean, cls, residue"),
        (["layer=3"], "layer=3: this model has layers 0 (embeddings) to 2"),
        (["output=out.csv"], "output=out.csv: embeddings are written as Parquet"),
        (["output=nowhere/out.parquet"], "the folder nowhere does not exist"),
        (["tokens_per_batch=0"], "tokens_per_batch=0 must be 1 or more"),
        (["input=nothing.fasta"], "nothing.fasta: no such file"),
        (["ckpt=nothing"], "ckpt=nothing: no such file or run folder"),
    ],
)
def test_invalid_arguments_give_one_sentence(weights, fasta, capsys, monkeypatch, words, sentence):
    monkeypatch.chdir(fasta.parent)
    assert main(["embed", f"ckpt={weights}", f"input={fasta}", "output=out.parquet", *words]) == 1
    error_text = capsys.readouterr().err.strip()
    assert sentence in error_text and "\n" not in error_text


def test_batches_fill_the_token_budget_and_keep_every_sequence():
    parts = list(batches(np.array([5, 5, 30, 1, 1]), 10))
    assert [list(part) for part in parts] == [[0, 1], [2], [3, 4]]
    assert list(batches(np.zeros(0, int), 10)) == []


def test_a_mean_over_a_long_pack_loses_no_precision():
    torch.manual_seed(0)
    net = Esm2(d_model=32, layers=1, heads=2).eval()
    tokens = Ragged.pack([ProteinTokenizer().encode("MKTAYIAKQRLV" * 3)] * 400)
    vectors = list(embed(net, tokens, tokens_per_batch=100_000))
    assert np.abs(vectors[-1] - vectors[0]).max() < 1e-6


@pytest.mark.parametrize("pooling", ["mean", "cls", "residue"])
def test_the_vectors_of_a_batch_leave_the_device_in_one_copy(monkeypatch, pooling):
    copies, copy = [], torch.Tensor.cpu

    def counted(tensor: torch.Tensor) -> torch.Tensor:
        copies.append(tensor.shape)
        return copy(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", counted)
    tokens = Ragged.pack([ProteinTokenizer().encode("MKTAYIAKQRLV"[: 3 + number]) for number in range(9)])
    net = Esm2(d_model=32, layers=1, heads=2).eval()
    vectors = list(embed(net, tokens, pooling, tokens_per_batch=30))
    assert len(copies) == len(list(batches(tokens.lengths, 30))) == 3
    shapes = [(32,) if pooling != "residue" else (3 + number, 32) for number in range(9)]
    assert [vector.shape for vector in vectors] == shapes


@pytest.mark.parametrize("pooling", ["mean", "residue"])
def test_row_groups_are_bounded_and_hold_few_vectors_in_memory(tmp_path, monkeypatch, pooling):
    monkeypatch.setattr("trimer.prediction.embedding.VALUES", 40)
    rng = np.random.default_rng(0)
    lengths = [3, 1, 7, 2, 30, 5, 0]
    vectors = [rng.random((n, 4) if pooling == "residue" else 4, np.float32) if n else None for n in lengths]
    vectors[1] = None
    made = []

    def lazily():
        for number, vector in enumerate(vectors):
            made.append(number)
            yield vector

    with EmbeddingFile(tmp_path / "out.parquet", pooling) as target:
        written = []
        write = target._write
        monkeypatch.setattr(
            target, "_write", lambda records: (written.append((len(made), len(records))), write(records))
        )
        target.add(list("abcdefg"), lengths, lazily(), [None if v is not None else "lost" for v in vectors])
    file = pq.ParquetFile(tmp_path / "out.parquet")
    assert file.num_row_groups == len(written) == (4 if pooling == "residue" else 1)
    if pooling == "residue":  # a row group is written when the first vector of the next one arrives
        assert written == [(4, 3), (5, 1), (6, 1), (7, 2)]
    rows = file.read().to_pylist()
    assert [(row["id"], row["row"], row["length"]) for row in rows] == list(
        zip("abcdefg", range(1, 8), lengths, strict=True)
    )
    for row, vector in zip(rows, vectors, strict=True):
        assert (row["embedding"] is None) == (vector is None) == (row["reason"] == "lost")
        if vector is not None:
            assert np.array_equal(np.array(row["embedding"], np.float32), vector)
    assert target.summary().startswith("5 of 7 proteins embedded, 2 without an embedding")
