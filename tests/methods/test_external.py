"""`external`: templates, and a program that misbehaves in every way that programs do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.contracts import Clip, Frames, Media, Runtime
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.media.writing import write_video
from syncdiff_methods.external.method import External, ExternalOptions
from syncdiff_methods.external.program import read_result
from syncdiff_methods.external.template import read_template

# What the program does to its video: `tool.py MODE ARGUMENTS...`.
TOOL = """
import os, signal, subprocess, sys, time, wave

if sys.argv[1] == "hangs":  # before anything that takes time
    beat = "import sys,time\\nwhile True: open(sys.argv[1], 'a').write('.'); time.sleep(0.05)"
    signal.signal(signal.SIGTERM, signal.SIG_IGN) if os.environ.get("STUBBORN") else None
    subprocess.Popen([sys.executable, "-c", beat, os.environ["BEAT"]])
    time.sleep(600)

import av, numpy as np
from PIL import Image

def write(path, values, side=(32, 16), fps=25):
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264rgb", rate=fps, options={"qp": "0"})
        stream.width, stream.height = side
        stream.pix_fmt = "rgb24"
        for value in values:
            picture = np.full((side[1], side[0], 3), value, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))

mode, output = sys.argv[1:3]
print("working on", os.getcwd())
if mode == "sum":  # everything that it was given ends up in the pixels
    audio, reference, video, seed = sys.argv[3:7]
    with wave.open(audio) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    first = np.asarray(Image.open(reference))
    with av.open(video) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert np.array_equal(first, frames[0])
    write(output, [int(frame[0, 0, 0]) + int(samples[0]) + int(seed) for frame in frames])
elif mode == "four":
    write(output, [1, 2, 3, 4])
elif mode == "short":
    write(output, range(19))
elif mode == "long":
    write(output, range(21))
elif mode == "large":
    write(output, [9, 9, 9, 9], side=(64, 32))
elif mode == "square":
    write(output, [9, 9, 9, 9], side=(64, 64))
elif mode == "fast":
    write(output, range(8), fps=50)
elif mode == "two":
    write(os.path.join(output, "a.mp4"), [1]); write(os.path.join(output, "b.mp4"), [2])
elif mode == "dated":
    os.makedirs(os.path.join(output, "parts")); write(os.path.join(output, "parts", "x.mp4"), [1])
    write(os.path.join(output, "2026_01_01.mp4"), [7, 7, 7, 7])
elif mode == "broken":
    open(output, "wb").write(b"not a video")
elif mode == "empty":
    open(output, "wb")
elif mode == "dies":
    sys.exit("KeyError: 'mouth'")
elif mode == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
elif mode == "nothing":
    print("no face, sorry")
"""


@pytest.fixture
def tool(tmp_path: Path) -> Callable[..., External]:
    """`tool(mode, to="{output}", arguments=(), runtime=None, **keys)`: the method that runs TOOL in that mode."""
    (tmp_path / "tool.py").write_text(TOOL)

    def make(
        mode: str, to: str = "{output}", *arguments: str, runtime: Runtime | None = None, lines: str = ""
    ) -> External:
        command = [sys.executable, str(tmp_path / "tool.py"), mode, to, *arguments]
        config = tmp_path / "My Tool.toml"
        config.write_text(f"command = {command!r}\n{lines}\n")
        return External(ExternalOptions(config), runtime)

    return make


def external(folder: Path, text: str) -> External:
    """The method of a template that says this."""
    (folder / "t.toml").write_text(text)
    return External(ExternalOptions(folder / "t.toml"))


def clip(clip_id: str = "s/1", n_frames: int = 4, audio: int = 20) -> Clip:
    """Frame t is all t; 16 x 32 pixels."""
    frames = np.repeat(np.arange(n_frames, dtype=np.uint8), 16 * 32 * 3).reshape(n_frames, 16, 32, 3)
    return Clip(clip_id, "test", preloaded=Media(frames, np.full(640 * n_frames if audio else 0, audio, np.int16)))


def made(method: External, given: Clip | None = None, seed: int = 0) -> Frames:
    ((_, frames),) = method.generate([given or clip()], seed=seed)
    if isinstance(frames, ClipError):
        raise frames
    return frames


def levels(frames: Frames) -> list[int]:
    """The grey level of each frame."""
    assert (frames == frames[:, :1, :1, :1]).all()
    return [int(frame[0, 0, 0]) for frame in frames]


# ---------------------------------------------------------------------------------------- a program that works


def test_the_program_gets_sound_picture_video_and_seed(tool: Callable[..., External]) -> None:
    method = tool("sum", "{output}", "{audio}", "{reference}", "{video}", "{seed}")
    told: list[int] = []
    ((clip_id, frames),) = method.generate([clip("s/1")], seed=5, progress=told.append)
    assert clip_id == "s/1"
    assert levels(frames) == [25, 26, 27, 28]  # frame + sample 20 + seed 5
    assert told == [4]
    assert method.caveats("s/1") == ()


def test_an_instance_is_named_after_its_file(tool: Callable[..., External]) -> None:
    assert (tool("short").name, tool("short").title) == ("external-my-tool", "My Tool")
    assert tool("short", lines='title = "Mine"').title == "Mine"
    assert External.name == "external"


@pytest.mark.parametrize(
    ("mode", "n_frames", "expected", "note"),
    [
        ("short", 20, list(range(19)), "output: 19 of 20 frames"),
        ("long", 20, list(range(20)), "output: 21 of 20 frames"),
        ("large", 4, [9, 9, 9, 9], "output: resized 64x32 -> 32x16"),
        ("fast", 4, [0, 2, 4, 6], "output: retimed 50 -> 25 fps: 8 -> 4 frames"),
    ],
)
def test_what_nearly_fits_is_taken_and_told(
    tool: Callable[..., External], mode: str, n_frames: int, expected: list[int], note: str
) -> None:
    method = tool(mode)
    assert levels(made(method, clip(n_frames=n_frames))) == expected
    assert tuple(one.text for one in method.caveats("s/1")) == (note,)


def test_any_name_is_found_in_the_output_folder(tool: Callable[..., External]) -> None:
    assert levels(made(tool("dated", "{output_folder}"))) == [7, 7, 7, 7]
    with pytest.raises(ClipError, match=r"2 videos came out \(2026_01_01.mp4, parts/x.mp4\), expected one \*\*/\*.mp4"):
        made(tool("dated", "{output_folder}", lines='result = "**/*.mp4"'))


# ------------------------------------------------------------------------------------- a program that does not


@pytest.mark.parametrize(
    ("mode", "to", "kind", "words"),
    [
        ("two", "{output_folder}", "two-outputs", r"2 videos came out \(a.mp4, b.mp4\)"),
        ("broken", "{output}", "undecodable", "what came out cannot be read .*output.mp4"),
        ("empty", "{output}", "empty", "what came out cannot be read"),
        ("short", "{output}", "length", r"does not fit \(output.mp4: 19 frames at 25 fps, the reference has 4 frames"),
        ("square", "{output}", "size", r"does not fit \(output.mp4: frames are 64x64, those of the reference 32x16"),
        ("nothing", "{output}", "no-output", r"ended well but wrote no output.mp4 \(no face, sorry\)"),
        ("nothing", "{output_folder}", "no-output", r"wrote no \*.mp4"),
        ("dies", "{output}", "exit-status", r"external-my-tool ended with status 1 \(KeyError: 'mouth'\)"),
        ("killed", "{output}", "exit-status", "was killed by SIGKILL"),
    ],
)
def test_failures_are_the_clips_own(tool: Callable[..., External], mode: str, to: str, kind: str, words: str) -> None:
    results = dict(tool(mode, to).generate([clip("s/1"), clip("s/2")], seed=0))
    assert set(results) == {"s/1", "s/2"}
    for clip_id, error in results.items():
        assert isinstance(error, ClipError) and error.kind == kind
        assert str(error).startswith(f"{clip_id}: ")
        with pytest.raises(ClipError, match=words):
            raise error


def test_a_clip_without_sound_fails_where_sound_is_asked_for(tool: Callable[..., External]) -> None:
    with pytest.raises(ClipError, match="no audio track") as caught:
        made(tool("four", "{output}", "{audio}"), clip(audio=0))
    assert caught.value.kind == "no-audio"
    assert levels(made(tool("four"), clip(audio=0))) == [1, 2, 3, 4]


def test_what_the_program_prints_stays_in_the_run(tool: Callable[..., External], tmp_path: Path) -> None:
    method = tool("dies", runtime=Runtime(folder=tmp_path / "run"))
    log = tmp_path / "run" / "logs" / "s" / "1.stderr.txt"
    with pytest.raises(ClipError, match=f"all of it in {log}"):
        made(method)
    assert log.read_text() == "KeyError: 'mouth'\n"
    assert "working on" in log.with_name("1.stdout.txt").read_text()
    made(tool("four", runtime=Runtime(folder=tmp_path / "run")))
    assert not log.exists()  # nothing was said


def stopped(beat: Path) -> bool:
    """Whether what writes to `beat` has gone."""
    before = beat.stat().st_size
    time.sleep(0.5)
    return beat.stat().st_size == before


@pytest.mark.skipif(os.name != "posix", reason="process groups")
@pytest.mark.parametrize("stubborn", [False, True])
def test_a_program_that_hangs_is_ended_with_its_children(
    tool: Callable[..., External], tmp_path: Path, stubborn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncdiff_methods.external.process.GRACE_SECONDS", 0.5)
    beat = tmp_path / "beat"
    settings = f'timeout = 1.5\nenvironment.BEAT = "{beat}"\nenvironment.STUBBORN = "{"yes" if stubborn else ""}"'
    with pytest.raises(ClipError, match=r"was stopped after 1.5 s") as caught:
        made(tool("hangs", lines=settings))
    assert caught.value.kind == "timeout"
    assert stopped(beat)


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_ctrl_c_ends_the_program_and_its_children(tool: Callable[..., External], tmp_path: Path) -> None:
    beat = tmp_path / "beat"
    method = tool("hangs", lines=f'environment.BEAT = "{beat}"')
    arguments = ["generate", "--method", "external", "--set", f"config={method.options.config}", "--limit", "1"]
    # Whatever started the tests in the background may have told its children to ignore Ctrl-C.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heed}; import sys; from syncdiff_bench.cli import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while not beat.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        try:
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert beat.exists(), stderr
    assert process.returncode == 130
    assert b"interrupted" in stderr and b"Traceback" not in stderr
    assert stopped(beat)


# --------------------------------------------------------------------------------------------------- preflight


def test_everything_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    text = 'command = ["no-such-program", "{output}"]\nfolder = "code"\nrequires = ["a.pth", "b/c.pth", "."]\n'
    method = external(tmp_path, text)
    words = f"program no-such-program on the PATH, file {tmp_path}/code/a.pth, file {tmp_path}/code/b/c.pth;"
    for ask in (method.weights_used, lambda: list(method.generate([clip()], seed=0))):
        with pytest.raises(UsageError) as caught:
            ask()
        assert words in str(caught.value)


def test_the_program_may_lie_beside_the_file_or_in_the_folder(tmp_path: Path) -> None:
    program = tmp_path / "code" / "bin" / "go"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!{sys.executable}\nimport os; print(os.getcwd()); raise SystemExit("here")\n')
    program.chmod(0o755)
    for folder, command in (('folder = "code"', "bin/go"), ("", "code/bin/go"), ("", "./code/bin/go")):
        with pytest.raises(ClipError, match=r"ended with status 1 \(here\)"):
            made(external(tmp_path, f'command = ["{command}", "{{output}}"]\n{folder}\n'))


def test_a_program_that_cannot_start_ends_the_run(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    with pytest.raises(UsageError, match="does not start"):
        made(external(tmp_path, 'command = ["./program", "{output}"]\n'))


def test_all_files_that_the_template_names_are_the_runs_identity(tmp_path: Path) -> None:
    import hashlib

    code = tmp_path / "code"
    code.mkdir()
    config = tmp_path / "t.toml"
    files = [config, code / "go", code / "tool.py", tmp_path / "net.onnx", code / "w.pth"]
    for file in files:
        file.write_text("one")
    (code / "go").chmod(0o755)
    command = ["./go", "tool.py", "--net", str(tmp_path / "net.onnx"), "--out", "{output}", "no-file", "."]
    config.write_text(f'command = {command!r}\nfolder = "code"\nrequires = ["w.pth", "tool.py", "."]\n')
    first = External(ExternalOptions(config)).weights_used()
    assert [(used.name, used.sha256) for used in first] == [
        (path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files
    ]
    for number, file in enumerate(files[1:], start=1):
        file.write_text("two")
        changed = External(ExternalOptions(config)).weights_used()
        assert [a == b for a, b in zip(first, changed, strict=True)] == [at != number for at in range(5)]
        file.write_text("one")
    # In the empty folder of a clip a bare word is no file, whatever lies here.
    config.write_text('command = ["sh", "t.toml", "{output}"]\n')
    assert [used.name for used in External(ExternalOptions(config)).weights_used()][0:1] == ["t.toml"]
    assert len(External(ExternalOptions(config)).weights_used()) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("command = [", "not a TOML file"),
        ("", "needs the option 'command'"),
        ("command = 'tool {output}'", "option command of .*t.toml: 'tool {output}' is not a list"),
        ("command = []", "command is empty"),
        ("comand = ['x', '{output}']", "unknown option 'comand' of .*t.toml; did you mean 'command'"),
        ("command = ['x', '{outptu}']", "unknown placeholder {outptu}; did you mean 'output'"),
        ("command = ['x', '{audio}']", "never names {output} or {output_folder}"),
        ("command = ['x', '{output}']\ntimeout = 0", "timeout is 0"),
        ("command = ['x', '{output}']\ntimeout = 'long'", "option timeout of .* is not a finite number"),
        ("command = ['x', '{output}']\nresult = '../*.mp4'", "is no pattern below"),
        ("command = ['x', '{output}']\nresult = '/tmp/*.mp4'", "is no pattern below"),
        ("command = ['x', '{output}']\nvideo_encoding = 'best'", "unknown video_encoding 'best'; choose one of"),
        ("command = ['x', '{output}']\n[environment]\nGPU = 1", "environment must be a table of texts"),
    ],
)
def test_templates_that_cannot_be(tmp_path: Path, text: str, words: str) -> None:
    config = tmp_path / "t.toml"
    config.write_text(text)
    with pytest.raises(UsageError, match=words) as caught:
        read_template(config)
    assert "t.toml" in str(caught.value)


def test_a_template_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no.toml: cannot be read \(No such file"):
        External(ExternalOptions(tmp_path / "no.toml"))


def test_no_shell_sees_the_command(tmp_path: Path) -> None:
    text = (
        f"command = [{sys.executable!r}, '-c', 'import sys; sys.exit(repr(sys.argv[1:]))', "
        "'$HOME; `id` > x', 'a b', '{output}', '{\"json\": 1} {}']\n"
    )
    with pytest.raises(ClipError) as caught:
        made(external(tmp_path, text))
    assert "['$HOME; `id` > x', 'a b', '" in str(caught.value)
    assert "'{\"json\": 1} {}']" in str(caught.value)


def test_a_result_belongs_to_the_frames_that_were_shown_not_to_those_of_the_file(tmp_path: Path) -> None:
    """A clip of 24 pictures per second was shown as 60 frames; of these a program left out the last two."""
    frames = np.repeat(np.arange(60, dtype=np.uint8) * 4, 32 * 16 * 3).reshape(60, 16, 32, 3)
    of_file = np.minimum(np.arange(60) * 24 // 25, 57)
    media = Media(frames, np.zeros(0, np.int16), source_frames=of_file, source_count=58, source_rate=Fraction(24))
    write_video(tmp_path / "output.mp4", Media(frames[:58], np.zeros(0, np.int16)))
    made, (told,) = read_result(tmp_path / "output.mp4", Clip("c", "test", preloaded=media))
    assert np.array_equal(made, frames[:58])
    assert (told.kind, told.detail) == ("length", "output: 58 of 60 frames")
