"""What an error reply says, read from its status, headers and bytes."""

from __future__ import annotations

import time
from typing import Any

import pytest

import rerankkit
from helpers.services import COHERE, KENDRA, KEY, PINECONE, PLAN_ID, POINTWISE, SERVICES, VOYAGE, Service, dumped
from rerankkit import Kendra, KendraPlans, ProviderError
from rerankkit._wire import HttpResponse
from rerankkit.service import tidy

URL = "https://x.test/prefix"
STATUSES: dict[int, tuple[str, bool]] = {  # its class, and whether it is tried again
    201: ("InvalidResponseError", False),
    304: ("InvalidResponseError", False),
    400: ("BadRequestError", False),
    401: ("AuthenticationError", False),
    402: ("PaymentRequiredError", False),
    403: ("PermissionDeniedError", False),
    404: ("NotFoundError", False),
    405: ("BadRequestError", False),
    407: ("APIConnectionError", False),
    408: ("ServerError", True),
    409: ("ConflictError", False),
    410: ("BadRequestError", False),
    413: ("RequestTooLargeError", False),
    414: ("BadRequestError", False),
    422: ("BadRequestError", False),
    425: ("ServerError", True),
    426: ("BadRequestError", False),
    429: ("RateLimitError", True),
    430: ("BadRequestError", False),
    499: ("BadRequestError", False),
    500: ("ServerError", True),
    501: ("ServerError", False),
    502: ("ServerError", True),
    503: ("ServerError", True),
    504: ("ServerError", True),
    505: ("ServerError", False),
    599: ("ServerError", False),
    600: ("InvalidResponseError", False),
}


def error_of(
    service: Service, status: int, body: object = b"", headers: dict[str, str] | None = None, **options: Any
) -> ProviderError:
    content = body if isinstance(body, bytes) else dumped(body)
    return service.make(URL, **options).error(HttpResponse(status, headers or {}, content))


def told(status: int) -> str:
    """What becomes of the text "what is wrong"."""
    proxy = "a proxy on the way asks for a name and a password: put them into HTTP_PROXY, or the host into NO_PROXY"
    return {404: "what is wrong (at https://x.test/prefix)", 407: proxy}.get(status, "what is wrong")


def text_of(error: ProviderError) -> str:
    return str(error.args[0])


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@pytest.mark.parametrize("status", STATUSES)
def test_a_status_says_whose_fault_it_is_and_whether_it_can_heal(service: Service, status: int) -> None:
    error = error_of(service, status, b"what is wrong", {"content-type": "text/plain"})
    assert (type(error).__name__, error.retryable) == STATUSES[status]
    assert (error.provider, error.model, error.status_code) == (service.name, service.make(URL).model, status)
    assert text_of(error) == told(status)
    assert (error.request_id, error.retry_after) == (None, None)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_the_services_own_text_and_its_wish_are_kept(service: Service) -> None:
    error = error_of(service, 503, service.error("what\nis  wrong"), {"retry-after": "7"})
    assert "what is wrong" in text_of(error)
    assert error.retry_after == 7


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@pytest.mark.parametrize("body", [b"", b"  \n", b"<html>no</html>", b"\xef\xbb\xbf\n <html>"])
def test_a_reply_without_an_explanation_says_what_it_was(service: Service, body: bytes) -> None:
    assert text_of(error_of(service, 502, body)) == "answered 502 without an explanation (no content type)"
    error = error_of(service, 502, body, {"content-type": "text/html"})
    assert text_of(error) == "answered 502 without an explanation (text/html)"


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@pytest.mark.parametrize("status", [300, 301, 308, 399])
def test_a_redirect_names_the_host_alone(service: Service, status: int) -> None:
    told = "redirected to {}; redirects are never followed, because keys would follow too: set base_url="
    for location, host in (
        ("https://elsewhere.test:8443/a?b=c", "elsewhere.test"),
        ("/a", "another path"),
        ("http://[::1", "an address that is none"),
    ):
        assert text_of(error_of(service, status, b"moved", {"location": location})) == told.format(host)
    assert text_of(error_of(service, status, b"moved")) == "moved"
    assert text_of(error_of(service, 201, b"made", {"location": "/a"})) == "made"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        (" two\r\n\twords\x00 ", "two words"),
        ("x" * 500, "x" * 500),
        ("x" * 501, "x" * 500 + " [...]"),
        ("\x1b[31mred\u2028", "[31mred"),
        ("", ""),
    ],
)
def test_a_tidy_text_is_one_line_of_bounded_length(text: str, expected: str) -> None:
    assert tidy(text) == expected


def test_a_long_page_is_cut() -> None:
    assert text_of(error_of(COHERE, 500, b"x" * 5_000)) == "x" * 500


@pytest.mark.parametrize(
    ("service", "body", "headers", "expected"),
    [
        (COHERE, {"id": "in the body"}, {"x-debug-trace-id": "in a header"}, "in the body"),
        (COHERE, {"id": 7}, {"x-debug-trace-id": "in a header"}, "in a header"),
        (COHERE, [], {"x-debug-trace-id": "in a header"}, "in a header"),
        (COHERE, {}, {"x-request-id": "another's"}, None),
        (VOYAGE, {}, {"x-request-id": "recorded", "request-id": "the SDK's"}, "recorded"),
        (VOYAGE, {}, {"request-id": "the SDK's"}, "the SDK's"),
        (PINECONE, {}, {"x-pinecone-request-id": "own", "x-request-id": "a gateway's"}, "own"),
        (PINECONE, {}, {"x-request-id": "a gateway's"}, "a gateway's"),
        (KENDRA, {}, {"x-amzn-requestid": "own", "x-request-id": "a gateway's"}, "own"),
        (KENDRA, {}, {"x-amzn-requestid": "two\nlines"}, "two lines"),
    ],
)
def test_the_request_id_is_where_the_service_puts_it(
    service: Service, body: Any, headers: dict[str, str], expected: str | None
) -> None:
    assert error_of(service, 500, body, headers).request_id == expected


@pytest.mark.parametrize(
    ("service", "body", "expected"),
    [
        (COHERE, {"message": "text"}, "text"),
        (COHERE, {"message": 3}, '{"message": 3}'),
        (VOYAGE, {"detail": "text"}, "text"),
        (VOYAGE, {"detail": [{"msg": "a"}]}, '[{"msg":"a"}]'),
        (VOYAGE, {"detail": {"msg": "a"}}, '{"detail": {"msg": "a"}}'),
        (PINECONE, {"error": {"message": "text"}}, "text"),
        (PINECONE, {"error": {"message": 3}}, '{"error": {"message": 3}}'),
        (PINECONE, {"error": "text"}, '{"error": "text"}'),
        (KENDRA, {"message": "text"}, "text"),
        (KENDRA, {"Message": "text"}, "text"),
        (KENDRA, {"message": "one", "Message": "other"}, "one"),
        (KENDRA, {"message": 3}, '{"message": 3}'),
    ],
)
def test_the_text_is_where_the_service_puts_it(service: Service, body: Any, expected: str) -> None:
    assert text_of(error_of(service, 400, body)) == expected


@pytest.mark.parametrize(
    ("service", "text"),
    [
        (COHERE, "total max chunks is 10000"),
        (VOYAGE, "The max allowed tokens per submitted batch is 600000."),
        (VOYAGE, "The number of documents exceeds 1000."),
    ],
)
def test_a_400_may_say_that_there_are_too_many(service: Service, text: str) -> None:
    assert type(error_of(service, 400, service.error(text))) is rerankkit.RequestTooLargeError
    assert type(error_of(service, 401, service.error(text))) is rerankkit.AuthenticationError


@pytest.mark.parametrize(("service", "text"), [(COHERE, "10 calls / month"), (PINECONE, "for the current month")])
def test_a_quota_of_the_month_does_not_heal(service: Service, text: str) -> None:
    assert not error_of(service, 429, service.error(text)).retryable
    assert error_of(service, 429, service.error("10 calls / minute")).retryable
    assert not error_of(service, 400, service.error("10 calls / minute")).retryable


def test_a_model_that_is_gone_is_named_and_others_are_not() -> None:
    gone = error_of(COHERE, 404, COHERE.error("no such model"), model="rerank-english-v2.0")
    assert text_of(gone).startswith("no such model (rerank-english-v2.0 was shut down by Cohere on 2025-04-30) (at ")
    for model in ("rerank-english-v3.0", "of-my-own"):
        assert text_of(error_of(COHERE, 400, COHERE.error("no such model"), model=model)) == "no such model"


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@pytest.mark.parametrize(("pushback", "retryable", "wait"), [("-1", False, None), ("soon", False, None), ("500", True, 0.5)])
def test_a_gateway_may_ask_not_to_be_tried_again(service: Service, pushback: str, retryable: bool, wait: float | None) -> None:
    error = error_of(service, 503, b"busy", {"grpc-retry-pushback-ms": pushback})
    assert (error.retryable, error.retry_after) == (retryable, wait)
    assert not error_of(service, 400, b"no", {"grpc-retry-pushback-ms": pushback}).retryable


def test_coheres_rate_limit_says_when_its_window_ends() -> None:
    window = {"x-ratelimit-reset": str(time.time() + 3_600)}
    ends = error_of(COHERE, 429, b"slow", window).retry_after
    assert ends is not None
    assert 3_500 < ends <= 3_600
    assert error_of(COHERE, 429, b"slow", {**window, "retry-after": "7"}).retry_after == 7
    assert error_of(COHERE, 429, b"slow", {**window, "retry-after": "0"}).retry_after == 0
    assert error_of(COHERE, 503, b"busy", window).retry_after is None
    assert error_of(VOYAGE, 429, b"slow", window).retry_after is None


def test_a_page_that_is_not_utf8_is_readable() -> None:
    assert text_of(error_of(COHERE, 500, b"\xff caf\xe9")) == "\ufffd caf\ufffd"


# AWS


@pytest.mark.parametrize(
    ("kind", "expected", "retryable"),
    [
        ("ValidationException", "BadRequestError", False),
        ("ThrottlingException", "RateLimitError", True),
        ("SlowDown", "RateLimitError", True),
        ("InternalServerException", "ServerError", True),
        ("ServiceQuotaExceededException", "PaymentRequiredError", False),
        ("InvalidSignatureException", "AuthenticationError", False),
        ("SomethingNew", "PermissionDeniedError", False),
    ],
)
def test_an_aws_type_counts_more_than_the_status(kind: str, expected: str, retryable: bool) -> None:
    for body, headers in (
        ({"__type": f"com.amazonaws#{kind}:https://x", "message": "m"}, {"x-amzn-errortype": "ConflictException"}),
        ({"message": "m"}, {"x-amzn-errortype": kind}),
    ):
        error = error_of(KENDRA, 403, body, headers)
        assert (type(error).__name__, error.retryable) == (expected, retryable)
        hint = "; a plan answers 0.01 requests a second for each capacity unit it has, one unit by default"
        assert text_of(error) == f"{kind}: m{hint if kind == 'ThrottlingException' else ''}"


def test_where_there_is_no_hint_the_text_ends_without_one() -> None:
    plans = KendraPlans(region="us-east-1", aws_access_key_id="AKID", aws_secret_access_key=KEY, base_url=URL)
    error = plans._blocking.service.error(HttpResponse(429, {}, dumped({"__type": "ThrottlingException", "message": "m"})))
    assert text_of(error) == "ThrottlingException: m"


@pytest.mark.parametrize("kind", [7, "", "two words", "1st", "x" * 101])
def test_what_can_be_no_aws_type_is_none(kind: Any) -> None:
    error = error_of(KENDRA, 503, {"__type": kind, "message": "m"})
    assert (type(error).__name__, error.retryable, text_of(error)) == ("ServerError", True, "m")


@pytest.mark.parametrize("kind", ["ExpiredTokenException", "RequestExpired"])
def test_an_expired_token_heals_if_the_chain_may_have_another(kind: str) -> None:
    assert not error_of(KENDRA, 400, {"__type": kind}).retryable
    chain = Kendra(PLAN_ID, region="us-east-1", base_url=URL).error(HttpResponse(400, {}, dumped({"__type": kind})))
    assert chain.retryable
    assert type(chain) is rerankkit.AuthenticationError


def test_credentials_of_the_chain_are_kept_until_they_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Kendra(PLAN_ID, region="us-east-1", base_url=URL)

    def signer() -> str:
        return provider.authenticate(provider.operation("Rescore", {})).auth["Authorization"].partition("/")[0]

    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOLD")
    assert signer() == "AWS4-HMAC-SHA256 Credential=AKIDOLD"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDNEW")
    assert signer() == "AWS4-HMAC-SHA256 Credential=AKIDOLD"
    provider.forget_credentials()
    assert signer() == "AWS4-HMAC-SHA256 Credential=AKIDNEW"


# Keys


@pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)
def test_a_provider_masks_its_key(service: Service) -> None:
    assert service.make(URL).mask(f"a {KEY} b".encode()) == b"a ********** b"


def test_kendra_masks_what_it_signed_with() -> None:
    provider = KENDRA.make(URL, aws_session_token="the-session-token")
    provider.authenticate(provider.operation("Rescore", {}))
    assert provider.mask(f"a {KEY} the-session-token b".encode()) == b"a ********** ********** b"
