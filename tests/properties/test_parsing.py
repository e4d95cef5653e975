"""Whatever a service answers, the parser takes the right replies, refuses all others, and does nothing else."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.json_texts import damaged
from helpers.properties import planned, tries
from helpers.reply_oracle import assert_agrees
from helpers.services import COHERE, KENDRA, PINECONE, SERVICES, VOYAGE, Service
from rerankkit import Document
from rerankkit._wire import HttpResponse
from rerankkit.provider import Batch, Provider, Reply

PROVIDERS = {service.name: service.make("https://gateway.test") for service in SERVICES}
EXTRAS: dict[str, list[dict[str, Any]]] = {  # what else the services' replies hold
    "cohere": [{"meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1.0}, "warnings": ["w"]}}, {}],
    "voyage": [{"object": "list", "model": "rerank-2.5", "usage": {"total_tokens": 26}}, {}],
    "pinecone": [{"model": "bge-reranker-v2-m3", "usage": {"rerank_units": 1}}, {}],
    "kendra": [{"RescoreId": "r-1"}, {}],
}
TEXTS = ["ferry", "ferry", "a car", "x"]
GROUPED = [Document("ferry", group_id="a"), Document("car", group_id="a"), Document("bus", group_id="b"), Document("train")]

scores = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([0, 1, 0.5, -0.0]))


@st.composite
def batches(draw: st.DrawFn, service: Service) -> Batch:
    top_n = draw(st.one_of(st.none(), st.integers(1, 5)))
    documents = GROUPED if service is KENDRA and draw(st.booleans()) else TEXTS[: draw(st.integers(1, len(TEXTS)))]
    return planned(PROVIDERS[service.name], documents, top_n)[1][0]


@st.composite
def answers(draw: st.DrawFn, service: Service, batch: Batch) -> dict[str, Any]:
    """A right answer, in any order."""
    order = draw(st.permutations(range(len(batch.documents))))
    found = [(index, draw(scores)) for index in order[: batch.top_n]]
    answer = {**service.answer(found), **draw(st.sampled_from(EXTRAS[service.name]))}
    if service is COHERE and draw(st.booleans()):
        answer["results"][0]["relevant_spans"] = [{"start": 0, "end": draw(st.integers(0, 6)), "score": draw(scores)}]
    return answer


@st.composite
def bodies(draw: st.DrawFn, service: Service, batch: Batch) -> bytes:
    """A right answer, now and then another service's, damaged as JSON."""
    other = draw(st.sampled_from([service] * 9 + list(SERVICES)))
    return draw(damaged(draw(answers(other, batch)))).encode()


@st.composite
def damaged_bytes(draw: st.DrawFn, service: Service, batch: Batch) -> bytes:
    """A right answer cut, doubled, in another encoding, or with bytes in it that do not belong there; or just bytes."""
    text = json.dumps(draw(answers(service, batch)), ensure_ascii=draw(st.booleans()))
    content, place = text.encode(), draw(st.integers(0, len(text)))
    return draw(
        st.sampled_from([content, b"\xef\xbb\xbf" + content, b" " + content + b"\r\n", content[:place], content * 2])
        | st.sampled_from(["utf-16", "utf-16-le", "utf-32", "utf-7"]).map(text.encode)
        | st.binary(max_size=3).map(lambda piece: content[:place] + piece + content[place + len(piece) :])
        | st.binary(max_size=100)
    )


def parsed(provider: Provider, batch: Batch, content: bytes) -> Reply | None:
    """The reply; None if it was refused.  Any other exception than ValueError is a failure."""
    try:
        return provider.parse_response(batch, HttpResponse(200, {}, content))
    except ValueError:
        return None


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@given(data=st.data())
@tries(600)
def test_a_reply_is_read_as_the_oracle_reads_it_or_refused(service: Service, data: st.DataObject) -> None:
    batch = data.draw(batches(service))
    check(service, batch, data.draw(bodies(service, batch)))


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@given(data=st.data())
@tries(200)
def test_bytes_are_read_as_the_oracle_reads_them_or_refused(service: Service, data: st.DataObject) -> None:
    batch = data.draw(batches(service))
    check(service, batch, data.draw(damaged_bytes(service, batch)))


def check(service: Service, batch: Batch, content: bytes) -> None:
    reply = parsed(PROVIDERS[service.name], batch, content)
    check_scores(batch, reply, complete=service is not KENDRA)
    assert_agrees(service.name, batch, content, None if reply is None else reply.scores)


def check_scores(batch: Batch, reply: Reply | None, *, complete: bool) -> None:
    """Finite scores for positions of the batch, and for enough of them."""
    if reply is None:
        return
    positions = range(len(batch.documents))
    assert set(reply.scores) <= set(positions)
    assert len(reply.scores) >= (min(batch.top_n or len(positions), len(positions)) if complete else 1)
    assert all(type(score) is float and math.isfinite(score) for score in reply.scores.values())


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@given(data=st.data())
@tries(100)
def test_a_right_reply_in_any_order_gives_each_document_its_score(service: Service, data: st.DataObject) -> None:
    batch = data.draw(batches(service))
    answer = data.draw(answers(service, batch))
    if service is COHERE:
        answer["results"][0].pop("relevant_spans", None)
    reply = parsed(PROVIDERS[service.name], batch, json.dumps(answer).encode())
    assert reply is not None
    (results,) = (value for name, value in answer.items() if name in ("results", "data", "ResultItems"))
    index, score = list(results[0])[:2]
    assert reply.scores == {int(result[index]): float(result[score]) for result in results}


@pytest.mark.parametrize("service", [COHERE, VOYAGE, PINECONE], ids=lambda service: service.name)
@given(data=st.data())
@tries(50)
def test_one_result_less_is_never_taken_for_the_whole(service: Service, data: st.DataObject) -> None:
    batch = data.draw(batches(service))
    answer = data.draw(answers(service, batch))
    next(value for name, value in answer.items() if name in ("results", "data")).pop()
    assert parsed(PROVIDERS[service.name], batch, json.dumps(answer).encode()) is None
