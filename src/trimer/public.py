"""Public weights: folders of Hugging Face (ESM-2, RoBERTa, BART) and `.pt` files of fair-esm.

They have no checkpoint contract, so it is derived here from their files.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from trimer.checkpoint import FORMAT, Loaded, check_hyperparameters
from trimer.errors import CheckpointError, ConfigError
from trimer.models.bart import Bart
from trimer.models.convert.bart_weights import load_bart
from trimer.models.convert.esm2_weights import load_esm2
from trimer.models.convert.folders import read_config
from trimer.models.convert.roberta_weights import load_roberta
from trimer.models.convert.vocabularies import in_order, rows_of
from trimer.models.esm2 import Esm2
from trimer.models.roberta import Roberta
from trimer.renames import STUDIES

KNOWN = "BART, ESM2 and RoBERTa"
MASKED_LM = "trimer.tasks.masked_lm.MaskedLM"
SEQ2SEQ = "trimer.tasks.seq2seq.Seq2Seq"


def is_public(path: str | Path) -> bool:
    """Whether a path names a Hugging Face folder or a `.pt` file of fair-esm."""
    path = Path(path).expanduser()
    return (path / "config.json").is_file() or path.suffix == ".pt"


def public_weights(net: nn.Module, tokenizer, path: str | Path) -> dict[str, torch.Tensor]:
    """The weights of a Hugging Face folder or of fair-esm under Trimer's names, for a network of that architecture.

    tokenizer: of the network; None skips the check of the vocabulary. CheckpointError if the vocabularies differ.
    """
    path = Path(path).expanduser()
    if isinstance(net, Esm2):
        public: Any = load_esm2(path)  # rows in the order of ESM's vocabulary
        _check_proteins(tokenizer, path)
        state, rows = public.state_dict(), None
    elif isinstance(net, Bart | Roberta):
        public = load_bart(path) if isinstance(net, Bart) else load_roberta(path)
        state, rows = public.state_dict(), None if tokenizer is None else rows_of(tokenizer.vocabulary.tokens, path)
    else:
        raise CheckpointError(f"ckpt={path}: public weights are known for {KNOWN}, not for {type(net).__name__}")
    if isinstance(net, Bart):
        return in_order(state, rows)
    check_hyperparameters(net, vars(public), path)
    if net.head is not None and public.head is None:
        raise CheckpointError(f"ckpt={path} has no head for masked tokens: set model.head=false")
    unused = ["head."] * (net.head is None) + ["contact_head."] * (getattr(net, "contact_head", None) is None)
    return in_order({key: value for key, value in state.items() if not key.startswith(tuple(unused))}, rows)


def _check_proteins(tokenizer, path: Path) -> None:
    from trimer.tokenizers.protein import ProteinTokenizer

    if tokenizer is not None and tokenizer.vocabulary.tokens != ProteinTokenizer().vocabulary.tokens:
        raise CheckpointError(f"ckpt={path} reads proteins: set data/tokenizer=protein")


def load_public(path: str | Path, data: Mapping[str, Any] | None = None, atoms: bool = False) -> Loaded:
    """Network, tokenizer and contract of public weights, in evaluation mode.

    The `data` of the contract hold only the `entity` that the weights read, no source. data: settings of the data to
    read; required for a BART, which uses their tokenizer. atoms: a RoBERTa splits SMILES by atoms.
    """
    from trimer.tokenizers.bpe import BytePairTokenizer
    from trimer.tokenizers.protein import ProteinTokenizer

    path = Path(path).expanduser()
    kind = read_config(path).get("model_type") if path.is_dir() else "esm"
    if atoms and kind != "roberta":
        raise ConfigError(f"atoms=true is for a public RoBERTa of SMILES, and {path} is not one: remove atoms=true")
    if kind == "esm":
        net: nn.Module = load_esm2(path)
        tokenizer: Any = ProteinTokenizer()
        entity, task = "proteins", MASKED_LM
    elif kind == "roberta":
        net = load_roberta(path)
        tokenizer, entity, task = BytePairTokenizer(path, atoms=atoms), "molecules", MASKED_LM
    elif kind == "bart":
        net, tokenizer = _load_bart(path, data)
        entity, task = "spectra", SEQ2SEQ
    else:
        raise CheckpointError(f"ckpt={path}: public weights are known for {KNOWN}, not for model_type={kind}")
    contract = {
        "format": FORMAT,
        "kind": task,
        "study": STUDIES[task],
        "model": {},
        "task": {"_target_": task},
        "data": {"entity": entity},
        "tokenizer": tokenizer.to_config(),
        "vocabulary": list(tokenizer.vocabulary.tokens),
    }
    return Loaded(net.eval(), tokenizer, contract, path)


def _load_bart(path: Path, data: Mapping[str, Any] | None):
    from trimer.building import build

    if not data or "tokenizer" not in data:
        raise CheckpointError(
            f"ckpt={path} is a BART, which needs the tokenizer of the data it reads and has no embeddings: use it with "
            "trimer train or trimer evaluate, data=<choice>"
        )
    tokenizer = build(data["tokenizer"])
    net = load_bart(path)
    if net.vocab_size != len(tokenizer):
        raise ConfigError(
            f"ckpt={path} has {net.vocab_size:,} tokens, data.tokenizer has {len(tokenizer):,}: set data.tokenizer "
            "as in the training of these weights"
        )
    net.load_state_dict(in_order(net.state_dict(), rows_of(tokenizer.vocabulary.tokens, path)))
    return net, tokenizer
