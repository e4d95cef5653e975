"""Whatever the emulated services are sent, they answer in their own form, and never with an error of the emulator's own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.kendra import signed
from rerankkit.emulator import Emulator
from rerankkit.emulator.kendra_plans import PLAN_ID, arn
from rerankkit.emulator.service import NESTING

ARN = arn("us-east-1", PLAN_ID)
TAGS = [{"Key": "team", "Value": "search"}]
TEXTS = ["a ferry", "a car"]
OBJECTS = [{"text": "a ferry", "title": "x"}, {"text": "a car", "title": "y"}]
STRUCTURED = {"rank_fields": ["text"], "return_documents": True}

GOOD: Mapping[str, Mapping[str, Any]] = {
    "cohere/v2/rerank": {
        "model": "rerank-v5.0-pro",
        "query": "ferry",
        "documents": TEXTS,
        "top_n": 1,
        "max_tokens_per_doc": 9,
        "priority": 0,
        "relevant_spans": {"mode": "enabled"},
    },
    "cohere/v1/rerank": {"model": "rerank-v3.5", "query": "ferry", "documents": OBJECTS, "max_chunks_per_doc": 1, **STRUCTURED},
    "voyage/v1/rerank": {
        "model": "rerank-2.5",
        "query": "ferry",
        "documents": TEXTS,
        "top_k": 1,
        "return_documents": True,
        "truncation": True,
    },
    "pinecone/rerank": {
        "model": "cohere-rerank-4-fast",
        "query": "ferry",
        "documents": OBJECTS,
        "top_n": 1,
        "parameters": {"max_tokens_per_doc": 9},
        **STRUCTURED,
    },
    "kendra/Rescore": {
        "RescoreExecutionPlanId": PLAN_ID,
        "SearchQuery": "ferry",
        "Documents": [{"Id": "a", "OriginalScore": 1.0, "Body": "a ferry", "Title": "x", "GroupId": "g"}],
    },
    "kendra/CreateRescoreExecutionPlan": {
        "Name": "plan",
        "Description": "text",
        "CapacityUnits": {"RescoreCapacityUnits": 1},
        "Tags": TAGS,
        "ClientToken": "token",
    },
    "kendra/DescribeRescoreExecutionPlan": {"Id": PLAN_ID},
    "kendra/ListRescoreExecutionPlans": {"MaxResults": 10, "NextToken": "x"},
    "kendra/UpdateRescoreExecutionPlan": {
        "Id": PLAN_ID,
        "Name": "plan",
        "Description": "text",
        "CapacityUnits": {"RescoreCapacityUnits": 1},
    },
    "kendra/DeleteRescoreExecutionPlan": {"Id": PLAN_ID},
    "kendra/TagResource": {"ResourceARN": ARN, "Tags": TAGS},
    "kendra/UntagResource": {"ResourceARN": ARN, "TagKeys": ["team"]},
    "kendra/ListTagsForResource": {"ResourceARN": ARN},
}


def nested(levels: int, inside: str = "{%s}") -> str:
    """JSON of so many levels."""
    opening, closing = inside.replace("%s", '"x":|' if inside[0] == "{" else "|").split("|")
    return opening * levels + "1" + closing * levels


VALUES: Sequence[str] = (  # as JSON, or what only looks like it
    *("null", "true", "0", "-1", "1.5", "1e400", "-1e400", "NaN", "Infinity", "9" * 19, "9" * 400, "-" + "9" * 40, "1e-400"),
    *('""', '" "', '"x"', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"' + "x" * 100_000 + '"', '"\\x"', "'x'", "undefined"),
    *("[]", "{}", "[[]]", "[null]", "[1]", '[""]', '["x", 1]', "[{}]", '[{"text": null}]', '[{"text": [{"text": 1}]}]'),
    *('[{"text": ' + nested(levels, "[%s]") + "}]" for levels in (100, 300, 900, 2_000)),
    *('[{"more": ' + nested(levels) + ', "text": "x"}]' for levels in (100, 200, 253, 255, 300, 1_000, 2_000)),
    *(nested(levels, inside) for levels in (127, 300, 2_000, 50_000) for inside in ("{%s}", "[%s]")),
    *('{"mode": "enabled", "threshold": -1e308}', '{"mode": "enabled", "max_spans": 9223372036854775808}', '{"": ""}'),
    *('{"RescoreCapacityUnits": 9223372036854775807}', '{"RescoreCapacityUnits": 1e3}', '[{"Id": "a"}]', '[{"Id": 1}]'),
)
BODIES: Mapping[str, bytes] = {
    "nothing": b"",
    "blank": b" \n",
    "half": b'{"query": "x',
    "two": b"{}{}",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "utf-16": '{"query": "x"}'.encode("utf-16"),
    "invalid utf-8": b'{"query": "\xff\xfe", "model": "x"}',
    "half a character": b'{"query": "\xf0\x9f"}',
    "a surrogate in utf-8": b'{"query": "\xed\xa0\x80"}',
    "zeros": b"\0" * 100,
    "null": b"null",
    "a number": b"1",
    "a text": b'"x"',
    "a list": b"[]",
    "an empty object": b"{}",
    "unknown members": b'{"x": 1, "\\u0000": 2, "": 3}',
    "a member twice": b'{"query": 1, "query": "x"}',
    "300 levels": nested(300).encode(),
    "2,000 levels": nested(2_000).encode(),
    "a million levels": b"[" * 1_000_000,
    "a form": b"query=x&documents=y",
}


@pytest.fixture(autouse=True)
def _left_as_it_was(emulator: Emulator) -> Iterator[None]:
    yield
    emulator.reset()


@pytest.fixture
def connection(emulator: Emulator) -> Iterator[HTTPConnection]:
    found = HTTPConnection(urlsplit(emulator.url).netloc, timeout=20)
    yield found
    found.close()


def headers_for(call: str, body: bytes) -> dict[str, str]:
    """Those of a good request."""
    service, _, operation = call.partition("/")
    if service == "kendra":
        return signed(operation, body)
    return {"Api-Key": "k"} if service == "pinecone" else {"Authorization": "Bearer k"}


def send(connection: HTTPConnection, call: str, body: bytes) -> int:
    path = "/kendra/" if call.startswith("kendra/") else f"/{call}"
    return ask(connection, "POST", path, headers_for(call, body), body)


def ask(connection: HTTPConnection, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> int:
    """The status of the reply; it is the service's own, in the service's form."""
    lower = {name.lower() for name in headers}
    connection.putrequest(method, path, skip_host="host" in lower, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value.encode("latin-1"))
    if "content-length" not in lower:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    with connection.getresponse() as response:
        content = response.read()
    assert response.status < 500, content[:200]
    if method != "HEAD" and content:
        found = json.loads(content)
        assert isinstance(found, dict)
        if response.status >= 400:
            assert found.keys() & {"message", "detail", "error"}
    return response.status


# Bodies


@pytest.mark.parametrize("call", GOOD)
def test_the_requests_that_are_changed_here_are_good(connection: HTTPConnection, call: str) -> None:
    expected = 400 if call == "kendra/ListRescoreExecutionPlans" else 200  # its token is a stranger's
    assert send(connection, call, json.dumps(GOOD[call]).encode()) == expected


@pytest.mark.parametrize("strict", [False, True], ids=["tolerant", "strict"])
@pytest.mark.parametrize("call", GOOD)
def test_a_member_of_whatever_value_gets_an_answer(
    emulator: Emulator, connection: HTTPConnection, call: str, strict: bool
) -> None:
    emulator.configure(strict=strict)
    for name in (*GOOD[call], "unknown"):
        for value in VALUES:
            others = {other: kept for other, kept in GOOD[call].items() if other != name}
            start = json.dumps(others)[1:-1]
            body = "{" + start + (", " if start else "") + f'"{name}": {value}' + "}"
            assert send(connection, call, body.encode()) in (200, 400, 404, 422), value[:80]
    assert emulator.requests()  # what it has seen can be told, too


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("call", GOOD)
def test_a_body_of_whatever_form_gets_an_answer(connection: HTTPConnection, call: str, body: str) -> None:
    lists = call == "kendra/ListRescoreExecutionPlans" and body in ("an empty object", "unknown members", "a member twice")
    assert send(connection, call, BODIES[body]) in ((200,) if lists else (400, 422))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("call", GOOD)
def test_any_json_gets_an_answer(emulator: Emulator, call: str) -> None:
    connection = HTTPConnection(urlsplit(emulator.url).netloc, timeout=20)

    @settings(max_examples=60, derandomize=True, database=None, deadline=None)
    @given(changes=st.dictionaries(st.sampled_from(sorted(GOOD[call])), json_values, min_size=1))
    def sent(changes: dict[str, Any]) -> None:
        assert send(connection, call, json.dumps({**GOOD[call], **changes}).encode()) in (200, 400, 404, 422)

    sent()
    connection.close()


@pytest.mark.parametrize(("levels", "status"), [(NESTING - 3, 200), (NESTING, 400)])
@pytest.mark.parametrize("call", ["cohere/v1/rerank", "pinecone/rerank"])
def test_echoed_documents_are_nested_only_so_deep(connection: HTTPConnection, call: str, levels: int, status: int) -> None:
    body = json.dumps({**GOOD[call], "documents": [{"text": "x", "more": json.loads(nested(levels))}]})
    assert send(connection, call, body.encode()) == status


# Headers, paths, methods

HEADERS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "blank": {"Authorization": "", "Api-Key": "", "X-Amz-Target": "", "Content-Type": ""},
    "a scheme alone": {"Authorization": "Bearer", "Api-Key": " "},
    "another scheme": {"Authorization": "Basic eDp5", "Api-Key": "Bearer k"},
    "bytes": {"Authorization": "Bearer \xff\xfe\x80", "Api-Key": "\xff", "X-Pinecone-Api-Version": "\xe9\x80"},
    "long": {"Authorization": "Bearer " + "k" * 30_000, "Api-Key": "k" * 30_000},
    "a signature for the others": {"Authorization": "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=, Signature="},
    "an unknown encoding": {"Content-Encoding": "br", "Accept-Encoding": "x", "Accept": "text/csv", "Api-Key": "k"},
    "an unknown type": {"Content-Type": "multipart/form-data; boundary=\xff", "Authorization": "Bearer k", "Api-Key": "k"},
}


@pytest.mark.parametrize("headers", HEADERS)
@pytest.mark.parametrize("call", [call for call in GOOD if not call.startswith("kendra") or call == "kendra/Rescore"])
def test_headers_of_whatever_kind_get_an_answer(connection: HTTPConnection, call: str, headers: str) -> None:
    path = "/kendra/" if call.startswith("kendra/") else f"/{call}"
    assert ask(connection, "POST", path, HEADERS[headers], json.dumps(GOOD[call]).encode()) in (200, 400, 401)


ODD_SIGNATURES: Mapping[str, Mapping[str, str]] = {
    "nothing in it": {"authorization": "AWS4-HMAC-SHA256"},
    "no pairs": {"authorization": "AWS4-HMAC-SHA256 a, b, c"},
    "empty pairs": {"authorization": "AWS4-HMAC-SHA256 Credential=, SignedHeaders=, Signature="},
    "slashes": {"authorization": "AWS4-HMAC-SHA256 Credential=/////, SignedHeaders=;;;host, Signature==="},
    "pairs twice": {"authorization": "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, Credential=f/g/h/i/j, SignedHeaders=host"},
    "a header that is not there": {
        "authorization": "AWS4-HMAC-SHA256 Credential=emulator-key/20261120/us-east-1/kendra-ranking/aws4_request, "
        "SignedHeaders=content-type;host;nowhere;x-amz-date;x-amz-target, Signature=0"
    },
    "bytes in it": {"authorization": "AWS4-HMAC-SHA256 Credential=\xff/\xfe/c/d/e, SignedHeaders=\xff, Signature=\xff"},
    "no date": {"x-amz-date": ""},
    "a date of words": {"x-amz-date": "yesterday"},
    "a date of another calendar": {"x-amz-date": "20261399T996199Z"},
    "a date before time": {"x-amz-date": "00000000T000000Z"},
    "digits of another script": {"x-amz-date": "\xb2\xb3\xb90261120T000000Z"},
    "another hash": {"x-amz-content-sha256": "\xff"},
    "a token": {"x-amz-security-token": "\xff" * 100},
    "an unknown operation": {"x-amz-target": "AWSKendraRerankingFrontendService."},
    "bytes for an operation": {"x-amz-target": "AWSKendraRerankingFrontendService.\xff"},
}


@pytest.mark.parametrize("odd", ODD_SIGNATURES)
def test_signatures_of_whatever_form_get_an_answer(connection: HTTPConnection, odd: str) -> None:
    body = json.dumps(GOOD["kendra/Rescore"]).encode()
    headers = {**signed("Rescore", body), **ODD_SIGNATURES[odd]}
    assert ask(connection, "POST", "/kendra/", headers, body) in (200, 400)


PATHS = (
    *("", "/", "//", "/v2", "/v2/rerank/", "/v2//rerank", "/v2/rerank/..", "/%2e%2e/rerank", "/v2%2Frerank", "/%00", "/%ff%fe"),
    *(
        "/models/",
        "/models/%ff",
        "/models/a/b",
        "/models/%00?type=%ff",
        "/models?type=embed&type=rerank&=&",
        "/rerank?a=%ff%00",
    ),
    *(
        "/service/AWSKendraRerankingFrontendService/operation/Rescore",
        "/?Action=x",
        "/" + "x" * 8_000,
        "/rerank;x=1",
        "/%",
        "/~",
    ),
)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"])
@pytest.mark.parametrize("service", ["cohere", "voyage", "pinecone", "kendra"])
def test_paths_and_methods_of_whatever_kind_get_an_answer(connection: HTTPConnection, service: str, method: str) -> None:
    keys = {"Authorization": "Bearer k", "Api-Key": "k", "X-Amz-Target": "AWSKendraRerankingFrontendService.Rescore"}
    for path in PATHS:
        known = service == "pinecone" and method == "GET" and path.split("?")[0] in ("/models", "/models/")
        expected = (200,) if known else (400,) if service == "kendra" else (400, 404)
        assert ask(connection, method, f"/{service}{path}", keys) in expected, path
