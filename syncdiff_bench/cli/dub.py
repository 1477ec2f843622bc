"""`syncdiff-bench dub`: a face and a sound to a video of that face saying it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from syncdiff_bench.cli.commands import ANY_PATH, FILE, FLAG, NAME, Takes, command, option, say, with_options
from syncdiff_bench.cli.options import DEVICE, PROGRESS, SEED, SETTINGS


@command(
    keeps=True,
    examples="""
  syncdiff-bench dub anna.jpg speech.mp3
      Wav2Lip, once you have its weights (`weights add wav2lip`)
  syncdiff-bench dub talk.mp4 speech.wav --method syncdiff --set model=DIR
      your SyncDiff, on a video of any size and rate
  syncdiff-bench dub talk.mov other.m4a --method wav2lip --method talklip
      side by side; --compare adds the video itself
  syncdiff-bench dub p.png a.wav --set checkpoint=pocket --box 17,8,142,148
      a drawn face, which dlib sees badly, with the weights that ship
  syncdiff-bench dub talk.mp4 a.wav --dry-run
      where the face is, and how long it takes""",
    closing="Outside the face the pictures stay as they are. H.264, AAC, the sound as it was recorded.",
)
@click.argument("face", type=ANY_PATH)
@click.argument("audio", type=ANY_PATH)
@with_options(
    option("--method", NAME, "Method", name="methods", many=True, default=("wav2lip",)),
    SETTINGS,
    option("--out", FILE, "The video, an mp4.", short="-o", shown="FACE-AUDIO.mp4"),
    option("--compare", FLAG, "Show FACE itself beside what the methods make of it."),
    option(
        "--loop",
        click.Choice(["pingpong", "hold", "cut"]),
        "What a video does that is shorter than the sound: goes forth and back, holds its last picture, or ends.",
        default="pingpong",
    ),
    option(
        "--area",
        click.Choice(["mouth", "face", "crop"]),
        "What is pasted back: the lower half of the face, all of it, or the square around it (for methods that move"
        " the head).",
        default="mouth",
    ),
    option(
        "--boxes",
        Takes("NAME|DIR"),
        "Face boxes: auto (a detector looks; of several faces the largest), s3fd, dlib-hog, centred (a guess), or a"
        " folder of FACE.npy, a row per picture.",
        default="auto",
    ),
    option("--box", Takes("X1,Y1,X2,Y2"), "The box of a face that stays where it is, in pixels; nobody looks for it."),
    SEED,
    DEVICE,
    PROGRESS,
    option("--dry-run", FLAG, "Print what is found and what it would take; make nothing."),
)
def dub(
    *,
    face: Path,
    audio: Path,
    methods: tuple[str, ...],
    settings: tuple[str, ...],
    dry_run: bool,
    progress: str,
    box: str | None,
    **given: Any,
) -> None:
    """Make a face say what is heard.

    FACE is a photo or a video of any size, rate and orientation; AUDIO anything with sound, a video too.
    """
    from syncdiff_bench.dubbing.dub import Request, described, make, make_ready
    from syncdiff_bench.dubbing.following import as_box, clock
    from syncdiff_bench.progress import stderr_progress
    from syncdiff_bench.texts import method_options

    if box is not None:
        given["boxes"] = as_box(box)
    options = method_options(methods, settings)
    ready = make_ready(Request(face, audio, tuple(dict.fromkeys(methods)), options, **given))
    if dry_run:
        for line in described(ready):
            say(line)
        return
    written = make(ready, stderr_progress(progress))
    say(f"wrote {written.path}: {written.width}x{written.height}, {clock(written.seconds)}")
