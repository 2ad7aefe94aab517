"""Every notebook runs from top to bottom, with short trainings on few records; `make notebooks` runs them in full."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# Pattern -> what makes a training of a notebook small enough for a test.
SMALL = {
    r"\bmax_steps=\d+": "max_steps=2",
    r"\bval_check_interval=\d+": "val_check_interval=2",
    r"\bdata\.source\.(count|molecules|proteins)=\d+": r"data.source.\1=100",
    r"\bnum_samples=\d+": "num_samples=2",
    r"\bmodel=peptides_(small|fragments)\b": r"model=peptides_\1 model.d_model=32",
    r"\btrainer\.enable_progress_bar=false\b": "trainer.enable_progress_bar=false baselines=false",
}
FRESH = "%reset -f\n%cd -q {folder}\nimport matplotlib; matplotlib.rcdefaults()\n%matplotlib inline"


@pytest.fixture(scope="module")
def kernel():
    """One kernel for all notebooks, since its imports take longer than their trainings."""
    manager = pytest.importorskip("jupyter_client").AsyncKernelManager(kernel_name="python3")
    yield manager
    if manager.has_kernel:
        manager.provisioner.process.kill()
        manager.provisioner.process.wait()


def test_notebooks_exist():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_with_its_outputs(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    counts = [cell["execution_count"] for cell in cells if cell["cell_type"] == "code"]
    assert None not in counts and any(cell.get("outputs") for cell in cells), f"make notebooks ARGS={path.name}"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_without_errors(path, tmp_path, kernel):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in cells:
        for pattern, small in SMALL.items():
            cell.source = re.sub(pattern, small, cell.source)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(FRESH.format(folder=tmp_path)))
    nbclient.NotebookClient(notebook, km=kernel, timeout=300).execute()
    printed = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in printed)
