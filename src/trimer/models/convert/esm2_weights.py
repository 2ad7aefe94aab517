"""Conversion of ESM2 weights to and from Hugging Face and fair-esm: the names change, the values stay the same.

Trimer concatenates the query, key and value projections, which the others store separately, stores the tied embedding
table once, and computes the rotary frequencies instead of reading them (stored ones may have been rounded to half
precision). Folders of `EsmModel` and of classifiers give a network without a head for masked tokens; the head of a
classifier and the pooler are not converted.
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
from trimer.models.convert.folders import check_finite, read_folder, reason_of, write_folder
from trimer.models.convert.key_tables import KeyTable, check_all_used, to_ours, to_theirs, weights_of
from trimer.models.convert.vocabularies import in_order, rows_of
from trimer.models.esm2 import LAYER_NORM_EPS, MASK, Esm2
from trimer.tokenizers.protein import ProteinTokenizer

# Module in Trimer -> modules in Hugging Face, in fair-esm. First inside, then outside of the layers.
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
BIASES = (("lm_head.bias", "lm_head.decoder.bias"), ("lm_head.bias",))  # the first is written, all of them are read
# Keys of older files, the pooler of `EsmModel`, the head of a classifier.
UNUSED = re.compile(
    r"inv_freq$|position_ids$|position_embeddings\.weight$|rotary_embeddings\.|^esm\.pooler\.|^classifier\."
)
HEADS = ("lm_head.", "classifier.")  # keys outside the encoder in Hugging Face folders
HUGGINGFACE, FAIR = 0, 1


def esm2_from_huggingface(
    state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Arguments and weights of `Esm2` from the state and configuration of a Hugging Face ESM-2.

    Accepts the states of `EsmForMaskedLM`, of the bare `EsmModel`, and of classifiers of sequences and tokens. Raises
    ConfigError for a configuration that `Esm2` does not support, CheckpointError for missing or unknown weights.
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
        raise ConfigError(f"mask_token_id={config.get('mask_token_id')} cannot be converted: it is {MASK} in Trimer")
    arguments = {
        "vocab_size": config["vocab_size"],
        "d_model": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "heads": config["num_attention_heads"],
        "ffn": config["intermediate_size"],
        "token_dropout": bool(config.get("token_dropout")),
        "init_std": config.get("initializer_range", 0.02),
    }
    if not any(key.startswith("esm.") for key in state):  # the bare `EsmModel`
        state = {key if key.startswith(HEADS) else f"esm.{key}": value for key, value in state.items()}
    return _ours(state, arguments, HUGGINGFACE)


def esm2_to_huggingface(net: Esm2) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and configuration of an equivalent `EsmForMaskedLM`, or of an `EsmModel` for a network without a head."""
    if net.token_dropout and abs(net.masked_share - 0.12) > 1e-9:
        raise ConfigError(
            f"model.masked_share={net.masked_share} cannot be converted: it is always 0.12 in transformers"
        )
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
    """Arguments and weights of `Esm2` from the state of a fair-esm `ESM2`, whose shape is inferred from the weights.

    The number of heads is inferred from the contact head; without one it is that of the published models: 20 up to a
    width of 1,280, and 40 above.
    """
    state = {re.sub(r"^(encoder\.sentence_encoder\.|encoder\.)", "", key): value for key, value in state.items()}
    try:
        vocab_size, d_model = state[TABLES[FAIR][0]].shape
        ffn = state["layers.0.fc1.weight"].shape[0]
    except KeyError as error:
        raise CheckpointError(f"these are not the weights of a fair-esm ESM2: they lack {error}") from error
    layers = 1 + max(int(match[1]) for match in (re.match(r"layers\.(\d+)\.", key) for key in state) if match)
    contact = state.get("contact_head.regression.weight")
    heads = contact.shape[1] // layers if contact is not None else 20 if d_model <= 1280 else 40
    arguments = {"vocab_size": vocab_size, "d_model": d_model, "layers": layers, "heads": heads, "ffn": ffn}
    return _ours(state, {**arguments, "token_dropout": token_dropout}, FAIR)


def esm2_to_fair(net: Esm2) -> dict[str, Tensor]:
    """State of an equivalent fair-esm `ESM2`, without the rotary frequencies, which fair-esm computes."""
    return _theirs(net, FAIR)


def load_esm2(path: str | Path) -> Esm2:
    """Load an ESM2 from a Hugging Face folder or a `.pt` file of fair-esm.

    A contact regression next to the `.pt` file is loaded too. If the vocabulary of a folder has another order of
    tokens, the rows of the weights are reordered.

    The files of fair-esm are pickles that contain an `argparse.Namespace` besides the tensors. They are read with
    `weights_only=True`, where this class is allowed because its objects cannot run code; any other object is an error.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        state, config = read_folder(path)
        rows = rows_of(ProteinTokenizer().vocabulary.tokens, path)
        if rows is not None:
            config = {**config, "mask_token_id": MASK}  # its id after the rows are reordered
        arguments, state = esm2_from_huggingface(state, config)
        state = in_order(state, rows)
    else:
        raw = _read_fair(path)
        state = dict(raw["model"]) if "model" in raw else dict(raw)
        contact_file = path.with_name(f"{path.stem}-contact-regression.pt")
        if contact_file.is_file():
            state |= _read_fair(contact_file)["model"]
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
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # other files raise errors of many types
        raise CheckpointError(f"{path} is not a fair-esm file that can be read safely ({reason_of(error)})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} contains a {type(content).__name__}, not the weights of an ESM2")
    return content


def _ours(
    state: Mapping[str, Tensor], arguments: dict[str, Any], side: int
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    unused = {key: value for key, value in state.items() if not UNUSED.search(key)}
    tables = [unused.pop(key) for key in TABLES[side] if key in unused]
    biases = [unused.pop(key) for key in BIASES[side] if key in unused]
    arguments["head"] = bool(biases) or any(key.startswith("lm_head.") for key in unused)
    if not tables or (arguments["head"] and not biases):
        raise CheckpointError(
            f"these weights lack {TABLES[side][0]} or {BIASES[side][0]}: they are not a complete ESM2"
        )
    if any(not torch.equal(table, tables[0]) for table in tables[1:]):
        raise ConfigError("the embedding tables of these weights differ: an ESM2 has one tied table")
    arguments["bias"] = f"{PREFIX[side]}0.{LAYER['up'][side][0]}.bias" in unused
    arguments["contacts"] = f"{OUTSIDE['contact_head'][side]}.weight" in unused
    converted = {"tokens.weight": tables[0], **({"head.bias": biases[0]} if biases else {})}
    table = _key_table(side, *(arguments[name] for name in ("layers", "bias", "contacts", "head")))
    converted |= to_ours(unused, table, "an ESM2")
    check_all_used(unused, "an ESM2")
    return arguments, converted


def _theirs(net: Esm2, side: int) -> dict[str, Tensor]:
    ours = net.state_dict()
    bias = net.layers[0].up.bias is not None
    head = net.head is not None
    state = to_theirs(ours, _key_table(side, len(net.layers), bias, net.contact_head is not None, head))
    if not bias:  # the other formats always have one
        for layer in range(len(net.layers)):
            for name in (*LAYER["query_key_value"][side], *LAYER["up"][side]):
                weight = state[f"{PREFIX[side]}{layer}.{name}.weight"]
                state[f"{PREFIX[side]}{layer}.{name}.bias"] = weight.new_zeros(len(weight))
    state |= {key: ours["tokens.weight"] for key in TABLES[side][: 1 + head]}
    return state | ({BIASES[side][0]: ours["head.bias"]} if head else {})


def _key_table(side: int, layers: int, bias: bool, contacts: bool, head: bool) -> KeyTable:
    """All weights except the tied table and the output bias, with their names in both formats."""
    table: KeyTable = []
    for layer in range(layers):
        for ours, theirs in LAYER.items():
            kinds = ["weight", "bias"] if bias or ours not in ("query_key_value", "up") else ["weight"]
            names = [f"{PREFIX[side]}{layer}.{name}" for name in theirs[side]]
            table += weights_of({f"layers.{layer}.{ours}": names}, kinds)
    present = {"contact_head": contacts, "norm": True}
    return table + weights_of({ours: [theirs[side]] for ours, theirs in OUTSIDE.items() if present.get(ours, head)})
