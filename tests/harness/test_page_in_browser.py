"""The HTML page in a real browser: from a file, without network, in every width and light, by mouse and by keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, Tab, chromium

from syncdiff_bench.cli import main
from syncdiff_bench.report.page.page import build_page
from syncdiff_bench.runs.directory import load_run
from syncdiff_bench.significance.comparison import compare
from syncdiff_bench.significance.scored import from_run

TITLES = ("Ground truth", "First frame repeated")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium (Debian: chromium)"),
]

SORT_AND_FILTER = """
(() => {
  const rows = () => [...document.querySelectorAll("#clip-table tbody tr")];
  const header = () => document.querySelectorAll("#clip-table thead th")[2];
  const column = () => rows().map((row) => row.children[2].dataset.value).filter((text) => text !== "").map(Number);
  const found = {};
  header().querySelector("button").click();
  found.ascending = column();
  header().querySelector("button").click();
  found.descending = column();
  found.sort = header().getAttribute("aria-sort");
  const filter = document.getElementById("filter");
  filter.value = rows()[0].querySelector("button").textContent.split("\\u00a0").at(-1);
  filter.dispatchEvent(new Event("input"));
  found.filtered = rows().length;
  found.shown = document.getElementById("shown").textContent;
  return found;
})()
"""

PLAY = """
(async () => {
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const until = async (test) => { for (let i = 0; i < 600 && !test(); i++) await sleep(25); return test(); };
  const videos = [...document.querySelectorAll("video")];
  const found = { videos: videos.length, apart: [] };
  await until(() => videos.every((video) => video.readyState >= 3));
  document.getElementById("play").click();
  found.played = await until(() => videos.every((video) => video.currentTime > 0.3));
  while (found.apart.length < 20 && !videos.some((video) => video.ended)) {
    const times = videos.map((video) => video.currentTime);
    found.apart.push(Math.max(...times) - Math.min(...times));
    await sleep(25);
  }
  document.getElementById("play").click();
  found.paused = videos.every((video) => video.paused);
  await until(() => videos.every((video) => !video.seeking));
  found.still = Math.max(...videos.map((video) => Math.abs(video.currentTime - videos[0].currentTime)));
  document.getElementById("seek").value = 0.4;
  document.getElementById("seek").dispatchEvent(new Event("input"));
  document.getElementById("forward").click();
  await until(() => videos.every((video) => !video.seeking));
  found.stepped = videos.map((video) => video.currentTime);
  found.audible = videos.filter((video) => !video.muted).length;
  found.size = videos.map((video) => [video.videoWidth, video.videoHeight]);
  return found;
})()
"""

PLOTS = """
(() => {
  const place = (mark) => mark.transform.baseVal[0].matrix.e;
  const marks = [...document.querySelectorAll("#spread .mark")];
  return {
    places: marks.map(place),
    titles: marks.map((mark) => mark.querySelector("title").textContent),
    median: document.querySelector("#spread .median").x1.baseVal.value,
    means: [...document.querySelectorAll("#means .mean")].map((mean) => mean.getAttribute("aria-label")),
    scatter: document.querySelectorAll("#scatter .mark").length,
    seen: document.querySelectorAll("#spread .mark.seen").length,
    looks: new Set(Array.from({ length: 35 }, (_, index) => JSON.stringify(look(index)))).size,
  };
})()
"""

LAYOUT = """
(() => ({
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  small: [...document.querySelectorAll("button, .metrics label")].map((one) => one.getBoundingClientRect())
    .filter((box) => box.width && (box.width < 24 || box.height < 24)).length,
  uncaptioned: [...document.querySelectorAll("table")].filter((table) => !table.caption).length,
  spilt: [...document.querySelectorAll("table")].filter((table) => !table.closest(".scroll")).length,
  unhinted: [...document.querySelectorAll(".scroll")].filter((one) => one.scrollWidth > one.clientWidth + 1
    && one.previousElementSibling.hidden).length,
}))()
"""

# What has to be seen without scrolling: the verdict, and every mean with its interval.
FIRST_SCREEN = """
(() => {
  const within = (node) => node && node.getBoundingClientRect().bottom <= innerHeight && node.textContent.trim() !== "";
  return [...document.querySelectorAll("#answer-title, #verdict, #means .mean")].map(within);
})()
"""

# The least contrast of a text with what is behind it (WCAG 2.2, 1.4.3), and which one it is.
CONTRAST = """
(() => {
  const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = rgba(getComputedStyle(node).backgroundColor);
      if ((colour[3] ?? 1) > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  let found = [99, ""];
  for (const node of document.querySelectorAll("main *, header *")) {
    const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
    if (!own || !node.getClientRects().length || node.matches("option, title, :disabled")) continue;
    const style = getComputedStyle(node);
    const colour = rgba(node instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [light(colour), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05) * (style.opacity < 1 ? 0 : 1);
    if (ratio < found[0]) found = [ratio, `${node.tagName} ${node.textContent.trim().slice(0, 40)}`];
  }
  return found;
})()
"""

# What the policy of the page refuses.
REFUSED = """
(async () => {
  const found = [];
  addEventListener("securitypolicyviolation", (event) => found.push(event.effectiveDirective));
  document.body.append(Object.assign(new Image(), { src: "http://127.0.0.1:9/picture.png" }));
  document.body.append(Object.assign(document.createElement("script"), { textContent: "window.obeyed = true" }));
  await fetch("http://127.0.0.1:9/").catch(() => 0);
  await new Promise((done) => setTimeout(done, 200));
  return [found.sort(), window.obeyed ?? false];
})()
"""

SHOWN = "[...document.querySelectorAll('video')].map((video) => video.getAttribute('aria-label'))"

COMPARED = """
(async () => {
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const buttons = [...document.querySelectorAll("#difference button.watch")];
  const bars = () => [...document.querySelectorAll("#changes .change title")].map((title) => title.textContent);
  const found = { bars: bars(), buttons: buttons.length, lead: document.querySelector("#verdict strong").textContent };
  buttons.find((button) => Number(button.dataset.clip) !== chosen.clip).click();
  await sleep(100);
  found.wanted = data.clips[chosen.clip];
  found.shown = SHOWN;
  document.querySelectorAll("input[name=metric]")[1].click();
  found.other = bars();
  found.changes = [...document.querySelectorAll("#clip-table tbody tr")].map((row) => row.lastChild.textContent);
  return found;
})()
""".replace("SHOWN", SHOWN)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`gt` and `static` on four clips of pocket, scored by PSNR and SSIM; two clips with video."""
    folder = tmp_path_factory.mktemp("page")
    options = ["--dataset", "pocket", "--limit", "4", "--metrics", "psnr,ssim", "--out", str(folder / "runs")]
    assert main(["run", "--method", "gt", "--method", "static", *options]) == 0
    runs = [load_run(folder / "runs" / name) for name in ("gt", "static")]
    (folder / "a page.html").write_text(build_page(runs, clips=2), encoding="utf-8")
    return folder / "a page.html"


def values_of(page: Path, column: str) -> dict[str, float]:
    """Clip -> what `static` got."""
    scores = load_run(page.parent / "runs" / "static").scores
    return {one.clip: one.values[column] for one in scores if one.values and one.values.get(column) is not None}


def thrown(tab: Tab) -> list[Any]:
    return [event["params"] for event in tab.events if event["method"] == "Runtime.exceptionThrown"]


def test_the_page_works_from_a_file_without_network(page: Path, tmp_path: Path) -> None:
    with chromium(tmp_path) as tab:
        tab.call(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        tab.open(page, 1300)
        plots, played, sorted_ = (tab.evaluate(script) for script in (PLOTS, PLAY, SORT_AND_FILTER))
    assert thrown(tab) == []
    asked = {
        event["params"]["request"]["url"] for event in tab.events if event["method"] == "Network.requestWillBeSent"
    }
    assert page.as_uri() in asked
    assert {url.partition(":")[0] for url in asked - {page.as_uri()}} <= {"data", "blob"}

    # PSNR of ground truth is undefined, so that the four clips of `static` are plotted.
    psnr = list(values_of(page, "psnr").values())
    assert all(title.startswith("First frame repeated 3") for title in plots["titles"])
    assert [float(title.split(": ")[1]) for title in plots["titles"]] == pytest.approx(sorted(psnr), abs=0.0051)
    assert plots["places"] == sorted(plots["places"])  # the best on the right
    assert plots["median"] == pytest.approx(np.median(plots["places"]), abs=0.1)
    (entry,) = [e for e in load_run(page.parent / "runs" / "static").summary if e.column == "psnr"]
    assert entry.mean is not None and entry.ci95 is not None
    interval = f"95 % interval {entry.ci95[0]:.2f} to {entry.ci95[1]:.2f}"
    assert plots["means"] == [f"First frame repeated: {entry.mean:.2f}, {interval}; 4 clips"]
    assert plots["scatter"] == 4 and plots["seen"] == 2 and plots["looks"] == 35

    assert played["videos"] == 2  # the truth once, and the method
    assert played["played"] and played["paused"] and played["size"] == [[160, 160]] * 2
    assert np.median(played["apart"]) <= 2 / 25  # two frames
    assert played["still"] == 0
    assert played["stepped"] == pytest.approx([0.44] * 2, abs=0.005)
    assert played["audible"] == 1

    assert sorted_["ascending"] == pytest.approx(sorted(psnr), rel=1e-5)
    assert sorted_["descending"] == sorted_["ascending"][::-1]
    assert sorted_["sort"] == "descending"
    assert sorted_["filtered"] == 1 and sorted_["shown"] == "1 of 1 clips"


def test_nothing_is_loaded_and_no_other_script_runs(page: Path, tmp_path: Path) -> None:
    with chromium(tmp_path) as tab:
        tab.open(page, 1300)
        refused, obeyed = tab.evaluate(REFUSED)
    assert refused == ["connect-src", "img-src", "script-src-elem"] and not obeyed


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_read_in_every_width_and_light(scheme: str, page: Path, tmp_path: Path) -> None:
    with chromium(tmp_path) as tab:
        tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        for width in (390, 768, 1300, 1600):
            tab.open(page, width)
            layout, first, (ratio, where) = (tab.evaluate(script) for script in (LAYOUT, FIRST_SCREEN, CONTRAST))
            assert layout == dict.fromkeys(("overflow", "small", "uncaptioned", "spilt", "unhinted"), 0), width
            assert first == [True] * 3, width  # one mean: PSNR of the truth is undefined
            assert ratio >= 4.5, (width, where)
        ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
        tab.call("Emulation.setEmulatedMedia", media="print")
        assert tab.evaluate("getComputedStyle(document.getElementById('playback')).display") == "none"
        assert tab.evaluate(CONTRAST)[0] >= 4.5
    assert thrown(tab) == []


def test_a_click_on_a_point_shows_its_clip(page: Path, tmp_path: Path) -> None:
    """A clip with video, then one without: its values are there, and what would bring its videos."""
    place = """(() => {{ const box = [...document.querySelectorAll("#spread .mark")]
      .find((mark) => mark.matches(".seen") === {seen} && Number(mark.dataset.clip) !== chosen.clip)
      .getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2]; }})()"""
    with chromium(tmp_path) as tab:
        tab.open(page, 1300)
        before = tab.evaluate(SHOWN)
        for seen in ("true", "false"):
            tab.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
            x, y = tab.evaluate(place.format(seen=seen))
            for kind in ("mousePressed", "mouseReleased"):
                tab.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
            clip = tab.evaluate("data.clips[chosen.clip]")
            shown = tab.evaluate(SHOWN)
            assert shown == ([f"{name}, clip {clip}" for name in TITLES] if seen == "true" else []) != before
            assert tab.evaluate("document.querySelectorAll('#spread .mark.chosen').length") == 1
            row = (
                "[...document.querySelectorAll('#values tbody tr')].at(-1).innerText.split('\\t').slice(1).map(Number)"
            )
            wanted = [values_of(page, name)[clip] for name in ("psnr", "ssim")]
            assert tab.evaluate(row) == pytest.approx(wanted, abs=0.0051)
        assert "--clips" in tab.evaluate("document.getElementById('players').innerText")
        assert tab.evaluate("document.getElementById('playback').hidden")


def test_the_page_is_walked_by_keyboard(page: Path, tmp_path: Path) -> None:
    """Skip link, metric, points, players; each stop is seen, and the arrow keys change and walk."""
    focused = "document.activeElement"
    seen = f"""(() => {{ const style = getComputedStyle({focused}.closest(".metrics label") ?? {focused});
      return style.outlineStyle !== "none" || (style.stroke !== "none" && parseFloat(style.strokeWidth) >= 3); }})()"""
    with chromium(tmp_path) as tab:
        tab.open(page, 768)
        stops = []
        for _ in range(7):
            tab.press("Tab", 9)
            assert tab.evaluate(seen), tab.evaluate(f"{focused}.outerHTML")
            stops.append(
                tab.evaluate(f"{focused}.id || {focused}.name || {focused}.className.baseVal || {focused}.className")
            )
            if stops[-1] == "metric":
                lead = tab.evaluate("document.querySelector('#verdict strong').textContent")
                tab.press("ArrowRight", 39)
                assert "SSIM" in tab.evaluate("document.querySelector('#verdict strong').textContent") != lead
                assert "SSIM" in tab.evaluate("document.querySelector('#means svg').getAttribute('aria-label')")
            if "mark" in stops[-1]:  # from the truth down to the method, and to its worst clip
                tab.press("ArrowDown", 40)
                tab.press("Home", 36)
                ssim = values_of(page, "ssim")
                worst = min(ssim, key=lambda clip: ssim[clip])
                assert tab.evaluate(f"{focused}.getAttribute('aria-label')").startswith(f"{TITLES[1]} {worst}: ")
                tab.press("Enter", 13, "\r")
                assert tab.evaluate("data.clips[chosen.clip]") == worst
        assert (
            stops[:2] == ["skip", "metric"] and "mark" in stops[2] and stops[3:] == ["previous", "clip", "next", "play"]
        )
        first = (
            "[...document.querySelectorAll('#clip-table tbody tr')].map((row) => Number(row.children[2].dataset.value))"
        )
        tab.evaluate("document.querySelectorAll('#clip-table thead button')[2].focus()")
        tab.press("Enter", 13, "\r")
        assert tab.evaluate(first) == sorted(tab.evaluate(first))
        tab.press("Enter", 13, "\r")  # the heading still has the focus
        assert tab.evaluate(first) == sorted(tab.evaluate(first), reverse=True)
        assert tab.evaluate(f"{focused}.closest('th').ariaSort") == "descending"


def test_the_page_of_a_comparison_shows_what_changed(page: Path, tmp_path: Path) -> None:
    """Of PSNR, undefined for ground truth, nothing compares; SSIM falls from 1."""
    runs = [load_run(page.parent / "runs" / name) for name in ("gt", "static")]
    comparison = compare(from_run(runs[0]), from_run(runs[1]))
    (tmp_path / "pair.html").write_text(build_page(runs, comparison=comparison, clips=3), encoding="utf-8")
    with chromium(tmp_path / "profile") as tab:
        tab.open(tmp_path / "pair.html", 1300)
        found = tab.evaluate(COMPARED)
        tab.open(tmp_path / "pair.html", 390)
        layout = tab.evaluate(LAYOUT)
    assert thrown(tab) == []
    assert layout == dict.fromkeys(("overflow", "small", "uncaptioned", "spilt", "unhinted"), 0)
    assert found["lead"] == f"PSNR: no clip has a value of both {TITLES[0]} and {TITLES[1]}."
    assert found["shown"] == [f"{name}, clip {found['wanted']}" for name in TITLES]
    assert found["buttons"] == 3  # of SSIM
    ssim = values_of(page, "ssim")
    assert found["bars"] == []
    worst_first = sorted(ssim, key=lambda clip: ssim[clip])
    assert found["other"] == [f"{clip}: {ssim[clip] - 1:.3f}" for clip in worst_first]
    assert found["changes"] == [f"{value - 1:.3f}" for value in ssim.values()]
