"""What a shared store is to remint: three functions. `remint.file` and `remint.redis` bring one; any database can be another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Optional, Union

__all__ = ["AsyncStore", "Conflict", "Held", "Locked", "Saved", "Store", "StoreDown"]


class Locked:
    """The lease is the caller's."""

    __slots__ = ("record",)

    def __init__(self, record: str | None = None) -> None:
        #: What is stored there.
        self.record = record

    def __repr__(self) -> str:
        return "Locked(redacted)"


class Held:
    """The lease is somebody else's."""

    __slots__ = ("record", "retry_in")

    def __init__(self, retry_in: float, record: str | None = None) -> None:
        #: In how many seconds their lease ends, if nothing ends it before.
        self.retry_in = retry_in
        #: What is stored there: a token in it may be good enough.
        self.record = record

    def __repr__(self) -> str:
        return f"Held(retry_in={self.retry_in!r}, redacted)"


class Saved:
    """The record was written."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Saved()"


class Conflict:
    """Nothing was written: something else is stored than was expected."""

    __slots__ = ("record",)

    def __init__(self, record: str | None = None) -> None:
        #: What is stored there.
        self.record = record

    def __repr__(self) -> str:
        return "Conflict(redacted)"


class StoreDown(Exception):
    """The store is out of order, and surely nothing was written. Any other exception out of ``lock`` or ``save``
    leaves that open.
    """


class Store(Protocol):
    """A store for `Client`, and for `AsyncClient`, which calls it on threads of its own.

    A record is one line of ASCII, opaque, and a secret: keep it out of logs. Times are seconds. The functions are called from
    any thread, and should end within the policy's ``store_timeout`` (1 s unless told).

    Two more members are looked for. ``subscribe(on_changed)``: tell ``on_changed(key)`` of what other processes write, and
    ``on_changed(None)`` when messages may have been lost; gives an object whose ``close()`` ends that. ``store_check``: for how
    many seconds a token in hand is used without a look at the store, unless the user's policy says so.
    """

    def load(self, key: str, /) -> Optional[str]:
        """What is stored under this key; ``None`` if there is nothing."""

    def lock(self, key: str, owner: str, ttl: float, /) -> Union[Locked, Held]:
        """Takes the lease of this key for ``owner`` and ``ttl`` seconds, unless another owner's has not ended.

        By the owner of the lease: extends it. With ``ttl`` 0: ends it, if it is this owner's; what it gives is not looked at.
        """

    def save(self, key: str, expect: Optional[str], record: str, ttl: float, unlock: Optional[str], /) -> Union[Saved, Conflict]:
        """Writes ``record`` if what is stored is exactly ``expect`` (``None``: if nothing is), in one step.

        It is kept for ``ttl`` seconds. With a record that was written ends the lease of ``unlock``, if it still is theirs.
        A conflict leaves the lease alone. Whether the writer has the lease makes no difference.
        """


class AsyncStore(Protocol):
    """A `Store` of async functions, for `AsyncClient`: they run on the event loop of whoever asked first."""

    def load(self, key: str, /) -> Awaitable[Optional[str]]:
        """See `Store.load`."""

    def lock(self, key: str, owner: str, ttl: float, /) -> Awaitable[Union[Locked, Held]]:
        """See `Store.lock`."""

    def save(
        self, key: str, expect: Optional[str], record: str, ttl: float, unlock: Optional[str], /
    ) -> Awaitable[Union[Saved, Conflict]]:
        """See `Store.save`."""
