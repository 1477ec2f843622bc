"""Caveats as plugins bring them: numpy's numbers, a sentence for every clip, and what is no caveat at all."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import syncdiff_bench
from syncdiff_bench.caveats import Caveat, counted
from syncdiff_bench.contracts import Method, WeightsUsed
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.report.comparison import comparison_table
from syncdiff_bench.report.joined import join
from syncdiff_bench.report.leaderboard import boards
from syncdiff_bench.report.page.page import clips_html, difference_html, leaderboard_html
from syncdiff_bench.report.paper import table
from syncdiff_bench.report.paper_table import paper_table
from syncdiff_bench.report.results import read_run
from syncdiff_bench.report.writers import render
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.records import Failure, Generated, Score
from syncdiff_bench.runs.summary import run_caveats
from syncdiff_bench.significance.comparison import compare
from syncdiff_bench.significance.scored import from_run
from syncdiff_bench.testing import checks_of
from syncdiff_bench.testing.plugin_checks import Plugin
from syncdiff_bench.weights.catalog import Catalogue, Entry
from syncdiff_bench.weights.finding import weights_found
from syncdiff_bench.weights.store import WeightsStore
from syncdiff_methods.bounds import Static
from syncdiff_metrics.ssim import SSIM

SECOND = "3000000000000000000/00002"


def raising(*_: Any) -> Any:
    raise KeyError("box")


NO_CAVEATS: list[Callable[..., Any]] = [lambda *_: "resized", lambda *_: None, lambda *_: ["resized"], raising]


@pytest.mark.parametrize("said", NO_CAVEATS)
def test_what_is_no_caveat_fails_the_clip_of_a_method_alone(
    said: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Static, "caveats", lambda _self, clip: said() if clip == SECOND else ())
    done = syncdiff_bench.run("static", limit=3, metrics=["ssim"], out=tmp_path)
    assert [clip for clip, line in done.generated.items() if line.error is not None] == [SECOND]
    error = done.generated[SECOND].error
    assert error is not None and error.kind == "caveats" and SECOND in error.message
    assert done.summary[0].n == 2 and done.summary[0].failed == 1


@pytest.mark.parametrize("said", NO_CAVEATS)
def test_what_is_no_caveat_fails_the_clip_of_a_metric_alone(
    said: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SSIM, "caveats", lambda _self, pair, _stats: said() if pair.target.id == SECOND else ())
    done = syncdiff_bench.run("static", limit=3, metrics=["ssim"], out=tmp_path)
    assert [score.clip for score in done.scores if score.failed] == [SECOND]


def test_numbers_of_numpy_count_as_python_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caveat = [Caveat("moved", "up to {most} pixels moved", amount=np.int64(4))]  # type: ignore[arg-type]
    monkeypatch.setattr(Static, "caveats", lambda _self, _clip: caveat)
    monkeypatch.setattr(SSIM, "left_out", lambda _self, _stats: np.int64(3))
    done = syncdiff_bench.run("static", limit=2, metrics=["ssim"], out=tmp_path)
    texts = [one.text for one in done.caveats]
    assert "2 of 2 clips: up to 4 pixels moved" in texts
    assert any(text.startswith("ssim (face96), 2 of 2 clips: 6 frames equal") for text in texts)


def test_notes_of_a_method_of_the_earlier_contract_are_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Static, "notes", lambda _self, clip: ("padded",) if clip == SECOND else (), raising=False)
    done = syncdiff_bench.run("static", limit=2, metrics=["ssim"], out=tmp_path)
    assert "1 of 2 clips: padded" in [one.text for one in done.caveats]


def test_a_method_that_cannot_speak_of_itself_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Static, "general_caveats", raising)
    with pytest.raises(UsageError, match="static: general_caveats"):
        syncdiff_bench.run("static", limit=1, metrics=["ssim"], out=tmp_path)


def test_a_method_with_an_init_of_its_own_need_not_keep_the_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(self: Method, options: Any = None, _runtime: Any = None) -> None:
        self.options = options

    monkeypatch.setattr(Static, "__init__", init)
    assert syncdiff_bench.run("static", limit=1, metrics=["ssim"], out=tmp_path).summary[0].n == 1


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
    done = Identity(
        *("m", {}, (), "pocket", "test", "f", clips, {}, 0, "lossless"),
    )
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


def test_no_writer_passes_on_what_a_terminal_would_obey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ESC, a line end and a change of direction, in a program's words and in a clip's reason."""
    nasty = Caveat("odd", "a\x1b[31mred\x1b[0m\nline\u202e<b>", "d\x1b[2J|\x07")
    monkeypatch.setattr(Static, "caveats", lambda _self, _clip: (nasty,))
    broken = ClipError("bad", "no\x1b[2Jpe\u202e")
    monkeypatch.setattr(SSIM, "measure", raise_for(SECOND, broken, SSIM.measure))
    done = syncdiff_bench.run("static", limit=2, metrics=["ssim"], out=tmp_path)
    clean = syncdiff_bench.run("gt", limit=2, metrics=["ssim"], out=tmp_path)
    (board,) = boards([done, clean])  # what not every run says is a note, not a remark
    compared = compare(from_run(done), from_run(done))
    texts = {form: render([board.table], form) for form in ("csv", "json", "markdown", "latex", "html")}
    texts |= {
        "page": leaderboard_html(board) + clips_html(board) + difference_html(compared),
        "compare": render([comparison_table(compared)], "markdown"),
        "paper": render([paper_table(join(table(1), [read_run(done.path / "run.json")]))], "csv"),
    }
    for writer, text in texts.items():
        # JSON is for programs: every character is there, those that a terminal obeys as escapes.
        assert ("red\\u001b[0m\\nline" if writer == "json" else "red line") in text, writer
        assert not set(text) & set("\x1b\x07" if writer == "json" else "\x1b\x07\u202e"), writer
    assert len(list(csv.DictReader(io.StringIO(texts["csv"])))) == 2


def raise_for(clip: str, error: Exception, measure: Callable[..., Any]) -> Callable[..., Any]:
    def measured(self: Any, pair: Any) -> Any:
        if pair.target.id == clip:
            raise error
        return measure(self, pair)

    return measured


def failing(plugin: Plugin, only: str = "") -> list[str]:
    """Names of the conformance checks that it fails, of all or of one."""
    found = []
    for check in [check for check in checks_of(plugin) if only in ("", check.name)]:
        try:
            check()
        except Exception:
            found.append(check.name)
    return found


def test_what_is_no_caveat_fails_the_conformance_suite(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "caveats" not in failing(SSIM()) + failing(Static())
    for said in ("resized", None, ["resized"]):
        for plugin, hook in ((SSIM, "caveats"), (Static, "general_caveats"), (Static, "caveats")):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(plugin, hook, lambda *_, said=said: said)
                assert failing(plugin(), "caveats") == ["caveats"]
    # That check alone fails.
    monkeypatch.setattr(Static, "caveats", lambda *_: "resized")
    monkeypatch.setattr(SSIM, "left_out", lambda *_: -1)
    assert [failing(plugin) for plugin in (Static(), SSIM())] == [["caveats"]] * 2
