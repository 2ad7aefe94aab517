"""RoBERTa weights to and from Hugging Face, those of ChemBERTa among them: same numbers, other names.

Ours joins the query, key and value projections that theirs keep apart, and holds the tied embedding table once.
What a file may hold or lack: the tied tensors of the head (`lm_head.decoder.*`, which safetensors omit), the list of
position numbers, the pooler, which masking never trains, and the head of a task. All else has to be there, and nothing
more.
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

# Our argument -> key of the Hugging Face configuration, and what its absence means (None: it has to be there).
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
FIXED = {  # what ours can be
    "model_type": "roberta",
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "type_vocab_size": 1,
    "is_decoder": False,
    "add_cross_attention": False,
    "tie_word_embeddings": True,
}

# Our module -> theirs, whose rows are ours laid one below the other.
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
# The head of a task: of `RobertaForSequenceClassification`, and of the ChemBERTa-2 that learned descriptors, which also
# keeps the mean and deviation of each descriptor.
TASK = re.compile(r"(?:classifier|regression)\.((?:dense|out_proj)\.(?:weight|bias))|(norm_mean|norm_std)")
TASK_KEYS = ("dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias")


def roberta_from_huggingface(
    state: Mapping[str, Tensor], config: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Arguments and weights of our `Roberta` from the state and configuration of a Hugging Face RoBERTa.

    Takes the states of `RobertaForMaskedLM`, of the bare `RobertaModel` and of the classifiers of sequences and tokens.
    Without a masked head in the state there is none in the network (`head` is False in the arguments). The head of a
    task is left out here: see `roberta_task_head`. Raises ConfigError for a configuration that ours cannot express,
    CheckpointError for weights that are missing or have no place.
    """
    for key, value in FIXED.items():
        found = config.get(key, value)
        if (found if found is not None else value) != value:
            raise ConfigError(f"{key}={found} in the configuration cannot be converted: ours is a RoBERTa with {value}")
    missing = [theirs for theirs, default in ARGUMENTS.values() if default is None and theirs not in config]
    if missing:
        raise ConfigError(f"this configuration is not that of a RoBERTa: it lacks {', '.join(missing)}")
    arguments = {ours: config.get(theirs, default) for ours, (theirs, default) in ARGUMENTS.items()}

    left = {key.removeprefix("roberta."): value for key, value in state.items()}
    left = {key: value for key, value in left.items() if not UNUSED.fullmatch(key) and not TASK.fullmatch(key)}
    arguments["head"] = any(key.startswith("lm_head.") for key in left)
    converted = {}
    for ours, first, second in (("tokens.weight", TOKENS, TIED_TABLE), ("head.bias", BIAS, TIED_BIAS)):
        copies = [left.pop(key) for key in (first, second) if key in left]
        if not copies and (ours == "tokens.weight" or arguments["head"]):
            raise CheckpointError(f"these weights lack {first}: they are not a whole RoBERTa")
        if any(not torch.equal(copy, copies[0]) for copy in copies[1:]):
            raise ConfigError(f"{first} and {second} of these weights differ: our RoBERTa has them tied")
        if copies:
            converted[ours] = copies[0]
    converted |= to_ours(left, _key_table(arguments["layers"], arguments["head"]), "a RoBERTa")
    check_all_used(left, "a RoBERTa")
    return arguments, converted


def roberta_task_head(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The head of a task in the state of a Hugging Face RoBERTa: out_proj(tanh(dense(hidden state of `<s>`))).

    Keys: `dense.weight` (D, D), `dense.bias`, `out_proj.weight` (outputs, D) and `out_proj.bias`; of a ChemBERTa-2 that
    learned descriptors also `norm_mean` and `norm_std` (outputs,), by which its answers are scaled back. Empty where
    there is no such head.
    """
    matches = ((TASK.fullmatch(key), value) for key, value in state.items())
    head = {match[1] or match[2]: value for match, value in matches if match}
    absent = [key for key in TASK_KEYS if key not in head] if head else []
    if absent:
        raise CheckpointError(f"the head of a task in these weights lacks {', '.join(absent)}: the file is cut short")
    return head


def roberta_to_huggingface(
    net: Roberta, task_head: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and configuration of a `RobertaForMaskedLM` that computes what ours does.

    With a task head, as `roberta_task_head` returns it, those of a `RobertaForSequenceClassification`; without either
    head, those of the bare `RobertaModel`.
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
    """The arguments that build a net of this shape."""
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
    """Write a folder that the `from_pretrained` of the kind in `roberta_to_huggingface` reads; returns it."""
    state, config = roberta_to_huggingface(net, task_head)
    return write_folder(
        folder, {key: value for key, value in state.items() if key not in (TIED_TABLE, TIED_BIAS)}, config
    )


def _key_table(layers: int, head: bool) -> KeyTable:
    """Every weight but the tied table and bias: our name, and theirs without `roberta.`."""
    modules = {"embedding_norm": [NORM]}
    for layer in range(layers):
        for ours, theirs in LAYER.items():
            modules[f"layers.{layer}.{ours}"] = [f"encoder.layer.{layer}.{name}" for name in theirs]
    if head:
        modules |= {ours: [theirs] for ours, theirs in HEAD.items()}
    return weights_of({ours: [theirs] for ours, theirs in TABLES.items()}, ["weight"]) + weights_of(modules)
