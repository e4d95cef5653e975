"""Which requests the emulated Kendra takes for signed: botocore's recorded ones, byte for byte, and others."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

pytest.importorskip("boto3")

from botocore.exceptions import ClientError

from helpers.kendra import CONTENT_TYPE, TARGET, boto3_client, exchange, signed
from helpers.shared import SHARED, needs_shared
from rerankkit.emulator import Emulator, Settings, create_app, kendra_plans
from rerankkit.emulator.app import Application
from rerankkit.emulator.kendra import PLAN_ID
from rerankkit.emulator.settings import KEY

# AWS's own examples
ACCESS_KEY = "AKIDEXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "AQoDYXdzEJr//EXAMPLE//session//token=="
RECORDED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
RECORDED_PLAN = "d1b2c3d4-0000-4000-8000-0123456789ab"
UNKNOWN = "com.amazon.coral.service#UnknownOperationException"

CASES = (
    "rescore_body",
    "rescore_title_body",
    "rescore_tokenized",
    "rescore_group_ids",
    "rescore_unicode_and_scores",
    "rescore_session_token",
    "create_plan_all_fields",
    "create_plan_name_only",
    "describe_plan",
    "describe_plan_failed",
    "list_plans_page1",
    "list_plans_page2",
    "list_plans_bare",
    "update_plan_all_fields",
    "update_plan_capacity_only",
    "delete_plan",
    "tag_resource",
    "untag_resource",
    "list_tags",
)


def recorded(file: str, name: str) -> tuple[dict[str, str], bytes, dict[str, Any]]:
    """Headers and body as they were sent, and the recording."""
    cases = json.loads((SHARED / "wire" / "kendra" / f"{file}.json").read_text("utf-8"))["cases"]
    case = next(case for case in cases if case["name"] == name)
    return dict(case["request"]["headers"]), base64.b64decode(case["request"]["body_b64"]), case


@pytest.fixture
def then(monkeypatch: pytest.MonkeyPatch) -> Application:
    """The emulator as at the time of the recordings, with the plan and the account that they name."""
    monkeypatch.setattr(kendra_plans, "PLAN_ID", RECORDED_PLAN)
    monkeypatch.setattr(kendra_plans, "ACCOUNT", "123456789012")
    application = create_app(Settings(aws_secrets={ACCESS_KEY: SECRET}))
    application.world.clock.set(RECORDED_AT)
    return application


@pytest.fixture
def now() -> Application:
    return create_app()


def refusal(reply: tuple[int, Any]) -> str:
    """The type of an error reply."""
    return reply[1]["__type"].rpartition("#")[2]


# Recorded requests


@needs_shared
def test_the_recordings_are_all_replayed() -> None:
    for file in ("requests", "requests_cbor"):
        cases = json.loads((SHARED / "wire" / "kendra" / f"{file}.json").read_text("utf-8"))["cases"]
        assert tuple(case["name"] for case in cases) == CASES


@needs_shared
@pytest.mark.parametrize("name", CASES)
def test_a_recorded_request_is_answered(then: Application, name: str) -> None:
    headers, body, case = recorded("requests", name)
    status, answer = exchange(then, headers, body, sent="/")
    if name == "list_plans_page2":  # its token is an invented one, which is seen after the signature
        assert (status, answer["__type"]) == (400, "com.amazonaws.kendraranking#ValidationException")
        return
    assert status == 200
    scripted = {item["DocumentId"] for item in case["parsed"].get("ResultItems", ())}
    assert {item["DocumentId"] for item in (answer or {}).get("ResultItems", ())} == scripted


@needs_shared
@pytest.mark.parametrize("name", CASES)
def test_a_recorded_request_with_another_byte_in_its_body_is_refused(then: Application, name: str) -> None:
    headers, body, _ = recorded("requests", name)
    changed = body.replace(b"{", b"{ ", 1)  # the same JSON
    assert refusal(exchange(then, headers, changed, sent="/")) == "InvalidSignatureException"


@needs_shared
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "127.0.0.1:18084"),
        ("X-Amz-Date", "20260102T030406Z"),
        ("X-Amz-Target", f"{TARGET}.ListRescoreExecutionPlans"),
        ("X-Amz-Security-Token", f"{TOKEN}="),
    ],
)
def test_a_recorded_request_with_another_header_is_refused(then: Application, name: str, value: str) -> None:
    headers, body, _ = recorded("requests", "rescore_session_token")
    assert exchange(then, headers, body, sent="/")[0] == 200
    assert refusal(exchange(then, {**headers, name: value}, body, sent="/")) == "InvalidSignatureException"


@needs_shared
@pytest.mark.parametrize("sent", ["/kendra", "/?a=1", "/kendra/"])
def test_a_recorded_request_to_another_address_is_refused(then: Application, sent: str) -> None:
    headers, body, _ = recorded("requests", "rescore_body")
    assert refusal(exchange(then, headers, body, sent=sent)) == "InvalidSignatureException"


@needs_shared
def test_a_header_that_is_not_signed_may_change(then: Application) -> None:
    headers, body, _ = recorded("requests", "rescore_body")
    assert exchange(then, {**headers, "User-Agent": "another"}, body, sent="/")[0] == 200


@needs_shared
@pytest.mark.parametrize("name", CASES)
def test_a_request_in_cbor_is_refused_as_such(then: Application, name: str) -> None:
    headers, body, case = recorded("requests_cbor", name)
    status, answer = exchange(then, headers, body, sent=case["request"]["path"])
    assert (status, answer["__type"]) == (400, UNKNOWN)
    assert "CBOR" in answer["message"]


# The order and the kinds of refusals


def test_a_signed_request_is_answered(now: Application) -> None:
    body = b'{"Id": "%s"}' % PLAN_ID.encode()
    assert exchange(now, signed("DescribeRescoreExecutionPlan", body), body)[1]["Status"] == "ACTIVE"


def test_white_space_around_and_within_a_header_is_not_signed(now: Application) -> None:
    headers = signed("ListRescoreExecutionPlans", b"{}", x_amz_note="a  b c")
    assert exchange(now, {**headers, "x-amz-note": "\ta b   c "}, b"{}")[0] == 200
    assert exchange(now, {**headers, "x-amz-date": f" {headers['x-amz-date']} "}, b"{}")[0] == 200
    assert refusal(exchange(now, {**headers, "x-amz-note": "a bc"}, b"{}")) == "InvalidSignatureException"


def test_a_signed_header_may_be_other_than_ascii(now: Application) -> None:
    headers = signed("ListRescoreExecutionPlans", b"{}", x_amz_note="voilà")
    assert exchange(now, {**headers, "x-amz-note": "voilà".encode().decode("latin-1")}, b"{}")[0] == 200


def test_a_query_string_is_signed_whatever_its_order(now: Application) -> None:
    headers = signed("ListRescoreExecutionPlans", b"{}", query="b=2&a=1")
    assert exchange(now, headers, b"{}", sent="/kendra/?a=1&b=2")[0] == 200
    assert exchange(now, headers, b"{}", sent="/kendra/?b=2&a=1")[0] == 200
    assert refusal(exchange(now, headers, b"{}", sent="/kendra/?a=1&b=3")) == "InvalidSignatureException"


@pytest.mark.parametrize(
    "changes",
    [
        {"x-amz-target": f"{TARGET}.Query"},
        {"x-amz-target": "AWSKendraFrontendService.Rescore"},
        {"x-amz-target": "Rescore"},
        {"x-amz-target": None},
        {"content-type": "application/json"},
        {"content-type": "application/x-amz-json-1.1"},
        {"content-type": None},
    ],
)
def test_another_operation_or_content_type_is_unknown_even_unsigned(now: Application, changes: dict[str, str | None]) -> None:
    headers = {"x-amz-target": f"{TARGET}.Rescore", "content-type": CONTENT_TYPE, **changes}
    reply = exchange(now, {name: value for name, value in headers.items() if value is not None}, b"{}")
    assert reply == (400, {"__type": UNKNOWN, "message": ""})


@pytest.mark.parametrize(("method", "sent"), [("GET", "/kendra/"), ("PUT", "/kendra/"), ("POST", "/kendra/rescore")])
def test_only_post_to_the_root_is_known(now: Application, method: str, sent: str) -> None:
    headers = {"x-amz-target": f"{TARGET}.Rescore", "content-type": CONTENT_TYPE}
    assert exchange(now, headers, b"{}", method=method, sent=sent) == (400, {"__type": UNKNOWN, "message": ""})


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'"x"', b'{"Id": NaN}', b"\xff"])
def test_a_body_that_is_no_json_object_cannot_be_read(now: Application, body: bytes) -> None:
    reply = exchange(now, signed("ListRescoreExecutionPlans", body), body)
    assert (reply[0], reply[1]["__type"]) == (400, "com.amazon.coral.service#SerializationException")


def test_a_request_without_authorization_is_refused(now: Application) -> None:
    headers = signed("ListRescoreExecutionPlans", b"{}")
    del headers["authorization"]
    assert refusal(exchange(now, headers, b"{}")) == "MissingAuthenticationTokenException"


SIGNED = "content-type;host;x-amz-date;x-amz-target"
INCOMPLETE = {
    "no algorithm": ("AWS4-HMAC-SHA256 ", ""),
    "another algorithm": ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
    "a bearer": ("AWS4-HMAC-SHA256", "Bearer"),
    "no credential": ("Credential=", "Credentials="),
    "a short credential": ("/aws4_request", ""),
    "no signature": (" Signature=", " Signed="),
    "no signed headers": ("SignedHeaders=", "Headers="),
    "unsigned host": (SIGNED, "content-type;x-amz-date;x-amz-target"),
    "unsigned type": (SIGNED, "host;x-amz-date;x-amz-target"),
    "unsigned date": (SIGNED, "content-type;host;x-amz-target"),
    "unsigned target": (SIGNED, "content-type;host;x-amz-date"),
}


@pytest.mark.parametrize("change", INCOMPLETE.values(), ids=INCOMPLETE)
def test_an_authorization_that_lacks_something_is_incomplete(now: Application, change: tuple[str, str]) -> None:
    headers = signed("ListRescoreExecutionPlans", b"{}")
    changed = headers["authorization"].replace(*change)
    assert changed != headers["authorization"]
    reply = exchange(now, {**headers, "authorization": changed}, b"{}")
    assert refusal(reply) == "IncompleteSignatureException"


@pytest.mark.parametrize("header", ["x-amz-security-token", "x-amz-content-sha256", "x-amz-anything"])
def test_every_amz_header_that_is_sent_must_be_signed(now: Application, header: str) -> None:
    headers = {**signed("ListRescoreExecutionPlans", b"{}"), header: "x"}
    reply = exchange(now, headers, b"{}")
    assert refusal(reply) == "IncompleteSignatureException"
    assert header in reply[1]["message"]


@pytest.mark.parametrize("date", [None, "", "2026-01-02T03:04:05Z", "20260102", "20261302T030405Z"])
def test_a_request_needs_a_date_of_the_basic_form(now: Application, date: str | None) -> None:
    headers = {**signed("ListRescoreExecutionPlans", b"{}"), "x-amz-date": date}
    reply = exchange(now, {name: value for name, value in headers.items() if value is not None}, b"{}")
    assert refusal(reply) == "IncompleteSignatureException"


WRONG = {
    "service": ("/kendra-ranking/", "/kendra/", "correct service: 'kendra-ranking'"),
    "terminator": ("/aws4_request", "/aws3_request", "valid terminator: 'aws4_request'"),
    "region": ("/us-east-1/", "/us-east-2/", "does not match the signature"),
    "no region": ("/us-east-1/", "/US EAST/", "valid region"),
    "header that was not sent": (SIGNED, f"{SIGNED};x-amz-user", "does not match the signature"),
    "order of the headers": (SIGNED, "x-amz-target;content-type;host;x-amz-date", "does not match the signature"),
    "signature": ("Signature=", "Signature=0", "does not match the signature"),
    "day": (f"/{datetime.now(UTC):%Y}", "/1999", "Date in Credential scope does not match"),
}


@pytest.mark.parametrize(("old", "new", "told"), WRONG.values(), ids=WRONG)
def test_an_authorization_with_another_scope_or_signature_is_invalid(now: Application, old: str, new: str, told: str) -> None:
    headers = signed("ListRescoreExecutionPlans", b"{}")
    changed = headers["authorization"].replace(old, new)
    assert changed != headers["authorization"]
    reply = exchange(now, {**headers, "authorization": changed}, b"{}")
    assert refusal(reply) == "InvalidSignatureException"
    assert told in reply[1]["message"]


def test_parameters_of_an_authorization_may_be_spaced_and_ordered_otherwise(now: Application) -> None:
    headers = signed("ListRescoreExecutionPlans", b"{}")
    algorithm, _, parameters = headers["authorization"].partition(" ")
    backwards = ",".join(reversed(parameters.split(", ")))
    assert exchange(now, {**headers, "authorization": f"{algorithm}  {backwards}"}, b"{}")[0] == 200


# Keys, tokens and the clock, by way of boto3


def refused(emulator: Emulator, **keys: str) -> Any:
    """The error reply to a call with *keys*, as botocore reads it; empty if it has none."""
    client = boto3_client(emulator, **keys)
    try:
        client.list_rescore_execution_plans()
    except ClientError as error:
        return error.response
    finally:
        client.close()
    return {}


def kind(emulator: Emulator, **keys: str) -> str:
    """The error of a call with *keys*; ``""`` if it has none."""
    return refused(emulator, **keys).get("Error", {}).get("Code", "")


def test_a_wrong_secret_is_refused(emulator: Emulator) -> None:
    assert kind(emulator, aws_secret_access_key="another") == "InvalidSignatureException"


def test_an_unknown_key_is_refused(emulator: Emulator) -> None:
    assert kind(emulator, aws_access_key_id="AKIDANOTHER") == "UnrecognizedClientException"


def test_each_key_has_a_secret_of_its_own(emulator: Emulator) -> None:
    emulator.configure(aws_secrets={ACCESS_KEY: SECRET, "AKIDANOTHER": "another"})
    assert kind(emulator, aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET) == ""
    assert kind(emulator, aws_access_key_id="AKIDANOTHER", aws_secret_access_key=SECRET) == "InvalidSignatureException"


def test_a_session_token_is_accepted_until_it_has_expired(emulator: Emulator) -> None:
    assert kind(emulator, aws_session_token=TOKEN) == ""
    emulator.configure(expired_tokens=[TOKEN])
    assert kind(emulator, aws_session_token=TOKEN) == "ExpiredTokenException"
    assert kind(emulator, aws_session_token="fresh") == ""


@pytest.mark.parametrize(("seconds", "text"), [(330, "Signature expired: "), (-330, "Signature not yet current: ")])
def test_a_request_signed_more_than_5_minutes_off_is_refused(emulator: Emulator, seconds: float, text: str) -> None:
    emulator.set_clock(time.time() + seconds)
    error = refused(emulator)["Error"]
    assert error["Code"] == "InvalidSignatureException"
    assert error["Message"].startswith(text)


@pytest.mark.parametrize("seconds", [270, -270])
def test_a_request_signed_less_than_5_minutes_off_is_answered(emulator: Emulator, seconds: float) -> None:
    emulator.set_clock(time.time() + seconds)
    assert kind(emulator) == ""


@pytest.mark.parametrize(("statuses", "status"), [("reference", 400), ("model", 403)])
def test_refused_signatures_have_the_status_that_is_switched_on(emulator: Emulator, statuses: str, status: int) -> None:
    emulator.configure(kendra={"statuses": statuses})
    assert refused(emulator, aws_secret_access_key="another")["ResponseMetadata"]["HTTPStatusCode"] == status


def test_refusals_tell_nothing_that_was_signed(now: Application) -> None:
    headers: Mapping[str, str] = signed("ListRescoreExecutionPlans", b"{}", secret="another", token="a-token")
    _, answer = exchange(now, headers, b"{}")
    signature = headers["authorization"].rpartition("=")[2]
    for part in (KEY, "another", "a-token", signature, "aws4_request", "host:"):
        assert part not in json.dumps(answer)
