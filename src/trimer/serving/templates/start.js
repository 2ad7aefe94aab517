// Models, their banner, and what happens on Predict.
async function start() {
  try {
    const { models } = await (await call("v1/models")).json();
    $("token-box").hidden = true;
    if (!models.length) {
      progress("The models are being loaded.");
      return setTimeout(start, 2000);
    }
    const version = await (await call("version")).json();
    $("versions").textContent = `version ${version.trimer_version ?? version.trimer ?? ""}`.trim();
    state.models = models;
    $("model-list").replaceChildren(...models.map((model, place) => element("label", { class: "model" },
      element("input", { type: "radio", name: "model", value: model.name, checked: place === 0, change: () => choose(model.name) }),
      element("span", {}, element("strong", {}, model.name), element("span", { class: "soft" }, model.task)))));
    $("models").hidden = models.length < 2;
    progress("");
    await choose(models[0].name);
    await openLink();
  } catch (error) {
    if (error.status === 401) {
      $("token-box").hidden = false;
      $("token").focus();
    }
    progress("");
    problem(error.message);
  }
}

async function choose(name) {
  try {
    const card = await (await call(`v1/models/${encodeURIComponent(name)}`)).json();
    state.request?.abort();
    state.card = card;
    for (const id of ["detail", "rows", "code", "job"]) $(id).hidden = true;
    $("empty").hidden = false;
    problem();
    progress("");
    showBanner(card);
    showForm();
  } catch (error) { problem(error.message); }
}

function showBanner(card) {
  const known = card.knows, lines = [], stages = card.training || [];
  const amount = stage => stage.parts > 1 ? `${stage.parts} parts of up to ${plural(stage.rows.train, "record")}` : plural(stage.rows.train, "record");
  const steps = stages.map(stage => `${stage.name}${stage.rows.train ? ` (${amount(stage)})` : ""}`);
  lines.push(element("p", {}, element("strong", {}, card.name), ` ${card.task}. ${sentence(card.model)}`, steps.length ? ` Trained on: ${steps.join(", then ")}.` : "", card.licence ? ` Licence: ${sentence(card.licence)}` : ""));
  if (known.simulated_only) lines.push(element("p", { class: "warning" }, "Trained on simulated spectra only."));
  if (known.adducts) lines.push(element("p", {}, `Adducts in the training data: ${Object.entries(known.adducts).map(([name, count]) => `${name} (${count.toLocaleString("en")})`).join(", ")}. Predictions for others are not reliable.`));
  if (known.sites) {
    const modified = known.sites.filter(site => site.includes("["));
    lines.push(element("p", {}, modified.length ? `Modifications in the training data: ${modified.join(", ")}.` : "No modifications in the training data."));
  }
  const bounds = [["shortest", known.shortest], ["longest", known.longest], ["highest charge", known.highest_charge]].filter(([, value]) => value !== undefined);
  if (bounds.length) lines.push(element("p", {}, `Peptides of the training data: ${bounds.map(pair => pair.join(" ")).join(", ")}.`));
  const caveats = (card.caveats || []).map(sentence), few = caveats.length <= 2;
  if (few) lines.push(...caveats.map(text => element("p", {}, text)));
  else lines.push(element("details", {}, element("summary", {}, "Limits of this model"), element("ul", {}, ...caveats.map(text => element("li", {}, text)))));
  const table = testTable(card.table);
  if (table) lines.push(element("details", {}, element("summary", {}, "Results on the test split"), element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Results on the test split" }, table)));
  $("banner").replaceChildren(...lines);
  $("banner").hidden = false;
}

function testTable(table) {
  if (!table?.rows?.length) return null;
  const names = table.metrics?.length ? table.metrics : Object.keys(table.rows.at(-1).values).filter(name => !/_std_error$|_ci95_|_p$|\//.test(name));
  const metrics = names.filter(name => table.rows.some(row => typeof row.values[name] === "number") && !/_difference$/.test(name)).slice(0, 5);
  if (!metrics.length) return null;
  return element("table", {}, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "method"), ...metrics.map(name => element("th", { scope: "col" }, title(name))))),
    element("tbody", {}, ...table.rows.map(row => element("tr", { class: row.kind === "method" ? "method" : "" }, element("th", { scope: "row" }, row.method), ...metrics.map(name => element("td", { class: "number" }, shown(row.values[name])))))));
}

async function run() {
  if (state.request) return;
  problem();
  let sent;
  try {
    sent = { ...await input(), parameters: parameters(), model: state.card.name, card: state.card, operation: state.operation };
  } catch (error) { return problem(error.message); }
  const control = state.request = new AbortController(), begun = Date.now();
  const what = sent.records ? plural(sent.records.length, "record") : sent.name;
  const tell = () => progress(`${what}: ${Math.round((Date.now() - begun) / 1000)} s`);
  progress(`${what}: the prediction runs.`);
  const clock = setInterval(tell, 5000);
  $("run").disabled = true;
  $("stop").hidden = false;
  try {
    const response = await call(pathOf(sent), { ...options(sent), signal: control.signal });
    showAnswer(sent, await response.json());
    $("job").hidden = true;
  } catch (error) {
    progress(error.name === "AbortError" ? "Cancelled." : "");
    if (error.status === 0 && sent.file?.size > sent.card.limits.body_mib * (1 << 20)) error.message = `${sent.name} has ${size(sent.file.size)}, the limit limits.body_mib is ${sent.card.limits.body_mib} MiB.`;
    if (error.name !== "AbortError") offerJob(sent, error);
  } finally {
    clearInterval(clock);
    state.request = null;
    $("run").disabled = false;
    $("stop").hidden = true;
  }
}

function showAnswer(sent, answer) {
  Object.assign(state, { sent, answer, selected: answer.rows[0]?.row ?? 1 });
  $("empty").hidden = true;
  const records = new Set(answer.rows.map(row => row.row)).size, failed = new Set(answer.rows.filter(row => row.reason !== null).map(row => row.row)).size;
  if (!sent.job) progress(`${plural(records, "record")}, ${failed ? `${failed} without a prediction` : records === 1 ? "predicted" : "all predicted"}. Model version ${answer.model_version}${answer.seed === null ? "" : `, seed ${answer.seed}`}.`);
  problem(...(answer.warnings || []).map(text => element("p", {}, sentence(text))));
  if (!answer.rows.length) return problem("There are no records in the input.");
  showTable();
  showDetail();
  showCode();
}

$("form").addEventListener("submit", event => { event.preventDefault(); run(); });
$("form").addEventListener("keydown", event => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); } });
$("stop").addEventListener("click", () => state.request?.abort());
$("link").addEventListener("click", copyLink);
addEventListener("hashchange", openLink);
$("file").addEventListener("change", event => chooseFile(event.target.files[0] || null));
$("file-remove").addEventListener("click", () => { chooseFile(null); $("file").focus(); });
$("token-send").addEventListener("click", () => { state.token = $("token").value.trim(); problem(); start(); });
$("token").addEventListener("keydown", event => { if (event.key === "Enter") $("token-send").click(); });
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, event => {
    event.preventDefault();  // else the browser leaves the page for a dropped file
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop" && event.dataTransfer.files.length && state.card) chooseFile(event.dataTransfer.files[0]);
  });
}
start();
