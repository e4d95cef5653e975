"""Group C: what HTTP, and those between a client and its service, can do wrong."""

from __future__ import annotations

import pytest

from integration.reliability.faults import Fault, Status, closes_in_body
from integration.reliability.rows import row
from integration.reliability.trial import Trial
from rerankkit import ServerError

HEALS = [
    *(
        pytest.param(Status(status), id=f"C1-{status}", marks=row("C1", "one 408, 425, 500, 502, 503 or 504", "is tried again"))
        for status in (408, 425, 500, 502, 503, 504)
    ),
    pytest.param(
        closes_in_body,
        id="C13",
        marks=row("C13", "a body shorter than its Content-Length", "is tried again; never a short result"),
    ),
]


@pytest.mark.parametrize("fault", HEALS)
def test_what_heals_is_tried_again(trial: Trial, fault: Fault) -> None:
    trial.stage.play(fault)
    outcome = trial()
    assert outcome.results == trial.expected()
    assert outcome.requests == 2


@row("C2", "a steady 500", "takes exactly the attempts allowed, then a ServerError")
def test_an_outage_takes_the_attempts_allowed(trial: Trial) -> None:
    trial.stage.always(Status(500))
    outcome = trial()
    assert isinstance(outcome.error, ServerError)
    assert outcome.error.attempts == outcome.requests == 3
