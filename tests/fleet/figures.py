"""What a store costs: processor time, and the start of a process that finds a token."""

import statistics
import time

from cases import case, fine, make, requests

KEYS = 1000


@case("processor time per 1,000 keys, cold and with a warm store", heavy=True)
def _(world):
    for member in one_per_driver(world):
        alone, cold, warm, engine_cold, engine_warm = cost(world, member)
        times = f"{alone:.2f} s without a store, {cold:.2f} s cold, {warm:.2f} s warm; Redis {engine_cold:.2f} s and {engine_warm:.2f} s"
        world.figure(f"processor time per 1,000 keys, {member.name}", times)


def one_per_driver(world):
    by_name = {}
    for member in world.members(world.size):
        by_name.setdefault(member.name, member)
    return list(by_name.values())


def cost(world, member):
    """Seconds of processor time: of the process without a store, with an empty one and with a full one, and of Redis."""
    corner, engine = world.corner(), world.engine()
    store = world.redis(engine.url)
    make(world.fleet, [member], corner, {}, name="alone")
    alone, _ = spent(member, engine, "alone")
    make(world.fleet, [member], corner, store, name="cold")
    cold, engine_cold = spent(member, engine, "cold")
    asked = requests(corner)
    make(world.fleet, [member], corner, store, name="warm")
    warm, engine_warm = spent(member, engine, "warm")
    assert requests(corner) == asked == 2 * KEYS, f"{requests(corner)} token requests"
    return alone, cold, warm, engine_cold, engine_warm


def spent(member, engine, client):
    before = member.cpu(), engine.cpu()
    for number in range(KEYS):
        view = f"{client} {number}"
        member.tell("with_resource", client=client, resource=[f"https://api.example/{number}"], view=view)
        member.token(view)
    return member.cpu() - before[0], engine.cpu() - before[1]


@case("the start of a process that finds a token")
def _(world):
    rows = []
    for member in one_per_driver(world):
        corner, engine = world.corner(), world.engine()
        store = world.redis(engine.url)
        make(world.fleet, [member], corner, store, name="writer")
        member.token("writer")
        times = {"warm": [], "cold": []}
        for turn in range(9):
            make(world.fleet, [member], corner, store, name=f"warm {turn}")
            make(world.fleet, [member], corner, world.redis(engine.url), name=f"cold {turn}")
            for kind, seen in times.items():
                started = time.monotonic()
                fine([member.token(f"{kind} {turn}")])
                seen.append(time.monotonic() - started)
        assert requests(corner) == 10, f"{requests(corner)} token requests"
        rows.append(f"{member.name} {statistics.median(times['warm']) * 1e3:.1f} ms (with a token request {statistics.median(times['cold']) * 1e3:.1f} ms)")
    world.figure("a first token from a warm store, connecting included", ", ".join(rows))
