"""The server under the application: uvicorn, with the connection in the application's reach."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rerankkit.emulator.app import Application
from rerankkit.emulator.delivery import TRANSPORT

PATIENCE = 1  # seconds a stopping server waits for replies under way


class _Protocol(HttpToolsProtocol):
    """Hands each request its connection, for what cannot be done above HTTP."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base declares it
        super().connection_made(transport)
        self.app_state = {**self.app_state, TRANSPORT: transport}


class Server(uvicorn.Server):
    """Serves an application on a listening socket, in whatever thread calls `run`."""

    def __init__(self, application: Application, sock: socket.socket, started: Callable[[], None] = lambda: None) -> None:
        super().__init__(
            uvicorn.Config(
                application,
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=75,
                timeout_graceful_shutdown=PATIENCE,
            )
        )
        self._application = application
        self._sock = sock
        self._started = started

    def serve_until_stopped(self) -> None:
        """Serve in this thread, until a signal or `should_exit` ends it."""
        self.run(sockets=[self._sock])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._application.release()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()
        threading.Thread(target=self._application.world.warm, daemon=True).start()


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """A bound, listening socket; port 0 takes a free one.

    It names its protocol: asyncio sends small replies at once (TCP_NODELAY) only on sockets that do, and each reply
    would wait 40 ms for the client's delayed acknowledgement.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(2048)
    return sock
