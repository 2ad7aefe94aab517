"""Formulas within the tolerance of the precursor, their probabilities, and samples that continue them."""

import numpy as np
import pytest
import torch

from trimer.errors import ConfigError
from trimer.flat import Flat
from trimer.generation.formula_prompts import (
    FREE,
    Formulas,
    hill,
    likely_formulas,
    pad_prompts,
    prompt_log_likelihoods,
    prompts_of_samples,
)
from trimer.generation.molecule_generator import MoleculeGenerator
from trimer.generation.sampling import sample
from trimer.models.bart import Bart
from trimer.tokenizers.joint import SpectrumMoleculeTokenizer
from trimer.tokenizers.molecule import MoleculeTokenizer
from trimer.tokenizers.spectrum import SpectrumTokenizer

CAFFEINE = 195.0877  # m/z of [M+H]+


@pytest.fixture(scope="module")
def tokenizer() -> SpectrumMoleculeTokenizer:
    return SpectrumMoleculeTokenizer(SpectrumTokenizer(max_mz=300), MoleculeTokenizer("selfies", formula=True))


@pytest.fixture(scope="module")
def net(tokenizer) -> Bart:
    torch.manual_seed(0)
    shape = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 2, "encoder_ffn": 48, "decoder_ffn": 64}
    net = Bart(vocab_size=len(tokenizer), max_positions=64, encoder_heads=2, decoder_heads=4, **shape)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(4.0 if parameter.dim() > 1 else 1.0)
    return net.eval()


def spectra(tokenizer) -> list[np.ndarray]:
    first = tokenizer.spectrum_ids[0]
    return [np.array([0, *range(first, first + n), 2]) for n in (5, 9, 3)]


def test_hill_notation():
    assert hill({"C": 2, "H": 5, "Br": 1, "O": 1}) == "C2H5BrO"
    assert hill({"O": 1, "H": 2}) == "H2O"


def test_log_likelihoods_are_those_of_a_full_forward_pass(net, tokenizer):
    sources, start = spectra(tokenizer), tokenizer.molecule_ids[0]
    names = [["C8H10N4O2", "C6H6"], ["C10H8"], ["CH4", "C2H6O", "C9H8O4"]]
    prompts = [[tokenizer.molecule.encode_formula(name) + start for name in own] for own in names]
    scores = prompt_log_likelihoods(net, Flat.pack(sources), prompts, None)
    for source, own, values in zip(sources, prompts, scores, strict=True):
        for prompt, value in zip(own, values, strict=True):
            with torch.no_grad():
                log_p = torch.log_softmax(net(Flat.pack([source]), Flat.pack([[0, *prompt[:-1]]])), -1)
            assert value == pytest.approx(float(log_p.gather(1, torch.tensor(prompt)[:, None]).sum()), abs=1e-3)


def test_the_most_likely_formulas_within_the_tolerance_are_returned(net, tokenizer):
    source = Flat.pack(spectra(tokenizer))
    adducts = ["[M+H]+", None, "[M+H]+"]
    formulas = likely_formulas(net, tokenizer, source, [CAFFEINE, CAFFEINE, float("nan")], adducts, 50, 10.0)
    assert "C8H10N4O2" in formulas[0].names and sum(formulas[0].probabilities) == pytest.approx(1)
    assert formulas[0].probabilities == sorted(formulas[0].probabilities, reverse=True)
    assert formulas[1].names == formulas[2].names == []
    alone = likely_formulas(net, tokenizer, Flat.pack(spectra(tokenizer)[:1]), [CAFFEINE], ["[M+H]+"], 3, 10.0)
    assert alone[0].names == formulas[0].names[:3]


def test_samples_are_shared_out_by_probability():
    formulas = Formulas(["A", "B", "C"], [0.55, 0.33, 0.12], [np.array([5]), np.array([6, 7]), np.array([8])])
    assert formulas.shares(10) == [6, 3, 1] and formulas.shares(1) == [1, 0, 0]
    table = prompts_of_samples([formulas, Formulas()], 3)
    assert table.tolist() == [[5, FREE], [5, FREE], [6, 7], [FREE, FREE], [FREE, FREE], [FREE, FREE]]


def test_samples_continue_their_prompts_and_others_stay_the_same(net, tokenizer):
    sources, keys = Flat.pack(spectra(tokenizer)), [1, 2, 3]
    start, stop = tokenizer.molecule_ids
    settings = {"max_length": 24, "allowed_tokens": (start, stop)}
    prompt = tokenizer.molecule.encode_formula("C8H10N4O2") + start
    prompts = pad_prompts([prompt, prompt, *[np.zeros(0, np.int64)] * 4])
    drawn = sample(net, sources, keys, 2, prompts=prompts, **settings)
    free = sample(net, sources, keys, 2, **settings)
    for hypothesis in drawn[0]:
        assert hypothesis.tokens[: len(prompt)] == prompt.tolist()
        with torch.no_grad():
            target = Flat.pack([[0, *hypothesis.tokens[:-1]]])
            logits = net(Flat.pack([spectra(tokenizer)[0]]), target)
        allowed = torch.tensor([2, *range(start, stop)])
        log_p = logits[:, allowed].log_softmax(-1)
        index = torch.searchsorted(allowed, torch.tensor(hypothesis.tokens))
        assert hypothesis.log_likelihood == pytest.approx(float(log_p.gather(1, index[:, None]).sum()), abs=1e-3)
    assert [h.tokens for h in drawn[1]] == [h.tokens for h in free[1]]


def test_the_generator_prompts_where_the_tokenizer_writes_formulas(net, tokenizer):
    generator = MoleculeGenerator(num_samples=4, max_length=20, formulas=2)
    results = generator.generate(net, tokenizer, spectra(tokenizer)[:2], [CAFFEINE, CAFFEINE], ["[M+H]+", None])
    assert len(results[0].formulas.names) == 2 and results[1].formulas.names == []
    without = MoleculeGenerator(num_samples=4, max_length=20, formulas=0)
    assert without.generate(net, tokenizer, spectra(tokenizer)[:1], [CAFFEINE], ["[M+H]+"])[0].formulas.names == []
    plain = SpectrumMoleculeTokenizer(SpectrumTokenizer(max_mz=300), MoleculeTokenizer("selfies"))
    with pytest.raises(ConfigError, match=r"generator\.formulas=2 needs a model that writes formulas"):
        generator.generate(net, plain, spectra(tokenizer)[:1], [CAFFEINE], ["[M+H]+"])
    with pytest.raises(ConfigError, match=r"generator\.method=sampling only"):
        MoleculeGenerator(method="beam", formulas=3)


def test_formulas_are_written_before_molecules_and_not_within(net, tokenizer):
    sources = Flat.pack(spectra(tokenizer))
    start, stop, end = tokenizer.formula_ids
    assert tokenizer.vocabulary.tokens[end] == "<formula>" and stop == tokenizer.molecule_ids[1]
    settings = {"max_length": 40, "allowed_tokens": tokenizer.molecule_ids}
    free = sample(net, sources, [1, 2, 3], 8, **settings)
    drawn = sample(net, sources, [1, 2, 3], 8, opening=tokenizer.formula_ids, **settings)
    texts = [hypothesis.tokens for hypotheses in drawn for hypothesis in hypotheses]
    assert any(
        start <= token < stop
        for hypotheses in free
        for h in hypotheses
        for token in h.tokens[h.tokens.index(end) + 1 if end in h.tokens else 0 :]
    )
    for tokens in texts:
        head = tokens[: tokens.index(end) + 1] if end in tokens else tokens
        assert all(start <= token < stop for token in head)
        assert not any(start <= token < stop for token in tokens[len(head) :])
