"""What a case is: a title, and a function that gets the world and says what it counted."""

import contextlib
import itertools
import json
import tempfile
from dataclasses import dataclass, field
from typing import Callable

from engines import Engine
from hosts import Refused
from lanes import CREDENTIALS, PROFILE
from members import WITH_REDIS


@dataclass
class Case:
    title: str
    run: Callable
    is_heavy: bool = False


CASES: list[Case] = []


def case(title, heavy=False):
    def keep(run):
        CASES.append(Case(title, run, heavy))
        return run

    return keep


@dataclass
class World:
    """What all cases share: the processes and the authority. Each case has its own lane, store and clients."""

    fleet: object
    authority: object
    program: str
    languages: list
    size: int
    stack: contextlib.ExitStack
    #: The servers that none of us wrote, if a case needs them.
    peers: list
    #: The most lifetimes of a rotation; none: as many as the case wants.
    most_lifetimes: int | None
    #: Of whatever is drawn.
    seed: int
    lines: list = field(default_factory=list)
    figures: dict = field(default_factory=dict)
    prefixes: itertools.count = field(default_factory=lambda: itertools.count(1))

    def say(self, line):
        self.lines.append(line)

    def figure(self, name, value):
        """A number for the bench's table."""
        self.figures[name] = value
        self.say(f"{name}: {value}")

    def lifetimes(self, wanted):
        return min(wanted, self.most_lifetimes or wanted)

    def revive(self):
        """Wakes who was stopped, and starts another process for each that died."""
        for member in list(self.fleet.members):
            if member.is_alive:
                member.wake()
            else:
                self.fleet.replace(member)

    def engine(self, *words):
        return Engine(self.stack, self.program, *words)

    def corner(self, provider=CREDENTIALS, lifetime=None):
        corner = self.authority.corner(provider)
        if lifetime is not None:
            corner.lives(lifetime)
        return corner

    def redis(self, url):
        """The options of a client with a store in Redis, under a prefix that nobody else has."""
        return self.store(redis=url)

    def store(self, **told):
        """The options of a client with a store that the driver makes of these words."""
        return {"store": {"prefix": f"fleet:{next(self.prefixes)}:", **told}, "policy": PATIENT}

    def directory(self):
        """The options of a client with a store in a directory of its own."""
        # Somebody may still give a lease back when the case is over.
        folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="remint-fleet-", ignore_cleanup_errors=True))
        return {"store": {"file": folder}, "policy": PATIENT}

    def members(self, size, names=WITH_REDIS):
        taken = self.fleet.mixed(size, names)
        assert taken, f"no process of {', '.join(names)} runs"
        return taken


#: A store on a busy machine is not one that is down.
PATIENT = {"store_timeout": 10}
#: A lease that is over soon: 2 × (request_timeout + store_timeout).
SHORT = {"request_timeout": 1, "policy": {"store_timeout": 2}}
#: In seconds.
SHORT_LEASE = 6


def make(fleet, members, corner, store, profile=PROFILE, **options):
    fleet.make(profile, members, **{**corner.options, **store, **options})


def shared(world, corner, members, client="fleet"):
    """The number of the one token that all of them have."""
    tokens = fine(world.fleet.each(lambda member: member.token(client), members))
    numbers = corner.numbers(tokens)
    assert len(set(numbers)) == 1, f"the processes hold different tokens: {whose(members, numbers, client)}"
    return numbers[0]


def whose(members, numbers, client="fleet"):
    """Who has which token, and what they said."""
    said = {member: [f"{notice['notice']} {notice.get('detail') or notice.get('why') or ''}".strip() for notice in member.notices(client)] for member in members}
    return "; ".join(f"{member} {number} {said[member]}" for member, number in zip(members, numbers))


def fine(answers):
    """The answers, if there is no error among them."""
    failed = [answer for answer in answers if isinstance(answer, Exception)]
    assert not failed, f"{len(failed)} of {len(answers)} failed, the first: {told(failed[0])}"
    return answers


def told(error):
    member = f"{error.member}: " if hasattr(error, "member") else ""
    facts = json.dumps(error.error) if isinstance(error, Refused) else ""
    return f"{member}{error} {facts}".strip()


def requests(corner):
    return corner.seen()["token"]["total"]


def no_401(corner):
    seen = corner.seen()["api"]["by_status"]
    assert set(seen) <= {"200"}, f"the API refused tokens: {seen}"
