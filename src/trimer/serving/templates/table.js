// The table of all rows: sorted by its headers, filtered, with reasons; and downloads in all formats of the model.
const STEP = 100;  // rows at a time
const FORMATS = {
  json: "application/json", ndjson: "application/x-ndjson", csv: "text/csv", parquet: "application/vnd.apache.parquet",
  sdf: "chemical/x-mdl-sdfile", tsv: "text/tab-separated-values", msp: "chemical/x-msp",
};

function showTable() {
  const { rows, columns } = state.answer, used = columns.filter(name => rows.some(row => row[name] !== null && row[name] !== ""));
  if (used.at(-1) === "reason") used.splice(used.indexOf("id") + 1, 0, used.pop());  // not at the end of a wide table
  const failed = new Set(rows.filter(row => row.reason !== null).map(row => row.row)).size;
  const body = element("tbody"), count = element("p", { class: "soft", "aria-live": "polite" }), more = element("button", { type: "button", class: "no-print" });
  const filter = element("input", { id: "filter", type: "search" }), only = element("input", { type: "checkbox" });
  let order = null, down = false, limit = STEP;
  const heads = used.map(name => element("th", { scope: "col" }, element("button", { type: "button", click: () => {
    down = order === name && !down;
    order = name;
    heads.forEach((head, place) => used[place] === name ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
    draw();
  } }, title(name))));
  function draw() {
    const words = filter.value.trim().toLowerCase();
    const kept = rows.filter(row => (!only.checked || row.reason !== null) && (!words || used.some(name => shown(row[name], name).toLowerCase().includes(words))));
    if (order) kept.sort((one, two) => compare(one[order], two[order], down));
    body.replaceChildren(...kept.slice(0, limit).map(row => element("tr", { class: row.reason !== null ? "failed" : "" }, ...used.map(name => cell(row, name)))));
    more.hidden = kept.length <= limit;
    more.textContent = `Show ${Math.min(STEP, kept.length - limit)} more`;
    count.textContent = kept.length === rows.length ? plural(rows.length, "row") : `${kept.length.toLocaleString("en")} of ${plural(rows.length, "row")}`;
  }
  filter.addEventListener("input", () => { limit = STEP; draw(); });
  only.addEventListener("change", () => { limit = STEP; draw(); });
  more.addEventListener("click", () => { limit += STEP; draw(); });
  draw();
  $("rows").replaceChildren(
    element("div", { class: "line heading" }, element("h2", { id: "rows-title" }, "All rows"), downloads()),
    element("div", { class: "line no-print" }, element("label", { for: "filter" }, "Filter"), filter,
      failed > 0 && element("label", { class: "choice" }, only, `only the ${failed} without a prediction`)),
    count, element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Table of all rows" }, element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body)), more);
  $("rows").hidden = false;
}

function cell(row, name) {
  const number = typeof row[name] === "number";
  if (name === "row") return element("td", { class: "number" }, element("button", { type: "button", "data-record": row.row, "aria-label": `Show record ${row.row}`, click: () => {
    state.selected = row.row;
    showDetail();
    $("detail").scrollIntoView({ block: "nearest" });
  } }, String(row.row)));
  return element("td", { class: number ? "number" : name === "reason" ? "reason" : "" }, shown(row[name], name));
}

function compare(one, two, down) {
  const empty = value => value === null || value === undefined || value === "";
  if (empty(one) || empty(two)) return empty(one) - empty(two);  // rows without a value are last
  const order = typeof one === "number" && typeof two === "number" ? one - two : String(one).localeCompare(String(two), "en", { numeric: true });
  return down ? -order : order;
}

function downloads() {
  const formats = state.sent.card.operations[state.sent.operation].formats.filter(name => FORMATS[name]);
  return element("div", { class: "line no-print" }, element("span", { class: "soft" }, "Download"),
    ...formats.map(name => element("button", { type: "button", "data-format": name, click: () => download(name) }, name === "parquet" ? "Parquet" : name.toUpperCase())));
}

async function download(name) {
  try {
    progress(`The ${name.toUpperCase()} file is being prepared.`);
    const sent = state.sent;
    const response = sent.job ? await call(`v1/jobs/${sent.job}/result`, { headers: { Accept: FORMATS[name] } }) : await call(pathOf(sent), options(sent, { Accept: FORMATS[name] }));
    save(await response.blob(), `${sent.model}.${name}`);
    progress(`${sent.model}.${name} is saved.`);
  } catch (error) {
    progress("");
    problem(error.message);
  }
}

function save(blob, name) {
  const address = URL.createObjectURL(blob), link = element("a", { href: address, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

const pathOf = sent => `v1/models/${encodeURIComponent(sent.model)}/${sent.operation}`;
