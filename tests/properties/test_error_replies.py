"""Whatever an error reply holds, it becomes an exception of a fitting class that one can read, and that shows no key."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from botocore.parsers import JSONParser
from hypothesis import given
from hypothesis import strategies as st

from helpers.json_texts import damaged
from helpers.properties import any_text, header_text, tries
from helpers.services import KENDRA, SERVICES, Service
from rerankkit import errors
from rerankkit._engine import _masked
from rerankkit._kendra_service import ERROR_CLASSES as AWS_CLASSES
from rerankkit._kendra_service import error_type
from rerankkit._wire import HttpRequest, HttpResponse
from rerankkit.errors import ProviderError
from rerankkit.provider import Provider

LONGEST_MESSAGE = 750  # characters: 500 of the service's, and what stands around them
CANARY = "canary/KEY+2357=of\"all'\\kinds"  # whose characters JSON encoders escape, each in its own way
CLASSES: dict[int, type[ProviderError]] = {
    401: errors.AuthenticationError,
    402: errors.PaymentRequiredError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    407: errors.APIConnectionError,
    408: errors.ServerError,
    409: errors.ConflictError,
    413: errors.RequestTooLargeError,
    425: errors.ServerError,
    429: errors.RateLimitError,
}
OF_HUNDREDS = {4: errors.BadRequestError, 5: errors.ServerError}

names_of_headers = st.sampled_from(
    [
        *("location", "content-type", "retry-after", "retry-after-ms", "x-amz-retry-after", "x-amzn-errortype"),
        *("x-amzn-requestid", "x-request-id", "request-id", "x-pinecone-request-id", "x-debug-trace-id", "x-api-warning"),
    ]
)
urls = st.sampled_from(["https://", "//", "/", "http://[", "https://user:secret@", ""])
odd_headers = header_text | st.tuples(urls, any_text).map("".join) | st.just("x" * 5_000)
headers = st.dictionaries(names_of_headers, odd_headers, max_size=4)
statuses = st.integers(100, 599).filter(lambda status: status != 200) | st.sampled_from([*CLASSES, 302, 307, 400, 422])
messages = any_text | st.sampled_from(["x" * 5_000, "a\r\nb\tc\x1b[31m", "total max chunks", "calls / month", "\u202e\u2066"])


@cache
def provider_of(service: Service) -> Provider:
    """With the canary for a key, and already used once: what was signed with is what is masked."""
    key = "aws_secret_access_key" if service is KENDRA else "api_key"
    provider = service.make("https://gateway.test", **{key: CANARY})
    provider.authenticate(HttpRequest("https://gateway.test/", {}, b"{}"))
    return provider


@st.composite
def bodies(draw: st.DrawFn, service: Service) -> bytes:
    """The service's own form with any text in it, whole or damaged; a page; or anything."""
    answer: dict[str, Any] = {**service.error(draw(messages)), "detail": [{"msg": draw(messages)}]}
    return draw(
        damaged(answer, 2).map(lambda text: text.encode("utf-8", "replace"))
        | damaged(service.error("no"), 1).map(lambda text: b"\xef\xbb\xbf" + text.encode())
        | messages.map(lambda text: f"\ufeff<html>{text}</html>".encode("utf-8", "replace"))
        | st.binary(max_size=600)
    )


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@given(data=st.data(), status=statuses, headers=headers)
@tries(250)
def test_any_error_reply_is_an_error_one_can_read(
    service: Service, data: st.DataObject, status: int, headers: dict[str, str]
) -> None:
    """Bounded, printable, on one line; of the class its status says, unless the service itself says more."""
    error = provider_of(service).error(HttpResponse(status, headers, data.draw(bodies(service))))
    assert isinstance(error, ProviderError)
    assert (error.provider, error.status_code) == (service.name, status)
    check_message(error)
    if service is not KENDRA:
        assert isinstance(error, CLASSES.get(status, OF_HUNDREDS.get(status // 100, errors.InvalidResponseError)))


def check_message(error: ProviderError) -> None:
    assert 0 < len(error.args[0]) <= LONGEST_MESSAGE
    assert len(str(error)) <= 2 * LONGEST_MESSAGE, "with the service's own id of the request"
    assert str(error).isprintable()
    assert "<html>" not in str(error), "a proxy's page is not shown"


ESCAPES: list[Callable[[str], str]] = [  # how a service, or a proxy, may write what it echoes
    lambda text: text,
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    lambda text: "".join(f"\\u{ord(char):04x}" for char in text),
    lambda text: "".join(char if char.isalnum() else f"\\u{ord(char):04X}" for char in text),
]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@given(status=statuses, escape=st.sampled_from(ESCAPES), before=st.integers(0, 600), name=names_of_headers, text=header_text)
@tries(100)
def test_a_key_that_is_echoed_is_in_no_error(
    service: Service, status: int, escape: Callable[[str], str], before: int, name: str, text: str
) -> None:
    """Wherever the service puts it, whichever way JSON writes it, and wherever its text is cut."""
    provider = provider_of(service)
    marked = json.dumps({**service.error("@"), "id": "@", "__type": f"@{text}"})
    content = marked.replace("@", "x" * before + escape(CANARY)).encode()
    response = HttpResponse(status, {name: text + CANARY + text}, content)
    error = provider.error(_masked(provider, response))
    assert CANARY not in f"{error} {error.request_id} {error!r}"
    assert CANARY[:12] not in str(error), "nor a part of it, where the text was cut"


KINDS = sorted(AWS_CLASSES)
NAMESPACES = ["", "com.amazonaws.kendraranking#", "com.amazonaws.kendraranking.v20221019#", "aws.protocol#"]
ADDRESSES = ["", ":http://internal.amazon.com/coral/com.amazonaws.kendraranking/", ":", ":http://a.test/#b"]
kinds = st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(KINDS), st.sampled_from(ADDRESSES))


@given(kinds=kinds, status=st.sampled_from([400, 402, 403, 404, 409, 429, 500, 503]), in_header=st.booleans())
@tries(150)
def test_every_form_of_an_aws_error_type_is_the_same_class(
    kinds: tuple[str, str, str], status: int, *, in_header: bool
) -> None:
    """With a namespace, with an address, in the body, in the header: Smithy's JSON protocols know all of them."""
    written = "".join(kinds)
    content = b'{"message":"m"}' if in_header else json.dumps({"__type": written, "message": "m"}).encode()
    error = provider_of(KENDRA).error(HttpResponse(status, {"x-amzn-errortype": written} if in_header else {}, content))
    assert type(error) is AWS_CLASSES[kinds[1]]
    assert error.args[0].startswith(f"{kinds[1]}: m")


@given(kinds=kinds, other=st.text(max_size=40), members=st.sampled_from([["__type"], ["__type", "code"], ["__type", "Code"]]))
@tries(100)
def test_an_aws_error_type_is_read_as_botocore_reads_it(kinds: tuple[str, str, str], other: str, members: list[str]) -> None:
    body = dict.fromkeys(members, "".join(kinds)) | {"message": other}
    content = json.dumps(body).encode()
    parsed = JSONParser().parse({"status_code": 400, "headers": {}, "body": content}, None)
    assert error_type(HttpResponse(400, {}, content)) == parsed["Error"]["Code"]


@given(status=statuses, text=any_text, in_header=st.booleans())
@tries(150)
def test_what_is_no_aws_error_type_does_not_stand_where_one_would(status: int, text: str, *, in_header: bool) -> None:
    content = b"{}" if in_header else json.dumps({"__type": text * 100, "message": "m"}).encode()
    response = HttpResponse(status, {"x-amzn-errortype": text * 100} if in_header else {}, content)
    check_message(provider_of(KENDRA).error(response))
    assert re.fullmatch(r"[A-Za-z0-9_.]{0,100}", error_type(response))
