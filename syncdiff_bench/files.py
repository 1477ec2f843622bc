"""Files on disk: text of any encoding, files that appear whole or not at all, locks, the folder of caches."""

from __future__ import annotations

import codecs
import errno
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from syncdiff_bench.errors import UsageError
from syncdiff_bench.leftovers import partial_path, sweep_once
from syncdiff_bench.platforms import sync

if TYPE_CHECKING:
    from filelock import BaseFileLock

logger = logging.getLogger(__name__)

# ---------------------------------------------------------------------------------------------- whole files


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to, renamed to `path` at the end: a reader, or a kill, sees the old file or the new one.

    So does a power cut: when the block has ended, the file is on the disk. It lies in the folder of `path`, which is
    made, and is deleted where the block fails; what dead processes left there goes too. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_once(path.parent)
    partial = partial_path(path)
    try:
        yield partial
        put_in_place(partial, path)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def put_in_place(partial: Path, path: Path) -> None:
    """Give a file that is complete its name, once its content is on the disk. Raises OSError."""
    sync(partial)
    partial.replace(path)
    with suppress(OSError):  # not every file system does this for a folder
        sync(path.parent)


def write_whole(path: Path, content: str | bytes, option: str = "--out") -> None:
    """Write a file at once, as `replacing` does.

    option: what chose its place, for the message.
    Raises UsageError where it cannot be written.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        with replacing(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise unwritable(path, error, option) from None


def replace_folder(partial: Path, folder: Path) -> None:
    """Give a folder that is complete its name, in place of an older one, and its files the umask's mode.

    Raises OSError.
    """
    readable = (
        partial.stat().st_mode & 0o666
    )  # what `mkdir` made of it; some libraries write files for their user alone
    for path in (path for path in partial.rglob("*") if path.is_file()):
        path.chmod(path.stat().st_mode | readable)
    for path in (*partial.rglob("*"), partial):
        sync(path)  # a power cut after the renaming finds complete files
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def unwritable(path: Path, error: Exception, option: str = "--out") -> UsageError:
    """The one-line error for a file that cannot be written; option: what chose its place."""
    reason = getattr(error, "strerror", None) or str(error)
    return UsageError(f"{path} cannot be written ({reason}); free space or choose another {option}")


def home() -> Path:
    """The folder for weights, drawn data sets and caches: `$SYNCDIFF_BENCH_HOME`, by default the user's cache folder.

    Not created here.
    """
    chosen = os.environ.get("SYNCDIFF_BENCH_HOME")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("syncdiff-bench", appauthor=False)


# ---------------------------------------------------------------------------------------------------- locks


@contextmanager
def locked(path: Path, *, refusal: str = "", member: int | str | None = None) -> Iterator[None]:
    """Hold the lock `path`, which ends with its process, however that ends.

    refusal: what is wrong where another process holds it; "" waits for it instead, and says so after a moment.
    member: number or name of a process that shares the lock. Members are let in by the process that holds the whole
    lock (member None), and while one of them lives nobody else gets it.
    Raises UsageError with `refusal`, OSError where the file cannot be written.
    """
    file = path if member is None else path.with_name(f"{path.name}-{member}")
    with ExitStack() as held:
        held.enter_context(_exclusive(file, refusal))
        members = {one.name.removesuffix(SOFT) for one in path.parent.glob(f"{path.name}-*")} if member is None else ()
        for other in map(path.with_name, sorted(members)):
            with _exclusive(other, refusal), suppress(OSError):  # Windows deletes no open file
                other.unlink()  # a killed member left it
        yield
        if member is not None:
            with suppress(OSError):
                file.unlink()


def is_held(file: Path) -> bool:
    """Whether another process holds this one lock file, of `locked` or of one of its members."""
    try:
        with _exclusive(file, "held"):
            return False
    except UsageError:
        return True
    except OSError:
        return False


SOFT = ".soft"
A_LOOK = 0.2  # seconds in which a soft lock is got: the first look may only clear away what a dead process left behind
PATIENCE = 2.0  # seconds of silence while a lock is waited for
# What flock says on file systems without it: some mounts of Lustre, NFS without its lock service.
NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK})


@contextmanager
def _exclusive(file: Path, refusal: str) -> Iterator[None]:
    """Hold one file's lock: by flock, or where the file system has none by the file `NAME.soft`, which names its owner.

    Both kinds never share a file: what flock leaves behind would look like a soft lock that somebody holds. A soft lock
    whose owner died is taken over on the same machine; of another machine's nobody can tell, so the refusal names it.
    Raises as `locked`.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    soft = SoftFileLock(file.with_name(file.name + SOFT))
    with ExitStack() as held:
        try:
            held.enter_context(_entered(FileLock(file, fallback_to_soft=False), refusal))
        except Timeout:
            raise UsageError(refusal) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            try:
                held.enter_context(_entered(soft, refusal, A_LOOK))
            except Timeout:
                told = f"process {soft.pid} has {soft.lock_file}; if it ran on another machine and died, delete that"
                raise UsageError(f"{refusal} ({told})") from None
        yield


def _entered(lock: BaseFileLock, refusal: str, look: float = 0.0) -> AbstractContextManager[object]:
    """Hold it within so many seconds, without a refusal however long that takes. Raises Timeout, OSError."""
    from filelock import Timeout

    try:
        return lock.acquire(timeout=look if refusal else PATIENCE)
    except Timeout:
        if refusal:
            raise
        logger.warning("waiting for another process, which holds %s", lock.lock_file)
        return lock.acquire(timeout=-1)


# ------------------------------------------------------------------------------------- text of any encoding

# UTF-32 first: its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# by whether bytes of even and of odd places are 0
_WIDE: Mapping[tuple[bool, bool], Sequence[str]] = {
    (True, True): ("utf-32-le", "utf-32-be"),
    (True, False): ("utf-16-be",),
    (False, True): ("utf-16-le",),
}
_MEND = "save it as UTF-8"


@dataclass(frozen=True)
class DecodedText:
    """encoding: "utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be" or "cp1252".

    guessed: the file does not say that it is so.
    """

    text: str
    encoding: str = "utf-8"
    guessed: bool = False

    @property
    def note(self) -> str:
        """What somebody who checks the file should know; "" for UTF-8."""
        if self.encoding == "utf-8":
            return ""
        return f"not UTF-8; taken for {self.encoding}" if self.guessed else f"decoded from {self.encoding}"


def read_text_file(path: Path) -> DecodedText:
    """A text file. Raises OSError where it cannot be read, UsageError as `decode_text`."""
    return decode_text(path.read_bytes(), str(path))


def decode_text(data: bytes, where: str) -> DecodedText:
    """Text of UTF-8, or of UTF-16 and UTF-32 with or without a byte order mark; of other bytes as Windows-1252.

    where: the file, for messages. Raises UsageError, in one line, for what is none of these, and for text in which an
    earlier conversion has lost letters (U+FFFD) or that holds control characters.
    """
    decoded = _decoded(data, where)
    for number, line in enumerate(decoded.text.splitlines(), start=1):
        if "\ufffd" in line:
            raise UsageError(f"{where} line {number}: an earlier conversion has lost a letter (U+FFFD); write it again")
        control = "" if line.isprintable() else next((c for c in line if ord(c) < 32 and c != "\t"), "")
        if control:
            raise UsageError(f"{where} line {number}: holds the control character {control!r}, is no text; {_MEND}")
    return decoded


def _decoded(data: bytes, where: str) -> DecodedText:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return DecodedText(data[len(mark) :].decode(encoding), encoding)
            except UnicodeDecodeError as error:
                raise UsageError(f"{where}: begins as {encoding} and is damaged ({error.reason}); {_MEND}") from None
    if b"\0" in data:
        return _without_mark(data, where)
    try:
        return DecodedText(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    try:
        return DecodedText(data.decode("cp1252"), "cp1252", guessed=True)
    except UnicodeDecodeError as error:
        line = len(data[: error.start + 1].splitlines())
        raise UsageError(
            f"{where} line {line}: byte 0x{data[error.start]:02x} is neither UTF-8 nor Windows-1252; {_MEND}"
        ) from None


def _without_mark(data: bytes, where: str) -> DecodedText:
    """Wide characters: of the blanks and Latin letters of a text, every other byte (three of four) is 0.

    The rarer zeros of other scripts come with bytes that no text of narrow characters holds.
    """
    even, odd = 0 in data[::2], 0 in data[1::2]
    stray = 4 * data.count(0) < len(data) and not any(0 < byte < 32 for byte in data if byte not in b"\t\n\r")
    for encoding in () if stray else _WIDE[even, odd]:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return DecodedText(text, encoding, guessed=True)
    raise UsageError(f"{where}: holds zero bytes and is neither UTF-16 nor UTF-32, is no text; {_MEND}")
