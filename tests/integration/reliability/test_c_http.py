"""Group C: what HTTP, and those between a client and its service, can do wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme

from helpers.canaries import KEY, key_options
from helpers.services import COHERE, KENDRA, PINECONE, VOYAGE, Service
from helpers.shared import SHARED, cassette, needs_shared, recording
from helpers.ways import run
from integration.reliability.fault_server import FaultServer, Stage
from integration.reliability.faults import (
    CHUNKED,
    Bomb,
    Cut,
    Drip,
    Endless,
    Fault,
    Framed,
    LongHead,
    Raw,
    Recoded,
    Replaced,
    Status,
    Tls,
    Tunnel,
    closes_in_body,
    closes_in_chunks,
    closes_without_a_word,
)
from integration.reliability.rows import row
from integration.reliability.trial import QUERY, SOON, TEXTS, Outcome, Trial
from rerankkit import (
    APIConnectionError,
    Client,
    ConflictError,
    DeadlineExceededError,
    InvalidRequestError,
    InvalidResponseError,
    ProviderError,
    ServerError,
    _library,
)

ONE_FAILURE = row("C1", "one 408, 425, 500, 502, 503 or 504", "is tried again")
PAGE = b"<!DOCTYPE html>\n<html><head><title>Bad Gateway</title></head><body><h1>Oops</h1></body></html>"
A_PAGE = {"Content-Type": "text/html"}
PAGES = row("C5", "a proxy's HTML page with a 502, 503 or 504", "is tried again; the error is short and holds no HTML")
CUT = row("C13", "a body shorter than its Content-Length, or without its last chunk", "is tried again; never a short result")

HEALS = [
    *(pytest.param(Status(status), id=f"C1-{status}", marks=ONE_FAILURE) for status in (408, 425, 500, 502, 503, 504)),
    *(pytest.param(Status(status, A_PAGE, PAGE), id=f"C5-{status}", marks=PAGES) for status in (502, 503, 504)),
    pytest.param(closes_in_body, id="C13-body", marks=CUT),
    pytest.param(closes_in_chunks, id="C13-chunks", marks=CUT),
]


@pytest.mark.parametrize("fault", HEALS)
def test_what_heals_is_tried_again(trial: Trial, fault: Fault) -> None:
    trial.stage.play(fault)
    outcome = trial()
    assert outcome.results == trial.expected()
    assert outcome.requests == 2


@row("C2", "a steady 500", "takes exactly the attempts allowed, then a ServerError")
def test_an_outage_takes_the_attempts_allowed(trial: Trial) -> None:
    trial.stage.always(Status(500))
    outcome = trial()
    assert isinstance(outcome.error, ServerError)
    assert outcome.error.attempts == outcome.requests == 3


REFUSED = row(
    "C3",
    "a 400, 401, 403, 404, 413 or 422",
    "is not tried again; its class says who is at fault, in the service's words, without the key",
)
REFUSALS: Mapping[int, str] = {
    400: "BadRequestError",
    401: "AuthenticationError",
    403: "PermissionDeniedError",
    404: "NotFoundError",
    413: "RequestTooLargeError",
    422: "BadRequestError",
}


@REFUSED
@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_is_not_tried_again(trial: Trial, status: int) -> None:
    trial.texts = TEXTS[:1]  # of several, a pointwise service may be asked about the halves
    words = f"what is wrong with {KEY} " + "and so on " * 1_000
    trial.stage.always(Status(status, body=trial.service.error(words)))
    outcome = trial()
    expected = REFUSALS[400] if trial.service is KENDRA else REFUSALS[status]  # AWS's type says more than its status
    assert type(outcome.error).__name__ == expected
    assert "what is wrong with **********" in str(outcome.error)
    assert len(str(outcome.error)) < 2_048
    assert outcome.requests == 1


def recorded_refusals() -> Iterator[Any]:
    """The error replies among the recordings, by service."""
    for service in (COHERE, VOYAGE, PINECONE):
        for path in sorted((SHARED / "wire").glob(f"{service.name}-fault-4*.json")):
            if path.stem.split("-")[2] in map(str, REFUSALS):
                yield pytest.param(service, path.stem, id=path.stem)


@REFUSED
@needs_shared
@pytest.mark.parametrize(("service", "name"), list(recorded_refusals()))
def test_a_recorded_refusal_keeps_the_services_words(core: Trial, name: str) -> None:
    reply = recording(name)["exchanges"][0]["reply"]
    assert_words_are_kept(core, reply["status"], reply["body"])


@REFUSED
@needs_shared
@pytest.mark.parametrize(
    ("service", "name"),
    [pytest.param(COHERE, "cohere-error-401", id="cohere"), pytest.param(VOYAGE, "voyage-error-400-model", id="voyage")],
)
def test_a_refusal_of_the_real_service_keeps_its_words(core: Trial, name: str) -> None:
    reply = cassette(name)["response"]
    assert_words_are_kept(core, reply["status"], reply["body_text"])


def assert_words_are_kept(trial: Trial, status: int, body: str) -> None:
    trial.texts = TEXTS[:1]
    trial.stage.always(Status(status, body=body.encode()))
    outcome = trial()
    assert type(outcome.error).__name__ == REFUSALS[status]
    assert any(" ".join(words.split())[:400] in str(outcome.error) for words in strings(body))
    assert "without an explanation" not in str(outcome.error)
    assert outcome.requests == 1


def strings(body: str) -> list[str]:
    """All texts in a JSON body, or the body if it is none."""
    try:
        waiting = [json.loads(body)]
    except ValueError:
        return [body]
    found: list[str] = []
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str):
            found.append(value)
    return found


@row("C4", "a 409", "is a ConflictError and not tried again: ranking changes nothing that could be in conflict")
def test_a_conflict_is_not_tried_again(trial: Trial) -> None:
    trial.stage.always(Status(409))
    outcome = trial()
    assert isinstance(outcome.error, ConflictError)
    assert outcome.requests == 1


@PAGES
@pytest.mark.parametrize("status", [502, 503, 504])
def test_an_outage_told_in_html_is_short(core: Trial, status: int) -> None:
    core.stage.always(Status(status, A_PAGE, PAGE * 1_000))
    outcome = core()
    assert isinstance(outcome.error, ServerError)
    assert "without an explanation (text/html)" in str(outcome.error)
    assert "<" not in str(outcome.error)
    assert outcome.requests == 3


@row(
    "C6",
    "a sign-in page in place of the answer, with a 200",
    "is an InvalidResponseError without the page, and not tried again",
)
@pytest.mark.parametrize("content_type", ["text/html", "application/json"])
def test_a_page_is_no_answer(trial: Trial, content_type: str) -> None:
    trial.stage.always(Status(200, {"Content-Type": content_type}, PAGE))
    outcome = trial()
    assert isinstance(outcome.error, InvalidResponseError)
    assert outcome.requests == 1
    assert "<" not in str(outcome.error)
    assert "Bad Gateway" not in str(outcome.error)


NO_SUCCESS: Mapping[str, Fault] = {
    "201": Recoded(status=201),
    "202": Recoded(status=202),
    "204": Raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "205": Raw(b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n"),
    "206": Recoded(status=206),
    "299": Recoded(status=299),
    "304": Raw(b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    "an empty 200": Status(200, body=b""),
    "a blank 200": Status(200, body=b" \r\n "),
    "an empty 200 without a length": Raw(b"HTTP/1.1 200 OK\r\n\r\n"),
}


@row(
    "C7",
    "a 201, 202, 204, 205, 206, 299 or 304, or a 200 without a body",
    "is an InvalidResponseError, even if a right answer follows",
)
@pytest.mark.parametrize("fault", NO_SUCCESS.values(), ids=NO_SUCCESS)
def test_only_a_full_200_is_an_answer(core: Trial, fault: Fault) -> None:
    core.stage.always(fault)
    outcome = core()
    assert isinstance(outcome.error, InvalidResponseError)
    assert outcome.requests == 1


# Redirects

REDIRECTED = row(
    "C8",
    "a redirect, to the same or another place, to or from https",
    "is never followed: neither key nor texts leave; only the other host is named",
)
REDIRECTS = (301, 302, 303, 307, 308)


@pytest.fixture
def elsewhere(fault_server: FaultServer, service: Service) -> Iterator[Stage]:
    """Another address, which must not hear of anything."""
    with fault_server.stage(service.name) as stage:
        yield stage
        assert stage.connections == 0


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with the key and the certificate of this machine and of ``rerank.test``."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    authority.issue_cert("127.0.0.1", "rerank.test").private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment names the tests' own authority, and what was read of it before is forgotten."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    _library.CONTEXTS.clear()
    yield
    _library.CONTEXTS.clear()


def assert_not_followed(trial: Trial, status: int, location: str, host: str) -> None:
    trial.stage.always(Status(status, {"Location": location}))
    outcome = trial()
    assert isinstance(outcome.error, InvalidResponseError)
    assert f"redirected to {host}; redirects are never followed" in str(outcome.error)
    assert "hidden" not in str(outcome.error)
    assert outcome.requests == 1


@REDIRECTED
@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_to_another_origin_is_not_followed(trial: Trial, elsewhere: Stage, status: int) -> None:
    assert_not_followed(trial, status, f"{elsewhere.url}/hidden?hidden=1", "127.0.0.1")


@REDIRECTED
@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("location", ["/hidden", "?hidden", "hidden/path", "//rerank.test/hidden", "", "http://[::1"])
def test_a_redirect_to_wherever_is_not_followed(core: Trial, location: str, status: int) -> None:
    host = {"//rerank.test/hidden": "rerank.test", "http://[::1": "an address that is none"}.get(location, "another path")
    assert_not_followed(core, status, location, host)


@REDIRECTED
@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_from_http_to_https_is_not_followed(core: Trial, elsewhere: Stage, status: int) -> None:
    assert_not_followed(core, status, f"https://127.0.0.1:{elsewhere.port}/hidden", "127.0.0.1")


@REDIRECTED
@pytest.mark.parametrize("status", REDIRECTS)
@pytest.mark.usefixtures("trusted")
def test_a_redirect_from_https_to_http_is_not_followed(core: Trial, elsewhere: Stage, certificate: str, status: int) -> None:
    core.stage.open_with(Tls(certificate))
    core.name = f"https://127.0.0.1:{core.stage.port}"
    assert_not_followed(core, status, f"{elsewhere.url}/hidden", "127.0.0.1")


@row("C9", "a redirect to where it comes from", "is one request and an error")
@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_loop_is_one_request(core: Trial, status: int) -> None:
    assert_not_followed(core, status, f"{core.stage.url}{core.service.path}", "127.0.0.1")


# Proxies: never for this machine itself, hence a name that only the proxy has to know

NO_PASSAGE = row(
    "C10", "a proxy that refuses", "is an APIConnectionError that says so; not tried again where it would refuse again"
)


@pytest.fixture
def proxied(core: Trial, certificate: str, monkeypatch: pytest.MonkeyPatch, trusted: None) -> Trial:
    """Before an https address that is reached through a proxy, which is its stage."""
    core.stage.right = Tunnel(certificate)
    core.stage.heal()
    core.name = f"https://rerank.test:{core.stage.port}"
    monkeypatch.setenv("HTTPS_PROXY", core.stage.url)
    return core


@NO_PASSAGE
@pytest.mark.parametrize("status", [400, 403, 404, 407])
def test_a_proxy_that_refuses_for_good_is_told_at_once(proxied: Trial, status: int) -> None:
    proxied.stage.always(Status(status, {"Proxy-Authenticate": 'Basic realm="x"'}, PAGE))
    outcome = proxied()
    assert_refused_by_proxy(outcome.error, proxied)
    assert str(status) in str(outcome.error)
    assert len(proxied.stage.requests) - 2 <= 1, "one CONNECT; the next call took another, and its request"


@NO_PASSAGE
@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_proxy_that_may_have_recovered_is_tried_again(proxied: Trial, status: int) -> None:
    proxied.stage.play(Status(status, body=PAGE), Status(status, body=PAGE))
    assert proxied().results == proxied.expected()


@NO_PASSAGE
@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_proxy_that_stays_down_is_told(proxied: Trial, status: int) -> None:
    proxied.stage.always(Status(status, body=PAGE))
    outcome = proxied()
    assert_refused_by_proxy(outcome.error, proxied)
    assert outcome.error.attempts == 3


def assert_refused_by_proxy(error: Any, trial: Trial) -> None:
    assert isinstance(error, APIConnectionError)
    assert f"the proxy refused to connect to rerank.test:{trial.stage.port}" in str(error)
    assert "<" not in str(error)


@NO_PASSAGE
@pytest.mark.parametrize(
    "fault", [closes_without_a_word, Raw(b"SSH-2.0-OpenSSH_9.2\r\n"), Raw(b"HTTP/1.1 200")], ids=["closes", "ssh", "cut"]
)
def test_a_proxy_that_is_none_is_a_connection_error(proxied: Trial, fault: Fault) -> None:
    proxied.stage.always(fault)
    outcome = proxied()
    assert isinstance(outcome.error, APIConnectionError)
    assert outcome.error.attempts == 3


@NO_PASSAGE
def test_a_proxy_that_does_not_answer_cannot_outlast_the_deadline(proxied: Trial) -> None:
    proxied.stage.always(Drip(b"HTTP/1.1 200 OK\r\n", b"X-Drip: 1\r\n"))
    assert isinstance(proxied(timeout=0.3).error, DeadlineExceededError)


@NO_PASSAGE
def test_a_proxy_for_plain_http_that_wants_a_password_is_told(core: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", core.stage.url)
    core.name = f"http://rerank.test:{core.stage.port}"
    core.stage.always(Status(407, {"Proxy-Authenticate": "Basic"}, PAGE))
    outcome = core(allow_http=True)
    assert isinstance(outcome.error, APIConnectionError)
    assert "proxy" in str(outcome.error)
    assert outcome.requests == 1


ENVIRONMENT = row(
    "C11",
    "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE in the environment",
    "are obeyed as documented: a proxy sees no key of an https address, and nothing of this machine's own",
)


@ENVIRONMENT
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.usefixtures("trusted")
def test_a_proxy_for_https_sees_neither_key_nor_texts(
    core: Trial, certificate: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    core.stage.right = Tunnel(certificate)
    core.stage.heal()
    core.name = f"https://rerank.test:{core.stage.port}"
    monkeypatch.setenv(name, core.stage.url.replace("//", "//user:secret@"))
    assert core().results == core.expected()
    through, request, *_ = core.stage.requests
    assert (through.method, through.path) == ("CONNECT", f"rerank.test:{core.stage.port}")
    assert "canary" not in str(through)
    assert through.headers["proxy-authorization"].startswith("Basic ")
    assert (request.method, request.path) == ("POST", core.service.path)
    assert "proxy-authorization" not in request.headers


@ENVIRONMENT
@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
def test_a_proxy_for_plain_http_is_used_where_that_is_allowed(core: Trial, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, core.stage.url.removeprefix("http://"))  # its scheme may be left out
    core.name = f"http://rerank.test:{core.stage.port}"
    assert core(allow_http=True).results == core.expected()
    assert core.stage.requests[0].path == f"{core.name}{core.service.path}"


@ENVIRONMENT
def test_plain_http_is_refused_unless_it_is_allowed(stage: Stage, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", stage.url)
    with pytest.raises(InvalidRequestError, match="unencrypted"):
        service.make("http://rerank.test", **key_options(service))
    assert stage.connections == 0


@ENVIRONMENT
def test_no_proxy_hears_of_this_machines_own_address(trial: Trial, elsewhere: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, elsewhere.url)
    assert trial().results == trial.expected()


@ENVIRONMENT
@pytest.mark.parametrize("exempt", ["rerank.test", ".test", "*", "a.test, rerank.test"])
def test_no_proxy_exempts_a_host(core: Trial, elsewhere: Stage, exempt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", elsewhere.url)
    monkeypatch.setenv("NO_PROXY", exempt)
    monkeypatch.setattr("socket.getaddrinfo", lambda host, port, *_, **__: [(2, 1, 6, "", ("127.0.0.1", port))])
    core.name = f"http://rerank.test:{core.stage.port}"
    assert core(allow_http=True).results == core.expected()


@ENVIRONMENT
@pytest.mark.usefixtures("trusted")
def test_an_authority_of_the_environments_is_trusted(core: Trial, certificate: str) -> None:
    core.stage.open_with(Tls(certificate))
    core.name = f"https://127.0.0.1:{core.stage.port}"
    assert core().results == core.expected()


@ENVIRONMENT
def test_an_authority_that_nobody_named_is_not(core: Trial, certificate: str) -> None:
    core.stage.open_with(Tls(certificate))
    core.name = f"https://127.0.0.1:{core.stage.port}"
    with Client(core.service.make(core.name, **key_options(core.service)), retry=SOON) as client:
        with pytest.raises(APIConnectionError, match="certificate verify failed") as caught:
            run(core.way.colour, client, "rerank", QUERY, TEXTS)
    assert caught.value.attempts == 1
    assert core.stage.count == 0


# What is no HTTP

GARBAGE: Mapping[str, Fault] = {
    "two lengths": Framed(b"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nContent-Length: 1\r\n\r\n"),
    "two lengths in one": Framed(b"HTTP/1.1 200 OK\r\nContent-Length: {length}, 1\r\n\r\n"),
    "a length that is none": Framed(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"),
    "a negative length": Framed(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
    "a length beyond all numbers": Framed(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n"),
    "a length and chunks": Framed(
        b"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n", chunked=True
    ),
    "an unknown transfer coding": Framed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", chunked=True),
    "a status line without a status": Framed(b"HTTP/1.1 OK\r\n\r\n"),
    "a status of two digits": Framed(b"HTTP/1.1 20 OK\r\n\r\n"),
    "a status that is none": Framed(b"HTTP/1.1 2oo OK\r\n\r\n"),
    "another protocol's name": Framed(b"HTTQ/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"),
    "HTTP/0.9": Framed(b""),
    "HTTP/2": Raw(
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64\x00\x04\x00\x10\x00\x00\x00\x06\x00\x00\x40\x00"
    ),
    "HTTP/2's preface": Raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "SSH": Raw(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"),
    "SMTP": Raw(b"220 mail.test ESMTP\r\n"),
    "Redis": Raw(b"-ERR unknown command 'POST'\r\n"),
    "a TLS alert": Raw(b"\x15\x03\x01\x00\x02\x02\x16"),
    "zeros": Raw(b"\0" * 1_000),
    "an empty line": Raw(b"\r\n" * 10),
    "a header without a colon": Framed(b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: {length}\r\n\r\n"),
    "a header without a name": Framed(b"HTTP/1.1 200 OK\r\n: value\r\nContent-Length: {length}\r\n\r\n"),
    "a header with a NUL": Framed(b"HTTP/1.1 200 OK\r\nX-Nul: a\0b\r\nContent-Length: {length}\r\n\r\n"),
    "a space before the colon": Framed(b"HTTP/1.1 200 OK\r\nContent-Length : {length}\r\n\r\n"),
    "a header of a megabyte": Framed(
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 1_000_000 + b"\r\nContent-Length: {length}\r\n\r\n"
    ),
    "a status line of a megabyte": Framed(b"HTTP/1.1 200 " + b"x" * 1_000_000 + b"\r\nContent-Length: {length}\r\n\r\n"),
    "100,000 headers": Framed(b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 100_000 + b"Content-Length: {length}\r\n\r\n"),
    "headers without an end": LongHead(),
    "a header without an end": LongHead(b"x"),
    "a chunk without a size": Raw(CHUNKED + b"\r\n{}\r\n"),
    "a chunk of a size that is none": Raw(CHUNKED + b"zz\r\n{}\r\n0\r\n\r\n"),
    "a chunk of a negative size": Raw(CHUNKED + b"-1\r\n{}\r\n0\r\n\r\n"),
    "a chunk of a size beyond all numbers": Raw(CHUNKED + b"f" * 40 + b"\r\n{}\r\n"),
    "a chunk longer than its size": Raw(CHUNKED + b"1\r\n{}}}\r\n0\r\n\r\n"),
    "a chunk extension of a megabyte": Raw(CHUNKED + b"2;" + b"x" * 1_000_000 + b"\r\n{}\r\n0\r\n\r\n"),
    "an upgrade that nobody asked for": Raw(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
    "an interim reply and no other": Raw(b"HTTP/1.1 100 Continue\r\n\r\n"),
}
PROTOCOL = row(
    "C16",
    "what is no HTTP: two lengths, length and chunks, other protocols, headers without an end",
    "is an APIConnectionError, or an InvalidResponseError where there is a status; never a result",
)


def assert_is_no_answer(outcome: Outcome) -> None:
    """A short error, after as many attempts as it is worth."""
    assert isinstance(outcome.error, APIConnectionError | InvalidResponseError)
    assert str(outcome.error).isprintable()
    assert len(str(outcome.error)) < 1_000
    assert outcome.requests == (3 if outcome.error.retryable else 1)


@PROTOCOL
@pytest.mark.parametrize("fault", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_no_answer(core: Trial, fault: Fault) -> None:
    core.stage.always(fault)
    assert_is_no_answer(core())


@PROTOCOL
@pytest.mark.parametrize(
    "fault", [GARBAGE["two lengths"], GARBAGE["SSH"], GARBAGE["HTTP/2"]], ids=["two lengths", "SSH", "HTTP/2"]
)
def test_garbage_is_tried_again(trial: Trial, fault: Fault) -> None:
    trial.stage.play(fault, fault)
    outcome = trial()
    assert outcome.results == trial.expected()
    assert outcome.requests == 3


@PROTOCOL
def test_interim_replies_without_an_end_cannot_outlast_the_deadline(core: Trial) -> None:
    core.stage.always(Drip(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", pause=0.02))
    assert isinstance(core(timeout=0.3).error, DeadlineExceededError)


@PROTOCOL
def test_a_flood_of_interim_replies_is_no_answer(core: Trial) -> None:
    core.stage.always(Drip(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1_000, pause=0.0))
    outcome = core()
    assert_is_no_answer(outcome)
    assert re.search("longer than 65,536 bytes|more than 256 interim replies", str(outcome.error))


@PROTOCOL
def test_an_interim_reply_before_the_answer_is_none(core: Trial) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    core.stage.always(Framed(interim + b"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"))
    assert core().results == core.expected()


# What is too much

LARGE = row(
    "C18",
    "a small reply that unpacks to 300 MB, codings upon codings, or a coding that was not asked for",
    "is given up within 16 MB of text and 64 MB of memory",
)
TOO_LONG = row(
    "C19", "a Content-Length of 2 GB, or chunks without an end", "is given up at 16 MB, and at once where its length is told"
)

BOMBS = ("gzip", "deflate", "zstd", "br", "gzip, gzip", "deflate, gzip", "gzip, gzip, gzip, gzip, gzip, gzip")


@LARGE
@pytest.mark.parametrize("coding", BOMBS)
def test_a_bomb_is_refused(core: Trial, coding: str) -> None:
    core.stage.always(Bomb(coding))
    outcome = core()
    assert isinstance(outcome.error, InvalidResponseError)
    told = "longer than 16,777,216 bytes" if coding in ("gzip", "deflate") else "in a coding that was not asked for"
    assert told in str(outcome.error)
    assert outcome.requests == 1


@LARGE
@pytest.mark.parametrize("way_of_failing", [400, 500])
def test_a_bomb_in_an_error_reply_is_refused(core: Trial, way_of_failing: int) -> None:
    core.stage.always(Bomb("gzip", way_of_failing))
    outcome = core()
    assert isinstance(outcome.error, ProviderError)
    assert "longer than 16,777,216 bytes" in str(outcome.error)


@LARGE
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("told", [None, "x-gzip", " GZIP "])
def test_the_codings_that_are_asked_for_are_read(core: Trial, coding: str, told: str | None) -> None:
    if coding == "deflate" and told is not None:
        told = "Deflate"
    core.stage.always(Recoded(coding, told=told))
    assert core().results == core.expected()
    assert core.stage.requests[0].headers["accept-encoding"] == "gzip, deflate"


UNWHOLE: Mapping[str, Fault] = {
    "gzip, half": Cut("gzip", 60),
    "gzip, without its sum": Cut("gzip", 8),
    "gzip, without its last byte": Cut("gzip", 1),
    "deflate, half": Cut("deflate", 60),
    "deflate, without its last byte": Cut("deflate", 1),
    "gzip that is none": Recoded(told="gzip"),
    "deflate that is none": Recoded(told="deflate"),
    "zstd that is none": Recoded(told="zstd"),
    "a coding nobody knows": Recoded(told="rot13"),
    "an endless list of codings": Recoded(told=", ".join(["gzip"] * 1_000)),
}


@LARGE
@pytest.mark.parametrize("fault", UNWHOLE.values(), ids=UNWHOLE)
def test_what_is_not_whole_after_decoding_is_no_answer(core: Trial, fault: Fault) -> None:
    core.stage.always(fault)
    assert_is_no_answer(core())


@TOO_LONG
@pytest.mark.parametrize("length", [2 * 1024**3, 16 * 1024**2 + 1])
def test_a_length_that_is_too_much_is_refused_unread(core: Trial, length: int) -> None:
    core.stage.always(Raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n{" % length))
    outcome = core()
    assert isinstance(outcome.error, InvalidResponseError), "having read on, it would have found the connection cut"
    assert "longer than 16,777,216 bytes" in str(outcome.error)
    assert outcome.requests == 1


@TOO_LONG
@pytest.mark.parametrize("status", [200, 500])
def test_chunks_without_an_end_are_given_up(core: Trial, status: int) -> None:
    core.stage.always(Endless())
    outcome = core()
    assert isinstance(outcome.error, InvalidResponseError)
    assert "longer than 16,777,216 bytes" in str(outcome.error)
    assert outcome.requests == 1


MOST_GROWTH = 64 * 1024  # KiB


@LARGE
@TOO_LONG
def test_memory_stays_bounded(fault_server: FaultServer, colour: str) -> None:
    """In a process of its own: what it needed at most, above what it needs for right answers."""
    kinds = {**{coding: Bomb(coding) for coding in BOMBS}, "2 GB": Endless(2 * 1024**3), "chunks": Endless()}
    with ExitStack() as stack:
        places: list[tuple[str, str, str]] = []
        for service in (COHERE, VOYAGE, PINECONE, KENDRA):
            for name, fault in {"right": Recoded("gzip"), **kinds}.items():
                stage = stack.enter_context(fault_server.stage(service.name))
                stage.always(fault)
                places.append((service.name, name, stage.url))
        told = subprocess.run(
            [sys.executable, "-m", "integration.reliability.memory", colour],
            input=json.dumps(places),
            text=True,
            capture_output=True,
            check=False,
            cwd=Path(__file__).parents[2],
            env=dict(os.environ),
        )
    assert told.returncode == 0, told.stderr
    growth, errors = json.loads(told.stdout)
    assert set(errors) == {"InvalidResponseError"}
    assert len(errors) == 4 * len(kinds)
    assert growth < MOST_GROWTH


# What is no UTF-8

CHARSETS: Mapping[str, tuple[Fault, bool]] = {
    "a byte order mark": (Recoded(before=b"\xef\xbb\xbf"), True),
    "a wrong charset in the header": (Recoded(content_type="application/json; charset=utf-16"), True),
    "a charset that is none": (Recoded(content_type='application/json; charset="\x7f'), True),
    "no JSON by its header": (Recoded(content_type="text/plain"), True),
    "white space around it": (Recoded(before=b"\r\n\t "), True),
    "UTF-16": (Recoded(charset="utf-16"), False),
    "UTF-16 that says so": (Recoded(charset="utf-16", content_type="application/json; charset=utf-16"), False),
    "UTF-16 without a mark": (Recoded(charset="utf-16-be"), False),
    "UTF-32": (Recoded(charset="utf-32"), False),
    "EBCDIC": (Recoded(charset="cp500"), False),
    "invalid UTF-8 in a name": (Replaced(b'{"', b'{"\xff": 1, "'), False),
    "invalid UTF-8 in a text": (Replaced(b'{"', b'{"new": "\xff\xfe", "'), False),
    "an overlong form": (Replaced(b'{"', b'{"new": "\xc0\xaf", "'), False),
    "a surrogate": (Replaced(b'{"', b'{"new": "\xed\xa0\x80", "'), False),
    "a NUL at the end": (Replaced(b"]}", b"]}\0"), False),
}


@row(
    "C20",
    "an answer in UTF-16, in invalid UTF-8, with a byte order mark, or a charset that is not its own",
    "is read as UTF-8 or is an InvalidResponseError",
)
@pytest.mark.parametrize(("fault", "is_read"), CHARSETS.values(), ids=CHARSETS)
def test_an_answer_is_utf_8_or_none(core: Trial, fault: Fault, is_read: bool) -> None:
    core.stage.always(fault)
    outcome = core()
    if is_read:
        assert outcome.results == core.expected()
    else:
        assert isinstance(outcome.error, InvalidResponseError)
        assert outcome.requests == 1
