"""Cutting by documents and by tokens, and what is rendered of a document."""

from __future__ import annotations

from typing import Any

import pytest

from helpers.services import COHERE, KEY, PINECONE, VOYAGE
from rerankkit import Cohere, Document, InvalidRequestError, Pinecone, RerankRequest, Voyage
from rerankkit._checks import as_items
from rerankkit._planning import plan
from rerankkit._rendering import ranked_text
from rerankkit._tokens import least_tokens, most_tokens
from rerankkit.deadline import Deadline
from rerankkit.provider import Batch, Provider


def planned(provider: Provider, documents: list[Any], *, query: str = "q", top_n: int | None = None) -> list[Batch]:
    items = as_items(documents)
    request = RerankRequest(query, tuple(documents), items, top_n, Deadline(1))
    return plan(provider, request, provider.prepare(items))


def sizes(batches: list[Batch]) -> list[int]:
    return [len(batch.documents) for batch in batches]


@pytest.mark.parametrize(
    ("provider", "count", "expected"),
    [
        (Cohere(api_key=KEY), 1_000, [1_000]),
        (Cohere(api_key=KEY), 1_001, [1_000, 1]),
        (Cohere(api_key=KEY, api_version="v1"), 1_000, [999, 1]),
        (Cohere(api_key=KEY, api_version="v1", max_chunks_per_doc=1), 1_000, [1_000]),
        (Cohere(api_key=KEY, api_version="v1", max_chunks_per_doc=100), 200, [99, 99, 2]),
        (Voyage(api_key=KEY), 2_500, [1_000, 1_000, 500]),
        (Pinecone(api_key=KEY), 250, [100, 100, 50]),
        (Pinecone("cohere-rerank-4-fast", api_key=KEY), 251, [250, 1]),
        (Pinecone("a-model-of-tomorrow", api_key=KEY), 101, [100, 1]),
    ],
    ids=lambda value: repr(value) if isinstance(value, Provider) else None,
)
def test_a_list_is_cut_by_the_models_documents(provider: Provider, count: int, expected: list[int]) -> None:
    batches = planned(provider, ["text"] * count)
    assert sizes(batches) == expected
    assert [index for batch in batches for index in batch.indices] == list(range(count))


def test_a_list_is_cut_by_voyages_tokens_too() -> None:
    long = "x" * 30_000  # 10,001 tokens by the careful count
    batches = planned(Voyage(api_key=KEY), [long] * 100)
    assert sizes(batches) == [59, 41]
    assert sizes(planned(Voyage("rerank-1", api_key=KEY), [long] * 20)) == [12, 8], "pairs are cut at 8,000 tokens"


def test_query_tokens_count_once_a_document() -> None:
    assert sizes(planned(Voyage(api_key=KEY), ["text"] * 1_000, query="word " * 1_000)) == [359, 359, 282]


def test_an_instruction_counts_as_part_of_the_query() -> None:
    assert len(planned(Voyage(api_key=KEY, instruction="word " * 1_000), ["text"] * 1_000)) == 3


def test_a_document_longer_than_a_whole_request_goes_alone() -> None:
    giant = "x" * 3_000_000
    assert sizes(planned(Voyage("rerank-1", api_key=KEY), [giant, "a", giant, "b"])) == [4], (
        "the model cuts them at 8,000 tokens"
    )


def test_only_a_single_request_is_told_top_n() -> None:
    assert planned(PINECONE.make("https://x.test"), ["a"] * 50, top_n=5)[0].top_n == 5
    assert planned(PINECONE.make("https://x.test"), ["a"] * 5, top_n=5)[0].top_n is None
    assert [batch.top_n for batch in planned(PINECONE.make("https://x.test"), ["a"] * 150, top_n=5)] == [None, None]


@pytest.mark.parametrize("text", ["The ferry leaves at nine.", "首都はどこですか", "Где находится столица", "word " * 500, ""])
def test_token_bounds_enclose_what_tokenizers_count(text: str) -> None:
    """About 4 bytes a token in English, 3 in Japanese, 5 in Russian, by the rules of thumb vendors publish."""
    usual = len(text.encode()) / {"T": 4, "首": 3, "Г": 5, "w": 5}.get(text[:1], 4)
    assert least_tokens(text) <= usual <= most_tokens(text)


FIELDS = {"title": "Facts", "text": "Carson City: a capital", "year": 1790, "tags": ["a", "b"], "note": "zwei\nZeilen – ü"}


@pytest.mark.parametrize(
    ("item", "rank_fields", "expected"),
    [
        ("plain", None, "plain"),
        ("plain", ("title",), "plain"),
        (Document("plain", title="T"), None, "plain"),
        (Document("plain", title="T"), ("title", "text"), "title: T\ntext: plain\n"),
        (FIELDS, None, "Carson City: a capital"),
        (FIELDS, ("text",), "Carson City: a capital"),
        (FIELDS, ("title", "text"), "title: Facts\ntext: 'Carson City: a capital'\n"),
        (FIELDS, ("text", "title"), "text: 'Carson City: a capital'\ntitle: Facts\n"),
        (FIELDS, ("year",), "year: 1790\n"),
        (FIELDS, ("tags", "missing"), "tags:\n- a\n- b\n"),
        (FIELDS, ("note",), "zwei\nZeilen – ü"),
        ({"text": "x" * 200, "t": "y"}, ("text", "t"), f"text: {'x' * 200}\nt: y\n"),
        ({"text": "long words " * 30, "t": "y"}, ("t",), "y"),
        ({"text": " ", "title": ""}, ("title", "text"), ""),
    ],
)
def test_what_is_ranked_of_a_document(item: Any, rank_fields: tuple[str, ...] | None, expected: str) -> None:
    (document,) = as_items([item])
    assert ranked_text(0, document, rank_fields) == expected


def test_yaml_does_not_break_long_lines() -> None:
    (document,) = as_items([{"title": "t", "text": "long words " * 50}])
    assert ranked_text(0, document, ("title", "text")).count("\n") == 2


@pytest.mark.parametrize(
    ("document", "held"),
    [
        ({"title": None, "other": 1}, r"\(it has 'other'\): give it one$"),
        (Document("text"), r"\(it has a text alone\)"),
    ],
)
def test_an_error_about_fields_says_what_is_there(document: Any, held: str) -> None:
    with pytest.raises(InvalidRequestError, match=held):
        ranked_text(0, as_items([document])[0], ("title",))


def test_a_field_that_no_document_has_is_told() -> None:
    provider = Cohere(api_key=KEY, rank_fields=["title", "txet"])
    prepared = provider.prepare(as_items([{"title": "a", "text": "b"}, "plain"]))
    assert prepared.warnings == ("no document has the rank field 'txet'",)
    assert provider.prepare(as_items(["plain"])).warnings == ()


@pytest.mark.parametrize("fields", [{"a": "x"}, {"text_": "x"}, {"text_": "x", "title": None}])
def test_a_document_without_any_ranked_field_is_refused(fields: dict[str, str]) -> None:
    (document,) = as_items([fields])
    with pytest.raises(InvalidRequestError, match=r"documents\[7\] has no 'title' or 'body'"):
        ranked_text(7, document, ("title", "body"))


def test_a_field_without_a_yaml_form_is_refused() -> None:
    (document,) = as_items([{"title": object(), "text": "x"}])
    with pytest.raises(InvalidRequestError, match=r"documents\[0\]: <object object at .* has no YAML form"):
        ranked_text(0, document, ("title", "text"))


@pytest.mark.parametrize("service", [COHERE, VOYAGE, PINECONE], ids=lambda service: service.name)
def test_halves_hold_each_document_once(service: Any) -> None:
    (batch,) = planned(service.make("https://x.test"), [f"text {number}" for number in range(7)], top_n=3)
    first, second = batch.halves()
    assert [*first.indices, *second.indices] == list(range(7))
    assert [*first.documents, *second.documents] == list(batch.documents)
    assert (first.top_n, second.top_n) == (None, None)
