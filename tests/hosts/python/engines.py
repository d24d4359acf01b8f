"""Real databases for the tests: each started on a free port of the loopback, in a folder of its own, and ended with the test."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Callable

import redis


class Server:
    """A process that is there when it is made, and gone when it is closed."""

    def __init__(self, command: list[str], folder: Path, is_up: Callable[[], object], **options: Any) -> None:
        self.folder = folder
        with open(folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **options)
        end = monotonic() + 20
        while True:
            try:
                is_up()
                return
            except Exception:
                if self.process.poll() is not None or monotonic() > end:
                    self.close()
                    raise AssertionError((folder / "log").read_text()) from None
                sleep(0.02)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)


class Redis(Server):
    def __init__(self, folder: Path, *options: str, port: int | None = None, sentinel: bool = False) -> None:
        program = shutil.which("redis-server")
        assert program is not None, "redis-server is missing: install redis-server"
        folder.mkdir(exist_ok=True)
        self.port = port or free_port()
        (folder / "redis.conf").touch()
        command = [program, str(folder / "redis.conf"), "--port", str(self.port), "--bind", "127.0.0.1", *options]
        if not sentinel:
            command += ["--save", "", "--dir", str(folder), "--unixsocket", str(folder / "socket")]
        super().__init__(command + (["--sentinel"] if sentinel else []), folder, lambda: self.client().ping())

    def client(self, **options: Any) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5, **options)


class Cluster(Redis):
    """A cluster of one, which has all slots."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "--cluster-enabled", "yes")
        self.client().execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until(lambda: "cluster_state:ok" in str(self.client().execute_command("CLUSTER", "INFO")))


class Sentinel(Redis):
    """Watches over a master; alone, which is no quorum to trust."""

    def __init__(self, folder: Path, master: Redis) -> None:
        folder.mkdir()
        (folder / "redis.conf").write_text(f"sentinel monitor it 127.0.0.1 {master.port} 1\nsentinel down-after-milliseconds it 300\nsentinel failover-timeout it 1000\n")
        super().__init__(folder, sentinel=True)


class Postgres(Server):
    """PostgreSQL refuses to be run by root: then it is another user's."""

    def __init__(self) -> None:
        import psycopg

        found = shutil.which("initdb") or max(glob.glob("/usr/lib/postgresql/*/bin/initdb"), default=None)
        assert found is not None, "PostgreSQL is missing: install postgresql"
        programs = os.path.dirname(found)
        user: dict[str, Any] = {}
        # pytest's own folders are closed to that other user.
        folder = Path(tempfile.mkdtemp(prefix="remint-postgres-"))
        if os.getuid() == 0:
            user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(folder, "nobody", "nogroup")
        port = free_port()
        initialize = [f"{programs}/initdb", "--pgdata=data", "--username=app", "--auth=trust", "--no-sync"]
        subprocess.run(initialize, cwd=folder, check=True, stdout=subprocess.PIPE, **user)
        self.url = f"postgresql://app@127.0.0.1:{port}/postgres"
        command = [f"{programs}/postgres", "-D", "data", "-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-F"]
        super().__init__(command, folder, lambda: psycopg.connect(self.url).close(), **user)

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.folder)


def free_port() -> int:
    """A port that nobody listened to a moment ago. Redis wants another one 10,000 above it for its cluster."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port


def until(true: Callable[[], object], seconds: float = 20) -> None:
    """Waits for what must become true."""
    end = monotonic() + seconds
    while not true():
        assert monotonic() < end, "it did not become true"
        sleep(0.01)
