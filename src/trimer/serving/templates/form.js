// The form: what a model takes, examples, and the request that they become.
const INPUT = {
  spectra: ["Peak list, or MGF or MSP text", "One peak a line: m/z and intensity, or pairs such as 85.03:100. Text with BEGIN IONS or Name: is sent as a file."],
  molecules: ["SMILES", "One molecule a line; an id may follow after a blank. SDF works too."],
  proteins: ["Protein sequences", "FASTA, or one sequence a line."],
  peptides: ["Peptides in ProForma", "One peptide a line, such as AC[UNIMOD:4]DEK. A table with a header line works too."],
  precursors: ["Peptides with charge", "One a line: ProForma, a slash and the charge, such as PEPTIDEK/2. A table with a header line works too."],
};
const FIRST = ["candidates", "generator.num_samples", "seed", "energy", "instrument", "pooling"];  // parameters that are always visible
const HELP = { "generator.num_samples": "molecules that are generated for each spectrum" };
const TABLE = /^[^\n]*[,\t]|^(modified_)?(sequence|peptide) *\n/;
const MARKS = {  // text that is a file
  spectra: /^\s*(BEGIN IONS|name:|precursormz:|num ?peaks:|spectrumid:|ACCESSION:|[[{<])/im,
  molecules: /M {2}END|^smiles *\n|^[^\n]*smiles[^\n]*[,\t]|^[^\n]*[,\t][^\n]*smiles/i,
  proteins: /^\s*(>|LOCUS|ID {3}|# STOCKHOLM)|^[^\n]*[,\t]|^sequence *\n/,
  peptides: TABLE,
  precursors: TABLE,
};
const kind = () => state.card.input.kind;

function showForm() {
  const card = state.card, [label, help] = INPUT[kind()] || ["Records", card.input.records];
  $("text-label").textContent = label;
  $("text-help").textContent = help;
  $("spectrum-fields").hidden = kind() !== "spectra";
  $("measured-box").hidden = kind() !== "precursors";
  $("adducts").replaceChildren(...Object.keys(card.knows.adducts || {}).map(value => element("option", { value })));
  $("file-help").textContent = `${card.input.files.join(", ")}; at most ${card.limits.body_mib} MiB and ${plural(card.limits.records, "record")}.`;
  const records = card.example.records;
  const buttons = records.map(record => element("button", { type: "button", click: () => example([record]) }, nameOf(record)));
  if (records.length > 1) buttons.push(element("button", { type: "button", click: () => example(records) }, `all ${records.length}`));
  $("examples").replaceChildren(element("span", { class: "soft" }, "Examples: "), ...buttons);
  const operations = Object.keys(card.operations);
  state.operation = operations.includes("predict") ? "predict" : operations[0];
  $("operations").hidden = operations.length < 2;
  $("operations").replaceChildren(element("legend", {}, "Operation"), ...operations.map(name => element("label", { class: "choice" },
    element("input", { type: "radio", name: "operation", value: name, checked: name === state.operation, change: () => { state.operation = name; showParameters(); } }),
    name === "predict" ? "predict" : "embed (vectors)")));
  showParameters();
  clearForm();
  $("form").hidden = false;
}

function showParameters() {
  const first = [], more = [];
  for (const one of state.card.operations[state.operation].parameters) {
    if (one.name === "ranked") continue;  // the page shows all candidates
    (FIRST.includes(one.name) ? first : more).push(parameterField(one));
  }
  $("parameters").replaceChildren(...first);
  $("advanced").querySelector("div").replaceChildren(...more);
  $("advanced").hidden = !more.length;
  $("run").textContent = state.operation === "predict" ? "Predict" : "Embed";
}

function parameterField({ name, default: usual, limit, help: given }) {
  const help = HELP[name] || given, id = `parameter-${name}`, text = limit === null ? help : `${help ? `${help}; ` : ""}at most ${limit}`;
  const attributes = { id, "data-parameter": name, "aria-describedby": `${id}-help` };
  const input = typeof usual === "boolean" || /^(true|false)/.test(help)
    ? element("select", attributes, element("option", { value: "" }, "default"), ...["true", "false"].map(value => element("option", { value }, value)))
    : element("input", { ...attributes, placeholder: usual === null ? "default" : String(usual) });
  return element("div", {}, element("label", { for: id }, name.replace("generator.", "").replaceAll("_", " ")), input,
    element("p", { id: `${id}-help`, class: "soft" }, text));
}

function parameters() {
  const values = {};
  for (const input of document.querySelectorAll("[data-parameter]")) {
    const text = input.value.trim();
    if (!text) continue;
    try { values[input.dataset.parameter] = JSON.parse(text); } catch { values[input.dataset.parameter] = text; }
  }
  if (state.card.operations[state.operation].parameters.some(one => one.name === "ranked")) values.ranked = true;
  return values;
}

function clearForm() {
  for (const id of ["text", "precursor", "adduct", "energy", "measured"]) $(id).value = "";
  chooseFile(null);
}

// What the card knows of an example record: its name and a label.
const knownOf = id => (state.card.example.known || []).find(one => one.id === id);
const nameOf = record => knownOf(record.id) ? shorten(knownOf(record.id).name) : typeof record === "string" ? shorten(record) : shorten(String(record.name || record.id || record.sequence || record.smiles || "record"));
const shorten = text => text.length > 26 ? `${text.slice(0, 25)}…` : text;

// Put examples of the card into the form.
function example(records) {
  clearForm();
  if (kind() !== "spectra") $("text").value = records.map(textOf).join("\n");
  else if (records.length > 1) $("text").value = records.map(mgf).join("\n");
  else {
    const [record] = records;
    $("text").value = record.mz.map((mz, place) => `${mz} ${+record.intensity[place].toPrecision(5)}`).join("\n");
    $("precursor").value = record.precursor_mz ?? "";
    $("adduct").value = record.adduct ?? "";
    $("energy").value = record.collision_energy ?? "";
  }
  for (const [name, value] of Object.entries(state.card.example.parameters)) {
    const input = $(`parameter-${name}`);
    if (input) input.value = String(value);
  }
  progress(`${records.length === 1 ? "The example is" : "The examples are"} in the form.`);
  $("run").focus();
}

function textOf(record) {
  if (typeof record === "string") return record;
  const text = record.sequence ?? record.smiles ?? "";
  if (kind() === "proteins" && record.id) return `>${record.id}\n${text}`;
  return record.charge ? `${text}/${record.charge}` : kind() === "molecules" && record.id ? `${text} ${record.id}` : text;
}

function mgf(record) {
  const head = [["TITLE", record.id ?? record.name], ["PEPMASS", record.precursor_mz], ["ADDUCT", record.adduct], ["COLLISION_ENERGY", record.collision_energy]];
  const lines = head.filter(([, value]) => value !== undefined && value !== null).map(pair => pair.join("="));
  return ["BEGIN IONS", ...lines, ...record.mz.map((mz, place) => `${mz} ${+record.intensity[place].toPrecision(5)}`), "END IONS"].join("\n");
}

function chooseFile(file) {
  state.file = file;
  if (!file) $("file").value = "";
  $("file-name").hidden = !file;
  $("file-name").firstElementChild.textContent = file ? `${file.name} (${size(file.size)})` : "";
}

const size = bytes => bytes < 1024 ? `${bytes} bytes` : bytes < 1 << 20 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;

const NUMBER = String.raw`[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?`;
const PAIRS = new RegExp(`^${NUMBER}:${NUMBER}(?:[\\s;,]+${NUMBER}:${NUMBER})*$`, "i");  // 100.1:5 120.3:10, as MoNA writes peaks

// The numbers of a line of peaks. A comma is a decimal one where blanks, tabs or semicolons separate the numbers.
function numbersOf(line) {
  const parts = line.split(/[\s;:]+,?|,(?=\s)/).filter(Boolean);
  if (line.includes(":") && parts.length > 2) return [];  // pairs with a mistake
  return (parts.length > 1 ? parts.map(part => part.replace(/^(\d+),(\d+)$/, "$1.$2")) : (parts[0] || "").split(",")).map(Number);
}

// Peaks of a text as two lists: m/z and intensity in each line, or pairs with a colon; an Error names the first line without.
function peaksOf(text) {
  const mz = [], intensity = [];
  text.split("\n").forEach((given, number) => {
    const line = given.trim().replace(/[;,]$/, "");
    if (!line || line.startsWith("#")) return;
    const pairs = PAIRS.test(line) ? line.split(/[\s;,]+/).map(pair => pair.split(":").map(Number)) : [numbersOf(line)];
    for (const [one, two] of pairs) {
      if (!Number.isFinite(one) || !Number.isFinite(two)) throw new Error(`Line ${number + 1} of the peaks must have two numbers, m/z and intensity.`);
      mz.push(one);
      intensity.push(two);
    }
  });
  return { mz, intensity };
}

// The spectra of an MGF text, to draw them: the server reads the text itself.
function spectraOf(text) {
  return text.split(/^BEGIN IONS/m).slice(1).map(block => {
    const lines = block.split(/^END IONS/m)[0].split("\n").map(line => line.trim());
    const precursor = Number(((lines.find(line => /^PEPMASS=/i.test(line)) || "").split("=")[1] || "").split(/\s/)[0]);
    const peaks = lines.filter(line => /^[\d.]/.test(line)).join("\n");
    try { return { ...peaksOf(peaks), precursor_mz: precursor }; } catch { return null; }
  });
}

// What the form sends: records, or a file; and the spectra that can be drawn.
async function input() {
  const text = $("text").value.trim();
  if (state.file) {
    const drawable = kind() === "spectra" && state.file.size < 8 << 20 && /\.mgf$/i.test(state.file.name);
    return { file: state.file, name: state.file.name, spectra: drawable ? spectraOf(await state.file.text()) : [] };
  }
  if (!text) throw new Error("There is no input: paste records, drop a file, or click an example.");
  if (MARKS[kind()]?.test(text)) {
    const name = { spectra: "pasted.txt", molecules: "pasted.txt", proteins: "pasted.fasta" }[kind()] || "pasted.csv";
    return { file: new File([text], name), name, pasted: text, spectra: kind() === "spectra" ? spectraOf(text) : [] };
  }
  if (kind() === "spectra") {
    const record = { ...peaksOf(text) };
    if ($("precursor").value.trim()) record.precursor_mz = Number($("precursor").value.replace(",", "."));
    if (Number.isNaN(record.precursor_mz)) throw new Error("The precursor m/z must be a number.");
    if ($("adduct").value.trim()) record.adduct = $("adduct").value.trim();
    if ($("energy").value.trim()) record.collision_energy = $("energy").value.trim();
    return { records: [record], spectra: [record] };
  }
  const lines = text.split("\n").map(line => line.trim()).filter(Boolean);
  const pairs = lines.map(line => line.split(/\s+/));
  if (kind() === "molecules" && pairs.some(pair => pair.length > 1)) {
    return { records: pairs.map(([smiles, ...id], row) => ({ smiles, id: id.join(" ") || String(row + 1) })), spectra: [] };
  }
  return { records: lines, spectra: [] };
}

// The options of fetch for an input.
function options(sent, headers = {}) {
  if (!sent.file) {
    const body = JSON.stringify({ records: sent.records, parameters: sent.parameters });
    return { method: "POST", body, headers: { "Content-Type": "application/json", ...headers } };
  }
  const form = new FormData();
  form.append("parameters", JSON.stringify(sent.parameters));
  form.append("file", sent.file, sent.name);
  return { method: "POST", body: form, headers };
}
