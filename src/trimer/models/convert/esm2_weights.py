"""ESM2 weights to and from Hugging Face and fair-esm: same numbers, other names.

Ours joins the query, key and value projections that theirs keep apart, holds the tied embedding table once, and
computes the rotary frequencies instead of reading them (stored ones may have been rounded to half precision).
Folders of `EsmModel` and of classifiers have no head for masked tokens, and neither has our network then; the head of
a classifier and the pooler are left out.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trimer.errors import CheckpointError, ConfigError
from trimer.models.convert.folders import check_finite, read_folder, write_folder
from trimer.models.convert.key_tables import KeyTable, check_all_used, to_ours, to_theirs, weights_of
from trimer.models.convert.vocabularies import in_order, rows_of
from trimer.models.esm2 import LAYER_NORM_EPS, MASK, Esm2
from trimer.tokenizers.protein import ProteinTokenizer

# Ours -> Hugging Face, fair-esm. What a layer holds, then what stands outside; weights and biases alike.
LAYER = {
    "attention_norm": (["attention.LayerNorm"], ["self_attn_layer_norm"]),
    "query_key_value": (
        ["attention.self.query", "attention.self.key", "attention.self.value"],
        ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    ),
    "output": (["attention.output.dense"], ["self_attn.out_proj"]),
    "feed_forward_norm": (["LayerNorm"], ["final_layer_norm"]),
    "up": (["intermediate.dense"], ["fc1"]),
    "down": (["output.dense"], ["fc2"]),
}
OUTSIDE = {
    "norm": ("esm.encoder.emb_layer_norm_after", "emb_layer_norm_after"),
    "head.dense": ("lm_head.dense", "lm_head.dense"),
    "head.norm": ("lm_head.layer_norm", "lm_head.layer_norm"),
    "contact_head": ("esm.contact_head.regression", "contact_head.regression"),
}
PREFIX = ("esm.encoder.layer.", "layers.")
TABLES = (
    ("esm.embeddings.word_embeddings.weight", "lm_head.decoder.weight"),
    ("embed_tokens.weight", "lm_head.weight"),
)
BIASES = (("lm_head.bias", "lm_head.decoder.bias"), ("lm_head.bias",))  # the first is written, all are read
# Of older files; the pooler of `EsmModel`; the head of a classifier.
UNUSED = re.compile(
    r"inv_freq$|position_ids$|position_embeddings\.weight$|rotary_embeddings\.|^esm\.pooler\.|^classifier\."
)
HEADS = ("lm_head.", "classifier.")  # what stands outside of the encoder in the folders of Hugging Face
HUGGINGFACE, FAIR = 0, 1


def esm2_from_huggingface(
    state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Arguments and weights of our `Esm2` from the state and configuration of a Hugging Face ESM-2.

    Takes the states of `EsmForMaskedLM`, of the bare `EsmModel` and of the classifiers of sequences and tokens. Raises
    ConfigError for a configuration that ours cannot express, CheckpointError for weights that are missing or have no
    place.
    """
    fixed = {
        "model_type": "esm",
        "position_embedding_type": "rotary",
        "layer_norm_eps": LAYER_NORM_EPS,
        "emb_layer_norm_before": False,
        "is_folding_model": False,
    }
    for key, value in fixed.items():
        if (config.get(key) or False) != value:
            raise ConfigError(f"{key}={config.get(key)} in the configuration cannot be converted: an ESM2 has {value}")
    if config.get("token_dropout") and config.get("mask_token_id") != MASK:
        raise ConfigError(f"mask_token_id={config.get('mask_token_id')} cannot be converted: ours is {MASK}")
    arguments = {
        "vocab_size": config["vocab_size"],
        "d_model": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "ffn": config["intermediate_size"],
        "token_dropout": bool(config.get("token_dropout")),
        "init_std": config.get("initializer_range", 0.02),
    }
    if not any(key.startswith("esm.") for key in state):  # of the bare `EsmModel`
        state = {key if key.startswith(HEADS) else f"esm.{key}": value for key, value in state.items()}
    return _ours(state, arguments, HUGGINGFACE)


def esm2_to_huggingface(net: Esm2) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and configuration of an `EsmForMaskedLM` that computes what ours does; without a head, of an `EsmModel`."""
    if net.token_dropout and abs(net.masked_share - 0.12) > 1e-9:
        raise ConfigError(f"model.masked_share={net.masked_share} has no place in an EsmConfig, which means 0.12")
    block = net.layers[0]
    config = {
        "architectures": ["EsmForMaskedLM" if net.head is not None else "EsmModel"],
        "model_type": "esm",
        "vocab_size": net.vocab_size,
        "hidden_size": net.d_model,
        "num_hidden_layers": len(net.layers),
        "num_attention_heads": net.heads,
        "intermediate_size": block.up.out_features,
        "token_dropout": net.token_dropout,
        "initializer_range": net.init_std,
        "layer_norm_eps": LAYER_NORM_EPS,
        "position_embedding_type": "rotary",
        "emb_layer_norm_before": False,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": 1026,
        "mask_token_id": MASK,
        "pad_token_id": 1,
        "tie_word_embeddings": True,
    }
    return _theirs(net, HUGGINGFACE), config


def esm2_from_fair(state: Mapping[str, Tensor], token_dropout: bool = True) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Arguments and weights of our `Esm2` from the state of a fair-esm `ESM2`; its shape is read off the weights.

    The number of heads is not: it comes from the contact head, or is 20 up to 1,280 wide and 40 above, as published.
    """
    left = {re.sub(r"^(encoder\.sentence_encoder\.|encoder\.)", "", key): value for key, value in state.items()}
    try:
        vocab_size, d_model = left[TABLES[FAIR][0]].shape
        ffn = left["layers.0.fc1.weight"].shape[0]
    except KeyError as error:
        raise CheckpointError(f"these weights are not those of a fair-esm ESM2: they lack {error}") from error
    layers = 1 + max(int(match[1]) for match in (re.match(r"layers\.(\d+)\.", key) for key in left) if match)
    contact = left.get("contact_head.regression.weight")
    heads = contact.shape[1] // layers if contact is not None else 20 if d_model <= 1280 else 40
    arguments = {"vocab_size": vocab_size, "d_model": d_model, "layers": layers, "heads": heads, "ffn": ffn}
    return _ours(left, {**arguments, "token_dropout": token_dropout}, FAIR)


def esm2_to_fair(net: Esm2) -> dict[str, Tensor]:
    """State of a fair-esm `ESM2` that computes what ours does; its rotary frequencies are its own to compute."""
    return _theirs(net, FAIR)


def load_esm2(path: str | Path) -> Esm2:
    """An ESM2 from a Hugging Face folder, or from a `.pt` file of fair-esm, with its contact regression if beside it.

    Where the vocabulary of a folder has the tokens in another order, the rows of the weights are put into ours.

    The files of fair-esm are pickles that hold an `argparse.Namespace` beside the tensors. They are read with
    `weights_only=True` and that one class allowed: its objects hold settings and run no code; anything else is refused.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        state, config = read_folder(path)
        rows = rows_of(ProteinTokenizer().vocabulary.tokens, path)
        if rows is not None:
            config = {**config, "mask_token_id": MASK}  # as it is called after the rows have changed places
        arguments, state = esm2_from_huggingface(state, config)
        state = in_order(state, rows)
    else:
        raw = _read_fair(path)
        state = dict(raw["model"]) if "model" in raw else dict(raw)
        beside = path.with_name(f"{path.stem}-contact-regression.pt")
        if beside.is_file():
            state |= _read_fair(beside)["model"]
        check_finite(state, path)
        settings = (raw.get("cfg") or {}).get("model") or raw.get("args")
        arguments, state = esm2_from_fair(state, bool(getattr(settings, "token_dropout", True)))
        heads = getattr(settings, "encoder_attention_heads", None) or getattr(settings, "attention_heads", None)
        arguments["heads"] = int(heads or arguments["heads"])
    net = Esm2(**arguments)
    net.load_state_dict(state)
    return net


def save_esm2(net: Esm2, folder: str | Path) -> Path:
    """Write a folder that `EsmForMaskedLM.from_pretrained` reads; returns it."""
    state, config = esm2_to_huggingface(net)
    return write_folder(folder, {key: value for key, value in state.items() if key != TABLES[HUGGINGFACE][1]}, config)


def _read_fair(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file or folder")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} is no file of fair-esm that can be read safely ({reason})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} holds a {type(found).__name__}, not the weights of an ESM2")
    return found


def _ours(
    state: Mapping[str, Tensor], arguments: dict[str, Any], side: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    left = {key: value for key, value in state.items() if not UNUSED.search(key)}
    tables = [left.pop(key) for key in TABLES[side] if key in left]
    biases = [left.pop(key) for key in BIASES[side] if key in left]
    arguments["head"] = bool(biases) or any(key.startswith("lm_head.") for key in left)
    if not tables or (arguments["head"] and not biases):
        raise CheckpointError(f"these weights lack {TABLES[side][0]} or {BIASES[side][0]}: they are not a whole ESM2")
    if any(not torch.equal(table, tables[0]) for table in tables[1:]):
        raise ConfigError("the embedding tables of these weights differ: an ESM2 has one table, tied")
    arguments["bias"] = f"{PREFIX[side]}0.{LAYER['up'][side][0]}.bias" in left
    arguments["contacts"] = f"{OUTSIDE['contact_head'][side]}.weight" in left
    converted = {"tokens.weight": tables[0], **({"head.bias": biases[0]} if biases else {})}
    table = _key_table(side, *(arguments[name] for name in ("layers", "bias", "contacts", "head")))
    converted |= to_ours(left, table, "an ESM2")
    check_all_used(left, "an ESM2")
    return arguments, converted


def _theirs(net: Esm2, side: int) -> dict[str, Tensor]:
    ours = net.state_dict()
    bias = net.layers[0].up.bias is not None
    head = net.head is not None
    state = to_theirs(ours, _key_table(side, len(net.layers), bias, net.contact_head is not None, head))
    if not bias:  # theirs always have one
        for layer in range(len(net.layers)):
            for name in (*LAYER["query_key_value"][side], *LAYER["up"][side]):
                weight = state[f"{PREFIX[side]}{layer}.{name}.weight"]
                state[f"{PREFIX[side]}{layer}.{name}.bias"] = weight.new_zeros(len(weight))
    state |= {key: ours["tokens.weight"] for key in TABLES[side][: 1 + head]}
    return state | ({BIASES[side][0]: ours["head.bias"]} if head else {})


def _key_table(side: int, layers: int, bias: bool, contacts: bool, head: bool) -> KeyTable:
    """Every weight but the tied table and the bias over it: our name, and theirs."""
    table: KeyTable = []
    for layer in range(layers):
        for ours, theirs in LAYER.items():
            kinds = ["weight", "bias"] if bias or ours not in ("query_key_value", "up") else ["weight"]
            names = [f"{PREFIX[side]}{layer}.{name}" for name in theirs[side]]
            table += weights_of({f"layers.{layer}.{ours}": names}, kinds)
    present = {"contact_head": contacts, "norm": True}
    return table + weights_of({ours: [theirs[side]] for ours, theirs in OUTSIDE.items() if present.get(ours, head)})
