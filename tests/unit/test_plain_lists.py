"""Lists of plain strings take a shorter way through the package: it leads where the long one leads."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.schema import MetadataMode, NodeWithScore, TextNode

from helpers.services import KENDRA, KEY, POINTWISE, SERVICES, VOYAGE, Service
from llamaindex_rerankkit import RerankPostprocessor
from rerankkit import Client, Document, Reranker, RerankRequest, Voyage
from rerankkit._checks import are_plain, are_texts, as_items
from rerankkit._over_httpx import by_name
from rerankkit._planning import _chunks_by_tokens, plan
from rerankkit._tokens import most_tokens, utf8_length, utf8_length_of
from rerankkit._watching import WATCH
from rerankkit.deadline import Deadline
from rerankkit.provider import Unchanged
from rerankkit.testing import FakeReranker

ADDRESS = "http://127.0.0.1:1"
TEXTS = st.lists(st.text(st.characters(codec=None), max_size=8), max_size=12)


class Text(str):
    """A string that is looked at by itself, for it is not plain."""

    __slots__ = ()


def requests(service: Service, documents: list[Any]) -> list[bytes]:
    """What goes out for *documents*."""
    provider = service.make(ADDRESS)
    request = RerankRequest("q", tuple(documents), as_items(documents), None, Deadline(1))
    prepared = provider.prepare(request.items)
    sent = [provider.build_request(batch).content for batch in plan(provider, request, prepared)]
    return [*sent, repr(dict(prepared.skipped)).encode()]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@given(texts=TEXTS)
def test_plain_strings_and_documents_of_a_text_go_out_as_others_do(service: Service, texts: list[str]) -> None:
    expected = requests(service, [Text(text) for text in texts])
    assert requests(service, texts) == expected
    assert requests(service, [Document(text) for text in texts]) == expected
    assert requests(service, [Document(text, id="x") for text in texts]) == expected
    if service in POINTWISE:
        assert requests(service, [Document(text, score=0.5) for text in texts]) == expected


@pytest.mark.parametrize(
    "document",
    [
        Text("x"),
        Document("x", title="t"),
        Document("x", fields={}),
        Document("x", group_id="g"),
        Document("x", tokenized_title=["t"]),
        Document("x", tokenized_body=["t"]),
        Document(Text("x")),
        Document("x", score=1),
        Document(text=None),  # type: ignore[arg-type]
        Document("x", score="1"),  # type: ignore[arg-type]
        {"text": "x"},
        None,
    ],
)
def test_one_document_of_another_kind_has_each_looked_at(document: Any) -> None:
    assert not are_texts(["a", document])
    assert not are_plain([Document("a"), document])


def test_plain_are_strings_and_documents_of_a_text_with_or_without_a_score() -> None:
    assert are_texts(["a", ""])
    assert are_plain([Document("a"), Document("", score=0.5, id="x")])
    assert not are_texts([])
    assert not are_plain([])


@given(texts=st.lists(st.text(st.characters(codec=None), max_size=40), min_size=1, max_size=20), query=st.text(max_size=20))
@pytest.mark.parametrize("model", ["rerank-2.5", "rerank-1"])
def test_a_coarse_count_cuts_where_the_fine_one_does(model: str, texts: list[str], query: str) -> None:
    provider = Voyage(model, api_key=KEY)
    texts = [text * 400 for text in texts]
    request = RerankRequest(query, tuple(texts), tuple(texts), None, Deadline(1))
    cut = [list(batch.indices) for batch in plan(provider, request, provider.prepare(texts))]
    contents = dict(provider.prepare(texts).contents)
    fine = _chunks_by_tokens(most_tokens(query), list(contents.values()), provider.limits, provider.limits.request_tokens or 0)
    assert cut == ([list(contents)[chunk] for chunk in fine] if contents else [])


@given(texts=TEXTS)
def test_texts_together_are_as_long_as_each_of_them(texts: list[str]) -> None:
    assert utf8_length_of(texts) == sum(map(utf8_length, texts))


def test_a_whole_list_is_a_mapping_from_its_positions() -> None:
    whole = Unchanged(("a", "b"))
    assert whole == {0: "a", 1: "b"}
    assert (list(whole), list(whole.values()), list(whole.items()), len(whole)) == ([0, 1], ["a", "b"], [(0, "a"), (1, "b")], 2)
    assert (whole.get(-1), whole.get(1), whole.get(2)) == (None, "b", None)


@pytest.mark.parametrize("position", [-1, 2])
def test_a_whole_list_has_no_other_positions(position: int) -> None:
    with pytest.raises(KeyError):
        Unchanged(("a", "b"))[position]


def candidates(reranker: Reranker) -> Any:
    nodes = [NodeWithScore(node=TextNode(text="a"), score=0.5), NodeWithScore(node=TextNode(text="b"))]
    adapter = RerankPostprocessor(reranker=reranker, metadata_mode=MetadataMode.NONE)
    return adapter._candidates(reranker, nodes)


@pytest.mark.parametrize("service", POINTWISE, ids=lambda service: service.name)
def test_scores_of_nodes_stay_with_their_nodes_where_nobody_looks_at_them(service: Service) -> None:
    assert candidates(Client(service.make(ADDRESS))) == ["a", "b"]


@pytest.mark.parametrize("reranker", [Client(KENDRA.make(ADDRESS)), FakeReranker()], ids=["kendra", "another reranker"])
def test_scores_of_nodes_go_along_to_who_may_look_at_them(reranker: Reranker) -> None:
    assert candidates(reranker) == [Document("a", score=0.5), "b"]


def test_scores_of_nodes_go_along_where_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WATCH, "begin", lambda *_: None)
    assert candidates(Client(VOYAGE.make(ADDRESS))) == [Document("a", score=0.5), "b"]


def test_headers_of_one_name_are_joined_and_any_bytes_are_read() -> None:
    raw = [(b"X-Note", b"one"), (b"x-NOTE", b"two"), (b"X-City", "Zürich".encode()), (b"X-Old", "Zürich".encode("latin-1"))]
    assert by_name(raw) == {"x-note": "one, two", "x-city": "Zürich", "x-old": "Zürich"}


def test_a_providers_own_scores_are_taken_unless_it_says_otherwise() -> None:
    assert [service.make(ADDRESS).takes_scores for service in SERVICES] == [False, False, False, True]
