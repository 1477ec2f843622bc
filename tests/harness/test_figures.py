"""The strip and the HTML page: what they show, that they stand alone, and (in a real browser) that they work."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Media, Spoken
from syncdiff_bench.errors import UsageError
from syncdiff_bench.figures.material import Material
from syncdiff_bench.figures.notable import notable_clips, worst_first
from syncdiff_bench.figures.page import build_page
from syncdiff_bench.figures.playback import picture_uri, video_uri
from syncdiff_bench.figures.strip import draw_strip, make_strip, sampled_frames
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.runs.directory import Run, load_run
from syncdiff_bench.runs.leaderboard import boards

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy_plugins: Path) -> list[Run]:
    """Two methods over the toy dataset, with errors of 3 and of 0 grey levels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    common = ["--dataset", "toy", "--metrics", "toy-error"]
    assert main(["run", "--method", "toy-noise", *common, "--set", "shift=3"]) == 0
    assert main(["run", "--method", "toy-truth", *common]) == 0
    return [load_run(Path("runs/toy-test") / name) for name in ("toy-noise", "toy-truth")]


def pocket_runs(folder: Path) -> list[Run]:
    """`gt` and `static` on four clips of pocket, scored by PSNR."""
    options = ["--dataset", "pocket", "--limit", "4", "--metrics", "psnr,ssim", "--out", str(folder)]
    assert main(["run", "--method", "gt", "--method", "static", *options]) == 0
    return [load_run(folder / name) for name in ("gt", "static")]


# ----------------------------------------------------------------------------------------- strip


def test_frames_lie_in_the_middle_of_what_is_spoken() -> None:
    spoken = [Spoken("a", 0.0, 0.4), Spoken("b", 0.4, 0.48), Spoken("c", 0.48, 1.0), Spoken("late", 9, 10)]
    assert sampled_frames(spoken, 20, 3) == ([5, 11, 18], ("a", "b", "c"))
    assert sampled_frames(spoken, 20, 2) == ([5, 18], ("a", "c"))


def test_a_strip_shows_the_frames_of_each_run(runs: list[Run], tmp_path: Path) -> None:
    material = Material(runs)
    strip = make_strip(material, "s0/1", columns=3)
    assert [row.name for row in strip.rows] == ["toy-noise", "toy-truth"]
    truth = read_media(runs[1].path / "videos" / "s0" / "1.mp4").frames
    np.testing.assert_array_equal(strip.rows[1].frames, truth[[0, round((len(truth) - 1) / 2), len(truth) - 1]])
    difference = strip.rows[0].frames.astype(int) - strip.rows[1].frames
    assert np.abs(difference).max() == 3
    draw_strip(strip, tmp_path / "figures" / "strip.png")
    draw_strip(strip, tmp_path / "figures" / "strip.pdf")
    assert Image.open(tmp_path / "figures" / "strip.png").size == (96 + 3 * 16, 2 * 16 + 4)
    assert (tmp_path / "figures" / "strip.pdf").read_bytes().startswith(b"%PDF")


def test_a_mouth_is_the_lower_half_of_the_box(tmp_path: Path) -> None:
    runs = pocket_runs(tmp_path / "runs")
    clip_id = runs[0].identity.clips[0]
    material = Material(runs)
    strip = make_strip(material, clip_id, columns=4, area="mouth")
    reference = material.reference(clip_id)
    assert reference is not None and all(strip.spoken)
    sizes = reference.face_boxes.boxes
    width, height = np.median(sizes[:, 2] - sizes[:, 0]), np.median(sizes[:, 3] - sizes[:, 1])
    assert strip.rows[0].frames.shape[2] == pytest.approx(width, abs=2)
    assert strip.rows[0].frames.shape[1] == pytest.approx(height / 2, abs=2)


def test_a_missing_clip_is_named(runs: list[Run]) -> None:
    with pytest.raises(UsageError, match="has no video of clip 'nobody'"):
        make_strip(Material(runs), "nobody")


# ----------------------------------------------------------------------------------------- page


class Page(HTMLParser):
    """Every tag with its attributes, and the text of the data script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.data: dict[str, Any] = {}
        self._in_data = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_data = dict(attrs).get("id") == "data"

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.data = json.loads(data)
            self._in_data = False


def test_the_page_holds_the_values_of_the_runs_and_loads_nothing(runs: list[Run]) -> None:
    text = build_page(runs, clips=2)
    page = Page(text)
    # The method that does worst comes last; the bound first.
    assert set(page.data["methods"]) == {"toy-noise", "toy-truth"}
    assert page.data["values"]["toy-noise"]["s0/1"] == [3.0]
    assert page.data["values"]["toy-truth"]["s0/1"] == [0.0]
    assert len(page.data["watch"]) == 2
    references = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert references == ["#clips"]
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org/2000/svg)", text)


def test_names_cannot_end_a_script_or_open_a_tag(runs: list[Run]) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    manifest = json.loads(json.dumps(runs[0].manifest))
    manifest["summary"][0]["label"] = evil
    changed = replace(runs[0], manifest=manifest, identity=replace(runs[0].identity, method=evil))
    text = build_page([changed, runs[1]], clips=1)
    assert evil not in text
    assert "img" not in [tag for tag, _ in Page(text).tags]


def test_the_worst_clips_come_first(runs: list[Run]) -> None:
    (board,) = boards(runs)
    scores = tuple(replace(s, values={"err": 9.0}) if s.clip == "s1/3" else s for s in runs[0].scores)
    changed = replace(runs[0], scores=scores)
    assert worst_first(changed, board.columns[0])[0] == "s1/3"
    assert notable_clips([changed], board.columns, 2)[0] == "s1/3"
    assert set(notable_clips([changed], board.columns, 99)) == set(changed.identity.clips)


def test_videos_and_pictures_survive_their_uris(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 33, dtype=np.uint8)[:, None, None], (6, 33, 47, 3)).copy()
    kind, _, content = video_uri(Media(ramp, np.zeros(6 * 640, np.int16))).partition(";base64,")
    (tmp_path / "clip.mp4").write_bytes(base64.b64decode(content))
    decoded = Clip("c", "d", tmp_path / "clip.mp4").frames
    assert kind == "data:video/mp4" and decoded.shape == (6, 34, 48, 3)
    assert np.abs(decoded[:, :33, :47].astype(int) - ramp).mean() < 3
    picture = Image.open(io.BytesIO(base64.b64decode(picture_uri(ramp[:2]).partition(",")[2])))
    assert picture.size == (94, 33)


def test_runs_over_different_clips_need_a_page_each(runs: list[Run], tmp_path: Path) -> None:
    assert (
        main(["run", "--method", "toy-truth", "--dataset", "toy", "--limit", "2", "--out", str(tmp_path / "few")]) == 0
    )
    with pytest.raises(UsageError, match="one page for each"):
        build_page([runs[0], load_run(tmp_path / "few" / "toy-truth")])


# ----------------------------------------------------------------------------------------- in a browser

DRIVER = """
<script>
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const until = async (test) => { for (let i = 0; i < 200 && !test(); i++) await sleep(50); return test(); };
(async () => {
  const found = { errors: [] };
  window.addEventListener("error", (event) => found.errors.push(event.message));
  try {
    const rows = (id) => [...document.querySelectorAll(`#${id} tbody tr`)];
    const header = document.querySelectorAll("#clip-table thead th")[2];
    const texts = () => rows("clip-table").map((row) => row.children[2].dataset.value);
    const column = () => texts().filter((text) => text !== "").map(Number);
    header.querySelector("button").click();
    found.ascending = column();
    header.querySelector("button").click();
    found.descending = column();
    found.sort = header.getAttribute("aria-sort");
    const filter = document.getElementById("filter");
    filter.value = rows("clip-table")[0].dataset.text.split(" ")[0];
    filter.dispatchEvent(new Event("input"));
    found.filtered = rows("clip-table").filter((row) => !row.hidden).length;
    found.shown = document.getElementById("shown").textContent;
    const videos = () => [...document.querySelectorAll("video")];
    found.videos = videos().length;
    await until(() => videos().every((video) => video.readyState >= 3));
    document.getElementById("play").click();
    found.played = await until(() => videos().every((video) => video.currentTime > 0.3));
    const times = videos().map((video) => video.currentTime);
    found.apart = Math.max(...times) - Math.min(...times);
    document.getElementById("play").click();
    found.paused = videos().every((video) => video.paused);
    const before = videos()[0].currentTime;
    document.getElementById("forward").click();
    await sleep(300);
    found.step = videos()[0].currentTime - before;
    found.audible = videos().filter((video) => !video.muted).length;
    found.points = document.querySelectorAll("#scatter circle").length;
    found.worst = document.querySelectorAll("#worst tbody tr").length;
    found.width = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  } catch (error) { found.errors.push(String(error)); }
  await fetch("/result", { method: "POST", body: JSON.stringify(found) });
})();
</script>
"""


class Browser:
    """Serves one page to a headless Chromium and waits for what its driver script found."""

    def __init__(self, page: str) -> None:
        self.found: dict[str, Any] | None = None
        self.arrived = threading.Event()
        browser = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(page.encode())

            def do_POST(self) -> None:
                browser.found = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204)
                self.end_headers()
                browser.arrived.set()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def run(self, profile: Path, size: str) -> dict[str, Any]:
        assert CHROMIUM is not None
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--autoplay-policy=no-user-gesture-required",
            "--mute-audio",
        ]
        address = f"http://127.0.0.1:{self.server.server_address[1]}/"
        more = [f"--user-data-dir={profile}", f"--window-size={size}", "--remote-debugging-port=0", address]
        with subprocess.Popen(
            [CHROMIUM, *flags, *more], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                assert self.arrived.wait(90), "the page never finished its script"
            finally:
                process.kill()
                self.server.shutdown()
        assert self.found is not None
        return self.found


@pytest.fixture(scope="module")
def pocket_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield build_page(pocket_runs(tmp_path_factory.mktemp("page") / "runs"), clips=2)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium (Debian: chromium)")
@pytest.mark.parametrize("size", ["1300,1000", "500,900"])
def test_the_page_sorts_filters_and_plays_in_a_browser(pocket_page: str, tmp_path: Path, size: str) -> None:
    found = Browser(pocket_page.replace("</body>", f"{DRIVER}</body>")).run(tmp_path, size)
    assert found["errors"] == []
    assert found["ascending"] == sorted(found["ascending"]) and len(found["ascending"]) == 4
    assert found["descending"] == sorted(found["ascending"], reverse=True)
    assert found["sort"] == "descending"
    assert found["filtered"] == 2 and found["shown"] == "2 rows"  # one clip, two methods
    assert found["videos"] == 3  # the reference and both methods
    assert found["played"] and found["paused"] and found["apart"] < 0.2
    assert found["step"] == pytest.approx(0.04, abs=0.005)
    assert found["audible"] == 1
    assert found["points"] == 4 and found["worst"] == 4  # PSNR of ground truth is undefined
    assert found["width"] <= 0  # nothing makes the page itself scroll sideways
