"""The content of a reply as it arrives: decoded in bounded memory, and never more than `MAX_REPLY_BYTES` of it.

HTTP libraries inflate whatever they are given, whole chunks at a time: 300 kB on the wire became 300 MB in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Protocol

MAX_REPLY_BYTES = 16 * 1024 * 1024  # 1,000 results are 45 kB; the rest is room for echoed documents
ACCEPTED = "gzip, deflate"  # what `Content` decodes, as Accept-Encoding says it

PIECE = 65_536  # bytes inflated at a time
GZIP, ZLIB, BARE = 31, 15, -15  # zlib's numbers for the three forms
GZIP_MARK = b"\x1f\x8b"
HEAD = 2  # bytes that tell what begins


class UnreadableReplyError(Exception):
    """A reply that is too long, or in a form that was not asked for; what was to follow was not read."""


class BrokenReplyError(Exception):
    """A compressed reply that is not whole."""


class Content:
    """Takes a reply's bytes as they arrive.

    Raises:
        UnreadableReplyError: At once, if its headers say that it is too long or in another coding.
        BrokenReplyError: At once, if they say in two ways where it ends: two readers would see two replies (RFC 9112, 6.3).
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._found = bytearray()
        self._coding = _coding(headers.get("content-encoding", ""))
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > MAX_REPLY_BYTES:
            raise _too_long()
        if length and "transfer-encoding" in headers:
            raise BrokenReplyError("the answer has both a length and chunks")

    def add(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            UnreadableReplyError: They are too many.
            BrokenReplyError: They are not what the reply's coding allows.
        """
        for piece in self._coding.pieces(chunk):
            self._found += piece
            if len(self._found) > MAX_REPLY_BYTES:
                self._found.clear()  # the error's traceback keeps this object for a while
                raise _too_long()

    def whole(self) -> bytes:
        """All of it, decoded."""
        if self._coding.is_cut:
            raise BrokenReplyError("the compressed answer ends too early")
        return bytes(self._found)


def _too_long() -> UnreadableReplyError:
    return UnreadableReplyError(f"the answer is longer than {MAX_REPLY_BYTES:,} bytes")


class _Plain:
    """No coding."""

    is_cut = False

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk


class _Inflater(Protocol):
    """zlib's own object."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    """Inflates piece by piece; one member may follow another (RFC 1952), and what else follows is ignored."""

    def __init__(self) -> None:
        self._head = b""
        self._inflater: _Inflater | None = None

    @property
    def is_cut(self) -> bool:
        """Whether something is missing at the end."""
        return bool(self._head) if self._inflater is None else not self._inflater.eof

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """*chunk*, inflated, in pieces of bounded size."""
        rest, self._head = self._head + chunk, b""
        while rest and (inflater := self._ready_for(rest)):
            try:
                yield inflater.decompress(rest, PIECE)
            except zlib.error as error:
                raise BrokenReplyError("the compressed answer is damaged") from error
            rest = inflater.unconsumed_tail or inflater.unused_data

    def _ready_for(self, rest: bytes) -> _Inflater | None:
        """What inflates *rest*; None if that is too short to tell, or nothing to inflate."""
        if self._inflater is not None and not self._inflater.eof:
            return self._inflater
        if len(rest) < HEAD:
            self._head = rest
            return None
        begun = self._begin(rest)
        self._inflater = begun or self._inflater
        return begun

    def _begin(self, start: bytes) -> _Inflater | None:
        """A new inflater, if *start* begins something to inflate."""
        return zlib.decompressobj(GZIP) if self._inflater is None or start.startswith(GZIP_MARK) else None


class _Deflate(_Gzip):
    """zlib's form, or the bare one that some servers mean by the name."""

    def _begin(self, start: bytes) -> _Inflater | None:
        if self._inflater is not None:
            return None
        is_zlib = start[0] & 0x0F == zlib.DEFLATED and int.from_bytes(start[:HEAD]) % 31 == 0  # RFC 1950
        return zlib.decompressobj(ZLIB if is_zlib else BARE)


def _coding(name: str) -> _Plain | _Gzip:
    """What undoes the coding *name*.

    Raises:
        UnreadableReplyError: It was not asked for.
    """
    match name.strip().lower():
        case "" | "identity":
            return _Plain()
        case "gzip" | "x-gzip":
            return _Gzip()
        case "deflate":
            return _Deflate()
        case _:
            raise UnreadableReplyError(f"the answer is in a coding that was not asked for: {name[:100]!r}")
