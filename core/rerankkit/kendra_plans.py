"""Rescore execution plans, which Kendra ranks with: what a plan is given, `Kendra` uses."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from rerankkit import _engine
from rerankkit._checks import check_integer, check_timeout
from rerankkit._closing import Closing
from rerankkit._http import Http, Transport
from rerankkit._io import ASYNC, BLOCKING, IO, run
from rerankkit._kendra_service import KendraService
from rerankkit._parsing import Answer, parse
from rerankkit._secret import SecretValue
from rerankkit._wire import HttpResponse
from rerankkit.deadline import Deadline
from rerankkit.errors import InvalidRequestError
from rerankkit.retry import Retry, check_retry

# botocore kendra-ranking 2022-10-19, shapes of CreateRescoreExecutionPlan; read 2026-11-20
NAME_FORM = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,999}")
TOKEN_FORM = re.compile(r"[\x00-\x7F]{1,64}")
MAX_DESCRIPTION = 1_000  # characters
MAX_TAGS = 200
MAX_TAG_KEY = 128  # characters
MAX_TAG_VALUE = 256  # characters
MAX_CAPACITY_UNITS = 1_000  # beyond the first.  Text of CapacityUnitsConfiguration


@dataclass(frozen=True, slots=True)
class CreatedPlan:
    """A plan that has been asked for; it ranks once the service has made it, which takes minutes.

    Attributes:
        id: What `Kendra` takes as `plan_id`.
        arn: Its Amazon Resource Name.
    """

    id: str
    arn: str


class KendraPlans(Closing):
    """Manages rescore execution plans.  A plan costs money for every hour it exists, used or not.

    Args:
        region: None: from AWS_REGION, AWS_DEFAULT_REGION, or the profile.
        timeout: Seconds a call may take as a whole, retries included.

    The other arguments are those of `Kendra` and `Client`.

    Raises:
        InvalidRequestError: No region, or an argument that is out of range.
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
        self._service = KendraService(
            region=region,
            base_url=base_url,
            fips=fips,
            profile=profile,
            aws_access_key_id=aws_access_key_id,
            aws_secret_access_key=aws_secret_access_key,
            aws_session_token=aws_session_token,
            allow_http=allow_http,
        )
        self._timeout = check_timeout(timeout)
        self._policy = _engine.Policy(check_retry(retry))
        self._http = Http(self._service.base_url, transport)

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

        Raises:
            InvalidRequestError: An argument is out of range; nothing was sent.
            ProviderError: The service refused or failed.
        """
        members = _create_members(name, description, capacity_units, tags, client_token)
        return run(self._create(BLOCKING, members))

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
        members = _create_members(name, description, capacity_units, tags, client_token)
        return await self._create(ASYNC, members)

    async def _create(self, io: IO, members: Mapping[str, object]) -> CreatedPlan:
        line = _engine.Line(io, self._http, self._service, self._policy, Deadline(self._timeout))
        request = self._service.operation("CreateRescoreExecutionPlan", members)
        plan, _ = await _engine.attempt(line, request, self._parse_created)
        return plan

    def _parse_created(self, response: HttpResponse) -> CreatedPlan:
        answer = parse(_Created, response.content)
        return CreatedPlan(answer.Id, answer.Arn)

    def close(self) -> None:
        """Close what blocking calls opened; the object cannot be used after."""
        self._http.close()

    async def aclose(self) -> None:
        """Close what blocking calls and the running event loop opened; the object cannot be used after."""
        await self._http.aclose()


class _Created(Answer):
    Id: str
    Arn: str


def _create_members(
    name: str,
    description: str | None,
    capacity_units: int | None,
    tags: Mapping[str, str] | None,
    client_token: str | None,
) -> dict[str, object]:
    """The members of the request, checked; those that were not given are left out."""
    if not isinstance(name, str) or not NAME_FORM.fullmatch(name):
        raise InvalidRequestError(
            f"name must be 1 to 1,000 letters, digits, - and _, and begin with none of these two, got {name!r}"
        )
    members: dict[str, object] = {"Name": name}
    if description is not None:
        members["Description"] = _checked_text("description", description, MAX_DESCRIPTION)
    if capacity_units is not None:
        units = check_integer("capacity_units", capacity_units, 0, MAX_CAPACITY_UNITS)
        members["CapacityUnits"] = {"RescoreCapacityUnits": units}
    if tags is not None:
        members["Tags"] = _checked_tags(tags)
    members["ClientToken"] = str(uuid.uuid4()) if client_token is None else _checked_token(client_token)
    return members


def _checked_text(name: str, text: object, most: int) -> str:
    if isinstance(text, str) and len(text) <= most and not any(unicodedata.category(char).startswith("C") for char in text):
        return text
    raise InvalidRequestError(f"{name} must be a text of at most {most:,} characters without control characters, got {text!r}")


def _checked_tags(tags: Mapping[str, str]) -> list[Mapping[str, str]]:
    if not isinstance(tags, Mapping) or len(tags) > MAX_TAGS:
        raise InvalidRequestError(f"tags must be a mapping of at most {MAX_TAGS} names to values, got {tags!r}")
    for key, value in tags.items():
        if not (
            isinstance(key, str) and 0 < len(key) <= MAX_TAG_KEY and isinstance(value, str) and len(value) <= MAX_TAG_VALUE
        ):
            raise InvalidRequestError(
                f"a tag has a name of 1 to {MAX_TAG_KEY} characters and a value of up to {MAX_TAG_VALUE}: {key!r}: {value!r}"
            )
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _checked_token(token: object) -> str:
    if not isinstance(token, str) or not TOKEN_FORM.fullmatch(token):
        raise InvalidRequestError(f"client_token must be 1 to 64 ASCII characters, got {token!r}")
    return token
