"""What was found wrong with other rerankers for LangChain (in November 2026), by its number: each is not so here."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.documents import Document
from pydantic import BaseModel, ValidationError

from helpers.server import Received, Reply, recorder
from helpers.services import COHERE, KEY, PINECONE, VOYAGE, Service
from helpers.ways import one_loop, run
from langchain_rerankkit import CohereRerank, KendraRerank, PineconeRerank, VoyageRerank
from rerankkit import AuthenticationError, BadRequestError, InvalidRequestError, InvalidResponseError, RateLimitError, Retry

CLASSES: dict[str, Any] = {"cohere": CohereRerank, "voyage": VoyageRerank, "pinecone": PineconeRerank, "kendra": KendraRerank}
KENDRA_KEYS = {"plan_id": "p" * 36, "region": "us-east-1", "aws_access_key_id": "AKID", "aws_secret_access_key": KEY}
DOCUMENTS = [Document("a 0.1"), Document("b 0.3"), Document("c 0.2")]


def made(service: Service, url: str = "https://x.test", **options: Any) -> Any:
    keys: dict[str, Any] = KENDRA_KEYS if service.name == "kendra" else {"api_key": KEY}
    return CLASSES[service.name](**{**keys, "base_url": url, **options})


def by_number(query: str, text: str) -> float:
    return float(text.rsplit(maxsplit=1)[-1])


def compressed(colour: str, compressor: Any, documents: Any = DOCUMENTS, query: str = "q") -> list[Document]:
    return run(colour, compressor, "compress_documents", documents, query)


def texts(found: list[Document]) -> list[str]:
    return [document.page_content for document in found]


# Of langchain-pinecone


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, b"{}", AuthenticationError),
        (429, b"{}", RateLimitError),
        (400, b"{}", BadRequestError),
        (200, b"<html>welcome</html>", InvalidResponseError),
    ],
)
def test_defect_1_an_error_is_raised_and_is_no_empty_list(
    status: int, body: bytes, error: type[Exception], service: Service, colour: str
) -> None:
    with recorder(lambda _: Reply(body, status)) as server, pytest.raises(error):
        compressed(colour, made(service, server.url, retry=Retry(attempts=1)))


def test_defect_2_metadata_that_is_no_json_is_no_hindrance(service: Service, colour: str) -> None:
    metadata = {"when": dt.datetime.now(dt.UTC), "object": object(), 7: "number", "self": "self", "query": "q"}
    with recorder(service.scored(by_number)) as server:
        (found,) = compressed(colour, made(service, server.url), [Document("a 0.1", metadata=metadata)])
    assert {name: found.metadata[name] for name in metadata} == metadata
    assert len(server.requests) == 1


def test_defect_3_metadata_replaces_neither_the_text_nor_the_id_that_is_sent(service: Service, colour: str) -> None:
    given = [Document("real 0.1", metadata={"text": "shadow", "id": 77_777, "page_content": "shadow"})]
    with recorder(service.scored(by_number)) as server:
        compressed(colour, made(service, server.url), given)
    assert service.texts(server.requests[0].json) == ["real 0.1"]
    assert not [word for word in (b"shadow", b"77777") if word in server.requests[0].body]


def test_defect_4_metadata_is_not_uploaded(service: Service, colour: str) -> None:
    given = [Document(f"a 0.{number}", metadata={"vector": [0.25] * 1536, "acl": "private"}) for number in range(20)]
    with recorder(service.scored(by_number)) as server:
        compressed(colour, made(service, server.url), given)
    assert sum(len(request.body) for request in server.requests) < 4_000


@pytest.mark.parametrize("echo", [True, False])
def test_defect_5_documents_come_back_whether_the_service_repeats_them_or_not(echo: bool, colour: str) -> None:
    for service in (PINECONE, VOYAGE):
        with recorder(service.scored(by_number)) as server:
            found = compressed(colour, made(service, server.url, return_documents=echo))
        assert texts(found) == ["b 0.3", "c 0.2", "a 0.1"]


def test_defect_6_a_constructor_connects_to_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: Any) -> None:
        raise AssertionError("a constructor connects")

    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)
    made(service, "https://x.test")


def test_defect_7_the_same_object_serves_one_event_loop_after_another(service: Service) -> None:
    with recorder(service.scored(by_number)) as server:
        compressor = made(service, server.url)
        for _ in range(2):
            assert texts(compressed("async", compressor)) == ["b 0.3", "c 0.2", "a 0.1"]


def test_defect_8_what_is_passed_in_is_not_changed(service: Service, colour: str) -> None:
    given = [Document("a 0.1", id="one", metadata={"nested": {"list": [1]}, "relevance_score": 99})]
    before = copy.deepcopy(given)
    with recorder(service.scored(by_number)) as server:
        (found,) = compressed(colour, made(service, server.url), given)
    assert given == before
    assert found is not given[0]
    assert found.metadata["relevance_score"] == 0.1, "a score from before is replaced"


# Of langchain-cohere


def test_defect_9_async_calls_wait_for_no_thread(service: Service) -> None:
    """LangChain's default has 6 threads on two cores; here forty calls are under way before the first reply."""
    together = threading.Barrier(40)

    def answer(request: Received) -> Reply:
        together.wait(30)  # breaks, so that no reply is sent, unless forty requests are here at once
        return service.scored(by_number)(request)

    async def main(url: str) -> list[Sequence[Document]]:
        async with made(service, url) as compressor:
            return await asyncio.gather(*(compressor.acompress_documents(DOCUMENTS, "q") for _ in range(40)))

    with recorder(answer) as server:
        assert [texts(found) for found in asyncio.run(main(server.url))] == [["b 0.3", "c 0.2", "a 0.1"]] * 40


def test_defect_10_ids_and_classes_stay_and_metadata_need_not_be_copied(service: Service, colour: str) -> None:
    class Page(Document):
        number: int = 0

    lock = threading.Lock()
    given = [Page(page_content="a 0.1", id="one", metadata={"lock": lock}, number=7)]
    with recorder(service.scored(by_number)) as server:
        (found,) = compressed(colour, made(service, server.url), given)
    assert (type(found), found.id, found.number, found.metadata["lock"]) == (Page, "one", 7, lock)


def test_defect_11_no_null_is_sent_and_every_form_of_copy_works(service: Service, colour: str) -> None:
    with recorder(service.scored(by_number)) as server:
        compressor = made(service, server.url)
        compressed(colour, compressor)
    sent = server.requests[0].json
    assert [name for name, value in sent.items() if value is None] == (["top_k"] if service is VOYAGE else [])  # as its SDK
    for top_n in (0, -1):
        with pytest.raises(ValidationError, match="top_n"):
            made(service, top_n=top_n)
    assert json.loads(compressor.model_dump_json())["score_key"] == "relevance_score"
    assert copy.deepcopy(compressor).model_dump() == compressor.model_dump()
    assert pickle.loads(pickle.dumps(compressor)).model_dump() == compressor.model_dump()


@pytest.mark.parametrize(
    "results", [[(-1, 0.9), (0, 0.1), (1, 0.1)], [(9, 0.9), (0, 0.1), (1, 0.1)], [(0, 0.9), (0, 0.8), (1, 0)]]
)
def test_defect_12_an_answer_with_impossible_indices_is_refused(results: Any, service: Service, colour: str) -> None:
    with recorder(lambda _: Reply(service.answer(results))) as server, pytest.raises(InvalidResponseError):
        compressed(colour, made(service, server.url, retry=Retry(attempts=1)))


def test_defect_13_a_wait_in_milliseconds_is_understood(service: Service, colour: str) -> None:
    with recorder(lambda _: Reply({}, 429, {"Retry-After-Ms": "60000"})) as server, pytest.raises(RateLimitError) as caught:
        compressed(colour, made(service, server.url, timeout=20))
    assert caught.value.retry_after == 60
    assert len(server.requests) == 1, "such a wait would not end in time"


def test_defect_14_current_options_of_cohere_need_no_sdk(colour: str) -> None:
    with recorder(COHERE.scored(by_number)) as server:
        options = {"model": "rerank-v5.0-fast", "relevant_spans": {"threshold": 0.1, "max_spans": 2}, "priority": 3}
        compressed(colour, made(COHERE, server.url, **options))
    sent = server.requests[0].json
    assert (sent["relevant_spans"], sent["priority"]) == ({"mode": "enabled", "threshold": 0.1, "max_spans": 2}, 3)
    program = "import sys, langchain_rerankkit as l; l.CohereRerank(api_key='k' * 9); assert 'cohere' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


# Of langchain-voyageai


@pytest.mark.parametrize("status", [429, 503])
def test_defect_15_a_hiccup_is_retried_and_a_misspelt_option_is_refused(status: int, service: Service, colour: str) -> None:
    first = [Reply({}, status, {"Retry-After": "0"})]
    with recorder(lambda request: first.pop() if first else service.scored(by_number)(request)) as server:
        assert len(compressed(colour, made(service, server.url))) == 3
    assert len(server.requests) == 2
    for wrong in ({"topn": 2}, {"max_retries": 5}, {"client": object()}):
        with pytest.raises(ValidationError):
            made(service, **wrong)


def test_defect_16_calls_in_a_row_share_one_connection(service: Service, colour: str) -> None:
    with recorder(service.scored(by_number)) as server, one_loop():
        compressor = made(service, server.url)
        for _ in range(20):
            compressed(colour, compressor)
    assert (len(server.requests), server.connections) == (20, 1)


# Of langchain-aws


def test_defect_17_the_address_can_be_set(service: Service, colour: str) -> None:
    with recorder(service.scored(by_number)) as server:
        compressed(colour, made(service, server.url))
    assert [request.path for request in server.requests] == [service.path]


def test_defect_18_blank_texts_and_typed_metadata_are_no_trouble(service: Service, colour: str) -> None:
    class Source(BaseModel):
        page: int

    given = [Document(" "), Document("a 0.1", metadata={"source": Source(page=7)})]
    with recorder(service.scored(by_number)) as server:
        compressor = made(service, server.url, top_n=None)
        found = compressed(colour, compressor, given)
        with pytest.raises(InvalidRequestError, match="query is blank"):
            compressed(colour, compressor, given, " ")
    assert texts(found) == ["a 0.1", " "]
    assert found[0].metadata["source"] == Source(page=7)
    assert found[1].metadata["relevance_score"] is None
    assert service.texts(server.requests[0].json) == ["a 0.1"]
    assert len(server.requests) == 1


# Of several


def test_an_answer_that_is_not_sorted_is_sorted_and_ties_keep_their_order(service: Service, colour: str) -> None:
    answer = service.answer([(0, 0.1), (2, 0.3), (1, 0.3)])
    with recorder(lambda _: Reply(answer)) as server:
        assert texts(compressed(colour, made(service, server.url))) == ["b 0.3", "c 0.2", "a 0.1"]


@pytest.mark.parametrize(("top_n", "expected"), [(None, 3), (1, 1), (3, 3), (99, 3)])
def test_top_n_means_the_same_everywhere(top_n: int | None, expected: int, service: Service, colour: str) -> None:
    with recorder(service.scored(by_number)) as server:
        assert len(compressed(colour, made(service, server.url, top_n=top_n))) == expected


def test_no_documents_are_no_request(service: Service, colour: str) -> None:
    with recorder(service.scored(by_number)) as server:
        assert compressed(colour, made(service, server.url), []) == []
    assert server.requests == []


def test_more_documents_than_a_request_holds_are_ranked_all_the_same(service: Service, colour: str) -> None:
    if service.name == "kendra":
        pytest.skip("its scores are those of one request: what is beyond it follows unscored")
    given = [Document(f"a 0.{number:04}1") for number in range(1_001)]
    with recorder(service.scored(by_number)) as server:
        found = compressed(colour, made(service, server.url), given)
    assert texts(found) == texts(sorted(given, key=lambda document: -by_number("", document.page_content)))
    assert len(server.requests) > 1


def test_usage_is_not_stamped_on_documents(service: Service, colour: str) -> None:
    with recorder(service.scored(by_number)) as server:
        found = compressed(colour, made(service, server.url))
    assert {name for document in found for name in document.metadata} == {"relevance_score"}
