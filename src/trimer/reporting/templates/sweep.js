/* Runs in all charts and in the table at once: colours, the run under the pointer, filters, ranges of axes. */
(() => {
  "use strict";
  const facts = JSON.parse(document.getElementById("facts").textContent), names = facts.names;
  const marks = new Map(), section = document.querySelector(".all-runs"), bar = document.querySelector(".colour-by");
  for (const mark of document.querySelectorAll("[data-run]")) {
    if (!marks.has(+mark.dataset.run)) marks.set(+mark.dataset.run, []);
    marks.get(+mark.dataset.run).push(mark);
  }
  for (const text of document.querySelectorAll(".how")) text.hidden = false;

  // Colours.
  const select = bar.querySelector("select"), legend = bar.querySelector(".legend-of-runs");
  facts.colours.forEach((colours, place) => colours.name && select.add(new Option(colours.name, place)));
  bar.hidden = !select.options.length;
  function colour() {
    const chosen = facts.colours[+select.value || 0];
    for (const [run, elements] of marks) {
      for (const element of elements) {
        if (element.tagName === "TR") continue;
        element.classList.remove(...[...element.classList].filter(name => /^[ks](\d|-none)$/.test(name)));
        element.classList.add(chosen.classes[run]);
      }
    }
    legend.replaceChildren(...chosen.legend.map(([name, text]) => {
      const item = document.createElement("span"), square = document.createElement("i");
      square.className = name;
      item.append(square, text);
      return item;
    }));
  }
  select.addEventListener("change", colour);
  colour();

  // The run under the pointer.
  const tip = document.createElement("div");
  tip.id = "tip";
  document.body.append(tip);
  let hot = -1;
  function point(run, x, y) {
    if (run !== hot) {
      for (const element of marks.get(hot) || []) element.classList.remove("hot");
      for (const element of marks.get(run) || []) {
        element.classList.add("hot");
        if (element.classList.contains("run")) element.parentNode.append(element); // above the others
      }
      hot = run;
      document.body.classList.toggle("pointed", run >= 0);
    }
    tip.style.display = run < 0 || x === undefined ? "none" : "block";
    if (run < 0 || x === undefined) return;
    const row = marks.get(run).find(element => element.tagName === "TR");
    const cells = row ? [...row.cells].slice(1).filter(cell => cell.textContent.trim() && cell.textContent !== "–") : [];
    tip.textContent = [names[run], ...cells.map(cell => `${cell.dataset.label} ${cell.textContent.trim()}`)].join("  ·  ");
    tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = Math.max(4, Math.min(y + 16, innerHeight - tip.offsetHeight - 8)) + "px";
  }
  const around = [[0, 0], [0, -3], [0, 3], [-3, 0], [3, 0], [0, -6], [0, 6], [-5, -5], [5, 5]];
  document.addEventListener("pointermove", event => {
    if (!(event.target instanceof Element) || drag) return;
    const row = event.target.closest("tr[data-run]");
    if (row) return point(+row.dataset.run);
    let run = -1;
    if (event.target.closest("svg.runs")) {
      for (const [dx, dy] of around) {
        const found = document.elementsFromPoint(event.clientX + dx, event.clientY + dy).find(element => element.matches(".run, .dot"));
        if (found) { run = +found.dataset.run; break; }
      }
    }
    point(run, event.clientX, event.clientY);
  });

  // Filters: of the table, and ranges of the axes.
  const form = section && section.querySelector("form"), ranges = new Map();
  const rows = section ? [...section.querySelectorAll("tbody tr")] : [], clear = bar.querySelector("button");
  let drag = null;
  function filter() {
    const words = form.querySelector("[type=search]").value.toLowerCase().split(/\s+/).filter(Boolean);
    const status = form.querySelector("select").value, limits = [...form.querySelectorAll("[type=number]")].filter(input => input.value !== "");
    let left = 0;
    for (const row of rows) {
      const run = row.dataset.run === undefined ? -1 : +row.dataset.run, text = row.textContent.toLowerCase(), value = parseFloat(row.dataset.value);
      const inside = limits.every(input => input.dataset.end === "low" ? value >= parseFloat(input.value) : value <= parseFloat(input.value));
      const within = [...ranges].every(([axis, [low, high]]) => {
        const at = run < 0 ? null : facts.axes[axis][run];
        return at !== null && at >= low && at <= high;
      });
      row.hidden = !(inside && within && (!status || row.dataset.status === status) && words.every(word => text.includes(word)));
      left += !row.hidden;
      for (const element of marks.get(run) || []) if (element !== row) element.classList.toggle("out", row.hidden);
    }
    const text = left === rows.length ? "" : `${left} of ${rows.length} runs`;
    for (const output of document.querySelectorAll(".all-runs output, .colour-by output")) output.textContent = text;
    clear.hidden = !text;
  }
  if (!form) return;
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", event => event.preventDefault());
  const all = () => {
    ranges.clear();
    for (const range of document.querySelectorAll(".range-of-axis")) range.remove();
    setTimeout(filter);
  };
  form.addEventListener("reset", all);
  clear.addEventListener("click", () => form.reset());

  for (const brush of document.querySelectorAll(".brush")) {
    const svg = brush.ownerSVGElement, axis = +brush.dataset.axis, top = +svg.dataset.top, bottom = +svg.dataset.bottom;
    const at = event => {
      const y = (event.clientY - svg.getBoundingClientRect().top) * svg.viewBox.baseVal.height / svg.getBoundingClientRect().height;
      return Math.max(0, Math.min(1, (bottom - y) / (bottom - top)));
    };
    let range = null;
    const show = (low, high) => {
      if (!range || !range.isConnected) {
        range = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        range.setAttribute("class", "range-of-axis");
        svg.append(range);
      }
      range.setAttribute("x", brush.getAttribute("x"));
      range.setAttribute("width", brush.getAttribute("width"));
      range.setAttribute("y", bottom - high * (bottom - top));
      range.setAttribute("height", (high - low) * (bottom - top));
      ranges.set(axis, [low - 1e-9, high === 1 ? Infinity : high + 1e-9]);
      if (low === 0) ranges.get(axis)[0] = -Infinity;
      filter();
    };
    brush.addEventListener("pointerdown", event => {
      drag = { start: at(event) };
      brush.setPointerCapture(event.pointerId);
      point(-1);
      event.preventDefault();
    });
    brush.addEventListener("pointermove", event => {
      if (drag && Math.abs(at(event) - drag.start) > 0.01) show(Math.min(at(event), drag.start), Math.max(at(event), drag.start));
    });
    brush.addEventListener("pointerup", () => { drag = null; });
    brush.addEventListener("dblclick", () => {
      ranges.delete(axis);
      if (range) range.remove();
      filter();
    });
  }
  filter();
})();
