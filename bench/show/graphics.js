// Values of panels, strips, dots and figures under the pointer and by keys; a panel made large, a stretch of a stage's time
// to look at. They are what the graphics hold already: paths, counts, sentences.
"use strict";
(() => {
  const within = (value, low, high) => Math.min(Math.max(value, low), high);
  const box = document.createElement("div");
  box.id = "value";
  box.setAttribute("role", "status");
  document.body.append(box);
  const say = (words, x, y) => {
    box.textContent = words;
    box.style.left = `${within(x + 12, 0, window.innerWidth - box.offsetWidth - 8)}px`;
    box.style.top = `${Math.max(y - box.offsetHeight - 10, 0)}px`;
  };
  const hush = () => (box.textContent = "");

  // What can be asked: where the pointer is, and place by place with the arrow keys. `find` gives the place at a point,
  // `tell` the words of a place and where it lies, in px of the window; `left` ends what `tell` drew.
  function ask(part, places, find, tell, left = () => {}) {
    let at = -1;
    const to = (place) => {
      at = within(place, 0, places() - 1);
      say(...tell(at));
    };
    const end = () => {
      hush();
      left();
    };
    part.tabIndex = 0;
    part.addEventListener("pointermove", (event) => to(find(event.clientX, event.clientY)));
    part.addEventListener("pointerleave", end);
    part.addEventListener("blur", end);
    part.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) to(at + step);
      if (step || event.key === "Escape") event.preventDefault();
      if (event.key === "Escape") end();
    });
  }
  const share = (part, x) => (x - part.getBoundingClientRect().left) / part.getBoundingClientRect().width;
  const nearest = (points, far) => points.reduce((best, one, at) => (far(one) < far(points[best]) ? at : best), 0);

  // Figures that say a line a value in data-readings, "x y words": the nearest is asked, a dot shows which one it is.
  for (const figure of document.querySelectorAll("figure:has(> svg[data-readings])")) {
    const svg = figure.querySelector("svg");
    const readings = svg.dataset.readings.split("\n").map((line) => {
      const [x, y, ...words] = line.split(" ");
      return { x: Number(x), y: Number(y), says: words.join(" ") };
    });
    const dot = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "circle"));
    dot.setAttribute("class", "asked");
    figure.setAttribute("role", "group");
    figure.setAttribute("aria-label", `${svg.getAttribute("aria-label")}. Arrow keys read its values.`);
    const find = (clientX, clientY) => {
      const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(svg.getScreenCTM().inverse());
      const up = svg.dataset.along === "x" ? 0 : 1;
      return nearest(readings, (one) => (one.x - x) ** 2 + up * (one.y - y) ** 2);
    };
    const tell = (place) => {
      const { x, y, says } = readings[place];
      for (const [key, value] of [["r", 4], ["cx", x], ["cy", y]]) dot.setAttribute(key, value);
      const spot = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
      return [says, spot.x, spot.y];
    };
    ask(figure, () => readings.length, find, tell, () => dot.setAttribute("r", 0));
  }

  // Latencies on a logarithmic axis from `low` to `high`, by how high they lie.
  const latency = (axis, height) => {
    const [low, high] = axis.split(" ").map(Number);
    const ms = low * (high / low) ** height;
    return `${Number(ms.toPrecision(3)).toLocaleString("en")} ms`;
  };
  const coordinates = (path) => [...path.getAttribute("d").matchAll(/[ML](\S+?) ([\d.]+)/g)].map((one) => [+one[1], +one[2]]);

  // Panels: the percentile at the pointer; a click or Enter makes one large.
  for (const svg of document.querySelectorAll("svg.pan")) {
    const { width, height } = svg.viewBox.baseVal;
    const [left, right, top, bottom, half] = [22, width - 4, 7, height - 18, Math.log10(2)];
    const line = coordinates(svg.querySelector(".cur"));
    const places = 100;
    const words = (at) => {
      const x = left + ((right - left) * at) / places;
      const z = half + ((3 - half) * at) / places;
      const percentile = `p${(100 * (1 - 10 ** -z)).toFixed(z < 2 ? 0 : z < 2.9 ? 1 : 2).replace(/\.0$/, "")}`;
      const next = line.findIndex((one) => one[0] >= x);
      if (next < 0) return `${percentile}: ${/ failed/.test(svg.getAttribute("aria-label")) ? "failed" : "too few requests"}`;
      const [a, b] = [line[Math.max(next - 1, 0)], line[next]];
      const y = b[0] > a[0] ? a[1] + ((b[1] - a[1]) * (x - a[0])) / (b[0] - a[0]) : b[1];
      return `${percentile}: about ${latency(svg.dataset.y, (bottom - y) / (bottom - top))}`;
    };
    const find = (x) => Math.round((places * (share(svg, x) * width - left)) / (right - left));
    ask(svg, () => places + 1, find, (at) => {
      const rect = svg.getBoundingClientRect();
      return [words(at), rect.left + (rect.width * (left + ((right - left) * at) / places)) / width, rect.top + 10];
    });
    const grow = () => svg.parentNode.classList.toggle("large");
    svg.addEventListener("click", grow);
    svg.addEventListener("keydown", ({ key }) => key === "Enter" && grow());
  }

  // Strips and dots of a stage share a stretch of its time: it is dragged over, or chosen with + and -; a double click
  // or Escape shows all of it.
  const time = (s) => (s < 120 ? `${Number(s.toPrecision(3))} s` : `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`);
  for (const stage of document.querySelectorAll(".tm, .tmd")) {
    const seconds = Number(stage.dataset.s);
    const svgs = [...stage.querySelectorAll("svg.strip, .dots svg")];
    const moved = [...stage.querySelectorAll("i.vl, .rlr i, .rlr .s, .phz span")].map((part) => {
      return { part, at: parseFloat(part.style.left) / 100, wide: parseFloat(part.style.width) / 100 };
    });
    const ends = ["s0", "e"].map((name) => stage.querySelector(`.rlr .${name}`));
    const written = ends.map((end) => end.textContent);
    let view = [0, 1];
    const show = (first, last) => {
      view = last - first > 0.999 ? [0, 1] : [first, last];
      const wide = view[1] - view[0];
      for (const svg of svgs) {
        const box = svg.viewBox.baseVal;
        svg.dataset.wide ??= box.width;
        svg.setAttribute("viewBox", `${view[0] * svg.dataset.wide} 0 ${wide * svg.dataset.wide} ${box.height}`);
      }
      for (const { part, at, wide: length } of moved) {
        const [start, end] = [at, at + (length || 0)].map((moment) => within((moment - view[0]) / wide, 0, 1));
        part.style.left = `${100 * start}%`;
        if (length) part.style.width = `${100 * (end - start)}%`;
        part.style.visibility = at > view[1] || at + (length || 0) < view[0] ? "hidden" : "";
      }
      ends.forEach((end, place) => (end.textContent = wide === 1 ? written[place] : time(view[place] * seconds)));
      for (const middle of stage.querySelectorAll(".rlr .m")) middle.style.visibility = wide < 1 ? "hidden" : "";
      hush();
    };
    const at = (svg, x) => view[0] + within(share(svg, x), 0, 1) * (view[1] - view[0]);
    for (const svg of svgs) {
      let from;
      const zoom = (times, around) => {
        const half = ((view[1] - view[0]) * times) / 2;
        const first = within(around - half, 0, Math.max(1 - 2 * half, 0));
        show(first, Math.min(first + 2 * half, 1));
      };
      svg.addEventListener("pointerdown", (event) => {
        if (!event.button) from = at(svg, event.clientX);
      });
      svg.addEventListener("pointerup", (event) => {
        const [first, last] = [from, at(svg, event.clientX)].sort((a, b) => a - b);
        if (from !== undefined && last - first > 0.02 * (view[1] - view[0])) show(first, last);
        from = undefined;
      });
      svg.addEventListener("dblclick", () => show(0, 1));
      svg.addEventListener("keydown", ({ key }) => {
        if (key === "+" || key === "-") zoom(key === "+" ? 0.5 : 2, (view[0] + view[1]) / 2);
        if (key === "Escape") show(0, 1);
      });
      const spot = (moment) => {
        const rect = svg.getBoundingClientRect();
        return [rect.left + (rect.width * (moment - view[0])) / (view[1] - view[0]), rect.top];
      };
      if (svg.dataset.n) {
        const counts = svg.dataset.n.split(",").map((each) => each.split("/").map(Number));
        const n = counts.length;
        ask(svg, () => n, (x) => Math.floor(at(svg, x) * n), (place) => {
          const [requests, bad = 0, failed = 0] = counts[place];
          const more = failed ? `, ${failed} of them failed` : "";
          const words = `${time((place * seconds) / n)} to ${time(((place + 1) * seconds) / n)}: ${bad} of ${requests} slow or failed${more}`;
          return [words, ...spot((place + 0.5) / n)];
        });
      } else {
        const dots = [...svg.querySelectorAll(".rd, .fd")].flatMap((path) => {
          return coordinates(path).map(([x, y]) => ({ x: x / 1000, y: y / 176, failed: path.matches(".fd") }));
        });
        dots.sort((one, other) => one.x - other.x);
        const find = (x, y) => {
          const rect = svg.getBoundingClientRect();
          const [tall, here] = [(y - rect.top) / rect.height, at(svg, x)];
          const aspect = rect.height / rect.width;
          return nearest(dots, (dot) => ((dot.x - here) / (view[1] - view[0])) ** 2 + ((dot.y - tall) * aspect) ** 2);
        };
        ask(svg, () => dots.length, find, (place) => {
          const { x, y, failed } = dots[place];
          return [`${time(x * seconds)}: ${failed ? "failed" : latency(stage.dataset.y, 1 - y)}`, ...spot(x)];
        });
      }
    }
  }
})();
