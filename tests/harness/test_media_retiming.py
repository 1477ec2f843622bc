"""Frame choice: ffmpeg's constant-rate rule on cases worked out by hand, nearest frames by brute force."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.filter import Graph

from syncdiff_bench.media.reading import read_media
from syncdiff_bench.media.timing import constant_rate_indices, label_rate, nearest_indices, rate_label


def test_a_clip_of_constant_rate_passes_untouched() -> None:
    assert constant_rate_indices([(t, 1) for t in range(75)]) == list(range(75))


def test_jitter_below_a_frame_neither_drops_nor_repeats() -> None:
    jitter = np.random.default_rng(0).uniform(-0.05, 0.05, 100)
    timed = [(max(0.0, t + jitter[t]), 1.0) for t in range(100)]
    assert constant_rate_indices(timed) == list(range(100))


@pytest.mark.parametrize(
    ("timed", "shown"),
    [
        ([(0, 1), (1, 2), (3, 1)], [0, 1, 1, 2]),  # a long frame is held
        ([(0, 1), (1, 1), (3, 1)], [0, 1, 2, 2]),  # an unannounced gap of one is filled with the next frame
        ([(0, 1), (1, 1), (5, 1)], [0, 1, 1, 1, 2, 2]),  # a longer one with the frame before it, too
        ([(6, 1), (7, 1)], [0] * 7 + [1]),  # a late start repeats the first frame
        (
            [(0, 1), (0.2, 0.2), (0.4, 0.2), (0.6, 0.2), (0.8, 0.2), (1, 1)],
            [0, 1, 4, 5],
        ),  # crowded ones are dropped
    ],
)
def test_cases_worked_out_by_hand_from_ffmpegs_rule(timed: list[tuple[float, float]], shown: list[int]) -> None:
    assert constant_rate_indices(timed) == shown


def test_half_rate_frames_that_say_a_short_duration_are_each_shown_twice() -> None:
    # Two output frames apart, one long: ffmpeg fills each gap, and the last three gaps decide about the end.
    shown = constant_rate_indices([(2 * t, 1) for t in range(10)])
    assert len(shown) == 19
    assert shown == sorted(shown)
    assert set(shown) == set(range(10))


def fps_filter(ticks: list[int], time_base: Fraction) -> list[int]:
    """What ffmpeg's own filter shows at 25 fps of frames at these ticks: their numbers."""
    graph = Graph()
    source = graph.add_buffer(width=16, height=16, format=av.VideoFormat("gray"), time_base=time_base)
    rate = graph.add("fps", "25")
    sink = graph.add("buffersink")
    source.link_to(rate)
    rate.link_to(sink)
    graph.configure()
    shown: list[int] = []
    for index, tick in enumerate([*ticks, None]):
        frame = None
        if tick is not None:
            frame = av.VideoFrame.from_ndarray(np.full((16, 16), index, np.uint8), format="gray")
            frame.pts, frame.time_base = tick, time_base
        graph.push(frame)
        with suppress(BlockingIOError, EOFError):
            while True:
                shown.append(int(graph.pull().to_ndarray()[0, 0]))
    return shown


@pytest.mark.parametrize("rate", [Fraction(30), Fraction(24000, 1001), Fraction(50), Fraction(15), Fraction(60)])
@pytest.mark.parametrize("n", [1, 7, 90])
def test_frames_of_another_rate_are_those_of_ffmpegs_filter(n: int, rate: Fraction) -> None:
    starts = np.array([float(t / rate) for t in range(n)])
    ours = nearest_indices(starts, float(n / rate), Fraction(25)).tolist()
    theirs = fps_filter(list(range(n)), 1 / rate)
    common = min(len(ours), len(theirs))  # at the end the filter does not know how long the last frame lasts
    assert ours[:common] == theirs[:common]
    assert len(ours) == max(1, int(n * 25 / rate + Fraction(1, 2)))


@pytest.mark.parametrize("seed", range(5))
def test_frames_at_any_times_are_those_of_ffmpegs_filter(seed: int) -> None:
    """As screen recorders and browsers write them: a picture when something moved, on a clock of milliseconds."""
    ticks = np.cumsum([0, *np.random.default_rng(seed).integers(5, 130, 99)])
    ours = nearest_indices(ticks / 1000, float(ticks[-1] / 1000), Fraction(25)).tolist()
    theirs = fps_filter(ticks.tolist(), Fraction(1, 1000))
    assert ours == theirs[: len(ours)]
    assert len(ours) in (len(theirs), len(theirs) - 1)


def test_the_label_is_the_rate_unless_it_is_a_clock() -> None:
    assert label_rate(Fraction(1000), Fraction(15)) == 15
    assert label_rate(Fraction(25), Fraction(15)) == 25
    assert label_rate(Fraction(60), Fraction(15)) == 60
    assert label_rate(None, None) == 25


def test_an_avi_that_starts_late_starts_with_its_first_picture_held(tmp_path: Path) -> None:
    """FFmpeg writes the empty chunks of the delay after the first picture, not before it."""
    path = tmp_path / "clip.avi"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((32, 48, 3), 24 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number + 3, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    media = read_media(path)
    assert [round(float(frame.mean()) / 24) for frame in media.frames] == [0, 0, 0, *range(10)]
    assert [one.kind for one in media.caveats] == ["starts-late"]


def test_rates_read_as_people_write_them() -> None:
    assert [rate_label(Fraction(25)), rate_label(Fraction(24000, 1001)), rate_label(29.97)] == [
        "25",
        "23.976",
        "29.97",
    ]
