"""What the emulated Kendra takes: members, constraints and quotas.

Constraints from botocore kendra-ranking 2022-10-19, quotas from the quotas page of April 2023; read 2026-11-20.
Lengths are counted in code points, as Smithy has it.  The texts have Coral's form, which is assumed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar, cast

from pydantic import Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from rerankkit.emulator.kendra_errors import AwsError
from rerankkit.emulator.service import Form
from rerankkit.providers.kendra import DOCUMENTS, DOCUMENTS_PER_GROUP, MAX_SCORE

MAX_TAGS = 200
PRINTABLE = r"^\P{C}*$"

CONSTRAINTS: Mapping[str, str] = {
    "missing": "Member must not be null",
    "model_type": "Member must be an object",
    "string_too_short": "Member must have length greater than or equal to {min_length}",
    "string_too_long": "Member must have length less than or equal to {max_length}",
    "too_short": "Member must have length greater than or equal to {min_length}",
    "too_long": "Member must have length less than or equal to {max_length}",
    "string_pattern_mismatch": "Member must satisfy regular expression pattern: {pattern}",
    "greater_than_equal": "Member must have value greater than or equal to {ge:g}",
    "less_than_equal": "Member must have value less than or equal to {le:g}",
}

Text = Annotated[str, StringConstraints(min_length=1, max_length=2048)]
Tokens = Annotated[list[Text], Field(min_length=1)]
PlanId = Annotated[str, StringConstraints(min_length=36, max_length=36, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9-]*$")]
PlanName = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]*$")]
FreeText = Annotated[str, StringConstraints(max_length=1000, pattern=PRINTABLE)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[\x00-\x7F]+$")]
TagKey = Annotated[str, StringConstraints(min_length=1, max_length=128)]
ResourceArn = Annotated[str, StringConstraints(min_length=1, max_length=1011)]


class KendraForm(Form):
    """The members of an operation."""

    def texts(self) -> list[str]:
        """What is ranked, and counts against a limit of tokens."""
        return []


class Document(Form):
    # The quotas of 200 and 100 tokens for body and title are not enforced: how the service counts is not known, nor
    # whether it refuses or cuts.
    Id: Text
    OriginalScore: float = Field(ge=-MAX_SCORE, le=MAX_SCORE)
    GroupId: Text | None = None
    Title: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    Body: Annotated[str, StringConstraints(min_length=1, max_length=2048, pattern=PRINTABLE)] | None = None
    TokenizedTitle: Tokens | None = None
    TokenizedBody: Tokens | None = None

    @property
    def group(self) -> str:
        """The name that is answered for."""
        return self.Id if self.GroupId is None else self.GroupId

    def text(self) -> str:
        """Title and body; empty if it has neither, which the model allows."""
        parts = [self.Title, self.Body, *(self.TokenizedTitle or ()), *(self.TokenizedBody or ())]
        return " ".join(part for part in parts if part)


class Rescore(KendraForm):
    RescoreExecutionPlanId: PlanId
    SearchQuery: Annotated[str, StringConstraints(min_length=1, max_length=1000)]
    Documents: Annotated[list[Document], Field(min_length=1)]

    def texts(self) -> list[str]:
        return [document.text() for document in self.Documents]


class Capacity(Form):
    RescoreCapacityUnits: int = Field(ge=0)


class Tag(Form):
    Key: TagKey
    Value: Annotated[str, StringConstraints(max_length=256)]


TagList = Annotated[list[Tag], Field(max_length=MAX_TAGS)]


class CreatePlan(KendraForm):
    Name: PlanName
    Description: FreeText | None = None
    CapacityUnits: Capacity | None = None
    Tags: TagList | None = None
    ClientToken: Token | None = None


class OnePlan(KendraForm):
    Id: PlanId


class UpdatePlan(OnePlan):
    Name: PlanName | None = None
    Description: FreeText | None = None
    CapacityUnits: Capacity | None = None


class ListPlans(KendraForm):
    NextToken: Annotated[str, StringConstraints(min_length=1, max_length=800, pattern=PRINTABLE)] | None = None
    MaxResults: Annotated[int, Field(ge=1, le=50)] | None = None


class Tagged(KendraForm):
    ResourceARN: ResourceArn


class TagResource(Tagged):
    Tags: TagList


class UntagResource(Tagged):
    TagKeys: Annotated[list[TagKey], Field(max_length=200)]


F = TypeVar("F", bound=KendraForm)


def read_form(form: type[F], members: Mapping[str, Any], *, strict: bool) -> F:
    """*members* as *form* describes them; *strict* also refuses those it does not describe.

    Raises:
        AwsError: A constraint or a quota is not kept.
    """
    try:
        filled = form.model_validate(members)
    except ValidationError as error:
        raise invalid(*map(_problem, error.errors(include_url=False))) from None
    problems = [(path, "Member is not documented") for path in _unknown(members, filled.model_dump(exclude_unset=True))]
    if strict and problems:
        raise invalid(*problems)
    if isinstance(filled, Rescore):
        check_documents(filled.Documents)
    return filled


def check_documents(documents: Sequence[Document]) -> None:
    """Quotas, and what the model leaves to its documentation.

    Raises:
        AwsError: One of these is not kept.
    """
    sizes = Counter(document.group for document in documents)
    if len(sizes) > DOCUMENTS:
        raise invalid((("Documents",), f"Member must have at most {DOCUMENTS} documents, where those of a group count once"))
    if max(sizes.values()) > DOCUMENTS_PER_GROUP:
        raise invalid((("Documents",), f"Member must have at most {DOCUMENTS_PER_GROUP} documents of a group"))
    both = [(("Documents", place, name), f"Member excludes Tokenized{name}") for place, name in _given_twice(documents)]
    if both:
        raise invalid(*both)
    if len({document.Id for document in documents}) < len(documents):
        raise invalid((("Documents",), "Member must have unique values of Id"))


def invalid(*problems: tuple[Sequence[str | int], str]) -> AwsError:
    """The refusal of members, each told by where it stands and which constraint it does not keep."""
    count = f"{len(problems)} validation error{'' if len(problems) == 1 else 's'} detected"
    told = (f"Value at '{_place(path)}' failed to satisfy constraint: {constraint}" for path, constraint in problems)
    return AwsError("ValidationException", f"{count}: {'; '.join(told)}")


def _given_twice(documents: Sequence[Document]) -> Iterator[tuple[int, str]]:
    for place, document in enumerate(documents):
        if document.Title is not None and document.TokenizedTitle is not None:
            yield place, "Title"
        if document.Body is not None and document.TokenizedBody is not None:
            yield place, "Body"


def _problem(error: ErrorDetails) -> tuple[Sequence[str | int], str]:
    kind = "missing" if error["input"] is None else error["type"]
    constraint = CONSTRAINTS.get(kind, error["msg"].replace("Input should", "Member must"))
    return error["loc"], constraint.format_map(error.get("ctx", {}))


def _place(path: Sequence[str | int]) -> str:
    """``documents.1.member.body``: names begin small, and places count from 1."""
    return ".".join(f"{part + 1}.member" if isinstance(part, int) else part[:1].lower() + part[1:] for part in path)


def _unknown(sent: object, known: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where *sent* has members that *known*, made of it, has not."""
    if isinstance(sent, dict) and isinstance(known, dict):
        documented = cast("dict[str, object]", known)
        for name, value in cast("dict[str, object]", sent).items():
            yield from _unknown(value, documented[name], (*path, name)) if name in documented else [(*path, name)]
    if isinstance(sent, list) and isinstance(known, list):
        for place, (one, other) in enumerate(zip(cast("list[object]", sent), cast("list[object]", known), strict=True)):
            yield from _unknown(one, other, (*path, place))
