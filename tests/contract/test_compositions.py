"""What a plain client promises, every wrapper around it promises too, alone and in compositions."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from helpers.compositions import ALL, CUTTING, FUSING, Wrap, degrading, prices_of
from helpers.server import Received, Recorder, Reply, recorder
from helpers.services import COHERE, KENDRA, KEY, SERVICES, Service
from helpers.ways import WAYS, Result, Way, run
from rerankkit import (
    AuthenticationError,
    BadRequestError,
    BaseReranker,
    Client,
    Document,
    InvalidRequestError,
    RerankError,
    Retry,
    ServerError,
    from_config,
    to_config,
)

BOTH_KINDS = pytest.mark.parametrize("service", [COHERE, KENDRA], ids=["pointwise", "listwise"])
TEXTS = ["alpha 0.2", "beta 0.9", "", "gamma 0.4", "delta 0.9"]
ORDER = [1, 4, 3, 0, 2]
SCORES = [0.9, 0.9, 0.4, 0.2, None]


def by_number(query: str, text: str) -> float:
    return float(text.rsplit(maxsplit=1)[-1])


@pytest.fixture
def service() -> Service:
    """One that stands for all, where a test does not name others: what differs for wrappers is pointwise and listwise."""
    return COHERE


@pytest.fixture(params=ALL)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def wrap(name: str) -> Wrap:
    return ALL[name]


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


def client_of(service: Service, url: str, **options: object) -> Client:
    provider = service.make(url)
    return Client(provider, prices=prices_of(provider), **options)  # type: ignore[arg-type]


@contextmanager
def called(service: Service, wrap: Wrap, answer: object = None, **options: object) -> Iterator[tuple[BaseReranker, Recorder]]:
    """A composition before a server that gives this answer, or the right one."""
    with recorder(answer or service.scored(by_number)) as server, wrap(client_of(service, server.url, **options)) as reranker:
        yield reranker, server


def expected(name: str) -> list[int]:
    return [index for index in ORDER if index != 2] if name in CUTTING else ORDER


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_best_first_equal_scores_in_the_given_order_and_what_has_no_score_last(
    service: Service, colour: str, name: str, wrap: Wrap
) -> None:
    with called(service, wrap) as (reranker, server):
        found = [(result.index, result.relevance_score) for result in run(colour, reranker, "rerank", "which?", TEXTS)]
    assert [index for index, _ in found] == expected(name)
    if name not in FUSING:
        assert [score for _, score in found] == SCORES[: len(found)]
    assert all(service.texts(request.json) == [text for text in TEXTS if text] for request in server.requests)


def test_both_adapters_take_each_wrapper(way: Way, name: str, wrap: Wrap) -> None:
    with called(COHERE, wrap) as (reranker, _):
        found: list[Result] = way(reranker, "which?", TEXTS)
    assert [index for index, _ in found] == expected(name)


@BOTH_KINDS
@pytest.mark.parametrize("top_n", [1, 4, 100])
def test_top_n_returns_so_many_or_all(service: Service, colour: str, name: str, wrap: Wrap, top_n: int) -> None:
    with called(service, wrap) as (reranker, _):
        response = run(colour, reranker, "rerank", "which?", TEXTS, top_n=top_n)
    assert [result.index for result in response] == expected(name)[:top_n]


def test_the_callers_documents_come_back_themselves_and_untouched(service: Service, colour: str, wrap: Wrap) -> None:
    documents: list[str | dict[str, object] | Document] = ["a 0.1", {"text": "b 0.3", "id": "x"}, Document("c 0.2", id="y")]
    before = copy.deepcopy(documents)
    with called(service, wrap) as (reranker, _):
        response = run(colour, reranker, "rerank", "q", documents)
    assert [result.index for result in response] == [1, 2, 0]
    assert all(result.document is documents[result.index] for result in response)
    assert documents == before


@BOTH_KINDS
def test_equal_texts_keep_their_places(service: Service, colour: str, wrap: Wrap) -> None:
    documents = [Document("same 0.5", id="a"), Document("other 0.7", id="b"), Document("same 0.5", id="c")]
    with called(service, wrap) as (reranker, _):
        response = run(colour, reranker, "rerank", "q", documents)
    assert [result.document.id for result in response] == ["b", "a", "c"]


def test_an_empty_list_sends_nothing_and_a_blank_query_is_refused(service: Service, colour: str, wrap: Wrap) -> None:
    with called(service, wrap) as (reranker, server):
        assert run(colour, reranker, "rerank", "q", []).results == ()
        with pytest.raises(InvalidRequestError, match="query is blank"):
            run(colour, reranker, "rerank", " ", TEXTS)
        with pytest.raises(InvalidRequestError, match="top_n"):
            run(colour, reranker, "rerank", "q", TEXTS, top_n=0)
    assert server.requests == []


@BOTH_KINDS
@pytest.mark.parametrize("status", [401, 400])
def test_what_is_wrong_with_the_call_is_raised_even_if_nobody_need_rank(
    service: Service, colour: str, wrap: Wrap, status: int
) -> None:
    wrong = Reply(service.error("no"), status)
    if service.name == "kendra" and status == 401:  # as AWS says it
        wrong = Reply({"__type": "UnrecognizedClientException", "message": "no"}, 400)
    with called(service, degrading(wrap), lambda request: wrong) as (reranker, _):
        with pytest.raises(AuthenticationError if status == 401 else BadRequestError) as caught:
            run(colour, reranker, "rerank", "q", TEXTS)
    assert caught.value.history[-1].outcome == "failed"
    assert KEY not in str(caught.value) + repr(caught.value.history)


def test_an_outage_is_raised_as_what_it_is(service: Service, colour: str, wrap: Wrap) -> None:
    with called(service, wrap, lambda request: Reply({}, 500), retry=Retry(attempts=1)) as (reranker, _):
        with pytest.raises(ServerError) as caught:
            run(colour, reranker, "rerank", "q", TEXTS)
    assert {turn.outcome for turn in caught.value.history} == {"failed"}


def test_behind_an_outage_nobody_ranks_if_so_wished(way: Way, wrap: Wrap) -> None:
    with called(COHERE, degrading(wrap), lambda request: Reply({}, 500), retry=Retry(attempts=1)) as (reranker, _):
        assert [index for index, _ in way(reranker, "q", TEXTS, 3)] == [0, 1, 2]


@BOTH_KINDS
def test_a_wrapper_heals_with_its_service(service: Service, colour: str, wrap: Wrap) -> None:
    answers = iter([Reply({}, 500)])
    right = service.scored(by_number)
    options = {"retry": Retry(base_delay=0.01)}
    with called(service, wrap, lambda request: next(answers, None) or right(request), **options) as (reranker, _):
        response = run(colour, reranker, "rerank", "q", TEXTS)
    assert response.results[0].index == 1
    assert response.status == "ok"


def test_the_deadline_holds_and_the_next_call_is_answered(service: Service, colour: str, wrap: Wrap) -> None:
    held = Held(service)
    with called(service, wrap, held) as (reranker, _):
        with pytest.raises(RerankError) as caught:
            run(colour, reranker, "rerank", "q", TEXTS, timeout=0.2)
        assert isinstance(caught.value, TimeoutError)
        held.gate.set()
        assert run(colour, reranker, "rerank", "q", TEXTS).results[0].index == 1


def test_a_cancelled_call_ends_and_the_next_one_is_answered(service: Service, wrap: Wrap) -> None:
    async def scenario(reranker: BaseReranker) -> None:
        call = asyncio.create_task(reranker.arerank("q", TEXTS))
        await asyncio.to_thread(held.begun.wait, 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        held.gate.set()
        assert (await reranker.arerank("q", TEXTS)).results[0].index == 1
        await reranker.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}, "tasks that nobody waits for"

    held = Held(service)
    with called(service, wrap, held) as (reranker, _):
        asyncio.run(scenario(reranker))


class Held:
    """The right answers, none of which goes out before the gate is open."""

    def __init__(self, service: Service) -> None:
        self.begun = threading.Event()
        self.gate = threading.Event()
        self._answer = service.scored(by_number)

    def __call__(self, request: Received) -> Reply:
        self.begun.set()
        self.gate.wait(10)
        return self._answer(request)


def test_closing_a_wrapper_closes_what_it_holds(service: Service, colour: str, wrap: Wrap) -> None:
    with called(service, wrap) as (reranker, _):
        run(colour, reranker, "rerank", "q", TEXTS)
        run(colour, reranker, "close")
        run(colour, reranker, "close")
        with pytest.raises(InvalidRequestError, match="closed"):
            run(colour, reranker, "rerank", "q", TEXTS)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda reranker: pickle.loads(pickle.dumps(reranker))])
def test_a_copy_is_another_of_the_same(
    colour: str, wrap: Wrap, copied: Callable[[BaseReranker], BaseReranker], monkeypatch: pytest.MonkeyPatch
) -> None:
    with called(COHERE, wrap) as (reranker, server):
        monkeypatch.setenv("CO_API_KEY", KEY)
        monkeypatch.setenv("CO_API_URL", server.url)
        assert KEY.encode() not in pickle.dumps(reranker)
        with copied(reranker) as found:
            assert repr(found) == repr(reranker)
            assert run(colour, found, "rerank", "q", TEXTS).results[0].index == 1


def test_a_description_makes_another_of_the_same(colour: str, wrap: Wrap, monkeypatch: pytest.MonkeyPatch) -> None:
    with called(COHERE, wrap) as (reranker, server):
        monkeypatch.setenv("CO_API_KEY", KEY)
        monkeypatch.setenv("CO_API_URL", server.url)
        description = json.loads(json.dumps(to_config(reranker)))
        assert KEY not in str(description)
        with from_config(description) as found:
            assert repr(found) == repr(reranker)
            assert to_config(found) == description
            assert run(colour, found, "rerank", "q", TEXTS).results[0].index == 1


def test_the_composition_says_what_a_call_will_cost_and_what_it_cost(colour: str, name: str, wrap: Wrap) -> None:
    requests = 2 if name in FUSING - {"Ensemble"} else 1
    with called(COHERE, wrap) as (reranker, _):
        estimate = reranker.estimate("q", TEXTS)
        response = run(colour, reranker, "rerank", "q", TEXTS)
    assert (estimate.usage.requests, estimate.cost) == (requests, pytest.approx(0.001 * requests))
    assert (response.usage.requests, response.cost) == (requests, pytest.approx(0.001 * requests))
