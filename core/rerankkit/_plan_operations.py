"""The operations on Kendra's plans, each written once: how it waits is the `IO`'s business."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from rerankkit import _engine
from rerankkit._http import Http
from rerankkit._io import IO, run
from rerankkit._kendra_service import MISSING, KendraService, check_plan_id, is_of_type
from rerankkit._plan_answers import CreatedPlan, Pages, Plan, PlanSummary, created, described, nothing, tags
from rerankkit._plan_requests import check_plan, is_arn
from rerankkit._plan_watch import Looks, Watch, is_active
from rerankkit._wire import Json
from rerankkit.deadline import Deadline
from rerankkit.errors import ConflictError, DeadlineExceededError, NotFoundError, ProviderError

T = TypeVar("T")

DESCRIBE = "DescribeRescoreExecutionPlan"


@dataclass(frozen=True, slots=True)
class Operations:
    """What can be done with plans, waited for in one way; what it is given has been checked.

    Attributes:
        timeout: Seconds for each call, but for those that watch a plan.
    """

    io: IO
    http: Http
    service: KendraService
    policy: _engine.Policy
    timeout: float

    async def create(self, members: Json) -> CreatedPlan:
        """CreateRescoreExecutionPlan."""
        return await self._ask(self._deadline(), "CreateRescoreExecutionPlan", members, created)

    async def describe(self, plan_id: str) -> Plan:
        """DescribeRescoreExecutionPlan."""
        return await self._describe(self._deadline(), check_plan_id(plan_id))

    async def next_page(self, pages: Pages) -> list[PlanSummary]:
        """ListRescoreExecutionPlans, where *pages* stands."""
        return await self._ask(self._deadline(), "ListRescoreExecutionPlans", pages.members(), pages.read)

    async def update(self, members: Json) -> None:
        """UpdateRescoreExecutionPlan."""
        await self._ask(self._deadline(), "UpdateRescoreExecutionPlan", members, nothing)

    async def delete(self, plan_id: str) -> None:
        """DeleteRescoreExecutionPlan."""
        deadline = self._deadline()
        try:
            await self._ask(deadline, "DeleteRescoreExecutionPlan", {"Id": check_plan_id(plan_id)}, nothing)
        except (NotFoundError, ConflictError) as error:
            if error.attempts == 1 or not await self._is_going(deadline, plan_id, error):
                raise

    async def _is_going(self, deadline: Deadline, plan_id: str, error: ProviderError) -> bool:
        """Whether a retry met *error* because an attempt before, whose answer was lost, has done its work."""
        if isinstance(error, NotFoundError):
            return is_of_type(error, MISSING)
        try:
            plan = await self._describe(deadline, plan_id)
        except NotFoundError as gone:
            return is_of_type(gone, MISSING)
        return plan.status == "DELETING"

    async def wait_active(self, plan_id: str, watch: Watch) -> Plan:
        """DescribeRescoreExecutionPlan, until it says ACTIVE."""
        return await self._watch(Looks(check_plan_id(plan_id), "ACTIVE", watch), is_active)

    async def wait_deleted(self, plan_id: str, watch: Watch) -> None:
        """DescribeRescoreExecutionPlan, until there is nothing to describe."""
        try:
            await self._watch(Looks(check_plan_id(plan_id), "gone", watch), lambda _: False)
        except NotFoundError as error:
            if not is_of_type(error, MISSING):
                raise

    async def _watch(self, looks: Looks, reached: Callable[[Plan], bool]) -> Plan:
        read = partial(described, looks.plan_id)
        while not looks.over:
            try:
                plan, attempts = await self._try(looks.deadline(self.timeout), DESCRIBE, {"Id": looks.plan_id}, read)
            except (ProviderError, DeadlineExceededError) as error:
                if not looks.missed(error):
                    raise
            else:
                looks.saw(plan, attempts)
                if reached(plan):
                    return plan
            await self.io.sleep(looks.pause())
        raise looks.too_late()

    async def tag(self, plan: str, tags: Sequence[Mapping[str, str]]) -> None:
        """TagResource."""
        await self._ask_by_arn("TagResource", plan, {"Tags": tags}, nothing)

    async def untag(self, plan: str, keys: Sequence[str]) -> None:
        """UntagResource."""
        await self._ask_by_arn("UntagResource", plan, {"TagKeys": keys}, nothing)

    async def tags(self, plan: str) -> dict[str, str]:
        """ListTagsForResource."""
        return await self._ask_by_arn("ListTagsForResource", plan, {}, tags)

    async def _ask_by_arn(self, operation: str, plan: str, members: Json, read: Callable[[bytes], T]) -> T:
        """The answer about a plan whose ARN is asked for first, where only its id is known."""
        deadline, known = self._deadline(), check_plan(plan)
        arn = known if is_arn(known) else (await self._describe(deadline, known)).arn
        return await self._ask(deadline, operation, {"ResourceARN": arn, **members}, read)

    async def _describe(self, deadline: Deadline, plan_id: str) -> Plan:
        return await self._ask(deadline, DESCRIBE, {"Id": plan_id}, partial(described, plan_id))

    async def _ask(self, deadline: Deadline, operation: str, members: Json, read: Callable[[bytes], T]) -> T:
        answer, _ = await self._try(deadline, operation, members, read)
        return answer

    async def _try(self, deadline: Deadline, operation: str, members: Json, read: Callable[[bytes], T]) -> tuple[T, int]:
        """What *read* makes of the answer's body, and how many requests it took."""
        line = _engine.Line(self.io, self.http, self.service, self.policy, deadline)
        request = self.service.operation(operation, members)
        return await _engine.attempt(line, request, lambda response: read(response.content))

    def _deadline(self) -> Deadline:
        return Deadline(self.timeout)


def each(blocking: Operations, pages: Pages) -> Iterator[PlanSummary]:
    """The plans of all pages, each page fetched when it is needed."""
    while pages.more:
        yield from run(blocking.next_page(pages))


async def aeach(awaited: Operations, pages: Pages) -> AsyncIterator[PlanSummary]:
    """The same as `each`, in the running event loop."""
    while pages.more:
        for plan in await awaited.next_page(pages):
            yield plan
