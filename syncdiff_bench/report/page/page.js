"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f"]; // Okabe and Ito
const SHAPES = [ // circle, square, triangle, diamond, cross, about the origin
  "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z", "M-3.2 -3.2h6.4v6.4h-6.4z", "M0 -4.4L4.2 3.2h-8.4z", "M0 -4.8L4.8 0L0 4.8L-4.8 0z",
  "M-1.4 -4.2h2.8v2.8h2.8v2.8h-2.8v2.8h-2.8v-2.8h-2.8v-2.8h2.8z"];
// Seven colours and five shapes, both changing from one method to the next: 35 methods that look different.
const look = (index) => ({ fill: COLOURS[index % COLOURS.length], d: SHAPES[index % SHAPES.length] });
const FRAME = 1 / 25;

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// ------------------------------------------------------------------------------------------- tables

function sortBy(header) {
  const table = header.closest("table");
  const index = [...header.parentNode.children].indexOf(header);
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const key = (row) => row.children[index].dataset.value ?? row.children[index].textContent;
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === ""); // what has no value comes last, either way
    const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
    return descending ? -order : order;
  };
  const rows = [...table.tBodies[0].rows].sort((a, b) => compare(key(a), key(b)));
  table.tBodies[0].append(...rows);
}

for (const header of document.querySelectorAll(".sortable th[scope=col]")) {
  header.querySelector("button").addEventListener("click", () => sortBy(header));
}

function filterClips() {
  const text = byId("filter").value.trim().toLowerCase();
  const method = byId("method").value;
  let shown = 0;
  for (const row of byId("clip-table").tBodies[0].rows) {
    row.hidden = !row.dataset.text.includes(text) || (method !== "" && row.dataset.method !== method);
    shown += !row.hidden;
  }
  byId("shown").textContent = `${shown} rows`;
}

for (const method of data.methods) byId("method").append(element("option", {}, method));
byId("filter").addEventListener("input", filterClips);
byId("method").addEventListener("input", filterClips);
filterClips();

// ------------------------------------------------------------------------------------------- playback

const videos = () => [...byId("players").querySelectorAll("video")];

function showClip(id) {
  const clip = data.watch[id];
  if (!clip) return;
  byId("transcript").textContent = clip.transcript ? `“${clip.transcript}”` : "";
  byId("play").textContent = "Play";
  byId("players").replaceChildren(...Object.entries(clip.videos).map(([name, uri]) => {
    const video = element("video", { src: uri, playsinline: "", preload: "auto", "aria-label": `${name}, clip ${id}` });
    video.muted = true;
    return element("figure", {}, video, element("figcaption", {}, name));
  }));
  byId("sound").replaceChildren(...Object.keys(clip.videos).map((name) => element("option", {}, name)), element("option", {}, "off"));
  byId("absent").replaceChildren(...Object.entries(clip.absent).map(([name, why]) => element("li", {}, `${name}: ${why}`)));
  chooseSound();
  videos().forEach(lead);
  showStrip(id, clip);
}

function showStrip(id, clip) {
  const spoken = element("div", { class: "spoken" }, ...clip.strip.spoken.map((text) => element("span", {}, text || "\u00a0")));
  const rows = Object.entries(clip.strip.rows).map(([name, uri]) => element("tr", {}, element("th", { scope: "row" }, name),
    element("td", {}, element("img", { src: uri, alt: `Mouth of ${name} at ${clip.strip.spoken.join(" ")}` }))));
  byId("strip").replaceChildren(element("table", {}, element("caption", { class: "unseen" }, `Mouths in clip ${id}`),
    element("tbody", {}, element("tr", {}, element("td"), element("td", {}, spoken)), ...rows)));
}

// The video that is heard leads, so that no sound is bent; the others keep step with it.
const leader = () => videos().find((video) => !video.muted) ?? videos()[0];

function lead(video) {
  const leads = (action) => () => { if (video === leader()) action(); };
  video.addEventListener("loadedmetadata", leads(() => { byId("seek").max = video.duration; }));
  video.addEventListener("ended", leads(() => { byId("play").textContent = "Play"; }));
  video.addEventListener("timeupdate", leads(follow)); // a few times a second; all that older browsers have
  if (!video.requestVideoFrameCallback) return;
  const onFrame = () => { leads(follow)(); video.requestVideoFrameCallback(onFrame); };
  video.requestVideoFrameCallback(onFrame);
}

function follow() {
  const first = leader();
  byId("seek").value = first.currentTime;
  for (const other of videos()) {
    const behind = first.currentTime - other.currentTime;
    if (other === first || other.ended || other.seeking || first.paused) continue;
    // A seek costs several frames itself, so what is a little behind runs faster until it is not.
    if (Math.abs(behind) > 5 * FRAME) other.currentTime = first.currentTime;
    else other.playbackRate = first.playbackRate * (1 + Math.max(-0.5, Math.min(0.5, 4 * behind)));
  }
}

function seek(time) {
  for (const video of videos()) video.currentTime = time;
  byId("seek").value = time;
}

async function play() {
  const all = videos();
  if (!all.length) return;
  if (!leader().paused) { pause(); return; }
  if (leader().ended) seek(0);
  byId("play").textContent = "Pause";
  await Promise.all(all.map((video) => video.play()));
}

function pause() {
  byId("play").textContent = "Play";
  for (const video of videos()) video.pause();
  if (videos().length) seek(leader().currentTime); // the same frame of all
}

function step(frames) {
  pause();
  const first = leader();
  if (first) seek(Math.min(Math.max(0, first.currentTime + frames * FRAME), first.duration || 0));
}

function chooseSound() {
  const names = [...byId("sound").options].map((option) => option.value);
  videos().forEach((video, index) => { video.muted = names[index] !== byId("sound").value; });
  chooseSpeed(); // another one leads, at the full rate
}

function chooseSpeed() {
  for (const video of videos()) video.playbackRate = Number(byId("speed").value);
}

byId("clip").addEventListener("input", (event) => showClip(event.target.value));
byId("play").addEventListener("click", play);
byId("back").addEventListener("click", () => step(-1));
byId("forward").addEventListener("click", () => step(1));
byId("seek").addEventListener("input", (event) => {
  const time = Number(event.target.value); // pausing moves the slider
  pause();
  seek(time);
});
byId("sound").addEventListener("input", chooseSound);
byId("speed").addEventListener("input", chooseSpeed);
showClip(byId("clip").value);

// ------------------------------------------------------------------------------------------- plots

const W = 480, H = 300, LEFT = 56, BOTTOM = 36, TOP = 12;

function svg(tag, attributes = {}, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
}

const points = (column, method) => Object.entries(data.values[method]).map(([clip, row]) => [clip, row[column]]).filter(([, value]) => value !== null);

function axis(values, from, to) { // value -> pixel, and four round ticks
  const low = Math.min(...values), high = Math.max(...values);
  const pad = (high - low || 1) * 0.05;
  const scale = (value) => from + (value - low + pad) / (high - low + 2 * pad) * (to - from);
  return { scale, ticks: [0, 1, 2, 3].map((i) => low + (high - low) * i / 3) };
}

function frame(label, values, vertical = true) {
  const y = vertical ? axis(values, H - BOTTOM, TOP) : null;
  const root = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": label });
  for (const tick of y ? y.ticks : []) {
    root.append(svg("text", { x: LEFT - 6, y: y.scale(tick) + 4, "text-anchor": "end" }, tick.toPrecision(3)));
    root.append(svg("line", { x1: LEFT, x2: W, y1: y.scale(tick), y2: y.scale(tick), stroke: "currentColor", "stroke-opacity": 0.15 }));
  }
  return { root, y };
}

function mark(x, y, method, title) {
  const drawn = svg("path", { class: "mark", transform: `translate(${x} ${y})`, "fill-opacity": 0.65, ...look(data.methods.indexOf(method)) });
  drawn.append(svg("title", {}, title));
  return drawn;
}

byId("legend").replaceChildren(...data.methods.map((method) => {
  const root = svg("svg", { viewBox: "-6 -6 12 12", "aria-hidden": "true" });
  root.append(mark(0, 0, method, method));
  return element("li", {}, root, method);
}));

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

// What of a text about fits into so many units; the legend has the whole.
const shortened = (text, width) => (text.length * 7 <= width ? text : `${text.slice(0, Math.max(1, width / 7 - 1))}…`);

function drawDistribution(column) {
  const groups = data.methods.map((method) => [method, points(column, method)]).filter(([, found]) => found.length);
  const values = groups.flatMap(([, found]) => found.map(([, value]) => value));
  if (!values.length) return byId("distribution").replaceChildren("No values.");
  const { root, y } = frame(`Distribution of ${data.columns[column].label} per method`, values);
  const slot = (W - LEFT) / groups.length;
  groups.forEach(([method, found], g) => {
    const middle = LEFT + slot * (g + 0.5);
    found.forEach(([clip, value], i) => root.append(mark(middle + ((i * 7) % 11 - 5) * slot / 30, y.scale(value), method, `${method} ${clip}: ${value}`)));
    const m = y.scale(median(found.map(([, value]) => value)));
    root.append(svg("line", { class: "median", x1: middle - slot / 4, x2: middle + slot / 4, y1: m, y2: m, stroke: "currentColor", "stroke-width": 2 }));
    root.append(svg("text", { x: middle, y: H - 12, "text-anchor": "middle" }, shortened(method, slot)));
  });
  byId("distribution").replaceChildren(root);
}

function drawScatter(columnX, columnY) {
  const found = data.methods.flatMap((method) => Object.entries(data.values[method])
    .filter(([, row]) => row[columnX] !== null && row[columnY] !== null)
    .map(([clip, row]) => [method, clip, row[columnX], row[columnY]]));
  if (!found.length) return byId("scatter").replaceChildren("No clip has both values.");
  const labels = [data.columns[columnX].label, data.columns[columnY].label];
  const { root, y } = frame(`${labels[1]} against ${labels[0]}`, found.map((one) => one[3]));
  const x = axis(found.map((one) => one[2]), LEFT, W - 8);
  for (const tick of x.ticks) root.append(svg("text", { x: x.scale(tick), y: H - 18, "text-anchor": "middle" }, tick.toPrecision(3)));
  root.append(svg("text", { x: (LEFT + W) / 2, y: H - 3, "text-anchor": "middle" }, labels[0]));
  for (const [method, clip, a, b] of found) root.append(mark(x.scale(a), y.scale(b), method, `${method} ${clip}: ${a}, ${b}`));
  byId("scatter").replaceChildren(root);
}

// Bars of B - A, the clip that got worse by most first.
function drawChanges(column) {
  const { a, b, columns } = data.pair;
  const { label, direction, decimals } = data.columns[column];
  const sign = direction === "up" ? 1 : -1;
  const found = Object.entries(data.values[b])
    .map(([clip, row]) => [clip, row[column], data.values[a][clip][column]])
    .filter(([, after, before]) => after !== null && before !== null)
    .map(([clip, after, before]) => [clip, after - before])
    .sort((one, other) => sign * (one[1] - other[1]));
  if (!columns.includes(column) || !found.length) return byId("changes").replaceChildren("Not compared.");
  const { root, y } = frame(`${label}, ${b} minus ${a}, clip by clip`, [0, ...found.map(([, change]) => change)]);
  const slot = (W - LEFT) / found.length, zero = y.scale(0);
  found.forEach(([clip, change], i) => {
    const end = y.scale(change);
    const bar = svg("rect", { class: "change", x: LEFT + slot * (i + 0.1), width: slot * 0.8, y: Math.min(zero, end),
      height: Math.abs(end - zero), fill: sign * change < 0 ? COLOURS[1] : COLOURS[0] });
    bar.append(svg("title", {}, `${clip}: ${change > 0 ? "+" : ""}${change.toFixed(decimals)}`));
    root.append(bar);
  });
  root.append(svg("line", { x1: LEFT, x2: W, y1: zero, y2: zero, stroke: "currentColor" }));
  root.append(svg("text", { x: (LEFT + W) / 2, y: H - 12, "text-anchor": "middle" }, label));
  byId("changes").replaceChildren(root);
}

for (const button of document.querySelectorAll("button.watch")) {
  const { clip } = button.dataset;
  button.disabled = !(clip in data.watch);
  button.addEventListener("click", () => { byId("clip").value = clip; showClip(clip); byId("watch-title").scrollIntoView(); });
}

function drawPlots() {
  const x = Number(byId("metric-x").value), y = Number(byId("metric-y").value);
  drawDistribution(x);
  drawScatter(x, y);
  if (data.pair) drawChanges(x);
}

for (const id of ["metric-x", "metric-y"]) {
  data.columns.forEach((column, index) => byId(id).append(element("option", { value: index }, column.label)));
  byId(id).addEventListener("input", drawPlots);
}
if (data.columns.length) {
  byId("metric-y").value = Math.min(1, data.columns.length - 1);
  drawPlots();
}
