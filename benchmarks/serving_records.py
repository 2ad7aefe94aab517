"""Records and models of the benchmarks of the server: the shipped examples, shipped models, and random weights.

The time of a prediction does not depend on the values of the weights, so a model of a real size with random weights
stands for a trained one where Trimer ships none.
"""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from serving_process import environment, trimer

from trimer.data.labelled.sequence_files import read_sequences
from trimer.data.spectra.readers import read_spectra
from trimer.examples import example
from trimer.serving.served_cards import FIELDS, value_of

PROTEIN_MODEL = {  # the shape of ESM2 8M
    "hidden_size": 320, "num_hidden_layers": 6, "num_attention_heads": 20, "intermediate_size": 1280, "vocab_size": 33,
    "max_position_embeddings": 1026, "position_embedding_type": "rotary", "emb_layer_norm_before": False,
    "token_dropout": True, "mask_token_id": 32, "pad_token_id": 1,
}  # fmt: skip


def peptides(count: int, seed: int = 0) -> list[str]:
    """Different peptides: the shipped examples with shuffled inner residues."""
    with example("peptides").open(encoding="utf-8", newline="") as stream:
        texts = [row["sequence"] for row in csv.DictReader(stream)]
    rng = np.random.default_rng(seed)
    inner = [list(rng.permutation(list(texts[number % len(texts)])[:-1])) for number in range(count)]
    return ["".join(part) + texts[number % len(texts)][-1] for number, part in enumerate(inner)]


def molecules(count: int) -> list[str]:
    """SMILES of the shipped examples, repeated."""
    texts = read_sequences(example("molecules"), "molecules").texts
    return [texts[number % len(texts)] for number in range(count)]


def proteins(count: int) -> list[str]:
    """Sequences of the shipped examples, repeated."""
    texts = read_sequences(example("proteins"), "proteins").texts
    return [texts[number % len(texts)] for number in range(count)]


def spectra(count: int) -> list[dict[str, Any]]:
    """Spectra of the shipped examples as JSON objects, repeated; `id` is their number."""
    table = read_spectra(example("spectra"))
    rows = []
    for number in range(count):
        row = number % len(table)
        mz, intensity = table.peaks(row)
        fields = {name: value_of(table[name][row]) for name in FIELDS if name in table.columns}
        fields = {name: value for name, value in fields.items() if value is not None}
        rows.append({**fields, "id": str(number), "mz": mz.tolist(), "intensity": intensity.tolist()})
    return rows


def molecule_classifier(folder: Path) -> Path:
    """The run folder of a small classifier of molecules, trained for two steps on the shipped examples."""
    run = folder / "kinds"
    if not run.is_dir():
        words = [
            "train", "data=labelled_molecules", f"data.source.paths={example('molecules')}",
            "data.source.labels=superclass", "data.target=single", "task=classification", "model=roberta_nano",
            "trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.enable_progress_bar=false",
            "baselines=false", "test=false", "name=kinds", f"hydra.run.dir={run}",
        ]  # fmt: skip
        subprocess.run(trimer(*words), check=True, env=environment(folder), cwd=folder)
    return run


def protein_encoder(folder: Path) -> Path:
    """A Hugging Face folder of a masked language model of proteins of the shape of ESM2 8M, with random weights."""
    path = folder / "esm2-8m"
    if not path.is_dir():
        import torch
        from transformers import EsmConfig, EsmForMaskedLM, EsmTokenizer

        from trimer.tokenizers.protein import ProteinTokenizer

        torch.manual_seed(0)
        path.mkdir(parents=True)
        (path / "vocab.txt").write_text("\n".join(ProteinTokenizer().vocabulary.tokens))
        EsmTokenizer(str(path / "vocab.txt")).save_pretrained(path)
        EsmForMaskedLM(EsmConfig(**PROTEIN_MODEL, layer_norm_eps=1e-5)).save_pretrained(path)
    return path
