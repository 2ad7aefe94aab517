"""Conversion of BART weights to and from Hugging Face: the names change, the values stay the same.

Trimer concatenates the query, key and value projections, which Hugging Face stores separately, and stores the tied
embedding table once. Folders are those of `transformers`: `config.json` and `model.safetensors`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trimer.errors import CheckpointError, ConfigError
from trimer.models.bart import ACTIVATIONS, Bart
from trimer.models.convert.folders import read_folder, write_folder
from trimer.models.convert.key_tables import KeyTable, check_all_used, to_ours, to_theirs, weights_of

# Argument of `Bart` -> key of the Hugging Face configuration.
ARGUMENTS = {
    "vocab_size": "vocab_size",
    "d_model": "d_model",
    "encoder_layers": "encoder_layers",
    "decoder_layers": "decoder_layers",
    "encoder_heads": "encoder_attention_heads",
    "decoder_heads": "decoder_attention_heads",
    "encoder_ffn": "encoder_ffn_dim",
    "decoder_ffn": "decoder_ffn_dim",
    "max_positions": "max_position_embeddings",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
    "activation_dropout": "activation_dropout",
    "activation": "activation_function",
    "scale_embedding": "scale_embedding",
    "init_std": "init_std",
}

# Module in Trimer -> modules in Hugging Face whose rows it concatenates.
SIDE = {
    "embedding.positions": ["embed_positions"],
    "embedding.norm": ["layernorm_embedding"],
}
LAYER = {
    "self_attention.query_key_value": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "self_attention.output": ["self_attn.out_proj"],
    "self_attention_norm.norm": ["self_attn_layer_norm"],
    "cross_attention.query": ["encoder_attn.q_proj"],
    "cross_attention.key_value": ["encoder_attn.k_proj", "encoder_attn.v_proj"],
    "cross_attention.output": ["encoder_attn.out_proj"],
    "cross_attention_norm.norm": ["encoder_attn_layer_norm"],
    "feed_forward.up": ["fc1"],
    "feed_forward.down": ["fc2"],
    "feed_forward_norm.norm": ["final_layer_norm"],
}

UNUSED = re.compile(r"version$|^(classification_head|qa_outputs)\.")  # versions in the oldest files; heads of tasks
TIED = ("shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")


def bart_from_huggingface(
    state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Arguments and weights of `Bart` from the state and configuration of a Hugging Face BART.

    Accepts the states of `BartForConditionalGeneration`, of the bare `BartModel`, and of a classifier without its head.
    Raises ConfigError for a configuration that `Bart` does not support, CheckpointError for missing or unknown weights.
    """
    if not config.get("tie_word_embeddings", True):
        raise ConfigError("tie_word_embeddings=false cannot be converted: Trimer's BART has one tied embedding table")
    missing = [theirs for theirs in ARGUMENTS.values() if theirs not in config and theirs != "init_std"]
    if missing:
        raise ConfigError(f"this is not the configuration of a BART: it lacks {', '.join(missing)}")
    arguments = {ours: config[theirs] for ours, theirs in ARGUMENTS.items() if theirs in config}
    if arguments["activation"] not in ACTIVATIONS:
        raise ConfigError(f"activation_function={arguments['activation']} is not one of {', '.join(ACTIVATIONS)}")

    unused = {key.removeprefix("model."): value for key, value in state.items()}
    tables = [unused.pop(key) for key in TIED if key in unused]
    if not tables:
        raise CheckpointError("these are not the weights of a BART: they lack a token embedding (model.shared.weight)")
    if any(not torch.equal(table, tables[0]) for table in tables[1:]):
        raise ConfigError("the embedding tables of these weights differ: Trimer's BART has one tied table")
    converted = {"tokens.weight": tables[0]}
    bias = unused.pop("final_logits_bias", torch.zeros(1, arguments["vocab_size"]))
    converted["final_logits_bias"] = bias.reshape(-1).float()
    converted |= to_ours(unused, _key_table(arguments["encoder_layers"], arguments["decoder_layers"]), "a BART")
    check_all_used((key for key in unused if not UNUSED.search(key)), "a BART")
    return arguments, converted


def bart_to_huggingface(net: Bart) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and configuration of an equivalent `BartForConditionalGeneration`."""
    ours = net.state_dict()
    theirs = to_theirs(ours, _key_table(len(net.encoder), len(net.decoder)))
    state = {f"model.{name}": value for name, value in theirs.items()}
    for key in TIED:
        state[key if key == "lm_head.weight" else f"model.{key}"] = ours["tokens.weight"]
    state["final_logits_bias"] = ours["final_logits_bias"].reshape(1, -1).clone()
    config = {theirs: bart_arguments(net)[ours] for ours, theirs in ARGUMENTS.items()}
    fixed = {
        "model_type": "bart",
        "architectures": ["BartForConditionalGeneration"],
        "is_encoder_decoder": True,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "pad_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 0,  # targets begin with <s> in Trimer, with </s> in the models of Facebook
        "forced_eos_token_id": None,
    }
    return state, {**config, **fixed}


def bart_arguments(net: Bart) -> dict[str, Any]:
    """The arguments that build a network of this shape."""
    encoder, decoder = net.encoder[0], net.decoder[0]
    return {
        "vocab_size": net.vocab_size,
        "d_model": net.d_model,
        "encoder_layers": len(net.encoder),
        "decoder_layers": len(net.decoder),
        "encoder_heads": encoder.self_attention.heads,
        "decoder_heads": decoder.self_attention.heads,
        "encoder_ffn": encoder.feed_forward.up.out_features,
        "decoder_ffn": decoder.feed_forward.up.out_features,
        "max_positions": net.max_positions,
        "dropout": encoder.self_attention_norm.dropout,
        "attention_dropout": encoder.self_attention.dropout,
        "activation_dropout": encoder.feed_forward.dropout,
        "activation": net.activation,
        "scale_embedding": net.encoder_embedding.scale != 1.0,
        "init_std": net.init_std,
    }


def load_bart(folder: str | Path) -> Bart:
    """Read a Hugging Face BART folder (`config.json` with `model.safetensors` or `pytorch_model.bin`)."""
    arguments, state = bart_from_huggingface(*read_folder(folder))
    net = Bart(**arguments)
    net.load_state_dict(state)
    return net


def save_bart(net: Bart, folder: str | Path) -> Path:
    """Write a folder that `BartForConditionalGeneration.from_pretrained` reads; returns it."""
    state, config = bart_to_huggingface(net)
    unique = {key: value for key, value in state.items() if key.removeprefix("model.") not in TIED[1:]}
    return write_folder(folder, unique, config)


def _key_table(encoder_layers: int, decoder_layers: int) -> KeyTable:
    """All weights except the tied table and the output bias; names in Hugging Face are without `model.`."""
    table: KeyTable = []
    for side, layers in (("encoder", encoder_layers), ("decoder", decoder_layers)):
        for ours, theirs in SIDE.items():
            kinds = ["weight"] if ours.endswith("positions") else ["weight", "bias"]
            table += weights_of({f"{side}_{ours}": [f"{side}.{name}" for name in theirs]}, kinds)
        for layer in range(layers):
            table += weights_of(
                {
                    f"{side}.{layer}.{ours}": [f"{side}.layers.{layer}.{name}" for name in theirs]
                    for ours, theirs in LAYER.items()
                    if side == "decoder" or not ours.startswith("cross")
                }
            )
    return table
