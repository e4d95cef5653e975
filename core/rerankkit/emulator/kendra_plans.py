"""Rescore execution plans of the emulated Kendra: their life, their capacity, their tags.

```
CREATING -> ACTIVE | FAILED        ACTIVE -> UPDATING -> ACTIVE | FAILED        ACTIVE | FAILED -> DELETING -> gone
```
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from rerankkit.emulator.kendra_errors import AwsError
from rerankkit.emulator.kendra_forms import MAX_TAGS, Capacity, CreatePlan, ListPlans, Tag, UpdatePlan, invalid
from rerankkit.emulator.service import new_id
from rerankkit.emulator.world import World

PLAN_ID = "00000000-0000-4000-8000-000000000000"
"""A plan that is there from the start, in every region."""

ACCOUNT = "000000000000"
MAX_CAPACITY_UNITS = 1_000  # beyond the first.  Text of CapacityUnitsConfiguration
REQUESTS_PER_SECOND = 0.01  # for each unit.  Same text
DEFAULT_PAGE = 10  # plans; assumed
PARTITIONS: Mapping[str, str] = {  # by the region's prefix; botocore's partitions
    "cn-": "aws-cn",
    "us-gov-": "aws-us-gov",
    "eusc-": "aws-eusc",
    "us-iso-": "aws-iso",
    "us-isob-": "aws-iso-b",
    "us-isof-": "aws-iso-f",
    "eu-isoe-": "aws-iso-e",
    "": "aws",
}

Status: TypeAlias = Literal["CREATING", "UPDATING", "ACTIVE", "DELETING", "FAILED"]


@dataclass(slots=True)
class Bucket:
    """What a plan has answered of late, in requests."""

    taken: float = 0.0
    moment: float = 0.0

    def take(self, rate: float, burst: int, now: float) -> bool:
        """Whether one more fits into *burst* requests at once and *rate* a second."""
        left = max(0.0, self.taken - max(0.0, now - self.moment) * rate)
        fits = left + 1 <= burst + 1e-6  # a hundred times a hundredth is not quite one
        self.taken, self.moment = left + fits, now
        return fits


@dataclass(slots=True)
class Plan:
    """One plan.

    Attributes:
        number: Grows with each plan.
        units: Capacity beyond the first unit.
        change: What is under way, until `done`.
        error: Why the last change fails; None: it succeeds.
        tags: By key, in lower case.
    """

    id: str
    number: int
    name: str
    created: float
    description: str | None = None
    units: int = 0
    updated: float = 0.0
    change: Status = "CREATING"
    done: float = 0.0
    error: str | None = None
    tags: dict[str, Tag] = field(default_factory=dict[str, Tag])
    bucket: Bucket = field(default_factory=Bucket)

    def status(self, now: float) -> Status:
        """Where it stands; one that is DELETING stays so until it is gone."""
        if now < self.done or self.change == "DELETING":
            return self.change
        return "ACTIVE" if self.error is None else "FAILED"

    def summary(self, now: float) -> dict[str, object]:
        """A member of a list."""
        moments = {"CreatedAt": round(self.created, 3), "UpdatedAt": round(self.updated, 3)}
        return {"Name": self.name, "Id": self.id, **moments, "Status": self.status(now)}

    def description_of(self, region: str, now: float) -> dict[str, object]:
        """All there is to be known."""
        error = self.error if self.status(now) == "FAILED" else None
        known = {"Description": self.description, "ErrorMessage": error}
        capacity = {"RescoreCapacityUnits": self.units}
        given = {name: text for name, text in known.items() if text}
        return {**self.summary(now), "Arn": arn(region, self.id), "CapacityUnits": capacity, **given}

    def start(self, change: Status, now: float, seconds: float, error: str | None) -> None:
        """Begin a change that takes *seconds*; *error*: why it will fail."""
        self.change, self.updated, self.done, self.error = change, now, now + seconds, error

    def tag(self, tags: Iterable[Tag]) -> None:
        """Add *tags*, or replace those of the same keys."""
        wanted = {**self.tags, **_by_key(tags)}
        if len(wanted) > MAX_TAGS:
            raise invalid((("Tags",), f"Member must leave the resource with at most {MAX_TAGS} tags"))
        self.tags = wanted

    def untag(self, keys: Iterable[str]) -> None:
        """Take the tags with *keys* away, as far as they are there."""
        for key in keys:
            self.tags.pop(key.casefold(), None)


class Plans:
    """The plans of one region.

    Args:
        started: When its first plan was made.
    """

    def __init__(self, world: World, region: str, started: float) -> None:
        self.region = region
        self._world = world
        self._number = 1
        self._plans = {PLAN_ID: Plan(PLAN_ID, 1, "emulated", started, updated=started)}
        self._by_token: dict[str, tuple[CreatePlan, str]] = {}

    @property
    def now(self) -> float:
        return self._world.clock.now()

    def create(self, form: CreatePlan) -> Plan:
        """A new plan, or the one that the same token made."""
        made = self._made(form)
        if made is not None:
            return made
        plan = self._new(form)
        self._plans[plan.id] = plan
        if form.ClientToken is not None:
            self._by_token[form.ClientToken] = (form, plan.id)
        return plan

    def find(self, plan_id: str) -> Plan:
        """The plan with this id."""
        plan = self._present().get(plan_id)
        if plan is None:
            raise AwsError("ResourceNotFoundException")
        return plan

    def find_by_arn(self, name: str) -> Plan:
        """The plan with this ARN."""
        plan = self._present().get(name.rpartition("/")[2])
        if plan is None or arn(self.region, plan.id) != name:
            raise AwsError("ResourceUnavailableException")
        return plan

    def take(self, plan_id: str) -> None:
        """Take one request of the capacity that the plan with this id has.

        That it ranks while it is UPDATING is assumed.
        """
        plan = self.find(plan_id)
        _check_status(plan, self.now, ("ACTIVE", "UPDATING"))
        burst = self._world.settings.kendra.burst
        if burst is not None and not plan.bucket.take(REQUESTS_PER_SECOND * (1 + plan.units), burst, self.now):
            raise AwsError("ThrottlingException")

    def update(self, form: UpdatePlan) -> None:
        """Change what *form* names; that shows at once, and holds even if the change fails."""
        plan = self.find(form.Id)
        _check_status(plan, self.now, ("ACTIVE",))
        _check_capacity(form.CapacityUnits)
        switches = self._world.settings.kendra
        plan.name = plan.name if form.Name is None else form.Name
        plan.description = plan.description if form.Description is None else form.Description
        plan.units = plan.units if form.CapacityUnits is None else form.CapacityUnits.RescoreCapacityUnits
        plan.start("UPDATING", self.now, switches.update_seconds, switches.fail)

    def delete(self, plan_id: str) -> None:
        """Begin to delete the plan with this id; that a FAILED one may be is assumed."""
        plan = self.find(plan_id)
        _check_status(plan, self.now, ("ACTIVE", "FAILED"))
        plan.start("DELETING", self.now, self._world.settings.kendra.delete_seconds, None)

    def page(self, form: ListPlans) -> tuple[list[Plan], str | None]:
        """Plans in the order in which they were made, and the token of the next page, if there is one."""
        after = 0 if form.NextToken is None else self._number_in(form.NextToken)
        rest = [plan for plan in self._present().values() if plan.number > after]
        size = form.MaxResults or DEFAULT_PAGE
        return rest[:size], self._token(rest[size - 1].number) if len(rest) > size else None

    def _new(self, form: CreatePlan) -> Plan:
        now, switches = self.now, self._world.settings.kendra
        tags = _by_key(form.Tags or ())
        _check_capacity(form.CapacityUnits)
        if len(self._present()) >= switches.plans:
            raise AwsError("ServiceQuotaExceededException")
        self._number += 1
        units = form.CapacityUnits.RescoreCapacityUnits if form.CapacityUnits else 0
        plan = Plan(new_id(), self._number, form.Name, now, form.Description, units, tags=tags)
        plan.start("CREATING", now, switches.create_seconds, switches.fail)
        return plan

    def _present(self) -> dict[str, Plan]:
        """The plans, of which those are forgotten whose time has come."""
        now = self.now
        self._plans = {name: plan for name, plan in self._plans.items() if plan.change != "DELETING" or now < plan.done}
        return self._plans

    def _made(self, form: CreatePlan) -> Plan | None:
        """The plan that this token has made, while it is there; for how long the service knows a token is not known."""
        first, plan_id = self._by_token.get(form.ClientToken or "", (form, ""))
        plan = self._present().get(plan_id)
        if plan is not None and first.model_dump() != form.model_dump():
            raise AwsError("ConflictException", "The ClientToken was used before, with other parameters.")
        return plan

    def _token(self, number: int) -> str:
        return base64.urlsafe_b64encode(f"{self.region} {number}".encode()).decode()

    def _number_in(self, token: str) -> int:
        try:
            region, _, number = base64.b64decode(token, b"-_", validate=True).decode().partition(" ")
            if region == self.region and number.isdecimal():
                return int(number)
        except ValueError:
            pass
        raise invalid((("NextToken",), "Member must be a token of an answer"))


def arn(region: str, plan_id: str) -> str:
    """The ARN of a plan."""
    partition = next(partition for prefix, partition in PARTITIONS.items() if region.startswith(prefix))
    return f"arn:{partition}:kendra-ranking:{region}:{ACCOUNT}:rescore-execution-plan/{plan_id}"


def _by_key(tags: Iterable[Tag]) -> dict[str, Tag]:
    given = list(tags)
    found = {tag.Key.casefold(): tag for tag in given}
    if len(found) < len(given):
        raise invalid((("Tags",), "Member must have unique keys, in which case does not count"))
    return found


def _check_status(plan: Plan, now: float, right: tuple[Status, ...]) -> None:
    status = plan.status(now)
    if status not in right:
        raise AwsError("ConflictException", f"The rescore execution plan is {status}, and must be {' or '.join(right)}.")


def _check_capacity(capacity: Capacity | None) -> None:
    # A quota, where a constraint is possible as well: assumed.
    if capacity is not None and capacity.RescoreCapacityUnits > MAX_CAPACITY_UNITS:
        raise AwsError("ServiceQuotaExceededException")
