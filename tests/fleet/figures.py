"""What a store costs: processor time, and the start of a process that finds a token."""

import functools
import statistics
import time

from cases import case, fine, make, requests
from members import SHARES, WITH_REDIS

KEYS = 1000


@case("processor time per 1,000 keys, cold and with a warm store", heavy=True)
def _(world):
    for member in one_per_driver(world.members(world.size)):
        engine = world.engine()
        alone, cold, warm = cost(world, member, world.redis(engine.url), engine)
        times = f"{alone[0]:.2f} s without a store, {cold[0]:.2f} s cold, {warm[0]:.2f} s warm; Redis {cold[1]:.2f} s and {warm[1]:.2f} s"
        world.figure(f"processor time per 1,000 keys in Redis, {member.name}", times)


@case("processor time per 1,000 keys in a directory, cold and with a warm store", heavy=True)
def _(world):
    # Whoever has no Redis client. Here it is the disk that takes the time.
    for member in one_per_driver(world.fleet.mixed(world.size, [name for name in SHARES if name not in WITH_REDIS])):
        alone, cold, warm = cost(world, member, world.directory())
        times = f"{alone[0]:.2f} s without a store, {cold[0]:.2f} s cold, {warm[0]:.2f} s warm"
        world.figure(f"processor time per 1,000 keys in a directory, {member.name}", times)


def one_per_driver(members):
    by_name = {}
    for member in members:
        by_name.setdefault(member.name, member)
    return list(by_name.values())


def cost(world, member, store, engine=None):
    """Seconds of processor time of the process, and of Redis if that is the store: without a store, with an empty one and with a full one."""
    corner = world.corner()
    costs = []
    for client, options in (("alone", {}), ("cold", store), ("warm", store)):
        make(world.fleet, [member], corner, options, name=client)
        costs.append(spent(member, engine, client))
    assert requests(corner) == 2 * KEYS, f"{requests(corner)} token requests"
    return costs


def spent(member, engine, client):
    before = times(member, engine)
    for number in range(KEYS):
        view = f"{client} {number}"
        member.tell("with_resource", client=client, resource=[f"https://api.example/{number}"], view=view)
        member.token(view)
    return [after - early for after, early in zip(times(member, engine), before)]


def times(member, engine):
    return [member.cpu(), engine.cpu() if engine else 0.0]


@case("the start of a process that finds a token")
def _(world):
    start(world, world.members(world.size), lambda: functools.partial(world.redis, world.engine().url), "in Redis, connecting included")


@case("the start of a process that finds a token in a directory", heavy=True)
def _(world):
    start(world, world.fleet.mixed(world.size), lambda: world.directory, "in a directory")


def start(world, members, place, where):
    """The time until a process has its first token: one that a store has, and one that has to be asked for."""
    rows = []
    for member in one_per_driver(members):
        corner, new_store = world.corner(), place()
        store = new_store()
        make(world.fleet, [member], corner, store, name="writer")
        member.token("writer")
        seen = {"warm": [], "cold": []}
        for turn in range(9):
            make(world.fleet, [member], corner, store, name=f"warm {turn}")
            make(world.fleet, [member], corner, new_store(), name=f"cold {turn}")
            for kind, moments in seen.items():
                started = time.monotonic()
                fine([member.token(f"{kind} {turn}")])
                moments.append(time.monotonic() - started)
        assert requests(corner) == 10, f"{requests(corner)} token requests"
        warm, cold = (statistics.median(moments) * 1e3 for moments in seen.values())
        rows.append(f"{member.name} {warm:.1f} ms (with a token request {cold:.1f} ms)")
    world.figure(f"a first token from a warm store {where}", ", ".join(rows))
