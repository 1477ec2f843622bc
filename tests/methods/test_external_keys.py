"""What a text file of `external` can say of programs that write where they run, are told by a file, or miss the end."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.contracts import Clip, Frames, Media, Runtime
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_methods.external.method import External, ExternalOptions
from syncdiff_methods.external.template import read_template

# `tool.py FOLDER WORDS...`: tells in FOLDER/said what it was given and what lay where it ran; writes made.mp4 with as
# many frames as its sound has, less MINUS, of twice the width, the left half black.
TOOL = """
import json, os, sys, wave
import av, numpy as np
with wave.open("audio.wav") as file:
    samples = file.getnframes()
shown = 0
if os.path.exists("video.mp4"):
    with av.open("video.mp4") as container:
        shown = sum(1 for _ in container.decode(video=0))
text = open("clip.yaml").read() if os.path.exists("clip.yaml") else ""
with open(os.path.join(sys.argv[1], "said"), "a") as file:
    here = sorted(os.listdir())
    file.write(json.dumps([sys.argv[2:], samples, shown, text, here, os.environ.get("PYTHONPATH")]) + "\\n")
if "stop" in sys.argv:
    sys.exit("stopped")
os.makedirs("results", exist_ok=True)
with av.open("results/made.mp4", "w") as container:
    stream = container.add_stream("libx264rgb", rate=25, options={"qp": "0"})
    stream.width, stream.height, stream.pix_fmt = 64, 32, "rgb24"
    for t in range(samples // 640 - int(os.environ.get("MINUS", "0"))):
        picture = np.zeros((32, 64, 3), np.uint8)
        picture[:, 32:] = t + 1
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
    container.mux(stream.encode(None))
"""
HEAD = (
    'command = ["{python}", "{checkout}/tool.py", "{checkout}", "--audio", "{audio}"]\n'
    'result = "results/made.mp4"\npicture = "right half"\n'
)
N_FRAMES = 21  # of which the rules allow one more or less

Tool = Callable[..., External]


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """`tool(lines, head=HEAD)`: the method of a file that says so, its checkout `tmp_path/code {video}`."""
    checkout = tmp_path / "code {video}"
    checkout.mkdir()
    (checkout / "tool.py").write_text(TOOL)
    (checkout / "weights").mkdir()
    (checkout / "weights" / "net.pth").write_text("x")

    def make(lines: str = "", head: str = HEAD) -> External:
        (tmp_path / "t.toml").write_text(head + lines)
        return External(ExternalOptions(tmp_path / "t.toml", checkout, Path(sys.executable)), Runtime("cpu"))

    return make


def clip() -> Clip:
    frames = np.zeros((N_FRAMES, 32, 32, 3), np.uint8)
    return Clip("s/1", "test", preloaded=Media(frames, np.full(640 * N_FRAMES, 5, np.int16)))


def made(method: External) -> Frames:
    ((_, frames),) = method.generate([clip()], seed=0)
    if isinstance(frames, ClipError):
        raise frames
    return frames


def said(tmp_path: Path) -> list[list[object]]:
    import json

    return [json.loads(line) for line in (tmp_path / "code {video}" / "said").read_text().splitlines()]


def test_a_program_that_writes_where_it_runs(tool: Tool, tmp_path: Path) -> None:
    method = tool('requires = ["weights/net.pth"]\n[links]\nmodels = "weights"\n')
    frames = made(method)
    assert frames.shape == (N_FRAMES, 32, 32, 3)  # the right half
    assert [int(frame[0, 0, 0]) for frame in frames] == list(range(1, N_FRAMES + 1))
    ((words, samples, _, _, here, _),) = said(tmp_path)
    assert words[0] == "--audio" and words[1].endswith("audio.wav")  # type: ignore[index]
    assert (samples, here) == (640 * N_FRAMES, ["audio.wav", "logs", "models"])
    assert not (tmp_path / "code {video}" / "results").exists()
    assert (tmp_path / "code {video}" / "weights" / "net.pth").read_text() == "x"  # the link went, not what it shows
    assert [one.sentence for one in method.general_caveats()] == ["the right half of the program's pictures is taken"]


def test_a_program_that_is_told_by_a_file(tool: Tool, tmp_path: Path) -> None:
    made(tool('[files]\n"clip.yaml" = "see {video} {steps} {} {nobody"\n[settings]\nsteps = 3\n'))
    (text,) = {str(row[3]) for row in said(tmp_path)}
    assert text.startswith("see /") and text.endswith("video.mp4 3 {} {nobody")


def test_settings_stand_for_words(tool: Tool, tmp_path: Path) -> None:
    head = HEAD.replace('"--audio"', '"{face}", "--at={face}", "--n", "{n}", "--audio"')
    made(tool('[settings]\nn = 2.5\n[settings.face]\nwhole = ["--video", "{video}"]\ncrop = []\n', head))
    ((words, *_),) = said(tmp_path)
    flag, video, *rest = words  # type: ignore[misc]
    assert (flag, rest[:3]) == ("--video", ["--at=whole", "--n", "2.5"])
    assert video.endswith("/video.mp4")


def test_programs_that_leave_out_the_end_get_more(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINUS", "4")
    with pytest.raises(ClipError, match="17 frames at 25 fps, the reference has 21"):
        made(tool())
    method = tool('audio_padding = 0.16\nvideo_padding = 4\n[files]\nx = "{video}"\n')
    assert len(made(method)) == N_FRAMES
    assert said(tmp_path)[-1][1:3] == [640 * (N_FRAMES + 4), N_FRAMES + 4]
    assert [one.sentence.partition(", ")[0] for one in method.general_caveats()] == [
        "the program gets 0.16 s of silence after the sound",
        "the program gets the last frame 4 times more",
        "the right half of the program's pictures is taken",
    ]


def test_frames_that_are_known_to_be_over_are_cut(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINUS", "-3")
    with pytest.raises(ClipError, match="24 frames at 25 fps"):
        made(tool("spare_frames = 2\n"))
    method = tool("spare_frames = 3\n")
    assert len(made(method)) == N_FRAMES
    assert [one.detail for one in method.caveats("s/1")] == ["output: 24 of 21 frames"]
    monkeypatch.setenv("MINUS", "3")  # fewer are no less of a fault
    with pytest.raises(ClipError, match="18 frames at 25 fps"):
        made(method)


def test_stretched_pictures_are_brought_back(tool: Tool) -> None:
    whole = HEAD.replace('picture = "right half"', "")
    with pytest.raises(ClipError, match="frames are 64x32, those of the reference 32x32, another shape"):
        made(tool(head=whole))
    method = tool("stretched = true\n", whole)
    frames = made(method)
    assert frames.shape == (N_FRAMES, 32, 32, 3)
    assert (frames[5, :, 0].max(), frames[5, :, -1].min()) == (0, 6)
    assert [one.detail for one in method.caveats("s/1")] == ["output: resized 64x32 -> 32x32"]


def test_commands_run_in_order_and_stop_with_the_first_that_fails(tool: Tool, tmp_path: Path) -> None:
    first = '["{python}", "{checkout}/tool.py", "{checkout}", "first"]'
    made(tool(f"before = [{first}]\n"))
    assert [row[0][0] for row in said(tmp_path)] == ["first", "--audio"]  # type: ignore[index]
    with pytest.raises(ClipError, match=r"ended with status 1 \(stopped"):
        made(tool(f"before = [{first.replace('first', 'stop')}]\n"))
    assert len(said(tmp_path)) == 3


def test_the_time_is_that_of_all_commands(tool: Tool) -> None:
    wait = '["{python}", "-c", "import time; time.sleep(1.2)"]'
    head = f'command = {wait}\nresult = "x.mp4"\n'
    with pytest.raises(ClipError, match="was stopped after 2 s"):
        made(tool(f"timeout = 2\nbefore = [{wait}]\n", head))


def test_its_python_gets_nothing_of_ours(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/ours")
    made(tool())
    made(tool('[environment]\nPYTHONPATH = "/mine"\n'))
    assert [row[5] for row in said(tmp_path)] == [None, "/mine"]


def test_the_checkout_is_the_users_to_name(tool: Tool, tmp_path: Path) -> None:
    tool('requires = ["weights/other.pth"]\n')
    method = External(ExternalOptions(tmp_path / "t.toml"))
    with pytest.raises(UsageError, match=r"missing: checkout \(--set checkout=PATH\), python \(--set python=PATH\)"):
        method.weights_used()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("result = 'x.mp4'\nfolder = 'x'", "never names {output} or {output_folder}"),
        ("audio_padding = -1", "audio_padding is -1; give seconds, 0 to 10"),
        ("video_padding = 1000", "video_padding is 1000; give frames, 0 to 100"),
        ("spare_frames = 1.5", "option spare_frames of .* is not a whole number"),
        ("picture = 'top'", "'top' is not one of whole, left half, right half"),
        ("before = [[]]", "command is empty"),
        ("before = ['x']", "is not a list of values"),
        ("[links]\n'/etc/x' = 'y'", "'/etc/x' of links and files is no name below the clip's folder"),
        ("[files]\n'../x' = 'y'", "'../x' of links and files is no name below"),
        ("[files]\n'video.mp4' = 'y'", "'video.mp4' of links and files is a name that the clip's folder has already"),
        ("[links]\nx = 1", "links must be a table of texts"),
        ("folder = 'x'\n[links]\nx = 'y'", "links and files are made in the clip's own folder; leave folder out"),
        ("[settings]\nvideo = 1", "a setting cannot be called 'video'"),
        ("[settings]\nfast = true", "setting fast must be a text, a number or a table of choices"),
        ("[settings]\nfast = { a = 1 }", "setting fast must be a text, a number or a table of choices"),
        ("settings = 3", "settings must be a table"),
        ("[files]\nx = '{stesp}'\n[settings]\nsteps = 1", "unknown placeholder {stesp}; did you mean 'steps'"),
        ("[about]\nauthor = 'me'", "unknown option 'author'"),
    ],
)
def test_keys_that_cannot_be(tmp_path: Path, text: str, words: str) -> None:
    output = "" if text.startswith("result") else ", '{output}'"
    (tmp_path / "t.toml").write_text(f"command = ['x'{output}]\n{text}")
    with pytest.raises(UsageError, match=words) as caught:
        read_template(tmp_path / "t.toml")
    assert "t.toml" in str(caught.value) and "\n" not in str(caught.value)
