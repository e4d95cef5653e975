"""Recordings and real data beside the checkout; tests that need them skip where they are absent."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(os.environ.get("RERANKKIT_SHARED") or Path(__file__).parents[3] / "shared")

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the recordings are not beside this checkout")


@cache
def recording(name: str) -> Mapping[str, Any]:
    """A recorded exchange of an official SDK."""
    return json.loads((SHARED / "wire" / f"{name}.json").read_text("utf-8"))


@cache
def kendra_recording(name: str) -> Mapping[str, Any]:
    """A recorded exchange of botocore."""
    cases = json.loads((SHARED / "wire" / "kendra" / "requests.json").read_text("utf-8"))["cases"]
    return next(case for case in cases if case["name"] == name)


@cache
def cassette(name: str) -> Mapping[str, Any]:
    """A real reply."""
    return json.loads((SHARED / "cassettes" / f"{name}.json").read_text("utf-8"))
