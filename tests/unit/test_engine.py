"""One call without a network: what is sent, when again, and how the answers become one ranking."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from rerankkit import (
    APIConnectionError,
    AuthenticationError,
    DeadlineExceededError,
    Document,
    InvalidResponseError,
    RequestTooLargeError,
    RerankRequest,
    RerankResponse,
    Retry,
    ServerError,
    Span,
    Usage,
)
from rerankkit._content import UnreadableReplyError
from rerankkit._engine import Line, Policy, ScoredBatch, attempt, merge, plan, rerank, score
from rerankkit._failing import TransportError
from rerankkit._io import run
from rerankkit._wire import HttpRequest, HttpResponse
from rerankkit.deadline import Deadline
from rerankkit.provider import Batch, Limits, Prepared, Provider, Reply
from rerankkit.retry import RetryBudget
from rerankkit.service import Service

KEY = b"the-key-0123456789"


class Letters(Provider):
    """Ranks one-letter texts by a table of scores; an empty text is blank."""

    name = "letters"
    model = "m-1"
    base_url = "https://x.test"
    limits = Limits(2)  # type: ignore[assignment]

    def __init__(self, **changes: Any) -> None:
        self.forgotten = 0
        for name, value in changes.items():
            setattr(self, name, value)

    def prepare(self, items: Sequence[str | Document]) -> Prepared:
        contents = {index: str(item) for index, item in enumerate(items) if item}
        return Prepared(contents, {index: "blank" for index, item in enumerate(items) if not item}, ("prepared",))

    def build_request(self, batch: Batch) -> HttpRequest:
        return HttpRequest(self.base_url, {}, "".join(map(str, batch.documents)).encode(), ("built",))

    def authenticate(self, request: HttpRequest) -> HttpRequest:
        return request.with_auth({"Authorization": KEY.decode()})

    def forget_credentials(self) -> None:
        self.forgotten += 1

    def mask(self, content: bytes) -> bytes:
        return content.replace(KEY, b"***")

    def error_message(self, answer: Any) -> str | None:
        return answer.get("message")

    def parse_response(self, batch: Batch, response: HttpResponse) -> Reply:
        scores = json.loads(response.content)
        return Reply(dict(enumerate(scores)), usage=Usage(), request_id=self.request_id(response), warnings=("parsed",))


class Script:
    """An IO that answers as told: a reply, an error to raise, or what a function makes of the request."""

    def __init__(self, *replies: Any) -> None:
        self.replies = list(replies)
        self.sent: list[HttpRequest] = []
        self.slept: list[float] = []
        self.limits: list[int] = []
        self.offloaded = 0

    async def send(self, http: Any, request: HttpRequest, deadline: Deadline) -> HttpResponse:
        self.sent.append(request)
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        reply = reply(request) if callable(reply) else reply
        if isinstance(reply, BaseException):
            raise reply
        return reply

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def offload(self, function: Callable[[], Any], deadline: Deadline) -> Any:
        self.offloaded += 1
        return function()

    async def gather(self, jobs: Sequence[Any], limit: int) -> list[Any]:
        self.limits.append(limit)
        return [await job() for job in jobs]


def ok(*scores: float, **headers: str) -> HttpResponse:
    return HttpResponse(200, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(scores).encode())


def failed(status: int, text: str = "no", **headers: str) -> HttpResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, named, json.dumps({"message": text}).encode())


def by_letter(request: HttpRequest) -> HttpResponse:
    """Later letters are better."""
    return ok(*request.content)


def line(io: Script, provider: Provider | None = None, *, seconds: float = 60, **options: Any) -> Line:
    retry = Retry(**{"base_delay": 0, "rate_limit_delay": 0, **options})
    return Line(io, None, provider or Letters(), Policy(retry), Deadline(seconds))  # type: ignore[arg-type]


def attempted(at: Line, parse: Callable[[HttpResponse], Any] = lambda response: json.loads(response.content)) -> Any:
    return run(attempt(at, HttpRequest("https://x.test", {}, b"q"), parse))


def request_for(*documents: Any, top_n: int | None = None, seconds: float = 60) -> RerankRequest[Any]:
    return RerankRequest("q", documents, documents, top_n, Deadline(seconds))


def ranked(io: Script, *documents: str, top_n: int | None = None, concurrency: int = 8, **changes: Any) -> RerankResponse[str]:
    policy = Policy(Retry(base_delay=0), concurrency)
    request = request_for(*documents, top_n=top_n)
    return run(rerank(io, None, Letters(**changes), request, policy))  # type: ignore[arg-type]


# Attempts


def test_a_success_is_parsed_and_counted() -> None:
    io = Script(ok(1, 2))
    assert attempted(line(io)) == ([1, 2], 1)
    assert io.sent[0].auth == {"Authorization": KEY.decode()}
    assert (io.slept, io.offloaded) == ([], 0)


def test_what_heals_is_sent_again_after_its_wait(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rerankkit")
    io = Script(failed(503, "busy", retry_after="2"), failed(429, "slow", retry_after="3"), ok(1))
    assert attempted(line(io)) == ([1], 3)
    assert io.slept == [2.0, 3.0]
    assert [record.getMessage() for record in caplog.records] == [
        "letters: busy (model m-1, status 503, retry after 2 s); attempt 2 follows in 2.00 s",
        "letters: slow (model m-1, status 429, retry after 3 s, attempts 2); attempt 3 follows in 3.00 s",
    ]


def test_the_last_failure_is_raised_with_the_number_of_attempts() -> None:
    io = Script(failed(503, "first"), failed(503, "second"))
    with pytest.raises(ServerError, match="second") as caught:
        attempted(line(io, attempts=2))
    assert caught.value.attempts == len(io.sent) == 2


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    io = Script(failed(503, "busy", retry_after="61"))
    with pytest.raises(ServerError) as caught:
        attempted(line(io, seconds=60))
    assert (io.slept, caught.value.attempts, caught.value.retry_after) == ([], 1, 61)


def test_the_budget_is_the_policys_and_counts_every_attempt() -> None:
    at = line(Script(failed(503), ok(1)), budget=10)
    attempted(at)
    assert repr(at.policy.budget) == "<RetryBudget: 10.0 of 10 tokens left>"
    at = line(Script(failed(503)), budget=10)
    with pytest.raises(ServerError):
        attempted(at)
    assert repr(at.policy.budget) == "<RetryBudget: 7.0 of 10 tokens left>"
    attempted(Line(Script(ok(1)), None, Letters(), at.policy, Deadline(60)))  # type: ignore[arg-type]
    assert repr(at.policy.budget) == "<RetryBudget: 7.1 of 10 tokens left>"


def test_the_usual_policy_has_eight_requests_at_a_time_and_the_usual_retry() -> None:
    policy = Policy()
    assert (policy.retry, policy.concurrency, repr(policy.budget)) == (Retry(), 8, repr(RetryBudget(100)))


def test_a_passed_deadline_says_how_far_the_call_came() -> None:
    with pytest.raises(DeadlineExceededError) as caught:
        attempted(line(Script(TimeoutError()), seconds=0.25))
    assert str(caught.value) == "letters did not answer within 0.25 s (attempt 1); allow more with timeout="
    assert (caught.value.provider, caught.value.model, caught.value.attempts) == ("letters", "m-1", 1)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__, "the bare TimeoutError says nothing"
    with pytest.raises(DeadlineExceededError, match=r"\(attempt 2\); the attempt before failed with: .*busy") as caught:
        attempted(line(Script(failed(503, "busy"), TimeoutError())))
    assert isinstance(caught.value.__cause__, ServerError)
    assert caught.value.attempts == 2


def test_credentials_are_found_anew_only_after_they_were_refused() -> None:
    class Fresh(Letters):
        def is_retryable(self, response: HttpResponse, message: str) -> bool:
            return True

    for status, times in ((401, 1), (503, 0)):
        provider = Fresh()
        assert attempted(line(Script(failed(status), ok(1)), provider)) == ([1], 2)
        assert provider.forgotten == times
    provider = Letters()
    with pytest.raises(AuthenticationError):
        attempted(line(Script(failed(401)), provider))
    assert provider.forgotten == 0


def test_what_waits_to_authenticate_does_so_aside() -> None:
    io = Script(ok(1))
    attempted(line(io, Letters(auth_waits=True)))
    assert io.offloaded == 1
    assert io.sent[0].auth == {"Authorization": KEY.decode()}


def test_a_service_is_at_home_never_changes_and_masks_nothing_unless_it_says_otherwise() -> None:
    provider = Letters()
    assert provider.is_at_home is True
    assert copy.deepcopy(provider) is provider
    assert Service.mask(provider, b"content") == b"content"
    assert provider.auth_waits is False


# Translations


def test_a_connection_that_fails_is_an_error_of_ours() -> None:
    broken = TransportError("cannot\nconnect")
    with pytest.raises(APIConnectionError) as caught:
        attempted(line(Script(broken), attempts=1))
    error = caught.value
    assert (error.args, error.provider, error.model) == (("cannot connect",), "letters", "m-1")
    assert (error.retryable, error.stale, error.__cause__) == (True, False, broken)
    io = Script(TransportError("no certificate", can_heal=False))
    with pytest.raises(APIConnectionError) as caught:
        attempted(line(io))
    assert not caught.value.retryable
    assert len(io.sent) == 1


def test_a_stale_connection_is_replaced_at_once() -> None:
    io = Script(TransportError("gone", stale=True), ok(1))
    assert attempted(line(io, attempts=1)) == ([1], 2)
    assert io.slept == [0.0]


def test_an_unreadable_answer_is_not_asked_for_again() -> None:
    unreadable = UnreadableReplyError("too long")
    io = Script(unreadable)
    with pytest.raises(InvalidResponseError, match="too long") as caught:
        attempted(line(io))
    error = caught.value
    assert (error.provider, error.model, error.__cause__, len(io.sent)) == ("letters", "m-1", unreadable, 1)


def test_an_answer_that_cannot_be_parsed_is_told_with_its_id() -> None:
    def parse(response: HttpResponse) -> Any:
        raise ValueError("line\none")

    with pytest.raises(InvalidResponseError) as caught:
        attempted(line(Script(ok(1, x_request_id="r\n1"))), parse)
    error = caught.value
    assert error.args == ("the answer is not what the service documents: line one",)
    assert (error.provider, error.model, error.status_code, error.request_id) == ("letters", "m-1", 200, "r 1")
    assert isinstance(error.__cause__, ValueError)


@pytest.mark.parametrize("status", [199, 201, 204])
def test_no_other_status_is_a_success(status: int) -> None:
    with pytest.raises(InvalidResponseError, match="no"):
        attempted(line(Script(failed(status))))


def test_an_echoed_key_is_masked_in_headers_and_content() -> None:
    echo = HttpResponse(200, {"x-echo": f"a {KEY.decode()}"}, b'["' + KEY + b'"]')
    (found, _) = attempted(line(Script(echo)), lambda response: (response.headers, response.content))
    assert found == ({"x-echo": "a ***"}, b'["***"]')


# Planning and halving


def test_a_call_goes_out_in_batches_and_comes_back_as_one_ranking() -> None:
    io = Script(by_letter)
    response = ranked(io, "a", "d", "", "b", "c", "e")
    assert [request.content for request in io.sent] == [b"ad", b"bc", b"e"]
    assert [(result.index, result.relevance_score) for result in response] == [
        (5, 101.0),
        (1, 100.0),
        (4, 99.0),
        (3, 98.0),
        (0, 97.0),
        (2, None),
    ]
    assert response.usage == Usage(3)
    assert response.warnings == ("prepared", "built", "parsed")


def test_nothing_to_rank_is_not_sent() -> None:
    io = Script(by_letter)
    assert [result.skipped for result in ranked(io, "", "")] == ["blank", "blank"]
    assert io.sent == []
    assert len(ranked(io)) == 0


@pytest.mark.parametrize(
    ("concurrency", "documents", "limits"),
    [
        (8, 4, [8, 2, 2]),  # two batches, four requests each: both halves at once
        (8, 8, [8, 2, 2, 2, 2]),
        (4, 8, [4, 1, 1, 1, 1]),
        (1, 4, [1, 1, 1]),
        (1, 8, [1, 1, 1, 1, 1]),
        (8, 2, [8, 2]),
    ],
)
def test_halves_share_what_is_left_of_the_concurrency(concurrency: int, documents: int, limits: list[int]) -> None:
    io = Script(lambda request: failed(413) if len(request.content) > 1 else by_letter(request))
    assert len(ranked(io, *"abcdefgh"[:documents], concurrency=concurrency)) == documents
    assert io.limits == limits


def test_halves_of_halves_have_half_the_share() -> None:
    io = Script(lambda request: failed(413) if len(request.content) > 1 else by_letter(request))
    ranked(io, *"abcdefgh", concurrency=4, limits=Limits(8))
    assert io.limits == [4, 2, 2, 1, 1, 2, 1, 1]


def test_a_refused_batch_is_halved_and_all_its_requests_are_counted() -> None:
    io = Script(failed(503), failed(413), by_letter)
    provider = Letters()
    batch = Batch("q", ["a", "b", "c"], [5, 6, 7], 2)
    scored = run(score(line(io, provider), provider, batch, 2))
    assert [request.content for request in io.sent] == [b"abc", b"abc", b"a", b"bc"]
    assert [(list(part.batch.indices), part.batch.top_n) for part in scored] == [([5], None), ([6, 7], None)]
    assert [part.reply.usage.requests for part in scored] == [3, 1], "the refused one took two"
    assert [part.reply.warnings for part in scored] == [("built", "parsed")] * 2


@pytest.mark.parametrize(("texts", "changes"), [("a", {}), ("ab", {"pointwise": False})])
def test_what_cannot_be_halved_is_refused(texts: str, changes: dict[str, Any]) -> None:
    io = Script(failed(413, "too large"))
    with pytest.raises(RequestTooLargeError, match="too large"):
        ranked(io, *texts, **changes)
    assert len(io.sent) == 1


def planned(provider: Provider, texts: str, *, top_n: int | None = None) -> list[Batch]:
    request = request_for(*texts, top_n=top_n)
    return plan(provider, request, provider.prepare(request.items))


@pytest.mark.parametrize(
    ("texts", "top_n", "changes", "expected"),
    [
        ("ab", 1, {}, [1]),
        ("ab", 2, {}, [None]),
        ("ab", 3, {}, [None]),
        ("ab", None, {}, [None]),
        ("abc", 1, {}, [None, None]),
        ("ab", 1, {"takes_top_n": False}, [None]),
        ("abc", 1, {"pointwise": False}, [1]),
    ],
)
def test_top_n_is_told_to_a_single_request_that_it_would_cut(
    texts: str, top_n: int | None, changes: dict[str, Any], expected: list[int | None]
) -> None:
    assert [batch.top_n for batch in planned(Letters(**changes), texts, top_n=top_n)] == expected


def test_a_batch_ends_with_its_tokens_or_its_documents() -> None:
    """A letter is one token by the careful count, and so is the query."""

    def sizes(limits: Limits, count: int = 7) -> list[int]:
        return [len(batch.documents) for batch in planned(Letters(limits=limits), "a" * count)]

    assert sizes(Limits(10, request_tokens=6)) == [3, 3, 1]
    assert sizes(Limits(10, request_tokens=7)) == [3, 3, 1]
    assert sizes(Limits(10, request_tokens=8)) == [4, 3]
    assert sizes(Limits(2, request_tokens=100)) == [2, 2, 2, 1]
    assert sizes(Limits(10, request_tokens=1)) == [1] * 7
    assert sizes(Limits(10, pair_tokens=1, request_tokens=7)) == [7]
    assert sizes(Limits(10, pair_tokens=3, request_tokens=6)) == [3, 3, 1]
    assert sizes(Limits(3)) == [3, 3, 1]
    assert sizes(Limits(3), 0) == sizes(Limits(3, request_tokens=6), 0) == []


# Merging


def part(indices: Sequence[int], reply: Reply, top_n: int | None = None) -> ScoredBatch:
    return ScoredBatch(Batch("q", ["text"] * len(indices), indices, top_n), reply)


def merged(
    count: int, *parts: ScoredBatch, top_n: int | None = None, prepared: Prepared | None = None, **changes: Any
) -> RerankResponse[Any]:
    request = request_for(*(f"text {number}" for number in range(count)), top_n=top_n)
    return merge(Letters(**changes), request, prepared or Prepared({}), parts)


def test_equal_scores_keep_the_callers_order_across_batches() -> None:
    response = merged(4, part([3, 1], Reply({0: 0.5, 1: 0.5})), part([2, 0], Reply({0: 0.5, 1: 0.75})))
    assert [(result.index, result.relevance_score, result.document) for result in response] == [
        (0, 0.75, "text 0"),
        (1, 0.5, "text 1"),
        (2, 0.5, "text 2"),
        (3, 0.5, "text 3"),
    ]


def test_what_has_no_score_follows_by_its_reason() -> None:
    prepared = Prepared({}, {0: "blank", 1: "over_limit", 5: "blank", 3: "over_limit"})
    response = merged(7, part([6, 4, 2], Reply({1: -1.0})), prepared=prepared)
    assert [(result.index, result.skipped, result.relevance_score) for result in response] == [
        (4, None, -1.0),
        (2, "no_score", None),
        (6, "no_score", None),
        (1, "over_limit", None),
        (3, "over_limit", None),
        (0, "blank", None),
        (5, "blank", None),
    ]


def test_what_the_service_cut_off_is_no_document_without_a_score() -> None:
    response = merged(3, part([0, 1, 2], Reply({2: 0.5, 1: 0.25}), 2), top_n=2)
    assert [result.index for result in response] == [2, 1]
    assert response.warnings == ()
    assert [result.index for result in merged(3, part([0, 1, 2], Reply({0: 1, 1: 2, 2: 3})), top_n=1)] == [2]


def test_spans_go_with_their_documents() -> None:
    spans = (Span(0, 1, 0.5),)
    response = merged(2, part([1, 0], Reply({0: 0.5, 1: 0.25}, {0: spans})))
    assert [result.spans for result in response] == [spans, ()]


def test_the_response_sums_up_what_the_replies_say() -> None:
    response = merged(
        3,
        part([0], Reply({0: 0.5}, usage=Usage(1, search_units=1.0))),
        part([1], Reply({0: 0.5}, usage=Usage(2, search_units=0.5), model="m-1", request_id="r-1")),
        part([2], Reply({0: 0.5}, model="m-2", request_id="r-2")),
    )
    assert (response.provider, response.model, response.request_ids) == ("letters", "m-1", ("r-1", "r-2"))
    assert response.usage == Usage(3, search_units=1.5)
    assert response.warnings == ("asked for m-1, served by m-2: scores and thresholds may differ",)
    assert merged(1, part([0], Reply({0: 0.5}))).model == "m-1"
    assert merged(0).usage == Usage()


def test_a_service_without_a_choice_of_models_may_name_any() -> None:
    response = merged(1, part([0], Reply({0: 0.5}, model="served")), model=None)
    assert (response.model, response.warnings) == ("served", ())


def test_each_warning_is_told_once_in_the_order_they_arose() -> None:
    response = merged(
        3,
        part([0], Reply({0: 0.5}, warnings=("b", "a"), model="m-2")),
        part([1, 2], Reply({0: 0.5, 1: 0.25}, warnings=("a", "c"), model="m-2"), 1),
        prepared=Prepared({}, {}, ("first", "a")),
    )
    assert response.warnings == (
        "first",
        "a",
        "b",
        "c",
        "asked for m-1, served by m-2: scores and thresholds may differ",
        "asked for 1 results, got 2: the others were cut off",
    )
