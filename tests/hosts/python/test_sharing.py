"""Clients that share their tokens: through Redis, a folder, and stores of the user's own."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import redis
import redis.asyncio
import remint
from conftest import Lane
from engines import Redis, free_port, until
from remint.file import FileStore
from remint.redis import AsyncRedisStore, RedisStore
from remint.store import Held, Locked, Saved, Store, StoreDown

KEYS = [{"id": "2026-11", "key": bytes(range(32))}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = Redis(tmp_path_factory.mktemp("engine") / "redis")
    yield server
    server.close()


class Kept:
    """A store in memory, which counts and can be told to fail."""

    def __init__(self) -> None:
        self.records: dict[str, str] = {}
        self.leases: dict[str, str] = {}
        self.asked: list[str] = []
        self.threads: set[str] = set()
        self.fails: Callable[[str], None] = lambda name: None

    def load(self, key: str) -> str | None:
        self._asked("load")
        return self.records.get(key)

    def lock(self, key: str, owner: str, ttl: float) -> Locked | Held:
        self._asked("lock" if ttl else "release")
        if ttl == 0:
            if self.leases.get(key) == owner:
                del self.leases[key]
        elif self.leases.setdefault(key, owner) != owner:
            return Held(ttl, self.records.get(key))
        return Locked(self.records.get(key))

    def save(self, key: str, expect: str | None, record: str, ttl: float, unlock: str | None) -> Saved:
        self._asked("save")
        assert self.records.get(key) == expect and ttl > 0
        self.records[key] = str(record)
        if self.leases.get(key) == unlock:
            del self.leases[key]
        return Saved()

    def _asked(self, name: str) -> None:
        self.asked.append(name)
        self.threads.add(threading.current_thread().name)
        self.fails(name)


class Awaited:
    """The same, to be awaited."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept

    async def load(self, key: str) -> str | None:
        return self.kept.load(key)

    async def lock(self, key: str, owner: str, ttl: float) -> Locked | Held:
        return self.kept.lock(key, owner, ttl)

    async def save(self, key: str, expect: str | None, record: str, ttl: float, unlock: str | None) -> Saved:
        return self.kept.save(key, expect, record, ttl, unlock)


def names(notices: list[dict[str, Any]]) -> list[str]:
    return [notice["notice"] for notice in notices]


# One token for all.


@pytest.mark.parametrize("kind", ["redis", "file", "kept"])
def test_a_second_client_finds_the_token_of_the_first(kind: str, lane: Lane, server: Redis, tmp_path: Path) -> None:
    kept = Kept()

    def store() -> Store:
        made: Store = {"redis": lambda: RedisStore(server.client(), f"{lane.name}:"), "file": lambda: FileStore(tmp_path), "kept": lambda: kept}[kind]()
        return made

    first, second = lane.wallet(store=store()), lane.wallet(store=store())
    assert first.token().access_token == second.token().access_token
    with lane.wallet(store=store()) as third:
        assert third.token().access_token == first.token().access_token
    assert lane.token_requests() == 1


def test_clients_of_asyncio_and_of_threads_share_a_store(lane: Lane, server: Redis) -> None:
    prefix = f"{lane.name}:"

    async def token(store: Any) -> str:
        async with lane.wallet(remint.AsyncClient, store=store) as client:
            token: remint.Token = await client.token()
            return token.access_token

    def client() -> redis.asyncio.Redis:
        return redis.asyncio.Redis(port=server.port)

    first = asyncio.run(token(AsyncRedisStore(client(), prefix)))
    assert asyncio.run(token(AsyncRedisStore(client, prefix))) == first
    assert asyncio.run(token(RedisStore(server.client(), prefix))) == first
    assert lane.wallet(store=RedisStore(server.client(), prefix)).token().access_token == first
    assert lane.token_requests() == 1


def test_loops_that_share_a_client_have_connections_of_their_own(lane: Lane, server: Redis) -> None:
    store = AsyncRedisStore(lambda: redis.asyncio.Redis(port=server.port), f"{lane.name}:")
    client = lane.wallet(remint.AsyncClient, store=store)
    for scope in ("wallets:read", "wallets:write", "wallets:read wallets:write"):
        asyncio.run(client.with_scope(scope).token())
    assert lane.token_requests() == 3
    assert len(server.client().keys(f"{lane.name}:*")) == 3


COLD = """
import json, sys, redis, remint
from remint.file import FileStore
from remint.redis import RedisStore
options, where, name = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
store = FileStore(where) if where.startswith("/") else RedisStore(redis.Redis(port=int(where)), name)
# A machine that tests is busy.
client = remint.Client("phoenix-wallet", store=store, policy={"store_timeout": 20}, **options)
print("ready", flush=True)
sys.stdin.readline()
print(client.token().access_token)
"""


def about(lane: Lane) -> str:
    """What a process needs to make a client like the lane's."""
    return json.dumps({
        "client_id": "demo-client",
        "client_secret": "s3cret+/%&: odd",
        "scope": ["wallets:read"],
        "token_endpoint": lane.url("phoenix-wallet/oauth/token"),
        "base_url": lane.url("phoenix-wallet"),
        "allow_loopback_http": True,
    })  # fmt: skip


@pytest.mark.parametrize("kind", ["redis", "file"])
def test_processes_that_start_at_once_ask_once(kind: str, lane: Lane, server: Redis, tmp_path: Path) -> None:
    where = str(tmp_path) if kind == "file" else str(server.port)
    words = [sys.executable, "-c", COLD, about(lane), where, f"{lane.name}:"]
    crowd = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    for process in crowd:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in crowd:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    tokens = {process.communicate(timeout=60)[0] for process in crowd}
    assert len(tokens) == 1 and tokens.pop().strip()
    assert lane.token_requests() == 1


def test_a_cold_start_costs_two_round_trips_a_warm_one_one_and_a_cached_call_none(lane: Lane, server: Redis) -> None:
    database, prefix = server.client(), f"{lane.name}:"
    warm = RedisStore(server.client(), "scripts:")
    warm.lock("k", "a", 1), warm.save("k", None, "R", 1, "a")

    def calls() -> dict[str, int]:
        found = {name[8:]: told["calls"] for name, told in database.info("commandstats").items()}
        database.config_resetstat()
        return {name: found[name] for name in ("evalsha", "eval", "hget") if name in found}

    calls()
    first = lane.wallet(store=RedisStore(server.client(), prefix))
    first.token()
    assert calls() == {"evalsha": 2}
    second = lane.wallet(store=RedisStore(server.client(), prefix))
    second.token()
    # Nobody waits for the lease to be given back.
    until(lambda: database.hget(next(iter(database.keys(f"{prefix}*"))), "o") is None)
    assert calls()["evalsha"] <= 2
    for _ in range(100):
        first.token(), second.token()
    assert calls() == {}


# What one does, the others see.


@pytest.mark.parametrize("kind", ["redis", "asyncio", "file"])
def test_an_invalidated_token_is_soon_forgotten_by_all(kind: str, lane: Lane, server: Redis, tmp_path: Path) -> None:
    prefix, stores = f"{lane.name}:", {"file": lambda: FileStore(tmp_path)}
    first = lane.wallet(store=stores.get(kind, lambda: RedisStore(server.client(), prefix))())
    token = first.token().access_token

    def heard_by(other: Callable[[], str]) -> None:
        assert other() == token
        if kind != "file":
            until(lambda: server.client().pubsub_numsub(f"{prefix}changed")[0][1] == 2)
        first.invalidate()
        start = monotonic()
        until(lambda: other() != token)
        assert monotonic() - start < 5
        assert first.token().access_token == other() != token

    if kind == "asyncio":
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        listener = lane.wallet(remint.AsyncClient, store=AsyncRedisStore(redis.asyncio.Redis(port=server.port), prefix))
        heard_by(lambda: asyncio.run_coroutine_threadsafe(listener.token(), loop).result(10).access_token)
    else:
        listener = lane.wallet(store=stores.get(kind, lambda: RedisStore(server.client(), prefix))())
        heard_by(lambda: listener.token().access_token)
    assert lane.token_requests() == 2


def test_what_is_begun_without_waiting_reaches_an_asynchronous_store(lane: Lane, server: Redis) -> None:
    prefix = f"{lane.name}:"
    other = lane.wallet(store=RedisStore(server.client(), prefix), policy={"store_check": 0.05})

    async def forget(how: str) -> None:
        store = AsyncRedisStore(redis.asyncio.Redis(port=server.port), prefix)
        client = lane.wallet(remint.AsyncClient, store=store)
        token = await client.token()
        assert other.token().access_token == token.access_token
        if how == "invalidate":
            # The loop may end at once.
            await client.invalidate()
        else:
            assert await client.reject(token, "GET", lane.api(), 401) == "retry"
            await client.close()

    for requests, how in enumerate(("invalidate", "reject"), 2):
        token = other.token().access_token
        asyncio.run(forget(how))
        until(lambda: other.token().access_token != token)
        assert lane.token_requests() == requests


def test_a_forked_child_looks_again_and_listens_for_itself(lane: Lane, server: Redis) -> None:
    prefix = f"{lane.name}:"
    client = lane.wallet(store=RedisStore(server.client(), prefix))
    token = client.token().access_token
    channel, database = f"{prefix}changed", server.client()
    until(lambda: database.pubsub_numsub(channel)[0][1] == 1)
    (ours, theirs), (told, tell) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            first = client.token().access_token
            until(lambda: redis.Redis(port=server.port).pubsub_numsub(channel)[0][1] == 2)
            os.write(theirs, b"ready")
            os.read(told, 1)
            until(lambda: client.token().access_token != first)
            os.write(theirs, f"{first == token}".encode())
        finally:
            os._exit(0)
    assert os.read(ours, 5) == b"ready"
    client.invalidate()
    os.write(tell, b"!")
    assert os.read(ours, 9) == b"True"
    os.waitpid(child, 0)
    # The child wrote as another than its parent: the parent has heard of it.
    fresh = client.token().access_token
    assert fresh != token and lane.token_requests() == 2


# The store's troubles.


def test_without_the_store_client_credentials_are_fetched_all_the_same(lane: Lane) -> None:
    notices: list[Any] = []
    store = RedisStore(redis.Redis(port=free_port(), retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0)))
    client = lane.wallet(store=store, on_notice=notices.append, policy={"store_timeout": 0.2})
    assert client.token().access_token
    (down,) = [notice for notice in notices if notice["notice"] == "store_down"][:1]
    assert isinstance(down.cause, redis.ConnectionError) and "refused" not in str(down)
    # Nothing more is sent to it for now, and the token is there.
    assert client.token().access_token and lane.token_requests() == 1


def test_a_store_that_stands_still_keeps_nobody(lane: Lane) -> None:
    kept, over = Kept(), threading.Event()
    kept.fails = lambda name: None if over.wait(30) else None
    try:
        client = lane.wallet(store=kept, policy={"store_timeout": 0.05})
        assert client.token(timeout=20).access_token
    finally:
        over.set()
    assert lane.token_requests() == 1


def test_a_rotation_is_not_begun_without_the_store(lane: Lane) -> None:
    kept = Kept()

    def fails(name: str) -> None:
        raise StoreDown("the disk is full")

    kept.fails = fails
    client = lane.rapidomize(store=kept).with_subject("ann", refresh_token="R1")
    with pytest.raises(remint.TransportError) as caught:
        client.token()
    assert caught.value.code == "store_unavailable" and caught.value.hint == "the disk is full"
    assert isinstance(caught.value.__cause__, StoreDown)
    assert lane.counters()["token"]["total"] == 0


def test_what_a_bad_store_gives_is_no_record(lane: Lane) -> None:
    class Odd(Kept):
        def lock(self, key: str, owner: str, ttl: float) -> Any:
            return "ok"

    notices: list[Any] = []
    assert lane.wallet(store=Odd(), on_notice=notices.append, policy={"store_timeout": 0.05}).token().access_token
    assert any("Locked or Held" in str(getattr(notice, "cause", "")) for notice in notices)


# Options, secrets, ends.


def test_a_store_is_checked_when_the_client_is_made(lane: Lane) -> None:
    class Half:
        def load(self, key: str) -> None:
            return None

    for store, words in ((object(), "`load`"), (Half(), "`lock`"), (Awaited(Kept()), "AsyncClient")):
        with pytest.raises(remint.UsageError, match=words) as caught:
            lane.wallet(store=store)
        assert caught.value.code == "invalid_option"
    assert lane.token_requests() == 0


def test_functions_run_on_threads_or_are_awaited(lane: Lane) -> None:
    async def run(store: Any) -> None:
        async with lane.wallet(remint.AsyncClient, store=store) as client:
            await client.token()

    kept = Kept()
    asyncio.run(run(kept))
    assert threading.main_thread().name not in kept.threads
    asyncio.run(run(Awaited(kept)))
    assert threading.main_thread().name in kept.threads and lane.token_requests() == 1


@pytest.mark.parametrize("kind", ["redis", "file"])
def test_with_keys_no_token_is_in_the_store(kind: str, lane: Lane, server: Redis, tmp_path: Path) -> None:
    prefix = f"{lane.name}:"

    def made(**options: Any) -> Any:
        return lane.wallet(store=FileStore(tmp_path) if kind == "file" else RedisStore(server.client(), prefix), **options)

    def content() -> str:
        if kind == "file":
            return "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
        return "".join(str(server.client().hgetall(name)) for name in server.client().keys(f"{prefix}*"))

    sealed = made(store_keys=KEYS).token().access_token
    assert sealed not in content() and "sealed" in content()
    # Bytes or text, and any of the keys.
    text = [{"id": "new", "key": "_" * 42 + "8"}, {"id": "2026-11", "key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}]
    assert made(store_keys=text).token().access_token == sealed
    notices: list[dict[str, Any]] = []
    other = made(store_keys=[{"id": "2026-11", "key": bytes(32)}], on_notice=notices.append)
    assert other.token().access_token != sealed
    assert "record_refused" in names(notices) and lane.token_requests() == 2


def test_without_keys_a_token_can_be_read_in_the_store(lane: Lane, tmp_path: Path) -> None:
    token = lane.wallet(store=FileStore(tmp_path)).token().access_token
    assert any(token in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("keys", ["key", ["key"], [{"id": "a"}], [{"id": "a", "key": b"short"}], [{"id": "a", "key": object()}], []])
def test_keys_that_are_none_are_refused(keys: Any, lane: Lane) -> None:
    with pytest.raises(remint.UsageError) as caught:
        lane.wallet(store=Kept(), store_keys=keys)
    assert caught.value.code == "invalid_option"


def test_a_traceback_through_the_users_store_shows_no_record(lane: Lane) -> None:
    shown: list[str] = []

    class Loud(Kept):
        def save(self, key: str, expect: str | None, record: str, ttl: float, unlock: str | None) -> Saved:
            try:
                raise OSError("no")
            except OSError as error:
                shown.append("".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()))
                raise

    token = lane.wallet(store=Loud()).token().access_token
    assert shown and "record = <record (redacted)>" in shown[0] and token not in "".join(shown)


def test_closing_a_client_leaves_the_users_connection_alone(lane: Lane, server: Redis) -> None:
    prefix, user = f"{lane.name}:", server.client()
    client = lane.wallet(store=RedisStore(user, prefix))
    client.token()
    until(lambda: server.client().pubsub_numsub(f"{prefix}changed")[0][1] == 1)
    client.close()
    until(lambda: server.client().pubsub_numsub(f"{prefix}changed")[0][1] == 0)
    assert user.ping()


def test_a_client_that_is_forgotten_hears_no_more(lane: Lane, server: Redis) -> None:
    prefix = f"{lane.name}:"
    client = lane.wallet(store=RedisStore(server.client(), prefix))
    client.token()
    until(lambda: server.client().pubsub_numsub(f"{prefix}changed")[0][1] == 1)
    del client
    until(lambda: server.client().pubsub_numsub(f"{prefix}changed")[0][1] == 0)


def test_a_listener_keeps_no_process(lane: Lane, server: Redis) -> None:
    words = [sys.executable, "-c", COLD, about(lane), str(server.port), f"{lane.name}:"]
    assert subprocess.run(words, input="\n", text=True, check=True, timeout=30, stdout=subprocess.PIPE).stdout.split()[1]


def test_a_host_without_threads_shares_too(lane: Lane, server: Redis) -> None:
    before = threading.active_count()
    one, two = (lane.wallet(store=RedisStore(server.client(), f"{lane.name}:"), background_refresh=False) for _ in range(2))
    assert one.token().access_token == two.token().access_token
    assert threading.active_count() == before and lane.token_requests() == 1
