"""What `Cached` needs of a store, and what all of this package's have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from rerankkit._checks import check_seconds
from rerankkit._closing import Closing
from rerankkit._described import Described, remade


@runtime_checkable
class Store(Protocol):
    """Somewhere to keep small values, for all threads and tasks of a process at the same time.

    It may block, forget anything at any time, and raise any exception: that is told in the log, and to the call it is as
    if nothing was kept.  Keys are 40 hexadecimal digits, values JSON.
    """

    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """The values of those *keys* that are there."""
        ...

    def set_many(self, items: Mapping[str, bytes]) -> None:
        """Keep *items*, in the place of older ones."""
        ...

    def close(self) -> None:
        """Close what is open; what is kept stays."""
        ...


class BaseStore(Described, Closing, ABC):
    """A store that is pickled, copied and written down by its arguments."""

    @abstractmethod
    def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """The values of those *keys* that are there."""

    @abstractmethod
    def set_many(self, items: Mapping[str, bytes]) -> None:
        """Keep *items*, in the place of older ones."""

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self.arguments().items())
        return f"{type(self).__name__}({', '.join(shown)})"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[type[BaseStore], Mapping[str, object]]]:
        return (remade, (type(self), self.arguments()))

    def _remember(self, **arguments: object) -> None:
        """Have copies, pickles and descriptions hold these instead of what was given."""
        self._given = {**self._given, **arguments}


def check_ttl(ttl: object) -> float | None:
    """*ttl*, if it is None or a number of seconds."""
    return None if ttl is None else check_seconds("ttl", ttl)
