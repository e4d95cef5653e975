"""A key that shows itself to nobody: not to repr, str, pickle, or a log."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Protocol, cast
from urllib.parse import urlsplit

from rerankkit.errors import InvalidRequestError

MASK = b"**********"
BACKSLASHED = frozenset('"\\/')  # printable characters that a backslash alone may escape.  RFC 8259, section 7
SHORTEST_KEY = 8  # characters; what is shorter is a placeholder, and could be part of any word


class SecretValue(Protocol):
    """pydantic's SecretStr and its like: a text that is given away only on request."""

    def get_secret_value(self) -> str:
        """The text."""
        ...


class Hidden:
    """A key on its way to where it is kept: tracebacks that show what their frames hold do not show it."""

    __slots__ = ("_value",)

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Hidden('**********')"

    def get_secret_value(self) -> str:
        """The key; whether it is one is checked where it is kept."""
        return cast("str", self._value)


def hidden(given: str | SecretValue | None) -> SecretValue | None:
    """*given*, which does not show itself from here on: the first thing that a constructor does with a key."""
    if given is None or hasattr(given, "get_secret_value"):
        return cast("SecretValue | None", given)
    return Hidden(given)


class Secret:
    """A key, or the names of the environment variables to read it from.

    A pickle holds the names only, and whoever loads it reads its own environment: for a foreign host only if that
    environment names the host, too.
    """

    __slots__ = ("_foreign", "_value", "from_environment", "names", "service")

    def __init__(self, value: str | None, service: str, names: Sequence[str], foreign: tuple[str, str] | None = None) -> None:
        self.from_environment = value is None
        self.service = service
        self.names = tuple(names)
        self._foreign = foreign
        self._value = value

    @classmethod
    def find(cls, given: str | SecretValue | None, service: str, names: Sequence[str]) -> Secret:
        """The key the caller gave, or else the environment's.

        Raises:
            InvalidRequestError: There is none, or it has not the form of a key.
        """
        found = hidden(given)
        secret = cls(None if found is None else found.get_secret_value(), service, names)
        secret.reveal()
        return secret

    def bind(self, host: str, url_name: str) -> None:
        """This key is for *host*, which is not the service's own; *url_name* is the variable that may name it."""
        self._foreign = (host, url_name)

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __reduce__(self) -> tuple[type[Secret], tuple[None, str, tuple[str, ...], tuple[str, str] | None]]:
        return (Secret, (None, self.service, self.names, self._foreign))

    def reveal(self) -> str:
        """The key itself, for the one place that puts it into a request.

        Raises:
            InvalidRequestError: There is none, or this came out of a pickle and the environment's may not be used.
        """
        if self._value is None:
            self._value = self._read()
        return check_key(self.service, self._value)

    def _read(self) -> str:
        """The environment's key."""
        names = " or ".join(self.names)
        if self._foreign is not None and urlsplit(environment([self._foreign[1]]) or "").hostname != self._foreign[0]:
            host, url_name = self._foreign
            raise InvalidRequestError(
                f"the {self.service} key did not travel in the pickle, and that of the environment goes to {host} only if "
                f"{url_name} names it: set that, too, or make the client where it is used"
            )
        found = environment(self.names)
        if found is None:
            raise InvalidRequestError(
                f"{self.service} needs a key: set {names}, or pass api_key= (which does not travel in a pickle); "
                "`rerankkit serve` emulates the service without one"
            )
        return found

    def mask(self, content: bytes) -> bytes:
        """*content* without the key, should a service have echoed it."""
        return masked(content, self._value or "")


def masked(content: bytes, secret: str) -> bytes:
    """*content* without *secret*, also where JSON escapes some of its characters: each encoder has its own list of them."""
    if len(secret) < SHORTEST_KEY:
        return content
    content = content.replace(secret.encode(), MASK)
    is_escaped = b"\\" in content and (b"\\u00" in content or not BACKSLASHED.isdisjoint(secret))
    return re.sub("".join(map(_any_form, secret)).encode(), MASK, content) if is_escaped else content


def _any_form(char: str) -> str:
    """The pattern of *char* in JSON: as it is, after a backslash, or by its number."""
    forms = [rf"\\u(?i:{ord(char):04x})"]
    forms += [re.escape(char)] if char != "\\" else []  # it never stands alone
    forms += [rf"\\{re.escape(char)}"] if char in BACKSLASHED else []
    return f"(?:{'|'.join(forms)})"


def environment(names: Sequence[str]) -> str | None:
    """The first of the variables that is set and not empty."""
    return next((value for value in map(os.environ.get, names) if value), None)


def check_key(service: str, value: object) -> str:
    """*value*, if it has a key's form; neither the error nor its frames show it.

    A key that was read from a file with its newline would otherwise end up in the HTTP library's error text.
    """
    problem = key_problem(service, value)
    if problem is None:
        return cast("str", value)
    del value
    raise InvalidRequestError(problem)


def key_problem(service: str, value: object) -> str | None:
    """What is wrong with the form of a key, without showing it; None if nothing is."""
    if not isinstance(value, str):
        return f"{service} key must be a str, got {type(value).__name__}"
    if value.isascii() and value.isalnum():
        return None
    if not value:
        return f"{service} key is empty: pass one, or leave it out and set the environment's"
    flaws = {
        "has white space at its start or end (read from a file? use .strip())": value != value.strip(),
        "starts with 'Bearer' (pass the key alone)": value.lower().startswith("bearer "),
        "holds white space or control characters": any(char.isspace() or not char.isprintable() for char in value),
        "holds characters outside ASCII": not value.isascii(),
    }
    found = next((flaw for flaw, is_there in flaws.items() if is_there), None)
    return f"{service} key {found}; it has {len(value)} characters and is not shown here" if found else None
