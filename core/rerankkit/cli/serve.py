"""``rerankkit serve``: the emulator, until Ctrl-C."""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import get_args

import click
from pydantic import ValidationError

from rerankkit import InvalidRequestError
from rerankkit._endpoint import is_loopback
from rerankkit.emulator.addresses import environment, urls
from rerankkit.emulator.app import Application, create_app
from rerankkit.emulator.faults import AnyFault, Latency, parse
from rerankkit.emulator.kendra import PLAN_ID
from rerankkit.emulator.server import Server, listen
from rerankkit.emulator.settings import DOCUMENTED_LIMITS, ScorerName, Settings


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--allow-remote", is_flag=True, help="Let other machines connect: there is no protection whatsoever.")
@click.option("--faults", multiple=True, metavar="JSON|FILE", help="What goes wrong: a fault, or a list; repeatable.")
@click.option("--seed", default=0, show_default=True, help="Of faults that strike at random.")
@click.option("--latency", type=click.FloatRange(min=0), default=0.0, metavar="SECONDS", help="Before every reply.")
@click.option("--scorer", type=click.Choice(get_args(ScorerName)), help="Who ranks; bm25 by default.")
@click.option("--strict", is_flag=True, help="Refuse request members that no service documents.")
@click.option("--rate-limits", is_flag=True, help="Those of each service's free tier.")
@click.option("--settings", metavar="JSON|FILE", help="All other switches; docs/emulator.md lists them.")
@click.option("--quiet", is_flag=True, help="No line for each request.")
def serve(
    host: str,
    port: int,
    allow_remote: bool,
    faults: tuple[str, ...],
    seed: int,
    latency: float,
    scorer: ScorerName | None,
    strict: bool,
    rate_limits: bool,
    settings: str | None,
    quiet: bool,
) -> None:
    """Run the four services on this machine.

    For tests and trials without a key.

    Wire formats, checks and errors are those of the services as far as they are documented; scores are BM25 over the
    documents of one request, a lexical stand-in. Any API key is accepted.

    While it runs, GET /stats counts, and /_emulator/ changes faults, switches and time.

    \b
    rerankkit serve --faults '{"kind": "status", "status": 429, "retry_after": 1, "rate": 0.1}'
    rerankkit serve --latency 0.05 --faults outage.json --port 9000
    """  # noqa: D301 -- the backspace tells click not to wrap
    if not is_loopback(host) and not allow_remote:
        raise click.ClickException(f"{host} lets other machines connect, and nothing is protected: pass --allow-remote as well")
    switches = _settings(settings, {"scorer": scorer, "strict": strict or None, "rate_limits": rate_limits or None})
    _log_requests(quiet=quiet)
    _run(create_app(switches, faults=_faults(faults, latency), seed=seed), host, port)


def _faults(given: Sequence[str], latency: float) -> list[AnyFault]:
    try:
        late: list[AnyFault] = [Latency(seconds=latency)] if latency else []
        return late + [fault for text in given for fault in parse(_given(text))]
    except InvalidRequestError as error:
        raise click.ClickException(f"--faults: {error}") from error
    except ValidationError as error:
        raise click.ClickException(f"--latency must be a finite number of seconds, got {latency}") from error


def _settings(settings: str | None, switches: dict[str, object]) -> Settings:
    try:
        chosen = Settings.model_validate_json(_given(settings)) if settings else Settings()
        given = {name: value for name, value in switches.items() if value is not None}
        if given.get("rate_limits"):
            given["rate_limits"] = DOCUMENTED_LIMITS
        return Settings.model_validate({**chosen.model_dump(), **given})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = "".join(f" {'.'.join(map(str, first['loc']))}" for _ in first["loc"][:1])
        raise click.ClickException(f"--settings{place}: {first['msg']}") from error


def _given(text: str) -> str:
    """The JSON itself, or what is in the file of that name."""
    if text.lstrip().startswith(("{", "[")):
        return text
    try:
        return Path(text).read_text("utf-8")
    except OSError as error:
        raise click.ClickException(f"{text} is neither JSON nor a file that can be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{text} is not UTF-8: convert it first") from error


def _log_requests(*, quiet: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("rerankkit.emulator")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def _run(application: Application, host: str, port: int) -> None:
    try:
        sock = listen(host, port)
    except OSError as error:
        way_out = "choose another with --port" if error.errno == errno.EADDRINUSE else "see --host and --port"
        raise click.ClickException(f"{host}, port {port} cannot be used ({error.strerror}): {way_out}") from error
    bound, number = str(sock.getsockname()[0]), int(sock.getsockname()[1])
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bound, bound)  # noqa: S104 -- what was bound, in a form one can call
    base = f"http://[{here}]:{number}" if ":" in here else f"http://{here}:{number}"
    with suppress(KeyboardInterrupt):  # the server has ended in good order, and passes the signal on
        Server(application, sock, lambda: _announce(base, is_open=not is_loopback(bound))).serve_until_stopped()


def _announce(base: str, *, is_open: bool) -> None:
    lines = [f"# Cohere, Voyage, Pinecone and Kendra are emulated on {base}; Ctrl-C stops it.", "#"]
    lines += [f"#   {service:<9} {url}" for service, url in urls(base).items()]
    lines += [f"#   {'figures':<9} {base}/stats", "#"]
    if is_open:
        lines += ["# Every machine that reaches this one can connect; rerankkit's clients there need allow_http=True.", "#"]
    lines += ["# These lines, in the shell that your program starts from, point its clients here:"]
    lines += [f"export {name}={value}" for name, value in environment(base).items()]
    lines += ["unset AWS_SESSION_TOKEN AWS_PROFILE"]
    lines += ["# Take a shell of its own for that: they stand in the place of keys you may have set."]
    lines += [f"# Kendra has the plan {PLAN_ID}: connect('kendra:{PLAN_ID}')"]
    click.echo("\n".join(lines))
