"""What other rerankers for LangChain and LlamaIndex do, seen by running them against a server on loopback.

    python -m tests.peers langchain     # in an environment that has them; `--install` tells what to install
    python -m tests.peers llamaindex

docs/why.md tells what was seen, of which version, and when: run this again before saying it of another.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import platform
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.peers.sightings import SIGHTINGS, attempt

PACKAGES = {
    "langchain": ("langchain-cohere==0.6.0", "langchain-voyageai==0.4.1", "langchain-pinecone==0.2.13", "langchain-aws==1.9.1"),
    "llamaindex": (
        "llama-index-postprocessor-cohere-rerank==0.10.0",
        "llama-index-postprocessor-voyageai-rerank==0.6.0",
        "llama-index-postprocessor-pinecone-native-rerank==0.4.0",
        "llama-index-postprocessor-jinaai-rerank==0.6.0",
        "llama-index-postprocessor-tei-rerank==0.6.0",
        "llama-index-postprocessor-nvidia-rerank==0.7.0",
        "llama-index-postprocessor-mixedbreadai-rerank==0.7.0",
        "llama-index-postprocessor-bedrock-rerank==0.7.0",
        "llama-index-postprocessor-xinference-rerank==0.5.0",
        "llama-index-postprocessor-siliconflow-rerank==0.5.0",
    ),
}
KEYS = {
    **{f"{name}_API_KEY": "a-key" for name in ("COHERE", "VOYAGE", "PINECONE", "JINAAI", "MXBAI")},
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "a-secret",
    "AWS_DEFAULT_REGION": "us-west-2",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m tests.peers", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("framework", choices=PACKAGES)
    parser.add_argument("--install", action="store_true", help="only print the packages that were looked at")
    options = parser.parse_args()
    if options.install:
        print(" ".join(PACKAGES[options.framework]))
        return
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    os.environ.update(KEYS)
    importlib.import_module(f"tests.peers.{options.framework}")
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores\n\n| | package | seen |\n|---|---|---|")
    for sighting in SIGHTINGS:
        print(f"| {sighting.number} | {sighting.package} {version(sighting.package)} | {attempt(sighting.look)} |", flush=True)
    os._exit(0)  # what the packages leave behind in threads and loops is theirs


if __name__ == "__main__":
    main()
