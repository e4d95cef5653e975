"""What ``rerankkit plans`` asks and prints."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

import click
from rich.text import Text

from rerankkit._kendra_service import PRICES_READ, hourly_price
from rerankkit.cli.tables import console, show, table

if TYPE_CHECKING:
    from rerankkit import KendraPlans, Plan, PlanSummary

MONTH = 720  # hours


def has_terminal() -> bool:
    """Whether there is someone to ask."""
    return sys.stdin.isatty()


def need_terminal(matter: str) -> None:
    """Refuse to go on where nobody can be asked."""
    if not has_terminal():
        raise click.ClickException(f"Nothing was done: there is no terminal to ask at; --yes answers in advance. {matter}.")


def ask(matter: str, question: str) -> None:
    """Go on only if someone says yes."""
    need_terminal(matter)
    click.confirm(f"{matter}.\n{question}", abort=True, err=True)


def price(capacity_units: int) -> str:
    """What a plan with so many units beyond the first costs."""
    dollars = hourly_price(capacity_units)
    return (
        f"{hourly(capacity_units)} for as long as it exists, used or not: "
        f"about ${dollars * MONTH:,.0f} in 30 days (read {PRICES_READ})"
    )


def hourly(capacity_units: int) -> str:
    """The same, in short: cents, and parts of them where there are any."""
    return f"${hourly_price(capacity_units):.4f}".removesuffix("0").removesuffix("0") + " an hour"


def tell(plan: Plan) -> None:
    """A line about a plan that is waited for."""
    click.echo(f"{datetime.now().astimezone():%H:%M:%S}  {plan.status}", err=True)


def parsed_tags(given: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` each."""
    tags: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or key in tags:
            problem = "is not KEY=VALUE" if not equals else "gives a tag that has been given"
            raise click.BadParameter(f"{text!r} {problem}")
        tags[key] = value
    return tags


def print_json(value: object) -> None:
    """JSON, with moments as ISO 8601 has them."""
    click.echo(json.dumps(value, default=datetime.isoformat, ensure_ascii=False, indent=2))


def print_plan(plan: Plan, *, as_json: bool) -> None:
    """All that is known of a plan."""
    if as_json:
        print_json(asdict(plan))
        return
    shown = table()
    shown.show_header = False
    for name, value in _facts(plan):
        shown.add_row(name, Text(value, overflow="fold"))
    console().print(shown)


def _facts(plan: Plan) -> Iterator[tuple[str, str]]:
    yield from (("name", plan.name), ("id", plan.id), ("ARN", plan.arn), ("status", plan.status))
    if plan.error_message is not None:
        yield "reason", plan.error_message
    if plan.capacity_units is not None:
        units = plan.capacity_units
        yield "capacity", f"{(units + 1) / 100:g} requests a second, with {units:,} units beyond the first"
        yield "price", f"{hourly(units)}, read {PRICES_READ}"
    if plan.description:
        yield "description", plan.description
    yield from (("created", moment(plan.created_at)), ("updated", moment(plan.updated_at)))


def moment(when: datetime | None) -> str:
    """To the second, in UTC."""
    return "-" if when is None else f"{when:%Y-%m-%d %H:%M:%S} UTC"


def print_list(known: KendraPlans, found: Sequence[PlanSummary]) -> None:
    """A line a plan; nothing is cut."""
    shown = table()
    for heading in ("id", "status", "created", "name"):
        shown.add_column(heading, no_wrap=heading != "name")
    for plan in found:
        created = "-" if plan.created_at is None else f"{plan.created_at:%Y-%m-%d}"
        shown.add_row(plan.id, Text(plan.status), created, Text(plan.name, overflow="fold"))
    count = f"{len(found):,} plan{'' if len(found) == 1 else 's'}"
    show(console(), f"{count} in {known.region}, at {known.base_url}", shown)
