"""``rerankkit estimate``: what a call would cost at each service, before one is made."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import BinaryIO

import click

import rerankkit
from rerankkit import InvalidRequestError, providers
from rerankkit.cli.rerank import Format, Line, read_documents, read_text
from rerankkit.cli.tables import console, show, table
from rerankkit.money import UNITS, Estimate, counted
from rerankkit.provider import Provider

NO_KEY = "no-key-is-needed"  # nothing is sent
NO_PLAN = "0" * 36
CALLS = 1_000
DIGITS = 3  # of a sum that is less than a dollar
PLACES = 6  # at most
COLUMNS = 92  # for a call of some million tokens


@dataclass(frozen=True)
class Offer:
    """What a call would cost at one model of a service; or why it could not be made there."""

    service: str
    model: str
    estimate: Estimate

    @property
    def order(self) -> tuple[bool, float]:
        """Cheapest first, unknown costs last."""
        cost = self.estimate.cost
        return (cost is None, cost or 0.0)


@click.command()
@click.option("-q", "--query", required=True, help="What the documents would be ranked for.")
@click.argument("files", type=click.File("rb"), nargs=-1, metavar="FILE...")
@click.option(
    "-s", "--service", "services", multiple=True, type=click.Choice(list(providers.REGISTRY)), help="Only this; repeatable."
)
@click.option("--format", "form", type=click.Choice(["auto", "lines", "jsonl", "json"]), default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def estimate(query: str, files: tuple[BinaryIO, ...], services: tuple[str, ...], form: Format, as_json: bool) -> None:
    """Compare what ranking documents would cost.

    Tells what one call with QUERY and all documents in FILE... (or from standard input) would cost at each model of each
    service, cheapest first. Nothing is sent, and no key is needed.

    Files are read as by `rerankkit rerank`. Tokens are counted by the length of the texts: one for 4 letters of English,
    so that the sums are near, not exact. Retries are not in them, and retired models are left out.

    \b
    rerankkit estimate -q "refund of a lost ticket" notes.txt
    cat hits.jsonl | rerankkit estimate -q "tide table" --service cohere --service voyage
    """  # noqa: D301 -- the backspace tells click not to wrap
    documents = [document for file in files or (sys.stdin.buffer,) for document in _read(file, form)]
    if not query.strip():
        raise click.BadParameter("it is blank: there is nothing to rank by", param_hint="--query")
    offers = sorted(
        (offer for name in dict.fromkeys(services or providers.REGISTRY) for offer in _offers(name, query, documents)),
        key=lambda offer: offer.order,
    )
    if as_json:
        click.echo(json.dumps([_as_json(offer) for offer in offers], indent=2))
    else:
        _show(offers, len(documents))


def _read(file: BinaryIO, form: Format) -> list[Line]:
    return read_documents(read_text(file), form, file.name)


def _offers(service: str, query: str, documents: Sequence[Line]) -> Iterator[Offer]:
    """What each model of a service that still answers would cost."""
    for model in providers.load(service).models.values():
        if not model.retired:
            yield Offer(service, model.name, _estimate(service, model.name, query, documents))


def _estimate(service: str, model: str, query: str, documents: Sequence[Line]) -> Estimate:
    try:
        return rerankkit.Client(_provider(service, model)).estimate(query, documents)
    except InvalidRequestError as error:
        return Estimate(unknown=str(error))


def _provider(service: str, model: str) -> Provider:
    """A provider that will never send anything."""
    made = providers.load(service)
    if service == "kendra":
        return made(NO_PLAN, region="us-east-1", aws_access_key_id=NO_KEY, aws_secret_access_key=NO_KEY)
    return made(model, api_key=NO_KEY)


def _as_json(offer: Offer) -> dict[str, object]:
    return {"service": offer.service, "model": offer.model, **asdict(offer.estimate)}


def _show(offers: Sequence[Offer], count: int) -> None:
    shown = table()
    for heading in ("service", "model"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("re-\nquests", "billed", "a call,\nUSD", f"{CALLS:,} calls,\nUSD"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for offer in offers:
        shown.add_row(offer.service, offer.model, *_figures(offer.estimate))
    show(console(COLUMNS), f"One call with {_several(count, 'document')}", shown, " ")
    for reason, whose in _reasons(offers).items():
        click.echo(f"{', '.join(whose)}: {reason}")
    click.echo("Prices as of 2026-11-20; `rerankkit models --json` names their sources.")


def _reasons(offers: Sequence[Offer]) -> dict[str, list[str]]:
    """Why costs are unknown, and whose."""
    found: dict[str, list[str]] = {}
    for offer in offers:
        if offer.estimate.unknown is not None:
            found.setdefault(offer.estimate.unknown, []).append(f"{offer.service} {offer.model}")
    return found


def _figures(found: Estimate) -> Iterator[str]:
    """Requests, units, and dollars for one call and for many."""
    yield f"{found.usage.requests:,}" if found.usage.requests else "-"
    billed = ((unit, counted(found.usage, unit)) for unit in UNITS if unit != "request")
    yield ", ".join(_several(count, unit) for unit, count in billed if count is not None) or "-"
    yield from ("unknown" if found.cost is None else dollars(calls * found.cost) for calls in (1, CALLS))


def _several(count: float, what: str) -> str:
    return f"{count:,.0f} {what}{'' if count == 1 else 's'}"


def dollars(amount: float) -> str:
    """Cents, or, of less than a dollar, as many places as show its first digits."""
    if 0 < amount < 10**-PLACES:
        return f"<{10**-PLACES:.{PLACES}f}"
    places = 2 if amount >= 1 or amount == 0 else DIGITS - 1 - math.floor(math.log10(amount))
    return f"{amount:,.{min(places, PLACES)}f}"
