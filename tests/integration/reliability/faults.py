"""What a server can do wrong, one callable each; each serves one request of one connection.

A callable marked with `at_accept` takes its turn when a connection is opened, before anything is read.  Those with
arguments are frozen dataclasses, so that they can be sent to the server's process.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from helpers.server import Received, Reply
from helpers.services import SERVICES


class Gone(Exception):  # noqa: N818 -- no error: the talk is over
    """The connection is over."""


@dataclass
class Talk:
    """A request on its connection, as a fault meets it.

    Attributes:
        head: What has been received so far.
        random: Seeded; the same for the whole stage.
    """

    connection: socket.socket
    answer: Callable[[Received], Reply]
    random: Random
    head: bytes = b""
    received: Received | None = None
    note: Callable[[Received], None] = field(default=lambda _: None)

    def read(self) -> Received:
        """The whole request."""
        while b"\r\n\r\n" not in self.head:
            self.head += self._some()
        head, _, body = self.head.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += self._some()
        method, path, _ = first.split(" ")
        self.received = Received(method, path, headers, body)
        self.note(self.received)
        return self.received

    def _some(self) -> bytes:
        chunk = self.connection.recv(65_536)
        if not chunk:
            raise Gone
        return chunk

    def send(self, content: bytes) -> None:
        self.connection.sendall(content)

    def good(self) -> Reply:
        """The right answer to the request."""
        return self.answer(self.received or self.read())

    def reply(self, reply: Reply) -> None:
        self.send(http(reply))

    def drip(self, content: bytes, pause: float, size: int = 1) -> None:
        """*size* bytes now and then."""
        for start in range(0, len(content), size):
            self.send(content[start : start + size])
            time.sleep(pause)

    def reset(self) -> None:
        """RST instead of FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.connection.close()
        raise Gone


Fault: TypeAlias = Callable[[Talk], None]


def http(reply: Reply, **headers: str) -> bytes:
    """A complete reply on the wire; *headers* have underscores for hyphens, and an empty value leaves one out."""
    told = {"Content-Type": "application/json", "Content-Length": str(len(reply.content)), **reply.headers}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value)
    return f"HTTP/1.1 {reply.status} X\r\n{lines}\r\n".encode("latin-1") + reply.content


def at_accept(fault: Fault) -> Fault:
    fault.at_accept = True  # type: ignore[attr-defined]
    return fault


def good(talk: Talk) -> None:
    """No fault."""
    talk.reply(talk.good())


@dataclass(frozen=True)
class Status:
    """An error reply; the body is the service's own form unless it is given."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = None

    def __call__(self, talk: Talk) -> None:
        talk.read()
        talk.reply(Reply(b"{}" if self.body is None else self.body, self.status, self.headers))


@dataclass(frozen=True)
class Later:
    """The right answer after *seconds*."""

    seconds: float

    def __call__(self, talk: Talk) -> None:
        answer = talk.good()
        time.sleep(self.seconds)
        talk.reply(answer)


@dataclass(frozen=True)
class Raw:
    """These bytes in place of an answer, and the end of the connection."""

    content: bytes

    def __call__(self, talk: Talk) -> None:
        talk.read()
        talk.send(self.content)
        talk.close()


@at_accept
def resets_at_accept(talk: Talk) -> None:
    talk.reset()


def resets_after_request(talk: Talk) -> None:
    talk.read()
    talk.reset()


def resets_in_body(talk: Talk) -> None:
    whole = http(talk.good())
    talk.send(whole[: len(whole) - 20])
    time.sleep(0.01)  # a reset overtakes what was sent
    talk.reset()


def closes_in_body(talk: Talk) -> None:
    whole = http(talk.good())
    talk.send(whole[: len(whole) - 20])
    talk.close()


def closes_without_a_word(talk: Talk) -> None:
    talk.read()
    talk.close()


def says_nothing(talk: Talk) -> None:
    talk.read()
    time.sleep(3_600)


BY_NAME = {service.name: service for service in SERVICES}
