"""Between a client and its service: names with several addresses, proxies, and what botocore reads."""

from __future__ import annotations

import json
import logging
import socket
import time
from pathlib import Path
from typing import Any

import httpcore
import pytest

from helpers.server import Reply, recorder
from helpers.services import COHERE, KEY, PLAN_ID, Service
from helpers.stopwatch import Stopwatch
from helpers.ways import run
from rerankkit import (
    AuthenticationError,
    Client,
    Cohere,
    DeadlineExceededError,
    InvalidRequestError,
    Kendra,
    KendraPlans,
    RerankError,
    Retry,
)
from rerankkit._deadline_stream import DeadlineBackend, Timeout
from rerankkit._library import proxy_for
from rerankkit.deadline import Deadline


class Unreachable:
    """A network where connections are never made, or one that only the last address has."""

    def __init__(self, answering: str | None = None) -> None:
        self.answering = answering
        self.tried: list[str] = []

    def connect_tcp(self, host: str, port: int, timeout: float, *_: Any) -> Any:
        self.tried.append(host)
        if host == self.answering:
            return httpcore.MockStream([])
        time.sleep(timeout)
        raise httpcore.ConnectTimeout


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names = [f"192.0.2.{number}" for number in range(1, 5)]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (name, 443)) for name in names]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    return names


def test_all_addresses_of_a_name_share_one_deadline(addresses: list[str]) -> None:
    network = Unreachable()
    backend = DeadlineBackend(network, httpcore, lambda: False)
    stopwatch = Stopwatch()
    with pytest.raises(httpcore.ConnectTimeout):
        backend.connect_tcp("x.test", 443, Timeout.until(Deadline(0.4)))
    assert stopwatch.seconds() > 0.3
    assert stopwatch.own_seconds() < 0.6
    assert network.tried == addresses


def test_an_address_that_does_not_answer_leaves_time_for_the_next(addresses: list[str]) -> None:
    network = Unreachable(answering=addresses[2])
    DeadlineBackend(network, httpcore, lambda: False).connect_tcp("x.test", 443, Timeout.until(Deadline(0.4)))
    assert network.tried == addresses[:3]


def test_a_deadline_that_has_passed_is_no_failed_connection(service: Service, colour: str, transport: Any) -> None:
    with recorder(lambda _: Reply()) as server, Client(service.make(server.url), transport=transport) as client:
        with pytest.raises(DeadlineExceededError):
            run(colour, client, "rerank", "q", ["a"], timeout=1e-6)


@pytest.mark.parametrize("timeout", [1e9, 86_401])
def test_a_very_long_timeout_is_one(colour: str, timeout: float) -> None:
    with recorder(lambda _: Reply(COHERE.answer([(0, 0.5)]))) as server, Client(COHERE.make(server.url)) as client:
        assert len(run(colour, client, "rerank", "q", ["a"], timeout=timeout)) == 1


PROXIES = ["socks4://127.0.0.1:9", "://x", "http://[::1", "http://user:sekret@127.0.0.1:99999", "http://bad host:x"]


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(
    colour: str, transport: Any, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with Client(Cohere(api_key=KEY), transport=transport) as client:
        with pytest.raises(
            InvalidRequestError, match=r"proxy for api\.cohere\.com .* put api\.cohere\.com into NO_PROXY"
        ) as caught:
            run(colour, client, "rerank", "q", ["a"])
    assert "sekret" not in str(caught.value)


@pytest.mark.parametrize(
    ("exempt", "expected"),
    [("x.test:8443", None), ("x.test", None), (".test", None), ("x.test:443", "http://p:1"), ("*", None)],
)
def test_no_proxy_may_name_a_port(exempt: str, expected: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://p:1")
    monkeypatch.setenv("NO_PROXY", exempt)
    assert proxy_for("https://x.test:8443/v2") == expected


# AWS


def kendra(url: str) -> Client:
    return Client(Kendra(PLAN_ID, region="us-east-1", base_url=url))


BROKEN: dict[str, tuple[dict[str, str], str]] = {
    "a part of the keys": ({"AWS_ACCESS_KEY_ID": "AKID"}, "PartialCredentialsError"),
    "an unknown profile": ({"AWS_PROFILE": "nope"}, "ProfileNotFound"),
    "a file that is none": ({"AWS_CONFIG_FILE": "[profile x\nregion"}, "ConfigParseError"),
    "a program that fails": ({"AWS_CONFIG_FILE": "[default]\ncredential_process = /bin/false\n"}, "CredentialRetrievalError"),
    "a program that says nothing": ({"AWS_CONFIG_FILE": "[default]\ncredential_process = /bin/true\n"}, "JSONDecodeError"),
    "a token with its newline": (
        {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s" * 20, "AWS_SESSION_TOKEN": "sekret-token\n"},
        "white space at its start or end",
    ),
    "a key outside ASCII": ({"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "sekretü" * 3}, "characters outside ASCII"),
}


@pytest.mark.parametrize(("environment", "message"), BROKEN.values(), ids=BROKEN)
def test_aws_credentials_that_cannot_be_used_are_told_before_any_request(
    colour: str, environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in environment.items():
        if name == "AWS_CONFIG_FILE":
            (tmp_path / "config").write_text(value)
        monkeypatch.setenv(name, str(tmp_path / "config") if name == "AWS_CONFIG_FILE" else value)
    with recorder(lambda _: Reply()) as server, kendra(server.url) as client:
        with pytest.raises(InvalidRequestError, match=message) as caught:
            run(colour, client, "rerank", "q", ["a"])
    assert server.requests == []
    assert "sekret" not in str(caught.value)


def test_a_profile_that_is_not_there_is_told_at_construction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nope")
    for make in (lambda: Kendra(PLAN_ID), KendraPlans):
        with pytest.raises(InvalidRequestError, match="ProfileNotFound"):
            make()


def test_waiting_for_credentials_counts_against_the_deadline(
    colour: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text("[default]\ncredential_process = /bin/sleep 1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    with recorder(lambda _: Reply()) as server, kendra(server.url) as client:
        stopwatch = Stopwatch()
        with pytest.raises(DeadlineExceededError):
            client.rerank("q", ["a"], timeout=0.3)
        assert stopwatch.own_seconds() < 0.9
    assert server.requests == []


def test_secrets_of_the_credential_chain_are_masked_and_not_logged(
    colour: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, f"canary-{name}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    canonical = "x-amz-security-token:canary-AWS_SESSION_TOKEN canary-AWS_SECRET_ACCESS_KEY"
    refusal = Reply({"__type": "InvalidSignatureException", "message": canonical}, 403)
    with recorder(lambda _: refusal) as server, kendra(server.url) as client:
        with pytest.raises(AuthenticationError, match="InvalidSignatureException") as caught:
            run(colour, client, "rerank", "q", ["a"])
    assert server.requests[0].headers["x-amz-security-token"] == "canary-AWS_SESSION_TOKEN"
    assert "canary" not in str(caught.value)
    assert "canary" not in caplog.text


ODD_REPLIES: dict[str, Reply] = {
    "a redirect to nowhere": Reply(b"", 302, {"Location": "http://[::1"}),
    "a redirect to an impossible host": Reply(b"", 302, {"Location": "https://a]b[/x"}),
    "a date beyond time": Reply(b"{}", 503, {"Retry-After": "Mon, 01 Jan 2024 99999999999999999:00:00 GMT"}),
    "a day beyond all days": Reply(b"{}", 429, {"Retry-After": "99999999999999999999999 Jan 2024 00:00:00 GMT"}),
    "details without an end": Reply(b'{"detail": ' + b"[" * 900 + b"]" * 900 + b"}", 400),
    "nothing": Reply(b"", 204),
    "something else": Reply(json.dumps({}).encode(), 202),
    "not modified": Reply(b"", 304),
}


@pytest.mark.parametrize("reply", ODD_REPLIES.values(), ids=ODD_REPLIES)
def test_an_odd_reply_is_an_error_of_ours(service: Service, colour: str, reply: Reply) -> None:
    expected = {3: "InvalidResponseError", 2: "InvalidResponseError", 4: "BadRequestError|RateLimitError", 5: "ServerError"}
    with recorder(lambda _: reply) as server:
        with Client(service.make(server.url), retry=Retry(attempts=1)) as client, pytest.raises(RerankError) as caught:
            run(colour, client, "rerank", "q", ["a"])
    assert type(caught.value).__name__ in expected[reply.status // 100]
