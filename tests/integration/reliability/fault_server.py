"""A raw-socket server in a process of its own, that answers each request as its script says.

``with running.stage("cohere") as stage: stage.play(Status(503), resets_in_body)``: the first request meets the first
fault, the second the second, and all others a right answer, whose scores are `score_of` query and text.
"""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from random import Random
from typing import Any, Literal, TypeAlias
from zlib import crc32

from helpers.server import Received
from integration.reliability.faults import BY_NAME, Fault, Gone, Talk, good, good_opening


def score_of(query: str, text: str) -> float:
    """The score of a pair: an answer to another query, or about another text, shows."""
    return crc32(f"{query}\0{text}".encode("utf-8", "replace")) / 2**32


@dataclass
class Script:
    """What happens to the requests of one stage, and what has happened.

    Attributes:
        opening: What happens on each connection before anything is read, such as a TLS handshake.
        faults: One for each of the next requests.
        always: For each request after those.
        chance: How likely a request meets one of *kinds* instead, each of them as likely as the next; those meant for a
            connection's beginning are met there.
        met: How often each fault was met, by its `label`.
        count: Requests that were read whole; a CONNECT to a proxy is none.
    """

    service: str
    opening: Fault | None = None
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault = good
    chance: float = 0.0
    kinds: Sequence[Fault] = ()
    random: Random = field(default_factory=lambda: Random(7))
    requests: list[Received] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)
    count: int = 0
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, *, at_accept: bool = False) -> Fault | None:
        """The next request's fault; at a connection's beginning only one that is meant for there."""
        with self.lock:
            fault = self._next(at_accept=at_accept)
            if fault is not None:
                self.met[label(fault)] += 1
            return fault

    def _next(self, *, at_accept: bool) -> Fault | None:
        if self.faults:
            return self.faults.popleft() if not at_accept or hasattr(self.faults[0], "at_accept") else None
        kinds = [kind for kind in self.kinds if hasattr(kind, "at_accept") == at_accept]
        if kinds and self.random.random() < self.chance * len(kinds) / len(self.kinds):
            return self.random.choice(kinds)
        return self.always if hasattr(self.always, "at_accept") == at_accept else None

    def note(self, request: Received) -> None:
        with self.lock:
            if request.method != "CONNECT":
                self.count += 1
            self.requests.append(request)
            del self.requests[:-1_000]


def label(fault: Fault) -> str:
    """A fault's name, and its arguments where it has any."""
    return getattr(fault, "__name__", None) or repr(fault)


def serve_connection(connection: socket.socket, script: Script) -> None:
    """All requests of one connection, one after the other."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    talk = Talk(connection, BY_NAME[script.service].scored(score_of), script.random, note=script.note)
    with suppress(OSError, Gone):
        (script.opening or good_opening)(talk)
        (script.next(at_accept=True) or good_opening)(talk)
        while talk.wait():
            (script.next() or good)(talk)
    talk.connection.close()


def accept_all(listener: socket.socket, script: Script) -> None:
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            script.connections += 1
            threading.Thread(target=serve_connection, args=(connection, script), daemon=True).start()


def serve(control: Connection) -> None:
    """The server's process: obeys until its parent hangs up."""
    stages: dict[int, Address] = {}
    with suppress(EOFError):
        while True:
            name, arguments = control.recv()
            control.send(COMMANDS[name](stages, *arguments))


@dataclass
class Address:
    """Where a stage is reached.

    Attributes:
        waiting: What fills its queue, so that no further connection is made.
    """

    listener: socket.socket
    script: Script
    waiting: list[socket.socket] = field(default_factory=list)

    def listen(self) -> None:
        """Accept connections."""
        for held in self.waiting:
            held.close()
        self.listener.listen(256)
        threading.Thread(target=accept_all, args=(self.listener, self.script), daemon=True).start()

    def fill(self) -> None:
        """Let the queue of connections that wait to be accepted be full."""
        self.listener.listen(0)
        for _ in range(8):
            held = socket.socket()
            held.setblocking(False)
            held.connect_ex(self.listener.getsockname())
            self.waiting.append(held)


def _open(stages: dict[int, Address], service: str, kind: Kind) -> int:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    address = Address(listener, Script(service))
    if kind == "usual":
        address.listen()
    elif kind == "deaf":
        address.fill()
    port: int = listener.getsockname()[1]
    stages[port] = address
    return port


def _close(stages: dict[int, Address], port: int) -> None:
    address = stages.pop(port)
    for held in address.waiting:
        held.close()
    with suppress(OSError):  # it never listened
        address.listener.shutdown(socket.SHUT_RDWR)
    address.listener.close()


def _listen(stages: dict[int, Address], port: int) -> None:
    stages[port].listen()


def _tell(stages: dict[int, Address], port: int, changes: dict[str, Any]) -> None:
    script = stages[port].script
    with script.lock:
        for name, value in changes.items():
            setattr(script, name, value)


def _ask(stages: dict[int, Address], port: int, name: str) -> Any:
    return getattr(stages[port].script, name)


COMMANDS: dict[str, Any] = {"open": _open, "close": _close, "listen": _listen, "tell": _tell, "ask": _ask}


Kind: TypeAlias = Literal["usual", "refusing", "deaf"]
"""How an address takes connections: as one does; not at all; or with a queue that is full, so that they hang."""


class Stage:
    """One address of the server, with a script of its own.

    Attributes:
        right: What happens to a request that meets no fault.
    """

    def __init__(self, server: FaultServer, service: str, port: int, kind: Kind) -> None:
        self.service = service
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.right: Fault = good
        self._server = server
        self._listens = kind == "usual"

    def open_with(self, opening: Fault) -> None:
        """Each connection begins with this."""
        self._tell(opening=opening)

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
        self._tell(faults=deque(), always=self.right, chance=0.0)
        if not self._listens:
            self._server.command("listen", self.port)
            self._listens = True

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

    @property
    def met(self) -> Counter[str]:
        """How often each fault was met, by its `label`."""
        return self._ask("met")

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
    def stage(self, service: str, kind: Kind = "usual") -> Iterator[Stage]:
        port = self.command("open", service, kind)
        try:
            yield Stage(self, service, port, kind)
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
