"""The variance probe on a made-up method whose latents are known, and its record in Table 4."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from console import refusal
from numpy.typing import NDArray
from right_plugins import Grey, Listed

from syncdiff_bench import plugins
from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Media, Spoken
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.results import read_run
from syncdiff_bench.reproduction.probing import (
    Case,
    FrameOf,
    ProbedMethod,
    draw_clips,
    find_poses,
    ident_cases,
    pose_cases,
    read_poses,
    variance,
)


def clip(name: str, frames: int = 6, *, speaker: str = "s", spoken: tuple[Spoken, ...] = ()) -> Clip:
    media = Media(np.zeros((frames, 4, 4, 3), np.uint8), np.zeros(640 * frames, np.int16))
    return Clip(name, "toy", speaker=speaker, spoken=spoken, preloaded=media)


W = Spoken("w", 0.08, 0.16)  # its middle is frame 3


class ToyDataset(Listed):
    name = "toy-spoken"
    clips: ClassVar = {
        "a": clip("a", speaker="one", spoken=(W, Spoken("w", 0.2, 0.22))),
        "b": clip("b", 8, speaker="two", spoken=(W,)),
        "c": clip("c", 7, speaker="one", spoken=(W,)),
        "d": clip("d", 3, speaker="one"),
    }
    listed: ClassVar = {"test": tuple(clips)}

    def clip(self, clip_id: str) -> Clip:
        return self.clips[clip_id]


class ToyMethod(Grey):
    """Its latent is (identity frame, target frame), so variances are known."""

    name = "toy-probed"
    title = "Toy"
    probe_layers = ("mid",)

    def probe(self, cases: Sequence[Case], *, layer: str, step: int | None, seed: int) -> NDArray[np.float32]:
        return np.array([[case.identity.index, case.target.index] for case in cases], np.float32)


# ----------------------------------------------------------------------------------------- which frames


def test_ident_varies_the_identity_frame_only() -> None:
    cases = ident_cases(clip("x", 6))
    assert [case.identity.index for case in cases] == [2, 3, 4, 5]
    assert {(case.target.index, case.pose.index) for case in cases} == {(1, 0)}
    assert [case.identity.index for case in ident_cases(clip("x", 12), 3)] == [2, 6, 11]
    with pytest.raises(UsageError, match="clip x has 3 frames; IDENT needs 4 or more"):
        ident_cases(clip("x", 3))


def test_pose_varies_everything_but_the_identity_frame() -> None:
    first, second = clip("x", 6), clip("y", 6)
    cases = pose_cases([FrameOf(first, 2), FrameOf(second, 4)])
    assert [(case.target.clip.id, case.target.index, case.pose.index) for case in cases] == [("x", 3, 2), ("y", 5, 4)]
    assert {(case.identity.clip.id, case.identity.index) for case in cases} == {("x", 0)}
    with pytest.raises(UsageError, match="clip y: frame 5 is no pose frame; give 0 to 4"):
        pose_cases([FrameOf(first, 2), FrameOf(second, 5)])
    with pytest.raises(UsageError, match="needs two pose frames or more, found 1"):
        pose_cases([FrameOf(first, 2)])


def test_a_phone_is_found_in_the_clips_of_one_speaker() -> None:
    dataset = ToyDataset()
    poses = find_poses(dataset, dataset.clip_ids("test"), "w", 5)
    assert [(pose.clip.id, pose.index) for pose in poses] == [("a", 3), ("c", 3)]
    with pytest.raises(UsageError, match=r"no speaker says 'q' in two clips; spoken there: w;"):
        find_poses(dataset, dataset.clip_ids("test"), "q", 5)


def test_a_list_of_poses_is_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "wa.txt"
    for encoding in ("utf-8", "utf-16"):
        path.write_text("# the phone wa\na 2\n\nb 4\n", encoding)
        assert [(pose.clip.id, pose.index) for pose in read_poses(path, ToyDataset())] == [("a", 2), ("b", 4)]
    path.write_text("a 2\nb -1\n")
    with pytest.raises(UsageError, match=r"wa\.txt:2: 'b -1' is not CLIP FRAME"):
        read_poses(path, ToyDataset())
    with pytest.raises(UsageError, match="not a readable list"):
        read_poses(tmp_path / "none.txt", ToyDataset())


def test_drawn_clips_depend_on_the_seed_and_keep_their_order() -> None:
    ids = [str(i) for i in range(50)]
    drawn = draw_clips(ids, 10, 0)
    assert drawn == sorted(drawn, key=int) == draw_clips(ids, 10, 0) != draw_clips(ids, 10, 1)
    assert len(set(drawn)) == 10
    assert draw_clips(ids[:3], 10, 0) == ids[:3]


def test_variance_is_unbiased_and_averaged_over_dimensions() -> None:
    latents = np.array([[1, 10], [2, 10], [3, 10]], np.float32)
    assert variance(latents) == pytest.approx((1 + 0) / 2)


# --------------------------------------------------------------------------------------------- command


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "load_dataset", lambda *_a, **_k: ToyDataset())
    monkeypatch.setattr("syncdiff_bench.runs.plan.load_methods", lambda *_a: (ToyMethod(),))


@pytest.mark.usefixtures("toys")
def test_the_command_prints_and_records_both_experiments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(ToyMethod(), ProbedMethod)
    arguments = ["paper", "probe", "--clip", "a", "--clip", "b", "--phone", "w", "--out", str(tmp_path)]
    assert main(arguments) == 0
    # IDENT: identity frames 2..5 and 2..7; the other dimension is constant. POSE: nothing varies but the clip.
    expected = (variance(np.arange(2, 6)[:, None]) / 2 + variance(np.arange(2, 8)[:, None]) / 2) / 2
    out = capsys.readouterr().out
    assert f"{expected:.4f}" in out
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["probe"]["layer"] == "mid"
    assert [len(group) for group in record["probe"]["groups"].values()] == [2, 1]
    summary: dict[str, Any] = {entry["protocol"]: entry for entry in record["summary"]}
    assert summary["ident"]["mean"] == pytest.approx(expected)
    assert summary["pose"]["mean"] == 0
    assert summary["pose"]["ci95"] is None
    measured = {m.protocol: m for m in read_run(tmp_path / "run.json").summary}
    ident = measured["ident"]
    assert (ident.metric, ident.column, ident.direction) == ("variance", "var", "down")


@pytest.mark.usefixtures("toys")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--layer", "top"], "toy-probed is read at mid"), (["--clip", "d"], "clip d has 3 frames")],
)
def test_wrong_usage_is_told(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refusal(capsys, ["paper", "probe", "--method", "toy-probed", *arguments])


def test_a_method_without_latents_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "method gt has no latents to probe" in refusal(capsys, ["paper", "probe", "--method", "gt"])
