"""A reply is decoded in bounded memory, from the codings that were asked for, in chunks of any size."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest

from rerankkit import _content
from rerankkit._content import ACCEPTED, MAX_REPLY_BYTES, BrokenReplyError, Content, UnreadableReplyError

TEXT = b'{"results": [' + b'{"index": 0, "relevance_score": 0.5}, ' * 5_000 + b"]}"


def bare(content: bytes) -> bytes:
    return zlib.compress(content, wbits=-15)


CODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "none": ("", bytes),
    "identity": ("identity", bytes),
    "gzip": ("gzip", gzip.compress),
    "x-gzip, shouted": (" X-GZIP ", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", bare),
    "gzip in two members": ("gzip", lambda text: gzip.compress(text[:100]) + gzip.compress(text[100:])),
    "gzip with padding": ("gzip", lambda text: gzip.compress(text) + bytes(50)),
    "deflate that looks like zlib's form by its first byte": (
        "deflate",
        lambda text: b"\x08\x01\x00\xfe\xff" + text[:1] + bare(text[1:]),
    ),
    "deflate that looks like it by its check bits": (
        "deflate",
        lambda text: b"\x00\x1f\x00\xe0\xff" + text[:31] + bare(text[31:]),
    ),
    "deflate with padding": ("deflate", lambda text: zlib.compress(text) + bytes(50)),
}


def decoded(coding: str, sent: bytes, size: int) -> bytes:
    content = Content({"content-encoding": coding})
    for start in range(0, len(sent), size):
        content.add(sent[start : start + size])
    return content.whole()


@pytest.mark.parametrize("size", [1, 2, 3, 1_000, 1_000_000])
@pytest.mark.parametrize(("coding", "encode"), CODINGS.values(), ids=CODINGS)
def test_what_was_asked_for_is_decoded(coding: str, encode: Callable[[bytes], bytes], size: int) -> None:
    assert decoded(coding, encode(TEXT), size) == TEXT


def test_nothing_else_is_asked_for() -> None:
    assert ACCEPTED == "gzip, deflate"
    content = Content({})
    content.add(b"plain")
    assert content.whole() == b"plain"


@pytest.mark.parametrize("size", [1, 2])
def test_nothing_has_a_compressed_form_too(size: int) -> None:
    for coding, encode in (("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", bare)):
        assert decoded(coding, encode(b""), size) == b""
    assert len(bare(b"")) == 2


@pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
def test_no_content_is_no_content(coding: str) -> None:
    assert decoded(coding, b"", 1) == b""


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "deflate, br", "compress", "x" * 1_000])
def test_what_was_not_asked_for_is_refused_at_once(coding: str) -> None:
    with pytest.raises(UnreadableReplyError, match="a coding that was not asked for") as caught:
        Content({"content-encoding": coding})
    assert str(caught.value).endswith(f": {coding[:100]!r}")


@pytest.mark.parametrize("size", [1, 1_000])
@pytest.mark.parametrize(("coding", "encode"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", bare)])
def test_a_compressed_reply_that_is_cut_is_no_reply(coding: str, encode: Callable[[bytes], bytes], size: int) -> None:
    for missing in (1, 8, 30):
        with pytest.raises(BrokenReplyError, match="ends too early"):
            decoded(coding, encode(TEXT)[:-missing], size)
    with pytest.raises(BrokenReplyError, match="ends too early"):
        decoded(coding, encode(TEXT)[:1], size)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_reply_that_is_damaged_is_no_reply(coding: str) -> None:
    with pytest.raises(BrokenReplyError, match="damaged") as caught:
        decoded(coding, b"\xff" * 100, 10)
    assert isinstance(caught.value.__cause__, zlib.error)
    with pytest.raises(BrokenReplyError, match="damaged"):
        decoded("gzip", zlib.compress(TEXT), 1_000)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_reply_may_be_as_long_as_the_limit_and_no_longer(coding: str) -> None:
    encode = CODINGS[coding][1]
    assert len(decoded(coding, encode(bytes(MAX_REPLY_BYTES)), 65_536)) == MAX_REPLY_BYTES
    with pytest.raises(UnreadableReplyError, match="longer than 16,777,216 bytes"):
        decoded(coding, encode(bytes(MAX_REPLY_BYTES + 1)), 65_536)
    with pytest.raises(UnreadableReplyError, match="longer than 16,777,216 bytes"):
        decoded("", bytes(MAX_REPLY_BYTES + 1), 65_536)


@pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
def test_the_limit_counts_what_comes_out(coding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_content, "MAX_REPLY_BYTES", 100)
    encode = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}[coding]
    assert decoded(coding, encode(bytes(100)), 7) == bytes(100)
    with pytest.raises(UnreadableReplyError, match="longer than 100 bytes"):
        decoded(coding, encode(bytes(101)), 7)


@pytest.mark.parametrize("length", [str(MAX_REPLY_BYTES + 1), "2147483648", "9" * 100])
def test_a_reply_that_says_it_is_too_long_is_refused_at_once(length: str) -> None:
    with pytest.raises(UnreadableReplyError, match="longer than"):
        Content({"content-length": length})


@pytest.mark.parametrize("length", [str(MAX_REPLY_BYTES), "", "x", "-1"])
def test_other_lengths_are_the_librarys_business(length: str) -> None:
    assert Content({"content-length": length}).whole() == b""


def test_a_reply_with_a_length_and_chunks_is_refused_at_once() -> None:
    with pytest.raises(BrokenReplyError, match="both a length and chunks"):
        Content({"content-length": "5", "transfer-encoding": "chunked"})


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_what_was_too_long_is_let_go_of(coding: str) -> None:
    content = Content({"content-encoding": coding})
    text = bytes(MAX_REPLY_BYTES + 1)
    with pytest.raises(UnreadableReplyError):
        content.add(gzip.compress(text) if coding else text)
    assert content._found == b"", "the error's traceback would keep it"


def test_a_reply_that_ends_in_two_ways_is_refused_at_once() -> None:
    with pytest.raises(BrokenReplyError, match="both a length and chunks"):
        Content({"content-length": "3", "transfer-encoding": "chunked"})
    for headers in ({"content-length": "3"}, {"transfer-encoding": "chunked"}):
        assert Content(headers).whole() == b""
