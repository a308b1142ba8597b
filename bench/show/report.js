// The section in view, commands to copy, drawers, rows to find. The page is whole without it: it reads what stands there,
// data- attributes among it, and adds nothing but text.
"use strict";
(() => {
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
