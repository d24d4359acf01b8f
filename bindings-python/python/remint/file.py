"""A store in a directory, for the processes of one machine, whatever languages they are written in."""

from __future__ import annotations

import os
from json import dumps, loads
from time import sleep, time

from remint.errors import misuse
from remint.store import Conflict, Held, Locked, Saved, StoreDown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Optional, TypeVar, Union

    T = TypeVar("T")

__all__ = ["FileStore"]


class FileStore:
    """Keeps each record in a folder of its own under ``directory``, which is made with mode 0700 if it is missing.

    The files are for this user alone (0600), and hold tokens as they are unless the client has ``store_keys``. There is nothing to
    clean up after a crash. A directory on a network file system will do if it has hard links. Raises ``invalid_option`` if
    others can write the directory, or if it is none.
    """

    #: Nobody tells of changes here: half a second, and a look.
    store_check = 0.5

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self._directory = os.fspath(directory)
        try:
            os.makedirs(self._directory, 0o700, exist_ok=True)
            mode = os.stat(self._directory).st_mode
        except OSError as error:
            raise misuse(f"the store's directory `{self._directory}` can't be used: {error.strerror}") from None
        if os.name == "posix" and mode & 0o022:
            raise misuse(f"others can write the store's directory: run `chmod 700 {self._directory}`")

    def __repr__(self) -> str:
        return f"<remint.file.FileStore {self._directory!r}>"

    def load(self, key: str) -> str | None:
        """See `remint.store.Store.load`."""
        return self._read(key)[1].record

    def lock(self, key: str, owner: str, ttl: float) -> Locked | Held:
        """See `remint.store.Store.lock`."""

        def decide(state: _State, now: int, _: bool) -> tuple[_State | None, Union[Locked, Held]]:
            holder = state.holder(now)
            if ttl == 0:
                return (state.with_lease(None) if holder == owner else None), Locked(state.record)
            if holder is not None and holder != owner:
                return None, Held((state.lease_until - now) / 1000, state.record)
            return state.with_lease({"owner": owner, "until": now + _millis(ttl)}), Locked(state.record)

        return self._change(key, decide)

    def save(self, key: str, expect: str | None, record: str, ttl: float, unlock: str | None) -> Saved | Conflict:
        """See `remint.store.Store.save`."""

        def decide(state: _State, now: int, overtaken: bool) -> tuple[_State | None, Union[Saved, Conflict]]:
            if overtaken and state.record == record:
                return None, Saved()
            if state.record != expect:
                return None, Conflict(state.record)
            lease = None if unlock is not None and state.holder(now) == unlock else state.lease
            return _State(now + _millis(ttl), lease, str(record)), Saved()

        return self._change(key, decide)

    def _change(self, key: str, decide: Callable[[_State, int, bool], tuple[Optional[_State], T]]) -> T:
        """Compare and swap. A version is a file of its own, never written to again: whoever makes the next number has won."""
        folder, overtaken = os.path.join(self._directory, key), False
        for attempt in range(ATTEMPTS):
            version, state = self._read(key)
            wanted, answer = decide(state, _now(), overtaken)
            if wanted is None:
                return answer
            names = self._write(folder, version + 1, wanted)
            if names and max(_versions(names)) < version + 1 + KEPT:
                _sync(folder)
                _clear(folder, names, version + 1)
                return answer
            if names:
                # Whoever sleeps so long before the link may link a number that others made and cleared away meanwhile.
                _remove(os.path.join(folder, _name(version + 1)))
                overtaken = True
            sleep(int.from_bytes(os.urandom(1), "big") / 256 * min(0.001 * (attempt + 1), 0.02))
        raise StoreDown("other processes wrote too often at the same time")

    def _read(self, key: str) -> tuple[int, _State]:
        """The newest version and its number; 0 if there is none."""
        folder, seen_empty = os.path.join(self._directory, key), False
        for _ in range(ATTEMPTS):
            try:
                version = max(_versions(os.listdir(folder)), default=0)
                if version:
                    with open(os.path.join(folder, _name(version)), encoding="utf-8", errors="replace") as file:
                        return version, _State.read(file.read(), _now())
                if seen_empty:
                    break
                # A listing may miss a version that takes the place of another meanwhile.
                seen_empty = True
            except FileNotFoundError:
                if not os.path.isdir(folder):
                    break
            except OSError as error:
                raise StoreDown(f"the store's directory can't be read: {error.strerror}") from error
        return 0, _State(0, None, None)

    def _write(self, folder: str, version: int, state: _State) -> list[str]:
        """Makes this version, unless there is one already. What is linked is whole and on the disk. Gives what then is in the folder."""
        temporary, linked = os.path.join(folder, f"{TEMPORARY}{os.urandom(8).hex()}"), False
        try:
            os.makedirs(folder, 0o700, exist_ok=True)
            try:
                with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                    file.write(state.text())
                    file.flush()
                    os.fsync(file.fileno())
                os.link(temporary, os.path.join(folder, _name(version)))
                linked = True
                return os.listdir(folder)
            finally:
                _remove(temporary)
        except FileExistsError:
            return []
        except OSError as error:
            if linked:
                raise
            raise StoreDown(f"the store's directory can't be written: {error.strerror}") from error


class _State:
    """One version of a record and its lease."""

    def __init__(self, expires: int, lease: dict[str, Any] | None, record: str | None) -> None:
        self.expires, self.lease, self.record = expires, lease, record

    @classmethod
    def read(cls, text: str, now: int) -> _State:
        """What is no state is shown to the core, which refuses it and says so."""
        try:
            told = loads(text)
            expires, lease, record = told["expires"], told["lease"], told["record"]
            sound = isinstance(expires, int) and (record is None or isinstance(record, str))
            if not sound or lease is not None and not (isinstance(lease["owner"], str) and isinstance(lease["until"], int)):
                return cls(LATER, None, text)
        except (ValueError, KeyError, TypeError, RecursionError):
            return cls(LATER, None, text)
        return cls(expires, lease, record if expires > now else None)

    def text(self) -> str:
        return dumps({"expires": self.expires, "lease": self.lease, "record": self.record}, separators=(",", ":"))

    @property
    def lease_until(self) -> int:
        return 0 if self.lease is None else int(self.lease["until"])

    def holder(self, now: int) -> str | None:
        """Whose the lease is now."""
        return None if self.lease is None or self.lease_until <= now else str(self.lease["owner"])

    def with_lease(self, lease: dict[str, Any] | None) -> _State:
        return _State(self.expires, lease, self.record)

    def __repr__(self) -> str:
        return "<state (redacted)>"


def _versions(names: list[str]) -> list[int]:
    return [int(name) for name in names if len(name) == DIGITS and name.isascii() and name.isdigit()]


def _name(version: int) -> str:
    return f"{version:0{DIGITS}}"


def _now() -> int:
    return int(time() * 1000)


def _millis(seconds: float) -> int:
    return round(seconds * 1000)


def _clear(folder: str, names: list[str], version: int) -> None:
    """Takes away what this version replaces, but for the last few, and what dead processes left."""
    for old in _versions(names):
        if old <= version - KEPT:
            _remove(os.path.join(folder, _name(old)))
    for name in names:
        if name.startswith(TEMPORARY):
            path = os.path.join(folder, name)
            try:
                if time() - os.stat(path).st_mtime > STALE:
                    os.unlink(path)
            except OSError:
                pass  # Its writer took it away.


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # Somebody else took it away, or nobody may.


def _sync(folder: str) -> None:
    """Has the disk know the new name. Windows has no such thing to ask for."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


#: How often a change is tried while others change the same.
ATTEMPTS = 100
DIGITS = 16
#: How many versions stay: as long as no more were written meanwhile, a number that could be linked was never there before.
KEPT = 16
TEMPORARY = ".tmp-"
#: When what can't be read runs out, in ms: it stays until it is written over.
LATER = 2**53 - 1
#: After how many seconds a temporary file is that of a process which died.
STALE = 3600
