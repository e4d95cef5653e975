"""The emulator in a process of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rerankkit.emulator.kendra import PLAN_ID

KEY = "emulator-key"
"""A key the emulator takes, as it takes any other."""


def urls(base: str) -> dict[str, str]:
    """Each service's base URL, as its client takes it."""
    return {
        "cohere": f"{base}/cohere",
        "voyage": f"{base}/voyage/v1",
        "pinecone": f"{base}/pinecone",
        "kendra": f"{base}/kendra",
    }


def environment(base: str) -> dict[str, str]:
    """The environment variables that point clients at the emulator."""
    services = urls(base)
    return {
        "CO_API_URL": services["cohere"],
        "CO_API_KEY": KEY,
        "VOYAGE_BASE_URL": services["voyage"],
        "VOYAGE_API_KEY": KEY,
        "PINECONE_CONTROLLER_HOST": services["pinecone"],
        "PINECONE_API_KEY": KEY,
        "AWS_ENDPOINT_URL_KENDRA_RANKING": services["kendra"],
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_REGION": "us-east-1",
    }


def serve(sock: socket.socket, *, log_level: str = "warning") -> None:
    """Serve the emulator on a bound socket until the process is told to stop."""
    import uvicorn  # noqa: PLC0415 -- the parent of an emulator process needs no server

    from rerankkit.emulator.app import create_app  # noqa: PLC0415 -- as above

    config = uvicorn.Config(create_app(), log_level=log_level, lifespan="off", access_log=log_level == "info")
    uvicorn.Server(config).run(sockets=[sock])


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """A bound, listening socket; port 0 takes a free one.

    It names its protocol: asyncio sends small replies at once (TCP_NODELAY) only on sockets that do, and each reply
    would wait 40 ms for the client's delayed acknowledgement.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    sock.listen(2048)
    return sock


class Emulator:
    """A running emulator: ``with Emulator() as emulator: ...``.

    Attributes:
        url: Where it listens; each service under its name.
        urls: Each service's base URL, as its client takes it.
        environment: The environment variables that point clients at it.
        plan_id: A Kendra plan that is there from the start.
    """

    plan_id = PLAN_ID

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def urls(self) -> Mapping[str, str]:
        """Each service's base URL."""
        return urls(self.url)

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables that point clients here."""
        return environment(self.url)

    def start(self) -> None:
        """Start the process; it takes calls when this returns."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rerankkit.emulator", "--while-stdin-is-open"],
            stdin=subprocess.PIPE,  # closes with this process, however that ends
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C is for the parent, which ends this one
        )
        output = self._process.stdout
        self.url = output.readline().strip() if output else ""
        if not self.url:
            self.stop()
            raise RuntimeError("the emulator did not start; run `python -m rerankkit.emulator` to see why")

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()  # closes the pipes and waits
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
