"""What a request about a plan may say: checked before it is sent, and what was not given is left out.

Limits: botocore kendra-ranking 2022-10-19, read 2026-11-20.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Iterable, Mapping

from rerankkit._checks import check_integer
from rerankkit._kendra_service import PLAN_ID_FORM, check_plan_id
from rerankkit.errors import InvalidRequestError

NAME_FORM = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,999}")
TOKEN_FORM = re.compile(r"[\x00-\x7F]{1,64}")
ARN_FORM = re.compile(r"arn(:[a-z0-9.-]{1,63})(:[a-z0-9.-]{0,63}){3}:[^/\s]\S*")
MAX_ARN = 1_011  # characters, of ResourceARN
MAX_DESCRIPTION = 1_000  # characters
MAX_TAGS = 200
MAX_TAG_KEY = 128  # characters
MAX_TAG_VALUE = 256  # characters
MAX_CAPACITY_UNITS = 1_000  # beyond the first.  Text of CapacityUnitsConfiguration
MAX_PAGE_SIZE = 50


def create_members(
    name: str,
    description: str | None,
    capacity_units: int | None,
    tags: Mapping[str, str] | None,
    client_token: str | None,
) -> dict[str, object]:
    """For CreateRescoreExecutionPlan; the token is made here, once for all attempts."""
    members = {"Name": _checked_name(name), **_changes(None, description, capacity_units)}
    if tags is not None:
        members["Tags"] = checked_tags(tags)
    members["ClientToken"] = str(uuid.uuid4()) if client_token is None else _checked_token(client_token)
    return members


def update_members(plan_id: str, name: str | None, description: str | None, capacity_units: int | None) -> dict[str, object]:
    """For UpdateRescoreExecutionPlan.

    Raises:
        InvalidRequestError: It would change nothing, too.
    """
    members = {"Id": check_plan_id(plan_id), **_changes(name, description, capacity_units)}
    if len(members) == 1:
        raise InvalidRequestError("the update changes nothing: pass name=, description= or capacity_units=")
    return members


def _changes(name: str | None, description: str | None, capacity_units: int | None) -> dict[str, object]:
    members: dict[str, object] = {}
    if name is not None:
        members["Name"] = _checked_name(name)
    if description is not None:
        members["Description"] = _checked_text("description", description, MAX_DESCRIPTION)
    if capacity_units is not None:
        units = check_integer("capacity_units", capacity_units, 0, MAX_CAPACITY_UNITS)
        members["CapacityUnits"] = {"RescoreCapacityUnits": units}
    return members


def check_page_size(page_size: object) -> int | None:
    return None if page_size is None else check_integer("page_size", page_size, 1, MAX_PAGE_SIZE)


def check_plan(plan: object) -> str:
    """*plan*, if it is an id or an ARN."""
    if isinstance(plan, str) and (PLAN_ID_FORM.fullmatch(plan) or is_arn(plan)):
        return plan
    raise InvalidRequestError(
        f"plan must be the 36 characters of a plan's id, or its ARN ('arn:...', at most {MAX_ARN:,} characters), got {plan!r}"
    )


def is_arn(plan: str) -> bool:
    return len(plan) <= MAX_ARN and ARN_FORM.fullmatch(plan) is not None


def checked_tags(tags: Mapping[str, str]) -> list[Mapping[str, str]]:
    """For the member Tags."""
    if not isinstance(tags, Mapping) or len(tags) > MAX_TAGS:
        raise InvalidRequestError(f"tags must be a mapping of at most {MAX_TAGS} names to values, got {tags!r}")
    for key, value in tags.items():
        if not (_is_text(key, 1, MAX_TAG_KEY) and _is_text(value, 0, MAX_TAG_VALUE)):
            raise InvalidRequestError(
                f"a tag has a name of 1 to {MAX_TAG_KEY} characters and a value of up to {MAX_TAG_VALUE}: {key!r}: {value!r}"
            )
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def checked_tag_keys(keys: Iterable[str]) -> list[str]:
    """For the member TagKeys."""
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise InvalidRequestError(f"keys must be a list of tags' names, got {keys!r}; wrap it in a list")
    names = list(keys)
    if len(names) > MAX_TAGS:
        raise InvalidRequestError(f"keys must be at most {MAX_TAGS} names of tags, got {len(names)}: remove them in parts")
    wrong = [name for name in names if not _is_text(name, 1, MAX_TAG_KEY)]
    if wrong:
        raise InvalidRequestError(f"a tag has a name of 1 to {MAX_TAG_KEY} characters, got {wrong[0]!r}")
    return names


def _is_text(text: object, least: int, most: int) -> bool:
    """Whether *text* is one of so many characters, none of them half a character."""
    return isinstance(text, str) and least <= len(text) <= most and not re.search("[\ud800-\udfff]", text)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not NAME_FORM.fullmatch(name):
        raise InvalidRequestError(
            f"name must be 1 to 1,000 letters, digits, - and _, and begin with none of these two, got {name!r}"
        )
    return name


def _checked_text(name: str, text: object, most: int) -> str:
    if isinstance(text, str) and len(text) <= most and not any(unicodedata.category(char).startswith("C") for char in text):
        return text
    raise InvalidRequestError(f"{name} must be a text of at most {most:,} characters without control characters, got {text!r}")


def _checked_token(token: object) -> str:
    if not isinstance(token, str) or not TOKEN_FORM.fullmatch(token):
        raise InvalidRequestError(f"client_token must be 1 to 64 ASCII characters, got {token!r}")
    return token
