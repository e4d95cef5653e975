"""What a server can do wrong, one callable each; each serves one request of one connection.

A callable marked with `at_accept` takes its turn when a connection is opened, before anything is read.  Those with
arguments are frozen dataclasses, so that they can be sent to the server's process.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import TypeAlias

from helpers.server import Received, Reply
from helpers.services import SERVICES

ZEROS = 300_000_000  # what each bomb unpacks to


class Gone(Exception):  # noqa: N818 -- no error: the talk is over
    """The connection is over."""


@dataclass
class Talk:
    """A connection and the request on it, as a fault meets it.

    Attributes:
        connection: A fault may put another in its place, such as one under TLS.
        head: What has been received so far of a request that was not read yet.
        random: Seeded; the same for the whole stage.
        number: Which request of its connection this one is, from 1.
    """

    connection: socket.socket
    answer: Callable[[Received], Reply]
    random: Random
    head: bytes = b""
    received: Received | None = None
    number: int = 0
    note: Callable[[Received], None] = field(default=lambda _: None)

    def wait(self) -> bool:
        """Whether another request begins, once one does or the client has gone."""
        self.received = None
        self.number += 1
        self.head = self.head or self.connection.recv(65_536)
        return bool(self.head)

    def wait_for_the_end(self) -> None:
        """Until the client has gone."""
        while self.connection.recv(65_536):
            pass

    def read(self) -> Received:
        """The whole request."""
        while b"\r\n\r\n" not in self.head:
            self.head += self._some()
        head, _, body = self.head.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        while len(body) < length:
            body += self._some()
        self.head, body = body[length:], body[:length]
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

    def send_most(self) -> None:
        """The right answer without its end."""
        whole = http(self.good())
        self.send(whole[: len(whole) - 20])

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

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def http(reply: Reply, **headers: str) -> bytes:
    """A complete reply on the wire; *headers* have underscores for hyphens, and an empty value leaves one out."""
    told = {"Content-Type": "application/json", "Content-Length": str(len(reply.content)), **reply.headers}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    left_out = {name.replace("_", "-") for name, value in headers.items() if not value}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items() if name not in left_out)
    return f"HTTP/1.1 {reply.status} X\r\n{lines}\r\n".encode("latin-1") + reply.content


def at_accept(fault: Fault) -> Fault:
    fault.at_accept = True  # type: ignore[attr-defined]
    return fault


def good_opening(talk: Talk) -> None:
    """A connection that begins as one does."""


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
class Recoded:
    """The right answer with its bytes changed.

    Attributes:
        coding: Content codings that are applied to it, by their names in the header.
        charset: What its text is encoded in.
        before: Bytes in front of it, such as a byte order mark.
        told: The header instead of what *coding* says.
    """

    coding: str = ""
    charset: str = "utf-8"
    before: bytes = b""
    content_type: str = "application/json"
    told: str | None = None
    status: int = 200

    def __call__(self, talk: Talk) -> None:
        content = encoded(self.before + talk.good().content.decode().encode(self.charset), self.coding)
        told = self.coding if self.told is None else self.told
        talk.send(http(Reply(content, self.status, {"Content-Type": self.content_type}), Content_Encoding=told))


@dataclass(frozen=True)
class Replaced:
    """The right answer with some of its bytes replaced."""

    old: bytes
    new: bytes

    def __call__(self, talk: Talk) -> None:
        talk.reply(Reply(talk.good().content.replace(self.old, self.new, 1)))


@dataclass(frozen=True)
class Cut:
    """The right answer, compressed and without its end, told as if it were whole."""

    coding: str
    missing: int

    def __call__(self, talk: Talk) -> None:
        content = encoded(talk.good().content, self.coding)[: -self.missing]
        talk.send(http(Reply(content), Content_Encoding=self.coding))


@dataclass(frozen=True)
class Bomb:
    """A small reply that unpacks to `ZEROS` zeros, and more with each further coding undone."""

    coding: str
    status: int = 200

    def __call__(self, talk: Talk) -> None:
        talk.read()
        talk.send(http(Reply(bomb(self.coding), self.status), Content_Encoding=self.coding))


@cache
def bomb(coding: str) -> bytes:
    first, _, others = coding.partition(", ")
    return encoded({"zstd": _zstd_bomb, "br": _brotli_bomb}.get(first, lambda: _zlib_bomb(first))(), others)


def _zlib_bomb(coding: str) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, {"gzip": 31, "deflate": 15}[coding])
    piece = b"\0" * 1_000_000
    return b"".join(squeeze.compress(piece) for _ in range(ZEROS // len(piece))) + squeeze.flush()


def _zstd_bomb() -> bytes:
    """RFC 8878: one frame with a window of 128 KiB, and blocks that repeat one byte as often as a block may."""
    size = 128 * 1024
    blocks = [size << 3 | 1 << 1 for _ in range(ZEROS // size)] + [1 << 1 | 1]
    return b"\x28\xb5\x2f\xfd\x00\x38" + b"".join(block.to_bytes(3, "little") + b"\0" for block in blocks)


def _brotli_bomb() -> bytes:
    """Any bytes: whoever undoes this coding fails on them, and nobody asked for it."""
    return bytes(range(256)) * 1_000


@dataclass(frozen=True)
class Endless:
    """A reply without an end, as fast as it is read; *length* is what its headers tell, None: it comes in chunks."""

    length: int | None = None

    def __call__(self, talk: Talk) -> None:
        talk.read()
        piece = b" " * 100_000
        if self.length is None:
            talk.send(CHUNKED)
            piece = b"%x\r\n%s\r\n" % (len(piece), piece)
        else:
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % self.length)
        while True:
            talk.send(piece)


@dataclass(frozen=True)
class LongHead:
    """Headers without an end, as fast as they are read."""

    line: bytes = b"X-More: and more\r\n"

    def __call__(self, talk: Talk) -> None:
        talk.read()
        talk.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            talk.send(self.line * 1_000)


@dataclass(frozen=True)
class Framed:
    """The right answer with other headers around it; ``{length}`` and ``{body}`` stand for those of the answer.

    Attributes:
        chunked: Whether the body comes in one chunk.
    """

    head: bytes
    chunked: bool = False

    def __call__(self, talk: Talk) -> None:
        content = talk.good().content
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content) if self.chunked else content
        talk.send(self.head.replace(b"{length}", b"%d" % len(content)) + body)
        talk.close()


@dataclass(frozen=True)
class Tls:
    """How a connection begins under TLS; *certificate* is a file with the key and the chain."""

    certificate: str

    def __call__(self, talk: Talk) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        talk.connection = context.wrap_socket(talk.connection, server_side=True)


@dataclass(frozen=True)
class Tunnel:
    """What a proxy does that is itself the place where all tunnels end: it answers what comes through them."""

    certificate: str

    def __call__(self, talk: Talk) -> None:
        if talk.read().method != "CONNECT":
            good(talk)
            return
        talk.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        Tls(self.certificate)(talk)


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
    talk.send_most()
    time.sleep(0.01)  # a reset overtakes what was sent
    talk.reset()


def closes_in_body(talk: Talk) -> None:
    talk.send_most()
    talk.close()


def closes_in_chunks(talk: Talk) -> None:
    """Without the last chunk."""
    content = talk.good().content
    talk.send(CHUNKED + b"%x\r\n%s\r\n" % (len(content), content))
    talk.close()


@dataclass(frozen=True)
class ClosesAfter:
    """The right answer, and the end of the connection so many seconds later; *told* announces it."""

    seconds: float = 0.0
    told: bool = False

    def __call__(self, talk: Talk) -> None:
        talk.send(http(talk.good(), Connection="close" if self.told else ""))
        time.sleep(self.seconds)
        talk.close()


@dataclass(frozen=True)
class EndsReused:
    """The first request of a connection is answered; at the second it ends without a word."""

    resets: bool = False

    def __call__(self, talk: Talk) -> None:
        if talk.number == 1:
            good(talk)
            return
        talk.read()
        talk.reset() if self.resets else talk.close()


def closes_without_a_word(talk: Talk) -> None:
    talk.read()
    talk.close()


def says_nothing(talk: Talk) -> None:
    talk.read()
    talk.wait_for_the_end()


def stops_in_body(talk: Talk) -> None:
    talk.send_most()
    talk.wait_for_the_end()


@at_accept
def hardly_reads(talk: Talk) -> None:
    """A byte a second, and a window that stays small."""
    talk.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    while talk.connection.recv(1):
        time.sleep(1)


@dataclass(frozen=True)
class Drip:
    """*head*, then *drop* again and again, until the client has gone."""

    head: bytes
    drop: bytes
    pause: float = 0.05

    def __call__(self, talk: Talk) -> None:
        talk.read()
        talk.send(self.head)
        while True:
            talk.send(self.drop)
            time.sleep(self.pause)


@dataclass(frozen=True)
class DripsBody:
    """The right body, a byte at a time, after its headers."""

    coding: str = ""
    status: int = 200
    pause: float = 0.2

    def __call__(self, talk: Talk) -> None:
        body = encoded(talk.good().content, self.coding)
        whole = http(Reply(body, self.status), Content_Encoding=self.coding)
        talk.send(whole[: -len(body)])
        talk.drip(body, self.pause)


def encoded(content: bytes, coding: str) -> bytes:
    """*content* in a content coding; several are applied one after the other."""
    for name in filter(None, coding.split(", ")):
        content = {"gzip": gzip.compress, "deflate": zlib.compress}[name](content)
    return content


BY_NAME = {service.name: service for service in SERVICES}
