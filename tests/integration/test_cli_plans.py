"""``rerankkit plans``: what it asks, what it sends, what it prints."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from click.testing import CliRunner, Result

from helpers.server import Received, Recorder, Reply, recorder
from helpers.services import PLAN_ID
from rerankkit.cli.commands import cli

ARN = f"arn:aws:kendra-ranking:us-east-1:123456789012:rescore-execution-plan/{PLAN_ID}"
PLAN: Mapping[str, Any] = {
    "Id": PLAN_ID,
    "Arn": ARN,
    "Name": "handbook",
    "Status": "ACTIVE",
    "CapacityUnits": {"RescoreCapacityUnits": 2},
    "CreatedAt": 1735787045.123,
    "UpdatedAt": 1735787050,
}
SUMMARY = {name: PLAN[name] for name in ("Id", "Name", "Status", "CreatedAt", "UpdatedAt")}
ANSWERS: Mapping[str, object] = {
    "CreateRescoreExecutionPlan": {"Id": PLAN_ID, "Arn": ARN},
    "DescribeRescoreExecutionPlan": PLAN,
    "ListRescoreExecutionPlans": {"SummaryItems": [SUMMARY, {**SUMMARY, "Name": "old", "Status": "FAILED"}]},
    "UpdateRescoreExecutionPlan": b"",
    "DeleteRescoreExecutionPlan": b"",
    "TagResource": {},
    "UntagResource": {},
    "ListTagsForResource": {"Tags": [{"Key": "team", "Value": "search"}, {"Key": "empty", "Value": ""}]},
}


def target(request: Received) -> str:
    return request.headers["x-amz-target"].removeprefix("AWSKendraRerankingFrontendService.")


@pytest.fixture
def kendra(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A service that knows one plan, and the environment that points clients at it."""
    with recorder(lambda request: Reply(ANSWERS[target(request)])) as server:
        environment = {
            "AWS_ENDPOINT_URL_KENDRA_RANKING": server.url,
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret-0123456789",
            "AWS_REGION": "us-east-1",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("rerankkit._plan_watch.FIRST_PAUSE", 0.01)
        yield server


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rerankkit.cli.plan_talk.has_terminal", lambda: True)


def looks(server: Recorder, *descriptions: Mapping[str, Any] | Reply) -> None:
    """What describing the plan yields, one after the other; the last for good."""
    left = [look if isinstance(look, Reply) else Reply({**PLAN, **look}) for look in descriptions]

    def answer(request: Received) -> Reply:
        if target(request) != "DescribeRescoreExecutionPlan":
            return Reply(ANSWERS[target(request)])
        return left.pop(0) if len(left) > 1 else left[0]

    server.answer = answer


def typed(*arguments: str, stdin: str = "") -> Result:
    result = CliRunner().invoke(cli, ["plans", *arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def words(text: str) -> str:
    return " ".join(text.split())


def sent(server: Recorder) -> list[tuple[str, Mapping[str, Any]]]:
    return [(target(request).removesuffix("RescoreExecutionPlan"), request.json) for request in server.requests]


GONE = Reply({"__type": "ResourceNotFoundException", "message": "no such plan"}, 404)


# Asking

COSTLY: dict[str, tuple[tuple[str, ...], str]] = {
    "create": (
        ("create", "handbook"),
        "A plan costs $0.14 an hour for as long as it exists, used or not: about $101 in 30 days",
    ),
    "create with units": (("create", "handbook", "-c", "10"), "A plan costs $0.175 an hour for as long as it exists"),
    "update that raises capacity": (
        ("update", PLAN_ID, "--capacity-units", "3"),
        "With 3 units beyond the first, in place of 2, 'handbook' costs $0.1505 an hour for as long as it exists",
    ),
    "delete": (("delete", PLAN_ID), "Applications that use this plan will fail"),
}
CHANGES = {"Create", "Update", "Delete"}


@pytest.mark.parametrize(("arguments", "matter"), COSTLY.values(), ids=COSTLY)
def test_without_a_terminal_and_without_yes_it_refuses_and_says_so(
    kendra: Recorder, arguments: tuple[str, ...], matter: str
) -> None:
    result = typed(*arguments, stdin="y\n")
    assert result.exit_code == 1
    assert matter in words(result.stderr)
    assert "there is no terminal to ask at; --yes answers in advance" in words(result.stderr)
    assert not CHANGES & {name for name, _ in sent(kendra)}


@pytest.mark.parametrize("arguments", [("create", "handbook"), ("delete", PLAN_ID)], ids=["create", "delete"])
def test_where_nobody_can_be_asked_nothing_is_looked_up(kendra: Recorder, arguments: tuple[str, ...]) -> None:
    assert typed(*arguments).exit_code == 1
    assert kendra.requests == []


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("said", ["n\n", "\n", ""])
@pytest.mark.parametrize(("arguments", "matter"), COSTLY.values(), ids=COSTLY)
def test_whoever_does_not_say_yes_is_not_charged(kendra: Recorder, arguments: tuple[str, ...], matter: str, said: str) -> None:
    result = typed(*arguments, stdin=said)
    assert result.exit_code == 1
    assert matter in words(result.stderr)
    assert "Aborted!" in result.stderr
    assert result.stdout == ""
    assert not CHANGES & {name for name, _ in sent(kendra)}


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("arguments", "matter"), COSTLY.values(), ids=COSTLY)
def test_whoever_says_yes_is_believed(kendra: Recorder, arguments: tuple[str, ...], matter: str) -> None:
    result = typed(*arguments, stdin="y\n")
    assert result.exit_code == 0, result.stderr
    assert matter in words(result.stderr)
    assert matter not in result.stdout
    assert len(CHANGES & {name for name, _ in sent(kendra)}) == 1


@pytest.mark.parametrize("flag", ["--yes", "-y"])
@pytest.mark.parametrize("arguments", [arguments for arguments, _ in COSTLY.values()], ids=COSTLY)
def test_yes_in_advance_skips_the_question_and_what_it_needs_to_know(
    kendra: Recorder, arguments: tuple[str, ...], flag: str
) -> None:
    result = typed(*arguments, flag)
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    assert len(kendra.requests) == 1


@pytest.mark.parametrize(
    ("units", "before"), [("2", 2), ("0", 2), ("0", None), ("1000", 1_000)], ids=["same", "fewer", "none", "most"]
)
def test_an_update_that_does_not_raise_capacity_is_not_asked_about(kendra: Recorder, units: str, before: int | None) -> None:
    looks(kendra, {"CapacityUnits": None if before is None else {"RescoreCapacityUnits": before}})
    assert typed("update", PLAN_ID, "-c", units).exit_code == 0
    assert sent(kendra)[-1] == ("Update", {"Id": PLAN_ID, "CapacityUnits": {"RescoreCapacityUnits": int(units)}})


def test_an_update_of_name_and_description_alone_costs_nothing(kendra: Recorder) -> None:
    result = typed("update", PLAN_ID, "--name", "renamed", "--description", "new")
    assert sent(kendra) == [("Update", {"Id": PLAN_ID, "Name": "renamed", "Description": "new"})]
    assert result.stdout.startswith(f"{PLAN_ID} is being updated")


def test_capacity_that_is_not_told_counts_as_none_and_more_is_asked_about(kendra: Recorder) -> None:
    looks(kendra, {"CapacityUnits": None})
    assert "in place of 0" in words(typed("update", PLAN_ID, "-c", "1").stderr)
    assert [name for name, _ in sent(kendra)] == ["Describe"]


@pytest.mark.usefixtures("terminal")
def test_the_question_names_the_plan_and_the_region(kendra: Recorder) -> None:
    assert "Create 'handbook' in eu-west-1? [y/N]" in typed("create", "handbook", "--region", "eu-west-1").stderr
    asked = words(typed("delete", PLAN_ID).stderr)
    assert f"Delete 'handbook' ({PLAN_ID}, ACTIVE) in us-east-1? [y/N]" in asked


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="there are no pseudo-terminals here")
@pytest.mark.parametrize(("said", "creates"), [("y\n", True), ("n\n", False)])
def test_a_real_terminal_is_asked_at(kendra: Recorder, said: str, creates: bool) -> None:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "rerankkit", "plans", "create", "handbook"],
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.write(ours, said.encode())
        printed, asked = process.communicate(timeout=30)
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Create 'handbook' in us-east-1? [y/N]" in asked
    assert printed == (f"{PLAN_ID}\n" if creates else "")
    assert len(kendra.requests) == creates


# Commands


def test_create_sends_what_was_typed_and_prints_the_id_alone(kendra: Recorder) -> None:
    options = ("-d", "for the desk", "-c", "2", "-t", "team=search", "--tag", "eq==", "--client-token", "t-1", "--yes")
    result = typed("create", "handbook", *options)
    assert result.stdout == f"{PLAN_ID}\n"
    assert sent(kendra) == [
        (
            "Create",
            {
                "Name": "handbook",
                "Description": "for the desk",
                "CapacityUnits": {"RescoreCapacityUnits": 2},
                "Tags": [{"Key": "team", "Value": "search"}, {"Key": "eq", "Value": "="}],
                "ClientToken": "t-1",
            },
        )
    ]


def test_create_as_json_has_id_and_arn(kendra: Recorder) -> None:
    assert json.loads(typed("create", "handbook", "--yes", "--json").stdout) == {"id": PLAN_ID, "arn": ARN}


def test_create_may_wait_and_tells_the_id_before_it_does(kendra: Recorder) -> None:
    looks(kendra, {"Status": "CREATING"}, {"Status": "ACTIVE"})
    result = typed("create", "handbook", "--yes", "--wait", "--json")
    assert json.loads(result.stdout)["status"] == "ACTIVE"
    first, *told = result.stderr.splitlines()
    assert first == f"created {PLAN_ID}"
    assert [line.split()[1] for line in told] == ["CREATING", "ACTIVE"]


def test_list_shows_every_plan_and_where(kendra: Recorder) -> None:
    lines = typed("list", "--page-size", "7").stdout.splitlines()
    assert lines[0] == f"2 plans in us-east-1, at {kendra.url}"
    assert lines[2].split() == [PLAN_ID, "ACTIVE", "2025-01-02", "handbook"]
    assert lines[3].split()[-1] == "old"
    assert sent(kendra) == [("ListRescoreExecutionPlans", {"MaxResults": 7})]


def test_list_as_json_has_moments_in_iso_8601(kendra: Recorder) -> None:
    listed = json.loads(typed("list", "--json").stdout)
    assert listed[0] == {
        "id": PLAN_ID,
        "name": "handbook",
        "status": "ACTIVE",
        "created_at": "2025-01-02T03:04:05.123000+00:00",
        "updated_at": "2025-01-02T03:04:10+00:00",
    }


def test_describe_shows_capacity_and_price(kendra: Recorder) -> None:
    looks(kendra, {"Status": "FAILED", "ErrorMessage": "[bold]no capacity", "Description": "for the desk"})
    shown = words(typed("describe", PLAN_ID).stdout)
    for part in (
        "name handbook",
        f"id {PLAN_ID}",
        "status FAILED",
        "reason [bold]no capacity",
        "capacity 0.03 requests a second, with 2 units beyond the first",
        "price $0.147 an hour, read 2026-11-20",
        "description for the desk",
        "created 2025-01-02 03:04:05 UTC",
    ):
        assert part in shown


def test_describe_as_json_is_the_plan(kendra: Recorder) -> None:
    found = json.loads(typed("describe", PLAN_ID, "--json").stdout)
    assert (found["arn"], found["capacity_units"], found["error_message"]) == (ARN, 2, None)


def test_wait_tells_of_each_look_and_prints_the_plan(kendra: Recorder) -> None:
    looks(kendra, {"Status": "CREATING"}, {"Status": "CREATING"}, {"Status": "ACTIVE"})
    result = typed("wait", PLAN_ID, "--poll-seconds", "0.02", "--timeout", "9")
    assert [line.split()[1] for line in result.stderr.splitlines()] == ["CREATING", "CREATING", "ACTIVE"]
    assert "status ACTIVE" in words(result.stdout)


def test_wait_fails_if_the_plan_has_failed(kendra: Recorder) -> None:
    looks(kendra, {"Status": "FAILED", "ErrorMessage": "no capacity"})
    result = typed("wait", PLAN_ID)
    assert result.exit_code == 1
    assert "is FAILED (no capacity)" in words(result.stderr)


def test_wait_fails_when_the_time_is_over(kendra: Recorder) -> None:
    looks(kendra, {"Status": "UPDATING"})
    result = typed("wait", PLAN_ID, "--timeout", "0.1", "--poll-seconds", "0.02")
    assert result.exit_code == 1
    assert "was not ACTIVE within 0.1 s: it was UPDATING when last seen" in words(result.stderr)


TOLD_GONE = f"Kendra knows no plan {PLAN_ID}: it is gone, if that is its id\n"


@pytest.mark.parametrize(("options", "printed"), [((), TOLD_GONE), (("--json",), "null\n")])
def test_wait_for_the_end_of_a_plan(kendra: Recorder, options: tuple[str, ...], printed: str) -> None:
    looks(kendra, {"Status": "DELETING"}, GONE)
    assert typed("wait", PLAN_ID, "--deleted", *options).stdout == printed


def test_delete_may_wait_for_the_end(kendra: Recorder) -> None:
    looks(kendra, {"Status": "DELETING"}, GONE)
    assert typed("delete", PLAN_ID, "--yes", "--wait").stdout == f"{PLAN_ID} is gone\n"
    assert [name for name, _ in sent(kendra)] == ["Delete", "Describe", "Describe"]


def test_delete_without_waiting_says_that_it_goes_on(kendra: Recorder) -> None:
    assert typed("delete", PLAN_ID, "--yes").stdout == f"{PLAN_ID} is being deleted\n"


@pytest.mark.parametrize(("plan", "first"), [(ARN, []), (PLAN_ID, [("Describe", {"Id": PLAN_ID})])], ids=["ARN", "id"])
def test_tags_are_given_taken_and_listed(kendra: Recorder, plan: str, first: list[Any]) -> None:
    assert typed("tag", plan, "team=search", "empty=").exit_code == 0
    assert typed("untag", plan, "old", "older").exit_code == 0
    assert typed("tags", plan).stdout == "team=search\nempty=\n"
    assert json.loads(typed("tags", plan, "--json").stdout) == {"team": "search", "empty": ""}
    tags = [{"Key": "team", "Value": "search"}, {"Key": "empty", "Value": ""}]
    listing = ("ListTagsForResource", {"ResourceARN": ARN})
    assert sent(kendra) == [
        *(*first, ("TagResource", {"ResourceARN": ARN, "Tags": tags})),
        *(*first, ("UntagResource", {"ResourceARN": ARN, "TagKeys": ["old", "older"]})),
        *(*first, listing, *first, listing),
    ]


# Mistakes

MISTAKES: list[tuple[tuple[str, ...], str]] = [
    (("create", "-x", "--yes"), "No such option"),
    (("create", "a b", "--yes"), "name must be 1 to 1,000 letters"),
    (("create", "n", "--yes", "-c", "1001"), "1001 is not in the range 0<=x<=1000"),
    (("create", "n", "--yes", "-t", "team"), "'team' is not KEY=VALUE"),
    (("create", "n", "--yes", "-t", "k=1", "-t", "k=2"), "'k=2' gives a tag that has been given"),
    (("create", "n", "--yes", "--region", "nowhere"), "region must be a name such as 'us-east-1', got 'nowhere'"),
    (("create", "n", "--yes", "--profile", "nobody"), "there is no AWS profile 'nobody'"),
    (("create", "n", "--yes", "--fips"), "fips chooses among AWS's own endpoints"),
    (("list", "--page-size", "51"), "51 is not in the range 1<=x<=50"),
    (("describe", "short"), "plan_id must be the 36 characters"),
    (("update", PLAN_ID), "the update changes nothing"),
    (("wait", PLAN_ID, "--timeout", "0"), "timeout must be a number of seconds above 0"),
    (("tag", ARN), "Missing argument 'KEY=VALUE...'"),
    (("tag", ARN, "=v"), "a tag has a name of 1 to 128 characters"),
    (("untag", ARN), "Missing argument 'KEY...'"),
    (("tags", "short"), "plan must be the 36 characters of a plan's id, or its ARN"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[message for _, message in MISTAKES])
def test_a_mistake_is_explained_and_nothing_is_sent(kendra: Recorder, arguments: tuple[str, ...], message: str) -> None:
    result = typed(*arguments)
    assert result.exit_code in (1, 2)
    assert message in words(result.stderr)
    assert (result.stdout, kendra.requests) == ("", [])


def test_what_the_service_refuses_is_told_without_a_traceback(kendra: Recorder) -> None:
    kendra.answer = lambda _: Reply({"__type": "ServiceQuotaExceededException", "message": "50 plans are enough"}, 402)
    result = typed("create", "handbook", "--yes")
    assert result.exit_code == 1
    assert "kendra: ServiceQuotaExceededException: 50 plans are enough (status 402)" in words(result.stderr)


def test_the_examples_in_the_help_stand_in_lines_of_their_own() -> None:
    lines = [line.strip() for line in typed("--help").stdout.splitlines()]
    assert "rerankkit plans create handbook --wait" in lines
    assert not any("\b" in line or "\\b" in line for line in lines)


HELP: Mapping[str, Callable[[str], bool]] = {
    "create": lambda text: "From then on it costs money, until it is deleted" in text,
    "update": lambda text: "You are asked if the price rises" in text,
    "wait": lambda text: "[default: 3600.0]" in text,
    "tag": lambda text: "PLAN is its id or its ARN" in text,
}


@pytest.mark.parametrize("name", HELP)
def test_the_help_says_what_one_must_know(name: str) -> None:
    assert HELP[name](words(typed(name, "--help").stdout))


@pytest.mark.parametrize("name", ["create", "delete", "describe", "list", "tag", "tags", "untag", "update", "wait"])
def test_every_command_explains_itself_within_100_columns(name: str) -> None:
    shown = typed(name, "--help").stdout
    assert shown.startswith(f"Usage: cli plans {name} [OPTIONS]")
    assert max(map(len, shown.splitlines())) <= 100
    assert "--region" in shown
    assert typed(name, "-h").stdout == shown
