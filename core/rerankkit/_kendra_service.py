"""Amazon Kendra Intelligent Ranking as a service: addresses, AWS JSON 1.0, signatures, errors, and what a plan costs.

Sources: botocore 1.44.5 `kendra-ranking` 2022-10-19 and its recorded requests, both read 2026-11-20.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from typing import ClassVar

from rerankkit import errors
from rerankkit._checks import check_flag
from rerankkit._endpoint import check_url
from rerankkit._secret import SecretValue, environment
from rerankkit._sigv4 import Keys, Signer, profile_region
from rerankkit._wire import HttpRequest, HttpResponse, Json, decode, encode
from rerankkit.errors import InvalidRequestError, ProviderError
from rerankkit.retry import RETRYABLE_STATUSES
from rerankkit.service import Service

TARGET = "AWSKendraRerankingFrontendService"
CONTENT_TYPE = "application/x-amz-json-1.0"
URL_NAMES = ("AWS_ENDPOINT_URL_KENDRA_RANKING", "AWS_ENDPOINT_URL")
REGION_NAMES = ("AWS_REGION", "AWS_DEFAULT_REGION")
REGION_FORM = re.compile(r"[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}")
DNS_SUFFIXES: Mapping[str, str] = {  # by the region's prefix; botocore's endpoint rules
    "cn-": "api.amazonwebservices.com.cn",
    "eusc-": "api.amazonwebservices.eu",
    "us-isob-": "api.aws.scloud",
    "us-isof-": "api.aws.hci.ic.gov",
    "us-iso-": "api.aws.ic.gov",
    "eu-isoe-": "api.cloud-aws.adc-e.uk",
    "": "api.aws",
}

THROTTLES = (  # botocore 1.44.5, the codes its standard retry mode takes for throttling
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "SlowDown",
)

# The type is in the body: the API reference answers 400 for all of the caller's errors, the service model of
# 2026-07-23 with 402, 403, 404, 409 and 429.  Both are understood.
ERROR_CLASSES: Mapping[str, type[ProviderError]] = {
    "ValidationException": errors.BadRequestError,
    "AccessDeniedException": errors.PermissionDeniedError,
    "ConflictException": errors.ConflictError,
    "ResourceNotFoundException": errors.NotFoundError,
    "ResourceUnavailableException": errors.NotFoundError,
    "ServiceQuotaExceededException": errors.PaymentRequiredError,
    **dict.fromkeys(THROTTLES, errors.RateLimitError),
    "InternalServerException": errors.ServerError,
    "InternalFailure": errors.ServerError,
    "ServiceUnavailable": errors.ServerError,
    "UnrecognizedClientException": errors.AuthenticationError,
    "InvalidSignatureException": errors.AuthenticationError,
    "SignatureDoesNotMatch": errors.AuthenticationError,
    "IncompleteSignatureException": errors.AuthenticationError,
    "IncompleteSignature": errors.AuthenticationError,
    "MissingAuthenticationTokenException": errors.AuthenticationError,
    "MissingAuthenticationToken": errors.AuthenticationError,
    "ExpiredTokenException": errors.AuthenticationError,
    "RequestExpired": errors.AuthenticationError,
}
TYPE_FORM = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,99}")  # an identifier of Smithy's, AWS's interface language
EXPIRED = frozenset({"ExpiredTokenException", "RequestExpired"})
MISSING = "ResourceNotFoundException"

PLAN_ID_FORM = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]{35}")  # botocore 2022-10-19, shape RescoreExecutionPlanId

# US dollars an hour for as long as a plan exists, used or not.  AWS pricing page, read on PRICES_READ
PLAN_PRICE = 0.14
UNIT_PRICE = 0.0035  # for each capacity unit beyond the first
PRICES_READ = "2026-11-20"


def hourly_price(capacity_units: int) -> float:
    """US dollars an hour for a plan with so many units beyond the first."""
    return PLAN_PRICE + UNIT_PRICE * capacity_units


def check_plan_id(plan_id: object) -> str:
    if not isinstance(plan_id, str) or not PLAN_ID_FORM.fullmatch(plan_id):
        raise InvalidRequestError(f"plan_id must be the 36 characters of a rescore execution plan's id, got {plan_id!r}")
    return plan_id


class KendraService(Service):
    """One region's endpoint and the credentials for it.

    Attributes:
        throttled_hint: What to know of being throttled, for the error's text.
    """

    name = "kendra"
    auth_waits = True
    model = None
    throttled_hint: ClassVar[str] = ""

    def __init__(
        self,
        *,
        region: str | None,
        base_url: str | None,
        fips: bool,
        profile: str | None,
        aws_access_key_id: str | None,
        aws_secret_access_key: SecretValue | None,
        aws_session_token: SecretValue | None,
        allow_http: bool,
    ) -> None:
        if importlib.util.find_spec("botocore") is None:
            raise InvalidRequestError("kendra signs its requests with botocore: pip install 'rerankkit[kendra]'")
        keys = Keys.find(aws_access_key_id, aws_secret_access_key, aws_session_token)
        self.region = _find_region(region, profile)
        own_url = _own_url(self.region, fips=check_flag("fips", fips))
        self.base_url = _given_url(base_url, fips=fips, allow_http=check_flag("allow_http", allow_http)) or own_url
        self._own_url = own_url
        self._signer = Signer(self.region, keys, profile)

    @property
    def is_at_home(self) -> bool:
        """Whether requests go to the region's own endpoint."""
        return self.base_url == self._own_url

    def authenticate(self, request: HttpRequest) -> HttpRequest:
        """*request*, signed."""
        return request.with_auth(self._signer.sign(request))

    def operation(self, name: str, members: Json) -> HttpRequest:
        """The request for one operation of the service."""
        content, warnings = encode(members)
        headers = {"X-Amz-Target": f"{TARGET}.{name}", "Content-Type": CONTENT_TYPE}
        return HttpRequest(f"{self.base_url}/", headers, content, warnings)

    def error_message(self, answer: Mapping[str, object]) -> str | None:
        """The member ``message``, or ``Message``."""
        message = answer.get("message") or answer.get("Message")
        return message if isinstance(message, str) else None

    def error_class(self, response: HttpResponse, message: str) -> type[ProviderError]:
        """By the error's type, and by status only where the service did not name one."""
        return ERROR_CLASSES.get(error_type(response)) or super().error_class(response, message)

    def is_retryable(self, response: HttpResponse, message: str) -> bool:
        """By class; an expired token is, if the credential chain may yield a fresh one."""
        kind = error_type(response)
        if kind in EXPIRED:
            return self._signer.refreshes
        known = ERROR_CLASSES.get(kind)
        return known.retryable_by_default if known else response.status in RETRYABLE_STATUSES

    def forget_credentials(self) -> None:
        """Ask the credential chain again."""
        self._signer.forget()

    def request_id(self, response: HttpResponse) -> str | None:
        """The header ``x-amzn-RequestId``."""
        return response.headers.get("x-amzn-requestid")

    def mask(self, content: bytes) -> bytes:
        """*content* without the caller's keys."""
        return self._signer.mask(content)

    def error(self, response: HttpResponse) -> ProviderError:
        """The exception for an error reply, with its AWS type in the text."""
        error = super().error(response)
        kind = error_type(response)
        hint = f"; {self.throttled_hint}" if kind == "ThrottlingException" and self.throttled_hint else ""
        error.args = (f"{kind}: {error.args[0]}{hint}" if kind else error.args[0],)
        return error


def is_of_type(error: ProviderError, kind: str) -> bool:
    """Whether the service itself gave this type: a gateway's 404 knows nothing of plans."""
    return str(error.args[0]).startswith(f"{kind}: ")


def error_type(response: HttpResponse) -> str:
    """The AWS error type without its namespace; empty if the reply names none, or what cannot be one."""
    kind = decode(response.content).get("__type")
    found = kind if isinstance(kind, str) else response.headers.get("x-amzn-errortype", "")
    name = found.split(":")[0].split("#")[-1]
    return name if TYPE_FORM.fullmatch(name) else ""


def _find_region(region: str | None, profile: str | None) -> str:
    found = region or environment(REGION_NAMES) or profile_region(profile)
    if not found:
        raise InvalidRequestError(f"kendra needs a region: pass region=, set {REGION_NAMES[0]}, or name one in the AWS profile")
    if not REGION_FORM.fullmatch(found):
        raise InvalidRequestError(f"region must be a name such as 'us-east-1', got {found!r}")
    return found


def _given_url(base_url: str | None, *, fips: bool, allow_http: bool) -> str | None:
    given = base_url or environment(URL_NAMES)
    if given and fips:
        where = "base_url=" if base_url else f"the environment's {' or '.join(URL_NAMES)}"
        raise InvalidRequestError(f"fips chooses among AWS's own endpoints: leave out {where}, or fips=")
    return check_url(given, allow_http=allow_http) if given else None


def _own_url(region: str, *, fips: bool) -> str:
    suffix = next(suffix for prefix, suffix in DNS_SUFFIXES.items() if region.startswith(prefix))
    return f"https://kendra-ranking{'-fips' if fips else ''}.{region}.{suffix}"
