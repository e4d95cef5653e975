"""The services, one module each.  A further one is a module here and a line in `REGISTRY`."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping

from rerankkit.errors import InvalidRequestError
from rerankkit.provider import Provider

REGISTRY: Mapping[str, str] = {
    "cohere": "Cohere",
    "voyage": "Voyage",
    "pinecone": "Pinecone",
    "kendra": "Kendra",
}
"""The class of each service, in the module of the service's name."""


def load(name: str) -> type[Provider]:
    """The provider class of a registered service; its module is imported now."""
    provider_class: type[Provider] = getattr(importlib.import_module(f"{__name__}.{name}"), REGISTRY[name])
    return provider_class


def find(name: str, given: object) -> type[Provider]:
    """The provider class that *given*, whose service part is *name*, asks for.

    Raises:
        InvalidRequestError: There is no such service.
    """
    if name in REGISTRY:
        return load(name)
    close = difflib.get_close_matches(name, REGISTRY, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise InvalidRequestError(
        f"{given!r} names no service: {hint}write 'service' or 'service:model', with {', '.join(REGISTRY)}, or 'local:bm25'"
    )
