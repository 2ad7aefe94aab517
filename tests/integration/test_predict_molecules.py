"""`trimer predict` for generated molecules: agreement with the precursor, ranks, warnings, and resumption."""

from __future__ import annotations

import csv
import json
from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from trimer.cli.main import main
from trimer.generation.candidates import Candidate
from trimer.generation.molecule_generator import GeneratedMolecules, MoleculeGenerator
from trimer.prediction.molecule_predictor import MoleculePredictor, candidate_rows
from trimer.prediction.prediction_tables import MoleculeFile
from trimer.training_facts import warn_of_unseen_spectra

SPECTRUM = "BEGIN IONS\nTITLE={}\nPEPMASS={}\n{}85.028 20\n97.028 30\n127.039 100\n145.049 60\nEND IONS\n\n"
PROTON, HYDROGEN, CARBON, OXYGEN = 1.00727646688, 1.00782503207, 12.0, 15.99491461956
ETHANOL = 2 * CARBON + 6 * HYDROGEN + OXYGEN
MZ = ETHANOL + PROTON


def candidate(smiles: str, ppm: float | None, count: int = 1) -> Candidate:
    return Candidate(smiles, "C2H6O", ETHANOL, ppm, count, -1.5, 0.5)


def written(
    tmp_path, results: list[GeneratedMolecules], kept: int = 1, tolerance_ppm: float = 10.0, only_agreeing: bool = False
) -> tuple[list[dict], str]:
    """The rows of a prediction file and its summary."""
    columns = MoleculePredictor.columns
    with MoleculeFile(tmp_path / "out.json", columns, tolerance_ppm) as target:
        for row, result in enumerate(results):
            head = {**dict.fromkeys(columns), "row": row + 1, "id": f"s{row}", "precursor_mz": MZ, "adduct": "[M+H]+"}
            target.add([head | values for values in candidate_rows(result, kept, tolerance_ppm, only_agreeing)])
    return json.loads((tmp_path / "out.json").read_text()), target.summary()


RESULTS = [
    GeneratedMolecules([candidate("CCO", 4.0), candidate("CCC", -44000.0), candidate("COC", -9.9)], 20, 20),
    GeneratedMolecules([candidate("CCC", 12.0), candidate("CCO", -3.0)], 20, 20),
    GeneratedMolecules([candidate("CCC", 10.1)], 20, 20),
    GeneratedMolecules([candidate("CCC", None)], 20, 20),
    GeneratedMolecules([], 20, 0, Counter({"unreadable": 15, "radical": 5})),
]


def test_the_first_candidate_has_its_precursor_agreement_and_the_summary_counts_them(tmp_path):
    rows, summary = written(tmp_path, RESULTS)
    assert [tuple(row[name] for name in ("rank", "candidates", "agreeing", "agrees")) for row in rows] == [
        (1, 3, 2, True), (1, 2, 1, False), (1, 1, 0, False), (1, 1, None, None), (None, None, None, None),
    ]  # fmt: skip
    assert list(rows[0]) == list(MoleculePredictor.columns)
    assert rows[4]["reason"] == "none of the 20 generated texts is a valid molecule (15 unreadable, 5 radical)"
    assert "4 spectra predicted, 1 without a prediction" in summary
    assert "within 10 ppm of the precursor m/z: the first candidate for 1 of 3 predicted spectra (33.3%)" in summary
    assert "any candidate for 2" in summary
    assert (
        "1 prediction cannot be checked against the precursor: the adduct or the precursor m/z is unknown (1)"
        in summary
    )


def test_filtered_candidates_keep_their_rank_among_all_candidates(tmp_path):
    rows, summary = written(tmp_path, RESULTS, only_agreeing=True)
    assert [(row["id"], row["rank"], row["smiles"]) for row in rows[:2]] == [("s0", 1, "CCO"), ("s1", 2, "CCO")]
    assert "none of the 1 generated molecules is within 10 ppm" in rows[2]["reason"]
    assert "+10.1 ppm" in rows[2]["reason"]
    assert "agreement cannot be checked" in rows[3]["reason"]
    assert "the first candidate for 1 of 2 predicted spectra" in summary
    ranked, _ = written(tmp_path, RESULTS, only_agreeing=True, kept=2)
    assert [(row["id"], row["rank"]) for row in ranked[:3]] == [("s0", 1), ("s0", 3), ("s1", 2)]
    wider, _ = written(tmp_path, RESULTS, only_agreeing=True, tolerance_ppm=12)
    assert [row["rank"] for row in wider[:3]] == [1, 1, 1]


# ---------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained model, whose texts the fixture `molecules` turns into molecules."""
    folder = tmp_path_factory.mktemp("run")
    overrides = [
        "data.source.molecules=60", "data.tokens_per_batch=2000", f"paths.cache={folder / 'cache'}", "model.d_model=32",
        "trainer.max_steps=2", "trainer.val_check_interval=2",
        "trainer.enable_progress_bar=false", "task.generator.num_samples=6", "task.generator.max_length=16",
        "test=false",
    ]  # fmt: skip
    assert main(["train", *overrides, f"hydra.run.dir={folder / 'run'}"]) == 0
    return folder / "run"


@pytest.fixture
def source(tmp_path):
    adducts = ["ADDUCT=[M+H]+\n", "", "ADDUCT=[M+H]+\n", "ADDUCT=[M+Na]+\n", "ADDUCT=[M+H]+\n"]
    spectra = [SPECTRUM.format(f"s{n}", 60.0 + 31.01 * n, adduct) for n, adduct in enumerate(adducts)]
    (tmp_path / "my.mgf").write_text("".join(spectra))
    return tmp_path / "my.mgf"


@pytest.fixture
def molecules(monkeypatch):
    """Decode every text of the untrained model to one of these molecules, chosen by its tokens."""
    smiles = ["CCO", "CCCO", "*N", "c1ccccc1O", "[CH3]", "CC(=O)OC", None, "C[N+](C)(C)C", "OCC1CCCC1", "NCC(=O)O"]
    decode = lambda self, ids: smiles[sum(ids) % len(smiles)]  # noqa: E731
    monkeypatch.setattr("trimer.tokenizers.joint.SpectrumMoleculeTokenizer.decode_molecule", decode)


def predict(run, source, output, *words: str) -> int:
    return main(["predict", f"ckpt={run}", f"input={source}", f"output={output}", "trainer=cpu", *words])


def test_formula_mass_and_error_of_each_molecule_are_consistent(run, source, tmp_path, molecules):
    from rdkit import Chem
    from rdkit.Chem.Descriptors import ExactMolWt

    output = tmp_path / "out.csv"
    assert predict(run, source, output, "ranked=true") == 0
    rows = [row for row in csv.DictReader(output.open()) if row["smiles"]]
    assert len({row["id"] for row in rows}) == 5
    added = {"[M+H]+": PROTON, "[M+Na]+": 22.9892207, "": None}
    for row in rows:
        molecule = Chem.MolFromSmiles(row["smiles"])
        mass = ExactMolWt(molecule)
        assert float(row["neutral_mass"]) == pytest.approx(mass) and row["formula"]
        assert Chem.GetFormalCharge(molecule) == 0 and "." not in row["smiles"] and "*" not in row["smiles"]
        if added[row["adduct"]] is None:
            assert row["ppm_error"] == row["agrees"] == row["agreeing"] == ""
            continue
        measured = float(row["precursor_mz"])
        error = (mass + added[row["adduct"]] - measured) / measured * 1e6
        assert float(row["ppm_error"]) == pytest.approx(error, abs=0.2)
        assert row["agrees"] == str(abs(error) <= 10)
        assert 0 < float(row["score"]) <= 1


def test_negative_spectra_get_a_reason_from_the_shipped_model(tmp_path):
    """`spectrums` is of positive mode; what states neither adduct nor ion mode nor charge is read as positive."""
    heads = ["ADDUCT=[M-H]-\n", "IONMODE=negative\n", "CHARGE=1-\n"]
    (tmp_path / "negative.mgf").write_text("".join(SPECTRUM.format(n, 163.04, head) for n, head in enumerate(heads)))
    assert predict("spectrums", tmp_path / "negative.mgf", tmp_path / "out.csv") == 0
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["reason"].partition("): ")[2] for row in rows] == [
        "the adduct '[M-H]-' is none of [M+H]+, [M+Na]+",
        "the ion mode is negative, and the allowed adducts are [M+H]+, [M+Na]+",
        "the charge is 1-, and the allowed adducts are [M+H]+, [M+Na]+",
    ]
    assert not any(row["smiles"] for row in rows)


def test_warnings_name_values_unseen_in_training(run, source, tmp_path, capsys, molecules):
    (stage,) = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["training_keys"]
    seen = stage["facts"]
    assert (
        seen["simulated"] is True and set(seen["adducts"]) <= {"[M+H]+", "[M+Na]+"} and seen["adducts"]["[M+H]+"] > 50
    )
    source.write_text(source.read_text() + SPECTRUM.format("s5", 200.1, "ADDUCT=[M+K]+\n"))
    allowed = "+cleaning.adducts.allowed=['[M+H]+','[M+Na]+','[M+K]+']"
    assert predict(run, source, tmp_path / "out.csv", allowed) == 0
    said = capsys.readouterr()
    assert "trained on simulated spectra only" in said.err
    assert "adduct that is not in the training data of this checkpoint: " in said.err
    assert "no adduct (1)" in said.err and "[M+K]+ (1)" in said.err
    assert "within 10 ppm of the precursor m/z: the first candidate for" in said.out


def test_a_checkpoint_of_measured_spectra_and_known_adducts_gets_no_warning(caplog):
    data = {"_target_": "trimer.data.modules.spectrum_pairs.SpectraToMolecules"}
    measured = {"facts": {"simulated": False, "adducts": {"[M+H]+": 9, "no adduct": 1}}}
    warn_of_unseen_spectra(SimpleNamespace(contract={"data": data}, training_keys=[measured]), ["[M+H]+", None])
    source = {"_target_": "trimer.data.spectra.spectrum_sources.SpectralFiles"}
    data |= {"source": source, "cleaning": {"adducts": {"allowed": ["[M+H]+"]}}}
    old = SimpleNamespace(contract={"data": data}, training_keys=None)
    warn_of_unseen_spectra(old, ["[M+H]+"])
    assert not caplog.records
    warn_of_unseen_spectra(old, ["[M-H]-", "[M+H]+"])
    assert (
        "1 of 2 spectra have an adduct that is not in the training data of this checkpoint: [M-H]- (1)" in caplog.text
    )
    data["source"] = {"_target_": "trimer.simulate.simulated_spectra.SpectraOfMolecules"}
    warn_of_unseen_spectra(old, [])
    assert "trained on simulated spectra only" in caplog.text


def test_earlier_training_stages_count_as_seen(caplog):
    def stage(simulated, *adducts):
        return {"facts": {"simulated": simulated, "adducts": dict.fromkeys(adducts, 1)}}

    stages = [{"facts": {}}, stage(True, "[M+H]+"), stage(False, "[M+Na]+")]
    loaded = SimpleNamespace(contract={"data": {}}, training_keys=stages)
    warn_of_unseen_spectra(loaded, ["[M+H]+", "[M+Na]+"])
    assert not caplog.records, "some were measured, and both adducts were seen"
    warn_of_unseen_spectra(loaded, ["[M+K]+"])
    assert "[M+K]+ (1) (trained on [M+H]+, [M+Na]+)" in caplog.text


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_a_stopped_prediction_continues_and_gives_the_same_bytes(
    run, source, tmp_path, monkeypatch, suffix, capsys, molecules
):
    monkeypatch.setattr("trimer.prediction.predictor.CHUNK", 2)
    whole, output = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    assert predict(run, source, whole, "ranked=true") == 0
    write, sizes = MoleculeGenerator.generate, []

    def stopping(self, net, tokenizer, sources, *measured):
        sizes.append(len(sources))
        if len(sizes) == 3:
            raise KeyboardInterrupt
        return write(self, net, tokenizer, sources, *measured)

    monkeypatch.setattr(MoleculeGenerator, "generate", stopping)
    assert predict(run, source, output, "ranked=true") == 130
    assert not output.exists() and output.with_name(f"out.{suffix}.partial").is_file()
    assert predict(run, source, output, "ranked=true", "generator.num_samples=3") == 1
    assert "generator.num_samples=None (now 3)" in capsys.readouterr().err
    assert predict(run, source, output, "ranked=true") == 0
    assert sizes == [2, 2, 1, 1] and output.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob("*.partial")) and not list(tmp_path.glob("*.writing"))
