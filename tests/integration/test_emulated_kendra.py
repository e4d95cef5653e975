"""The emulated Kendra as boto3 sees it: ranking, errors, and answers as the service's model describes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("boto3")

from botocore.exceptions import ClientError, ParamValidationError
from botocore.validate import ParamValidator

from helpers.kendra import boto3_client
from rerankkit import (
    AuthenticationError,
    Client,
    Kendra,
    KendraPlans,
    NotFoundError,
    ProviderError,
    RateLimitError,
    Retry,
)
from rerankkit.emulator import Emulator, faults
from rerankkit.emulator.kendra import PLAN_ID
from rerankkit.emulator.settings import KEY

ABSENT = "f" * 36
DOCUMENTS = [
    {"Id": "a", "OriginalScore": 2.0, "Body": "a car"},
    {"Id": "b", "OriginalScore": 1.0, "Title": "Ferries", "Body": "the ferry"},
    {"Id": "c", "OriginalScore": 0.5, "Body": "nothing", "GroupId": "g"},
    {"Id": "d", "OriginalScore": 0.4, "TokenizedBody": ["ferry", "ferry"], "GroupId": "g"},
    {"Id": "e", "OriginalScore": 0.3, "Body": "nothing as well", "GroupId": "g"},
]


@pytest.fixture(scope="module")
def sdk(running: Emulator) -> Iterator[Any]:
    client = boto3_client(running)
    yield client
    client.close()


@pytest.fixture(scope="module")
def unchecked(running: Emulator) -> Iterator[Any]:
    client = boto3_client(running, checked=False)
    yield client
    client.close()


def rescore(sdk: Any, plan_id: str = PLAN_ID) -> Any:
    return sdk.rescore(RescoreExecutionPlanId=plan_id, SearchQuery="ferry", Documents=DOCUMENTS)


def active_plan(emulator: Emulator, sdk: Any, **members: Any) -> Any:
    created = sdk.create_rescore_execution_plan(**{"Name": "plan", **members})
    emulator.advance(1)
    return created


def test_botocore_speaks_json_to_the_service(emulator: Emulator, sdk: Any) -> None:
    assert sdk.meta.service_model.resolved_protocol == "json"


# Rescore


def test_rescore_answers_one_item_for_each_group_best_first(emulator: Emulator, sdk: Any) -> None:
    items = rescore(sdk)["ResultItems"]
    assert [item["DocumentId"] for item in items] == ["g", "b", "a"]
    assert [item["Score"] for item in items] == sorted((item["Score"] for item in items), reverse=True)


def test_rescore_breaks_ties_by_the_first_stages_score(emulator: Emulator, sdk: Any) -> None:
    emulator.configure(scorer="overlap")
    documents = [{"Id": str(score), "OriginalScore": score, "Body": "ferry"} for score in (-2.0, 3.0, 1.0)]
    answer = sdk.rescore(RescoreExecutionPlanId=PLAN_ID, SearchQuery="ferry", Documents=documents)
    assert answer["ResultItems"] == [{"DocumentId": name, "Score": 1.0} for name in ("3.0", "1.0", "-2.0")]


def test_rescore_names_each_answer_anew(emulator: Emulator, sdk: Any) -> None:
    first, second = (rescore(sdk)["RescoreId"] for _ in range(2))
    assert first != second
    assert len(first) == 36


def test_rescore_takes_25_groups_of_3_documents(emulator: Emulator, sdk: Any) -> None:
    documents = [{"Id": str(n), "GroupId": f"g{n % 25}", "OriginalScore": 0.0, "Body": "x"} for n in range(75)]
    answer = sdk.rescore(RescoreExecutionPlanId=PLAN_ID, SearchQuery="q", Documents=documents)
    assert len(answer["ResultItems"]) == 25


def test_rescore_takes_a_document_without_text(emulator: Emulator, sdk: Any) -> None:
    answer = sdk.rescore(RescoreExecutionPlanId=PLAN_ID, SearchQuery="q", Documents=[{"Id": "1", "OriginalScore": 1.0}])
    assert answer["ResultItems"] == [{"DocumentId": "1", "Score": 0.0}]


# Errors


def conflict(emulator: Emulator, sdk: Any) -> Any:
    plan = sdk.create_rescore_execution_plan(Name="plan")["Id"]
    return sdk.delete_rescore_execution_plan(Id=plan)


def throttled(emulator: Emulator, sdk: Any) -> Any:
    emulator.configure(kendra={"burst": 1})
    rescore(sdk)
    return rescore(sdk)


PROVOKED: list[tuple[str, int, int, Callable[[Emulator, Any], Any]]] = [  # type, status by reference, by model
    ("ValidationException", 400, 400, lambda emulator, sdk: sdk.describe_rescore_execution_plan(Id="_" * 36)),
    ("ConflictException", 400, 409, conflict),
    ("ResourceNotFoundException", 400, 404, lambda emulator, sdk: sdk.describe_rescore_execution_plan(Id=ABSENT)),
    ("ResourceUnavailableException", 400, 404, lambda emulator, sdk: sdk.list_tags_for_resource(ResourceARN="arn:x")),
    (
        "ServiceQuotaExceededException",
        400,
        402,
        lambda emulator, sdk: sdk.create_rescore_execution_plan(Name="a", CapacityUnits={"RescoreCapacityUnits": 1_001}),
    ),
    ("ThrottlingException", 400, 429, throttled),
]
DENIED = {"__type": "com.amazonaws.kendraranking#AccessDeniedException", "message": "told"}
INJECTED = [
    (faults.Status(status=400, body=DENIED), "AccessDeniedException"),
    (faults.Status(status=402), "ServiceQuotaExceededException"),
    (faults.Status(status=403), "AccessDeniedException"),
    (faults.Status(status=404), "ResourceNotFoundException"),
    (faults.Status(status=409), "ConflictException"),
    (faults.Status(status=429), "ThrottlingException"),
    (faults.Status(status=500), "InternalServerException"),
    (faults.Status(status=502), "InternalServerException"),
]


@pytest.mark.parametrize("message", ["message", "Message"])
@pytest.mark.parametrize("namespaced", [True, False])
@pytest.mark.parametrize("statuses", ["reference", "model"])
@pytest.mark.parametrize("provoked", PROVOKED, ids=lambda provoked: provoked[0])
def test_an_error_that_a_call_can_cause_is_botocores_own_exception(
    emulator: Emulator, sdk: Any, provoked: Any, statuses: str, namespaced: bool, message: str
) -> None:
    kind, by_reference, by_model, provoke = provoked
    emulator.configure(kendra={"statuses": statuses, "namespaced": namespaced, "message": message})
    with pytest.raises(getattr(sdk.exceptions, kind)) as caught:
        provoke(emulator, sdk)
    metadata = caught.value.response["ResponseMetadata"]
    assert metadata["HTTPStatusCode"] == (by_reference if statuses == "reference" else by_model)
    assert len(metadata["RequestId"]) == 36
    assert caught.value.response["Error"]["Message"]


@pytest.mark.parametrize("statuses", ["reference", "model"])
@pytest.mark.parametrize(("fault", "kind"), INJECTED)
def test_an_error_that_a_fault_causes_is_botocores_own_exception(
    emulator: Emulator, sdk: Any, fault: faults.Status, kind: str, statuses: str
) -> None:
    emulator.configure(kendra={"statuses": statuses})
    emulator.inject(fault)
    with pytest.raises(getattr(sdk.exceptions, kind)) as caught:
        rescore(sdk)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == fault.status
    assert caught.value.response["Error"]["Message"]


def test_all_errors_of_the_model_are_met(sdk: Any) -> None:
    met = {kind for kind, *_ in PROVOKED} | {kind for _, kind in INJECTED}
    assert met == {shape.name for shape in sdk.meta.service_model.error_shapes}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, "UnrecognizedClientException"), (418, "ValidationException"), (503, "ServiceUnavailableException")],
)
def test_a_fault_with_any_status_has_a_type_that_goes_with_it(emulator: Emulator, sdk: Any, status: int, kind: str) -> None:
    emulator.inject(faults.Status(status=status, message="told"))
    with pytest.raises(ClientError) as caught:
        rescore(sdk)
    assert caught.value.response["Error"]["Code"] == kind
    assert caught.value.response["Error"]["Message"] == "told"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


# botocore's model as the judge


def answers(emulator: Emulator, sdk: Any) -> Iterator[tuple[str, Any]]:
    """An answer of each operation; of a plan in each status."""
    emulator.configure(kendra={"fail": "why"})
    failed = active_plan(emulator, sdk)
    emulator.configure(kendra={"fail": None})
    plan = sdk.create_rescore_execution_plan(Name="p", Description="d", Tags=[{"Key": "k", "Value": "v"}])
    yield "CreateRescoreExecutionPlan", plan
    yield "DescribeRescoreExecutionPlan", sdk.describe_rescore_execution_plan(Id=plan["Id"])
    yield "DescribeRescoreExecutionPlan", sdk.describe_rescore_execution_plan(Id=failed["Id"])
    yield "ListRescoreExecutionPlans", sdk.list_rescore_execution_plans(MaxResults=2)
    yield "Rescore", rescore(sdk)
    yield "TagResource", sdk.tag_resource(ResourceARN=plan["Arn"], Tags=[{"Key": "l", "Value": ""}])
    yield "ListTagsForResource", sdk.list_tags_for_resource(ResourceARN=plan["Arn"])
    yield "UntagResource", sdk.untag_resource(ResourceARN=plan["Arn"], TagKeys=["l"])


def test_every_answer_is_as_the_model_describes_it(emulator: Emulator, sdk: Any) -> None:
    judged = set()
    for operation, answer in answers(emulator, sdk):
        shape = sdk.meta.service_model.operation_model(operation).output_shape
        members = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
        report = ParamValidator().validate(members, shape)
        assert not report.has_errors(), f"{operation}: {report.generate_report()}"
        assert set(members) >= set(shape.required_members)
        judged.add(operation)
    without_output = {"UpdateRescoreExecutionPlan", "DeleteRescoreExecutionPlan"}
    assert judged | without_output == set(sdk.meta.service_model.operation_names)


WRONG_FOR_BOTOCORE: list[tuple[str, dict[str, Any]]] = [
    ("rescore", {"RescoreExecutionPlanId": PLAN_ID, "SearchQuery": "", "Documents": DOCUMENTS}),
    ("rescore", {"RescoreExecutionPlanId": PLAN_ID, "SearchQuery": "q", "Documents": []}),
    ("create_rescore_execution_plan", {"Description": "without a name"}),
    ("create_rescore_execution_plan", {"Name": "a", "CapacityUnits": {"RescoreCapacityUnits": -1}}),
    ("describe_rescore_execution_plan", {"Id": "short"}),
    ("list_rescore_execution_plans", {"MaxResults": 0}),
    ("tag_resource", {"ResourceARN": "arn", "Tags": [{"Key": "k"}]}),
]


@pytest.mark.parametrize(("operation", "members"), WRONG_FOR_BOTOCORE)
def test_what_botocore_refuses_to_send_is_refused_here_as_well(
    emulator: Emulator, sdk: Any, unchecked: Any, operation: str, members: dict[str, Any]
) -> None:
    with pytest.raises(ParamValidationError):
        getattr(sdk, operation)(**members)
    with pytest.raises(unchecked.exceptions.ValidationException):
        getattr(unchecked, operation)(**members)


# The package's own client


def own(emulator: Emulator, plan_id: str = PLAN_ID, secret: str = KEY) -> Client:
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": secret}
    return Client(Kendra(plan_id, region="us-east-1", base_url=emulator.urls["kendra"], **keys), retry=Retry(attempts=1))


def test_the_packages_client_ranks(emulator: Emulator) -> None:
    with own(emulator) as client:
        response = client.rerank("ferry", ["a car", "the ferry", "a ferry boat for cars"])
    assert response.results[-1].index == 0
    assert emulator.requests("kendra")[-1].headers["authorization"] == "<redacted>"


@pytest.mark.parametrize("statuses", ["reference", "model"])
@pytest.mark.parametrize(
    ("options", "burst", "error"),
    [
        ({"secret": "another"}, None, AuthenticationError),
        ({"plan_id": ABSENT}, None, NotFoundError),
        ({}, 1, RateLimitError),
    ],
)
def test_the_packages_client_knows_an_error_by_its_type(
    emulator: Emulator, sdk: Any, statuses: str, options: dict[str, str], burst: int | None, error: type[ProviderError]
) -> None:
    emulator.configure(kendra={"statuses": statuses, "burst": burst})
    rescore(sdk)
    with own(emulator, **options) as client:
        with pytest.raises(error):
            client.rerank("ferry", ["a car", "the ferry"])


def test_a_plan_that_the_package_has_made_ranks(emulator: Emulator) -> None:
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": KEY}
    with KendraPlans(region="us-east-1", base_url=emulator.urls["kendra"], **keys) as plans:
        plan = plans.create("plan", capacity_units=2, tags={"team": "search"})
    emulator.advance(1)
    with own(emulator, plan.id) as client:
        assert len(client.rerank("ferry", ["a car", "the ferry"]).results) == 2
