"""Amazon Kendra Intelligent Ranking, `Rescore`: https://docs.aws.amazon.com/kendra/latest/APIReference (read 2026-11-20).

The service takes no new customers since 2026-07-30; existing ones keep it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

from rerankkit._checks import check_choice, is_blank
from rerankkit._kendra_service import PLAN_PRICE, PRICES_READ, UNIT_PRICE, KendraService, check_plan_id
from rerankkit._parsing import Form
from rerankkit._rendering import field_value, is_empty, missing_fields, own_text
from rerankkit._secret import SecretValue, hidden
from rerankkit._wire import HttpRequest, HttpResponse
from rerankkit.errors import InvalidRequestError
from rerankkit.provider import Batch, Content, Limits, Model, Prepared, Price, Provider, Reply, check_results
from rerankkit.types import Document, Skipped

DOCUMENTS = 25  # a request; entries of one group count once.  Quotas page of 2023-04, read 2026-11-20
DOCUMENTS_PER_GROUP = 3  # same page
MAX_QUERY_UNITS = 1_000  # UTF-16 code units here and below, the strictest reading.  botocore 2022-10-19
MAX_TITLE_UNITS = 1_024
MAX_BODY_UNITS = 2_048
MANY_SPACES = re.compile(" {2,}")
REFUSED = frozenset({"Cc", "Cf", "Cn", "Co"})  # the pattern of a body, ^\P{C}*$, without its surrogates.  Same source
MAX_SCORE = 100_000.0  # of OriginalScore, either sign.  botocore 2022-10-19

_PRICE = Price(
    PLAN_PRICE, 1, "hour of a plan", f"AWS pricing page, read {PRICES_READ}; ${UNIT_PRICE} an hour for each further unit"
)

MODELS: Mapping[str, Model] = {
    "rescore": Model("rescore", Limits(DOCUMENTS), _PRICE, "listwise; 0.01 requests/s a unit; closed to new customers")
}


class Kendra(KendraService, Provider):
    """Amazon Kendra Intelligent Ranking with one rescore execution plan.

    Its scores depend on the whole list of one request and have no documented range. Of a longer list the first 25
    documents are ranked, so the first stage's order matters; so do its scores (`Document.score`), which the
    service takes into account. English only, as far as is known.

    Args:
        plan_id: The rescore execution plan, 36 characters; `KendraPlans` makes one.
        region: None: from AWS_REGION, AWS_DEFAULT_REGION, or the profile.
        base_url: None: from AWS_ENDPOINT_URL_KENDRA_RANKING or AWS_ENDPOINT_URL, or the region's own.
        fips: Use the region's FIPS endpoint.
        profile: Of the AWS configuration files.
        aws_access_key_id: None, like the next two: from botocore's credential chain.
        overflow: What becomes of documents beyond the 25th: ``"append"`` lets them follow in their order without
            a score, ``"error"`` refuses the call.
        allow_http: Lets `base_url` be unencrypted beyond this machine.

    Raises:
        InvalidRequestError: No region, or an argument that is out of range.
    """

    pointwise = False
    conventional_name = "aws.kendra_ranking"
    takes_top_n = False
    models = MODELS
    throttled_hint = "a plan answers 0.01 requests a second for each capacity unit it has, one unit by default"

    def __init__(
        self,
        plan_id: str,
        *,
        region: str | None = None,
        base_url: str | None = None,
        fips: bool = False,
        profile: str | None = None,
        aws_access_key_id: str | None = None,
        aws_secret_access_key: str | SecretValue | None = None,
        aws_session_token: str | SecretValue | None = None,
        overflow: Literal["append", "error"] = "append",
        allow_http: bool = False,
    ) -> None:
        aws_secret_access_key, aws_session_token = hidden(aws_secret_access_key), hidden(aws_session_token)
        self.plan_id = check_plan_id(plan_id)
        super().__init__(
            region=region,
            base_url=base_url,
            fips=fips,
            profile=profile,
            aws_access_key_id=aws_access_key_id,
            aws_secret_access_key=aws_secret_access_key,
            aws_session_token=aws_session_token,
            allow_http=allow_http,
        )
        self.overflow = check_choice("overflow", overflow, ("append", "error"))

    def _repr_arguments(self) -> str:
        where = "" if self.is_at_home else f", base_url={self.base_url!r}"
        return f"{self.plan_id!r}, region={self.region!r}{where}"

    @property
    def limits(self) -> Limits:
        """What one request may hold."""
        return Limits(DOCUMENTS)

    def check_query(self, query: str) -> None:
        """Refuse a query over 1,000 units: cutting it would change what is asked."""
        units = utf16_units(query)
        if units > MAX_QUERY_UNITS:
            raise InvalidRequestError(f"query has {units:,} characters, kendra takes at most {MAX_QUERY_UNITS:,}: shorten it")

    def prepare(self, items: Sequence[str | Document]) -> Prepared:
        """Entries with an Id, an OriginalScore, and what of title and body the service takes."""
        changes: Counter[str] = Counter()
        documents = [Document(text=item) if isinstance(item, str) else item for item in items]
        scores = _original_scores(documents, changes)
        groups = _Groups(self.overflow, len(documents))
        contents: dict[int, Content] = {}
        skipped: dict[int, Skipped] = {}
        for index, document in enumerate(documents):
            ranked = dict(_ranked_members(index, document, changes))
            if not ranked and not is_empty(document) and field_value(document, "text") is None:
                raise missing_fields(index, document, ("text", "title"))
            if not ranked:
                skipped[index] = "blank"
            elif not groups.admit(document.group_id):
                skipped[index] = "over_limit"
            else:
                identity = {"Id": str(len(contents)), "OriginalScore": scores[index], **groups.member(document.group_id)}
                contents[index] = identity | ranked
        return Prepared(contents, skipped, tuple(_told(changes, skipped)))

    def build_request(self, batch: Batch) -> HttpRequest:
        """The operation ``Rescore``."""
        members = {"RescoreExecutionPlanId": self.plan_id, "SearchQuery": batch.query, "Documents": batch.documents}
        return self.operation("Rescore", members)

    def parse_response(self, batch: Batch, response: HttpResponse) -> Reply:
        """The scores; a group's is that of each of its documents, and a document left out has none."""
        answer = _ANSWER.parse(response.content)
        positions = _positions(batch.documents)
        results = [(positions.get(item["DocumentId"]), item["Score"], item["DocumentId"]) for item in answer["ResultItems"]]
        unknown = [name for places, _, name in results if places is None]
        if unknown:
            raise ValueError(f"DocumentId {unknown[0][:40]!r}, which was not sent")
        pairs = [(position, score) for places, score, _ in results for position in places or ()]
        return Reply(
            scores=check_results(batch, pairs, partial=True),
            request_id=self.request_id(response) or answer.get("RescoreId"),
        )


class _RescoreItem(TypedDict):
    DocumentId: str
    Score: float


class _RescoreAnswer(TypedDict):
    ResultItems: list[_RescoreItem]
    RescoreId: NotRequired[str | None]


_ANSWER = Form(_RescoreAnswer)


class _Groups:
    """Which documents fit into one request, and the names their groups have there."""

    def __init__(self, overflow: str, count: int) -> None:
        self._refuses = overflow == "error"
        self._count = count
        self._sizes: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self._singles = 0

    def admit(self, group_id: str | None) -> bool:
        """Whether a document of this group, or of none, still fits.

        Raises:
            InvalidRequestError: The group is too large, or the list is and was not to be.
        """
        if group_id in self._names:
            self._check_size(group_id)
            return True
        if self._singles + len(self._names) == DOCUMENTS:
            self._check_overflow()
            return False
        if group_id is None:
            self._singles += 1
        else:
            self._names[group_id] = f"g{len(self._names)}"
            self._check_size(group_id)
        return True

    def member(self, group_id: str | None) -> Mapping[str, str]:
        """The request member of the group; its own name stays here."""
        return {} if group_id is None else {"GroupId": self._names[group_id]}

    def _check_size(self, group_id: str) -> None:
        self._sizes[group_id] += 1
        if self._sizes[group_id] > DOCUMENTS_PER_GROUP:
            raise InvalidRequestError(
                f"group {group_id!r} has more than {DOCUMENTS_PER_GROUP} documents, all kendra takes of one: keep the best"
            )

    def _check_overflow(self) -> None:
        if self._refuses:
            raise InvalidRequestError(
                f"kendra ranks at most {DOCUMENTS} documents, got {self._count}; its scores depend on the whole list, "
                "so that it cannot be split: pass fewer, or overflow='append'"
            )


def _original_scores(documents: Sequence[Document], changes: Counter[str]) -> list[float]:
    """The first stage's scores where every document has one, or else its ranks: never a mixture of the two."""
    given = [document.score for document in documents if document.score is not None and math.isfinite(document.score)]
    if len(given) == len(documents):
        changes[f"first-stage scores cut to ±{MAX_SCORE:,.0f}"] = sum(abs(score) > MAX_SCORE for score in given)
        return [max(-MAX_SCORE, min(MAX_SCORE, float(score))) for score in given]
    changes["documents without a finite first-stage score, so that ranks stand for all"] = len(given) and len(documents) - len(
        given
    )
    return [float(len(documents) - index) for index in range(len(documents))]


def _ranked_members(index: int, document: Document, changes: Counter[str]) -> Iterator[tuple[str, object]]:
    """Title and body, each as text or as tokens; nothing if there is nothing to rank."""
    if document.tokenized_title is not None:
        yield "TokenizedTitle", _tokens(index, document.tokenized_title)
    elif title := _fitted("titles", document.title or "", MAX_TITLE_UNITS, changes):
        yield "Title", title
    if document.tokenized_body is not None:
        yield "TokenizedBody", _tokens(index, document.tokenized_body)
    elif body := _fitted("bodies", _text(index, document), MAX_BODY_UNITS, changes):
        yield "Body", body


def _text(index: int, document: Document) -> str:
    """The body; a document may have a title alone."""
    return "" if field_value(document, "text") is None else own_text(index, document)


def _tokens(index: int, tokens: Sequence[str]) -> list[str]:
    right = all(isinstance(token, str) and 0 < utf16_units(token) <= MAX_BODY_UNITS for token in tokens)
    if isinstance(tokens, str) or not tokens or not right:
        raise InvalidRequestError(
            f"documents[{index}]: tokens must be texts of 1 to {MAX_BODY_UNITS:,} characters, at least one; or leave them None"
        )
    return list(tokens)


def _fitted(kind: str, text: str, most: int, changes: Counter[str]) -> str:
    """*text* as the service takes it, and a note of what had to be changed."""
    clean = "" if is_blank(text) else printable(text)
    short = shortened(clean, most)
    changes[f"{kind} with control or format characters, which were sent as spaces"] += clean != text and not is_blank(text)
    changes[f"{kind} cut to {most:,} characters"] += short != clean
    return short


def printable(text: str) -> str:
    """*text* with a space for each run of characters of Unicode category C, which the service refuses.

    Lone surrogates stay: they are replaced where a request is encoded, by the same rule for all services.
    """
    if text.isprintable():
        return text
    clean = "".join(" " if unicodedata.category(char) in REFUSED else char for char in text)
    return text if clean == text else MANY_SPACES.sub(" ", clean).strip()


def utf16_units(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def shortened(text: str, most: int) -> str:
    """*text* cut at a word's end to at most *most* UTF-16 units."""
    if utf16_units(text) <= most:
        return text
    head = text.encode("utf-16-le", "surrogatepass")[: 2 * most].decode("utf-16-le", "surrogatepass")
    head = head if text.startswith(head) else head[:-1]  # which is half a character
    whole_words = head if text[len(head)] == " " else head.rpartition(" ")[0]
    return (whole_words or head).rstrip()


def _told(changes: Counter[str], skipped: Mapping[int, Skipped]) -> Iterator[str]:
    yield from (f"{what}: {count}" for what, count in changes.items() if count)
    over = sum(reason == "over_limit" for reason in skipped.values())
    if over:
        yield f"documents beyond the first {DOCUMENTS}, which were not ranked and follow in their order: {over}"


def _positions(documents: Sequence[Content]) -> dict[str, list[int]]:
    """Where the entries stand that a DocumentId of the answer means: a group answers under its own name.

    That is what AWS's own plugin relies on; should an entry of a group answer for itself, it is understood as well.
    """
    positions: dict[str, list[int]] = {}
    for position, entry in enumerate(documents):
        if isinstance(entry, Mapping):
            positions[str(entry["Id"])] = [position]
            if "GroupId" in entry:
                positions.setdefault(str(entry["GroupId"]), []).append(position)
    return positions
