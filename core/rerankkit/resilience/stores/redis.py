"""Scores in a Redis server, which all processes share (extra: redis)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rerankkit._checks import check_seconds, shown
from rerankkit._secret import SecretValue, hidden
from rerankkit.errors import InvalidRequestError
from rerankkit.resilience._redis import Address, Server
from rerankkit.resilience.stores.store import BaseStore, check_ttl


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
        address = Address.find("url", given, password)
        self._ttl = check_ttl(ttl)
        if not isinstance(prefix, str):
            raise InvalidRequestError(f"prefix must be a str, got {shown(prefix)}")
        self._prefix = prefix
        self._server = Server(address, timeout=check_seconds("timeout", timeout), retries=0)
        if given is not None:
            self._remember(url=address.url)

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """The values of those *keys* that are there."""
        values = self._server.client().mget([self._prefix + key for key in keys])
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    def set_many(self, items: Mapping[str, bytes]) -> None:
        """Keep *items*."""
        milliseconds = None if self._ttl is None else math.ceil(self._ttl * 1_000)
        with self._server.client().pipeline(transaction=False) as pipeline:
            for key, value in items.items():
                pipeline.set(self._prefix + key, value, px=milliseconds)
            pipeline.execute()

    def close(self) -> None:
        """Close the connections; they are opened again when they are needed."""
        self._server.close()
