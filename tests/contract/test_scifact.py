"""A real collection catches any slip of an index: 300 queries, 100 candidates each, known figures.

With a scorer that knows the judgements the pipeline must reach nDCG@10 0.9137, with one that keeps the given order
0.6762; Kendra, which ranks the first 25 and lets the rest follow, 0.8641.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import pytest

from helpers.services import COHERE, KEY, SERVICES, Service
from helpers.shared import SHARED, needs_shared
from helpers.ways import WAYS, Way
from rerankkit import Client
from rerankkit.cli.collection import ndcg
from rerankkit.emulator import Emulator, Settings

pytestmark = [needs_shared, pytest.mark.timeout(600)]

WITH_JUDGEMENTS = {"kendra": 0.8641}
FOLDER = SHARED / "data" / "scifact"


@dataclass(frozen=True)
class SciFact:
    """Queries, their judgements, and their first-stage candidates; each text begins with its document's id."""

    queries: Mapping[str, str]
    grades: Mapping[str, Mapping[str, int]]
    candidates: Mapping[str, Sequence[str]]
    texts: Mapping[str, str]


@cache
def scifact() -> SciFact:
    corpus = [json.loads(line) for line in (FOLDER / "corpus.jsonl").read_text("utf-8").splitlines()]
    queries = [json.loads(line) for line in (FOLDER / "queries.jsonl").read_text("utf-8").splitlines()]
    grades: dict[str, dict[str, int]] = {}
    for line in (FOLDER / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        grades.setdefault(query, {})[document] = int(grade)
    candidates: dict[str, list[str]] = {}
    for line in (FOLDER / "runs" / "bm25-k0.9-b0.4-top100.trec").read_text().splitlines():
        query, _, document, *_ = line.split()
        candidates.setdefault(query, []).append(document)
    return SciFact(
        queries={query["_id"]: query["text"] for query in queries},
        grades=grades,
        candidates=candidates,
        texts={entry["_id"]: f"{entry['_id']} {entry['title']} {entry['text']}" for entry in corpus},
    )


@cache
def id_of() -> Mapping[str, str]:
    return {text: query for query, text in scifact().queries.items()}


def by_judgement(query: str, texts: Sequence[str]) -> list[float]:
    grades = scifact().grades[id_of()[query]]
    return [float(grades.get(text.split(" ", 1)[0], 0)) for text in texts]


def by_given_order(query: str, texts: Sequence[str]) -> list[float]:
    """Falls with the first-stage rank, whatever batch a text arrives in."""
    ranks = {document: rank for rank, document in enumerate(scifact().candidates[id_of()[query]])}
    return [100.0 - ranks[text.split(" ", 1)[0]] for text in texts]


SCORERS = {"judgements": by_judgement, "given order": by_given_order}


@pytest.fixture(scope="module", params=SCORERS)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[str, Mapping[str, str]]]:
    """The emulator in a thread, with one of the scorers; its name, and where the services are."""
    keys = {"AKIDEXAMPLE": KEY}
    with Emulator(Settings(aws_secrets=keys), in_process=True, scorer=SCORERS[request.param]) as emulator:
        yield request.param, emulator.urls


IN_BATCHES = {"api_version": "v1", "max_chunks_per_doc": 300}  # 33 documents a request, so four requests a query


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize(
    ("service", "options"),
    [*((service, {}) for service in SERVICES), (COHERE, IN_BATCHES)],
    ids=[*(service.name for service in SERVICES), "cohere in batches"],
)
def test_the_pipeline_reaches_the_known_figure(
    served: tuple[str, Mapping[str, str]], service: Service, options: Mapping[str, object], way: Way
) -> None:
    scorer, urls = served
    data = scifact()
    found: list[float] = []
    with Client(service.make(urls[service.name], **options)) as client:
        for query, text in data.queries.items():
            candidates = data.candidates[query]
            results = way(client, text, [data.texts[document] for document in candidates])
            ranking = [candidates[index] for index, _ in results]
            assert sorted(ranking) == sorted(candidates), "no document is lost or doubled"
            found.append(ndcg(ranking, data.grades[query]))
    expected = 0.6762 if scorer == "given order" else WITH_JUDGEMENTS.get(service.name, 0.9137)
    assert statistics.mean(found) == pytest.approx(expected, abs=5e-5)
    assert len(found) == 300
