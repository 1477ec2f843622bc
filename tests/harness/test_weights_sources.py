"""Fetching weights from servers on this machine: resuming, trying several sources, the package index, offline."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.errors import WeightsError
from syncdiff_bench.weights import sources
from syncdiff_bench.weights.catalog import Catalogue, Entry, IndexSource, Source, UrlSource
from syncdiff_bench.weights.sources import FetchFailed, extract_member, index_urls, parse_pip_settings
from syncdiff_bench.weights.store import WeightsStore

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MEMBER = "pkg_weights/weights/net.ckpt"


@dataclass
class Site:
    """What the server serves and what it was asked.

    cut: number of bytes after which an answer breaks off, for the first `cuts` answers.
    told: whether an answer says how long it is.
    """

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    kind: str = "application/octet-stream"
    ranges: bool = True
    etag: str = '"one"'
    cut: int = 0
    cuts: int = 0
    told: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)


def handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            site.asked.append((self.path, wanted))
            if self.path not in site.files:
                self.send_error(404)
                return
            content, start = site.files[self.path], 0
            if wanted and site.ranges and self.headers["If-Range"] == site.etag:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(content):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("ETag", site.etag)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else site.kind)
            if site.told:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = len(content)
            if site.cuts:
                site.cuts -= 1
                end = start + site.cut
            with suppress(ConnectionError):  # who fetches may have gone
                self.wfile.write(content[start:end])

        def log_message(self, *_: object) -> None:
            return

    return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    served = Site(files={"/net.bin": CONTENT})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(served))
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield served
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "SYNCDIFF_BENCH_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sources, "pip_settings", dict)


def store(folder: Path, *origins: Source, known: bool = True, auto: bool = False) -> WeightsStore:
    entry = Entry("net", "net.bin", "a network", "none", "https://example.org", sources=origins, auto=auto)
    if known:
        entry = replace(entry, size=len(CONTENT), sha256=SHA256)
    return WeightsStore(folder, Catalogue({"net": entry}))


def test_a_file_is_fetched_once_and_leaves_nothing_else(site, tmp_path):
    steps: list[tuple[int, int | None]] = []
    ours = store(tmp_path / "new" / "folder", UrlSource(f"{site.url}/net.bin"))
    path = ours.fetch("net", lambda done, total: steps.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert ours.digest("net") == SHA256
    assert ours.fetch("net") == path
    assert len(site.asked) == 1
    assert not [p.name for p in path.parent.iterdir() if "part" in p.name]


@pytest.mark.parametrize("known", [True, False])
def test_a_broken_download_goes_on_by_itself(site, tmp_path, known):
    site.cut, site.cuts = 700_000, 3
    path = store(tmp_path, UrlSource(f"{site.url}/net.bin"), known=known).fetch("net")
    assert path.read_bytes() == CONTENT
    starts = [int(wanted[6:-1]) if wanted else 0 for _, wanted in site.asked]
    assert len(starts) == 4
    assert starts == sorted(set(starts))
    assert starts[-1] > 1_000_000


@pytest.mark.parametrize(
    ("arrived", "ranges"), [(1_000_000, ["bytes=1000000-"]), (3_000_000, ["bytes=3000000-", None])]
)
def test_a_later_process_goes_on_where_an_earlier_one_was_cut(site, tmp_path, arrived, ranges):
    """Where all was there but the name, nothing lies behind it: it is fetched anew."""
    site.cut, site.cuts = 0, 99  # nothing more arrives
    with pytest.raises(WeightsError, match="could not be fetched"):
        store(tmp_path, UrlSource(f"{site.url}/net.bin")).fetch("net")
    (tmp_path / "net.bin.part").write_bytes(CONTENT[:arrived])
    site.cuts = 0
    site.asked.clear()
    assert store(tmp_path, UrlSource(f"{site.url}/net.bin")).fetch("net").read_bytes() == CONTENT
    assert site.asked == [("/net.bin", part) for part in ranges]


@pytest.mark.parametrize("change", ["etag", "ranges", "url"])
def test_another_version_is_never_glued_to_the_first_half(site, tmp_path, monkeypatch, change):
    site.cut, site.cuts = 700_000, 1
    site.files["/other.bin"] = CONTENT
    monkeypatch.setattr(sources, "ATTEMPTS", 1)
    with pytest.raises(FetchFailed):
        sources.fetch(UrlSource(f"{site.url}/net.bin"), tmp_path / "net.bin.part", lambda *_: None)
    assert 0 < (tmp_path / "net.bin.part").stat().st_size < len(CONTENT)
    newer = bytes(reversed(CONTENT))
    site.files = {"/net.bin": newer, "/other.bin": newer}
    if change == "etag":
        site.etag = '"two"'
    elif change == "ranges":
        site.ranges = False
    name = "other" if change == "url" else "net"
    ours = store(tmp_path, UrlSource(f"{site.url}/{name}.bin"), known=False)
    assert ours.fetch("net").read_bytes() == newer


def test_sources_are_tried_in_turn(site, tmp_path):
    site.files["/short.bin"] = CONTENT[:-1]
    site.files["/other.bin"] = bytes(len(CONTENT))
    site.files["/page/"] = b"<html>log in</html>"
    wrong = [UrlSource(f"{site.url}/{name}") for name in ("gone.bin", "short.bin", "other.bin", "page/")]
    right = UrlSource(f"{site.url}/net.bin")
    assert store(tmp_path / "a", *wrong, right).fetch("net").read_bytes() == CONTENT
    with pytest.raises(WeightsError) as caught:
        store(tmp_path / "b", *wrong).fetch("net")
    message = str(caught.value)
    assert "\n" not in message
    for reason in (
        "gone.bin answers 404",
        "short.bin serves has 2,999,999 bytes, 3,000,000 expected",
        f"other.bin serves has sha256 {hashlib.sha256(bytes(len(CONTENT))).hexdigest()}, {SHA256} expected",
        "page/ answers with a web page instead of the file",
        "syncdiff-bench weights add net FILE",
    ):
        assert reason in message
    assert not (tmp_path / "b" / "net.bin").exists()


def test_an_unreachable_server_is_told_in_one_line_without_passwords(tmp_path):
    source = UrlSource("http://user:secret@127.0.0.1:9/net.bin?token=secret")
    with pytest.raises(WeightsError, match=r"http://127\.0\.0\.1:9/net\.bin cannot be reached") as caught:
        store(tmp_path, source).fetch("net")
    assert "secret" not in str(caught.value)


def test_offline_touches_no_network(site, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNCDIFF_BENCH_OFFLINE", "1")
    ours = store(tmp_path, UrlSource(f"{site.url}/net.bin"), auto=True)
    with pytest.raises(WeightsError, match="SYNCDIFF_BENCH_OFFLINE is set; unset it, or syncdiff-bench weights add"):
        ours.fetch("net")
    with pytest.raises(WeightsError, match=r"weights fetch net$") as caught:
        ours.ensure("net")
    assert caught.value.missing == "net"
    assert site.asked == []


def test_small_files_are_fetched_on_first_use(site, tmp_path, caplog):
    ours = store(tmp_path, UrlSource(f"{site.url}/net.bin"), auto=True)
    assert ours.ensure("net") == ours.ensure("net")
    assert len(site.asked) == 1
    assert caplog.messages == ["fetching weights net (3.0 MB), once"]


def test_others_are_not(site, tmp_path, monkeypatch):
    asked = [store(tmp_path, UrlSource(f"{site.url}/net.bin"))]
    large = store(tmp_path, UrlSource(f"{site.url}/net.bin"), auto=True)
    monkeypatch.setattr("syncdiff_bench.weights.store.AUTO_LIMIT", 1_000_000)
    for ours in (*asked, large):
        with pytest.raises(WeightsError, match=r"weights fetch net$") as caught:
            ours.ensure("net")
        assert caught.value.missing == "net"
    assert site.asked == []


def test_a_failed_first_use_counts_as_missing(tmp_path):
    ours = store(tmp_path, UrlSource("http://127.0.0.1:9/net.bin"), auto=True)
    with pytest.raises(WeightsError, match="cannot be reached") as caught:
        ours.ensure("net")
    assert caught.value.missing == "net"


def test_two_at_once_download_once(site, tmp_path):
    ours = store(tmp_path, UrlSource(f"{site.url}/net.bin"))
    threads = [threading.Thread(target=ours.fetch, args=("net",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ours.path("net").read_bytes() == CONTENT
    assert len(site.asked) == 1


@pytest.mark.parametrize("told", [True, False])
def test_a_download_stops_at_the_size_of_the_catalogue(site, tmp_path, told):
    """Its last byte is taken, and of the one behind it nothing: neither on the disk nor in the count."""
    site.files["/net.bin"], site.told = CONTENT * 20, told
    seen: list[int] = []
    with pytest.raises(WeightsError) as caught:
        store(tmp_path, UrlSource(f"{site.url}/net.bin")).fetch("net", lambda done, _total: seen.append(done))
    assert f"{site.url}/net.bin serves more than the 3,000,000 bytes that were promised" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert max(seen, default=0) <= len(CONTENT)
    assert len(site.asked) == 1
    assert [path.name for path in tmp_path.iterdir() if "net.bin" in path.name and "lock" not in path.name] == []


def test_the_file_of_exactly_that_size_is_taken_where_no_length_is_told(site, tmp_path):
    site.told = False
    assert store(tmp_path, UrlSource(f"{site.url}/net.bin")).fetch("net").read_bytes() == CONTENT


# ---------------------------------------------------------------------------------------- the package index


def sdist(member: bytes = CONTENT, name: str = f"pkg_weights-1.0/{MEMBER}") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, content in (("pkg_weights-1.0/setup.py", b"raise SystemExit('setup.py ran')"), (name, member)):
            info = tarfile.TarInfo(path)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def serve_index(site: Site, archive: bytes, digest: str | None = None) -> None:
    """Put an archive on the site as the simple repository API (PEP 503) shows it."""
    digest = digest or hashlib.sha256(archive).hexdigest()
    link = f'<a href="/files/pkg_weights-1.0.tar.gz#sha256={digest}">pkg_weights-1.0.tar.gz</a>'
    wheel = '<a href="/files/pkg_weights-1.0-py3-none-any.whl">pkg_weights-1.0-py3-none-any.whl</a>'
    site.files["/simple/pkg-weights/"] = f"<!DOCTYPE html><html><body>{wheel}{link}</body></html>".encode()
    site.files["/files/pkg_weights-1.0.tar.gz"] = archive


IN_SDIST = IndexSource("pkg_weights", "1.0", MEMBER)


def test_one_member_of_a_source_distribution(site, tmp_path, monkeypatch):
    serve_index(site, sdist())
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple/")
    assert store(tmp_path, IN_SDIST).fetch("net").read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == ["net.bin"]


def test_the_index_of_pips_configuration_and_its_extras(site, tmp_path, monkeypatch):
    serve_index(site, sdist())
    settings = {
        "index-url": f"{site.url}/empty/",
        "extra-index-url": f"file:///nowhere/simple {site.url}/simple",
    }
    monkeypatch.setattr(sources, "pip_settings", lambda: settings)
    assert store(tmp_path, IN_SDIST).fetch("net").read_bytes() == CONTENT
    assert site.asked[0][0] == "/empty/pkg-weights/"


@pytest.mark.parametrize(
    ("archive", "digest", "reason"),
    [
        (sdist(), "0" * 64, "pkg_weights-1.0.tar.gz arrived damaged"),
        (sdist()[:-200_000], None, "the archive is damaged"),
        (sdist(name="pkg_weights-1.0/elsewhere.ckpt"), None, f"the archive holds no {MEMBER}"),
        (sdist(name=f"../../{MEMBER}"), None, f"the archive holds no {MEMBER}"),
        (sdist(member=b"another"), None, "has 7 bytes, 3,000,000 expected"),
    ],
)
def test_a_wrong_distribution_is_refused(site, tmp_path, monkeypatch, archive, digest, reason):
    serve_index(site, archive, digest)
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple/")
    with pytest.raises(WeightsError, match=reason):
        store(tmp_path, IN_SDIST).fetch("net")
    assert not (tmp_path / "net.bin").exists()


def test_what_the_index_does_not_have_is_named(site, tmp_path, monkeypatch):
    serve_index(site, sdist())
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple/")
    with pytest.raises(WeightsError, match=r"has no source distribution of pkg_weights 2\.0"):
        store(tmp_path, replace(IN_SDIST, version="2.0")).fetch("net")
    with pytest.raises(WeightsError, match=r"other 1\.0 is not on http"):
        store(tmp_path, replace(IN_SDIST, distribution="other")).fetch("net")


def test_links_in_an_archive_are_not_followed(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("private")
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        link = tarfile.TarInfo(f"top/{MEMBER}")
        link.type, link.linkname = tarfile.SYMTYPE, str(secret)
        tar.addfile(link)
    with pytest.raises(FetchFailed, match="holds no"):
        extract_member(archive, MEMBER, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_index_addresses(monkeypatch):
    assert index_urls() == (None,)
    monkeypatch.setattr(sources, "pip_settings", lambda: {"index-url": "https://a.example/", "extra-index-url": "x"})
    assert index_urls() == ("https://a.example/",)
    monkeypatch.setenv("PIP_INDEX_URL", "https://b.example/")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://c.example/ https://d.example/")
    assert index_urls() == ("https://b.example/", "https://c.example/", "https://d.example/")


def test_pip_settings_are_read_from_its_listing():
    listed = (
        "global.index-url='https://a.example/simple'\n"
        "global.extra-index-url='\\nhttps://b.example/simple\\nfile:///c'\n"
        "install.no-binary=':all:'\n"
        "global.broken=oops(\n"
    )
    found = dict(parse_pip_settings(listed))
    assert found["index-url"] == "https://a.example/simple"
    assert found["extra-index-url"].split() == ["https://b.example/simple", "file:///c"]
    assert "no-binary" not in found


def test_certificates_of_pip_are_trusted(monkeypatch):
    monkeypatch.setenv("PIP_CERT", "/etc/ssl/own.pem")
    assert sources.open_session().verify == "/etc/ssl/own.pem"
    monkeypatch.delenv("PIP_CERT")
    monkeypatch.setattr(sources, "pip_settings", lambda: json.loads('{"cert": "/etc/ssl/pip.pem"}'))
    assert sources.open_session().verify == "/etc/ssl/pip.pem"


def test_a_member_larger_than_the_catalogue_says_is_not_unpacked(tmp_path):
    archive = tmp_path / "pkg.tar.gz"
    archive.write_bytes(sdist(CONTENT + b"1"))
    with pytest.raises(FetchFailed, match=r"net\.ckpt has 3,000,001 bytes, 3,000,000 were promised"):
        extract_member(archive, MEMBER, tmp_path / "net.bin", len(CONTENT))
    assert not (tmp_path / "net.bin").exists()
    archive.write_bytes(sdist())
    extract_member(archive, MEMBER, tmp_path / "net.bin", len(CONTENT))
    assert (tmp_path / "net.bin").read_bytes() == CONTENT


def test_an_archive_has_a_limit_of_its_own(site, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LARGEST_ARCHIVE", 1_000_000)
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.url}/simple/")
    serve_index(site, sdist())
    with pytest.raises(WeightsError, match="serves more than the 1,000,000 bytes"):
        store(tmp_path, IN_SDIST).fetch("net")
