"""What other packages test of their rerankers, of each service in both frameworks and both colours."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
from pydantic import ValidationError

import langchain_rerankkit
import llamaindex_rerankkit
from helpers.server import Received, Reply, recorder
from helpers.services import COHERE, KENDRA, KEY, PINECONE, PLAN_ID, VOYAGE, Service
from helpers.ways import run
from rerankkit import (
    APIConnectionError,
    AuthenticationError,
    BadRequestError,
    InvalidResponseError,
    Limits,
    PermissionDeniedError,
    RateLimitError,
    Retry,
    ServerError,
)
from rerankkit.providers import kendra

KEYS: dict[str, Any] = {"plan_id": PLAN_ID, "region": "us-east-1", "aws_access_key_id": "AKID", "aws_secret_access_key": KEY}
NOWHERE = "http://127.0.0.1:1"


@dataclass(frozen=True)
class Framework:
    """One framework's classes, documents and calls."""

    module: Any

    def made(self, service: Service, url: str = NOWHERE, **options: Any) -> Any:
        keys = KEYS if service is KENDRA else {"api_key": KEY}
        return getattr(self.module, f"{service.name.capitalize()}Rerank")(**keys, base_url=url, **options)

    def given(self, texts: Sequence[str]) -> list[Any]:
        """A document each, with an id, metadata and the score of a first stage."""
        raise NotImplementedError

    def ranked(self, colour: str, reranker: Any, given: Sequence[Any]) -> list[Any]:
        raise NotImplementedError

    def told(self, found: Sequence[Any]) -> list[tuple[str, str, Mapping[str, Any], float | None]]:
        """Id, text, metadata and score of each."""
        raise NotImplementedError


class LangChain(Framework):
    def given(self, texts: Sequence[str]) -> list[Any]:
        return [Document(text, id=f"id {index}", metadata={"page": [index]}) for index, text in enumerate(texts)]

    def ranked(self, colour: str, reranker: Any, given: Sequence[Any]) -> list[Any]:
        return run(colour, reranker, "compress_documents", given, "q")

    def told(self, found: Sequence[Any]) -> list[tuple[str, str, Mapping[str, Any], float | None]]:
        parts = [(each, dict(each.metadata)) for each in found]
        return [(each.id, each.page_content, rest, rest.pop("relevance_score")) for each, rest in parts]


class LlamaIndex(Framework):
    def given(self, texts: Sequence[str]) -> list[Any]:
        nodes = [TextNode(text=text, id_=f"id {index}", metadata={"page": [index]}) for index, text in enumerate(texts)]
        return [NodeWithScore(node=node, score=0.5) for node in nodes]

    def ranked(self, colour: str, reranker: Any, given: Sequence[Any]) -> list[Any]:
        return run(colour, reranker, "postprocess_nodes", given, query_str="q")

    def told(self, found: Sequence[Any]) -> list[tuple[str, str, Mapping[str, Any], float | None]]:
        return [(each.node_id, each.node.get_content(), each.metadata, each.score) for each in found]


@pytest.fixture(params=[LangChain(langchain_rerankkit), LlamaIndex(llamaindex_rerankkit)], ids=lambda one: type(one).__name__)
def framework(request: pytest.FixtureRequest) -> Framework:
    return request.param


def by_number(query: str, text: str) -> float:
    return float(text.rsplit(maxsplit=1)[-1])


# Order, identity, and what was passed in


def test_the_best_come_first_with_their_ids_metadata_and_scores(framework: Framework, service: Service, colour: str) -> None:
    given = framework.given(["a 0.1", "b 0.3", "c 0.2", "a 0.1"])
    before = copy.deepcopy(given)
    with recorder(service.scored(by_number)) as server:
        found = framework.ranked(colour, framework.made(service, server.url), given)
    assert framework.told(found) == [
        ("id 1", "b 0.3", {"page": [1]}, 0.3),
        ("id 2", "c 0.2", {"page": [2]}, 0.2),
        ("id 0", "a 0.1", {"page": [0]}, 0.1),
        ("id 3", "a 0.1", {"page": [3]}, 0.1),
    ]
    assert given == before
    assert not {id(each) for each in found} & {id(each) for each in given}
    assert [len(service.texts(request.json)) for request in server.requests] == [4]


def test_top_n_returns_so_many_of_the_best(framework: Framework, service: Service, colour: str) -> None:
    with recorder(service.scored(by_number)) as server:
        for top_n, expected in ((None, 3), (1, 1), (2, 2), (3, 3), (4, 3), (99, 3)):
            reranker = framework.made(service, server.url, top_n=top_n)
            found = framework.ranked(colour, reranker, framework.given(["a 0.1", "b 0.3", "c 0.2"]))
            texts = [text for _, text, _, _ in framework.told(found)]
            assert (top_n, texts) == (top_n, ["b 0.3", "c 0.2", "a 0.1"][:expected])


@pytest.mark.parametrize("top_n", [0, -1, "3", True, 1.5])
def test_a_top_n_that_means_nothing_is_refused(framework: Framework, service: Service, top_n: Any) -> None:
    with pytest.raises(ValidationError, match="top_n"):
        framework.made(service, top_n=top_n)


def test_without_documents_nobody_is_asked(framework: Framework, service: Service, colour: str) -> None:
    with recorder(service.scored(by_number)) as server:
        assert framework.ranked(colour, framework.made(service, server.url), []) == []
    assert server.requests == []


# More than a request holds


PAIRS = [(10, 7), (7, 7), (9, 1), (7, 3), (4, 6), (3, 13), (1, 1), (5, None), (1, None)]


def test_batches_of_any_size_are_merged_into_one_ranking(
    framework: Framework, service: Service, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"text 0.{(7 * number) % 10}5" for number in range(10)]
    best_first = sorted(texts, key=lambda text: -by_number("", text))
    with recorder(service.scored(by_number)) as server:
        for size, top_n in PAIRS:
            monkeypatch.setattr(type(service.make(NOWHERE)), "limits", Limits(size))
            monkeypatch.setattr(kendra, "DOCUMENTS", size)
            expected, asked = best_first, texts
            if service is KENDRA:  # whose scores hold within one request: what is beyond it follows in its own order
                expected, asked = [text for text in best_first if text in texts[:size]] + texts[size:], texts[:size]
            found = framework.ranked(colour, framework.made(service, server.url, top_n=top_n), framework.given(texts))
            assert (size, top_n, [text for _, text, _, _ in framework.told(found)]) == (size, top_n, expected[:top_n])
            sent = [service.texts(request.json) for request in server.requests]
            server.requests.clear()
            assert max(map(len, sent)) <= size
            assert sorted(text for batch in sent for text in batch) == sorted(asked)


# Truncation


@pytest.mark.parametrize(
    ("service", "options", "expected"),
    [
        (COHERE, {}, {}),
        (COHERE, {"max_tokens_per_doc": 512}, {"max_tokens_per_doc": 512}),
        (VOYAGE, {}, {"truncation": True}),
        (VOYAGE, {"truncation": False}, {"truncation": False}),
        (PINECONE, {}, {"parameters": {"truncate": "END"}}),  # without which a long text would be an error
        (PINECONE, {"truncate": "NONE"}, {"parameters": {"truncate": "NONE"}}),
    ],
    ids=lambda value: value.name if isinstance(value, Service) else None,
)
def test_what_is_to_become_of_long_texts_is_told_to_the_service(
    framework: Framework, service: Service, colour: str, options: dict[str, Any], expected: dict[str, Any]
) -> None:
    with recorder(service.scored(lambda *_: 0.5)) as server:
        found = framework.ranked(colour, framework.made(service, server.url, **options), framework.given(["long " * 9_000]))
    sent = server.requests[0].json
    assert {name: sent[name] for name in ("max_tokens_per_doc", "truncation", "parameters") if name in sent} == expected
    assert service.texts(sent) == ["long " * 9_000]
    assert framework.told(found)[0][1] == "long " * 9_000


def test_kendra_which_cuts_nothing_itself_is_sent_what_it_takes(framework: Framework, colour: str) -> None:
    with recorder(KENDRA.scored(lambda *_: 0.5)) as server:
        found = framework.ranked(colour, framework.made(KENDRA, server.url), framework.given(["long\n" * 9_000]))
    (sent,) = KENDRA.texts(server.requests[0].json)
    assert 2_000 < len(sent) <= 2_048
    assert "\n" not in sent
    assert framework.told(found)[0][1] == "long\n" * 9_000, "what comes back is whole"


@pytest.mark.parametrize(
    ("service", "options"),
    [
        (COHERE, {"max_tokens_per_doc": 0}),
        (VOYAGE, {"truncation": "START"}),
        (PINECONE, {"truncate": "START"}),
        (KENDRA, {"overflow": "cut"}),
    ],
    ids=lambda value: value.name if isinstance(value, Service) else None,
)
def test_an_unknown_way_to_cut_is_refused(framework: Framework, service: Service, options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        framework.made(service, **options)


# Errors


FAILURES: dict[int, tuple[str, type[Exception]]] = {
    400: ("ValidationException", BadRequestError),
    401: ("UnrecognizedClientException", AuthenticationError),
    403: ("AccessDeniedException", PermissionDeniedError),
    429: ("ThrottlingException", RateLimitError),
    500: ("InternalServerException", ServerError),
    200: ("", InvalidResponseError),
}


def test_an_error_is_raised_and_is_no_answer(framework: Framework, service: Service, colour: str) -> None:
    def answer(_: Received) -> Reply:
        kind = {"__type": FAILURES[status][0]} if service is KENDRA else {}
        body = service.error("no") | kind
        return Reply(b"<html>no</html>" if status == 200 else body, status)

    with recorder(answer) as server:
        reranker = framework.made(service, server.url, retry=Retry(attempts=1))
        for status, (_, error) in FAILURES.items():
            with pytest.raises(error, match=service.name) as caught:
                framework.ranked(colour, reranker, framework.given(["a 0.1", "b 0.2"]))
            assert (status, type(caught.value)) == (status, error)
    assert len(server.requests) == len(FAILURES)


def test_a_service_that_cannot_be_reached_is_an_error(framework: Framework, service: Service, colour: str) -> None:
    with pytest.raises(APIConnectionError, match=service.name):
        framework.ranked(colour, framework.made(service, retry=Retry(attempts=1)), framework.given(["a 0.1"]))


def test_one_failed_batch_is_no_shorter_answer(
    framework: Framework, service: Service, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if service is KENDRA:
        pytest.skip("it has one request a call")
    monkeypatch.setattr(type(service.make(NOWHERE)), "limits", Limits(1))

    def answer(request: Received) -> Reply:
        failed = service.texts(request.json) == ["b 0.2"]
        return Reply(service.error("no"), 500) if failed else service.scored(by_number)(request)

    with recorder(answer) as server:
        reranker = framework.made(service, server.url, retry=Retry(attempts=1))
        with pytest.raises(ServerError):
            framework.ranked(colour, reranker, framework.given(["a 0.1", "b 0.2", "c 0.3"]))
