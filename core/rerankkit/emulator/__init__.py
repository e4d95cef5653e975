"""The four services on loopback: their wire formats, checks and errors, with a lexical ranker behind them.

Scores come from BM25 over the words of one request. They are a stand-in: good enough to see documents move,
not a measure of any service.  (Extra: emulator.)
"""

from __future__ import annotations

try:
    from rerankkit.emulator.app import create_app
    from rerankkit.emulator.process import Emulator
except ModuleNotFoundError as error:
    if error.name != "starlette":
        raise
    raise ModuleNotFoundError(
        "rerankkit.emulator needs starlette: pip install 'rerankkit[emulator]'", name=error.name
    ) from error

__all__ = ["Emulator", "create_app"]
