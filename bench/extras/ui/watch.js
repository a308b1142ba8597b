// The watch page: puts each text, and the drawings, that the server sends into the place of the same id, until the run has ended.
"use strict";
let drawn = "";
const events = new EventSource(document.getElementById("watched").dataset.events);

function show(event) {
  for (const [id, text] of Object.entries(JSON.parse(event.data))) {
    const place = document.getElementById(id);
    if (id === "share") place.value = Number(text);
    else if (id === "figures") {
      if (drawn !== text) place.innerHTML = drawn = text;
    } else if (place.textContent !== text) place.textContent = text;
  }
}

events.addEventListener("standing", show);
events.addEventListener("over", (event) => {
  show(event);
  events.close();
  document.getElementById("report").hidden = false;
});
events.addEventListener("failure", (event) => {
  show(event);
  events.close();
  document.getElementById("failure").hidden = false;
});
