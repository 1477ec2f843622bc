"""What figures are drawn from: the videos of runs, and the dataset's clips where it is still there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from syncdiff_bench import plugins
from syncdiff_bench.contracts import Clip, Dataset
from syncdiff_bench.errors import BenchError, ClipError, UsageError
from syncdiff_bench.media.fitting import read_fitted
from syncdiff_bench.runs.aligning import is_aligned
from syncdiff_bench.runs.directory import Run


@dataclass(frozen=True, eq=False)
class Material:
    """runs: over the same clips. data_root: where the dataset is now; None for where it was."""

    runs: Sequence[Run]
    data_root: Path | None = None

    @cached_property
    def dataset(self) -> Dataset:
        """Raises BenchError where it cannot be opened any more; figures then do without references and labels."""
        identity = self.runs[0].identity
        root = self.data_root or (None if identity.root is None else Path(identity.root))
        return plugins.load_dataset(identity.dataset, root, identity.dataset_options)

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
            return replace(clip, preloaded=read_fitted(path, reference, any_shape=is_aligned(run.identity)))
        clip.media  # noqa: B018 - decodes, or says that it cannot
        return clip

    def first_common(self) -> str:
        """The first clip that every run has a video of. Raises UsageError where there is none."""
        for clip_id in self.runs[0].identity.clips:
            if all(self.video(run, clip_id) is not None for run in self.runs):
                return clip_id
        raise UsageError("these runs have no clip in common; give runs of the same dataset")
