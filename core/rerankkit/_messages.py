"""This package's requests and replies in the form of the connection pools, which know bytes alone.

httpx's own requests, responses and its way from one form to the other took 60 us a call, of 390 for 100 documents.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

from rerankkit._content import ACCEPTED
from rerankkit._deadline_stream import Timeout
from rerankkit._library import Transport, load
from rerankkit._version import __version__
from rerankkit._wire import HttpRequest

OWN_HEADERS = {"User-Agent": f"rerankkit/{__version__}", "Accept-Encoding": ACCEPTED}
PHASES = ("connect", "read", "write", "pool")

Header = tuple[bytes, bytes]


class Target(NamedTuple):
    """Where a request goes.

    Attributes:
        url: The pool's own.
        host: What the header ``Host`` says of it.
    """

    url: Any
    host: bytes


@lru_cache(maxsize=256)  # a client has one or a few; taking one apart costs as much as all the rest of a request
def target(name: Transport, url: str) -> Target:
    """*url*, taken apart by the HTTP library *name*."""
    library = load(name)
    parts = library.httpx.URL(url)
    own = library.httpcore.URL(scheme=parts.raw_scheme, host=parts.raw_host, port=parts.port, target=parts.raw_path)
    return Target(own, parts.netloc)


def pool_request(name: Transport, request: HttpRequest, timeout: Timeout) -> Any:  # noqa: ANN401 -- the library's own Request
    """*request* as a pool of *name* takes it."""
    url, host = target(name, request.url)
    headers = {"Host": host, **OWN_HEADERS, **request.headers, **request.auth}
    if request.content or request.method == "POST":
        headers["Content-Length"] = b"%d" % len(request.content)
    extensions = {"timeout": dict.fromkeys(PHASES, timeout)}
    return load(name).httpcore.Request(request.method, url, headers=headers, content=request.content, extensions=extensions)


def by_name(headers: Iterable[Header]) -> dict[str, str]:
    """The headers of a reply, names in lower case; several of one name are joined, as they may be (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), _text(raw_value)
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
