"""How much memory large replies take, in a process of its own: reads places, prints its growth and the errors' names.

Each place is a service's name, a fault's and a URL; the fault "right" is none.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from helpers.services import SERVICES
from helpers.ways import run
from rerankkit import Client, RerankError

BY_NAME = {service.name: service for service in SERVICES}


def peak() -> int:
    """The most memory this process has had at a time, in KiB."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0])


def error_at(colour: str, service: str, url: str) -> str:
    """The name of the error that a call ends with; empty if it succeeds."""
    with Client(BY_NAME[service].make(url)) as client:
        try:
            run(colour, client, "rerank", "which?", ["a text"])
        except RerankError as error:
            return type(error).__name__
    return ""


def main(colour: str) -> None:
    places = json.load(sys.stdin)
    assert not any(error_at(colour, service, url) for service, name, url in places if name == "right")
    before = peak()
    errors = [error_at(colour, service, url) for service, name, url in places if name != "right"]
    sys.stdout.write(json.dumps([peak() - before, errors]))


if __name__ == "__main__":
    main(sys.argv[1])
