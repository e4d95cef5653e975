"""A reply is evidence, not truth: what is impossible is an error, never a ranking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from helpers.server import Reply, recorder
from helpers.services import COHERE, KENDRA, PINECONE, POINTWISE, VOYAGE, Service, dumped
from helpers.ways import WAYS, Way, run
from rerankkit import Client, InvalidResponseError, ProviderError

TEXTS = ["a", "b", "c"]
GOOD = [(0, 0.3), (1, 0.2), (2, 0.1)]


def results(*pairs: tuple[Any, Any]) -> Callable[[Service], bytes]:
    return lambda service: dumped(service.answer(list(pairs)))


def text(content: str) -> Callable[[Service], bytes]:
    return lambda _: content.encode()


def swapped(old: str, new: str) -> Callable[[Service], bytes]:
    """The good answer with one piece of its JSON replaced."""
    return lambda service: dumped(service.answer(GOOD)).replace(old.encode(), new.encode())


BAD: dict[str, Callable[[Service], bytes]] = {
    "index too large": results((0, 0.3), (1, 0.2), (3, 0.1)),
    "index 10^20": results((0, 0.3), (1, 0.2), (10**20, 0.1)),
    "index -1": results((0, 0.3), (1, 0.2), (-1, 0.1)),
    "index twice": results((0, 0.3), (1, 0.2), (1, 0.1)),
    "score NaN": swapped("0.3", "NaN"),
    "score Infinity": swapped("0.3", "Infinity"),
    "score 1e999": swapped("0.3", "1e999"),
    "score null": swapped("0.3", "null"),
    "score as text": swapped("0.3", '"0.3"'),
    "score true": swapped("0.3", "true"),
    "no results": results(),
    "empty body": text(""),
    "HTML": text("<!DOCTYPE html><title>Sign in</title>"),
    "cut JSON": lambda service: dumped(service.answer(GOOD))[:-5],
    "two JSON documents": lambda service: dumped(service.answer(GOOD)) * 2,
    "invalid UTF-8": lambda service: dumped(service.answer(GOOD)).replace(b"0.3", b"\xff\xfe"),
    "UTF-16": lambda service: dumped(service.answer(GOOD)).decode().encode("utf-16"),
    "null": text("null"),
    "a list": text("[]"),
    "an empty object": text("{}"),
    "a text": text('"ok"'),
}
BAD_POINTWISE: dict[str, Callable[[Service], bytes]] = {
    "too few results": results((0, 0.3), (1, 0.2)),
    "index 1.0": results((0, 0.3), (1.0, 0.2), (2, 0.1)),
    "index 1.5": results((0, 0.3), (1.5, 0.2), (2, 0.1)),
    "index as text": results((0, 0.3), ("1", 0.2), (2, 0.1)),
    "index true": results((0, 0.3), (True, 0.2), (2, 0.1)),
    "index null": results((0, 0.3), (None, 0.2), (2, 0.1)),
    "results null": text('{"results": null, "data": null}'),
    "another service's envelope": lambda service: dumped((VOYAGE if service is COHERE else COHERE).answer(GOOD)),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
def test_an_impossible_answer_is_an_error(service: Service, colour: str, make: Callable[[Service], bytes]) -> None:
    assert_refused(service, colour, make(service))


@pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)
@pytest.mark.parametrize("make", BAD_POINTWISE.values(), ids=BAD_POINTWISE)
def test_an_impossible_index_is_an_error(service: Service, colour: str, make: Callable[[Service], bytes]) -> None:
    assert_refused(service, colour, make(service))


@pytest.mark.parametrize("name", ["nobody", "g0", "03", "-1"])
def test_an_id_that_was_not_sent_to_kendra_is_an_error(colour: str, name: str) -> None:
    assert_refused(KENDRA, colour, dumped(KENDRA.answer([(0, 0.3), (name, 0.2)])))


def assert_refused(service: Service, colour: str, content: bytes) -> None:
    with recorder(lambda _: Reply(content)) as server, Client(service.make(server.url)) as client:
        with pytest.raises(InvalidResponseError, match="not what the service documents") as caught:
            run(colour, client, "rerank", "q", TEXTS)
    assert (caught.value.provider, caught.value.status_code) == (service.name, 200)
    assert len(server.requests) == 1, "an answer of the wrong form is not asked for again"
    assert "<title>" not in str(caught.value)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_wrong_answer_is_an_error_on_every_way(service: Service, way: Way) -> None:
    with recorder(lambda _: Reply(service.answer([(0, 0.3), (1, 0.2), (99, 0.1)]))) as server:
        with Client(service.make(server.url)) as client, pytest.raises(InvalidResponseError):
            way(client, "q", TEXTS)


@pytest.mark.parametrize("status", [201, 202, 204, 206])
def test_another_success_than_200_is_an_error(service: Service, colour: str, status: int) -> None:
    with recorder(lambda _: Reply(b"" if status == 204 else service.answer(GOOD), status)) as server:
        with Client(service.make(server.url)) as client, pytest.raises(ProviderError) as caught:
            run(colour, client, "rerank", "q", TEXTS)
    assert caught.value.status_code == status


def test_more_results_than_asked_for_are_cut_after_sorting(colour: str) -> None:
    for service in POINTWISE:
        with recorder(lambda _, service=service: Reply(service.answer(GOOD[::-1]))) as server:
            with Client(service.make(server.url)) as client:
                response = run(colour, client, "rerank", "q", TEXTS, top_n=2)
        assert [result.index for result in response] == [0, 1]


def test_unknown_members_and_a_byte_order_mark_are_no_error(service: Service, colour: str) -> None:
    body = {**service.answer(GOOD), "new": {"nested": [1]}, "data2": None}
    with recorder(lambda _: Reply(b"\xef\xbb\xbf" + dumped(body))) as server, Client(service.make(server.url)) as client:
        assert [result.index for result in run(colour, client, "rerank", "q", TEXTS)] == [0, 1, 2]


def test_documents_kendra_leaves_out_follow_without_a_score(colour: str) -> None:
    with recorder(lambda _: Reply(KENDRA.answer([(2, 0.5)]))) as server, Client(KENDRA.make(server.url)) as client:
        response = run(colour, client, "rerank", "q", ["a", "", "c", "d"])
    assert [(result.index, result.relevance_score, result.skipped) for result in response] == [
        (3, 0.5, None),
        (0, None, "no_score"),
        (2, None, "no_score"),
        (1, None, "blank"),
    ]


def test_another_model_than_asked_for_is_told(colour: str) -> None:
    body = {**PINECONE.answer(GOOD), "model": "cohere-rerank-4-fast", "usage": {"rerank_units": 1}}
    with recorder(lambda _: Reply(body)) as server, Client(PINECONE.make(server.url, model="cohere-rerank-3.5")) as client:
        response = run(colour, client, "rerank", "q", TEXTS)
    assert response.model == "cohere-rerank-4-fast"
    assert response.warnings == (
        "asked for cohere-rerank-3.5, served by cohere-rerank-4-fast: scores and thresholds may differ",
    )


def test_a_reply_that_does_not_end_is_not_read_to_its_end(service: Service, colour: str, transport: Any) -> None:
    with recorder(lambda _: Reply(b" " * (17 * 1024 * 1024))) as server:
        with Client(service.make(server.url), transport=transport) as client:
            with pytest.raises(InvalidResponseError, match="longer than 16,777,216 bytes"):
                run(colour, client, "rerank", "q", TEXTS)
