"""``rerankkit rerank``: documents from a file or a pipe, ranked for one query."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any, BinaryIO, Literal, TypeAlias, cast

import click
from rich.text import Text

import rerankkit
from rerankkit import BaseReranker, InvalidRequestError, RerankError, RerankResponse
from rerankkit.cli.tables import console, moved, show, table

Line: TypeAlias = str | Mapping[str, Any]
Format: TypeAlias = Literal["auto", "lines", "jsonl", "json"]

DEFAULT_TARGET = "local:bm25"
OWN_OPTIONS = ("timeout", "top_n")
TEXT_OPTIONS = ("api_key", "aws_access_key_id", "aws_secret_access_key", "aws_session_token", "instruction", "client_name")
WORDS: Mapping[str, object] = {"true": True, "false": False, "none": None}
SHOWN_CHARACTERS = 300  # of a document in a table


@click.command()
@click.argument("query")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("-w", "--with", "target", metavar="SERVICE[:MODEL]", help=f"Who ranks.  [default: {DEFAULT_TARGET}]")
@click.option("-c", "--config", metavar="FILE", help="Who ranks, as described in a file: TOML, YAML or JSON.")
@click.option("-n", "--top-n", type=click.IntRange(min=1), help="How many documents to print; all by default.")
@click.option("--format", "form", type=click.Choice(["auto", "lines", "jsonl", "json"]), default="auto", show_default=True)
@click.option("-o", "--option", "options", multiple=True, metavar="NAME=VALUE", help="An option of the service; repeatable.")
@click.option("--timeout", type=float, help="Seconds for the whole call.  [default: 30, or what --config says]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def rerank(
    query: str,
    file: BinaryIO,
    target: str | None,
    config: str | None,
    top_n: int | None,
    form: Format,
    options: tuple[str, ...],
    timeout: float | None,
    as_json: bool,
) -> None:
    """Rank documents from a file or a pipe.

    Prints the documents in FILE (or from standard input) by their relevance to QUERY.

    FILE holds a document a line, or JSON Lines, or a JSON list; documents are texts, or objects with a "text".
    By default its name, or else its content, tells which of these it is. Keys come from the environment.

    \b
    rerankkit rerank "refund of a lost ticket" notes.txt
    cat hits.jsonl | rerankkit rerank "tide table" --with voyage:rerank-2.5 --top-n 5
    rerankkit rerank "tide table" hits.json -w pinecone -o rank_fields='["title"]' --json
    rerankkit rerank "tide table" hits.json --config rerank.toml
    """  # noqa: D301 -- the backspace tells click not to wrap
    documents = read_documents(read_text(file), form, file.name)
    logging.getLogger("rerankkit").addHandler(logging.NullHandler())  # what it says is among the notes
    try:
        with _reranker(target, config, _options(options)) as reranker:
            response = reranker.rerank(query, documents, top_n=top_n, timeout=timeout)
            title = _title(reranker, response)
    except RerankError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(_as_json(query, response), ensure_ascii=False, indent=2))
    else:
        _show(title, response)
    for note in _notes(response):
        click.echo(f"note: {note}", err=True)


def _reranker(target: str | None, config: str | None, options: Mapping[str, Any]) -> BaseReranker:
    """Who ranks, by name or as a file describes."""
    if config is None:
        return rerankkit.connect(target or DEFAULT_TARGET, **options)
    if target is not None or options:
        other = "--with" if target is not None else "--option"
        raise click.UsageError(f"--config says who ranks and how: leave out {other}, or --config")
    try:
        return rerankkit.from_config(rerankkit.load_config(config))
    except InvalidRequestError as error:
        raise click.ClickException(f"{error}" if config in str(error) else f"{config}: {error}") from error


def read_text(file: BinaryIO) -> str:
    """What is in the file, or comes through the pipe."""
    if file.isatty():
        click.echo("reading documents from the terminal, a line each; Ctrl-D ends them", err=True)
    content = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte, place = content[error.start], error.start
        raise click.ClickException(
            f"{file.name} is not UTF-8 (byte 0x{byte:02x} at offset {place}): convert it first"
        ) from error


def read_documents(text: str, form: Format, name: str) -> list[Line]:
    """The documents in a file's *text*; blank lines are not among them.

    Raises:
        click.ClickException: It has not the form it should have, or there are none.
    """
    form = _guess(text, name) if form == "auto" else form
    lines = [(number, line) for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1) if line.strip()]
    if form == "lines":
        found: object = [line for _, line in lines]
    elif form == "jsonl":
        found = [_parsed(line, f"line {number} of {name}", form) for number, line in lines]
    else:
        found = _parsed(text, name, form)
    documents = cast("list[Line]", found) if isinstance(found, list) else []
    if not documents:
        what = "none" if isinstance(found, list) else f"one {type(found).__name__}"
        raise click.ClickException(f"{name} must hold a list of documents, it holds {what}")
    return documents


def _parsed(text: str, place: str, form: Format) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        hint = "set --format if it is something else"
        raise click.ClickException(f"{place} is not {form} ({error.msg}, column {error.colno}); {hint}") from error


def _guess(text: str, name: str) -> Format:
    by_name: dict[str, Format] = {".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".txt": "lines"}
    known = by_name.get(PurePath(name).suffix.lower())
    if known is not None:
        return known
    if isinstance(_json_or_text(text), list):
        return "json"
    line = text.lstrip().partition("\n")[0]
    first = _json_or_text(line)
    return "jsonl" if isinstance(first, str | dict) and first != line else "lines"


def _options(given: Sequence[str]) -> dict[str, Any]:
    """``name=value`` each; a value that is JSON counts as such, any other as a text."""
    options: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--option")
        if name in OWN_OPTIONS:
            raise click.BadParameter(f"{name!r} is told with --{name.replace('_', '-')}", param_hint="--option")
        options[name] = value if name in TEXT_OPTIONS else WORDS.get(value.lower(), _json_or_text(value))
    return options


def _json_or_text(value: str) -> object:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _as_json(query: str, response: RerankResponse[Line]) -> dict[str, object]:
    return {"query": query, **asdict(response)}


def _show(title: str, response: RerankResponse[Line]) -> None:
    shown = table()
    shown.add_column("rank", justify="right", no_wrap=True)
    shown.add_column("score", justify="right", no_wrap=True)
    shown.add_column("was", no_wrap=True)
    shown.add_column("document")
    for rank, result in enumerate(response, 1):
        score = "-" if result.relevance_score is None else f"{result.relevance_score:.4f}"
        shown.add_row(str(rank), score, moved(result.index + 1, rank), Text(_shown(result.document)))
    show(console(), title, shown)


def _title(reranker: BaseReranker, response: RerankResponse[Line]) -> str:
    """Who ranked, where if not at the service's own address, and what it took."""
    units = {name.replace("_", " "): value for name, value in asdict(response.usage).items() if value}
    used = ", ".join(f"{name}: {value:,g}" for name, value in units.items())
    where = (
        f"at {reranker.provider.base_url}"
        if isinstance(reranker, rerankkit.Client) and not reranker.provider.is_at_home
        else ""
    )
    return " ".join(part for part in (response.provider, response.model, where, f"({used})" if used else "") if part)


def _notes(response: RerankResponse[Line]) -> Iterator[str]:
    """What went otherwise than one would expect."""
    if response.status != "ok":
        yield f"{response.status}: {response.served_by} answered"
        yield from (f"{turn.reranker} failed: {turn.error}" for turn in response.attempts if turn.outcome == "failed")
    yield from response.warnings


def _shown(document: Line) -> str:
    text = document if isinstance(document, str) else str(document.get("text") or json.dumps(document, ensure_ascii=False))
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}..."
