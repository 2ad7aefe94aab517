"""The HTML page is self-contained, well-formed, and shows what it claims."""

from __future__ import annotations

import base64
import json
import math
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from trimer.data.core.drops import DropReport
from trimer.data.core.splits import WHOLE
from trimer.reporting.curves import Curve
from trimer.reporting.page import Detail, write_page
from trimer.reporting.run_page import evaluated_rows, write_run_page
from trimer.reporting.spectrum_cards import evenly
from trimer.reporting.table import ResultTable

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Balanced(HTMLParser):
    """Fails if a tag is closed out of order, and collects external references."""

    def __init__(self):
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.loaded += [value for key, value in attrs if key in ("src", "href") and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes {self.open[-3:]}"


def check(text: str) -> None:
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    allowed = r"data:image/png;base64,|#|(\.\./)?[\w./-]+$"  # in the file, or a file of the run
    assert [source for source in parser.loaded if not re.match(allowed, source)] == []
    assert not re.search(r"<script[^>]+src|@import|url\((?!#)", text)
    assert not re.search(r"https?://(?!www\.w3\.org/(2000/svg|1999/xlink))", text)


def record(number: int, candidates: list, **fields) -> dict:
    return {
        "id": f"spectrum {number}", "smiles": "CCO", "adduct": "[M+H]+", "precursor_mz": 47.0491,
        "mz": [29.0, 31.0, 47.05], "intensity": [100.0, 40.0, 20.0], "candidates": candidates, **fields,
    }  # fmt: skip


PREDICTIONS = [
    record(
        0,
        [{"smiles": "CCCO", "count": 3}, {"smiles": "OCC", "count": 2}],
        name="Ethanol <wine>",
        collision_energy="20 eV",
    ),
    record(1, []),
    record(2, ["CCO", "C1CC", "CC"], adduct=None, precursor_mz=math.nan),
    record(3, ["CC(=O)[O-]"], mz=[], intensity=[]),
]


def table() -> ResultTable:
    table = ResultTable(k=[1, 10])
    table.add("cosine look-up", {"tanimoto@1": 0.2, "tanimoto@10": 0.3, "spectra": 4}, baseline=True)
    table.add("oracle: best", {"tanimoto@1": 0.4}, baseline=True)
    table.add("nano", {"tanimoto@1": 0.25, "tanimoto@10": 0.3, "tanimoto@1_std_error": 0.01, "validity": 0.97})
    return table


def test_a_page_has_all_sections(tmp_path):
    drops = DropReport(10)
    drops.add("MS level is not 2", ["a<b>"], 6)
    drops.add("duplicates", [])
    path = write_page(
        tmp_path / "new" / "page.html",
        title="Spectra & structures",
        subtitle="a < b",
        table=table(),
        predictions=PREDICTIONS,
        curves={"train/loss": Curve([1, 2], [2.0, 1.0]), "val/loss": Curve([1, 2], [2.0, 1.5])},
        split={"method": "column FOLD", "sizes": {"train": 80, "test": 20}},
        overlap=[{"part": "test", "key": "inchikey1", "values": 291, "shared_values": 0}],
        drops=drops,
        commands=["trimer train data=x"],
        about={"Version": "0.1.0"},
    )
    text = path.read_text(encoding="utf-8")
    check(text)
    for expected in (
        "Spectra &amp; structures", "a &lt; b", "Ethanol &lt;wine&gt;", "a&lt;b&gt;", "0.250", "± 0.010", "Baselines",
        ">Oracle<", "column FOLD", "0 of 291", "10 records read, 4 kept", "trimer train data=x",
        "without a standard error", "#1, generated 3×", "#2, the true molecule", "no candidate is a valid molecule",
        "not readable", "no precursor m/z", "C<sub>2</sub>H<sub>3</sub>O<sub>2</sub><sup>−</sup>", "CE 20 eV",
    ):  # fmt: skip
        assert expected in text, expected
    assert text.count('<article class="card') == 4
    assert "better than cosine look-up by 0.050" in text and "within error of cosine look-up" not in text
    assert "cosine look-up" in text and "than oracle" not in text


def test_a_page_without_content_is_valid(tmp_path):
    check(write_page(tmp_path / "page.html", title="Empty", table=ResultTable(), predictions=[]).read_text())


def test_figures_and_additional_tables_are_in_the_page(tmp_path):
    Image.new("RGB", (200, 100)).save(tmp_path / "wide.png")
    Image.new("RGB", (100, 100)).save(tmp_path / "square.png")
    worst = [{"id": "<one>", "molecule": "CCO", "predicted": "x" * 200, "probability": 0.98765, "rows": 1200}]
    details = [Detail("Mistakes", worst, "a & b", drawn="molecule"), Detail("Nothing", [])]
    shown = table()
    shown.add("nano", {"tanimoto@1": 0.25, "tanimoto@1_ci95_low": 0.213, "tanimoto@1_ci95_high": 0.287})
    path = tmp_path / "page.html"
    pictures = [tmp_path / "wide.png", tmp_path / "square.png"]
    write_page(path, title="x", table=shown, predictions=[], pictures=pictures, details=details, records="molecules",
               split={"sizes": {"train": 4}})  # fmt: skip
    text = path.read_text(encoding="utf-8")
    check(text)
    body = text.split("</style>")[1]
    for expected in ("&lt;one&gt;", "0.988", "1,200", "xx…", "a &amp; b", "0.213 to 0.287", "<th>Molecules</th>"):
        assert expected in body, expected
    assert body.count('<div class="panel wide"><img alt="wide" width="124"') == 1 and body.count("<img") == 2
    assert "<svg" in body and "Nothing" not in body
    read = base64.b64decode(re.search(r'alt="square" width="62" src="data:image/png;base64,([^"]+)"', body).group(1))
    assert read == (tmp_path / "square.png").read_bytes()


def test_label_pages_start_with_the_main_metrics(tmp_path):
    shown = ResultTable(metrics=["accuracy", "mcc", "auroc"])
    shown.add("floor", {"accuracy": 0.5, "mcc": 0.0, "auroc": 0.5}, baseline=True)
    shown.add("mine", {"accuracy": 0.8, "mcc": 0.6, "auroc": math.nan})
    text = write_page(tmp_path / "page.html", title="x", table=shown, predictions=[]).read_text(encoding="utf-8")
    check(text)
    assert text.count('<div class="figure">') == 2 and "better than floor by 30.0" in text


def test_unlabelled_spectra_have_no_true_molecule_and_no_tanimoto(tmp_path):
    predictions = [{**record(0, ["CCO"]), "smiles": None}]
    text = write_page(tmp_path / "page.html", title="Mine", table=ResultTable(), predictions=predictions).read_text()
    check(text)
    body = text.split("</style>")[1]
    assert "true molecule" not in body
    assert "Tanimoto" not in body


def test_examples_are_evenly_spaced_from_best_to_worst():
    ladder = [record(n, ["C" * (n + 1) + "O"]) for n in range(9)]  # ethanol is the second molecule
    chosen = evenly(ladder, 3)
    assert [place for place, _ in chosen] == [1, 5, 9]
    assert chosen[0][1]["id"] == "spectrum 1"
    assert len(evenly(ladder, 100)) == 9
    assert evenly([], 5) == []


def test_the_page_of_a_run_is_made_from_its_folder(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,train/loss\n1,2.0\n2,1.0\n")
    (tmp_path / "split.json").write_text(
        json.dumps({"method": "inchikey1 + scaffold", "sizes": {"train": 8, "test": 2}})
    )
    (tmp_path / "drops.json").write_text(json.dumps(DropReport(5).to_dict()))
    record = {
        "argv": ["/somewhere/trimer", "train", "data=my library"], "trimer": "0.1.0", "seeds": {"seed": 7},
        "git": {"sha": "a" * 40, "dirty": True}, "device": {"cpu": "Xeon", "cores": 2}, "packages": {"torch": "2.13"},
        "resumed": [{"argv": ["trimer", "train", "resume=x"]}],
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(record))
    path = write_run_page(tmp_path, "test", table(), PREDICTIONS)
    rows = evaluated_rows(tmp_path, "test", 4, "spectra")
    assert rows == "4 spectra of the test split (split by inchikey1 + scaffold)"
    text = path.read_text()
    check(text)
    assert path == tmp_path / "test" / "page.html"
    for expected in (
        "trimer train &#39;data=my library&#39;",
        "resume=x",
        "with changes",
        "2 cores of Xeon",
        "torch 2.13",
    ):
        assert expected in text
    assert "/somewhere" not in text
    assert "inchikey1 + scaffold" in text


def test_the_run_its_data_and_task_are_in_title_and_heading(tmp_path):
    shown = {"title": "Spectra to structures", "name": "my <run>", "data": "library.mgf", "evaluated": "test"}
    text = write_page(tmp_path / "page.html", table=table(), predictions=[], **shown).read_text(encoding="utf-8")
    check(text)
    assert "<title>my &lt;run&gt; · Spectra to structures · library.mgf · test split</title>" in text
    assert re.search(r"<h1>my &lt;run&gt;.*Spectra to structures  ·  library.mgf  ·  test split.*</h1>", text)


def test_a_page_of_whole_data_names_no_split(tmp_path):
    text = write_page(tmp_path / "page.html", title="x", table=table(), predictions=[], evaluated=WHOLE).read_text()
    assert "<title>x · all data</title>" in text


def test_pages_and_files_of_a_run_are_linked(tmp_path):
    for name in ("test/embeddings.html", "test/table.csv", "test/by_adduct.csv", "val/page.html", "config.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x" * 1500)
    text = write_run_page(tmp_path, "test", table(), PREDICTIONS).read_text()
    check(text)
    for expected in ('href="embeddings.html">Embeddings', 'href="../val/page.html">Results on val', 'href="#files"',
                     'href="../config.yaml">config.yaml', 'href="by_adduct.csv"', "1.5 kB"):  # fmt: skip
        assert expected in text, expected
    missing = [link for link in re.findall(r'href="([^"#]+)"', text) if not (tmp_path / "test" / link).exists()]
    assert missing == []


def test_every_section_of_the_navigation_exists(tmp_path):
    details = [Detail("Largest errors, a & b", [{"id": "one", "error": 1.0}])]
    curves = {"val/loss": Curve([1, 2], [2.0, 1.0])}
    shown = {"details": details, "curves": curves, "commands": ["trimer train"]}
    path = write_page(tmp_path / "page.html", title="x", table=table(), predictions=PREDICTIONS, **shown)
    text = path.read_text(encoding="utf-8")
    anchors = re.findall(r'<a href="#([^"]+)"', text)
    assert {"results", "learning", "spectra", "largest-errors-a-b", "reproduction"} <= set(anchors)
    assert [anchor for anchor in anchors if f'id="{anchor}"' not in text] == []


def test_lookups_that_cannot_be_right_are_not_compared(tmp_path):
    shown = ResultTable(k=[10])
    shown.add("cosine look-up", {"top10_accuracy": 0.0}, baseline=True)
    shown.add("mine", {"top10_accuracy": 0.2})
    overlap = [{"part": "test", "key": "inchikey1", "values": 9, "shared_values": 0}]
    page = {"title": "x", "table": shown, "predictions": [], "overlap": overlap, "evaluated": "test"}
    text = write_page(tmp_path / "page.html", **page).read_text(encoding="utf-8")
    assert "no look-up can be right" in text and "better than" not in text


def test_the_head_of_the_page_has_the_paired_difference_to_the_best_baseline(tmp_path):
    shown = ResultTable(k=[1])
    paired = {"tanimoto@1_difference": 0.1, "tanimoto@1_difference_std_error": 0.002}
    shown.add("look-up", {"tanimoto@1": 0.4, "tanimoto@1_std_error": 0.2, **paired}, baseline=True)
    shown.add("mine", {"tanimoto@1": 0.5, "tanimoto@1_std_error": 0.2})
    text = write_page(tmp_path / "page.html", title="x", table=shown, predictions=[]).read_text(encoding="utf-8")
    assert "better than look-up by 0.100 ± 0.002" in text


def test_a_folder_without_results_has_a_page(tmp_path):
    check(write_run_page(tmp_path, "val", table(), PREDICTIONS).read_text())


@pytest.mark.parametrize("adduct", ["[M+H]+", "unknown", None])
def test_precursor_deviation_needs_a_known_adduct(tmp_path, adduct):
    predictions = [record(0, ["CCCO"], adduct=adduct)]
    text = write_page(tmp_path / "page.html", title="x", table=ResultTable(), predictions=predictions).read_text()
    assert ('class="off"' in text) == (adduct == "[M+H]+")
