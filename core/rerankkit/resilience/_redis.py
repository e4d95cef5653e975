"""A Redis server, for scores and rates that processes share (extra: redis): its address, and a client for each process.

An address may hold a password: what is kept and shown of it is the rest.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from rerankkit._forking import UNDIVIDED, fork_lock
from rerankkit._secret import SecretValue, environment, hidden
from rerankkit.errors import InvalidRequestError

URL_NAME = "RERANKKIT_REDIS_URL"
SCHEMES = ("redis", "rediss", "unix")
FORM = "an address such as 'redis://host:6379/0'"
NO_OPTIONS: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """Where a server is.

    Attributes:
        url: Without a password.
        password: None: it needs none.
    """

    url: str
    password: SecretValue | None

    def __repr__(self) -> str:
        return f"<Address: {self.place}>"

    @property
    def place(self) -> str:
        """Scheme, host and port, or path; for logs and errors."""
        parts = urlsplit(self.url)
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{parts.hostname or parts.path}{port}"

    @classmethod
    def find(cls, argument: str, url: SecretValue | None, password: SecretValue | None = None) -> Address:
        """The caller's address, or else the environment's; its password is the caller's, the address's own, or, for the same
        server, the environment's.

        Raises:
            InvalidRequestError: There is none, or it is none; neither the error nor its frames show it.
        """
        variable = environment([URL_NAME])
        named = hidden(variable)
        del variable
        if url is None and named is None:
            raise InvalidRequestError(f"there is no address of Redis: set {URL_NAME}, or pass {argument}='redis://host:6379/0'")
        found = cls(*_split(argument if url is not None else URL_NAME, url or named))
        if found.password is None and named is not None:
            elsewhere = cls(*_split(URL_NAME, named))
            found = replace(found, password=elsewhere.password if elsewhere.is_same_server(found) else None)
        found = replace(found, password=password or found.password)
        found.check(argument)
        return found

    def is_same_server(self, other: Address) -> bool:
        """Whether both lead to one place, by one name, whatever the options."""
        return self.url.partition("?")[0] == other.url.partition("?")[0]

    def check(self, argument: str) -> None:
        """Refuse options that no connection takes, which may be misspelt passwords."""
        library()
        try:
            _try(self.client(NO_OPTIONS).connection_pool)
        except (ValueError, TypeError, AttributeError):
            pass  # its frames hold the address
        else:
            return
        raise InvalidRequestError(
            f"{argument} must be {FORM}, and after a '?' only options of redis.Redis; it is not shown here, because it may "
            "hold a password"
        )

    def client(self, options: Mapping[str, object]) -> Any:  # noqa: ANN401 -- redis.Redis, which is optional
        """A client, which opens a connection when it is first used.

        It does not own its pool: one that does would close it when a child drops it, and wait there for ever for the
        pool's lock, should one of the parent's threads have held that at the fork.
        """
        redis = library()
        password = None if self.password is None else self.password.get_secret_value()
        return redis.Redis(connection_pool=redis.ConnectionPool.from_url(self.url, password=password, **options))


class Server:
    """Clients of one server, one for each process: a parent's connections are the parent's.

    Args:
        timeout: Seconds to connect, and for one answer.
        retries: How often a request is sent again over a new connection.
    """

    def __init__(self, address: Address, *, timeout: float, retries: int) -> None:
        self.address = address
        retry: Any = library().retry.Retry(library().backoff.NoBackoff(), retries)
        self._options = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": retry}
        self._client: Any = None
        self._process = 0
        self._lock = fork_lock()

    def client(self) -> Any:  # noqa: ANN401 -- redis.Redis, which is optional
        """This process's."""
        with self._lock:
            if self._client is None or self._process != os.getpid():
                self._client, self._process = self.address.client(self._options), os.getpid()
            return self._client

    def close(self) -> None:
        """Close the connections of this process; they are opened again when they are needed."""
        if self._client is not None and self._process == os.getpid():
            self._client.connection_pool.disconnect()


def library() -> Any:  # noqa: ANN401 -- the module, which is optional
    """The package redis, which takes 0.3 s to import: too long for a call."""
    try:
        with UNDIVIDED:
            for module in ("redis.retry", "redis.backoff"):
                importlib.import_module(module)
            return importlib.import_module("redis")
    except ModuleNotFoundError as error:
        raise InvalidRequestError("Redis needs its package: pip install 'rerankkit[redis]'") from error


def _try(pool: Any) -> None:  # noqa: ANN401 -- redis.ConnectionPool, as above
    """Make a connection without opening it."""
    pool.connection_class(**pool.connection_kwargs)


def _split(name: str, url: SecretValue | None) -> tuple[str, SecretValue | None]:
    """A URL without its password, and the password; neither errors nor their frames show it."""
    parts = None if url is None else _parts(url)
    if parts is None:
        raise InvalidRequestError(
            f"{name} must be {FORM} or 'redis://name:password@host' (a name alone as 'name:@'), with any / @ : of a password "
            "written %2F %40 %3A; it is not shown here, because it may hold one"
        )
    user, host = parts.username, parts.netloc.rpartition("@")[2]
    bare = parts._replace(netloc=f"{user}:@{host}" if user else host).geturl()
    return bare, hidden(unquote(parts.password) if parts.password else None)


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
    is_named = bool(parts.username) and parts.password is None  # most likely a password in the name's place
    odd = is_named or parts.netloc.count("@") > 1 or "@" in parts.path or "password" in parts.query.lower() or parts.fragment
    return parts if parts.scheme in SCHEMES and is_right and not odd else None
