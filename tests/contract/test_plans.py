"""Kendra's plans: every operation in both colours, by the requests it sends and by what comes of them."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from helpers.server import Received, Recorder, Reply, recorder
from helpers.services import PLAN_ID
from helpers.shared import kendra_recording, needs_shared
from helpers.stopwatch import Stopwatch
from helpers.ways import run
from rerankkit import (
    APIConnectionError,
    BadRequestError,
    ConflictError,
    DeadlineExceededError,
    InvalidRequestError,
    InvalidResponseError,
    KendraPlans,
    NotFoundError,
    Plan,
    PlanSummary,
    ProviderError,
    RateLimitError,
    Retry,
    ServerError,
)

SOON = Retry(base_delay=0.0, rate_limit_delay=0.0)
ONCE = Retry(attempts=1)
ARN = f"arn:aws:kendra-ranking:us-east-1:123456789012:rescore-execution-plan/{PLAN_ID}"
PLAN: Mapping[str, Any] = {"Id": PLAN_ID, "Arn": ARN, "Name": "handbook", "Status": "ACTIVE"}
LOST = Reply({"message": "oops"}, 503)


def plans_of(server: Recorder, **options: Any) -> KendraPlans:
    keys = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret-0123456789", "region": "us-east-1"}
    return KendraPlans(**{**keys, "base_url": server.url, "retry": SOON, **options})


def error(kind: str, status: int = 400, **headers: str) -> Reply:
    return Reply({"__type": f"com.amazonaws.kendraranking#{kind}", "message": "why"}, status, headers)


def operation(request: Received) -> str:
    return request.headers["x-amz-target"].removeprefix("AWSKendraRerankingFrontendService.")


def sent(server: Recorder) -> list[tuple[str, Mapping[str, Any]]]:
    return [(operation(request), request.json) for request in server.requests]


def in_turn(*replies: Reply) -> Callable[[Received], Reply]:
    """One reply after the other; the last for good."""
    left = itertools.chain(replies, itertools.repeat(replies[-1]))
    return lambda _: next(left)


def listed(colour: str, plans: KendraPlans, **options: Any) -> list[PlanSummary]:
    if colour == "sync":
        return list(plans.list(**options))

    async def collected() -> list[PlanSummary]:
        return [plan async for plan in plans.alist(**options)]

    return asyncio.run(collected())


def call(colour: str, plans: KendraPlans, method: str, *args: Any, **kwargs: Any) -> Any:
    return listed(colour, plans, **kwargs) if method == "list" else run(colour, plans, method, *args, **kwargs)


# Requests, as botocore sends them


def asked(params: Mapping[str, Any]) -> dict[str, Any]:
    """botocore's parameters as rerankkit's keywords."""
    names = {"Name": "name", "Description": "description", "ClientToken": "client_token", "MaxResults": "page_size"}
    given = {names[name]: value for name, value in params.items() if name in names}
    if "CapacityUnits" in params:
        given["capacity_units"] = params["CapacityUnits"]["RescoreCapacityUnits"]
    return given


RECORDED = {
    "create_plan_all_fields": "create",
    "create_plan_name_only": "create",
    "describe_plan": "describe",
    "describe_plan_failed": "describe",
    "list_plans_page1": "list",
    "list_plans_bare": "list",
    "update_plan_all_fields": "update",
    "update_plan_capacity_only": "update",
    "delete_plan": "delete",
    "tag_resource": "tag",
    "untag_resource": "untag",
    "list_tags": "tags",
}


@needs_shared
@pytest.mark.parametrize("name", RECORDED)
def test_a_request_about_plans_equals_botocores(name: str, colour: str) -> None:
    recorded = kendra_recording(name)
    params = recorded["params"]
    positional = [params[member] for member in ("Id", "ResourceARN", "TagKeys") if member in params]
    given = asked(params)
    if "Tags" in params:
        given["tags"] = {tag["Key"]: tag["Value"] for tag in params["Tags"]}
    last = Reply({"SummaryItems": []})
    answer = in_turn(Reply(recorded["response"]["body_text"].encode()), last)
    with recorder(answer) as server, plans_of(server) as plans:
        call(colour, plans, RECORDED[name], *positional, **given)
    headers = {name.lower(): value for name, value in recorded["request"]["headers"]}
    first = server.requests[0]
    assert (first.method, first.path) == ("POST", "/")
    assert first.json == json.loads(recorded["request"]["body_text"])
    for header in ("content-type", "x-amz-target"):
        assert first.headers[header] == headers[header]


@needs_shared
def test_recorded_pages_are_asked_for_and_read_in_order(colour: str) -> None:
    pages = [kendra_recording(f"list_plans_page{number}") for number in (1, 2)]
    answer = in_turn(*(Reply(page["response"]["body_text"].encode()) for page in pages))
    with recorder(answer) as server, plans_of(server) as plans:
        found = listed(colour, plans, page_size=2)
    assert [request.json for request in server.requests] == [json.loads(page["request"]["body_text"]) for page in pages]
    assert [(plan.name, plan.status) for plan in found] == [("a", "CREATING"), ("b", "UPDATING"), ("c", "DELETING")]
    assert found[2].created_at == datetime(2025, 1, 2, 3, 4, 7, tzinfo=UTC)


@needs_shared
@pytest.mark.parametrize("name", ["describe_plan", "describe_plan_failed"])
def test_a_recorded_description_is_read_as_botocore_reads_it(name: str, colour: str) -> None:
    recorded = kendra_recording(name)
    parsed = recorded["parsed"]
    with recorder(lambda _: Reply(recorded["response"]["body_text"].encode())) as server, plans_of(server) as plans:
        plan = run(colour, plans, "describe", recorded["params"]["Id"])
    assert plan == Plan(
        id=parsed["Id"],
        arn=parsed["Arn"],
        name=parsed["Name"],
        status=parsed["Status"],
        capacity_units=parsed["CapacityUnits"]["RescoreCapacityUnits"] if "CapacityUnits" in parsed else None,
        description=parsed.get("Description"),
        created_at=datetime.fromisoformat(parsed["CreatedAt"]["$datetime"]),
        updated_at=datetime.fromisoformat(parsed["UpdatedAt"]["$datetime"]),
        error_message=parsed.get("ErrorMessage"),
    )


CALLS: dict[str, tuple[str, tuple[Any, ...], Reply]] = {
    "CreateRescoreExecutionPlan": ("create", ("handbook",), Reply({"Id": PLAN_ID, "Arn": ARN})),
    "DescribeRescoreExecutionPlan": ("describe", (PLAN_ID,), Reply(PLAN)),
    "ListRescoreExecutionPlans": ("list", (), Reply({"SummaryItems": []})),
    "UpdateRescoreExecutionPlan": ("update", (PLAN_ID, "renamed"), Reply(b"")),
    "DeleteRescoreExecutionPlan": ("delete", (PLAN_ID,), Reply(b"")),
    "TagResource": ("tag", (ARN, {"team": "search"}), Reply(b"{}")),
    "UntagResource": ("untag", (ARN, ["team"]), Reply(b"{}")),
    "ListTagsForResource": ("tags", (ARN,), Reply({"Tags": []})),
}


def perform(colour: str, plans: KendraPlans, target: str) -> Any:
    method, args, _ = CALLS[target]
    return run(colour, plans, "update", PLAN_ID, name="renamed") if method == "update" else call(colour, plans, method, *args)


@pytest.mark.parametrize("target", CALLS)
def test_each_call_is_one_signed_request(target: str, colour: str) -> None:
    with recorder(lambda _: CALLS[target][2]) as server, plans_of(server) as plans:
        perform(colour, plans, target)
    (request,) = server.requests
    assert operation(request) == target
    assert request.headers["content-type"] == "application/x-amz-json-1.0"
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")


# Answers


@pytest.mark.parametrize("body", [b"", b"{}", b" \n", b'{"Unknown": 1}'])
@pytest.mark.parametrize("target", ["UpdateRescoreExecutionPlan", "DeleteRescoreExecutionPlan", "TagResource", "UntagResource"])
def test_operations_without_an_answer_take_an_empty_one(target: str, body: bytes, colour: str) -> None:
    with recorder(lambda _: Reply(body)) as server, plans_of(server) as plans:
        assert perform(colour, plans, target) is None
    assert len(server.requests) == 1


BROKEN = [b"<html>", b"[]", b"null", b'{"Id": "x"', b'"text"']
EMPTY_IS_BROKEN = [
    "CreateRescoreExecutionPlan",
    "DescribeRescoreExecutionPlan",
    "ListRescoreExecutionPlans",
    "ListTagsForResource",
]


@pytest.mark.parametrize(
    ("target", "body"), [*itertools.product(CALLS, BROKEN), *((target, b"") for target in EMPTY_IS_BROKEN)], ids=str
)
def test_an_answer_that_is_no_object_is_an_error(target: str, body: bytes, colour: str) -> None:
    with recorder(lambda _: Reply(body, 200, {"x-amzn-RequestId": "r-7"})) as server, plans_of(server) as plans:
        with pytest.raises(InvalidResponseError, match="not what the service documents") as caught:
            perform(colour, plans, target)
    assert (caught.value.request_id, len(server.requests)) == ("r-7", 1)


DESCRIPTIONS: dict[str, tuple[Mapping[str, Any], str]] = {
    "another plan's": ({"Id": "f" * 36}, "Id: 'f+', asked for was"),
    "without an ARN": ({"Arn": None}, "Arn"),
    "without a status": ({"Status": None}, "Status"),
    "with a status that is no text": ({"Status": 3}, "Status"),
    "with a time as text": ({"CreatedAt": "2025-01-02T03:04:05Z"}, "CreatedAt"),
    "with a time beyond all calendars": ({"UpdatedAt": 1e20}, "UpdatedAt"),
    "with a capacity as text": ({"CapacityUnits": {"RescoreCapacityUnits": "2"}}, "CapacityUnits.RescoreCapacityUnits"),
    "with a negative capacity": ({"CapacityUnits": {"RescoreCapacityUnits": -1}}, "CapacityUnits.RescoreCapacityUnits"),
}


@pytest.mark.parametrize(("change", "message"), DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_a_description_that_cannot_be_right_is_an_error(change: Mapping[str, Any], message: str, colour: str) -> None:
    with recorder(lambda _: Reply({**PLAN, **change})) as server, plans_of(server) as plans:
        with pytest.raises(InvalidResponseError, match=message):
            run(colour, plans, "describe", PLAN_ID)


def test_a_description_says_what_it_was_told_and_no_more(colour: str) -> None:
    with recorder(lambda _: Reply(PLAN)) as server, plans_of(server) as plans:
        assert run(colour, plans, "describe", PLAN_ID) == Plan(PLAN_ID, ARN, "handbook", "ACTIVE")


def test_times_are_aware_and_in_utc(colour: str) -> None:
    body = {**PLAN, "CreatedAt": 1735787045.123, "UpdatedAt": 1735787050}
    with recorder(lambda _: Reply(body)) as server, plans_of(server) as plans:
        plan = run(colour, plans, "describe", PLAN_ID)
    assert plan.created_at == datetime(2025, 1, 2, 3, 4, 5, 123_000, tzinfo=UTC)
    assert plan.updated_at.utcoffset() == timedelta(0)


def test_a_status_that_is_not_documented_is_passed_on(colour: str) -> None:
    with recorder(lambda _: Reply({**PLAN, "Status": "PAUSED"})) as server, plans_of(server) as plans:
        assert run(colour, plans, "describe", PLAN_ID).status == "PAUSED"


@pytest.mark.parametrize("body", [{}, {"Tags": None}, {"Tags": []}], ids=str)
def test_a_plan_without_tags_has_none(body: Mapping[str, Any], colour: str) -> None:
    with recorder(lambda _: Reply(body)) as server, plans_of(server) as plans:
        assert run(colour, plans, "tags", ARN) == {}


def test_tags_are_found_by_name(colour: str) -> None:
    tags = [{"Key": "team", "Value": "search"}, {"Key": "empty", "Value": ""}]
    with recorder(lambda _: Reply({"Tags": tags})) as server, plans_of(server) as plans:
        assert run(colour, plans, "tags", ARN) == {"team": "search", "empty": ""}


@pytest.mark.parametrize("tags", [[{"Key": "k"}], [{"Key": "k", "Value": 1}], [{"Key": "k", "Value": "v"}] * 2], ids=str)
def test_tags_that_cannot_be_right_are_an_error(tags: Sequence[Mapping[str, Any]], colour: str) -> None:
    with recorder(lambda _: Reply({"Tags": tags})) as server, plans_of(server) as plans:
        with pytest.raises(InvalidResponseError):
            run(colour, plans, "tags", ARN)


# Errors

ERRORS = {  # class, and the status of the service model; the API reference has 400 for all but the last
    "ValidationException": ("BadRequestError", 400),
    "AccessDeniedException": ("PermissionDeniedError", 403),
    "ConflictException": ("ConflictError", 409),
    "ResourceNotFoundException": ("NotFoundError", 404),
    "ResourceUnavailableException": ("NotFoundError", 404),
    "ServiceQuotaExceededException": ("PaymentRequiredError", 402),
    "ThrottlingException": ("RateLimitError", 429),
    "InternalServerException": ("ServerError", 500),
}
ANY = {"ValidationException", "AccessDeniedException", "ThrottlingException", "InternalServerException"}
DOCUMENTED = {
    "CreateRescoreExecutionPlan": ANY | {"ConflictException", "ServiceQuotaExceededException"},
    "DescribeRescoreExecutionPlan": ANY | {"ResourceNotFoundException"},
    "ListRescoreExecutionPlans": ANY,
    "UpdateRescoreExecutionPlan": ANY | {"ResourceNotFoundException", "ServiceQuotaExceededException", "ConflictException"},
    "DeleteRescoreExecutionPlan": ANY | {"ResourceNotFoundException", "ConflictException"},
    "TagResource": ANY | {"ResourceUnavailableException"},
    "UntagResource": ANY | {"ResourceUnavailableException"},
    "ListTagsForResource": ANY | {"ResourceUnavailableException"},
}


@pytest.mark.parametrize("statuses", ["reference", "model"])
@pytest.mark.parametrize(("target", "kind"), [(target, kind) for target in CALLS for kind in sorted(DOCUMENTED[target])])
def test_a_documented_error_becomes_its_class_whatever_its_status(target: str, kind: str, statuses: str, colour: str) -> None:
    expected, of_model = ERRORS[kind]
    status = of_model if statuses == "model" or of_model == 500 else 400
    with recorder(lambda _: error(kind, status, **{"x-amzn-RequestId": "r-1"})) as server:
        with plans_of(server, retry=ONCE) as plans, pytest.raises(ProviderError) as caught:
            perform(colour, plans, target)
    assert type(caught.value).__name__ == expected
    assert str(caught.value).partition(" (")[0] == f"kendra: {kind}: why"
    assert (caught.value.status_code, caught.value.request_id) == (status, "r-1")
    assert caught.value.retryable == (kind in ("ThrottlingException", "InternalServerException"))
    assert len(server.requests) == 1


def test_the_errors_tested_are_those_of_botocores_model() -> None:
    import botocore.session

    model = botocore.session.Session().get_service_model("kendra-ranking")
    for target, kinds in DOCUMENTED.items():
        assert {shape.name for shape in model.operation_model(target).error_shapes} == kinds


@pytest.mark.parametrize("target", CALLS)
def test_what_can_heal_is_tried_again_with_the_same_request(target: str, colour: str) -> None:
    with recorder(in_turn(LOST, error("ThrottlingException"), CALLS[target][2])) as server, plans_of(server) as plans:
        perform(colour, plans, target)
    bodies = [request.body for request in server.requests]
    assert len(bodies) == 3
    assert bodies[0] == bodies[1] == bodies[2]


# Arguments


def refused(colour: str, method: str, *args: Any, **kwargs: Any) -> str:
    """The message, when nothing was sent."""
    with recorder(lambda _: Reply(status=500)) as server, plans_of(server) as plans:
        with pytest.raises(InvalidRequestError) as caught:
            call(colour, plans, method, *args, **kwargs)
    assert server.requests == []
    return str(caught.value)


@pytest.mark.parametrize("method", ["describe", "update", "delete", "wait_active", "wait_deleted"])
@pytest.mark.parametrize("plan_id", ["short", "-" * 36, ARN, PLAN_ID + "\n", None, 3], ids=str)
def test_what_is_no_plans_id_is_refused(method: str, plan_id: Any, colour: str) -> None:
    options = {"name": "n"} if method == "update" else {}
    assert refused(colour, method, plan_id, **options).startswith("plan_id must be the 36 characters of a rescore execution")


@pytest.mark.parametrize("plan", ["short", "arn:", "arn:aws", "a b", ARN + " x", "arn:aws:x:y:z:" + "p" * 1_000, None], ids=str)
@pytest.mark.parametrize(("method", "args"), [("tag", ({},)), ("untag", ([],)), ("tags", ())])
def test_what_is_neither_an_id_nor_an_arn_is_refused(method: str, args: tuple[Any], plan: Any, colour: str) -> None:
    message = refused(colour, method, plan, *args)
    assert message.startswith("plan must be the 36 characters of a plan's id, or its ARN ('arn:...', at most 1,011 characters)")
    assert repr(plan) in message


WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("list", (), {"page_size": 0}, "page_size must be a whole number from 1 to 50, got 0"),
    ("list", (), {"page_size": 51}, "from 1 to 50, got 51"),
    ("list", (), {"page_size": True}, "got True"),
    ("update", (PLAN_ID,), {}, "the update changes nothing: pass name=, description= or capacity_units="),
    ("update", (PLAN_ID,), {"name": ""}, "name must be 1 to 1,000 letters"),
    ("update", (PLAN_ID,), {"name": "-x"}, "begin with none of these two, got '-x'"),
    ("update", (PLAN_ID,), {"description": "a\nb"}, "without control characters, got 'a\\nb'"),
    ("update", (PLAN_ID,), {"description": "x" * 1_001}, "at most 1,000 characters"),
    ("update", (PLAN_ID,), {"capacity_units": -1}, "capacity_units must be a whole number from 0 to 1000, got -1"),
    ("update", (PLAN_ID,), {"capacity_units": 1_001}, "got 1001"),
    ("update", (PLAN_ID,), {"capacity_units": 1.0}, "got 1.0"),
    ("tag", (ARN, {"": "v"}), {}, "a tag has a name of 1 to 128 characters"),
    ("tag", (ARN, {"k" * 129: "v"}), {}, "a tag has a name of 1 to 128 characters"),
    ("tag", (ARN, {"k": "v" * 257}), {}, "a value of up to 256"),
    ("tag", (ARN, {"k": None}), {}, "'k': None"),
    ("tag", (ARN, {"k": "\ud800"}), {}, "'k': '\\ud800'"),
    ("tag", (ARN, [("k", "v")]), {}, "tags must be a mapping of at most 200 names to values"),
    ("tag", (ARN, {str(number): "v" for number in range(201)}), {}, "at most 200"),
    ("untag", (ARN, "team"), {}, "keys must be a list of tags' names, got 'team'; wrap it in a list"),
    ("untag", (ARN, 3), {}, "got 3"),
    ("untag", (ARN, ["a", ""]), {}, "a tag has a name of 1 to 128 characters, got ''"),
    ("untag", (ARN, ["k"] * 201), {}, "at most 200 names of tags, got 201: remove them in parts"),
    ("wait_active", (PLAN_ID,), {"timeout": 0}, "timeout must be a number of seconds above 0 and at most 1e+09, got 0"),
    (
        "wait_active",
        (PLAN_ID,),
        {"poll_seconds": -1},
        "poll_seconds must be a number of seconds above 0 and at most 1e+09, got -1",
    ),
    ("wait_deleted", (PLAN_ID,), {"poll_seconds": float("inf")}, "got inf"),
    ("wait_deleted", (PLAN_ID,), {"progress": "print"}, "progress must be a function that takes a Plan, got 'print'"),
]


@pytest.mark.parametrize(
    ("method", "args", "options", "message"), WRONG, ids=[f"{method}: {message}" for method, _, _, message in WRONG]
)
def test_a_call_that_would_be_refused_is_refused_here(
    method: str, args: tuple[Any, ...], options: dict[str, Any], message: str, colour: str
) -> None:
    assert message in refused(colour, method, *args, **options)


@pytest.mark.parametrize("page_size", [0, 51])
def test_a_wrong_page_size_is_refused_at_once_and_not_with_the_first_plan(page_size: int) -> None:
    with recorder(lambda _: Reply(status=500)) as server, plans_of(server) as plans:
        for method in (plans.list, plans.alist):
            with pytest.raises(InvalidRequestError, match="page_size"):
                method(page_size=page_size)


@pytest.mark.parametrize(("options", "message"), [({"timeout": 0}, "timeout must be"), ({"retry": 3}, "retry must be a Retry")])
def test_a_wrong_option_is_refused_when_the_object_is_made(options: dict[str, Any], message: str) -> None:
    with recorder(lambda _: Reply(status=500)) as server, pytest.raises(InvalidRequestError, match=message):
        plans_of(server, **options)


# Lists


def page(*names: str, token: str | None = None) -> Reply:
    items = [{"Id": PLAN_ID, "Name": name, "Status": "ACTIVE"} for name in names]
    return Reply({"SummaryItems": items} | ({} if token is None else {"NextToken": token}))


def test_a_page_is_fetched_when_its_first_plan_is_asked_for() -> None:
    with recorder(in_turn(page("a", "b", token="t1"), page("c"))) as server, plans_of(server) as plans:
        found = plans.list()
        assert server.requests == []
        assert [next(found).name, next(found).name] == ["a", "b"]
        assert len(server.requests) == 1
        assert [plan.name for plan in found] == ["c"]
    assert [request.json for request in server.requests] == [{}, {"NextToken": "t1"}]


def test_a_page_is_fetched_when_its_first_plan_is_awaited() -> None:
    async def first() -> str:
        async with plans_of(server) as plans:
            async for plan in plans.alist():
                return plan.name
        return ""

    with recorder(in_turn(page("a", token="t1"), page("b", token="t2"))) as server:
        assert asyncio.run(first()) == "a"
    assert len(server.requests) == 1


def test_an_empty_page_is_no_end(colour: str) -> None:
    with recorder(in_turn(page(token="t1"), page("a", token="t2"), page(token=""))) as server, plans_of(server) as plans:
        assert [plan.name for plan in listed(colour, plans)] == ["a"]
    assert [request.json.get("NextToken") for request in server.requests] == [None, "t1", "t2"]


@pytest.mark.parametrize("tokens", [["t1", "t1"], ["t1", "t2", "t1"]], ids=str)
def test_a_list_that_leads_back_to_a_page_does_not_go_round_for_ever(tokens: list[str], colour: str) -> None:
    with recorder(in_turn(*(page("a", token=token) for token in tokens))) as server, plans_of(server) as plans:
        with pytest.raises(InvalidResponseError, match="NextToken: leads back to a page that has been read"):
            listed(colour, plans)
    assert len(server.requests) == len(tokens)


@pytest.mark.parametrize("token", ["t" * 801, 3])
def test_a_token_that_cannot_be_sent_back_is_an_error(token: Any, colour: str) -> None:
    with recorder(lambda _: page("a", token=token)) as server, plans_of(server) as plans:
        with pytest.raises(InvalidResponseError, match="NextToken"):
            listed(colour, plans)


def test_a_failed_page_fails_the_list_there(colour: str) -> None:
    with recorder(in_turn(page("a", token="t1"), error("ValidationException"))) as server, plans_of(server) as plans:
        with pytest.raises(BadRequestError):
            listed(colour, plans)
    assert len(server.requests) == 2


# Deleting


def test_a_plan_that_was_never_there_cannot_be_deleted(colour: str) -> None:
    with recorder(lambda _: error("ResourceNotFoundException", 404)) as server, plans_of(server) as plans:
        with pytest.raises(NotFoundError):
            run(colour, plans, "delete", PLAN_ID)
    assert len(server.requests) == 1


def test_a_plan_that_is_busy_cannot_be_deleted(colour: str) -> None:
    with recorder(lambda _: error("ConflictException", 409)) as server, plans_of(server) as plans:
        with pytest.raises(ConflictError):
            run(colour, plans, "delete", PLAN_ID)
    assert [name for name, _ in sent(server)] == ["DeleteRescoreExecutionPlan"]


def test_a_retry_that_finds_the_plan_gone_is_a_success(colour: str) -> None:
    with recorder(in_turn(LOST, error("ResourceNotFoundException", 404))) as server, plans_of(server) as plans:
        assert run(colour, plans, "delete", PLAN_ID) is None
    assert [name for name, _ in sent(server)] == ["DeleteRescoreExecutionPlan"] * 2


def test_a_retry_that_meets_a_gateways_404_is_no_success(colour: str) -> None:
    with recorder(in_turn(LOST, Reply(b"<html>no such page</html>", 404))) as server, plans_of(server) as plans:
        with pytest.raises(NotFoundError):
            run(colour, plans, "delete", PLAN_ID)


@pytest.mark.parametrize(
    ("seen", "succeeds"),
    [
        (Reply({**PLAN, "Status": "DELETING"}), True),
        (error("ResourceNotFoundException"), True),
        (Reply({**PLAN, "Status": "UPDATING"}), False),
        (Reply({**PLAN, "Status": "ACTIVE"}), False),
    ],
    ids=["DELETING", "gone", "UPDATING", "ACTIVE"],
)
def test_a_retry_that_meets_a_conflict_is_a_success_if_the_plan_is_going(seen: Reply, succeeds: bool, colour: str) -> None:
    with recorder(in_turn(LOST, error("ConflictException", 409), seen)) as server, plans_of(server) as plans:
        if succeeds:
            assert run(colour, plans, "delete", PLAN_ID) is None
        else:
            with pytest.raises(ConflictError) as caught:
                run(colour, plans, "delete", PLAN_ID)
            assert caught.value.attempts == 2
    names = [name.removesuffix("RescoreExecutionPlan") for name, _ in sent(server)]
    assert names == ["Delete", "Delete", "Describe"]
    assert server.requests[2].json == {"Id": PLAN_ID}


# Tags by id


@pytest.mark.parametrize(
    ("method", "args", "expected"),
    [
        ("tag", ({"team": "search"},), ("TagResource", {"Tags": [{"Key": "team", "Value": "search"}]})),
        ("untag", (("team", "old"),), ("UntagResource", {"TagKeys": ["team", "old"]})),
        ("tags", (), ("ListTagsForResource", {})),
    ],
)
def test_a_plan_named_by_its_id_is_described_to_learn_its_arn(
    method: str, args: tuple[Any, ...], expected: tuple[str, Mapping[str, Any]], colour: str
) -> None:
    with recorder(in_turn(Reply(PLAN), Reply({}))) as server, plans_of(server) as plans:
        run(colour, plans, method, PLAN_ID, *args)
    target, members = expected
    assert sent(server) == [("DescribeRescoreExecutionPlan", {"Id": PLAN_ID}), (target, {"ResourceARN": ARN, **members})]


# Waiting


def states(*statuses: str, **members: Any) -> Callable[[Received], Reply]:
    return in_turn(*(Reply({**PLAN, "Status": status, **members}) for status in statuses))


def test_waiting_looks_until_the_plan_is_active_and_tells_of_each_look(colour: str) -> None:
    told: list[Plan] = []
    with recorder(states("CREATING", "CREATING", "NEWLY_INVENTED", "ACTIVE")) as server, plans_of(server) as plans:
        plan = run(colour, plans, "wait_active", PLAN_ID, poll_seconds=0.01, progress=told.append)
    assert plan.status == "ACTIVE"
    assert [seen.status for seen in told] == ["CREATING", "CREATING", "NEWLY_INVENTED", "ACTIVE"]
    assert told[-1] is plan
    assert sent(server) == [("DescribeRescoreExecutionPlan", {"Id": PLAN_ID})] * 4


def test_pauses_between_looks_grow_up_to_the_longest(colour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    class Clock:
        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)

    monkeypatch.setattr("rerankkit._io.Blocking.sleep", Clock.sleep)
    monkeypatch.setattr("rerankkit._io.Looping.sleep", Clock.sleep)
    looks = ["CREATING"] * 8
    with recorder(states(*looks, "ACTIVE")) as server, plans_of(server) as plans:
        run(colour, plans, "wait_active", PLAN_ID)
    assert slept == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_waiting_for_a_plan_that_failed_ends_with_the_services_reason(colour: str) -> None:
    told: list[str] = []
    with recorder(states("CREATING", "FAILED", ErrorMessage="no\ncapacity")) as server, plans_of(server) as plans:
        with pytest.raises(
            ConflictError, match=r"is FAILED \(no capacity\), and will not .*: delete it and create another"
        ) as caught:
            run(colour, plans, "wait_active", PLAN_ID, poll_seconds=0.01, progress=lambda plan: told.append(plan.status))
    assert PLAN_ID in str(caught.value)
    assert (caught.value.provider, caught.value.retryable) == ("kendra", False)
    assert told == ["CREATING", "FAILED"]


def test_waiting_for_a_plan_that_is_being_deleted_ends_at_once(colour: str) -> None:
    with recorder(states("DELETING")) as server, plans_of(server) as plans:
        with pytest.raises(ConflictError, match="is DELETING, and will not become ACTIVE: create another"):
            run(colour, plans, "wait_active", PLAN_ID)
    assert len(server.requests) == 1


def test_waiting_for_a_plan_that_does_not_exist_ends_at_once(colour: str) -> None:
    with recorder(lambda _: error("ResourceNotFoundException", 404)) as server, plans_of(server) as plans:
        with pytest.raises(NotFoundError):
            run(colour, plans, "wait_active", PLAN_ID)
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 429])
def test_being_throttled_while_waiting_means_not_yet(status: int, colour: str) -> None:
    throttled = error("ThrottlingException", status)
    answer = in_turn(throttled, throttled, Reply({**PLAN, "Status": "CREATING"}), throttled, Reply(PLAN))
    with recorder(answer) as server, plans_of(server, retry=ONCE) as plans:
        assert run(colour, plans, "wait_active", PLAN_ID, poll_seconds=0.01).status == "ACTIVE"
    assert len(server.requests) == 5


def test_a_pause_the_service_asks_for_is_kept(colour: str) -> None:
    answer = in_turn(error("ThrottlingException", 429, **{"x-amz-retry-after": "300"}), Reply(PLAN))
    with recorder(answer) as server, plans_of(server, retry=ONCE) as plans:
        started = time.monotonic()
        run(colour, plans, "wait_active", PLAN_ID, poll_seconds=0.01)
    assert time.monotonic() - started >= 0.3


def test_an_outage_while_waiting_is_waited_out_once_the_plan_has_been_seen(colour: str) -> None:
    answer = in_turn(Reply({**PLAN, "Status": "CREATING"}), LOST, LOST, Reply(PLAN))
    with recorder(answer) as server, plans_of(server, retry=ONCE) as plans:
        assert run(colour, plans, "wait_active", PLAN_ID, poll_seconds=0.01).status == "ACTIVE"
    assert len(server.requests) == 4


def test_an_outage_before_the_plan_has_been_seen_is_told_at_once(colour: str) -> None:
    with recorder(lambda _: LOST) as server, plans_of(server, retry=ONCE) as plans:
        with pytest.raises(ServerError):
            run(colour, plans, "wait_active", PLAN_ID)
    assert len(server.requests) == 1
    with plans_of(server, retry=ONCE) as plans, pytest.raises(APIConnectionError):
        run(colour, plans, "wait_active", PLAN_ID)


def test_a_refusal_ends_the_waiting_whenever_it_comes(colour: str) -> None:
    answer = in_turn(Reply({**PLAN, "Status": "CREATING"}), error("AccessDeniedException", 403))
    with recorder(answer) as server, plans_of(server) as plans, pytest.raises(ProviderError, match="AccessDenied"):
        run(colour, plans, "wait_active", PLAN_ID, poll_seconds=0.01)
    assert len(server.requests) == 2


def test_when_the_time_is_over_the_last_status_is_told(colour: str) -> None:
    with recorder(states("CREATING")) as server, plans_of(server) as plans:
        stopwatch = Stopwatch()
        message = (
            rf"the plan {PLAN_ID} was not ACTIVE within 0.3 s: it was CREATING when last seen; .* allow more with timeout="
        )
        with pytest.raises(DeadlineExceededError, match=message) as caught:
            run(colour, plans, "wait_active", PLAN_ID, timeout=0.3, poll_seconds=0.05)
    assert stopwatch.seconds() >= 0.3
    assert stopwatch.own_seconds() < 2
    assert (caught.value.provider, caught.value.attempts) == ("kendra", len(server.requests))
    assert caught.value.attempts >= 3
    assert caught.value.__cause__ is None


def test_a_pause_does_not_outlast_the_waiting(colour: str) -> None:
    with recorder(states("CREATING")) as server, plans_of(server) as plans:
        stopwatch = Stopwatch()
        with pytest.raises(DeadlineExceededError):
            run(colour, plans, "wait_active", PLAN_ID, timeout=0.2)
    assert stopwatch.own_seconds() < 2
    assert len(server.requests) == 1


def test_a_failure_that_has_passed_is_not_the_cause_of_what_comes_later(colour: str) -> None:
    answer = in_turn(error("ThrottlingException"), Reply({**PLAN, "Status": "CREATING"}))
    with recorder(answer) as server, plans_of(server, retry=ONCE) as plans:
        with pytest.raises(DeadlineExceededError) as caught:
            run(colour, plans, "wait_active", PLAN_ID, timeout=0.3, poll_seconds=0.05)
    assert caught.value.__cause__ is None


def test_a_look_that_hangs_does_not_outlast_the_waiting(colour: str) -> None:
    """The first is answered; the others would take three seconds each."""
    looks = itertools.count()

    def answer(_: Received) -> Reply:
        if next(looks):
            time.sleep(3)
        return Reply({**PLAN, "Status": "UPDATING"})

    with recorder(answer) as server, plans_of(server) as plans:
        stopwatch = Stopwatch()
        with pytest.raises(DeadlineExceededError, match="it was UPDATING when last seen") as caught:
            run(colour, plans, "wait_active", PLAN_ID, timeout=0.4, poll_seconds=0.05)
    assert stopwatch.own_seconds() < 2
    assert isinstance(caught.value.__cause__, DeadlineExceededError)


def test_a_look_may_take_no_longer_than_any_other_call(colour: str) -> None:
    """The second hangs, and is given up after the `timeout` of the object; the third finds the plan ready."""
    looks = itertools.count(1)

    def answer(_: Received) -> Reply:
        look = next(looks)
        if look == 2:
            time.sleep(2)
        return Reply({**PLAN, "Status": "CREATING" if look == 1 else "ACTIVE"})

    with recorder(answer) as server, plans_of(server, timeout=0.3) as plans:
        stopwatch = Stopwatch()
        run(colour, plans, "wait_active", PLAN_ID, poll_seconds=0.01)
    assert stopwatch.own_seconds() < 1.5
    assert len(server.requests) == 3


def test_when_every_look_was_throttled_the_error_says_so(colour: str) -> None:
    with recorder(lambda _: error("ThrottlingException", 429)) as server, plans_of(server, retry=ONCE) as plans:
        with pytest.raises(DeadlineExceededError, match="the service was too busy to show it") as caught:
            run(colour, plans, "wait_active", PLAN_ID, timeout=1, poll_seconds=0.02)
    assert isinstance(caught.value.__cause__, RateLimitError)


def test_a_last_look_that_came_too_late_does_not_hide_that_the_others_were_throttled(colour: str) -> None:
    looks = itertools.count(1)

    def answer(_: Received) -> Reply:
        if next(looks) > 1:
            time.sleep(0.7)
        return error("ThrottlingException", 429)

    with recorder(answer) as server, plans_of(server, retry=ONCE) as plans:
        with pytest.raises(DeadlineExceededError, match="the service was too busy to show it") as caught:
            run(colour, plans, "wait_active", PLAN_ID, timeout=0.5, poll_seconds=0.02)
    assert isinstance(caught.value.__cause__, RateLimitError)
    assert caught.value.attempts == 2


def test_a_plan_is_deleted_when_the_service_knows_it_no_more(colour: str) -> None:
    told: list[str] = []
    answer = in_turn(Reply(PLAN), Reply({**PLAN, "Status": "DELETING"}), error("ResourceNotFoundException"))
    with recorder(answer) as server, plans_of(server) as plans:
        gone = run(colour, plans, "wait_deleted", PLAN_ID, poll_seconds=0.01, progress=lambda plan: told.append(plan.status))
    assert gone is None
    assert told == ["ACTIVE", "DELETING"]
    assert len(server.requests) == 3


def test_a_gateways_404_is_not_taken_for_a_deleted_plan(colour: str) -> None:
    with recorder(lambda _: Reply(b"<html>no such page</html>", 404)) as server, plans_of(server) as plans:
        with pytest.raises(NotFoundError, match="404"):
            run(colour, plans, "wait_deleted", PLAN_ID)


def test_a_plan_that_does_not_go_is_told_with_its_last_status(colour: str) -> None:
    answer = states("DELETING", "FAILED", ErrorMessage="stuck")
    with recorder(answer) as server, plans_of(server) as plans:
        with pytest.raises(DeadlineExceededError, match=r"was not gone within 0.6 s: it was FAILED \(stuck\) when last seen"):
            run(colour, plans, "wait_deleted", PLAN_ID, timeout=0.6, poll_seconds=0.02)


def test_cancelling_ends_the_waiting_in_a_loop() -> None:
    async def cancelled() -> None:
        async with plans_of(server) as plans:
            task = asyncio.create_task(plans.await_active(PLAN_ID))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with recorder(states("CREATING")) as server:
        asyncio.run(asyncio.wait_for(cancelled(), 3))
    assert len(server.requests) == 1


# Both colours, and nothing to be seen


def test_every_method_has_its_twin_with_the_same_arguments() -> None:
    import inspect

    names = [name for name in vars(KendraPlans) if not name.startswith("_") and f"a{name}" in vars(KendraPlans)]
    assert sorted(names) == [
        *("close", "create", "delete", "describe", "list", "tag", "tags", "untag", "update", "wait_active", "wait_deleted")
    ]
    for name in names:
        parameters = [inspect.signature(getattr(KendraPlans, method)).parameters for method in (name, f"a{name}")]
        assert parameters[0] == parameters[1], name


def test_plans_do_not_show_their_keys() -> None:
    plans = KendraPlans(region="eu-west-1", aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="canary-0123456789")
    assert repr(plans) == "KendraPlans(region='eu-west-1', base_url='https://kendra-ranking.eu-west-1.api.aws')"
    assert "canary" not in str(vars(plans))


@pytest.mark.parametrize("target", CALLS)
def test_a_secret_that_is_echoed_is_not_shown(target: str, colour: str) -> None:
    echo = Reply({"__type": "ValidationException", "message": "bad secret-0123456789"}, 400)
    with recorder(lambda _: echo) as server, plans_of(server) as plans, pytest.raises(BadRequestError) as caught:
        perform(colour, plans, target)
    assert "secret-0123456789" not in str(caught.value)
