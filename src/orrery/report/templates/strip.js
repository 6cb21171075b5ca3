// ---- many things in order: coloured by group, marked by letter, as high as what they take ----

function tileText(tile, section) {
  const lines = [tile.name, tile.group];
  if (tile.letter) lines.push(section.letters[tile.letter]);
  lines.push(`${section.measure} ${format(tile.value, section.unit)}`);
  if (section.part && tile.value !== null) lines.push(`${section.part} ${format(tile.part, section.unit)} of it`);
  return [...lines, ...(tile.note ? [tile.note] : [])].join("\n");
}

/** Cut the tiles into rows of at most `count`, a new row only where it must be. */
function tileRows(tiles, count) {
  const rows = [];
  for (let start = 0; start < tiles.length; start += count) rows.push(tiles.slice(start, start + count));
  return rows;
}

function drawStrip(host, section) {
  const tiles = section.tiles;
  if (!tiles.length) { host.append(element("p", { class: "hint" }, "Nothing to show.")); return; }
  const top = Math.max(...tiles.map((tile) => tile.value ?? 0)) || 1;
  const paint = (group) => colour(section.groups.indexOf(group));
  chart(host, `${section.title}: ${tiles.length} tiles in ${section.groups.length} groups. Arrow keys move among them.`, (width) => {
    const [left, foot] = [10, 18]; // margin; a letter's box
    const room = width - 2 * left;
    const count = Math.ceil(tiles.length / Math.ceil(tiles.length * 13 / room)); // rows of about one length
    const rows = tileRows(tiles, count);
    const high = rows.length > 6 ? 28 : 44; // the tallest bar
    const size = Math.min(30, room / count);
    const svg = shape("svg", {});
    const items = [];
    let y = 8;
    let before = null; // group of the tile before, in whatever row
    for (const row of rows) {
      let free = -Infinity; // right end of the group name before
      let named = false;
      row.forEach((tile, place) => {
        const x = left + place * size;
        const tall = tile.value === null ? 0 : Math.max(tile.value > 0 ? 1.5 : 0, high * tile.value / top);
        const solid = tile.value ? tall * tile.part / tile.value : 0;
        const gap = size > 7 ? 1 : 0;
        svg.append(shape("rect", { x, y: (y + high - tall).toFixed(2), width: size - gap, height: tall.toFixed(2), fill: paint(tile.group), "fill-opacity": 0.45 }));
        if (solid > 0) svg.append(shape("rect", { x, y: (y + high - tall).toFixed(2), width: size - gap, height: solid.toFixed(2), fill: paint(tile.group) }));
        const box = shape("rect", { x, y: y + high + 1, width: size - gap, height: foot, fill: paint(tile.group) });
        svg.append(box);
        if (tile.letter && size >= 9) svg.append(label(x + (size - gap) / 2, y + high + 14, tile.letter, { "text-anchor": "middle", style: "fill:var(--on-kind)" }));
        if (tile.group !== before) {
          before = tile.group;
          let end = place;
          while (end < row.length && row[end].group === tile.group) end += 1;
          if (place) svg.append(shape("line", { class: "axis", x1: x - gap / 2, x2: x - gap / 2, y1: y, y2: y + high + foot + 18 }));
          const name = fitted(tile.group, (end - place) * size - 6);
          if (name.length > 3 && x > free) {
            svg.append(label(x + 2, y + high + foot + 15, name, { class: "muted" }));
            free = x + name.length * LETTER;
            named = true;
          }
        }
        items.push({ x: x + size / 2, y: y + high + foot, node: box, text: tileText(tile, section),
          reach: (px, py) => (px >= x && px < x + size && py >= y && py < y + high + foot + 20 ? 0 : Infinity) });
      });
      svg.append(shape("line", { class: "axis", x1: left, x2: left + row.length * size, y1: y + high + 0.5, y2: y + high + 0.5 }));
      y += high + foot + (named ? 30 : 12);
    }
    svg.setAttribute("viewBox", `0 0 ${width} ${y - 4}`);
    return { svg, items };
  });
  legend(host, section.groups.map((group, index) => [group, colour(index)]));
  const letters = Object.entries(section.letters);
  if (letters.length) {
    const list = element("dl", { class: "letters" });
    for (const [letter, text] of letters) list.append(element("div", {}, element("dt", {}, letter), element("dd", {}, text)));
    host.append(list);
  }
  host.append(element("p", { class: "hint" }, `Height: ${section.measure}, largest ${format(top, section.unit)}${section.part ? `; the solid part is ${section.part}` : ""}.`));
}
