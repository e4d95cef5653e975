"""Group E: what callers can hand over, and what of it is sent."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from helpers.canaries import TEXT, assert_silent
from helpers.services import COHERE, KENDRA, PINECONE, VOYAGE, Service
from helpers.ways import WAYS, Way, run
from integration.reliability.fault_server import Stage, score_of
from integration.reliability.rewritten import Equal
from integration.reliability.rows import row
from integration.reliability.trial import MOST, Trial
from rerankkit import Client, Document, InvalidRequestError

FULL = {"cohere": 1_000, "voyage": 1_000, "pinecone": 100, "kendra": 25}  # documents in one request
CORE = [way for way in WAYS if way.package == "core"]


def of(service: Service) -> Any:
    """The cases of one service alone."""
    return pytest.mark.parametrize("service", [service], ids=[service.name])


def assert_refused(trial: Trial, **options: Any) -> str:
    """The text of the refusal, which came before any request."""
    outcome = trial(**options)
    assert isinstance(outcome.error, ValueError), "InvalidRequestError, or pydantic's ValidationError"
    assert outcome.requests == 0
    return str(outcome.error)


class Given:
    """Documents in the form of a way, that come back as they were given."""

    def __init__(self, way: Way, stage: Stage, service: Service, **options: Any) -> None:
        self.way = way
        self.stage = stage
        self.client = Client(service.make(stage.url, **options))

    def ranked(self, documents: Sequence[Any], query: str = "which?", **options: Any) -> list[tuple[Any, float | None]]:
        """The caller's own objects and their scores."""
        with self.client:
            return getattr(self, f"_{self.way.package}")(documents, query, options)

    def _core(self, documents: Sequence[Any], query: str, options: dict[str, Any]) -> list[tuple[Any, float | None]]:
        response = run(self.way.colour, self.client, "rerank", query, documents, **options)
        return [(result.document, result.relevance_score) for result in response]

    def _langchain(self, documents: Sequence[Any], query: str, options: dict[str, Any]) -> list[tuple[Any, float | None]]:
        from langchain_rerankkit import RerankCompressor

        compressor = RerankCompressor(reranker=self.client, **options)
        found = run(self.way.colour, compressor, "compress_documents", documents, query)
        return [(document, document.metadata["relevance_score"]) for document in found]

    def _llamaindex(self, nodes: Sequence[Any], query: str, options: dict[str, Any]) -> list[tuple[Any, float | None]]:
        from llamaindex_rerankkit import RerankPostprocessor

        postprocessor = RerankPostprocessor(reranker=self.client, **options)
        found = run(self.way.colour, postprocessor, "postprocess_nodes", nodes, query_str=query)
        return [(node.node, node.score) for node in found]


@pytest.fixture
def given(way: Way, stage: Stage, service: Service) -> Given:
    return Given(way, stage, service)


def document(way: Way, text: str, metadata: dict[str, Any], id: str = "one") -> Any:  # noqa: A002 -- the frameworks' own word
    """A document with everything it can hold, in the form of *way*."""
    if way.package == "core":
        return {**metadata, "text": text, "id": id}
    if way.package == "langchain":
        from langchain_core.documents import Document as LangChainDocument

        return LangChainDocument(text, id=id, metadata=metadata)
    from llama_index.core.schema import NodeWithScore, TextNode

    return NodeWithScore(node=TextNode(text=text, id_=id, metadata=metadata))


# E1, E2, E14: characters

E1 = row("E1", "half a character (a lone surrogate) in query, text, metadata or id", "sent as U+FFFD, told; never changed")


@E1
@pytest.mark.parametrize("top_n", [None, 2])
def test_lone_surrogates_are_sent_as_replacement_characters(trial: Trial, top_n: int | None) -> None:
    trial.query = "also \udfff broken"
    trial.texts = ["broken \ud800 half", "\udc00", "whole \N{GRINNING FACE}", "at its end \ud83d", "plain"]
    trial.stage.heal()
    assert trial(top_n=top_n).error is None
    sent = trial.stage.requests[0]
    assert sent.json[trial.service.query] == "also \ufffd broken"
    assert trial.service.texts(sent.json) == [
        "broken \ufffd half",
        "\ufffd",
        "whole \N{GRINNING FACE}",
        "at its end \ufffd",
        "plain",
    ]


@E1
def test_lone_surrogates_are_told_with_their_number(service: Service, stage: Stage, colour: str) -> None:
    texts = ["one \ud800 broken", "another \udfff one", "plain"]
    with Client(service.make(stage.url)) as client:
        response = run(colour, client, "rerank", "q", texts)
    assert response.warnings == ("texts with lone surrogates, which were sent as U+FFFD: 2",)
    assert all(result.document is texts[result.index] for result in response)


@E1
def test_lone_surrogates_in_metadata_and_ids_stay_as_they_are(given: Given, way: Way) -> None:
    metadata = {"key \ud800": "value \udfff"}
    (found,) = given.ranked([document(way, "text", metadata, "id \udead")])
    kept = found[0]["id"] if way.package == "core" else found[0].metadata["key \ud800"]
    assert kept == ("id \udead" if way.package == "core" else "value \udfff")
    assert b"value" not in given.stage.requests[0].body


RANKED: list[tuple[Service, dict[str, Any], Any, str]] = [
    (COHERE, {"rank_fields": ["title", "text"]}, {"title": "a\ud800", "text": "b"}, "title: a\ufffd\ntext: b\n"),
    (PINECONE, {"rank_fields": ["title"]}, {"title": "a\ud800", "text": "b"}, "a\ufffd"),
    (KENDRA, {}, Document("b", title="a\ud800"), "a\ufffd"),
    (KENDRA, {}, Document(tokenized_body=["a\ud800"]), "a\ufffd"),
]


@E1
@pytest.mark.parametrize(("service", "options", "item", "expected"), RANKED, ids=["yaml", "object", "title", "token"])
def test_lone_surrogates_in_ranked_fields_are_sent_as_replacement_characters(
    service: Service, stage: Stage, colour: str, options: dict[str, Any], item: Any, expected: str
) -> None:
    stage.play(Equal(service.name))
    with Client(service.make(stage.url, **options)) as client:
        run(colour, client, "rerank", "q", [item])
    assert expected in texts_in(stage.requests[0].json["Documents" if service is KENDRA else "documents"])


def texts_in(value: Any) -> list[str]:
    """All texts anywhere in a JSON value."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in texts_in(item)]


CHARACTERS = {  # a character, and how Kendra gets "a", it, and "b": it refuses Unicode's category C
    "NUL": ("\0", "a b"),
    "SOH": ("\x01", "a b"),
    "ESC": ("\x1b", "a b"),
    "DEL": ("\x7f", "a b"),
    "NEL, a C1 control": ("\x85", "a b"),
    "line feed": ("\n", "a b"),
    "CR and LF": ("\r\n", "a b"),
    "byte order mark": ("\ufeff", "a b"),
    "zero width space": ("\u200b", "a b"),
    "soft hyphen": ("\u00ad", "a b"),
    "right-to-left override": ("\u202e", "a b"),
    "line separator": ("\u2028", "a\u2028b"),
    "paragraph separator": ("\u2029", "a\u2029b"),
    "no-break space": ("\u00a0", "a\u00a0b"),
    "private use": ("\ue000", "a b"),
    "no character": ("\uffff", "a b"),
    "beyond the first plane": ("\U0010fffe", "a b"),
    "quote and backslash": ('"\\', 'a"\\b'),
}


@row("E2", "control, format and other odd characters", "sent as they are; as spaces to Kendra, which refuses them, and told")
@pytest.mark.parametrize(("character", "for_kendra"), CHARACTERS.values(), ids=CHARACTERS)
def test_odd_characters_arrive(service: Service, stage: Stage, way: Way, character: str, for_kendra: str) -> None:
    text = f"a{character}b"
    with Client(service.make(stage.url)) as client:
        found = way(client, f"q{character}q", [text, "plain"])
    sent = stage.requests[0].json
    assert sent[service.query] == f"q{character}q"
    assert service.texts(sent) == [for_kendra if service is KENDRA else text, "plain"]
    assert dict(found) == {index: score_of(sent[service.query], each) for index, each in enumerate(service.texts(sent))}


@row("E2", "control, format and other odd characters", "sent as they are; as spaces to Kendra, which refuses them, and told")
@of(KENDRA)
def test_what_kendra_gets_as_spaces_is_told(service: Service, stage: Stage, colour: str) -> None:
    texts = ["a\0b", "a\nb", "plain"]
    with Client(service.make(stage.url)) as client:
        response = run(colour, client, "rerank", "q", texts)
    assert response.warnings == ("bodies with control or format characters, which were sent as spaces: 2",)
    assert all(result.document is texts[result.index] for result in response)


SCRIPTS = {  # a text, and how Kendra gets it if not as it is
    "Arabic": ("مرحبا بالعالم", None),
    "Arabic with vowels": ("ٱلْحَمْدُ لِلَّٰهِ", None),
    "Hebrew and digits": ("שלום 123 עולם", None),
    "Chinese": ("東京は首都です。北京是首都。", None),
    "Korean": ("서울은 수도이다", None),
    "Korean in letters": ("\u1112\u1161\u11ab", None),
    "Thai": ("สวัสดีชาวโลก", None),
    "Devanagari": ("नमस्ते दुनिया", None),
    "combined": ("e\u0301a\u0328\u0301", None),
    "not combined": ("\u00e9\u0105\u0301", None),
    "right to left": ("\u202eright to left\u202c", "right to left"),
    "a family": ("👩\u200d👩\u200d👧 family", "👩 👩 👧 family"),
    "a flag and a tone": ("🇸🇪 👍🏽", None),
    "beyond the first plane": ("𝒳 𐍈 𠜎", None),
}


@row("E14", "texts in Arabic, Chinese, combining characters, right to left, emoji", "the same bytes of UTF-8 on the wire")
@pytest.mark.parametrize(("text", "for_kendra"), SCRIPTS.values(), ids=SCRIPTS)
def test_every_script_arrives_byte_by_byte(service: Service, stage: Stage, way: Way, text: str, for_kendra: str | None) -> None:
    expected = for_kendra if for_kendra and service is KENDRA else text
    with Client(service.make(stage.url)) as client:
        found = way(client, text, [text, "other", text])
    body = stage.requests[0].body
    assert body.count(expected.encode()) >= (2 if expected != text else 3), "as UTF-8, not escaped"
    assert service.texts(stage.requests[0].json) == [expected, "other", expected]
    assert found == sorted(
        [(0, score_of(text, expected)), (1, score_of(text, "other")), (2, score_of(text, expected))],
        key=lambda pair: (-pair[1], pair[0]),
    )


# E3, E4, E5, E7: lists

E3 = row("E3", "an empty list", "an empty result, without a request")
E4 = row("E4", "empty and blank texts among others, or alone", "not sent; last, without a score; positions stay right")


@E3
@pytest.mark.parametrize("top_n", [None, 3])
def test_nothing_to_rank_makes_no_request(trial: Trial, top_n: int | None) -> None:
    trial.texts = []
    outcome = trial(top_n=top_n)
    assert (outcome.results, outcome.requests, outcome.error) == ([], 0, None)


BLANK = {
    "one": [""],
    "several": ["", " ", "\n\t", "\u3000\u00a0"],
    "first": ["", "a", "b"],
    "last": ["a", "b", " "],
    "between": ["a", "", "b", "\t", "c", "\r\n", "d"],
}


@E4
@pytest.mark.parametrize("texts", BLANK.values(), ids=BLANK)
@pytest.mark.parametrize("top_n", [None, 3])
def test_blank_texts_are_not_sent_and_come_last(trial: Trial, texts: list[str], top_n: int | None) -> None:
    trial.texts = texts
    outcome = trial(top_n=top_n)
    filled = [text for text in texts if text.strip()]
    assert outcome.results == trial.expected(top_n)
    assert outcome.requests == bool(filled)
    assert [trial.service.texts(request.json) for request in trial.stage.requests[:-1]] == [filled] * bool(filled)


E5 = row(
    "E5", "1 document, as many as one request takes, one more, 10,000", "cut into requests and merged exactly, or not sent"
)


@E5
@pytest.mark.parametrize("beyond", ["one", "full", "one more"])
@pytest.mark.parametrize("top_n", [None, 7])
def test_lists_around_the_limit_are_ranked_exactly(trial: Trial, beyond: str, top_n: int | None) -> None:
    full = FULL[trial.service.name]
    count = {"one": 1, "full": full, "one more": full + 1}[beyond]
    trial.texts = [f"text {number}" for number in range(count)]
    batches = 2 if beyond == "one more" and trial.service is not KENDRA else 1
    outcome = trial(top_n=top_n, batches=batches)
    assert outcome.results == trial.expected(top_n)
    assert outcome.requests == batches


SOME = [way for way in WAYS if str(way) in ("core-sync", "core-async", "langchain-async", "llamaindex-sync")]


@E5
@pytest.mark.parametrize("way", SOME, ids=str)
def test_ten_thousand_documents_are_ranked_exactly(trial: Trial) -> None:
    trial.texts = [f"text {number % 9_000}" for number in range(10_000)]  # a thousand of them twice
    batches = 1 if trial.service is KENDRA else 10_000 // FULL[trial.service.name]
    outcome = trial(batches=batches, timeout=30)
    assert outcome.error is None
    assert len(outcome.results) == 10_000
    assert outcome.requests == batches


@E5
@of(KENDRA)
def test_a_list_that_cannot_be_cut_may_be_refused_instead(trial: Trial) -> None:
    trial.texts = ["text"] * MOST["kendra"]
    assert trial(overflow="error").error is None


@E5
@of(KENDRA)
@pytest.mark.parametrize("count", [26, 10_000])
def test_a_longer_list_that_cannot_be_cut_is_refused_if_wanted(given: Given, way: Way, count: int) -> None:
    given.client = Client(KENDRA.make(given.stage.url, overflow="error"))
    with pytest.raises(InvalidRequestError, match=f"at most 25 documents, got {count}"):
        given.ranked([document(way, f"text {number}", {}) for number in range(count)])
    assert given.stage.count == 0


E7 = row("E7", "the same text, the same id, or the same object twice", "both come back, each in its place")


@E7
def test_the_same_text_twice_comes_back_twice(trial: Trial) -> None:
    trial.texts = ["same", "other", "same", "same", "other"]
    assert sorted(index for index, _ in trial().results) == [0, 1, 2, 3, 4]


@E7
def test_the_same_id_twice_comes_back_twice(given: Given, way: Way) -> None:
    documents = [document(way, text, {}, "same") for text in ("one", "two", "one", "three")]
    found = given.ranked(documents)
    texts = [each["text"] if way.package == "core" else text_of(each) for each, _ in found]
    assert sorted(texts) == ["one", "one", "three", "two"]


@E7
def test_the_same_object_twice_comes_back_twice(given: Given, way: Way) -> None:
    same = document(way, "same", {})
    found = given.ranked([same, document(way, "other", {}), same])
    own = same.node if way.package == "llamaindex" else same
    assert sum(each is own or (way.package == "langchain" and text_of(each) == "same") for each, _ in found) == 2
    assert len(found) == 3


def text_of(found: Any) -> str:
    return found.page_content if hasattr(found, "page_content") else found.get_content()


# E8, E9, E10: arguments

E8 = row("E8", "top_n 0, -1, None, more than there are, True, 2.5", "at least 1; None and more: all; the rest is refused")


@E8
@pytest.mark.parametrize("top_n", [0, -1, True, False, 2.5, 2.0, "3", math.nan, [1]], ids=repr)
def test_a_top_n_that_is_none_is_refused(trial: Trial, top_n: Any) -> None:
    assert "top_n" in assert_refused(trial, top_n=top_n)


@E8
@pytest.mark.parametrize("top_n", [None, 1, 4, 5, 6, 10**20], ids=repr)
def test_top_n_returns_so_many_or_all(trial: Trial, top_n: int | None) -> None:
    outcome = trial(top_n=top_n)
    assert outcome.results == trial.expected()[: min(top_n or 5, 5)]


class Text(str):
    """A text of the caller's own class."""

    __slots__ = ("note",)


LISTS: dict[str, Callable[[list[str]], Any]] = {
    "a tuple": tuple,
    "a generator": lambda texts: (text for text in texts),
    "an iterator": iter,
    "a deque": deque,
    "a mapping's values": lambda texts: dict(enumerate(texts)).values(),
    "numpy's texts": lambda texts: [np.str_(text) for text in texts],
    "numpy's array": np.array,
    "texts of an own class": lambda texts: [Text(text) for text in texts],
    "mappings": lambda texts: [{"text": text} for text in texts],
    "Documents": lambda texts: [Document(text) for text in texts],
    "a mixture": lambda texts: [texts[0], {"text": texts[1]}, *map(Document, texts[2:])],
}
E9 = row(
    "E9", "generators, tuples, numpy's texts, subclasses of str, nodes without a score", "are ranked as lists of texts are"
)


@E9
@pytest.mark.parametrize("make", LISTS.values(), ids=LISTS)
def test_any_sequence_of_any_texts_is_ranked(service: Service, stage: Stage, colour: str, make: Callable[..., Any]) -> None:
    texts = [f"text {number}" for number in range(5)]
    with Client(service.make(stage.url)) as client:
        response = run(colour, client, "rerank", Text("which?"), make(texts))
    expected = sorted(range(5), key=lambda index: -score_of("which?", texts[index]))
    assert [result.index for result in response] == expected
    assert service.texts(stage.requests[0].json) == texts


@E9
@pytest.mark.parametrize("make", [np.str_, Text])
def test_a_text_of_another_class_comes_back_itself(service: Service, stage: Stage, colour: str, make: Any) -> None:
    texts = [make("one"), make("two")]
    with Client(service.make(stage.url)) as client:
        response = run(colour, client, "rerank", make("which?"), texts)
    assert all(result.document is texts[result.index] for result in response)
    assert all(type(result.relevance_score) is float for result in response)


@E9
@pytest.mark.parametrize("package", ["langchain", "llamaindex"])
@pytest.mark.parametrize("make", [tuple, lambda documents: (each for each in documents)], ids=["a tuple", "a generator"])
def test_adapters_take_any_sequence(service: Service, stage: Stage, colour: str, package: Any, make: Any) -> None:
    way = Way(package, colour)  # type: ignore[arg-type]
    documents = make([document(way, f"text {number}", {}) for number in range(3)])
    found = Given(way, stage, service).ranked(documents)
    assert [score for _, score in found] == sorted((score_of("which?", f"text {n}") for n in range(3)), reverse=True)


@E9
@pytest.mark.parametrize("score", [None, math.nan, math.inf, -math.inf, 1e300], ids=repr)
def test_a_node_with_any_score_or_none_is_ranked(service: Service, stage: Stage, colour: str, score: float | None) -> None:
    from llama_index.core.schema import NodeWithScore, TextNode

    nodes = [NodeWithScore(node=TextNode(text=f"text {number}"), score=score) for number in range(3)]
    found = Given(Way("llamaindex", colour), stage, service).ranked(nodes)  # type: ignore[arg-type]
    assert [score for _, score in found] == sorted((score_of("which?", f"text {n}") for n in range(3)), reverse=True)
    assert [node.score for node in nodes] == [score] * 3 or score is not score  # noqa: PLR0124 -- NaN is not itself


E10 = row("E10", "a query that is empty, blank, or too long", "refused before any request; never cut")


@E10
@pytest.mark.parametrize("query", ["", " ", "\n\t ", "\u3000"], ids=repr)
def test_a_blank_query_is_refused(trial: Trial, query: str) -> None:
    trial.query = query
    assert "query is blank" in assert_refused(trial)


TOO_LONG: list[tuple[Service, str]] = [
    (COHERE, "word " * 200_000),
    (VOYAGE, "word " * 200_000),
    (KENDRA, "word " * 200_000),
    (KENDRA, "x" * 1_001),
    (KENDRA, "\N{GRINNING FACE}" * 501),
]


@E10
@pytest.mark.parametrize(
    ("service", "query"), TOO_LONG, ids=["cohere-1 MB", "voyage-1 MB", "kendra-1 MB", "kendra-1,001", "kendra-501 emoji"]
)
def test_a_query_that_is_too_long_is_refused(given: Given, way: Way, query: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"query has [\d,]+ characters, .* at most [\d,]+.*: shorten it"):
        given.ranked([document(way, "text", {})], query)
    assert given.stage.count == 0


LONGEST: list[tuple[Service, str]] = [
    (PINECONE, "word " * 200_000),  # which documents no limit
    (KENDRA, "x" * 1_000),
    (KENDRA, "\N{GRINNING FACE}" * 500),
    (COHERE, "word " * 800),
    (VOYAGE, "word " * 800),
]


@E10
@pytest.mark.parametrize(
    ("service", "query"), LONGEST, ids=["pinecone-1 MB", "kendra-1,000", "kendra-500 emoji", "cohere-4 kB", "voyage-4 kB"]
)
def test_a_query_that_may_fit_is_sent_whole(given: Given, way: Way, service: Service, query: str) -> None:
    (found,) = given.ranked([document(way, "text", {})], query)
    assert found[1] == score_of(query, "text")
    assert given.stage.requests[0].json[service.query] == query


# E11, E13: what goes along

E11 = row("E11", "metadata that is secret, or has no JSON form", "is never sent unless it was asked for")
SECRET = {
    "acl": TEXT,
    TEXT: 1,
    "lock": threading.Lock(),
    "number": math.nan,
    "deep": {"er": [TEXT, {TEXT: {TEXT}}]},
    "title": TEXT,
    "score": 0.5,
    "relevance_score": 99,
    "page_content": TEXT,
    "_node_content": TEXT,
}


@E11
@pytest.mark.parametrize("top_n", [None, 1])
def test_metadata_is_never_sent(given: Given, way: Way, service: Service, top_n: int | None) -> None:
    metadata = {name: value for name, value in SECRET.items() if way.package != "core" or name != "title"}
    if way.package == "llamaindex":
        metadata = {name: value for name, value in metadata.items() if name != "lock"}
    given.ranked([document(way, f"text {number}", metadata, f"{TEXT}-{number}") for number in range(3)], top_n=top_n)
    (request,) = given.stage.requests
    assert_silent(request.body, request.path, *request.headers.values())
    assert service.texts(request.json) == ["text 0", "text 1", "text 2"]


@E11
def test_what_a_document_holds_beside_its_text_is_never_sent(service: Service, stage: Stage, colour: str) -> None:
    documents = [Document("text", id=TEXT, fields=SECRET | {"text": "text"}, title=None if service is KENDRA else TEXT)]
    with Client(service.make(stage.url)) as client:
        run(colour, client, "rerank", "q", documents)
    assert_silent(stage.requests[0].body)


@E11
@of(KENDRA)
def test_a_groups_own_name_is_never_sent(service: Service, stage: Stage, colour: str) -> None:
    stage.play(Equal(service.name))
    with Client(service.make(stage.url)) as client:
        run(colour, client, "rerank", "q", [Document("a", group_id=TEXT), Document("b", group_id=TEXT)])
    assert_silent(stage.requests[0].body)


@E11
@pytest.mark.parametrize("package", ["langchain", "llamaindex"])
@of(KENDRA)
def test_a_title_is_sent_once_it_was_asked_for(service: Service, stage: Stage, colour: str, package: Any) -> None:
    way = Way(package, colour)  # type: ignore[arg-type]
    Given(way, stage, service).ranked([document(way, "text", {"title": "asked for", "acl": TEXT})], title_key="title")
    assert b"asked for" in stage.requests[0].body
    assert_silent(stage.requests[0].body)


RANKS = [3.0, 2.0, 1.0]
FIRST_STAGE: dict[str, tuple[list[float | None], list[float]]] = {
    "all finite": ([0.5, -2.0, 0.25], [0.5, -2.0, 0.25]),
    "none": ([None, None, None], RANKS),
    "one missing": ([0.5, None, 0.25], RANKS),
    "one NaN": ([0.5, math.nan, 0.25], RANKS),
    "one infinite": ([math.inf, 0.5, 0.25], RANKS),
    "one minus infinity": ([0.5, 0.25, -math.inf], RANKS),
    "beyond the range": ([1e9, 1.0, -1e300], [100_000.0, 1.0, -100_000.0]),
    "at its ends": ([100_000.0, -100_000.0, 0.0], [100_000.0, -100_000.0, 0.0]),
    "tiny": ([5e-324, -0.0, 1e-9], [5e-324, -0.0, 1e-9]),
}


@row("E13", "first-stage scores that are missing, NaN, infinite or huge", "Kendra gets the ranks, or what its range allows")
@of(KENDRA)
@pytest.mark.parametrize(("scores", "expected"), FIRST_STAGE.values(), ids=FIRST_STAGE)
def test_kendra_gets_first_stage_scores_that_it_takes(
    given: Given, way: Way, scores: list[float | None], expected: list[float]
) -> None:
    if way.package == "core":
        given.ranked([Document(f"text {number}", score=score) for number, score in enumerate(scores)])
    elif way.package == "langchain":
        documents = [document(way, f"text {number}", {"first": score}) for number, score in enumerate(scores)]
        given.ranked(documents, first_stage_score_key="first")
    else:
        nodes = [document(way, f"text {number}", {}) for number in range(3)]
        for node, score in zip(nodes, scores, strict=True):
            node.score = score
        given.ranked(nodes)
    sent = [entry["OriginalScore"] for entry in given.stage.requests[0].json["Documents"]]
    assert sent == expected
