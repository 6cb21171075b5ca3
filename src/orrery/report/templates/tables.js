// ---- tables: sort by a heading, filter by words ----

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** Numbers by value, names as people count, unknown cells last whichever way. */
function compareCells(a, b, way) {
  const unknown = a.classList.contains("unknown") - b.classList.contains("unknown");
  if (unknown || a.classList.contains("unknown")) return unknown;
  const difference = "v" in a.dataset ? Number(a.dataset.v) - Number(b.dataset.v) : collator.compare(a.textContent, b.textContent);
  return way * difference;
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const original = [...body.rows];
  heads.forEach((head, place) => {
    head.querySelector("button").addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const next = !now ? first : now === "ascending" ? "descending" : "ascending";
      const way = next === "ascending" ? 1 : -1;
      const rows = original.map((row, index) => [row, index]).sort(([a, i], [b, j]) => compareCells(a.cells[place], b.cells[place], way) || i - j);
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", next);
      body.append(...rows.map(([row]) => row));
      announce(`sorted by ${head.textContent.trim()}, ${next}`);
    });
  });
}

for (const input of document.querySelectorAll("[data-filters]")) {
  const rows = [...document.getElementById(input.dataset.filters).tBodies[0].rows];
  const texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent.trim()).join(" ").toLowerCase());
  const count = input.parentElement.querySelector("[role=status]");
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, index) => {
      row.hidden = !words.every((word) => texts[index].includes(word));
      shown += !row.hidden;
    });
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : `${rows.length} rows`;
  });
}

const DRAW = { series: drawSeries, memory: drawMemory, timeline: drawTimeline, strip: drawStrip, diagram: drawDiagram };
for (const host of document.querySelectorAll("[data-section]")) {
  const section = report.sections[Number(host.dataset.section)];
  DRAW[section.kind](host, section);
}
document.documentElement.dataset.drawn = "yes";
