"""Amazon Kendra Intelligent Ranking over AWS JSON 1.0: all nine operations of botocore kendra-ranking 2022-10-19.

Checks come in this order, which is assumed: address and operation, JSON, signature, constraints and quotas, rate, plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from rerankkit.emulator.kendra_errors import AwsError, error_reply, kind_of, request_id
from rerankkit.emulator.kendra_forms import (
    CreatePlan,
    Document,
    KendraForm,
    ListPlans,
    OnePlan,
    Rescore,
    Tagged,
    TagResource,
    UntagResource,
    UpdatePlan,
    read_form,
)
from rerankkit.emulator.kendra_plans import PLAN_ID, Plans, arn
from rerankkit.emulator.limits import Exceeded
from rerankkit.emulator.service import Answer, Call, EmulatedService, json_object, new_id
from rerankkit.emulator.signatures import verified_region
from rerankkit.emulator.tokens import tokens
from rerankkit.emulator.world import World

__all__ = ["PLAN_ID", "KendraEmulator"]

TARGET = "AWSKendraRerankingFrontendService."
CONTENT_TYPE = "application/x-amz-json-1.0"
CBOR_PATH = "/service/AWSKendraRerankingFrontendService/operation/"
CBOR_TYPE = "application/cbor"
NO_CBOR = "CBOR (smithy-rpc-v2-cbor) is not spoken here: send AWS JSON 1.0 to POST /, as botocore does"

Members: TypeAlias = Mapping[str, Any]
Body: TypeAlias = Mapping[str, object] | None
F = TypeVar("F", bound=KendraForm)


class KendraEmulator(EmulatedService):
    """``POST /`` with the operation in ``X-Amz-Target``; plans belong to the region that a request is signed for."""

    name = "kendra"
    content_type = CONTENT_TYPE
    results = "ResultItems"
    place = "DocumentId"
    score = "Score"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._started = world.clock.now()
        self._regions: dict[str, Plans] = {}
        self._operations: Mapping[str, Callable[[Members, Plans], Body]] = {
            "Rescore": self._rescore,
            "CreateRescoreExecutionPlan": self._create,
            "DescribeRescoreExecutionPlan": self._describe,
            "ListRescoreExecutionPlans": self._list,
            "UpdateRescoreExecutionPlan": self._update,
            "DeleteRescoreExecutionPlan": self._delete,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            "ListTagsForResource": self._list_tags,
        }

    def answer(self, call: Call) -> Answer:
        """The reply to *call*."""
        try:
            return Answer(self._body(call), headers=request_id())
        except AwsError as error:
            return self._error(error)

    def failure(self, status: int, message: str | None = None) -> Answer:
        """An error of a type that goes with *status*."""
        answer = self._error(AwsError(kind_of(status), message))
        return Answer(answer.body, status, answer.headers)

    def reset(self) -> None:
        """Plans and tokens as at the start."""
        self._started = self.world.clock.now()
        self._regions.clear()

    def _error(self, error: AwsError) -> Answer:
        return error_reply(error, self.world.settings.kendra)

    def _body(self, call: Call) -> Body:
        operation = self._operation(call)
        members = json_object(call.body)
        if members is None:
            raise AwsError("SerializationException")
        region = verified_region(call, self.world.settings, self.world.clock.dated())
        plans = self._regions.setdefault(region, Plans(self.world, region, self._started))
        return operation(members, plans)

    def _operation(self, call: Call) -> Callable[[Members, Plans], Body]:
        content_type = call.headers.get("content-type", "")
        if call.path.startswith(CBOR_PATH) or content_type == CBOR_TYPE:
            raise AwsError("UnknownOperationException", NO_CBOR)
        service, dot, name = call.headers.get("x-amz-target", "").rpartition(".")
        right = (call.method, call.path, content_type, service + dot) == ("POST", "/", CONTENT_TYPE, TARGET)
        if not right or name not in self._operations:
            raise AwsError("UnknownOperationException")
        return self._operations[name]

    def _form(self, form: type[F], members: Members) -> F:
        """*members* in their form, if it is right and the rate of requests allows it."""
        filled = read_form(form, members, strict=self.world.settings.strict)
        self.admit(sum(map(tokens, filled.texts())), self._throttled)
        return filled

    def _throttled(self, over: Exceeded, limit: int) -> Answer:
        return self._error(AwsError("ThrottlingException"))

    def _rescore(self, members: Members, plans: Plans) -> Body:
        form = self._form(Rescore, members)
        plans.take(form.RescoreExecutionPlanId)
        scores = self.world.scores(form.SearchQuery, form.texts())
        items = [{"DocumentId": group, "Score": round(score, 6)} for group, score in _best(form.Documents, scores)]
        return {"RescoreId": new_id(), "ResultItems": items}

    def _create(self, members: Members, plans: Plans) -> Body:
        plan = plans.create(self._form(CreatePlan, members))
        return {"Id": plan.id, "Arn": arn(plans.region, plan.id)}

    def _describe(self, members: Members, plans: Plans) -> Body:
        return plans.find(self._form(OnePlan, members).Id).description_of(plans.region, plans.now)

    def _list(self, members: Members, plans: Plans) -> Body:
        page, token = plans.page(self._form(ListPlans, members))
        items = [plan.summary(plans.now) for plan in page]
        return {"SummaryItems": items} if token is None else {"SummaryItems": items, "NextToken": token}

    def _update(self, members: Members, plans: Plans) -> Body:
        plans.update(self._form(UpdatePlan, members))
        return None

    def _delete(self, members: Members, plans: Plans) -> Body:
        plans.delete(self._form(OnePlan, members).Id)
        return None

    def _tag(self, members: Members, plans: Plans) -> Body:
        form = self._form(TagResource, members)
        plans.find_by_arn(form.ResourceARN).tag(form.Tags)
        return {}

    def _untag(self, members: Members, plans: Plans) -> Body:
        form = self._form(UntagResource, members)
        plans.find_by_arn(form.ResourceARN).untag(form.TagKeys)
        return {}

    def _list_tags(self, members: Members, plans: Plans) -> Body:
        plan = plans.find_by_arn(self._form(Tagged, members).ResourceARN)
        return {"Tags": [tag.model_dump() for tag in plan.tags.values()]}


def _best(documents: Sequence[Document], scores: Sequence[float]) -> list[tuple[str, float]]:
    """Each group with its best score, best first; ties by the first stage's score, then in their order."""
    best: dict[str, tuple[float, float]] = {}
    for document, score in zip(documents, scores, strict=True):
        found = (score, document.OriginalScore)
        best[document.group] = max(best.get(document.group, found), found)
    return [(group, best[group][0]) for group in sorted(best, key=lambda group: best[group], reverse=True)]
