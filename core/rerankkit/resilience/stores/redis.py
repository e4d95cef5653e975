"""Scores in a Redis server, which all processes share (extra: redis)."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from rerankkit._checks import check_seconds, shown
from rerankkit._forking import fork_lock
from rerankkit._secret import SecretValue, environment, hidden
from rerankkit.errors import InvalidRequestError
from rerankkit.resilience.stores.store import BaseStore, check_ttl

URL_NAME = "RERANKKIT_REDIS_URL"
SCHEMES = ("redis", "rediss", "unix")


class RedisStore(BaseStore):
    """Keeps entries in a Redis server; how many, and which ones make room, is the server's ``maxmemory-policy``.

    A server that cannot be reached is told in the log, and nothing is kept. Copies, pickles and descriptions hold no
    password: they find it in RERANKKIT_REDIS_URL, if that names the same server.

    Args:
        url: ``"redis://host:6379/0"``, ``"rediss://..."`` for TLS, ``"unix://..."``; None: from RERANKKIT_REDIS_URL.
        password: None: that of the URL, if there is one.
        ttl: Seconds after which an entry is forgotten; None: never.
        prefix: Stands before each key.
        timeout: Seconds to connect, and for one answer.

    Raises:
        InvalidRequestError: There is no URL, an argument is out of range, or redis is not installed.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        password: str | SecretValue | None = None,
        ttl: float | None = None,
        prefix: str = "rerankkit:",
        timeout: float = 0.5,
    ) -> None:
        given, password = hidden(url), hidden(password)
        if url is not None:
            self._remember(url="not checked yet, and not shown")
        del url
        self._redis = _library()
        self._url, self._password = _found(given, password)
        self._ttl = check_ttl(ttl)
        if not isinstance(prefix, str):
            raise InvalidRequestError(f"prefix must be a str, got {shown(prefix)}")
        self._prefix = prefix
        self._timeout = check_seconds("timeout", timeout)
        self._check_options()
        if given is not None:
            self._remember(url=self._url)
        self._client: Any = None
        self._process = 0
        self._lock = fork_lock()

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """The values of those *keys* that are there."""
        values = self._connected().mget([self._prefix + key for key in keys])
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    def set_many(self, items: Mapping[str, bytes]) -> None:
        """Keep *items*."""
        milliseconds = None if self._ttl is None else math.ceil(self._ttl * 1_000)
        with self._connected().pipeline(transaction=False) as pipeline:
            for key, value in items.items():
                pipeline.set(self._prefix + key, value, px=milliseconds)
            pipeline.execute()

    def close(self) -> None:
        """Close the connections; they are opened again when they are needed."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None and self._process == os.getpid():
            client.connection_pool.disconnect()

    def _connected(self) -> Any:  # noqa: ANN401 -- redis.Redis, which is optional
        """This process's client: its parent's connections are the parent's."""
        with self._lock:
            if self._client is None or self._process != os.getpid():
                self._client, self._process = self._connect(), os.getpid()
            return self._client

    def _check_options(self) -> None:
        """Refuse those of the address that no connection takes, which may be misspelt passwords."""
        try:
            _try(self._connect().connection_pool)
        except (ValueError, TypeError, AttributeError):
            pass  # its frames hold the address
        else:
            return
        raise InvalidRequestError(
            "url must be an address such as 'redis://host:6379/0', and after a '?' only options of redis.Redis; it is not "
            "shown here, because it may hold a password"
        )

    def _connect(self) -> Any:  # noqa: ANN401 -- as above
        """A client, which opens a connection when it is first used.

        It does not own its pool: one that does would close it when a child drops it, and wait there for ever for the
        pool's lock, should one of the parent's threads have held that at the fork.
        """
        pool = self._redis.ConnectionPool.from_url(
            self._url,
            password=None if self._password is None else self._password.get_secret_value(),
            socket_timeout=self._timeout,
            socket_connect_timeout=self._timeout,
            retry=self._redis.retry.Retry(self._redis.backoff.NoBackoff(), 0),
        )
        return self._redis.Redis(connection_pool=pool)


def _try(pool: Any) -> None:  # noqa: ANN401 -- redis.ConnectionPool, as above
    """Make a connection without opening it."""
    pool.connection_class(**pool.connection_kwargs)


def _library() -> Any:  # noqa: ANN401 -- the module, which is optional
    """It takes 0.3 s to import: too long for a call."""
    try:
        for module in ("redis.retry", "redis.backoff"):
            importlib.import_module(module)
        return importlib.import_module("redis")
    except ModuleNotFoundError as error:
        raise InvalidRequestError("RedisStore needs redis: pip install 'rerankkit[redis]'") from error


def _found(url: SecretValue | None, password: SecretValue | None) -> tuple[str, SecretValue | None]:
    """The address without its password, and the password: the caller's, the URL's, or the environment's for that address."""
    variable = environment([URL_NAME])
    named = hidden(variable)
    del variable
    if url is None and named is None:
        raise InvalidRequestError(f"RedisStore needs an address: set {URL_NAME}, or pass url='redis://host:6379/0'")
    address, own = _split("url" if url is not None else URL_NAME, url or named)
    if password is None and own is None and url is not None and named is not None:
        elsewhere, its_password = _split(URL_NAME, named)
        own = its_password if elsewhere.partition("?")[0] == address.partition("?")[0] else None
    return address, password or own


def _split(name: str, url: SecretValue | None) -> tuple[str, SecretValue | None]:
    """A URL without its password, and the password; neither errors nor their frames show it."""
    parts = None if url is None else _parts(url)
    if parts is None:
        raise InvalidRequestError(
            f"{name} must be an address such as 'redis://host:6379/0', with any / @ : of a password written %2F %40 %3A; "
            "it is not shown here, because it may hold one"
        )
    user, host = parts.username, parts.netloc.rpartition("@")[2]
    bare = parts._replace(netloc=f"{user}@{host}" if user else host).geturl()
    return bare, hidden(None if parts.password is None else unquote(parts.password))


def _parts(url: SecretValue) -> SplitResult | None:
    """The parts of a Redis URL; None if it is none, or holds a password where nobody looks for one."""
    text = url.get_secret_value()
    if not isinstance(text, str) or not text.isprintable():
        return None
    try:
        parts = urlsplit(text)
        place = parts.path if parts.scheme == "unix" else parts.hostname
        is_right = parts.port != 0 and bool(place)  # `port` raises for one that is no number
    except ValueError:
        return None
    odd = parts.netloc.count("@") > 1 or "@" in parts.path or "password" in parts.query.lower() or parts.fragment
    return parts if parts.scheme in SCHEMES and is_right and not odd else None
