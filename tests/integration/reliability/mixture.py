"""Transient faults of all kinds, as a bad day brings them: each is over with the next request."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from integration.reliability.faults import (
    Fault,
    Later,
    Raw,
    Status,
    Talk,
    closes_in_body,
    closes_without_a_word,
    http,
    resets_after_request,
    resets_at_accept,
    resets_in_body,
)

PAGE = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


@dataclass(frozen=True)
class Dripped:
    """The right answer in *pieces*, one every *pause* seconds."""

    pieces: int
    pause: float

    def __call__(self, talk: Talk) -> None:
        whole = http(talk.good())
        talk.drip(whole, self.pause, -(-len(whole) // self.pieces))


def closes_after_answer(talk: Talk) -> None:
    """As servers end kept connections: at once, and without saying so."""
    talk.reply(talk.good())
    talk.close()


@dataclass(frozen=True)
class Together:
    """Right answers to requests with *word* in them once *size* of those are there at the same time, and none before."""

    size: int
    word: str

    def __call__(self, talk: Talk) -> None:
        answer = talk.good()
        if talk.received and self.word.encode() in talk.received.body:
            _meeting(self).wait()
        talk.reply(answer)


_MEETINGS: dict[Together, threading.Barrier] = {}
_LOCK = threading.Lock()


def _meeting(fault: Together) -> threading.Barrier:
    with _LOCK:
        return _MEETINGS.setdefault(fault, threading.Barrier(fault.size))


HARMLESS: Mapping[str, Fault] = {
    "a slow answer": Later(0.1),
    "an answer in drips": Dripped(10, 0.01),
    "a connection closed after its answer": closes_after_answer,
}
"""What takes time, or a connection, and no attempt."""

FAILING: Mapping[str, Fault] = {
    "a reset at the connection's beginning": resets_at_accept,
    "a reset after the request": resets_after_request,
    "a reset in the body": resets_in_body,
    "a close without a word": closes_without_a_word,
    "a body that is cut short": closes_in_body,
    "broken chunks": Raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
    "a reply that is not HTTP": Raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    "408": Status(408),
    "425": Status(425),
    "429, Retry-After 0": Status(429, {"Retry-After": "0"}),
    "429, Retry-After 0.2": Status(429, {"Retry-After": "0.2"}),
    "500": Status(500),
    "502, a page": Status(502, {"Content-Type": "text/html"}, PAGE),
    "503": Status(503),
    "504": Status(504),
}
"""What takes the attempt that meets it."""

TRANSIENT: Mapping[str, Fault] = {**HARMLESS, **FAILING}
