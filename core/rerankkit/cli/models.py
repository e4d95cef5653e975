"""``rerankkit models``: what is known of each service's models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from operator import itemgetter

import click
from rich.text import Text

from rerankkit import providers
from rerankkit.cli.tables import console, show, table
from rerankkit.provider import Model, Price


@click.command()
@click.argument("service", required=False, type=click.Choice(list(providers.REGISTRY)))
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the source of each price.")
def models(service: str | None, as_json: bool) -> None:
    """List models with their limits and prices.

    Tokens are of the query, of the query with one document, and of the query times the documents plus the documents.
    A dash means that there is no such limit, or that it is not documented.
    """
    found = [(name, model) for name in providers.REGISTRY if service in (None, name) for model in _models(name)]
    if as_json:
        click.echo(json.dumps([{"service": name, **asdict(model)} for name, model in found], indent=2))
    else:
        _show(found)


def _models(service: str) -> Iterator[Model]:
    yield from providers.load(service).models.values()


def _show(found: Sequence[tuple[str, Model]]) -> None:
    shown = table()
    shown.add_column("model", no_wrap=True)
    for heading in ("docu-\nments", "query\ntokens", "pair\ntokens", "request\ntokens"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("price,\nUSD", no_wrap=True)
    for service, models in groupby(found, key=itemgetter(0)):
        shown.add_row(Text(f"\n{service}", style="bold"))
        for _, model in models:
            shown.add_row(*_row(model))
    show(console(), "Limits of one request, and prices", shown, " ")
    for service, model in found:
        if model.note:
            click.echo(f"{service} {model.name}: {model.note}")
    click.echo("Read on 2026-11-20; --json names the sources. Longer lists are cut and merged exactly, except Kendra's.")


def _row(model: Model) -> Iterator[str]:
    limits = model.limits
    yield model.name
    for number in (limits.documents, limits.query_tokens, limits.pair_tokens, limits.request_tokens):
        yield f"{number:,}" if number else "-"
    yield "-" if model.price is None else _short(model.price)


def _short(price: Price) -> str:
    per = {1: "", 1_000: "1k ", 1_000_000: "M "}[price.per]
    return f"{price.dollars:.2f}/{per}{price.unit}{'s' if per else ''}"
