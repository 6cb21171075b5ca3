// ---- boxes and arrows: rows below a host or switches, or a circle when all are alike ----

function drawDiagram(host, section) {
  const boxes = section.boxes;
  if (!boxes.length) { host.append(element("p", { class: "hint" }, "No boxes.")); return; }
  const tip = `${host.parentElement.id}-tip`;
  const hubs = boxes.filter((box) => box.kind === "host" || box.kind === "switch");
  chart(host, `${section.title}: ${boxes.length} boxes, ${section.arrows.length} links. Arrow keys move among them.`, (width) => {
    const rows = hubs.length > 0 || boxes.length < 3;
    const places = rows ? layered(section, width) : circle(boxes, width);
    const wires = section.arrows.map((arrow) => wired(places.get(arrow.source), places.get(arrow.target), rows));
    const height = Math.max(...[...places.values()].map((place) => place.y + place.h / 2), ...wires.map((wire) => wire.y)) + 22;
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}` });
    svg.append(shape("defs", {}, shape("marker", { id: tip, viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 9, markerHeight: 9, orient: "auto-start-reverse", markerUnits: "userSpaceOnUse" },
      shape("path", { d: "M0 0L8 4L0 8Z", style: "fill:var(--muted)" }))));
    panels(svg, boxes, places);
    const items = [];
    const crowded = section.arrows.length > 20 || width < 520;
    section.arrows.forEach((arrow, number) => {
      const line = wires[number];
      const wire = shape("path", { class: "wire", d: line.path });
      if (!arrow.both) wire.setAttribute("marker-end", `url("#${tip}")`);
      svg.append(wire);
      const { x, y } = line;
      if (arrow.label && !crowded && arrow.label.length * LETTER < line.room) svg.append(label(x, y + 4, arrow.label, { class: "halo wide muted", "text-anchor": "middle" }));
      items.push({ x, y, node: wire, text: `${arrow.source} ${arrow.both ? "↔" : "→"} ${arrow.target}${arrow.label ? `\n${arrow.label}` : ""}` });
    });
    for (const box of boxes) {
      const place = places.get(box.name);
      const outline = shape("rect", { class: `box ${box.kind === "host" || box.kind === "switch" ? box.kind : ""}`, x: place.x - place.w / 2, y: place.y - place.h / 2, width: place.w, height: place.h, rx: 4 });
      svg.append(outline);
      const lines = [box.name, ...box.lines];
      lines.forEach((line, i) => svg.append(label(place.x, place.y - (lines.length - 1) * 7.5 + i * 15 + 4, fitted(line, place.w - 8), { "text-anchor": "middle", class: i ? "muted" : "strong" })));
      items.push({ x: place.x, y: place.y, node: outline, reach: (px, py) => (Math.abs(px - place.x) < place.w / 2 && Math.abs(py - place.y) < place.h / 2 ? 0 : Infinity),
        text: [`${box.name}, ${box.kind}${box.group ? ` of ${box.group}` : ""}`, ...box.lines].join("\n") });
    }
    return { svg, items };
  });
}

/** Rows by distance from the host (or the best joined box), each wrapped to the width. */
function layered(section, width) {
  const near = new Map(section.boxes.map((box) => [box.name, []]));
  for (const { source, target } of section.arrows) { near.get(source).push(target); near.get(target).push(source); }
  const hosts = section.boxes.filter((box) => box.kind === "host").map((box) => box.name);
  const first = [...section.boxes].sort((a, b) => near.get(b.name).length - near.get(a.name).length)[0].name;
  const depth = new Map((hosts.length ? hosts : [first]).map((name) => [name, 0]));
  const queue = [...depth.keys()];
  for (const name of queue) {
    for (const next of near.get(name)) if (!depth.has(next)) { depth.set(next, depth.get(name) + 1); queue.push(next); }
  }
  const deepest = Math.max(...depth.values());
  const rows = [];
  for (let level = 0; level <= deepest + 1; level += 1) {
    const names = section.boxes.filter((box) => (depth.get(box.name) ?? deepest + 1) === level);
    // Neighbours of one parent, then of one group, stand together; sort keeps the given order else.
    const parent = (box) => queue.findIndex((name) => near.get(box.name).includes(name) && depth.get(name) < level);
    names.sort((a, b) => parent(a) - parent(b) || a.group.localeCompare(b.group));
    const most = Math.max(1, Math.floor((width - 24) / 98));
    for (const row of wrapped(names, most)) rows.push({ level, boxes: row });
  }
  const places = new Map();
  let y = 22;
  rows.forEach((row, index) => {
    const h = 14 + 15 * Math.max(...row.boxes.map((box) => 1 + box.lines.length));
    const step = (width - 24) / row.boxes.length;
    const w = Math.min(150, step - 20);
    y += h / 2;
    row.boxes.forEach((box, i) => places.set(box.name, { x: 12 + step * (i + 0.5), y, w, h }));
    y += h / 2 + (rows[index + 1]?.level === row.level ? 14 : 54);
  });
  return places;
}

/** Rows of at most `most` boxes: whole groups beside each other, or each group as a column. */
function wrapped(boxes, most) {
  if (!boxes.length) return [];
  const groups = [...new Set(boxes.map((box) => box.group))].map((name) => boxes.filter((box) => box.group === name));
  const size = groups[0].length;
  const alike = groups.every((group) => group.length === size);
  if (boxes.length > most && alike && size > most && groups.length > 1 && groups.length <= most) {
    return groups[0].map((_, place) => groups.map((group) => group[place]));
  }
  const whole = alike && size <= most ? size * Math.floor(most / size) : most;
  const rows = Math.ceil(boxes.length / whole);
  const each = alike && size <= most ? whole : Math.ceil(boxes.length / rows);
  return Array.from({ length: rows }, (_, row) => boxes.slice(row * each, (row + 1) * each)).filter((row) => row.length);
}

function circle(boxes, width) {
  const w = Math.max(64, Math.min(130, (width - 40) / Math.max(3, boxes.length / 2.2)));
  const h = 14 + 15 * Math.max(...boxes.map((box) => 1 + box.lines.length));
  const [rx, ry] = [Math.min(width / 2 - w / 2 - 12, 70 * boxes.length), Math.max(90, Math.min(200, 26 * boxes.length))];
  return new Map(boxes.map((box, i) => {
    const angle = 2 * Math.PI * i / boxes.length - Math.PI / 2 - (boxes.length === 4 ? Math.PI / 4 : 0);
    return [box.name, { x: width / 2 + rx * Math.cos(angle), y: 20 + h / 2 + ry * (1 + Math.sin(angle)), w, h }];
  }));
}

/** A dashed frame around each group whose boxes no other box stands between. */
function panels(svg, boxes, places) {
  for (const group of new Set(boxes.map((box) => box.group).filter(Boolean))) {
    const mine = boxes.filter((box) => box.group === group).map((box) => places.get(box.name));
    const left = Math.min(...mine.map((p) => p.x - p.w / 2)) - 7;
    const right = Math.max(...mine.map((p) => p.x + p.w / 2)) + 7;
    const top = Math.min(...mine.map((p) => p.y - p.h / 2)) - 8;
    const bottom = Math.max(...mine.map((p) => p.y + p.h / 2)) + 18;
    const clear = boxes.every((box) => {
      const p = places.get(box.name);
      return box.group === group || p.x < left || p.x > right || p.y < top || p.y > bottom;
    });
    if (!clear || mine.length < 2) continue;
    svg.append(shape("rect", { class: "panel", x: left, y: top, width: right - left, height: bottom - top, rx: 6 }));
    svg.append(label(left + 8, bottom - 5, group, { class: "muted" }));
  }
}

/** Where the straight line from a box's middle towards another leaves the box. */
function edge(box, other) {
  const [dx, dy] = [other.x - box.x, other.y - box.y];
  const part = Math.min(box.w / 2 / (Math.abs(dx) || 1e-9), box.h / 2 / (Math.abs(dy) || 1e-9));
  return [box.x + dx * part, box.y + dy * part];
}

/** The path of a wire and where its label stands: a bend between rows, else straight. */
function wired(a, b, rows) {
  const apart = Math.abs(a.y - b.y) > (a.h + b.h) / 2;
  if (rows && !apart && Math.abs(a.x - b.x) > a.w + b.w) { // not neighbours: under those between
    const [y, sag] = [a.y + a.h / 2, 8 + Math.abs(a.x - b.x) / 18];
    return { path: `M${a.x} ${y}C${a.x} ${y + sag} ${b.x} ${y + sag} ${b.x} ${y}`, x: (a.x + b.x) / 2, y: y + sag * 0.75, room: 0 };
  }
  if (!rows || !apart) {
    const [[x1, y1], [x2, y2]] = [edge(a, b), edge(b, a)];
    return { path: `M${x1} ${y1}L${x2} ${y2}`, x: (x1 + x2) / 2, y: (y1 + y2) / 2, room: apart ? Infinity : Math.hypot(x2 - x1, y2 - y1) - 12 };
  }
  const down = a.y < b.y ? 1 : -1;
  const [x1, y1, x2, y2] = [a.x, a.y + down * a.h / 2, b.x, b.y - down * b.h / 2];
  const half = (y1 + y2) / 2;
  // Nearer the lower end, where the wires of one box have parted.
  const t = down > 0 ? 0.66 : 0.34;
  const bend = (p0, p1, p2, p3) => (1 - t) ** 3 * p0 + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t ** 2 * p2 + t ** 3 * p3;
  return { path: `M${x1} ${y1}C${x1} ${half} ${x2} ${half} ${x2} ${y2}`, x: bend(x1, x1, x2, x2), y: bend(y1, half, half, y2), room: Infinity };
}
