// ------------------------------------------------------------------------------------------- plots

const POINTS = 400, POINTS_OF_ALL = 4000; // as many are drawn of a method, and of all
const NEAR = 16; // pixels around a point in which a click means it

function svg(tag, attributes = {}, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
}

function roundTicks(low, high, about) {
  const rough = (high - low || Math.abs(high) || 1) / about, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) ticks.push(i * step);
  return { ticks, places: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

// from and to: pixels of the least and the largest value.
function axis(values, from, to, about) {
  const low = values.reduce((a, b) => Math.min(a, b)), high = values.reduce((a, b) => Math.max(a, b));
  const pad = (high - low || Math.abs(high) || 1) * 0.05;
  const scale = (value) => from + (value - low + pad) / (high - low + 2 * pad) * (to - from);
  return { scale, ...roundTicks(low - pad, high + pad, about) };
}

const unitOf = (column) => (data.columns[column].unit ? ` (${data.columns[column].unit})` : "");
const axisName = (column) => `${data.columns[column].label}${unitOf(column)}, ${data.columns[column].direction === "up" ? "higher is better →" : "← lower is better"}`;

// What of a text about fits into so many pixels; its title has the whole.
const shortened = (text, width) => (text.length * 7.2 <= width ? text : `${text.slice(0, Math.max(1, Math.floor(width / 7.2) - 1))}…`);

// A name in one line, or broken between words into two.
function twoLines(text, width) {
  const breaks = [...text.matchAll(/ /g)].map((found) => found.index).filter((at) => at * 7.2 <= width);
  if (text.length * 7.2 <= width || !breaks.length) return [shortened(text, width)];
  return [text.slice(0, breaks.at(-1)), shortened(text.slice(breaks.at(-1) + 1), width)];
}

// A row of a plot per method, the best mean on top; both plots of a metric have the same rows.
function rowsOf(column) {
  const sign = data.columns[column].direction === "up" ? -1 : 1;
  const mean = (method) => data.methods[method].summary[column]?.mean ?? null;
  return data.methods.map((_, index) => index).filter((method) => mean(method) !== null || data.methods[method].values[column].some((value) => value !== null))
    .sort((a, b) => (mean(a) === null) - (mean(b) === null) || sign * (mean(a) - mean(b)));
}

// A plot with a row per method and values from left to right.
function rowPlot(place, label, column, rows, values) {
  const width = Math.max(260, byId(place).clientWidth), left = Math.min(190, width * 0.34), right = width - 8, pitch = 34, top = 4;
  const height = top + rows.length * pitch + 44;
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  const x = axis(values, left + 6, right - 6, width < 500 ? 3 : 6);
  for (const tick of x.ticks) {
    root.append(svg("line", { class: "grid", x1: x.scale(tick), x2: x.scale(tick), y1: top, y2: height - 40 }));
    root.append(svg("text", { class: "small", x: x.scale(tick), y: height - 24, "text-anchor": "middle" }, tick.toFixed(x.places)));
  }
  root.append(svg("text", { class: "small", x: (left + right) / 2, y: height - 6, "text-anchor": "middle" }, axisName(column)));
  rows.forEach((method, row) => {
    const { name, bound } = data.methods[method], middle = top + (row + 0.5) * pitch, lines = twoLines(name, left - 8);
    const text = svg("text", { x: left - 8, "text-anchor": "end", ...(bound ? { class: "bound" } : {}) });
    text.append(...lines.map((line, i) => svg("tspan", { x: left - 8, y: middle + 4 + (i - (lines.length - 1) / 2) * 14 }, line)), svg("title", {}, bound ? `${name}, a bound that does not compete` : name));
    root.append(text);
  });
  return { root, x: x.scale, y: (row) => top + (row + 0.5) * pitch, height, top, right };
}

function drawMeans(column) {
  const rows = rowsOf(column).filter((method) => data.methods[method].summary[column]?.mean != null);
  if (!rows.length) return byId("means").replaceChildren("No values.");
  const summary = (method) => data.methods[method].summary[column];
  const ends = rows.flatMap((method) => [summary(method).mean, ...(summary(method).ci ?? [])]);
  const plot = rowPlot("means", `${heading(column)}: mean and 95 % interval of each method`, column, rows, ends);
  const best = rows.find((method) => !data.methods[method].bound);
  if (best !== undefined && summary(best).ci) { // who lies outside is worse, or better, than the best one's interval
    const [low, high] = summary(best).ci.map(plot.x);
    plot.root.append(svg("rect", { class: "band", x: low, width: Math.max(1, high - low), y: plot.top, height: plot.height - 44 }));
  }
  rows.forEach((method, row) => {
    const { mean, ci, n, failed } = summary(method), y = plot.y(row), kind = look(method).class;
    const told = `${data.methods[method].name}: ${digits(mean, column)}${ci ? `, 95 % interval ${digits(ci[0], column)} to ${digits(ci[1], column)}` : ", no interval"}; ${n} clips${failed ? `, ${failed} failed` : ""}`;
    const group = svg("g", { class: "mean", role: "img", "aria-label": told });
    group.append(svg("title", {}, told));
    if (ci) {
      const [low, high] = ci.map(plot.x);
      group.append(svg("path", { class: `whisker ${kind}`, d: `M${low} ${y - 5}V${y + 5}M${low} ${y}H${high}M${high} ${y - 5}V${y + 5}` }));
    }
    group.append(svg("path", { class: kind, d: look(method).d, transform: `translate(${plot.x(mean)} ${y}) scale(1.5)` }));
    const toLeft = plot.x(mean) > plot.right - 60; // the number stands above the mark, within the plot
    group.append(svg("text", { class: "small", x: plot.x(mean), y: y - 9, "text-anchor": toLeft ? "end" : "middle" }, digits(mean, column)));
    plot.root.append(group);
  });
  byId("means").replaceChildren(plot.root);
}

// [clip, value] of a method, in order of the values; of many an even choice, with all that have a video.
function pointsOf(method, value) {
  const found = data.clips.map((_, clip) => [clip, value(method, clip)]).filter((one) => one[1] !== null).sort((a, b) => a[1] - b[1]);
  const most = Math.max(20, Math.min(POINTS, Math.floor(POINTS_OF_ALL / data.methods.length)));
  if (found.length <= most) return found;
  const kept = new Set(Array.from({ length: most }, (_, i) => Math.round(i * (found.length - 1) / (most - 1))));
  return found.filter(([clip], i) => kept.has(i) || clip in data.watch || clip === chosen.clip);
}

function median(sorted) {
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

const valueIn = (column) => (method, clip) => data.methods[method].values[column][clip];

function mark(x, y, method, clip, told) {
  const { class: kind, d } = look(method);
  const node = svg("path", { class: `mark ${kind}${clip in data.watch ? " seen" : ""}`, d, transform: `translate(${x} ${y})`, role: "button", tabindex: -1, "data-clip": clip, "aria-label": told });
  node.append(svg("title", {}, told));
  return { node, clip, x, y };
}

// Points by mouse, finger and arrow keys. rows: of marks, each from left to right.
function walkable(root, rows) {
  const all = rows.flat();
  if (!all.length) return;
  let at = all[0];
  const tabStop = (one) => { at.node.setAttribute("tabindex", -1); at = one; at.node.setAttribute("tabindex", 0); };
  tabStop(at);
  root.addEventListener("click", (event) => {
    const box = root.getBoundingClientRect(), unit = root.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * unit, y = (event.clientY - box.top) * unit;
    const far = (one) => (one.width ? (x >= one.x - one.width / 2 && x <= one.x + one.width / 2 ? 0 : NEAR) : Math.hypot(one.x - x, one.y - y));
    const nearest = all.reduce((a, b) => (far(b) < far(a) ? b : a));
    if (far(nearest) < NEAR) { tabStop(nearest); chooseClip(nearest.clip); }
  });
  root.addEventListener("keydown", (event) => {
    const row = rows.findIndex((one) => one.includes(at)), index = rows[row].indexOf(at);
    const beside = (other) => rows[other]?.reduce((a, b) => (Math.abs(b.x - at.x) < Math.abs(a.x - at.x) ? b : a));
    const next = { ArrowRight: rows[row][index + 1], ArrowLeft: rows[row][index - 1], ArrowDown: beside(row + 1), ArrowUp: beside(row - 1), Home: rows[row][0], End: rows[row].at(-1) };
    if (event.key === "Enter" || event.key === " ") chooseClip(at.clip);
    else if (!(event.key in next)) return;
    else if (next[event.key]) { tabStop(next[event.key]); at.node.focus({ preventScroll: true }); }
    event.preventDefault();
  });
}

function drawSpread(column) {
  const rows = rowsOf(column).map((method) => [method, pointsOf(method, valueIn(column))]).filter(([, found]) => found.length);
  byId("spread-note").textContent = "";
  if (!rows.length) return byId("spread").replaceChildren("No values of single clips.");
  const values = rows.flatMap(([, found]) => found.map(([, value]) => value));
  const plot = rowPlot("spread", `${heading(column)} of every clip; arrow keys walk, Enter shows the clip`, column, rows.map(([method]) => method), values);
  const marks = rows.map(([method, found], row) => found.map(([clip, value], i) => mark(plot.x(value), plot.y(row) + ((i * 7) % 11 - 5) * 1.8, method, clip,
    `${data.methods[method].name} ${data.clips[clip]}: ${digits(value, column)}`)));
  plot.root.append(...marks.flat().map((one) => one.node));
  rows.forEach(([method], row) => {
    const m = plot.x(median(data.methods[method].values[column].filter((value) => value !== null).sort((a, b) => a - b)));
    plot.root.append(svg("line", { class: "median", x1: m, x2: m, y1: plot.y(row) - 14, y2: plot.y(row) + 14 }));
  });
  walkable(plot.root, marks);
  byId("spread").replaceChildren(plot.root);
  const drawn = marks.reduce((sum, one) => sum + one.length, 0), all = rows.reduce((sum, [method]) => sum + data.methods[method].values[column].filter((value) => value !== null).length, 0);
  byId("spread-note").textContent = `Outlined points have their video in this page; the line is the median.${drawn < all ? ` ${drawn} of ${all} points are drawn, evenly chosen.` : ""}`;
}

// A plot with values in both directions.
function square(place, label, column, values) {
  const width = Math.max(260, byId(place).clientWidth), height = 300, left = 56, bottom = height - 40;
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label });
  const y = axis(values, bottom, 12, 5);
  for (const tick of y.ticks) {
    root.append(svg("text", { class: "small", x: left - 6, y: y.scale(tick) + 4, "text-anchor": "end" }, tick.toFixed(y.places)));
    root.append(svg("line", { class: "grid", x1: left, x2: width, y1: y.scale(tick), y2: y.scale(tick) }));
  }
  const below = (text) => root.append(svg("text", { class: "small", x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, text));
  return { root, y: y.scale, width, left, bottom, below };
}

function drawScatter(columnX, columnY) {
  const both = data.methods.map((_, method) => pointsOf(method, (one, clip) => (valueIn(columnY)(one, clip) === null ? null : valueIn(columnX)(one, clip))));
  const drawn = both.flatMap((found, method) => found.map(([clip, x]) => [method, clip, x, valueIn(columnY)(method, clip)]));
  if (!drawn.length) return byId("scatter").replaceChildren("No clip has both values.");
  const plot = square("scatter", `${data.columns[columnY].label} against ${data.columns[columnX].label}, a point per clip and method`, columnY, drawn.map((one) => one[3]));
  const x = axis(drawn.map((one) => one[2]), plot.left + 8, plot.width - 10, 4);
  for (const tick of x.ticks) plot.root.append(svg("text", { class: "small", x: x.scale(tick), y: plot.bottom + 18, "text-anchor": "middle" }, tick.toFixed(x.places)));
  plot.below(axisName(columnX));
  const marks = data.methods.map((_, method) => drawn.filter((one) => one[0] === method).map(([, clip, a, b]) => mark(x.scale(a), plot.y(b), method, clip,
    `${data.methods[method].name} ${data.clips[clip]}: ${digits(a, columnX)}, ${digits(b, columnY)}`))).filter((row) => row.length);
  plot.root.append(...marks.flat().map((one) => one.node));
  walkable(plot.root, marks);
  byId("scatter").replaceChildren(plot.root);
}

// Bars of B - A, the clip that got worse by most first.
function drawChanges(column) {
  const { a, b, columns } = data.pair, { direction } = data.columns[column];
  const sign = direction === "up" ? 1 : -1;
  const change = (_, clip) => {
    const before = valueIn(column)(a, clip), after = valueIn(column)(b, clip);
    return before === null || after === null ? null : sign * (after - before);
  };
  const found = columns.includes(column) ? pointsOf(b, change).map(([clip, value]) => [clip, sign * value]) : [];
  if (!found.length) return byId("changes").replaceChildren("Not compared.");
  const plot = square("changes", `${data.columns[column].label}, ${data.methods[b].name} minus ${data.methods[a].name}, clip by clip`, column, [0, ...found.map((one) => one[1])]);
  const slot = (plot.width - plot.left) / found.length, zero = plot.y(0);
  const bars = found.map(([clip, value], i) => {
    const end = plot.y(value), told = `${data.clips[clip]}: ${value > 0 ? "+" : ""}${digits(value, column)}`;
    const node = svg("rect", { class: `change mark seen ${sign * value < 0 ? "c1" : "c0"}`, x: plot.left + slot * (i + 0.1), width: slot * 0.8, y: Math.min(zero, end),
      height: Math.max(1, Math.abs(end - zero)), role: "button", tabindex: -1, "data-clip": clip, "aria-label": told });
    node.append(svg("title", {}, told));
    return { node, clip, x: plot.left + slot * (i + 0.5), y: zero, width: slot };
  });
  plot.root.append(...bars.map((one) => one.node), svg("line", { class: "median", x1: plot.left, x2: plot.width, y1: zero, y2: zero }));
  plot.below(`${data.columns[column].label}${unitOf(column)}: better on the right`);
  walkable(plot.root, [bars]);
  byId("changes").replaceChildren(plot.root);
}

function markChosen() {
  for (const node of document.querySelectorAll(".mark")) node.classList.toggle("chosen", Number(node.dataset.clip) === chosen.clip);
  for (const button of document.querySelectorAll("button.watch")) button.setAttribute("aria-current", Number(button.dataset.clip) === chosen.clip);
}

function drawPlots() {
  if (chosen.metric < 0) return;
  drawMeans(chosen.metric);
  drawSpread(chosen.metric);
  drawScatter(chosen.metric, Number(byId("against").value));
  if (data.pair) drawChanges(chosen.metric);
  markChosen();
}

data.columns.forEach((_, column) => byId("against").append(element("option", { value: column }, `${heading(column)} (${data.columns[column].protocol})`)));
byId("against").value = Math.min(1, data.columns.length - 1);
byId("against").addEventListener("input", drawPlots);
let drawnAt = 0;
new ResizeObserver(() => { // text keeps its size: a plot is drawn as wide as its place
  if (byId("means").clientWidth === drawnAt) return;
  drawnAt = byId("means").clientWidth;
  drawPlots();
}).observe(byId("means"));
