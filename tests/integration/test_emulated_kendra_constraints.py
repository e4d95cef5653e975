"""What the emulated Kendra refuses: each constraint of the model, the quotas, and what its documentation excludes."""

from __future__ import annotations

import json
import math
from typing import Any
from unittest.mock import ANY

import pytest

pytest.importorskip("boto3")

from helpers.kendra import exchange, signed
from rerankkit.emulator import KendraSwitches, Settings, create_app
from rerankkit.emulator.app import Application
from rerankkit.emulator.kendra import PLAN_ID

DOCUMENT: dict[str, Any] = {"Id": "1", "OriginalScore": 1.0, "Body": "x"}
RESCORE: dict[str, Any] = {"RescoreExecutionPlanId": PLAN_ID, "SearchQuery": "q", "Documents": [DOCUMENT]}
ARN = f"arn:aws:kendra-ranking:us-east-1:000000000000:rescore-execution-plan/{PLAN_ID}"
CREATE, LIST, UPDATE = "CreateRescoreExecutionPlan", "ListRescoreExecutionPlans", "UpdateRescoreExecutionPlan"
NOT_PRINTABLE = {
    "line feed": "\n",
    "line feed at the end": "x\n",
    "carriage return": "\r",
    "tab": "\t",
    "null": "\0",
    "delete": "\x7f",
    "soft hyphen": "\u00ad",
    "zero width space": "\u200b",
    "zero width joiner": "\u200d",
    "byte order mark": "\ufeff",
    "Arabic number sign": "\u0600",
    "private use": "\ue000",
    "unassigned": "\u0378",
    "lone surrogate": "\ud800",
}


@pytest.fixture(scope="module")
def application() -> Application:
    return create_app()


@pytest.fixture(autouse=True)
def _fresh(application: Application) -> None:
    application.reset()


def call(application: Application, operation: str, members: Any) -> tuple[int, Any]:
    body = json.dumps(members).encode()
    return exchange(application, signed(operation, body), body)


def rescore(**changes: Any) -> tuple[str, dict[str, Any]]:
    return "Rescore", {**RESCORE, **changes}


def document(**changes: Any) -> tuple[str, dict[str, Any]]:
    return rescore(Documents=[{**DOCUMENT, **changes}])


def tags(number: int, key: str = "k", value: str = "") -> list[dict[str, str]]:
    return [{"Key": f"{key}{place}", "Value": value} for place in range(number)]


GOOD: list[tuple[str, dict[str, Any]]] = [
    rescore(),
    rescore(SearchQuery="x" * 1_000),
    rescore(SearchQuery="a\nb"),
    document(Id="x" * 2_048),
    document(Id="a\nb"),
    document(GroupId="x" * 2_048),
    document(Title="x" * 1_024),
    document(Title="a\nb"),
    document(Body="é" * 2_048),
    document(Body="no-break\u00a0space, line\u2028separator, \U0001f600"),
    document(OriginalScore=100_000),
    document(OriginalScore=-100_000.0),
    document(Title=None, GroupId=None),
    rescore(Documents=[{"Id": "1", "OriginalScore": 1.0, "TokenizedTitle": ["x"], "TokenizedBody": ["y" * 2_048] * 300}]),
    rescore(Documents=[{"Id": "1", "OriginalScore": 1.0, "Title": "x", "TokenizedBody": ["y"]}]),
    (CREATE, {"Name": "a" + "_-9" * 333}),
    (CREATE, {"Name": "a", "Description": ""}),
    (CREATE, {"Name": "a", "Description": "é" * 1_000, "ClientToken": "x" * 64, "Tags": tags(200)}),
    (CREATE, {"Name": "a", "ClientToken": "\n", "CapacityUnits": {"RescoreCapacityUnits": 0}}),
    (CREATE, {"Name": "a", "Tags": [{"Key": "x" * 128, "Value": "y" * 256}]}),
    (LIST, {"MaxResults": 50}),
    (UPDATE, {"Id": PLAN_ID}),
    ("TagResource", {"ResourceARN": ARN, "Tags": []}),
    ("UntagResource", {"ResourceARN": ARN, "TagKeys": ["x"] * 200}),
]

BAD: list[tuple[tuple[str, dict[str, Any]], str, str]] = [  # the call, and the refusal's place and constraint
    (("Rescore", {"SearchQuery": "q", "Documents": [DOCUMENT]}), "rescoreExecutionPlanId", "not be null"),
    (rescore(RescoreExecutionPlanId=None), "rescoreExecutionPlanId", "not be null"),
    (rescore(RescoreExecutionPlanId="a" * 35), "rescoreExecutionPlanId", "greater than or equal to 36"),
    (rescore(RescoreExecutionPlanId="a" * 37), "rescoreExecutionPlanId", "less than or equal to 36"),
    (rescore(RescoreExecutionPlanId="-" + "a" * 35), "rescoreExecutionPlanId", "pattern"),
    (rescore(RescoreExecutionPlanId="a" * 35 + "_"), "rescoreExecutionPlanId", "pattern"),
    (rescore(RescoreExecutionPlanId="a" * 35 + "\n"), "rescoreExecutionPlanId", "pattern"),
    (rescore(SearchQuery=""), "searchQuery", "greater than or equal to 1"),
    (rescore(SearchQuery="x" * 1_001), "searchQuery", "less than or equal to 1000"),
    (rescore(SearchQuery=1), "searchQuery", "string"),
    (rescore(Documents=[]), "documents", "greater than or equal to 1"),
    (rescore(Documents=None), "documents", "not be null"),
    (rescore(Documents=DOCUMENT), "documents", "list"),
    (rescore(Documents=["x"]), "documents.1.member", "be an object"),
    (document(Id=None), "documents.1.member.id", "not be null"),
    (document(Id=""), "documents.1.member.id", "greater than or equal to 1"),
    (document(Id="x" * 2_049), "documents.1.member.id", "less than or equal to 2048"),
    (document(OriginalScore=None), "documents.1.member.originalScore", "not be null"),
    (document(OriginalScore="1"), "documents.1.member.originalScore", "number"),
    (document(OriginalScore=True), "documents.1.member.originalScore", "number"),
    (document(OriginalScore=100_000.5), "documents.1.member.originalScore", "less than or equal to 100000"),
    (document(OriginalScore=-100_001), "documents.1.member.originalScore", "greater than or equal to -100000"),
    (document(GroupId=""), "documents.1.member.groupId", "greater than or equal to 1"),
    (document(GroupId="x" * 2_049), "documents.1.member.groupId", "less than or equal to 2048"),
    (document(Title=""), "documents.1.member.title", "greater than or equal to 1"),
    (document(Title="x" * 1_025), "documents.1.member.title", "less than or equal to 1024"),
    (document(Body=""), "documents.1.member.body", "greater than or equal to 1"),
    (document(Body="x" * 2_049), "documents.1.member.body", "less than or equal to 2048"),
    (document(TokenizedTitle=[]), "documents.1.member.tokenizedTitle", "greater than or equal to 1"),
    (document(TokenizedTitle=["x", ""]), "documents.1.member.tokenizedTitle.2.member", "greater than or equal to 1"),
    (document(TokenizedBody=["x" * 2_049]), "documents.1.member.tokenizedBody.1.member", "less than or equal to 2048"),
    (document(TokenizedBody=["x"]), "documents.1.member.body", "excludes TokenizedBody"),
    (document(Title="x", TokenizedTitle=["x"]), "documents.1.member.title", "excludes TokenizedTitle"),
    (rescore(Documents=[DOCUMENT, DOCUMENT]), "documents", "unique values of Id"),
    (rescore(Documents=[{**DOCUMENT, "Id": str(n)} for n in range(26)]), "documents", "at most 25"),
    (rescore(Documents=[{**DOCUMENT, "Id": str(n), "GroupId": "g"} for n in range(4)]), "documents", "at most 3"),
    ((CREATE, {}), "name", "not be null"),
    ((CREATE, {"Name": ""}), "name", "greater than or equal to 1"),
    ((CREATE, {"Name": "x" * 1_001}), "name", "less than or equal to 1000"),
    ((CREATE, {"Name": "_x"}), "name", "pattern"),
    ((CREATE, {"Name": "a b"}), "name", "pattern"),
    ((CREATE, {"Name": "a\n"}), "name", "pattern"),
    ((CREATE, {"Name": "a", "Description": "x" * 1_001}), "description", "less than or equal to 1000"),
    ((CREATE, {"Name": "a", "Description": "a\tb"}), "description", "pattern"),
    ((CREATE, {"Name": "a", "ClientToken": ""}), "clientToken", "greater than or equal to 1"),
    ((CREATE, {"Name": "a", "ClientToken": "x" * 65}), "clientToken", "less than or equal to 64"),
    ((CREATE, {"Name": "a", "ClientToken": "é"}), "clientToken", "pattern"),
    ((CREATE, {"Name": "a", "CapacityUnits": {}}), "capacityUnits.rescoreCapacityUnits", "not be null"),
    (
        (CREATE, {"Name": "a", "CapacityUnits": {"RescoreCapacityUnits": -1}}),
        "capacityUnits.rescoreCapacityUnits",
        "greater than or equal to 0",
    ),
    ((CREATE, {"Name": "a", "CapacityUnits": {"RescoreCapacityUnits": 1.5}}), "capacityUnits.rescoreCapacityUnits", "integer"),
    ((CREATE, {"Name": "a", "Tags": tags(201)}), "tags", "less than or equal to 200"),
    ((CREATE, {"Name": "a", "Tags": [{"Key": "K", "Value": ""}, {"Key": "k", "Value": ""}]}), "tags", "unique keys"),
    ((CREATE, {"Name": "a", "Tags": [{"Key": "", "Value": ""}]}), "tags.1.member.key", "greater than or equal to 1"),
    ((CREATE, {"Name": "a", "Tags": tags(1, key="x" * 128)}), "tags.1.member.key", "less than or equal to 128"),
    ((CREATE, {"Name": "a", "Tags": tags(1, value="x" * 257)}), "tags.1.member.value", "less than or equal to 256"),
    ((CREATE, {"Name": "a", "Tags": [{"Key": "k"}]}), "tags.1.member.value", "not be null"),
    ((UPDATE, {"Name": "a"}), "id", "not be null"),
    ((UPDATE, {"Id": PLAN_ID, "Name": ""}), "name", "greater than or equal to 1"),
    ((UPDATE, {"Id": PLAN_ID, "Description": "\n"}), "description", "pattern"),
    (("DescribeRescoreExecutionPlan", {}), "id", "not be null"),
    (("DescribeRescoreExecutionPlan", {"Id": "x"}), "id", "greater than or equal to 36"),
    (("DeleteRescoreExecutionPlan", {"Id": "_" * 36}), "id", "pattern"),
    ((LIST, {"MaxResults": 0}), "maxResults", "greater than or equal to 1"),
    ((LIST, {"MaxResults": 51}), "maxResults", "less than or equal to 50"),
    ((LIST, {"MaxResults": "1"}), "maxResults", "integer"),
    ((LIST, {"NextToken": ""}), "nextToken", "greater than or equal to 1"),
    ((LIST, {"NextToken": "x" * 801}), "nextToken", "less than or equal to 800"),
    ((LIST, {"NextToken": "a\n"}), "nextToken", "pattern"),
    ((LIST, {"NextToken": "invented"}), "nextToken", "token of an answer"),
    (("TagResource", {"ResourceARN": ARN}), "tags", "not be null"),
    (("TagResource", {"ResourceARN": "", "Tags": []}), "resourceARN", "greater than or equal to 1"),
    (("TagResource", {"ResourceARN": "x" * 1_012, "Tags": []}), "resourceARN", "less than or equal to 1011"),
    (("TagResource", {"ResourceARN": ARN, "Tags": tags(201)}), "tags", "less than or equal to 200"),
    (("UntagResource", {"ResourceARN": ARN, "TagKeys": ["x"] * 201}), "tagKeys", "less than or equal to 200"),
    (("UntagResource", {"ResourceARN": ARN, "TagKeys": ["x" * 129]}), "tagKeys.1.member", "less than or equal to 128"),
    (("ListTagsForResource", {}), "resourceARN", "not be null"),
]


@pytest.mark.parametrize("good", GOOD, ids=str)
def test_a_call_within_the_constraints_is_answered(application: Application, good: tuple[str, Any]) -> None:
    status, answer = call(application, *good)
    assert status == 200, answer


@pytest.mark.parametrize(("bad", "place", "constraint"), BAD, ids=lambda value: str(value)[:60])
def test_a_call_beyond_a_constraint_is_refused(
    application: Application, bad: tuple[str, Any], place: str, constraint: str
) -> None:
    status, answer = call(application, *bad)
    assert (status, answer["__type"]) == (400, "com.amazonaws.kendraranking#ValidationException")
    start = f"1 validation error detected: Value at '{place}' failed to satisfy constraint: Member "
    assert answer["message"].startswith(start)
    assert constraint in answer["message"].removeprefix(start)


@pytest.mark.parametrize("text", NOT_PRINTABLE.values(), ids=NOT_PRINTABLE)
def test_a_body_with_a_character_that_is_not_printable_is_refused(application: Application, text: str) -> None:
    status, answer = call(application, *document(Body=text))
    assert status == 400
    # A lone surrogate is no JSON: what the service makes of it is not known.
    assert answer["__type"].partition("#")[2] == ("SerializationException" if text == "\ud800" else "ValidationException")


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_json_does_not_have_cannot_be_read(application: Application, score: float) -> None:
    assert call(application, *document(OriginalScore=score))[1]["__type"].endswith("#SerializationException")


def test_all_problems_are_told_at_once(application: Application) -> None:
    _, answer = call(application, *rescore(SearchQuery="", Documents=[{**DOCUMENT, "Id": ""}]))
    assert answer["message"] == (
        "2 validation errors detected: "
        "Value at 'searchQuery' failed to satisfy constraint: Member must have length greater than or equal to 1; "
        "Value at 'documents.1.member.id' failed to satisfy constraint: Member must have length greater than or equal to 1"
    )


def test_a_wrong_call_is_told_so_before_its_plan_is_looked_for(application: Application) -> None:
    _, answer = call(application, *rescore(RescoreExecutionPlanId="f" * 36, SearchQuery=""))
    assert answer["__type"].endswith("#ValidationException")


@pytest.mark.parametrize(
    ("switches", "members"),
    [
        (KendraSwitches(), {"__type": "com.amazonaws.kendraranking#ResourceNotFoundException", "message": ANY}),
        (KendraSwitches(namespaced=False), {"__type": "ResourceNotFoundException", "message": ANY}),
        (KendraSwitches(message="Message"), {"__type": ANY, "Message": ANY}),
    ],
)
def test_an_error_has_the_form_that_is_switched_on(
    application: Application, switches: KendraSwitches, members: dict[str, str]
) -> None:
    application.world.settings = Settings(kendra=switches)
    assert call(application, "DescribeRescoreExecutionPlan", {"Id": "f" * 36}) == (400, members)


UNDOCUMENTED: list[tuple[tuple[str, dict[str, Any]], str]] = [
    (rescore(TopN=1), "topN"),
    (document(Metadata={}), "documents.1.member.metadata"),
    ((CREATE, {"Name": "a", "CapacityUnits": {"RescoreCapacityUnits": 0, "X": 1}}), "capacityUnits.x"),
    ((CREATE, {"Name": "a", "Tags": [*tags(1), {"Key": "l", "Value": "", "": 1}]}), "tags.2.member."),
]


@pytest.mark.parametrize(("members", "place"), UNDOCUMENTED, ids=lambda value: str(value)[:40])
def test_members_that_are_not_documented_are_refused_in_strict_mode_only(
    application: Application, members: tuple[str, Any], place: str
) -> None:
    assert call(application, *members)[0] == 200
    application.world.settings = Settings(strict=True)
    status, answer = call(application, *members)
    assert (status, answer["__type"]) == (400, "com.amazonaws.kendraranking#ValidationException")
    assert f"Value at '{place}'" in answer["message"]


@pytest.mark.parametrize("good", GOOD, ids=str)
def test_strict_mode_takes_all_that_is_documented(application: Application, good: tuple[str, Any]) -> None:
    application.world.settings = Settings(strict=True)
    assert call(application, *good)[0] == 200
