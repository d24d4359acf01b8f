"""What every store has to do, over real engines: a lease, and a compare-and-swap."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep, time
from typing import Any

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
import remint
import remint.redis
from engines import Cluster, Postgres, Redis, Sentinel, free_port, until
from remint.file import FileStore
from remint.redis import LOCK, SAVE, AsyncRedisStore, RedisStore
from remint.store import Conflict, Held, Locked, Saved, Store, StoreDown

ROOT = Path(__file__).parents[3]
sys.path.append(str(ROOT / "examples/python/stores"))

KINDS = ("file", "redis", "redis that decodes", "cluster", "sentinel", "asyncio", "asyncio cluster", "sqlite", "postgres")


class Waiting:
    """An asynchronous store, for those who can't await."""

    def __init__(self, make: Callable[[], AsyncRedisStore]) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._store = make()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments: asyncio.run_coroutine_threadsafe(getattr(self._store, name)(*arguments), self._loop).result(10)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """The servers, each started once and when it is first needed."""
    there: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in there:
            folder = tmp_path_factory.mktemp("engine")
            makers: dict[str, Callable[[], Any]] = {
                "redis": lambda: Redis(folder / "redis"),
                "cluster": lambda: Cluster(folder / "cluster"),
                "sentinel": lambda: Sentinel(folder / "sentinel", get("redis")),
                "postgres": Postgres,
            }
            there[name] = makers[name]()
        return there[name]

    yield get
    for server in there.values():
        server.close()


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, engine: Callable[[str], Any], tmp_path: Path) -> Any:
    return make(request.param, engine, tmp_path)


def make(kind: str, engine: Callable[[str], Any], folder: Path) -> Any:
    from postgres_store import PostgresStore
    from sqlite_store import SqliteStore

    def sentinel(library: Any) -> Any:
        return library.sentinel.Sentinel([("127.0.0.1", engine("sentinel").port)]).master_for("it")

    # Every test has names of its own.
    prefix = f"{folder.name}:"
    makers: dict[str, Callable[[], Any]] = {
        "file": lambda: FileStore(folder / "store"),
        "redis": lambda: RedisStore(engine("redis").client(), prefix),
        "redis that decodes": lambda: RedisStore(engine("redis").client(decode_responses=True, protocol=3), prefix),
        "cluster": lambda: RedisStore(redis.cluster.RedisCluster(host="127.0.0.1", port=engine("cluster").port), prefix),
        "sentinel": lambda: RedisStore(sentinel(redis), prefix),
        "asyncio": lambda: Waiting(lambda: AsyncRedisStore(redis.asyncio.Redis(port=engine("redis").port), prefix)),
        "asyncio cluster": lambda: Waiting(
            lambda: AsyncRedisStore(lambda: redis.asyncio.RedisCluster(host="127.0.0.1", port=engine("cluster").port), prefix)
        ),
        "sqlite": lambda: SqliteStore(folder / "tokens.db"),
        "postgres": lambda: fresh(PostgresStore(engine("postgres").url)),
    }
    return makers[kind]()


def fresh(store: Any) -> Any:
    import psycopg

    with psycopg.connect(store._url) as connection:
        connection.execute("DELETE FROM tokens")
    return store


def is_conflict(answer: object, record: str | None) -> bool:
    return isinstance(answer, Conflict) and answer.record == record


def test_a_lease_is_one_owners_until_it_ends(store: Store) -> None:
    first = store.lock("k", "a", 5)
    assert isinstance(first, Locked) and first.record is None
    second = store.lock("k", "b", 5)
    assert isinstance(second, Held) and 4 < second.retry_in <= 5 and second.record is None
    # Who has it extends it.
    assert isinstance(store.lock("k", "a", 50), Locked)
    third = store.lock("k", "b", 5)
    assert isinstance(third, Held) and third.retry_in > 40
    # Nobody gives back what is another's.
    store.lock("k", "b", 0)
    assert isinstance(store.lock("k", "b", 5), Held)
    store.lock("k", "a", 0)
    assert isinstance(store.lock("k", "b", 0.05), Locked)
    sleep(0.1)
    assert isinstance(store.lock("k", "a", 5), Locked)
    # Another key is another lease.
    assert isinstance(store.lock("other", "b", 5), Locked)


def test_a_record_is_written_only_over_what_was_seen(store: Store) -> None:
    assert store.load("k") is None
    assert is_conflict(store.save("k", "never seen", "R", 60, None), None)
    assert isinstance(store.save("k", None, "R1", 60, None), Saved)
    assert store.load("k") == "R1"
    assert is_conflict(store.save("k", None, "R2", 60, None), "R1")
    assert is_conflict(store.save("k", "R", "R2", 60, None), "R1")
    assert isinstance(store.save("k", "R1", "R2", 60, None), Saved)
    assert store.load("k") == "R2" and store.load("other") is None
    found = store.lock("k", "a", 5)
    assert isinstance(found, Locked) and found.record == "R2"
    held = store.lock("k", "b", 5)
    assert isinstance(held, Held) and held.record == "R2"


def test_a_save_ends_the_lease_that_it_names_and_no_other(store: Store) -> None:
    store.lock("k", "a", 30)
    # A conflict leaves the lease alone; so does a save that names another, or none.
    assert isinstance(store.save("k", "never seen", "R", 60, "a"), Conflict)
    assert isinstance(store.save("k", None, "R1", 60, "b"), Saved)
    assert isinstance(store.save("k", "R1", "R2", 60, None), Saved)
    assert isinstance(store.lock("k", "b", 5), Held)
    assert isinstance(store.save("k", "R2", "R3", 60, "a"), Saved)
    found = store.lock("k", "b", 5)
    assert isinstance(found, Locked) and found.record == "R3"


def test_a_record_ends_with_its_time_and_not_with_a_lease(store: Store) -> None:
    assert isinstance(store.save("short", None, "R", 0.05, None), Saved)
    assert isinstance(store.save("long", None, "R", 60, None), Saved)
    store.lock("long", "a", 0.02)
    sleep(0.1)
    assert store.load("short") is None and store.load("long") == "R"
    assert isinstance(store.save("short", None, "again", 60, None), Saved)
    assert store.load("short") == "again"


def test_of_writers_at_the_same_time_one_wins(store: Store) -> None:
    """Each counts on from what it has seen: no count may be lost."""

    def count(_: int) -> int:
        won = 0
        while won < 8:
            seen = store.load("n")
            won += isinstance(store.save("n", seen, str(int(seen or 0) + 1), 60, None), Saved)
        return won

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(count, range(4))) == 32
    assert store.load("n") == "32"


# Redis.


@pytest.mark.parametrize("name, text", [("lock", LOCK.text), ("save", SAVE.text)])
def test_the_scripts_are_those_of_all_languages(name: str, text: str) -> None:
    assert text == (ROOT / f"tests/stores/redis/{name}.lua").read_text()


def test_everything_in_redis_ends_by_itself(engine: Callable[[str], Any], tmp_path: Path) -> None:
    client, store = engine("redis").client(), make("redis", engine, tmp_path)
    name = f"{tmp_path.name}:k"
    store.lock("k", "a", 5)
    assert 4000 < client.pttl(name) <= 5000
    store.save("k", None, "R", 100, "a")
    assert 99_000 < client.pttl(name) <= 100_000
    # A lease that is longer than the record keeps it; a shorter one doesn't cut it.
    store.lock("k", "a", 200)
    assert 199_000 < client.pttl(name) <= 200_000
    store.save("k", "R", "S", 1, None)
    assert 199_000 < client.pttl(name) <= 200_000
    store.lock("k", "a", 1)
    assert client.pttl(name) > 190_000
    # A lease without a record leaves nothing behind.
    store.lock("m", "a", 5)
    store.lock("m", "a", 0)
    assert not client.exists(f"{tmp_path.name}:m")


def test_a_cold_and_a_warm_script_cost_one_round_trip(engine: Callable[[str], Any], tmp_path: Path) -> None:
    client, store = engine("redis").client(), make("redis", engine, tmp_path)
    client.script_flush()
    store.lock("k", "a", 5)
    assert isinstance(store.save("k", None, "R", 5, "a"), Saved)
    client.config_resetstat()
    store.lock("k", "a", 5)
    store.save("k", "R", "S", 5, "a")
    calls = {name: told["calls"] for name, told in client.info("commandstats").items()}
    assert calls["cmdstat_evalsha"] == 2 and "cmdstat_eval" not in calls


def test_what_redis_refuses_was_not_written(engine: Callable[[str], Any], tmp_path: Path) -> None:
    server = Redis(tmp_path / "small")
    try:
        client = server.client()
        store = RedisStore(client)
        store.save("k", None, "R", 60, None)
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreDown, match="maxmemory"):
            store.save("k", "R", "S", 60, None)
        client.config_set("maxmemory", 0)
        client.replicaof("127.0.0.1", engine("redis").port)
        until(lambda: client.info("replication")["master_link_status"] == "up")
        with pytest.raises(StoreDown, match="(?i)read.only"):
            store.save("k", None, "S", 60, None)
    finally:
        server.close()


def test_a_connection_that_is_cut_in_mid_reply_leaves_open_what_was_written(engine: Callable[[str], Any], tmp_path: Path) -> None:
    port, real = free_port(), engine("redis").port
    listener = socket.create_server(("127.0.0.1", port))

    def cut() -> None:
        while True:
            near, _ = listener.accept()
            with near, socket.create_connection(("127.0.0.1", real)) as far:
                while data := near.recv(65536):
                    far.sendall(data)
                    answer = far.recv(65536)
                    if b"EVAL" in data:
                        break
                    near.sendall(answer)

    threading.Thread(target=cut, daemon=True).start()
    never = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
    store = RedisStore(redis.Redis(port=port, socket_timeout=2, retry=never), f"{tmp_path.name}:")
    try:
        with pytest.raises(redis.ConnectionError):
            store.save("k", None, "R", 60, None)
        assert make("redis", engine, tmp_path).load("k") == "R"
    finally:
        listener.close()


@pytest.mark.parametrize(
    "client",
    [
        lambda: redis.Redis(host="redis.example"),
        lambda: redis.Redis.from_url("redis://203.0.113.7:6379"),
        lambda: redis.sentinel.Sentinel([("sentinel.example", 26379)]).master_for("it"),
        lambda: redis.asyncio.Redis(host="redis.example"),
        lambda: redis.asyncio.RedisCluster(host="redis.example"),
        lambda: redis.asyncio.sentinel.Sentinel([("sentinel.example", 26379)]).master_for("it"),
    ],
)
def test_tokens_are_not_sent_to_another_machine_in_the_clear(client: Callable[[], Any]) -> None:
    def kind(client: Any, **options: Any) -> object:
        return (AsyncRedisStore if "asyncio" in type(client).__module__ else RedisStore)(client, **options)

    with pytest.raises(remint.UsageError, match="TLS") as caught:
        kind(client())
    assert caught.value.code == "invalid_option"
    kind(client(), insecure_plaintext=True)


def test_encrypted_and_local_connections_will_do() -> None:
    for client in (
        redis.Redis(host="redis.example", ssl=True),
        redis.Redis.from_url("rediss://redis.example"),
        redis.Redis(unix_socket_path="/nowhere"),
        redis.Redis(host="127.0.0.9"),
        redis.Redis(host="::1"),
        redis.Redis(host="localhost"),
        redis.sentinel.Sentinel([("sentinel.example", 1)], ssl=True).master_for("it", ssl=True),
    ):
        RedisStore(client)
    AsyncRedisStore(redis.asyncio.Redis(host="redis.example", ssl=True))
    AsyncRedisStore(redis.asyncio.RedisCluster(host="redis.example", ssl=True))


@pytest.mark.parametrize("kind", ["redis", "redis that decodes", "cluster", "sentinel", "asyncio", "asyncio cluster"])
def test_changes_are_heard_by_others_and_losses_by_all(kind: str, engine: Callable[[str], Any], tmp_path: Path) -> None:
    writer, listener = make("redis" if "cluster" not in kind else "cluster", engine, tmp_path), make(kind, engine, tmp_path)
    server = engine("cluster" if "cluster" in kind else "redis").client()
    heard: list[str | None] = []
    listening = listener.subscribe(heard.append)
    channel = f"{tmp_path.name}:changed"
    until(lambda: server.pubsub_numsub(channel)[0][1] == 1)
    writer.save("k", None, "R", 60, None)
    until(lambda: heard == ["k"])
    # What is refused changes nothing, and what it writes itself it knows.
    writer.save("k", None, "S", 60, None)
    listener.save("k", "R", "S", 60, None)
    writer.save("m", None, "R", 60, None)
    until(lambda: heard == ["k", "m"])
    server.client_kill_filter(_type="pubsub")
    until(lambda: heard == ["k", "m", None])
    writer.save("n", None, "R", 60, None)
    until(lambda: heard[-1] == "n")
    listening.close()
    until(lambda: server.pubsub_numsub(channel)[0][1] == 0)


def test_clients_that_share_a_store_hear_each_other(engine: Callable[[str], Any], tmp_path: Path) -> None:
    store, server = make("redis", engine, tmp_path), engine("redis").client()
    heard: list[list[str | None]] = [[], []]
    listening = [store.subscribe(each.append) for each in heard]
    until(lambda: server.pubsub_numsub(f"{tmp_path.name}:changed")[0][1] == 2)
    store.save("k", None, "R", 60, None)
    until(lambda: heard == [["k"], ["k"]])
    for each in listening:
        each.close()


@pytest.mark.parametrize("kind", ["redis", "redis that decodes", "asyncio"])
def test_a_silent_server_is_asked_for_a_sign_of_life(
    kind: str, engine: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remint.redis, "SILENCE", 0.4)
    monkeypatch.setattr(remint.redis, "TICK", 0.1)
    store, server = make(kind, engine, tmp_path), engine("redis").client()
    heard: list[str | None] = []
    listening = store.subscribe(heard.append)
    until(lambda: server.pubsub_numsub(f"{tmp_path.name}:changed")[0][1] == 1)
    server.config_resetstat()
    until(lambda: server.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"] >= 3)
    # It answers, so nothing was lost; then it doesn't.
    assert heard == []
    process = engine("redis").process
    process.send_signal(signal.SIGSTOP)
    sleep(2)
    process.send_signal(signal.SIGCONT)
    until(lambda: None in heard)
    listening.close()


def test_the_rights_that_the_readme_lists_are_enough(engine: Callable[[str], Any]) -> None:
    readme = (ROOT / "bindings-python/README.md").read_text()
    (listed,) = re.findall(r"The client's user needs (.*?), over which", readme, re.DOTALL)
    commands = {word.lower() for word in re.findall(r"`([A-Z]+)`", listed)}
    keys, channel = "app:tokens:*", "app:tokens:changed"
    assert f"`{keys}`" in listed and f"`{channel}`" in listed
    root = engine("redis").client()
    rights = ["reset", "on", ">pw", f"~{keys}", f"&{channel}", *(f"+{command}" for command in commands)]
    root.execute_command("ACL", "SETUSER", "app", *rights)
    reader, writer = (RedisStore(engine("redis").client(username="app", password="pw"), "app:tokens:") for _ in range(2))
    heard: list[str | None] = []
    listening = reader.subscribe(heard.append)
    until(lambda: root.pubsub_numsub(channel)[0][1] == 1)
    assert isinstance(writer.lock("k", "a", 5), Locked)
    assert isinstance(writer.save("k", None, "R", 5, "a"), Saved)
    assert reader.load("k") == "R"
    writer.lock("k", "a", 0)
    until(lambda: heard == ["k"])
    listening.close()
    # Nothing more than that: what is not the store's is closed.
    with pytest.raises(StoreDown):
        RedisStore(engine("redis").client(username="app", password="pw"), "other:").save("k", None, "R", 5, None)


# Files.


def processes(program: str, count: int, *arguments: object) -> list[subprocess.Popen[str]]:
    words = [sys.executable, "-c", program, *map(str, arguments)]
    return [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(count)]


COUNT = """
import sys
from remint.file import FileStore
from remint.store import Saved
store, won = FileStore(sys.argv[1]), 0
while won < int(sys.argv[2]):
    seen = store.load("n")
    if isinstance(store.save("n", seen, str(int(seen or 0) + 1), 60, None), Saved):
        won += 1
        print(won, flush=True)
"""


def test_no_count_of_any_process_is_lost(tmp_path: Path) -> None:
    for process in processes(COUNT, 4, tmp_path, 10):
        process.communicate(timeout=60)
    assert FileStore(tmp_path).load("n") == "40"


def test_a_process_that_is_killed_in_mid_write_breaks_nothing(tmp_path: Path) -> None:
    counts = 0
    for _ in range(4):
        victims = processes(COUNT, 2, tmp_path, 1000)
        for victim in victims:
            assert victim.stdout is not None
            victim.stdout.readline()
        for victim in victims:
            victim.send_signal(signal.SIGKILL)
            # It may have been killed between its write and its word.
            counts += 1 + len(victim.communicate()[0].splitlines())
    stored = int(FileStore(tmp_path).load("n") or 0)
    assert counts <= stored <= counts + 8
    # And who comes next goes on.
    (after,) = processes(COUNT, 1, tmp_path, 1)
    after.communicate(timeout=60)
    assert FileStore(tmp_path).load("n") == str(stored + 1)


def test_files_are_for_their_user_alone(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        store = FileStore(tmp_path / "made" / "here")
        store.lock("k", "a", 5)
        store.save("k", None, "R", 60, None)
    finally:
        os.umask(previous)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "made" / "here").rglob("*")}
    assert modes == {"k": 0o700, f"{1:016}": 0o600, f"{2:016}": 0o600}
    assert stat.S_IMODE((tmp_path / "made" / "here").stat().st_mode) == 0o700


def test_a_directory_that_others_can_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o770)
    with pytest.raises(remint.UsageError, match="chmod 700") as caught:
        FileStore(tmp_path / "open")
    assert caught.value.code == "invalid_option"
    (tmp_path / "file").touch()
    with pytest.raises(remint.UsageError, match="can't be used"):
        FileStore(tmp_path / "file")


def forked(act: Callable[[], None]) -> None:
    """Runs in a child, which may lose what it is allowed to do."""
    child = os.fork()
    if child == 0:
        try:
            act()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_what_cannot_be_written_can_still_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    FileStore(folder).save("k", None, "R", 60, None)

    def without_permission() -> None:
        if os.getuid() == 0:
            for each in (folder, *folder.rglob("*")):
                os.chown(each, 65534, 65534)
            os.chdir(folder)
            os.setuid(65534)
        for each in (folder / "k", folder) if os.getuid() != 65534 else (Path("k"), Path(".")):
            each.chmod(0o500)
        store = FileStore("." if os.getuid() == 65534 else folder)
        assert store.load("k") == "R"
        for write in (lambda: store.save("k", "R", "S", 60, None), lambda: store.lock("k", "a", 5), lambda: store.lock("new", "a", 5)):
            with pytest.raises(StoreDown, match="Permission denied"):
                write()
        assert store.load("k") == "R"

    forked(without_permission)


def test_a_full_disk_is_told_and_harms_no_record(tmp_path: Path) -> None:
    FileStore(tmp_path).save("k", None, "R", 60, None)

    def on_a_full_disk() -> None:
        import resource

        # As far as a test goes: not one more byte can be written to any file.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        with pytest.raises(StoreDown, match="can't be written: File too large"):
            FileStore(tmp_path).save("k", "R", "S", 60, None)

    forked(on_a_full_disk)
    store = FileStore(tmp_path)
    assert store.load("k") == "R" and os.listdir(tmp_path / "k") == [f"{1:016}"]
    assert isinstance(store.save("k", "R", "S", 60, None), Saved)


def test_what_a_power_cut_left_half_written_is_never_read(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.save("k", None, "R", 60, None)
    recent, old = tmp_path / "k" / ".tmp-recent", tmp_path / "k" / ".tmp-old"
    for torn in (recent, old):
        torn.write_text('{"expires":9999999999999,"lease":null,"rec')
    os.utime(old, (time() - 4000, time() - 4000))
    assert store.load("k") == "R"
    store.lock("k", "a", 5)
    assert recent.exists() and not old.exists()


@pytest.mark.parametrize("text", ["", '{"expires":1', "[]", '{"expires":1,"lease":{"owner":1,"until":2},"record":null}', "\0" * 64])
def test_a_damaged_version_is_shown_as_it_is_and_can_be_written_over(text: str, tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.save("k", None, "R", 60, None)
    (tmp_path / "k" / f"{7:016}").write_text(text)
    assert store.load("k") == text
    assert isinstance(store.lock("k", "a", 5), Locked)
    assert isinstance(store.save("k", text, "S", 60, "a"), Saved)
    assert store.load("k") == "S"


def test_who_slept_before_the_link_has_not_won(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, link = FileStore(tmp_path), os.link
    store.save("k", None, "R", 60, None)

    def slept(source: str, target: str) -> None:
        # Meanwhile others go so many versions on that the number is free again which this one is about to make.
        monkeypatch.setattr(os, "link", link)
        for _ in range(20):
            assert isinstance(store.lock("k", "quick", 30), Locked)
        link(source, target)

    for act, kind in ((lambda: store.lock("k", "slow", 30), Held), (lambda: store.save("k", "R", "S", 60, None), Saved)):
        monkeypatch.setattr(os, "link", slept)
        assert isinstance(act(), kind)
    assert store.load("k") == "S" and isinstance(store.lock("k", "slow", 5), Held)
    assert len(os.listdir(tmp_path / "k")) == 16


def test_who_was_first_has_won_even_if_others_went_on_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, link = FileStore(tmp_path), os.link

    def at_once(source: str, target: str) -> None:
        monkeypatch.setattr(os, "link", link)
        link(source, target)
        assert isinstance(store.save("k", "R", "S", 60, None), Saved)

    monkeypatch.setattr(os, "link", at_once)
    assert isinstance(store.save("k", None, "R", 60, None), Saved)
    assert store.load("k") == "S"


def test_nothing_around_a_record_prints_it() -> None:
    for answer in (Locked("s3cret"), Held(1, "s3cret"), Conflict("s3cret"), Saved()):
        assert "s3cret" not in f"{answer} {answer!r}"
