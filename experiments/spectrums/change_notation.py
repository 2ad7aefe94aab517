"""Rewrite a trained model of spectra so that its training can continue with another notation of molecules.

Run from the root of the checkout:

    python experiments/spectrums/change_notation.py spectrums --representation deepsmiles --output runs/reworded.ckpt
    trimer train experiment=spectrums/simulate ckpt=runs/reworded.ckpt \\
        data.exclude.data.tokenizer.molecule.representation=deepsmiles

All that reads spectra stays as it was: tokens of both vocabularies keep their embeddings. An atom begins with the mean
embedding of the SELFIES tokens of its element, and other tokens of the new notation with the mean of all SELFIES tokens
and a little noise. Train such a checkpoint before you use it: what it writes at first is noise.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trimer import checkpoint
from trimer.building import build
from trimer.errors import ConfigError
from trimer.files import written
from trimer.generation.deepsmiles_grammar import smiles_atom

NOISE = 0.02  # standard deviation of the embeddings of a new network


def same_atom(token: str, others: list[str]) -> list[str]:
    """The tokens that write the same element, in brackets, as an atom token of SMILES; [] for other tokens."""
    kind = smiles_atom(token)
    plain = [f"[{bond}{kind.element}]" for bond in ("", "=")] if kind else []  # charges and hydrogens are learned
    return [other for other in others if other in plain]


def reworded(weight: Tensor, old: list[str], new: list[str], generator: torch.Generator) -> Tensor:
    """(V', ...) rows of the new vocabulary, from the (V, ...) rows of the old one."""
    row = {token: i for i, token in enumerate(old)}
    selfies = [token for token in old if token.startswith("[")]
    mean = weight[[row[token] for token in selfies]].mean(0)
    rows = []
    for token in new:
        sources = same_atom(token, selfies) or ([token] if token in row else [])
        if sources:
            rows.append(weight[[row[source] for source in sources]].mean(0))
        else:
            noise = NOISE * torch.randn(weight.shape[1:], generator=generator) if weight.dim() > 1 else 0
            rows.append(mean + noise)
    return torch.stack(rows)


def change_notation(saved: dict[str, Any], representation: str, seed: int = 0) -> dict[str, Any]:
    """A checkpoint whose tokenizer writes molecules in another notation; ConfigError if it has that one already."""
    facts = copy.deepcopy(saved["trimer"])
    molecule = facts["tokenizer"]["molecule"]
    if molecule["representation"] == representation:
        raise ConfigError(f"this model writes {representation} already: name another --representation")
    molecule["representation"] = representation
    old = facts["vocabulary"]
    new = list(build(facts["tokenizer"]).vocabulary.tokens)
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: reworded(tensor.float(), old, new, generator) if tensor.dim() and len(tensor) == len(old) else tensor
        for name, tensor in saved["state_dict"].items()
    }
    facts["vocabulary"] = new
    return {"epoch": 0, "global_step": 0, "trimer": facts, "state_dict": state}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("ckpt", help="run folder, checkpoint or name of a shipped model")
    parser.add_argument("--representation", default="deepsmiles", choices=["smiles", "deepsmiles"])
    parser.add_argument("--output", type=Path, required=True, help="the new checkpoint, a file ending in .ckpt")
    options = parser.parse_args(words)
    changed = change_notation(checkpoint.read(options.ckpt), options.representation)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    with written(options.output) as temporary:
        torch.save(changed, temporary)
    print(options.output)


if __name__ == "__main__":
    main()
