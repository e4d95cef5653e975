"""Keys have no place in a description: files are copied, shown and committed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast
from urllib.parse import urlsplit

from rerankkit import providers
from rerankkit._described import SECRET
from rerankkit.errors import InvalidRequestError


def refusal(description: object) -> InvalidRequestError | None:
    """What to raise if *description* holds a key; it is not raised here, lest the frames of its traceback hold the key."""
    found = next(_secrets(description), None)
    if found is None:
        return None
    path, names = found
    way_out = f"set {' or '.join(names)} in the environment" if names else "it stays in the environment"
    place = f"{path}: " if path else ""
    return InvalidRequestError(
        f"{place}keys and passwords are not written down, and this one is not shown here; leave it out: {way_out}"
    )


def _secrets(description: object) -> Iterator[tuple[str, Sequence[str]]]:
    """Where in it keys stand, and the variables that could hold them instead."""
    left: list[tuple[str, object]] = [("", description)]
    seen: set[int] = set()  # what stands in several places, or in itself
    while left:
        path, value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Mapping):
            table = {f"{path}.{key}".lstrip("."): (key, each) for key, each in cast("Mapping[object, object]", value).items()}
            service = next((each for key, each in table.values() if key == "service"), None)
            yield from ((here, _names(service)) for here, (key, each) in table.items() if key in SECRET and each is not None)
            left += [(here, each) for here, (_, each) in table.items()]
        elif isinstance(value, str) and holds_password(value):
            yield path, ()
        elif isinstance(value, list | tuple):
            left += [(f"{path}[{index}]", each) for index, each in enumerate(cast("Sequence[object]", value))]


def holds_password(text: str) -> bool:
    """Whether *text* is an address with a password in it."""
    if "://" not in text:
        return False
    try:
        parts = urlsplit(text)
        return bool(parts.password) or "password=" in parts.query.lower()
    except ValueError:
        return False


def _names(service: object) -> Sequence[str]:
    """The environment variables that take the key of *service*."""
    if not isinstance(service, str) or service not in providers.REGISTRY:
        return ()
    access = getattr(providers.load(service), "access", None)
    return () if access is None else access.key_names
