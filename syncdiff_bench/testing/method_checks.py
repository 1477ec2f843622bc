"""What a method has to do: right frames for every clip, the same for the same seed, each clip for itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from syncdiff_bench.caveats import as_caveats
from syncdiff_bench.contracts import Clip, Frames, Method
from syncdiff_bench.errors import ClipError, WeightsError
from syncdiff_bench.options import option_names
from syncdiff_bench.testing.plugin_checks import or_refusal
from syncdiff_bench.testing.samples import read_only, sample_clip

# A batch mate may move a pixel by float rounding, now and then past the edge of a grey level.
ROUNDING_LEVELS = 2
ROUNDING_MEAN = 0.05


def check_every_clip_is_yielded_once(method: Method) -> None:
    """`generate` yields each clip of its batch exactly once, by its id."""
    clips = _batch(method)
    yielded = [clip_id for clip_id, _ in method.generate(clips, seed=0)]
    assert sorted(yielded) == sorted(clip.id for clip in clips), f"asked for {[c.id for c in clips]}, got {yielded}"


def check_frames_fit_the_clip(method: Method) -> None:
    """Frames are (T, H, W, 3) uint8 with T, H and W of the clip."""
    for clip in (sample_clip("check/fit"), sample_clip("check/odd", height=97, width=75, frames=5)):
        _assert_fits(_generate(method, [clip])[clip.id], clip)


def check_same_seed_same_frames(method: Method) -> None:
    """The same clips and seed give the same frames, also from a fresh instance."""
    clip = sample_clip("check/seed")
    first = _frames(_generate(method, [clip], seed=3)[clip.id])
    again = _frames(_generate(method, [clip], seed=3)[clip.id])
    fresh = _frames(_generate(type(method)(method.options, method.runtime), [clip], seed=3)[clip.id])
    assert np.array_equal(first, again), f"two calls differ by up to {_gap(first, again)} grey levels"
    assert np.array_equal(first, fresh), f"a fresh instance differs by up to {_gap(first, fresh)} grey levels"


def check_a_clip_does_not_depend_on_its_batch(method: Method) -> None:
    """A clip comes out alike alone and beside others, beyond rounding (two grey levels, .05 on average)."""
    clips = _batch(method)
    together = _generate(method, clips)
    for clip in clips:
        alone, beside = _frames(_generate(method, [clip])[clip.id]), _frames(together[clip.id])
        difference = np.abs(alone.astype(int) - beside)
        assert difference.max() <= ROUNDING_LEVELS and difference.mean() <= ROUNDING_MEAN, (
            f"{clip.id} differs by up to {difference.max()} grey levels ({difference.mean():.3f} on average) in a batch"
        )


def check_inputs_are_not_changed(method: Method) -> None:
    """`generate` writes neither into the frames nor into the audio of a clip."""
    clip = sample_clip("check/inputs")
    frames, audio = clip.frames.copy(), clip.audio.copy()
    _frames(_generate(method, [clip])[clip.id])
    assert np.array_equal(clip.frames, frames), "the clip's frames were changed"
    assert np.array_equal(clip.audio, audio), "the clip's audio was changed"
    locked = read_only(sample_clip("check/locked"))
    _frames(_generate(method, [locked])[locked.id])


def check_a_clip_of_one_frame(method: Method) -> None:
    """One frame is generated, or refused with a ClipError; nothing else is raised."""
    _frames_or_refusal(method, sample_clip("check/one", frames=1))


def check_a_silent_clip(method: Method) -> None:
    """Silence is generated, or refused with a ClipError."""
    _frames_or_refusal(method, sample_clip("check/silent", sound="silence"))


def check_a_clip_without_sound(method: Method) -> None:
    """A clip without an audio track is generated, or refused with a ClipError."""
    _frames_or_refusal(method, sample_clip("check/mute", sound="none"))


def check_progress_counts_frames(method: Method) -> None:
    """`progress` gets counts that are not negative, and in sum no more than the frames there are."""
    clips, counts = _batch(method), list[int]()
    list(method.generate(clips, seed=0, progress=counts.append))
    total = sum(len(clip.frames) for clip in clips)
    assert all(count >= 0 for count in counts), f"progress got {counts}"
    assert sum(counts) <= total, f"progress told of {sum(counts)} frames, there are {total}"


def check_trained_against(method: Method) -> None:
    """`trained_against` is a frozenset of names of metrics, empty where no scoring network was a training loss."""
    names = method.trained_against
    assert isinstance(names, frozenset) and all(isinstance(name, str) and name for name in names), (
        f'trained_against is {names!r}, not a frozenset of names of metrics; write frozenset({{"lse"}})'
    )


def check_incidental(method: Method) -> None:
    """`incidental` is a frozenset of names of the method's options."""
    names, known = method.incidental, option_names(method.Options)
    assert isinstance(names, frozenset) and names <= set(known), (
        f"incidental is {names!r}, not a frozenset of options; there are {', '.join(known) or 'none'}"
    )


def check_caveats(method: Method) -> None:
    """`caveats` of a clip that was made, and `general_caveats`, are sequences of Caveat."""
    clip = sample_clip("check/caveats")
    _generate(method, [clip])
    as_caveats(method.general_caveats())
    as_caveats(method.caveats(clip.id))


def _batch(method: Method) -> list[Clip]:
    """Clips of several lengths, as many as the method takes together (two at least, where it takes two)."""
    n = min(3, max(1, method.batch_size))
    return [sample_clip(f"check/{i}", frames=6 + 2 * i) for i in range(n)]


def _generate(method: Method, clips: Sequence[Clip], seed: int = 0) -> dict[str, Frames | ClipError]:
    return dict(method.generate(clips, seed=seed))


def _frames_or_refusal(method: Method, clip: Clip) -> None:
    found = or_refusal(lambda: _generate(method, [clip])[clip.id], WeightsError)
    if not isinstance(found, ClipError):
        _assert_fits(found, clip)


def _frames(found: Frames | ClipError) -> Frames:
    assert not isinstance(found, ClipError), f"an ordinary clip was refused: {found}"
    return found


def _assert_fits(found: Frames | ClipError, clip: Clip) -> None:
    frames = _frames(found)
    assert isinstance(frames, np.ndarray), f"frames are a {type(frames).__name__}, not a numpy array"
    assert frames.dtype == np.uint8, f"frames are {frames.dtype}, not uint8"
    assert frames.shape == clip.frames.shape, f"frames have shape {frames.shape}, the clip {clip.frames.shape}"


def _gap(one: Frames, other: Frames) -> int:
    return int(np.abs(one.astype(int) - other).max()) if one.shape == other.shape else 255
