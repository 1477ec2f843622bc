"""The strip and the HTML page: what they show, and that they stand alone."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from console import refusal
from html_pages import Page
from PIL import Image, ImageFont

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Column, Media, Spoken
from syncdiff_bench.errors import UsageError
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.report.leaderboard import boards
from syncdiff_bench.report.page.material import (
    Material,
    changed_clips,
    notable_clips,
    picture_uri,
    video_uri,
    worst_first,
)
from syncdiff_bench.report.page.page import build_page, difference_html
from syncdiff_bench.report.page.strip import Strip, draw_strip, make_strip, sampled_frames
from syncdiff_bench.runs.directory import Run, load_run
from syncdiff_bench.runs.records import Score
from syncdiff_bench.significance.comparison import Comparison, compare
from syncdiff_bench.significance.scored import from_run


@pytest.fixture
def runs(work_folder: Path, toy_plugins: Path, toy_runs: Path) -> list[Run]:
    """Two methods over the toy dataset, with errors of 3 and of 0 grey levels; see `toy_runs` for the others there."""
    shutil.copytree(toy_runs, work_folder, dirs_exist_ok=True)
    return [load_run(Path("runs/toy-test") / name) for name in ("toy-noise", "toy-truth")]


def shifted(folder: str) -> Run:
    """The run of toy-noise in a/ or b/."""
    return load_run(Path(folder) / "toy-noise")


def pocket_runs(folder: Path) -> list[Run]:
    """`gt` and `static` on a clip of pocket, scored by PSNR."""
    options = ["--dataset", "pocket", "--limit", "1", "--metrics", "psnr", "--out", str(folder)]
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
    assert list(strip.rows) == ["reference", "toy-noise", "toy-truth"]
    truth = read_media(runs[1].path / "videos" / "s0" / "1.mp4").frames
    np.testing.assert_array_equal(strip.rows["toy-truth"], truth[[0, round((len(truth) - 1) / 2), len(truth) - 1]])
    np.testing.assert_array_equal(strip.rows["reference"], np.full((3, 16, 16, 3), 10))  # clip 1 of toy is all 10
    difference = strip.rows["toy-noise"].astype(int) - strip.rows["toy-truth"]
    assert np.abs(difference).max() == 3
    draw_strip(strip, tmp_path / "figures" / "strip.png")
    draw_strip(strip, tmp_path / "figures" / "strip.pdf")
    picture = Image.open(tmp_path / "figures" / "strip.png")
    assert picture.height == 3 * 16 + 2 * 4
    np.testing.assert_array_equal(np.asarray(picture)[20:36, -48:], np.full((16, 48, 3), 13))
    pdf = (tmp_path / "figures" / "strip.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    # 72 points are an inch, 150 pixels of a frame as well; the text has two dots per pixel.
    width, height = (float(x) for x in re.findall(rb"MediaBox \[ 0 0 (\S+) (\S+) \]", pdf)[0])
    dots = (int(re.findall(rb"/Width (\d+)", pdf)[0]), int(re.findall(rb"/Height (\d+)", pdf)[0]))
    assert (height, dots[1]) == (pytest.approx(56 * 72 / 150), 2 * 56)
    assert dots[0] / width * 72 == pytest.approx(300)


def test_a_name_of_any_length_is_readable(tmp_path: Path) -> None:
    """The ink of a name ends before the first frame, and none of it is missing."""
    name = "a-method-with-a-very-long-name (runs/seed-0)"
    draw_strip(Strip("c", ("",), {name: np.full((1, 40, 30, 3), 255, np.uint8)}), tmp_path / "x.png")
    (columns,) = np.nonzero(np.asarray(Image.open(tmp_path / "x.png").convert("L")).min(axis=0) < 255)
    left, _, right, _ = ImageFont.load_default(size=18).getbbox(name)
    assert columns[-1] - columns[0] == pytest.approx(right - left, abs=4)
    assert Image.open(tmp_path / "x.png").width - 30 > columns[-1]


def test_a_figure_of_another_kind_is_refused(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "runs/toy-test", "--strip", "x.svg"]) == 2
    assert "--strip x.svg: a figure is a .png or a .pdf" in capsys.readouterr().err
    assert not (tmp_path / "x.svg").exists()


def test_a_strip_without_the_dataset_says_so(
    runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "runs/toy-test", "--strip", "x.png", "--data-root", "nowhere"]) == 0
    assert "without the reference: --data-root nowhere: does not exist" in capsys.readouterr().err
    assert Image.open(tmp_path / "x.png").height == 2 * 16 + 4


def test_a_mouth_is_the_lower_half_of_the_box(tmp_path: Path) -> None:
    runs = pocket_runs(tmp_path / "runs")
    clip_id = runs[0].identity.clips[0]
    material = Material(runs)
    strip = make_strip(material, clip_id, columns=4, area="mouth")
    reference = material.reference(clip_id)
    assert list(strip.rows) == ["gt", "static"]  # gt is the reference
    # Of P L EY S W AY T AE T EH L S IH K S S UW N, as CMUdict writes it, evenly.
    assert reference.transcript == "place white at l six soon"
    assert strip.spoken == ("P", "T", "S", "N")
    sizes = reference.face_boxes.boxes
    width, height = np.median(sizes[:, 2] - sizes[:, 0]), np.median(sizes[:, 3] - sizes[:, 1])
    assert strip.rows["gt"].shape[2] == pytest.approx(width, abs=2)
    assert strip.rows["gt"].shape[1] == pytest.approx(height / 2, abs=2)


def test_runs_are_called_what_the_user_says(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("runs/toy-test/toy-noise")
    capsys.readouterr()
    assert main(["report", "runs/toy-test", "--label", f"{folder}=Ours = new", "--format", "csv"]) == 2
    assert f"--label {folder}=Ours = new: expected" not in (error := capsys.readouterr().err)
    assert "is none of the runs" in error
    assert main(["report", "runs/toy-test", "--label", f"{folder}= Ours ", "--format", "markdown"]) == 0
    assert "| Ours" in capsys.readouterr().out
    assert "--label Ours: expected RUN=NAME" in refusal(capsys, ["report", "runs/toy-test", "--label", "Ours"])


def test_a_missing_clip_is_named(runs: list[Run]) -> None:
    with pytest.raises(UsageError, match="has no video of clip 'nobody'"):
        make_strip(Material(runs), "nobody")


# ----------------------------------------------------------------------------------------- page


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


def test_two_runs_of_one_method_are_told_apart(runs: list[Run]) -> None:
    page = Page(build_page([shifted("a"), shifted("b")], clips=1)).data
    assert page["methods"] == ["toy-noise (a)", "toy-noise (b)"]
    assert page["values"]["toy-noise (a)"]["s0/1"] == [4.0]
    assert page["values"]["toy-noise (b)"]["s0/1"] == [9.0]
    (clip,) = page["watch"].values()
    assert list(clip["videos"]) == list(clip["strip"]["rows"]) == ["reference", "toy-noise (a)", "toy-noise (b)"]
    assert len(set(clip["strip"]["rows"].values())) == 3  # other pictures in each row


def test_a_method_called_reference_is_not_the_reference(runs: list[Run]) -> None:
    impostor = replace(runs[0], identity=replace(runs[0].identity, method="reference"))
    impostor.path.rename(impostor.path.with_name("reference"))
    page = Page(build_page([replace(impostor, path=impostor.path.with_name("reference"))], clips=1)).data
    (clip,) = page["watch"].values()
    assert list(clip["videos"]) == ["reference", "reference (toy-test)"]
    assert page["methods"] == ["reference (toy-test)"]


def test_what_cannot_be_shown_is_told_and_the_rest_is_shown(runs: list[Run]) -> None:
    (runs[0].path / "videos" / "s0" / "1.mp4").write_bytes(b"no video")
    (runs[1].path / "videos" / "s0" / "0.mp4").unlink()
    broken = replace(runs[0], identity=replace(runs[0].identity, dataset_options={"broken": 2}))
    watch = Page(build_page([broken, runs[1]], clips=5)).data["watch"]
    assert list(watch["s0/1"]["videos"]) == list(watch["s0/1"]["strip"]["rows"]) == ["reference", "toy-truth"]
    assert list(watch["s0/1"]["absent"]) == ["toy-noise"] and "1.mp4" in watch["s0/1"]["absent"]["toy-noise"]
    assert list(watch["s0/0"]["videos"]) == ["reference", "toy-noise"]
    assert "no video of clip 's0/0'" in watch["s0/0"]["absent"]["toy-truth"]
    # Bounds come first, and the first run says where the dataset is.
    first = Page(build_page([broken], clips=5)).data["watch"]["s1/2"]
    assert list(first["videos"]) == ["toy-noise"]
    assert first["absent"] == {"reference": "s1/2: cut short; copy it again"}


def test_a_dataset_that_is_gone_is_told(runs: list[Run]) -> None:
    text = build_page(runs, clips=1, data_root=Path("gone & away"))
    assert "--data-root gone &amp; away: does not exist" in text
    assert 'id="problem"' not in build_page(runs, clips=1)
    (clip,) = Page(text).data["watch"].values()
    assert list(clip["videos"]) == ["toy-truth", "toy-noise"] and clip["absent"] == {}


def test_tables_have_captions_and_what_scrolls_is_reached_by_keyboard(runs: list[Run]) -> None:
    tags = Page(build_page(runs, clips=0)).tags
    kinds = [tag for tag, _ in tags]
    assert all(kinds[i + 1] == "caption" for i, kind in enumerate(kinds) if kind == "table")
    scrolling = [attributes for _, attributes in tags if attributes.get("class") == "scroll"]
    assert [(one["tabindex"], one["role"]) for one in scrolling] == [("0", "region")] * 3
    assert len({one["aria-label"] for one in scrolling}) == 3


def compared(a: Run, b: Run) -> Comparison:
    return compare(from_run(a), from_run(b))


def with_errors(run: Run, errors: dict[str, float]) -> Run:
    """The run with other errors of some clips."""

    def changed(score: Score) -> Score:
        if score.clip not in errors or score.stats is None:
            return score
        error, pixels = errors[score.clip], score.stats["pixels"]
        return replace(score, values={"err": error}, stats={"total": error * pixels, "pixels": pixels})

    return replace(run, scores=tuple(map(changed, run.scores)))


def test_a_comparison_says_where_the_runs_differ(runs: list[Run]) -> None:
    clips = runs[0].identity.clips
    before = shifted("a")
    after = with_errors(shifted("b"), {clips[0]: 1.0, clips[1]: 4.0})
    comparison = compared(before, after)
    text = build_page([before, after], comparison=comparison, clips=2)
    page = Page(text)
    header, row = page.tables["difference"]
    found = dict(zip(header, row, strict=True))
    (column,) = comparison.columns
    assert (found["A"], found["B"], found["B - A"]) == ("4.0", f"{column.b:.1f}", f"{column.delta:+.1f}")
    pixels = {score.clip: score.stats["pixels"] for score in before.scores if score.stats}
    deltas = dict.fromkeys(clips, 5.0) | {clips[0]: -3.0, clips[1]: 0.0}
    total = sum(deltas[clip] * pixels[clip] for clip in clips)
    assert column.delta == pytest.approx(total / sum(pixels.values()))
    assert page.data["pair"] == {"a": "toy-noise (a)", "b": "toy-noise (b)", "columns": [0]}
    buttons = [attributes["data-clip"] for _, attributes in page.tags if attributes.get("class") == "watch"]
    assert buttons[:3] == list(clips[2:5])  # + 5 grey levels each
    assert buttons[3:] == list(clips[2:4]) * 2  # below, those that have videos, of either run
    assert list(page.data["watch"]) == list(clips[2:4])
    plain = build_page([before, after], clips=0)
    assert Page(plain).data["pair"] is None and 'id="difference"' not in plain and 'id="changes"' not in plain


@pytest.mark.parametrize(
    ("direction", "p", "kind", "verdict", "low", "middle"),
    [
        ("up", 0.01, "better", "B better", "15.0", "30.0"),
        ("down", 0.01, "worse", "B worse", "-15.0", "-30.0"),
        ("up", 0.2, "", "no difference shown", "15.0", "30.0"),
    ],
)
def test_better_is_said_where_it_is_shown_and_drawn_to_the_right(
    runs: list[Run], direction: Literal["up", "down"], p: float, kind: str, verdict: str, low: str, middle: str
) -> None:
    """B is more by 1, between .5 and 2: on a scale of 60 pixels for the far end, 30, 15 and 60."""
    found = compared(*runs)
    column = replace(
        *(found.columns[0],),
        **{"column": Column("err", "ERR", direction), "a": 1.0, "b": 2.0, "ci": (0.5, 2.0), "p": p, "p_holm": p},
        undecided="",  # three speakers as they are
    )
    table = difference_html(replace(found, columns=(column,)))
    assert f'<tr class="{kind}">' in table and f">{verdict}</td>" in table
    far = "-60.0" if low.startswith("-") else "60.0"
    assert f'd="M{low} 0H{far}"' in table and f'<circle cx="{middle}"' in table


def test_the_clips_that_changed_most_come_first(runs: list[Run]) -> None:
    clips = runs[0].identity.clips
    before = shifted("a")
    comparison = compared(before, with_errors(before, {clips[3]: 9.0, clips[1]: 1.0}))
    assert changed_clips(comparison, 3) == (clips[3], clips[1], clips[0])
    assert set(changed_clips(comparison, 99)) == set(clips)


def test_compare_writes_the_page(runs: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "a/toy-noise", "b/toy-noise", "--html", "deep/page.html", "--clips", "1"]) == 0
    assert "wrote deep/page.html" in capsys.readouterr().err
    text = Path("deep/page.html").read_text(encoding="utf-8")
    assert "<title>toy-noise (b) against toy-noise (a): toy, test: 5 clips</title>" in text
    Path("file").write_text("")
    assert main(["compare", "a/toy-noise", "b/toy-noise", "--html", "file/page.html"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "cannot be written" in error and "another --html" in error


def test_runs_over_different_clips_need_a_page_each(runs: list[Run], tmp_path: Path) -> None:
    assert (
        main(["run", "--method", "toy-truth", "--dataset", "toy", "--limit", "2", "--out", str(tmp_path / "few")]) == 0
    )
    with pytest.raises(UsageError, match="one page for each"):
        build_page([runs[0], load_run(tmp_path / "few" / "toy-truth")])
