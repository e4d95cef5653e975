"""Group G, AWS: signatures equal botocore's own, for whatever credentials, and are made anew for each attempt."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.auth
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from helpers.server import Received
from helpers.services import KENDRA, PLAN_ID
from helpers.ways import run
from integration.reliability.fault_server import Stage
from integration.reliability.faults import Status
from integration.reliability.rows import row
from integration.reliability.trial import SOON, Trial
from rerankkit import AuthenticationError, Client, InvalidRequestError, Kendra, KendraPlans

ID = "AKIDEXAMPLE"
G9 = row(
    "G9",
    "AWS signatures: odd keys, session tokens, wrong clocks, expiring credentials, regions that name other hosts",
    "botocore's own signature, anew for each attempt; a wrong clock or region is told",
)
kendra = pytest.mark.parametrize("service", [KENDRA], ids=["kendra"])


def signed_by_botocore(request: Received, credentials: Credentials, region: str = "us-east-1") -> str:
    """The Authorization header that botocore would send with *request*, at the moment at which it was signed."""
    wanted = {name: request.headers[name] for name in ("host", "content-type", "x-amz-target")}
    unsigned = AWSRequest("POST", f"http://{request.headers['host']}{request.path}", headers=wanted, data=request.body)
    unsigned.context["timestamp"] = request.headers["x-amz-date"]
    signer = botocore.auth.SigV4Auth(credentials, "kendra-ranking", region)
    unsigned.headers["X-Amz-Date"] = request.headers["x-amz-date"]
    if credentials.token:
        unsigned.headers["X-Amz-Security-Token"] = credentials.token
    text = signer.string_to_sign(unsigned, signer.canonical_request(unsigned))
    names = signer.signed_headers(signer.headers_to_sign(unsigned))
    signature = signer.signature(text, unsigned)
    return f"AWS4-HMAC-SHA256 Credential={signer.scope(unsigned)}, SignedHeaders={names}, Signature={signature}"


SECRETS = {
    "as printed by AWS": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "plus, slash, equals": "+/=+/=+/=+/=abcd",
    "slashes at both ends": "/abcdefghijklmnop/",
    "percent and ampersand": "a%2Fb&c=d%00e+f?g#h",
    "quotes and backslashes": "a\"b'c\\d`e$f{g}h",
    "one character": "x",
    "very long": "aB3/+=" * 200,
}
TOKENS = {
    "no token": None,
    "a token of STS's form": "IQoJb3JpZ2luX2VjE//////////wEaCXVzLWVhc3QtMSJ+/=" * 20 + "==",
    "an odd token": 'a+b/c=d%2F,e;f:g"h',
}


@G9
@kendra
@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_a_signature_equals_botocores(trial: Trial, secret: str, token: str | None) -> None:
    outcome = trial(aws_access_key_id=ID, aws_secret_access_key=secret, aws_session_token=token)
    assert outcome.results == trial.expected()
    for request in trial.stage.requests:
        assert request.headers["authorization"] == signed_by_botocore(request, Credentials(ID, secret, token))
        assert request.headers.get("x-amz-security-token") == token


@G9
@kendra
@pytest.mark.parametrize("query", ["naïve café", "東京", "a\tb\nc", '"quoted" \\ back'], ids=ascii)
def test_a_signature_covers_the_bytes_that_are_sent(trial: Trial, query: str) -> None:
    trial.query = query
    trial(aws_access_key_id=ID, aws_secret_access_key="secret-0123456789", aws_session_token=None)
    expected = signed_by_botocore(trial.stage.requests[0], Credentials(ID, "secret-0123456789"))
    assert trial.stage.requests[0].headers["authorization"] == expected


@G9
@kendra
@pytest.mark.parametrize("region", ["eu-central-1", "us-gov-west-1", "cn-north-1", "us-iso-east-1"])
def test_a_signature_is_for_its_region(stage: Stage, colour: str, service: Any, region: str) -> None:
    keys = {"aws_access_key_id": ID, "aws_secret_access_key": "secret-0123456789"}
    with Client(Kendra(PLAN_ID, region=region, base_url=stage.url, **keys)) as client:
        run(colour, client, "rerank", "q", ["a"])
    expected = signed_by_botocore(stage.requests[0], Credentials(ID, "secret-0123456789"), region)
    assert stage.requests[0].headers["authorization"] == expected


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """What the clock shows: its one member."""
    shown = [datetime.now(UTC).replace(tzinfo=None)]
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: shown[0])
    return shown


SKEWS = {"ten minutes late": -10, "ten minutes early": 10}
SKEWED = {
    "InvalidSignatureException": "Signature expired: 20260102T030405Z is now earlier than 20260102T030905Z",
    "RequestExpired": "Request has expired",
    "SignatureDoesNotMatch": "Signature not yet current: 20260102T030405Z is still later than 20260102T025405Z",
}


@G9
@kendra
@pytest.mark.parametrize("minutes", SKEWS.values(), ids=SKEWS)
@pytest.mark.parametrize("kind", SKEWED)
def test_a_wrong_clock_is_told_and_not_tried_again(trial: Trial, clock: list[datetime], minutes: int, kind: str) -> None:
    clock[0] += timedelta(minutes=minutes)
    trial.stage.always(Status(403, body={"__type": kind, "message": SKEWED[kind]}))
    outcome = trial()
    assert isinstance(outcome.error, AuthenticationError)
    assert f"{kind}: {SKEWED[kind]}" in str(outcome.error)
    assert outcome.requests == 1
    assert trial.stage.requests[0].headers["x-amz-date"] == f"{clock[0]:%Y%m%dT%H%M%SZ}"


@G9
@kendra
def test_each_attempt_is_signed_anew(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(datetime(2026, 1, 2, 3, 4, second) for second in range(60))  # noqa: DTZ001 -- as botocore has it
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: next(moments))
    trial.stage.play(Status(500), Status(503))
    assert trial().requests == 3
    sent = trial.stage.requests[:3]
    assert [request.headers["x-amz-date"] for request in sent] == [f"20260102T03040{n}Z" for n in range(3)]
    assert len({request.headers["authorization"] for request in sent}) == 3


def numbered() -> Iterator[Credentials]:
    for number in range(100):
        yield Credentials(ID, f"secret-{number}-0123456789", f"token-{number}-0123456789")


class Refreshing:
    """Credentials that are others whenever they are asked for, as those of a role are that are about to expire."""

    def __init__(self) -> None:
        self._all = numbered()

    def get_frozen_credentials(self) -> Any:
        return next(self._all).get_frozen_credentials()


class Chain:
    """A session of botocore's that finds credentials anew whenever it is made."""

    found: Any

    def __init__(self, profile: str | None) -> None:
        self.available_profiles: list[str] = []

    def get_config_variable(self, name: str) -> None:
        return None

    def get_credentials(self) -> Any:
        return next(self.found)


def chain_of(found: Iterator[Any], monkeypatch: pytest.MonkeyPatch) -> dict[str, None]:
    """Options with which *found* are used, one after the other."""
    monkeypatch.setattr(Chain, "found", found, raising=False)
    monkeypatch.setattr("botocore.session.Session", Chain)
    return dict.fromkeys(("aws_access_key_id", "aws_secret_access_key", "aws_session_token"))


@G9
@kendra
def test_credentials_that_were_refreshed_sign_the_next_attempt(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    trial.stage.play(Status(500), Status(500))
    outcome = trial(**chain_of(iter([Refreshing()]), monkeypatch))
    assert outcome.requests == 3
    for request, credentials in zip(trial.stage.requests, numbered(), strict=False):
        assert request.headers["x-amz-security-token"] == credentials.token
        assert request.headers["authorization"] == signed_by_botocore(request, credentials)


EXPIRED = ["ExpiredTokenException", "RequestExpired"]


@G9
@kendra
@pytest.mark.parametrize("kind", EXPIRED)
@pytest.mark.parametrize("status", [400, 403])
def test_an_expired_token_of_the_credential_chain_is_found_anew(
    trial: Trial, kind: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.stage.play(Status(status, body={"__type": kind}))
    outcome = trial(retry=SOON, **chain_of(numbered(), monkeypatch))
    assert (outcome.requests, outcome.error) == (2, None)
    tokens = [request.headers["x-amz-security-token"] for request in trial.stage.requests]
    assert tokens == ["token-0-0123456789", *["token-1-0123456789"] * 2]


@G9
@kendra
@pytest.mark.parametrize("kind", EXPIRED)
def test_an_expired_token_of_the_callers_own_is_not_tried_again(trial: Trial, kind: str) -> None:
    trial.stage.always(Status(400, body={"__type": kind}))
    outcome = trial(retry=SOON)
    assert isinstance(outcome.error, AuthenticationError)
    assert outcome.requests == 1


REGIONS = [
    "us-east-1.evil.com/",
    "us-east-1.evil.com",
    "us-east-1/",
    "us-east-1#",
    "us-east-1?",
    "us-east-1@evil.com",
    "us-east-1:443",
    "us-east-1\n",
    "us-east-1\r\nHost: evil.com",
    "US-EAST-1",
    "us-east-１",
    "us east 1",
    "../us-east-1",
    "us-east-1%2eevil",
    "xn--us-east-1",
    "-us-east-1",
    "evil",
]


@G9
@pytest.mark.parametrize("region", REGIONS, ids=ascii)
@pytest.mark.parametrize("source", ["argument", "environment", "profile"])
def test_a_region_that_names_another_host_is_refused(
    region: str, source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    keys = {"aws_access_key_id": ID, "aws_secret_access_key": "secret-0123456789"}
    if source == "environment":
        monkeypatch.setenv("AWS_REGION", region)
    elif source == "profile":
        (tmp_path / "config").write_text(f"[default]\nregion = {region!r}\n".replace("'", ""), "utf-8")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for make in (lambda **options: Kendra(PLAN_ID, **options), KendraPlans):
        with pytest.raises(InvalidRequestError, match="region must be a name such as 'us-east-1'|ConfigParseError"):
            make(**keys, **({"region": region} if source == "argument" else {}))
