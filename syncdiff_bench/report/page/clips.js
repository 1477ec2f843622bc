// ------------------------------------------------------------------------------------------- all clips

const ROWS = 100; // of the table at first, and more at every click
const listed = { key: null, descending: false, rows: ROWS };

// What stands in a column of the table: the clip, a method, or "change".
function valueOf(clip, key) {
  if (key === "clip") return data.clips[clip];
  if (key !== "change") return valueIn(chosen.metric)(key, clip) ?? "";
  const [a, b] = [data.pair.a, data.pair.b].map((method) => valueIn(chosen.metric)(method, clip));
  return a === null || b === null ? "" : b - a;
}

function clipHeading(text, key) {
  const button = element("button", { type: "button" }, text);
  const header = element("th", { scope: "col", ...(key === "clip" ? { class: "text" } : {}) }, button);
  if (listed.key === key) header.setAttribute("aria-sort", listed.descending ? "descending" : "ascending");
  button.addEventListener("click", () => {
    listed.descending = listed.key === key && !listed.descending;
    listed.key = key;
    listClips();
    [...byId("clip-table").tHead.rows[0].cells].find((cell) => cell.hasAttribute("aria-sort")).querySelector("button").focus();
  });
  return header;
}

function clipRow(clip, keys) {
  const button = element("button", { type: "button", class: "watch", "data-clip": clip, "aria-current": clip === chosen.clip }, `${clip in data.watch ? "▶\uFE0E\u00a0" : ""}${data.clips[clip]}`);
  const cells = keys.slice(1).map((key) => {
    const value = valueOf(clip, key), why = key === "change" ? "" : data.methods[key].failed[clip];
    const text = value === "" ? "" : (key === "change" && value > 0 ? "+" : "") + digits(value, chosen.metric);
    return element("td", { "data-value": value, ...(why ? { title: why } : {}) }, why && value === "" ? element("span", { class: "failed" }, "failed") : text);
  });
  return element("tr", { "data-clip": clip }, element("th", { scope: "row" }, button), ...cells);
}

function listClips() {
  if (chosen.metric < 0) return;
  const wanted = byId("filter").value.trim().toLowerCase();
  const found = data.clips.map((_, clip) => clip).filter((clip) => `${data.clips[clip]} ${data.speakers[clip]}`.toLowerCase().includes(wanted));
  if (listed.key !== null) found.sort((a, b) => inOrder(valueOf(a, listed.key), valueOf(b, listed.key), listed.descending));
  const keys = ["clip", ...data.methods.keys(), ...(data.pair ? ["change"] : [])];
  const names = ["Clip", ...data.methods.map((method) => method.name), ...(data.pair ? ["B − A"] : [])];
  byId("clip-values").replaceChildren(element("table", { id: "clip-table", class: "sortable" },
    element("caption", {}, `${heading(chosen.metric)} (${data.columns[chosen.metric].protocol}) of every clip`),
    element("thead", {}, element("tr", {}, ...keys.map((key, i) => clipHeading(names[i], key)))),
    element("tbody", {}, ...found.slice(0, listed.rows).map((clip) => clipRow(clip, keys)))));
  byId("shown").textContent = `${Math.min(listed.rows, found.length)} of ${found.length} clips`;
  byId("more").hidden = found.length <= listed.rows;
}

byId("filter").addEventListener("input", () => { listed.rows = ROWS; listClips(); });
byId("more").addEventListener("click", () => { listed.rows += ROWS; listClips(); });
document.addEventListener("click", (event) => {
  const button = event.target.closest("button.watch");
  if (button) chooseClip(Number(button.dataset.clip));
});

showClip(chosen.clip);
drawPlots();
listClips();
