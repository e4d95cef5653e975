"""The emulated Kendra, reached by boto3 and by requests of which each byte is known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from rerankkit.emulator import Emulator
from rerankkit.emulator.app import Application
from rerankkit.emulator.settings import KEY

TARGET = "AWSKendraRerankingFrontendService"
CONTENT_TYPE = "application/x-amz-json-1.0"


def boto3_client(emulator: Emulator, *, region: str = "us-east-1", checked: bool = True, **keys: str) -> Any:
    """boto3's client, which tries once; *checked*: it refuses what it sees to be wrong itself."""
    return boto3.client(
        "kendra-ranking",
        region_name=region,
        endpoint_url=emulator.urls["kendra"],
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=checked),
        **{"aws_access_key_id": KEY, "aws_secret_access_key": KEY, **keys},
    )


def signed(
    operation: str, body: bytes, *, secret: str = KEY, token: str | None = None, query: str = "", **further: str
) -> dict[str, str]:
    """The headers with which botocore would send *body*, now, to ``http://emulated/kendra/``; names in lower case.

    Each of *further* is the value of another one, whose name has underscores for hyphens.
    """
    headers = {"Host": "emulated", "X-Amz-Target": f"{TARGET}.{operation}", "Content-Type": CONTENT_TYPE}
    request = AWSRequest("POST", f"http://emulated/kendra/?{query}", headers=headers, data=body)
    for name, value in further.items():
        request.headers[name.replace("_", "-")] = value
    SigV4Auth(Credentials(KEY, secret, token), "kendra-ranking", "us-east-1").add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def exchange(
    application: Application, headers: Mapping[str, str], body: bytes, *, method: str = "POST", sent: str = "/kendra/"
) -> tuple[int, Any]:
    """Status and JSON of the reply; *sent* is what the request line named, even if the application knows it otherwise."""
    return asyncio.run(_exchange(application, headers, body, method, sent))


async def _exchange(
    application: Application, headers: Mapping[str, str], body: bytes, method: str, sent: str
) -> tuple[int, Any]:
    path, _, query = sent.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path if path.startswith("/kendra") else f"/kendra{path}",
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
    }
    replies: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        replies.append(message)

    await application(scope, receive, send)
    content = replies[1]["body"]
    return replies[0]["status"], json.loads(content) if content else None
