"""Keys and texts that must never show, and all the places of an error where they could."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from helpers.services import KENDRA, Service

KEY = "canary-key-5f1d7c2e9b"
TOKEN = "canary-token-77aa0be1"
TEXT = "canary-text-c0ffee"


def key_options(service: Service) -> dict[str, Any]:
    """The provider's options that hold the canary keys."""
    if service.name == KENDRA.name:
        return {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": KEY, "aws_session_token": TOKEN}
    return {"api_key": KEY}


def secrets(service: Service) -> list[str]:
    return [KEY, TOKEN] if service.name == KENDRA.name else [KEY]


def assert_silent(*shown: str | bytes) -> None:
    for text in shown:
        found = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        place = found.find(b"canary")
        assert place < 0, found[max(0, place - 500) : place + 500]


def shown_of(error: BaseException | None) -> list[str]:
    """All that an error and those it came from have to say."""
    shown: list[str] = []
    while error is not None:
        shown += [repr(error), str(error), str(error.args), str(vars(error)), *getattr(error, "__notes__", ())]
        shown += traceback.format_exception(error)
        error = error.__cause__ or error.__context__
    return shown


def error_chain(error: BaseException | None, seen: list[BaseException] | None = None) -> list[BaseException]:
    """*error*, what it came from by either link, and so on."""
    found = [] if seen is None else seen
    if error is not None and not any(error is known for known in found):
        found.append(error)
        error_chain(error.__cause__, found)
        error_chain(error.__context__, found)
    return found


def held_in_frames(error: BaseException | None) -> Iterator[str]:
    """What error trackers record: the locals of all frames of all errors of the chain, but for those of the tests."""
    for each in error_chain(error):
        trace: TracebackType | None = each.__traceback__
        while trace is not None:
            frame = trace.tb_frame
            if f"{os.sep}tests{os.sep}" not in frame.f_code.co_filename:
                yield from (f"{frame.f_code.co_qualname}: {name}={_safe(value)}" for name, value in frame.f_locals.items())
            trace = trace.tb_next


def _safe(value: object) -> str:
    """Its repr, without the caller's text, which is an argument of every call."""
    try:
        return repr(value).replace(TEXT, "a text")
    except Exception as error:  # noqa: BLE001 -- half-made objects
        return type(error).__name__
