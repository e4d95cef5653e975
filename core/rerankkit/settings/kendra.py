"""What Amazon Kendra can be told."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rerankkit.settings.services import Key, ServiceSettings


class KendraSettings(ServiceSettings):
    """The options of `rerankkit.Kendra`, which describes them."""

    provider = "kendra"

    plan_id: str
    region: str | None = None
    fips: bool = False
    profile: str | None = None
    aws_access_key_id: str | None = Field(default=None, exclude=True, repr=False)
    aws_secret_access_key: Key = None
    aws_session_token: Key = None
    overflow: Literal["append", "error"] = "append"
