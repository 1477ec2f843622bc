"""The commands that are killed and started twice, each as small as it can be, and what they read."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

import syncdiff_datasets

DATA = Path(__file__).parents[1] / "data"
POCKET = Path(syncdiff_datasets.__file__).parent / "pocket" / "data" / "mvlrs_v1"
CLIPS = ("3000000000000000000/00001", "3000000000000000001/00001")
# Of 2 MB, so that a kill meets it in any state: partial, whole without its name, there.
DOWNLOAD = np.random.default_rng(0).bytes(2_000_000)

TINY_POCKET = """
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_datasets.pocket.world import draw_split

class TinyPocket(Pocket):
    name = "tiny"

    def prepare(self, split, workers):
        return draw_split(split, self.drawn, workers=workers, speakers=1)
"""
ENTRY_POINTS = (
    "[syncdiff_bench.datasets]\ntiny = tiny_plugin:TinyPocket\n[syncdiff_bench.weights]\ntiny = tiny_plugin\n"
)
WEIGHTS = """
[[weights]]
name = "tiny-net"
file = "tiny.bin"
size = {size}
sha256 = "{sha256}"
licence = "none"
description = "random bytes"
homepage = "{url}"
[[weights.sources]]
url = "{url}/tiny.bin"
"""

# What is trained and read, cut down to where loading torch is most of it.
SPLITS = "--set data.split=test --set data.validation_split=test"
TRAIN = (
    f"train syncdiff-autoencoder/pocket-autoencoder --data-root INPUTS/pocket --device cpu {SPLITS} --out training/vq"
    " --set training.steps=20 --set training.log_every=5 --set training.checkpoint_every=4 --set training.batch_size=2"
    " --set training.validate_every=10 --set options.frame_size=32 --set options.every=8 --set options.start=random"
    " --set options.quantise_from=10 --set options.autoencoder.channels=[8,8,8] --set options.autoencoder.codes=16"
    " --set options.autoencoder.norm_groups=1"
)
LATENTS = (
    f"data prepare latents syncdiff/pocket --data-root INPUTS/pocket --device cpu {SPLITS} --cache cache"
    " --set options.autoencoder=MODEL --set options.model.frame_size=32"
)
COMMANDS: Mapping[str, str] = {
    "run": "run --method static --limit 4 --metrics psnr --device cpu",
    "score": "score --videos INPUTS/mine --reference INPUTS/pocket/mvlrs_v1/main --boxes centred --metrics psnr,ssim",
    "train": TRAIN,
    "data prepare splits": "data prepare splits --dataset tiny --split val --workers 2",
    "data prepare faces": "data prepare faces --dataset lrs2 --data-root INPUTS/lrs2 --detector dlib-hog",
    "data prepare latents": LATENTS,
    "weights fetch": "weights fetch tiny-net",
    "paper reproduce": "paper reproduce --table 9 --dataset toy --device cpu --train --seed 0 --input shift=5",
}
HEAVY = frozenset({"train", "data prepare latents", "paper reproduce"})  # they load torch


@dataclass(frozen=True)
class Inputs:
    """folder: what commands read and never write. model: a trained autoencoder, for `latents`."""

    folder: Path
    model: Path

    def arguments(self, command: str) -> list[str]:
        text = COMMANDS[command].replace("INPUTS", str(self.folder)).replace("MODEL", str(self.model))
        return text.split()

    def environment(self, work: Path, **more: str) -> dict[str, str]:
        """Nothing of this machine's settings; caches and weights in `work/home`, so that they are compared too."""
        temporary = work.with_name(f"{work.name}.tmp")
        temporary.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(work / "home"),
            "SYNCDIFF_BENCH_HOME": str(work / "home"),
            "TMPDIR": str(temporary),
            "PYTHONPATH": os.pathsep.join([str(self.folder / "plugins"), str(DATA / "toy_plugins")]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "120",
            **more,
        }


def write_inputs(folder: Path, url: str) -> None:
    """Two clips of pocket with and without boxes, worse copies of them, and the plugins. url: of the server."""
    for clip in CLIPS:
        for path in POCKET.rglob(f"{clip}.*"):
            _copy(path, folder / "pocket" / "mvlrs_v1" / path.relative_to(POCKET))
        _copy(POCKET / "main" / f"{clip}.mp4", folder / "lrs2" / "main" / f"{clip}.mp4")
        _copy(POCKET / "main" / f"{clip}.txt", folder / "lrs2" / "main" / f"{clip}.txt")
    for clip, other in zip(CLIPS, reversed(CLIPS), strict=True):
        _copy(POCKET / "main" / f"{other}.mp4", folder / "mine" / f"{clip}.mp4")
    for split in (folder / "pocket" / "mvlrs_v1" / "test.txt", folder / "lrs2" / "test.txt"):
        split.write_text("\n".join(CLIPS) + "\n")
    plugins = folder / "plugins"
    shutil.copytree(DATA / "toy_boards", plugins, ignore=shutil.ignore_patterns("__pycache__"))
    (plugins / "toy_boards" / "__init__.py").touch()
    table = plugins / "toy_boards" / "paper" / "table9.toml"
    head, *rows = table.read_text().split("[[rows]]")
    table.write_text("[[rows]]".join([head, rows[0], rows[3]]))  # one that is trained, one that is not
    package = plugins / "tiny_plugin"
    package.mkdir()
    (package / "__init__.py").write_text(TINY_POCKET)
    sha256 = hashlib.sha256(DOWNLOAD).hexdigest()
    (package / "weights.toml").write_text(WEIGHTS.format(size=len(DOWNLOAD), sha256=sha256, url=url))
    information = plugins / "tiny_plugin-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-plugin\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


class Slow(BaseHTTPRequestHandler):
    """Serves DOWNLOAD in pieces, a moment apart, and the rest of it to those who have a part."""

    def do_GET(self) -> None:
        wanted, tag = self.headers["Range"], '"one"'
        start = int(wanted[6:-1]) if wanted and self.headers["If-Range"] == tag else 0
        if start >= len(DOWNLOAD):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(DOWNLOAD) - 1}/{len(DOWNLOAD)}")
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(DOWNLOAD) - start))
        self.end_headers()
        try:
            for at in range(start, len(DOWNLOAD), 100_000):
                self.wfile.write(DOWNLOAD[at : at + 100_000])
                time.sleep(0.01)
        except ConnectionError:
            return  # who asked was killed

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def serving() -> Iterator[str]:
    """The address of a server on this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
