"""Requests over HTTP, sent through the pools of one client.

None crosses a fork.  Redirects are never followed: on another host they would carry key and texts along.
"""

from __future__ import annotations

import weakref
from queue import Empty, SimpleQueue

from rerankkit._deadline_stream import Timeout
from rerankkit._library import check_transport, default_transport, prepare
from rerankkit._pools import Pools
from rerankkit._wire import HttpRequest, HttpResponse, Transport
from rerankkit.deadline import Deadline
from rerankkit.errors import InvalidRequestError

prepare(default_transport())  # with this module: 50 to 100 ms are too long for a first call, or for an event loop


class Http:
    """Sends requests to one base URL; safe to share among threads, event loops and forked processes.

    Attributes:
        bears_cancellation: Whether a task that waits for a reply in an event loop may be cancelled at any time. httpx, and
            its like, would leave a connection taken for ever.
    """

    def __init__(self, base_url: str, transport: Transport | None = None) -> None:
        self.base_url = base_url
        self.transport: Transport = check_transport(transport) or default_transport()
        prepare(self.transport)  # before the first call, which may hold up an event loop
        self.bears_cancellation = self.transport == "aiohttp"
        self._closed = False
        self._pools = self._new_pools()

    def __reduce__(self) -> tuple[type[Http], tuple[str, Transport]]:
        return (Http, (self.base_url, self.transport))  # a copy, or a pickle, opens connections of its own

    def send(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        """The reply to *request*, waited for in the calling thread.

        Raises:
            TimeoutError: None came before *deadline*.
            TransportError: None can come.
            UnreadableReplyError: It is too long, or in a coding that was not asked for.
        """
        slots = self._open_pools().slots
        _take(slots, deadline)
        try:
            pool = self._open_pools().blocking()  # it may have been closed during the wait
            return pool.send(request, Timeout.until(deadline))
        finally:
            slots.put(None)

    async def asend(self, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        """The same in the running event loop; the caller bounds it by *deadline*."""
        async with (await self._open_pools().of_loop()).slots:
            found = await self._open_pools().of_loop()  # as above
            return await found.pool.asend(request, Timeout.until(deadline))

    def close(self) -> None:
        """Close what blocking calls opened; what an event loop has open is closed with the loop."""
        self._closed = True
        self._pools.close()

    async def aclose(self) -> None:
        """Close what blocking calls and the running event loop opened."""
        self.close()  # first, so that calls under way open nothing more
        await self._pools.close_loop()

    def _open_pools(self) -> Pools:
        if self._closed:
            raise InvalidRequestError("this client is closed: make a new one")
        if not self._pools.is_own():
            _INHERITED.append(self._pools)
            self._pools = self._new_pools()
        return self._pools

    def _new_pools(self) -> Pools:
        pools = Pools(self.base_url, self.transport)
        weakref.finalize(self, pools.abandon)  # whoever drops this object without closing it leaves nothing open
        return pools


_INHERITED: list[Pools] = []
"""Pools of a parent process.  Their sockets are the parent's: closing them, even by garbage collection, could
write to its connections, and using them would read its answers."""


def _take(slots: SimpleQueue[None], deadline: Deadline) -> None:
    """One of *slots*.

    Raises:
        TimeoutError: None came free before *deadline*.
    """
    try:
        slots.get(timeout=deadline.remaining())
    except Empty:
        raise TimeoutError("no connection came free") from None
