"""The page at `/` in headless Chromium, against a real server: examples, files, bad input, keyboard, widths."""

from __future__ import annotations

import io
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
from browser import PATIENCE, chromium
from waiting import until

from trimer.resuming import plain_dict
from trimer.serving.app import create_app
from trimer.serving.jobs import Jobs
from trimer.serving.limits import JobLimits, Refusal, limits_of
from trimer.serving.page_routes import LARGEST, LONGEST, drawing, page_and_policy
from trimer.serving.server import Server, uvicorn_config

WIDTHS = (390, 768, 1280, 1600)
SCROLLS = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
RECORDS = 200  # of a request; a file with more becomes a job
MEASURED = "430.7405 80\n797.3941 100\n650.1 20"


@pytest.fixture(scope="module")
def address(service, further_models, serve_config, tmp_path_factory) -> Iterator[str]:
    """The URL of a server in a thread, with all models and with jobs."""
    models, cards, limits = service.models, service.cards, service.limits
    folder = tmp_path_factory.mktemp("jobs")
    values = plain_dict(serve_config.jobs) | {"folder": str(folder)}
    jobs = Jobs(service, folder, limits_of(JobLimits, values, "jobs"))
    service.limits = replace(limits, records=RECORDS)
    service.models = models | {name: model for name, (model, _) in further_models.items()}
    service.cards = {
        name: {**card, "jobs": service.job_limits}
        for name, card in (cards | {name: card for name, (_, card) in further_models.items()}).items()
    }
    config = uvicorn_config(create_app(service, jobs=jobs), "127.0.0.1", 0, service.limits, 1)
    config.lifespan = "off"  # the service is that of other tests too
    server = Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    jobs.start()
    until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(10)
    jobs.close()
    service.models, service.cards, service.limits, service.job_limits = models, cards, limits, None


@pytest.fixture(scope="module")
def tab(address):
    """One tab for all tests; each chooses its model, which empties the form. `errors` and `addresses` collect."""
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.set_default_timeout(PATIENCE)
        tab.errors, tab.addresses = [], []
        tab.on("pageerror", lambda error: tab.errors.append(str(error)))
        tab.on("console", lambda message: tab.errors.append(message.text) if message.type == "error" else None)
        tab.on("request", lambda request: tab.addresses.append(request.url))
        tab.goto(address)
        tab.wait_for_selector("#form:not([hidden])")
        yield tab


def holds(tab, condition: str) -> None:
    """Wait for a condition; `wait_for_function` would need a weaker content security policy."""
    until(lambda: tab.evaluate(condition), PATIENCE / 1000)


def choose(tab, model: str) -> None:
    if tab.locator(f"input[name=model][value={model}]").is_checked():
        tab.locator("input[name=model]:not(:checked)").first.check()
    tab.locator(f"input[name=model][value={model}]").check()
    holds(tab, f"state.card.name === {model!r} && !$('empty').hidden")
    tab.errors.clear()


def predict(tab) -> None:
    tab.evaluate("state.answer = null")
    tab.click("#run")
    holds(tab, "state.answer !== null && state.request === null")


def test_the_page_is_one_file_without_outside_sources(client):
    response = client.get("/")
    assert response.status_code == 200
    addresses = {"http://www.w3.org/2000/svg", "https://pubchem.ncbi.nlm.nih.gov/#query="}  # the second for a link
    assert set(re.findall(r"https?://[^\s\"'`]+", response.text)) == addresses
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(| style=| on\w+=", response.text)
    policy = response.headers["content-security-policy"]
    assert policy == page_and_policy()[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_drawings_are_bounded(client):
    svg = client.get("/v1/draw", params={"smiles": "CC(=O)N"})
    assert svg.headers["content-type"] == "image/svg+xml"
    assert svg.text.startswith("<svg")
    assert svg.headers["trimer-inchikey"] == "DLFVBJFMPXGRIB-UHFFFAOYSA-N"  # acetamide
    assert "&lt;" in drawing("C <x>")
    for text in ("not a molecule", "", "C" * (LARGEST + 1), "C" * (LONGEST + 1)):
        with pytest.raises(Refusal) as error:
            drawing(text)
        assert error.value.status == 422
    assert client.get("/v1/draw", params={"smiles": "C("}).status_code == 422
    assert client.get("/v1/draw").status_code == 422


def test_an_example_of_peptides_is_predicted_and_downloaded(tab, address):
    choose(tab, "peptide-rt")
    assert "24,124 records" in tab.inner_text("#banner")
    assert "Licence: Apache-2.0, as Trimer." in tab.inner_text("#banner")
    assert "7 to 30 residues on one gradient; fine-tune it" in tab.inner_text("#banner")
    tab.click("#examples button >> nth=-1")
    predict(tab)
    assert "3 records, all predicted" in tab.inner_text("#status")
    assert float(re.search(r"[\d.]+", tab.inner_text("#detail .value"))[0]) > 0
    assert tab.locator("#detail .value").count() == 1  # the ends of its interval are beside it
    assert re.search(r"retention \(90 % interval [−\d.-]+ to [−\d.-]+\)", tab.inner_text("#detail .value"))
    assert tab.locator("#rows tbody tr").count() == 3
    with tab.expect_download() as download:
        tab.click("[data-format=csv]")
    assert download.value.suggested_filename == "peptide-rt.csv"
    assert len(download.value.path().read_text().splitlines()) == 4
    assert f"curl '{address}v1/models/peptide-rt/predict'" in tab.inner_text("#code pre")
    tab.check("input[name=language][value=Python]")
    names: dict = {}
    exec(tab.inner_text("#code pre"), names)
    times = tab.evaluate("state.answer.rows.map(row => row.retention)")
    assert [row["retention"] for row in names["answer"]["rows"]] == times
    tab.check("input[name=language][value=R]")
    assert "httr2" in tab.inner_text("#code pre")
    assert not tab.errors


def test_bad_rows_have_reasons_and_no_markup(tab):
    choose(tab, "peptide-rt")
    tab.fill("#text", "PEPTIDEK\n<img/src=x/onerror=document.title='changed'>\nPEPTIDEU\nAALLNAIR")
    predict(tab)
    assert "2 without a prediction" in tab.inner_text("#status")
    tab.check("#rows input[type=checkbox]")
    assert tab.locator("#rows tbody tr").count() == 2
    assert "<img/src" in tab.inner_text("#rows tbody")
    tab.click("[data-record='2']")
    assert "No prediction" in tab.inner_text("#detail")
    assert tab.locator("main img").count() == 0
    assert tab.title() == "Trimer"
    tab.uncheck("#rows input[type=checkbox]")
    tab.fill("#filter", "AALL")
    assert "1 of 4 rows" in tab.inner_text("#rows")
    tab.fill("#filter", "")
    head = tab.locator("#rows th", has_text="retention").first  # the others are the ends of its interval
    head.locator("button").click()
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    values = tab.locator("#rows tbody tr").evaluate_all("rows => rows.map(row => row.innerText)")
    assert "PEPTIDEU" in values[3] or "<img" in values[3]  # rows without a value are last
    tab.fill("#text", "")
    tab.click("#run")
    assert "no input" in tab.inner_text("#problem")
    assert not tab.errors


@pytest.mark.parametrize(
    ("text", "peaks"),
    [
        ("100.1 5\n# a comment\n120.2,10\n130.3; 20", [[100.1, 5], [120.2, 10], [130.3, 20]]),
        ("100,1\t5\n120,2 10,5", [[100.1, 5], [120.2, 10.5]]),  # decimal commas
        ("85.0284:100 127.039:20.5", [[85.0284, 100], [127.039, 20.5]]),
        ("85.0284:100 127.039", "Line 1"),
        ("100.1 5\n1,234.5 100", "Line 2"),
        ("100.1", "Line 1"),
    ],
)
def test_peaks_are_read_as_they_are_written_or_the_line_is_named(tab, text, peaks):
    read = tab.evaluate(
        "text => { try { return peaksOf(text); } catch (error) { return error.message; } }", text
    )  # fmt: skip
    if isinstance(peaks, str):
        assert read.startswith(peaks)
    else:
        assert [list(pair) for pair in zip(read["mz"], read["intensity"], strict=True)] == peaks


def test_a_spectrum_gets_drawn_candidates_and_zooms_by_keys(tab):
    choose(tab, "spectrums")
    tab.click("#examples button >> nth=1")
    assert tab.input_value("#adduct") == "[M+H]+"
    tab.fill('[id="parameter-generator.num_samples"]', "4")
    predict(tab)
    holds(tab, "document.querySelectorAll('.card .picture svg').length > 1")
    assert re.search(r"ppm, (agrees|disagrees)", tab.inner_text(".card .badge >> nth=0"))
    assert tab.locator(".card").count() == tab.evaluate("state.answer.rows.length")
    tab.focus("svg.spectrum")
    before = tab.locator("svg.spectrum").evaluate("node => node.textContent")
    tab.keyboard.press("ArrowRight")
    assert "m/z 58.0652" in tab.inner_text("#detail .readout")
    tab.keyboard.press("+")
    assert tab.locator("svg.spectrum").evaluate("node => node.textContent") != before
    tab.keyboard.press("0")
    assert tab.locator("svg.spectrum").evaluate("node => node.textContent") == before
    assert not tab.errors


def test_candidates_are_grouped_explain_peaks_and_are_linked(tab):
    choose(tab, "spectrums")
    banner = tab.inner_text("#banner")
    assert "Limits of this model" in banner
    assert banner.count("spectrums/simulate") == 1 and "parts of up to" in banner
    tab.click("#examples button >> nth=1")
    tab.fill('[id="parameter-generator.num_samples"]', "4")
    predict(tab)
    holds(tab, "document.querySelector('p.explained')?.textContent.startsWith('Candidate 1 explains ')")
    assert tab.locator("svg.spectrum path.explained").count() == 1
    assert tab.get_attribute("[data-rank='1']", "aria-pressed") == "true"
    tab.click("[data-rank='2']")
    holds(tab, "document.querySelector('p.explained').textContent.startsWith('Candidate 2 explains ')")
    assert tab.get_attribute("[data-rank='1']", "aria-pressed") == "false"
    holds(tab, "document.querySelectorAll('.card a').length === document.querySelectorAll('.card').length")
    link = tab.locator(".card a").first
    assert re.fullmatch(
        r"https://pubchem\.ncbi\.nlm\.nih\.gov/#query=[A-Z]{14}-[A-Z]{10}-[A-Z]", link.get_attribute("href")
    )
    assert link.get_attribute("rel") == "noopener noreferrer"
    cards = tab.locator(".card").count()
    tab.check("label:has-text('group by formula') input")
    formulas = tab.evaluate("state.answer.rows.map(row => row.formula)")
    assert tab.locator(".cards .group").count() == len(set(formulas[:cards]))
    assert tab.locator(".card").count() == cards
    assert not tab.errors


def test_a_link_holds_the_input_and_opening_it_sends_nothing(tab, address, tmp_path):
    choose(tab, "spectrums")
    tab.click("#examples button >> nth=1")
    tab.fill("#energy", "35 eV <b>")
    tab.click("#advanced summary")
    tab.fill('[id="parameter-tolerance_ppm"]', "7")
    peaks = tab.input_value("#text")
    tab.click("#link")
    holds(tab, "location.hash.startsWith('#1.')")
    link = tab.evaluate("location.href")
    before = len(tab.addresses)
    tab.goto("about:blank")
    tab.goto(link)
    holds(tab, "$('status').textContent.startsWith('The input of the link')")
    assert tab.input_value("#text") == peaks
    assert tab.input_value("#energy") == "35 eV <b>"
    assert tab.input_value('[id="parameter-tolerance_ppm"]') == "7"
    assert tab.locator("input[name=model][value=spectrums]").is_checked()
    assert not any("predict" in url or "#" in url.removeprefix(link) for url in tab.addresses[before:])
    tab.evaluate("location.hash = '#1.AAAA'")
    holds(tab, "$('problem').textContent.includes('damaged')")
    noise = "const n = crypto.getRandomValues(new Uint8Array(30000)); $('text').value = [...n].join(' ')"
    tab.evaluate(noise)
    tab.click("#link")
    holds(tab, "$('problem').textContent.includes('too large for a link')")
    table = tmp_path / "mine.csv"
    table.write_text("a,b\n")
    tab.set_input_files("#file", table)
    tab.click("#link")
    holds(tab, "$('problem').textContent.includes('not a file')")
    tab.goto(address)
    tab.wait_for_selector("#form:not([hidden])")


def test_a_dropped_file_is_sent_and_a_large_one_gets_the_sentence_of_the_server(tab, tmp_path):
    choose(tab, "peptide-rt")
    table = tmp_path / "mine.csv"
    table.write_text("sequence\nPEPTIDEK\nAALLNAIR\n")
    tab.set_input_files("#file", table)
    assert "mine.csv" in tab.inner_text("#file-name")
    predict(tab)
    assert "2 records" in tab.inner_text("#status")
    assert "-F 'file=@mine.csv'" in tab.inner_text("#code pre")
    large = tmp_path / "large.csv"
    large.write_bytes(b"sequence\n" + b"PEPTIDEK\n" * 2_000_000)
    tab.set_input_files("#file", large)
    tab.click("#run")
    tab.wait_for_selector("#problem:not([hidden])")
    assert "limits.body_mib" in tab.inner_text("#problem")
    assert "16 MiB" in tab.inner_text("#problem")


@pytest.mark.parametrize("operation", ["predict", "embed"])
def test_a_file_above_the_limits_becomes_a_job_with_downloads(tab, tmp_path, operation):
    choose(tab, "peptide-rt")
    tab.check(f"input[name=operation][value={operation}]")
    table = tmp_path / "many.csv"
    table.write_text("sequence\n" + "".join(f"PEPTIDE{'K' * (1 + n % 9)}\n" for n in range(RECORDS + 1)))
    tab.set_input_files("#file", table)
    tab.click("#run")
    # The first question for the state fails, as if the server were started again.
    tab.route(re.compile(r"/v1/jobs/[0-9a-f]{32}$"), lambda route: route.abort(), times=1)
    tab.click("#problem button")
    shown = "#rows:not([hidden]) [data-format=parquet]" if operation == "predict" else "#job [data-format=parquet]"
    tab.wait_for_selector(shown)
    assert "done" in tab.inner_text("#job")
    if operation == "predict":
        assert f"{RECORDS + 1} rows" in tab.inner_text("#rows")
    with tab.expect_download() as download:
        tab.click(shown)
    rows = pq.read_table(io.BytesIO(Path(download.value.path()).read_bytes()))
    assert rows.num_rows == RECORDS + 1
    assert all(reason is None for reason in rows["reason"].to_pylist())


def test_fragments_are_mirrored_against_measured_peaks(tab):
    choose(tab, "peptide-ms2")
    tab.click("#examples button >> nth=1")
    tab.fill("#measured", MEASURED)
    predict(tab)
    tab.wait_for_selector("#detail svg.spectrum")
    text = tab.inner_text("#detail")
    assert "2 of" in text
    assert "within 20 ppm" in text
    assert {"predicted", "measured"} <= set(tab.locator("svg.spectrum text").all_text_contents())
    assert not tab.errors


def test_classes_of_a_molecule_are_bars_in_words_and_numbers(tab):
    choose(tab, "kinds")
    tab.fill("#text", "CCO first")
    predict(tab)
    bars = tab.locator(".bars li").all_inner_texts()
    assert len(bars) == 2
    assert "(predicted)" in bars[0]
    assert "first" in tab.inner_text("#detail h2")
    tab.wait_for_selector("#detail .picture svg")
    assert not tab.errors


def test_known_proteins_are_predicted_with_what_is_known_of_them(tab):
    choose(tab, "membrane")
    tab.click("#examples button >> nth=-1")
    assert tab.input_value("#text").startswith(">P43220\nMAGAPGPLRL")
    predict(tab)
    assert "6 records, all predicted" in tab.inner_text("#status")
    assert "Record 1: P43220" in tab.inner_text("#detail h2")
    assert "Glucagon-like peptide 1 receptor, membrane-bound (M)" in tab.inner_text("#detail")
    assert tab.locator(".bars li").count() == 2
    assert not tab.errors


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("membrane", ">it's one\nMKTAYIAKQRQISFVK\nEND\n>two\nMKV"),
        ("peptide-rt", 'sequence,note\nPEPTIDEK,"a ""quoted"" $HOME `x`"\nPEPTIDEU,b'),
        ("kinds", "CCO first\nnot_a_molecule second"),
    ],
)
def test_the_request_as_text_runs_as_it_stands(tab, model, text):
    choose(tab, model)
    tab.fill("#text", text)
    predict(tab)
    rows = tab.evaluate("state.answer.rows")
    assert len(rows) == 2
    command = ["bash", "-c", tab.inner_text("#code pre")]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert json.loads(printed)["rows"] == rows
    tab.check("input[name=language][value=Python]")
    names: dict = {}
    exec(tab.inner_text("#code pre"), names)
    assert names["answer"]["rows"] == rows
    tab.check("input[name=language][value=R]")
    assert text.split("\n")[-1].split(" ")[0] in tab.inner_text("#code pre")
    assert "form_file" not in tab.inner_text("#code pre")


def test_residue_labels_are_a_track(tab):
    choose(tab, "states")
    tab.fill("#text", ">a\nMKV")
    predict(tab)
    row = tab.evaluate("state.answer.rows[0]")
    tab.focus(".track")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    text = tab.inner_text("#detail .readout")
    assert text.startswith(f"K 2: {row['labels'][1]}, probability 0.")
    assert float(text.split()[-1]) == pytest.approx(row["probability"][1], abs=1e-3)
    assert len(tab.locator("#detail .legend > span").all_inner_texts()) == 3
    assert not tab.errors


def test_a_finger_on_a_peak_describes_it(tab):
    choose(tab, "spectrums")
    tab.click("#examples button >> nth=1")
    tab.fill('[id="parameter-generator.num_samples"]', "1")
    predict(tab)
    tab.wait_for_selector("#detail svg.spectrum")
    box = tab.locator("#detail svg.spectrum").bounding_box()
    touch = {
        "clientX": box["x"] + box["width"] - 40,
        "clientY": box["y"] + 100,
        "pointerType": "touch",
        "bubbles": True,
    }
    for place in range(8):  # the peak of the precursor is near the right end
        tab.dispatch_event("#detail svg.spectrum", "pointerdown", touch | {"clientX": touch["clientX"] - 20 * place})
    assert "of the highest peak" in tab.inner_text("#detail .readout")
    assert tab.locator("#detail svg.spectrum .range").count() == 0
    assert not tab.errors


def test_a_spectrum_is_saved_as_svg_and_png(tab):
    choose(tab, "peptide-ms2")
    tab.click("#examples button >> nth=1")
    predict(tab)
    tab.wait_for_selector("#detail svg.spectrum")
    files = {}
    for kind in ("svg", "png"):
        with tab.expect_download() as download:
            tab.click(f"#detail .tools >> text=Save as {kind.upper()}")
        assert download.value.suggested_filename == f"peptide-ms2-spectrum.{kind}"
        files[kind] = download.value.path().read_bytes()
    root = ElementTree.fromstring(files["svg"])
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert {"m/z", "100%"} <= {node.text for node in root.iter() if node.text}
    assert all(node.get("fill") for node in root.iter("{http://www.w3.org/2000/svg}path"))
    assert files["png"].startswith(b"\x89PNG") and len(files["png"]) > 5_000
    assert not tab.errors


def test_everything_works_by_keyboard(tab):
    choose(tab, "peptide-ms2")
    tab.focus("input[name=model][value=peptide-ms2]")
    tab.keyboard.press("ArrowLeft")
    holds(tab, "state.card.name === 'peptide-rt'")
    tab.focus("#text")
    tab.keyboard.type("AALLNAIR")
    tab.evaluate("state.answer = null")
    tab.keyboard.press("Control+Enter")
    holds(tab, "state.answer !== null")
    focusable = tab.evaluate(
        "[...document.querySelectorAll('button, input, textarea, select, summary, [tabindex=\"0\"]')]"
        ".filter(node => node.getClientRects().length && !node.disabled && node.tabIndex < 0).length"
    )
    assert focusable == 0


def test_nothing_scrolls_sideways_at_any_width(tab):
    choose(tab, "spectrums")
    tab.click("#examples button >> nth=-1")
    tab.fill('[id="parameter-generator.num_samples"]', "2")
    predict(tab)
    for scheme in ("light", "dark"):
        tab.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            tab.set_viewport_size({"width": width, "height": 900})
            assert not tab.evaluate(SCROLLS), f"{width} px, {scheme}"
    tab.set_viewport_size({"width": 1280, "height": 900})


def test_all_requests_of_the_page_are_to_its_server(tab, address):
    assert len(tab.addresses) > 5
    assert [url for url in tab.addresses if not url.startswith((address, f"blob:{address}", "data:,"))] == []
