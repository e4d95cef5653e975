"""Who ranks when the first choice does not: `Fallback`, `Passthrough`, and a client's ``on_error``."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.server import Answer, Reply, raw_server, recorder
from helpers.services import COHERE, KENDRA, SERVICES, Service
from helpers.stopwatch import Stopwatch
from helpers.ways import run
from rerankkit import BM25, Client, Document, Retry, _degrading, errors
from rerankkit._degrading import NOTICES, OUTAGES, Notices, OnError
from rerankkit.emulator import Emulator
from rerankkit.emulator.faults import Close, Fault, Hang, Status
from rerankkit.emulator.settings import KEY as EMULATED
from rerankkit.errors import InvalidRequestError, RerankError
from rerankkit.resilience.fallback import Fallback
from rerankkit.resilience.passthrough import Passthrough
from rerankkit.testing import FakeReranker
from rerankkit.types import Attempt

TEXTS = ["a", "b", "c"]
ONCE = Retry(attempts=1)


def failing(*found: Exception, **options: Any) -> FakeReranker:
    fake = FakeReranker(**options)
    for error in found:
        fake.fail(error)
    return fake


def error_of(kind: type[RerankError], message: str = "no") -> RerankError:
    return errors.CircuitOpenError(message, retry_after=1.0) if kind is errors.CircuitOpenError else kind(message)


EVERY = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RerankError)]
NOT_REPLACED = [kind for kind in EVERY if not issubclass(kind, OUTAGES)]


@pytest.fixture(autouse=True)
def _fresh_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NOTICES, "_told", {})


# Which errors


@pytest.mark.parametrize("kind", OUTAGES)
def test_an_outage_is_answered_by_the_next(kind: type[RerankError], colour: str) -> None:
    first, second, third = failing(error_of(kind)), FakeReranker({"b": 1.0}), FakeReranker()
    response = run(colour, Fallback(first, second, third), "rerank", "q", TEXTS, top_n=2)
    assert response.documents == ["b", "a"]
    assert (response.status, response.served_by) == ("degraded", "fake:fake")
    assert [(turn.reranker, turn.outcome) for turn in response.attempts] == [("fake:fake", "failed"), ("fake:fake", "served")]
    assert response.attempts[0].error.startswith(f"{kind.__name__}: no")
    assert response.attempts[1].usage == response.usage
    assert third.calls == []


@pytest.mark.parametrize("kind", NOT_REPLACED)
def test_what_is_no_outage_is_raised_at_once_with_its_history(kind: type[RerankError], colour: str) -> None:
    wrong, second = error_of(kind), FakeReranker()
    with pytest.raises(kind) as caught:
        run(colour, Fallback(failing(wrong), second, Passthrough()), "rerank", "q", TEXTS)
    assert caught.value is wrong
    assert [(turn.outcome, turn.error) for turn in wrong.history] == [("failed", f"{kind.__name__}: no")]
    assert second.calls == []


def test_bad_requests_bad_keys_and_unknown_models_are_no_outages() -> None:
    names = {kind.__name__ for kind in NOT_REPLACED}
    assert names >= {"InvalidRequestError", "BadRequestError", "AuthenticationError", "PermissionDeniedError", "NotFoundError"}


def test_an_error_that_is_none_of_this_packages_is_never_hidden(colour: str) -> None:
    with pytest.raises(ZeroDivisionError):
        run(colour, Fallback(failing(ZeroDivisionError()), Passthrough()), "rerank", "q", TEXTS)


def test_a_wrong_key_behind_an_outage_is_raised_with_both_turns(colour: str) -> None:
    chain = Fallback(failing(errors.ServerError("down")), failing(errors.AuthenticationError("bad key")), Passthrough())
    with pytest.raises(errors.AuthenticationError) as caught:
        run(colour, chain, "rerank", "q", TEXTS)
    assert [turn.error for turn in caught.value.history] == ["ServerError: down", "AuthenticationError: bad key"]


def test_when_all_fail_the_first_failure_is_raised_and_tells_of_the_others(colour: str) -> None:
    first, second, third = errors.ServerError("one"), errors.RateLimitError("two"), errors.DeadlineExceededError("three")
    with pytest.raises(errors.ServerError) as caught:
        run(colour, Fallback(failing(first), failing(second), failing(third)), "rerank", "q", TEXTS)
    assert caught.value is first
    assert first.__notes__ == [
        "Then fake:fake failed: RateLimitError: two",
        "Then fake:fake failed: DeadlineExceededError: three",
    ]
    assert [turn.error for turn in first.history] == ["ServerError: one", "RateLimitError: two", "DeadlineExceededError: three"]


@pytest.mark.parametrize("on", [errors.RateLimitError, [errors.RateLimitError], {errors.RateLimitError, errors.NotFoundError}])
def test_on_says_which_errors_the_next_one_answers(on: Any, colour: str) -> None:
    chain = Fallback(failing(errors.RateLimitError("slow down"), errors.ServerError("down")), Passthrough(), on=on)
    assert run(colour, chain, "rerank", "q", TEXTS).served_by == "passthrough"
    with pytest.raises(errors.ServerError):
        run(colour, chain, "rerank", "q", TEXTS)


WRONG: Mapping[Any, str] = {
    "cohere": r"str; connect\(...\) makes one of it",
    COHERE.make("https://x.test"): r"Cohere; put Client\(...\) around it",
    Passthrough: "the class Passthrough; write it with its parentheses",
    0.5: "float; options are passed by name",
    None: "NoneType",
}


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="Fallback needs at least one reranker"):
        Fallback()
    for wrong, way_out in WRONG.items():
        with pytest.raises(InvalidRequestError, match=rf"expected a reranker such as Client.*, got {way_out}$"):
            Fallback(BM25(), wrong)
    with pytest.raises(InvalidRequestError, match="got list; pass them one by one"):
        Fallback([BM25(), Passthrough()])
    with pytest.raises(InvalidRequestError, match=r"got dict; from_config\(...\) makes one of it"):
        Fallback({"type": "bm25"})
    for wrong in (ValueError, ["ServerError"], errors.ServerError("no"), None, []):
        with pytest.raises(InvalidRequestError, match="on must hold error classes"):
            Fallback(BM25(), on=wrong)
    with pytest.raises(InvalidRequestError, match="timeout must be"):
        Fallback(BM25(), timeout=0)


# Answers


def test_the_first_choices_answer_is_its_own(colour: str) -> None:
    first, second = FakeReranker({"c": 1.0}), FakeReranker()
    response = run(colour, Fallback(first, second, Passthrough()), "rerank", "q", TEXTS)
    assert (response.status, response.documents, response.usage.requests) == ("ok", ["c", "a", "b"], 1)
    assert [turn.outcome for turn in response.attempts] == ["served"]
    assert second.calls == []


def test_passthrough_keeps_the_callers_objects_in_their_order_without_scores(colour: str) -> None:
    documents = [Document("b", id="1"), "a", {"text": "c"}, " "]
    response = run(colour, Passthrough(), "rerank", "q", documents, top_n=3)
    assert all(result.document is documents[result.index] for result in response)
    assert [(result.index, result.relevance_score, result.skipped) for result in response] == [
        (index, None, "not_ranked") for index in range(3)
    ]
    assert (response.status, response.served_by, response.model, response.cost) == ("degraded", "passthrough", None, 0.0)
    assert run(colour, Passthrough(), "rerank", "q", []).results == ()
    with pytest.raises(InvalidRequestError, match="query is blank"):
        run(colour, Passthrough(), "rerank", " ", documents)


def test_a_rerankers_of_ones_own_may_stand_anywhere(colour: str) -> None:
    class Own:
        def rerank(self, query: str, documents: Any, *, top_n: int | None = None, timeout: float | None = None) -> Any:
            return FakeReranker({"c": 1.0}).rerank(query, documents, top_n=top_n, timeout=timeout)

        async def arerank(self, query: str, documents: Any, *, top_n: int | None = None, timeout: float | None = None) -> Any:
            return self.rerank(query, documents, top_n=top_n, timeout=timeout)

    response = run(colour, Fallback(failing(errors.ServerError("no")), Own()), "rerank", "q", TEXTS, top_n=1)
    assert (response.documents, response.status) == (["c"], "degraded")


def test_fallbacks_nest_and_tell_all_turns(colour: str) -> None:
    inner = Fallback(failing(errors.ServerError("one")), failing(errors.ServerError("two")))
    response = run(colour, Fallback(inner, Passthrough()), "rerank", "q", TEXTS)
    assert [turn.error for turn in response.attempts if turn.error] == ["ServerError: one", "ServerError: two"]
    assert response.attempts[-1].reranker == "passthrough"


def test_closing_closes_all(colour: str) -> None:
    clients = [Client(service.make("https://gateway.test")) for service in SERVICES]
    chain = Fallback(*clients, Passthrough())
    run(colour, chain, "close")
    for client in clients:
        with pytest.raises(InvalidRequestError, match="closed"):
            run(colour, client, "rerank", "q", TEXTS)


def test_the_estimate_is_the_first_choices() -> None:
    assert Fallback(Passthrough(), FakeReranker()).estimate("q", TEXTS) == Passthrough().estimate("q", TEXTS)


# Time


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], 9.0),
        ([Passthrough()], 9.0),
        ([FakeReranker()], 4.5),
        ([FakeReranker(), Passthrough()], 4.5),
        ([FakeReranker(), FakeReranker()], 3.0),
        ([BM25()], 9 / 1.1),
    ],
    ids=str,
)
def test_each_may_take_an_equal_share_of_the_time(others: list[Any], expected: float, colour: str) -> None:
    first = FakeReranker()
    run(colour, Fallback(first, *others), "rerank", "q", TEXTS, timeout=9)
    assert first.calls[0].timeout == pytest.approx(expected, abs=0.5)


def test_who_comes_later_has_what_is_left(colour: str) -> None:
    chain = [failing(errors.ServerError("one")), failing(errors.ServerError("two")), FakeReranker()]
    run(colour, Fallback(*chain, timeout=9), "rerank", "q", TEXTS)
    assert [each.calls[0].timeout for each in chain] == pytest.approx([3.0, 4.5, 9.0], abs=0.5)


def test_ones_own_timeout_holds_where_it_is_shorter(colour: str) -> None:
    first = FakeReranker(timeout=1.0)
    run(colour, Fallback(first, Passthrough(), timeout=9), "rerank", "q", TEXTS)
    assert first.calls[0].timeout == 1.0


def test_the_default_is_the_most_patients() -> None:
    assert Fallback(FakeReranker(timeout=3), FakeReranker(timeout=40), BM25(timeout=20)).timeout == 40
    assert Fallback(FakeReranker(timeout=40), timeout=5).timeout == 5


def test_one_that_hangs_costs_its_share_and_no_more(colour: str) -> None:
    stopwatch = Stopwatch()
    response = run(colour, Fallback(FakeReranker(latency=60), FakeReranker(), timeout=1), "rerank", "q", TEXTS)
    assert stopwatch.own_seconds() < 0.9
    seconds = stopwatch.seconds()
    assert response.status == "degraded"
    assert response.attempts[0].error.startswith("DeadlineExceededError")
    assert 0.4 < response.attempts[0].seconds <= seconds


def test_the_last_one_answers_even_when_no_time_is_left(colour: str) -> None:
    response = run(colour, Fallback(FakeReranker(latency=60), Passthrough(), timeout=0.1), "rerank", "q", TEXTS)
    assert (response.served_by, response.documents) == ("passthrough", TEXTS)


def test_a_cancelled_call_asks_nobody_else() -> None:
    first, second = FakeReranker(latency=60), FakeReranker()

    async def cancelled() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await Fallback(first, second, Passthrough()).arerank("q", TEXTS)

    asyncio.run(cancelled())
    assert (len(first.calls), second.calls) == (1, [])


# What is logged


def test_an_outage_is_told_once_an_interval(
    colour: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1_000.0]
    monkeypatch.setattr(_degrading, "time", SimpleNamespace(monotonic=lambda: now[0]))
    chain = Fallback(failing(*[errors.ServerError(f"no {number}") for number in range(5)]), Passthrough())
    with caplog.at_level(logging.WARNING, "rerankkit"):
        for moment in (0, 30, 59, 61, 100):
            now[0] = 1_000.0 + moment
            assert run(colour, chain, "rerank", "q", TEXTS).status == "degraded"
    assert caplog.messages == [
        "fake:fake failed, others rank: ServerError: no 0",
        "fake:fake failed, others rank (3 times since the last such notice): ServerError: no 3",
    ]


def test_of_each_reranker_it_is_told_on_its_own(caplog: pytest.LogCaptureFixture) -> None:
    notices = Notices()
    with caplog.at_level(logging.WARNING, "rerankkit"):
        for who in ("cohere", "voyage", "cohere"):
            notices.tell(who, errors.ServerError("no"), "others rank")
    assert caplog.messages == ["cohere failed, others rank: ServerError: no", "voyage failed, others rank: ServerError: no"]


# A client's own on_error


def down(status: int, body: object = b"down") -> Answer:
    return lambda _: Reply(body, status)


def says_nothing(_: socket.socket) -> None:
    time.sleep(2)


def test_on_error_answers_an_outage_with_the_given_order(
    service: Service, colour: str, caplog: pytest.LogCaptureFixture
) -> None:
    with recorder(down(503)) as server, Client(service.make(server.url), retry=ONCE, on_error="passthrough") as client:
        response = run(colour, client, "rerank", "q", TEXTS, top_n=2)
        assert len(server.requests) == 1
    assert [(result.document, result.relevance_score, result.skipped) for result in response] == [
        ("a", None, "not_ranked"),
        ("b", None, "not_ranked"),
    ]
    assert (response.status, response.served_by) == ("degraded", "passthrough")
    (turn,) = response.attempts
    assert (turn.reranker, turn.outcome) == (client.label, "failed")
    assert turn.error.startswith(f"ServerError: {service.name}")
    assert caplog.messages[0].startswith(f"{client.label} failed, documents keep the given order: ServerError")


def test_on_error_covers_a_service_that_hangs(service: Service, colour: str) -> None:
    with raw_server(says_nothing) as url, Client(service.make(url), on_error="passthrough") as client:
        response = run(colour, client, "rerank", "q", TEXTS, timeout=0.2)
    assert response.documents == TEXTS
    assert response.attempts[0].error.startswith("DeadlineExceededError")


def test_on_error_never_hides_a_wrong_key_nor_a_bad_request(service: Service, colour: str) -> None:
    refusals: dict[type[RerankError], Answer] = {
        errors.AuthenticationError: down(401, service.error("no")),
        errors.BadRequestError: down(400, service.error("no")),
    }
    if service is KENDRA:
        refusals[errors.AuthenticationError] = down(400, {"__type": "UnrecognizedClientException", "message": "no"})
    for kind, answer in refusals.items():
        with recorder(answer) as server, Client(service.make(server.url), on_error="passthrough") as client:
            with pytest.raises(kind):
                run(colour, client, "rerank", "q", TEXTS)
            assert server.requests
    with pytest.raises(InvalidRequestError), Client(service.make("http://127.0.0.1:1"), on_error="passthrough") as client:
        run(colour, client, "rerank", " ", TEXTS)


def test_without_an_outage_on_error_changes_nothing(service: Service, colour: str) -> None:
    def ranked(on_error: OnError) -> Any:
        with recorder(service.scored(lambda _, text: ord(text) / 1000)) as server:
            with Client(service.make(server.url), on_error=on_error) as client:
                return run(colour, client, "rerank", "q", TEXTS), [request.body for request in server.requests]

    assert ranked("passthrough") == ranked("raise")


def test_on_error_is_one_of_two() -> None:
    for wrong in ("ignore", None, True):
        with pytest.raises(InvalidRequestError, match="on_error must be one of 'raise', 'passthrough'"):
            Client(COHERE.make("https://x.test"), on_error=wrong)


def test_a_cancelled_call_is_no_outage() -> None:
    async def cancelled(client: Client) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.arerank("q", TEXTS)
        await client.aclose()

    with raw_server(says_nothing) as url:
        asyncio.run(cancelled(Client(COHERE.make(url), on_error="passthrough")))


# Down for a minute


def clients(emulator: Emulator) -> dict[str, Client]:
    """A client for each service of the emulator."""
    kendra = {"plan_id": emulator.plan_id, "aws_access_key_id": EMULATED, "aws_secret_access_key": EMULATED}
    return {
        service.name: Client(service.make(emulator.urls[service.name], **(kendra if service is KENDRA else {})), retry=ONCE)
        for service in SERVICES
    }


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


@pytest.mark.parametrize("fault", [Status(status=503), Close()], ids=["answers 503", "closes"])
def test_while_the_primary_is_down_users_see_no_error_and_who_served(
    service: Service, fault: Fault, colour: str, emulator: Emulator, stack: ExitStack
) -> None:
    every = clients(emulator)
    primary = every[service.name]
    secondary = every["voyage" if service is COHERE else "cohere"]
    chain = stack.enter_context(Fallback(primary, secondary))
    emulator.inject(fault.model_copy(update={"service": service.name}))
    for _ in range(3):
        response = run(colour, chain, "rerank", "ferry", ["a car", "a ferry"])
        assert (response.documents, response.status) == (["a ferry", "a car"], "degraded")
        assert (response.served_by, response.provider) == (secondary.label, secondary.provider.name)
        assert [turn.reranker for turn in response.attempts] == [primary.label, secondary.label]
    emulator.heal()
    response = run(colour, chain, "rerank", "ferry", ["a car", "a ferry"])
    assert (response.status, response.provider) == ("ok", service.name)


@pytest.mark.parametrize("name", ["cohere", "kendra"])
def test_a_primary_that_hangs_costs_no_more_than_its_share(
    name: str, colour: str, emulator: Emulator, stack: ExitStack
) -> None:
    every = clients(emulator)
    chain = stack.enter_context(Fallback(every[name], every["voyage"], timeout=1.6))
    emulator.inject(Hang(service=name))
    stopwatch = Stopwatch()
    response = run(colour, chain, "rerank", "ferry", ["a car", "a ferry"])
    assert stopwatch.own_seconds() < 1.6, "its half, and what the other takes"
    assert (response.provider, response.status) == ("voyage", "degraded")
    assert response.attempts[0].error.startswith("DeadlineExceededError")


def test_a_port_where_nobody_listens_is_an_outage(service: Service, colour: str) -> None:
    with Fallback(Client(service.make("http://127.0.0.1:1"), retry=ONCE), BM25()) as chain:
        response = run(colour, chain, "rerank", "ferry", ["a car", "a ferry"])
    assert (response.documents, response.served_by) == (["a ferry", "a car"], "local:bm25")
    assert response.attempts[0].error.startswith("APIConnectionError")


def test_with_everything_down_the_given_order_comes_marked(colour: str, emulator: Emulator, stack: ExitStack) -> None:
    every = clients(emulator)
    chain = stack.enter_context(Fallback(*every.values(), Passthrough()))
    emulator.inject(Status(status=503))
    response = run(colour, chain, "rerank", "ferry", ["a car", "a ferry"])
    assert (response.documents, response.status, response.served_by) == (["a car", "a ferry"], "degraded", "passthrough")
    assert [turn.reranker for turn in response.attempts] == [*(client.label for client in every.values()), "passthrough"]
    with pytest.raises(errors.ServerError, match="cohere") as caught:
        run(colour, Fallback(*every.values()), "rerank", "ferry", ["a car"])
    assert len(caught.value.__notes__) == 3


def test_a_wrong_key_of_the_primary_is_told_and_not_papered_over(service: Service, colour: str) -> None:
    body = {"__type": "UnrecognizedClientException", "message": "no"} if service is KENDRA else service.error("no")
    with recorder(down(400 if service is KENDRA else 401, body)) as server:
        with (
            Fallback(Client(service.make(server.url)), Passthrough()) as chain,
            pytest.raises(errors.AuthenticationError) as caught,
        ):
            run(colour, chain, "rerank", "q", TEXTS)
    assert [turn.outcome for turn in caught.value.history] == ["failed"]


class Forwarding:
    """A reranker of somebody else's, such as one that logs, before one of this package."""

    def __init__(self, reranker: FakeReranker) -> None:
        self.reranker = reranker

    def rerank(self, query: str, documents: Any, *, top_n: int | None = None, timeout: float | None = None) -> Any:
        return self.reranker.rerank(query, documents, top_n=top_n, timeout=timeout)

    async def arerank(self, query: str, documents: Any, *, top_n: int | None = None, timeout: float | None = None) -> Any:
        return await self.reranker.arerank(query, documents, top_n=top_n, timeout=timeout)


@pytest.mark.parametrize("latency", [0.0, 5.0])
def test_a_reranker_of_ones_own_whose_time_is_over_may_still_try_and_is_late_otherwise(latency: float, colour: str) -> None:
    class Overrunning(FakeReranker):
        async def _wait(self, io: Any, request: Any) -> None:
            await io.sleep(request.deadline.remaining() + 0.15)
            raise errors.DeadlineExceededError("late")

    chain = Fallback(Overrunning(), Forwarding(FakeReranker(latency=latency)), timeout=0.2)
    if latency:
        with pytest.raises(errors.DeadlineExceededError, match="late"):
            run(colour, chain, "rerank", "q", TEXTS)
    else:
        assert run(colour, chain, "rerank", "q", TEXTS).documents == TEXTS


# An error that is raised again


def test_an_error_that_is_raised_again_tells_of_the_last_call_alone(colour: str) -> None:
    first, second = errors.ServerError("the first is down"), errors.ServerError("the second is down")
    first.add_note("a note of its maker's")
    for _ in range(3):
        chain = Fallback(failing(first), failing(second))
        with pytest.raises(errors.ServerError) as caught:
            run(colour, chain, "rerank", "q", TEXTS)
        assert caught.value is first
        assert len(first.history) == 2
        assert first.__notes__ == [
            "a note of its maker's",
            "Then fake:fake failed: ServerError: the second is down",
        ]


def test_whose_turn_it_was_is_told_anew_of_an_error_that_is_raised_again(colour: str) -> None:
    error = errors.ServerError("down")
    times = []
    for latency in (0.05, 0.0):
        response = run(colour, Fallback(failing(error, latency=latency), Passthrough()), "rerank", "q", TEXTS)
        times.append(response.attempts[0].seconds)
    assert times[0] >= 0.05 > times[1]


def test_what_the_maker_of_an_error_says_of_its_turns_is_kept(colour: str) -> None:
    error = errors.ServerError("down")
    error.history = (Attempt("mine", "failed", 1.0, "as I know it"),)
    assert run(colour, Fallback(failing(error), Passthrough()), "rerank", "q", TEXTS).attempts[0] == error.history[0]


def test_a_fake_that_fails_often_raises_an_error_of_its_own_each_time(colour: str) -> None:
    fake, error = FakeReranker(), errors.ServerError("down")
    fake.fail(error, times=2)
    raised = []
    for _ in range(2):
        with pytest.raises(errors.ServerError, match="down") as caught:
            run(colour, fake, "rerank", "q", TEXTS)
        raised.append(caught.value)
    assert raised[0] is error
    assert raised[1] is not error
