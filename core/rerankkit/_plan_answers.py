"""What Kendra tells of its plans, and how it says so on the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, NotRequired, TypedDict

from rerankkit._parsing import Bound, Form, WholeCount

LATEST = 253_402_300_799.0  # 9999-12-31T23:59:59Z in epoch seconds, the last that a datetime can hold
Moment = Annotated[float, Bound("ge", 0), Bound("le", LATEST)]


@dataclass(frozen=True, slots=True)
class CreatedPlan:
    """A plan that has been asked for; it ranks once the service has made it, which takes minutes.

    Attributes:
        id: What `Kendra` takes as `plan_id`.
        arn: Its Amazon Resource Name.
    """

    id: str
    arn: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as the service describes it.

    Attributes:
        id: What `Kendra` takes as `plan_id`.
        arn: Its Amazon Resource Name.
        name: Not unique to the service.
        status: CREATING, UPDATING, ACTIVE, DELETING or FAILED, or what the service may say one day that it does not
            document now. A plan ranks when it is ACTIVE.
        capacity_units: Units beyond the first, so that 0 is the capacity of 0.01 requests a second; None if not told.
        description: None if not told.
        created_at: In UTC; None if not told.
        updated_at: In UTC; None if not told.
        error_message: Why it is FAILED; None if it is not.
    """

    id: str
    arn: str
    name: str
    status: str
    capacity_units: int | None = None
    description: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """A plan in a list, of which the service tells less: no ARN, capacity, description or reason of failure.

    Attributes:
        id: What `Kendra` takes as `plan_id`.
        name: Not unique to the service.
        status: As that of a `Plan`.
        created_at: In UTC; None if not told.
        updated_at: In UTC; None if not told.
    """

    id: str
    name: str
    status: str
    created_at: datetime | None = None
    updated_at: datetime | None = None


class _Created(TypedDict):
    Id: str
    Arn: str


class _Capacity(TypedDict):
    RescoreCapacityUnits: WholeCount


class _Summary(TypedDict):
    Id: str
    Name: str
    Status: str
    CreatedAt: NotRequired[Moment | None]
    UpdatedAt: NotRequired[Moment | None]


class _Described(_Summary):
    Arn: str
    CapacityUnits: NotRequired[_Capacity | None]
    Description: NotRequired[str | None]
    ErrorMessage: NotRequired[str | None]


class _Page(TypedDict):
    SummaryItems: NotRequired[list[_Summary] | None]
    NextToken: NotRequired[Annotated[str, Bound("max_length", 800)] | None]


class _Tag(TypedDict):
    Key: str
    Value: str


class _Tags(TypedDict):
    Tags: NotRequired[list[_Tag] | None]


class _Nothing(TypedDict):
    pass


_CREATED, _DESCRIBED, _PAGE = Form(_Created), Form(_Described), Form(_Page)
_TAGS, _NOTHING = Form(_Tags), Form(_Nothing)


def created(content: bytes) -> CreatedPlan:
    """The answer of CreateRescoreExecutionPlan."""
    answer = _CREATED.parse(content)
    return CreatedPlan(answer["Id"], answer["Arn"])


def described(plan_id: str, content: bytes) -> Plan:
    """The answer of DescribeRescoreExecutionPlan about that plan.

    Raises:
        ValueError: It is about another one, too.
    """
    answer = _DESCRIBED.parse(content)
    if answer["Id"] != plan_id:
        raise ValueError(f"Id: {answer['Id'][:40]!r}, asked for was {plan_id!r}")
    capacity = answer.get("CapacityUnits")
    return Plan(
        id=answer["Id"],
        arn=answer["Arn"],
        name=answer["Name"],
        status=answer["Status"],
        capacity_units=None if capacity is None else capacity["RescoreCapacityUnits"],
        description=answer.get("Description"),
        created_at=_moment(answer.get("CreatedAt")),
        updated_at=_moment(answer.get("UpdatedAt")),
        error_message=answer.get("ErrorMessage"),
    )


@dataclass(slots=True)
class Pages:
    """Where one goes through a list: what to ask for next, until there is no more.

    Attributes:
        page_size: Plans a page; None leaves it to the service.
        more: Whether there may be another page.
    """

    page_size: int | None
    more: bool = True
    _tokens: list[str] = field(default_factory=list)

    def members(self) -> dict[str, object]:
        """For ListRescoreExecutionPlans: the next page."""
        members: dict[str, object] = {} if self.page_size is None else {"MaxResults": self.page_size}
        return members | ({"NextToken": self._tokens[-1]} if self._tokens else {})

    def read(self, content: bytes) -> list[PlanSummary]:
        """The plans of the page that was asked for.

        Raises:
            ValueError: It leads back to a page that has been seen, too; following it would never end.
        """
        answer = _PAGE.parse(content)
        token = answer.get("NextToken")
        if token in self._tokens:
            raise ValueError("NextToken: leads back to a page that has been read")
        self.more = bool(token)
        if token:
            self._tokens.append(token)
        return [_summary(item) for item in answer.get("SummaryItems") or ()]


def _summary(item: _Summary) -> PlanSummary:
    created, updated = _moment(item.get("CreatedAt")), _moment(item.get("UpdatedAt"))
    return PlanSummary(item["Id"], item["Name"], item["Status"], created, updated)


def tags(content: bytes) -> dict[str, str]:
    """The answer of ListTagsForResource."""
    found = _TAGS.parse(content).get("Tags") or ()
    values = {tag["Key"]: tag["Value"] for tag in found}
    if len(values) < len(found):
        raise ValueError("Tags: a Key occurs twice")
    return values


def nothing(content: bytes) -> None:
    """The answer of operations that have none: nothing, or an object whose members mean nothing yet."""
    if content.strip():
        _NOTHING.parse(content)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
