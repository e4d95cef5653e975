"""Kendra's own constraints: one list of 25, groups, first-stage scores, and texts without control characters."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from helpers.server import Received, Reply, recorder
from helpers.services import KENDRA
from helpers.ways import WAYS, Way, run
from rerankkit import Client, Document, InvalidRequestError
from rerankkit._checks import as_items
from rerankkit.providers.kendra import printable, shortened, utf16_units

MODEL = botocore.session.Session().get_service_model("kendra-ranking")


def prepared(documents: list[Any], **options: Any) -> Any:
    return KENDRA.make("https://x.test", **options).prepare(as_items(documents))


def entries(documents: list[Any], **options: Any) -> list[dict[str, Any]]:
    return list(prepared(documents, **options).contents.values())


def falling(request: Received) -> Reply:
    """Turns the list around: the last entry is the best."""
    names = list(dict.fromkeys(entry.get("GroupId", entry["Id"]) for entry in request.json["Documents"]))
    return Reply(KENDRA.answer([(name, float(rank)) for rank, name in enumerate(names)]))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_beyond_25_documents_the_rest_follows_in_its_order_without_a_score(way: Way) -> None:
    with recorder(falling) as server, Client(KENDRA.make(server.url)) as client:
        found = way(client, "q", [f"text {number}" for number in range(40)])
    assert found == [(index, float(index)) for index in range(24, -1, -1)] + [(index, None) for index in range(25, 40)]
    assert len(server.requests) == 1
    assert len(server.requests[0].json["Documents"]) == 25


def test_documents_over_the_limit_are_flagged_and_blank_ones_come_last(colour: str) -> None:
    documents = ["", *[f"text {number}" for number in range(27)], "  "]
    with recorder(falling) as server, Client(KENDRA.make(server.url)) as client:
        response = run(colour, client, "rerank", "q", documents)
    assert [(result.index, result.skipped) for result in response.results[25:]] == [
        (26, "over_limit"),
        (27, "over_limit"),
        (0, "blank"),
        (28, "blank"),
    ]
    assert "documents beyond the first 25, which were not ranked and follow in their order: 2" in response.warnings


def test_a_longer_list_may_be_refused_instead(colour: str) -> None:
    with recorder(falling) as server, Client(KENDRA.make(server.url, overflow="error")) as client:
        assert len(run(colour, client, "rerank", "q", ["text"] * 25)) == 25
        with pytest.raises(InvalidRequestError, match="at most 25 documents, got 26; its scores depend on the whole list"):
            run(colour, client, "rerank", "q", ["text"] * 26)
    assert len(server.requests) == 1


def test_a_group_is_scored_as_one_and_counts_as_one(colour: str) -> None:
    documents = [Document(f"text {number}", group_id=f"group {number // 3}") for number in range(75)]
    with recorder(falling) as server, Client(KENDRA.make(server.url)) as client:
        response = run(colour, client, "rerank", "q", [*documents, "one more"])
    sent = server.requests[0].json["Documents"]
    assert len(sent) == 75
    assert len({entry["GroupId"] for entry in sent}) == 25
    assert all("group" not in entry["GroupId"] for entry in sent), "the caller's names stay here"
    assert [result.index for result in response][:6] == [72, 73, 74, 69, 70, 71]
    assert response.results[0].relevance_score == response.results[2].relevance_score == 24.0
    assert response.results[-1].skipped == "over_limit"


def test_a_group_may_be_spread_and_mixed_with_single_documents() -> None:
    documents = [Document("a", group_id="x"), "b", Document("c", group_id="x"), Document("d", group_id="y")]
    assert [(entry["Id"], entry.get("GroupId")) for entry in entries(documents)] == [
        ("0", "g0"),
        ("1", None),
        ("2", "g0"),
        ("3", "g1"),
    ]


def test_a_fourth_document_of_a_group_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="group 'x' has more than 3 documents"):
        prepared([Document("a", group_id="x")] * 4)


def test_ranks_stand_for_scores_unless_every_document_has_one() -> None:
    scored = [Document("a", score=0.5), Document("b", score=-2.0)]
    assert [entry["OriginalScore"] for entry in entries(scored)] == [0.5, -2.0]
    assert [entry["OriginalScore"] for entry in entries(["a", "b", "c"])] == [3.0, 2.0, 1.0]
    for missing in (None, math.nan, math.inf):
        mixed = prepared([*scored, Document("c", score=missing)])
        assert [entry["OriginalScore"] for entry in mixed.contents.values()] == [3.0, 2.0, 1.0]
        assert mixed.warnings == ("documents without a finite first-stage score, so that ranks stand for all: 1",)


def test_scores_beyond_the_services_range_are_cut_and_told() -> None:
    found = prepared([Document("a", score=1e9), Document("b", score=-1e9), Document("c", score=1.0)])
    assert [entry["OriginalScore"] for entry in found.contents.values()] == [100_000.0, -100_000.0, 1.0]
    assert found.warnings == ("first-stage scores cut to ±100,000: 2",)


def test_control_and_format_characters_become_spaces_and_are_told() -> None:
    found = prepared(
        ["line one\nline two\t\u200bend\x00", "soft\u00adhyphen", "plain  double  space, NBSP\u00a0kept, LS\u2028kept"]
    )
    assert [entry["Body"] for entry in found.contents.values()] == [
        "line one line two end",
        "soft hyphen",
        "plain  double  space, NBSP\u00a0kept, LS\u2028kept",
    ]
    assert found.warnings == ("bodies with control or format characters, which were sent as spaces: 2",)


@pytest.mark.parametrize(
    "character", ["\n", "\t", "\x7f", "\u00ad", "\u200b", "\u200d", "\ufeff", "\u0600", "\ue000", "\u0378"]
)
def test_every_kind_of_category_c_is_replaced(character: str) -> None:
    assert printable(f"a{character}b") == "a b"


def test_long_texts_are_cut_at_a_word_and_told() -> None:
    found = prepared([Document("word " * 1_000, title="title " * 400), "x" * 5_000])
    first, second = found.contents.values()
    assert len(first["Body"]) == 2_044
    assert first["Body"].endswith("word")
    assert len(first["Title"]) <= 1_024
    assert second["Body"] == "x" * 2_048
    assert set(found.warnings) == {"bodies cut to 2,048 characters: 2", "titles cut to 1,024 characters: 1"}


@pytest.mark.parametrize(
    "text",
    ["\N{GRINNING FACE}" * 3_000, "é" * 3_000, "a \N{GRINNING FACE} " * 900, "x" * 2_048, "x" * 2_047 + "\N{GRINNING FACE}"],
)
def test_a_cut_text_fits_by_either_way_of_counting(text: str) -> None:
    short = shortened(text, 2_048)
    assert utf16_units(short) <= 2_048
    assert len(short) <= 2_048
    assert text.startswith(short)
    assert short


def test_a_title_alone_is_ranked_and_nothing_at_all_is_not() -> None:
    found = prepared([Document("", title="Only a title"), Document(" ", title="\n"), {"title": "From a mapping"}])
    assert [set(entry) for entry in found.contents.values()] == [{"Id", "OriginalScore", "Title"}] * 2
    assert found.skipped == {1: "blank"}
    with pytest.raises(InvalidRequestError, match=r"documents\[0\] has no 'text' or 'title' \(it has 'content'\)"):
        prepared([{"content": "x"}])


def test_tokens_go_out_instead_of_text() -> None:
    (entry,) = entries([Document("ignored", title="kept", tokenized_body=["two", "tokens"])])
    assert entry == {"Id": "0", "OriginalScore": 1.0, "Title": "kept", "TokenizedBody": ["two", "tokens"]}


@pytest.mark.parametrize("tokens", [[], [""], ["x" * 2_049], "text", [3]])
def test_wrong_tokens_are_refused(tokens: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"documents\[0\](: tokens must be|.tokenized_body must not be)"):
        prepared([Document("a", tokenized_body=tokens)])


def test_botocores_validator_finds_nothing_to_say(colour: str) -> None:
    documents = [
        "plain",
        Document("body", title="title", score=2.0),
        Document("", title="title only"),
        Document("x", tokenized_title=["t"], tokenized_body=["b"]),
        Document("grouped", group_id="g"),
    ]
    with recorder(falling) as server, Client(KENDRA.make(server.url)) as client:
        run(colour, client, "rerank", "q", documents)
    report = ParamValidator().validate(server.requests[0].json, MODEL.operation_model("Rescore").input_shape)
    assert not report.has_errors(), report.generate_report()


def test_nothing_in_scifact_like_text_can_break_the_pattern() -> None:
    text = "".join(map(chr, range(0x3000)))
    assert not any(unicodedata.category(char).startswith("C") for char in printable(text))
