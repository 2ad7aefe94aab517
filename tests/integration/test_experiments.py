"""Every experiment and every choice that affects training runs a step on small files in the layout of the real data."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import small_data
from foodb import generated_release
from table_helpers import write_csv

from trimer.cli.configs import choices, shipped_folder
from trimer.cli.main import main
from trimer.data.labelled.deeploc import LOCATIONS
from trimer.data.spectra.spectrum_table import SpectrumTable
from trimer.simulate.simulated_molecules import simulated_molecules
from trimer.simulate.simulated_spectra import simulate_table

SHORT = [
    "trainer.max_steps=2",
    "trainer.val_check_interval=1",
    "trainer.enable_progress_bar=false",
    "trainer.limit_val_batches=1",
    "data.tokens_per_batch=600",
]
SMALL = [
    *SHORT,
    "model.d_model=32",
    "model.encoder_ffn=64",
    "model.decoder_ffn=64",
    "task.generator.num_samples=2",
    "task.generator.beams=2",
    "task.generator.max_length=16",
]
PROTEINS = [
    *SHORT,
    "model.d_model=32",
    "model.layers=2",
    "model.heads=2",
    "model.ffn=64",
    "trainer.accelerator=cpu",
    "trainer.accumulate_grad_batches=2",
    "trainer.val_check_interval=2",
    "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}",
]
LABELS = [*SHORT, "model.d_model=32", "model.layers=2", "test=false"]
SIMULATE = ["data.source.workers=0", "data.source.share=1", "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}"]
EXPERIMENTS = sorted(
    str(path.relative_to(shipped_folder() / "experiment").with_suffix(""))
    for path in (shipped_folder() / "experiment").rglob("*.yaml")
)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A folder in the layout of the real data: spectra with folds, negative spectra, a corpus of molecules."""
    folder = small_data.write_small_data(tmp_path_factory.mktemp("data"))
    public_layouts(folder / "spectra", simulate_table(simulated_molecules(60, seed=3), seed=3))
    compounds = "".join(f"{cid}\t{smiles}\n" for cid, smiles in enumerate(simulated_molecules(60, seed=3), 1))
    small_data.write_gzip(folder / "CID-SMILES.gz", compounds)
    texts = small_data.sequences()
    small_data.write_gzip(folder / "uniref/proteins.fasta.gz", small_data.fasta(texts))
    small_data.write_gzip(folder / "uniref/uniref90_to_uniref50.tsv.gz", small_data.clusters(texts))
    generated_release.write_release(folder / "molecules/foodb", simulated_molecules(60, seed=3), noise=0.2)
    labelled_proteins(folder, texts)
    byte_pairs(folder / "bpe")
    return folder


def labelled_proteins(folder: Path, texts: list[str]) -> None:
    """The table of DeepLoc 2.0, labels of residues, and a FASTA file with families in its headers."""
    known = list(enumerate(texts))
    header = ["", "ACC", "Kingdom", "Partition", "Membrane", *LOCATIONS, "Sequence"]
    flags = [[f"{(n + k) % 3 % 2}.0" for k in range(11)] for n, _ in known]
    write_csv(folder / "deeploc2.csv", header, [[n, f"P{n}", "Fungi", n % 5, *flags[n], text] for n, text in known])
    states = "".join(f">P{n}\n{text}\n{'HE.'[n % 3] * (len(text) - 2)}HE\n" for n, text in known)
    (folder / "residues.fasta").write_text(states)
    (folder / "families.fasta").write_text("".join(f">P{n} family=f{n % 2}\n{text}\n" for n, text in known))


def byte_pairs(folder: Path) -> None:
    """A Hugging Face folder with a vocabulary of atoms and symbols, and one merge."""
    folder.mkdir()
    signs = [*"CNOSPFIBHclnosr()[]=#+-@/\\123456789%.", "CC"]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *dict.fromkeys(signs)]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\nC C\n")


def public_layouts(folder: Path, table: SpectrumTable) -> None:
    """The same spectra as the JSON of GNPS, the TSV of MassSpecGym and a folder of MassBank records."""
    gnps, gym = [], ["identifier\tmzs\tintensities\tsmiles\tadduct\tprecursor_mz\tfold"]
    (folder / "massbank").mkdir()
    for row in range(len(table)):
        name, smiles, adduct, precursor = (table[key][row] for key in ("id", "smiles", "adduct", "precursor_mz"))
        mz, intensity = ([f"{value:.5f}" for value in values] for values in table.peaks(row))
        pairs = list(zip(mz, intensity, strict=True))
        peaks = [[float(m), float(i)] for m, i in pairs]
        fields = {"spectrum_id": name, "Smiles": smiles, "Adduct": adduct, "Precursor_MZ": str(precursor)}
        gnps.append(fields | {"ms_level": "2", "Ion_Mode": "Positive", "peaks_json": json.dumps(peaks)})
        fields_of_gym = [name, ",".join(mz), ",".join(intensity), smiles, adduct, str(precursor)]
        gym.append("\t".join([*fields_of_gym, small_data.fold_of(row)]))
        record = [
            f"ACCESSION: {name}",
            f"CH$SMILES: {smiles}",
            "AC$MASS_SPECTROMETRY: MS_TYPE MS2",
            "AC$MASS_SPECTROMETRY: ION_MODE POSITIVE",
            f"MS$FOCUSED_ION: PRECURSOR_M/Z {precursor}",
            f"MS$FOCUSED_ION: PRECURSOR_TYPE {adduct}",
            f"PK$NUM_PEAK: {len(pairs)}",
            "PK$PEAK: m/z int. rel.int.",
            *(f"  {m} {i} {i}" for m, i in pairs),
            "//",
        ]
        (folder / "massbank" / f"{name}.txt").write_text("\n".join(record) + "\n")
    (folder / "gnps.json").write_text(json.dumps(gnps))
    (folder / "MassSpecGym.tsv").write_text("\n".join(gym) + "\n")


def train(folder, *overrides: str, small=SMALL, steps: int = 2) -> dict:
    assert main(["train", *overrides, *small, f"hydra.run.dir={folder}"]) == 0
    result = json.loads((folder / "result.json").read_text())
    assert result["status"] == "ok" and result["steps"] == steps
    return result


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if name.startswith("cramming/")])
def test_every_experiment_with_proteins_runs(experiment, library, tmp_path):
    words = [] if experiment == "cramming/sample" else [f"data.source.path={library}/uniref/proteins.fasta.gz"]
    if experiment == "cramming/gpu_day":
        words.append("task.compile=false")  # compiles for minutes; tested with the task
    result = train(tmp_path / "run", f"experiment={experiment}", f"paths.data={library}", *words, small=PROTEINS)
    assert result["metrics"]["val/perplexity"] < 40 and result["metrics"]["test/hidden_perplexity"] < 40
    folder = tmp_path / "run" / "test"
    assert "trivial baseline: composition of the sequence" in (folder / "table.md").read_text()
    assert {"page.html", "residues.csv", "residues.png"} <= {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if name.startswith(("foodb/", "deeploc/"))])
def test_every_experiment_with_labels_runs(experiment, library, tmp_path):
    small = [word for word in LABELS if word != "test=false"] + ["model.heads=2", "baselines=false"]
    words = [f"paths.data={library}", "callbacks.best.mode=max"]
    if experiment == "foodb/pretrain":
        words[1:] = ["data.prepare_workers=0", "data.split.fractions={train: 0.8, val: 0.1, test: 0.1}"]
    if experiment in ("foodb/descriptors", "foodb/counts"):
        words[1:] = ["data.source.workers=0", "data.split.fractions={train: 0.8, val: 0.1, test: 0.1}"]
        words.append("data.source.exclude=null")  # this choice excludes all simulated molecules
    if experiment == "foodb/counts":
        words.append("data.source.counts=8")  # each of 512 labels takes time
    result = train(tmp_path / "run", f"experiment={experiment}", *words, small=small)
    assert result["metrics"]["val/loss"] < 10
    if experiment == "foodb/counts":
        classes = json.loads((tmp_path / "run" / "labels.json").read_text())["classes"]
        assert classes[-1] == "Morgan 7" and "MolLogP" in classes
    if experiment in ("foodb/pretrain", "foodb/descriptors", "foodb/counts"):
        return
    several = experiment == "foodb/terms"
    assert 0 <= result["metrics"]["test/auroc" if several else "test/accuracy"] <= 1
    pictures = {path.name for path in (tmp_path / "run" / "test").iterdir()}
    assert {"reliability.png", "predictions.parquet", "page.html"} <= pictures
    assert ("confusion.png" in pictures) != several
    assert ("embeddings.png" in pictures) == (experiment in ("foodb/superclass", "foodb/terms"))
    assert ("embeddings_2.html" in pictures) == several, "a page for each label"


def test_a_pretrained_encoder_is_fine_tuned(library, tmp_path):
    """Both stages of foodb: the molecules of the tables were excluded before, and only the head is new."""
    import torch

    words = [f"paths.data={library}", *LABELS, "optimizer.lr=0", "optimizer.weight_decay=0"]
    first = ["data.prepare_workers=0", "optimizer.adamw_lr=0"]
    train(tmp_path / "first", "experiment=foodb/pretrain", *first, *words, small=[])
    drops = json.loads((tmp_path / "first" / "drops.json").read_text())
    held_out = next(row for row in drops["rules"] if row["rule"] == "molecule held out elsewhere")
    assert held_out["dropped"] > 0
    ckpt = f"ckpt='{tmp_path / 'first'}'"
    train(tmp_path / "second", "experiment=foodb/superclass", "data.split.seed=0", ckpt, *words, small=[])
    states = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("first", "second")
    ]
    shared = [name for name in states[0] if not name.startswith("net.head.")]
    assert len(shared) > 10
    for name in shared:
        assert torch.equal(states[0][name], states[1][name.replace("net.", "net.encoder.", 1)]), name


ALPHADIA = [name for name in EXPERIMENTS if name.startswith("alphadia/")]


@pytest.mark.parametrize("experiment", ALPHADIA)
def test_every_experiment_with_peptides_runs(experiment, library, tmp_path):
    width = ["model.d_model=16", "model.layers=1", "data.tokens_per_batch=600"]
    words = [f"experiment={experiment}", f"paths.data={library}", *width, "trainer.enable_progress_bar=false"]
    epochs = not experiment.endswith("_source")
    words += ["trainer.max_epochs=2", "scheduler.warmup=1"] if epochs else SHORT[:2]
    assert main(["train", *words, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    expected = {"rt": "test/mae", "rt_source": "test/mae", "charge": "test/auroc"}
    assert expected.get(experiment.split("/")[1], "test/cos_median") in result["metrics"]
    assert (tmp_path / "run" / "protocol.csv").is_file() == epochs
    assert "baseline" in (tmp_path / "run" / "test" / "table.json").read_text()


# Recipe of a shipped model -> small settings, and a metric of its result.
NARROW = [*SHORT, "model.d_model=16", "model.layers=1"]
FRACTIONS = "data.split.fractions={train: 0.8, val: 0.1, test: 0.1}"
SHIPPED = {
    "spectrums": ([*SMALL, "test=false"], "val/loss"),
    "spectrums_simulate": ([*SMALL, *SIMULATE], "val/loss"),
    "esm2_sample": ([*PROTEINS], "test/hidden_perplexity"),
    "membrane": ([*NARROW, "model.heads=2", "callbacks.best.mode=max"], "test/accuracy"),
    "smiles": ([*NARROW, "model.heads=2", "data.prepare_workers=0", FRACTIONS], "val/perplexity"),
    "superclass": ([*NARROW, "model.heads=2", "callbacks.best.mode=max"], "test/accuracy"),
    "peptide_rt": (NARROW, "test/mae"),
    "peptide_charge": ([*NARROW[2:], "trainer.max_epochs=2", "scheduler.warmup=1"], "test/auroc"),
    "peptide_ms2": (NARROW, "test/cos_median"),
}


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if name.startswith("models/")])
def test_every_recipe_of_a_shipped_model_runs(experiment, library, tmp_path):
    small, metric = SHIPPED[experiment.removeprefix("models/")]
    words = [f"experiment={experiment}", f"paths.data={library}", "baselines=false", *small]
    assert main(["train", *words, f"hydra.run.dir={tmp_path / 'run'}"]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "ok" and metric in result["metrics"], sorted(result["metrics"])


OTHERS = ("cramming/", "foodb/", "deeploc/", "alphadia/", "models/")


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if not name.startswith(OTHERS)])
def test_every_experiment_runs(experiment, library, tmp_path):
    small = ["data.source.molecules=40"] if experiment == "demo" else []
    if experiment == "spectrums/simulate":
        small = SIMULATE
    if experiment == "spectrums/denoise":
        small = ["data.prepare_workers=1", "data.validation=0.2"]
    result = train(tmp_path / "run", f"experiment={experiment}", f"paths.data={library}", *small)
    assert "val/loss" in result["metrics"]
    if experiment in ("demo", "spectrums/finetune"):
        assert {"table.md", "table.csv", "predictions.parquet", "page.html"} <= {
            path.name for path in (tmp_path / "run" / "test").iterdir()
        }
        assert "cosine look-up" in (tmp_path / "run" / "test" / "table.md").read_text()


def test_pretraining_excludes_the_held_out_molecules(library, tmp_path):
    train(tmp_path / "run", "experiment=spectrums/simulate", f"paths.data={library}", *SIMULATE)
    drops = json.loads((tmp_path / "run" / "drops.json").read_text())
    held_out = next(row for row in drops["rules"] if row["rule"] == "molecule held out elsewhere")
    assert held_out["dropped"] >= 18, "the 20 molecules of the val and test folds, but for those no rule can fragment"


FEW = ["data.source.molecules=40", "test=false"]
AS_PROTEINS = ["task=masked_lm", "model=esm2_nano"]
CLASSES = ["task=classification", "paths.data={library}"]
OF_MOLECULES = [*CLASSES, "model=smiles_nano"]
OF_PROTEINS = [*CLASSES, "model=esm2_nano"]
NUMBERS = ["task=regression", "paths.data={library}", "model=smiles_nano"]
TIMES = ["task=regression", "paths.data={library}", "model=peptides_nano"]
SPECTRA = ["task=fragments", "paths.data={library}", "model=peptides_nano", "model.conditions=true"]
SUPERCLASS = ["data=superclass", *CLASSES]
SUPERCLASS_OF_NANO = [*SUPERCLASS, "model=smiles_nano"]
MASKED = ["task=masked_lm", "data=molecules", "data.source.paths={library}/molecules/corpus_263k.smi.gz"]
BYTE_PAIRS = ["data/tokenizer=bpe", "data.tokenizer.folder={library}/bpe"]
# Settings that make each choice small; models of other sizes are built in test_conf without weights.
RUNS = {
    "data": {
        "bace": OF_MOLECULES,
        "clintox": OF_MOLECULES,
        "deeploc1_location": OF_PROTEINS,
        "deeploc1_membrane": OF_PROTEINS,
        "deeploc2": [*OF_PROTEINS, "data.source.path={library}/deeploc2.csv"],
        "descriptors": [
            *NUMBERS,
            "data.source.molecules.paths={library}/molecules/corpus_263k.smi.gz",
            "data.source.names=[MolWt,TPSA]",
            "data.source.workers=1",
            "data.split.fractions={{train: 0.6, val: 0.2, test: 0.2}}",
        ],
        "deeplc": TIMES,
        "deepphospho": SPECTRA,
        "deepphospho_charges": [*OF_PROTEINS[:-1], "model=peptides_nano"],
        "denoising": ["data.molecules.paths={library}/molecules/corpus_263k.smi.gz", "data.validation=0.2"],
        "esol": NUMBERS,
        "foodb": OF_MOLECULES,
        "gnps": ["data.source.path={library}/spectra/gnps.json"],
        "labelled_fasta": [
            *OF_PROTEINS,
            "data.target=single",
            "data.source.paths={library}/families.fasta",
            "data.source.pattern='family=(?P<family>\\w+)'",
        ],
        "labelled_residues": [
            *OF_PROTEINS,
            "data.source.paths={library}/residues.fasta",
            "task.head.pooling=residue",
        ],
        "labelled_molecules": [
            *OF_MOLECULES,
            "data.target=multi",
            "data.source.paths={library}/molecules/moleculenet/clintox.csv",
            "data.source.labels=[CT_TOX,FDA_APPROVED]",
        ],
        "labelled_proteins": [
            *OF_PROTEINS,
            "data.target=single",
            "data.source.paths={library}/deeploc2.csv",
            "data.source.labels=Membrane",
        ],
        "labelled_peptides": [
            *TIMES,
            "data.target=regression",
            "data.source.paths={library}/peptides/proteomTools_train.csv",
            "data.source.labels=irt",
        ],
        "lipophilicity": NUMBERS,
        "massbank": ["data.source.paths={library}/spectra/massbank"],
        "massspecgym": ["data.source.path={library}/spectra/MassSpecGym.tsv"],
        "molecules": [*MASKED[:1], "model=smiles_nano", *MASKED[2:], "data.prepare_workers=0"],
        "peptide_fragments": [*SPECTRA, "data.source.paths={library}/peptides/ms2_deepphospho/rpe1_dia_train.json.gz"],
        "peptide_properties": [
            *TIMES,
            "data.target=regression",
            "data.source.paths={library}/peptides/proteomTools_train.csv",
            "data.source.what=retention",
        ],
        "proteins": [*AS_PROTEINS, "data.source.paths={library}/uniref/proteins.fasta.gz"],
        "proteometools": TIMES,
        "pubchem": [
            "task=masked_lm",
            "model=smiles_nano",
            "data.source.path={library}/CID-SMILES.gz",
            "data.prepare_workers=0",
        ],
        "simulated_fragments": [*SPECTRA, "data.source.count=60"],
        "simulated_peptides": [*TIMES, "data.source.count=60"],
        "simulated_proteins": [*AS_PROTEINS, "data.source.proteins=100"],
        "simulated_spectra": FEW,
        "spectra_of_molecules": ["data.source.source.paths={library}/molecules/corpus_263k.smi.gz"],
        "spectral_library": ["data.source.paths={library}/spectra/massbank_pos.mgf"],
        "spectrums": ["paths.data={library}"],
        "superclass": OF_MOLECULES,
        "swissprot": [*AS_PROTEINS, "data.source.path={library}/uniref/proteins.fasta.gz"],
        "tox21": OF_MOLECULES,
        "uniref50": [*AS_PROTEINS, "data.source.path={library}/uniref/proteins.fasta.gz"],
        "uniref90": [*AS_PROTEINS, "data.source.path={library}/uniref/proteins.fasta.gz"],
    },
    "model": {
        **{name: FEW for name in ("bart_nano", "bart_mini", "bart_small", "bart_base")},
        "peptides_fragments": ["data=simulated_fragments", "data.source.count=60", "task=fragments"],
        "peptides_nano": [*TIMES[:1], "data=simulated_peptides", "data.source.count=60"],
        "peptides_small": [*TIMES[:1], "data=simulated_peptides", "data.source.count=60"],
        "roberta_nano": ["task=masked_lm", "data=simulated_proteins", "data.source.proteins=100"],
        "smiles_nano": SUPERCLASS,
        "smiles_small": [*MASKED, "data.prepare_workers=0"],
        "chemberta": [*SUPERCLASS, *BYTE_PAIRS, "model.layers=1", "data.max_length=400"],
        "chemberta_77m": [*MASKED, *BYTE_PAIRS, "data.prepare_workers=0"],
    },
    "task": {
        "classification": ["data=superclass", "paths.data={library}", "model=smiles_nano"],
        "fragments": ["data=simulated_fragments", "data.source.count=60", *SPECTRA[1:]],
        "masked_lm": ["data=simulated_proteins", "data.source.proteins=100", "model=esm2_nano"],
        "regression": ["data=esol", "paths.data={library}", "model=smiles_nano"],
        "seq2seq": FEW,
    },
    "optimizer": {name: FEW for name in ("adamw", "muon")},
    "scheduler": {name: FEW for name in ("warmup_constant", "warmup_cosine", "warmup_linear", "warmup_plateau")},
    "callbacks": {
        **{name: FEW for name in ("default", "early_stopping", "ema", "ranking")},
        "float8": [*FEW, "callbacks.float8.emulate=true"],
        "embeddings": SUPERCLASS_OF_NANO,
        "protocol": SUPERCLASS_OF_NANO,
        "protocol_early_stopping": [*SUPERCLASS_OF_NANO, "scheduler=warmup_plateau"],
    },
    "logger": {name: FEW for name in ("csv", "tensorboard", "wandb_offline", "many")},
    "debug": {name: FEW for name in ("default", "fast", "limit", "overfit", "profiler")},
}
NOT_HERE = {
    # Others run in the experiments or are too large; see test_esm2
    "model": {name for name in choices("train")["model"] if name.startswith("esm2_")},
    "callbacks": {"pruning"},  # of the trials of a search: tests/callbacks/test_pruning.py
    "debug": {"anomaly", "batch_size", "lr_finder", "schedule"},  # test_debug, callbacks/test_batch_sizes
    "logger": {"wandb", "mlflow", "trackio"},  # an account, or packages; wandb_offline differs in one word only
}
SPLIT = "data.split.fractions={train: 0.6, val: 0.2, test: 0.2}"


@pytest.mark.parametrize("group", RUNS)
def test_every_config_choice_is_tested(group):
    assert set(RUNS[group]) | NOT_HERE.get(group, set()) == set(choices("train")[group])


@pytest.mark.parametrize(("group", "choice"), [(group, choice) for group in RUNS for choice in RUNS[group]])
def test_every_choice_trains(group, choice, library, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [word.format(library=library) for word in RUNS[group][choice]]
    small = list(SMALL)
    if {"task=classification", "task=regression"} & {*words, f"{group}={choice}"}:
        small = [word for word in LABELS if not (group == "model" and word.startswith("model."))]
    if "task=masked_lm" in {*words, f"{group}={choice}"}:
        small = [word for word in PROTEINS if not word.startswith(("model.", "trainer.accumulate"))]
    if "task=fragments" in {*words, f"{group}={choice}"}:
        small = [word for word in LABELS if not word.startswith("model.")]
    if group == "data" and choice not in (
        "proteometools",
        "denoising",
        "spectrums",
        "massspecgym",
        "deeploc1_location",
        "deeploc1_membrane",
        "deeploc2",
    ):  # these data define folds
        small.append(SPLIT)
    if choice == "bart_base":  # the small width is not divisible by 12 heads
        small += ["model.encoder_heads=4", "model.decoder_heads=4"]
    if choice == "limit":  # 1 % of these few batches is no batch
        small += ["trainer.limit_train_batches=2", "trainer.val_check_interval=1.0", "trainer.limit_val_batches=1"]
    steps = 1 if choice == "fast" else 2
    result = train(tmp_path / "run", f"{group}={choice}", *words, small=small, steps=steps)
    loss = result["metrics"]["val/loss"]
    assert math.isfinite(loss)
    if choice not in ("esol", "regression", "lipophilicity", "descriptors"):  # squared errors of any size
        assert loss < 20


def test_any_rank_can_be_monitored_in_validation(tmp_path):
    ranks = ["callbacks=ranking", "callbacks.ranking.k=[5,10]", "callbacks.ranking.sample=4", "test=false"]
    result = train(tmp_path / "run", "data.source.molecules=40", *ranks)
    assert "val/tanimoto@10" in result["metrics"]


def test_beam_search_is_evaluated(tmp_path):
    beams = ["task.generator.method=beam", "task.generator.rank=likelihood"]
    result = train(tmp_path / "run", "data.source.molecules=40", *beams)
    assert 0 <= result["metrics"]["test/validity"] <= 1


def test_fine_tuning_starts_from_the_weights_of_another_run(tmp_path):
    import torch

    common = ["data.source.molecules=40", "test=false"]
    train(tmp_path / "first", *common)
    train(tmp_path / "second", *common, f"ckpt='{tmp_path / 'first'}'", "optimizer.lr=0")
    states = [
        torch.load(tmp_path / name / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
        for name in ("first", "second")
    ]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_checkpoint_of_another_shape_is_rejected_by_name(tmp_path, capsys):
    common = ["data.source.molecules=40", "test=false"]
    train(tmp_path / "first", *common)
    words = [*common, *SMALL, "model.d_model=64", f"ckpt='{tmp_path / 'first'}'"]
    assert main(["train", *words, f"hydra.run.dir={tmp_path / 'second'}"]) == 1
    error_text = capsys.readouterr().err.strip().splitlines()[-1]
    assert "does not fit" in error_text and "this model has" in error_text
    assert json.loads((tmp_path / "second" / "result.json").read_text())["status"] == "failed"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("data.num_workers=-1", "data: num_workers=-1 must be 0"),
        ("data.tokens_per_batch=0", "data: tokens_per_batch=0 must be 1 or more"),
        ("data.max_target=0", "data: max_target=0 must be 1 or more"),
        ("data.split.keys=[foo]", "data: split.keys: foo must be among id, smiles, inchikey1"),
        ("seed=-1", "seed=-1 must be 0 or more"),
        ("trainer.max_steps=abc", "trainer.max_steps=abc must be a whole number"),
        ("optimizer.lr=fast", "optimizer.lr=fast must be a number"),
        ("callbacks.last.every_n_train_steps=no", "callbacks.last.every_n_train_steps=no must be a whole number"),
    ],
)
def test_invalid_settings_are_reported_before_the_data_are_prepared(override, sentence, tmp_path, capsys):
    words = [*SMALL, override, f"hydra.run.dir={tmp_path / 'run'}", f"paths.cache={tmp_path / 'cache'}"]
    assert main(["train", *words]) == 1
    error_text = capsys.readouterr().err.strip()
    assert error_text.startswith(f"trimer: {sentence}") and "\n" not in error_text
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["task=masked_lm", "model=esm2_nano"],
            "task=MaskedLM needs batches of MaskedBatch, but data=SpectraToMolecules",
        ),
        (
            ["task=masked_lm", "data=simulated_proteins"],
            "task=MaskedLM cannot train model=Bart, which has no forward(sequence)",
        ),
        (["model=esm2_nano"], "task=Seq2Seq cannot train model=Esm2, which has no encode"),
    ],
)
def test_incompatible_choices_are_reported_before_the_data_are_prepared(words, sentence, tmp_path, capsys):
    words = [*words, f"hydra.run.dir={tmp_path / 'run'}", f"paths.cache={tmp_path / 'cache'}"]
    assert main(["train", *words]) == 1
    error_text = capsys.readouterr().err.strip()
    assert sentence in error_text and "\n" not in error_text
    assert not (tmp_path / "cache").exists()


def test_a_nan_loss_stops_the_run(tmp_path, capsys):
    wild = ["data.source.molecules=40", "trainer.log_every_n_steps=1", "optimizer.lr=1e30", "scheduler.warmup=0"]
    assert main(["train", *SMALL, *wild, "trainer.max_steps=6", f"hydra.run.dir={tmp_path / 'run'}"]) == 1
    assert "the training loss is " in capsys.readouterr().err.strip().splitlines()[-1]
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "failed"
