"""Stands in for a script of a public repository: its arguments, the files it opens, what it writes, where and how long.

`tests/data/adapters/NAME.toml` says all of that as data; a script of the stand-in checkout is its `SPEC` and this text.
"""

import argparse
import json
import math
import os
import re
import sys
import time
import wave
from pathlib import Path

SPEC: dict = globals().get("SPEC", {})  # set by the line above this text in a stand-in checkout


def windows(n, offset=0, last=False, fps=25):
    """Frames for which a mel spectrogram (a step per 200 samples, 80 per second) holds 16 steps; Wav2Lip's loop."""
    steps, frame = n // 200 + 1, 0
    while int(80 * max(frame - offset, 0) / fps) + 16 <= steps:
        frame += 1
    return frame + last


def whisper_chunks(n, fps=25):
    """Encoder features come at 50 Hz; a frame is added as long as the one before it started within them."""
    features, frame = (n // 160) // 2, 0
    while int(frame * 50 / fps) <= features:
        frame += 1
    return frame + 1


# (samples of the sound at 16 kHz, frames of the video, its rate) -> frames that come out
FRAMES = {
    "latentsync": lambda n, v, fps: whisper_chunks(n),
    "musetalk": lambda n, v, fps: math.floor((n / 16000) * int(fps)),
    "keysync": lambda n, v, fps: 14 + 13 * ((min(v, math.ceil(n / 640)) - 14) // 13),
    "float": lambda n, v, fps: math.ceil(n * 25.0 / 16000),
    # frames are numbered from 1 and look two back
    "diff2lip": lambda n, v, fps: min(v, windows(n, offset=1)),
    "videoretalking": lambda n, v, fps: windows(n, last=True),
    "iplap": lambda n, v, fps: windows(n),
    "edtalk": lambda n, v, fps: int(n / (16000 / 25)),
    "hallo2": lambda n, v, fps: math.ceil(n / 16000 * 25),
    "echomimic": lambda n, v, fps: whisper_chunks(n, fps),
    "sadtalker": lambda n, v, fps: int(n / 640),
    "sonic": lambda n, v, fps: 2 * (n // 640 // 2) - 1,
}


def boolean(text):
    if text.lower() not in ("yes", "true", "t", "y", "1", "no", "false", "f", "n", "0"):
        raise argparse.ArgumentTypeError("boolean value expected")
    return text.lower() in ("yes", "true", "t", "y", "1")


TYPES = {"str": str, "int": int, "float": float, "bool": boolean}


def parser_of(lines):
    """An argument per line: its names, its type (`flag`: none), then `required`, `nargs=+`, `choices=a|b`."""
    parser = argparse.ArgumentParser()
    for line in lines:
        names = [word for word in line.split() if word.startswith("-")] or line.split()[:1]
        kind, *more = line.split()[len(names) :]
        if kind == "flag":
            parser.add_argument(*names, action="store_true")
            continue
        keywords = {"type": TYPES[kind]}
        for word in more:
            key, _, value = word.partition("=")
            keywords[key] = {"required": True, "choices": value.split("|")}.get(key, value)
        parser.add_argument(*names, **keywords)
    return parser


def parsed(arguments):
    if "fire" not in SPEC:
        return vars(parser_of(SPEC["arguments"]).parse_args(arguments))
    given = dict(re.fullmatch(r"--(\w+)=(.*)", word).groups() for word in arguments)
    unknown = set(given) - set(SPEC["fire"])
    if unknown:
        sys.exit(f"ERROR: Could not consume arg: --{sorted(unknown)[0]}")
    return given


def told(key, arguments):
    """A value of the spec that is text with `{argument}` in it, or of a YAML file as `re:FILE:PATTERN`."""
    text = SPEC[key].format_map(arguments | {"date": time.strftime("%Y%m%d"), "time": time.strftime("%H%M")})
    if not text.startswith("re:"):
        return text
    _, file, pattern = text.split(":", 2)
    return re.search(pattern, Path(file).read_text())[1]


def main():
    import av
    import numpy as np

    arguments = parsed(sys.argv[1:])
    opened = [name.format_map(arguments) for name in SPEC.get("opens", [])]
    opened = [name for name in opened if name != "None"]  # an argument that was not given
    opened += [f"{SPEC['root']}/{name}" for name in SPEC["code"]]
    for name in opened:
        if not Path(name).is_file():
            sys.exit(f"FileNotFoundError: {name}")
    for name in SPEC.get("alone", []):
        if os.path.lexists(name):
            sys.exit(f"{name} is there already: of another clip, or of the checkout")
    said = {"opened": [os.path.realpath(name) for name in opened], "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}
    with Path(os.environ["SAID"]).open("a") as file:
        file.write(json.dumps(arguments | said) + "\n")
    for name in SPEC.get("makes", []):
        path = Path(name.format_map(arguments))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    if "output" not in SPEC:
        return
    with wave.open(told("audio", arguments)) as file:
        samples = file.getnframes()
    with av.open(told("picture", arguments)) as container:
        stream = container.streams.video[0]
        rate = float(stream.average_rate or 25)
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    height, width = pictures[0].shape[:2]
    if "side" in SPEC:
        height = width = SPEC["side"]
    fps = float(told("fps", arguments)) if "fps" in SPEC else rate
    count = FRAMES[SPEC["frames"]](samples, len(pictures), fps)
    shown = np.repeat(np.arange(count, dtype=np.uint8), height * width * 3).reshape(count, height, width, 3)
    if SPEC.get("beside"):
        shown = np.concatenate([255 - shown, shown], axis=2)
    output = Path(told("output", arguments))
    if SPEC.get("makes_folder", True):
        output.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(output), "w") as container:
        stream = container.add_stream("libx264rgb", rate=round(fps), options={"qp": "0"})
        stream.height, stream.width = shown.shape[1:3]
        stream.pix_fmt = "rgb24"
        for picture in shown:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    for name in SPEC.get("beside_it", []):
        output.with_name(output.stem + name).write_bytes(output.read_bytes())


if __name__ == "__main__":
    main()
