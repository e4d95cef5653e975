"""Cutting a list, scoring it in pieces and merging it gives what scoring it whole and sorting it once would give."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.properties import any_text, documents, planned, request_for, tries
from helpers.services import COHERE, KENDRA, KEY, PINECONE, POINTWISE, VOYAGE, Service
from rerankkit import Document, Voyage
from rerankkit._engine import Policy, ScoredBatch, merge, rerank
from rerankkit._io import run
from rerankkit._tokens import most_tokens
from rerankkit._wire import HttpRequest, HttpResponse, mended
from rerankkit.provider import Batch, Limits, Prepared, Provider, Reply

top_ns = st.none() | st.integers(1, 15)
few_scores = st.sampled_from([0.0, -0.0, 0.5, 1.0, -2.5, 1e-300, 1e300])  # so that ties are common


def limited(service: Service, **limits: int) -> Provider:
    """A provider of a model that nobody knows and that takes little at once."""
    known = type(service.make("https://gateway.test"))
    small = type("Small", (known,), {"default_limits": Limits(**limits)})
    return small("a-small-model", api_key=KEY, base_url="https://gateway.test")


def is_blank(text: str) -> bool:
    return not text.strip()


# Planning


@pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)
@given(texts=documents, most=st.integers(1, 5), top_n=top_ns)
@tries(100)
def test_batches_hold_what_is_not_blank_once_and_in_order(
    service: Service, texts: list[str], most: int, top_n: int | None
) -> None:
    """As few batches as the service's limit allows, each full but the last."""
    prepared, batches = planned(limited(service, documents=most), texts, top_n)
    ranked = [index for index, text in enumerate(texts) if not is_blank(text)]
    assert [index for batch in batches for index in batch.indices] == ranked
    assert [content for batch in batches for content in batch.documents] == [prepared.contents[index] for index in ranked]
    assert len(batches) == math.ceil(len(ranked) / most)
    assert all(0 < len(batch.documents) == len(batch.indices) <= most for batch in batches)
    assert dict(prepared.skipped) == {index: "blank" for index in range(len(texts)) if index not in ranked}
    check_top_n(batches, top_n)


def check_top_n(batches: Sequence[Batch], top_n: int | None) -> None:
    """Only a request that is the whole call is told it, and only if it makes a difference."""
    told = [batch.top_n for batch in batches if batch.top_n is not None]
    cuts = len(batches) == 1 and top_n is not None and top_n < len(batches[0].documents)
    assert told == ([top_n] if cuts else [])


@given(
    texts=st.lists(st.integers(1, 60).map("x".__mul__) | any_text, max_size=15),
    query=st.text("q ", min_size=1, max_size=30),
    most=st.integers(1, 6),
    tokens=st.integers(5, 60),
    pair=st.none() | st.integers(1, 25),
)
@tries(200)
def test_no_batch_is_over_a_limit_of_tokens_and_none_could_take_one_more(
    texts: list[str], query: str, most: int, tokens: int, pair: int | None
) -> None:
    """Counted as the limit is: the query once a document, a pair at most as long as the service leaves it."""
    provider = limited(VOYAGE, documents=most, request_tokens=tokens, **({"pair_tokens": pair} if pair else {}))
    _, batches = planned(provider, texts)

    def counted(text: str) -> int:
        return min(most_tokens("query") + most_tokens(text), pair or math.inf)

    sizes = [[counted(text) for text in batch.documents] for batch in batches]
    assert all(len(size) <= most and (sum(size) <= tokens or len(size) == 1) for size in sizes)
    for size, following in pairwise(sizes):
        assert len(size) == most or sum(size) + following[0] > tokens
    assert [index for batch in batches for index in batch.indices] == [
        index for index, text in enumerate(texts) if not is_blank(text)
    ]


kendra_document = st.builds(
    Document, st.sampled_from(["", " ", "ferry", "\x00", "car"]), group_id=st.none() | st.integers(0, 60).map(str)
)


@given(candidates=st.lists(kendra_document, max_size=60, unique_by=lambda document: document.group_id or object()))
@tries(100)
def test_kendra_is_sent_one_request_of_at_most_25_entries(candidates: list[Document]) -> None:
    prepared, batches = planned(KENDRA.make("https://gateway.test"), candidates)
    assert len(batches) == (1 if prepared.contents else 0)
    assert len(prepared.contents) <= 25
    assert sorted([*prepared.contents, *prepared.skipped]) == list(range(len(candidates)))
    assert "over_limit" not in prepared.skipped.values() or len(prepared.contents) == 25


# Merging


@st.composite
def scored_calls(draw: st.DrawFn) -> tuple[Prepared, list[ScoredBatch], dict[int, float]]:
    """Documents in batches of any sizes and in any order, a few left out by the service, a few never sent."""
    count = draw(st.integers(0, 12))
    kinds = [draw(st.sampled_from(["scored", "scored", "scored", "no_score", "over_limit", "blank"])) for _ in range(count)]
    sent = [index for index, kind in enumerate(kinds) if kind in ("scored", "no_score")]
    scores = {index: draw(few_scores) for index in sent if kinds[index] == "scored"}
    cuts = sorted(draw(st.sets(st.integers(0, len(sent)), max_size=4)) | {0, len(sent)})
    chunks = [sent[start:end] for start, end in pairwise(cuts)]
    parts = [ScoredBatch(Batch("query", ["x"] * len(chunk), chunk), _reply(chunk, scores)) for chunk in chunks]
    skipped: dict[int, Any] = {index: kind for index, kind in enumerate(kinds) if kind in ("over_limit", "blank")}
    return Prepared(dict.fromkeys(sent, "x"), skipped), draw(st.permutations(parts)), scores


def _reply(chunk: Sequence[int], scores: Mapping[int, float]) -> Reply:
    return Reply({position: scores[index] for position, index in enumerate(chunk) if index in scores})


@given(call=scored_calls(), top_n=top_ns)
@tries(300)
def test_a_merged_ranking_is_one_sort(call: tuple[Prepared, list[ScoredBatch], dict[int, float]], top_n: int | None) -> None:
    """Best first, ties in the caller's order; then what the service left out, what was over its limit, what is blank."""
    prepared, parts, scores = call
    count = len(prepared.contents) + len(prepared.skipped)
    kinds = ["no_score", "over_limit", "blank"]
    others = sorted(
        (kinds.index(prepared.skipped.get(index, "no_score")), index) for index in range(count) if index not in scores
    )
    expected = [index for _, index in sorted((-score, index) for index, score in scores.items())] + [i for _, i in others]
    request = request_for([f"document {index}" for index in range(count)], top_n)
    response = merge(COHERE.make("https://gateway.test"), request, prepared, parts)
    assert [result.index for result in response] == expected[:top_n]
    assert all(result.relevance_score == scores.get(result.index) for result in response)
    assert all(result.document is request.documents[result.index] for result in response)
    assert all((result.skipped is None) == (result.index in scores) for result in response)


# A whole call


@dataclass
class Answering:
    """I/O without any: answers as *service* would that takes up to *most* documents, and scores by text."""

    service: Service
    scores: Mapping[str, float]
    most: int = 1_000
    sent: list[int] = field(default_factory=list)

    async def send(self, http: object, request: HttpRequest, deadline: object) -> HttpResponse:
        body = orjson.loads(request.content)
        texts = self.service.texts(body)
        self.sent.append(len(texts))
        if len(texts) > self.most:
            return HttpResponse(413, {}, b"{}")
        ranked = sorted(enumerate(self.scores[text] for text in texts), key=lambda pair: -pair[1])
        return HttpResponse(200, {}, orjson.dumps(self.service.answer(ranked[: body.get("top_n") or body.get("top_k")])))

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here is worth a second attempt")

    async def offload(self, function: Any, deadline: object) -> Any:
        return function()

    async def gather(self, jobs: Sequence[Any], limit: int) -> list[Any]:
        return [await job() for job in jobs]


@pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)
@given(texts=documents, top_n=top_ns, most=st.integers(1, 5), taken=st.integers(1, 12), data=st.data())
@tries(150)
def test_a_call_is_ranked_as_if_it_had_been_one_request(
    service: Service, texts: list[str], top_n: int | None, most: int, taken: int, data: st.DataObject
) -> None:
    """However small the batches are, and however much smaller the service wants them."""
    table = {mended(text): data.draw(few_scores) for text in dict.fromkeys(texts)}
    ranked = [index for index, text in enumerate(texts) if not is_blank(text)]
    blank = [index for index in range(len(texts)) if index not in ranked]
    expected = [*sorted(ranked, key=lambda index: (-table[mended(texts[index])], index)), *blank][:top_n]
    for provider, io in (
        (limited(service, documents=1_000), Answering(service, table)),
        (limited(service, documents=most), Answering(service, table)),
        (limited(service, documents=1_000), Answering(service, table, most=taken)),
        (limited(service, documents=most), Answering(service, table, most=1)),
    ):
        response = run(rerank(io, None, provider, request_for(texts, top_n), Policy()))  # type: ignore[arg-type]
        assert [result.index for result in response] == expected
        assert len(response) == min(top_n or len(texts), len(texts))
        assert all(result.document is texts[result.index] for result in response)
        assert all(
            result.relevance_score == (None if result.index in blank else table[mended(texts[result.index])])
            for result in response
        )
        assert response.usage.requests == len(io.sent)
        assert sum(size for size in io.sent if size <= io.most) == len(ranked), "each document is scored once"


def test_the_limited_providers_are_limited() -> None:
    """Or the properties above would hold of nothing."""
    assert [limited(service, documents=3).limits.documents for service in (COHERE, VOYAGE, PINECONE)] == [3, 3, 3]
    assert isinstance(limited(VOYAGE, documents=1), Voyage)
