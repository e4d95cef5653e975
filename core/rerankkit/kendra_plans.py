"""Rescore execution plans, which Kendra ranks with: what a plan is given, `Kendra` uses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from rerankkit import _engine
from rerankkit._checks import check_timeout
from rerankkit._closing import Closing
from rerankkit._http import Http
from rerankkit._io import ASYNC, BLOCKING, run
from rerankkit._kendra_service import KendraService
from rerankkit._plan_answers import CreatedPlan, Pages, Plan, PlanSummary
from rerankkit._plan_operations import Operations, aeach, each
from rerankkit._plan_requests import check_page_size, checked_tag_keys, checked_tags, create_members, update_members
from rerankkit._plan_watch import LONGEST_PAUSE, WATCH_TIMEOUT, Watch
from rerankkit._secret import SecretValue, hidden
from rerankkit._wire import Transport
from rerankkit.retry import Retry, check_retry


class KendraPlans(Closing):
    """Manages rescore execution plans.  A plan costs money for every hour it exists, used or not.

    Each method has a twin for event loops, which takes the same arguments: `create` and `acreate`, and so on.

    Args:
        region: None: from AWS_REGION, AWS_DEFAULT_REGION, or the profile.
        timeout: Seconds a call may take as a whole, retries included; waiting for a plan has a time of its own.

    The other arguments are those of `Kendra` and `Client`.

    Attributes:
        region: Where the plans are.
        base_url: Who is asked.

    Raises:
        InvalidRequestError: No region, or an argument that is out of range. Methods raise it, too, for arguments that
            the service would refuse, and send nothing then.
        ProviderError: From every method: the service refused or failed.
        DeadlineExceededError: From every method: its time is over.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        base_url: str | None = None,
        fips: bool = False,
        profile: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | SecretValue | None = None,
        aws_session_token: str | SecretValue | None = None,
        allow_http: bool = False,
        timeout: float = 30.0,
        retry: Retry | None = None,
        transport: Transport | None = None,
    ) -> None:
        aws_secret_access_key, aws_session_token = hidden(aws_secret_access_key), hidden(aws_session_token)
        service = KendraService(
            region=region,
            base_url=base_url,
            fips=fips,
            profile=profile,
            aws_access_key_id=aws_access_key_id,
            aws_secret_access_key=aws_secret_access_key,
            aws_session_token=aws_session_token,
            allow_http=allow_http,
        )
        self.region = service.region
        self.base_url = service.base_url
        self._http = Http(service.base_url, transport)
        policy = _engine.Policy(check_retry(retry))
        self._blocking = Operations(BLOCKING, self._http, service, policy, check_timeout(timeout))
        self._awaited = replace(self._blocking, io=ASYNC)

    def __repr__(self) -> str:
        return f"KendraPlans(region={self.region!r}, base_url={self.base_url!r})"

    def create(
        self,
        name: str,
        *,
        description: str | None = None,
        capacity_units: int | None = None,
        tags: Mapping[str, str] | None = None,
        client_token: str | None = None,
    ) -> CreatedPlan:
        """Ask for a plan; $0.14 an hour from then on, and $0.0035 for each capacity unit more (read 2026-11-20).

        Args:
            name: Letters, digits, ``-`` and ``_``; not unique to the service.
            description: At most 1,000 characters.
            capacity_units: Units beyond the first, 0 to 1,000; each adds 0.01 requests a second.
            tags: At most 200.
            client_token: Several calls with one token make one plan. None: made for this call, and kept over its
                retries, so that a lost answer does not leave a second plan behind.
        """
        return run(self._blocking.create(create_members(name, description, capacity_units, tags, client_token)))

    async def acreate(
        self,
        name: str,
        *,
        description: str | None = None,
        capacity_units: int | None = None,
        tags: Mapping[str, str] | None = None,
        client_token: str | None = None,
    ) -> CreatedPlan:
        """The same as `create`, in the running event loop."""
        return await self._awaited.create(create_members(name, description, capacity_units, tags, client_token))

    def describe(self, plan_id: str) -> Plan:
        """All that the service tells of a plan.

        Raises:
            NotFoundError: There is no such plan, or no more.
        """
        return run(self._blocking.describe(plan_id))

    async def adescribe(self, plan_id: str) -> Plan:
        """The same as `describe`, in the running event loop."""
        return await self._awaited.describe(plan_id)

    def list(self, *, page_size: int | None = None) -> Iterator[PlanSummary]:
        """The plans of this account and region, in the service's order, which it does not document.

        A page is fetched when its first plan is asked for; each has the whole `timeout`.

        Args:
            page_size: Plans a request, 1 to 50; None leaves it to the service.
        """
        return each(self._blocking, Pages(check_page_size(page_size)))

    def alist(self, *, page_size: int | None = None) -> AsyncIterator[PlanSummary]:
        """The same as `list`, for ``async for`` in the running event loop."""
        return aeach(self._awaited, Pages(check_page_size(page_size)))

    def update(
        self,
        plan_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        capacity_units: int | None = None,
    ) -> None:
        """Change what is given, within the limits of `create`; the plan is UPDATING for a while, then ACTIVE again.

        Raises:
            ConflictError: The plan is not ACTIVE; with several `attempts` also because the first of them, whose
                answer was lost, is being carried out: `describe` tells.
        """
        run(self._blocking.update(update_members(plan_id, name, description, capacity_units)))

    async def aupdate(
        self,
        plan_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        capacity_units: int | None = None,
    ) -> None:
        """The same as `update`, in the running event loop."""
        await self._awaited.update(update_members(plan_id, name, description, capacity_units))

    def delete(self, plan_id: str) -> None:
        """Ask for the end of a plan, which takes minutes; `wait_deleted` waits for it.

        A retry that finds the plan gone or going is a success: the first answer was lost, not the work.

        Raises:
            NotFoundError: There was no such plan.
            ConflictError: The plan is not ACTIVE.
        """
        run(self._blocking.delete(plan_id))

    async def adelete(self, plan_id: str) -> None:
        """The same as `delete`, in the running event loop."""
        await self._awaited.delete(plan_id)

    def wait_active(
        self,
        plan_id: str,
        *,
        timeout: float = WATCH_TIMEOUT,
        poll_seconds: float = LONGEST_PAUSE,
        progress: Callable[[Plan], object] | None = None,
    ) -> Plan:
        """The plan once it is ACTIVE, after it was created or updated.

        A look that is throttled is repeated, and so is any other that may pass, once the plan has been seen.

        Args:
            plan_id: As `create` and `list` tell it.
            timeout: Seconds to wait; the service does not say how long it may take.
            poll_seconds: The longest pause between two looks; the first is 1 second at most, each further twice that.
            progress: Called with the plan as each look shows it.

        Raises:
            ConflictError: The plan is FAILED or DELETING; the text has the service's reason.
            DeadlineExceededError: `timeout` is over; the text has the last status.
        """
        return run(self._blocking.wait_active(plan_id, Watch(timeout, poll_seconds, progress)))

    async def await_active(
        self,
        plan_id: str,
        *,
        timeout: float = WATCH_TIMEOUT,
        poll_seconds: float = LONGEST_PAUSE,
        progress: Callable[[Plan], object] | None = None,
    ) -> Plan:
        """The same as `wait_active`, in the running event loop."""
        return await self._awaited.wait_active(plan_id, Watch(timeout, poll_seconds, progress))

    def wait_deleted(
        self,
        plan_id: str,
        *,
        timeout: float = WATCH_TIMEOUT,
        poll_seconds: float = LONGEST_PAUSE,
        progress: Callable[[Plan], object] | None = None,
    ) -> None:
        """Return when the service knows the plan no more; arguments and errors as for `wait_active`, but for its conflicts."""
        run(self._blocking.wait_deleted(plan_id, Watch(timeout, poll_seconds, progress)))

    async def await_deleted(
        self,
        plan_id: str,
        *,
        timeout: float = WATCH_TIMEOUT,
        poll_seconds: float = LONGEST_PAUSE,
        progress: Callable[[Plan], object] | None = None,
    ) -> None:
        """The same as `wait_deleted`, in the running event loop."""
        await self._awaited.wait_deleted(plan_id, Watch(timeout, poll_seconds, progress))

    def tag(self, plan: str, tags: Mapping[str, str]) -> None:
        """Give a plan tags; a tag of the same name is replaced, others stay.

        Args:
            plan: Its ARN, or its id: then one request more, `describe`, learns the ARN, and its errors may come.
            tags: At most 200; names of 1 to 128 characters, values of up to 256.
        """
        run(self._blocking.tag(plan, checked_tags(tags)))

    async def atag(self, plan: str, tags: Mapping[str, str]) -> None:
        """The same as `tag`, in the running event loop."""
        await self._awaited.tag(plan, checked_tags(tags))

    def untag(self, plan: str, keys: Iterable[str]) -> None:
        """Take tags of these names from a plan, at most 200; names it has not got do no harm.

        Args:
            plan: As for `tag`.
            keys: The tags' names.
        """
        run(self._blocking.untag(plan, checked_tag_keys(keys)))

    async def auntag(self, plan: str, keys: Iterable[str]) -> None:
        """The same as `untag`, in the running event loop."""
        await self._awaited.untag(plan, checked_tag_keys(keys))

    def tags(self, plan: str) -> dict[str, str]:
        """A plan's tags, by name.

        Args:
            plan: As for `tag`.
        """
        return run(self._blocking.tags(plan))

    async def atags(self, plan: str) -> dict[str, str]:
        """The same as `tags`, in the running event loop."""
        return await self._awaited.tags(plan)

    def close(self) -> None:
        """Close what blocking calls opened; the object cannot be used after."""
        self._http.close()

    async def aclose(self) -> None:
        """Close what blocking calls and the running event loop opened; the object cannot be used after."""
        await self._http.aclose()
