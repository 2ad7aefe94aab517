/* Zoom and hover on spectra. The tooltips of the sticks hold the peaks, so a page without scripts shows the same.
   Drag: zoom to a range of m/z. Double click, Escape or 0: the whole spectrum. Arrow keys: from peak to peak. + and -: zoom. */
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg", MARGIN = { left: 46, right: 10, top: 38, bottom: 36 };
  const LABEL = { half: 23, height: 12, most: 8, least: 0.03, letter: 3.4, above: 52 }, REACH = 14, SMALLEST = 0.5; // pixels; Th
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.setAttribute("role", "status");
  document.body.append(tip);

  function element(name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function ticks(low, high, about) {
    const raw = (high - low) / about, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map(factor => factor * power).find(size => size >= 0.8 * raw);
    const found = [];
    for (let i = Math.ceil(low / step - 1e-9); i <= Math.floor(high / step + 1e-9); i++) found.push(+(i * step).toPrecision(9));
    return found;
  }
  function peaksOf(svg) {
    return [...svg.querySelectorAll("path.stick, path.precursor")].map(path => {
      const text = path.querySelector("title").textContent, [, mz, percent, label] = text.match(/^m\/z ([\d.]+) Th, ([\d.]+)%(?:, (.*))?$/);
      const kind = path.getAttribute("class");
      return { mz: +mz, share: percent / 100, label: label || "", text, kind, down: kind.includes("down") };
    }).sort((a, b) => a.mz - b.mz);
  }

  class Spectrum {
    constructor(svg) {
      this.svg = svg;
      this.peaks = peaksOf(svg);
      this.mirrored = svg.classList.contains("mirror");
      this.annotated = svg.classList.contains("annotated");
      this.top = this.annotated ? LABEL.above : MARGIN.top;
      this.precursor = parseFloat(svg.dataset.precursor);
      this.whole = [+svg.dataset.low, +svg.dataset.high];
      this.view = [...this.whole];
      this.chosen = -1;
      this.title = svg.querySelector("title");
      svg.setAttribute("tabindex", "0");
      svg.addEventListener("pointerdown", event => this.press(event));
      svg.addEventListener("pointermove", event => this.move(event));
      svg.addEventListener("pointerup", event => this.release(event));
      svg.addEventListener("pointercancel", () => this.forget());
      svg.addEventListener("pointerleave", () => { if (this.start === undefined) this.choose(-1); });
      svg.addEventListener("dblclick", () => this.show(...this.whole));
      svg.addEventListener("keydown", event => this.key(event));
      svg.addEventListener("blur", () => this.choose(-1));
      new ResizeObserver(() => this.draw()).observe(svg);
    }
    x(mz) { return MARGIN.left + (mz - this.view[0]) / (this.view[1] - this.view[0]) * (this.width - MARGIN.left - MARGIN.right); }
    mzAt(x) { return this.view[0] + (x - MARGIN.left) / (this.width - MARGIN.left - MARGIN.right) * (this.view[1] - this.view[0]); }
    y(share) {
      const bottom = this.height - MARGIN.bottom, low = this.mirrored ? -1.24 : 0; // room for labels below
      return bottom - (share - low) / (1 - low) * (bottom - this.top);
    }
    visible() { return this.peaks.filter(peak => peak.mz >= this.view[0] && peak.mz <= this.view[1]); }
    show(low, high) {
      low = Math.max(this.whole[0], low);
      high = Math.min(this.whole[1], high);
      if (high - low < SMALLEST) return;
      this.view = [low, high];
      this.svg.classList.toggle("zoomed", low > this.whole[0] || high < this.whole[1]);
      this.choose(-1);
      this.draw();
    }

    draw() {
      const width = Math.round(this.svg.clientWidth);
      if (!width) return; // hidden by a filter
      this.width = width;
      this.height = Math.round(Math.min(this.mirrored ? 300 : 250, Math.max(this.mirrored ? 240 : 190, 0.46 * width)));
      this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
      const parts = [this.title];
      this.drawAxes(parts);
      this.drawPrecursor(parts);
      for (const peak of this.visible().sort((a, b) => a.share - b.share)) {
        const path = element("path", { class: peak.kind, d: `M${this.x(peak.mz)} ${this.y(0)}V${this.y(peak.down ? -peak.share : peak.share)}` });
        if (peak === this.peaks[this.chosen]) path.classList.add("chosen");
        parts.push(path);
      }
      this.drawLabels(parts);
      if (this.start !== undefined && this.now !== undefined) {
        const [a, b] = [Math.min(this.start, this.now), Math.max(this.start, this.now)];
        parts.push(element("rect", { class: "range", x: a, width: b - a, y: this.top, height: this.height - this.top - MARGIN.bottom }));
      }
      this.svg.replaceChildren(...parts);
    }
    drawAxes(parts) {
      const bottom = this.height - MARGIN.bottom;
      for (const share of this.mirrored ? [-1, -0.5, 0, 0.5, 1] : [0, 0.5, 1]) {
        const kind = share === 0 ? "axis" : "grid";
        parts.push(element("path", { class: kind, d: `M${MARGIN.left} ${this.y(share)}H${this.width - MARGIN.right}` }));
        parts.push(element("text", { class: "tick", x: MARGIN.left - 6, y: this.y(share) + 4, "text-anchor": "end" }, `${100 * Math.abs(share)}`));
      }
      const middle = (this.top + bottom) / 2, at = `translate(11 ${middle}) rotate(-90)`;
      parts.push(element("text", { class: "tick name", transform: at, "text-anchor": "middle" }, this.svg.dataset.up));
      if (this.mirrored) parts.push(element("path", { class: "axis", d: `M${MARGIN.left} ${bottom}H${this.width - MARGIN.right}` }));
      const range = this.view[1] - this.view[0];
      for (const mz of ticks(...this.view, Math.max(3, Math.round(this.width / 80)))) {
        parts.push(element("path", { class: "axis", d: `M${this.x(mz)} ${bottom}v4` }));
        parts.push(element("text", { class: "tick", x: this.x(mz), y: bottom + 16, "text-anchor": "middle" }, range < 1 ? mz.toFixed(2) : `${mz}`));
      }
      parts.push(element("text", { class: "tick name", x: this.width - MARGIN.right, y: this.height - 3, "text-anchor": "end" }, "m/z (Th)"));
    }
    drawPrecursor(parts) {
      if (!(this.precursor >= this.view[0] && this.precursor <= this.view[1])) return;
      const x = this.x(this.precursor), before = x > 0.6 * this.width;
      parts.push(element("path", { class: "precursor-line", d: `M${x} ${this.top - 16}V${this.y(0)}` }));
      parts.push(element("path", { class: "marker", d: `M${x - 4} ${this.top - 24}h8l-4 7z` }));
      const text = { class: "marked", x: x + (before ? -8 : 8), y: this.top - 17, "text-anchor": before ? "end" : "start" };
      parts.push(element("text", text, `precursor ${this.precursor.toFixed(4)}`));
    }
    drawLabels(parts) {
      // The highest peaks first; a label lies over no other label, no higher peak and not over the line of the precursor.
      const placed = [], line = this.x(this.precursor), visible = this.visible();
      for (const peak of [...visible].sort((a, b) => b.share - a.share)) {
        if (placed.length >= (this.mirrored ? 2.5 : 1) * LABEL.most || peak.share < LABEL.least) break;
        const lines = this.linesOf(peak), [name] = lines, longest = Math.max(...lines.map(line => line.length));
        const half = this.mirrored ? 4 * name.length : this.annotated && peak.label ? LABEL.letter * longest : LABEL.half;
        const x = Math.min(Math.max(this.x(peak.mz), half), this.width - half);
        const y = this.y(peak.down ? -peak.share : peak.share) + (peak.down ? LABEL.height : -4);
        const height = (this.annotated ? 2 : 1) * LABEL.height;
        const near = other => Math.abs(other.x - x) < half + other.half && Math.abs(other.y - y) < height;
        const higher = other => other.down === peak.down && other.share > peak.share && Math.abs(this.x(other.mz) - x) < half;
        if (Math.abs(x - line) < half + 2 || placed.some(near) || visible.some(higher)) continue;
        placed.push({ x, y, half });
        const colour = this.mirrored ? name[0] : this.annotated && peak.label ? peak.kind.split(" ")[1] : "of-mz";
        lines.reverse().forEach((line, above) => {
          parts.push(element("text", { class: `peak ${colour}-name`, x, y: y - above * LABEL.height, "text-anchor": "middle" }, line));
        });
      }
    }
    linesOf(peak) { // of a label: m/z, or an annotation such as a formula and its ppm below
      if (this.mirrored) return [peak.label.replace(/^\S+ /, "")];
      const [, name, detail] = peak.label.match(/^(\S+) ?(.*)$/) || [];
      return this.annotated && name ? [name, detail].filter(Boolean) : [peak.mz.toFixed(3)];
    }

    at(event) { return event.clientX - this.svg.getBoundingClientRect().left; }
    press(event) {
      if (event.button !== 0) return;
      this.start = this.at(event);
      this.svg.setPointerCapture(event.pointerId);
    }
    move(event) {
      const x = this.at(event);
      if (this.start !== undefined) {
        if (Math.abs(x - this.start) > 4) { this.now = Math.min(Math.max(x, MARGIN.left), this.width - MARGIN.right); this.draw(); }
        return;
      }
      const y = event.clientY - this.svg.getBoundingClientRect().top, down = this.mirrored && y > this.y(0);
      let best = -1;
      this.peaks.forEach((peak, index) => {
        const distance = Math.abs(this.x(peak.mz) - x);
        if (distance > REACH || (this.mirrored && peak.down !== down) || peak.mz < this.view[0] || peak.mz > this.view[1]) return;
        if (best < 0 || distance < Math.abs(this.x(this.peaks[best].mz) - x)) best = index;
      });
      this.choose(best);
    }
    release(event) {
      const { start, now } = this;
      this.forget();
      if (now === undefined) { this.move(event); return; } // a tap shows the peak
      const [a, b] = [Math.min(start, now), Math.max(start, now)];
      if (b - a > 4) this.show(this.mzAt(a), this.mzAt(b));
    }
    forget() { this.start = this.now = undefined; this.draw(); }
    key(event) {
      const visible = this.visible(), step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], peak = this.peaks[this.chosen];
      const middle = peak ? peak.mz : (this.view[0] + this.view[1]) / 2, half = (this.view[1] - this.view[0]) / 2;
      if (step && visible.length) {
        const place = peak ? visible.indexOf(peak) + step : step > 0 ? 0 : visible.length - 1;
        this.choose(this.peaks.indexOf(visible[Math.min(Math.max(place, 0), visible.length - 1)]));
      } else if (event.key === "+" || event.key === "=") this.show(middle - half / 2, middle + half / 2);
      else if (event.key === "-") this.show(middle - 2 * half, middle + 2 * half);
      else if (event.key === "0" || event.key === "Escape") this.show(...this.whole);
      else return;
      event.preventDefault();
    }
    choose(index) {
      if (index === this.chosen) return;
      this.chosen = index;
      this.draw();
      tip.style.display = index < 0 ? "none" : "block";
      if (index < 0) return;
      const peak = this.peaks[index], box = this.svg.getBoundingClientRect();
      tip.textContent = peak.text;
      tip.style.left = Math.max(4, Math.min(box.left + this.x(peak.mz) + 10, innerWidth - tip.offsetWidth - 8)) + "px";
      tip.style.top = Math.max(4, box.top + this.y(peak.down ? -peak.share : peak.share) - 30) + "px";
    }
  }
  document.querySelectorAll("svg.spectrum").forEach(svg => new Spectrum(svg));
  document.querySelectorAll(".how").forEach(note => { note.hidden = false; });
})();
