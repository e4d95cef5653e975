"""Group G, TLS: no byte reaches a server that cannot prove who it is."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator

import pytest

from helpers.services import Service
from helpers.ways import WAYS
from integration.reliability.fault_server import score_of
from integration.reliability.faults import Fault, Talk, http
from integration.reliability.rows import row
from integration.reliability.tls_server import Certificates, tls_server
from integration.reliability.trial import SOON, Trial
from rerankkit import APIConnectionError, Client, InvalidRequestError, InvalidResponseError, _library, connect

CORE = [way for way in WAYS if way.package == "core"]
G7 = row(
    "G7",
    "a server whose certificate or TLS cannot be trusted",
    "APIConnectionError at the first attempt, and not one byte is sent; no option and no variable changes that",
)
G8 = row("G8", "TLS that is cut without its farewell", "tried again, then a typed error; never a short result")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def _trusting(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The CA is trusted, as a company's own is: by the usual variable."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates.ca_file))
    _library.CONTEXTS.clear()
    yield
    _library.CONTEXTS.clear()


SERVERS: dict[str, tuple[Callable[[Certificates], ssl.SSLContext], str]] = {
    "self-signed": (lambda known: known.self_signed, "self-signed certificate"),
    "signed by another CA": (lambda known: known.of_another_ca, "certificate verify failed"),
    "expired": (lambda known: known.expired, "certificate has expired"),
    "not valid yet": (lambda known: known.not_yet, "certificate is not yet valid"),
    "of another host": (lambda known: known.of_another_host, "IP address mismatch"),
    "TLS 1.0 alone": (lambda known: known.old(ssl.TLSVersion.TLSv1), "SSL"),
    "TLS 1.1 alone": (lambda known: known.old(ssl.TLSVersion.TLSv1_1), "SSL"),
    "ciphers that encrypt nothing": (lambda known: known.unencrypted(), "SSL"),
}


@G7
@pytest.mark.usefixtures("_trusting")
@pytest.mark.parametrize(("of", "reason"), SERVERS.values(), ids=SERVERS)
def test_a_server_that_cannot_be_trusted_gets_nothing(
    trial: Trial, certificates: Certificates, of: Callable[[Certificates], ssl.SSLContext], reason: str
) -> None:
    with tls_server(of(certificates), trial.service.scored(score_of)) as server:
        error = trial(url=server.url).error
    assert isinstance(error, APIConnectionError)
    assert reason in str(error)
    assert f"cannot connect to 127.0.0.1:{server.port}" in str(error)
    assert (server.handshakes, server.application_bytes) == (0, 0)
    assert (error.attempts, error.retryable, server.connections) == (1, False, 1), "another attempt cannot fare better"


@G7
@pytest.mark.usefixtures("_trusting")
def test_a_server_of_a_trusted_ca_is_used(trial: Trial, certificates: Certificates) -> None:
    with tls_server(certificates.good, trial.service.scored(score_of)) as server:
        outcome = trial(url=server.url)
    assert outcome.results == trial.expected()
    assert len(server.requests) == 1


@G7
def test_a_ca_that_was_not_named_is_not_trusted(trial: Trial, certificates: Certificates) -> None:
    _library.CONTEXTS.clear()
    with tls_server(certificates.good, trial.service.scored(score_of)) as server:
        assert "certificate verify failed" in str(trial(url=server.url).error)
    assert server.application_bytes == 0


SWITCHES = {
    "PYTHONHTTPSVERIFY": "0",
    "CURL_CA_BUNDLE": "",
    "REQUESTS_CA_BUNDLE": "",
    "SSL_VERIFY": "false",
    "HTTPX_VERIFY": "0",
    "RERANKKIT_VERIFY": "0",
    "AWS_CA_BUNDLE": "",
    "NODE_TLS_REJECT_UNAUTHORIZED": "0",
}


@G7
@pytest.mark.parametrize("way", CORE, ids=str)
@pytest.mark.parametrize("variable", SWITCHES)
def test_no_variable_switches_verification_off(
    trial: Trial, certificates: Certificates, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, SWITCHES[variable])
    _library.CONTEXTS.clear()
    with tls_server(certificates.self_signed, trial.service.scored(score_of)) as server:
        assert isinstance(trial(url=server.url).error, APIConnectionError)
    assert server.application_bytes == 0


@G7
def test_no_option_switches_verification_off(service: Service) -> None:
    with pytest.raises(TypeError):
        Client(service.make("https://x.test"), verify=False)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        service.make("https://x.test", verify=False)
    with pytest.raises(InvalidRequestError, match="no option 'verify'"):
        connect(f"{service.name}:{'p' * 36}", verify=False)
    context = _library.ssl_context(_library.default_transport())
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


# G8: a cut is told from an end


def cut(talk: Talk, content: bytes) -> None:
    """What is sent ends without TLS's own farewell, as when somebody else closes the connection."""
    talk.send(content)
    talk.connection.close()  # an SSLSocket sends no close_notify unless it is unwrapped


def in_the_headers(talk: Talk) -> None:
    cut(talk, http(talk.good())[:40])


def in_the_body(talk: Talk) -> None:
    cut(talk, http(talk.good())[:-20])


def in_a_chunk(talk: Talk) -> None:
    content = talk.good().content
    head = http(talk.good(), Content_Length="", Transfer_Encoding="chunked").partition(b"\r\n\r\n")[0]
    cut(talk, head + b"\r\n\r\n" + f"{len(content):x}\r\n".encode() + content[:-20])


def before_the_last_chunk(talk: Talk) -> None:
    content = talk.good().content
    head = http(talk.good(), Content_Length="", Transfer_Encoding="chunked").partition(b"\r\n\r\n")[0]
    cut(talk, head + b"\r\n\r\n" + f"{len(content):x}\r\n".encode() + content + b"\r\n")


def in_a_body_without_a_length(talk: Talk) -> None:
    cut(talk, http(talk.good(), Content_Length="")[:-20])


@G8
@pytest.mark.usefixtures("_trusting")
@pytest.mark.parametrize("fault", [in_the_headers, in_the_body, in_a_chunk, before_the_last_chunk], ids=lambda f: f.__name__)
def test_a_cut_is_tried_again_and_typed(trial: Trial, certificates: Certificates, fault: Fault) -> None:
    with tls_server(certificates.good, trial.service.scored(score_of)) as server:
        server.fault = fault
        error = trial(url=server.url, retry=SOON).error
    assert isinstance(error, APIConnectionError)
    assert "no complete answer" in str(error)
    assert error.attempts == len(server.requests) == 3


@G8
@pytest.mark.usefixtures("_trusting")
def test_a_cut_that_looks_like_an_end_is_no_short_result(trial: Trial, certificates: Certificates) -> None:
    with tls_server(certificates.good, trial.service.scored(score_of)) as server:
        server.fault = in_a_body_without_a_length
        error = trial(url=server.url).error
    assert isinstance(error, APIConnectionError | InvalidResponseError)
