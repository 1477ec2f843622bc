"""The HTML page in a real browser: from a file, without network, wide and narrow, by mouse and by keyboard."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.report.page.page import build_page
from syncdiff_bench.runs.directory import load_run
from syncdiff_bench.significance.comparison import compare
from syncdiff_bench.significance.scored import from_run

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run"),
    *("--autoplay-policy=no-user-gesture-required", "--remote-debugging-pipe"),
)
PATIENCE = 90  # seconds for one answer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium (Debian: chromium)"),
]

SORT_AND_FILTER = """
(() => {
  const rows = () => [...document.querySelectorAll("#clip-table tbody tr")];
  const header = document.querySelectorAll("#clip-table thead th")[2];
  const column = () => rows().map((row) => row.children[2].dataset.value).filter((text) => text !== "").map(Number);
  const found = {};
  header.querySelector("button").click();
  found.ascending = column();
  header.querySelector("button").click();
  found.descending = column();
  found.sort = header.getAttribute("aria-sort");
  const filter = document.getElementById("filter");
  filter.value = rows()[0].dataset.text.split(" ")[0];
  filter.dispatchEvent(new Event("input"));
  found.filtered = rows().filter((row) => !row.hidden).length;
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
  return found;
})()
"""

PLOTS = """
(() => {
  const marks = [...document.querySelectorAll("#distribution .mark")];
  const heights = marks.map((mark) => mark.transform.baseVal[0].matrix.f);
  const titles = marks.map((mark) => mark.querySelector("title").textContent);
  const legend = [...document.querySelectorAll("#legend li")];
  return {
    heights, titles,
    median: document.querySelector("#distribution .median").y1.baseVal.value,
    scatter: document.querySelectorAll("#scatter .mark").length,
    watchable: document.querySelectorAll("#clip-table button.watch").length,
    legend: legend.map((item) => [item.innerText, item.querySelector("path").getAttribute("d")]),
    looks: new Set(Array.from({ length: 35 }, (_, index) => JSON.stringify(look(index)))).size,
  };
})()
"""

LAYOUT = """
(() => ({
  width: innerWidth,
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  small: [...document.querySelectorAll("button")].map((button) => button.getBoundingClientRect())
    .filter((box) => box.width < 24 || box.height < 24).length,
  uncaptioned: [...document.querySelectorAll("table")].filter((table) => !table.caption).length,
  tables: document.querySelectorAll("table").length,
}))()
"""


COMPARED = """
(async () => {
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const buttons = [...document.querySelectorAll("button.watch")];
  const bars = () => [...document.querySelectorAll("#changes .change title")].map((title) => title.textContent);
  const found = { bars: bars(), disabled: buttons.filter((button) => button.disabled).length, buttons: buttons.length };
  const chosen = document.getElementById("clip").value;
  const other = buttons.find((button) => !button.disabled && button.dataset.clip !== chosen);
  other.click();
  await sleep(100);
  found.wanted = other.dataset.clip;
  found.shown = [...document.querySelectorAll("video")].map((video) => video.getAttribute("aria-label"));
  document.getElementById("metric-x").value = 1;
  document.getElementById("metric-x").dispatchEvent(new Event("input"));
  found.other = bars();
  return found;
})()
"""


class Tab:
    """One tab of a Chromium, by the DevTools protocol: JSON messages that end in a zero byte, over two pipes.

    events: what the browser told unasked.
    """

    def __init__(self, answers: int, commands: int) -> None:
        self.events: list[dict[str, Any]] = []
        self._answers, self._commands, self._buffer, self._last = answers, commands, b"", 0
        self._session: dict[str, str] = {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self._last += 1
        message = {"id": self._last, "method": method, "params": params, **self._session}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._last:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def evaluate(self, expression: str) -> Any:
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def open(self, page: Path, width: int) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        assert "errorText" not in self.call("Page.navigate", url=page.as_uri())
        self.evaluate("new Promise((done) => document.readyState === 'complete' ? done() : (onload = done))")

    def press(self, key: str, code: int, text: str = "") -> None:
        for kind, typed in (("keyDown", {"text": text} if text else {}), ("keyUp", {})):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **typed)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], PATIENCE)
            assert ready, "Chromium does not answer"
            received = os.read(self._answers, 1 << 16)
            assert received, "Chromium has ended"
            self._buffer += received
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    (their_commands, commands), (answers, their_answers) = os.pipe(), os.pipe()
    # It reads commands from descriptor 3 and answers on 4.
    redirected = f'exec "$@" 3<&{their_commands} 4>&{their_answers}'
    command = ["bash", "-c", redirected, "bash", str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, pass_fds=(their_commands, their_answers), stdin=quiet, stdout=quiet, stderr=quiet
    ) as process:
        os.close(their_commands)
        os.close(their_answers)
        try:
            yield Tab(answers, commands)
        finally:
            process.kill()
            os.close(commands)
            os.close(answers)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`gt` and `static` on four clips of pocket, scored by PSNR and SSIM; two clips with video."""
    folder = tmp_path_factory.mktemp("page")
    options = ["--dataset", "pocket", "--limit", "4", "--metrics", "psnr,ssim", "--out", str(folder / "runs")]
    assert main(["run", "--method", "gt", "--method", "static", *options]) == 0
    runs = [load_run(folder / "runs" / name) for name in ("gt", "static")]
    (folder / "a page.html").write_text(build_page(runs, clips=2), encoding="utf-8")
    return folder / "a page.html"


def test_the_page_works_from_a_file_without_network(page: Path, tmp_path: Path) -> None:
    with chromium(tmp_path) as tab:
        tab.call(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        tab.open(page, 1300)
        layout, plots = tab.evaluate(LAYOUT), tab.evaluate(PLOTS)
        played, sorted_ = tab.evaluate(PLAY), tab.evaluate(SORT_AND_FILTER)
    errors = [event["params"] for event in tab.events if event["method"] == "Runtime.exceptionThrown"]
    assert errors == []
    asked = {
        event["params"]["request"]["url"] for event in tab.events if event["method"] == "Network.requestWillBeSent"
    }
    assert page.as_uri() in asked
    assert {url.partition(":")[0] for url in asked - {page.as_uri()}} <= {"data"}

    assert layout == {"width": 1300, "overflow": 0, "small": 0, "uncaptioned": 0, "tables": 3}

    # PSNR of ground truth is undefined, so that the four clips of `static` are plotted.
    psnr = [
        score.values["psnr"] for score in load_run(page.parent / "runs" / "static").scores if "psnr" in score.values
    ]
    assert [title.split(": ")[0].split()[0] for title in plots["titles"]] == ["static"] * 4
    assert sorted(float(title.split(": ")[1]) for title in plots["titles"]) == sorted(psnr)
    assert np.argsort(plots["heights"]).tolist() == np.argsort(psnr)[::-1].tolist()  # the best is at the top
    assert plots["median"] == pytest.approx(np.median(plots["heights"]), abs=0.01)
    assert plots["scatter"] == 4 and plots["watchable"] == 4  # two clips of two methods
    assert [name for name, _ in plots["legend"]] == ["gt", "static"]
    assert plots["legend"][0][1] != plots["legend"][1][1]  # told apart by shape, too
    assert plots["looks"] == 35

    assert played["videos"] == 3  # the reference and both methods
    assert played["played"] and played["paused"]
    assert np.median(played["apart"]) <= 2 / 25  # two frames
    assert played["still"] == 0
    assert played["stepped"] == pytest.approx([0.44] * 3, abs=0.005)
    assert played["audible"] == 1

    assert sorted_["ascending"] == sorted(psnr)
    assert sorted_["descending"] == sorted(psnr, reverse=True)
    assert sorted_["sort"] == "descending"
    assert sorted_["filtered"] == 2 and sorted_["shown"] == "2 rows"  # one clip, two methods


def test_the_page_fits_a_telephone_and_sorts_by_keyboard(page: Path, tmp_path: Path) -> None:
    first = "[...document.querySelectorAll('#clip-table tbody tr')].map((row) => row.children[1].dataset.value)"
    heard = "document.activeElement.closest('th')?.ariaSort ?? ''"
    with chromium(tmp_path) as tab:
        tab.open(page, 360)
        layout = tab.evaluate(LAYOUT)
        assert layout == {"width": 360, "overflow": 0, "small": 0, "uncaptioned": 0, "tables": 3}
        before = tab.evaluate(first)
        # The region of the table is a stop of its own; the buttons of "Clip" and "Method" come next.
        tab.evaluate("document.getElementById('clip-table').parentNode.focus()")
        assert tab.evaluate("document.activeElement.getAttribute('role')") == "region"
        tab.press("Tab", 9)
        tab.press("Tab", 9)
        tab.press("Enter", 13, "\r")
        assert tab.evaluate(heard) == "ascending"
        assert tab.evaluate(first) == ["gt"] * 4 + ["static"] * 4 == sorted(before)
        tab.press("Enter", 13, "\r")
        assert tab.evaluate(heard) == "descending"
        assert tab.evaluate(first) == ["static"] * 4 + ["gt"] * 4


def test_the_page_of_a_comparison_shows_what_changed(page: Path, tmp_path: Path) -> None:
    """Of PSNR, undefined for ground truth, nothing compares; SSIM falls from 1."""
    runs = [load_run(page.parent / "runs" / name) for name in ("gt", "static")]
    comparison = compare(from_run(runs[0]), from_run(runs[1]))
    (tmp_path / "pair.html").write_text(build_page(runs, comparison=comparison, clips=3), encoding="utf-8")
    with chromium(tmp_path / "profile") as tab:
        tab.open(tmp_path / "pair.html", 1300)
        found = tab.evaluate(COMPARED)
        tab.open(tmp_path / "pair.html", 360)
        layout = tab.evaluate(LAYOUT)
    assert [event["params"] for event in tab.events if event["method"] == "Runtime.exceptionThrown"] == []
    assert layout == {"width": 360, "overflow": 0, "small": 0, "uncaptioned": 0, "tables": 4}
    assert found["shown"] == [f"{name}, clip {found['wanted']}" for name in ("reference", "gt", "static")]
    assert (found["buttons"], found["disabled"]) == (3 + 3 * 2, 0)  # of SSIM; and three clips of two methods
    ssim = {score.clip: score.values["ssim"] for score in runs[1].scores if "ssim" in score.values}
    assert found["bars"] == []
    worst_first = sorted(ssim, key=lambda clip: ssim[clip])
    assert found["other"] == [f"{clip}: {ssim[clip] - 1:.3f}" for clip in worst_first]


WATCHED = """
(async () => {
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const video = Object.assign(document.createElement("video"), { src: SOURCE });
  document.body.append(video);
  for (let i = 0; i < 600 && video.readyState < 4 && !video.error; i++) await sleep(25);
  await video.play();
  await sleep(500);
  video.pause();
  const canvas = Object.assign(document.createElement("canvas"), { width: video.videoWidth, height: 1 });
  const drawing = canvas.getContext("2d");
  drawing.drawImage(video, 0, -video.videoHeight / 2);
  return {
    ready: video.readyState, duration: video.duration, width: video.videoWidth, time: video.currentTime,
    heard: video.webkitAudioDecodedByteCount, row: [...drawing.getImageData(0, 0, video.videoWidth, 1).data],
  };
})()
"""


def test_a_copy_plays_in_its_colours(page: Path, tmp_path: Path) -> None:
    """A page in a file may not look at the pixels of another file, but at those of a data URI."""
    runs, clip = page.parent / "runs", load_run(page.parent / "runs" / "static").identity.clips[0]
    assert main(["watch", str(runs), clip, "--out", str(tmp_path / "seen")]) == 0
    copy = tmp_path / "seen" / "static" / f"{clip}.mp4"
    still = read_media(runs / "static" / "videos" / f"{clip}.mp4").frames  # every frame is the first one
    (tmp_path / "empty.html").write_text("<body></body>", encoding="utf-8")
    source = "data:video/mp4;base64," + base64.b64encode(copy.read_bytes()).decode()
    with chromium(tmp_path / "profile") as tab:
        tab.open(tmp_path / "empty.html", 800)
        found = tab.evaluate(WATCHED.replace("SOURCE", json.dumps(source)))
    assert (found["ready"], found["width"]) == (4, 320)
    assert found["duration"] == pytest.approx(len(still) / 25, abs=0.05)
    assert found["time"] > 0.2 and found["heard"] > 0
    row = np.array(found["row"]).reshape(-1, 4)[::2, :3]
    assert np.abs(row - still[0, 80].astype(int)).mean() < 5
