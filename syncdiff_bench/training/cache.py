"""Tensors of every clip of a split, computed once and then read from disk a row at a time.

    FOLDER/cache.json                   what they were made from and with: the facts, in words
    FOLDER/shard-00000.safetensors      "CLIP/NAME" -> (T, ...) tensor, of `CLIPS_PER_SHARD` clips

A shard appears whole or not at all, so that a killed preparation goes on where it was. Any number of processes may fill
one folder at the same time: each shard is made by whoever comes to it first (`.shard-00000.lock`), and gets its name
only where the folder still holds the same facts (`.lock`). Reading maps the shards into memory: nothing is loaded until
a row is used, and the page cache holds what fits.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from syncdiff_bench.contracts import FPS
from syncdiff_bench.documents import WrongValue, check, parse_json, read_json
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.files import locked, replacing, unwritable, write_whole
from syncdiff_bench.progress import Progress
from syncdiff_bench.training.peers import Peers

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

SCHEMA = 1
CLIPS_PER_SHARD = 64


class _Facts(TypedDict):
    facts: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class TensorCache:
    """One folder of shards.

    title: what is in it. split: of the dataset.
    facts: everything that its tensors depend on, name -> value; other facts, other cache.
    encode: the tensors of a clip by name, all of T rows; may raise ClipError, which costs that clip only.
    bytes_per_frame: of all tensors of a clip together.
    boxed: whether `encode` looks at the face boxes of a clip.
    """

    folder: Path
    title: str
    split: str
    facts: Mapping[str, str]
    clip_ids: Sequence[str]
    encode: Callable[[str], Mapping[str, Tensor]]
    bytes_per_frame: int
    boxed: bool = False

    @property
    def bytes_per_hour(self) -> int:
        """Of video, at 25 frames per second."""
        return self.bytes_per_frame * FPS * 3600

    @property
    def shards(self) -> int:
        return -(-len(self.clip_ids) // CLIPS_PER_SHARD)

    def missing(self) -> list[int]:
        """Shards that are not made yet. Raises UsageError where the folder holds other facts."""
        self._check()
        return [i for i in range(self.shards) if not self._path(i).is_file()]

    def missing_clips(self, part: int = 0, parts: int = 1) -> list[str]:
        """What `fill` would encode. Raises UsageError where the folder holds other facts."""
        return [clip for i in self.missing() if i % parts == part for clip in self._clips(i)]

    def fill(self, part: int = 0, parts: int = 1) -> Iterator[tuple[int, int]]:
        """Make the missing shards i with i % parts == part; yields (clips done, clips) of this part.

        Shards that another process has in hand are left to it, and waited for at the end.
        Raises UsageError where the folder holds other facts or cannot be written.
        """
        todo = [i for i in self.missing() if i % parts == part]
        if not todo:
            return
        with self._agreed():
            pass
        total = sum(len(self._clips(i)) for i in range(part, self.shards, parts))
        done = total - sum(len(self._clips(i)) for i in todo)
        for waiting in (False, True):
            left = []
            for index in todo:
                with self._in_hand(index, waiting) as free:
                    if not free:
                        left.append(index)
                        continue
                    clips = len(self._clips(index))
                    somebody_was_faster = self._path(index).is_file()
                    for number in [clips] if somebody_was_faster else self._make(index):
                        yield done + number, total
                    done += clips
            todo = left

    def complete(self) -> None:
        """Make every missing shard; log the clips that are not in the cache. Raises as `fill`."""
        for _ in self.fill():
            pass
        for clip_id, reason in self.failures().items():
            logger.warning("left out: %s", reason if clip_id in reason else f"{clip_id}: {reason}")

    def read(self) -> dict[str, dict[str, Tensor]]:
        """Clip id -> name -> (T, ...) tensor, mapped from disk; without the clips that failed.

        Raises UsageError where shards are missing, damaged or of other facts.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        if missing := self.missing():
            raise UsageError(
                f"{self.folder}: {len(missing)} of {self.shards} shards are missing; run `syncdiff-bench data prepare"
                " latents CONFIG`"
            )
        clips: dict[str, dict[str, Tensor]] = {}
        for index in range(self.shards):
            try:
                tensors = load_file(self._path(index))
            except (SafetensorError, OSError) as error:
                raise self._damaged(index, error) from None
            for key, tensor in tensors.items():
                clip_id, _, name = key.rpartition("/")
                clips.setdefault(clip_id, {})[name] = tensor
        return {clip_id: clips[clip_id] for clip_id in self.clip_ids if clip_id in clips}

    def _damaged(self, index: int, error: Exception) -> UsageError:
        reason = " ".join(str(error).split())
        mend = "delete it, then run `syncdiff-bench data prepare latents CONFIG`"
        return UsageError(f"{self._path(index)} is damaged ({reason}); {mend}")

    def failures(self) -> dict[str, str]:
        """Clip id -> why it is not in the cache, of the shards that are made."""
        from safetensors import SafetensorError, safe_open

        found: dict[str, str] = {}
        for index in range(self.shards):
            if self._path(index).is_file():
                try:
                    with safe_open(self._path(index), "pt") as shard:
                        failures = parse_json((shard.metadata() or {}).get("failures", "{}"))
                    check(failures, Mapping[str, str])
                except (SafetensorError, OSError, WrongValue) as error:
                    raise self._damaged(index, error) from None
                found |= failures
        return found

    def clear(self) -> None:
        """Delete every shard, whatever facts the folder holds, then the facts. Raises UsageError where it cannot."""
        if not self.folder.is_dir():
            return
        with self._alone():
            try:
                for path in (*self.folder.glob("shard-*.safetensors"), self._facts_path):
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise unwritable(self.folder, error, "--cache") from None

    @property
    def _facts_path(self) -> Path:
        return self.folder / "cache.json"

    def _path(self, index: int) -> Path:
        return self.folder / f"shard-{index:05d}.safetensors"

    def _clips(self, index: int) -> Sequence[str]:
        return self.clip_ids[index * CLIPS_PER_SHARD : (index + 1) * CLIPS_PER_SHARD]

    def _make(self, index: int) -> Iterator[int]:
        """One shard, which the caller has in hand; yields how many of its clips are done."""
        tensors: dict[str, Tensor] = {}
        failures: dict[str, str] = {}
        for number, clip_id in enumerate(self._clips(index), start=1):
            try:
                made = self.encode(clip_id)
                tensors |= {f"{clip_id}/{name}": tensor for name, tensor in made.items()}
            except ClipError as error:
                failures[clip_id] = str(error)
            yield number
        self._write(index, tensors, failures)

    def _write(self, index: int, tensors: dict[str, Tensor], failures: Mapping[str, str]) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        try:
            with ExitStack() as held, replacing(self._path(index)) as partial:
                save_file(tensors, partial, metadata={"failures": json.dumps(failures)})
                held.enter_context(self._agreed())  # until the shard has its name
        except (OSError, SafetensorError) as error:
            raise unwritable(self._path(index), error, "--cache") from None

    @contextmanager
    def _in_hand(self, index: int, waiting: bool) -> Iterator[bool]:
        """Hold one shard; whether that is so, as no other process has it in hand. waiting: until it is so."""
        lock = self.folder / f".shard-{index:05d}.lock"
        with ExitStack() as held:
            try:
                held.enter_context(locked(lock, refusal="" if waiting else f"{lock} is held"))
            except UsageError:
                free = False
            except OSError as error:
                raise unwritable(lock, error, "--cache") from None
            else:
                free = True
            yield free
            if free:
                with suppress(OSError):  # Windows deletes no open file
                    lock.unlink()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """For moments: nobody else gives a name to a shard, or to the facts."""
        with ExitStack() as held:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(self.folder / ".lock"))
            except OSError as error:
                raise unwritable(self.folder, error, "--cache") from None
            yield

    @contextmanager
    def _agreed(self) -> Iterator[None]:
        """The same, and the folder says that it holds these facts. Raises UsageError where it holds others."""
        with self._alone():
            self._check()
            if not self._facts_path.is_file():
                facts = json.dumps({"schema": SCHEMA, "facts": dict(self.facts)}, indent=1)
                write_whole(self._facts_path, facts + "\n", "--cache")
            yield

    def _check(self) -> None:
        if not self._facts_path.exists():
            if any(self.folder.glob("shard-*.safetensors")):
                raise UsageError(
                    f"{self.folder} holds shards and no {self._facts_path.name}, which says what they were made from;"
                    " delete it, or choose another --cache"
                )
            return
        known = read_json(self._facts_path, "is damaged", f"delete {self.folder}", _Facts)["facts"]
        for name, value in self.facts.items():
            if known.get(name) != value:
                raise UsageError(
                    f"{self.folder} was made with another {name} ({known.get(name)}, now {value});"
                    " `syncdiff-bench data prepare latents CONFIG --fresh` makes it anew, or choose another --cache"
                )


def fill_together(caches: Sequence[TensorCache], peers: Peers, progress: Progress) -> None:
    """Every process makes its share of what is missing, then waits for the others; called by each.

    progress: follows the share of the first process. Raises UsageError as `TensorCache.fill`, DistError where another
    process has ended.
    """
    followed = progress if peers.index == 0 else Progress()
    share = f" (process 1 of {peers.count})" if peers.count > 1 else ""
    for cache in caches:
        followed.each(f"{cache.title}{share}", cache.fill(peers.index, peers.count))
    peers.wait()
