"""The command's tree: each command in a module of its own."""

from __future__ import annotations

import click

from rerankkit import __version__
from rerankkit.cli.demo import demo
from rerankkit.cli.estimate import estimate
from rerankkit.cli.models import models
from rerankkit.cli.plans import plans
from rerankkit.cli.rerank import rerank
from rerankkit.cli.serve import serve


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="rerankkit %(version)s")
def cli() -> None:
    """Rerank documents through Cohere, Voyage AI / MongoDB, Pinecone or Amazon Kendra.

    No key yet? `rerankkit demo` shows what reranking does, offline and in seconds.
    """


for command in (demo, rerank, estimate, models, plans, serve):
    cli.add_command(command)
