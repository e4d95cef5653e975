"""Pinecone's own SDK believes that the emulator is Pinecone: results, models, typed errors, retries and waits as recorded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pinecone
import pytest
from pinecone._internal import http_client
from pinecone._internal.config import RetryConfig
from pinecone.errors import exceptions as errors

from rerankkit.emulator import Emulator, RateLimit, faults

CLIENTS = {"sync": pinecone.Pinecone, "async": pinecone.AsyncPinecone}
DOCUMENTS: list[dict[str, Any]] = [
    {"text": "a car"},
    {"text": "a ferry", "id": "b", "more": {"tags": ["x", 1, None]}},
    {"text": "the ferry ferry", "id": "c"},
]


def rerank(emulator: Emulator, colour: str, **changes: Any) -> Any:
    """What the SDK's `rerank` returns."""
    options = {name: changes.pop(name) for name in OPTIONS if name in changes}
    request = {"model": "bge-reranker-v2-m3", "query": "ferry", "documents": DOCUMENTS, **changes}
    return ask(emulator, colour, lambda client: client.inference.rerank(**request), **options)


OPTIONS = ("api_key", "timeout", "retry_config", "additional_headers")


def ask(emulator: Emulator, colour: str, call: Callable[[Any], Any], **options: Any) -> Any:
    """What *call* makes of a client."""
    client = CLIENTS[colour](**{"api_key": "any", "host": emulator.urls["pinecone"], **options})
    if colour == "async":
        return asyncio.run(_asked(client, call))
    with client:
        return call(client)


async def _asked(client: Any, call: Callable[[Any], Any]) -> Any:
    async with client:
        return await call(client)


@pytest.fixture(autouse=True)
def _own_budget() -> None:
    """The SDK retries less once a host has failed often, in whatever test."""
    http_client.get_budget_registry()._reset()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The SDK's waits before its retries, in seconds, instead of the waiting."""
    found: list[float] = []

    async def asleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(http_client, "_retry_sleep", found.append)
    monkeypatch.setattr(http_client, "_async_retry_sleep", asleep)
    return found


# Results


def test_results_come_best_first_with_whole_documents(emulator: Emulator, colour: str) -> None:
    answer = rerank(emulator, colour)
    assert [result.index for result in answer.data] == [2, 1, 0]
    assert [result.document for result in answer.data] == [DOCUMENTS[2], DOCUMENTS[1], DOCUMENTS[0]]
    assert 1 > answer.data[0].score > answer.data[1].score > answer.data[2].score == 0
    assert answer.model == "bge-reranker-v2-m3"
    assert answer.usage.rerank_units == 1


def test_texts_are_objects_to_the_service(emulator: Emulator, colour: str) -> None:
    best = rerank(emulator, colour, documents=["a car", "a ferry"]).data[0]
    assert (best.index, best.document) == (1, {"text": "a ferry"})


def test_documents_are_not_echoed_if_they_are_not_wanted(emulator: Emulator, colour: str) -> None:
    assert [result.document for result in rerank(emulator, colour, return_documents=False).data] == [None, None, None]


@pytest.mark.parametrize(("top_n", "expected"), [(1, [2]), (2, [2, 1]), (9, [2, 1, 0])])
def test_as_many_results_come_as_were_asked_for(emulator: Emulator, colour: str, top_n: int, expected: list[int]) -> None:
    assert [result.index for result in rerank(emulator, colour, top_n=top_n).data] == expected


def test_one_field_is_ranked_by_bge_and_several_by_cohere(emulator: Emulator, colour: str) -> None:
    documents = [{"a": "bus", "b": "ferry"}, {"a": "ferry", "b": "bus"}, {"a": "ferry", "b": "ferry"}]
    best = rerank(emulator, colour, documents=documents, rank_fields=["b"]).data
    assert [result.score > 0 for result in best] == [True, True, False]
    assert {result.index for result in best[:2]} == {0, 2}
    both = rerank(emulator, colour, model="cohere-rerank-4-fast", documents=documents, rank_fields=["a", "b"]).data
    assert both[0].index == 2
    assert all(result.score > 0 for result in both)


def test_a_long_pair_is_cut_only_if_that_is_asked_for_or_the_models_default(emulator: Emulator, colour: str) -> None:
    documents = [{"text": "x" * 5_000 + " ferry"}]
    assert rerank(emulator, colour, documents=documents, parameters={"truncate": "END"}).data[0].score == 0
    assert rerank(emulator, colour, model="pinecone-rerank-v0", documents=documents).data[0].score == 0
    with pytest.raises(errors.ApiError, match="exceeds the maximum token limit of 1024 for each query"):
        rerank(emulator, colour, documents=documents)


def test_truncate_is_no_parameter_of_coheres_models(emulator: Emulator, colour: str) -> None:
    documents = ["x" * 200_000]
    answer = rerank(emulator, colour, model="cohere-rerank-3.5", documents=documents, parameters={"truncate": "NONE"})
    assert len(answer.data) == 1


def test_cohere_cuts_documents_where_it_is_told_to(emulator: Emulator, colour: str) -> None:
    documents = ["x" * 5_000 + " ferry", "bus"]
    for parameters, found in (({}, False), ({"max_tokens_per_doc": 4_096}, True)):
        answer = rerank(emulator, colour, model="cohere-rerank-4-fast", documents=documents, parameters=parameters)
        assert (answer.data[0].score > 0) is found


def test_another_model_serves_where_the_service_has_replaced_one(emulator: Emulator, colour: str) -> None:
    answer = rerank(emulator, colour, model="cohere-rerank-3.5")
    assert answer.model == "cohere-rerank-4-fast"


@pytest.mark.parametrize(
    ("documents", "units"), [(["x" * 1_000] * 100, 1), (["x" * 1_000] * 101, 2), (["x" * 3_000] * 100, 2)], ids=str
)
def test_cohere_bills_a_unit_for_a_hundred_chunks(emulator: Emulator, colour: str, documents: list[str], units: int) -> None:
    answer = rerank(emulator, colour, model="cohere-rerank-4-fast", documents=documents)
    assert answer.usage.rerank_units == units


def test_models_are_listed_with_what_they_take(emulator: Emulator, colour: str) -> None:
    found = ask(emulator, colour, lambda client: client.inference.list_models(type="rerank"))
    assert found.names() == ["bge-reranker-v2-m3", "cohere-rerank-4-fast", "cohere-rerank-3.5", "pinecone-rerank-v0"]
    bge = found[0]
    assert (bge.type, bge.max_sequence_length, bge.max_batch_size, bge.provider_name) == ("rerank", 1_024, 100, "BAAI")
    (truncate,) = bge.supported_parameters
    assert (truncate.parameter, truncate.allowed_values, truncate.default) == ("truncate", ["END", "NONE"], "NONE")


def test_the_emulator_has_no_models_for_embedding(emulator: Emulator, colour: str) -> None:
    assert len(ask(emulator, colour, lambda client: client.inference.list_models())) == 4
    assert len(ask(emulator, colour, lambda client: client.inference.list_models(type="embed"))) == 0
    assert len(ask(emulator, colour, lambda client: client.inference.list_models(vector_type="dense"))) == 0


def test_one_model_is_described(emulator: Emulator, colour: str) -> None:
    found = ask(emulator, colour, lambda client: client.inference.get_model(model="cohere-rerank-4-fast"))
    (most,) = found.supported_parameters
    assert (most.parameter, most.min, most.max, most.default) == ("max_tokens_per_doc", 1, 4_096, 1_024)
    assert (found.max_sequence_length, found.max_batch_size) == (None, 250)


def test_an_unknown_model_is_not_described(emulator: Emulator, colour: str) -> None:
    with pytest.raises(errors.NotFoundError, match="Model 'xyz' not found"):
        ask(emulator, colour, lambda client: client.inference.get_model(model="xyz"))


def test_the_version_of_2025_is_served_to_those_who_name_it(emulator: Emulator, colour: str) -> None:
    emulator.configure(pinecone={"versions": ["2025-04"]})
    answer = rerank(emulator, colour, additional_headers={"x-pinecone-api-version": "2025-04"})
    assert answer.data[0].index == 2
    with pytest.raises(errors.ApiError, match="X-Pinecone-Api-Version 2026-07"):
        rerank(emulator, colour)


# Errors a request earns

BAD = "Bad request. The request body included invalid request parameters."
REFUSALS: dict[str, tuple[dict[str, Any], type[errors.ApiError], str, str]] = {
    "an unknown model": ({"model": "unknown-model"}, errors.NotFoundError, "NOT_FOUND", "Model 'unknown-model' not found"),
    "too many documents": (
        {"documents": ["x"] * 101},
        errors.ApiError,
        "INVALID_ARGUMENT",
        "Too many documents: 101. The maximum number of documents for this model is 100.",
    ),
    "too many documents for cohere": (
        {"documents": ["x"] * 251, "model": "cohere-rerank-4-fast"},
        errors.ApiError,
        "INVALID_ARGUMENT",
        "Too many documents: 251.",
    ),
    "two rank fields": ({"rank_fields": ["text", "id"]}, errors.ApiError, "INVALID_ARGUMENT", f"{BAD} (rank_fields: the model"),
    "no rank fields": ({"rank_fields": []}, errors.ApiError, "INVALID_ARGUMENT", BAD),
    "a document without the field": (
        {"documents": [{"text": "x"}, {"other": "x"}]},
        errors.ApiError,
        "INVALID_ARGUMENT",
        f"{BAD} (documents.1: the rank field 'text' is missing)",
    ),
    "a long pair": (
        {"documents": ["x", "x" * 4_084]},
        errors.ApiError,
        "INVALID_ARGUMENT",
        (
            "Request contains a query+document pair with 1024 tokens, "
            "which exceeds the maximum token limit of 512 for each query+document pair."
        ),
    ),
    "an unknown way to truncate": ({"parameters": {"truncate": "START"}}, errors.ApiError, "INVALID_ARGUMENT", BAD),
    "too many tokens a document": (
        {"model": "cohere-rerank-4-fast", "parameters": {"max_tokens_per_doc": 4_097}},
        errors.ApiError,
        "INVALID_ARGUMENT",
        f"{BAD} (parameters.max_tokens_per_doc",
    ),
}
REFUSALS["a long pair"][0].update(model="pinecone-rerank-v0", parameters={"truncate": "NONE"})


@pytest.mark.parametrize(("changes", "kind", "code", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_wrong_request_raises_the_sdks_own_error(
    emulator: Emulator, colour: str, changes: dict[str, Any], kind: type[errors.ApiError], code: str, words: str
) -> None:
    with pytest.raises(errors.ApiError) as caught:
        rerank(emulator, colour, **changes)
    error = caught.value
    assert type(error) is kind
    assert error.message.startswith(words)
    assert (error.error_code, error.status_code) == (code, 404 if kind is errors.NotFoundError else 400)
    assert error.body == {"error": {"code": code, "message": error.message}, "status": error.status_code}
    assert error.request_id == (error.headers or {})["x-pinecone-request-id"]
    assert len(emulator.requests()) == 1


@pytest.mark.parametrize(("model", "most"), [("bge-reranker-v2-m3", 100), ("cohere-rerank-4-fast", 250)])
def test_exactly_the_most_documents_are_ranked(emulator: Emulator, colour: str, model: str, most: int) -> None:
    assert len(rerank(emulator, colour, model=model, documents=["x"] * most).data) == most


def test_a_wrong_key_is_told_in_the_services_words(emulator: Emulator, colour: str) -> None:
    emulator.configure(keys=["right"], pinecone={"versions": []})
    with pytest.raises(errors.UnauthorizedError) as caught:  # the key is looked at before version and body
        rerank(emulator, colour, api_key="wrong", documents=[{}])
    assert (caught.value.message, caught.value.error_code) == ("Invalid API key.", "UNAUTHENTICATED")
    emulator.configure(pinecone={"versions": None})
    assert rerank(emulator, colour, api_key="right").data


LIMITS: dict[str, tuple[RateLimit, str]] = {
    "minute": (
        RateLimit(requests_per_minute=1),
        (
            "Request failed. You've reached the max rerank requests per minute (1) for model 'bge-reranker-v2-m3' "
            "for the current project. \nTo increase this limit, upgrade your plan."
        ),
    ),
    "month": (
        RateLimit(requests_per_month=1),
        (
            "Request failed. You've reached the rerank request limit (1) for model bge-reranker-v2-m3 "
            "for the current month. \nTo continue using this model, upgrade your plan."
        ),
    ),
}


@pytest.mark.parametrize("span", LIMITS)
def test_requests_beyond_a_limit_are_too_many(emulator: Emulator, colour: str, waits: list[float], span: str) -> None:
    limit, text = LIMITS[span]
    emulator.configure(rate_limits={"pinecone": limit})
    rerank(emulator, colour)
    with pytest.raises(errors.RateLimitError) as caught:
        rerank(emulator, colour)
    assert caught.value.message == text
    assert [request.status for request in emulator.requests()] == [200, 429, 429, 429, 429]
    emulator.advance(60)
    if span == "minute":
        rerank(emulator, colour)
    else:
        with pytest.raises(errors.RateLimitError):
            rerank(emulator, colour)


# Errors that are injected

STATUSES: dict[int, tuple[type[errors.ApiError], str, int]] = {  # and how many requests the SDK makes of it
    400: (errors.ApiError, "INVALID_ARGUMENT", 1),
    401: (errors.UnauthorizedError, "UNAUTHENTICATED", 1),
    402: (errors.PaymentRequiredError, "QUOTA_EXCEEDED", 1),
    403: (errors.ForbiddenError, "FORBIDDEN", 1),
    404: (errors.NotFoundError, "NOT_FOUND", 1),
    408: (errors.ApiError, "DEADLINE_EXCEEDED", 4),
    409: (errors.ConflictError, "ABORTED", 1),
    412: (errors.FailedPreconditionError, "FAILED_PRECONDITION", 1),
    413: (errors.PayloadTooLargeError, "UNKNOWN", 1),
    422: (errors.ApiError, "INVALID_ARGUMENT", 1),
    429: (errors.RateLimitError, "RESOURCE_EXHAUSTED", 4),
    500: (errors.ServiceError, "UNKNOWN", 4),
    501: (errors.ServiceError, "UNIMPLEMENTED", 1),
    502: (errors.ServiceError, "UNKNOWN", 4),
    503: (errors.ServiceError, "UNAVAILABLE", 4),
    504: (errors.ServiceError, "DEADLINE_EXCEEDED", 4),
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_raises_the_sdks_own_error_after_its_retries(
    emulator: Emulator, colour: str, waits: list[float], status: int
) -> None:
    kind, code, requests = STATUSES[status]
    emulator.inject(faults.Status(service="pinecone", status=status))
    with pytest.raises(errors.ApiError) as caught:
        rerank(emulator, colour)
    assert type(caught.value) is kind
    assert (caught.value.status_code, caught.value.error_code) == (status, code)
    assert caught.value.body is not None
    assert caught.value.body["status"] == status
    assert [request.status for request in emulator.requests()] == [status] * requests
    assert len(waits) == requests - 1
    assert all(0.25 <= seconds <= 0.25 * 3 ** (retry + 1) for retry, seconds in enumerate(waits))


WAITS: dict[str, tuple[faults.Status, float, float]] = {
    "seconds": (faults.Status(status=429, retry_after=1), 1.0, 1.5),
    "a fraction": (faults.Status(status=503, retry_after=0.01), 0.01, 0.015),
    "more seconds than it waits": (faults.Status(status=429, retry_after=120), 60, 90),
    "zero": (faults.Status(status=429, retry_after=0), 0, 0),
    "nothing": (faults.Status(status=500), 0.25, 0.75),
    "no number": (faults.Status(status=429, retry_after="soon"), 0.25, 0.75),
    "a date": (faults.Status(status=429, retry_after=20, retry_after_form="date"), 0.25, 0.75),
}


@pytest.mark.parametrize(("fault", "least", "most"), WAITS.values(), ids=WAITS)
def test_the_sdk_waits_as_it_was_recorded_and_succeeds(
    emulator: Emulator, colour: str, waits: list[float], fault: faults.Status, least: float, most: float
) -> None:
    emulator.inject(fault.model_copy(update={"times": 1}))
    assert rerank(emulator, colour).data[0].index == 2
    assert [request.status for request in emulator.requests()] == [fault.status, 200]
    assert least <= waits[0] <= most


def test_the_sdks_error_says_how_long_the_service_asked_it_to_wait(emulator: Emulator, colour: str, waits: list[float]) -> None:
    emulator.inject(faults.Status(status=429, retry_after=1))
    with pytest.raises(errors.RateLimitError) as caught:
        rerank(emulator, colour)
    assert caught.value.retry_after == 1.0


def test_the_sdk_retries_as_often_as_it_is_told(emulator: Emulator, colour: str, waits: list[float]) -> None:
    emulator.inject(faults.Status(status=503))
    with pytest.raises(errors.ServiceError):
        rerank(emulator, colour, retry_config=RetryConfig(max_retries=0))
    assert (len(emulator.requests()), waits) == (1, [])


def test_sixteen_failing_calls_use_the_retry_budget_up(emulator: Emulator, colour: str, waits: list[float]) -> None:
    emulator.inject(faults.Status(status=503))
    for _ in range(16):
        with pytest.raises(errors.ServiceError):
            rerank(emulator, colour)
    assert len(emulator.requests()) == 53


@pytest.mark.parametrize(
    ("fault", "kind", "requests"),
    [
        (faults.NotJson(), errors.ResponseParsingError, 1),
        (faults.NotJson(text="", content_type="application/json"), errors.ResponseParsingError, 1),
        (faults.NotJson(text='{"data": [{"ind', content_type="application/json"), errors.ResponseParsingError, 1),
        (faults.Status(status=200, body={}), errors.ResponseParsingError, 1),
        (faults.Status(status=200, body=[]), errors.ResponseParsingError, 1),
        (faults.Status(status=204, body=""), errors.ResponseParsingError, 1),
        (faults.Status(status=307, headers={"location": "/pinecone/rerank"}), errors.ApiError, 1),
        (faults.Status(status=400, body="bad request"), errors.ApiError, 1),
        (faults.Status(status=429, body="slow down", content_type="application/json"), errors.RateLimitError, 4),
        (faults.Status(status=502, body=faults.HTML, content_type="text/html"), errors.ServiceError, 4),
        (faults.Status(status=504, body=""), errors.ServiceError, 4),
    ],
    ids=["html", "nothing", "half", "object", "list", "204", "307", "400 text", "429 text", "502 html", "504 nothing"],
)
def test_what_is_no_answer_raises_what_was_recorded(
    emulator: Emulator, colour: str, waits: list[float], fault: Any, kind: type[Exception], requests: int
) -> None:
    emulator.inject(fault)
    with pytest.raises(kind) as caught:
        rerank(emulator, colour)
    assert caught.type is kind
    assert len(emulator.requests()) == requests


@pytest.mark.parametrize(
    ("fault", "kind", "requests"),
    [
        (faults.Close(), errors.PineconeConnectionError, 4),
        (faults.Reset(), errors.PineconeConnectionError, 4),
        (faults.Cut(), errors.PineconeConnectionError, 1),
        (faults.Hang(), errors.PineconeTimeoutError, 4),
        (faults.Hang(headers=True), errors.PineconeTimeoutError, 1),
    ],
    ids=["close", "reset", "cut", "hang", "hang after the headers"],
)
def test_a_broken_connection_raises_what_was_recorded(
    emulator: Emulator, colour: str, waits: list[float], fault: Any, kind: type[Exception], requests: int
) -> None:
    emulator.inject(fault)
    with pytest.raises(kind) as caught:
        rerank(emulator, colour, timeout=0.2 if fault.kind == "hang" else 10.0)
    assert caught.type is kind
    assert len(emulator.requests()) == requests


def test_a_call_succeeds_after_a_connection_that_broke(emulator: Emulator, colour: str, waits: list[float]) -> None:
    emulator.inject(faults.Close(times=1))
    assert rerank(emulator, colour).data[0].index == 2
    assert len(emulator.requests()) == 2


def test_a_drip_outlasts_the_timeout(emulator: Emulator, colour: str) -> None:
    emulator.inject(faults.Drip(crumb=40, seconds=0.1))
    started = time.monotonic()
    assert rerank(emulator, colour, timeout=0.4).data
    assert time.monotonic() - started > 0.4


@pytest.mark.parametrize(
    ("fault", "indices"),
    [
        (faults.WrongReply(what="index"), [2, 1, 1_000_000]),
        (faults.WrongReply(what="duplicate"), [2, 1, 0, 2]),
        (faults.WrongReply(what="missing"), [2, 1]),
        (faults.WrongReply(what="extra"), [2, 1, 0, 1_000_000]),
        (faults.WrongReply(what="order"), [0, 1, 2]),
    ],
    ids=lambda value: getattr(value, "what", ""),
)
def test_the_sdk_believes_a_wrong_reply(emulator: Emulator, colour: str, fault: faults.WrongReply, indices: list[int]) -> None:
    emulator.inject(fault)
    assert [result.index for result in rerank(emulator, colour).data] == indices


@pytest.mark.parametrize("value", ["NaN", "0.5", None, True])
def test_the_sdk_refuses_a_score_that_is_no_number(emulator: Emulator, colour: str, value: Any) -> None:
    emulator.inject(faults.WrongReply(what="score", value=value))
    with pytest.raises(errors.ResponseParsingError):
        rerank(emulator, colour)


def test_the_sdk_tells_which_model_served(emulator: Emulator, colour: str) -> None:
    emulator.inject(faults.Substitution(model="another"))
    assert rerank(emulator, colour).model == "another"
