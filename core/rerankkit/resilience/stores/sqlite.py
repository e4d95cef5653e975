"""Scores in a file, which several processes may share."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rerankkit._checks import check_integer
from rerankkit.errors import InvalidRequestError
from rerankkit.resilience.stores.store import BaseStore, check_ttl

if TYPE_CHECKING:
    import sqlite3

APPLICATION = 0x72726B63  # "rrkc": written into the file, so that no other is taken for ours
SCHEMA = 1
BUSY_SECONDS = 1.0  # to wait for another process that writes; it takes milliseconds
KEYS_AT_ONCE = 500  # in one statement; SQLite takes 999 at the least
SWEEP_INTERVAL = 60.0  # seconds between two looks for entries whose time is over

CREATE = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS entries (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL, ends REAL);
CREATE INDEX IF NOT EXISTS entries_by_end ON entries (ends) WHERE ends IS NOT NULL;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {SCHEMA};
COMMIT;
"""

_WORKING = threading.RLock()
"""Held while SQLite is at work, which must not be cut in two by a fork; nothing of it may be open in the child either."""

_STORES: weakref.WeakSet[SQLiteStore] = weakref.WeakSet()

_FOREIGN: list[object] = []
"""Connections of a parent that forked without telling Python: closing them here would harm it."""


class SQLiteStore(BaseStore):
    """Keeps entries in one file, for this process, those after it, and others at the same time.

    The file must be on a local disk. One that is damaged, locked for long or another program's is left as it is, told in
    the log, and nothing is kept.

    Args:
        path: The file, which is made if it is not there; its folder is not.
        max_bytes: At most so large a file; the oldest entries make room. None: no limit.
        ttl: Seconds after which an entry is forgotten; None: never.

    Raises:
        InvalidRequestError: An argument is out of range, or there is no such folder.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_bytes: int | None = 1024 * 1024 * 1024, ttl: float | None = None
    ) -> None:
        self._path = _checked_path(path)
        self._remember(path=os.fspath(path))
        self._most_bytes = None if max_bytes is None else check_integer("max_bytes", max_bytes, 1024 * 1024, None)
        self._ttl = check_ttl(ttl)
        self._connection: sqlite3.Connection | None = None
        self._process = os.getpid()
        self._next_sweep = 0.0
        with _WORKING:  # a fork may be looking through them
            _STORES.add(self)

    def __del__(self) -> None:
        if hasattr(self, "_process"):  # it was made
            self._disconnect()

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """The values of those *keys* that are there."""
        with self._connected() as connection:
            return {key: value for some in _chunks(keys) for key, value in _select(connection, some)}

    def set_many(self, items: Mapping[str, bytes]) -> None:
        """Keep *items*; what was kept first makes room."""
        import sqlite3  # noqa: PLC0415 -- as in _connect

        with self._connected() as connection:
            self._sweep(connection)
            try:
                self._insert(connection, items)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                    raise
                connection.execute("DELETE FROM entries WHERE id <= (SELECT (min(id) * 3 + max(id)) / 4 FROM entries)")
                self._insert(connection, items)

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        with _WORKING:
            self._disconnect()

    def _insert(self, connection: sqlite3.Connection, items: Mapping[str, bytes]) -> None:
        ends = None if self._ttl is None else time.time() + self._ttl
        rows = [(key, value, ends) for key, value in items.items()]
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO entries (key, value, ends) VALUES (?, ?, ?)", rows)

    def _sweep(self, connection: sqlite3.Connection) -> None:
        """Delete what is over, now and then."""
        now = time.monotonic()
        if self._ttl is not None and now >= self._next_sweep:
            self._next_sweep = now + SWEEP_INTERVAL
            connection.execute("DELETE FROM entries WHERE ends <= ?", (time.time(),))

    @contextmanager
    def _connected(self) -> Generator[sqlite3.Connection]:
        """The connection, for one thread at a time; after an error the next one is another."""
        import sqlite3  # noqa: PLC0415 -- as in _connect

        with _WORKING:
            if self._connection is not None and self._process != os.getpid():
                self._disconnect()
            try:
                if self._connection is None:
                    self._connection, self._process = _connect(self._path, self._most_bytes), os.getpid()
                yield self._connection
            except sqlite3.Error:
                self._disconnect()
                raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._process == os.getpid():
            connection.close()
        else:
            _FOREIGN.append(connection)


def _connect(path: str, most_bytes: int | None) -> sqlite3.Connection:
    """A connection to the file at *path*, which is ours.

    Raises:
        sqlite3.Error: It is not, or it is damaged or locked.
    """
    import sqlite3  # noqa: PLC0415 -- 5 ms that only this store needs

    connection = sqlite3.connect(path, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _check_ours(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # after a crash the last entries may be missing, and no more
        if most_bytes is not None:
            page: int = connection.execute("PRAGMA page_size").fetchone()[0]
            connection.execute(f"PRAGMA max_page_count = {most_bytes // page}")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_ours(connection: sqlite3.Connection) -> None:
    """Make the table in an empty file.

    Raises:
        sqlite3.Error: The file is not empty, and not ours.
    """
    import sqlite3  # noqa: PLC0415 -- as above

    application, schema, tables = (
        connection.execute(f"SELECT {found}").fetchone()[0]
        for found in (
            "application_id FROM pragma_application_id",
            "user_version FROM pragma_user_version",
            "count(*) FROM sqlite_schema",
        )
    )
    if not (application or schema or tables):
        connection.executescript(CREATE)
    elif application != APPLICATION:
        raise sqlite3.DatabaseError("the file is another program's database: give SQLiteStore a path of its own")
    elif schema != SCHEMA:
        raise sqlite3.DatabaseError(f"the file has schema {schema}, this version of rerankkit needs {SCHEMA}: delete it")


def _select(connection: sqlite3.Connection, keys: Sequence[str]) -> Iterable[tuple[str, bytes]]:
    marks = ",".join("?" * len(keys))
    found = f"SELECT key, value FROM entries WHERE key IN ({marks}) AND (ends IS NULL OR ends > ?)"  # noqa: S608 -- marks
    return connection.execute(found, (*keys, time.time()))


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + KEYS_AT_ONCE] for start in range(0, len(keys), KEYS_AT_ONCE))


def _checked_path(path: object) -> str:
    if not isinstance(path, str | os.PathLike) or not os.fspath(path) or os.fspath(path) == ":memory:":
        raise InvalidRequestError(f"path must name a file such as 'scores.sqlite', got {path!r}; MemoryStore() needs none")
    found = Path(os.path.abspath(os.fspath(path)))  # noqa: PTH100 -- without following links
    if not found.parent.is_dir():
        raise InvalidRequestError(f"there is no folder {str(found.parent)!r} for the cache: make it, or give another path")
    return str(found)


def _before_fork() -> None:
    _WORKING.acquire()
    for store in list(_STORES):
        store.close()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before_fork, after_in_parent=_WORKING.release, after_in_child=_WORKING.release)
