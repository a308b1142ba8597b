// Values on hover and by keys, a time range to zoom into, the section in view, commands to copy, rows to find. The page
// is whole without it: it reads what stands there, data- attributes among it, and adds nothing but text.
"use strict";
(() => {
  const KEYS = "Arrow keys read its values";
  const ZOOM_KEYS = `${KEYS}, plus and minus zoom into the time, Escape shows all of it`;
  const drawn = (svg, name, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return svg.appendChild(made);
  };
  const seen = (part, yes) => part.setAttribute("visibility", yes ? "visible" : "hidden");
  const textOf = (part) => part.querySelector("text");
  const xOf = (text) => Number(text.getAttribute("x") ?? /translate\((\S+)/.exec(text.getAttribute("transform"))[1]);
  const box = document.createElement("div");
  box.id = "value";
  box.setAttribute("role", "status");
  document.body.append(box);

  // A figure that can be asked. `x` is a place in the whole figure; `shown(x)` is where it lies in the range in view.
  class Live {
    constructor(figure) {
      this.figure = figure;
      this.svg = figure.querySelector("svg");
      this.readings = this.svg.dataset.readings.split("\n").map((line) => {
        const [x, y, ...words] = line.split(" ");
        return { x: Number(x), y: Number(y), says: words.join(" ") };
      });
      this.at = -1;
      this.timed = "span" in this.svg.dataset;
      if (this.timed) this.prepareZoom();
      this.dot = drawn(this.svg, "circle", { r: 4, class: "asked", visibility: "hidden" });
      figure.tabIndex = 0;
      figure.setAttribute("role", "group");
      figure.setAttribute("aria-label", `${this.svg.getAttribute("aria-label")}. ${this.timed ? ZOOM_KEYS : KEYS}.`);
      this.svg.addEventListener("pointermove", (event) => this.hover(this.pointer(event)));
      figure.addEventListener("pointerleave", () => this.leave());
      figure.addEventListener("blur", () => this.leave());
      figure.addEventListener("keydown", (event) => this.key(event.key) && event.preventDefault());
    }

    // What lies along the time goes into groups that are cut at the edges of the axes.
    prepareZoom() {
      const { width, height } = this.svg.viewBox.baseVal;
      [this.left, this.right] = this.svg.dataset.plot.split(" ").map((share) => Number(share) * width);
      this.range = this.whole = this.svg.dataset.span.split(" ").map(Number);
      const clip = drawn(this.svg, "clipPath", { id: `${this.figure.id}-clip` });
      drawn(clip, "rect", { x: this.left, y: 0, width: this.right - this.left, height });
      this.stretched = [...this.svg.querySelectorAll(".stretched")];
      this.ticks = [...this.svg.querySelectorAll(".tick")];
      for (const part of this.stretched) drawn(part.parentNode, "g", {}).append(part);
      this.chosen = drawn(this.svg, "rect", { class: "chosen", y: 0, height, visibility: "hidden" });
      this.svg.addEventListener("pointerdown", (event) => this.begin(event));
      this.svg.addEventListener("pointerup", (event) => this.end(this.pointer(event).x));
      this.svg.addEventListener("dblclick", () => zoom(this, this.whole));
    }

    // s after the run's start <-> x
    moment = (x, range = this.range) => range[0] + ((x - this.left) / (this.right - this.left)) * (range[1] - range[0]);
    place = (moment) =>
      this.left + ((moment - this.range[0]) / (this.range[1] - this.range[0])) * (this.right - this.left);
    shown = (x) => (this.timed ? this.place(this.moment(x, this.whole)) : x);
    inside = (x) => !this.timed || (this.shown(x) > this.left - 0.5 && this.shown(x) < this.right + 0.5);
    near = () => [...this.readings.keys()].filter((place) => this.inside(this.readings[place].x));

    show(range) {
      const all = range === this.whole;
      this.range = range;
      const start = this.shown(0);
      for (const part of this.stretched) {
        part.parentNode.setAttribute("clip-path", all ? "none" : `url(#${this.figure.id}-clip)`);
        part.setAttribute("transform", `matrix(${this.shown(1) - start} 0 0 1 ${start} 0)`);
      }
      for (const part of this.svg.querySelectorAll(".placed")) {
        const x = xOf(textOf(part));
        part.setAttribute("transform", `translate(${this.shown(x) - x} 0)`);
        seen(part, this.inside(x));
      }
      this.svg.classList.toggle("zoomed", !all);
      for (const old of this.svg.querySelectorAll(".own")) old.remove();
      for (const tick of this.ticks) seen(tick, all);
      const model = this.ticks.findLast(textOf);
      if (!all && model) this.drawTicks(model, Number(this.svg.dataset.unit));
      this.leave();
    }

    drawTicks(model, unit) {
      const [first, last] = this.range.map((moment) => moment / unit);
      const power = 10 ** Math.floor(Math.log10((last - first) / 8));
      const step = [1, 2, 5, 10].find((size) => size * power >= (last - first) / 8) * power;
      for (let n = Math.ceil(first / step); n * step <= last; n += 1) {
        const tick = model.cloneNode(true);
        tick.classList.add("own");
        seen(tick, true);
        const x = this.place(n * step * unit) - xOf(textOf(tick));
        tick.setAttribute("transform", `translate(${x} 0)`);
        textOf(tick).textContent = String(Number((n * step).toPrecision(10)));
        model.after(tick);
      }
    }

    pointer(event) {
      return new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    }

    hover({ x, y }) {
      if (this.from !== undefined) {
        this.chosen.setAttribute("x", Math.min(x, this.from));
        this.chosen.setAttribute("width", Math.abs(x - this.from));
        seen(this.chosen, true);
      }
      const up = this.svg.dataset.along === "x" ? 0 : 1;
      const far = (one) => (this.shown(one.x) - x) ** 2 + up * (one.y - y) ** 2;
      this.say(this.near().sort((a, b) => far(this.readings[a]) - far(this.readings[b]))[0]);
    }

    say(place) {
      if (place === undefined) return;
      const { x, y, says } = this.readings[place];
      this.at = place;
      this.dot.setAttribute("cx", this.shown(x));
      this.dot.setAttribute("cy", y);
      seen(this.dot, true);
      const spot = new DOMPoint(this.shown(x), y).matrixTransform(this.svg.getScreenCTM());
      box.textContent = says;
      box.style.left = `${Math.max(Math.min(spot.x + 12, window.innerWidth - box.offsetWidth - 8), 0)}px`;
      box.style.top = `${Math.max(spot.y - box.offsetHeight - 10, 0)}px`;
    }

    leave() {
      seen(this.dot, false);
      box.textContent = "";
    }

    // True where the key meant something.
    key(name) {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[name];
      const share = this.timed && { "+": 0.25, "-": 1, Escape: Infinity }[name];
      const near = this.near();
      if (step) this.say(near[Math.min(Math.max(near.indexOf(this.at) + step, 0), near.length - 1)]);
      if (share) {
        const middle = this.moment(this.at < 0 ? (this.left + this.right) / 2 : this.shown(this.readings[this.at].x));
        const half = (this.range[1] - this.range[0]) * share;
        zoom(this, [middle - half, middle + half]);
      }
      if (name === "Escape") this.leave();
      return step || share || name === "Escape";
    }

    begin(event) {
      if (event.button) return;
      this.from = this.pointer(event).x;
      this.svg.setPointerCapture(event.pointerId);
    }

    end(x) {
      const [first, last] = [this.from, x].sort((a, b) => a - b);
      this.from = undefined;
      seen(this.chosen, false);
      if (last - first > 5) zoom(this, [this.moment(first), this.moment(last)]);
    }
  }

  const lives = [...document.querySelectorAll("figure:has(> svg[data-readings])")].map((figure) => new Live(figure));

  // All figures over time of one target show the same range.
  function zoom(origin, range) {
    const [first, last] = origin.whole;
    const kept = [Math.max(range[0], first), Math.min(range[1], last)];
    const all = kept[1] - kept[0] > (last - first) * 0.999;
    const section = origin.figure.closest("section");
    for (const live of lives) {
      if (live.timed && section.contains(live.figure)) live.show(all ? live.whole : kept);
    }
  }

  // The section in view is marked in the bar.
  const links = new Map([...document.querySelectorAll(".bar li a")].map((link) => [link.hash.slice(1), link]));
  const mark = ({ target }) => {
    const link = links.get(target.id);
    if (!link) return;
    for (const other of links.values()) other.removeAttribute("aria-current");
    link.setAttribute("aria-current", "true");
    link.closest("ol").scrollLeft = link.offsetLeft - 120;
  };
  const watch = new IntersectionObserver((seen) => seen.filter((each) => each.isIntersecting).forEach(mark), {
    rootMargin: "-15% 0px -75% 0px",
  });
  for (const section of document.querySelectorAll("section[id]")) watch.observe(section);

  // Commands can be copied.
  for (const button of navigator.clipboard ? document.querySelectorAll(".cmd .cp") : []) {
    button.hidden = false;
    button.addEventListener("click", () => {
      navigator.clipboard.writeText(button.parentNode.querySelector("code").textContent);
      button.textContent = "Copied";
    });
  }

  // All drawers at once, and the one that a link leads to.
  const drawers = [...document.querySelectorAll("#evidence > details")];
  if (drawers.length > 1) {
    const all = Object.assign(document.createElement("button"), { type: "button", className: "cp", textContent: "Open all" });
    all.addEventListener("click", () => {
      const open = all.textContent === "Open all";
      for (const drawer of drawers) drawer.open = open;
      all.textContent = open ? "Close all" : "Open all";
    });
    drawers[0].before(all);
  }
  const jump = () => document.getElementById(location.hash.slice(1))?.closest("details")?.setAttribute("open", "");
  addEventListener("hashchange", jump);
  jump();

  // Rows of the scorecard by name and by verdict; they leave the screen, never the print.
  const score = document.querySelector(".score");
  const rows = score ? [...score.querySelectorAll("tbody tr")] : [];
  if (rows.length > 6) {
    const bar = Object.assign(document.createElement("div"), { className: "find" });
    const name = Object.assign(document.createElement("input"), { type: "search", placeholder: "target or stage" });
    const verdict = document.createElement("select");
    for (const word of ["any verdict", "FAIL", "INCONCLUSIVE", "PASS"]) verdict.add(new Option(word));
    const shown = Object.assign(document.createElement("span"), { className: "soft" });
    shown.setAttribute("role", "status");
    const show = () => {
      const word = verdict.selectedIndex ? verdict.value : "";
      for (const row of rows) {
        const fits = row.dataset.of.toLowerCase().includes(name.value.toLowerCase());
        row.classList.toggle("off", !fits || !(` ${row.dataset.v} `.includes(` ${word} `) || !word));
      }
      const left = rows.filter((row) => !row.classList.contains("off")).length;
      score.classList.toggle("flat", left < rows.length);
      shown.textContent = left < rows.length ? `${left} of ${rows.length} targets` : "";
    };
    for (const [text, part] of [["find", name], ["with", verdict]]) {
      const label = document.createElement("label");
      label.append(`${text} `, part);
      part.addEventListener("input", show);
      bar.append(label);
    }
    bar.append(shown);
    score.parentNode.before(bar);
  }
})();
