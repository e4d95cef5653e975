"""The standing invariants hold through wrappers, alone and composed: one fault of each kind, in both colours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helpers.compositions import ALL, FUSING
from helpers.services import COHERE, KENDRA, Service
from integration.reliability.faults import Fault, Later, Status
from integration.reliability.mixture import TRANSIENT
from integration.reliability.rows import row
from integration.reliability.trial import Trial
from rerankkit import DeadlineExceededError, ServerError

W1 = row("W1", "a reset, a cut or a drip, through each wrapper and six compositions", "is healed as without them")
W2 = row("W2", "a service that is down, through the same", "is told as such, with as many attempts as without them")
W3 = row("W3", "a service that hangs, through the same", "ends with the deadline; the next call is answered")

FEW = ("a reset after the request", "a body that is cut short", "an answer in drips")
COMPOSED = [name for name in ALL if name not in FUSING]


@pytest.fixture(params=[COHERE, KENDRA], ids=lambda service: service.name)
def service(request: pytest.FixtureRequest) -> Service:
    """A pointwise one and a listwise one: wrappers know no other difference."""
    return request.param


@pytest.fixture(params=COMPOSED)
def composed(request: pytest.FixtureRequest, core: Trial) -> Trial:
    """A trial through a composition whose scores are the service's own."""
    return replace(core, wrap=ALL[request.param])


@W1
@pytest.mark.parametrize("fault", [TRANSIENT[name] for name in FEW], ids=FEW)
def test_a_transient_fault_is_healed_through_wrappers(composed: Trial, fault: Fault) -> None:
    composed.stage.play(fault)
    assert composed().error is None


@W2
def test_a_service_that_is_down_is_told_in_time_through_wrappers(composed: Trial) -> None:
    composed.stage.always(Status(500))
    outcome = composed(batches=2)
    assert isinstance(outcome.error, ServerError)


@W3
def test_a_service_that_hangs_ends_with_the_deadline_through_wrappers(composed: Trial) -> None:
    composed.stage.always(Later(30))
    assert isinstance(composed(timeout=0.3, batches=2).error, DeadlineExceededError)
