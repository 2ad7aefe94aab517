"""The folders of all formats: their files, cards, and what Trimer and other programs read from them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import trimer
from trimer.cli.main import main
from trimer.models.convert.esm2_weights import save_esm2
from trimer.models.esm2 import Esm2
from trimer.peptides.channels import channels_of, possible
from trimer.peptides.conditions import condition_vectors
from trimer.peptides.proforma import read_proforma
from trimer.pretrained.registry import shipped

PEPTIDES = ["PEPTIDEK", "LM[Oxidation]SALAR"]


def test_a_packed_model_is_exported_as_it_is(empty_folder, capsys):
    assert main(["export", "ckpt=peptide-rt", "format=safetensors", "output=rt"]) == 0
    assert "weights.safetensors" in capsys.readouterr().out
    for file in shipped("peptide-rt").iterdir():
        assert (empty_folder / "rt" / file.name).read_bytes() == file.read_bytes()
    assert main(["export", "ckpt=peptide-rt", "output=rt"]) == 1
    assert "output=rt exists already: name another folder" in capsys.readouterr().err


def test_a_torch_program_predicts_retention_times(empty_folder, fp32):
    """From the interface alone: ids by the vocabulary, and the atoms of modifications."""
    assert main(["export", "ckpt=peptide-rt", "format=torch", "output=rt"]) == 0
    assert {path.name for path in (empty_folder / "rt").iterdir()} >= {"model.pt2", "interface.json", "README.md"}
    interface = json.loads((empty_folder / "rt" / "interface.json").read_text())
    assert list(interface["inputs"]) == ["input_ids", "attention_mask", "composition"]
    ids, elements = interface["vocabulary"], interface["inputs"]["composition"]["elements"]
    first, last = interface["special_tokens"]["cls"], interface["special_tokens"]["eos"]
    rows = [[first, *(ids[letter] for letter in peptide), last] for peptide in ("PEPTIDEK", "LMSALAR")]
    padded = torch.zeros(2, 10, dtype=torch.int64)
    mask, composition = torch.zeros(2, 10, dtype=torch.int64), torch.zeros(2, 10, len(elements))
    for number, row in enumerate(rows):
        padded[number, : len(row)], mask[number, : len(row)] = torch.tensor(row), 1
    composition[1, 2, elements.index("O")] = 1
    program = torch.export.load(empty_folder / "rt" / "model.pt2").module()
    (predictions,) = program(padded, mask, composition)
    expected = [row[interface["columns"][0]] for row in trimer.predict("peptide-rt", PEPTIDES).rows]
    assert predictions[:, 0].tolist() == pytest.approx(expected, rel=1e-4)


def test_a_torch_program_predicts_fragments(empty_folder, fp32):
    """From the interface alone; which fragments can exist comes from `trimer.peptides.channels`."""
    assert main(["export", "ckpt=peptide-ms2", "format=torch", "output=ms2"]) == 0
    interface = json.loads((empty_folder / "ms2" / "interface.json").read_text())
    assert interface["outputs"] == ["intensities"]
    ids, roles = interface["vocabulary"], interface["special_tokens"]
    row = torch.tensor([[roles["cls"], *(ids[letter] for letter in "PEPTIDEK"), roles["eos"], 9]])
    mask = torch.tensor([[1] * 10 + [0]])
    values = [row, mask, torch.zeros(1, 11, len(interface["inputs"]["composition"]["elements"]))]
    names = interface["inputs"]["conditions"]["columns"]
    known = {"charge 2": 1.0, "collision energy / 100": 0.27, "collision energy is known": 1.0}
    assert set(known) <= set(names)
    conditions = condition_vectors(np.array([2]), np.array([27.0]), ["QE"])
    assert [conditions[0, names.index(name)].item() for name in known] == pytest.approx(list(known.values()))
    channels = channels_of(interface["columns"])
    can_exist = torch.zeros(1, 11, len(channels), dtype=torch.int64)
    can_exist[0, 1:8] = torch.from_numpy(possible(read_proforma("PEPTIDEK"), 2, channels).astype(np.int64))
    program = torch.export.load(empty_folder / "ms2" / "model.pt2").module()
    (intensities,) = program(*values, torch.as_tensor(conditions), can_exist)
    record = {"sequence": ["PEPTIDEK"], "charge": ["2"], "nce": ["27"], "instrument": ["QE"]}
    (expected,) = trimer.predict("peptide-ms2", record).rows
    assert intensities[0, 1:8].detach().numpy() == pytest.approx(np.array(expected["intensities"]), abs=1e-4)


def test_a_hugging_face_folder_has_card_handler_and_packed_model(empty_folder, capsys):
    torch.manual_seed(0)
    save_esm2(Esm2(d_model=16, layers=1, heads=2), empty_folder / "public")
    assert main(["export", "ckpt=public", "output=out"]) == 0
    out = empty_folder / "out"
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    tokenizer = {"tokenizer.json", "tokenizer_config.json", "vocab.txt"}
    assert names == tokenizer | {"config.json", "model.safetensors", "README.md", "handler.py", "requirements.txt"}
    card = (out / "README.md").read_text()
    assert "pipeline_tag: fill-mask" in card and "EsmForMaskedLM.from_pretrained" in card
    assert card.startswith("---\nlicense: ") and "\n# out\n" in card
    first, second = (trimer.embed(empty_folder / name, ["MKTAYIAK"]).vectors[0] for name in ("public", "out"))
    assert (first == second).all()
    assert main(["export", "ckpt=public", "format=safetensors", "output=packed"]) == 1
    assert "is a folder of public weights already" in capsys.readouterr().err


def test_what_cannot_be_exported_is_one_sentence(empty_folder, capsys):
    for words, sentence in (
        (["ckpt=peptide-rt"], "transformers has no class for a head on a PeptideEncoder: use format=torch"),
        (["ckpt=spectrums", "format=torch"], "model=Bart is not an encoder"),
        (["ckpt=peptide-rt", "format=gguf"], "format=gguf must be one of huggingface, safetensors, torch, onnx"),
    ):
        assert main(["export", *words, "output=out"]) == 1
        assert sentence in " ".join(capsys.readouterr().err.split())
        assert not (empty_folder / "out").exists()
