"""Amazon Kendra Intelligent Ranking over AWS JSON 1.0: `Rescore` and `CreateRescoreExecutionPlan`.

Constraints from botocore kendra-ranking 2022-10-19 and the quotas page, read 2026-11-20.  Signatures are looked at
for their form, not recomputed.
"""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from rerankkit.emulator.service import Answer, Call, EmulatedService, Form, Refusal, Scorer, fill, json_object
from rerankkit.providers.kendra import DOCUMENTS, DOCUMENTS_PER_GROUP, MAX_SCORE

PLAN_ID = "00000000-0000-4000-8000-000000000000"
"""A plan that is there from the start."""

TARGET = "AWSKendraRerankingFrontendService."
CONTENT_TYPE = "application/x-amz-json-1.0"
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/,\s]+)/\d{8}/(?P<region>[a-z0-9-]+)/kendra-ranking/aws4_request, ?"
    r"SignedHeaders=(?P<signed>[a-z0-9;-]+), ?Signature=[0-9a-f]{64}"
)
MUST_BE_SIGNED = {"host", "x-amz-date", "x-amz-target", "content-type"}
CODES = {"com.amazon.coral.service": {"UnknownOperationException", "SerializationException"}}

Name = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]*$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Tokens = Annotated[list[Text], Field(min_length=1)]


class _Document(Form):
    Id: Text
    OriginalScore: float = Field(ge=-MAX_SCORE, le=MAX_SCORE)
    GroupId: Text | None = None
    Title: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    Body: Text | None = None
    TokenizedTitle: Tokens | None = None
    TokenizedBody: Tokens | None = None

    def text(self) -> str:
        parts = [self.Title, self.Body, *(self.TokenizedTitle or ()), *(self.TokenizedBody or ())]
        return " ".join(part for part in parts if part)


class _Rescore(Form):
    RescoreExecutionPlanId: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9-]{35}$")]
    SearchQuery: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    Documents: Annotated[list[_Document], Field(min_length=1)]


class _Capacity(Form):
    RescoreCapacityUnits: int = Field(ge=0)


class _Tag(Form):
    Key: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    Value: Annotated[str, StringConstraints(max_length=256)]


class _Create(Form):
    Name: Name
    Description: Annotated[str, StringConstraints(max_length=1000)] | None = None
    CapacityUnits: _Capacity | None = None
    Tags: Annotated[list[_Tag], Field(max_length=200)] | None = None
    ClientToken: Annotated[str, StringConstraints(max_length=64)] | None = None


class KendraEmulator(EmulatedService):
    """``POST /`` with the operation in ``X-Amz-Target``."""

    def __init__(self, scorer: Scorer, keys: Collection[str] | None) -> None:
        super().__init__(scorer, keys)
        self._plans: dict[str, str] = {PLAN_ID: ""}
        self._by_token: dict[str, str] = {}

    def answer(self, call: Call) -> Answer:
        """The reply to *call*."""
        operation = call.headers.get("x-amz-target", "").removeprefix(TARGET)
        known = {"Rescore": self._rescore, "CreateRescoreExecutionPlan": self._create}
        right = call.method == "POST" and call.path == "/" and call.headers.get("content-type") == CONTENT_TYPE
        if not right or operation not in known:
            raise _refusal("UnknownOperationException", "")
        region = self._authorize(call)
        members = json_object(call.body)
        if members is None:
            raise _refusal("SerializationException", "")
        return Answer(known[operation](members, region), headers={"x-amzn-requestid": str(uuid.uuid4())})

    def _authorize(self, call: Call) -> str:
        """The region the request is signed for."""
        if "authorization" not in call.headers:
            raise _refusal("MissingAuthenticationTokenException", "Missing Authentication Token", 403)
        parts = AUTHORIZATION.fullmatch(call.headers["authorization"])
        if parts is None or not set(parts["signed"].split(";")) >= MUST_BE_SIGNED:
            raise _refusal("IncompleteSignatureException", "Authorization header is not complete", 403)
        if not self.accepts(parts["key"]):
            raise _refusal("UnrecognizedClientException", "The security token included in the request is invalid.", 403)
        return parts["region"]

    def _rescore(self, members: Mapping[str, Any], region: str) -> Mapping[str, Any]:
        form = fill(_Rescore, members, _wrong_member)
        groups = _groups(form.Documents)
        if form.RescoreExecutionPlanId not in self._plans:
            raise _refusal(
                "ResourceNotFoundException", "The resource you want to use doesn't exist. Please check it and try again."
            )
        scores = self.scorer(form.SearchQuery, [document.text() for document in form.Documents])
        best: dict[str, tuple[float, float]] = {}
        for document, score in zip(form.Documents, scores, strict=True):
            name = document.GroupId or document.Id
            best[name] = max(best.get(name, (-1.0, 0.0)), (score, document.OriginalScore))
        order = sorted(groups, key=lambda name: best[name], reverse=True)
        items = [{"DocumentId": name, "Score": round(best[name][0], 6)} for name in order]
        return {"RescoreId": str(uuid.uuid4()), "ResultItems": items}

    def _create(self, members: Mapping[str, Any], region: str) -> Mapping[str, Any]:
        form = fill(_Create, members, _wrong_member)
        if not printable(form.Description or ""):
            raise _wrong_member("Description", r"must satisfy regular expression pattern: ^\P{C}*$")
        token = form.ClientToken or str(uuid.uuid4())
        plan = self._by_token.setdefault(token, str(uuid.uuid4()))
        self._plans[plan] = form.Name
        return {"Id": plan, "Arn": f"arn:aws:kendra-ranking:{region}:000000000000:rescore-execution-plan/{plan}"}


def _groups(documents: list[_Document]) -> list[str]:
    """The names that are answered for, after the checks."""
    for place, document in enumerate(documents):
        exclusive = (("Title", "TokenizedTitle"), ("Body", "TokenizedBody"))
        for plain, tokenized in exclusive:
            if getattr(document, plain) is not None and getattr(document, tokenized) is not None:
                raise _wrong_member(f"Documents.{place}.{plain}", f"stands beside {tokenized}")
        if not printable(document.Body or ""):
            raise _wrong_member(f"Documents.{place}.Body", r"must satisfy regular expression pattern: ^\P{C}*$")
    if len({document.Id for document in documents}) < len(documents):
        raise _wrong_member("Documents", "an Id occurs twice")
    sizes = Counter(document.GroupId or document.Id for document in documents)
    if len(sizes) > DOCUMENTS or max(sizes.values()) > DOCUMENTS_PER_GROUP:
        raise _wrong_member("Documents", f"at most {DOCUMENTS} documents, and {DOCUMENTS_PER_GROUP} of a group")
    return list(sizes)


def printable(text: str) -> bool:
    """Whether *text* holds no character of Unicode category C."""
    return not any(unicodedata.category(char).startswith("C") for char in text)


def _wrong_member(name: str, problem: str) -> Refusal:
    return _refusal(
        "ValidationException", f"1 validation error detected: Value at '{name}' failed to satisfy constraint: {problem}"
    )


def _refusal(kind: str, message: str, status: int = 400) -> Refusal:
    gateway = kind in CODES["com.amazon.coral.service"]
    space = "com.amazon.coral.service" if gateway else "com.amazonaws.kendraranking"
    return Refusal(Answer({"__type": f"{space}#{kind}", "message": message}, status, {"x-amzn-requestid": str(uuid.uuid4())}))
