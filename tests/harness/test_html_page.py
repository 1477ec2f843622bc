"""The HTML page without a browser: what it shows of runs, of a comparison, and that it stands alone."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
from html_pages import Page
from PIL import Image

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Column, Media
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.leaderboard import boards
from syncdiff_bench.report.page.material import (
    changed_clips,
    notable_clips,
    picture_uri,
    scores_of_clips,
    video_base64,
    worst_first,
)
from syncdiff_bench.report.page.page import build_page, difference_html
from syncdiff_bench.report.selection import Choice
from syncdiff_bench.runs.directory import Run, load_run
from syncdiff_bench.runs.records import Failure, Score
from syncdiff_bench.significance.comparison import Comparison, compare
from syncdiff_bench.significance.scored import from_run

NOISE, TRUTH = "shifted grey", "the reference"  # titles


@pytest.fixture
def runs(work_folder: Path, toy_plugins: Path, toy_runs: Path) -> list[Run]:
    """Two methods over the toy dataset, with errors of 3 and of 0 grey levels; see `toy_runs` for the others there."""
    shutil.copytree(toy_runs, work_folder, dirs_exist_ok=True)
    return [load_run(Path("runs/toy-test") / name) for name in ("toy-noise", "toy-truth")]


def shifted(folder: str) -> Run:
    """The run of toy-noise in a/ or b/."""
    return load_run(Path(folder) / "toy-noise")


def watched(text: str) -> dict[str, Any]:
    """Clip id -> what there is to see of it, its lists of pairs as mappings."""
    data = Page(text).data
    found = {}
    for number, clip in data["watch"].items():
        rows = {**clip["strip"], "rows": dict(clip["strip"]["rows"])}
        found[data["clips"][int(number)]] = {k: dict(clip[k]) for k in ("videos", "absent")} | {"strip": rows}
    return found


def values_in(text: str, method: str, clip: str) -> list[float | None]:
    """One value per column."""
    data = Page(text).data
    (one,) = [one for one in data["methods"] if one["name"] == method]
    return [values[data["clips"].index(clip)] for values in one["values"]]


def test_the_page_holds_the_values_of_the_runs_and_loads_nothing(runs: list[Run]) -> None:
    text = build_page(runs, clips=2)
    page = Page(text)
    # The bound first; methods by their titles.
    assert [(one["name"], one["bound"]) for one in page.data["methods"]] == [(TRUTH, True), (NOISE, False)]
    assert values_in(text, NOISE, "s0/1") == [3.0] and values_in(text, TRUTH, "s0/1") == [0.0]
    assert page.data["methods"][1]["summary"][0]["mean"] == 3.0
    assert len(page.data["watch"]) == 2
    references = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert references == ["#watch"]
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org/2000/svg)", text)


def test_the_page_may_only_do_what_it_says(runs: list[Run]) -> None:
    """The digests are those of the very script and style; nothing else runs, and nothing is loaded."""
    text = build_page(runs, clips=0)
    (policy,) = [
        attributes["content"]
        for tag, attributes in Page(text).tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    assert rules["default-src"] == "'none'"
    for tag in ("script", "style"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[f"{tag}-src"] == f"'sha256-{digest}'"
    assert (rules["img-src"], rules["media-src"]) == ("data:", "blob:")
    assert rules.keys() == {"default-src", "script-src", "style-src", "img-src", "media-src", "base-uri", "form-action"}
    assert not [attributes for _, attributes in Page(text).tags if any(key.startswith("on") for key in attributes)]
    assert not [attributes for _, attributes in Page(text).tags if "style" in attributes]


def test_the_first_screen_says_who_leads_and_lets_choose_a_metric(runs: list[Run]) -> None:
    text = build_page([*runs, shifted("a")], clips=0)
    means = f"3.0 against 4.0 of {NOISE} (a)"
    lead = f"{NOISE} (toy-test) has the better mean ERR, {means}; that decides nothing: too few speakers."
    assert f"<strong>{lead}</strong>" in text
    assert Page(text).data["columns"][0]["lead"] == lead
    radios = [attributes for tag, attributes in Page(text).tags if attributes.get("name") == "metric"]
    assert [(one["type"], one["value"], "checked" in one) for one in radios] == [("radio", "0", True)]
    order = [attributes["id"] for _, attributes in Page(text).tags if attributes.get("id") in SECTIONS]
    assert order == SECTIONS


SECTIONS = ["answer", "verdict", "means", "spread", "watch", "leaderboard", "clips", "clip-values", "made"]


def test_the_page_says_what_it_was_made_from(runs: list[Run]) -> None:
    manifest = json.loads(json.dumps(runs[0].manifest))
    manifest["versions"]["numpy"] = "0.0.1"
    text = build_page([replace(runs[0], manifest=manifest), runs[1]], clips=0)
    made = text.partition('id="made"')[2]
    facts = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", made)
    assert ("fingerprint of the files", "a" * 64) in facts and ("clips", "5 of 3 speakers") in facts
    assert ("method", "toy-noise") in facts and ("method", "toy-truth, a bound that does not compete") in facts
    assert any(key == "options" and "shift=3" in value for key, value in facts)
    assert ("numpy", "0.0.1") in facts and ("numpy", runs[1].manifest["versions"]["numpy"]) in facts
    assert f"<h4>{TRUTH}</h4>" in made.partition("<h3>Versions")[2]  # whose they are, where they differ
    assert "<li>all methods: 3 speakers: with fewer than 5" in made or "3 speakers: with fewer than 5" in made


def test_rows_and_columns_are_those_of_the_choice(runs: list[Run]) -> None:
    page = Page(build_page(runs, choice=Choice(rows=("toy-noise",)), clips=0))
    assert [one["name"] for one in page.data["methods"]] == [NOISE]


def test_reasons_stand_with_their_clip(runs: list[Run]) -> None:
    scores = tuple(
        replace(one, values=None, stats=None, error=Failure("bad", "no \x1b[2Jface\u202e"))
        if one.clip == "s1/2"
        else one
        for one in runs[0].scores
    )
    data = Page(build_page([replace(runs[0], scores=scores)], clips=0)).data
    assert data["methods"][0]["failed"] == {str(data["clips"].index("s1/2")): "toy-error: no face"}
    assert data["methods"][0]["values"][0][data["clips"].index("s1/2")] is None


def test_names_cannot_end_a_script_or_open_a_tag(runs: list[Run]) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    manifest = json.loads(json.dumps(runs[0].manifest))
    manifest["summary"][0]["label"] = evil
    changed = replace(runs[0], manifest=manifest, identity=replace(runs[0].identity, title=evil))
    text = build_page([changed, runs[1]], clips=1)
    assert evil not in text
    assert "img" not in [tag for tag, _ in Page(text).tags]


def test_the_worst_clips_come_first(runs: list[Run]) -> None:
    (board,) = boards(runs)
    clips = runs[0].identity.clips
    scores = tuple(replace(s, values={"err": 9.0}) if s.clip == "s1/3" else s for s in runs[0].scores)
    changed = replace(runs[0], scores=scores)
    values = scores_of_clips(changed, board.columns).values[0]
    assert worst_first(values, "down", clips)[0] == worst_first(values, "up", clips)[-1] == "s1/3"
    assert notable_clips([changed], board.columns, 2)[0] == "s1/3"
    assert set(notable_clips([changed], board.columns, 99)) == set(changed.identity.clips)


def test_videos_and_pictures_survive_their_uris(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 33, dtype=np.uint8)[:, None, None], (6, 33, 47, 3)).copy()
    (tmp_path / "clip.mp4").write_bytes(base64.b64decode(video_base64(Media(ramp, np.zeros(6 * 640, np.int16)))))
    with av.open(str(tmp_path / "clip.mp4")) as container:
        video, audio = container.streams.video[0].codec_context, container.streams.audio[0].codec_context
        assert (video.name, video.pix_fmt, audio.name) == ("h264", "yuv420p", "aac")
    decoded = Clip("c", "d", tmp_path / "clip.mp4").frames
    assert decoded.shape == (6, 34, 48, 3)
    assert np.abs(decoded[:, :33, :47].astype(int) - ramp).mean() < 3
    picture = Image.open(io.BytesIO(base64.b64decode(picture_uri(ramp[:2]).partition(",")[2])))
    assert picture.size == (94, 33)


def test_two_runs_of_one_method_are_told_apart(runs: list[Run]) -> None:
    text = build_page([shifted("a"), shifted("b")], clips=1)
    assert [one["name"] for one in Page(text).data["methods"]] == [f"{NOISE} (a)", f"{NOISE} (b)"]
    assert values_in(text, f"{NOISE} (a)", "s0/1") == [4.0]
    assert values_in(text, f"{NOISE} (b)", "s0/1") == [9.0]
    (clip,) = watched(text).values()
    assert list(clip["videos"]) == list(clip["strip"]["rows"]) == ["reference", f"{NOISE} (a)", f"{NOISE} (b)"]
    assert len(set(clip["strip"]["rows"].values())) == 3  # other pictures in each row


def test_the_truth_is_shown_once(runs: list[Run]) -> None:
    """Where `gt` is among the runs it is the reference; where it has no video of a clip, the reference is."""
    truth = replace(runs[1], label="Ground truth", identity=replace(runs[1].identity, method="gt"))
    (truth.path / "videos" / "s0" / "0.mp4").unlink()
    clips = watched(build_page([truth, runs[0]], clips=5))
    assert list(clips["s0/1"]["videos"]) == ["Ground truth", NOISE]
    assert list(clips["s0/0"]["videos"]) == ["reference", NOISE]


def test_a_method_called_reference_is_not_the_reference(runs: list[Run]) -> None:
    impostor = replace(runs[0], identity=replace(runs[0].identity, title="reference"))
    (clip,) = watched(build_page([impostor], clips=1)).values()
    assert list(clip["videos"]) == ["reference", "reference (toy-test)"]


def test_what_cannot_be_shown_is_told_and_the_rest_is_shown(runs: list[Run]) -> None:
    (runs[0].path / "videos" / "s0" / "1.mp4").write_bytes(b"no video")
    (runs[1].path / "videos" / "s0" / "0.mp4").unlink()
    broken = replace(runs[0], identity=replace(runs[0].identity, dataset_options={"broken": 2}))
    watch = watched(build_page([broken, runs[1]], clips=5))
    assert list(watch["s0/1"]["videos"]) == list(watch["s0/1"]["strip"]["rows"]) == ["reference", TRUTH]
    assert list(watch["s0/1"]["absent"]) == [NOISE] and "1.mp4" in watch["s0/1"]["absent"][NOISE]
    assert list(watch["s0/0"]["videos"]) == ["reference", NOISE]
    assert "no video of clip 's0/0'" in watch["s0/0"]["absent"][TRUTH]
    # Bounds come first, and the first run says where the dataset is.
    first = watched(build_page([broken], clips=5))["s1/2"]
    assert list(first["videos"]) == [NOISE]
    assert first["absent"] == {"reference": "s1/2: cut short; copy it again"}


def test_a_dataset_that_is_gone_is_told(runs: list[Run]) -> None:
    text = build_page(runs, clips=1, data_root=Path("gone & away"))
    assert "--data-root gone &amp; away: does not exist" in text
    assert 'id="problem"' not in build_page(runs, clips=1)
    (clip,) = watched(text).values()
    assert list(clip["videos"]) == [TRUTH, NOISE] and clip["absent"] == {}


def test_tables_have_captions_and_what_scrolls_is_reached_by_keyboard(runs: list[Run]) -> None:
    tags = Page(build_page(runs, clips=0)).tags
    kinds = [tag for tag, _ in tags]
    assert all(kinds[i + 1] == "caption" for i, kind in enumerate(kinds) if kind == "table")
    scrolling = [attributes for _, attributes in tags if attributes.get("class") == "scroll"]
    assert [(one["tabindex"], one["role"]) for one in scrolling] == [("0", "region")] * 4
    assert len({one["aria-label"] for one in scrolling}) == 4


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
    assert page.data["pair"] == {"a": 0, "b": 1, "columns": [0]}
    buttons = [attributes["data-clip"] for _, attributes in page.tags if attributes.get("class") == "watch"]
    assert buttons == ["2", "3", "4"]  # + 5 grey levels each
    assert list(page.data["watch"]) == ["2", "3"]
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
    table = difference_html(replace(found, columns=(column,)), runs[0].identity.clips)
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
    assert "<title>shifted grey (b) against shifted grey (a): toy, test: 5 clips</title>" in text
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
