"""The shared store behind the core's ``store`` operations: what the core asks as calls of the user's functions, and their results as words."""

from __future__ import annotations

from inspect import iscoroutinefunction
from math import ceil

from remint.errors import misuse
from remint.store import Conflict, Held, Locked, Saved, StoreDown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Shared:
    """A store that was given as the option ``store``."""

    def __init__(self, store: Any, *, awaits: bool) -> None:
        for name in ("load", "lock", "save"):
            function = getattr(store, name, None)
            if not callable(function):
                raise misuse(f"option `store` has no function `{name}`: give an object as `remint.store.Store` describes it")
            if not awaits and iscoroutinefunction(function):
                raise misuse("the functions of `store` are asynchronous: use `remint.AsyncClient`, or a store for threads")
        self._store = store
        self.subscribe: Callable[..., Any] | None = getattr(store, "subscribe", None)
        #: For how many seconds a token is used without a look at the store; what the core has if not told.
        self.check: float | None = getattr(store, "store_check", None)

    def carry_out(self, operation: dict[str, Any], boot: Callable[[], int], resolved: Callable[[Any], Any]) -> Any:
        """What the store says to one command, in the core's words."""
        key, command = operation["key"], operation["command"]
        if command == "load":
            record = resolved(self._store.load(key))
            return "none" if record is None else {"record": _text(record)}
        if command == "lock":
            found = resolved(self._store.lock(key, operation["owner"], operation["ttl"] / 1000))
            if operation["ttl"] == 0:
                return "ok"
            if isinstance(found, Held):
                return {"held": {"retry_at": boot() + ceil(found.retry_in * 1000), **_shown(found)}}
            if isinstance(found, Locked):
                return {"locked": _shown(found)}
            raise TypeError("`lock` must give a remint.store.Locked or Held")
        expect = operation.get("expect")
        found = resolved(
            self._store.save(
                key,
                None if expect is None else Record(expect),
                Record(operation["record"]),
                operation["ttl"] / 1000,
                operation.get("unlock"),
            )
        )
        if isinstance(found, Saved):
            return "ok"
        if isinstance(found, Conflict):
            return {"conflict": _shown(found)}
        raise TypeError("`save` must give a remint.store.Saved or Conflict")

    def failed(self, operation: dict[str, Any], error: Exception) -> str:
        """What an exception says: whatever writes may have done so."""
        return "down" if operation["command"] == "load" or isinstance(error, StoreDown) else "unknown"


class Record(str):
    """A record on its way to the user's function: tracebacks show the locals of their frames by ``repr``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<record (redacted)>"


def _shown(found: Locked | Held | Conflict) -> dict[str, str]:
    return {} if found.record is None else {"record": _text(found.record)}


def _text(record: Any) -> str:
    if not isinstance(record, str):
        raise TypeError("a record must be a str")
    return record
