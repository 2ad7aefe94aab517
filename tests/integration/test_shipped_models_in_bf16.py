"""The shipped models predict in bf16, the precision that Trimer chooses on CPUs that multiply fast in it."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from trimer.cli.main import main
from trimer.pretrained import registry

SPECTRUM = "BEGIN IONS\nTITLE=caffeine\nPEPMASS=195.0877\nADDUCT=[M+H]+\n110.0713 35\n138.0662 100\nEND IONS\n"
MOLECULES = ("mine.csv", "smiles\nCCO\nCn1cnc2c1c(=O)n(C)c(=O)n2C\n")
PROTEINS = ("mine.fasta", ">a\nMALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKT\n")
PEPTIDES = ("mine.csv", "sequence,charge\nLGGNEQVTR,2\n")
INPUTS = {
    "spectrums": ("mine.mgf", SPECTRUM),
    "smiles": MOLECULES,
    "superclass": MOLECULES,
    "peptide-rt": PEPTIDES,
    "peptide-charge": PEPTIDES,
    "peptide-ms2": PEPTIDES,
    "esm2-sample": PROTEINS,
    "membrane": PROTEINS,
}
OUTPUTS = {"peptide-ms2": "out.tsv", "smiles": "out.parquet", "esm2-sample": "out.parquet"}  # others: out.csv


@pytest.mark.parametrize("name", registry.names())
def test_a_shipped_model_predicts_in_bf16(name, tmp_path):
    file, text = INPUTS[name]
    (tmp_path / file).write_text(text)
    output = tmp_path / OUTPUTS.get(name, "out.csv")
    words = [f"ckpt={name}", f"input={tmp_path / file}", f"output={output}", "trainer.precision=bf16-mixed"]
    if name == "spectrums":
        words.append("generator.num_samples=4")
    assert main(["embed" if output.suffix == ".parquet" else "predict", *words]) == 0
    rows = rows_of(output)
    assert rows and not any(row.get("reason") for row in rows)


def rows_of(path: Path) -> list[dict]:
    if path.suffix == ".parquet":
        return list(pq.read_table(path).to_pylist())
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ","))
