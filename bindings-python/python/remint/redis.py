"""A store in Redis (6.2 or later) or Valkey, over a client of redis-py's: alone, behind Sentinel, or a cluster."""

from __future__ import annotations

import asyncio
import os
from asyncio import AbstractEventLoop
from hashlib import sha1
from ipaddress import ip_address
from math import ceil
from threading import Event, Thread
from typing import Any, Callable, Optional, Union
from weakref import WeakKeyDictionary

import redis
import redis.asyncio
import redis.asyncio.cluster
import redis.cluster
from redis.exceptions import NoScriptError, RedisError, ResponseError

from remint.errors import misuse
from remint.store import Conflict, Held, Locked, Saved, StoreDown

__all__ = ["AsyncRedisStore", "RedisStore"]

Sync = Union[redis.Redis, redis.cluster.RedisCluster]
Async = Union[redis.asyncio.Redis, redis.asyncio.cluster.RedisCluster]
OnChanged = Callable[[Optional[str]], object]


class RedisStore:
    """Keeps each record in a hash named ``prefix`` and its key, and tells others of changes on the channel ``prefix`` + ``changed``.

    ``client`` stays yours: its timeouts and retries are what you made them, and closing it is up to you. Messages take one more
    connection of its pool. One that speaks to another machine without TLS is refused (``invalid_option``), unless
    ``insecure_plaintext`` says that the network between is safe.
    """

    def __init__(self, client: Sync, prefix: str = "remint:", *, insecure_plaintext: bool = False) -> None:
        if not insecure_plaintext:
            _refuse_plaintext(client)
        self._client, self._names = client, _Names(prefix)

    def __repr__(self) -> str:
        return f"<remint.redis.RedisStore {self._names.prefix!r}>"

    def load(self, key: str) -> str | None:
        """See `remint.store.Store.load`."""
        return _text(self._client.hget(self._names.prefix + key, "r"))

    def lock(self, key: str, owner: str, ttl: float) -> Locked | Held:
        """See `remint.store.Store.lock`."""
        return _locked(self._run(LOCK, key, owner, ceil(ttl * 1000)))

    def save(self, key: str, expect: str | None, record: str, ttl: float, unlock: str | None) -> Saved | Conflict:
        """See `remint.store.Store.save`."""
        try:
            return _saved(self._run(SAVE, key, *self._names.to_save(key, expect, record, ttl, unlock)))
        except ResponseError as error:
            # The server said no, and both scripts write nothing before the last thing that it may say no to.
            raise StoreDown(str(error)) from error

    def subscribe(self, on_changed: OnChanged) -> _Thread:
        """Listens on a connection and a thread of its own. See `remint.store.Store`."""
        return _Thread(self._client, self._names, on_changed)

    def _run(self, script: _Script, key: str, *arguments: Any) -> Any:
        name = self._names.prefix + key
        try:
            return self._client.evalsha(script.sha, 1, name, *arguments)
        except NoScriptError:
            # This server was started anew, or is another one.
            return self._client.eval(script.text, 1, name, *arguments)


class AsyncRedisStore:
    """`RedisStore` for `remint.AsyncClient`, over a client of ``redis.asyncio``.

    Such a client belongs to one event loop. Where several share one `AsyncClient`, give the function that makes one.
    """

    def __init__(
        self, client: Async | Callable[[], Async], prefix: str = "remint:", *, insecure_plaintext: bool = False
    ) -> None:
        self._make = None if isinstance(client, (redis.asyncio.Redis, redis.asyncio.cluster.RedisCluster)) else client
        self._given, self._insecure_plaintext, self._names = client, insecure_plaintext, _Names(prefix)
        self._made: WeakKeyDictionary[AbstractEventLoop, Async] = WeakKeyDictionary()
        if self._make is None:
            self._checked(client)

    def __repr__(self) -> str:
        return f"<remint.redis.AsyncRedisStore {self._names.prefix!r}>"

    async def load(self, key: str) -> str | None:
        """See `remint.store.Store.load`."""
        return _text(await self._client().hget(self._names.prefix + key, "r"))

    async def lock(self, key: str, owner: str, ttl: float) -> Locked | Held:
        """See `remint.store.Store.lock`."""
        return _locked(await self._run(LOCK, key, owner, ceil(ttl * 1000)))

    async def save(self, key: str, expect: str | None, record: str, ttl: float, unlock: str | None) -> Saved | Conflict:
        """See `remint.store.Store.save`."""
        try:
            return _saved(await self._run(SAVE, key, *self._names.to_save(key, expect, record, ttl, unlock)))
        except ResponseError as error:
            # As in `RedisStore.save`.
            raise StoreDown(str(error)) from error

    async def subscribe(self, on_changed: OnChanged) -> _Task:
        """Listens on a connection and a task of its own. See `remint.store.Store`."""
        return _Task(self._client(), self._names, on_changed)

    async def _run(self, script: _Script, key: str, *arguments: Any) -> Any:
        client, name = self._client(), self._names.prefix + key
        try:
            return await client.evalsha(script.sha, 1, name, *arguments)
        except NoScriptError:
            return await client.eval(script.text, 1, name, *arguments)

    def _client(self) -> Any:
        if self._make is None:
            return self._given
        loop = asyncio.get_running_loop()
        if loop not in self._made:
            self._made[loop] = self._checked(self._make())
        return self._made[loop]

    def _checked(self, client: Any) -> Any:
        if not self._insecure_plaintext:
            _refuse_plaintext(client)
        return client


class _Names:
    """What the store's keys, its channel and its writer are called."""

    def __init__(self, prefix: str) -> None:
        self.prefix, self.channel = prefix, f"{prefix}changed"
        self._process, self._writer, self.listeners = 0, "", set[object]()

    def to_save(self, key: str, expect: str | None, record: str, ttl: float, unlock: str | None) -> tuple[Any, ...]:
        """The arguments of the script."""
        return expect or "", record, ceil(ttl * 1000), unlock or "", self.channel, f"{key} {self.writer}"

    @property
    def writer(self) -> str:
        """What tells this process's messages from others'."""
        self._forget_parent()
        return self._writer

    def add(self, listener: object) -> None:
        self._forget_parent()
        self.listeners.add(listener)

    def of_others(self, message: Any) -> str | None:
        """Whose record a message is about, unless it is the listener's own."""
        key, _, writer = (_text(message) or "").partition(" ")
        # Where several clients share the store, one of them may have written for all the others know.
        return None if writer == self.writer and len(self.listeners) <= 1 else key

    def _forget_parent(self) -> None:
        """A fork's child is another process, and the threads that listen stay with its parent."""
        if self._process != os.getpid():
            self._process, self._writer, self.listeners = os.getpid(), os.urandom(8).hex(), set()


class _Listener:
    """What to make of the messages of one connection after another."""

    def __init__(self, client: Any, names: _Names, on_changed: OnChanged) -> None:
        self._client, self._names, self._on_changed = client, names, on_changed
        self._missed, self._silence, self._pause = False, 0.0, FIRST_PAUSE
        names.add(self)

    def heard(self, message: dict[str, Any] | None, waited: float) -> bool:
        """Takes in what came, or that nothing did; whether to ask the server for a sign of life."""
        if message is None:
            self._silence += waited
            if self._silence >= 2 * SILENCE:
                raise RedisError("the server is silent")
            return SILENCE <= self._silence < SILENCE + waited
        self._silence, self._pause = 0.0, FIRST_PAUSE
        if message["type"] == "subscribe":
            # What was said between two connections is lost.
            if self._missed:
                self._on_changed(None)
            self._missed = True
        elif message["type"] == "message":
            key = self._names.of_others(message["data"])
            if key is not None:
                self._on_changed(key)
        return False


    def lost(self) -> float:
        """The connection is gone, or never was; in how many seconds to try again."""
        self._missed, self._silence = True, 0.0
        pause, self._pause = self._pause, min(2 * self._pause, LAST_PAUSE)
        return pause


class _Thread(_Listener):
    """Listens until it is closed. Never keeps the process."""

    def __init__(self, client: Any, names: _Names, on_changed: OnChanged) -> None:
        super().__init__(client, names, on_changed)
        self._closed = Event()
        try:
            Thread(target=self._run, name="remint-redis", daemon=True).start()
        except RuntimeError:
            pass  # The interpreter is on its way out, and refuses threads.

    def close(self) -> None:
        self._closed.set()
        self._names.listeners.discard(self)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                pubsub = self._client.pubsub()
                try:
                    pubsub.subscribe(self._names.channel)
                    while not self._closed.is_set():
                        # A closed listener lets go of its connection that soon.
                        if self.heard(pubsub.get_message(timeout=TICK), TICK):
                            pubsub.ping()
                finally:
                    pubsub.close()
            except Exception:
                # Whatever a client raises, the next attempt may go better.
                self._closed.wait(self.lost())


class _Task(_Listener):
    """Listens until it is closed, or its event loop ends."""

    def __init__(self, client: Any, names: _Names, on_changed: OnChanged) -> None:
        super().__init__(client, names, on_changed)
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run())

    def close(self) -> None:
        self._names.listeners.discard(self)
        try:
            self._loop.call_soon_threadsafe(self._task.cancel)
        except RuntimeError:
            pass  # The loop is closed, and the task with it.

    async def _run(self) -> None:
        while True:
            try:
                # A cluster's client knows its nodes only then.
                await self._client.initialize()
                pubsub = self._client.pubsub()
                try:
                    await pubsub.subscribe(self._names.channel)
                    while True:
                        if self.heard(await pubsub.get_message(timeout=SILENCE), SILENCE):
                            await pubsub.ping()
                finally:
                    await pubsub.aclose()
            except Exception:
                # As above.
                await asyncio.sleep(self.lost())


class _Script:
    """A script of one key, which is all that a cluster can run."""

    def __init__(self, text: str) -> None:
        self.text, self.sha = text, sha1(text.encode(), usedforsecurity=False).hexdigest()


def _locked(answer: Any) -> Locked | Held:
    is_ours, wait, record = answer
    return Locked(_text(record)) if is_ours else Held(wait / 1000, _text(record))


def _saved(answer: Any) -> Saved | Conflict:
    return Saved() if answer[0] else Conflict(_text(answer[1]))


def _text(value: Any) -> str | None:
    """Clients decode what they read, or don't."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or None


def _refuse_plaintext(client: Any) -> None:
    """Refuses a connection that others could read, as far as the client shows where it leads."""
    pool = getattr(client, "connection_pool", None)
    options = client.get_connection_kwargs()
    kind = getattr(pool, "connection_class", None) or options.get("connection_class") or object
    if options.get("ssl") or issubclass(kind, (redis.SSLConnection, redis.asyncio.SSLConnection)):
        return
    sentinels = getattr(getattr(pool, "sentinel_manager", None), "sentinels", [])
    if pool is None:
        hosts = [node.host for node in [*client.get_nodes(), *client.nodes_manager.startup_nodes.values()]]
    elif sentinels:
        hosts = [sentinel.connection_pool.connection_kwargs.get("host") for sentinel in sentinels]
    else:
        hosts = [options.get("host")]
    for host in hosts:
        if host is not None and not _is_here(host):
            raise misuse(
                f"the connection to Redis at `{host}` is not encrypted, and tokens go over it: "
                "use TLS (`ssl=True`, `rediss:`), or say `insecure_plaintext=True` if the network is safe"
            )


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


#: After how many seconds of silence the server is asked for a sign of life, and after as many again given up.
SILENCE = 10.0
#: How many seconds a thread listens before it looks whether it still should.
TICK = 0.5
#: Between two attempts to connect, in seconds.
FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0
LOCK = _Script(
    """\
-- Takes, extends or (ttl 0) gives back the lease of one record.
-- KEYS: the record's hash: `r` record, `o` the lease's owner, `u` its end in ms of this server's clock.
-- ARGV: owner; ttl in ms.
-- Answers {1, 0, record}, or {0, ms until the other's lease ends, record}; without a record, it is nil.
local held = redis.call('HMGET', KEYS[1], 'r', 'o', 'u')
local ttl = tonumber(ARGV[2])
if ttl == 0 then
  if held[2] == ARGV[1] then
    redis.call('HDEL', KEYS[1], 'o', 'u')
  end
  return {1, 0, held[1]}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if held[2] and held[2] ~= ARGV[1] and tonumber(held[3]) > now then
  return {0, tonumber(held[3]) - now, held[1]}
end
redis.call('HSET', KEYS[1], 'o', ARGV[1], 'u', now + ttl)
-- The record keeps its own, later, end.
if redis.call('PTTL', KEYS[1]) < ttl then
  redis.call('PEXPIRE', KEYS[1], ttl)
end
return {1, 0, held[1]}
"""
)
SAVE = _Script(
    """\
-- Writes a record if the one that is stored is the one that the writer has seen.
-- KEYS: the record's hash, see lock.lua.
-- ARGV: the text that must be stored now, empty: nothing; record; ttl in ms; the owner whose lease ends with this, or empty;
--       channel; message.
-- Answers {1}, or {0, what is stored}.
local held = redis.call('HMGET', KEYS[1], 'r', 'o', 'u')
if (held[1] or '') ~= ARGV[1] then
  return {0, held[1]}
end
local life = tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'r', ARGV[2])
if held[2] == ARGV[4] then
  redis.call('HDEL', KEYS[1], 'o', 'u')
elseif held[2] then
  local time = redis.call('TIME')
  life = math.max(life, tonumber(held[3]) - time[1] * 1000 - math.floor(time[2] / 1000))
end
redis.call('PEXPIRE', KEYS[1], life)
-- Who may not publish has saved all the same: others then see it a little later.
redis.pcall('PUBLISH', ARGV[5], ARGV[6])
return {1}
"""
)
