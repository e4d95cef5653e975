"""The emulated Kendra's errors: types, statuses, texts and form.

Texts are those of the API reference where it has one; what AWS answers in fact is not known.  Read 2026-11-20.
"""

from __future__ import annotations

from collections.abc import Mapping

from rerankkit.emulator.service import Answer, new_id
from rerankkit.emulator.settings import KendraSwitches

SERVICE = "com.amazonaws.kendraranking"
GATEWAY = "com.amazon.coral.service"  # what stands before every AWS service answers under a name of its own

GATEWAY_STATUSES: Mapping[str, int] = {  # under "model"; AWS's lists of common errors, as far as they agree
    "UnknownOperationException": 400,
    "SerializationException": 400,
    "RequestTimeoutException": 400,
    "RequestEntityTooLargeException": 413,
    "IncompleteSignatureException": 403,
    "InvalidSignatureException": 403,
    "MissingAuthenticationTokenException": 403,
    "UnrecognizedClientException": 403,
    "ExpiredTokenException": 403,
}
MODEL_STATUSES: Mapping[str, int] = {  # botocore kendra-ranking 2022-10-19 as of 1.43.55
    "ValidationException": 400,
    "ServiceQuotaExceededException": 402,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ResourceUnavailableException": 404,
    "ConflictException": 409,
    "ThrottlingException": 429,
}
SERVER_STATUSES: Mapping[str, int] = {"InternalServerException": 500, "ServiceUnavailableException": 503}

KINDS: Mapping[int, str] = {  # for a status of which nothing else is known
    401: "UnrecognizedClientException",
    402: "ServiceQuotaExceededException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "RequestTimeoutException",
    409: "ConflictException",
    413: "RequestEntityTooLargeException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}
MESSAGES: Mapping[str, str] = {
    "AccessDeniedException": "You don't have sufficient access to perform this action. Please ensure you have the required "
    "permission policies and user accounts and try again.",
    "ConflictException": "A conflict occurred with the request. Please fix any inconsistencies with your resources and try "
    "again.",
    "InternalServerException": "An issue occurred with the internal server used for your Amazon Kendra Intelligent Ranking "
    "service. Please wait a few minutes and try again, or contact Support for help.",
    "ResourceNotFoundException": "The resource you want to use doesn't exist. Please check you have provided the correct "
    "resource and try again.",
    "ResourceUnavailableException": "The resource you want to use is unavailable. Please check you have provided the correct "
    "resource information and try again.",
    "ServiceQuotaExceededException": "You have exceeded the set limits for your Amazon Kendra Intelligent Ranking service.",
    "ThrottlingException": "The request was denied due to request throttling. Please reduce the number of requests and try "
    "again.",
    "ValidationException": "The input fails to satisfy the constraints set by the Amazon Kendra Intelligent Ranking service. "
    "Please provide the correct input and try again.",
    "UnrecognizedClientException": "The security token included in the request is invalid.",
    "ServiceUnavailableException": "The service is unavailable. Please try again.",
}


class AwsError(Exception):
    """An error reply.

    Args:
        kind: Its type, without a namespace.
        message: None: the text of the API reference for this type.
    """

    def __init__(self, kind: str, message: str | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.message = MESSAGES.get(kind, "") if message is None else message


def error_reply(error: AwsError, switches: KendraSwitches) -> Answer:
    """*error* in the form that is switched on."""
    space = f"{GATEWAY if error.kind in GATEWAY_STATUSES else SERVICE}#" if switches.namespaced else ""
    body = {"__type": f"{space}{error.kind}", switches.message: error.message}
    return Answer(body, _status(error.kind, switches), request_id())


def kind_of(status: int) -> str:
    """A type that goes with *status*."""
    return KINDS.get(status, "InternalServerException" if status >= 500 else "ValidationException")  # noqa: PLR2004 -- 5xx


def request_id() -> Mapping[str, str]:
    """The header that every reply has."""
    return {"x-amzn-requestid": new_id()}


def _status(kind: str, switches: KendraSwitches) -> int:
    if kind in SERVER_STATUSES:
        return SERVER_STATUSES[kind]
    return 400 if switches.statuses == "reference" else {**GATEWAY_STATUSES, **MODEL_STATUSES}.get(kind, 400)
