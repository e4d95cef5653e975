"""Voyage's own SDK believes that the emulator is Voyage: results, typed errors, attempts and waits as recorded of it."""

from __future__ import annotations

import asyncio
import math
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
import requests
import tenacity
import voyageai
import voyageai.client
import voyageai.client_async
from voyageai import error
from voyageai.api_resources import api_requestor

from rerankkit.emulator import DOCUMENTED_LIMITS, Emulator, RateLimit, faults

CLIENTS = {"sync": voyageai.Client, "async": voyageai.AsyncClient}
DOCUMENTS = ["a car", "a ferry", "the ferry ferry"]


def rerank(emulator: Emulator, colour: str, **changes: Any) -> Any:
    """What the SDK's `rerank` returns."""
    options = {name: changes.pop(name) for name in ("api_key", "timeout", "max_retries") if name in changes}
    request = {"model": "rerank-2.5", "query": "ferry", "documents": DOCUMENTS, **changes}
    client = CLIENTS[colour](**{"api_key": "any", "base_url": emulator.urls["voyage"], **options})
    return client.rerank(**request) if colour == "sync" else asyncio.run(client.rerank(**request))


def create(emulator: Emulator, colour: str, **changes: Any) -> Any:
    """The SDK's call of the service as it is, for what `rerank` does not take."""
    request = {"model": "rerank-2.5", "query": "ferry", "documents": DOCUMENTS, **changes}
    request |= {"api_key": "any", "base_url": emulator.urls["voyage"]}
    resource = voyageai.Reranking
    return resource.create(**request) if colour == "sync" else asyncio.run(resource.acreate(**request))


@pytest.fixture(autouse=True)
def _closed_session() -> Iterator[None]:
    """The SDK keeps a session for each thread, and never closes it."""
    yield
    session = vars(api_requestor._thread_context).pop("session", None)
    if isinstance(session, requests.Session):
        session.close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The SDK's waits, in seconds, instead of the waiting; it also thinks of one after its last attempt."""
    found: list[float] = []

    class Recorded(tenacity.wait_exponential_jitter):
        def __call__(self, retry_state: tenacity.RetryCallState) -> float:
            found.append(super().__call__(retry_state))
            return 0.0

    monkeypatch.setattr(voyageai.client, "wait_exponential_jitter", Recorded)
    monkeypatch.setattr(voyageai.client_async, "wait_exponential_jitter", Recorded)
    return found


# Results


def test_results_come_best_first_with_the_callers_documents(emulator: Emulator, colour: str) -> None:
    answer = rerank(emulator, colour)
    assert [(result.index, result.document) for result in answer.results] == [
        (2, "the ferry ferry"),
        (1, "a ferry"),
        (0, "a car"),
    ]
    scores = [result.relevance_score for result in answer.results]
    assert scores[0] > scores[1] > scores[2] == 0


@pytest.mark.parametrize(("top_k", "expected"), [(None, [2, 1, 0]), (1, [2]), (2, [2, 1]), (9, [2, 1, 0])])
def test_as_many_results_come_as_were_asked_for(
    emulator: Emulator, colour: str, top_k: int | None, expected: list[int]
) -> None:
    assert [result.index for result in rerank(emulator, colour, top_k=top_k).results] == expected


def test_tokens_are_those_of_the_query_for_each_document_and_of_the_documents(emulator: Emulator, colour: str) -> None:
    assert rerank(emulator, colour, query="x" * 39, documents=["x" * 7, "x" * 11]).total_tokens == 2 * 10 + 2 + 3


def test_tokens_are_counted_after_truncation(emulator: Emulator, colour: str) -> None:
    documents = ["x" * 40_000, "y"]  # 10,001 tokens, of 4,000 less the query's 2
    assert rerank(emulator, colour, model="rerank-lite-1", documents=documents).total_tokens == 2 * 2 + 3_998 + 1


@pytest.mark.parametrize(("model", "query_tokens"), [("rerank-3", 8_000), ("rerank-2", 4_000), ("rerank-2-lite", 2_000)])
def test_a_query_is_cut_as_its_model_does(emulator: Emulator, colour: str, model: str, query_tokens: int) -> None:
    answer = rerank(emulator, colour, model=model, query="x" * 40_000, documents=["y"])
    assert answer.total_tokens == query_tokens + 1


def test_scores_are_bfloat16_so_that_ties_occur_and_keep_their_order(emulator: Emulator, colour: str) -> None:
    documents = ["ferry " + "boat " * length for length in range(160, 100, -1)]
    answer = rerank(emulator, colour, documents=documents)
    scores = [result.relevance_score for result in answer.results]
    assert all(struct.pack(">f", score)[2:] == b"\0\0" for score in scores)
    assert len(set(scores)) < len(scores)
    assert sorted(answer.results, key=lambda result: (-result.relevance_score, result.index)) == answer.results


@pytest.mark.parametrize(("wanted", "expected"), [(True, "the ferry ferry"), (False, None), (None, None)])
def test_documents_are_echoed_as_texts_only_on_request(
    emulator: Emulator, colour: str, wanted: bool | None, expected: str | None
) -> None:
    answer = create(emulator, colour, **({} if wanted is None else {"return_documents": wanted}))
    assert answer.data[0].get("document") == expected
    assert (answer.object, answer.model) == ("list", "rerank-2.5")


def test_an_account_without_a_payment_method_is_warned(emulator: Emulator, colour: str) -> None:
    emulator.configure(rate_limits={"voyage": DOCUMENTED_LIMITS["voyage"]})
    for _ in range(3):
        rerank(emulator, colour)
    with pytest.raises(error.RateLimitError, match="You have not yet added your payment method in the billing page"):
        rerank(emulator, colour)
    emulator.advance(60)
    rerank(emulator, colour)


# Errors a request earns

ARGUMENTS = (
    "The request body is not valid JSON, or some arguments were not specified properly. In particular, Error for argument "
)
EMPTY = "'documents': Value error, Input cannot contain empty strings or empty lists"
REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "no documents": ({"documents": []}, ARGUMENTS + EMPTY),
    "an empty document among others": ({"documents": ["a", "", "b"]}, ARGUMENTS + EMPTY),
    "no documents before an unknown model": ({"documents": [], "model": "x"}, ARGUMENTS + EMPTY),
    "objects": ({"documents": [{"text": "x"}]}, ARGUMENTS + "'documents.0': Input should be a valid string"),
    "an unknown model": ({"model": "x"}, "Model x is not supported. Supported models are ['rerank-3', 'rerank-3-lite', "),
    "too many documents": ({"documents": ["x"] * 1_001}, "Request to model 'rerank-2.5' failed. The number of documents"),
    "too many tokens": (
        {"model": "rerank-1", "documents": ["x" * 4_000] * 100},
        (
            "Request to model 'rerank-1' failed. The max allowed tokens per submitted batch is 100000. "
            "Your batch has 100300 tokens after truncation. Please lower the number of tokens in the batch."
        ),
    ),
    "a query that may not be cut": (
        {"query": "x" * 32_000, "truncation": False},
        "Request to model 'rerank-2.5' failed. The query has more than 8000 tokens.",
    ),
    "a pair that may not be cut": (
        {"documents": ["x" * 128_000], "truncation": False},
        "Request to model 'rerank-2.5' failed. The document at index 0 and the query have more than 32000 tokens together.",
    ),
    "top_k of none": ({"top_k": 0}, ARGUMENTS + "'top_k': "),
}


@pytest.mark.parametrize(("changes", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_wrong_request_raises_the_sdks_own_error(
    emulator: Emulator, colour: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(error.InvalidRequestError) as caught:
        rerank(emulator, colour, **changes)
    assert str(caught.value).startswith(words)
    assert caught.value.http_status == 400
    assert caught.value.json_body == {"detail": str(caught.value)}
    assert len(emulator.requests()) == 1


def test_exactly_the_most_documents_are_ranked(emulator: Emulator, colour: str) -> None:
    assert len(rerank(emulator, colour, documents=["x"] * 1_000, top_k=2).results) == 2


def test_a_wrong_key_is_told_in_the_services_words(emulator: Emulator, colour: str) -> None:
    emulator.configure(keys=["right"])
    assert rerank(emulator, colour, api_key="right").results
    with pytest.raises(error.AuthenticationError, match=r"^Provided API key is invalid\.$"):
        rerank(emulator, colour, api_key="wrong", documents=[])  # the key is looked at before the body


def test_an_unknown_field_is_refused_only_if_that_is_switched_on(emulator: Emulator, colour: str) -> None:
    assert create(emulator, colour, nonsense=1).data
    emulator.configure(strict=True)
    with pytest.raises(error.InvalidRequestError, match="Error for argument 'nonsense'"):
        create(emulator, colour, nonsense=1)


def test_requests_beyond_the_minute_are_too_many(emulator: Emulator, colour: str, waits: list[float]) -> None:
    emulator.configure(rate_limits={"voyage": RateLimit(requests_per_minute=1)})
    rerank(emulator, colour)
    with pytest.raises(error.RateLimitError, match=r"^Rate limit exceeded\. Your request frequency or token usage is too high"):
        rerank(emulator, colour, max_retries=2)
    assert [request.status for request in emulator.requests()] == [200, 429, 429]
    emulator.advance(60)
    rerank(emulator, colour)


def test_tokens_beyond_the_minute_are_too_many(emulator: Emulator, colour: str) -> None:
    emulator.configure(rate_limits={"voyage": RateLimit(tokens_per_minute=10_000)})
    with pytest.raises(error.RateLimitError):
        rerank(emulator, colour, documents=["x" * 4_000] * 10)
    rerank(emulator, colour, documents=["x" * 4_000] * 9)


# Errors that are injected

STATUSES: dict[int, tuple[type[error.VoyageError], int]] = {  # and how many requests the SDK makes of three attempts
    400: (error.InvalidRequestError, 1),
    401: (error.AuthenticationError, 1),
    403: (error.APIError, 1),
    404: (error.APIError, 1),
    408: (error.APIError, 1),
    409: (error.APIError, 1),
    413: (error.APIError, 1),
    422: (error.MalformedRequestError, 1),
    429: (error.RateLimitError, 3),
    500: (error.ServerError, 1),
    502: (error.ServiceUnavailableError, 3),
    503: (error.ServiceUnavailableError, 3),
    504: (error.ServiceUnavailableError, 3),
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_raises_the_sdks_own_error_after_its_attempts(
    emulator: Emulator, colour: str, waits: list[float], status: int
) -> None:
    kind, attempts = STATUSES[status]
    emulator.inject(faults.Status(service="voyage", status=status, retry_after=7))
    with pytest.raises(error.VoyageError) as caught:
        rerank(emulator, colour, max_retries=3)
    assert type(caught.value) is kind
    assert caught.value.http_status == status
    assert [request.status for request in emulator.requests()] == [status] * attempts
    assert [int(seconds) for seconds in waits] == ([1, 2, 4] if attempts == 3 else [])  # Retry-After is ignored


@pytest.mark.parametrize("status", [429, 503])
def test_nothing_is_tried_again_unless_that_was_asked_for(emulator: Emulator, colour: str, status: int) -> None:
    emulator.inject(faults.Status(status=status))
    with pytest.raises(STATUSES[status][0]):
        rerank(emulator, colour)
    assert len(emulator.requests()) == 1


def test_a_retry_succeeds(emulator: Emulator, colour: str, waits: list[float]) -> None:
    emulator.inject(faults.Status(status=503, times=1))
    assert rerank(emulator, colour, max_retries=3).results[0].index == 2
    assert [request.status for request in emulator.requests()] == [503, 200]


@pytest.mark.parametrize("status", [501, 505, 520])
def test_the_sdk_takes_some_statuses_for_a_success(emulator: Emulator, colour: str, status: int) -> None:
    emulator.inject(faults.Status(status=status))
    with pytest.raises(AttributeError):
        rerank(emulator, colour)


def test_a_detail_that_is_a_list_cannot_be_shown_by_the_sdk(emulator: Emulator, colour: str) -> None:
    emulator.inject(faults.Status(status=422, body={"detail": [{"loc": ["body"], "msg": "wrong"}]}))
    with pytest.raises(error.MalformedRequestError) as caught:
        rerank(emulator, colour)
    with pytest.raises(TypeError):
        str(caught.value)


@pytest.mark.parametrize(
    ("fault", "kind", "attempts"),
    [
        (faults.NotJson(), error.APIError, 1),
        (faults.NotJson(text="", content_type="application/json"), error.APIError, 1),
        (faults.NotJson(text='{"data": [{"ind', content_type="application/json"), error.APIError, 1),
        (faults.Status(status=400, body="bad request"), error.APIError, 1),
        (faults.Status(status=429, body="slow down", content_type="application/json"), error.APIError, 1),
        (faults.Status(status=502, body=faults.HTML, content_type="text/html"), error.ServiceUnavailableError, 2),
        (faults.Status(status=504, body=""), error.ServiceUnavailableError, 2),
        (faults.Status(status=204, body=""), error.APIConnectionError, 1),
        (faults.Status(status=200, body={}), AttributeError, 1),
        (faults.Status(status=200, body=[]), AttributeError, 1),
    ],
    ids=["html", "nothing", "half", "400 text", "429 text", "502 html", "504 nothing", "204", "object", "list"],
)
def test_what_is_no_answer_raises_what_was_recorded(
    emulator: Emulator, colour: str, waits: list[float], fault: Any, kind: type[Exception], attempts: int
) -> None:
    emulator.inject(fault)
    with pytest.raises(kind) as caught:
        rerank(emulator, colour, max_retries=2)
    assert caught.type is kind
    assert len(emulator.requests()) == attempts


@pytest.mark.filterwarnings("ignore:The 'warn' method is deprecated:DeprecationWarning")  # the SDK's own, of logging
@pytest.mark.parametrize(
    ("fault", "kind", "attempts"),
    [
        (faults.Close(), error.APIConnectionError, 1),
        (faults.Reset(), error.APIConnectionError, 1),
        (faults.Cut(), {"sync": error.APIConnectionError, "async": aiohttp.ClientPayloadError}, 1),
        (faults.Hang(), error.Timeout, 2),
        (faults.Hang(headers=True), {"sync": error.APIConnectionError, "async": error.Timeout}, {"sync": 1, "async": 2}),
    ],
    ids=["close", "reset", "cut", "hang", "hang after the headers"],
)
def test_a_broken_connection_raises_what_was_recorded(
    emulator: Emulator, colour: str, waits: list[float], fault: Any, kind: Any, attempts: Any
) -> None:
    emulator.inject(fault)
    with pytest.raises(kind[colour] if isinstance(kind, dict) else kind):
        rerank(emulator, colour, max_retries=2, timeout=0.3 if fault.kind == "hang" else 10)
    assert len(emulator.requests()) == (attempts[colour] if isinstance(attempts, dict) else attempts)


def test_a_drip_outlasts_the_timeout_of_the_blocking_client_alone(emulator: Emulator, colour: str) -> None:
    emulator.inject(faults.Drip(crumb=20, seconds=0.1))
    call: Callable[[], Any] = lambda: rerank(emulator, colour, timeout=0.4)  # noqa: E731 -- called in two ways
    started = time.monotonic()
    if colour == "sync":
        assert call().results
        assert time.monotonic() - started > 0.4
    else:
        with pytest.raises(error.Timeout):
            call()


def test_a_redirect_is_followed(emulator: Emulator, colour: str) -> None:
    location = {"location": f"{emulator.urls['voyage']}/rerank"}
    emulator.inject(faults.Status(status=307, headers=location, times=1))
    assert rerank(emulator, colour).results[0].index == 2
    assert [request.status for request in emulator.requests()] == [307, 200]


@pytest.mark.parametrize(
    ("fault", "indices"),
    [
        (faults.WrongReply(what="duplicate"), [2, 1, 0, 2]),
        (faults.WrongReply(what="missing"), [2, 1]),
        (faults.WrongReply(what="order"), [0, 1, 2]),
        (faults.Substitution(model="rerank-3"), [2, 1, 0]),
    ],
    ids=["duplicate", "missing", "order", "substitution"],
)
def test_the_sdk_believes_a_wrong_reply(emulator: Emulator, colour: str, fault: Any, indices: list[int]) -> None:
    emulator.inject(fault)
    assert [result.index for result in rerank(emulator, colour).results] == indices


@pytest.mark.parametrize("what", ["index", "extra"])
def test_an_index_beyond_the_documents_raises_pythons_own_error(emulator: Emulator, colour: str, what: Any) -> None:
    emulator.inject(faults.WrongReply(what=what))
    with pytest.raises(IndexError):
        rerank(emulator, colour)


def test_the_sdk_believes_a_score_that_is_no_number(emulator: Emulator, colour: str) -> None:
    emulator.inject(faults.WrongReply(what="score", times=1), faults.WrongReply(what="score", value="0.5", times=1))
    scores = [rerank(emulator, colour).results[0].relevance_score for _ in range(2)]
    assert math.isnan(scores[0])
    assert scores[1] == "0.5"
