"""Public weights: folders of other libraries are read correctly or rejected in one sentence."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from trimer.building import build
from trimer.checkpoint import checkpoint_path, copy_weights, warm_start
from trimer.cli.configs import compose
from trimer.cli.main import main
from trimer.errors import CheckpointError, ConfigError
from trimer.flat import Flat
from trimer.models.bart import Bart
from trimer.models.convert.bart_weights import load_bart, save_bart
from trimer.models.convert.esm2_weights import esm2_to_fair, esm2_to_huggingface, load_esm2, save_esm2
from trimer.models.convert.folders import read_folder
from trimer.models.convert.roberta_weights import load_roberta, save_roberta
from trimer.models.esm2 import Esm2
from trimer.models.roberta import Roberta
from trimer.public import load_public, public_weights
from trimer.tokenizers.protein import ProteinTokenizer
from trimer.tokenizers.smiles import SmilesTokenizer

TOKENS = ProteinTokenizer().vocabulary.tokens
SEQUENCE = [0, 5, 32, 9, 20, 2]
PROTEINS = "".join(f">p{i}\n{'MKTAYIAKQRLGSVDE'[i:] * 4}\n" for i in range(12))


def esm2(**settings) -> Esm2:
    torch.manual_seed(0)
    return Esm2(d_model=32, layers=2, heads=2, init_std=0.3, **settings).eval()


def bart() -> Bart:
    torch.manual_seed(0)
    settings = {"encoder_layers": 1, "decoder_layers": 1, "encoder_heads": 2, "decoder_heads": 2}
    return Bart(vocab_size=33, d_model=16, encoder_ffn=32, decoder_ffn=32, max_positions=32, **settings).eval()


def roberta(size: int = 33) -> Roberta:
    torch.manual_seed(0)
    return Roberta(vocab_size=size, d_model=16, layers=1, heads=2, ffn=32, max_positions=40, init_std=0.3).eval()


KINDS = {
    "esm2": (esm2, save_esm2, load_esm2),
    "bart": (bart, save_bart, load_bart),
    "roberta": (roberta, save_roberta, load_roberta),
}


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def in_shards(folder, suffix: str) -> None:
    """Split model.safetensors into two shards with an index, as in the folders of large models."""
    whole = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem = {"safetensors": "model", "bin": "pytorch_model"}[suffix]
    names, places = sorted(whole), {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"{stem}-0000{number}-of-00002.{suffix}"
        tensors = {name: whole[name] for name in part}
        save_file(tensors, folder / file) if suffix == "safetensors" else torch.save(tensors, folder / file)
        places |= dict.fromkeys(part, file)
    (folder / f"{stem}.{suffix}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


@pytest.mark.parametrize("suffix", ["bin", "safetensors"])
@pytest.mark.parametrize("kind", KINDS)
def test_sharded_weights_are_read(kind, suffix, tmp_path):
    make, save, load = KINDS[kind]
    net = make()
    save(net, tmp_path)
    in_shards(tmp_path, suffix)
    assert same(load(tmp_path), net)
    next(tmp_path.glob("*-00002-of-00002.*")).unlink()
    with pytest.raises(CheckpointError, match=r"lacks 1 of 2 weight files, such as .*-00002-of-00002"):
        load(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_nonfinite_weights_are_rejected(kind, tmp_path):
    make, save, load = KINDS[kind]
    save(make(), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    name = sorted(state)[0]
    state[name].view(-1)[0] = math.nan
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"1 of .* weights in {name} are NaN or infinite"):
        load(tmp_path)


def test_nonfinite_fair_esm_files_and_own_checkpoints_are_rejected(tmp_path):
    net = esm2()
    with torch.no_grad():
        net.layers[1].up.weight[0, 0] = math.inf
    torch.save({"model": esm2_to_fair(net)}, tmp_path / "esm2.pt")
    with pytest.raises(
        CheckpointError, match=r"esm2\.pt: 1 of .* weights in layers\.1\.fc1\.weight are NaN or infinite"
    ):
        load_esm2(tmp_path / "esm2.pt")
    with pytest.raises(CheckpointError, match=r"ckpt=mine: 1 of .* are NaN or infinite"):
        copy_weights(esm2(), net.state_dict(), "mine")


@pytest.mark.parametrize("text", ["{broken", "[1, 2]", ""])
@pytest.mark.parametrize("kind", KINDS)
def test_a_broken_config_gives_one_sentence(kind, text, tmp_path, capsys):
    make, save, load = KINDS[kind]
    save(make(), tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json (is not valid JSON|contains a JSON list)"):
        load(tmp_path)
    (tmp_path / "a.fasta").write_text(PROTEINS)
    assert main(["embed", f"ckpt={tmp_path}", f"input={tmp_path}/a.fasta", f"output={tmp_path}/a.parquet"]) == 1
    assert "config.json" in capsys.readouterr().err


def headless(folder, net: Esm2, prefix: str, extra: dict[str, torch.Tensor]) -> None:
    """Write the folder of an `EsmModel` or of a classifier with the encoder of a network."""
    state, config = esm2_to_huggingface(net)
    encoder = {k.removeprefix("esm."): v.clone() for k, v in state.items() if k.startswith("esm.")}
    folder.mkdir()
    save_file({**{prefix + key: value for key, value in encoder.items()}, **extra}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))


FOLDERS = {
    "model": ("", {"pooler.dense.weight": torch.ones(32, 32), "pooler.dense.bias": torch.ones(32)}),
    "sequences": ("esm.", {"classifier.dense.weight": torch.ones(32, 32), "classifier.out_proj.bias": torch.ones(2)}),
    "tokens": ("esm.", {"classifier.weight": torch.ones(3, 32), "classifier.bias": torch.ones(3)}),
}


@pytest.mark.parametrize("kind", FOLDERS)
@torch.no_grad()
def test_esm_folders_without_a_masked_head_give_the_same_hidden_states(kind, tmp_path):
    net = esm2(contacts=True)
    headless(tmp_path / kind, net, *FOLDERS[kind])
    loaded = load_esm2(tmp_path / kind)
    assert loaded.head is None and loaded.contact_head is not None
    assert torch.equal(loaded.hidden(Flat.pack([SEQUENCE])), net.hidden(Flat.pack([SEQUENCE])))
    with pytest.raises(CheckpointError, match=r"no head for masked tokens: set model\.head=false"):
        warm_start(esm2(), ProteinTokenizer(), tmp_path / kind)
    bare = esm2(head=False)
    warm_start(bare, ProteinTokenizer(), tmp_path / kind)
    assert torch.equal(bare.layers[1].up.weight, net.layers[1].up.weight)


@torch.no_grad()
def test_transformers_folders_without_a_masked_head_are_read(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.EsmConfig(**esm2_to_huggingface(esm2())[1], num_labels=3)
    tokens = torch.tensor([SEQUENCE])
    for name in ("EsmModel", "EsmForSequenceClassification", "EsmForTokenClassification"):
        torch.manual_seed(1)
        model = getattr(transformers, name)(config).eval()
        model.save_pretrained(tmp_path / name)
        encoder = getattr(model, "esm", model)
        expected = encoder(tokens, torch.ones_like(tokens)).last_hidden_state[0]
        hidden_states = load_esm2(tmp_path / name).eval().hidden(Flat.pack([SEQUENCE]))
        torch.testing.assert_close(hidden_states, expected, atol=1e-5, rtol=1e-5)


def test_classifier_heads_of_roberta_and_bart_are_not_loaded(tmp_path):
    for kind, extra in (("roberta", "classifier.weight"), ("bart", "classification_head.out_proj.weight")):
        make, save, load = KINDS[kind]
        net = make()
        save(net, tmp_path / kind)
        state = load_file(tmp_path / kind / "model.safetensors")
        save_file({**state, extra: torch.ones(2, 16)}, tmp_path / kind / "model.safetensors")
        assert same(load(tmp_path / kind), net)


def shuffled(folder, mask: int) -> list[str]:
    """Reorder the tokens of an ESM-2 folder: vocab.txt, embedding rows and the id of the mask token."""
    order = np.random.default_rng(0).permutation(len(TOKENS)).tolist()  # our id of each token of the folder
    state = load_file(folder / "model.safetensors")
    for name in ("esm.embeddings.word_embeddings.weight", "lm_head.bias"):
        state[name] = state[name][order].clone()
    save_file(state, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "mask_token_id": order.index(mask)}))
    return [TOKENS[number] for number in order]


@torch.no_grad()
def test_weights_are_reordered_to_another_vocabulary_order(tmp_path):
    net = esm2()
    save_esm2(net, tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(shuffled(tmp_path, mask=32)) + "\n")
    assert same(load_esm2(tmp_path), net)
    started = esm2()
    torch.nn.init.zeros_(started.tokens.weight)
    warm_start(started, ProteinTokenizer(), tmp_path)
    assert same(started, net)


def test_a_different_vocabulary_is_rejected(tmp_path):
    save_esm2(esm2(), tmp_path / "esm2")
    (tmp_path / "esm2" / "vocab.txt").write_text("\n".join(["<cls>", *TOKENS[1:-2], "J", "<mask>"]))
    with pytest.raises(CheckpointError, match=r"another vocabulary: '<null_1>' is in the vocabulary of the model"):
        load_esm2(tmp_path / "esm2")
    for kind in ("roberta", "bart"):
        make, save, _ = KINDS[kind]
        save(make(), tmp_path / kind)
        (tmp_path / kind / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(TOKENS)}))
        assert public_weights(make(), ProteinTokenizer(), tmp_path / kind)
        other = {token: i for i, token in enumerate([*TOKENS[:-1], "?"])}
        (tmp_path / kind / "vocab.json").write_text(json.dumps(other))
        with pytest.raises(CheckpointError, match="another vocabulary: '<mask>'"):
            public_weights(make(), ProteinTokenizer(), tmp_path / kind)
        turned = {token: i for i, token in enumerate(TOKENS[::-1])}
        (tmp_path / kind / "vocab.json").write_text(json.dumps(turned))
        embedding = public_weights(make(), ProteinTokenizer(), tmp_path / kind)["tokens.weight"]
        assert torch.equal(embedding, make().tokens.weight.flip(0))


def test_a_protein_model_with_another_tokenizer_is_rejected(tmp_path):
    save_esm2(esm2(), tmp_path)
    with pytest.raises(CheckpointError, match="reads proteins"):
        warm_start(esm2(), SmilesTokenizer(), tmp_path)


def chemistry(folder) -> Roberta:
    """A RoBERTa with the files of a byte-pair encoding whose tokens are the letters of SMILES."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"CNOScnos()=#123456[]+-@H/\\FPBrlI"]
    net = roberta(len(tokens))
    save_roberta(net, folder)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return net


@torch.no_grad()
def test_a_roberta_folder_embeds_molecules(tmp_path):
    net = chemistry(tmp_path / "weights")
    long = "C" * 60
    (tmp_path / "mols.csv").write_text(f"id,smiles\na,CCO\nb,{long}\nc,c1ccccc1Cl\n")
    words = [f"ckpt={tmp_path}/weights", f"input={tmp_path}/mols.csv", f"output={tmp_path}/out.parquet"]
    assert main(["embed", *words, "id_column=id", "trainer.precision=32-true"]) == 0
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["id"] for row in rows] == ["a", "b", "c"]
    assert "62 tokens including <cls> and <eos>, the model reads at most 38" in rows[1]["reason"]
    assert rows[1]["embedding"] is None
    expected = net.hidden(Flat.pack([[0, 5, 5, 7, 2]]))[1:-1].mean(0)
    np.testing.assert_allclose(rows[0]["embedding"], expected.numpy(), atol=1e-5)


def test_embed_warns_about_unknown_tokens_and_splits_by_atoms(tmp_path, capsys):
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "C", "N", "O", "Cl"]
    save_roberta(roberta(len(tokens)), tmp_path / "weights")
    (tmp_path / "weights" / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (tmp_path / "weights" / "merges.txt").write_text("")
    (tmp_path / "mols.csv").write_text("smiles\nCCO\nCCCl\nCCC\n")
    words = ["embed", f"ckpt={tmp_path}/weights", f"input={tmp_path}/mols.csv", f"output={tmp_path}/out.parquet"]
    vectors = {}
    for atoms in ("false", "true"):
        assert main([*words, f"atoms={atoms}"]) == 0
        assert ("1 of 3 molecules (33.3 %) hold what the vocabulary cannot spell" in capsys.readouterr().err) == (
            atoms == "false"
        )
        vectors[atoms] = [row["embedding"] for row in pq.read_table(tmp_path / "out.parquet").to_pylist()]
    assert vectors["false"][1] == vectors["false"][2], "without the l of Cl it is propane"
    assert vectors["true"][1] != vectors["true"][2]


def evaluated(tmp_path, *words: str) -> dict:
    assert main(["evaluate", "trainer.precision=32-true", f"hydra.run.dir={tmp_path}/run", *words]) == 0
    return json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]


def test_public_esm_weights_are_evaluated_on_a_whole_fasta_file(tmp_path):
    save_esm2(esm2(), tmp_path / "weights")
    (tmp_path / "new.fasta").write_text(PROTEINS)
    data = ["data=proteins", f"data.source.paths={tmp_path}/new.fasta", "data.validation_masking.ratio=0.5"]
    metrics = evaluated(tmp_path, f"ckpt={tmp_path}/weights", *data)
    split = json.loads((tmp_path / "run" / "split.json").read_text())
    assert split["sizes"] == {"all": 12}
    assert 100 < metrics["all/masked_tokens"] < 300, "half of 12 proteins with 20 to 64 residues"
    assert metrics["all/perplexity"] == pytest.approx(math.exp(metrics["all/loss"]))


def test_public_roberta_weights_are_evaluated_on_new_molecules(tmp_path):
    chemistry(tmp_path / "weights")
    (tmp_path / "new.smi").write_text("\n".join("C" * i + end for i in range(1, 9) for end in ("O", "N", "Cl")))
    data = ["data=molecules", f"data.source.paths={tmp_path}/new.smi", "data.max_length=30", "data.prepare_workers=1"]
    metrics = evaluated(tmp_path, f"ckpt={tmp_path}/weights", *data)
    assert metrics["all/masked_tokens"] > 20


def test_a_public_bart_is_evaluated_with_the_tokenizer_of_the_data(tmp_path):
    words = ["data=simulated_spectra", "data.source.molecules=60", "data.tokenizer.spectrum.max_peaks=10"]
    size = len(build(compose("train", words).data.tokenizer))
    torch.manual_seed(0)
    shape = {"encoder_layers": 1, "decoder_layers": 1, "encoder_heads": 2, "decoder_heads": 2, "encoder_ffn": 16}
    save_bart(Bart(vocab_size=size, d_model=16, decoder_ffn=16, max_positions=256, **shape), tmp_path / "bart")
    words += ["generator.num_samples=2", "generator.max_length=8", "baselines=false", f"paths.cache={tmp_path}/cache"]
    metrics = evaluated(tmp_path, f"ckpt={tmp_path}/bart", "split=test", *words)
    assert 0 <= metrics["test/validity"] <= 1


def test_unsupported_uses_of_public_weights_give_one_sentence(tmp_path, capsys):
    save_esm2(esm2(), tmp_path / "esm2")
    save_bart(bart(), tmp_path / "bart")
    headless(tmp_path / "bare", esm2(), *FOLDERS["model"])
    (tmp_path / "a.fasta").write_text(PROTEINS)
    data = ["data=proteins", f"data.source.paths={tmp_path}/a.fasta"]
    for words, sentence in (
        (["evaluate", f"ckpt={tmp_path}/esm2"], "which have no data: choose them with data=<choice>"),
        (["evaluate", f"ckpt={tmp_path}/bare", *data], "has no head for masked tokens"),
        (["embed", f"ckpt={tmp_path}/bart", f"input={tmp_path}/a.fasta", f"output={tmp_path}/o.parquet"], "is a BART"),
        (["predict", f"ckpt={tmp_path}/esm2", f"input={tmp_path}/a.fasta"], "fine-tune them"),
    ):
        assert main(words) == 1
        assert sentence in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="public weights, which were not trained on labels"):
        checkpoint_path(tmp_path / "esm2")
    with pytest.raises(ConfigError, match="has 33 tokens"):
        load_public(tmp_path / "bart", {"tokenizer": SmilesTokenizer().to_config()})


def test_a_folder_without_weights_gives_one_sentence(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor pytorch_model\.bin"):
        read_folder(tmp_path)
