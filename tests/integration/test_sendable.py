"""A call sends one request that HTTP allows, or none: whatever a provider of one's own puts into it, over every library."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from helpers.server import Reply, recorder
from helpers.services import KEY
from helpers.ways import one_loop, run
from rerankkit import Client, Cohere, InvalidRequestError

RIGHT = b'{"id":"r","results":[{"index":0,"relevance_score":0.5}],"meta":{}}'


class Odd(Cohere):
    """Has a path and headers of its own."""

    path = ""
    headers: Mapping[str, str] = {}

    def build_request(self, batch: Any) -> Any:
        request = super().build_request(batch)
        return type(request)(request.url + self.path, self.headers, request.content)


def odd(url: str, *, path: str = "", headers: Mapping[str, str] | None = None) -> Odd:
    provider = Odd(api_key=KEY, base_url=url)
    provider.path, provider.headers = path, headers or {}
    return provider


REFUSED: dict[str, Mapping[str, Any]] = {
    "another line": {"headers": {"X-Odd": "sekret\r\nX-Evil: b"}},
    "another line in a name": {"headers": {"X-Odd\r\nX-Evil": "sekret"}},
    "a space in a name": {"headers": {"X Odd": "sekret"}},
    "not ASCII": {"headers": {"X-Odd": "sekret\u0142"}},
    "half a character": {"headers": {"X-Odd": "sekret\ud800"}},
    "a space at its end": {"headers": {"X-Odd": "sekret "}},
    "another length": {"headers": {"content-length": "1", "X-Odd": "sekret"}},
    "another framing": {"headers": {"Transfer-Encoding": "gzip", "X-Odd": "sekret"}},
    "two hosts": {"headers": {"host": "sekret"}},
    "a NUL in the address": {"path": "/\x00sekret"},
}


@pytest.mark.parametrize("parts", REFUSED.values(), ids=REFUSED)
def test_what_http_does_not_allow_is_refused_unsent_and_unshown(colour: str, transport: Any, parts: Mapping[str, Any]) -> None:
    with recorder(lambda _: Reply(RIGHT)) as server, one_loop():
        with Client(odd(server.url, **parts), transport=transport, timeout=5) as client:
            with pytest.raises(InvalidRequestError, match="holds a character that HTTP does not allow") as caught:
                run(colour, client, "rerank", "q", ["a"])
        assert server.requests == []
    shown = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert "sekret" not in repr(shown)


ALLOWED = {"X-Odd": "a value", "X-Tab": "a\tvalue", "X-Empty": "", "X-Marks": "!~", "Host": "behind.gateway"}


def test_what_http_allows_arrives_and_a_host_of_its_own_in_the_place_of_the_addresss(colour: str, transport: Any) -> None:
    with recorder(lambda _: Reply(RIGHT)) as server, one_loop():
        with Client(odd(server.url, headers=ALLOWED), transport=transport, timeout=5) as client:
            run(colour, client, "rerank", "q", ["a"])
        (request,) = server.requests
    assert {name: request.headers[name.lower()] for name in ALLOWED} == ALLOWED
