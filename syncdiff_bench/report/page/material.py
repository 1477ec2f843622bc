"""What figures are drawn from: the videos of runs, and the dataset's clips where it is still there.

Which clips are worth a look, and videos and frames as text, so that a page needs nothing beside it.
"""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from syncdiff_bench import plugins
from syncdiff_bench.contracts import FPS, SAMPLE_RATE, Clip, Dataset, Frames, Media
from syncdiff_bench.errors import BenchError, ClipError, UsageError
from syncdiff_bench.media.fitting import read_fitted
from syncdiff_bench.media.watchable import Samples, watchable
from syncdiff_bench.report.leaderboard import BoardColumn
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.significance.comparison import Comparison

JPEG_QUALITY = 85


@dataclass(frozen=True, eq=False)
class Material:
    """runs: over the same clips. data_root: where the dataset is now; None for where it was."""

    runs: Sequence[Run]
    data_root: Path | None = None

    @cached_property
    def dataset(self) -> Dataset:
        """Raises BenchError where it cannot be opened any more; figures then do without references and labels."""
        identity = self.runs[0].identity
        return plugins.load_recorded(identity.dataset, self.data_root, identity.root, identity.dataset_options)

    @cached_property
    def problem(self) -> str:
        """Why the dataset cannot be opened, "" where it can."""
        try:
            self.dataset  # noqa: B018 - opens it, or says that it cannot
        except BenchError as error:
            return str(error)
        return ""

    def reference(self, clip_id: str) -> Clip:
        """The dataset's clip, decoded. Raises BenchError where there is none, or none that can be read."""
        clip = self.dataset.clip(clip_id)
        clip.media  # noqa: B018 - decodes, or says that it cannot
        return clip

    def video(self, run: Run, clip_id: str) -> Path | None:
        """The file of a generated clip, None where there is none."""
        record = run.generated.get(clip_id)
        elsewhere = None if record is None else record.video
        path = Path(elsewhere) if elsewhere else run.path / "videos" / f"{clip_id}.mp4"
        return path if clip_id in run.identity.clips and path.is_file() else None

    def generated(self, run: Run, clip_id: str) -> Clip:
        """The run's clip, decoded; one that lies elsewhere as it was scored, brought to its reference.

        Raises ClipError where the run has no readable video of it.
        """
        path, record = self.video(run, clip_id), run.generated.get(clip_id)
        if path is None:
            why = f" ({record.error.message})" if record is not None and record.error is not None else ""
            raise ClipError("missing", f"{run.path} has no video of clip {clip_id!r}{why}")
        clip = Clip(clip_id, run.identity.dataset, path)
        reference = None
        if record is not None and record.video is not None:
            with suppress(BenchError):  # without its reference it is shown as it is
                reference = self.reference(clip_id)
        if reference is not None:
            return replace(clip, preloaded=read_fitted(path, reference, any_shape=run.identity.aligned))
        clip.media  # noqa: B018 - decodes, or says that it cannot
        return clip

    def reference_or_reason(self, clip_id: str) -> tuple[Clip | None, str]:
        """The reference and "", or None and why there is none."""
        try:
            return self.reference(clip_id), ""
        except BenchError as error:
            return None, str(error)

    def shown(self, clip_id: str, names: Sequence[str]) -> tuple[dict[str, Clip], dict[str, str]]:
        """Name -> clip of each run; and name -> why there is nothing to see of it."""
        clips, absent = {}, {}
        for name, run in zip(names, self.runs, strict=True):
            try:
                clips[name] = self.generated(run, clip_id)
            except ClipError as error:
                absent[name] = str(error)
        return clips, absent

    def first_common(self) -> str:
        """The first clip that every run has a video of. Raises UsageError where there is none."""
        for clip_id in self.runs[0].identity.clips:
            if all(self.video(run, clip_id) is not None for run in self.runs):
                return clip_id
        raise UsageError("these runs have no clip in common; give runs of the same dataset")


@dataclass(frozen=True)
class ClipScores:
    """What a run found clip by clip.

    values: (columns, clips) in the order of `Identity.clips`, None where there is none.
    errors: clip -> why something about it failed.
    """

    values: Sequence[Sequence[float | None]]
    errors: Mapping[str, str]


def scores_of_clips(run: Run, columns: Sequence[BoardColumn]) -> ClipScores:
    """The scores of the run, read once."""
    number = {clip: index for index, clip in enumerate(run.identity.clips)}
    places = {column.key: index for index, column in enumerate(columns)}
    values: list[list[float | None]] = [[None] * len(number) for _ in columns]
    errors = {clip: record.error.message for clip, record in run.generated.items() if record.error is not None}
    for score in run.scores:
        network = run.judges.get((score.metric, score.protocol), ())
        for name, value in (score.values or {}).items():
            index = places.get((score.metric, score.protocol, name, network))
            if index is not None:
                values[index][number[score.clip]] = value
        if score.error is not None and score.failed:
            errors.setdefault(score.clip, f"{score.metric}: {score.error.message}")
    return ClipScores(values, {clip: why for clip, why in errors.items() if clip in number})


def notable_clips(runs: Sequence[Run], columns: Sequence[BoardColumn], n: int) -> tuple[str, ...]:
    """At most `n` clips: the worst of each run in each column, then the second worst, and so on; then in order."""
    clips = runs[0].identity.clips
    return notable_among([scores_of_clips(run, columns) for run in runs], columns, clips, n)


def notable_among(
    scores: Sequence[ClipScores], columns: Sequence[BoardColumn], clips: Sequence[str], n: int
) -> tuple[str, ...]:
    """The same of runs over these clips, by what they found."""
    rankings = [
        worst_first(values, column.direction, clips)
        for one in scores
        for values, column in zip(one.values, columns, strict=True)
    ]
    return _in_rounds(rankings, clips, n)


def changed_clips(comparison: Comparison, n: int) -> tuple[str, ...]:
    """At most `n` clips: that which changed most in each column, then the second, and so on; then in order."""
    clips = comparison.a.identity.clips
    rankings = [[change.clip for change in column.largest_changes(len(clips))] for column in comparison.columns]
    return _in_rounds(rankings, clips, n)


def _in_rounds(rankings: Sequence[Sequence[str]], order: Sequence[str], n: int) -> tuple[str, ...]:
    rounds: Iterator[str] = (ranking[i] for i in range(len(order)) for ranking in rankings if i < len(ranking))
    found = dict.fromkeys(rounds)
    found.update(dict.fromkeys(order))
    return tuple(found)[:n]


def worst_first(values: Sequence[float | None], direction: str, clips: Sequence[str]) -> list[str]:
    """Clips with a value, the worst one first."""
    sign = 1 if direction == "up" else -1
    known = [(sign * value, clip) for value, clip in zip(values, clips, strict=True) if value is not None]
    return [clip for _, clip in sorted(known)]


def video_base64(media: Media) -> str:
    """An mp4 that every browser plays (`media.watchable`), in base64."""
    height, width = media.frames.shape[1:3]
    sound = Samples(media.audio, SAMPLE_RATE) if len(media.audio) else None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with watchable(path, width, height, FPS, sound) as video:
            for frame in media.frames:
                video.write(frame)
        return base64.b64encode(path.read_bytes()).decode("ascii")


def picture_uri(frames: Frames) -> str:
    """(n, h, w, 3) uint8 RGB side by side, as one JPEG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.concatenate(list(frames), axis=1)).save(file, format="JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
