"""The four services on loopback: their wire formats, checks and errors, with a lexical ranker behind them.

Scores come from BM25 over the words of one request. They are a stand-in: good enough to see documents move,
not a measure of any service.  (Extra: emulator.)
"""

from __future__ import annotations

try:
    from rerankkit.emulator import faults
    from rerankkit.emulator.app import create_app
    from rerankkit.emulator.emulator import Emulator
    from rerankkit.emulator.remote import Recorded, RemoteEmulator
    from rerankkit.emulator.settings import (
        DOCUMENTED_LIMITS,
        CohereSwitches,
        KendraSwitches,
        PineconeSwitches,
        RateLimit,
        Settings,
    )
except ModuleNotFoundError as error:
    if error.name != "starlette":
        raise
    raise ModuleNotFoundError(
        "rerankkit.emulator needs starlette: pip install 'rerankkit[emulator]'", name=error.name
    ) from error

__all__ = [
    "DOCUMENTED_LIMITS",
    "CohereSwitches",
    "Emulator",
    "KendraSwitches",
    "PineconeSwitches",
    "RateLimit",
    "Recorded",
    "RemoteEmulator",
    "Settings",
    "create_app",
    "faults",
]
