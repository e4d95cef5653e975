"""The host that is checked is the host that is dialled; a key that is refused is not shown, one that is taken is harmless."""

from __future__ import annotations

import ipaddress
import pickle
import re
import string
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from helpers.properties import any_text, tries
from rerankkit import InvalidRequestError
from rerankkit._endpoint import Access, check_url, is_loopback
from rerankkit._secret import SHORTEST_KEY, Secret, check_key

# Addresses

PIECES = [
    *("http", "https", "HTTPS", "ftp", "://", ":", "/", "//", "///", "\\", "@", "?"),
    *("#", "[", "]", "%", ".", "..", "-", "_", ";"),
    *("localhost", "api.cohere.com", "evil.com", "a.b", "127.0.0.1", "127.1", "0x7f000001", "2130706433", "017700000001"),
    *("[::1]", "[::ffff:127.0.0.1]", "[fe80::1%25eth0]", "[v1.fe]", "169.254.169.254", "0.0.0.0", "224.0.0.1"),
    *(":443", ":80", ":0", ":99999", ":00080", ":-1", ":+1", ":\u0661", "user", "user:secret", "%2e", "%40", "%00", "%2F"),
    *(" ", "\t", "\n", "\r", "\x00", "\x7f", "\u00e9", "\u3002", "\uff0f", "\u2024", "\u200d", "xn--fiqs8s", "xn--a", "\ud800"),
]
labels = st.text(string.ascii_letters + string.digits + "-_", min_size=1, max_size=8)
hosts = (
    st.lists(labels, min_size=1, max_size=4).map(".".join)
    | st.ip_addresses(v=4).map(str)
    | st.ip_addresses(v=6).map(lambda address: f"[{address}]")
    | st.integers(0, 2**32).map(str)
    | st.integers(0, 2**32).map(hex)
    | st.sampled_from(PIECES)
)
QUAD = r"((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.|\Z)){4}"
ports = st.just("") | st.integers(0, 70_000).map(":{}".format) | st.sampled_from([":", ":00443", ":8\u0660"])
paths = st.sampled_from(
    ["", "/", "//", "/v1", "/v1/", "/a b", "/%2e%2e/x", "/../x", "/;x", "/@evil.com", "/\\evil.com", "?x", "#x"]
)
schemes = st.sampled_from(["https://", "http://"] * 4 + ["HTTPS://", "hTTp://", "https:", "https:/", "https:///", "//", ""])
whole = st.tuples(schemes, st.sampled_from([""] * 9 + ["user@", "a:b@", "@"]), hosts, ports, paths).map("".join)
scattered = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
known_hosts = st.sampled_from(["localhost", "127.0.0.1", "api.cohere.com", "[::1]"])
alike = st.tuples(
    st.sampled_from(["http://", "https://"]),
    st.sampled_from(["", "x", "evil.com.", "evil.com@", "-", "."]),
    known_hosts,
    st.sampled_from(["", "x", ".evil.com", "-", ".", "@evil.com", ":80@evil.com"]),
).map("".join)
urls = whole | whole | alike | scattered | scattered.map("https://{}".format) | any_text


def accepted(url: object) -> str | None:
    try:
        return check_url(url, allow_http=True)
    except InvalidRequestError:
        return None


@given(url=urls)
@tries(600)
def test_the_host_that_was_checked_is_the_host_that_is_dialled(url: str) -> None:
    """As httpx and urllib read it: each splits an address in its own way."""
    taken = accepted(url)
    if taken is None or _is_half_an_address(urlsplit(taken).hostname or ""):
        return
    checked = urlsplit(taken)
    dialled = httpx.URL(f"{taken}/rerank")
    assert dialled.scheme == checked.scheme
    assert dialled.raw_host.decode() == checked.hostname
    assert (dialled.port or _default(dialled.scheme)) == (checked.port or _default(checked.scheme))
    assert _host_of(Request(f"{taken}/rerank").host) == (checked.hostname, checked.port)


def _is_half_an_address(host: str) -> bool:
    """Whether it ends in a number and is none of the usual addresses: whom it means is up to each reader."""
    return host.rpartition(".")[2].isdigit() and re.fullmatch(QUAD, host) is None


def _default(scheme: str) -> int:
    return {"http": 80, "https": 443}[scheme]


def _host_of(netloc: str) -> tuple[str, int | None]:
    """As http.client splits it, which urllib dials by."""
    host, colon, port = netloc.rpartition(":") if not netloc.endswith("]") and ":" in netloc else (netloc, "", "")
    return host.strip("[]").lower(), int(port) if colon and port else None


@given(url=urls)
@tries(600)
def test_an_accepted_address_is_plain(url: str) -> None:
    """Nothing in it that a reader may take for something else, and nothing that a server would be told besides."""
    taken = accepted(url)
    if taken is None:
        return
    assert taken == url.rstrip("/")
    assert taken.isascii()
    assert taken.isprintable()
    assert not set(taken) & set(" \\?#")
    assert "@" not in urlsplit(taken).netloc
    assert check_url(taken, allow_http=True) == taken, "once accepted, always accepted"


@given(url=urls)
@tries(600)
def test_only_loopback_is_reached_without_encryption(url: str) -> None:
    try:
        taken = check_url(url, allow_http=False)
    except InvalidRequestError:
        return
    host = urlsplit(taken).hostname
    assert urlsplit(taken).scheme == "https" or host == "localhost" or ipaddress.ip_address(host).is_loopback
    assert urlsplit(taken).scheme == "https" or is_loopback(host)


@given(host=st.lists(st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z])?", fullmatch=True), min_size=1, max_size=4).map(".".join))
@tries(200)
def test_an_ordinary_name_is_accepted(host: str) -> None:
    """Refusing everything would satisfy the other properties."""
    assert accepted(f"https://{host}:8443/v1/") == f"https://{host}:8443/v1"


@pytest.mark.parametrize("value", [None, 3, b"https://api.example.com", ["https://api.example.com"]])
def test_what_is_no_text_is_no_address(value: object) -> None:
    assert accepted(value) is None


ACCESS = Access("cohere", ("CO_API_KEY",), "CO_API_URL", ("cohere.com", "cohere.ai"))


@given(url=urls, before=labels)
@tries(400)
def test_a_key_of_the_environment_goes_to_the_services_own_hosts_only(url: str, before: str) -> None:
    """Unless the environment names another: whoever passes an address alone has not said whose key that host may have."""
    key = Secret("environment-key-1", "cohere", ACCESS.key_names)
    key.from_environment = True
    for given_url in (url, url.replace("evil.com", f"{before}.cohere.com"), f"https://{before}cohere.com"):
        try:
            taken = ACCESS.url(given_url or None, "https://api.cohere.com", key, allow_http=True)
        except InvalidRequestError:
            continue
        host = httpx.URL(taken).raw_host.decode()
        assert host in ("cohere.com", "cohere.ai") or host.endswith((".cohere.com", ".cohere.ai"))


# Keys

near_keys = st.text(string.ascii_letters + string.digits + "-_/+=", min_size=SHORTEST_KEY, max_size=40).map("k7-{}".format)
spoilt = st.tuples(
    st.sampled_from(["", "Bearer ", "bearer ", " ", "\ufeff"]),
    near_keys,
    st.sampled_from(["", "\n", "\r\n", " ", "\x00", "\x7f", "\u00e9", "\u2028", "\ud800", " x", "\tx"]),
).map("".join)
keys = near_keys | spoilt | any_text | st.binary(max_size=20) | st.none() | st.integers()


@given(value=keys)
@tries(400)
def test_a_key_that_is_taken_is_printable_ascii_without_white_space(value: Any) -> None:
    """And one that is refused is not shown, neither in the error nor in where it came from."""
    try:
        taken = check_key("cohere", value)
    except InvalidRequestError as error:
        told = f"{error!r} {error.__cause__!r} {error.__context__!r}"
        core = value.strip("\ufeff \n\r\t\x00\x7f") if isinstance(value, str) else ""
        for part in (core, core.removeprefix("Bearer ").removeprefix("bearer ")):
            assert len(part) < SHORTEST_KEY or part not in told
        return
    assert taken == value
    assert taken.isascii()
    assert taken.isprintable()
    assert taken.split() == [taken]


@given(key=near_keys, text=any_text)
@tries(300)
def test_a_secret_is_in_nothing_that_shows_or_keeps_it(key: str, text: str) -> None:
    secret = Secret.find(key, "cohere", ("CO_API_KEY",))
    assume(key not in text)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        repr([secret]),
        repr(pickle.dumps(secret)),
        secret.mask(f"{text}{key}{text}".encode("utf-8", "replace")).decode(),
    ]
    assert not any(key in part for part in shown)
    assert secret.reveal() == key
    content = text.encode("utf-8", "replace")
    assert secret.mask(content) == content or b"\\" in content
