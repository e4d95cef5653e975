"""``rerankkit plans``: the rescore execution plans that Kendra ranks with.  Nothing that costs money is done unasked."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from typing import Any

import click

import rerankkit
from rerankkit import RerankError
from rerankkit._plan_requests import MAX_CAPACITY_UNITS, MAX_PAGE_SIZE, create_members
from rerankkit._plan_watch import LONGEST_PAUSE, WATCH_TIMEOUT
from rerankkit.cli.plan_talk import (
    ask,
    hourly,
    need_terminal,
    parsed_tags,
    price,
    print_json,
    print_list,
    print_plan,
    tell,
)

ARGUMENT = re.compile(r"\b(timeout|region|name|description|capacity_units|profile|fips)=")


@click.group()
def plans() -> None:
    """Manage the plans that Kendra ranks with.

    A plan (to AWS: a rescore execution plan) costs money for every hour it exists, used or not. You are asked before
    anything that raises the price, and before a plan is deleted; --yes answers in advance.

    Credentials and the region come from the environment or from an AWS profile.

    \b
    rerankkit plans create handbook --wait
    rerankkit rerank "tide table" hits.json --with kendra:PLAN_ID
    rerankkit plans delete PLAN_ID --wait
    """  # noqa: D301 -- the backspace tells click not to wrap


def with_plans(work: Callable[..., None]) -> Callable[..., None]:
    """A command whose first argument are the plans of a region, and whose errors come without a traceback."""

    @wraps(work)
    def command(*, region: str | None, profile: str | None, fips: bool, **options: Any) -> None:  # noqa: ANN401 -- click's
        try:
            with rerankkit.KendraPlans(region=region, profile=profile, fips=fips) as known:
                work(known, **options)
        except RerankError as error:
            raise click.ClickException(_as_options(str(error))) from error

    for option in (
        click.option("--fips", is_flag=True, help="Use the region's FIPS endpoint."),
        click.option("--profile", help="A profile of the AWS configuration files."),
        click.option("--region", help="The AWS region; by default that of the environment or the profile."),
    ):
        option(command)
    return command


def _as_options(text: str) -> str:
    """*text* with the names of arguments as the command line has them."""
    return ARGUMENT.sub(lambda found: f"--{found[1].replace('_', '-')}", text)


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
units_option = click.option(
    "-c",
    "--capacity-units",
    type=click.IntRange(0, MAX_CAPACITY_UNITS),
    metavar="UNITS",
    help="Units beyond the first, up to 1,000; each adds 0.01 requests a second, and to the price.",
)
description_option = click.option("-d", "--description", help="Up to 1,000 characters.")


@plans.command()
@click.argument("name")
@description_option
@units_option
@click.option("-t", "--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag; repeatable.")
@click.option("--client-token", help="Calls with the same token make one plan, however many they are.")
@click.option("--wait", "waits", is_flag=True, help="Return when the plan is ACTIVE, an hour at most.")
@yes_option
@as_json_option
@with_plans
def create(
    known: rerankkit.KendraPlans,
    name: str,
    description: str | None,
    capacity_units: int | None,
    tags: Sequence[str],
    client_token: str | None,
    waits: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Create a plan called NAME, which may take minutes.

    From then on it costs money, until it is deleted. The plan's id is printed; it is what `--with kendra:PLAN_ID` takes.
    """
    given = parsed_tags(tags)
    create_members(name, description, capacity_units, given or None, client_token)  # before anyone is asked
    if not yes:
        ask(f"A plan costs {price(capacity_units or 0)}", f"Create {name!r} in {known.region}?")
    created = known.create(
        name, description=description, capacity_units=capacity_units, tags=given or None, client_token=client_token
    )
    if waits:
        click.echo(f"created {created.id}", err=True)
        print_plan(known.wait_active(created.id, progress=tell), as_json=as_json)
    elif as_json:
        print_json(asdict(created))
    else:
        click.echo(created.id)


@plans.command("list")
@click.option("--page-size", type=click.IntRange(1, MAX_PAGE_SIZE), help="Plans a request; all are listed anyway.")
@as_json_option
@with_plans
def list_plans(known: rerankkit.KendraPlans, page_size: int | None, as_json: bool) -> None:
    """List the plans of the account in the region."""
    found = list(known.list(page_size=page_size))
    if as_json:
        print_json([asdict(plan) for plan in found])
    else:
        print_list(known, found)


@plans.command()
@click.argument("plan_id")
@as_json_option
@with_plans
def describe(known: rerankkit.KendraPlans, plan_id: str, as_json: bool) -> None:
    """Show all that the service tells of a plan."""
    print_plan(known.describe(plan_id), as_json=as_json)


@plans.command()
@click.argument("plan_id")
@click.option("-n", "--name", help="A new name.")
@description_option
@units_option
@yes_option
@with_plans
def update(
    known: rerankkit.KendraPlans, plan_id: str, name: str | None, description: str | None, capacity_units: int | None, yes: bool
) -> None:
    """Change a plan's name, description or capacity.

    What is not given stays as it is. You are asked if the price rises.
    """
    if capacity_units is not None and not yes:
        _ask_if_dearer(known.describe(plan_id), capacity_units)
    known.update(plan_id, name=name, description=description, capacity_units=capacity_units)
    click.echo(f"{plan_id} is being updated; `rerankkit plans wait` tells when it is ACTIVE again")


def _ask_if_dearer(plan: rerankkit.Plan, capacity_units: int) -> None:
    before = plan.capacity_units or 0
    if capacity_units > before:
        units = f"{capacity_units:,} units beyond the first, in place of {before:,}"
        matter = f"With {units}, {plan.name!r} costs {price(capacity_units)}"
        ask(matter, f"Raise its price from {hourly(before)}?")


@plans.command()
@click.argument("plan_id")
@click.option("--wait", "waits", is_flag=True, help="Return when the plan is gone, after an hour at most.")
@yes_option
@with_plans
def delete(known: rerankkit.KendraPlans, plan_id: str, waits: bool, yes: bool) -> None:
    """Delete a plan, which may take minutes."""
    lost = "Applications that use this plan will fail"
    if not yes:
        need_terminal(lost)
        plan = known.describe(plan_id)
        ask(lost, f"Delete {plan.name!r} ({plan.id}, {plan.status}) in {known.region}?")
    known.delete(plan_id)
    if waits:
        known.wait_deleted(plan_id, progress=tell)
    click.echo(f"{plan_id} is {'gone' if waits else 'being deleted'}")


@plans.command()
@click.argument("plan_id")
@click.option("--deleted", is_flag=True, help="Wait until the plan is gone, instead of ACTIVE.")
@click.option("--timeout", default=WATCH_TIMEOUT, show_default=True, help="Seconds to wait.")
@click.option("--poll-seconds", default=LONGEST_PAUSE, show_default=True, help="The longest pause between two looks.")
@as_json_option
@with_plans
def wait(known: rerankkit.KendraPlans, plan_id: str, deleted: bool, timeout: float, poll_seconds: float, as_json: bool) -> None:
    """Wait until a plan is ACTIVE, or gone.

    Prints its status after each look. Fails if the plan has failed, or the time is over.
    """
    if deleted:
        known.wait_deleted(plan_id, timeout=timeout, poll_seconds=poll_seconds, progress=tell)
        click.echo("null" if as_json else f"Kendra knows no plan {plan_id}: it is gone, if that is its id")
    else:
        plan = known.wait_active(plan_id, timeout=timeout, poll_seconds=poll_seconds, progress=tell)
        print_plan(plan, as_json=as_json)


@plans.command()
@click.argument("plan")
@click.argument("tags", nargs=-1, required=True, metavar="KEY=VALUE...")
@with_plans
def tag(known: rerankkit.KendraPlans, plan: str, tags: Sequence[str]) -> None:
    """Give a plan tags.

    PLAN is its id or its ARN. A tag of the same name is replaced.
    """
    known.tag(plan, parsed_tags(tags))
    click.echo(f"{plan} is tagged")


@plans.command()
@click.argument("plan")
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@with_plans
def untag(known: rerankkit.KendraPlans, plan: str, keys: Sequence[str]) -> None:
    """Take tags from a plan.

    PLAN is its id or its ARN. Names it has not got do no harm.
    """
    known.untag(plan, keys)
    click.echo(f"{plan} is untagged")


@plans.command("tags")
@click.argument("plan")
@as_json_option
@with_plans
def list_tags(known: rerankkit.KendraPlans, plan: str, as_json: bool) -> None:
    """List a plan's tags.

    PLAN is its id or its ARN.
    """
    found = known.tags(plan)
    if as_json:
        print_json(found)
    else:
        for key, value in found.items():
            click.echo(f"{key}={value}")
