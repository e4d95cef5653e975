"""What every service promises on every way: order, identity, and nothing lost."""

from __future__ import annotations

import dataclasses
import random

import pytest

from helpers.server import Reply, recorder
from helpers.services import POINTWISE, SERVICES, Service
from helpers.ways import WAYS, Way, run
from rerankkit import Client, Document, InvalidRequestError, Usage

TEXTS = ["alpha 0.2", "beta 0.9", "gamma 0.4", "delta 0.9", "epsilon 0.1"]


def by_number(query: str, text: str) -> float:
    return float(text.rsplit(maxsplit=1)[-1])


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


def test_best_first_and_equal_scores_in_the_given_order(service: Service, way: Way) -> None:
    with recorder(service.scored(by_number)) as server, Client(service.make(server.url)) as client:
        assert way(client, "which?", TEXTS) == [(1, 0.9), (3, 0.9), (2, 0.4), (0, 0.2), (4, 0.1)]
    assert [request.path for request in server.requests] == [service.path]
    assert service.texts(server.requests[0].json) == TEXTS


@pytest.mark.parametrize(("top_n", "expected"), [(1, 1), (3, 3), (5, 5), (6, 5), (100, 5), (None, 5)])
def test_top_n_returns_so_many_or_all(service: Service, way: Way, top_n: int | None, expected: int) -> None:
    with recorder(service.scored(by_number)) as server, Client(service.make(server.url)) as client:
        assert way(client, "which?", TEXTS, top_n) == [(1, 0.9), (3, 0.9), (2, 0.4), (0, 0.2), (4, 0.1)][:expected]
    body = server.requests[0].json
    told = body.get("top_n", body.get("top_k"))
    assert told == (top_n if service in POINTWISE and expected < 5 else None)


def test_equal_texts_come_back_as_themselves(service: Service, colour: str) -> None:
    documents = [Document("same 0.5", id="a"), Document("other 0.7", id="b"), Document("same 0.5", id="c")]
    with recorder(service.scored(by_number)) as server, Client(service.make(server.url)) as client:
        response = run(colour, client, "rerank", "q", documents)
    assert [result.document.id for result in response] == ["b", "a", "c"]
    assert all(result.document is documents[result.index] for result in response)


def test_the_callers_documents_are_returned_themselves_and_untouched(service: Service, colour: str) -> None:
    documents: list[str | dict[str, object] | Document] = ["a 0.1", {"text": "b 0.3", "id": "x", "n": 1}, Document("c 0.2")]
    before = [dict(document) if isinstance(document, dict) else document for document in documents]
    with recorder(service.scored(by_number)) as server, Client(service.make(server.url)) as client:
        response = run(colour, client, "rerank", "q", documents)
    assert [result.index for result in response] == [1, 2, 0]
    assert all(result.document is documents[result.index] for result in response)
    assert documents == before


@pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)
def test_three_thousand_documents_are_ranked_exactly(service: Service, way: Way) -> None:
    shuffled = random.Random(7)
    scores = [shuffled.randrange(500) / 500 for _ in range(3_000)]  # with ties
    texts = [f"document {index} {score}" for index, score in enumerate(scores)]
    texts[2_999] = texts[0]
    expected = sorted(range(3_000), key=lambda index: (-by_number("", texts[index]), index))
    with recorder(service.scored(by_number)) as server, Client(service.make(server.url)) as client:
        assert [index for index, _ in way(client, "q", texts)] == expected
        assert [index for index, _ in way(client, "q", texts, 10)] == expected[:10]
    size = {"pinecone": 100}.get(service.name, 1_000)
    assert [len(service.texts(request.json)) for request in server.requests] == [size] * (2 * 3_000 // size)
    assert all(request.json.get("top_n") is None and request.json.get("top_k") is None for request in server.requests)


def test_the_response_says_who_ranked_and_what_it_took(service: Service, colour: str) -> None:
    with recorder(service.scored(by_number)) as server, Client(service.make(server.url)) as client:
        response = run(colour, client, "rerank", "q", TEXTS)
    assert response.provider == service.name
    assert response.usage == Usage(requests=1)
    assert response.documents == [TEXTS[result.index] for result in response]
    assert len(response) == 5
    assert response[0] is response.results[0]
    assert response[-1] is response.results[4]


def test_a_closed_client_says_so(service: Service, colour: str) -> None:
    with recorder(service.scored(by_number)) as server:
        client = Client(service.make(server.url))
        run(colour, client, "rerank", "q", TEXTS)
        run(colour, client, "close")
        run(colour, client, "close")
        with pytest.raises(InvalidRequestError, match="closed"):
            run(colour, client, "rerank", "q", TEXTS)


def test_frozen_responses_cannot_be_changed_by_accident() -> None:
    with recorder(SERVICES[0].scored(by_number)) as server, Client(SERVICES[0].make(server.url)) as client:
        response = client.rerank("q", TEXTS)
    with pytest.raises(dataclasses.FrozenInstanceError):
        response.results[0].index = 3  # type: ignore[misc]


def reply(service: Service, scores: list[tuple[int, float]]) -> Reply:
    return Reply(service.answer(scores))
