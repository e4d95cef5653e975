"""AWS Signature Version 4, recomputed from the request that arrived.

What is told to the caller names no secret, no signature and nothing that was signed.  The order of the checks and the
texts are assumed; the latter as reports of other AWS JSON services (Kinesis, DynamoDB) have them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from rerankkit.emulator.kendra_errors import AwsError
from rerankkit.emulator.service import Call
from rerankkit.emulator.settings import Settings

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICE = "kendra-ranking"
TERMINATOR = "aws4_request"
TOLERANCE = 300.0  # seconds, either way; AWS's documentation says 15 minutes, its services refuse after 5
MOMENT = "%Y%m%dT%H%M%SZ"
MOMENT_FORM = re.compile(r"[0-9]{8}T[0-9]{6}Z")
REGION_FORM = re.compile(r"[a-z0-9-]+")

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and "
    "signing method. Consult the service documentation for details."
)
EXPIRED = "The security token included in the request is expired"


@dataclass(frozen=True, slots=True)
class _Claim:
    """What an Authorization header says."""

    key_id: str
    day: str
    region: str
    service: str
    terminator: str
    signed: tuple[str, ...]
    signature: str = field(repr=False)

    @property
    def scope(self) -> str:
        return f"{self.day}/{self.region}/{self.service}/{self.terminator}"


def verified_region(call: Call, settings: Settings, now: float) -> str:
    """The region that *call* is signed for, with one of the secrets in *settings*.

    Raises:
        AwsError: It is not signed, or not as it arrived, or not by a known key, or not about *now*.
    """
    claim = _claim(call.headers)
    date = _date(call.headers)
    _check_signed(claim, call.headers)
    secret = settings.aws_secrets.get(claim.key_id)
    if secret is None:
        raise AwsError("UnrecognizedClientException")
    _check_scope(claim, date)
    _check_age(date, now)
    if not hmac.compare_digest(_signature(call, claim, date, secret).encode(), claim.signature.encode()):
        raise AwsError("InvalidSignatureException", MISMATCH)
    if call.headers.get("x-amz-security-token") in settings.expired_tokens:
        raise AwsError("ExpiredTokenException", EXPIRED)
    return claim.region


def _claim(headers: Mapping[str, str]) -> _Claim:
    header = headers.get("authorization")
    if not header:
        raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token")
    algorithm, _, rest = header.strip().partition(" ")
    if algorithm != ALGORITHM:
        raise _incomplete(f"Authorization header requires the algorithm '{ALGORITHM}'.")
    parameters = {name.strip(): value.strip() for name, _, value in (part.partition("=") for part in rest.split(","))}
    absent = [name for name in ("Credential", "Signature", "SignedHeaders") if not parameters.get(name)]
    if absent:
        raise _incomplete(" ".join(f"Authorization header requires '{name}' parameter." for name in absent))
    key_id, *scope = parameters["Credential"].split("/")
    if len(scope) != 4:  # noqa: PLR2004 -- the text below says so
        raise _incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.")
    day, region, service, terminator = scope
    signed = tuple(parameters["SignedHeaders"].split(";"))
    return _Claim(key_id, day, region, service, terminator, signed, parameters["Signature"])


def _date(headers: Mapping[str, str]) -> str:
    """X-Amz-Date, whose form is right."""
    if "x-amz-date" not in headers:
        raise _incomplete("Authorization header requires existence of a 'X-Amz-Date' header.")
    date = headers["x-amz-date"].strip()
    try:
        _seconds(date)
    except ValueError:
        raise _incomplete("Date must be in ISO-8601 'basic format', such as 20260102T030405Z.") from None
    return date


def _check_signed(claim: _Claim, headers: Mapping[str, str]) -> None:
    """Host, Content-Type, X-Amz-Date, and every other X-Amz header that was sent."""
    needed = {"host", "content-type", *(name for name in headers if name.startswith("x-amz-"))}
    unsigned = sorted(needed - set(claim.signed))
    if unsigned:
        raise _incomplete(" ".join(f"'{name}' must be a 'SignedHeader' in the AWS Authorization." for name in unsigned))


def _check_scope(claim: _Claim, date: str) -> None:
    if claim.service != SERVICE:
        raise _invalid(f"Credential should be scoped to correct service: '{SERVICE}'.")
    if claim.terminator != TERMINATOR:
        raise _invalid(f"Credential should be scoped with a valid terminator: '{TERMINATOR}'.")
    if not REGION_FORM.fullmatch(claim.region):
        raise _invalid("Credential should be scoped to a valid region.")
    if claim.day != date[:8]:
        raise _invalid("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP.")


def _check_age(date: str, now: float) -> None:
    seconds = _seconds(date)
    if seconds < now - TOLERANCE:
        limit = f"{_text(now - TOLERANCE)} ({_text(now)} - 5 min.)"
        raise _invalid(f"Signature expired: {date} is now earlier than {limit}")
    if seconds > now + TOLERANCE:
        limit = f"{_text(now + TOLERANCE)} ({_text(now)} + 5 min.)"
        raise _invalid(f"Signature not yet current: {date} is still later than {limit}")


def _signature(call: Call, claim: _Claim, date: str, secret: str) -> str:
    to_sign = "\n".join((ALGORITHM, date, claim.scope, hashlib.sha256(_canonical(call, claim.signed)).hexdigest()))
    key = f"AWS4{secret}".encode()
    for part in (claim.day, claim.region, claim.service, claim.terminator, to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def _canonical(call: Call, signed: tuple[str, ...]) -> bytes:
    """The canonical request.

    A path is escaped once more, as everywhere but in S3.  Its dots and empty parts, which would have to go, never come
    this far: the emulator has no such path.
    """
    path, _, query = call.target.partition("?")
    lines = (call.method, quote(path or "/", safe="/~"), "&".join(sorted(query.split("&"))), _headers(call, signed))
    return "\n".join((*lines, ";".join(signed), hashlib.sha256(call.body).hexdigest())).encode("latin-1", "replace")


def _headers(call: Call, signed: tuple[str, ...]) -> str:
    """A line for each signed header, its white space reduced to single spaces."""
    # Only ASCII's white space: the values are bytes read as Latin-1, where half a letter may look like a no-break space.
    words = {name: re.split(r"[ \t\r\n\f\v]+", call.headers.get(name, "").strip(" \t\r\n\f\v")) for name in signed}
    return "".join(f"{name}:{' '.join(words[name])}\n" for name in signed)


def _seconds(date: str) -> float:
    if not MOMENT_FORM.fullmatch(date):
        raise ValueError(date)
    return datetime.strptime(date, MOMENT).replace(tzinfo=UTC).timestamp()


def _text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime(MOMENT)


def _incomplete(message: str) -> AwsError:
    return AwsError("IncompleteSignatureException", message)


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidSignatureException", message)
