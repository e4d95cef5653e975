"""What is said over one connection, without the connection."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from rerankkit import _h11_connection, _library
from rerankkit._content import MAX_REPLY_BYTES, UnreadableReplyError
from rerankkit._deadline_stream import CHUNK, HEAD_CHUNK, Timeout
from rerankkit._h11_connection import KEPT_SECONDS, MAX_EVENT_BYTES, Talk
from rerankkit._over_httpx import target
from rerankkit._wire import HttpRequest, HttpResponse
from rerankkit.deadline import Deadline

LIBRARY = _library.load(_library.default_transport())
URL = "http://service:8080/v2/rerank"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
REPLY = HEAD + b"ok"


class Said:
    """One exchange, driven by hand.

    Args:
        reads: What comes, read by read; one more is a failed test.
        writes: How many succeed.
    """

    def __init__(
        self,
        talk: Talk,
        *reads: bytes,
        content: bytes = b"{}",
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
        writes: int = 9,
    ) -> None:
        self.written: list[bytes] = []
        self.left = deque(reads)
        self.timeout = Timeout.until(Deadline(9))
        self._writes = writes
        request = HttpRequest(URL, headers or {}, content, method=method)
        self._steps = talk.exchange(request, target(LIBRARY, URL), self.timeout)

    def reply(self) -> HttpResponse:
        try:
            wanted = next(self._steps)
            while True:
                wanted = self._steps.send(self._done(wanted))
        except StopIteration as stop:
            found: HttpResponse = stop.value
            return found

    def _done(self, wanted: bytes | None) -> bytes | None:
        if wanted is None:
            return self.left.popleft()
        if len(self.written) == self._writes:
            return None
        self.written.append(wanted)
        return b""


@pytest.fixture
def talk() -> Talk:
    return Talk(LIBRARY.httpcore)


def padded(size: int) -> bytes:
    """A reply of *size* bytes."""
    return REPLY.replace(b"OK\r\n", b"OK\r\nX: %s\r\n" % (b"x" * (size - len(REPLY) - 5)))


def test_a_request_is_a_head_and_its_content(talk: Talk) -> None:
    said = Said(talk, REPLY, headers={"X-One": "1"})
    assert said.reply().content == b"ok"
    head, content = said.written
    first, *lines = head.decode().split("\r\n")
    assert first == "POST /v2/rerank HTTP/1.1"
    assert lines[0] == "Host: service:8080"
    assert {"X-One: 1", "Content-Length: 2"} <= set(lines)
    assert content == b"{}"


@pytest.mark.parametrize(("method", "is_told"), [("POST", True), ("GET", False)])
def test_a_request_without_content_says_so_where_some_is_usual(talk: Talk, method: str, is_told: bool) -> None:
    said = Said(talk, REPLY, content=b"", method=method)
    assert said.reply().status == 200
    (head,) = said.written
    assert (b"Content-Length: 0\r\n" in head) is is_told
    assert talk.is_idle


def test_a_host_of_the_services_own_stands_in_the_place_of_the_addresss(talk: Talk) -> None:
    said = Said(talk, REPLY, headers={"Host": "behind.gateway"})
    said.reply()
    assert said.written[0].count(b"Host: ") == said.written[0].count(b"Host: behind.gateway\r\n") == 1


@pytest.mark.parametrize("size", [1, 7, 4_000], ids="{} at a time".format)
def test_a_reply_may_come_in_pieces(talk: Talk, size: int) -> None:
    chunked = b"HTTP/1.1 201 X\r\nTransfer-Encoding: chunked\r\nX-Twice: a\r\nX-Twice: b\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    found = Said(talk, *(chunked[at : at + size] for at in range(0, len(chunked), size))).reply()
    assert (found.status, found.headers["x-twice"], found.content) == (201, "a, b", b"abc")
    assert talk.is_idle


def test_one_request_follows_another_for_as_long_as_a_connection_is_kept(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(_h11_connection.time, "monotonic", lambda: now)
    for body in (b"ab", b"cd"):
        assert Said(talk, HEAD + body).reply().content == body
        assert talk.is_idle
        now += KEPT_SECONDS
        assert not talk.has_expired()
    now += 0.1
    assert talk.has_expired()


def test_it_is_not_idle_before_its_first_request_nor_during_one(talk: Talk) -> None:
    assert not talk.is_idle
    Said(talk, REPLY).reply()
    with pytest.raises(LIBRARY.httpcore.RemoteProtocolError):
        Said(talk, HEAD, b"").reply()
    assert not talk.is_idle


LAST = {
    "the reply says so": ([REPLY.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")], {}),
    "the request says so": ([REPLY], {"Connection": "close"}),
    "of HTTP/1.0": ([REPLY.replace(b"1.1", b"1.0")], {}),
    "ends with the connection": ([b"HTTP/1.1 200 OK\r\n\r\nok", b""], {}),
    "another one in the same read": ([REPLY + REPLY], {}),
    "a byte too many": ([HEAD, b"ok\n"], {}),
    "filled the read of a head": ([padded(HEAD_CHUNK)], {}),
    "filled the read of a content": ([HEAD.replace(b"2\r", b"%d\r" % CHUNK), b"x" * CHUNK], {}),
}


@pytest.mark.parametrize(("reads", "headers"), LAST.values(), ids=LAST)
def test_no_request_follows_where_its_reply_might_not_be_its_own(talk: Talk, reads: list[bytes], headers: Any) -> None:
    said = Said(talk, *reads, headers=headers)
    assert said.reply().status == 200
    assert not said.left
    assert not talk.is_idle


@pytest.mark.parametrize("size", [HEAD_CHUNK - 1, HEAD_CHUNK + 1])
def test_a_reply_that_did_not_fill_its_read_is_followed_by_others(talk: Talk, size: int) -> None:
    Said(talk, padded(size)).reply()
    assert talk.is_idle


def test_interim_replies_are_passed_over(talk: Talk) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    assert Said(talk, interim, interim + REPLY).reply().content == b"ok"
    assert talk.is_idle


BROKEN = {
    "nothing": ([b""], "without sending a response"),
    "nothing after an interim one": ([b"HTTP/1.1 100 Continue\r\n\r\n", b""], "without sending a response"),
    "half a head": ([HEAD[:20], b""], "without sending a response"),
    "half a content": ([HEAD + b"o", b""], "complete message body"),
    "half a chunk": ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab", b""], "complete message body"),
    "no HTTP": ([b"SSH-2.0-OpenSSH\r\n\r\n"], "illegal status line"),
    "another protocol, which nobody asked for": ([b"HTTP/1.1 101 X\r\nUpgrade: x\r\n\r\n"], "SWITCH"),
    "a head without an end": ([b"HTTP/1.1 200 OK\r\nX: ", b"x" * (MAX_EVENT_BYTES + 1)], "too long"),
}


@pytest.mark.parametrize(("reads", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_whole_reply_is_the_librarys_error(talk: Talk, reads: list[bytes], reason: str) -> None:
    said = Said(talk, *reads)
    with pytest.raises(LIBRARY.httpcore.RemoteProtocolError, match=reason):
        said.reply()
    assert not said.left
    assert not talk.is_idle


@pytest.mark.parametrize("writes", [0, 1], ids=["the head", "the content"])
def test_who_could_not_write_reads_and_says_nothing_more(talk: Talk, writes: int) -> None:
    said = Said(talk, HEAD.replace(b"200 OK", b"413 Too Large") + b"no", writes=writes)
    assert said.reply().status == 413
    assert len(said.written) == writes
    assert not talk.is_idle, "half a request stands before the next one"


def test_who_could_neither_write_nor_read_tells_the_latter(talk: Talk) -> None:
    with pytest.raises(LIBRARY.httpcore.RemoteProtocolError, match="disconnected"):
        Said(talk, b"", writes=0).reply()


def test_a_head_is_told_before_its_content_and_refused_with_it_unread(talk: Talk) -> None:
    said = Said(talk, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_REPLY_BYTES + 1))
    with pytest.raises(UnreadableReplyError):
        said.reply()
    assert said.timeout.answered
    assert not talk.is_idle


def test_without_a_head_nothing_is_answered(talk: Talk) -> None:
    said = Said(talk, b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD[:-2], b"")
    with pytest.raises(LIBRARY.httpcore.RemoteProtocolError):
        said.reply()
    assert not said.timeout.answered


UNSENDABLE: dict[str, tuple[dict[str, str], Callable[[], type[Exception]]]] = {
    "a line of its own": ({"X": "a\r\nY: b"}, lambda: LIBRARY.httpcore.LocalProtocolError),
    "in a name": ({"X\r\nY": "b"}, lambda: LIBRARY.httpcore.LocalProtocolError),
    "two framings": ({"Transfer-Encoding": "gzip"}, lambda: LIBRARY.httpcore.LocalProtocolError),
    "not of HTTP": ({"X": "\u0142"}, lambda: UnicodeError),
}


@pytest.mark.parametrize(("headers", "error"), UNSENDABLE.values(), ids=UNSENDABLE)
def test_of_a_request_that_would_be_two_nothing_is_said(
    talk: Talk, headers: Mapping[str, str], error: Callable[[], type[Exception]]
) -> None:
    said = Said(talk, headers=headers)
    with pytest.raises(error()):
        said.reply()
    assert said.written == []
    assert not talk.is_idle
