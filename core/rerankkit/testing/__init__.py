"""For the tests of whoever uses this package: a reranker that does as it is told.

`FakeReranker` replaces a reranker in one process, without HTTP.  The pytest plugin, `rerankkit.testing.plugin`, runs the
emulator, so that the real clients are tested, too; pytest loads it by itself.  docs/testing.md shows both.
"""

from __future__ import annotations

from rerankkit.testing.fake import FakeCall, FakeReranker
from rerankkit.testing.network import NetworkBlockedError

__all__ = ["FakeCall", "FakeReranker", "NetworkBlockedError"]
