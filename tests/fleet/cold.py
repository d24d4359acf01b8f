"""A cold start and many lifetimes: one token request for the whole fleet."""

import collections
import time

from cases import case, fine, make, no_401, requests, shared
from engines import until
from members import pause_until

LIFETIMES = 20
#: Seconds. A quarter of it and some jitter are the soft margin.
LIFETIME = 6


@case("cold start: all processes at once, one token request")
def _(world):
    for size in sorted({1, min(10, world.size), world.size}):
        corner, engine = world.corner(), world.engine()
        members = world.members(size)
        make(world.fleet, members, corner, world.redis(engine.url))
        engine.calls()
        started = time.monotonic()
        number = shared(world, corner, members)
        took = time.monotonic() - started
        assert number == 1
        assert requests(corner) == 1, f"{requests(corner)} token requests for {len(members)} processes"
        calls = engine.calls()
        languages = len({member.name for member in members})
        world.figure(f"token requests for {len(members)} processes at a cold start", requests(corner))
        world.say(f"{len(members)} processes of {languages} drivers had it after {took:.2f} s; what they asked the store: {brief(calls)}")
        # What is in hand is no reason to ask anybody, once all have heard of the save.
        until(10, lambda: idle(world, engine, members), lambda: "the store is asked for tokens that are in hand")
        assert shared(world, corner, members) == 1


def idle(world, engine, members):
    """Whether the store is left alone while everybody asks for a token."""
    engine.calls()
    fine(world.fleet.each(lambda member: member.token(), members))
    return not commands(engine.calls())


@case("round trips to the store, per driver")
def _(world):
    cold, cached, warm = {}, {}, {}
    for member in world.members(world.size):
        if member.name in cold:
            continue
        corner, engine = world.corner(), world.engine()
        store = world.redis(engine.url)
        make(world.fleet, [member], corner, store)
        # What a connection says first, and loading the scripts, is not counted: that is once per process.
        make(world.fleet, [member], corner, store, name="warm", scope="wallets:write")
        member.token("warm")
        cold[member.name] = traffic(engine, member.token)
        until(10, lambda: idle(world, engine, [member]), lambda: f"{member} asks the store for a token that is in hand")
        cached[member.name] = traffic(engine, member.token)
        before = requests(corner)
        # Another process, as far as the store can tell.
        make(world.fleet, [member], corner, store, name="restarted")
        warm[member.name] = traffic(engine, lambda: member.token("restarted"))
        assert requests(corner) == before, f"{member} asked for a token although the store had one"
    world.figure("round trips to Redis at a cold start (target 2)", counted(cold))
    world.figure("round trips to Redis for a token in hand (target 0)", counted(cached))
    world.figure("commands to Redis at a start with a warm store, of which the caller waits for the first (target 1)", counted(warm))
    for name, seen in cold.items():
        assert len(seen) == 2, f"{name} at a cold start: {seen}"
        assert not cached[name], f"{name} with a token in hand: {cached[name]}"
        assert len(warm[name]) <= 2, f"{name} at a start with a warm store: {warm[name]}"


def traffic(engine, run):
    """The commands that `run` causes, until no lease is left."""
    with engine.watched() as seen:
        run()
        until(10, lambda: not engine.leases(), lambda: "a lease is not given back")
    return commands(seen)


@case(f"{LIFETIMES} lifetimes of {LIFETIME} s")
def _(world):
    corner, engine = world.corner(lifetime=LIFETIME), world.engine()
    members = world.members(world.size)
    make(world.fleet, members, corner, world.redis(engine.url))
    started = time.monotonic()
    deadline = started + LIFETIMES * LIFETIME + 60
    done = []

    def use(member):
        """Asks again and again, as requests to an API come in."""
        mine = []
        turn = time.monotonic()
        while not done:
            mine.append(member.token())
            if len(mine) % 4 == member.number % 4:
                status = member.tell("call", client="fleet", url=corner.api)
                assert status == 200, f"the API answered {member} with {status}"
            turn += 0.8
            pause_until(turn)
        return mine

    def watch():
        while requests(corner) < LIFETIMES and time.monotonic() < deadline:
            pause_until(time.monotonic() + 0.2)
        done.append(True)

    watcher = world.fleet.pool.submit(watch)
    histories = fine(world.fleet.each(use, members))
    watcher.result()
    took = time.monotonic() - started
    asked = requests(corner)
    assert asked >= LIFETIMES, f"only {asked} tokens in {took:.0f} s"
    trouble = collections.Counter(notice["notice"] for member in members for notice in member.notices())
    world.say(f"notices: {', '.join(f'{name} {count}' for name, count in sorted(trouble.items()))}")
    order = corner.numbers(sum(histories, []))
    at = 0
    for member, history in zip(members, histories):
        mine, at = order[at : at + len(history)], at + len(history)
        assert None not in mine, f"{member} has a token that the authority does not know"
        assert mine == sorted(mine), f"{member}'s generations went back: {mine}"
    # The API takes nothing that has expired.
    no_401(corner)
    # Each token lived until its soft margin at the earliest: half of the lifetime covers every jitter.
    most = took / (LIFETIME / 2)
    assert asked <= most, f"{asked} token requests in {took:.1f} s"
    issued = corner.seen()["access_tokens_issued"]
    used = len(set(order))
    assert asked == issued, f"{asked} requests gave {issued} tokens"
    # The last one may still be on its way to everybody.
    assert used >= issued - 1, f"{issued} tokens were given, and {used} of them were used"
    world.figure(f"token requests per lifetime, {len(members)} processes", f"{asked / max(used, 1):.2f}")
    world.say(f"{asked} token requests, {used} tokens in use in {took:.0f} s, {len(order)} times asked, no expired one, none refused: lost: nothing")


@case("file store: all languages in one directory")
def _(world):
    corner = world.corner(lifetime=LIFETIME)
    members = world.fleet.mixed(10)
    make(world.fleet, members, corner, world.directory())
    histories = {member: [] for member in members}
    for turn in range(1, 6):
        tokens = fine(world.fleet.each(lambda member: member.token(), members))
        numbers = corner.numbers(tokens)
        for member, number in zip(members, numbers):
            histories[member].append(number)
        until(3 * LIFETIME, lambda: not corner.accepts(tokens[0]), lambda: "the token does not end")
    for member, numbers in histories.items():
        assert numbers == sorted(numbers) and len(set(numbers)) == len(numbers), f"{member}: {numbers}"
    asked = requests(corner)
    assert asked == turn, f"{asked} token requests in {turn} lifetimes"
    world.say(f"{len(members)} processes of {len({member.name for member in members})} drivers: {asked} token requests in {turn} lifetimes; lost: nothing")


def commands(names):
    """Those that stores send, of all that arrived."""
    return [name for name in names if name in ("evalsha", "eval", "hget")]


def brief(calls):
    return ", ".join(f"{name} {count}" for name, count in sorted(calls.items()))


def counted(by_name):
    return ", ".join(f"{name} {len(seen)}" for name, seen in by_name.items())
