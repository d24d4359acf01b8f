"""A fleet: many processes in all languages, each a driver of `tests/peers`, told things at the same time."""

import collections
import functools
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hosts import HOSTS, ROOT, Host, Refused
from hosts import command as peers_command

#: How many of fifty processes each driver is: what starts in a moment and is small is there more often.
SHARES = {"rust": 7, "tokio": 7, "node": 14, "python": 7, "asyncio": 7, "kotlin": 2, "java": 2, "swift": 4}
#: Drivers with a Redis client. Swift has none to be had from a registry that we use.
WITH_REDIS = [name for name in SHARES if name != "swift"]
#: An answer that takes longer is a process that hangs.
PATIENCE = 60


def drivers(languages):
    return [name for language in languages for name in HOSTS[language]]


def shares(names, size):
    """`size` names, mixed as in a fleet of fifty, everybody at least once if there is room."""
    weights = {name: SHARES[name] for name in names}
    whole = sum(weights.values())
    counts = {name: max(1, size * weight // whole) for name, weight in weights.items()}
    mixed = [name for turn in range(size) for name in names if turn < counts[name]]
    return (mixed + sorted(names, key=lambda name: -weights[name]) * size)[:size]


class Member(Host):
    """A process of the fleet. It may be stopped, woken and killed."""

    def __init__(self, name, number, is_optimized=False):
        self.name = name
        self.number = number
        self.secrets = set()
        self.clients = 0
        self.is_killed = False
        self.log = tempfile.TemporaryFile("w+")
        self.answers = queue.Queue()
        self.process = subprocess.Popen(
            command(name, is_optimized), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        threading.Thread(target=self.read, daemon=True).start()

    def __str__(self):
        return f"{self.name} {self.number}"

    def make(self, profile, name="fleet", lossy=False, **options):
        """A client, or another one under the same name."""
        self.tell("client", PATIENCE, name=name, profile=profile, options={"allow_loopback_http": True, **options}, lossy=lossy)

    def token(self, client="fleet", seconds=PATIENCE, **words):
        answer = self.tell("token", seconds, client=client, **words)
        self.check(answer.pop("shown"))
        self.secrets.add(answer["access_token"])
        return answer

    def notices(self, client="fleet"):
        notices = self.tell("notices", client=client)
        self.check(notices)
        return notices

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def wake(self):
        self.process.send_signal(signal.SIGCONT)

    def kill(self):
        self.is_killed = True
        self.process.kill()
        self.process.wait(20)

    @property
    def is_alive(self):
        return self.process.poll() is None

    def cpu(self):
        """Seconds of processor time that it has taken."""
        fields = (open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1]).split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Fleet:
    """Processes side by side. `each` tells all of them something at once."""

    def __init__(self, stack, names, is_optimized=False):
        #: Whether what is compiled is compiled as for use: what is measured is.
        self.is_optimized = is_optimized
        self.numbers = iter(range(1, 1_000_000))
        self.members = []
        self.pool = ThreadPoolExecutor(4 * len(names) + 8)
        stack.callback(self.end)
        # A few at a time: fifty interpreters that start at once are slower than one after the other.
        with ThreadPoolExecutor(6) as starters:
            self.members = list(starters.map(self.started, names))

    def started(self, name):
        member = Member(name, next(self.numbers), self.is_optimized)
        try:
            member.tell("notices", client="nobody")
        except (AssertionError, Refused):
            # It speaks; what it says of a client that isn't there is its own affair.
            assert member.is_alive, f"{member} did not start: {member.logged()[-2000:]}"
        return member

    def end(self):
        for member in self.members:
            if member.is_alive:
                member.wake()
        problems = [failure for failure in self.pool.map(ended, self.members) if failure]
        self.pool.shutdown()
        assert not problems, "\n".join(problems)

    def each(self, work, members=None):
        """What came of `work` for each member: an answer, or the error."""
        return list(self.pool.map(lambda member: attempt(work, member), members if members is not None else self.members))

    def make(self, profile, members=None, **options):
        """A client in each of them."""
        answers = self.each(lambda member: member.make(profile, **options), members)
        if failed := [answer for answer in answers if isinstance(answer, Exception)]:
            raise failed[0]

    def mixed(self, size, names=None):
        """So many of them, of as many languages as there is room for."""
        by_name = collections.defaultdict(list)
        for member in self.members:
            if member.is_alive and (names is None or member.name in names):
                by_name[member.name].append(member)
        taken = []
        while len(taken) < size and any(by_name.values()):
            taken += [members.pop(0) for members in by_name.values() if members]
        return taken[:size]

    def replace(self, member):
        """Another process of the same language in the place of one that died."""
        self.members[self.members.index(member)] = another = self.started(member.name)
        return another


def ended(member):
    """Why a member didn't end well, if so."""
    try:
        if member.is_alive:
            member.stop()
    except AssertionError as failure:
        return f"{member}: {failure}"
    finally:
        member.log.close()
    return None


def attempt(work, member):
    try:
        return work(member)
    except (Refused, AssertionError, OSError, json.JSONDecodeError) as error:
        error.member = member
        return error


def command(name, is_optimized):
    """How a driver is started, as one process: what is killed is the driver itself."""
    if name in HOSTS["rust"]:
        return [rust_driver("bench" if is_optimized else "dev"), name]
    if name in HOSTS["kotlin"]:
        java, *words = peers_command(name)
        # Two cores are shared by all; what a server would do to be fast later is of no use here.
        return [java, "-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", *words]
    if name == "swift" and is_optimized:
        launcher, program = peers_command(name)
        return [launcher, str(Path(program).parent.parent / "release" / Path(program).name)]
    return peers_command(name)


@functools.cache
def rust_driver(profile):
    """The program that cargo has built."""
    cargo = [os.environ.get("CARGO", "cargo"), "build", "--quiet", "--profile", profile, "--package", "peers-rust", "--message-format", "json"]
    done = subprocess.run(cargo, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return [message["executable"] for message in map(json.loads, done.stdout.splitlines()) if message.get("executable")][-1]


def pause_until(moment):
    """Waits for a moment of `time.monotonic`: pacing, and never what a test relies on."""
    time.sleep(max(0.0, moment - time.monotonic()))
