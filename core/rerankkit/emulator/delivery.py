"""Sends replies: above HTTP where that will do, and on the bare connection where a fault asks for it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from rerankkit.emulator.faults import AnyFault, Close, Cut, Drip, Hang, Reset
from rerankkit.emulator.replies import Reply

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TRANSPORT = "rerankkit.transport"
"""The member of a scope's state that holds the connection, where the emulator's own server serves."""

NEEDS_SERVER = Reply(
    501,
    {"content-type": "text/plain"},
    b"This fault needs a connection: run the emulator with Emulator() or `rerankkit serve`, not as a bare application.",
)


async def deliver(reply: Reply, fault: AnyFault | None, scope: Scope, receive: Receive, send: Send) -> None:
    """Send *reply* as far, and in such a way, as *fault* lets it."""
    if fault is None or not fault.below_http:
        await _whole(reply, send)
        return
    transport = scope.get("state", {}).get(TRANSPORT)
    if transport is None:
        await _whole(NEEDS_SERVER, send)
        return
    await _on_connection(reply, fault, transport)
    await _gone(receive)


async def read(receive: Receive) -> bytes | None:
    """The whole body of a request; None if the client leaves before its end."""
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _whole(reply: Reply, send: Send) -> None:
    headers = [(name.encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
    headers.append((b"content-length", str(len(reply.content)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.content})


async def _on_connection(reply: Reply, fault: AnyFault, transport: asyncio.Transport) -> None:
    match fault:
        case Close():
            transport.close()
        case Reset():
            _reset(transport)
        case Cut():
            whole = reply.content or reply.head()
            transport.write((reply.head() if reply.content else b"") + whole[: int(len(whole) * fault.share)])
            await asyncio.sleep(0)  # the kernel has it before a reset takes it away
            _reset(transport) if fault.reset else transport.close()
        case Hang():
            transport.write(reply.head() if fault.headers else b"")
        case Drip():
            await _drip(reply, fault, transport)
        case _:
            raise NotImplementedError(type(fault).__name__)


async def _drip(reply: Reply, fault: Drip, transport: asyncio.Transport) -> None:
    head = reply.head()
    in_crumbs = fault.of == "headers" or not reply.content
    first, rest = (b"", head + reply.content) if in_crumbs else (head, reply.content)
    transport.write(first)
    for start in range(0, len(rest), fault.crumb):
        if transport.is_closing():
            return
        transport.write(rest[start : start + fault.crumb])
        await asyncio.sleep(fault.seconds)
    transport.close()


def _reset(transport: asyncio.Transport) -> None:
    """End the connection with RST: what was sent may be lost, as with a crashed server."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


async def left_within(seconds: float, receive: Receive) -> bool:
    """Whether the client leaves within *seconds*, which pass otherwise."""
    try:
        async with asyncio.timeout(seconds):
            await _gone(receive)
    except TimeoutError:
        return False
    return True


async def _gone(receive: Receive) -> None:
    """Wait until the connection has ended."""
    while (await receive())["type"] != "http.disconnect":
        pass
