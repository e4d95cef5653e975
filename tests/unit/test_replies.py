"""What a success says, read from its bytes: scores of every document, or an error."""

from __future__ import annotations

import math
from typing import Any

import pytest

from helpers.services import COHERE, KENDRA, PINECONE, SERVICES, VOYAGE, Service, dumped
from rerankkit import InvalidRequestError, Span, Usage, Voyage
from rerankkit._wire import HttpResponse
from rerankkit.provider import Batch, Provider, Reply, check_echo, check_results


def batch(size: int, top_n: int | None = None) -> Batch:
    return Batch("q", [f"text {number}" for number in range(size)], range(size), top_n)


def parsed(service: Service, body: object, headers: dict[str, str] | None = None, size: int = 1) -> Reply:
    content = body if isinstance(body, bytes) else dumped(body)
    documents = [{"Id": str(number)} for number in range(size)] if service is KENDRA else ["nine char"] * size
    return service.make("https://x.test").parse_response(
        Batch("q", documents, range(size)), HttpResponse(200, headers or {}, content)
    )


@pytest.mark.parametrize(
    ("size", "top_n", "results"),
    [
        (3, None, [(2, 0.5), (0, 0.25), (1, -1.0)]),
        (3, 2, [(2, 0.5), (0, 0.25)]),
        (3, 2, [(2, 0.5), (0, 0.25), (1, 0.0)]),
        (3, 5, [(2, 0.5), (0, 0.25), (1, 0.0)]),
        (1, None, [(0, 0.0)]),
        (0, None, []),
    ],
)
def test_scores_of_all_that_was_asked_for_are_taken(size: int, top_n: int | None, results: list[tuple[int, float]]) -> None:
    assert list(check_results(batch(size, top_n), results).items()) == results


@pytest.mark.parametrize(
    ("size", "top_n", "results", "message"),
    [
        (2, None, [(0, 0.5), (2, 0.1)], "index 2 in an answer about 2 documents"),
        (2, None, [(0, 0.5), (-1, 0.1)], "index -1 in an answer about 2 documents"),
        (2, None, [(0, 0.5), (0, 0.5)], "index 0 twice"),
        (2, None, [(0, 0.5), (1, math.nan)], "score nan of index 1"),
        (2, None, [(0, 0.5), (1, -math.inf)], "score -inf of index 1"),
        (2, None, [(0, 0.5)], "1 results, expected 2"),
        (3, 2, [(0, 0.5)], "1 results, expected 2"),
        (2, 3, [(0, 0.5)], "1 results, expected 2"),
        (1, None, [], "0 results, expected 1"),
    ],
)
def test_what_is_impossible_or_missing_is_refused(
    size: int, top_n: int | None, results: list[tuple[int, float]], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        check_results(batch(size, top_n), results)


def test_a_part_may_be_missing_where_that_is_allowed_but_not_all() -> None:
    assert check_results(batch(3), [(2, 0.5)], partial=True) == {2: 0.5}
    assert check_results(batch(0), [], partial=True) == {}
    with pytest.raises(ValueError, match="0 results, expected 3"):
        check_results(batch(3), [], partial=True)


@pytest.mark.parametrize(("size", "sizes"), [(2, (1, 1)), (3, (1, 2)), (7, (3, 4)), (1, (0, 1))])
def test_halves_are_of_one_size_in_the_same_order(size: int, sizes: tuple[int, int]) -> None:
    whole = Batch("q", [f"text {number}" for number in range(size)], range(10, 10 + size), 1)
    first, second = whole.halves()
    assert (len(first.documents), len(second.documents)) == sizes
    assert [*first.documents, *second.documents] == whole.documents
    assert [*first.indices, *second.indices] == list(whole.indices)
    assert {(half.query, half.top_n) for half in (first, second)} == {("q", None)}


def test_a_reply_after_others_counts_their_requests_and_tells_their_warnings_first() -> None:
    reply = Reply({0: 0.5}, usage=Usage(1, search_units=2.0), warnings=("its own",), request_id="r")
    assert reply.after(3, ("before",)) == Reply(
        {0: 0.5}, usage=Usage(4, search_units=2.0), warnings=("before", "its own"), request_id="r"
    )
    assert reply.after(2).warnings == ("its own",)


def test_a_query_may_be_as_long_as_the_model_takes() -> None:
    provider: Provider = VOYAGE.make("https://x.test", model="rerank-lite-1")  # 1,000 tokens, at most 8 bytes each
    provider.check_query("x" * 8_007)
    with pytest.raises(
        InvalidRequestError, match=r"^query has 8,008 characters, voyage model rerank-lite-1 takes at most 1,000 "
    ):
        provider.check_query("x" * 8_008)
    PINECONE.make("https://x.test").check_query("x" * 1_000_000)


def test_an_instruction_is_part_of_the_query_that_is_checked() -> None:
    provider = Voyage("rerank-2.5", api_key="0123456789", instruction="x" * 60_000)
    provider.check_query("short")
    with pytest.raises(InvalidRequestError, match=r"at most 8,000 tokens \(never more than 64,000 bytes\)"):
        provider.check_query("x" * 5_000)


SENT = Batch("q", ["Straße 1, and more", {"text": "second"}, {"title": "no text"}], range(3))


@pytest.mark.parametrize(
    "echoes",
    [
        [],
        [(0, "Straße 1, and more")],
        [(0, "Straße 1")],
        [(0, " STRASSE\n1 ")],
        [(0, {"text": "Straße 1, and more", "page": 3})],
        [(1, {"text": "second"}), (0, "Straße")],
        [(1, "second"), (2, {"title": "another"})],
        [(0, None), (1, 7), (2, "no text")],
        [(2, "of its own")],
    ],
)
def test_documents_that_come_back_as_they_went_are_no_news(echoes: list[tuple[int, object]]) -> None:
    assert check_echo(SENT, echoes) == ()


def test_documents_that_come_back_as_others_are_told_and_all_of_them_are_an_error() -> None:
    assert check_echo(SENT, [(0, "other"), (1, "second")]) == (
        "documents that came back as others than were sent, so that their index counted: 1",
    )
    assert check_echo(SENT, [(0, "Straße 1, and more, and more"), (1, "second")]) != ()
    for echoes in ([(0, "other")], [(0, "second"), (1, {"text": "Straße 1"})], [(0, "other"), (1, None), (2, "x")]):
        with pytest.raises(ValueError, match="^it repeats other documents than were sent: it answers another request$"):
            check_echo(SENT, echoes)


def test_what_a_broken_half_of_a_character_became_is_the_same() -> None:
    assert check_echo(Batch("q", ["a\ud800b"], [0]), [(0, "a\ufffdb")]) == ()


@pytest.mark.parametrize("service", [COHERE, VOYAGE, PINECONE], ids=lambda service: service.name)
def test_documents_are_compared_if_they_were_asked_for(service: Service) -> None:
    options = {"api_version": "v1"} if service is COHERE else {}

    def warnings(echo: bool, *texts: str) -> tuple[str, ...]:
        answer = service.answer([(0, 0.5), (1, 0.25)])
        for result, text in zip(answer.get("results") or answer["data"], texts, strict=True):
            result["document"] = {"text": text}
        provider = service.make("https://x.test", return_documents=echo, **options)
        batch = Batch("q", [{"text": "one"}, {"text": "two"}], range(2))
        return provider.parse_response(batch, HttpResponse(200, {"x-api-warning": "w"}, dumped(answer))).warnings

    own = ("w",) if service is VOYAGE else ()
    assert warnings(True, "one", "two") == warnings(False, "x", "x") == own
    told = "documents that came back as others than were sent, so that their index counted: 1"
    assert warnings(True, "one", "x") == (told, *own)
    with pytest.raises(ValueError, match="another request"):
        warnings(True, "two", "one")


# By service


def test_cohere_says_everything() -> None:
    spans = [{"start": 0, "end": 9, "score": 0.5}, {"start": 3, "end": 3, "score": 0.25}]
    body = {
        "id": "r-1",
        "results": [{"index": 0, "relevance_score": 0.5, "relevant_spans": spans}],
        "meta": {"billed_units": {"search_units": 2, "input_tokens": 7.0}, "warnings": ["in meta"]},
        "warnings": ["at the top"],
    }
    assert parsed(COHERE, body) == Reply(
        scores={0: 0.5},
        spans={0: (Span(0, 9, 0.5), Span(3, 3, 0.25))},
        usage=Usage(search_units=2.0, total_tokens=7),
        request_id="r-1",
        warnings=("in meta", "at the top"),
    )


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ({"text_tokens": 5, "input_tokens": 7}, 5),
        ({"text_tokens": None, "input_tokens": 7}, 7),
        ({"text_tokens": 5}, 5),
        ({"search_units": 1}, None),
    ],
)
def test_coheres_tokens_have_either_name(units: dict[str, Any], expected: int | None) -> None:
    assert parsed(COHERE, {**COHERE.answer([(0, 0.5)]), "meta": {"billed_units": units}}).usage.total_tokens == expected


@pytest.mark.parametrize("span", [(-1, 3), (4, 3), (0, 10), (9, 10)])
def test_a_span_outside_its_document_is_impossible(span: tuple[int, int]) -> None:
    start, end = span
    spans = [{"start": start, "end": end, "score": 0.5}]
    body = {"results": [{"index": 0, "relevance_score": 0.5, "relevant_spans": spans}]}
    with pytest.raises(ValueError, match=f"^span {start} to {end} in a document of 9 characters$"):
        parsed(COHERE, body)


def test_voyage_says_everything() -> None:
    body = {"data": [{"index": 0, "relevance_score": 0.5}], "model": "rerank-2.5", "usage": {"total_tokens": 9}}
    assert parsed(VOYAGE, body, {"x-request-id": "r-1", "x-api-warning": "soon gone"}) == Reply(
        {0: 0.5}, model="rerank-2.5", usage=Usage(total_tokens=9), request_id="r-1", warnings=("soon gone",)
    )


def test_pinecone_says_everything() -> None:
    body = {"data": [{"index": 0, "score": 0.5}], "model": "served", "usage": {"rerank_units": 3}}
    assert parsed(PINECONE, body, {"x-pinecone-request-id": "r-1"}) == Reply(
        {0: 0.5}, model="served", usage=Usage(rerank_units=3), request_id="r-1"
    )


def test_kendra_says_everything() -> None:
    body = KENDRA.answer([(1, 7.5), (0, -2)])
    assert parsed(KENDRA, body, {"x-amzn-requestid": "in a header"}, size=2) == Reply(
        {1: 7.5, 0: -2.0}, request_id="in a header"
    )
    assert parsed(KENDRA, body, size=2).request_id == "r-1"


def test_a_group_of_kendras_answers_for_all_of_it() -> None:
    documents = [{"Id": "0", "GroupId": "g0"}, {"Id": "1"}, {"Id": "2", "GroupId": "g0"}]
    provider = KENDRA.make("https://x.test")

    def scores(*results: tuple[str, float]) -> Any:
        content = dumped(KENDRA.answer(list(results)))
        return provider.parse_response(Batch("q", documents, range(3)), HttpResponse(200, {}, content)).scores

    assert scores(("g0", 2.0), ("1", 1.0)) == {0: 2.0, 2: 2.0, 1: 1.0}
    assert scores(("0", 2.0), ("2", 3.0)) == {0: 2.0, 2: 3.0}
    with pytest.raises(ValueError, match="^DocumentId '" + "x" * 40 + "', which was not sent$"):
        scores(("x" * 50, 1.0))
    with pytest.raises(ValueError, match="index 0 twice"):
        scores(("g0", 2.0), ("0", 1.0))


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_what_is_optional_may_be_missing_or_null(service: Service) -> None:
    answer = service.answer([(0, 0.5)])
    bare = {name: answer[name] for name in answer if name in {"results", "data", "ResultItems"}}
    for body in (bare, {**bare, "meta": None, "usage": None, "model": None, "id": None, "RescoreId": None, "warnings": None}):
        assert parsed(service, body) == Reply({0: 0.5})
    assert parsed(service, {**bare, "meta": {}, "usage": {}}) == Reply({0: 0.5})


@pytest.mark.parametrize(
    ("service", "members"),
    [
        (COHERE, {"meta": {"billed_units": {"search_units": -1}}}),
        (COHERE, {"meta": {"billed_units": {"search_units": "1"}}}),
        (VOYAGE, {"usage": {"total_tokens": -1}}),
        (VOYAGE, {"usage": {"total_tokens": 1.5}}),
        (PINECONE, {"usage": {"rerank_units": -1}}),
        (PINECONE, {"usage": {"rerank_units": 0.5}}),
    ],
)
def test_units_are_counts(service: Service, members: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^(meta|usage)\."):
        parsed(service, {**service.answer([(0, 0.5)]), **members})


@pytest.mark.parametrize("service", [COHERE, VOYAGE, PINECONE], ids=lambda service: service.name)
def test_nothing_may_have_been_used(service: Service) -> None:
    units = {"usage": {"total_tokens": 0, "rerank_units": 0}, "meta": {"billed_units": {"search_units": 0}}}
    usage = parsed(service, {**service.answer([(0, 0.5)]), **units}).usage
    assert [usage.search_units, usage.total_tokens, usage.rerank_units].count(None) == 2


def test_the_place_of_what_is_wrong_is_told_and_the_answer_is_not() -> None:
    with pytest.raises(ValueError, match=r"^results\.0\.index: Input should be a valid integer$") as caught:
        parsed(COHERE, {"results": [{"index": "sekret", "relevance_score": 0.5}]})
    assert caught.value.__cause__ is caught.value.__context__ is None, "pydantic's own error quotes the answer"
    with pytest.raises(ValueError, match=r"^the body: Invalid JSON: "):
        parsed(COHERE, b"<html>")
    with pytest.raises(ValueError, match=r"^results: Field required$"):
        parsed(COHERE, {"data": []})
