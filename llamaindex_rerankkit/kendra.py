"""A postprocessor over Amazon Kendra, with the service's options as fields."""

from __future__ import annotations

from llamaindex_rerankkit.postprocessor import BaseRerankPostprocessor
from rerankkit.settings.kendra import KendraSettings


class KendraRerank(KendraSettings, BaseRerankPostprocessor):
    """Reranks with Amazon Kendra: ``KendraRerank(plan_id=..., top_n=3)``; AWS credentials as botocore finds them."""
