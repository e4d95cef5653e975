"""``rerankkit serve``: the emulator, until Ctrl-C."""

from __future__ import annotations

from contextlib import suppress

import click

from rerankkit.emulator.kendra import PLAN_ID
from rerankkit.emulator.process import environment, listen
from rerankkit.emulator.process import serve as serve_emulator


@click.command()
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--log", is_flag=True, help="Print a line for each request.")
def serve(port: int, log: bool) -> None:
    """Run the four services on loopback.

    For tests and trials without a key.

    Wire formats, checks and errors are those of the services as far as they are documented; scores are BM25 over the
    documents of one request, a lexical stand-in. Any key is accepted. Nobody but this machine can connect.
    """
    try:
        sock = listen(port=port)
    except OSError as error:
        raise click.ClickException(f"port {port} cannot be used ({error.strerror}): choose another with --port") from error
    host, bound = sock.getsockname()
    base = f"http://{host}:{bound}"
    click.echo(f"# Cohere, Voyage, Pinecone and Kendra are emulated on {base}; Ctrl-C stops it.")
    click.echo("# These lines, in the shell that your program starts from, point its clients here:")
    for name, value in environment(base).items():
        click.echo(f"export {name}={value}")
    click.echo("unset AWS_SESSION_TOKEN AWS_PROFILE")
    click.echo("# Take a shell of its own for that: they stand in the place of keys you may have set.")
    click.echo(f"# Kendra has the plan {PLAN_ID}: connect('kendra:{PLAN_ID}')")
    with suppress(KeyboardInterrupt):  # the server has ended in good order, and passes the signal on
        serve_emulator(sock, log_level="info" if log else "warning")
