"""Keys and texts that must never show, and all the places of an error where they could."""

from __future__ import annotations

import traceback
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
