"""What an estimate says before a call, the emulated services bill: over 300 queries of a real collection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import pytest

from helpers.services import COHERE, KENDRA, PINECONE, POINTWISE, VOYAGE, Service
from helpers.shared import SHARED, needs_shared
from rerankkit import Client, Usage
from rerankkit.emulator import Emulator

pytestmark = [needs_shared, pytest.mark.timeout(300)]

WITHIN = 0.15  # of what is billed
FOLDER = SHARED / "data" / "scifact"


@cache
def calls() -> Sequence[tuple[str, list[str]]]:
    """Each query with its 100 candidates; their texts with their titles."""
    corpus = [json.loads(line) for line in (FOLDER / "corpus.jsonl").read_text("utf-8").splitlines()]
    texts = {entry["_id"]: f"{entry['title']} {entry['text']}" for entry in corpus}
    queries = [json.loads(line) for line in (FOLDER / "queries.jsonl").read_text("utf-8").splitlines()]
    found: dict[str, list[str]] = {query["_id"]: [] for query in queries}
    for line in (FOLDER / "runs" / "bm25-k0.9-b0.4-top100.trec").read_text().splitlines():
        query, _, document, *_ = line.split()
        found[query].append(texts[document])
    return [(query["text"], found[query["_id"]]) for query in queries]


@pytest.fixture(scope="module")
def urls() -> Iterator[Mapping[str, str]]:
    """The emulator, which scores without looking: only its bills matter here."""
    with Emulator(in_process=True, scorer=lambda _, texts: [0.5] * len(texts)) as emulator:
        yield emulator.urls


def billed(client: Client, few: Sequence[tuple[str, list[str]]]) -> Iterator[tuple[Usage, Usage]]:
    """The estimate and the bill of each call."""
    for query, texts in few:
        yield client.estimate(query, texts).usage, client.rerank(query, texts).usage


def assert_close(estimate: Usage, bill: Usage, unit: str) -> None:
    assert asdict(estimate)[unit] == pytest.approx(asdict(bill)[unit], rel=WITHIN)
    assert [name for name, value in asdict(estimate).items() if value is None] == [
        name for name, value in asdict(bill).items() if value is None
    ], "units that the service does not count are not estimated"


UNIT = {"cohere": "search_units", "voyage": "total_tokens", "pinecone": "rerank_units"}


@pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)
def test_estimates_over_the_whole_collection(urls: Mapping[str, str], service: Service) -> None:
    model = {"model": "cohere-rerank-4-fast"} if service is PINECONE else {}  # whose units depend on the texts
    with Client(service.make(urls[service.name], **model)) as client:
        pairs = list(billed(client, calls()))
        total = client.ledger.total
    assert len(pairs) == 300
    for estimate, bill in pairs:
        assert_close(estimate, bill, UNIT[service.name])
    estimates = sum((estimate for estimate, _ in pairs), Usage())
    assert_close(estimates, total.usage, UNIT[service.name])
    assert total.usage == sum((bill for _, bill in pairs), Usage())
    assert total.cost > 0


OTHERS: list[tuple[Service, dict[str, Any], str]] = [
    (COHERE, {"model": "rerank-v5.0-fast"}, "total_tokens"),
    (COHERE, {"model": "rerank-v4.0-pro", "max_tokens_per_doc": 200}, "search_units"),
    (COHERE, {"api_version": "v1", "max_chunks_per_doc": 300}, "search_units"),
    (VOYAGE, {"model": "rerank-lite-1"}, "total_tokens"),
    (VOYAGE, {"instruction": "Prefer trials with many patients. " * 9}, "total_tokens"),
    (PINECONE, {}, "rerank_units"),
    (PINECONE, {"model": "cohere-rerank-4-fast", "max_tokens_per_doc": 200}, "rerank_units"),
    (PINECONE, {"model": "cohere-rerank-3.5"}, "rerank_units"),
]


@pytest.mark.parametrize(
    ("service", "options", "unit"), OTHERS, ids=[f"{service.name} {options}" for service, options, _ in OTHERS]
)
def test_estimates_for_other_models_and_options(
    urls: Mapping[str, str], service: Service, options: Mapping[str, Any], unit: str
) -> None:
    with Client(service.make(urls[service.name], **options)) as client:
        for estimate, bill in billed(client, calls()[::30]):
            assert_close(estimate, bill, unit)
            assert estimate.requests == bill.requests


@pytest.mark.parametrize("service", [VOYAGE, PINECONE], ids=lambda service: service.name)
def test_estimates_for_texts_that_are_cut_to_the_window(urls: Mapping[str, str], service: Service) -> None:
    joined = [(query, [" ".join(texts * 2)[:200_000], texts[0]]) for query, texts in calls()[:5]]
    model = {"model": "cohere-rerank-4-fast"} if service is PINECONE else {}
    with Client(service.make(urls[service.name], **model)) as client:
        for estimate, bill in billed(client, joined):
            assert_close(estimate, bill, UNIT[service.name])


def test_a_call_of_kendra_is_one_request_of_unknown_cost(urls: Mapping[str, str]) -> None:
    with Client(KENDRA.make(urls["kendra"])) as client:
        for query, texts in calls()[:3]:
            estimate = client.estimate(query, texts)
            assert (estimate.usage, estimate.cost) == (Usage(1), None)
