"""Formulas that agree with the precursor, given to a decoder that writes the formula before the molecule.

A text model reads m/z to two decimals and cannot compute a formula from it. So the formulas within the tolerance of the
precursor are enumerated, the decoder says how likely each is for the spectrum, and the samples are shared out among
the most likely: each continues one of them.

Shapes: B spectra, S samples per spectrum, R rows (formulas being compared), P tokens of the longest prompt.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from trimer.chemistry.adducts import parse_adduct
from trimer.chemistry.formula_candidates import CARBON, HETEROATOMS, HYDROGEN, formulas_of_mass
from trimer.flat import Flat
from trimer.generation.cache import BOS, CachedDecoder, allowed_ids

LIMIT = 400  # formulas compared per spectrum
MASSES = {"C": CARBON, "H": HYDROGEN, **{name: mass for name, (mass, *_) in HETEROATOMS.items()}}
FREE = -1  # a position of a prompt that the decoder fills itself


@dataclass
class Formulas:
    """Formulas of one spectrum, the most likely first: Hill notation, probability (sum 1), tokens of the prompt."""

    names: list[str] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    prompts: list[np.ndarray] = field(default_factory=list)

    def shares(self, num_samples: int) -> list[int]:
        """How many of the samples continue each formula: in proportion to the probabilities, by largest remainders."""
        exact = [p * num_samples for p in self.probabilities]
        shares = [math.floor(x) for x in exact]
        by_remainder = sorted(range(len(exact)), key=lambda i: (shares[i] - exact[i], i))
        for i in by_remainder[: num_samples - sum(shares)]:
            shares[i] += 1
        return shares


@torch.inference_mode()
def likely_formulas(
    net,
    tokenizer,
    source: Flat,
    precursor_mz: Sequence[float],
    adducts: Sequence[str | None],
    count: int,
    tolerance_ppm: float,
    dtype: torch.dtype | None = None,
) -> list[Formulas]:
    """For each of the B spectra the `count` most likely formulas; none without precursor m/z and known adduct.

    The probability is proportional to that of the decoder times a normal density of the mass error whose standard
    deviation is half the tolerance.
    """
    within = [_within(tokenizer, mz, adduct, tolerance_ppm) for mz, adduct in zip(precursor_mz, adducts, strict=True)]
    known = [row for row, formulas in enumerate(within) if formulas.names]
    results = [Formulas() for _ in within]
    if not known:
        return results
    sequences = source.unpack()
    prompts = [within[row].prompts for row in known]
    scores = prompt_log_likelihoods(
        net, Flat.pack([sequences[row].cpu().numpy() for row in known]).to(source.tokens.device), prompts,
        tokenizer.molecule_ids, dtype,
    )  # fmt: skip
    for row, log_p in zip(known, scores, strict=True):
        formulas = within[row]
        log_p = log_p + np.array(formulas.probabilities)  # of the mass error
        best = np.argsort(-log_p, kind="stable")[:count]
        p = np.exp(log_p[best] - log_p.max())
        results[row] = Formulas(
            [formulas.names[i] for i in best], (p / p.sum()).tolist(), [formulas.prompts[i] for i in best]
        )
    return results


def _within(tokenizer, precursor_mz: float, adduct: str | None, tolerance_ppm: float) -> Formulas:
    """The formulas within the tolerance; `probabilities` are log densities of the mass error."""
    form = parse_adduct(adduct)
    if form is None or form.molecule_charges != (0,) or not (precursor_mz > 0 and math.isfinite(precursor_mz)):
        return Formulas()
    mass, tolerance = (
        form.mass(precursor_mz),
        tolerance_ppm * 1e-6 * precursor_mz * abs(form.charge) / form.multiplicity,
    )
    counts = formulas_of_mass(mass, tolerance, LIMIT)
    errors = np.array([mass - sum(MASSES[name] * n for name, n in atoms.items()) for atoms in counts])
    names = [hill(atoms) for atoms in counts]
    start = tokenizer.molecule_ids[0]
    prompts = [tokenizer.molecule.encode_formula(name) + start for name in names]
    return Formulas(names, (-0.5 * (2 * errors / tolerance) ** 2).tolist(), prompts)


def hill(atoms: Mapping[str, int]) -> str:
    """Hill notation: C, H, then the other elements in alphabetical order; without C all in alphabetical order."""
    first = [name for name in ("C", "H") if "C" in atoms and name in atoms]
    names = first + sorted(name for name in atoms if name not in first)
    return "".join(name + (str(atoms[name]) if atoms[name] > 1 else "") for name in names)


@torch.inference_mode()
def prompt_log_likelihoods(
    net, source: Flat, prompts: Sequence[Sequence[np.ndarray]], allowed_tokens, dtype: torch.dtype | None = None
) -> list[np.ndarray]:
    """Log-likelihood of each prompt of each source: B arrays of the lengths of `prompts`."""
    allowed = allowed_ids(net, allowed_tokens)
    most = max(map(len, prompts))
    decoder = CachedDecoder(net, source, most, allowed, dtype)
    numbers = [i * most + k for i, choices in enumerate(prompts) for k in range(len(choices))]
    rows = torch.tensor(numbers, device=allowed.device)
    flat = [prompt for choices in prompts for prompt in choices]
    padded = pad_prompts(flat).to(allowed.device)  # (R, P)
    index = torch.searchsorted(allowed, padded.clamp(min=0))
    tokens = torch.full((len(prompts) * most,), BOS, device=allowed.device)
    log_p = torch.zeros(len(flat), device=allowed.device)
    for step in range(padded.shape[1]):
        scores = decoder.step(tokens)
        if step == 0:  # spectra have different numbers of formulas: the rows without one leave
            decoder.select(rows)
            scores, tokens = scores[rows], tokens[rows]
        written = padded[:, step] != FREE
        value = scores.gather(1, index[:, step : step + 1]).squeeze(1) - scores.logsumexp(-1)
        log_p += torch.where(written, value, 0.0)
        tokens = torch.where(written, padded[:, step], tokens)
    values = log_p.double().cpu().numpy()
    return np.split(values, np.cumsum([len(choices) for choices in prompts])[:-1])


def pad_prompts(prompts: Sequence[np.ndarray]) -> Tensor:
    """(R, P) ids of the prompts, FREE after their ends."""
    padded = np.full((len(prompts), max(map(len, prompts), default=0)), FREE, np.int64)
    for row, prompt in enumerate(prompts):
        padded[row, : len(prompt)] = prompt
    return torch.from_numpy(padded)


def prompts_of_samples(formulas: Sequence[Formulas], num_samples: int) -> Tensor:
    """(B S, P) first tokens of each sample, FREE where the decoder continues by itself."""
    empty = np.zeros(0, np.int64)
    prompts: list[np.ndarray] = []
    for choices in formulas:
        shares = choices.shares(num_samples) if choices.names else []
        prompts += [prompt for prompt, share in zip(choices.prompts, shares, strict=True) for _ in range(share)]
        prompts += [empty] * (0 if choices.names else num_samples)
    return pad_prompts(prompts)
