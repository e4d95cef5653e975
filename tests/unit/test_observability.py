"""Calls are told to OpenTelemetry as far as it was asked for, and each call of the caller's own is one line in the log."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import subprocess
import sys
import weakref
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from helpers.telemetry import telemetry
from helpers.ways import WAYS, Way, run
from rerankkit import BM25, Document, InvalidRequestError, RateLimitError, RerankResponse, ServerError, Usage
from rerankkit.observability import instrument, uninstrument
from rerankkit.resilience import Cached, Ensemble, Fallback, Hedged, MinScore, Passthrough, Windowed
from rerankkit.testing import FakeReranker

CAPTURE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
QUERY = "canary-query"
TEXTS = ["canary-bus", "canary-ferry"]


def score(query: str, text: str) -> float:
    return 0.75 if "ferry" in text else 0.25


class Named(FakeReranker):
    """A fake with a model of its own."""

    def __init__(self, model: str, **options: Any) -> None:
        super().__init__(score, **options)
        self.model = model

    @property
    def label(self) -> str:
        return f"fake:{self.model}"


def failing(error: Exception, model: str = "fails") -> Named:
    reranker = Named(model)
    reranker.fail(error, times=1_000)
    return reranker


# Off and on


def test_nobody_is_told_before_it_is_asked_for_or_after(colour: str) -> None:
    reranker = FakeReranker(score)
    run(colour, reranker, "rerank", QUERY, TEXTS)
    with telemetry() as seen:
        run(colour, reranker, "rerank", QUERY, TEXTS)
        uninstrument()
        run(colour, reranker, "rerank", QUERY, TEXTS)
    assert [span.name for span in seen.spans] == ["rerank fake"]


def test_without_the_package_it_is_off_and_calls_work() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
from rerankkit.observability import instrument
from rerankkit.testing import FakeReranker
print(instrument(), FakeReranker().rerank("q", ["a"]).documents)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False ['a']\n", "")


def test_without_an_sdk_it_costs_spans_that_nobody_keeps(colour: str) -> None:
    assert instrument()
    try:
        assert run(colour, FakeReranker(score), "rerank", QUERY, TEXTS, top_n=1).documents == TEXTS[1:]
    finally:
        uninstrument()


def test_asking_again_replaces_what_was_asked_before() -> None:
    with telemetry() as before, telemetry() as after:
        FakeReranker().rerank(QUERY, TEXTS)
    assert (len(before.spans), len(after.spans)) == (0, 1)


def test_what_a_sampler_drops_is_not_described_and_still_measured(colour: str) -> None:
    with telemetry(sampler=ALWAYS_OFF, capture_content=True, conventions=["gen_ai", "openinference"]) as seen:
        run(colour, FakeReranker(), "rerank", QUERY, TEXTS)
    assert seen.spans == ()
    assert len(seen.points()["gen_ai.client.operation.duration"]) == 1


@pytest.mark.parametrize(
    "options",
    [{"conventions": ["otel"]}, {"conventions": "gen_ai"}, {"capture_content": "yes"}, {"capture_scores": 1}],
    ids=str,
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError, match=next(iter(options))):
        instrument(**options)
    with telemetry() as seen:
        pass
    assert seen.spans == ()


# What a span says


def test_a_span_says_who_ranked_how_much_and_at_what_cost(colour: str) -> None:
    with telemetry() as seen:
        run(colour, FakeReranker(score), "rerank", QUERY, TEXTS, top_n=1)
    assert seen.only.name == "rerank fake"
    assert seen.only.kind is SpanKind.INTERNAL
    assert seen.only.status.status_code is StatusCode.UNSET
    assert dict(seen.only.attributes) == {
        "gen_ai.operation.name": "rerank",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": "fake",
        "gen_ai.response.model": "fake",
        "gen_ai.rerank.candidate.count": 2,
        "gen_ai.rerank.top_n": 1,
        "rerankkit.status": "ok",
        "rerankkit.served_by": "fake:fake",
        "rerankkit.requests": 1,
    }


def test_in_openinferences_words_it_is_a_reranker(colour: str) -> None:
    with telemetry(conventions=["openinference"]) as seen:
        run(colour, FakeReranker(score), "rerank", QUERY, TEXTS, top_n=1)
    attributes = {name: value for name, value in seen.only.attributes.items() if not name.startswith("rerankkit.")}
    assert attributes == {"openinference.span.kind": "RERANKER", "reranker.model_name": "fake", "reranker.top_k": 1}


def test_texts_are_told_in_both_languages_where_they_are_asked_for(colour: str) -> None:
    documents = [Document("a bus", id="d-7", score=0.5), "a ferry \ud800", {"name": "a car", "seats": 4, "text": None}]
    with telemetry(conventions=["gen_ai", "openinference"], capture_content=True) as seen:
        run(colour, BM25(), "rerank", "ferry \udc00", [*documents[:2], Document(fields={"text": "car"})])
    told = seen.only.attributes
    assert told["gen_ai.rerank.query.text"] == told["reranker.query"] == told["input.value"] == "ferry \ufffd"
    assert json.loads(told["gen_ai.rerank.input_documents"]) == [
        {"index": 0, "id": "d-7", "text": "a bus", "score": 0.5},
        {"index": 1, "id": "1", "text": "a ferry \ufffd"},
        {"index": 2, "id": "2", "text": "car"},
    ]
    first = json.loads(told["gen_ai.rerank.output_documents"])[0]
    assert {**first, "relevance_score": None} == {"index": 1, "id": "1", "text": "a ferry \ufffd", "relevance_score": None}
    assert told["reranker.input_documents.0.document.id"] == "d-7"
    assert told["reranker.input_documents.0.document.score"] == 0.5
    assert told["reranker.input_documents.2.document.content"] == "car"
    assert told["reranker.output_documents.0.document.content"] == "a ferry \ufffd"
    assert told["reranker.output_documents.0.document.score"] == first["relevance_score"] > 0


def test_scores_are_told_where_they_are_asked_for_and_no_texts_with_them(colour: str) -> None:
    with telemetry(conventions=["gen_ai", "openinference"], capture_scores=True) as seen:
        run(colour, FakeReranker(score), "rerank", QUERY, [*map(Document, TEXTS), Document(id="canary-id")])
    told = seen.only.attributes
    assert told["gen_ai.rerank.scores"] == (0.75, 0.25)
    assert told["reranker.output_documents.0.document.id"] == "1"
    assert told["reranker.output_documents.0.document.score"] == 0.75
    assert "reranker.output_documents.2.document.score" not in told
    assert "canary" not in seen.shown()


@pytest.mark.parametrize(
    ("value", "tells"),
    [("true", True), ("SPAN_ONLY", True), ("span_and_event", True), ("EVENT_ONLY", False), ("no_content", False), ("", False)],
)
def test_texts_are_told_as_the_environment_says(value: str, tells: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CAPTURE, value)
    with telemetry() as seen:
        FakeReranker().rerank(QUERY, TEXTS)
    assert ("canary" in seen.shown()) is tells
    with telemetry(capture_content=not tells) as seen:
        FakeReranker().rerank(QUERY, TEXTS)
    assert ("canary" in seen.shown()) is not tells


@pytest.mark.parametrize(("hidden", "kept"), [("INPUTS", "output"), ("OUTPUTS", "input")])
def test_what_openinferences_switches_hide_stays_hidden(hidden: str, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"OPENINFERENCE_HIDE_{hidden}", "True")
    with telemetry(conventions=["gen_ai", "openinference"], capture_content=True) as seen:
        FakeReranker().rerank(QUERY, TEXTS)
    texts = {name for name, value in seen.only.attributes.items() if "canary" in str(value)}
    assert texts
    assert all(kept in name or (kept == "input" and "query" in name) for name in texts)


def test_a_thousand_documents_leave_room_for_what_matters() -> None:
    with telemetry(conventions=["gen_ai", "openinference"], capture_content=True) as seen:
        FakeReranker().rerank(QUERY, [f"canary {number}" for number in range(1_000)], top_n=5)
    told = seen.only.attributes
    assert told["openinference.span.kind"] == "RERANKER"
    assert told["gen_ai.rerank.candidate.count"] == 1_000
    assert told["rerankkit.status"] == "ok"
    assert "reranker.input_documents.100.document.content" not in told


# Wrappers


def test_a_call_through_wrappers_reads_as_a_tree(colour: str) -> None:
    inner = Fallback(failing(ServerError("no")), Windowed(Named("long")), Passthrough())
    with telemetry() as seen, Cached(MinScore(inner, 0.1)) as reranker:
        run(colour, reranker, "rerank", QUERY, TEXTS)
    assert seen.tree() == {"rerank Cached": {"rerank Fallback": {"rerank fails": {}, "rerank long": {}}}}
    outer = seen.named("rerank Cached")
    assert outer.kind is SpanKind.INTERNAL
    assert outer.status.status_code is StatusCode.UNSET
    assert outer.attributes["rerankkit.status"] == "degraded"
    assert outer.attributes["rerankkit.served_by"] == "fake:fake"
    assert outer.attributes["rerankkit.attempts"] == ("fake:fails failed", "fake:fake served")
    assert outer.attributes["rerankkit.cache.misses"] == 2
    assert not any(name.startswith("gen_ai.") for name in outer.attributes), "tokens and costs would be counted twice"


def test_a_cached_answer_has_a_span_and_no_call_below_it(colour: str) -> None:
    with Cached(FakeReranker(score)) as reranker:
        run(colour, reranker, "rerank", QUERY, TEXTS)
        with telemetry(conventions=["openinference"]) as seen:
            run(colour, reranker, "rerank", QUERY, TEXTS)
    assert seen.tree() == {"rerank Cached": {}}
    assert seen.only.attributes["rerankkit.cache.hits"] == 2
    assert seen.only.attributes["rerankkit.requests"] == 0
    assert seen.only.attributes["openinference.span.kind"] == "CHAIN"
    assert seen.points().keys() == {"rerankkit.calls"}


def test_the_loser_of_a_hedge_is_cancelled_and_not_at_fault(colour: str) -> None:
    reranker = Hedged(Named("slow", latency=20.0), Named("fast"), delay=0.01, budget=1.0)
    with telemetry() as seen:
        run(colour, reranker, "rerank", QUERY, TEXTS)
        wait_for(lambda: len(seen.spans) == 3)
    assert seen.tree() == {"rerank Hedged": {"rerank slow": {}, "rerank fast": {}}}
    lost = seen.named("rerank slow")
    assert lost.status.status_code is StatusCode.UNSET
    assert (lost.attributes["rerankkit.status"], lost.attributes["error.type"]) == ("cancelled", "cancelled")
    assert seen.named("rerank Hedged").attributes["rerankkit.hedged"] is True
    assert "rerankkit.hedged" not in seen.named("rerank fast").attributes


def wait_for(condition: Any) -> None:
    """Threads that lost a race end a moment after it."""
    from time import monotonic, sleep

    until = monotonic() + 10
    while not condition() and monotonic() < until:
        sleep(0.005)


def test_threads_and_tasks_of_a_call_are_below_it_and_it_below_its_caller(colour: str) -> None:
    reranker = Ensemble(Named("one", latency=0.01), Named("two", latency=0.01))
    with telemetry() as seen, seen.tracer.start_as_current_span("question"):
        run(colour, reranker, "rerank", QUERY, TEXTS)
    assert seen.tree() == {"question": {"rerank Ensemble": {"rerank one": {}, "rerank two": {}}}}
    assert len({span.context.trace_id for span in seen.spans}) == 1


def test_calls_of_one_loop_keep_to_their_own_callers() -> None:
    with telemetry() as seen:

        async def question(number: int) -> None:
            with seen.tracer.start_as_current_span(f"question {number}"):
                await Fallback(Named(f"model {number}", latency=0.01)).arerank(QUERY, TEXTS)

        async def questions() -> None:
            await asyncio.gather(*map(question, range(8)))

        asyncio.run(questions())
    assert seen.tree() == {f"question {number}": {"rerank Fallback": {f"rerank model {number}": {}}} for number in range(8)}


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_call_is_below_the_callers_span_on_all_ways(way: Way) -> None:
    way.prepare()
    with telemetry() as seen, seen.tracer.start_as_current_span("question"):
        assert way(FakeReranker(score), QUERY, TEXTS, 1) == [(1, 0.75)]
    assert seen.tree() == {"question": {"rerank fake": {}}}


# Failures


def test_a_failure_ends_the_span_as_an_error_without_its_text(colour: str) -> None:
    error = RateLimitError("canary-text is too much", provider="fake", status_code=429, request_id="r-1")
    with telemetry() as seen, pytest.raises(RateLimitError):
        run(colour, failing(error), "rerank", QUERY, TEXTS)
    assert seen.only.status.status_code is StatusCode.ERROR
    assert seen.only.status.description == "RateLimitError (status 429, request id r-1)"
    told = seen.only.attributes
    assert (told["error.type"], told["rerankkit.status"], told["http.response.status_code"]) == (
        "RateLimitError",
        "failed",
        429,
    )
    assert told["rerankkit.request_ids"] == ("r-1",)
    assert "canary" not in seen.shown()


def test_its_text_is_told_where_texts_are(colour: str) -> None:
    with telemetry(capture_content=True) as seen, pytest.raises(ServerError):
        run(colour, failing(ServerError("canary-text")), "rerank", QUERY, TEXTS)
    (event,) = seen.only.events
    assert event.attributes["exception.message"] == "canary-text"


def test_a_failure_of_all_is_an_error_of_each(colour: str) -> None:
    reranker = Fallback(failing(ServerError("no"), "one"), failing(ServerError("no"), "two"))
    with telemetry() as seen, pytest.raises(ServerError):
        run(colour, reranker, "rerank", QUERY, TEXTS)
    assert seen.tree() == {"rerank Fallback": {"rerank one": {}, "rerank two": {}}}
    assert {span.status.status_code for span in seen.spans} == {StatusCode.ERROR}
    assert seen.named("rerank Fallback").attributes["rerankkit.attempts"] == ("fake:one failed", "fake:two failed")


def test_a_cancelled_call_ends_its_span_and_nobody_is_at_fault() -> None:
    async def cancelled() -> None:
        task = asyncio.create_task(Fallback(Named("slow", latency=20.0)).arerank(QUERY, TEXTS))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with telemetry() as seen:
        asyncio.run(cancelled())
    assert seen.tree() == {"rerank Fallback": {"rerank slow": {}}}
    for span in seen.spans:
        assert span.status.status_code is StatusCode.UNSET
        assert (span.attributes["rerankkit.status"], span.attributes["error.type"]) == ("cancelled", "cancelled")


class Broken(FakeReranker):
    async def _rerank(self, io: Any, request: Any) -> RerankResponse[Any]:
        raise ServerError("no")

    def survive(self, text: str) -> None:
        with suppress(ServerError):
            self.rerank(QUERY, [text])

    async def asurvive(self, text: str) -> None:
        with suppress(ServerError):
            await self.arerank(QUERY, [text])


class Text(str):
    __slots__ = ("__weakref__",)


def test_a_failed_call_that_was_told_of_leaves_no_circles(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    text = Text("a bus")
    kept = weakref.ref(text)
    caplog.set_level(logging.INFO, "rerankkit")
    gc.collect()
    gc.disable()
    try:
        with telemetry(capture_content=True) as seen:
            run(colour, Broken(), "survive", text)
        assert seen.only.status.status_code is StatusCode.ERROR
        del text
        assert kept() is None
    finally:
        gc.enable()


# Metrics


class Billed(FakeReranker):
    async def _rerank(self, io: Any, request: Any) -> RerankResponse[Any]:
        response = await super()._rerank(io, request)
        return RerankResponse(response.results, "fake", "fake-2", Usage(1, total_tokens=40), cost=0.25)


def test_metrics_count_services_once_and_the_applications_calls(colour: str) -> None:
    with telemetry() as seen:
        run(colour, Fallback(failing(ServerError("no")), Cached(Billed(score))), "rerank", QUERY, TEXTS)
    operation = {"gen_ai.operation.name": "rerank", "gen_ai.provider.name": "fake"}
    served = {**operation, "gen_ai.request.model": "fake", "gen_ai.response.model": "fake-2"}
    points = seen.points()
    durations = [attributes for attributes, _ in points["gen_ai.client.operation.duration"]]
    assert durations == [{**operation, "gen_ai.request.model": "fails", "error.type": "ServerError"}, served]
    assert points["gen_ai.client.token.usage"] == [({**served, "gen_ai.token.type": "input"}, 40)]
    assert points["rerankkit.cost"] == [(served, 0.25)]
    called = {"rerankkit.reranker": "Fallback", "rerankkit.status": "degraded", "rerankkit.served_by": "fake:fake-2"}
    assert points["rerankkit.calls"] == [(called, 1)]


def test_durations_fall_into_the_conventions_buckets() -> None:
    with telemetry() as seen:
        FakeReranker().rerank(QUERY, TEXTS)
    data = seen.reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics[0].data
    bounds = data.data_points[0].explicit_bounds
    assert (bounds[0], bounds[-1], len(bounds)) == (0.01, 81.92, 14)


# The log


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "rerankkit" and hasattr(record, "rerank")]


def test_a_call_is_one_line_without_texts(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rerankkit")
    run(colour, Billed(score), "rerank", QUERY, TEXTS, top_n=1)
    (line,) = lines(caplog)
    assert line.levelno == logging.INFO
    facts = {**line.rerank, "seconds": 0.0}
    assert facts == {
        "service": "fake",
        "model": "fake-2",
        "status": "ok",
        "documents": 2,
        "top_n": 1,
        "seconds": 0.0,
        "requests": 1,
        "total_tokens": 40,
        "cost": 0.25,
    }
    assert line.getMessage().startswith("rerank service=fake model=fake-2 status=ok documents=2 top_n=1 seconds=")
    assert line.getMessage().endswith(" requests=1 total_tokens=40 cost=0.25")
    assert "canary" not in caplog.text


def test_it_stays_one_line_whatever_is_composed(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rerankkit")
    with Cached(Fallback(failing(ServerError("no")), Named("good"))) as reranker:
        run(colour, reranker, "rerank", QUERY, TEXTS)
    (line,) = lines(caplog)
    assert (line.rerank["status"], line.rerank["attempts"], line.rerank["cache_hits"]) == ("degraded", 2, 0)


class Own(FakeReranker):
    """A wrapper of the user's own, which asks as users do."""

    def __init__(self, inner: FakeReranker) -> None:
        super().__init__()
        self.inner = inner

    async def _rerank(self, io: Any, request: Any) -> RerankResponse[Any]:
        return self.inner.rerank(request.query, request.documents, top_n=request.top_n)


def test_a_wrapper_of_ones_own_makes_no_second_call_of_it(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rerankkit")
    reranker = Own(Fallback(Named("good")))
    with telemetry() as seen:
        for _ in range(2):
            run(colour, reranker, "rerank", QUERY, TEXTS)
    assert len(lines(caplog)) == 2
    ((called, count),) = seen.points()["rerankkit.calls"]
    assert (called["rerankkit.reranker"], count) == ("Own", 2)


def test_a_failed_call_is_a_line_too_and_its_text_is_the_callers(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rerankkit")
    error = ServerError("canary-text", provider="fake", model="m", status_code=503, request_id='a "b"\nc')
    with pytest.raises(ServerError):
        run(colour, failing(error), "rerank", QUERY, TEXTS)
    (line,) = lines(caplog)
    assert line.levelno == logging.INFO, "what is raised is the caller's to report"
    assert line.getMessage().endswith(""" error=ServerError status_code=503 request_id='a "b" c' requests=1""")
    assert line.getMessage().startswith("rerank service=fake model=m status=failed documents=2 seconds=")
    assert "canary" not in caplog.text


def test_a_cancelled_call_is_a_line_that_says_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rerankkit")

    async def impatient() -> None:
        async with asyncio.timeout(0.05):
            await FakeReranker(latency=20.0).arerank(QUERY, TEXTS)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    (line,) = lines(caplog)
    assert line.rerank["status"] == "cancelled"


def test_the_line_is_written_within_the_calls_span(colour: str, caplog: pytest.LogCaptureFixture) -> None:
    from opentelemetry.trace import get_current_span

    seen_in: list[int] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen_in.append(get_current_span().get_span_context().span_id)

    handler, logger = Handler(), logging.getLogger("rerankkit")
    caplog.set_level(logging.INFO, "rerankkit")
    logger.addHandler(handler)
    try:
        with telemetry() as seen:
            run(colour, FakeReranker(), "rerank", QUERY, TEXTS)
    finally:
        logger.removeHandler(handler)
    assert seen_in == [seen.only.context.span_id]


def test_nothing_is_shown_to_who_set_up_no_log() -> None:
    program = "from rerankkit.testing import FakeReranker; FakeReranker().rerank('q', ['a'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
