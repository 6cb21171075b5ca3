// ---- lines and points over two axes ----

const colour = (index) => `var(--kind-${index % 8})`;

function legend(host, entries) {
  if (!entries.length) return;
  const list = element("ul", { class: "legend" });
  for (const [name, paint] of entries) {
    const item = element("li", {}, name);
    item.style.setProperty("--swatch", paint);
    list.append(item);
  }
  host.append(list);
}

function axes(svg, x, y, section, { left, right, top, bottom }) {
  for (const tick of y.ticks) {
    const height = y.at(tick);
    svg.append(shape("line", { class: "grid", x1: left, x2: right, y1: height, y2: height }));
    svg.append(label(left - 7, height + 4, tickText(tick, section.y.unit, y.ticks, section.y.log), { class: "muted", "text-anchor": "end" }));
  }
  // A unit that takes no prefix stands once, beside the axis name.
  const named = section.x.unit !== "bytes" && !SI_UNITS.has(section.x.unit) && !(section.x.unit in SPELLED) && section.x.unit !== "";
  let free = -Infinity;
  for (const tick of x.ticks) {
    const place = x.at(tick);
    svg.append(shape("line", { class: "grid", x1: place, x2: place, y1: top, y2: bottom }));
    const text = tickText(tick, named ? "" : section.x.unit, x.ticks, section.x.log);
    const half = text.length * LETTER / 2;
    if (place - half < free) continue;
    svg.append(label(Math.min(place, right - half + 10), bottom + 16, text, { class: "muted", "text-anchor": "middle" }));
    free = place + half + 8;
  }
  svg.append(label(right, bottom + 33, `${section.x.name}${named ? `, ${section.x.unit}` : ""}`, { "text-anchor": "end" }));
  svg.append(label(12, 20, section.y.name));
}

function drawSeries(host, section) {
  const points = section.lines.flatMap((line) => line.points);
  if (!points.length) { host.append(element("p", { class: "hint" }, "No points.")); return; }
  const own = section.lines.filter((line) => line.style !== "bound");
  const many = own.length > 1;
  chart(host, `${section.title}: ${section.y.name} over ${section.x.name}, ${points.length} points. Arrow keys move among them.`, (width) => {
    const height = Math.round(Math.max(260, Math.min(430, width * 0.5)));
    const box = { left: 88, right: width - 18, top: 36, bottom: height - 44 };
    const x = scale(points.map((p) => p.x), [box.left, box.right], { ...section.x, count: width / 110 });
    const y = scale(points.map((p) => p.y), [box.bottom, box.top], { ...section.y, count: height / 60 });
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}` });
    axes(svg, x, y, section, box);
    const items = [];
    const bounds = [];
    // Bounds first, so that points lie on top of them.
    for (const line of [...section.lines].sort((a, b) => (a.style !== "bound") - (b.style !== "bound"))) {
      const paint = colour(own.indexOf(line));
      const at = line.points.map((p) => [x.at(p.x), y.at(p.y)]);
      if (line.style !== "scatter") {
        const path = at.map(([px, py], i) => (i === 0 ? `M${px} ${py}` : line.style === "step" ? `H${px}V${py}` : `L${px} ${py}`)).join("");
        const stroke = shape("path", { d: path, fill: "none", "stroke-width": 1.75, stroke: paint });
        if (line.style === "bound") stroke.setAttribute("class", "bound");
        svg.append(stroke);
      }
      if (line.style === "bound" && at.length > 1) bounds.push([line.name, at[at.length - 1]]);
      line.points.forEach((point, i) => {
        const [px, py] = at[i];
        const shown = line.style === "scatter" || (line.style === "line" && line.points.length <= 60);
        const dot = shape("circle", { cx: px, cy: py, r: line.style === "bound" ? 3 : 4.5, fill: line.style === "bound" ? "var(--ink)" : paint,
          "fill-opacity": shown ? 0.78 : 0, stroke: shown ? "var(--surface)" : "none" });
        if (line.style === "bound") dot.setAttribute("fill-opacity", 0);
        svg.append(dot);
        const title = point.label || line.name;
        items.push({ x: px, y: py, node: dot, text: `${title}\n${section.x.name} ${format(point.x, section.x.unit)}\n${section.y.name} ${format(point.y, section.y.unit)}${point.label && many ? `\n${line.name}` : ""}` });
      });
    }
    svg.append(...boundLabels(bounds, box));
    return { svg, items: items.sort((a, b) => a.x - b.x) };
  });
  legend(host, own.map((line, index) => [line.name, colour(index)]));
}

/**
 * The bounds' names at the ends of their lines, above or below, none over another and none outside
 * the plot: bounds often share their slope, and a level too. One that finds no room is left out.
 */
function boundLabels(bounds, box) {
  const placed = [];
  const step = 15;
  const rows = Math.floor((box.bottom - box.top) / step);
  for (const [name, [end, height]] of [...bounds].sort((a, b) => a[1][1] - b[1][1])) {
    const text = fitted(name, box.right - box.left - 8);
    const right = Math.min(end, box.right) - 4;
    const left = Math.max(box.left + 4, right - text.length * LETTER);
    const free = (base) => base - 12 >= box.top - 14 && base + 4 <= box.bottom &&
      placed.every((other) => base <= other.base - step || base >= other.base + step || left >= other.right || other.left >= left + text.length * LETTER);
    for (let row = 0; row < rows; row += 1) {
      const base = [height - 7 - row * step, height + 15 + row * step].find(free);
      if (base === undefined) continue;
      placed.push({ text, left, right: left + text.length * LETTER, base });
      break;
    }
  }
  return placed.map((spot) => label(spot.right, spot.base, spot.text, { class: "halo", "text-anchor": "end" }));
}

// ---- memory over time: one small chart a memory, all over the same time ----

function drawMemory(host, section) {
  const grid = element("div", { class: "tracks" });
  host.append(grid);
  const peaks = section.tracks.map((track) => track.peak_bytes);
  const shared = Math.max(...peaks) <= 20 * Math.max(1, Math.min(...peaks));
  chart(grid, `${section.title}: ${section.tracks.length} memories. Arrow keys move among the changes.`, (width, state) => {
    const columns = width >= 760 && section.tracks.length > 1 ? 2 : 1;
    const [cellWidth, cellHeight, gap] = [width / columns, 86, 14];
    const rows = Math.ceil(section.tracks.length / columns);
    const height = rows * cellHeight + 26;
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}` });
    const items = [];
    section.tracks.forEach((track, index) => {
      const [left, top] = [(index % columns) * cellWidth + gap, Math.floor(index / columns) * cellHeight];
      const [right, base, high] = [left + cellWidth - 2 * gap, top + cellHeight - 4, top + 30];
      const most = (shared ? Math.max(...peaks) : track.peak_bytes) || 1;
      const x = (time) => left + time / (section.end_ps || 1) * (right - left);
      const y = (bytes) => base - bytes / most * (base - high);
      const said = `peak ${format(track.peak_bytes, "bytes")}${track.capacity_bytes === null ? "" : ` of ${format(track.capacity_bytes, "bytes")}`}`;
      svg.append(label(left, top + 21, fitted(track.memory, right - left - said.length * LETTER - 8), { class: "strong" }));
      svg.append(label(right, top + 21, said, { class: "muted", "text-anchor": "end" }));
      svg.append(shape("line", { class: "axis", x1: left, x2: right, y1: base, y2: base }));
      let path = "";
      track.samples.forEach(([time, used], i) => {
        path += i === 0 ? `M${x(time)} ${base}V${y(used)}` : `H${x(time)}V${y(used)}`;
        const until = track.samples[i + 1]?.[0] ?? section.end_ps;
        const dot = shape("circle", { cx: x(time), cy: y(used), r: 3.5, fill: colour(0), "fill-opacity": 0 });
        items.push({ x: x(time), y: y(used), node: dot,
          reach: (px, py) => (py >= top && py < top + cellHeight && px >= x(time) && px < Math.max(x(until), x(time) + 1) ? 0 : Infinity),
          text: `${track.memory}\n${format(used, "bytes")} from ${formatTime(time)} to ${formatTime(until)}` });
      });
      path += `H${x(section.end_ps)}`;
      svg.append(shape("path", { d: `${path}V${base}Z`, fill: colour(0), class: "area" }));
      svg.append(shape("path", { d: path, fill: "none", stroke: colour(0), "stroke-width": 1.4 }));
      if (track.capacity_bytes !== null && y(track.capacity_bytes) > top + 24) {
        svg.append(shape("line", { class: "limit", x1: left, x2: right, y1: y(track.capacity_bytes), y2: y(track.capacity_bytes) }));
      }
    });
    for (const item of items) svg.append(item.node);
    for (let column = 0; column < columns; column += 1) {
      const left = column * cellWidth + gap;
      svg.append(label(left, height - 8, "0", { class: "muted" }));
      svg.append(label(left + cellWidth - 2 * gap, height - 8, formatTime(section.end_ps), { class: "muted", "text-anchor": "end" }));
    }
    return { svg, items };
  });
  host.append(element("p", { class: "hint" }, shared ? "All memories at one scale." : "Each memory at its own scale."));
}
