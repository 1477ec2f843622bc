// ------------------------------------------------------------------------------------------- playback

const FRAME = 1 / 25;
const videos = () => [...byId("players").querySelectorAll("video")];
const other = element("option", { value: -1, hidden: "" }); // a clip that has no video here
byId("clip").append(other);
const watchable = [...byId("clip").options].map((option) => Number(option.value)).filter((clip) => clip >= 0);

// Safari plays an mp4 from a blob, and none from a data URI.
function source(base64) {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
}

function showClip(clip) {
  const found = data.watch[clip] ?? { transcript: "", videos: [], absent: [], strip: { spoken: [], rows: [] } };
  for (const video of videos()) URL.revokeObjectURL(video.src);
  other.hidden = clip in data.watch || clip < 0;
  other.textContent = data.clips[clip] ?? "";
  byId("clip").value = clip in data.watch ? clip : -1;
  byId("clip").disabled = clip < 0;
  for (const id of ["previous", "next"]) byId(id).disabled = watchable.length < 2 && clip in data.watch || !watchable.length;
  byId("transcript").textContent = found.transcript ? `“${found.transcript}”` : "";
  byId("play").textContent = "Play";
  byId("players").replaceChildren(...found.videos.map(([name, content]) => {
    const video = element("video", { src: source(content), playsinline: "", preload: "auto", "aria-label": `${name}, clip ${data.clips[clip]}` });
    video.muted = true;
    return element("figure", {}, video, element("figcaption", {}, name));
  }));
  const none = "The videos of this clip are not in this page; --clips puts more of them in, and `syncdiff-bench watch` writes any.";
  if (clip >= 0 && !(clip in data.watch)) byId("players").append(element("p", { class: "hint" }, none));
  byId("playback").hidden = !found.videos.length;
  byId("sound").replaceChildren(...found.videos.map(([name]) => element("option", {}, name)), element("option", {}, "off"));
  const failed = data.methods.filter((method) => method.failed[clip]).map((method) => [method.name, method.failed[clip]]);
  const absent = found.absent.filter(([name]) => !failed.some(([known]) => known === name));
  byId("absent").replaceChildren(...[...failed, ...absent].map(([name, why]) => element("li", {}, `${name}: ${why}`)));
  chooseSound();
  videos().forEach(lead);
  showStrip(clip, found.strip);
  showValues();
}

function showStrip(clip, { spoken, rows }) {
  const above = element("div", { class: "spoken" }, ...spoken.map((text) => element("span", {}, text || "\u00a0")));
  const shown = rows.map(([name, uri]) => element("tr", {}, element("th", { scope: "row" }, name),
    element("td", {}, element("img", { src: uri, alt: `Mouth of ${name} at ${spoken.join(" ")}` }))));
  byId("strip").hidden = byId("mouths").hidden = !rows.length;
  byId("strip").replaceChildren(element("table", {}, element("caption", { class: "unseen" }, `Mouths in clip ${data.clips[clip]}`),
    element("tbody", {}, element("tr", {}, element("td"), element("td", {}, above)), ...shown)));
}

// All values of the chosen clip.
function showValues() {
  if (chosen.clip < 0 || !data.columns.length) return byId("values").replaceChildren();
  const head = data.columns.map((column, index) => element("th", { scope: "col" }, heading(index), element("small", {}, column.protocol)));
  const rows = data.methods.map((method) => element("tr", {}, element("th", { scope: "row" }, method.name),
    ...data.columns.map((_, column) => element("td", {}, shown(method.values[column][chosen.clip], column)))));
  byId("values").replaceChildren(element("table", { class: "fixed" }, element("caption", { class: "unseen" }, `Values of clip ${data.clips[chosen.clip]}`),
    element("thead", {}, element("tr", {}, element("td"), ...head)), element("tbody", {}, ...rows)));
}

function walk(by) { // to the next clip with a video, around the end
  const at = watchable.indexOf(chosen.clip);
  chooseClip(watchable[(Math.max(at, by < 0 ? 0 : -1) + by + watchable.length) % watchable.length], false);
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

byId("clip").addEventListener("input", (event) => chooseClip(Number(event.target.value), false));
byId("previous").addEventListener("click", () => walk(-1));
byId("next").addEventListener("click", () => walk(1));
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
