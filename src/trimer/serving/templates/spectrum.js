// A spectrum, or two of them mirrored: zoom by dragging, buttons or keys; the peak under the pointer is described.
const HEIGHT = 300, LEFT = 46, RIGHT = 14, TOP = 26, BOTTOM = 34;
const TOUCH = 14;  // pixels around a finger

// upper, lower: {name, peaks: [{mz, intensity, label, series}]}, intensities relative to 1; lower may be null.
function spectrumView(upper, lower, precursor, description) {
  const all = [...upper.peaks, ...(lower ? lower.peaks : [])];
  const highest = Math.max(...all.map(peak => peak.mz), precursor || 0), lowest = Math.min(...all.map(peak => peak.mz));
  const whole = [Math.max(0, Math.floor((lowest - 12) / 10) * 10), Math.ceil((highest + 12) / 10) * 10];
  let [from, to] = whole, width = 640, chosen = null, drag = null;
  const picture = drawn("svg", { class: "spectrum", tabindex: 0, role: "group", "aria-label": `${description}. Arrow keys choose a peak, plus and minus zoom, 0 shows all.` });
  const readout = element("p", { class: "readout soft", "aria-live": "polite" }, "Point at a peak, or drag over a range to zoom.");
  const x = mz => LEFT + (mz - from) / (to - from) * (width - LEFT - RIGHT);
  const mzAt = position => from + (position - LEFT) / (width - LEFT - RIGHT) * (to - from);
  const base = lower ? (TOP + HEIGHT - BOTTOM) / 2 : HEIGHT - BOTTOM;
  const strongestHeight = base - (lower ? TOP + 16 : TOP + 14);
  const visible = side => side.peaks.filter(peak => peak.mz >= from && peak.mz <= to);

  function zoom(low, high) {
    const least = 0.5;
    if (high - low < least) [low, high] = [(low + high - least) / 2, (low + high + least) / 2];
    [from, to] = [Math.max(whole[0], low), Math.min(whole[1], high)];
    draw();
  }
  function scale(factor) {
    const middle = chosen && chosen.mz >= from && chosen.mz <= to ? chosen.mz : (from + to) / 2;
    zoom(middle - (middle - from) * factor, middle + (to - middle) * factor);
  }
  function drawSide(side, up) {
    const peaks = visible(side), strongest = Math.max(...peaks.map(peak => peak.intensity), 1e-9);
    const y = intensity => base - (up ? 1 : -1) * intensity / strongest * strongestHeight, paths = {};
    for (const peak of peaks) (paths[peak.series || "peak"] ||= []).push(`M${x(peak.mz).toFixed(1)} ${base}V${y(peak.intensity).toFixed(1)}`);
    for (const [series, lines] of Object.entries(paths)) picture.append(drawn("path", { d: lines.join(""), class: `peaks ${series}` }));
    const taken = [];
    for (const peak of [...peaks].sort((one, two) => two.intensity - one.intensity).slice(0, 40)) {
      const place = x(peak.mz), text = peak.label || peak.mz.toFixed(peak.mz < 1000 ? 3 : 2), half = text.length * 3.9 + 4;
      if (taken.some(([left, right]) => place + half > left && place - half < right) || place - half < LEFT || place + half > width) continue;
      taken.push([place - half, place + half]);
      picture.append(drawn("text", { x: place.toFixed(1), y: (y(peak.intensity) + (up ? -4 : 12)).toFixed(1), class: `name ${peak.series || ""}`, "text-anchor": "middle" }, text));
      if (taken.length > 11) break;
    }
    const mark = side.peaks.includes(chosen) && chosen.mz >= from && chosen.mz <= to;
    if (mark) picture.append(drawn("line", { x1: x(chosen.mz), x2: x(chosen.mz), y1: base, y2: y(chosen.intensity), class: "chosen" }));
    if (side.name) picture.append(drawn("text", { x: LEFT + 4, y: up ? TOP + 8 : HEIGHT - BOTTOM - 6, class: "side" }, side.name));
    picture.append(drawn("text", { x: LEFT - 6, y: y(strongest) + 4, "text-anchor": "end" }, percent(strongest)));
  }
  function draw() {
    picture.replaceChildren();
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const steps = Math.max(2, Math.floor(width / 90)), rough = (to - from) / steps, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map(factor => factor * power).find(value => value >= rough), decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    for (let tick = Math.ceil(from / step) * step; tick <= to + 1e-9; tick += step) {
      picture.append(drawn("line", { x1: x(tick), x2: x(tick), y1: TOP, y2: HEIGHT - BOTTOM, class: "grid" }));
      picture.append(drawn("text", { x: x(tick), y: HEIGHT - BOTTOM + 15, "text-anchor": "middle" }, tick.toFixed(decimals)));
    }
    picture.append(drawn("line", { x1: LEFT, x2: width - RIGHT, y1: base, y2: base, class: "axis" }));
    picture.append(drawn("text", { x: (LEFT + width - RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle", class: "side" }, "m/z"));
    if (precursor && precursor >= from && precursor <= to) {
      picture.append(drawn("line", { x1: x(precursor), x2: x(precursor), y1: TOP, y2: base, class: "precursor" }));
      const end = x(precursor) > width - 110;
      picture.append(drawn("text", { x: x(precursor) + (end ? -4 : 4), y: 12, class: "side", "text-anchor": end ? "end" : "start" }, `precursor ${precursor.toFixed(4)}`));
    }
    drawSide(upper, true);
    if (lower) drawSide(lower, false);
    if (drag) picture.append(drawn("rect", { x: Math.min(drag.start, drag.end), y: TOP, width: Math.abs(drag.end - drag.start), height: HEIGHT - TOP - BOTTOM, class: "range" }));
  }
  function choose(peak) {
    chosen = peak;
    if (peak) {
      if (peak.mz < from || peak.mz > to) zoom(peak.mz - (to - from) / 2, peak.mz + (to - from) / 2);
      const side = lower ? `${upper.peaks.includes(peak) ? upper.name : lower.name}: ` : "";
      readout.textContent = `${side}${peak.label ? `${peak.label}, ` : ""}m/z ${peak.mz.toFixed(4)}, ${percent(peak.intensity)} of the highest peak${peak.note ? `, ${peak.note}` : ""}`;
    }
    draw();
  }
  const position = event => {
    const box = picture.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width * width, y: (event.clientY - box.top) / box.height * HEIGHT };
  };
  // Describe the highest peak that is at most so many pixels away from the pointer.
  function describe(event, distance) {
    const { x: across, y: down } = position(event), side = lower && down > base ? lower : upper;
    const near = visible(side).filter(peak => Math.abs(x(peak.mz) - across) < distance).sort((one, two) => two.intensity - one.intensity)[0];
    if (near && near !== chosen) choose(near);
  }
  picture.addEventListener("pointerdown", event => {
    if (event.pointerType === "touch") return describe(event, TOUCH);  // a finger scrolls the page
    drag = { start: position(event).x, end: position(event).x };
    picture.setPointerCapture(event.pointerId);
  });
  picture.addEventListener("pointermove", event => {
    if (!drag) return describe(event, 8);
    drag.end = position(event).x;
    draw();
  });
  picture.addEventListener("pointerup", () => {
    if (!drag) return;
    const [low, high] = [drag.start, drag.end].sort((one, two) => one - two);
    drag = null;
    if (high - low > 6) zoom(mzAt(Math.max(low, LEFT)), mzAt(Math.min(high, width - RIGHT)));
    else draw();
  });
  picture.addEventListener("dblclick", () => zoom(...whole));
  picture.addEventListener("keydown", event => {
    const peaks = [...all].sort((one, two) => one.mz - two.mz), place = peaks.indexOf(chosen);
    const action = {
      ArrowRight: () => choose(peaks[Math.min(peaks.length - 1, place + 1)]), ArrowLeft: () => choose(peaks[Math.max(0, place - 1)]),
      "+": () => scale(0.5), "=": () => scale(0.5), "-": () => scale(2), 0: () => zoom(...whole),
    }[event.key];
    if (!action || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    action();
  });
  const button = (text, click) => element("button", { type: "button", click }, text);
  const tools = element("div", { class: "line tools no-print" }, button("Zoom in", () => scale(0.5)), button("Zoom out", () => scale(2)), button("Whole spectrum", () => zoom(...whole)),
    ...["svg", "png"].map(kind => button(`Save as ${kind.toUpperCase()}`, () => savePicture(picture, kind))));
  const figure = Object.assign(element("figure", {}, picture, readout, tools), { redraw: draw });
  new ResizeObserver(() => {
    const now = Math.max(260, Math.round(figure.clientWidth));
    if (now !== width) { width = now; draw(); }
  }).observe(figure);
  draw();
  return figure;
}

const percent = value => `${(value * 100).toFixed(value < 0.1 ? 1 : 0)}%`;

// Peaks of two lists, relative to the highest one.
function relative({ mz, intensity }) {
  const highest = Math.max(...intensity, 1e-12);
  return mz.map((value, place) => ({ mz: value, intensity: intensity[place] / highest }));
}

// ---------------------------------------------------------------- the spectrum as a file

const LOOK = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "opacity", "font-size", "font-family", "font-weight"];
const DENSITY = 2;  // pixels of a PNG for each pixel of the page

// The SVG of a picture that needs no page: with the colors of the page and its background.
function standalone(picture) {
  const copy = picture.cloneNode(true), shapes = picture.querySelectorAll("*"), [, , wide, high] = picture.getAttribute("viewBox").split(" ");
  copy.querySelectorAll("*").forEach((node, place) => {
    const look = getComputedStyle(shapes[place]);
    for (const name of LOOK) node.setAttribute(name, look.getPropertyValue(name));
    node.removeAttribute("class");
  });
  for (const name of ["class", "tabindex", "role", "aria-label"]) copy.removeAttribute(name);
  for (const [name, value] of [["width", wide], ["height", high]]) copy.setAttribute(name, value);
  copy.prepend(drawn("rect", { width: wide, height: high, fill: getComputedStyle(document.body).backgroundColor }));
  return new XMLSerializer().serializeToString(copy);
}

async function savePicture(picture, kind) {
  const text = standalone(picture), name = `${state.sent.model}-spectrum.${kind}`;
  if (kind === "svg") return save(new Blob([text], { type: "image/svg+xml" }), name);
  const image = new Image(), [, , wide, high] = picture.getAttribute("viewBox").split(" ").map(Number);
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = element("canvas", { width: wide * DENSITY, height: high * DENSITY });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob(blob => save(blob, name), "image/png");
}
