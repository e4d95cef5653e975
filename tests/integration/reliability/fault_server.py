"""A raw-socket server in a process of its own, that answers each request as its script says.

``with running.stage("cohere") as stage: stage.play(Status(503), resets_in_body)``: the first request meets the first
fault, the second the second, and all others a right answer, whose scores are `score_of` query and text.
"""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from random import Random
from typing import Any
from zlib import crc32

from helpers.server import Received
from integration.reliability.faults import BY_NAME, Fault, Gone, Talk, good


def score_of(query: str, text: str) -> float:
    """The score of a pair: an answer to another query, or about another text, shows."""
    return crc32(f"{query}\0{text}".encode("utf-8", "replace")) / 2**32


@dataclass
class Script:
    """What happens to the requests of one stage, and what has happened.

    Attributes:
        faults: One for each of the next requests.
        always: For each request after those.
        chance: How likely a request meets one of *kinds* instead.
    """

    service: str
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault = good
    chance: float = 0.0
    kinds: Sequence[Fault] = ()
    random: Random = field(default_factory=lambda: Random(7))
    requests: list[Received] = field(default_factory=list)
    count: int = 0
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, *, at_accept: bool = False) -> Fault | None:
        """The next request's fault; at a connection's beginning only one that is meant for there."""
        with self.lock:
            if at_accept:
                return self.faults.popleft() if self.faults and hasattr(self.faults[0], "at_accept") else None
            if self.faults:
                return self.faults.popleft()
            return self.random.choice(self.kinds) if self.random.random() < self.chance else self.always

    def note(self, request: Received) -> None:
        with self.lock:
            self.count += 1
            self.requests.append(request)
            del self.requests[:-1_000]


def serve_connection(connection: socket.socket, script: Script) -> None:
    """All requests of one connection, one after the other."""
    answer = BY_NAME[script.service].scored(score_of)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, suppress(OSError, Gone):
        fault = script.next(at_accept=True)
        while True:
            head = b"" if fault else connection.recv(65_536)
            if not fault and not head:
                return
            talk = Talk(connection, answer, script.random, head, note=script.note)
            (fault or script.next() or good)(talk)
            fault = None


def accept_all(listener: socket.socket, script: Script) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            script.connections += 1
            threading.Thread(target=serve_connection, args=(connection, script), daemon=True).start()


def serve(control: Connection) -> None:
    """The server's process: obeys until its parent hangs up."""
    stages: dict[int, tuple[socket.socket, Script]] = {}
    with suppress(EOFError):
        while True:
            name, arguments = control.recv()
            control.send(COMMANDS[name](stages, *arguments))


def _open(stages: dict[int, Any], service: str) -> int:
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    port = listener.getsockname()[1]
    stages[port] = (listener, Script(service))
    threading.Thread(target=accept_all, args=stages[port], daemon=True).start()
    return port


def _close(stages: dict[int, Any], port: int) -> None:
    listener, _ = stages.pop(port)
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


def _tell(stages: dict[int, Any], port: int, changes: dict[str, Any]) -> None:
    _, script = stages[port]
    with script.lock:
        for name, value in changes.items():
            setattr(script, name, value)


def _ask(stages: dict[int, Any], port: int, name: str) -> Any:
    return getattr(stages[port][1], name)


COMMANDS: dict[str, Any] = {"open": _open, "close": _close, "tell": _tell, "ask": _ask}


class Stage:
    """One address of the server, with a script of its own."""

    def __init__(self, server: FaultServer, service: str, port: int) -> None:
        self.service = service
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._server = server

    def play(self, *faults: Fault) -> None:
        """One fault for each of the next requests."""
        self._tell(faults=deque(faults))

    def always(self, fault: Fault) -> None:
        """The same fault for every request that no other is meant for."""
        self._tell(always=fault)

    def sometimes(self, chance: float, kinds: Sequence[Fault], seed: int = 7) -> None:
        """With this chance one of *kinds*."""
        self._tell(chance=chance, kinds=tuple(kinds), random=Random(seed))

    def heal(self) -> None:
        """No further faults; those under way go on."""
        self._tell(faults=deque(), always=good, chance=0.0)

    @property
    def requests(self) -> list[Received]:
        """The last thousand that were read whole."""
        return self._ask("requests")

    @property
    def count(self) -> int:
        """How many requests were read whole."""
        return self._ask("count")

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return self._ask("connections")

    def _tell(self, **changes: Any) -> None:
        self._server.command("tell", self.port, changes)

    def _ask(self, name: str) -> Any:
        return self._server.command("ask", self.port, name)


class FaultServer:
    """The process; `stop` it, or let its parent end."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._control, theirs = context.Pipe()
        self._lock = threading.Lock()
        self._process = context.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def command(self, name: str, *arguments: Any) -> Any:
        with self._lock:
            self._control.send((name, arguments))
            return self._control.recv()

    @contextmanager
    def stage(self, service: str) -> Iterator[Stage]:
        port = self.command("open", service)
        try:
            yield Stage(self, service, port)
        finally:
            self.command("close", port)

    def stop(self) -> None:
        self._control.close()
        self._process.join(5)
        self._process.kill()


def wait_until(condition: Any, seconds: float = 2.0) -> bool:
    """Whether *condition* came true in time."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < end:
        time.sleep(0.005)
    return bool(found)
