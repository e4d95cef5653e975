"""The HTTP library in use: imported here, when it is first needed.

Its pools are opened here, with its own way to say so; `_over_httpx.py` and `_over_aiohttp.py` know how each sends and
fails, `_pools.py` keeps them, and to all others they are alike.
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
from functools import cache, partial
from types import ModuleType
from typing import Any, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from rerankkit._deadline_stream import AsyncBackend, DeadlineBackend, Timeout
from rerankkit._endpoint import is_loopback
from rerankkit._forking import UNDIVIDED
from rerankkit._h11_connection import AsyncConnection, BlockingConnection, aopen_stream, open_stream
from rerankkit._over_httpx import HttpxPool, Library, ProxiedConnection
from rerankkit._wire import HttpRequest, HttpResponse, Transport
from rerankkit.errors import InvalidRequestError
from rerankkit.retry import MOST_KEPT

Httpx: TypeAlias = Literal["httpx", "httpx2"]
"""Those that blocking calls can use."""


@cache
def load(name: Httpx) -> Library:
    try:
        with UNDIVIDED:
            codecs.lookup("idna")  # imported by the first look-up of a name otherwise
            with suppress(ImportError):
                importlib.import_module("anyio._backends._asyncio")  # by the first call in an event loop otherwise
            return Library(importlib.import_module(name), importlib.import_module(name.replace("httpx", "httpcore")))
    except ModuleNotFoundError as error:
        raise _not_installed(name) from error


def _not_installed(name: Transport) -> InvalidRequestError:
    return InvalidRequestError(f"transport {name!r} is not installed: pip install 'rerankkit[{name}]'")


def check_transport(transport: Transport | None) -> Transport | None:
    if transport not in (None, "httpx", "httpx2", "aiohttp"):
        raise InvalidRequestError(
            f"transport must be 'httpx', 'httpx2', 'aiohttp', or None for what is installed, got {transport!r}"
        )
    return transport


@cache
def default_transport() -> Httpx:
    """httpx2 where it is installed: the same interface, maintained."""
    return "httpx2" if importlib.util.find_spec("httpx2") else "httpx"


def blocking_transport(name: Transport) -> Httpx:
    """The library of blocking calls where *name* was asked for: aiohttp has none."""
    return default_transport() if name == "aiohttp" else name


def prepare(name: Transport) -> None:
    """Import what calls over *name* need."""
    _ = load(blocking_transport(name))
    if name == "aiohttp":
        _ = _load_aiohttp()


CONTEXTS: dict[Httpx, ssl.SSLContext] = {}
"""What was built of them in this process."""


def ssl_context(name: Transport) -> ssl.SSLContext:
    """Built once a process, with the first pool for https: it takes tens of milliseconds.  One rule for who is trusted."""
    library = blocking_transport(name)
    with UNDIVIDED:  # OpenSSL has locks, too
        if library not in CONTEXTS:
            context: ssl.SSLContext = load(library).httpx.create_ssl_context()
            context.set_alpn_protocols(["http/1.1"])  # as httpx's pools do when they connect
            CONTEXTS[library] = context
        return CONTEXTS[library]


async def build_ssl_context(url: str, name: Transport) -> None:
    """Build what a pool for *url* needs in a thread, which reads some hundred certificates while the event loop turns."""
    if _is_encrypted(url) and blocking_transport(name) not in CONTEXTS:
        executor = ThreadPoolExecutor(1, thread_name_prefix="rerankkit")
        try:
            await asyncio.get_running_loop().run_in_executor(executor, ssl_context, name)
        finally:
            executor.shutdown(wait=False)


def _context_for(name: Transport, *urls: str) -> ssl.SSLContext:
    """Without TLS there is nobody to trust: the empty context, which is made at once, would refuse every certificate."""
    if any(map(_is_encrypted, urls)):
        return ssl_context(name)
    with UNDIVIDED:  # as above
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


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


class AsyncPool(Protocol):
    """The open connections of an event loop."""

    async def asend(self, request: HttpRequest, timeout: Timeout) -> HttpResponse:
        """The reply to *request*.

        Raises:
            TransportError: None can come.
        """
        ...

    async def aclose(self) -> None:
        """Close every connection, even if the loop is ending and cancels everything."""
        ...


def open_blocking(url: str, name: Transport, is_closed: Callable[[], bool]) -> HttpxPool:
    library = load(blocking_transport(name))
    core = library.httpcore
    backend = DeadlineBackend(core.SyncBackend(), core, is_closed)
    if proxy_for(url) is None:
        connect = partial(open_stream, backend, _context_for(name, url))
        return HttpxPool(library, lambda origin: BlockingConnection(core, origin, connect), MOST_KEPT)
    return HttpxPool(library, _through_proxy(url, name, library, library.httpx.HTTPTransport, backend), MOST_KEPT)


def open_async(url: str, name: Transport, is_closed: Callable[[], bool], most_kept: int) -> AsyncPool:
    if name == "aiohttp":
        return _open_aiohttp(url, is_closed)
    library = load(name)
    core = library.httpcore
    backend = AsyncBackend(core.AnyIOBackend(), core, is_closed)
    if proxy_for(url) is None:
        connect = partial(aopen_stream, backend, _context_for(name, url))
        return HttpxPool(library, lambda origin: AsyncConnection(core, origin, connect), most_kept)
    return HttpxPool(library, _through_proxy(url, name, library, library.httpx.AsyncHTTPTransport, backend), most_kept)


def _through_proxy(
    url: str, name: Transport, library: Library, transport: Callable[..., Any], backend: DeadlineBackend | AsyncBackend
) -> Callable[[Any], ProxiedConnection]:
    """What makes connections by way of the environment's proxy."""
    # The library hands neither its pool out nor a network backend in; tests on real sockets hold these lines for each.
    pool = _open(url, name, transport)._pool  # noqa: SLF001 -- see above
    pool._network_backend = backend  # noqa: SLF001 -- as above
    return lambda origin: ProxiedConnection(library.httpcore, pool.create_connection(origin))


def _load_aiohttp() -> ModuleType:
    try:
        with UNDIVIDED:
            return importlib.import_module("rerankkit._over_aiohttp")
    except ModuleNotFoundError as error:
        raise _not_installed("aiohttp") from error


def _open_aiohttp(url: str, is_closed: Callable[[], bool]) -> AsyncPool:
    """A pool, by way of the environment's proxy.

    Raises:
        InvalidRequestError: aiohttp cannot use that proxy.
    """
    over_aiohttp, proxy = _load_aiohttp(), proxy_for(url)
    if proxy is not None and not over_aiohttp.can_use(proxy):
        raise _unusable(proxy, url, "socks5:// with another transport")
    pool: AsyncPool = over_aiohttp.AiohttpPool(proxy, _context_for("aiohttp", url, proxy or ""), is_closed)
    return pool


def _open(url: str, name: Transport, transport: Callable[..., Any]) -> Any:  # noqa: ANN401 -- the library's own transport
    """A pool, by way of the environment's proxy.

    Raises:
        InvalidRequestError: The library cannot use that proxy.
    """
    proxy = proxy_for(url)
    library = load(blocking_transport(name)).httpx
    limits = library.Limits(max_connections=None, max_keepalive_connections=MOST_KEPT)
    try:
        _ = urlsplit(proxy or "").port  # raises for one that cannot be
        return transport(verify=_context_for(name, url), proxy=proxy, limits=limits)
    except (ValueError, ImportError, library.InvalidURL):
        pass
    raise _unusable(proxy or "", url, "socks5:// with the package socksio")


def _unusable(proxy: str, url: str, further: str) -> InvalidRequestError:
    """Says what is wrong with *proxy*; its address is not shown, it may hold a password."""
    scheme, host = proxy.partition("://")[0], urlsplit(url).hostname
    return InvalidRequestError(
        f"the environment's proxy for {host} ({scheme}://...) cannot be used: http:// and https:// can, {further}; "
        f"correct HTTPS_PROXY or ALL_PROXY, or put {host} into NO_PROXY"
    )
