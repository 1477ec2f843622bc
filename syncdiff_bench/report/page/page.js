"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const SHAPES = [ // circle, square, triangle, diamond, cross, about the origin
  "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z", "M-3.2 -3.2h6.4v6.4h-6.4z", "M0 -4.4L4.2 3.2h-8.4z", "M0 -4.8L4.8 0L0 4.8L-4.8 0z",
  "M-1.4 -4.2h2.8v2.8h2.8v2.8h-2.8v2.8h-2.8v-2.8h-2.8v-2.8h2.8z"];
const COLOURS = 7; // --c0 to --c6 of the style, after Okabe and Ito
// Seven colours and five shapes, both changing from one method to the next: 35 methods that look different.
const look = (index) => ({ class: `c${index % COLOURS}`, d: SHAPES[index % SHAPES.length] });

// What is shown: numbers of a column and of a clip; -1 for none.
const chosen = { metric: data.columns.length ? 0 : -1, clip: Number(byId("clip").value || -1) };

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const digits = (value, column) => value.toFixed(data.columns[column].decimals);
const shown = (value, column) => (value === null ? "" : digits(value, column));
const heading = (column) => `${data.columns[column].label} ${data.columns[column].direction === "up" ? "↑" : "↓"}`;

// ------------------------------------------------------------------------------------------- tables

function sortBy(header) {
  const table = header.closest("table");
  const index = [...header.parentNode.children].indexOf(header);
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const key = (row) => row.children[index].dataset.value ?? row.children[index].textContent;
  const rows = [...table.tBodies[0].rows].sort((a, b) => inOrder(key(a), key(b), descending));
  table.tBodies[0].append(...rows);
}

function inOrder(a, b, descending) {
  if (a === "" || b === "") return (a === "") - (b === ""); // what has no value comes last, either way
  const order = isNaN(a) || isNaN(b) ? String(a).localeCompare(b) : a - b;
  return descending ? -order : order;
}

for (const header of document.querySelectorAll(".sortable th[scope=col]")) {
  header.querySelector("button").addEventListener("click", () => sortBy(header));
}

// A line above what is wider than its place says so.
function hintAt(region) {
  const hint = element("p", { class: "hint sideways" }, "More to the right: scroll this sideways →");
  region.before(hint);
  const measure = () => { hint.hidden = region.scrollWidth <= region.clientWidth + 1; };
  new ResizeObserver(measure).observe(region);
  new MutationObserver(measure).observe(region, { childList: true, subtree: true });
  measure();
}

document.querySelectorAll(".scroll").forEach(hintAt);

// ------------------------------------------------------------------------------------------- choosing

function chooseMetric(column) {
  chosen.metric = column;
  const { lead, sure } = data.columns[column];
  byId("verdict").querySelector("strong").textContent = lead;
  byId("verdict").querySelector("span").textContent = sure;
  drawPlots();
  listClips();
  showValues();
}

function chooseClip(clip, reveal = true) {
  chosen.clip = clip;
  showClip(clip);
  markChosen();
  if (reveal) byId("watch").scrollIntoView();
}

for (const radio of document.querySelectorAll("input[name=metric]")) {
  radio.addEventListener("change", () => chooseMetric(Number(radio.value)));
}
