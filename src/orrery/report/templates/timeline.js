// ---- device timeline: rows of spans, zoomed and moved with pointer or keys ----

/** Give each span of a resource the first lane that is free at its start. */
function lanes(spans) {
  const free = [];
  return spans.map((span) => {
    let lane = free.findIndex((end) => end <= span.start);
    if (lane < 0) lane = free.push(0) - 1;
    free[lane] = span.end;
    return lane;
  });
}

function spanText(span) {
  const more = Object.entries(span.details).map(([key, value]) => {
    const shown = typeof value === "number" ? format(value, { bytes: "bytes", size_bytes: "bytes", macs: "MAC" }[key] ?? "") : value;
    return `\n${key.replaceAll("_", " ")} ${shown}`;
  });
  return `${span.name}\n${span.kind} on ${span.resource}\n${formatTime(span.end - span.start)}, from ${formatTime(span.start)} to ${formatTime(span.end)}${more.join("")}`;
}

function drawTimeline(host, section) {
  const end = section.makespan_ps;
  if (!section.spans.length || !end) { host.append(element("p", { class: "hint" }, "No spans.")); return; }
  // The common kinds keep their colours from page to page.
  const met = new Set(section.spans.map((span) => span[2]));
  const kinds = [...["compute", "transfer", "read", "write"].filter((kind) => met.delete(kind)), ...met];
  const rows = section.resources.map((resource, row) => {
    const spans = section.spans.filter((span) => span[0] === row).map(([, name, kind, start, stop, details]) => (
      { resource, name, kind, start, end: stop, details, row })).sort((a, b) => a.start - b.start);
    const placed = lanes(spans);
    spans.forEach((span, i) => { span.lane = placed[i]; });
    return { resource, spans, lanes: Math.max(1, ...placed.map((lane) => lane + 1)) };
  });
  const view = { from: 0, to: end };
  const shortest = Math.max(1000, Math.min(...section.spans.map((span) => Math.max(1, span[4] - span[3]))) * 4);
  let selected = null;

  const tools = element("div", { class: "tools" });
  host.append(tools);
  const shown = element("p", { class: "count" });
  const state = chart(host, `${section.title}: ${section.spans.length} spans on ${rows.length} resources over ${formatTime(end)}. Arrow keys move among spans, plus and minus zoom, shift with arrows moves the view, 0 shows all.`, draw, { keys, order: "own" });
  state.canvas.classList.add("movable");

  function look(from, to) {
    const span = Math.min(end, Math.max(shortest, to - from));
    view.from = Math.max(0, Math.min(end - span, from));
    view.to = view.from + span;
    hideTip();
    state.redraw();
  }
  const zoom = (factor, at = (view.from + view.to) / 2) => look(at - (at - view.from) * factor, at + (view.to - at) * factor);
  const move = (part) => look(view.from + part * (view.to - view.from), view.to + part * (view.to - view.from));
  for (const [name, text, act] of [["Zoom in", "+", () => zoom(0.5)], ["Zoom out", "−", () => zoom(2)], ["Earlier", "←", () => move(-0.4)], ["Later", "→", () => move(0.4)], ["Show all", "All", () => look(0, end)]]) {
    const button = element("button", { type: "button", "aria-label": `${name}: ${section.title}` }, text);
    button.addEventListener("click", () => { act(); announce(`${formatTime(view.from)} to ${formatTime(view.to)}`); });
    tools.append(button);
  }
  tools.append(shown);

  function draw(width) {
    const narrow = width < 560;
    const left = narrow ? 8 : Math.min(170, 18 + LETTER * Math.max(...rows.map((row) => row.resource.length)));
    const right = width - 10;
    const svg = shape("svg", {});
    const x = scale([view.from / 1e12, view.to / 1e12], [left, right], { unit: "s", count: width / 130, tight: true });
    const at = (time) => left + (time - view.from) / (view.to - view.from) * (right - left);
    const items = [];
    const marks = shape("g");
    let top = 26;
    for (const row of rows) {
      const laneHeight = row.lanes === 1 ? 20 : Math.max(5, Math.min(14, 40 / row.lanes));
      const height = laneHeight * row.lanes;
      if (narrow) { marks.append(label(left, top + 10, row.resource, { class: "muted" })); top += 15; }
      else marks.append(label(left - 8, top + height / 2 + 4, fitted(row.resource, left - 10), { "text-anchor": "end" }));
      let painted = -Infinity; // right edge of what is drawn on lane 0: thinner neighbours are joined
      for (const span of row.spans) {
        if (span.end < view.from || span.start > view.to) continue;
        const [a, b] = [Math.max(left, at(span.start)), Math.min(right, at(span.end))];
        const drawn = Math.max(b - a, 0.6);
        if (span !== selected && b - a < 0.4 && a - painted < 0.4 && row.lanes === 1) continue;
        painted = b;
        const bar = shape("rect", { x: a.toFixed(2), y: top + span.lane * laneHeight, width: drawn.toFixed(2), height: laneHeight - 1, fill: colour(kinds.indexOf(span.kind)), rx: drawn > 6 ? 1.5 : 0,
          stroke: drawn > 3 ? "var(--surface)" : "none", "stroke-width": drawn > 3 ? 0.75 : 0 });
        marks.append(bar);
        const name = laneHeight >= 13 ? fitted(span.name, drawn - 8) : "";
        if (name.length > 3) marks.append(label((a + 4).toFixed(2), top + (span.lane + 0.5) * laneHeight + 3.5, name, { style: "fill:var(--on-kind)" }));
        const y = top + span.lane * laneHeight;
        items.push({ x: (a + Math.min(b, right)) / 2, y: y + laneHeight, node: bar, span, get text() { return spanText(span); },
          reach: (px, py) => (py >= y && py < y + laneHeight ? Math.max(0, a - px, px - b) * 9 : Infinity) });
      }
      top += height + 5;
    }
    const bottom = top;
    for (const tick of x.ticks) {
      const place = x.at(tick);
      svg.append(shape("line", { class: "grid", x1: place, x2: place, y1: 22, y2: bottom }));
      svg.append(label(Math.min(place, right - 20), 15, tickText(tick, "s", x.ticks), { class: "muted", "text-anchor": place < left + 14 ? "start" : "middle" }));
    }
    svg.append(marks);
    for (const [name, time] of Object.entries(section.marks)) {
      if (time < view.from || time > view.to) continue;
      const place = at(time);
      const text = `${name} ${formatTime(time)}`;
      const before = place + 6 + text.length * LETTER > right;
      svg.append(shape("line", { class: "mark", x1: place, x2: place, y1: 20, y2: bottom + 2 }));
      svg.append(label(place + (before ? -5 : 5), bottom + 13, text, { "text-anchor": before ? "end" : "start" }));
    }
    svg.setAttribute("viewBox", `0 0 ${width} ${bottom + (Object.keys(section.marks).length ? 20 : 4)}`);
    shown.textContent = view.to - view.from >= end ? `all ${formatTime(end)}` : `${formatTime(view.from)} to ${formatTime(view.to)} of ${formatTime(end)}`;
    return { svg, items };
  }

  function select(span) {
    selected = span;
    if (span.end > view.to || span.start < view.from) {
      const size = view.to - view.from;
      const middle = (span.start + span.end) / 2;
      look(middle - size / 2, middle + size / 2);
    } else state.redraw();
    state.choose(state.items.findIndex((item) => item.span === span));
  }

  function keys(event) {
    if (event.key === "+" || event.key === "=") zoom(0.5, selected ? (selected.start + selected.end) / 2 : undefined);
    else if (event.key === "-") zoom(2);
    else if (event.key === "0") look(0, end);
    else if (event.shiftKey && event.key === "ArrowLeft") move(-0.25);
    else if (event.shiftKey && event.key === "ArrowRight") move(0.25);
    else if (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) visit(event.key);
    else return false;
    return true;
  }

  function visit(key) {
    const filled = rows.filter((row) => row.spans.length);
    const row = selected ? filled.findIndex((each) => each.resource === selected.resource) : 0;
    const spans = filled[row].spans;
    const place = spans.indexOf(selected);
    if (!selected || key === "Home") select(spans[0]);
    else if (key === "End") select(spans[spans.length - 1]);
    else if (key === "ArrowRight") select(spans[Math.min(spans.length - 1, place + 1)]);
    else if (key === "ArrowLeft") select(spans[Math.max(0, place - 1)]);
    else {
      const other = filled[(row + (key === "ArrowDown" ? 1 : -1) + filled.length) % filled.length].spans;
      const distance = (span) => Math.abs(span.start - selected.start);
      select(other.reduce((best, span) => (distance(span) < distance(best) ? span : best)));
    }
  }

  // Drag moves, two fingers zoom, ctrl or cmd with the wheel zooms; a plain wheel scrolls the page.
  const fingers = new Map();
  const timeAt = (clientX) => {
    const box = state.canvas.getBoundingClientRect();
    return view.from + (clientX - box.left) / box.width * (view.to - view.from);
  };
  state.canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event.clientX);
    state.canvas.setPointerCapture(event.pointerId);
    state.canvas.classList.add("moving");
  });
  state.canvas.addEventListener("pointermove", (event) => {
    if (!fingers.has(event.pointerId)) return;
    const before = [...fingers.values()];
    fingers.set(event.pointerId, event.clientX);
    const after = [...fingers.values()];
    if (before.length === 1) {
      const shift = (before[0] - after[0]) / state.canvas.clientWidth * (view.to - view.from);
      if (shift && view.to - view.from < end) look(view.from + shift, view.to + shift);
    } else {
      const [apart, now] = [Math.abs(before[0] - before[1]), Math.abs(after[0] - after[1])];
      if (apart > 8 && now > 8) zoom(apart / now, timeAt((after[0] + after[1]) / 2));
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    state.canvas.addEventListener(name, (event) => {
      fingers.delete(event.pointerId);
      if (!fingers.size) state.canvas.classList.remove("moving");
    });
  }
  state.canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    zoom(Math.exp(Math.max(-0.7, Math.min(0.7, event.deltaY * 0.004))), timeAt(event.clientX));
  }, { passive: false });

  legend(host, kinds.map((kind, index) => [kind, colour(index)]));
  host.append(element("p", { class: "hint" }, "Drag to move, ctrl or cmd with the wheel to zoom; with the keyboard: arrows, + and −, 0 for all."));
  const place = host.parentElement.querySelector("[data-spans]");
  place.closest("details").addEventListener("toggle", () => { if (!place.childElementCount) place.append(spanTable(section, rows)); }, { once: true });
}

/** Every span as a row, made when it is asked for. */
function spanTable(section, rows) {
  const head = element("tr", {}, ...["span", "kind", "resource", "start", "duration"].map((name, i) => element("th", { scope: "col", class: i > 2 ? "number" : "text" }, name)));
  const body = element("tbody", {}, ...rows.flatMap((row) => row.spans.map((span) => element("tr", {},
    element("th", { scope: "row" }, span.name), element("td", {}, span.kind), element("td", {}, span.resource),
    element("td", { class: "number", "data-v": span.start / 1e12 }, formatTime(span.start)),
    element("td", { class: "number", "data-v": (span.end - span.start) / 1e12 }, formatTime(span.end - span.start))))));
  return element("div", { class: "scroll", role: "region", tabindex: 0, "aria-label": `${section.title}, every span` },
    element("table", {}, element("thead", {}, head), body));
}
