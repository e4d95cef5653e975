"""The real services, each skipped without its key: one call, and what the documents promise of it."""

from __future__ import annotations

import os

import pytest

from helpers.ways import run
from rerankkit import Client, Cohere, Kendra, Pinecone, Provider, Voyage

KEYS = {name: os.environ.get(name) for name in ("CO_API_KEY", "VOYAGE_API_KEY", "PINECONE_API_KEY", "RERANKKIT_KENDRA_PLAN")}
TEXTS = ["Bears live in woods.", "Bern is the capital of Switzerland.", "Cheese has holes."]


def provider(name: str, key: str) -> Provider:
    if name == "RERANKKIT_KENDRA_PLAN":
        return Kendra(key)
    return {"CO_API_KEY": Cohere, "VOYAGE_API_KEY": Voyage, "PINECONE_API_KEY": Pinecone}[name](api_key=key)


@pytest.fixture(autouse=True)
def _own_environment() -> None:
    """The services' own addresses and credentials are what these tests are for."""


@pytest.fixture(autouse=True)
def _only_loopback() -> None:
    """The one place where a test may leave this machine."""


@pytest.mark.parametrize("name", KEYS)
def test_a_service_finds_the_capital(name: str, colour: str) -> None:
    key = KEYS[name]
    if not key:
        pytest.skip(f"{name} is not set")
    with Client(provider(name, key)) as client:
        response = run(colour, client, "rerank", "What is the capital of Switzerland?", TEXTS)
    assert response.results[0].index == 1
    assert len(response) == 3
    assert response.request_id
