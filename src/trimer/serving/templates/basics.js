// Elements, requests and numbers. Values of the server become text nodes or attributes, never HTML.
const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const state = { models: [], card: null, operation: "predict", file: null, token: "", answer: null, sent: null, selected: 1, request: null };

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return made;
}

function drawn(tag, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

// The response to a request; an Error with the sentence of the server otherwise.
async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (state.token) headers.Authorization = `Bearer ${state.token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new Error("The server closed the connection or cannot be reached."), { status: 0 });
  }
  if (response.ok) return response;
  let message = `The server returned the status ${response.status}.`;
  try {
    message = sentence((await response.json()).error.message);
  } catch { /* a proxy in between answers with its own page */ }
  const wait = response.headers.get("Retry-After");
  throw Object.assign(new Error(wait ? `${message} Try again in ${wait} s.` : message), { status: response.status });
}

// A message of the server as a sentence; names such as p_molecule keep their case.
const sentence = text => (/^[a-z]+[ ,:]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text) + (/[.!?]$/.test(text) ? "" : ".");
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

// A value as text; name: of its column. m/z and masses have four decimals.
function shown(value, name = "") {
  if (value === null || value === undefined) return "";
  if (Array.isArray(value)) return `${value.length} values`;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  if (/mz|mass/.test(name)) return value.toFixed(4);
  const size = Math.abs(value);
  return size >= 1e6 || size < 1e-3 ? value.toExponential(1) : size >= 100 ? value.toFixed(1) : String(+value.toFixed(size >= 10 ? 2 : 3));
}

// A number with as many decimals as the text of another number.
const alike = (value, text) => text.includes("e") ? shown(value) : value.toFixed(text.split(".")[1]?.length ?? 0);

const COLUMNS = {
  id: "id", precursor_mz: "precursor m/z", ppm_error: "mass error, ppm", p_molecule: "probability of the molecule",
  p_formula: "probability of the formula", similarity_to_training: "similarity to training",
  in_training: "in the training data", neutral_mass: "neutral mass, Da", log_likelihood: "log likelihood",
  unseen: "unknown residues", smiles: "SMILES", library_cosine: "cosine to the library",
};
const title = name => COLUMNS[name] || name.replaceAll("_", " ");

function progress(text) { $("status").textContent = text; }

function problem(...content) {
  $("problem").replaceChildren(...content);
  $("problem").hidden = !content.length;
}

const drawings = new Map();
const PARTS = new Set(["svg", "title", "path", "rect", "ellipse", "circle", "text", "tspan", "line", "polygon", "polyline"]);
const ATTRIBUTES = /^(d|x|y|x1|x2|y1|y2|cx|cy|r|rx|ry|width|height|points|viewBox|class|role|fill|stroke|transform|text-anchor|font-[a-z]+|(fill|stroke)-[a-z]+|dominant-baseline)$/;

// The drawing of a molecule by the server, and its InChIKey.
function drawing(smiles) {
  if (!drawings.has(smiles)) {
    drawings.set(smiles, call(`v1/draw?smiles=${encodeURIComponent(smiles)}`).then(async response => ({ svg: await response.text(), key: response.headers.get("Trimer-InChIKey") })));
    if (drawings.size > 500) drawings.delete(drawings.keys().next().value);
  }
  return drawings.get(smiles);
}

// The drawing as elements; only shapes, texts and their sizes and colors are taken over.
async function molecule(smiles) {
  const root = new DOMParser().parseFromString((await drawing(smiles)).svg, "image/svg+xml").documentElement;
  const copy = node => {
    if (node.nodeType === Node.TEXT_NODE) return document.createTextNode(node.data);
    if (node.nodeType !== Node.ELEMENT_NODE || !PARTS.has(node.localName)) return null;
    const made = drawn(node.localName);
    for (const { name, value } of node.attributes) if (ATTRIBUTES.test(name) && !/url\(/i.test(value)) made.setAttribute(name, value);
    made.append(...[...node.childNodes].map(copy).filter(Boolean));
    return made;
  };
  return copy(root);
}

function drawInto(box, smiles) {
  molecule(smiles).then(image => image && box.replaceChildren(image), () => {
    drawings.delete(smiles);
    box.replaceChildren(element("span", { class: "soft" }, "no drawing"));
  });
}
