"""What the emulator is made of, without a socket: time, limits, tokens, and which fault strikes which request."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

import pytest
from pydantic import ValidationError

from rerankkit import InvalidRequestError
from rerankkit.emulator import RateLimit, Settings, create_app, faults, journal
from rerankkit.emulator.clock import Clock
from rerankkit.emulator.fault_plan import FaultPlan
from rerankkit.emulator.faults import AnyFault, dump, parse
from rerankkit.emulator.limits import Meter
from rerankkit.emulator.replies import spoiled
from rerankkit.emulator.scorers import SCORERS
from rerankkit.emulator.service import Answer, Call, EmulatedService
from rerankkit.emulator.settings import DOCUMENTED_LIMITS
from rerankkit.emulator.tokens import cut, tokens

CALL = Call("POST", "/v2/rerank", {}, json.dumps({"query": "früh am Morgen", "documents": ["a"]}).encode())


def strikes(plan: FaultPlan, count: int, call: Call = CALL, service: str = "cohere") -> list[str | None]:
    return [fault.kind if fault else None for _, fault in (plan.strike(service, call) for _ in range(count))]


def planned(*wanted: AnyFault, seed: int = 0) -> FaultPlan:
    plan = FaultPlan(seed)
    plan.add(wanted)
    return plan


def test_a_fault_lets_some_pass_strikes_some_and_is_over() -> None:
    assert strikes(planned(faults.Close(after=2, times=3)), 7) == [None, None, "close", "close", "close", None, None]


def test_the_first_fault_that_fits_decides_and_the_next_follows_when_it_is_over() -> None:
    plan = planned(faults.Status(status=429, times=2), faults.Reset(times=1))
    assert strikes(plan, 4) == ["status", "status", "reset", None]
    assert [found["struck"] for found in plan.describe()] == [2, 1]


@pytest.mark.parametrize(
    ("fits", "expected"),
    [
        ({"service": "cohere"}, True),
        ({"service": "voyage"}, False),
        ({"path": "/rerank"}, True),
        ({"path": "/v1/rerank"}, False),
        ({"contains": "am Morgen"}, True),
        ({"contains": "früh"}, True),
        ({"contains": "spät"}, False),
    ],
    ids=str,
)
def test_a_fault_strikes_what_it_fits(fits: dict[str, Any], expected: bool) -> None:
    assert strikes(planned(faults.Close(**fits)), 1) == (["close"] if expected else [None])


def test_a_fault_may_name_an_operation_of_kendras() -> None:
    call = Call("POST", "/", {"x-amz-target": "AWSKendraRerankingFrontendService.Rescore"}, b"{}")
    assert strikes(planned(faults.Close(path="Rescore")), 1, call, "kendra") == ["close"]
    assert strikes(planned(faults.Close(path="ListRescoreExecutionPlans")), 1, call, "kendra") == [None]


def test_chance_is_the_seeds() -> None:
    def run(seed: int) -> list[str | None]:
        return strikes(planned(faults.Close(rate=0.3), seed=seed), 300)

    assert run(1) == run(1) != run(2)
    assert 60 < Counter(run(1))["close"] < 120
    plan = planned(faults.Close(rate=0.3), seed=5)
    plan.clear(1)
    plan.add([faults.Close(rate=0.3)])
    assert strikes(plan, 300) == run(1)


def test_latencies_add_up_and_join_another_fault() -> None:
    plan = planned(faults.Latency(seconds=1), faults.Status(status=500), faults.Latency(seconds=2, times=1))
    assert [plan.strike("cohere", CALL)[0] for _ in range(2)] == [3.0, 1.0]
    seconds, fault = plan.strike("cohere", CALL)
    assert (seconds, fault and fault.kind) == (1.0, "status")


def test_the_tail_of_a_latency_is_as_long_and_as_rare_as_it_says() -> None:
    plan = planned(faults.Latency(seconds=0.1, tail_seconds=5, tail_rate=0.1))
    waits = Counter(plan.strike("cohere", CALL)[0] for _ in range(1_000))
    assert set(waits) == {0.1, 5.1}
    assert 60 < waits[5.1] < 140


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_a_text_is_found_however_it_is_written(ensure_ascii: bool) -> None:
    text = 'sagt "schön"\n\\o/'
    call = Call("POST", "/v2/rerank", {}, json.dumps({"documents": [text]}, ensure_ascii=ensure_ascii).encode())
    assert strikes(planned(faults.Close(contains=text)), 1, call) == ["close"]


def test_what_spoils_a_ranking_strikes_rankings_alone() -> None:
    describe = Call("POST", "/", {"x-amz-target": "AWSKendraRerankingFrontendService.DescribeRescoreExecutionPlan"}, b"{}")
    rescore = Call("POST", "/", {"x-amz-target": "AWSKendraRerankingFrontendService.Rescore"}, b"{}")
    for fault in (faults.WrongReply(what="index", times=1), faults.NotJson(times=1), faults.Substitution(model="x", times=1)):
        plan = planned(fault)
        assert strikes(plan, 1, describe, "kendra") == [None]
        assert strikes(plan, 1, rescore, "kendra") == [fault.kind]


def test_a_reset_plan_is_as_at_its_start() -> None:
    plan = FaultPlan(3, [faults.Close(rate=0.5)])
    first = strikes(plan, 50)
    plan.clear(7)
    plan.add([faults.Reset()])
    plan.reset()
    assert strikes(plan, 50) == first


def test_numbers_that_json_has_not_are_told_by_name() -> None:
    wanted: list[AnyFault] = [faults.WrongReply(what="score", value=value) for value in (math.nan, math.inf, -math.inf)]
    assert [fault.model_dump()["value"] for fault in parse(dump(wanted))] == ["NaN", "Infinity", "-Infinity"]
    with pytest.raises(ValidationError):
        faults.Latency(seconds=math.nan)


@pytest.mark.parametrize(
    "wrong",
    [
        {"retry_after": math.inf},
        {"retry_after": "a\nb"},
        {"headers": {"X": "a\nb"}},
        {"headers": {"Content-Length": "3"}},
        {"headers": {"a b": ""}},
    ],
    ids=str,
)
def test_what_cannot_be_a_header_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        faults.Status(status=429, **wrong)


def test_headers_of_a_fault_replace_the_services_own() -> None:
    fault = faults.Status(status=429, retry_after=1, headers={"Retry-After": "5", "Content-Type": "text/html"})
    headers = spoiled(SERVICES["cohere"], Answer({}), fault, 0.0).headers
    assert (headers["retry-after"], headers["content-type"]) == ("5", "text/html")
    assert len({name.lower() for name in headers}) == len(headers)


def test_the_journal_forgets_bodies_beyond_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "KEPT_BYTES", 250)
    kept = journal.Journal()
    for number in range(9):
        kept.begin(journal.Entry(0.0, "cohere", Call("POST", f"/{number}", {}, b"x" * 100), None))
    assert [entry["path"] for entry in kept.requests()] == ["/7", "/8"]


def test_faults_are_read_as_they_are_written() -> None:
    wanted: list[AnyFault] = [
        faults.Status(status=429, retry_after="soon", times=2),
        faults.Drip(of="headers"),
        faults.Latency(),
    ]
    assert parse(dump(wanted)) == wanted
    assert parse('{"kind": "hang"}') == [faults.Hang()]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"kind": "hung"}', "number 0: its kind must be one of status, latency, wrong-reply"),
        ("{}", "number 0: its kind must be one of status"),
        ('[{"kind": "hang"}, {"kind": "status"}]', "number 1: Field required|number 1: status: Field required"),
        ('{"kind": "close", "path": "/v3/rerank"}', "path '/v3/rerank' ends none of /v2/rerank, /v1/rerank"),
        ('{"kind": "close", "path": "/v2/rerank", "service": "voyage"}', "path '/v2/rerank' ends none of /v1/rerank"),
        ('{"kind": "close", "time": 1}', "Extra inputs are not permitted"),
        ('{"kind": "close", "rate": 0}', "greater than 0"),
        ("{", "Invalid JSON"),
    ],
)
def test_a_fault_that_is_none_is_told(text: str, problem: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"these faults cannot be read: .*{problem}"):
        parse(text)


# Replies

SERVICES = create_app().services


def success(service: EmulatedService) -> Answer:
    names = ["0", "1"] if service.place == "DocumentId" else [0, 1]
    results = [{service.place: name, service.score: score} for name, score in zip(names, (0.9, 0.1), strict=True)]
    return Answer({"model": "asked-for", service.results: results})


def spoiled_results(service: EmulatedService, what: Any, **options: Any) -> list[tuple[Any, Any]]:
    reply = spoiled(service, success(service), faults.WrongReply(what=what, **options), 0.0)
    return [(result[service.place], result[service.score]) for result in json.loads(reply.content)[service.results]]


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
def test_wrong_replies_are_wrong_in_the_way_they_say(service: EmulatedService) -> None:
    first, second, nowhere = ("0", "1", "1000000") if service.place == "DocumentId" else (0, 1, 1_000_000)
    assert spoiled_results(service, "index") == [(first, 0.9), (nowhere, 0.1)]
    assert spoiled_results(service, "duplicate") == [(first, 0.9), (second, 0.1), (first, 0.9)]
    assert spoiled_results(service, "missing") == [(first, 0.9)]
    assert spoiled_results(service, "extra") == [(first, 0.9), (second, 0.1), (nowhere, 0.1)]
    assert spoiled_results(service, "order") == [(second, 0.1), (first, 0.9)]
    assert math.isnan(spoiled_results(service, "score")[0][1])
    assert spoiled_results(service, "score", value="high")[0] == (first, "high")
    assert spoiled_results(service, "score", value=None)[0] == (first, None)


@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 498, 500, 501, 502, 503, 504, 529])
def test_an_error_comes_in_the_services_own_form(service: EmulatedService, status: int) -> None:
    reply = spoiled(service, success(service), faults.Status(status=status, message="a text of the test's"), 0.0)
    assert reply.status == status
    assert b"a text of the test's" in reply.content
    bare = spoiled(service, success(service), faults.Status(status=status), 0.0)
    assert json.loads(bare.content).keys() == json.loads(reply.content).keys()


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({"retry_after": 2}, "retry-after", "2"),
        ({"retry_after": 0.5}, "retry-after", "0.5"),
        ({"retry_after": 0}, "retry-after", "0"),
        ({"retry_after": "soon"}, "retry-after", "soon"),
        ({"retry_after": 60, "retry_after_form": "date"}, "retry-after", "Thu, 01 Jan 1970 00:01:40 GMT"),
        ({"retry_after": 0.25, "retry_after_form": "milliseconds"}, "retry-after-ms", "250"),
        ({"retry_after": 1.5, "retry_after_form": "aws"}, "x-amz-retry-after", "1500"),
        ({"headers": {"X-RateLimit-Reset": "7"}}, "x-ratelimit-reset", "7"),
    ],
    ids=str,
)
def test_retry_after_comes_in_every_form(options: dict[str, Any], name: str, value: str) -> None:
    reply = spoiled(SERVICES["cohere"], Answer({}), faults.Status(status=429, **options), 40.0)
    assert reply.headers[name] == value


def test_an_error_may_have_any_body() -> None:
    text = spoiled(SERVICES["cohere"], Answer({}), faults.Status(status=502, body="<html>", content_type="text/html"), 0.0)
    assert (text.content, text.headers["content-type"]) == (b"<html>", "text/html")
    listed = spoiled(SERVICES["voyage"], Answer({}), faults.Status(status=422, body={"detail": [{"msg": "x"}]}), 0.0)
    assert json.loads(listed.content) == {"detail": [{"msg": "x"}]}


def test_another_model_is_told_where_the_service_tells_one() -> None:
    fault = faults.Substitution(model="other")
    for name, service in SERVICES.items():
        body = success(service) if name in ("voyage", "pinecone") else Answer({service.results: []})
        assert json.loads(spoiled(service, body, fault, 0.0).content).get("model") == (
            "other" if name in ("voyage", "pinecone") else None
        )


# Time and limits


def test_the_clock_moves_as_it_is_told() -> None:
    clock = Clock()
    before = clock.now()
    clock.advance(100)
    assert 100 <= clock.now() - before < 101
    clock.set(1_000)
    assert 1_000 <= clock.now() < 1_001
    clock.reset()
    assert 0 <= clock.now() - before < 1


def test_a_minute_is_any_sixty_seconds_and_refusals_do_not_count() -> None:
    meter, limit = Meter(), RateLimit(requests_per_minute=2)
    assert [meter.take(limit, 0, now) for now in (0, 30, 40, 59)] == [None, None, "requests_per_minute", "requests_per_minute"]
    assert meter.left(limit, 59) == 0
    assert [meter.take(limit, 0, now) for now in (60, 61, 90)] == [None, "requests_per_minute", None]


def test_tokens_and_the_month_are_limits_of_their_own() -> None:
    meter, limit = Meter(), RateLimit(tokens_per_minute=100)
    assert [meter.take(limit, 60, 0), meter.take(limit, 41, 1), meter.take(limit, 40, 2)] == [None, "tokens_per_minute", None]
    meter, limit = Meter(), RateLimit(requests_per_month=1)
    assert [meter.take(limit, 0, now) for now in (0, 29 * 86_400, 30 * 86_400)] == [None, "requests_per_month", None]


def test_documented_limits_are_settings() -> None:
    assert Settings(rate_limits=dict(DOCUMENTED_LIMITS)).rate_limits["voyage"].tokens_per_minute == 10_000
    with pytest.raises(ValidationError, match="requests_per_minute"):
        RateLimit(requests_per_minute=-1)


def test_a_cut_text_has_as_many_tokens_as_it_may() -> None:
    for text in ("word " * 100, "日本語" * 100, "🙂" * 100):
        for most in (1, 2, 7, 50):
            found = cut(text, most)
            assert text.startswith(found)
            assert most - 1 <= tokens(found) <= most
    assert cut("short", 50) == cut("short", None) == "short"


@pytest.mark.parametrize("name", SCORERS)
def test_every_scorer_scores_every_text(name: Any) -> None:
    scores = SCORERS[name]("the ferry", ["a ferry and the ferry", "", "bus"])
    assert len(scores) == 3
    assert all(score >= 0 for score in scores)
    assert scores[0] == max(scores)
