"""What a later study is judged on is not in the corpus, whatever way it is written there."""

from pathlib import Path

import numpy as np

from trimer.data.core.masking import Masking
from trimer.data.core.sampler import BatchKey
from trimer.data.labelled.label_files import LabelledFiles
from trimer.data.modules.held_out import HeldOutMolecules, HeldOutPeptides, HeldOutProteins, MoleculesOf
from trimer.data.modules.labelled_data import LabelledSequences
from trimer.data.modules.masked_sequences import MaskedSequences, MaskedWindows
from trimer.data.molecules.molecule_files import SmilesFiles
from trimer.data.proteins.protein_files import ProteinFiles
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.simulate.simulated_peptides import SimulatedPeptides
from trimer.tokenizers.protein import ProteinTokenizer
from trimer.tokenizers.smiles import SmilesTokenizer


def corpus(folder: Path, smiles: list[str], exclude=None, **settings) -> MaskedSequences:
    (folder / "corpus.smi").write_text("\n".join(smiles) + "\n")
    split = {"keys": ["inchikey1"], "fractions": {"train": 0.6, "val": 0.2, "test": 0.2}}
    settings = {"max_length": 256, "tokens_per_batch": 8192, "exclude": exclude, **settings}
    source = SmilesFiles(str(folder / "corpus.smi"))
    masking = Masking(0.3, 0.8, 0.1)
    cache = str(folder / "cache")
    return MaskedSequences("molecules", source, SmilesTokenizer(), split, masking, masking, cache=cache, **settings)


def later(folder: Path, *smiles: str) -> MoleculesOf:
    (folder / "later.csv").write_text("\n".join(["smiles,y", *(f"{s},1" for s in smiles)]) + "\n")
    return MoleculesOf([SmilesFiles(str(folder / "later.csv"))], str(folder / "cache"))


def test_molecules_of_later_tables_are_dropped(tmp_path):
    smiles = [*simulated_molecules(30, seed=3), "OCC", "C[C@H](N)C(=O)O", "CCO.Cl", "C(", "C" * 300]
    data = corpus(tmp_path, smiles, later(tmp_path, "CCO", "C[C@@H](N)C(=O)O", "C("))
    data.setup()
    rules = {row["rule"]: row for row in data.drops.rules}
    held_out = rules["molecule held out elsewhere"]  # in other words, of the other hand, and in a salt
    assert (held_out["dropped"], held_out["examples"]) == (3, ["corpus.smi:31", "corpus.smi:32", "corpus.smi:33"])
    assert rules["molecule longer than 256 tokens"]["examples"] == ["corpus.smi:35"]
    assert rules["molecule RDKit cannot read"]["dropped"] == 1
    assert data.drops.left == len(data.store) == 30


def test_store_name_depends_on_exclusions(tmp_path):
    smiles = simulated_molecules(30, seed=3)
    folders = [corpus(tmp_path, smiles).folder, corpus(tmp_path, smiles, later(tmp_path, "CCO")).folder]
    folders.append(corpus(tmp_path, smiles, later(tmp_path, "CCN")).folder)
    assert len(set(folders)) == 3
    same = corpus(tmp_path, smiles, later(tmp_path, "CCN"), tokens_per_batch=99, seed=7, prepare_workers=2)
    assert same.folder == folders[2]


def test_masks_of_molecules_are_the_same_in_every_validation(tmp_path):
    data = corpus(tmp_path, simulated_molecules(60, seed=3))
    data.setup()
    alphabet = data.tokenizer.alphabet
    rows = data.split.rows("val")
    for masking, fixed in ((data.masking, False), (data.validation_masking, True)):
        dataset = MaskedWindows(data.store, alphabet, masking, None, fixed=fixed)
        one, two = (dataset[BatchKey(epoch, 0, rows)] for epoch in (0, 1))
        assert alphabet.hideable[one.labels.numpy()].all() and len(one.labels)
        assert (one.sequence.tokens.tolist() == two.sequence.tokens.tolist()) == fixed
        assert set(one.sequence.tokens[one.places].tolist()) <= {alphabet.mask, *alphabet.replacements.tolist()}


def test_labelled_data_hold_out_validation_and_test_rows(tmp_path):
    """Those of validation and test alone, of proteins whole though they are read in part."""
    rng = np.random.default_rng(0)
    split = {"fractions": {"train": 0.6, "val": 0.2, "test": 0.2}}
    proteins = ["".join(rng.choice(list("LAGVSE"), rng.integers(10, 40))) for _ in range(40)]
    molecules = simulated_molecules(40, seed=3)
    for entity, texts in (("proteins", proteins), ("molecules", molecules)):
        column, key = ("sequence", "sequence") if entity == "proteins" else ("smiles", "inchikey1")
        lines = [f"{column},y", *(f"{text},{'ab'[number % 2]}" for number, text in enumerate(texts))]
        (tmp_path / f"{entity}.csv").write_text("\n".join(lines) + "\n")
        tokenizer = ProteinTokenizer() if entity == "proteins" else SmilesTokenizer()
        source = LabelledFiles(str(tmp_path / f"{entity}.csv"), column, "y")
        options = {"max_length": 20, "too_long": "ends"} if entity == "proteins" else {}
        loading = {"cache": str(tmp_path / "cache"), "tokens_per_batch": 4096}
        study = LabelledSequences(source, tokenizer, entity, "single", {**split, "keys": [key]}, **loading, **options)
        if entity == "molecules":
            data = corpus(tmp_path, molecules, HeldOutMolecules(study))
        else:
            files = ProteinFiles(str(tmp_path / "proteins.csv"))
            masking = Masking(0.15, 0.8, 0.1)
            data = MaskedSequences(
                "proteins", files, tokenizer, {**split, "keys": ["sequence"]}, masking, masking,
                exclude=HeldOutProteins(study), **loading,
            )  # fmt: skip
        data.setup()
        train = study.ids(study.split.rows("train"))
        assert 20 <= len(train) <= 28
        left = {name.rpartition(":")[2] for name in data.store.strings("id")}
        lines = [int(name.rpartition(":")[2]) - (entity == "molecules") for name in train]
        assert left == {str(line) for line in lines}


def test_held_out_peptides_are_dropped_with_any_modifications(tmp_path):
    split = {"keys": ["sequence"], "fractions": {"train": 0.5, "val": 0.25, "test": 0.25}}

    def made(seed, exclude=None):
        source = SimulatedPeptides(120, "retention", seed=3, modified=seed)
        settings = {
            "entity": "peptides",
            "target": "regression",
            "split": split,
            "cache": str(tmp_path),
            "tokens_per_batch": 4096,
        }
        data = LabelledSequences(source, ProteinTokenizer(), **settings, exclude=exclude)
        data.setup()
        return data

    later = made(0.0)
    assert "held out elsewhere" not in {row["rule"] for row in later.drops.to_dict()["rules"]}
    earlier = made(1.0, HeldOutPeptides({"later": later}))
    letters = set(earlier.store.strings("sequence"))
    assert letters and not letters & later.held_out_keys()
    dropped = {row["rule"]: row["dropped"] for row in earlier.drops.to_dict()["rules"]}
    assert dropped["held out elsewhere"] == 120 - len(earlier.store) > 0
