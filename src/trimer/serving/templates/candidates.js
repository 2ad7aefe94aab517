// The candidates of a spectrum: cards, grouped by formula, and the peaks that the chosen one explains.
const PUBCHEM = "https://pubchem.ncbi.nlm.nih.gov/#query=";  // opened when its link is clicked; nothing is loaded from it

function candidatesWithSpectrum(rows) {
  const [figure] = spectrumOf(rows[0]);
  if (!figure) return [candidates(rows, null)];
  const summary = element("p", { class: "explained soft", "aria-live": "polite" });
  if (!rows[0].adduct) {
    summary.textContent = "The adduct is unknown, so peaks are not explained.";
    return [figure, summary, candidates(rows, null)];
  }
  let asked = null;  // the last candidate that was chosen: an answer for another one is too late
  const explain = async row => {
    asked = row;
    for (const button of list.querySelectorAll("[data-rank]")) button.setAttribute("aria-pressed", String(Number(button.dataset.rank) === row.rank));
    try {
      const found = await explanation(row, figure);
      if (asked === row) show(row, found);
    } catch (error) { summary.textContent = `Peaks are not explained: ${error.message}`; }
  };
  const show = (row, found) => {
    const ions = new Map(found.ions.map(ion => [ion.peak_mz, ion]));
    for (const peak of figure.peaks) {
      const ion = ions.get(peak.mz), bonds = ion && (ion.broken ? `${plural(ion.broken, "bond")} broken` : "the whole molecule");
      Object.assign(peak, ion ? { label: ion.formula, series: "explained", note: `${ion.ppm > 0 ? "+" : ""}${ion.ppm.toFixed(1)} ppm, ${bonds}` } : { label: "", series: "", note: "" });
    }
    figure.redraw();
    const share = found.share === null ? "There is no peak other than that of the precursor." : `Candidate ${row.rank} explains ${found.explained} of ${plural(found.peaks, "peak")} and ${percent(found.share)} of the intensity, without the precursor.`;
    summary.textContent = found.reason ? sentence(found.reason) : `${share} Explained peaks have the m/z of a fragment that bond breaking gives; they support a candidate and do not prove it.`;
  };
  const list = candidates(rows, explain), best = rows.find(row => row.smiles);
  if (best) explain(best);
  return [figure, summary, list];
}

async function explanation(row, figure) {
  const given = state.sent.parameters.tolerance_ppm ?? state.sent.card.operations.predict.parameters.find(one => one.name === "tolerance_ppm")?.default;
  const body = { smiles: row.smiles, adduct: row.adduct, precursor_mz: figure.precursor, mz: figure.peaks.map(peak => peak.mz), intensity: figure.peaks.map(peak => peak.intensity) };
  if (typeof given === "number") body.ppm = given;
  return (await call("v1/explain", { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } })).json();
}

function ppmBadge(row) {
  const error = row.ppm_error;
  if (error === null || error === undefined) return element("span", { class: "badge grey" }, "mass not checked");
  const value = Math.abs(error) > 9999 ? "more than 9999 ppm" : `${error > 0 ? "+" : error < 0 ? "−" : ""}${Math.abs(error).toFixed(1)} ppm`;
  return element("span", { class: `badge ${row.agrees ? "green" : "red"}` }, `${value}, ${row.agrees ? "agrees" : "disagrees"}`);
}

// explain: called with the row of a candidate whose peaks are to be explained; null without a spectrum or adduct.
function candidates(rows, explain) {
  const list = element("ol", { class: "cards" }), more = element("button", { type: "button", class: "no-print" });
  const only = element("input", { type: "checkbox" }), grouped = element("input", { type: "checkbox" });
  let limit = CARDS;
  const draw = () => {
    const agreeing = rows.filter(row => !only.checked || row.agrees), kept = grouped.checked ? byFormula(agreeing) : agreeing;
    const shown = kept.slice(0, limit), begins = place => grouped.checked && shown[place].formula !== shown[place - 1]?.formula;
    list.replaceChildren(...shown.flatMap((row, place) => [begins(place) && formulaHeading(agreeing, row), candidate(row, explain)].filter(Boolean)));
    if (!kept.length) list.replaceChildren(element("li", { class: "soft" }, "No candidate agrees with the precursor mass."));
    more.hidden = kept.length <= limit;
    more.textContent = `Show all ${kept.length}`;
  };
  for (const choice of [only, grouped]) choice.addEventListener("change", draw);
  more.addEventListener("click", () => { limit = Infinity; draw(); });
  draw();
  const agreeing = rows.filter(row => row.agrees).length;
  return element("div", {}, element("div", { class: "line" }, element("h3", {}, plural(rows.length, "candidate")),
    element("span", { class: "soft" }, `${agreeing} of ${rows.length} agree with the precursor mass`),
    element("label", { class: "choice no-print" }, only, "only those that agree"),
    element("label", { class: "choice no-print" }, grouped, "group by formula")), list, more);
}

// The rows with those of the same formula together, in the order of the best of each.
const byFormula = rows => [...new Set(rows.map(row => row.formula))].flatMap(one => rows.filter(row => row.formula === one));

function formulaHeading(rows, row) {
  const count = rows.filter(one => one.formula === row.formula).length;
  const probability = typeof row.p_formula === "number" ? `, probability ${shown(row.p_formula)}` : "";
  return element("li", { class: "group line" }, element("h4", {}, ...formula(row.formula || "unknown formula")), ppmBadge(row), element("span", { class: "soft" }, `${plural(count, "candidate")}${probability}`));
}

function candidate(row, explain) {
  const picture = element("div", { class: "picture" }, element("span", { class: "soft" }, "…"));
  const links = element("div", { class: "line no-print" }, explain && row.smiles && element("button", { type: "button", "data-rank": row.rank, "aria-pressed": "false", click: () => explain(row) }, "Explain peaks"));
  drawInto(picture, row.smiles);
  drawing(row.smiles).then(({ key }) => key && links.append(element("a", { href: `${PUBCHEM}${key}`, target: "_blank", rel: "noopener noreferrer" }, "PubChem")), () => {});
  const facts = [["probability", row.p_molecule], ["probability of the formula", row.p_formula], ["similarity to training", row.similarity_to_training],
    ["times generated", row.count], ["nearest in the library", row.library_name], ["in the training data", row.in_training === "unknown" ? null : row.in_training]]
    .filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element("li", { class: "card" }, element("div", { class: "line" }, element("strong", { class: "rank" }, `${row.rank ?? 1}`), element("span", { class: "formula" }, ...formula(row.formula)), ppmBadge(row)), picture,
    element("dl", {}, ...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, shown(value))])),
    element("div", { class: "line smiles" }, element("code", {}, row.smiles), copyButton(row.smiles, "Copy SMILES")), links);
}

const formula = text => (text || "").split(/(\d+)/).filter(Boolean).map(part => /^\d+$/.test(part) ? element("sub", {}, part) : part);

function copyButton(text, label) {
  const button = element("button", { type: "button", class: "no-print", "aria-label": label, click: async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      progress("Copied.");
    } catch { progress("The browser does not allow copying: select the text instead."); }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  } }, "Copy");
  return button;
}
