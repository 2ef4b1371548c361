"""Bringing the bytes of one address here, within bounds, and saying plainly why not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

import requests
import urllib3
from requests.adapters import HTTPAdapter

Progress = Callable[[int, int | None], None]
"""Called with the bytes done and the bytes in all, where those are known."""

_CHUNK = 1 << 16
_RETRIES = urllib3.Retry(
    total=2,
    read=False,
    backoff_factor=0.3,
    status_forcelist=(500, 502, 503, 504),
    raise_on_status=False,
)


class TransferError(Exception):
    """Why an address could not be read; the text never holds credentials."""


@dataclass(frozen=True)
class Access:
    """How to reach addresses: seconds until a silent server is given up, certificates, proxy.

    `trusted` names hosts ("host" or "host:port") whose certificate is not checked.
    """

    timeout: float = 15.0
    cert: str | None = None
    client_cert: str | None = None
    proxy: str | None = None
    trusted: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Answer:
    """What an address gave: its last place after redirections and its content type."""

    url: str
    content_type: str


def shown(url: str) -> str:
    """`url` without user name, password, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, _host(parts), parts.path, "", ""))


def copy(
    url: str,
    sink: BinaryIO,
    limit: int,
    access: Access,
    progress: Progress | None = None,
    accept: str = "*/*",
) -> Answer:
    """Write what is at `url` (http, https or file) into `sink`, at most `limit` bytes.

    A folder at a file address is read through its index.html.

    Raises:
        TransferError: not there, not reachable, refused, cut short or larger than `limit`.
    """
    scheme = urlsplit(url).scheme
    if scheme == "file":
        return _copy_file(url, sink, limit, progress)
    if scheme not in {"http", "https"}:
        raise TransferError(f"{scheme or 'this'} is no kind of address that can be read")
    try:
        return _copy_http(url, sink, limit, access, progress, accept)
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise TransferError(_reason(error, url, access)) from error


def _copy_file(url: str, sink: BinaryIO, limit: int, progress: Progress | None) -> Answer:
    path = Path(url2pathname(urlsplit(url).path))
    if path.is_dir():
        path = path / "index.html"
    try:
        file = path.open("rb")
    except OSError as error:
        raise TransferError(f"cannot be read: {error.strerror}") from error
    with file:
        total = path.stat().st_size
        _pour(iter(lambda: file.read(_CHUNK), b""), sink, limit, total, progress)
    return Answer(path.as_uri(), "text/html")


def _copy_http(
    url: str,
    sink: BinaryIO,
    limit: int,
    access: Access,
    progress: Progress | None,
    accept: str,
) -> Answer:
    parts = urlsplit(url)
    trusted = not access.trusted.isdisjoint({parts.hostname or "", _host(parts)})
    auth = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=_RETRIES))
        session.mount("https://", HTTPAdapter(max_retries=_RETRIES))
        if trusted:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        response = session.get(
            urlunsplit((parts.scheme, _host(parts), parts.path, parts.query, "")),
            auth=auth,
            stream=True,
            timeout=access.timeout,
            verify=False if trusted else access.cert or True,
            cert=access.client_cert,
            proxies={"http": access.proxy, "https": access.proxy} if access.proxy else None,
            headers={"Accept": accept, "Accept-Encoding": "identity"},
        )
        with response:
            if parts.scheme == "https" and not trusted and response.url.startswith("http:"):
                raise TransferError("it leads to an address without encryption")
            response.raise_for_status()
            length = response.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            _pour(response.iter_content(_CHUNK), sink, limit, total, progress)
        content_type = response.headers.get("Content-Type", "text/html")
        return Answer(response.url, content_type.partition(";")[0].strip().lower())


def _pour(
    chunks: Iterable[bytes],
    sink: BinaryIO,
    limit: int,
    total: int | None,
    progress: Progress | None,
) -> None:
    if total is not None and total > limit:
        raise TransferError(f"it has {total} bytes, more than the {limit} expected at most")
    done = 0
    for chunk in chunks:
        done += len(chunk)
        if done > limit:
            raise TransferError(f"it has more than the {limit} bytes expected at most")
        sink.write(chunk)
        if progress is not None:
            progress(done, total)


def _host(parts: SplitResult) -> str:
    return parts.netloc.rpartition("@")[2]


def _reason(error: Exception, url: str, access: Access) -> str:
    host = _host(urlsplit(url))
    if isinstance(error, requests.HTTPError):
        status = error.response.status_code
        advice = {401: "; give user name and password", 403: "; it refuses you"}.get(status, "")
        return f"{host} answered {status} {error.response.reason or ''}".rstrip() + advice
    if isinstance(error, requests.exceptions.SSLError):
        return f"the certificate of {host} is not trusted (pip's setting cert names another list)"
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy on the way to {host} does not answer"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"{host} did not answer within {access.timeout:g} s"
    if isinstance(error, (requests.exceptions.ChunkedEncodingError, urllib3.exceptions.HTTPError)):
        return f"{host} cut the transfer short"
    if isinstance(error, requests.ConnectionError):
        return f"no connection to {host}"
    return f"{host}: {type(error).__name__}"
