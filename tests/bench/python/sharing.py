"""What sharing costs: round trips to a real Redis, processes that start with a warm store, and how soon others hear."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import monotonic_ns, perf_counter, process_time, sleep
from typing import TYPE_CHECKING, Any, Callable

import redis
from measure import limits

import remint
from remint.file import FileStore
from remint.redis import RedisStore

if TYPE_CHECKING:
    from collections.abc import Iterator

PROCESS = """
import sys, time
start = time.perf_counter()
import json, os, remint
from itertools import count
def store(where):
    if where.startswith("/"):
        from remint.file import FileStore
        return FileStore(where)
    import redis
    from remint.redis import RedisStore
    return RedisStore(redis.Redis(port=int(where)))
tokens = count(1)
def http(request, timeout, cap):
    body = {"access_token": f"{os.getpid()}-{next(tokens)}", "token_type": "Bearer", "expires_in": 3600}
    return 200, [("content-type", "application/json")], json.dumps(body).encode()
client = remint.Client("phoenix-wallet", client_id="a", client_secret="b", http=http, store=store(sys.argv[1]))
token = client.token().access_token
print(time.perf_counter() - start, next(tokens) - 1, flush=True)
for line in sys.stdin:
    while client.token().access_token == token:
        time.sleep(0.0002)
    print(time.monotonic_ns(), flush=True)
    token = client.token().access_token
"""


def sharing() -> None:
    if shutil.which("redis-server") is None:
        print("\nSharing was not measured: redis-server is missing.")
        return
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as database:
        round_trips(database)
        starts(database, folder)
        thousand_keys(database, folder)
        invalidations(database, folder)


def client(store: Any) -> remint.Client:
    body = json.dumps({"access_token": "t" * 800, "token_type": "Bearer", "expires_in": 3600}).encode()
    answer = 200, [("content-type", "application/json")], body
    return remint.Client("phoenix-wallet", client_id="a", client_secret="b", http=lambda *_: answer, store=store)


def round_trips(database: redis.Redis) -> None:
    """As the server counts commands; the giving back of a lease, for which nobody waits, is one."""

    def commands(act: Callable[[], object]) -> int:
        database.config_resetstat()
        act()
        sleep(0.2)
        told = database.info("commandstats")
        return sum(told[f"cmdstat_{name}"]["calls"] for name in ("evalsha", "eval", "hget") if f"cmdstat_{name}" in told)

    def store() -> RedisStore:
        return RedisStore(redis.Redis(port=port_of(database)))

    # The scripts are there from the first process on.
    client(store()).token()
    database.delete(*database.keys("remint:*"))
    first, second = client(store()), client(store())
    rows = [
        ("a cold start: lock, and save with unlock", commands(first.token), 2, ""),
        ("a start with a warm store: lock, and the lease given back aside", commands(second.token), 2, ""),
        ("1,000 cached calls", commands(lambda: [first.token() for _ in range(1000)]), 0, ""),
    ]
    limits("Round trips to Redis", rows)


def starts(database: redis.Redis, folder: str) -> None:
    rows = []
    for name, where in (("Redis", str(port_of(database))), ("a folder", f"{folder}/starts")):
        database.flushall()
        times = []
        for _ in range(10):
            told = subprocess.run([sys.executable, "-c", PROCESS, where], input="", check=True, capture_output=True, text=True).stdout.split()
            times.append((float(told[0]) * 1e3, int(told[1])))
        # The first process asks for the token, and nobody after it.
        assert [requests for _, requests in times] == [1] + [0] * 9, times
        rows += [(f"{name}: `import` and first token", median(time for time, _ in times[1:]), None, "ms")]
    rows.append(("of that, `import redis` alone", imported("redis"), None, "ms"))
    limits("A process starts with a warm store", rows)


def imported(name: str) -> float:
    program = f"import time\nstart = time.perf_counter()\nimport {name}\nprint(time.perf_counter() - start)"
    runs = [float(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout) * 1e3 for _ in range(6)]
    return median(runs[1:])


def thousand_keys(database: redis.Redis, folder: str) -> None:
    rows = []
    for name, store in (("Redis", lambda: RedisStore(redis.Redis(port=port_of(database)))), ("a folder", lambda: FileStore(f"{folder}/keys"))):
        database.flushall()
        for what in ("fetched and saved", "found"):
            views = [client_.with_scope(f"scope-{key}") for client_ in [client(store())] for key in range(1000)]
            before, start = process_time(), perf_counter()
            for view in views:
                view.token()
            rows.append((f"{name}: {what}, CPU", (process_time() - before) * 1e3, None, "ms"))
            rows.append((f"{name}: {what}, elapsed", (perf_counter() - start) * 1e3, None, "ms"))
    limits("1,000 keys, one after the other", rows)


def invalidations(database: redis.Redis, folder: str) -> None:
    rows = []
    for name, where in (("Redis", str(port_of(database))), ("a folder", f"{folder}/invalidations")):
        database.flushall()
        store = FileStore(where) if where.startswith("/") else RedisStore(redis.Redis(port=port_of(database)))
        words = [sys.executable, "-c", PROCESS, where]
        here = client(store)
        others = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
        try:
            for other in others:
                read(other)
            here.token()
            # Whoever listens has to be known to the server first.
            sleep(1)
            times = []
            for _ in range(10):
                for other in others:
                    tell(other)
                sleep(0.2)
                start = monotonic_ns()
                here.invalidate()
                times.append((max(int(read(other)) for other in others) - start) / 1e6)
                here.token()
        finally:
            for other in others:
                other.communicate()
        rows += [(f"{name}: median", median(times), 1000, "ms"), (f"{name}: slowest", max(times), 1000, "ms")]
    limits("From `invalidate()` to another token in the last of three other processes", rows)


def read(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def port_of(database: redis.Redis) -> int:
    return int(database.get_connection_kwargs()["port"])


@contextmanager
def redis_server(folder: Path) -> Iterator[redis.Redis]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        database = redis.Redis(port=port)
        for _ in range(500):
            try:
                database.ping()
                break
            except redis.ConnectionError:
                sleep(0.02)
        yield database
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    sharing()
