"""A small memory for what is costly to read and soon asked for again."""

from collections.abc import Callable
from collections.abc import Hashable
from typing import Any
from typing import Generic
from typing import TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class Recent(Generic[KeyT, ValueT]):
    """Calls a function, and keeps its results for the latest few arguments.

    Unlike `functools.lru_cache` it can be pickled, as data sets are when a loader starts its
    workers; the copy starts empty, so that open files stay where they are.
    """

    def __init__(self, make: Callable[[KeyT], ValueT], size: int = 4) -> None:
        self._make = make
        self._size = size
        self._kept: dict[KeyT, ValueT] = {}

    def __call__(self, key: KeyT) -> ValueT:
        """The result for `key`."""
        value = self._kept.pop(key) if key in self._kept else self._make(key)
        self._kept[key] = value
        if len(self._kept) > self._size:
            self._kept.pop(next(iter(self._kept)))
        return value

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": {}}
