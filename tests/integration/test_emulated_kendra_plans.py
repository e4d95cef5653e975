"""Plans of the emulated Kendra: their life, their capacity, their tags."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

pytest.importorskip("boto3")


from helpers.kendra import boto3_client
from rerankkit.emulator import Emulator
from rerankkit.emulator.kendra import PLAN_ID
from rerankkit.emulator.settings import RateLimit

ABSENT = "f" * 36
DOCUMENTS = [{"Id": "a", "OriginalScore": 1.0, "Body": "the ferry"}]


@pytest.fixture(scope="module")
def sdk(running: Emulator) -> Iterator[Any]:
    client = boto3_client(running)
    yield client
    client.close()


def rescore(sdk: Any, plan_id: str = PLAN_ID) -> Any:
    return sdk.rescore(RescoreExecutionPlanId=plan_id, SearchQuery="ferry", Documents=DOCUMENTS)


def status(sdk: Any, plan_id: str) -> str:
    return sdk.describe_rescore_execution_plan(Id=plan_id)["Status"]


def active_plan(emulator: Emulator, sdk: Any, **members: Any) -> Any:
    created = sdk.create_rescore_execution_plan(**{"Name": "plan", **members})
    emulator.advance(1)
    return created


def listed(sdk: Any) -> list[str]:
    return [item["Id"] for item in sdk.list_rescore_execution_plans()["SummaryItems"]]


# Plans


def test_a_new_plan_ranks_once_it_is_active(emulator: Emulator, sdk: Any) -> None:
    plan = sdk.create_rescore_execution_plan(Name="plan")["Id"]
    assert status(sdk, plan) == "CREATING"
    with pytest.raises(sdk.exceptions.ConflictException):
        rescore(sdk, plan)
    emulator.advance(1)
    assert status(sdk, plan) == "ACTIVE"
    assert rescore(sdk, plan)["ResultItems"]


def test_describe_tells_what_create_was_given(emulator: Emulator, sdk: Any) -> None:
    before = datetime.now(UTC)
    created = sdk.create_rescore_execution_plan(Name="plan", Description="é", CapacityUnits={"RescoreCapacityUnits": 7})
    told = sdk.describe_rescore_execution_plan(Id=created["Id"])
    moments = (told.pop("CreatedAt"), told.pop("UpdatedAt"))
    del told["ResponseMetadata"]
    assert told == {
        "Id": created["Id"],
        "Arn": f"arn:aws:kendra-ranking:us-east-1:000000000000:rescore-execution-plan/{created['Id']}",
        "Name": "plan",
        "Description": "é",
        "CapacityUnits": {"RescoreCapacityUnits": 7},
        "Status": "CREATING",
    }
    assert moments[0] == moments[1]
    assert abs(moments[0] - before) < timedelta(seconds=10)


def test_an_update_leaves_what_it_does_not_name(emulator: Emulator, sdk: Any) -> None:
    plan = active_plan(emulator, sdk, Description="old", CapacityUnits={"RescoreCapacityUnits": 7})["Id"]
    sdk.update_rescore_execution_plan(Id=plan, Description="new")
    told = sdk.describe_rescore_execution_plan(Id=plan)
    assert (told["Name"], told["Description"], told["CapacityUnits"]) == ("plan", "new", {"RescoreCapacityUnits": 7})
    assert told["UpdatedAt"] > told["CreatedAt"]


def test_a_plan_ranks_while_it_is_updated_but_takes_no_other_change(emulator: Emulator, sdk: Any) -> None:
    plan = active_plan(emulator, sdk)["Id"]
    sdk.update_rescore_execution_plan(Id=plan, Name="renamed")
    assert status(sdk, plan) == "UPDATING"
    assert rescore(sdk, plan)["ResultItems"]
    with pytest.raises(sdk.exceptions.ConflictException):
        sdk.update_rescore_execution_plan(Id=plan, Name="again")
    with pytest.raises(sdk.exceptions.ConflictException):
        sdk.delete_rescore_execution_plan(Id=plan)
    emulator.advance(1)
    assert status(sdk, plan) == "ACTIVE"


def test_a_deleted_plan_is_gone_after_a_while(emulator: Emulator, sdk: Any) -> None:
    plan = active_plan(emulator, sdk)["Id"]
    sdk.delete_rescore_execution_plan(Id=plan)
    assert status(sdk, plan) == "DELETING"
    for refused in (lambda: rescore(sdk, plan), lambda: sdk.delete_rescore_execution_plan(Id=plan)):
        with pytest.raises(sdk.exceptions.ConflictException):
            refused()
    emulator.advance(1)
    with pytest.raises(sdk.exceptions.ResourceNotFoundException):
        status(sdk, plan)
    assert plan not in listed(sdk)


def test_a_plan_that_fails_says_why_and_can_be_deleted(emulator: Emulator, sdk: Any) -> None:
    emulator.configure(kendra={"fail": "no capacity"})
    plan = active_plan(emulator, sdk)["Id"]
    told = sdk.describe_rescore_execution_plan(Id=plan)
    assert (told["Status"], told["ErrorMessage"]) == ("FAILED", "no capacity")
    with pytest.raises(sdk.exceptions.ConflictException):
        rescore(sdk, plan)
    sdk.delete_rescore_execution_plan(Id=plan)
    assert status(sdk, plan) == "DELETING"


def test_a_plan_tells_no_error_before_it_has_failed(emulator: Emulator, sdk: Any) -> None:
    emulator.configure(kendra={"fail": "no capacity"})
    plan = sdk.create_rescore_execution_plan(Name="plan")["Id"]
    assert "ErrorMessage" not in sdk.describe_rescore_execution_plan(Id=plan)


def test_plans_take_as_long_as_the_switches_say(emulator: Emulator, sdk: Any) -> None:
    emulator.configure(kendra={"create_seconds": 120})
    plan = sdk.create_rescore_execution_plan(Name="plan")["Id"]
    emulator.advance(110)
    assert status(sdk, plan) == "CREATING"
    emulator.advance(10)
    assert status(sdk, plan) == "ACTIVE"


def test_an_update_and_a_delete_have_an_empty_answer(emulator: Emulator, sdk: Any) -> None:
    plan = active_plan(emulator, sdk)["Id"]
    updated = sdk.update_rescore_execution_plan(Id=plan, Name="renamed")
    emulator.advance(1)
    deleted = sdk.delete_rescore_execution_plan(Id=plan)
    for answer in (updated, deleted):
        assert answer["ResponseMetadata"]["HTTPHeaders"]["content-length"] == "0"
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_token_makes_one_plan(emulator: Emulator, sdk: Any) -> None:
    first = sdk.create_rescore_execution_plan(Name="plan", ClientToken="one")
    assert sdk.create_rescore_execution_plan(Name="plan", ClientToken="one")["Id"] == first["Id"]
    assert sdk.create_rescore_execution_plan(Name="plan", ClientToken="two")["Id"] != first["Id"]
    with pytest.raises(sdk.exceptions.ConflictException):
        sdk.create_rescore_execution_plan(Name="other", ClientToken="one")


def test_names_need_not_be_unique(emulator: Emulator, sdk: Any) -> None:
    assert len({sdk.create_rescore_execution_plan(Name="plan")["Id"] for _ in range(2)}) == 2


def test_an_account_has_a_number_of_plans_of_which_the_first_is_one(emulator: Emulator, sdk: Any) -> None:
    emulator.configure(kendra={"plans": 2})
    sdk.create_rescore_execution_plan(Name="plan", ClientToken="one")
    with pytest.raises(sdk.exceptions.ServiceQuotaExceededException):
        sdk.create_rescore_execution_plan(Name="plan", ClientToken="two")
    sdk.create_rescore_execution_plan(Name="plan", ClientToken="one")


@pytest.mark.parametrize("operation", ["create", "update"])
def test_a_plan_has_at_most_1000_units_beyond_its_first(emulator: Emulator, sdk: Any, operation: str) -> None:
    change = {"create": sdk.create_rescore_execution_plan, "update": sdk.update_rescore_execution_plan}[operation]
    which = {"create": {"Name": "plan"}, "update": {"Id": PLAN_ID}}[operation]
    with pytest.raises(sdk.exceptions.ServiceQuotaExceededException):
        change(**which, CapacityUnits={"RescoreCapacityUnits": 1_001})
    change(**which, CapacityUnits={"RescoreCapacityUnits": 1_000})


def test_plans_are_listed_in_pages(emulator: Emulator, sdk: Any) -> None:
    made = [PLAN_ID, *(sdk.create_rescore_execution_plan(Name=f"plan{number}")["Id"] for number in range(11))]
    first = sdk.list_rescore_execution_plans()
    second = sdk.list_rescore_execution_plans(NextToken=first["NextToken"])
    assert [item["Id"] for item in first["SummaryItems"]] == made[:10]
    assert [item["Id"] for item in second["SummaryItems"]] == made[10:]
    assert "NextToken" not in second
    assert len(sdk.list_rescore_execution_plans(MaxResults=11)["SummaryItems"]) == 11
    assert "NextToken" not in sdk.list_rescore_execution_plans(MaxResults=12)


def test_a_page_goes_on_where_the_last_ended_though_plans_have_gone(emulator: Emulator, sdk: Any) -> None:
    made = [active_plan(emulator, sdk)["Id"] for _ in range(3)]
    token = sdk.list_rescore_execution_plans(MaxResults=2)["NextToken"]
    sdk.delete_rescore_execution_plan(Id=made[0])
    emulator.advance(1)
    assert [item["Id"] for item in sdk.list_rescore_execution_plans(NextToken=token)["SummaryItems"]] == made[1:]


@pytest.mark.parametrize("token", ["tok==", "é", "MTI=", "dXMtZWFzdC0yIDE=", "dXMtZWFzdC0xIHg="])
def test_a_page_token_that_no_answer_had_is_invalid(emulator: Emulator, sdk: Any, token: str) -> None:
    with pytest.raises(sdk.exceptions.ValidationException):
        sdk.list_rescore_execution_plans(NextToken=token)


def test_a_plan_is_known_in_its_region_only_but_the_first_is_in_all(emulator: Emulator, sdk: Any) -> None:
    plan = active_plan(emulator, sdk)["Id"]
    abroad = boto3_client(emulator, region="eu-west-1")
    assert rescore(abroad)["ResultItems"]
    with pytest.raises(abroad.exceptions.ResourceNotFoundException):
        rescore(abroad, plan)
    assert listed(abroad) == [PLAN_ID]
    abroad.close()


@pytest.mark.parametrize(
    ("region", "partition"),
    [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("us-isob-east-1", "aws-iso-b"), ("eu-west-1", "aws")],
)
def test_an_arn_names_the_partition_of_its_region(emulator: Emulator, region: str, partition: str) -> None:
    client = boto3_client(emulator, region=region)
    told = client.describe_rescore_execution_plan(Id=PLAN_ID)["Arn"]
    client.close()
    assert told == f"arn:{partition}:kendra-ranking:{region}:000000000000:rescore-execution-plan/{PLAN_ID}"


def test_a_reset_leaves_the_first_plan_and_forgets_tokens(emulator: Emulator, sdk: Any) -> None:
    first = sdk.create_rescore_execution_plan(Name="plan", ClientToken="one")["Id"]
    sdk.update_rescore_execution_plan(Id=PLAN_ID, Name="renamed")
    emulator.reset()
    assert listed(sdk) == [PLAN_ID]
    assert sdk.describe_rescore_execution_plan(Id=PLAN_ID)["Name"] != "renamed"
    assert sdk.create_rescore_execution_plan(Name="other", ClientToken="one")["Id"] != first


# Capacity


def test_a_plan_answers_a_burst_and_then_one_request_in_100_seconds(emulator: Emulator, sdk: Any) -> None:
    emulator.configure(kendra={"burst": 2})
    rescore(sdk)
    rescore(sdk)
    emulator.advance(95)
    with pytest.raises(sdk.exceptions.ThrottlingException):
        rescore(sdk)
    emulator.advance(5)
    rescore(sdk)
    with pytest.raises(sdk.exceptions.ThrottlingException):
        rescore(sdk)


def test_further_units_raise_a_plans_capacity(emulator: Emulator, sdk: Any) -> None:
    emulator.configure(kendra={"burst": 1})
    plan = active_plan(emulator, sdk, CapacityUnits={"RescoreCapacityUnits": 9})["Id"]
    rescore(sdk, plan)
    emulator.advance(5)
    with pytest.raises(sdk.exceptions.ThrottlingException):
        rescore(sdk, plan)
    emulator.advance(5)
    rescore(sdk, plan)


def test_each_plan_has_a_capacity_of_its_own(emulator: Emulator, sdk: Any) -> None:
    emulator.configure(kendra={"burst": 1})
    plan = active_plan(emulator, sdk)["Id"]
    assert [rescore(sdk), rescore(sdk, plan)] != [None, None]
    with pytest.raises(sdk.exceptions.ThrottlingException):
        rescore(sdk, plan)


def test_a_general_rate_limit_throttles_every_operation(emulator: Emulator, sdk: Any) -> None:
    emulator.configure(rate_limits={"kendra": RateLimit(requests_per_minute=1)})
    rescore(sdk)
    with pytest.raises(sdk.exceptions.ThrottlingException):
        listed(sdk)
    emulator.advance(60)
    assert listed(sdk) == [PLAN_ID]


# Tags


def tags(sdk: Any, arn: str) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in sdk.list_tags_for_resource(ResourceARN=arn)["Tags"]}


def test_tags_are_added_replaced_and_taken_away(emulator: Emulator, sdk: Any) -> None:
    arn = sdk.create_rescore_execution_plan(Name="plan", Tags=[{"Key": "team", "Value": "search"}])["Arn"]
    sdk.tag_resource(ResourceARN=arn, Tags=[{"Key": "team", "Value": "ranking"}, {"Key": "empty", "Value": ""}])
    assert tags(sdk, arn) == {"team": "ranking", "empty": ""}
    sdk.untag_resource(ResourceARN=arn, TagKeys=["TEAM", "absent"])
    assert tags(sdk, arn) == {"empty": ""}


def test_tags_whose_keys_differ_in_case_are_one(emulator: Emulator, sdk: Any) -> None:
    arn = sdk.create_rescore_execution_plan(Name="plan", Tags=[{"Key": "Team", "Value": "1"}])["Arn"]
    sdk.tag_resource(ResourceARN=arn, Tags=[{"Key": "team", "Value": "2"}])
    assert tags(sdk, arn) == {"team": "2"}
    with pytest.raises(sdk.exceptions.ValidationException):
        sdk.tag_resource(ResourceARN=arn, Tags=[{"Key": "a", "Value": "1"}, {"Key": "A", "Value": "2"}])


def test_a_plan_has_at_most_200_tags(emulator: Emulator, sdk: Any) -> None:
    arn = sdk.create_rescore_execution_plan(Name="plan", Tags=[{"Key": str(n), "Value": ""} for n in range(200)])["Arn"]
    sdk.tag_resource(ResourceARN=arn, Tags=[{"Key": "0", "Value": "replaced"}])
    with pytest.raises(sdk.exceptions.ValidationException):
        sdk.tag_resource(ResourceARN=arn, Tags=[{"Key": "one more", "Value": ""}])


@pytest.mark.parametrize("change", [("us-east-1", "eu-west-1"), (PLAN_ID, ABSENT), ("000000000000", "123456789012")])
def test_an_arn_that_is_no_plans_is_unavailable(emulator: Emulator, sdk: Any, change: tuple[str, str]) -> None:
    arn = sdk.describe_rescore_execution_plan(Id=PLAN_ID)["Arn"].replace(*change)
    calls = (
        lambda: sdk.list_tags_for_resource(ResourceARN=arn),
        lambda: sdk.tag_resource(ResourceARN=arn, Tags=[]),
        lambda: sdk.untag_resource(ResourceARN=arn, TagKeys=[]),
    )
    for call in calls:
        with pytest.raises(sdk.exceptions.ResourceUnavailableException):
            call()
