"""Group G: texts and keys go to the address that was checked, and only to one that can be a service's."""

from __future__ import annotations

import importlib
from typing import Any
from urllib.parse import urlsplit

import pytest

from helpers.canaries import KEY, key_options
from helpers.services import Service
from integration.reliability.keyed import ADAPTERS, KEYED, adapter, keyed
from integration.reliability.rows import row
from rerankkit import (
    Client,
    InvalidRequestError,
    RerankError,
    Retry,
)

G4 = row("G4", "an unencrypted address beyond this machine", "refused unless `allow_http=True`")
G5 = row(
    "G5", "an address with a user, a query, a fragment, a backslash, odd hosts, another scheme", "refused, or dialled as read"
)
G6 = row(
    "G6", "an address of cloud metadata, of everywhere, or a number", "refused; RERANKKIT_ALLOWED_HOSTS allows what it names"
)


@G4
@pytest.mark.parametrize("host", ["api.example.com", "10.0.0.1", "127.0.0.1.evil.com", "localhost.evil.com", "[2001:db8::1]"])
def test_plain_http_beyond_this_machine_is_refused_unless_asked_for(service: Service, host: str) -> None:
    with pytest.raises(InvalidRequestError, match="unencrypted.*allow_http=True"):
        service.make(f"http://{host}")
    assert service.make(f"http://{host}", allow_http=True).base_url == f"http://{host}"


@G4
@pytest.mark.parametrize("module", ADAPTERS, ids=lambda module: module.__name__)
def test_adapters_refuse_plain_http_as_well(service: Service, module: Any) -> None:
    with pytest.raises(ValueError, match="unencrypted"):
        adapter(module, service, **key_options(service), base_url="http://api.example.com")


@G4
@keyed
def test_plain_http_from_the_environment_is_refused_as_well(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, _, variable = KEYED[service.name]
    monkeypatch.setenv(variable, "http://api.example.com")
    with pytest.raises(InvalidRequestError, match="unencrypted"):
        provider(api_key=KEY)


@G4
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
def test_plain_http_to_this_machine_is_fine(service: Service, host: str) -> None:
    assert service.make(f"http://{host}:8765/x/").base_url == f"http://{host}:8765/x"


MALFORMED = {
    "without a scheme": "api.example.com",
    "without slashes": "https:api.example.com",
    "with two slashes alone": "//evil.com",
    "of another scheme": "ftp://api.example.com",
    "of a file": "file:///etc/passwd",
    "of a socket": "unix:///run/x.sock",
    "of a socket in HTTP": "http+unix://%2Frun%2Fx.sock",
    "of a script": "javascript:alert(1)",
    "without a host": "https://",
    "with a path alone": "https:///path",
    "with a port alone": "https://:443",
    "with a query": "https://api.example.com?x=1",
    "with an empty query": "https://api.example.com?",
    "with a fragment": "https://api.example.com#x",
    "with an empty fragment": "https://api.example.com#",
    "with a backslash": "https://api.example.com\\@evil.com",
    "with a backslash in the path": "https://api.example.com/\\evil.com",
    "with white space": "https://api.example .com",
    "with white space before": " https://api.example.com",
    "with a tab": "https://api.exa\tmple.com",
    "with a newline": "https://api.example.com\n",
    "with a header": "https://api.example.com/\r\nX-Evil: 1",
    "with a NUL": "https://api.example.com\0.evil.com",
    "with a wrong port": "https://api.example.com:99999",
    "with a port that is a word": "https://api.example.com:http",
    "with port 0": "https://api.example.com:0",
    "with a negative port": "https://api.example.com:-1",
    "with an IDN host": "https://api.exämple.com",
    "with a host that looks like another": "https://\u0430pi.example.com",
    "with a full-width dot": "https://api\uff0eexample.com",
    "with a percent-encoded host": "https://api%2eexample.com",
    "with a host before the brackets": "http://evil.com[::1]",
    "with a host behind the brackets": "https://[::1]evil.com:443",
    "with an address of the future": "https://[v1.fe]",
    "with a zone": "https://[fe80::1%25eth0]",
    "with half a bracket": "https://[::1",
    "with two colons": "https://api.example.com::443",
    "with an empty label": "https://api..example.com",
    "with a label of 64": f"https://{'a' * 64}.com",
    "with a host of 254": f"https://{'a.' * 126}com",
    "with a hyphen first": "https://-api.example.com",
    "that is no text": 3,
}


@G5
@pytest.mark.parametrize("url", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_base_url_is_refused(service: Service, url: Any) -> None:
    with pytest.raises(InvalidRequestError, match="base_url"):
        service.make(url)


@G5
@pytest.mark.parametrize(
    "url",
    [
        "https://user:hunter2@api.example.com",
        "https://hunter2@api.example.com",
        "https://api.example.com:hunter2@evil.com",
        "https://:hunter2@api.example.com",
        "https://hunter2:@api.example.com/@x",
        "https://@api.example.com",
    ],
)
def test_a_password_in_a_base_url_is_refused_and_not_shown(service: Service, url: str) -> None:
    with pytest.raises(InvalidRequestError, match="user name or password|malformed") as caught:
        service.make(url)
    assert "hunter2" not in str(caught.value)


DIALLED = {  # an address, and the host that is dialled
    "https://API.Example.COM": "api.example.com",
    "https://api.example.com/": "api.example.com",
    "https://api.example.com/a/@evil.com": "api.example.com",
    "https://api.example.com/http://evil.com": "api.example.com",
    "https://api.example.com//evil.com": "api.example.com",
    "https://api.example.com/%2e%2e/x": "api.example.com",
    "https://api.example.com/../x": "api.example.com",
    "https://api.example.com:8443": "api.example.com",
    "https://api.example.com:": "api.example.com",
    "https://xn--exmple-cua.com": "xn--exmple-cua.com",
    "https://xn--exmple-cua.com:8443/v1": "xn--exmple-cua.com",
    "https://a_b.example.com": "a_b.example.com",
    "https://[2001:db8::1]": "2001:db8::1",
    "https://[2001:DB8:0:0::1]:8443": "2001:db8:0:0::1",
    "https://192.0.2.7": "192.0.2.7",
    "HTTPS://api.example.com": "api.example.com",
}


@G5
@pytest.mark.parametrize(("url", "host"), DIALLED.items(), ids=DIALLED)
def test_the_host_that_was_checked_is_the_host_that_is_dialled(
    service: Service, url: str, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[str] = []
    monkeypatch.setattr(DEADLINE_BACKEND, "connect_tcp", lambda _, host, *__, **___: dialled.append(host.lower()) or refuse())
    provider = service.make(url)
    assert urlsplit(provider.base_url).hostname == host
    with Client(provider, retry=Retry(attempts=1)) as client, pytest.raises(RerankError):
        client.rerank("q", ["a"])
    assert dialled == [host]


DEADLINE_BACKEND = importlib.import_module("rerankkit._deadline_stream").DeadlineBackend


def refuse() -> None:
    raise ConnectionRefusedError


PLACES = [
    "https://169.254.169.254",
    "https://169.254.169.254/latest/meta-data",
    "https://169.254.170.2",
    "https://[fe80::1]",
    "https://0.0.0.0",
    "https://[::]",
    "https://224.0.0.1",
    "https://[ff02::1]",
    "https://2130706433",
    "https://0x7f000001",
    "https://0x7f.1",
    "https://127.1",
    "https://0177.0.0.1",
    "https://1.2.3",
    "https://1.2.3.4.5",
    "https://api.example.1",
    "https://256.1.1.1",
    "https://[::ffff:169.254.169.254]",
    "https://[::ffff:0.0.0.0]",
    "https://2852039166",
    "https://0xa9fea9fe",
]


@G6
@pytest.mark.parametrize("url", PLACES)
@pytest.mark.parametrize("allow_http", [False, True], ids=["https", "http allowed"])
def test_a_place_where_no_service_is_is_refused(service: Service, url: str, allow_http: bool) -> None:
    given = url.replace("https", "http") if allow_http else url
    with pytest.raises(InvalidRequestError, match="base_url"):
        service.make(given, allow_http=allow_http)


ALLOWED: list[tuple[str, str, bool]] = [
    ("gateway.example.com", "https://gateway.example.com/v1", True),
    ("gateway.example.com", "https://GATEWAY.example.com", True),
    ("a.test, gateway.example.com", "https://gateway.example.com:8443", True),
    ("*.example.com", "https://gateway.example.com", True),
    ("*.example.com", "https://deep.gateway.example.com", True),
    ("*.Example.com", "https://gateway.example.com", True),
    ("*.example.com", "https://example.com", False),
    ("*.example.com", "https://evilexample.com", False),
    ("*.example.com", "https://gateway.example.com.evil.com", False),
    ("gateway.example.com", "https://evil.com", False),
    ("gateway.example.com", "https://agateway.example.com", False),
    ("gateway.example.com", "https://10.0.0.1", False),
    ("gateway.example.com", "http://127.0.0.1:80", False),
    ("example.*", "https://example.com", False),
]


@G6
@pytest.mark.parametrize(("allowed", "url", "is_allowed"), ALLOWED, ids=[f"{url} of {allowed}" for allowed, url, _ in ALLOWED])
def test_only_allowed_hosts_are_used_where_some_are_named(
    service: Service, allowed: str, url: str, is_allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANKKIT_ALLOWED_HOSTS", allowed)
    if is_allowed:
        assert service.make(url).base_url.lower() == url.lower()
    else:
        with pytest.raises(InvalidRequestError, match="RERANKKIT_ALLOWED_HOSTS"):
            service.make(url)


@G6
@pytest.mark.parametrize("module", ADAPTERS, ids=lambda module: module.__name__)
def test_adapters_keep_to_allowed_hosts(service: Service, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANKKIT_ALLOWED_HOSTS", "gateway.example.com")
    with pytest.raises(ValueError, match="RERANKKIT_ALLOWED_HOSTS"):
        adapter(module, service, **key_options(service), base_url="https://evil.com")
