"""The nouns: Media, Clip, Dataset, Method, Metric. Everything else in the harness moves these around.

Their arrays (frames, audio, boxes) are those of `syncdiff_bench.arrays`. A third-party plugin subclasses `Method`,
`Metric` or `Dataset` and registers the class under the entry-point group of the same name; nothing else is needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from syncdiff_bench.arrays import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, Audio, Boxes, Frames, Media, Planes, Subsampling
from syncdiff_bench.caveats import Caveat
from syncdiff_bench.clips import Clip, Spoken
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.media.video_folder import VideoFolder
from syncdiff_bench.normalisation import TextRule
from syncdiff_bench.pairs import Pair, attempt
from syncdiff_bench.presenting import Presented, settings
from syncdiff_bench.runtime import Runtime, Workload
from syncdiff_bench.weights.digests import WeightsUsed

__all__ = ["FPS", "FRAMES_TOGETHER", "SAMPLES_PER_FRAME", "SAMPLE_RATE", "AdditiveMetric", "Audio", "Boxes", "Caveat"]
__all__ += ["Clip", "Column", "Dataset", "Finding", "Frames", "Media", "Method", "Metric", "Need", "NoOptions", "Pair"]
__all__ += ["Planes", "Requirement", "Runtime", "Spoken", "Subsampling", "WeightsUsed", "Workload", "attempt"]


def _name(plugin: Method | Metric[Any]) -> str:
    """Also of a class that has none yet."""
    return str(getattr(plugin, "name", type(plugin).__name__))


# ---------------------------------------------------------------------------------------- datasets


@dataclass(frozen=True)
class NoOptions:
    """The options of a plugin that has none."""


@dataclass(frozen=True)
class Finding:
    """One line of `syncdiff-bench data verify`: what is wrong (or worth knowing) where."""

    level: Literal["ok", "note", "error"]
    where: str
    message: str


class Dataset(Presented, ABC):
    """Lists the clips of a split without opening media, and opens one clip on demand.

    root: the folder that is the dataset or its parent (`roots.root_of`), None for an embedded dataset.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    Options: ClassVar[type[Any]] = NoOptions
    default_split: ClassVar[str] = "test"
    embedded: ClassVar[bool] = False  # True: works without --data-root
    folder_names: ClassVar[tuple[str, ...]] = ()  # how its folder is called among others, beside its own name
    any_folder: ClassVar[bool] = False  # True: any folder can be it, so that its look tells nothing (`roots`)
    drawn_faces: ClassVar[bool] = False  # not filmed; published networks never saw such
    text_rule: ClassVar[TextRule] = "normalised"  # how transcripts are compared (`normalisation.TextRule`)
    default_metrics: ClassVar[tuple[str, ...]] = ()  # specs that `run` scores unless told otherwise; () = the harness's

    def __init__(self, root: Path | None = None, options: Any = None) -> None:
        self.root = root
        self.options = self.Options() if options is None else options

    def _presentation(self) -> tuple[str, Mapping[str, Any]]:
        options = settings(getattr(self, "options", None))
        return f"dataset {self.name}", {"root": getattr(self, "root", None) or "", **options}

    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that exist on disk."""

    @abstractmethod
    def clip_ids(self, split: str) -> tuple[str, ...]:
        """Ids of a split, in the dataset's own order. Raises UsageError for an unknown or empty split."""

    @abstractmethod
    def clip(self, clip_id: str) -> Clip:
        """The clip of that id (not yet decoded). Raises ClipError where its files are not there."""

    def clip_without_words(self, clip_id: str) -> Clip:
        """The same for who asks for its files alone: a data set that reads transcripts from a disk need not."""
        return self.clip(clip_id)

    def odd_files(self, split: str) -> Sequence[Finding]:
        """Names on disk that look like clips of the split and cannot be any; `run` says so. Opens nothing."""
        del split
        return ()

    @abstractmethod
    def fingerprint(self, split: str) -> str:
        """A sha256 that changes when the clips of the split do."""

    @abstractmethod
    def verify(self, split: str) -> Iterator[Finding]:
        """Everything that is wrong with the split on disk, clip by clip; decodes every file."""

    def prepare(self, split: str, workers: int) -> Iterator[tuple[int, int]]:
        """Make the files of a split; yields (clips done, in all) as it goes. Raises UsageError where it cannot."""
        raise UsageError(f"dataset {self.name} cannot make its files; get them from its publisher, then `data verify`")


# ----------------------------------------------------------------------------------------- methods


class Method(Presented, ABC):
    """Turns clips into videos.

    topline: True for a bound (ground truth, its reconstruction) that takes no part in best and second best.
    trained_against: metrics whose scoring network (a SyncNet, a VSR model) was also a training loss; the paper's tables
        mark these columns with ‡.
    incidental: options that cannot change the frames (paths, batch size); the paper's tables mark § a run with any
        other non-default option.
    any_threads: True where the frames do not depend, on a CPU, on torch's threads: only then do workers generate too.
    needs: what a user must have first, in words, for lists.

    `generate` gets a BATCH of at most `batch_size` clips, because diffusion is sequential inside a clip and
    parallel across clips. For the same clips and seed it must yield the same frames, and a clip must not depend
    on its batch mates.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    topline: ClassVar[bool] = False
    trained_against: ClassVar[frozenset[str]] = frozenset()
    incidental: ClassVar[frozenset[str]] = frozenset()
    any_threads: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type[Any]] = NoOptions

    def __init__(self, options: Any = None, runtime: Runtime | None = None) -> None:
        self.options = self.Options() if options is None else options
        self.runtime = Runtime() if runtime is None else runtime

    def _presentation(self) -> tuple[str, Mapping[str, Any]]:
        return f"method {_name(self)}", settings(getattr(self, "options", None))

    def __call__(self, clip: Clip, *, seed: int = 0) -> Frames:
        """(T, H, W, 3) uint8 RGB of one clip, as `generate` yields them. Raises ClipError where it yields none."""
        made = dict(self.generate([clip], seed=seed)).get(clip.id)
        if made is None:
            raise ClipError("no-output", f"{clip.id}: {_name(self)} yielded no frames for this clip")
        if isinstance(made, ClipError):
            raise made
        return made

    @property
    def batch_size(self) -> int:
        """How many clips one call of `generate` takes."""
        return 1

    @abstractmethod
    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        """Yield `(clip id, frames)` for each clip, in any order.

        frames: (T, H, W, 3) uint8 RGB with T, H and W of the clip; or a ClipError (yielded, not raised) for a clip
        that cannot be generated while its batch mates can. What other programs made may lack a few last frames
        (`media.fitting.read_fitted`) where `caveats` says so.
        progress: to be called with the number of clip-frames finished since the last call; may be ignored.
        Where `generate` raises instead, the harness tries the clips of the batch one by one, each alone.
        """

    def given_videos(self) -> VideoFolder | None:
        """The folder whose videos this method passes on, None for a method that makes its own.

        A run takes a clip again once its file is another, and says which videos belong to no clip.
        """
        return None

    def general_caveats(self) -> tuple[Caveat, ...]:
        """What a reader should know about everything that this method makes (a model trained on other data)."""
        return ()

    def caveats(self, clip_id: str) -> tuple[Caveat, ...]:
        """What a reader should know about how this clip was yielded ("output resized 256x256 -> 160x160")."""
        return ()

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        """Digests of the weights that `generate` uses; written into run.json."""
        return ()

    def workload(self, frames: Sequence[int]) -> Workload | None:
        """What generating clips of so many frames costs here, for --dry-run; None where the method cannot say."""
        return None


# ----------------------------------------------------------------------------------------- metrics

Requirement = Literal["reference", "audio", "transcript"]
Need = Requirement  # its older name
FRAMES_TOGETHER = 10 * FPS  # a good `Metric.batch_frames`: several clips then take no more memory than a long one


@dataclass(frozen=True)
class Column:
    """One column of a leaderboard. bounds: the least and the greatest value that can be, None where there is none."""

    name: str  # "lse_c": the key in scores.jsonl and run.json
    label: str  # "LSE-C"
    direction: Literal["up", "down"]  # which way is better
    unit: str = ""
    decimals: int = 2
    bounds: tuple[float | None, float | None] = (None, None)


StatsT = TypeVar("StatsT")


class Metric(Presented, ABC, Generic[StatsT]):
    """Measures one pair into sufficient statistics, and aggregates statistics into column values.

    Identity = name + protocol + digest of the weights: two protocols never share a column.
    `Stats` is a frozen dataclass of JSON-able numbers and strings: sums and counts, errors and words, never a mean.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    source: ClassVar[str] = ""  # paper or reference file that defines the number
    columns: ClassVar[tuple[Column, ...]]
    requires: ClassVar[frozenset[Requirement]] = frozenset({"reference"})  # without them the column reads n/a
    symmetric: ClassVar[bool] = False  # True: exchanging generated and reference changes no value
    Options: ClassVar[type[Any]] = NoOptions
    Stats: ClassVar[type[Any]]

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "needs" in vars(cls):  # the older name of `requires`
            cls.requires = vars(cls)["needs"]

    def __init__(self, options: Any = None, runtime: Runtime | None = None) -> None:
        self.options = self.Options() if options is None else options
        self.runtime = Runtime() if runtime is None else runtime

    def _presentation(self) -> tuple[str, Mapping[str, Any]]:
        columns = ", ".join(
            f"{one.label} {'↑' if one.direction == 'up' else '↓'} {one.unit}".rstrip() for one in self.columns
        )
        return f"metric {_name(self)}", {"protocol": lambda: self.protocol, "columns": columns}

    def __call__(
        self,
        generated: ArrayLike | Clip,
        reference: ArrayLike | Clip | None = None,
        *,
        audio: ArrayLike | None = None,
        boxes: ArrayLike | str | None = None,
        transcript: str | None = None,
    ) -> dict[str, float | None]:
        """The columns of one video: name -> value, None where it has none (PSNR of equal frames).

        generated, reference: (T, H, W, 3) uint8 RGB at 25 frames per second, of which the shorter one counts; or clips,
            which bring what follows. audio: of the generated video. boxes, transcript: of the reference, where there is
            one. What each is: `Clip.of_arrays`.
        Raises UsageError for what is none of these or lacks what the metric compares with, ClipError where there is
        nothing to measure, and what `prepare` raises.
        """
        pair = Pair.given(generated, reference, audio=audio, boxes=boxes, transcript=transcript)
        if lacking := pair.lacking(self.requires):
            raise UsageError(f"{_name(self)} needs {lacking}")
        self.prepare()
        return dict(self.values(self.measure(pair)))

    @classmethod
    def declaration_problem(cls) -> str:
        """What is wrong with how the class describes itself, in words; "" where nothing is."""
        columns = getattr(cls, "columns", ())
        if not columns or not all(isinstance(column, Column) for column in columns):
            return f"{cls.__name__}.columns is not a tuple of at least one Column"
        if not is_dataclass(getattr(cls, "Stats", None)):
            return f"{cls.__name__}.Stats is not a dataclass"
        unknown = set(cls.requires) - set(get_args(Requirement))
        return f"{cls.__name__}.requires names {', '.join(sorted(unknown))}" if unknown else ""

    @property
    def protocol(self) -> str:
        """Which number exactly, in one slug ("face96", "talklip", "alex-face96")."""
        return "default"

    def for_dataset(self, _dataset: Dataset | type[Dataset], /) -> Metric[StatsT]:
        """This metric, or the one of other options that measures this dataset, where that decides the protocol."""
        return self

    def prepare(self) -> None:
        """Load what `measure` needs. Raises WeightsError or NotApplicable; the column then reads n/a."""

    @abstractmethod
    def measure(self, pair: Pair) -> StatsT:
        """Statistics of one pair. Raises ClipError where this clip cannot be measured."""

    @property
    def batch_frames(self) -> int:
        """How many frames of video the pairs of one `measure_many` have together; 0: one pair at a time.

        A metric whose network gains from several clips at once says so here; it bounds the memory, not the score.
        """
        return 0

    def measure_many(self, pairs: Sequence[Pair]) -> Sequence[StatsT | Exception]:
        """Statistics of each pair, in their order; in place of them what `measure` would have raised.

        A pair must not depend on its mates beyond float rounding. Where this raises instead of returning, the harness
        measures the pairs one by one.
        """
        return [attempt(self.measure, pair) for pair in pairs]

    def left_out(self, stats: StatsT) -> int:
        """How many frames equal their reference, have no value (PSNR) and are left out of the number."""
        return 0

    def with_left_out(self, stats: StatsT) -> StatsT:
        """The statistics with `left_out` frames counted, at the highest value that any script gives a perfect frame.

        `compare` gives no verdict where counting them would turn it round.
        """
        return stats

    def caveats(self, pair: Pair, stats: StatsT) -> tuple[Caveat, ...]:
        """What a reader of this metric should know about the measured pair (a silent audio track, frames left out)."""
        return ()

    @abstractmethod
    def aggregate(self, stats: Sequence[StatsT]) -> Mapping[str, float | None]:
        """One value per column over all given clips; None where it is not defined (PSNR of identical videos)."""

    def values(self, stats: StatsT) -> Mapping[str, float | None]:
        """The columns of a single clip."""
        return self.aggregate([stats])

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        """Digests of the weights behind the number; part of its identity."""
        return ()

    def provenance(self) -> Mapping[str, str]:
        """Versions outside this package that decide the number (an encoder, a program); written into run.json."""
        return {}

    def stats_to_json(self, stats: StatsT) -> dict[str, Any]:
        return asdict(stats)  # type: ignore[call-overload,no-any-return]

    def stats_from_json(self, values: Mapping[str, Any]) -> StatsT:
        return self.Stats(**values)  # type: ignore[no-any-return]


class AdditiveMetric(Metric[StatsT]):
    """A metric whose columns follow from sums over clips: a mean over frames or clips, errors per word.

    It says so in place of `aggregate`: intervals and tests then resample the sums of each speaker, not lists of clips.
    """

    @abstractmethod
    def summands(self, stats: StatsT) -> tuple[float, ...]:
        """What a clip adds to each of the sums, the same number of them for every clip."""

    @abstractmethod
    def of_sums(self, *sums: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        """Each column by the sums, element by element; not finite where it is undefined (x / 0 warns nobody here)."""

    def aggregate(self, stats: Sequence[StatsT]) -> Mapping[str, float | None]:
        if not stats:
            return {column.name: None for column in self.columns}
        sums = np.array([self.summands(one) for one in stats], dtype=float).cumsum(axis=0)[-1]  # in their order
        with np.errstate(divide="ignore", invalid="ignore"):
            values = self.of_sums(*(np.array(one) for one in sums))
        return {name: float(value) if np.isfinite(value) else None for name, value in values.items()}
