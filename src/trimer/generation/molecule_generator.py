"""Generation of ranked molecules from spectra: sampling or beam search, decoding, de-duplication, ranking."""

from __future__ import annotations

import functools
import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real

import numpy as np
import torch
from torch import nn

from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.generation.beam import beam_search
from trimer.generation.cache import allowed_ids
from trimer.generation.candidates import RANKS, Analogues, Candidate, rank_candidates
from trimer.generation.deepsmiles_grammar import DeepSmilesGrammar
from trimer.generation.formula_grammar import Grammar
from trimer.generation.formula_prompts import Formulas, likely_formulas, prompts_of_samples
from trimer.generation.sampling import sample
from trimer.generation.selfies_grammar import SelfiesGrammar
from trimer.metrics.molecule_properties import flaw
from trimer.progress import tracked

METHODS = ("sampling", "beam")
GRAMMARS: dict[str, type[DeepSmilesGrammar | SelfiesGrammar]] = {  # by representation of molecules; SMILES has none
    "deepsmiles": DeepSmilesGrammar,
    "selfies": SelfiesGrammar,
}
REDRAWN = 4  # samples drawn again at a time, for each spectrum of a batch: each holds the memory of its spectrum
FORMULAS = 10  # formulas per spectrum that samples continue by default
# Parameter: type, condition and description of valid values.
NUMBERS = {
    "num_samples": (Integral, lambda n: n >= 1, "a whole number of at least 1"),
    "temperature": (
        Real,
        lambda t: 0 < t < math.inf,
        "a number above 0; for the most likely text use generator.method=beam generator.beams=1",
    ),
    "top_k": (Integral, lambda k: k >= 0, "a whole number of at least 0 (0: all tokens)"),
    "top_p": (Real, lambda p: 0 < p <= 1, "a number above 0 and at most 1 (1: all tokens)"),
    "beams": (Integral, lambda n: n >= 1, "a whole number of at least 1"),
    "length_penalty": (Real, math.isfinite, "a finite number"),
    "max_length": (Integral, lambda n: n >= 2, "a whole number of at least 2"),
    "tolerance_ppm": (Real, lambda ppm: 0 < ppm < math.inf, "a number above 0, or null to ignore the mass"),
    "formulas": (Integral, lambda n: n >= 0, "a whole number of at least 0 (0: off), or null for the default"),
    "formula_ppm": (Real, lambda ppm: 0 < ppm < math.inf, "a number above 0"),
    "redraws": (Integral, lambda n: 0 <= n <= 10, "a whole number from 0 to 10"),
    "lookup": (Real, lambda share: 0 <= share < 1, "a number from 0 to below 1 (0: off)"),
    "agreeing_first": (Integral, lambda n: n >= 0, "a whole number of at least 0"),
    "batch": (Integral, lambda n: n >= 1, "a whole number of at least 1"),
    "seed": (Integral, lambda n: n >= 0, "a whole number of at least 0"),
}


@dataclass
class GeneratedMolecules:
    """Ranked molecules generated for one spectrum.

    generated: number of generated texts; valid: how many of them are molecules; flaws: invalid texts by reason.
    formulas: those that the samples were asked to continue, with their probabilities; none if there were no prompts.
    """

    candidates: list[Candidate]
    generated: int
    valid: int
    flaws: Counter[str] = field(default_factory=Counter)
    formulas: Formulas = field(default_factory=Formulas)


def generation_key(source: np.ndarray) -> int:
    """Seed for a spectrum, from its tokens only, so that samples do not depend on its file, name or id."""
    return zlib.crc32(np.asarray(source, np.int64).tobytes())


@dataclass(eq=False)
class MoleculeGenerator:
    """Parameters for the generation of molecules.

    method: `sampling` (num_samples texts at temperature, from the top_k tokens or a total probability of top_p) or
    `beam` (beams texts). rank: `frequency` (then likelihood), `likelihood`, or `consensus` (the set of candidates with
    the highest mean Tanimoto similarity to all samples). tolerance_ppm: molecules whose mass agrees with the measured
    precursor come first; null ignores the mass. formulas: for a tokenizer that writes formulas, the number of formulas
    within formula_ppm of the precursor that the samples continue (`trimer.generation.formula_prompts`); 0: the model
    writes its own; null: FORMULAS where the tokenizer writes them, else 0. keep_formula: a sample has the formula it
    begins with (`trimer.generation.formula_grammar`; for deepSMILES and SELFIES). redraws: how often an invalid sample
    is drawn again, with the same prompt. lookup: share of the consensus that molecules of similar training
    spectra have beside the samples (`trimer.prediction.analogue_search`); the first agreeing_first candidates agree
    with the precursor within tolerance_ppm, the others need not. batch: spectra at a time; the result does not depend
    on it.
    """

    method: str = "sampling"
    num_samples: int = 20
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    beams: int = 10
    length_penalty: float = 1.0
    max_length: int = 128
    rank: str = "frequency"
    tolerance_ppm: float | None = None
    formulas: int | None = None
    formula_ppm: float = 10.0
    keep_formula: bool = True
    redraws: int = 0
    lookup: float = 0.0
    agreeing_first: int = 5
    batch: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method == "beam" and self.formulas:
            raise ConfigError("generator.formulas works with generator.method=sampling only: set it to 0 or null")
        if self.method not in METHODS:
            raise ConfigError(f"generator.method={self.method} is not one of {', '.join(METHODS)}")
        if self.lookup and self.rank != "consensus":
            raise ConfigError(f"generator.lookup={self.lookup} works with generator.rank=consensus only: set it to 0")
        if self.rank not in RANKS:
            raise ConfigError(f"generator.rank={self.rank} is not one of {', '.join(RANKS)}")
        for name, (kind, is_valid, description) in NUMBERS.items():
            value = getattr(self, name)
            if name in ("tolerance_ppm", "formulas") and value is None:
                continue
            if not isinstance(value, kind) or isinstance(value, bool) or not is_valid(value):
                raise ConfigError(f"generator.{name}={value} must be {description}")

    @torch.inference_mode()
    def generate(
        self,
        net: nn.Module,
        tokenizer,
        sources: Sequence[np.ndarray],
        precursor_mz: Sequence[float] | None = None,
        adducts: Sequence[str | None] | None = None,
        analogues: Sequence[Mapping[str, float]] | None = None,
    ) -> list[GeneratedMolecules]:
        """Ranked molecules for each source (tokens of a spectrum).

        precursor_mz: measured m/z, NaN if unknown; adducts: None if unknown. analogues: weights, in all 1, of molecules
        of similar training spectra, for `lookup`; without them nothing is looked up.
        """
        training = net.training
        net.eval()
        results: dict[int, GeneratedMolecules] = {}
        # Spectra of similar lengths together: they finish at about the same time.
        order = np.argsort([len(s) for s in sources], kind="stable")
        batches = [order[start : start + self.batch] for start in range(0, len(order), self.batch)]
        for rows in tracked(batches, "generate", len(sources), "spectra", len):
            known = [[None if column is None else column[row] for row in rows] for column in (precursor_mz, adducts)]
            decode = functools.cache(tokenizer.decode_molecule)
            hypotheses_of_rows, formulas_of_rows = self._hypotheses(net, tokenizer, sources, rows, decode, *known)
            for row, hypotheses, formulas, mz, adduct in zip(
                rows, hypotheses_of_rows, formulas_of_rows, *known, strict=True
            ):
                similar = None if analogues is None or not self.lookup else self._analogues(analogues[row])
                ranked = rank_candidates(hypotheses, decode, self.rank, mz, adduct, self.tolerance_ppm, similar)
                invalid = ranked.flaws.total()
                results[int(row)] = GeneratedMolecules(
                    ranked.candidates, len(hypotheses), len(hypotheses) - invalid, ranked.flaws, formulas
                )
        net.train(training)
        return [results[row] for row in range(len(sources))]

    def _analogues(self, weights: Mapping[str, float]) -> Analogues:
        return Analogues({smiles: self.lookup * weight for smiles, weight in weights.items()}, self.agreeing_first)

    def _prompted(self, tokenizer) -> int:
        """The number of formulas that the samples of a spectrum continue."""
        if self.formulas and not writes_formulas(tokenizer):
            raise ConfigError(
                f"generator.formulas={self.formulas} needs a model that writes formulas "
                "(data.tokenizer.molecule.formula=true in its training): set it to 0 or null"
            )
        default = FORMULAS if writes_formulas(tokenizer) and self.method == "sampling" else 0
        return default if self.formulas is None else self.formulas

    def _grammar(self, net, tokenizer) -> Grammar | None:
        """The grammar of texts that keep to their formula."""
        if not self.keep_formula or not writes_formulas(tokenizer):
            return None
        molecule = tokenizer.molecule
        grammar = GRAMMARS.get(molecule.representation)
        if grammar is None:
            return None
        return grammar(molecule, allowed_ids(net, tokenizer.molecule_ids), tokenizer.molecule_ids[0])

    def _hypotheses(self, net, tokenizer, sources, rows, decode, precursors, adducts):
        """The texts generated for each row, and the formulas that they continue."""
        formulas = [Formulas() for _ in rows]
        device = next(net.parameters()).device
        source = Flat.pack([sources[row] for row in rows]).to(device)
        if self.method == "beam":
            texts = beam_search(
                net,
                source,
                beams=self.beams,
                max_length=self.max_length,
                length_penalty=self.length_penalty,
                allowed_tokens=tokenizer.molecule_ids,
            )
            return texts, formulas
        if count := self._prompted(tokenizer):
            masses = [math.nan if mz is None else mz for mz in precursors]
            formulas = likely_formulas(net, tokenizer, source, masses, adducts, count, self.formula_ppm)
        keys = [generation_key(sources[row]) for row in rows]
        prompts = prompts_of_samples(formulas, self.num_samples) if any(f.names for f in formulas) else None
        draw = functools.partial(
            sample,
            net,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            max_length=self.max_length,
            allowed_tokens=tokenizer.molecule_ids,
            opening=getattr(tokenizer, "formula_ids", None),
            grammar=self._grammar(net, tokenizer),
        )
        texts = draw(source, keys, self.num_samples, seed=self.seed, prompts=prompts)
        for attempt in range(self.redraws):
            broken = [
                (index, number)
                for index, hypotheses in enumerate(texts)
                for number, hypothesis in enumerate(hypotheses)
                if is_invalid(decode(tuple(hypothesis.tokens)), adducts[index])
            ]
            if not broken:
                break
            for start in range(0, len(broken), REDRAWN * self.batch):
                part = broken[start : start + REDRAWN * self.batch]
                again = draw(
                    Flat.pack([sources[rows[index]] for index, _ in part]).to(device),
                    [redraw_key(keys[index], number, attempt) for index, number in part],
                    1,
                    seed=self.seed,
                    prompts=None if prompts is None else prompts[[i * self.num_samples + n for i, n in part]],
                )
                for (index, number), (hypothesis,) in zip(part, again, strict=True):
                    if not is_invalid(decode(tuple(hypothesis.tokens)), adducts[index]):
                        texts[index][number] = hypothesis
        return texts, formulas


def redraw_key(key: int, sample: int, attempt: int) -> int:
    """Seed for one sample of a spectrum that is drawn again, from its own numbers only."""
    return zlib.crc32(np.array([key, sample, attempt + 1], np.int64).tobytes())


def is_invalid(smiles: str | None, adduct: str | None) -> bool:
    """Whether a decoded text is not a molecule that the adduct allows."""
    return smiles is None or flaw(smiles, adduct) is not None


def writes_formulas(tokenizer) -> bool:
    """Whether the texts of a tokenizer begin with the formula of the molecule."""
    return getattr(getattr(tokenizer, "molecule", None), "formula", None) is not None
