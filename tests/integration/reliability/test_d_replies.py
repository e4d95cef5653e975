"""Group D: what a service can answer that is not the answer."""

from __future__ import annotations

import asyncio
import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from helpers.services import COHERE, KENDRA, PINECONE, POINTWISE, VOYAGE, Service
from helpers.ways import WAYS, run
from integration.reliability.fault_server import Stage
from integration.reliability.faults import Fault, Status
from integration.reliability.rewritten import (
    LEFT_OUT,
    Best,
    Echo,
    Envelope,
    Item,
    More,
    Results,
    Rewritten,
    Scores,
    Swapped,
    Without,
    answers_in_full,
    doubled,
    shuffled,
    worst_first,
)
from integration.reliability.rows import row
from integration.reliability.trial import SOON, TEXTS, Trial
from rerankkit import Client, Document, InvalidResponseError, RateLimitError, Retry

COUNT = len(TEXTS)
ONCE = Retry(attempts=1)
CORE = [way for way in WAYS if way.package == "core"]
some_ways = pytest.mark.parametrize("way", [*CORE, WAYS[3], WAYS[4]], ids=str)  # LangChain's async, LlamaIndex's sync
core_alone = pytest.mark.parametrize("way", CORE, ids=str)
pointwise = pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)


def of(service: Service) -> Any:
    """The cases of one service alone."""
    return pytest.mark.parametrize("service", [service], ids=[service.name])


# What is refused

D1 = row("D1", "an index that no document has", "InvalidResponseError, at the first attempt")
D2 = row("D2", "an index that is no whole number, or is missing", "InvalidResponseError, at the first attempt")
D3 = row("D3", "an index twice", "InvalidResponseError, at the first attempt")
D4 = row("D4", "fewer results than asked for", "InvalidResponseError; what Kendra may leave out follows unscored")
D5 = row("D5", "more results than asked for", "sorted, then cut to `top_n`, with a warning")
D6 = row("D6", "a score that is not finite, no number, or missing", "InvalidResponseError, at the first attempt")
D10 = row("D10", "no results for documents that were sent", "InvalidResponseError, at the first attempt")
D11 = row("D11", "another thing in the place of the results, or the form of another service", "InvalidResponseError")

REFUSED = [  # "result" is the last of the results
    *(pytest.param(Item("index", value), id=f"D1-result with index {value}", marks=D1) for value in (5, 10**20, -1, -5)),
    *(
        pytest.param(Item("index", value), id=f"D2-result with index {shown}", marks=D2)
        for value, shown in [
            (1.0, "1.0"),
            (1.5, "1.5"),
            (True, "true"),
            (None, "null"),
            ("one", "'one'"),
            ([1], "[1]"),
            (LEFT_OUT, "left out"),
        ]
    ),
    pytest.param(doubled, id="D3-last result with the index of the first", marks=D3),
    *(
        pytest.param(Item("score", value), id=f"D6-result with score {shown}", marks=D6)
        for value, shown in [
            (math.nan, "NaN"),
            (math.inf, "Infinity"),
            (-math.inf, "-Infinity"),
            ("@1e999", "1e999"),
            (None, "null"),
            ("0.5", "'0.5'"),
            (True, "true"),
            ([0.5], "[0.5]"),
            (LEFT_OUT, "left out"),
        ]
    ),
    pytest.param(Results([]), id="D10-results []", marks=D10),
    *(
        pytest.param(Results(value), id=f"D11-results {shown}", marks=D11)
        for value, shown in [
            (None, "null"),
            ({}, "{}"),
            ("ok", "'ok'"),
            ([None], "[null]"),
            ([[0, 0.5]], "[[0, 0.5]]"),
            (LEFT_OUT, "left out"),
        ]
    ),
]


def as_told(service: Service, change: Any) -> Any:
    """Kendra's ids are texts: an index that is no place in the list is an id that was not sent."""
    if service is KENDRA and isinstance(change, Item) and change.member == "index" and type(change.value) is int:
        return Item(change.member, str(change.value))
    return change


def assert_refused(trial: Trial, fault: Fault, **options: Any) -> None:
    trial.stage.play(fault)
    outcome = trial(**options)
    assert isinstance(outcome.error, InvalidResponseError)
    assert "not what the service documents" in str(outcome.error)
    assert (outcome.error.provider, outcome.error.status_code) == (trial.service.name, 200)
    assert outcome.requests == 1, "an answer of the wrong form is not asked for again"


@pytest.mark.parametrize("change", REFUSED)
def test_an_impossible_reply_is_an_error_and_never_a_ranking(trial: Trial, change: Any) -> None:
    assert_refused(trial, Rewritten(as_told(trial.service, change)))


@D2
@pointwise
def test_an_index_in_quotes_is_an_error(trial: Trial) -> None:
    assert_refused(trial, Rewritten(Item("index", "1")))


@D2
@of(KENDRA)
@pytest.mark.parametrize("name", [1, "01", " 1", "1.0", ""], ids=repr)
def test_an_id_that_is_not_the_one_sent_is_an_error(trial: Trial, name: Any) -> None:
    assert_refused(trial, Rewritten(Item("index", name)))


ENVELOPES = [
    (service, form)
    for service in (COHERE, VOYAGE, PINECONE, KENDRA)
    for form in ("cohere", "voyage", "pinecone", "kendra", "openrouter")
    if form != service.name and (service, form) != (COHERE, "openrouter")  # which took over Cohere's
]


@D11
@pytest.mark.parametrize(("service", "form"), ENVELOPES, ids=[f"{form}'s for {s.name}" for s, form in ENVELOPES])
def test_the_form_of_another_service_is_an_error(trial: Trial, form: str) -> None:
    assert_refused(trial, Rewritten(Envelope(form)))


@D4
@pointwise
@pytest.mark.parametrize(("top_n", "count"), [(None, 4), (None, 1), (3, 2)], ids=["4 of 5", "1 of 5", "2 of a top 3"])
def test_fewer_results_than_asked_for_are_an_error(trial: Trial, top_n: int | None, count: int) -> None:
    assert_refused(trial, Rewritten(Best(count)), top_n=top_n)


# What is put right


@D4
@of(KENDRA)
@pytest.mark.parametrize(("count", "top_n"), [(4, None), (1, None), (2, 3), (2, 1)])
def test_documents_that_kendra_leaves_out_follow_without_a_score(trial: Trial, count: int, top_n: int | None) -> None:
    scored = trial.expected(count)
    left = sorted(set(range(COUNT)) - {index for index, _ in scored})
    trial.stage.play(Rewritten(Best(count)))
    outcome = trial(top_n=top_n, ranking=[*scored, *((index, None) for index in left)][:top_n])
    assert outcome.error is None


@D5
@pytest.mark.parametrize("top_n", [1, 3])
def test_more_results_than_asked_for_are_cut(trial: Trial, top_n: int) -> None:
    trial.stage.play(answers_in_full)
    assert trial(top_n=top_n).results == trial.expected(top_n)


@D5
@pointwise
def test_more_results_than_asked_for_are_told(service: Service, stage: Stage, colour: str) -> None:
    stage.play(answers_in_full)
    with Client(service.make(stage.url), transport=service.transport) as client:
        assert any("results" in warning for warning in run(colour, client, "rerank", "q", TEXTS, top_n=3).warnings)
        assert run(colour, client, "rerank", "q", TEXTS, top_n=3).warnings == (), "there is nothing to tell"


@row("D7", "results that are not sorted", "are sorted by their scores")
@pytest.mark.parametrize("change", [worst_first, shuffled], ids=lambda change: change.__name__)
@pytest.mark.parametrize("top_n", [None, 2])
def test_an_unsorted_reply_is_sorted(trial: Trial, change: Any, top_n: int | None) -> None:
    trial.stage.play(Rewritten(change))
    assert trial(top_n=top_n).results == trial.expected(top_n)


TIED = {
    "three of five": ([0.5, 0.75, 0.5, 0.25, 0.5], [4, 2, 0, 1, 3], [1, 0, 2, 4, 3]),
    "two pairs": ([0.25, 0.5, 0.25, 0.5, 0.75], [3, 4, 1, 2, 0], [4, 1, 3, 0, 2]),
    "Voyage's, rounded to bfloat16": (
        [0.9296875, 0.578125, 0.578125, 0.9296875, 0.578125],
        [3, 0, 4, 2, 1],
        [0, 3, 1, 2, 4],
    ),
    "zero and minus zero": ([-0.0, 0.0, -0.0, 0.0, 0.0], [4, 3, 2, 1, 0], [0, 1, 2, 3, 4]),
}


@row("D8", "equal scores", "the caller's order, the same in all six ways")
@pytest.mark.parametrize(("scores", "order", "expected"), TIED.values(), ids=TIED)
def test_ties_keep_the_callers_order(trial: Trial, scores: list[float], order: list[int], expected: list[int]) -> None:
    trial.stage.play(Rewritten(Scores(scores, order)))
    outcome = trial(ranking=[(index, scores[index]) for index in expected])
    assert outcome.error is None


EXTREME = {
    "all equal": [0.5] * 5,
    "all zero": [0.0] * 5,
    "negative": [-1.0, -1e9, -0.5, -1e-300, -11.25],
    "smaller than small": [1e-300, 5e-324, 8.481104e-05, 0.0, 1e-5],
    "next to each other": [0.1 + 0.2, 0.3, math.nextafter(0.3, 1), math.nextafter(0.3, 0), 0.30000000000000004],
    "beyond one": [1.5, 100_000.0, 1.7976931348623157e308, -1.7976931348623157e308, 2.0],
    "whole numbers": [3, 1, 2, 0, 10**15],
}


@row("D9", "scores that are all equal, all zero, negative, tiny or huge", "are neither rounded nor moved")
@pytest.mark.parametrize("scores", EXTREME.values(), ids=EXTREME)
def test_extreme_scores_are_kept_to_the_last_bit(trial: Trial, scores: list[float]) -> None:
    trial.stage.play(Rewritten(Scores(scores)))
    expected = sorted(enumerate(map(float, scores)), key=lambda pair: (-pair[1], pair[0]))
    outcome = trial(ranking=expected)
    assert [repr(score) for _, score in outcome.results] == [repr(score) for _, score in expected]


UNKNOWN = {
    "texts": {"note": "x", "warning_text": "y"},
    "nested": {"new_meta": {"billing": {"deep": [{"er": None}]}}},
    "a list": {"extra": [1, "two", None, {"three": 3}]},
    "names like others": {"Index": 99, "rank": 3, "relevanceScore": "high", "datum": [], "ResultItem": {}},
    "odd names": {"": 1, "ü": 2, "a.b[0]": 3, "__proto__": {"index": 7}, "__class__": "x"},
}


@row("D14", "members that nobody documented, deep or odd", "are ignored")
@pytest.mark.parametrize("members", UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_members_are_ignored(trial: Trial, members: Any) -> None:
    trial.stage.play(Rewritten(More(members)))
    assert trial().results == trial.expected()


# Kendra's ids

D15 = row("D15", "Kendra's ids: unknown, a group's, missing, out of order", "an error, or found where they belong")


@D15
@of(KENDRA)
@pytest.mark.parametrize("name", ["nobody", "g0", "5", "00000000-0000-4000-8000-000000000000"])
def test_an_id_that_nobody_sent_is_an_error(trial: Trial, name: str) -> None:
    assert_refused(trial, Rewritten(Item("index", name, rank=2)))


@D15
@of(KENDRA)
@pytest.mark.parametrize("change", [Without("RescoreId"), shuffled], ids=["no RescoreId", "out of order"])
def test_what_is_missing_or_moved_does_not_matter(trial: Trial, change: Any) -> None:
    trial.stage.play(Rewritten(change))
    assert trial().results == trial.expected()


GROUPED = [Document("a"), Document("b", group_id="one"), Document("c", group_id="two"), Document("d", group_id="one")]
GROUPS: dict[str, tuple[list[tuple[str, float]], list[tuple[int, float | None]]]] = {
    "by the names of the groups": ([("g0", 0.9), ("0", 0.5), ("g1", 0.1)], [(1, 0.9), (3, 0.9), (0, 0.5), (2, 0.1)]),
    "by each entry's own id": (
        [("3", 0.9), ("1", 0.8), ("0", 0.5), ("2", 0.1)],
        [(3, 0.9), (1, 0.8), (0, 0.5), (2, 0.1)],
    ),
    "without one of the groups": ([("0", 0.5), ("g1", 0.1)], [(0, 0.5), (2, 0.1), (1, None), (3, None)]),
}


@D15
@of(KENDRA)
@pytest.mark.parametrize(("answer", "expected"), GROUPS.values(), ids=GROUPS)
def test_a_group_is_found_by_its_name_and_by_its_entries(
    service: Service, stage: Stage, colour: str, answer: Any, expected: Any
) -> None:
    stage.play(Status(200, body=service.answer(answer)))
    with Client(service.make(stage.url), transport=service.transport) as client:
        response = run(colour, client, "rerank", "q", GROUPED)
    assert [(result.index, result.relevance_score) for result in response] == expected


@D15
@of(KENDRA)
@pytest.mark.parametrize("answer", [[("g0", 0.9), ("1", 0.5)], [("g2", 0.9)], [("one", 0.9)]], ids=str)
def test_a_group_that_is_told_twice_or_was_not_sent_is_an_error(
    service: Service, stage: Stage, colour: str, answer: Any
) -> None:
    stage.play(Status(200, body=service.answer(answer)))
    with Client(service.make(stage.url), transport=service.transport) as client, pytest.raises(InvalidResponseError):
        run(colour, client, "rerank", "q", GROUPED)


# Echoes

D16 = row("D16", "a reply that repeats another document than was sent, with the right index", "the index counts; it is told")
D18 = row("D18", "the reply to another request", "InvalidResponseError where documents, ids or their number tell")
ECHOING = [(COHERE, {"api_version": "v1"}, "object"), (VOYAGE, {}, "text"), (PINECONE, {}, "object")]
echoing = pytest.mark.parametrize(
    ("service", "options", "form"),
    [(service, {"return_documents": True, **options}, form) for service, options, form in ECHOING],
    ids=[service.name for service, _, _ in ECHOING],
)


@D16
@echoing
@pytest.mark.parametrize("others", [{0: "another"}, {1: TEXTS[2], 2: TEXTS[1]}, dict.fromkeys(range(4), "x")], ids=len)
def test_the_index_counts_where_an_echo_differs(trial: Trial, options: Any, form: str, others: dict[int, str]) -> None:
    trial.stage.play(Echo(form, others))
    assert trial(**options).results == trial.expected()


@D16
@echoing
def test_an_echo_that_differs_is_told_without_its_text(
    service: Service, stage: Stage, colour: str, options: Any, form: str
) -> None:
    stage.play(Echo(form, {0: "another", 3: ""}), Echo(form, {}))
    with Client(service.make(stage.url, **options)) as client:
        warnings = run(colour, client, "rerank", "q", TEXTS).warnings
        assert warnings == ("documents that came back as others than were sent, so that their index counted: 1",)
        assert run(colour, client, "rerank", "q", ["half \ud800", *TEXTS[1:]]).warnings[1:] == (), "U+FFFD is what was sent"


@D18
@echoing
def test_an_answer_about_other_documents_is_an_error(trial: Trial, options: Any, form: str) -> None:
    assert_refused(trial, Echo(form, dict.fromkeys(range(COUNT), "another")), **options)


def concurrently(client: Client, colour: str, lists: list[list[str]]) -> list[Any]:
    """The responses or errors of calls that are under way at the same time."""
    if colour == "sync":
        with ThreadPoolExecutor(len(lists)) as pool:
            futures = [pool.submit(client.rerank, "q", texts) for texts in lists]
            return [future.exception() or future.result() for future in futures]

    async def gathered() -> list[Any]:
        try:
            return await asyncio.gather(*(client.arerank("q", texts) for texts in lists), return_exceptions=True)
        finally:
            await client.aclose()

    return asyncio.run(gathered())


@D18
@echoing
def test_swapped_replies_are_errors_where_they_repeat_the_documents(
    service: Service, stage: Stage, colour: str, options: Any, form: str
) -> None:
    meeting = f"{stage.port} {colour}"
    stage.play(Swapped(meeting, form), Swapped(meeting, form))
    with Client(service.make(stage.url, **options)) as client:
        found = concurrently(client, colour, [["one", "two", "three"], ["four", "five", "six"]])
    assert [type(each) for each in found] == [InvalidResponseError] * 2
    assert "answers another request" in str(found[0])


@D18
@pytest.mark.parametrize("sizes", [(3, 5), (1, 4)], ids=str)
def test_swapped_replies_are_errors_where_their_number_tells(
    service: Service, stage: Stage, colour: str, sizes: tuple[int, int]
) -> None:
    meeting = f"{stage.port} {colour}"
    stage.play(Swapped(meeting), Swapped(meeting))
    with Client(service.make(stage.url), transport=service.transport) as client:
        fewer, more = concurrently(client, colour, [[f"text {number}" for number in range(size)] for size in sizes])
    assert isinstance(fewer, InvalidResponseError)
    if service is KENDRA:  # which may leave documents out
        assert [result.skipped for result in more][sizes[0] :] == ["no_score"] * (sizes[1] - sizes[0])
    else:
        assert isinstance(more, InvalidResponseError)


# Errors

AWS_TYPES = {
    "ValidationException": "BadRequestError",
    "AccessDeniedException": "PermissionDeniedError",
    "ConflictException": "ConflictError",
    "ResourceNotFoundException": "NotFoundError",
    "ResourceUnavailableException": "NotFoundError",
    "ServiceQuotaExceededException": "PaymentRequiredError",
    "ThrottlingException": "RateLimitError",
    "InternalServerException": "ServerError",
    "UnrecognizedClientException": "AuthenticationError",
    "InvalidSignatureException": "AuthenticationError",
    "IncompleteSignatureException": "AuthenticationError",
    "MissingAuthenticationTokenException": "AuthenticationError",
    "ExpiredTokenException": "AuthenticationError",
    "SomethingNewException": "BadRequestError",
}
AWS_FORMS = ["{}", "com.amazonaws.kendraranking#{}", "com.amazonaws#{}:http://internal.amazon.com/coral/"]
D17 = row("D17", "an AWS error's type in the body or the header, in each of its forms, with status 400 or another", "one class")


BOM = b"\xef\xbb\xbf"


def aws_error(place: str, kind: str, status: int) -> Fault:
    if place == "body":
        return Status(status, body={"__type": kind, "message": "what is wrong"})
    return Status(status, {"x-amzn-ErrorType": kind}, {"Message": "what is wrong"})


@D17
@of(KENDRA)
@core_alone
@pytest.mark.parametrize("place", ["body", "header"])
@pytest.mark.parametrize("form", AWS_FORMS)
@pytest.mark.parametrize("kind", AWS_TYPES)
def test_an_aws_error_is_told_by_its_type(trial: Trial, kind: str, form: str, place: str) -> None:
    trial.stage.play(aws_error(place, form.format(kind), 400))
    error = trial(retry=ONCE).error
    assert type(error).__name__ == AWS_TYPES[kind]
    assert str(error).startswith(f"kendra: {kind}: what is wrong")


@D17
@of(KENDRA)
@pytest.mark.parametrize("place", ["body", "header"])
@pytest.mark.parametrize("form", AWS_FORMS)
@core_alone
@pytest.mark.parametrize("status", [400, 429, 503])
def test_throttling_is_a_rate_limit_whatever_its_status(trial: Trial, status: int, form: str, place: str) -> None:
    trial.stage.play(aws_error(place, form.format("ThrottlingException"), status))
    error = trial(retry=ONCE).error
    assert isinstance(error, RateLimitError)
    assert (error.retryable, error.status_code) == (True, status)
    assert "0.01 requests a second for each capacity unit" in str(error)


@D17
@of(KENDRA)
@pytest.mark.parametrize("mark", [b"", BOM], ids=["", "after a byte order mark"])
def test_throttling_with_status_400_is_tried_again(trial: Trial, mark: bytes) -> None:
    trial.stage.play(Status(400, body=mark + b'{"__type":"ThrottlingException","message":"slow down"}'))
    outcome = trial(retry=SOON)
    assert outcome.error is None
    assert outcome.requests == 2


@D17
@of(KENDRA)
@core_alone
@pytest.mark.parametrize("kind", [3, None, [], {"a": 1}, "", "#", ":", "x" * 5_000], ids=lambda kind: repr(kind)[:10])
def test_a_type_that_is_none_leaves_it_to_the_status(trial: Trial, kind: Any) -> None:
    trial.stage.play(Status(403, body={"__type": kind, "message": "what is wrong"}))
    error = trial(retry=ONCE).error
    assert type(error).__name__ == "PermissionDeniedError"
    assert "what is wrong" in str(error)
    assert len(str(error)) < 700


FOREIGN_BODIES = {
    "a page": (b"<html><h1>Bad Gateway</h1></html>", "answered 502 without an explanation (text/html)"),
    "nothing": (b"", "answered 502 without an explanation"),
    "plain text": (b"upstream  unavailable\n\x1b[31m", "upstream unavailable [31m"),
    "a list": (b"[1]", "[1]"),
    "another object": (b'{"oops": 1}', '{"oops": 1}'),
    "members of other types": (b'{"message": 3, "detail": null, "error": "x"}', '{"message": 3'),
    "a long text": (b"x" * 5_000, "x" * 400),
    "a page after a byte order mark": (b"\xef\xbb\xbf<html>", "answered 502 without an explanation (text/html)"),
    "a NUL": (b"\0", "answered 502 without an explanation"),
    "an empty message": (b'{"message": " ", "detail": " ", "error": {"message": " "}}', '{"message": " "'),
    "ids and types that are none": (
        b'{"__type": "a\\nb c", "id": "%s\\n", "message": "%s"}' % ((b"y" * 5_000,) * 2),
        "y" * 400,
    ),
    "half of UTF-8": (b"\xff\xfe not a text", "not a text"),
    "lists without an end": (b'{"detail": ' + b"[" * 900 + b"]" * 900 + b"}", "[[[["),
}
D20 = row("D20", "an error reply in its service's form, in another's, or in none", "a readable error of one line")


@D20
@some_ways
@pytest.mark.parametrize(("body", "expected"), FOREIGN_BODIES.values(), ids=FOREIGN_BODIES)
def test_an_error_that_is_in_no_services_form_is_readable(trial: Trial, body: bytes, expected: str) -> None:
    trial.stage.play(Status(502, {"Content-Type": "text/html"}, body))
    error = trial(retry=ONCE).error
    assert type(error).__name__ == "ServerError"
    assert expected in str(error)
    assert len(str(error)) < 1_200, "500 characters of the service's and as many of its request id"
    assert str(error).isprintable()


@D20
@pytest.mark.parametrize("form", [COHERE, VOYAGE, PINECONE, KENDRA], ids=lambda form: f"{form.name}'s form")
def test_an_error_in_the_form_of_any_service_is_readable(trial: Trial, form: Service) -> None:
    trial.stage.play(Status(422, body=form.error("what is wrong")))
    error = trial().error
    assert type(error).__name__ == "BadRequestError"
    assert "what is wrong" in str(error)


@D20
@of(VOYAGE)
def test_voyages_list_of_details_is_readable(trial: Trial) -> None:
    trial.stage.play(Status(422, body={"detail": [{"loc": ["body", "query"], "msg": "field required"}]}))
    assert "field required" in str(trial().error)
