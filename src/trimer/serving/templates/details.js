// The selected record: its spectrum and candidates, probabilities, numbers, fragments, or a track of residues.
const MATCH_PPM = 20;  // between predicted and measured fragments
const CARDS = 12;  // candidates at first
const TRACK = 40;  // residues of a line

function rowsOf(number) { return state.answer.rows.filter(row => row.row === number); }

function showDetail() {
  const box = $("detail"), records = [...new Set(state.answer.rows.map(row => row.row))], rows = rowsOf(state.selected), [first] = rows;
  const place = records.indexOf(state.selected), move = step => { state.selected = records[place + step]; showDetail(); };
  const heading = element("div", { class: "line heading" }, element("h2", {}, `Record ${state.selected}${first.id && first.id !== String(state.selected) ? `: ${first.id}` : ""}`),
    records.length > 1 && element("span", { class: "line no-print" },
      element("button", { type: "button", disabled: place === 0, "aria-label": "Previous record", click: () => move(-1) }, "‹"),
      element("span", { class: "soft" }, `${place + 1} of ${records.length}`),
      element("button", { type: "button", disabled: place === records.length - 1, "aria-label": "Next record", click: () => move(1) }, "›")));
  box.replaceChildren(heading, ...contents(rows));
  box.hidden = false;
  for (const button of document.querySelectorAll("[data-record]")) button.toggleAttribute("aria-current", Number(button.dataset.record) === state.selected);
}

function contents(rows) {
  const [first] = rows;
  if (first.reason !== null) return [...spectrumOf(first), element("p", { class: "problem" }, "No prediction: ", first.reason)];
  if (state.sent.operation === "embed") return [element("p", {}, `A vector of ${first.embedding.length} numbers${Array.isArray(first.embedding[0]) ? ", one for each residue" : ""}. Download it as Parquet or NDJSON.`)];
  if ("smiles" in first) return candidatesWithSpectrum(rows);
  if ("intensities" in first) return fragments(first);
  if (typeof first.labels === "string") return track(first);
  return labels(first);
}

function spectrumOf(row) {
  const spectrum = state.sent.spectra[row.row - 1];
  if (!spectrum || !spectrum.mz.length) return [];
  const precursor = row.precursor_mz ?? spectrum.precursor_mz;
  if (spectrum.precursor_mz && Math.abs(precursor - spectrum.precursor_mz) > 0.01) return [];  // of another record
  const peaks = relative(spectrum);
  return [Object.assign(spectrumView({ name: "", peaks }, null, precursor, `Spectrum of ${plural(spectrum.mz.length, "peak")}`), { peaks, precursor })];
}

// ---------------------------------------------------------------- fragments

function fragments(row) {
  const box = element("div", {}, element("p", { class: "soft" }, "Fragments are being placed on the m/z axis…"));
  const parameters = Object.fromEntries([["energy", row.energy], ["instrument", row.instrument]].filter(([, value]) => value !== null && value !== ""));
  const body = JSON.stringify({ records: [`${row.peptide}/${row.charge}`], parameters });
  const path = `v1/models/${encodeURIComponent(state.sent.model)}/predict`;
  call(path, { method: "POST", body, headers: { "Content-Type": "application/json", Accept: "chemical/x-msp" } }).then(response => response.text()).then(text => {
    const predicted = libraryPeaks(text), measured = measuredPeaks();
    if (!predicted.length) return box.replaceChildren(element("p", { class: "soft" }, "No fragment is high enough for a library."));
    const matched = measured ? matchPeaks(predicted, measured) : 0;
    const legend = element("p", { class: "legend" }, ...["b", "y"].map(series => element("span", { class: `series-${series}` }, `${series} ions`)),
      measured && element("span", { class: "soft" }, `${matched} of ${predicted.length} predicted fragments are measured within ${MATCH_PPM} ppm`));
    box.replaceChildren(legend, spectrumView({ name: "predicted", peaks: predicted }, measured && { name: "measured", peaks: measured }, precursorOf(text), `Predicted fragments of ${row.sequence}`));
  }).catch(error => box.replaceChildren(element("p", { class: "problem" }, error.message)));
  return [facts([["peptide", row.sequence], ["charge", row.charge], ["retention", row.retention], ["unknown residues", row.unseen], ["in the training data", row.in_training]]), box];
}

function libraryPeaks(text) {
  return [...text.matchAll(/^([\d.]+)\t([\d.eE+-]+)\t"([^"/]+)/gm)].map(([, mz, intensity, name]) =>
    ({ mz: Number(mz), intensity: Number(intensity), label: name.replace(/\^(\d)$/, (_, charge) => "+".repeat(charge)), series: /^[by]/.test(name) ? name[0] : "peak" }));
}

const precursorOf = text => Number(/Parent=([\d.]+)/.exec(text)?.[1]) || null;

function measuredPeaks() {
  const text = $("measured").value.trim();
  return text ? relative(peaksOf(text)) : null;
}

// The number of predicted peaks with a measured one; both get a note, measured ones the name and color too.
function matchPeaks(predicted, measured) {
  let count = 0;
  for (const peak of predicted) {
    const [near] = measured.filter(one => Math.abs(one.mz - peak.mz) / peak.mz * 1e6 <= MATCH_PPM).sort((one, two) => two.intensity - one.intensity);
    if (!near) continue;
    Object.assign(near, { label: peak.label, series: peak.series, note: "predicted" });
    peak.note = "measured";
    count += 1;
  }
  return count;
}

// ---------------------------------------------------------------- labels

function facts(pairs) {
  return element("dl", { class: "facts" }, ...pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, shown(value))]));
}

// The line of facts about an example protein, from the card.
function knownFact(row) {
  const known = knownOf(row.id), same = state.card.example.records.some(one => one.id === row.id && one.sequence === row.sequence);
  return known && same ? [["known", `${known.name}, ${known.meaning} (${known.label})`]] : [];
}

function labels(row) {
  const columns = state.answer.columns, probabilities = columns.filter(name => /^probability of /.test(name)), skipped = new Set(["row", "id", "sequence", "reason", "label", "probability", ...probabilities]);
  const parts = [];
  if (state.sent.card.input.kind === "molecules") {
    const picture = element("div", { class: "picture single" });
    drawInto(picture, row.sequence);
    parts.push(picture);
  }
  parts.push(element("p", { class: "sequence" }, row.sequence ?? ""));
  if (row.label) parts.push(element("p", { class: "value" }, row.label, element("span", { class: "soft" }, ` with probability ${shown(row.probability)}`)));
  const numbers = columns.filter(name => !skipped.has(name) && typeof row[name] === "number" && name !== "applicability");
  for (const name of numbers.filter(name => !numbers.includes(name.replace(/_(low|high)$/, "")) || !/_(low|high)$/.test(name))) {
    const ends = [row[`${name}_low`], row[`${name}_high`]].filter(value => typeof value === "number");
    const interval = ends.length === 2 ? ` (90 % interval ${ends.map(value => alike(value, shown(row[name]))).join(" to ")})` : "";
    parts.push(element("p", { class: "value" }, shown(row[name]), element("span", { class: "soft" }, ` ${title(name)}${interval}`)));
  }
  if (probabilities.length) parts.push(bars(row, probabilities));
  parts.push(facts([...knownFact(row), ["unknown residues", row.unseen], ["similarity to the training data", row.applicability], ["in the training data", row.in_training]]));
  return parts;
}

function bars(row, names) {
  const values = names.map(name => ({ name: name.replace("probability of ", ""), value: row[name] }));
  if (row.label) values.sort((one, two) => two.value - one.value);
  return element("ul", { class: "bars", "aria-label": "Probabilities" }, ...values.slice(0, 30).map(({ name, value }) => {
    const positive = row.label ? row.label === name : row[`predicted ${name}`] === "yes";
    return element("li", { class: positive ? "positive" : "" }, element("span", { class: "what" }, name, positive ? element("span", { class: "soft" }, row.label ? " (predicted)" : " (yes)") : ""),
      element("meter", { min: 0, max: 1, value, "aria-label": name }), element("span", { class: "number" }, value.toFixed(3)));
  }));
}

function track(row) {
  const found = row.labels.startsWith("[") ? JSON.parse(row.labels) : [...row.labels], classes = state.sent.card.knows.classes || [...new Set(found)];
  const residues = row.sequence.match(/[A-Z](?:\[[^\]]*\])?/g) || [], readout = element("p", { class: "readout soft", "aria-live": "polite" }, "Point at a residue or use the arrow keys.");
  const cells = found.map((label, place) => element("span", { class: `residue c${classes.indexOf(label) % 8}`, "data-place": place },
    element("b", {}, (residues[place] || "?")[0]), element("i", {}, label === null ? "·" : label.length > 1 ? String(classes.indexOf(label) + 1) : label)));
  const lines = [];
  for (let start = 0; start < cells.length; start += TRACK) {
    lines.push(element("div", { class: "residues" }, element("span", { class: "soft number" }, String(start + 1)), element("div", { class: "cells" }, ...cells.slice(start, start + TRACK))));
  }
  let chosen = -1;
  const describe = place => {
    cells[chosen]?.classList.remove("chosen");
    chosen = place;
    cells[place].classList.add("chosen");
    const probability = Array.isArray(row.probability) ? `, probability ${shown(row.probability[place])}` : "";
    readout.textContent = `${residues[place] || ""} ${place + 1}: ${found[place]}${probability}`;
  };
  const box = element("div", { class: "track", tabindex: 0, role: "group", "aria-label": "Labels of the residues; arrow keys choose a residue",
    pointerover: event => { const cell = event.target.closest("[data-place]"); if (cell) describe(Number(cell.dataset.place)); },
    keydown: event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      describe(Math.max(0, Math.min(cells.length - 1, chosen + step)));
    } }, ...lines);
  const legend = element("p", { class: "legend" }, ...classes.map((name, number) => element("span", {}, element("span", { class: `swatch c${number % 8}` }, name.length > 1 ? String(number + 1) : name), ` ${name}: ${found.filter(label => label === name).length}`)));
  return [legend, box, readout, facts([...knownFact(row), ["in the training data", row.in_training]])];
}
