/* Sorting and filtering of examples and tables. Without scripts everything is shown in its first order. */
(() => {
  "use strict";
  const number = text => parseFloat(String(text).replace(/[,%×]/g, "").replace("−", "-"));
  function compare(a, b, upwards) {
    const [x, y] = [number(a), number(b)], numeric = !Number.isNaN(x) && !Number.isNaN(y);
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1; // what has no number comes last
    return (upwards ? 1 : -1) * (numeric ? x - y : String(a).localeCompare(String(b)));
  }

  for (const section of document.querySelectorAll(".examples")) {
    const cards = section.querySelector(".cards"), all = [...cards.children], bar = section.querySelector(".controls");
    const buttons = [...bar.querySelectorAll("button[data-key]")], shown = bar.querySelector("output");
    bar.hidden = false;
    function filter() {
      const words = bar.querySelector("[type=search]").value.toLowerCase().split(/\s+/).filter(Boolean);
      const limits = [...bar.querySelectorAll("[type=number]")].filter(input => input.value !== "");
      let left = 0;
      for (const card of all) {
        const text = card.dataset.text.toLowerCase();
        const inside = limits.every(input => {
          const value = parseFloat(card.dataset[input.dataset.key]), limit = parseFloat(input.value);
          return input.dataset.end === "low" ? value >= limit : value <= limit;
        });
        card.hidden = !(inside && words.every(word => text.includes(word)));
        left += !card.hidden;
      }
      shown.textContent = `${left} of ${all.length} shown`;
    }
    function sort(button) {
      const upwards = button.getAttribute("aria-pressed") === "true" ? button.dataset.order !== "up" : button.dataset.first === "up";
      for (const other of buttons) {
        other.setAttribute("aria-pressed", String(other === button));
        other.querySelector(".arrow").textContent = other === button ? (upwards ? " ↑" : " ↓") : "";
      }
      button.dataset.order = upwards ? "up" : "down";
      const key = button.dataset.key;
      cards.append(...all.sort((a, b) => compare(a.dataset[key], b.dataset[key], upwards)));
    }
    buttons.forEach(button => button.addEventListener("click", () => sort(button)));
    bar.addEventListener("input", filter);
    bar.addEventListener("submit", event => event.preventDefault());
    bar.querySelector("[type=reset]").addEventListener("click", () => setTimeout(filter));
    filter();
  }

  // A picture is shown at its full size, and its panel scrolls, until it is chosen again.
  for (const picture of document.querySelectorAll(".pictures img")) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("aria-label", `${picture.alt}: full size`);
    button.setAttribute("aria-pressed", "false");
    picture.replaceWith(button);
    button.append(picture);
    button.addEventListener("click", () => {
      const large = picture.closest(".panel").classList.toggle("large");
      button.setAttribute("aria-pressed", String(large));
    });
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0], rows = [...body.rows];
    [...table.tHead.rows[0].cells].forEach((cell, place) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...cell.childNodes);
      cell.append(button);
      button.addEventListener("click", () => {
        const upwards = cell.getAttribute("aria-sort") !== "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", upwards ? "ascending" : "descending");
        const text = row => row.cells[place].textContent.trim();
        body.append(...rows.sort((a, b) => compare(text(a), text(b), upwards)));
      });
    });
    const find = table.closest("section").querySelector(".find");
    if (!find) continue;
    find.hidden = false;
    find.querySelector("input").addEventListener("input", event => {
      const wanted = event.target.value.trim().toLowerCase(), text = row => [...row.cells].map(cell => cell.textContent).join("\n");
      for (const row of rows) row.hidden = !text(row).toLowerCase().includes(wanted);
      find.querySelector("output").textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} rows`;
    });
  }
})();
