"""Group G: keys have a form, and go to nobody but their service."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

import langchain_rerankkit
import llamaindex_rerankkit
from helpers.canaries import KEY, TOKEN, assert_silent, held_in_frames, key_options, shown_of
from helpers.services import KENDRA, PLAN_ID, SERVICES, Service
from helpers.ways import run
from integration.reliability.fault_server import Stage
from integration.reliability.keyed import ADAPTERS, KEYED, SECRET_PARTS, adapter, keyed, of
from integration.reliability.rows import row
from rerankkit import (
    Client,
    InvalidRequestError,
    Kendra,
    connect,
)

# G1: the form of keys

G1 = row("G1", "a key with a newline, a space, a NUL, a tab, beyond ASCII, empty, or after 'Bearer'", "refused, never shown")
BAD_KEYS: dict[str, tuple[Any, str]] = {
    "with a newline": (f"{KEY}\n", "white space at its start or end"),
    "with a carriage return": (f"{KEY}\r\n", "white space at its start or end"),
    "with a header after it": (f"{KEY}\r\nX-Evil: 1", "white space or control characters"),
    "with a space before": (f" {KEY}", "white space at its start or end"),
    "with a space inside": (f"{KEY} x", "white space or control characters"),
    "with a no-break space": (f"{KEY}\u00a0", "white space at its start or end"),
    "with a NUL": (f"{KEY}\0x", "white space or control characters"),
    "with a tab": (f"a\t{KEY}", "white space or control characters"),
    "with a DEL": (f"{KEY}\x7f", "white space or control characters"),
    "with an umlaut": (f"{KEY}ü", "outside ASCII"),
    "with a byte order mark": (f"\ufeff{KEY}", "white space or control characters|outside ASCII"),
    "with half a character": (f"{KEY}\ud800", "white space or control characters|outside ASCII"),
    "with Bearer before it": (f"Bearer {KEY}", "pass the key alone"),
    "with bearer twice": (f"bearer Bearer {KEY}", "pass the key alone"),
    "that is empty": ("", "is empty|needs a key"),
    "that is blank": ("  ", "white space"),
    "that is bytes": (KEY.encode(), "must be a str"),
    "that is a number": (31415926, "must be a str"),
}
PARTS = [(service, part) for service in SERVICES for part in SECRET_PARTS[service.name]]
parts = pytest.mark.parametrize(("service", "part"), PARTS, ids=[f"{service.name}-{part}" for service, part in PARTS])


def assert_refused(make: Callable[[], Any], message: str) -> None:
    """Refused when it is made; nothing shows the key, nor do the frames that are not the caller's."""
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert_silent(*shown_of(caught.value), *held_in_frames(caught.value))


@G1
@parts
@pytest.mark.parametrize(("key", "message"), BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_key_of_the_wrong_form_is_refused_at_construction(service: Service, part: str, key: Any, message: str) -> None:
    given = {**key_options(service), part: key}
    assert_refused(lambda: service.make("https://x.test", **given), message)
    if isinstance(key, str):
        hidden = {**given, part: SecretStr(key)}
        assert_refused(lambda: service.make("https://x.test", **hidden), message)
        target = f"kendra:{PLAN_ID}" if service is KENDRA else service.name
        region = {"region": "us-east-1"} if service is KENDRA else {}
        assert_refused(lambda: connect(target, **given, **region), message)


@G1
@parts
@pytest.mark.parametrize("module", ADAPTERS, ids=lambda module: module.__name__)
@pytest.mark.parametrize(
    ("key", "message"), [case for case in BAD_KEYS.values() if isinstance(case[0], str)], ids=list(BAD_KEYS)[:-2]
)
def test_adapters_refuse_a_key_of_the_wrong_form(service: Service, part: str, module: Any, key: str, message: str) -> None:
    given = {
        name: SecretStr(value) if name in SECRET_PARTS[service.name] else value for name, value in key_options(service).items()
    }
    assert_refused(lambda: adapter(module, service, **{**given, part: SecretStr(key)}), message)


@G1
@keyed
@pytest.mark.parametrize(
    ("key", "message"),
    [case for case in BAD_KEYS.values() if isinstance(case[0], str) and case[0].isascii() and "\0" not in case[0]][:-2],
)
def test_a_key_of_the_wrong_form_in_the_environment_is_refused(
    service: Service, key: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, name, _ = KEYED[service.name]
    monkeypatch.setenv(name, key)
    assert_refused(provider, message)


@G1
@of(KENDRA)
@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"])
@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY}\t{KEY}", f"{KEY}ü"], ids=["newline", "tab", "umlaut"])
def test_aws_keys_of_the_wrong_form_in_the_environment_are_refused_before_any_request(
    service: Service, stage: Stage, colour: str, name: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {"ACCESS_KEY_ID": "AKIDEXAMPLE", "SECRET_ACCESS_KEY": KEY, "SESSION_TOKEN": TOKEN}.items():
        monkeypatch.setenv(f"AWS_{variable}", value)
    monkeypatch.setenv(name, key)
    with Client(Kendra(PLAN_ID, region="us-east-1", base_url=stage.url)) as client:
        assert_refused(lambda: run(colour, client, "rerank", "q", ["a"]), "white space|outside ASCII")
    assert stage.count == 0


# G11: the environment's key

G11 = row("G11", "a key in the environment and an address of somebody else", "refused unless key or address are given with it")
FOREIGN = "https://gateway.example.com"


def entries(service: Service) -> dict[str, Callable[..., Any]]:
    """All the ways to a provider that finds its key itself."""
    provider, _, _ = KEYED[service.name]
    return {
        "provider": provider,
        "connect": lambda **options: connect(service.name, **options).provider,  # type: ignore[attr-defined]
        "langchain": lambda **options: adapter(langchain_rerankkit, service, **options).client().provider,
        "llamaindex": lambda **options: adapter(llamaindex_rerankkit, service, **options).client().provider,
    }


@G11
@keyed
@pytest.mark.parametrize("entry", ["provider", "connect", "langchain", "llamaindex"])
def test_a_key_from_the_environment_goes_only_where_the_environment_says(
    service: Service, entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = entries(service)[entry]
    _, key, url = KEYED[service.name]
    monkeypatch.setenv(key, KEY)
    with pytest.raises(ValueError, match=f"gateway.example.com.*pass api_key= as well.*or set {url}") as caught:
        make(base_url=FOREIGN)
    assert_silent(*shown_of(caught.value))
    assert make(api_key="another-key-0123", base_url=FOREIGN).base_url == FOREIGN
    assert urlsplit(make().base_url).hostname != urlsplit(FOREIGN).hostname
    monkeypatch.setenv(url, FOREIGN)
    assert make().base_url == FOREIGN


NEIGHBOURS = ["{}.evil.com", "evil-{}", "{}.", "x.{}.evil.com", "evil{}"]


@G11
@keyed
@pytest.mark.parametrize("form", NEIGHBOURS)
def test_a_host_that_looks_like_the_services_is_not(service: Service, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, key, _ = KEYED[service.name]
    monkeypatch.setenv(key, KEY)
    for domain in provider.access.domains:
        with pytest.raises(InvalidRequestError, match="not .* own|http"):
            provider(base_url=f"https://{form.format(domain)}")
        assert provider(base_url=f"https://sub.{domain}").base_url == f"https://sub.{domain}"


@G11
@keyed
def test_a_key_from_the_environment_is_not_sent_along(
    service: Service, stage: Stage, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, name, _ = KEYED[service.name]
    monkeypatch.setenv(name, KEY)
    with Client(service.make(stage.url, api_key="another-key-0123")) as client:
        run(colour, client, "rerank", "q", ["a"])
    (request,) = stage.requests
    assert_silent(request.body, *request.headers.values())


@G11
@of(KENDRA)
def test_aws_secrets_are_never_sent_they_sign(
    service: Service, stage: Stage, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    with Client(Kendra(PLAN_ID, region="us-east-1", base_url=stage.url)) as client:
        run(colour, client, "rerank", "q", ["a"])
    (request,) = stage.requests
    assert_silent(request.body, *request.headers.values())
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
