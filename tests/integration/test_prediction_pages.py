"""`trimer predict output=out.html` and `output=out.sdf`: content, bad rows, resumption, escaping, bounds."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from browser import BROKEN, CUT, HINTS, chromium, opened
from rdkit import Chem
from stopping import stop_at_second_chunk

from trimer.cli.main import main

SHORT = ["trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.enable_progress_bar=false", "test=false",
         "data.tokens_per_batch=2000"]  # fmt: skip
SMILES = ["CCO", "CCCO", "c1ccccc1O", "CC(=O)OC", "OCC1OC(O)C(O)C(O)C1O", "Cn1cnc2c1c(=O)n(C)c(=O)n2C"]
SCRIPT = "<script>alert('x')</script>"
SPECTRUM = "BEGIN IONS\nTITLE={}\nPEPMASS={}\nADDUCT=[M+H]+\n{}END IONS\n\n"
PEAKS = "69.0447 12\n83.0604 20\n110.0713 35\n138.0662 100\n150.5 9\n"
NO_PRECURSOR = "BEGIN IONS\nTITLE=no precursor\n85.028 20\n97.028 30\nEND IONS\n\n"


@pytest.fixture
def molecules(monkeypatch):
    """Decode every text of the untrained model to one of these molecules, chosen by its tokens."""
    decode = lambda self, ids: SMILES[sum(ids) % len(SMILES)]  # noqa: E731
    monkeypatch.setattr("trimer.tokenizers.joint.SpectrumMoleculeTokenizer.decode_molecule", decode)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    spectra = [SPECTRUM.format(f"s{n} {SCRIPT}", 195.0877, PEAKS) for n in range(4)]
    (folder / "my.mgf").write_text("".join([*spectra[:2], NO_PRECURSOR, *spectra[2:]]))
    (folder / "library.mgf").write_text(
        SPECTRUM.format("hit", 195.0877, f"NAME=caffeine {SCRIPT}\nSMILES={SMILES[-1]}\n{PEAKS}")
    )
    (folder / "my.csv").write_text(f"id,smiles\na,CCO\n{SCRIPT},c1ccccc1O\nbad,C1CC\nd,CCN\n")
    (folder / "peptides.csv").write_text("sequence,charge\nLAGVSEK,2\nTIDPKQNFYR,2\nPEPTXDE,2\n")
    return folder


@pytest.fixture(scope="module")
def run(folder):
    """kind -> folder of its run, trained on first use."""
    (folder / "labels.csv").write_text(
        "smiles,kind\n"
        + "".join(f"{'C' * (n % 9 + 1)}{'O' if n % 2 else 'N'},{'acid' if n % 2 else 'base'}\n" for n in range(60))
    )
    settings = {
        "spectra": ["data.source.molecules=60", "model.d_model=32", "task.generator.num_samples=4",
                    "task.generator.max_length=16"],
        "labels": ["data=labelled_molecules", f"data.source.paths={folder / 'labels.csv'}", "task=classification",
                   "data.source.labels=kind", "data.target=single",
                   "model=roberta_nano"],
        "fragments": ["data=simulated_fragments", "data.source.count=200", "task=fragments", "model=peptides_nano"],
    }  # fmt: skip

    def trained(kind: str) -> Path:
        path = folder / kind
        if not path.exists():
            words = [*settings[kind], *SHORT, f"hydra.run.dir={path}", f"paths.cache={folder / 'cache'}"]
            assert main(["train", *words]) == 0
        return path

    return trained


def predict(run, source: Path, output: Path, *words: str) -> int:
    return main(["predict", f"ckpt={run}", f"input={source}", f"output={output}", "trainer=cpu", *words])


def check_page(text: str) -> None:
    """The page has no foreign script and loads nothing from elsewhere."""
    assert text.count("<script>") == text.count("</script>") == 1, "the page's own script, no id of a record"
    loaded = re.findall(r'(?:src|href|url\()\s*=?\s*["\']?([^"\')\s>]+)', text)
    assert all(link.startswith("#") for link in loaded), loaded


@pytest.fixture
def page(run, folder, tmp_path, molecules) -> Path:
    output = tmp_path / "out.html"
    assert predict(run("spectra"), folder / "my.mgf", output, f"library={folder / 'library.mgf'}") == 0
    return output


def test_the_page_of_spectra_shows_peaks_candidates_library_and_reasons(page):
    text = page.read_text()
    check_page(text)
    assert text.count("<article") == 4 and "5 spectra" in text and "all that could be read" in text
    assert re.search(r"my.mgf, line \d+: no precursor m/z", text)
    assert text.count("spectrum mirror") == 4 and "cosine 1.00" in text
    assert "caffeine &lt;script&gt;" in text and "s0 &lt;script&gt;" in text
    assert text.count("generated 1×") + text.count("generated 2×") > 4, "candidates of rank 2 and more are drawn too"
    rows = list(csv.DictReader((page.parent / "out.rows.csv").open()))
    assert [row["row"] for row in rows] == ["1", "2", "3", "4", "5"] and rows[2]["reason"]
    assert {path.name for path in page.parent.iterdir()} == {"out.html", "out.rows.csv"}


def test_peaks_of_the_first_candidate_are_labelled_with_formula_and_error(run, folder, tmp_path, monkeypatch):
    decode = lambda self, ids: SMILES[-1]  # noqa: E731
    monkeypatch.setattr("trimer.tokenizers.joint.SpectrumMoleculeTokenizer.decode_molecule", decode)
    assert predict(run("spectra"), folder / "my.mgf", tmp_path / "out.html") == 0
    text = (tmp_path / "out.html").read_text()
    assert "<title>m/z 138.0662 Th, 100.0%, C6H8N3O+ −0.1 ppm</title>" in text
    assert "#1 explains 4 of 5 peaks and 95% of the intensity, without the precursor" in text
    assert "spectrum mirror" not in text


def test_cards_are_bounded_and_the_page_says_how_many_spectra_there_are(run, folder, tmp_path, molecules, capsys):
    output = tmp_path / "out.html"
    assert predict(run("spectra"), folder / "my.mgf", output, "cards=2") == 0
    text = output.read_text()
    assert text.count("<article") == 2 and "2 of 5 spectra, the first of the input" in text
    assert len(output.read_bytes()) < 300_000
    assert predict(run("spectra"), folder / "my.mgf", output, "cards=1000") == 1
    assert "cards=1000 must be 1 to 500" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", ["html", "sdf"])
def test_a_stopped_prediction_continues_and_gives_the_same_bytes(run, folder, tmp_path, molecules, monkeypatch, suffix):
    monkeypatch.setattr("trimer.prediction.predictor.CHUNK", 2)
    (tmp_path / "whole").mkdir()
    whole, output = tmp_path / "whole" / f"out.{suffix}", tmp_path / f"out.{suffix}"
    assert predict(run("spectra"), folder / "my.mgf", whole) == 0
    computed = stop_at_second_chunk(monkeypatch)
    assert predict(run("spectra"), folder / "my.mgf", output) == 130 and not output.exists()
    assert predict(run("spectra"), folder / "my.mgf", output) == 0
    assert len(computed) == 3, "the chunk that was stopped is computed twice, the finished one once"
    assert output.read_bytes() == whole.read_bytes()
    beside = "out.rows.csv" if suffix == "html" else "out.reasons.csv"
    assert (tmp_path / beside).read_bytes() == (tmp_path / "whole" / beside).read_bytes()


def test_molecules_of_spectra_are_written_as_sdf(run, folder, tmp_path, molecules, capsys):
    output = tmp_path / "out.sdf"
    assert predict(run("spectra"), folder / "my.mgf", output, "ranked=true", "candidates=2") == 0
    records = list(Chem.SDMolSupplier(str(output)))
    assert len(records) >= 4 and all(record.GetNumAtoms() for record in records)
    assert {record.GetProp("id") for record in records} == {f"s{n} {SCRIPT}" for n in range(4)}
    assert all(Chem.MolToSmiles(record) == record.GetProp("smiles") for record in records)
    (reason,) = csv.DictReader((tmp_path / "out.reasons.csv").open())
    assert reason["id"] == "no precursor" and "no precursor m/z" in reason["reason"]
    assert f"1 without a prediction (see {tmp_path / 'out.reasons.csv'})" in capsys.readouterr().out


def test_labels_of_molecules_have_a_page_with_structures_and_an_sdf(run, folder, tmp_path):
    assert predict(run("labels"), folder / "my.csv", tmp_path / "out.html", "cards=2", "id_column=id") == 0
    text = (tmp_path / "out.html").read_text()
    check_page(text)
    assert text.count('<svg class="molecule"') == 2, "drawings are bounded by cards"
    assert "&lt;script&gt;" in text and re.search(r"acid 0\.\d\d, base 0\.\d\d|base 0\.\d\d, acid 0\.\d\d", text)
    assert "3 of 4 molecules have a prediction" in text and "bad" in text and "line 4" in text
    assert predict(run("labels"), folder / "my.csv", tmp_path / "out.sdf", "id_column=id") == 0
    records = list(Chem.SDMolSupplier(str(tmp_path / "out.sdf")))
    assert [record.GetProp("id") for record in records] == ["a", SCRIPT, "d"]
    assert 0 <= records[0].GetDoubleProp("probability of acid") <= 1


def test_fragments_of_peptides_have_a_page_with_their_ions(run, folder, tmp_path, capsys):
    assert predict(run("fragments"), folder / "peptides.csv", tmp_path / "out.html") == 0
    text = (tmp_path / "out.html").read_text()
    check_page(text)
    assert text.count("<article") == 2 and re.search(r"<title>m/z [\d.]+ Th, 100.0%, [by]\d", text)
    assert "2 of 3 peptides have a prediction" in text and "line 4" in text
    assert len(list(csv.DictReader((tmp_path / "out.rows.csv").open()))) == 3
    assert predict(run("fragments"), folder / "peptides.csv", tmp_path / "out.sdf") == 1
    assert "a spectral library needs one of the suffixes" in capsys.readouterr().err


def test_the_page_is_sorted_searched_and_zoomed_in_a_browser(run, folder, tmp_path, monkeypatch):
    decode = lambda self, ids: SMILES[-1]  # noqa: E731
    monkeypatch.setattr("trimer.tokenizers.joint.SpectrumMoleculeTokenizer.decode_molecule", decode)
    page = tmp_path / "out.html"
    assert predict(run("spectra"), folder / "my.mgf", page, f"library={folder / 'library.mgf'}") == 0
    with chromium() as browser:
        tab = opened(browser, page)
        tab.wait_for_selector("svg.spectrum[tabindex]")
        assert tab.errors == [] and tab.evaluate(HINTS) == []
        spectrum = tab.locator("svg.annotated").first
        labels = spectrum.locator("text.explained-name").all_text_contents()
        assert "C6H8N3O+" in labels and "−0.1 ppm" in labels
        assert "150.500" in spectrum.locator("text.of-mz-name").all_text_contents(), "no fragment explains it"
        spectrum.focus()
        tab.keyboard.press("+")
        assert "zoomed" in spectrum.get_attribute("class")
        details = tab.locator("details").first
        details.locator("summary").click()
        assert details.locator("tbody tr").count() == 4 and details.locator("tbody tr").first.is_visible()
        tab.get_by_role("button", name="row", exact=True).first.click()
        tab.get_by_role("button", name="row", exact=True).first.click()
        rows = tab.evaluate("[...document.querySelectorAll('article.card')].map(card => +card.dataset.row)")
        assert rows == [5, 4, 2, 1]
        tab.locator(".examples input[type=search]").fill("s1")
        assert tab.locator("article.card:visible").count() == 1
        tab.close()
        tab = opened(browser, page, java_script_enabled=False)
        assert tab.locator("article.card").count() == 4 and tab.locator("svg.annotated").first.is_visible()
        tab.close()


def test_words_of_a_table_are_whole_on_a_screen_and_on_a_phone(tmp_path):
    """The columns of a page of labels compete for room: long SMILES break, names of classes and columns do not."""
    long = "C" * 60
    (tmp_path / "new.csv").write_text("smiles\n" + f"{long}O\n{long}N\n" * 6)
    page = tmp_path / "out.html"
    assert predict("superclass", tmp_path / "new.csv", page) == 0
    with chromium() as browser:
        for width in (1280, 390):
            tab = opened(browser, page, width)
            assert tab.evaluate(BROKEN) == [] and tab.evaluate(CUT) == [], width
            tab.close()
        tab = opened(browser, page, 390)
        label = "getComputedStyle(document.querySelector('td[data-label=\"Likely classes\"]'), '::before').overflowWrap"
        assert tab.evaluate(label) == "break-word"
        tab.close()
