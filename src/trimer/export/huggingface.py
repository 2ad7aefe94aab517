"""Folders of `transformers` from trained models: ESM2, RoBERTa and BART, and classifiers of their hidden states.

A model with a head becomes `...ForSequenceClassification` (pooling=cls with a dense layer) or
`...ForTokenClassification` (pooling=residue without one). Temperature, prior and class weights, or the mean and
deviation of numbers, are part of the output layer, so that softmax, sigmoid or identity of the logits equals the
predictions of Trimer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from trimer.errors import ConfigError
from trimer.models.bart import Bart
from trimer.models.convert.bart_weights import TIED, bart_to_huggingface
from trimer.models.convert.esm2_weights import HUGGINGFACE, TABLES, esm2_to_huggingface
from trimer.models.convert.folders import write_folder
from trimer.models.convert.roberta_weights import TIED_BIAS, TIED_TABLE, roberta_to_huggingface
from trimer.models.esm2 import Esm2
from trimer.models.labelled_model import Labelled
from trimer.models.roberta import Roberta

if TYPE_CHECKING:
    from trimer.checkpoint import Loaded

INSTEAD = "use format=torch or format=onnx for the network alone, or format=safetensors to use it with Trimer"
TIED_COPIES = {*(f"model.{key}" for key in TIED[1:-1]), TIED[-1], TABLES[HUGGINGFACE][1], TIED_TABLE, TIED_BIAS}
NAMES = {Esm2: "Esm", Roberta: "Roberta"}
PROBLEMS = {"single": "single_label_classification", "multi": "multi_label_classification", "regression": "regression"}
PIPELINES = {  # end of the name of a class -> task of a Hugging Face pipeline
    "ForMaskedLM": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForConditionalGeneration": "text2text-generation",
    "Model": "feature-extraction",
}

State = tuple[dict[str, Tensor], dict[str, Any]]


def write_transformers_model(loaded: Loaded, folder: Path) -> str:
    """Write `config.json` and `model.safetensors`; returns the class that reads them. ConfigError if there is none."""
    state, config = state_of(loaded.net, loaded.contract)
    tokenizer = loaded.tokenizer
    if isinstance(loaded.net, Labelled | Esm2 | Roberta):
        if tokenizer.pad != config["pad_token_id"]:
            raise ConfigError(
                f"{loaded.path}: padding has the id {tokenizer.pad} in the tokenizer and {config['pad_token_id']} in "
                f"the model, and transformers has one for both: {INSTEAD}"
            )
        config |= {"bos_token_id": tokenizer.cls, "eos_token_id": tokenizer.eos}
    config["dtype"] = "float32"
    write_folder(folder, {key: value.float() for key, value in state.items() if key not in TIED_COPIES}, config)
    return str(config["architectures"][0])


def state_of(net: nn.Module, contract: Mapping[str, Any]) -> State:
    """State and configuration of the equivalent model of `transformers`; ConfigError if there is none."""
    if isinstance(net, Labelled):
        return classifier_state(net, list((contract.get("labels") or {}).get("classes") or ()))
    convert: Mapping[type, Callable[[Any], State]] = {
        Esm2: esm2_to_huggingface,
        Roberta: roberta_to_huggingface,
        Bart: bart_to_huggingface,
    }
    if type(net) not in convert:
        raise ConfigError(f"transformers has no class for model={type(net).__name__}: {INSTEAD}")
    return convert[type(net)](net)


def classifier_state(net: Labelled, classes: list[str]) -> State:
    """State and configuration of a classifier or regression of sequences or tokens."""
    encoder, head = net.encoder, net.head
    name = NAMES.get(type(encoder))
    if name is None:
        raise ConfigError(f"transformers has no class for a head on a {type(encoder).__name__}: {INSTEAD}")
    by_token = net.kind.by_residue
    if by_token == (head.dense is not None) or head.pooling not in ("residue", "cls"):
        layer = "and a dense layer" if head.dense is not None else "and no dense layer"
        raise ConfigError(
            f"transformers has no class for a head with task.head.pooling={head.pooling} {layer}: {INSTEAD}; a model "
            "trained with task.head.pooling=cls task.head.dense=true can be exported"
        )
    weight, bias = output_layer(net)
    if isinstance(encoder, Esm2):
        state, config = esm2_to_huggingface(encoder)
    else:
        bare, config = roberta_to_huggingface(encoder)
        state = {f"roberta.{key}": value for key, value in bare.items()}
    if by_token:
        state |= {"classifier.weight": weight, "classifier.bias": bias}
    else:
        assert head.dense is not None
        state |= {"classifier.dense.weight": head.dense.weight.detach(), "classifier.out_proj.weight": weight}
        state |= {"classifier.dense.bias": head.dense.bias.detach(), "classifier.out_proj.bias": bias}
        config["problem_type"] = PROBLEMS[net.target]
    names = classes or [f"LABEL_{i}" for i in range(len(bias))]
    config["architectures"] = [f"{name}For{'Token' if by_token else 'Sequence'}Classification"]
    config["id2label"] = {str(i): label for i, label in enumerate(names)}
    config["label2id"] = {label: i for i, label in enumerate(names)}
    return state, config


def output_layer(net: Labelled) -> tuple[Tensor, Tensor]:
    """Weight (K, D) and bias (K,) whose outputs are numbers in the units of the data, or logits of the probabilities.

    These are the operations of `Labelled.predictions`, which are linear unless the loss is focal.
    """
    if float(net.focal):
        raise ConfigError(f"the probabilities of a focal loss cannot be expressed in transformers: {INSTEAD}")
    weight, bias = net.head.output.weight.detach().double(), net.head.output.bias.detach().double()
    if net.kind.numbers:
        scale, shift = net.deviation.double(), net.mean.double()
    else:
        scale = (1 / net.temperature.double()).expand(len(bias))
        shift = net.offset.double() - net.prior.double() * scale
    return (weight * scale[:, None]).to(torch.float32), (bias * scale + shift).to(torch.float32)


def pipeline_of(architecture: str) -> str:
    """The task of a Hugging Face pipeline for a class of `transformers`."""
    return next(task for end, task in PIPELINES.items() if architecture.endswith(end))
