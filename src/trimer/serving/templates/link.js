// A link with the input of the form in its fragment, which browsers do not send. Opening it fills the form, no more.
const LINK = "#1.";  // start of the fragment: the version of its content
const LONGEST_LINK = 16_000;  // characters of a fragment; mail programs and chats cut longer addresses
const MOST_TEXT = 1 << 20;  // bytes of an unpacked input
const FIELDS = ["text", "precursor", "adduct", "energy", "measured"];

function formState() {
  const fields = Object.fromEntries(FIELDS.map(id => [id, $(id).value]).filter(([, value]) => value));
  const given = [...document.querySelectorAll("[data-parameter]")].filter(input => input.value.trim()).map(input => [input.dataset.parameter, input.value.trim()]);
  return { model: state.card.name, operation: state.operation, fields, parameters: Object.fromEntries(given) };
}

async function copyLink() {
  problem();
  if (state.file) return problem("A link holds pasted input, not a file: paste its text, or send the file.");
  const text = JSON.stringify(formState()), bytes = new Uint8Array(await new Response(new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"))).arrayBuffer());
  const size = LINK.length + Math.ceil(bytes.length * 4 / 3);
  if (size > LONGEST_LINK || new Blob([text]).size > MOST_TEXT) return problem(`The input is too large for a link: ${plural(size, "character")}, at most ${LONGEST_LINK.toLocaleString("en")}.`);
  const packed = btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  history.replaceState(null, "", `${LINK}${packed}`);
  try {
    await navigator.clipboard.writeText(location.href);
    progress("The link is copied. It holds the input; opening it sends nothing to the server.");
  } catch { progress("The link is in the address bar. It holds the input; opening it sends nothing to the server."); }
}

// The state that a fragment holds; an Error if it is damaged or too large.
async function unpacked(fragment) {
  if (fragment.length > LONGEST_LINK) throw new Error("The input of the link is too large.");
  try {
    const bytes = Uint8Array.from(atob(fragment.slice(LINK.length).replaceAll("-", "+").replaceAll("_", "/")), letter => letter.charCodeAt(0));
    const parts = [], reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
    for (let total = 0; ;) {
      const { done, value } = await reader.read();
      if (done) break;
      total += value.length;
      if (total > MOST_TEXT) throw new Error("too large");
      parts.push(value);
    }
    const found = JSON.parse(await new Blob(parts).text()), texts = part => Object.values(part).every(value => typeof value === "string");
    if (typeof found.model !== "string" || !texts(found.fields) || !texts(found.parameters)) throw new Error("not a state");
    return found;
  } catch { throw new Error("The link is damaged: its input cannot be read."); }
}

async function openLink() {
  if (!location.hash.startsWith(LINK)) return;
  try {
    const found = await unpacked(location.hash);
    if (!state.models.some(model => model.name === found.model)) throw new Error(`The link is for the model ${found.model}, which this server does not have.`);
    for (const radio of document.querySelectorAll("input[name=model]")) radio.checked = radio.value === found.model;
    await choose(found.model);
    fillForm(found);
    progress("The input of the link is in the form. Nothing is sent until you press the button.");
    $("run").focus();
  } catch (error) { problem(error.message); }
}

function fillForm({ operation, fields, parameters }) {
  if (Object.hasOwn(state.card.operations, operation)) {
    state.operation = operation;
    for (const radio of document.querySelectorAll("input[name=operation]")) radio.checked = radio.value === operation;
    showParameters();
  }
  for (const id of FIELDS) $(id).value = fields[id] ?? "";
  for (const input of document.querySelectorAll("[data-parameter]")) {
    if (!Object.hasOwn(parameters, input.dataset.parameter)) continue;
    input.value = parameters[input.dataset.parameter];
    if (input.closest("#advanced")) $("advanced").open = true;
  }
}
