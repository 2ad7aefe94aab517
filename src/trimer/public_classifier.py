"""Public classifiers: Hugging Face folders of `EsmFor...Classification` and `RobertaFor...Classification`.

An ESM-2 reads proteins, a RoBERTa SMILES. The names of the labels are those of `id2label`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from trimer.checkpoint import Loaded, load
from trimer.errors import CheckpointError
from trimer.models.convert.folders import read_config, read_folder
from trimer.models.convert.roberta_weights import roberta_task_head
from trimer.models.labelled_model import Labelled
from trimer.public import is_public, load_public
from trimer.renames import STUDIES

ENDS = ("ForSequenceClassification", "ForTokenClassification")
KINDS = ("esm", "roberta")
TARGETS = {
    "single_label_classification": "single",
    "multi_label_classification": "multi",
    "regression": "regression",
}
UNLIMITED = 1_000_000  # tokens, of an encoder without a limit


def is_public_classifier(path: str | Path) -> bool:
    """Whether a path is a Hugging Face folder of a classifier that can be predicted from."""
    path = Path(path).expanduser()
    if not path.is_dir() or not is_public(path):
        return False
    config = read_config(path)
    return config.get("model_type") in KINDS and str((config.get("architectures") or [""])[0]).endswith(ENDS)


def load_any(path: str | Path) -> Loaded:
    """A checkpoint of Trimer, or a public classifier."""
    return load_public_classifier(path) if is_public_classifier(path) else load(path)


def load_public_classifier(path: str | Path, atoms: bool = False) -> Loaded:
    """Network, tokenizer and contract of a public classifier; CheckpointError if its head is not complete.

    atoms: a RoBERTa splits SMILES by atoms, like the tokenizer of ChemBERTa-2.
    """
    path = Path(path).expanduser()
    loaded = load_public(path, atoms=atoms)
    state, config = read_folder(path)
    by_token = str(config["architectures"][0]).endswith(ENDS[1])
    head = token_head(state, path) if by_token else roberta_task_head(state)
    if not head:
        raise CheckpointError(f"{path} is the folder of a classifier without the weights of its head: copy it again")
    outputs = len(head["out_proj.bias"])
    target = "residue" if by_token else target_of(config, outputs)
    settings: dict[str, Any] = {"pooling": "residue"} if by_token else {"pooling": "cls", "dense": True}
    net = Labelled(loaded.net, outputs, target, settings)
    names = {name.replace("out_proj", "output"): value for name, value in head.items()}
    net.head.load_state_dict({name: value for name, value in names.items() if not name.startswith("norm_")})
    task = f"trimer.tasks.{'regression.Regression' if target == 'regression' else 'classification.Classification'}"
    limit = {"max_length": getattr(net.encoder, "longest", UNLIMITED), "too_long": "drop"}
    contract = loaded.contract | {
        "kind": task,
        "study": STUDIES[task],
        "task": {"_target_": task, "head": settings},
        "data": loaded.contract["data"] | limit,
        "labels": {"target": target, "classes": names_of(config, outputs)},
    }
    return Loaded(net.eval(), loaded.tokenizer, contract, path)


def token_head(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The linear layer of a classifier of tokens, as `out_proj`."""
    names = {f"out_proj.{kind}": f"classifier.{kind}" for kind in ("weight", "bias")}
    if missing := [name for name in names.values() if name not in state]:
        raise CheckpointError(f"{path}: the weights lack {', '.join(missing)}: copy the folder again")
    return {ours: state[theirs] for ours, theirs in names.items()}


def target_of(config: dict[str, Any], outputs: int) -> str:
    """The target of a classifier of sequences: `problem_type`; without it, one output is a number."""
    kind = config.get("problem_type")
    if kind is None:
        return "regression" if outputs == 1 else "single"
    if kind not in TARGETS:
        raise CheckpointError(f"problem_type={kind} in config.json must be one of {', '.join(TARGETS)}")
    return TARGETS[kind]


def names_of(config: dict[str, Any], outputs: int) -> list[str]:
    """The names of the labels in order."""
    names = {int(number): str(name) for number, name in (config.get("id2label") or {}).items()}
    return [names.get(number, f"LABEL_{number}") for number in range(outputs)]
