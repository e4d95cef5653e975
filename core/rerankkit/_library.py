"""The HTTP library in use: the only module that imports one.

Its pools are opened here, with its own way to say so; `_pools.py` keeps them, `_http.py` sends through them.
"""

from __future__ import annotations

import asyncio
import codecs
import importlib
import importlib.util
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from rerankkit._deadline_stream import AsyncBackend, DeadlineBackend
from rerankkit._endpoint import is_loopback
from rerankkit._forking import UNDIVIDED
from rerankkit.errors import InvalidRequestError
from rerankkit.retry import MOST_KEPT

Transport: TypeAlias = Literal["httpx", "httpx2"]


class Library(NamedTuple):
    """An HTTP library with httpx's interface, and the connection pool under it."""

    httpx: Any
    httpcore: Any


@cache
def load(name: Transport) -> Library:
    try:
        with UNDIVIDED:
            codecs.lookup("idna")  # imported by the first look-up of a name otherwise
            with suppress(ImportError):
                importlib.import_module("anyio._backends._asyncio")  # by the first call in an event loop otherwise
            return Library(importlib.import_module(name), importlib.import_module(name.replace("httpx", "httpcore")))
    except ModuleNotFoundError as error:
        raise InvalidRequestError(f"transport {name!r} is not installed: pip install 'rerankkit[{name}]'") from error


def check_transport(transport: Transport | None) -> Transport | None:
    if transport not in (None, "httpx", "httpx2"):
        raise InvalidRequestError(f"transport must be 'httpx', 'httpx2', or None for what is installed, got {transport!r}")
    return transport


@cache
def default_transport() -> Transport:
    """httpx2 where it is installed: the same interface, maintained, and much faster under concurrency."""
    return "httpx2" if importlib.util.find_spec("httpx2") else "httpx"


CONTEXTS: dict[Transport, ssl.SSLContext] = {}
"""What was built of them in this process."""


def ssl_context(name: Transport) -> ssl.SSLContext:
    """Built once a process, with the first pool for https: it takes tens of milliseconds."""
    with UNDIVIDED:  # OpenSSL has locks, too
        if name not in CONTEXTS:
            CONTEXTS[name] = load(name).httpx.create_ssl_context()
        return CONTEXTS[name]


async def build_ssl_context(url: str, name: Transport) -> None:
    """Build what a pool for *url* needs in a thread, which reads some hundred certificates while the event loop turns."""
    if _is_encrypted(url) and name not in CONTEXTS:
        executor = ThreadPoolExecutor(1, thread_name_prefix="rerankkit")
        try:
            await asyncio.get_running_loop().run_in_executor(executor, ssl_context, name)
        finally:
            executor.shutdown(wait=False)


def _context_for(name: Transport, *urls: str) -> ssl.SSLContext:
    """Without TLS there is nobody to trust: the empty context, which is made at once, would refuse every certificate."""
    return ssl_context(name) if any(map(_is_encrypted, urls)) else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _is_encrypted(url: str) -> bool:
    return urlsplit(url).scheme == "https"


def proxy_for(url: str) -> str | None:
    """The proxy that the environment names for *url*; never one for this machine itself."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    if is_loopback(host) or proxy_bypass(f"{host}:{port}"):
        return None
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def open_blocking(url: str, name: Transport, is_closed: Callable[[], bool]) -> Any:  # noqa: ANN401 -- the library's own transport
    library = load(name)
    pool = _open(url, name, library.httpx.HTTPTransport)
    backend = DeadlineBackend(library.httpcore.SyncBackend(), library.httpcore, is_closed)
    # The library hands no network backend through to its pool; tests on real sockets hold these lines for each.
    pool._pool._network_backend = backend  # noqa: SLF001 -- see above
    return pool


def open_async(url: str, name: Transport, is_closed: Callable[[], bool]) -> Any:  # noqa: ANN401 -- the library's own transport
    library = load(name)
    pool = _open(url, name, library.httpx.AsyncHTTPTransport)
    backend = AsyncBackend(pool._pool._network_backend, library.httpcore, is_closed)  # noqa: SLF001 -- as above
    pool._pool._network_backend = backend  # noqa: SLF001 -- as above
    return pool


def _open(url: str, name: Transport, transport: Callable[..., Any]) -> Any:  # noqa: ANN401 -- the library's own transport
    """A pool, by way of the environment's proxy.

    Raises:
        InvalidRequestError: The library cannot use that proxy; its address is not shown, it may hold a password.
    """
    proxy = proxy_for(url)
    library = load(name).httpx
    limits = library.Limits(max_connections=None, max_keepalive_connections=MOST_KEPT)
    try:
        _ = urlsplit(proxy or "").port  # raises for one that cannot be
        return transport(verify=_context_for(name, url), proxy=proxy, limits=limits)
    except (ValueError, ImportError, library.InvalidURL):
        scheme, host = (proxy or "").partition("://")[0], urlsplit(url).hostname
    raise InvalidRequestError(
        f"the environment's proxy for {host} ({scheme}://...) cannot be used: http:// and https:// can, socks5:// with the "
        f"package socksio; correct HTTPS_PROXY or ALL_PROXY, or put {host} into NO_PROXY"
    )
