"""Bad input is refused before any request, with the value, the limit and the way out in the error."""

from __future__ import annotations

import inspect
import math
from typing import Any

import pytest

from helpers.server import Reply, recorder
from helpers.services import COHERE, KENDRA, KEY, PINECONE, PLAN_ID, SERVICES, VOYAGE, Service
from helpers.ways import run
from rerankkit import (
    Client,
    Cohere,
    Document,
    InvalidRequestError,
    Kendra,
    KendraPlans,
    Pinecone,
    Price,
    Retry,
    Voyage,
    connect,
)
from rerankkit.providers import REGISTRY

CALLS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("a query that is no text", 3, {}, "query must be a str, got int"),
    ("an empty query", "", {}, "query is blank"),
    ("a blank query", " \n", {}, "query is blank"),
    ("top_n 0", "q", {"top_n": 0}, "top_n must be a whole number at least 1, got 0; pass None"),
    ("top_n -1", "q", {"top_n": -1}, "got -1"),
    ("top_n True", "q", {"top_n": True}, "got True"),
    ("top_n 2.5", "q", {"top_n": 2.5}, "got 2.5"),
    ("top_n as text", "q", {"top_n": "3"}, "got '3'"),
    ("timeout 0", "q", {"timeout": 0}, "timeout must be a number of seconds above 0 and at most .*, got 0"),
    ("a negative timeout", "q", {"timeout": -1.0}, "got -1.0"),
    ("an infinite timeout", "q", {"timeout": math.inf}, "got inf"),
    ("a timeout that is no number", "q", {"timeout": math.nan}, "got nan"),
    ("documents that are one text", "q", {"documents": "abc"}, "got one str; wrap it in a list"),
    ("documents that are one mapping", "q", {"documents": {"text": "a"}}, "got one dict"),
    ("documents that are one Document", "q", {"documents": Document("a")}, "got one Document"),
    ("documents that are none", "q", {"documents": None}, "documents must be a list of documents, got NoneType"),
    ("a document that is no text", "q", {"documents": ["a", 7]}, r"documents\[1\] is int, no text"),
    ("a document that is nothing", "q", {"documents": [None]}, r"documents\[0\] is NoneType"),
    ("a text that is no text", "q", {"documents": [{"text": 5}]}, r"documents\[0\]\['text'\] must be a str, got int"),
    ("a Document whose text is none", "q", {"documents": [Document(None)]}, r"documents\[0\].text must not be NoneType"),  # type: ignore[arg-type]
    (
        "a Document with a text for a score",
        "q",
        {"documents": [Document("a", score="1")]},
        r"documents\[0\].score must not be str",
    ),  # type: ignore[arg-type]
    ("a Document with a number for a title", "q", {"documents": [Document("a", title=5)]}, r"\.title must not be int: 5"),  # type: ignore[arg-type]
    ("a Document with a list for fields", "q", {"documents": [Document("a", fields=["b"])]}, r"\.fields must not be list"),  # type: ignore[arg-type]
    ("a Document with a list for a group", "q", {"documents": [Document("a", group_id=["b"])]}, r"\.group_id must not be list"),  # type: ignore[arg-type]
    (
        "a Document with a number for tokens",
        "q",
        {"documents": [Document("a", tokenized_body=5)]},
        "tokenized_body must not be int",
    ),  # type: ignore[arg-type]
    ("a Document with a huge score", "q", {"documents": [Document("a", score=10**400)]}, r"\.score must not be int: 10000"),
    ("a huge timeout", "q", {"timeout": 10**400}, "seconds above 0 and at most"),
    ("a top_n too large to show", "q", {"top_n": -(10**5000)}, "got a int too large to show"),
    ("a mapping without a text", "q", {"documents": ["a", {"body": "b"}]}, r"documents\[1\] has no 'text'.* it has 'body'"),
]


@pytest.mark.parametrize(("query", "changes", "message"), [case[1:] for case in CALLS], ids=[case[0] for case in CALLS])
def test_a_wrong_call_is_refused_before_any_request(
    service: Service, colour: str, query: Any, changes: dict[str, Any], message: str
) -> None:
    arguments = {"documents": ["a", "b"], **changes}
    with recorder(lambda _: Reply(status=500)) as server, Client(service.make(server.url)) as client:
        with pytest.raises(InvalidRequestError, match=message.replace(" it has", ".*it has")):
            run(colour, client, "rerank", query, arguments.pop("documents"), **arguments)
    assert server.requests == []


@pytest.mark.parametrize(
    ("service", "options", "query"),
    [
        (COHERE, {}, "word " * 4_000),
        (COHERE, {"model": "rerank-v4.0-pro"}, "word " * 40_000),
        (VOYAGE, {}, "word " * 20_000),
        (VOYAGE, {"model": "rerank-2-lite"}, "word " * 4_000),
        (VOYAGE, {"model": "rerank-2.5", "instruction": "prefer " * 10_000}, "short"),
        (KENDRA, {}, "x" * 1_001),
        (KENDRA, {}, "\N{GRINNING FACE}" * 501),
    ],
    ids=lambda value: value.name if isinstance(value, Service) else None,
)
def test_a_query_that_is_too_long_is_refused(service: Service, colour: str, options: dict[str, Any], query: str) -> None:
    with recorder(lambda _: Reply(status=500)) as server, Client(service.make(server.url, **options)) as client:
        with pytest.raises(InvalidRequestError, match=r"query has [\d,]+ characters, .* at most [\d,]+.*: shorten it"):
            run(colour, client, "rerank", query, ["a"])
    assert server.requests == []


@pytest.mark.parametrize("service", [COHERE, VOYAGE, PINECONE], ids=lambda service: service.name)
def test_a_query_that_may_still_fit_is_left_to_the_service(service: Service, colour: str) -> None:
    with recorder(lambda _: Reply(service.answer([(0, 0.5)]))) as server, Client(service.make(server.url)) as client:
        assert len(run(colour, client, "rerank", "word " * 800, ["a"])) == 1


def test_half_a_pair_of_aws_keys_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="aws_access_key_id and aws_secret_access_key together"):
        Kendra(PLAN_ID, region="us-east-1", aws_access_key_id="AKID")


@pytest.mark.parametrize(
    ("provider", "names"),
    [(Cohere, "CO_API_KEY or COHERE_API_KEY"), (Voyage, "VOYAGE_API_KEY"), (Pinecone, "PINECONE_API_KEY")],
    ids=["cohere", "voyage", "pinecone"],
)
def test_a_missing_key_is_named(provider: Any, names: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"needs a key: set {names}, or pass api_key="):
        provider()


def test_a_missing_region_is_named() -> None:
    with pytest.raises(InvalidRequestError, match="needs a region: pass region=, set AWS_REGION"):
        Kendra(PLAN_ID)


@pytest.mark.parametrize("model", ["", " ", "a b", "model\n", "\N{GREEK SMALL LETTER ALPHA}", "x" * 201, 3, None])
@pytest.mark.parametrize("provider", [Cohere, Voyage, Pinecone], ids=["cohere", "voyage", "pinecone"])
def test_a_model_of_the_wrong_form_is_refused(provider: Any, model: Any) -> None:
    with pytest.raises(InvalidRequestError, match="model must be a name such as 'rerank-v3.5'"):
        provider(model, api_key=KEY)


OPTIONS: list[tuple[Any, dict[str, Any], str]] = [
    (Cohere, {"api_version": "v3"}, "api_version must be one of 'v2', 'v1', got 'v3'"),
    (Cohere, {"priority": 1_000}, "priority must be a whole number from 0 to 999, got 1000"),
    (Cohere, {"priority": True}, "got True"),
    (Cohere, {"max_tokens_per_doc": 0}, "max_tokens_per_doc must be a whole number at least 1"),
    (Cohere, {"max_chunks_per_doc": 3}, "cohere v2 has no max_chunks_per_doc: pass api_version='v1'"),
    (Cohere, {"api_version": "v1", "max_tokens_per_doc": 9}, "cohere v1 has no max_tokens_per_doc: pass api_version='v2'"),
    (Cohere, {"api_version": "v1", "priority": 1}, "cohere v1 has no priority"),
    (Cohere, {"relevant_spans": True}, "relevant_spans needs a v5 model such as 'rerank-v5.0-fast', got 'rerank-v3.5'"),
    (Cohere, {"model": "rerank-v5.0-pro", "relevant_spans": {"treshold": 1}}, "'threshold' and 'max_spans'"),
    (Cohere, {"model": "rerank-v5.0-pro", "relevant_spans": {"threshold": -1}}, "at least 0, got -1"),
    (Cohere, {"model": "rerank-v5.0-pro", "relevant_spans": {"max_spans": 0}}, "at least 1, got 0"),
    (Cohere, {"client_name": "a\nb"}, "client_name must be printable ASCII text"),
    (Cohere, {"rank_fields": "title"}, "rank_fields must be a list of field names"),
    (Cohere, {"rank_fields": []}, "rank_fields must be a list of field names"),
    (Cohere, {"rank_fields": ["a", "a"]}, "none twice"),
    (Cohere, {"return_documents": "yes"}, "return_documents must be True or False"),
    (Voyage, {"truncation": 1}, "truncation must be True or False, got 1"),
    (Voyage, {"instruction": " "}, "instruction must be a text that is not blank"),
    (Voyage, {"model": "rerank-2", "instruction": "x"}, "'rerank-2' takes no instruction"),
    (Pinecone, {"rank_fields": ["title", "text"]}, "'bge-reranker-v2-m3' ranks 1 field"),
    (Pinecone, {"truncate": "START"}, "truncate must be one of 'END', 'NONE', got 'START'"),
    (Pinecone, {"max_tokens_per_doc": 5}, "'bge-reranker-v2-m3' takes no max_tokens_per_doc; it takes truncate"),
    (Pinecone, {"model": "cohere-rerank-4-fast", "truncate": "END"}, "takes no truncate; it takes max_tokens_per_doc"),
    (Pinecone, {"model": "cohere-rerank-4-fast", "max_tokens_per_doc": 5_000}, "from 1 to 4096, got 5000"),
    (Pinecone, {"api_version": ""}, "api_version must be printable ASCII text"),
]


@pytest.mark.parametrize(("provider", "options", "message"), OPTIONS, ids=lambda value: str(value)[:60])
def test_an_option_that_would_be_refused_is_refused_here(provider: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        provider(api_key=KEY, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plan_id": "short"}, "plan_id must be the 36 characters"),
        ({"region": "us-east-1.evil.com/"}, "region must be a name such as 'us-east-1'"),
        ({"overflow": "split"}, "overflow must be one of 'append', 'error'"),
        ({"fips": True}, "fips chooses among AWS's own endpoints"),
        (
            {"profile": "nobody", "aws_access_key_id": None, "aws_secret_access_key": None, "region": None},
            "no AWS profile 'nobody'",
        ),
    ],
    ids=["plan id", "region", "overflow", "fips and base_url", "profile"],
)
def test_a_kendra_option_that_would_be_refused_is_refused_here(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        KENDRA.make("http://127.0.0.1:1", **options)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("coher", {}, "'coher' names no service: did you mean 'cohere'"),
        ("openai:rerank", {}, "names no service: write 'service' or 'service:model', with cohere, voyage, pinecone, kendra"),
        ("", {}, "names no service"),
        (None, {}, "names no service"),
        ("local:colbert", {}, "there is 'local:bm25'"),
        ("local:bm25", {"api_key": KEY}, "has no option 'api_key': it takes timeout"),
        ("cohere:a b", {"api_key": KEY}, "model must be a name"),
        ("cohere", {"api_key": KEY, "max_token_per_doc": 1}, "did you mean 'max_tokens_per_doc'"),
        ("voyage", {"api_key": KEY, "top_n": 3}, r"'voyage' has no option 'top_n': top_n belongs to rerank\(\)"),
        ("pinecone", {"api_key": KEY, "model": "x"}, "has no option 'model': the model stands in the first argument"),
        ("pinecone", {"api_key": KEY, "timout": 3}, "did you mean 'timeout'.*transport"),
        ("kendra", {"region": "us-east-1"}, "needs its plan_id: 'kendra:<plan_id>'"),
        ("cohere", {"api_key": KEY, "timeout": -1}, "timeout must be"),
        ("cohere", {"api_key": KEY, "concurrency": 0}, "concurrency must be a whole number at least 1"),
        ("cohere", {"api_key": KEY, "retry": 3}, "retry must be a Retry"),
        ("cohere", {"api_key": KEY, "transport": "requests"}, "transport must be 'httpx', 'httpx2', 'aiohttp'"),
        ("cohere", {"api_key": KEY, "on_error": "ignore"}, "on_error must be one of 'raise', 'passthrough'"),
        ("cohere", {"api_key": KEY, "prices": 2}, "prices must be a mapping"),
        ("cohere", {"api_key": KEY, "tokenizer": "cl100k"}, "tokenizer must be a function"),
    ],
)
def test_connect_refuses_what_it_does_not_know(target: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        connect(target, **options)


def test_connect_takes_what_a_client_takes() -> None:
    """But for the provider, which it makes."""
    assert inspect.signature(connect).parameters.keys() - {"target", "options"} == (
        inspect.signature(Client).parameters.keys() - {"provider"}
    )
    prices = {"mine": Price(0.5, 1, "request")}
    made = connect("cohere:mine", api_key=KEY, on_error="passthrough", prices=prices, tokenizer=len)
    assert isinstance(made, Client)
    assert (made.on_error, made.estimate("q", ["a"]).cost) == ("passthrough", 0.5)


def test_a_client_wants_a_provider() -> None:
    with pytest.raises(InvalidRequestError, match=r"strings go to connect\(\)"):
        Client("cohere")  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"attempts": 0}, {"base_delay": -1}, {"max_delay": math.inf}, {"rate_limit_delay": "1"}])
def test_a_wrong_retry_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match="must be a"):
        Retry(**options)


PLANS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name must be 1 to 1,000 letters"),
    ({"name": "-x"}, "begin with none of these two"),
    ({"name": "a b"}, "name must be"),
    ({"name": "n", "description": "a\nb"}, "description must be a text"),
    ({"name": "n", "description": "x" * 1_001}, "at most 1,000 characters"),
    ({"name": "n", "capacity_units": -1}, "capacity_units must be a whole number from 0 to 1000"),
    ({"name": "n", "capacity_units": 1_001}, "got 1001"),
    ({"name": "n", "tags": {"": "v"}}, "a tag has a name of 1 to 128 characters"),
    ({"name": "n", "tags": {"k": "v" * 257}}, "a value of up to 256"),
    ({"name": "n", "tags": {str(number): "v" for number in range(201)}}, "at most 200 names"),
    ({"name": "n", "client_token": ""}, "client_token must be 1 to 64 ASCII characters"),
    ({"name": "n", "client_token": "ü"}, "client_token must be"),
]


@pytest.mark.parametrize(("members", "message"), PLANS, ids=lambda value: str(value)[:40])
def test_a_plan_that_would_be_refused_is_refused_here(colour: str, members: dict[str, Any], message: str) -> None:
    with recorder(lambda _: Reply(status=500)) as server:
        plans = KendraPlans(base_url=server.url, region="us-east-1", aws_access_key_id="AKID", aws_secret_access_key=KEY)
        with pytest.raises(InvalidRequestError, match=message):
            run(colour, plans, "create", **members)
    assert server.requests == []


def test_every_registered_service_is_tested() -> None:
    assert [service.name for service in SERVICES] == list(REGISTRY)
