"""A compressor over Amazon Kendra, with the service's options as fields."""

from __future__ import annotations

from langchain_rerankkit.compressor import BaseRerankCompressor
from rerankkit.settings.kendra import KendraSettings


class KendraRerank(KendraSettings, BaseRerankCompressor):
    """Reranks with Amazon Kendra: ``KendraRerank(plan_id=..., top_n=3)``; AWS credentials as botocore finds them."""

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The credentials, by their names in the environment."""
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        return {name: name.upper() for name in names}
