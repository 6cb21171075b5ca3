"use strict";
// What went wrong is kept where a person or a test can see it.
window.addEventListener("error", (event) => {
  const root = document.documentElement;
  root.dataset.errors = `${root.dataset.errors || ""}${event.message}\n`;
});

const report = JSON.parse(document.getElementById("report-data").textContent).report;

// ---- numbers: the rule of report/_format.py, word for word ----

/** Exponential notation with ties to even, as Python rounds; toExponential alone rounds them up. */
function exponential(value, digits) {
  const text = value.toExponential(digits - 1);
  if (!/50*e/.test(value.toExponential(20))) return text; // a tie ends in 5
  const exact = Math.abs(value).toExponential(60);
  const kept = exact.slice(0, exact.indexOf("e")).replace(".", "");
  if (!/^50*$/.test(kept.slice(digits)) || Number(kept[digits - 1]) % 2) return text;
  const head = kept.slice(0, digits);
  const point = digits > 1 ? `${head[0]}.${head.slice(1)}` : head;
  return `${value < 0 ? "-" : ""}${point}${exact.slice(exact.indexOf("e"))}`;
}

const rounded3 = (value) => Number(exponential(value, 3));
const grouped = (value) => whole(value).toLocaleString("en-US");

/** The nearest whole number, ties to even. */
function whole(value) {
  const below = Math.floor(value);
  const over = value - below;
  return over > 0.5 || (over === 0.5 && below % 2 !== 0) ? below + 1 : below;
}
const PREFIXES = { "-15": "f", "-12": "p", "-9": "n", "-6": "µ", "-3": "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P", 18: "E", 21: "Z", 24: "Y", 27: "R", 30: "Q" };
const SI_UNITS = new Set(["s", "J", "W", "Hz", "B/s", "bit/s", "MAC", "MAC/s", "op", "op/s", "FLOP", "FLOP/s", "J/op", "J/MAC", "J/B"]);
const SPELLED = { "bytes/s": "B/s", mm2: "mm²", x: "×", 1: "" };

const COUNTED = new Set(["MAC", "op", "FLOP"]);
const LONG_TIMES = [[8.64e7, "years", 365.25 * 86400], [172800, "d", 86400], [7200, "h", 3600], [1000, "min", 60]];

/** A power of ten as Python writes it: two digits at least. */
const powerOfTen = (value) => exponential(value, 3).replace(/e([+-])(\d)$/, "e$10$2");

function formatLong(value) {
  if (Math.abs(rounded3(value)) >= 1e6) return powerOfTen(value);
  return Math.abs(rounded3(value)) >= 1000 ? grouped(value) : String(rounded3(value));
}

function formatSi(value, unit) {
  if (value === 0) return `0 ${unit}`;
  if (COUNTED.has(unit) && Number.isInteger(value) && Math.abs(value) < 1000) return `${value} ${unit}`;
  if (unit === "s") {
    for (const [least, name, size] of LONG_TIMES) {
      if (Math.abs(rounded3(value)) >= least) return `${formatLong(value / size)} ${name}`;
    }
  }
  if (Math.abs(rounded3(value)) >= 1e33) return `${powerOfTen(value)} ${unit}`;
  const magnitude = Number(exponential(value, 3).split("e")[1]);
  const exponent = Math.min(30, Math.max(-15, 3 * Math.floor(magnitude / 3)));
  const scaled = rounded3(value) / 10 ** exponent;
  return `${scaled.toFixed(Math.max(0, 2 - (magnitude - exponent)))} ${PREFIXES[exponent]}${unit}`;
}

function formatPlain(value) {
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return grouped(value);
  if (size < 1e-4 || size >= 1e15) return powerOfTen(value);
  return Math.abs(rounded3(value)) >= 1000 ? grouped(value) : String(rounded3(value));
}

function formatBytes(value) {
  if (Math.abs(value) >= 2 ** 70) return `${powerOfTen(value)} B`;
  for (const [power, name] of [[60, "EiB"], [50, "PiB"], [40, "TiB"], [30, "GiB"], [20, "MiB"], [10, "KiB"]]) {
    const scaled = value / 2 ** power;
    if (Math.abs(scaled) >= 1) {
      return `${Math.abs(scaled) >= 999.5 ? whole(scaled) : rounded3(scaled)} ${name}`;
    }
  }
  return `${whole(value)} B`;
}

function format(value, unit) {
  if (value === null) return "not known";
  const spelled = unit in SPELLED ? SPELLED[unit] : unit;
  if (spelled === "bytes") return formatBytes(value);
  if (SI_UNITS.has(spelled)) return formatSi(value, spelled);
  return spelled === "×" ? `${formatPlain(value)}×` : `${formatPlain(value)} ${spelled}`.trimEnd();
}

const formatTime = (picoseconds) => format(picoseconds / 1e12, "s");

// ---- the document: text is only ever set as text, so that no name can become markup ----

function element(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function shape(name, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function label(x, y, text, attributes = {}) {
  return shape("text", { x, y, ...attributes }, text);
}

/** The average width of a letter at 12 px in the font at hand, a little on the wide side. */
const LETTER = (() => {
  const pen = document.createElement("canvas").getContext("2d");
  const letters = "abcdefghijklmnopqrstuvwxyz0123456789.#";
  pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  return 1.08 * pen.measureText(letters).width / letters.length;
})();

/** Shorten a name in its middle so that it fits. */
function fitted(text, width) {
  const room = Math.floor(width / LETTER);
  if (text.length <= room) return text;
  if (room < 3) return "";
  const head = Math.floor(room / 2);
  return `${text.slice(0, head)}…${text.slice(text.length - (room - 1 - head))}`;
}

const live = document.getElementById("live");
const announce = (text) => { live.textContent = text; };

const tooltip = document.getElementById("tooltip");

/** Show the tooltip beside a point of the window, inside the window. */
function showTip(text, x, y) {
  tooltip.textContent = text;
  tooltip.hidden = false;
  const { width, height } = tooltip.getBoundingClientRect();
  const below = y + 16 + height > innerHeight;
  tooltip.style.left = `${Math.max(4, Math.min(x + 12, innerWidth - width - 4))}px`;
  tooltip.style.top = `${Math.max(4, below ? y - height - 10 : y + 16)}px`;
}

const hideTip = () => { tooltip.hidden = true; };

for (const node of document.querySelectorAll("[data-tip]")) {
  const show = () => {
    const box = node.getBoundingClientRect();
    showTip(node.dataset.tip, box.left, box.bottom - 10);
  };
  node.addEventListener("focus", show);
  node.addEventListener("pointerenter", show);
  node.addEventListener("blur", hideTip);
  node.addEventListener("pointerleave", hideTip);
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
document.addEventListener("scroll", hideTip, { passive: true, capture: true });

// ---- light and dark: the system decides until the reader does ----

const themeButton = document.getElementById("theme");
const systemDark = matchMedia("(prefers-color-scheme: dark)");

function remembered() {
  try { return localStorage.getItem("orrery-theme"); } catch { return null; } // a file may have no storage
}

function showTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  const dark = (theme || (systemDark.matches ? "dark" : "light")) === "dark";
  themeButton.textContent = dark ? "Light theme" : "Dark theme";
  themeButton.dataset.next = dark ? "light" : "dark";
}

themeButton.hidden = false;
themeButton.addEventListener("click", () => {
  const theme = themeButton.dataset.next;
  try { localStorage.setItem("orrery-theme", theme); } catch { /* kept for this visit only */ }
  showTheme(theme);
});
systemDark.addEventListener("change", () => { showTheme(remembered()); });
showTheme(remembered());

// ---- charts: redrawn when their width changes; one tab stop each, arrows move inside ----

/**
 * Let `draw(width)` fill a chart. It returns the items a reader can visit, `{x, y, text, node}` in
 * pixels of the drawing; `keys` may add keys of its own and returns true when it used one.
 */
function chart(host, name, draw, { keys = () => false, order = null } = {}) {
  const canvas = element("div", { class: "canvas", tabindex: 0, role: "group",
    "aria-roledescription": "chart", "aria-label": name });
  host.append(canvas);
  const state = { canvas, items: [], chosen: -1, width: 0 };

  state.redraw = () => {
    state.width = Math.max(240, Math.floor(canvas.clientWidth));
    const { svg, items } = draw(state.width, state);
    svg.setAttribute("aria-hidden", "true");
    canvas.replaceChildren(svg);
    state.items = items;
    if (state.chosen >= items.length) state.chosen = -1;
    items[state.chosen]?.node.classList.add("chosen");
  };
  state.choose = (index, { speak = true } = {}) => {
    state.items[state.chosen]?.node.classList.remove("chosen");
    state.chosen = index;
    const item = state.items[index];
    if (!item) { hideTip(); return; }
    item.node.classList.add("chosen");
    const box = canvas.getBoundingClientRect();
    showTip(item.text, box.left + item.x, box.top + item.y);
    if (speak) announce(item.text.replaceAll("\n", ", "));
  };

  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const count = state.items.length;
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (keys(event, state)) event.preventDefault();
    else if (order === null && step && count) {
      event.preventDefault();
      state.choose(state.chosen < 0 ? (step > 0 ? 0 : count - 1) : (state.chosen + step + count) % count);
    }
  });
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let [best, distance] = [-1, 28];
    state.items.forEach((item, index) => {
      const away = item.reach ? item.reach(x, y) : Math.hypot(item.x - x, item.y - y);
      if (away < distance) [best, distance] = [index, away];
    });
    if (best !== state.chosen) state.choose(best, { speak: false });
  };
  canvas.addEventListener("pointermove", (event) => { if (!event.buttons) point(event); });
  canvas.addEventListener("click", point); // a finger has no hover
  canvas.addEventListener("pointerleave", () => state.choose(-1));
  canvas.addEventListener("blur", () => state.choose(-1));

  // A drawing changes its own height; doing so inside the observer would notify it again.
  new ResizeObserver(() => requestAnimationFrame(() => {
    if (Math.floor(canvas.clientWidth) !== state.width) state.redraw();
  })).observe(canvas);
  state.redraw();
  return state;
}

// ---- scales ----

/** A map from values to pixels with about `count` round ticks. */
function scale(values, [from, to], { log = false, unit = "", count = 6, tight = false } = {}) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const forth = log ? Math.log10 : (value) => value;
  const ticks = [];
  if (log) {
    [low, high] = [Math.log10(low) - 0.12, Math.log10(high) + 0.12];
    const step = Math.max(1, Math.ceil((high - low) / count));
    const within = high - low < 2 ? [1, 2, 5] : [1]; // less than two decades need ticks between
    for (let power = Math.floor(low); power <= high; power += step) {
      ticks.push(...within.map((part) => part * 10 ** power).filter((tick) => Math.log10(tick) >= low && Math.log10(tick) <= high));
    }
  } else {
    if (!tight) low = Math.min(0, low);
    if (high <= low) high = low + 1;
    const base = unit === "bytes" ? 2 : 10;
    const rough = (high - low) / count;
    const power = base ** Math.floor(Math.log(rough) / Math.log(base));
    const step = base === 2 ? (power * (rough > power ? 2 : 1)) : power * [1, 2, 5, 10].find((m) => m * power >= rough * 0.999);
    for (let tick = Math.ceil(low / step) * step; tick <= high * 1.0000001; tick += step) {
      ticks.push(Math.abs(tick) < step / 1e6 ? 0 : Number(tick.toPrecision(12)));
    }
  }
  const at = (value) => from + (forth(value) - low) / (high - low) * (to - from);
  return { at, ticks };
}

/** A tick's text without needless zeros: "2 ms", not "2.00 ms". */
const trimmed = (text) => text.replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");

/** The text of a tick; on a linear axis all ticks share the prefix of the largest. */
function tickText(value, unit, ticks, log = false) {
  const largest = Math.max(...ticks.map(Math.abs));
  if (log || !SI_UNITS.has(unit) || !largest || (unit === "s" && largest >= 1000)) return trimmed(format(value, unit));
  const magnitude = Number(exponential(largest, 3).split("e")[1]);
  const exponent = Math.min(30, Math.max(-15, 3 * Math.floor(magnitude / 3)));
  return value === 0 ? "0" : `${Number((value / 10 ** exponent).toPrecision(6))} ${PREFIXES[exponent]}${unit}`;
}
