"""What a provider builds and what it reads: one HTTP request, one HTTP reply."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

import orjson

from rerankkit._content import ACCEPTED
from rerankkit._version import __version__
from rerankkit.errors import InvalidRequestError

OWN_HEADERS = {"User-Agent": f"rerankkit/{__version__}", "Accept-Encoding": ACCEPTED}

WITH_CONTENT = ("POST", "PUT", "PATCH")  # methods whose requests say so even if it is empty

Transport: TypeAlias = Literal["httpx", "httpx2", "aiohttp"]
"""The HTTP library that both go through."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it may be printed and recorded; what authenticates it is added last and never shown."""

    url: str
    headers: Mapping[str, str]
    content: bytes = field(repr=False)
    warnings: tuple[str, ...] = ()
    auth: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    method: str = "POST"

    def headers_to(self, host: str) -> dict[str, str]:
        """What goes out to *host*: the service's headers, what authenticates, and what this package says of itself."""
        headers = {"Host": host, **OWN_HEADERS, **self.headers, **self.auth}
        if self.content or self.method in WITH_CONTENT:
            headers["Content-Length"] = str(len(self.content))
        return headers

    def with_auth(self, headers: Mapping[str, str]) -> HttpRequest:
        return HttpRequest(self.url, self.headers, self.content, self.warnings, headers, self.method)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A whole reply; header names in lower case, content decoded from its transfer forms."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)


def unsendable() -> InvalidRequestError:
    """What is said of a request that would be none, or several.  Not which value: it may be a key."""
    return InvalidRequestError(
        "the address, or a header, of a request holds a character that HTTP does not allow, or one header contradicts another"
    )


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers of a reply, names in lower case; several of one name are joined (RFC 9110, 5.3)."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1").lower(), _header_text(raw_value)
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _header_text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


Json: TypeAlias = Mapping[str, object]


BOM = b"\xef\xbb\xbf"


def decode(content: bytes) -> Mapping[str, object]:
    """The members of a JSON object; none if *content* is something else."""
    try:
        return members(orjson.loads(content.removeprefix(BOM)))
    except orjson.JSONDecodeError:
        return {}


def members(value: object) -> Mapping[str, object]:
    """*value* if it is a JSON object; nothing otherwise."""
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def encode(payload: Json) -> tuple[bytes, tuple[str, ...]]:
    """*payload* as UTF-8 JSON, and a warning if texts had to be mended for it.

    A lone surrogate, half of a character that a bad decoder left behind, has no UTF-8 form: it is sent as U+FFFD.
    """
    try:
        return orjson.dumps(payload), ()
    except TypeError:
        pass
    try:
        found, count = _mend(cast("Tree", payload))
        content = orjson.dumps(found)
    except RecursionError as error:
        raise InvalidRequestError("a document is nested too deep, or holds itself: pass its texts alone") from error
    except TypeError as error:
        place, value = _culprit(payload)
        raise InvalidRequestError(
            f"{place} has no JSON form: {value!r} ({error}); pass texts, numbers of up to 64 bits, lists and mappings"
        ) from error
    return content, (f"texts with lone surrogates, which were sent as U+FFFD: {count}",) if count else ()


def _culprit(payload: object, place: str = "") -> tuple[str, object]:
    """Where in *payload* a value is that cannot be encoded, and that value."""
    found: object = payload
    inner: list[tuple[str, object]] = []
    if isinstance(payload, Mapping):
        inner = [(f"{place}.{name}" if place else str(name), value) for name, value in cast("Json", payload).items()]
    elif isinstance(payload, list | tuple):
        inner = [(f"{place}[{index}]", value) for index, value in enumerate(cast("list[object]", payload))]
    for deeper, value in inner:
        try:
            orjson.dumps(value)
        except TypeError:
            return _culprit(value, deeper)
    return place, found


Tree: TypeAlias = "str | Mapping[str, Tree] | list[Tree] | tuple[Tree, ...]"
"""Where texts can be in a payload; other values are left to the encoder."""


def mended(text: str) -> str:
    """*text* with U+FFFD for each lone surrogate."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _mend(value: Tree) -> tuple[object, int]:
    """*value* with every text in Unicode that can be encoded, and how many texts that changed."""
    if isinstance(value, str):
        clean = mended(value)
        return clean, int(clean != value)
    if isinstance(value, Mapping):
        pairs = [(_mend(name), _mend(item)) for name, item in value.items()]
        return {name[0]: item[0] for name, item in pairs}, sum(name[1] + item[1] for name, item in pairs)
    if isinstance(value, list | tuple):
        items = [_mend(item) for item in value]
        return [item for item, _ in items], sum(count for _, count in items)
    return value, 0
