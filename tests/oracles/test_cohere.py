"""Cohere's own SDK believes that the emulator is Cohere: results, typed errors, retries and waits as recorded of it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import cohere
import cohere.core.http_client
import httpx
import pytest
from cohere.core.api_error import ApiError
from cohere.types.rerank_relevant_spans import RerankRelevantSpans

from rerankkit.emulator import Emulator, RateLimit, faults

CLIENTS = {
    ("v2", "sync"): cohere.ClientV2,
    ("v2", "async"): cohere.AsyncClientV2,
    ("v1", "sync"): cohere.Client,
    ("v1", "async"): cohere.AsyncClient,
}
DOCUMENTS = ["a car", "a ferry", "the ferry ferry"]


def rerank(emulator: Emulator, colour: str, version: str = "v2", *, raw: bool = False, **changes: Any) -> Any:
    """What the SDK's `rerank` returns; *raw*: with the headers."""
    options = {name: changes.pop(name) for name in ("api_key", "timeout", "max_retries") if name in changes}
    request = {"model": "rerank-v3.5", "query": "ferry", "documents": DOCUMENTS, **changes}
    client = CLIENTS[version, colour](**{"api_key": "any", "base_url": emulator.urls["cohere"], **options})
    call = _raw_call(client, version) if raw else client.rerank
    return _finished(client, call, request) if colour == "sync" else asyncio.run(_afinished(client, call, request))


def _raw_call(client: Any, version: str) -> Callable[..., Any]:
    return (client.v2 if version == "v2" else client).with_raw_response.rerank


def _finished(client: Any, call: Callable[..., Any], request: dict[str, Any]) -> Any:
    with client:
        return call(**request)


async def _afinished(client: Any, call: Callable[..., Any], request: dict[str, Any]) -> Any:
    async with client:
        return await call(**request)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The SDK's waits before its retries, in seconds, instead of the waiting."""
    found: list[float] = []

    async def asleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(cohere.core.http_client, "time", SimpleNamespace(time=time.time, sleep=found.append))
    monkeypatch.setattr(cohere.core.http_client, "asyncio", SimpleNamespace(sleep=asleep))
    return found


# Results


def test_results_come_best_first_and_are_billed(emulator: Emulator, colour: str) -> None:
    answer = rerank(emulator, colour)
    assert [result.index for result in answer.results] == [2, 1, 0]
    assert answer.results[0].relevance_score > answer.results[1].relevance_score > answer.results[2].relevance_score == 0
    assert answer.meta.api_version.version == "2"
    assert answer.meta.api_version.is_experimental is None
    assert answer.meta.billed_units.search_units == 1
    assert len(answer.id) == 36


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("top_n", "expected"), [(1, [2]), (2, [2, 1]), (9, [2, 1, 0])])
def test_as_many_results_come_as_were_asked_for(
    emulator: Emulator, colour: str, version: str, top_n: int, expected: list[int]
) -> None:
    answer = rerank(emulator, colour, version, top_n=top_n)
    assert [result.index for result in answer.results] == expected


@pytest.mark.parametrize(
    ("documents", "units"),
    [(["a ferry"] * 100, 1), (["a ferry"] * 101, 2), (["x" * 1_980] * 100, 1), (["x" * 2_000] * 100, 2)],
    ids=["100", "101", "100 of 500 tokens", "100 of more than 500 tokens"],
)
def test_a_search_unit_is_a_hundred_documents_of_five_hundred_tokens(
    emulator: Emulator, colour: str, documents: list[str], units: int
) -> None:
    assert rerank(emulator, colour, documents=documents).meta.billed_units.search_units == units


def test_v1_ranks_fields_of_objects_and_echoes_them_on_request(emulator: Emulator, colour: str) -> None:
    documents = [{"text": "a ferry", "title": "car"}, {"text": "a car", "title": "ferry", "page": "7"}, "a bus"]
    answer = rerank(emulator, colour, "v1", documents=documents, rank_fields=["title"], return_documents=True)
    best = answer.results[0]
    assert answer.meta.api_version.version == "1"
    assert (best.index, best.document.text, best.document.model_extra) == (1, "a car", {"title": "ferry", "page": "7"})
    assert rerank(emulator, colour, "v1", documents=documents).results[0].document is None


def test_v1_has_a_model_for_those_who_name_none(emulator: Emulator, colour: str) -> None:
    request = {"model": cohere.base_client.OMIT}
    assert rerank(emulator, colour, "v1", **request).results[0].index == 2
    assert "model" not in emulator.requests()[-1].body


def test_v5_models_show_what_is_relevant(emulator: Emulator, colour: str) -> None:
    text = "Über Autos 😀. The ferry leaves at nine. A ferry."
    wanted = RerankRelevantSpans(mode="enabled", threshold=0.4, max_spans=1)
    answer = rerank(
        emulator, colour, model="rerank-v5.0-pro", query="ferry leaves", documents=[text, "no"], relevant_spans=wanted
    )
    (span,) = answer.results[0].relevant_spans
    assert (text[span.start : span.end], span.score) == ("The ferry leaves at nine.", 1.0)
    assert answer.results[1].relevant_spans is None
    assert (answer.meta.billed_units.text_tokens, answer.meta.billed_units.search_units) == (4 * 2 + 14 + 1, None)


@pytest.mark.parametrize("wanted", [{"mode": "disabled"}, {"mode": "enabled", "threshold": 1.0}], ids=str)
def test_spans_that_are_unwanted_or_not_above_the_threshold_are_left_out(
    emulator: Emulator, colour: str, wanted: dict[str, Any]
) -> None:
    answer = rerank(emulator, colour, model="rerank-v5.0-fast", relevant_spans=wanted)
    assert [result.relevant_spans for result in answer.results] == [None, None, None]


def test_only_the_first_tokens_of_a_document_are_ranked(emulator: Emulator, colour: str) -> None:
    documents = ["x " * 3_000 + "ferry", "a bus"]
    scores = [result.relevance_score for result in rerank(emulator, colour, documents=documents).results]
    assert min(scores) == 0 < max(scores)  # 6,000 characters are 1,500 tokens of 4,096
    answer = rerank(emulator, colour, documents=documents, max_tokens_per_doc=1_000)
    assert [result.relevance_score for result in answer.results] == [0, 0]


@pytest.mark.parametrize(("model", "score"), [("rerank-v3.5", 0), ("rerank-v4.0-fast", 1)])
def test_a_query_is_cut_to_half_the_models_context(emulator: Emulator, colour: str, model: str, score: int) -> None:
    query = "x " * 5_000 + "ferry"  # 2,502 tokens
    best = rerank(emulator, colour, model=model, query=query).results[0].relevance_score
    assert math.ceil(best) == score


def test_a_document_beyond_the_window_is_as_good_as_its_best_chunk(emulator: Emulator, colour: str) -> None:
    far = "x " * 40_000 + "ferry"  # 20,002 tokens: in the fifth window of 4,093 less the query's
    answer = rerank(emulator, colour, documents=["a bus", far], max_tokens_per_doc=30_000)
    assert answer.results[0].index == 1
    first_chunks = rerank(emulator, colour, "v1", documents=["a bus", far], max_chunks_per_doc=4)
    assert [result.relevance_score for result in first_chunks.results] == [0, 0]


def test_the_form_of_2024_is_there_on_request(emulator: Emulator, colour: str) -> None:
    emulator.configure(cohere={"v2": "2024"})
    documents = [{"text": "a car"}, {"title": "ferry", "text": "a bus"}, "a ferry"]
    further = {"additional_body_parameters": {"rank_fields": ["title", "text"], "return_documents": True}}
    answer = rerank(emulator, colour, model="rerank-english-v2.0", documents=documents, request_options=further)
    assert {result.index for result in answer.results[:2]} == {1, 2}
    assert answer.results[0].model_extra["document"]
    assert answer.meta.api_version.is_experimental is True
    assert answer.meta.warnings[0].startswith("You are using an experimental version")
    with pytest.raises(cohere.UnprocessableEntityError, match="parameter 'priority'"):
        rerank(emulator, colour, priority=1)


# Errors a request earns


def unknown(**members: Any) -> dict[str, Any]:
    return {"request_options": {"additional_body_parameters": members}}


REFUSALS: dict[str, tuple[str, dict[str, Any], type[ApiError], str]] = {
    "an unknown field": ("v2", unknown(top_k=1), cohere.UnprocessableEntityError, "unknown field: parameter 'top_k' is not"),
    "a field of v1": ("v2", unknown(return_documents=True), cohere.UnprocessableEntityError, "'return_documents' is not"),
    "an unknown field before a missing model": (
        "v2",
        {"model": "", **unknown(top_k=1)},
        cohere.UnprocessableEntityError,
        "parameter 'top_k'",
    ),
    "an unknown field before a wrong type": (
        "v2",
        {"documents": [1], **unknown(top_k=1)},
        cohere.UnprocessableEntityError,
        "parameter 'top_k'",
    ),
    "no model": ("v2", {"model": ""}, cohere.BadRequestError, "a model parameter is required for this endpoint."),
    "an unknown model": ("v2", {"model": "xyz"}, cohere.NotFoundError, "model 'xyz' not found, make sure the correct model ID"),
    "a retired model": ("v1", {"model": "rerank-english-v2.0"}, cohere.NotFoundError, "'rerank-english-v2.0' not found"),
    "no documents": ("v2", {"documents": []}, cohere.BadRequestError, "invalid request: list of documents must not be empty"),
    "no documents before an unknown model": (
        "v2",
        {"documents": [], "model": "x"},
        cohere.BadRequestError,
        "list of documents",
    ),
    "blank documents": ("v2", {"documents": ["", " "]}, cohere.BadRequestError, "must not contain only empty strings or only"),
    "a blank query": ("v2", {"query": "\t"}, cohere.BadRequestError, "query must not be empty or be only whitespace"),
    "objects": ("v2", {"documents": [{"text": "x"}]}, cohere.BadRequestError, "invalid request: documents.0"),
    "too many documents": ("v2", {"documents": ["x"] * 10_001}, cohere.BadRequestError, "number of total max chunks"),
    "too many chunks": ("v1", {"documents": ["x"] * 1_000}, cohere.BadRequestError, "must be less than 10000"),
    "no rank fields": ("v1", {"rank_fields": []}, cohere.BadRequestError, "rank_fields cannot be empty, it must either"),
    "top_n of none": ("v2", {"top_n": 0}, cohere.BadRequestError, "invalid request: top_n"),
    "a priority beyond the last": ("v2", {"priority": 1_000}, cohere.BadRequestError, "invalid request: priority"),
    "spans in an unknown mode": (
        "v2",
        {"model": "rerank-v5.0-pro", "relevant_spans": {"mode": "on"}},
        cohere.BadRequestError,
        "invalid request: relevant_spans.mode",
    ),
    "spans of an older model": ("v2", {"relevant_spans": {"mode": "enabled"}}, cohere.BadRequestError, "v5 and newer"),
}


@pytest.mark.parametrize(("version", "changes", "kind", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_wrong_request_raises_the_sdks_own_error(
    emulator: Emulator, colour: str, version: str, changes: dict[str, Any], kind: type[ApiError], words: str
) -> None:
    with pytest.raises(ApiError) as caught:
        rerank(emulator, colour, version, **changes)
    assert type(caught.value) is kind
    assert words in caught.value.body["message"]
    assert len(caught.value.body["id"]) == 36
    assert len(emulator.requests()) == 1


def test_exactly_the_most_documents_are_ranked(emulator: Emulator, colour: str) -> None:
    assert len(rerank(emulator, colour, documents=["x"] * 10_000, top_n=2).results) == 2
    assert len(rerank(emulator, colour, "v1", documents=["x"] * 999, top_n=2).results) == 2


def test_a_wrong_key_is_told_in_the_recorded_words(emulator: Emulator, colour: str) -> None:
    emulator.configure(keys=["right"])
    assert rerank(emulator, colour, api_key="right").results
    with pytest.raises(cohere.UnauthorizedError) as caught:
        rerank(emulator, colour, api_key="wrong", documents=[])  # the key is looked at before the body
    assert caught.value.body["message"].startswith("Incorrect API key provided: ***********. You can find your API key at")
    assert "x-debug-trace-id" not in caught.value.headers


def test_an_address_that_does_not_exist_is_not_found(emulator: Emulator, colour: str) -> None:
    emulator.configure(keys=["right"])
    with pytest.raises(cohere.NotFoundError) as caught:  # before the key is looked at
        rerank(SimpleNamespace(urls={"cohere": f"{emulator.urls['cohere']}/v1"}), colour)  # type: ignore[arg-type]
    assert caught.value.body["message"] == "404 page not found"


def test_requests_beyond_the_minute_are_too_many(emulator: Emulator, colour: str) -> None:
    emulator.configure(rate_limits={"cohere": RateLimit(requests_per_minute=1)})
    rerank(emulator, colour)
    with pytest.raises(cohere.TooManyRequestsError) as caught:
        rerank(emulator, colour, max_retries=0)
    text = "You are past the per minute request limit, please wait and try again later."
    assert caught.value.body["message"] == text
    emulator.advance(60)
    rerank(emulator, colour)


def test_a_refused_request_does_not_count(emulator: Emulator, colour: str) -> None:
    emulator.configure(rate_limits={"cohere": RateLimit(requests_per_minute=1)})
    with pytest.raises(cohere.NotFoundError):
        rerank(emulator, colour, model="xyz")
    rerank(emulator, colour)


def test_a_trial_keys_headers_count_down_and_are_absent_from_a_429(emulator: Emulator, colour: str) -> None:
    emulator.configure(cohere={"trial": True}, rate_limits={"cohere": RateLimit(requests_per_minute=2)})
    told = [rerank(emulator, colour, raw=True).headers for _ in range(2)]
    assert [headers["x-trial-endpoint-call-remaining"] for headers in told] == ["1", "0"]
    assert {headers["x-trial-endpoint-call-limit"] for headers in told} == {"2"}
    assert {headers["x-endpoint-monthly-call-limit"] for headers in told} == {"1000"}
    with pytest.raises(cohere.TooManyRequestsError) as caught:
        rerank(emulator, colour, max_retries=0)
    assert not [name for name in caught.value.headers if "call-limit" in name or "call-remaining" in name]
    assert caught.value.body["message"].startswith("You are using a Trial key, which is limited to 2 API calls / minute.")


def test_a_production_keys_answers_have_no_trial_headers(emulator: Emulator, colour: str) -> None:
    headers = rerank(emulator, colour, raw=True).headers
    assert not [name for name in headers if name.startswith(("x-trial", "x-endpoint"))]
    assert len(headers["x-debug-trace-id"]) == 32


# Errors that are injected

STATUSES: dict[int, tuple[type[ApiError], int]] = {  # and how many requests the SDK makes of it
    400: (cohere.BadRequestError, 1),
    401: (cohere.UnauthorizedError, 1),
    402: (ApiError, 1),
    403: (cohere.ForbiddenError, 1),
    404: (cohere.NotFoundError, 1),
    408: (ApiError, 3),
    409: (ApiError, 3),
    413: (ApiError, 1),
    422: (cohere.UnprocessableEntityError, 1),
    429: (cohere.TooManyRequestsError, 3),
    498: (cohere.InvalidTokenError, 1),
    499: (cohere.ClientClosedRequestError, 1),
    500: (cohere.InternalServerError, 3),
    501: (cohere.NotImplementedError, 3),
    502: (ApiError, 3),
    503: (cohere.ServiceUnavailableError, 3),
    504: (cohere.GatewayTimeoutError, 3),
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_raises_the_sdks_own_error_after_its_retries(
    emulator: Emulator, colour: str, waits: list[float], status: int
) -> None:
    kind, requests = STATUSES[status]
    emulator.inject(faults.Status(service="cohere", status=status))
    with pytest.raises(ApiError) as caught:
        rerank(emulator, colour)
    assert type(caught.value) is kind
    assert caught.value.status_code == status
    assert caught.value.body["message"]
    assert [request.status for request in emulator.requests()] == [status] * requests
    assert waits == [pytest.approx(2**retry, rel=0.1) for retry in range(requests - 1)]


WAITS: dict[str, tuple[faults.Status, float]] = {
    "seconds": (faults.Status(status=429, retry_after=1), 1.0),
    "more seconds than it waits": (faults.Status(status=429, retry_after=120), 60.0),
    "milliseconds": (
        faults.Status(status=429, retry_after=0.3, retry_after_form="milliseconds", headers={"retry-after": "5"}),
        0.3,
    ),
    "nothing": (faults.Status(status=503), 1.0),
    "zero": (faults.Status(status=429, retry_after=0), 1.0),
    "a fraction": (faults.Status(status=429, retry_after=0.5), 1.0),
    "no number": (faults.Status(status=429, retry_after="soon"), 1.0),
}


@pytest.mark.parametrize(("fault", "seconds"), WAITS.values(), ids=WAITS)
def test_the_sdk_waits_as_it_was_recorded_and_succeeds(
    emulator: Emulator, colour: str, waits: list[float], fault: faults.Status, seconds: float
) -> None:
    emulator.inject(fault.model_copy(update={"times": 1}))
    assert rerank(emulator, colour).results[0].index == 2
    assert [request.status for request in emulator.requests()] == [fault.status, 200]
    jitter = 0.1 if seconds == 1.0 and fault.retry_after != 1 else 0
    assert waits == [pytest.approx(seconds, rel=jitter)]


def test_the_sdk_waits_until_a_date(emulator: Emulator, colour: str, waits: list[float]) -> None:
    emulator.inject(faults.Status(status=429, retry_after=20, retry_after_form="date", times=1))
    rerank(emulator, colour)
    assert 15 < waits[0] <= 20


def test_the_sdk_waits_for_the_reset_of_the_limit(emulator: Emulator, colour: str, waits: list[float]) -> None:
    reset = {"x-ratelimit-reset": str(int(time.time()) + 20)}
    emulator.inject(faults.Status(status=429, headers=reset, times=1))
    rerank(emulator, colour)
    assert 15 < waits[0] <= 24


@pytest.mark.parametrize(("max_retries", "requests"), [(0, 1), (3, 4)])
def test_the_sdk_retries_as_often_as_it_is_told(
    emulator: Emulator, colour: str, waits: list[float], max_retries: int, requests: int
) -> None:
    emulator.inject(faults.Status(status=503, retry_after=1))
    with pytest.raises(cohere.ServiceUnavailableError):
        rerank(emulator, colour, max_retries=max_retries)
    assert len(emulator.requests()) == requests
    assert waits == [1.0] * (requests - 1)


@pytest.mark.parametrize(
    ("fault", "status", "requests"),
    [
        (faults.NotJson(), 200, 1),
        (faults.NotJson(text="", content_type="application/json"), 200, 1),
        (faults.NotJson(text='{"results": [{"index": 0, "relev', content_type="application/json"), 200, 1),
        (faults.Status(status=400, body="bad request"), 400, 1),
        (faults.Status(status=429, body="slow down", content_type="application/json"), 429, 3),
        (faults.Status(status=502, body=faults.HTML, content_type="text/html"), 502, 3),
        (faults.Status(status=504, body=""), 504, 3),
        (faults.Status(status=204, body=""), 204, 1),
    ],
    ids=["html", "nothing", "half", "400 text", "429 text", "502 html", "504 nothing", "204"],
)
def test_what_is_no_json_raises_the_bare_error(
    emulator: Emulator, colour: str, waits: list[float], fault: Any, status: int, requests: int
) -> None:
    emulator.inject(fault)
    with pytest.raises(ApiError) as caught:
        rerank(emulator, colour)
    assert type(caught.value) is ApiError
    assert caught.value.status_code == status
    assert len(emulator.requests()) == requests


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (faults.Close(), httpx.RemoteProtocolError),
        (faults.Cut(), httpx.RemoteProtocolError),
        (faults.Reset(), httpx.ReadError),
        (faults.Hang(), httpx.ReadTimeout),
        (faults.Hang(headers=True), httpx.ReadTimeout),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_a_broken_connection_reaches_the_caller_raw_and_is_not_tried_again(
    emulator: Emulator, colour: str, fault: Any, kind: type[Exception]
) -> None:
    emulator.inject(fault)
    with pytest.raises(kind):
        rerank(emulator, colour, timeout=0.3 if fault.kind == "hang" else 10)
    assert len(emulator.requests()) == 1


def test_a_drip_outlasts_the_timeout(emulator: Emulator, colour: str) -> None:
    emulator.inject(faults.Drip(crumb=40, seconds=0.1))
    started = time.monotonic()
    assert rerank(emulator, colour, timeout=0.4).results
    assert time.monotonic() - started > 0.4


def test_a_redirect_is_followed(emulator: Emulator, colour: str) -> None:
    location = {"location": f"{emulator.urls['cohere']}/v2/rerank"}
    emulator.inject(faults.Status(status=307, headers=location, times=1))
    assert rerank(emulator, colour).results[0].index == 2
    assert [request.status for request in emulator.requests()] == [307, 200]


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
    assert [result.index for result in rerank(emulator, colour).results] == indices


def test_the_sdk_believes_a_score_that_is_no_number(emulator: Emulator, colour: str) -> None:
    emulator.inject(
        faults.WrongReply(what="score", times=1),
        faults.WrongReply(what="score", value="0.5", times=1),
        faults.WrongReply(what="score", value=None, times=1),
    )
    scores = [rerank(emulator, colour).results[0].relevance_score for _ in range(3)]
    assert math.isnan(scores[0])
    assert scores[1:] == ["0.5", None]
