"""Conversion of RoBERTa weights to and from Hugging Face, such as ChemBERTa: names change, values stay the same.

Trimer concatenates the query, key and value projections, which Hugging Face stores separately, and stores the tied
embedding table once. Optional in a file are the tied tensors of the head (`lm_head.decoder.*`, which safetensors omit),
the position numbers, the pooler, which masked training never reaches, and the head of a task. All other weights are
required, and unknown ones are errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trimer.errors import CheckpointError, ConfigError
from trimer.models.convert.folders import read_folder, write_folder
from trimer.models.convert.key_tables import KeyTable, check_all_used, to_ours, to_theirs, weights_of
from trimer.models.roberta import Roberta

# Argument of `Roberta` -> key of the Hugging Face configuration, and its default (None: the key is required).
ARGUMENTS: dict[str, tuple[str, Any]] = {
    "vocab_size": ("vocab_size", None),
    "d_model": ("hidden_size", None),
    "layers": ("num_hidden_layers", None),
    "heads": ("num_attention_heads", None),
    "ffn": ("intermediate_size", None),
    "max_positions": ("max_position_embeddings", None),
    "pad": ("pad_token_id", 1),
    "eps": ("layer_norm_eps", 1e-12),
    "dropout": ("hidden_dropout_prob", 0.1),
    "attention_dropout": ("attention_probs_dropout_prob", 0.1),
    "init_std": ("initializer_range", 0.02),
}
FIXED = {  # the only supported values
    "model_type": "roberta",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "type_vocab_size": 1,
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}

# Module in Trimer -> modules in Hugging Face whose rows it concatenates.
LAYER = {
    "query_key_value": ["attention.self.query", "attention.self.key", "attention.self.value"],
    "output": ["attention.output.dense"],
    "attention_norm": ["attention.output.LayerNorm"],
    "up": ["intermediate.dense"],
    "down": ["output.dense"],
    "feed_forward_norm": ["output.LayerNorm"],
}
TABLES = {"positions": "embeddings.position_embeddings", "token_type": "embeddings.token_type_embeddings"}
TOKENS = "embeddings.word_embeddings.weight"
NORM = "embeddings.LayerNorm"
HEAD = {"head.dense": "lm_head.dense", "head.norm": "lm_head.layer_norm"}
BIAS, TIED_TABLE, TIED_BIAS = "lm_head.bias", "lm_head.decoder.weight", "lm_head.decoder.bias"
UNUSED = re.compile(
    r"(embeddings\.(position_ids|token_type_ids)|pooler\.dense\.(weight|bias)|(classifier|qa_outputs)\.(weight|bias))$"
)
# The head of a task: of `RobertaForSequenceClassification`, and of ChemBERTa-2 trained on descriptors, which also has
# the mean and standard deviation of each descriptor.
TASK = re.compile(r"(?:classifier|regression)\.((?:dense|out_proj)\.(?:weight|bias))|(norm_mean|norm_std)")
TASK_KEYS = ("dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias")


def roberta_from_huggingface(
    state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Arguments and weights of `Roberta` from the state and configuration of a Hugging Face RoBERTa.

    Accepts the states of `RobertaForMaskedLM`, of the bare `RobertaModel`, and of classifiers of sequences and tokens.
    A state without a head for masked tokens gives a network without one (argument `head` is False). The head of a task
    is not converted here: see `roberta_task_head`. Raises ConfigError for a configuration that `Roberta` does not
    support, CheckpointError for missing or unknown weights.
    """
    for key, supported in FIXED.items():
        value = config.get(key, supported)
        if value is not None and value != supported:
            raise ConfigError(f"{key}={value} in the configuration cannot be converted: Trimer supports {supported}")
    missing = [theirs for theirs, default in ARGUMENTS.values() if default is None and theirs not in config]
    if missing:
        raise ConfigError(f"this is not the configuration of a RoBERTa: it lacks {', '.join(missing)}")
    arguments = {ours: config.get(theirs, default) for ours, (theirs, default) in ARGUMENTS.items()}

    unused = {key.removeprefix("roberta."): value for key, value in state.items()}
    unused = {key: value for key, value in unused.items() if not UNUSED.fullmatch(key) and not TASK.fullmatch(key)}
    arguments["head"] = any(key.startswith("lm_head.") for key in unused)
    converted = {}
    for ours, first, second in (("tokens.weight", TOKENS, TIED_TABLE), ("head.bias", BIAS, TIED_BIAS)):
        copies = [unused.pop(key) for key in (first, second) if key in unused]
        if not copies and (ours == "tokens.weight" or arguments["head"]):
            raise CheckpointError(f"these weights lack {first}: they are not a complete RoBERTa")
        if any(not torch.equal(copy, copies[0]) for copy in copies[1:]):
            raise ConfigError(f"{first} and {second} of these weights differ: Trimer's RoBERTa has them tied")
        if copies:
            converted[ours] = copies[0]
    converted |= to_ours(unused, _key_table(arguments["layers"], arguments["head"]), "a RoBERTa")
    check_all_used(unused, "a RoBERTa")
    return arguments, converted


def roberta_task_head(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The head of a task in the state of a Hugging Face RoBERTa: out_proj(tanh(dense(hidden state of `<s>`))).

    Keys: `dense.weight` (D, D), `dense.bias`, `out_proj.weight` (outputs, D) and `out_proj.bias`; for ChemBERTa-2
    trained on descriptors also `norm_mean` and `norm_std` (outputs,), by which its predictions are scaled back. Empty
    without such a head. CheckpointError for an incomplete head.
    """
    matches = ((TASK.fullmatch(key), value) for key, value in state.items())
    head = {match[1] or match[2]: value for match, value in matches if match}
    missing = [key for key in TASK_KEYS if key not in head] if head else []
    if missing:
        raise CheckpointError(f"the head of a task in these weights lacks {', '.join(missing)}: the file is incomplete")
    return head


def roberta_to_huggingface(
    net: Roberta, task_head: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and configuration of an equivalent `RobertaForMaskedLM`.

    With a task head, as `roberta_task_head` returns it, of a `RobertaForSequenceClassification`; without any head, of
    the bare `RobertaModel`.
    """
    ours = net.state_dict()
    if task_head is not None:
        kind = "RobertaForSequenceClassification"
    else:
        kind = "RobertaModel" if net.head is None else "RobertaForMaskedLM"
    masked = kind == "RobertaForMaskedLM"
    prefix = "" if kind == "RobertaModel" else "roberta."
    state = {f"{prefix}{TOKENS}": ours["tokens.weight"]}
    for name, value in to_theirs(ours, _key_table(len(net.layers), masked)).items():
        state[name if name.startswith("lm_head.") else f"{prefix}{name}"] = value
    if masked:
        state |= {TIED_TABLE: ours["tokens.weight"], BIAS: ours["head.bias"], TIED_BIAS: ours["head.bias"]}
    config = {theirs: roberta_arguments(net)[ours] for ours, (theirs, _) in ARGUMENTS.items()}
    config |= {**FIXED, "architectures": [kind]}
    if task_head is not None:
        state |= {f"classifier.{key}": task_head[key].clone() for key in TASK_KEYS}
        config["id2label"] = {str(i): f"LABEL_{i}" for i in range(len(task_head["out_proj.bias"]))}
        config["label2id"] = {name: int(i) for i, name in config["id2label"].items()}
    return state, config


def roberta_arguments(net: Roberta) -> dict[str, Any]:
    """The arguments that build a network of this shape."""
    return {
        "vocab_size": net.vocab_size,
        "d_model": net.d_model,
        "layers": len(net.layers),
        "heads": net.heads,
        "ffn": net.layers[0].up.out_features,
        "max_positions": net.max_positions,
        "pad": net.pad,
        "eps": net.eps,
        "dropout": net.dropout,
        "attention_dropout": net.attention_dropout,
        "head": net.head is not None,
        "init_std": net.init_std,
    }


def load_roberta(folder: str | Path) -> Roberta:
    """Read a Hugging Face RoBERTa folder (`config.json` with `model.safetensors` or `pytorch_model.bin`)."""
    arguments, state = roberta_from_huggingface(*read_folder(folder))
    net = Roberta(**arguments)
    net.load_state_dict(state)
    return net


def save_roberta(net: Roberta, folder: str | Path, task_head: Mapping[str, Tensor] | None = None) -> Path:
    """Write a folder for `from_pretrained` of the class that `roberta_to_huggingface` chooses; returns it."""
    state, config = roberta_to_huggingface(net, task_head)
    return write_folder(
        folder, {key: value for key, value in state.items() if key not in (TIED_TABLE, TIED_BIAS)}, config
    )


def _key_table(layers: int, head: bool) -> KeyTable:
    """All weights except the tied table and bias; names in Hugging Face are without `roberta.`."""
    modules = {"embedding_norm": [NORM]}
    for layer in range(layers):
        for ours, theirs in LAYER.items():
            modules[f"layers.{layer}.{ours}"] = [f"encoder.layer.{layer}.{name}" for name in theirs]
    if head:
        modules |= {ours: [theirs] for ours, theirs in HEAD.items()}
    return weights_of({ours: [theirs] for ours, theirs in TABLES.items()}, ["weight"]) + weights_of(modules)
