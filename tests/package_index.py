"""A package index and other sites on 127.0.0.1, with archives made by hand."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = bytes | Callable[[BaseHTTPRequestHandler], None]


class Site:
    """Routes to answer by; every request is recorded as its path."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.routes: dict[str, Answer] = {}
        self.requests: list[str] = []
        self.login: str | None = None

    def page(self, package: str, files: Mapping[str, str]) -> None:
        """A PEP 503 page that links file names to what follows their # (a digest, or "")."""
        links = "".join(
            f'<a href="/files/{name}{"#" + digest if digest else ""}">{name}</a>\n'
            for name, digest in files.items()
        )
        self.routes[f"/simple/{package}/"] = f"<!DOCTYPE html><html>{links}</html>".encode()

    def json_page(self, package: str, files: Mapping[str, int]) -> None:
        """A PEP 691 page of file names and sizes."""
        listed = [
            {"filename": name, "url": f"/files/{name}", "hashes": {}, "size": size}
            for name, size in files.items()
        ]
        meta = {"api-version": "1.1"}
        body = json.dumps({"meta": meta, "name": package, "files": listed, "versions": []})
        kind = "application/vnd.pypi.simple.v1+json"
        self.routes[f"/simple/{package}/"] = lambda handler: send(handler, body.encode(), kind)

    def archive(self, package: str, name: str, data: bytes) -> None:
        """An archive and the page that lists it with its sha256."""
        self.page(package, {name: f"sha256={hashlib.sha256(data).hexdigest()}"})
        self.routes[f"/files/{name}"] = data


def send(
    handler: BaseHTTPRequestHandler, body: bytes, kind: str = "text/html", status: int = 200
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def serving() -> Iterator[Site]:
    """A site that answers while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            site.requests.append(path)
            given = self.headers.get("Authorization", "")
            if site.login and given != f"Basic {base64.b64encode(site.login.encode()).decode()}":
                send(self, b"", status=401)
                return
            answer = site.routes.get(path)
            if answer is None:
                send(self, b"nothing", status=404)
            elif callable(answer):
                answer(self)
            else:
                send(self, answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def wheel(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def sdist(members: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()
