"""Draw splits of pocket to disk, in the LRS2 layout.

    ROOT/mvlrs_v1/main/<speaker>/<clip>.mp4 .txt      as LRS2 (160x160, 25 fps, 16 kHz mono; `Text:` and `Conf:` lines)
    ROOT/mvlrs_v1/<split>.txt                         the split lists
    ROOT/mvlrs_v1/boxes/<speaker>/<clip>.npy          face boxes (T, 4) int16
    ROOT/mvlrs_v1/phones/<speaker>/<clip>.txt         START END PHONE rows, seconds, eSpeak notation
    ROOT/mvlrs_v1/landmarks/<speaker>/<clip>.npy      68 landmarks of the face, x and y in pixels: (T, 68, 2) float16
    ROOT/mvlrs_v1/mouths/<speaker>/<clip>.npy         what was drawn: (T, 6) float16, columns articulation.PARAMETERS

Each file appears whole or not at all, and processes that draw the same split at once do so one after the other
(`.train.lock`). Deterministic: a clip is a function of (world seed, split, index) alone, whatever the number of
workers; each is spoken in a process of its own (see `speech`).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, Audio, Media, Spoken
from syncdiff_bench.files import locked, unwritable, write_whole
from syncdiff_bench.media.writing import write_video
from syncdiff_datasets.pocket.articulation import PARAMETERS, articulate
from syncdiff_datasets.pocket.drawing import Mouth, draw_frame, face_box
from syncdiff_datasets.pocket.grammar import Split, draw_sentence
from syncdiff_datasets.pocket.landmarks import landmarks
from syncdiff_datasets.pocket.persona import Motion, Persona, draw_motion, draw_persona
from syncdiff_datasets.pocket.speech import Utterance, speak

WORLD_SEED = 20250111
_SPLIT_NUMBER: dict[Split, int] = {"train": 1, "val": 2, "test": 3, "ablation": 4, "speech": 5}
SPLIT_SPEAKERS: dict[Split, int] = {"train": 480, "val": 16, "test": 12, "ablation": 48, "speech": 240}
CLIPS_PER_SPEAKER: dict[Split, int] = {"train": 2, "val": 2, "test": 2, "ablation": 1, "speech": 2}


@dataclass(frozen=True, eq=False)
class DrawnClip:
    """One clip before it is encoded.

    boxes: (T, 4) int16; landmarks: (T, 68, 2) float16; mouths: (T, 6) float16; phones timed from frame 0.
    """

    id: str
    sentence: str
    media: Media
    boxes: NDArray[np.int16]
    landmarks: NDArray[np.float16]
    mouths: NDArray[np.float16]
    phones: tuple[Spoken, ...]


@dataclass(frozen=True)
class Recipe:
    """Which clip to draw."""

    split: Split
    speaker: int
    take: int

    @property
    def id(self) -> str:
        """`<19 digits>/<5 digits>`, as LRS2 names its clips."""
        return f"{_SPLIT_NUMBER[self.split]}{self.speaker:018d}/{self.take + 1:05d}"

    def generator(self, *, of_speaker: bool) -> np.random.Generator:
        take = 0 if of_speaker else self.take + 1
        return np.random.default_rng([WORLD_SEED, _SPLIT_NUMBER[self.split], self.speaker, take])

    @property
    def speech_seed(self) -> int:
        """Of what the voice draws at random, apart from what is drawn of the clip."""
        words = np.random.SeedSequence([WORLD_SEED, _SPLIT_NUMBER[self.split], self.speaker, self.take + 1, 1])
        return int(words.generate_state(1)[0]) >> 1


def split_of_clip(clip_id: str) -> Split | None:
    """The split that a clip id belongs to: its first digit."""
    return next((split for split, number in _SPLIT_NUMBER.items() if clip_id.startswith(str(number))), None)


def recipes(split: Split, speakers: int | None = None) -> tuple[Recipe, ...]:
    """The clips of a split in list order; `speakers` shortens it."""
    n = SPLIT_SPEAKERS[split] if speakers is None else speakers
    return tuple(Recipe(split, speaker, take) for speaker in range(n) for take in range(CLIPS_PER_SPEAKER[split]))


def draw_clip(recipe: Recipe) -> DrawnClip:
    """Speak, articulate and draw one clip. Call it once per process (see `speech`)."""
    persona = draw_persona(recipe.split, recipe.generator(of_speaker=True))
    rng = recipe.generator(of_speaker=False)
    sentence = draw_sentence(recipe.split, rng)
    utterance = speak(sentence, persona.voice, recipe.speech_seed)
    lead, tail = rng.uniform(0.12, 0.32), rng.uniform(0.16, 0.32)
    if recipe.split == "ablation":  # clips of three seconds, in which a drift has time to show
        lead, tail = lead + 0.18, tail + 0.18
    n_frames = int(np.ceil((lead + len(utterance.samples) / utterance.sample_rate + tail) * FPS))
    audio = _soundtrack(utterance, lead, n_frames, rng)
    phones = tuple(Spoken(p.text, p.start + lead, p.end + lead) for p in utterance.phones)
    motion = draw_motion(persona, n_frames, rng)
    times = (np.arange(n_frames) + 0.5) / FPS
    mouths = _styled(articulate(phones, times), persona, rng)
    shapes = [_mouth(mouths, motion, t) for t in range(n_frames)]
    frames = np.stack([draw_frame(persona, motion, shape, t) for t, shape in enumerate(shapes)])
    boxes = np.array([face_box(persona, motion, t) for t in range(n_frames)], dtype=np.int16)
    points = np.array([landmarks(persona, motion, shape, t) for t, shape in enumerate(shapes)], dtype=np.float16)
    return DrawnClip(recipe.id, sentence, Media(frames, audio), boxes, points, mouths.astype(np.float16), phones)


def draw_split(split: Split, root: Path, *, workers: int = 1, speakers: int | None = None) -> Iterator[tuple[int, int]]:
    """Draw every clip of a split that is not there yet below `root`, then its list; yields (done, all).

    Waits for another process that draws it. Raises UsageError where nothing can be written.
    """
    base = root / "mvlrs_v1"
    plan = recipes(split, speakers)
    with ExitStack() as held:
        try:
            base.mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(base / f".{split}.lock"))
        except OSError as error:
            raise unwritable(base, error, "--data-root") from None
        missing = [recipe for recipe in plan if not all(file.exists() for file in _files(base, recipe.id))]
        done = len(plan) - len(missing)
        yield done, len(plan)
        # A fresh process per clip: eSpeak keeps state from one sentence to the next.
        with _processes().Pool(workers, maxtasksperchild=1) as pool:
            for _ in pool.imap_unordered(_draw_to_disk, [(recipe, base) for recipe in missing], chunksize=1):
                done += 1
                yield done, len(plan)
        write_whole(base / f"{split}.txt", "".join(f"{recipe.id}\n" for recipe in plan), "--data-root")


def _processes() -> BaseContext:
    """Processes that start clean: forked from a server that has imported this module where the system can."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "syncdiff_bench.media.writing", "av"])
    return context


def _files(base: Path, clip_id: str) -> tuple[Path, Path]:
    """The last file that is written of a clip, and the one that worlds drawn before it was lack."""
    return base / "main" / f"{clip_id}.mp4", base / "landmarks" / f"{clip_id}.npy"


def _draw_to_disk(job: tuple[Recipe, Path]) -> None:
    recipe, base = job
    drawn = draw_clip(recipe)
    rows = "".join(f"{p.start:.3f} {p.end:.3f} {p.text}\n" for p in drawn.phones)
    write_whole(base / "phones" / f"{drawn.id}.txt", rows, "--data-root")
    spoken = f"Text:  {drawn.sentence.upper()}\nConf:  9\n"
    write_whole(base / "main" / f"{drawn.id}.txt", spoken, "--data-root")
    for folder, array in (("boxes", drawn.boxes), ("landmarks", drawn.landmarks), ("mouths", drawn.mouths)):
        content = BytesIO()
        np.save(content, array)
        write_whole(base / folder / f"{drawn.id}.npy", content.getvalue(), "--data-root")
    write_video(base / "main" / f"{drawn.id}.mp4", drawn.media, encoding="compact")


def _soundtrack(utterance: Utterance, lead: float, n_frames: int, rng: np.random.Generator) -> Audio:
    """(640 T,) int16: the speech after `lead` seconds, at a level of its own, over a faint hiss."""
    import soxr

    speech = soxr.resample(utterance.samples.astype(np.float32), utterance.sample_rate, SAMPLE_RATE, quality="HQ")
    peak = max(1.0, float(np.abs(speech).max()))
    track = rng.normal(0, rng.uniform(2, 20), n_frames * SAMPLES_PER_FRAME)
    start = round(lead * SAMPLE_RATE)
    speech = speech[: len(track) - start] * (rng.uniform(6_000, 20_000) / peak)
    track[start : start + len(speech)] += speech
    return np.clip(np.rint(track), -32768, 32767).astype(np.int16)


def _styled(mouths: NDArray[np.float64], persona: Persona, rng: np.random.Generator) -> NDArray[np.float64]:
    """This speaker's way of saying it: a gain on the opening and width, and jitter that nothing predicts."""
    styled = mouths.copy()
    jitter = np.convolve(rng.normal(0, 0.09, len(styled) + 4), np.ones(5) / 5, mode="valid")
    spread = np.convolve(rng.normal(0, 0.16, len(styled) + 4), np.ones(5) / 5, mode="valid")
    opening, width = PARAMETERS.index("opening"), PARAMETERS.index("width")
    # Closures stay closed for every speaker: the jitter scales with the opening.
    styled[:, opening] *= persona.gain * (1 + 2.0 * jitter)
    styled[:, width] = np.clip(styled[:, width] * (0.8 + 0.25 * persona.gain) + spread, -1.1, 1.1)
    styled[:, opening] = np.clip(styled[:, opening], 0, 1.15)
    return styled


def _mouth(mouths: NDArray[np.float64], motion: Motion, t: int) -> Mouth:
    opening, width, rounding, teeth, tongue, tuck = (float(value) for value in mouths[t])
    smile, skew, jaw, tension = (float(p[t]) for p in (motion.smile, motion.skew, motion.jaw, motion.tension))
    return Mouth(opening, width, rounding, teeth, tongue, tuck, smile, skew, jaw, tension)
