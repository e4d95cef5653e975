"""How clients find the emulator."""

from __future__ import annotations

from rerankkit.emulator.settings import KEY


def urls(base: str) -> dict[str, str]:
    """Each service's base URL, as its client takes it."""
    return {
        "cohere": f"{base}/cohere",
        "voyage": f"{base}/voyage/v1",
        "pinecone": f"{base}/pinecone",
        "kendra": f"{base}/kendra",
    }


def environment(base: str) -> dict[str, str]:
    """The environment variables that point clients at the emulator."""
    services = urls(base)
    return {
        "CO_API_URL": services["cohere"],
        "CO_API_KEY": KEY,
        "VOYAGE_BASE_URL": services["voyage"],
        "VOYAGE_API_KEY": KEY,
        "PINECONE_CONTROLLER_HOST": services["pinecone"],
        "PINECONE_API_KEY": KEY,
        "AWS_ENDPOINT_URL_KENDRA_RANKING": services["kendra"],
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",  # for boto3, which does not read the other
    }
