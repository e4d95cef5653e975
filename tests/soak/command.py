"""The command: what is asked for, and the exit code."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from helpers.services import SERVICES, Service
from integration.reliability.cancelling import AT_ONCE, storms
from integration.reliability.fault_server import FaultServer
from rerankkit import Client
from rerankkit._library import default_transport
from soak.measure import Rest
from soak.run import Soak
from soak.summary import promises, table

NAMES = [service.name for service in SERVICES]


class Share(click.ParamType):
    """A share such as 10% or 0.1."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            text = str(value)
            share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            self.fail(f"{value!r} is no share: write 10% or 0.1", param, ctx)
        return share if 0 <= share <= 1 else self.fail(f"{value!r} is not between 0% and 100%", param, ctx)


@click.command(context_settings={"show_default": True, "max_content_width": 100})
@click.option("--calls", type=click.IntRange(1), default=20_000, help="Calls to make in all.")
@click.option("--minutes", type=float, help="Go on for so long instead, however many calls that are.")
@click.option("--faults", type=Share(), default="10%", help="Requests that meet a transient fault.")
@click.option("--workers", type=click.IntRange(2), default=32, help="Callers at a time: half threads, half asyncio tasks.")
@click.option("--service", type=click.Choice(["all", *NAMES]), default="all", help="Whom to call.")
@click.option(
    "--transport", type=click.Choice(["httpx", "httpx2", "aiohttp"]), help="The HTTP library.  [default: as installed]"
)
@click.option("--seed", type=int, default=7, help="The same seed draws the same faults.")
@click.option("--cancellations", type=click.IntRange(1), help="Cancel so many calls at random points instead.")
def main(
    *,
    calls: int,
    minutes: float | None,
    faults: float,
    workers: int,
    service: str,
    transport: str | None,
    seed: int,
    cancellations: int | None,
) -> None:
    """Call emulated services for a long time while they misbehave, and check every answer.

    Threads and asyncio tasks of one process share one client for each service. Each service is a server in a process of
    its own that resets, cuts, delays and refuses a share of the requests, and whose scores show whose answer they are.
    Clients are used as they come: the default attempts and budget for retries, 30 seconds a call.

    Ends with a table, and with code 1 if a promise was broken.
    """
    chosen = [found for found in SERVICES if service in ("all", found.name)]
    console = Console()
    console.print(f"transport {transport or default_transport()}, seed {seed}, {workers} workers, {faults:.0%} faults")
    if cancellations is not None:
        cancel(console, chosen, cancellations, transport, seed)
        return
    with progress(console) as bar:
        task = bar.add_task("", total=None if minutes else calls, told="")

        def tell(rest: Rest) -> None:
            bar.update(task, completed=rest.calls, told=str(rest), refresh=True)
            if not console.is_terminal:
                console.print(f"{rest.calls:,} calls: {rest}")

        with Soak(chosen, faults=faults, workers=workers, seed=seed, transport=transport) as soak:
            soak.go_on(calls, minutes, tell)
    kept = promises(soak, faults)
    console.print(table(soak, kept))
    sys.exit(0 if all(promise.kept for promise in kept) else 1)


def progress(console: Console) -> Progress:
    columns = (BarColumn(20), MofNCompleteColumn(), TextColumn("{task.fields[told]}"))
    return Progress(*columns, console=console, auto_refresh=False)  # its thread would be counted


def cancel(console: Console, services: list[Service], count: int, transport: str | None, seed: int) -> None:
    """Storms of calls that are ended at random points; after each, as many calls at once as a pool has connections."""
    share = -(-count // len(services))
    server = FaultServer()
    with progress(console) as bar:
        for service in services:
            task = bar.add_task("", total=share, told=service.name)
            tell = partial(lambda task, ended: bar.update(task, completed=ended, refresh=True), task)
            with server.stage(service.name) as stage, Client(service.make(stage.url), transport=transport) as client:
                asyncio.run(storms(client, stage, share, seed, tell))
    server.stop()
    ended = share * len(services)
    console.print(f"{ended:,} calls ended before their answer; after each storm, {AT_ONCE} at once were answered")
