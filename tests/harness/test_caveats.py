"""Caveats: whatever a reader opens says them, and of a clean run nothing does; and what a plugin may bring as one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from encoded import encode
from right_plugins import Distance, Grey, outcomes

import syncdiff_bench
from syncdiff_bench.caveats import Caveat, counted
from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Frames, Method, Pair, WeightsUsed
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.registry import load_class
from syncdiff_bench.report.page.page import build_page
from syncdiff_bench.runs.directory import Run, load_run
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.records import Failure, Generated, Score
from syncdiff_bench.runs.summary import run_caveats
from syncdiff_bench.significance.comparison import compare
from syncdiff_bench.significance.scored import from_run
from syncdiff_bench.weights.catalog import Catalogue, Entry
from syncdiff_bench.weights.finding import weights_found
from syncdiff_bench.weights.store import WeightsStore

SCORED = ["--metrics", "psnr,lse[weights=pocket]"]
MADE = {  # of the run that reconstructs `truth/` with the model that was drawn for pocket
    "guessed-boxes": "the face box is the centred guess",
    "retimed": "retimed to 25 fps, nearest frames (b: retimed 50 -> 25 fps: 50 -> 25 frames)",
    "foreign-model": "gt-rec runs an autoencoder trained on pocket (drawn faces), not on folder",
    "subset": "lse (pocket): over 2 of 3 clips (1 n/a, the clip has no audio track)",
}
GIVEN = {  # of that which scores the videos of `given/`
    "length": "up to 1 frames shorter than their reference, scored over the common part (c: 24 of 25 frames)"
}


def written(path: Path, frames: Frames, *, sound: bool, fps: int = 25) -> None:
    samples = np.random.default_rng(0).integers(-3000, 3000, len(frames) * 16_000 // fps).astype(np.int16)
    encode(path, frames, rate=fps, clock=fps, audio=samples if sound else None, audio_codec="aac")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three clips of noise, `b` at 50 frames per second, `d` without sound; videos of them, a frame of `c` missing."""
    where = tmp_path_factory.mktemp("caveats")
    random = np.random.default_rng(1)
    for name in "bcd":
        frames = random.integers(8, 240, (50 if name == "b" else 25, 64, 64, 3)).astype(np.uint8)
        written(where / "truth" / f"{name}.mp4", frames, sound=name != "d", fps=50 if name == "b" else 25)
        made = (frames[::2] if name == "b" else frames) + 4
        written(where / "given" / f"{name}.mp4", made[: 24 if name == "c" else 25], sound=name != "d")
    return where


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, Path]:
    data = ["--dataset", "folder", "--data-root", str(folder / "truth"), "--boxes", "centred"]
    data += ["--out", str(folder / "runs")]
    assert main(["run", "--method", "gt-rec", "--set", "model=pocket", *data, *SCORED]) == 0
    assert main(["run", "--method", "videos", "--set", f"folder={folder / 'given'}", *data, *SCORED]) == 0
    clean = ["run", "--method", "static", "--metrics", "ssim", "--limit", "10", "--out", str(folder / "clean")]
    assert main(clean) == 0
    return {name: folder / "runs" / name for name in ("gt-rec", "videos")} | {"clean": folder / "clean" / "static"}


def plain(text: str) -> str:
    """Without the escapes of Markdown, LaTeX, HTML and XML."""
    return unescape(text).replace("\\", "").replace("$>$", ">")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) in (0, 1)
    return plain(capsys.readouterr().out)


def test_run_json_counts_them(runs: dict[str, Path]) -> None:
    kinds = {name: {one.kind for one in load_run(path).caveats} for name, path in runs.items()}
    assert set(MADE) <= kinds["gt-rec"] and set(GIVEN) <= kinds["videos"]
    assert kinds["clean"] == set()
    assert json.loads((runs["clean"] / "run.json").read_text())["caveats"] == []


SAYING = [f"report RUNS --format {form}" for form in ("table", "markdown", "csv", "json")]
SAYING += ["report RUNS --html page.html --clips 0", "compare A B --html page.html --clips 0"]
SAYING += [
    f"paper tables --table 1 --dataset folder --format {form} A B" for form in ("markdown", "latex", "html", "csv")
]


@pytest.mark.parametrize("command", SAYING)
def test_it_says_them(
    command: str, folder: Path, runs: dict[str, Path], work_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"RUNS": folder / "runs", "A": runs["gt-rec"], "B": runs["videos"]}
    text = said(capsys, *(str(places.get(word, word)) for word in command.split()))
    for page in work_folder.glob("*.html"):
        text = plain(page.read_text(encoding="utf-8"))
    assert [sentence for sentence in (MADE | GIVEN).values() if sentence not in text] == []


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json"])
def test_of_a_clean_run_nothing_says_any(form: str, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert " clips:" not in said(capsys, "report", str(runs["clean"]), "--format", form).partition("\n")[2]


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_compare_says_them_of_their_side(form: str, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "compare", str(runs["gt-rec"]), str(runs["videos"]), "--format", form)
    for sides, sentence in (
        ("A and B", MADE["guessed-boxes"]),
        ("A and B", MADE["retimed"]),
        ("A", MADE["foreign-model"]),
        ("A and B", MADE["subset"]),
        ("B", GIVEN["length"]),
    ):
        (line,) = [line for line in text.splitlines() if sentence in line]
        assert line.startswith(f"{sides}: ")


def test_check_says_them_on_the_terminal_in_the_summary_and_in_junit(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline, summary, junit = (str(tmp_path / name) for name in ("base.json", "summary.md", "check.xml"))
    for name, kinds in (("gt-rec", MADE), ("videos", GIVEN)):
        assert main(["check", str(runs[name]), "--baseline", baseline, "--update"]) == 0
        text = said(capsys, "check", str(runs[name]), "--baseline", baseline, "--summary", summary, "--junit", junit)
        files = (plain(Path(file).read_text(encoding="utf-8")) for file in (summary, junit))
        for where in (text, *files):
            assert all(sentence in where for sentence in kinds.values())


SECOND = "s0/1"


def raising(*_: Any) -> Any:
    raise KeyError("box")


NO_CAVEATS: list[Callable[..., Any]] = [lambda *_: "resized", lambda *_: None, lambda *_: ["resized"], raising]


@pytest.fixture
def run(toy_plugins: Path, tmp_path: Path) -> Callable[[], Run]:
    """`toy-noise` on two clips, scored by `toy-error`."""
    return partial(syncdiff_bench.run, "toy-noise", "toy", limit=2, metrics=["toy-error"], out=tmp_path)


@pytest.fixture
def noise(toy_plugins: Path) -> Any:
    return load_class("method", "toy-noise")


@pytest.fixture
def error(toy_plugins: Path) -> Any:
    return load_class("metric", "toy-error")


@pytest.mark.parametrize("said", NO_CAVEATS)
def test_what_is_no_caveat_fails_the_clip_of_a_method_alone(
    said: Callable[..., Any], run: Callable[[], Run], noise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "caveats", lambda _self, clip: said() if clip == SECOND else ())
    done = run()
    assert [clip for clip, line in done.generated.items() if line.error is not None] == [SECOND]
    error = done.generated[SECOND].error
    assert error is not None and error.kind == "caveats" and SECOND in error.message
    assert done.summary[0].n == 1 and done.summary[0].failed == 1


@pytest.mark.parametrize("said", NO_CAVEATS)
def test_what_is_no_caveat_fails_the_clip_of_a_metric_alone(
    said: Callable[..., Any], run: Callable[[], Run], error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(error, "caveats", lambda _self, pair, _stats: said() if pair.target.id == SECOND else ())
    assert [score.clip for score in run().scores if score.failed] == [SECOND]


def test_numbers_of_numpy_count_as_python_s(
    run: Callable[[], Run], noise: Any, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    caveat = [Caveat("moved", "up to {most} pixels moved", amount=np.int64(4))]  # type: ignore[arg-type]
    monkeypatch.setattr(noise, "caveats", lambda _self, _clip: caveat)
    monkeypatch.setattr(error, "left_out", lambda _self, _stats: np.int64(3))
    texts = [one.text for one in run().caveats]
    assert "2 of 2 clips: up to 4 pixels moved" in texts
    assert any(text.startswith("toy-error (absolute), 2 of 2 clips: 6 frames equal") for text in texts)


def test_notes_of_a_method_of_the_earlier_contract_are_not_lost(
    run: Callable[[], Run], noise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "notes", lambda _self, clip: ("padded",) if clip == SECOND else (), raising=False)
    assert "1 of 2 clips: padded" in [one.text for one in run().caveats]


def test_a_method_that_cannot_speak_of_itself_is_one_line(
    run: Callable[[], Run], noise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "general_caveats", raising)
    with pytest.raises(UsageError, match="toy-noise: general_caveats"):
        run()


def test_a_method_with_an_init_of_its_own_need_not_keep_the_runtime(
    run: Callable[[], Run], noise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(self: Method, options: Any = None, _runtime: Any = None) -> None:
        self.options = options

    monkeypatch.setattr(noise, "__init__", init)
    assert run().summary[0].n == 2


@pytest.mark.parametrize(("amount", "kind"), [(2.5, "odd"), ("3", "odd"), (1, None)])
def test_a_caveat_holds_text_and_a_whole_number(amount: Any, kind: Any) -> None:
    with pytest.raises(TypeError, match="caveat"):
        Caveat(kind, "sentence", amount=amount)


def test_a_sentence_for_every_clip_is_one_line_of_a_table() -> None:
    found = {f"clip {i}": [Caveat("odd", f"frame {i} is odd"), Caveat("dim", "dim")] for i in range(1000)}
    odd, dim = counted(found, 1000)
    assert odd.text == "1000 of 1000 clips: odd, in 1000 ways (clip 0: frame 0 is odd)"
    assert odd.clips == tuple(found) and dim.text == "1000 of 1000 clips: dim"
    assert len(counted(dict(list(found.items())[:5]), 5)) == 6  # so few are said in full


def _caveats(n: int, scores: Callable[[str, int], dict[str, Any]], speakers: int) -> list[str]:
    plain = {"method": "m", "dataset": "pocket", "metric": "k", "protocol": "default"}
    clips = tuple(f"c{i}" for i in range(n))
    records = {clip: Generated(clip, 10) for clip in clips}
    rows = [Score(clip=clip, **plain, **scores(clip, i)) for i, clip in enumerate(clips)]
    done = Identity("m", {}, (), "pocket", "test", "f", clips, {}, 0, "lossless")
    spoken = {clip: f"s{i % speakers}" for i, clip in enumerate(clips)}
    return [one.text for one in run_caveats(done, records, rows, spoken)]


def test_a_clip_without_a_value_is_not_among_those_of_the_mean() -> None:
    def scores(_clip: str, i: int) -> dict[str, Any]:
        return {"stats": {}, "values": {"k": None if i == 1 else 1.0}}

    assert _caveats(6, scores, 6) == ["k (default): over 5 of 6 clips (1 without a value)"]
    # A column that is defined nowhere says so in its cell.
    assert _caveats(6, lambda *_: {"stats": {}, "values": {"k": None}}, 6) == []


@pytest.mark.parametrize(("kept", "few"), [(5, False), (4, True)])
def test_speakers_are_those_that_a_column_is_over(kept: int, few: bool) -> None:
    error = Failure("bad", "broken")

    def scores(_clip: str, i: int) -> dict[str, Any]:
        return {"stats": {}, "values": {"k": 1.0}} if i < kept else {"error": error}

    texts = _caveats(6, scores, 6)
    assert (f"k (default): {kept} speakers: with fewer than 5 neither intervals nor tests decide" in texts) == few
    assert json.dumps(texts).count("speakers") == few


def test_a_file_kept_under_the_name_of_a_published_one_is_a_caveat(tmp_path: Path) -> None:
    """As `weights add NAME FILE --force` keeps it: the number then enters the paper's column under the name."""
    entry = Entry("judge", "judge.pt", "", "", "", sha256="0" * 64)
    store = WeightsStore(tmp_path / "store", catalogue=Catalogue({"judge": entry}))
    (tmp_path / "mine.pt").write_bytes(b"another network")
    used = weights_found("judge", store.add("judge", tmp_path / "mine.pt", force=True))
    assert not used.published and WeightsUsed(**used.to_json()) == used
    protocols = [{"metric": "lse", "protocol": "lrs", "weights": [used.to_json()]}]
    done = Identity("m", {}, (used,), "pocket", "test", "f", (), {}, 0, "lossless")
    sentence = f"judge is sha256 {used.sha256[:12]}, not the published file"
    texts = [one.text for one in run_caveats(done, {}, [], {}, protocols) if one.kind == "unpublished-weights"]
    assert texts == [sentence, f"lse (lrs): {sentence}"]
    assert Identity.from_json(done.to_json() | {"seed": 0}).weights[0].published is False

    good = replace(entry, sha256=used.sha256)
    other = WeightsStore(tmp_path / "other", catalogue=Catalogue({"judge": good}))
    known = weights_found("judge", other.add("judge", tmp_path / "mine.pt"))
    assert known.published and known.to_json() == {"name": "judge", "sha256": used.sha256}


def test_no_page_passes_on_what_a_terminal_would_obey(
    run: Callable[[], Run], noise: Any, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ESC, a line end and a change of direction, in a program's words and in a clip's reason; as in the writers."""
    nasty = Caveat("odd", "a\x1b[31mred\x1b[0m\nline\u202e<b>", "d\x1b[2J|\x07")
    measure = error.measure

    def measured(self: Any, pair: Pair) -> Any:
        if pair.target.id == SECOND:
            raise ClipError("bad", "no\x1b[2Jpe\u202e")
        return measure(self, pair)

    monkeypatch.setattr(noise, "caveats", lambda _self, _clip: (nasty,))
    monkeypatch.setattr(error, "measure", measured)
    done = run()
    page = build_page([done, done], comparison=compare(from_run(done), from_run(done)), clips=1)
    assert "red line" in page and "nope" in page and not set(page) & set("\x1b\x07\u202e")


def test_what_is_no_caveat_fails_the_conformance_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    for plugin, hook in ((Distance, "caveats"), (Grey, "general_caveats"), (Grey, "caveats")):
        assert outcomes(plugin(), "caveats") == ({}, {})
        for said in ("resized", None, ["resized"]):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(plugin, hook, lambda *_, said=said: said)
                assert outcomes(plugin(), "caveats")[0].keys() == {"caveats"}
    # That check alone fails.
    monkeypatch.setattr(Grey, "caveats", lambda *_: "resized")
    monkeypatch.setattr(Distance, "left_out", lambda *_: -1)
    assert [set(outcomes(plugin())[0]) for plugin in (Grey, Distance)] == [{"caveats"}] * 2
