"""What goes wrong with processes, with the store and on the way to it. Each case says what the authority saw, and what was lost."""

import hashlib
import time
from pathlib import Path

from cases import SHORT, SHORT_LEASE, case, fine, make, no_401, requests, shared, told, whose
from engines import Cluster, Sentinels, until
from lanes import PROFILE, ROTATING
from proxy import Proxy

#: How many of the drivers are the leader once.
LEADERS = 3
SCRIPTS = Path(__file__).parent.parent / "stores" / "redis"


def sha(script):
    """What a script is called by (EVALSHA)."""
    return hashlib.sha1((SCRIPTS / script).read_bytes()).hexdigest().encode()


def leader(world, corner, member):
    """Lets a member ask for a token, and waits until its request is at the authority, where it stays."""
    corner.hold()
    asked = world.fleet.pool.submit(world.fleet.each, lambda one: one.token(), [member])
    until(15, lambda: corner.running() == 1, lambda: f"{member} asks for no token")
    return asked


@case("the leader is stopped past its lease")
def _(world):
    corner, engine = world.corner(), world.engine()
    for turn in range(LEADERS):
        first, *others = led(world.members(7), turn)
        make(world.fleet, [first, *others], corner, world.redis(engine.url), **SHORT)
        before = requests(corner)
        asked = leader(world, corner, first)
        first.pause()
        started = time.monotonic()
        corner.release()
        # Nobody else may ask before the lease is over, and then one does.
        newest = shared(world, corner, others)
        took = time.monotonic() - started
        first.wake()
        (mine,) = corner.numbers(fine(asked.result()))
        assert mine in (newest, newest - 1), f"the leader has token {mine}, the others {newest}"
        # What the late writer brought is no step back for anybody; it may go on with what it has.
        after = shared(world, corner, others)
        assert after == newest, f"all went back from token {newest} to {after}"
        (later,) = corner.numbers(fine(world.fleet.each(lambda member: member.token(), [first])))
        assert later in (mine, newest), f"the leader has token {later} after {mine}, the others {newest}"
        seen = requests(corner) - before
        assert seen == 2, f"{seen} token requests where the stopped leader's and its successor's were expected"
        assert took < SHORT_LEASE + 10, f"the others waited {took:.1f} s for a lease of {SHORT_LEASE} s"
        world.say(f"{first.name} stopped: 2 token requests, the others waited {took:.1f} s (lease {SHORT_LEASE} s), {len(others) + 1} callers served; lost: nothing")


def led(members, turn):
    """The members, each time with another first one."""
    return members[turn:] + members[:turn]


@case("the leader is killed with -9 between lock and save")
def _(world):
    corner, engine = world.corner(), world.engine()
    for turn in range(LEADERS):
        first, *others = led(world.members(7), turn)
        make(world.fleet, [first, *others], corner, world.redis(engine.url), **SHORT)
        before = requests(corner)
        asked = leader(world, corner, first)
        first.kill()
        started = time.monotonic()
        corner.release()
        tokens = fine(world.fleet.each(lambda member: member.token(), others))
        took = time.monotonic() - started
        asked.result()
        numbers = corner.numbers(tokens)
        assert len(set(numbers)) == 1, f"after the leader's death: {whose(others, numbers)}"
        seen = requests(corner) - before
        assert seen == 2, f"{seen} token requests where the dead leader's and its successor's were expected"
        assert took < SHORT_LEASE + 10, f"the others waited {took:.1f} s"
        world.fleet.replace(first)
        world.say(f"{first.name} killed: 2 token requests, the others waited {took:.1f} s, {len(others)} callers served; lost: nothing")


@case("CLIENT PAUSE: what is in hand is served, and a process without a token fetches its own")
def _(world):
    corner, engine = world.corner(), world.engine()
    *members, late = world.members(8)
    store = world.redis(engine.url)
    make(world.fleet, [*members, late], corner, store, policy={"store_timeout": 2})
    number = shared(world, corner, members)
    engine.ask.client_pause(10_000)
    started = time.monotonic()
    assert shared(world, corner, members) == number
    served = time.monotonic() - started
    assert requests(corner) == number, "a token that is in hand was asked for again"
    own = corner.numbers(fine(world.fleet.each(lambda member: member.token(), [late])))
    failed_open = time.monotonic() - started - served
    assert own == [number + 1] and requests(corner) == number + 1
    # The pause ends by itself: nobody gets through to end it.
    until(20, engine.answers, lambda: "the pause does not end")
    # The others go on with what they have; a token request of the next one is for all again.
    assert set(corner.numbers(fine(world.fleet.each(lambda member: member.token(), members)))) <= {number, number + 1}
    assert requests(corner) == number + 1
    world.say(f"{len(members)} served from memory in {served:.2f} s altogether, {late.name} without a token after {failed_open:.2f} s by a request of its own: {number + 1} token requests; lost: nothing")


@case("CLIENT PAUSE: a lock that is answered too late keeps nobody waiting")
def _(world):
    engine = world.engine()
    members = world.members(7)
    for first, other in zip(members, members[1:] + members[:1]):
        corner = world.corner()
        store = world.redis(engine.url)
        # Scripts and connections are there: what is paused is the lock.
        make(world.fleet, [first, other], corner, store, policy={"store_timeout": 1})
        shared(world, corner, [first, other])
        engine.ask.client_pause(2_500)
        assert corner.numbers([first.token(force=True)]) == [2], f"{first} was not given a token of its own"
        # It asks nothing any more: what it gives back, it gives back by itself.
        until(10, engine.answers, lambda: "the pause does not end")
        until(2, lambda: not engine.leases(), lambda: f"{first} keeps the lock that it does not know of: {engine.leases()}")
        started = time.monotonic()
        assert corner.numbers([other.token(force=True)]) == [3]
        took = time.monotonic() - started
        assert took < 5, f"{other} waited {took:.1f} s for a lock that nobody wants"
    world.say(f"{', '.join(member.name for member in members)}: {requests(corner)} token requests each; lost: nothing")


@case("maxmemory with allkeys-lru: the record is evicted")
def _(world):
    corner = world.corner()
    engine = world.engine("--maxmemory", "6mb", "--maxmemory-policy", "allkeys-lru", "--maxmemory-samples", "10")
    *members, late = world.members(8)
    store = world.redis(engine.url)
    prefix = store["store"]["prefix"]
    make(world.fleet, [*members, late], corner, store)
    shared(world, corner, members)
    filler = engine.ask.pipeline(transaction=False)
    for turn in range(200):
        for number in range(200):
            filler.set(f"filler:{turn}:{number}", "x" * 400)
        filler.execute(raise_on_error=False)
        if not list(engine.ask.scan_iter(f"{prefix}*", 1000)):
            break
    assert not list(engine.ask.scan_iter(f"{prefix}*", 1000)), "the record was not evicted, so this shows nothing"
    assert shared(world, corner, members) == 1
    newest = corner.numbers(fine(world.fleet.each(lambda member: member.token(), [late])))
    assert newest == [2] and requests(corner) == 2
    until(15, lambda: set(corner.numbers(fine(world.fleet.each(lambda member: member.token(), members)))) <= {1, 2}, lambda: "somebody has a token that nobody gave")
    assert requests(corner) == 2
    world.say(f"evicted after {turn + 1} rounds of other keys: {len(members)} go on with token 1, a new process asks once, 2 token requests; lost: nothing")


@case("the connection is cut in the middle of a reply")
def _(world):
    engine = world.engine()
    counts = {"save, done": [], "save, not done": [], "lock, done": []}
    for member in world.members(7):
        for name, script, after in (("save, done", "save.lua", 3), ("save, not done", "save.lua", None), ("lock, done", "lock.lua", 3)):
            corner, proxy = world.corner(), Proxy(world.stack, engine.port)
            make(world.fleet, [member], corner, world.redis(f"redis://127.0.0.1:{proxy.port}"), **SHORT)
            if after is None:
                proxy.lose_request(sha(script))
            else:
                proxy.break_reply(sha(script), after)
            (token,) = fine(world.fleet.each(lambda member: member.token(), [member]))
            assert proxy.broken == 1, f"{member} sent no {script}, so nothing was cut"
            assert corner.accepts(token)
            counts[name].append(requests(corner))
            assert requests(corner) <= 2, f"{member}, {name}: {requests(corner)} token requests"
            no_401(corner)
            proxy.close()
    for name, seen in counts.items():
        world.say(f"{name}: token requests {sum(seen)} for {len(seen)} drivers; lost: nothing")


@case("failover to a replica that missed the last write")
def _(world):
    corner, primary, replica = world.corner(), world.engine(), world.engine()
    replica.follow(primary)
    proxy = Proxy(world.stack, primary.port)
    members = world.members(7)
    make(world.fleet, members, corner, world.redis(f"redis://127.0.0.1:{proxy.port}"))
    assert shared(world, corner, members) == 1
    until(10, lambda: list(replica.ask.scan_iter()), lambda: "the replica has no record")
    # From here on it hears nothing any more.
    replica.ask.replicaof("no", "one")
    first = members[0]
    assert corner.numbers([first.token(force=True)]) == [2]
    primary.kill()
    proxy.lead_to(replica.port)
    numbers = corner.numbers(fine(world.fleet.each(lambda member: member.token(), members)))
    assert set(numbers) <= {1, 2} and numbers[0] == 2, numbers
    # The next renewal is for all again, and its successor in the store is newer than both.
    assert corner.numbers([first.token(force=True)]) == [3]
    until(20, lambda: reach(world, corner, members, 3), lambda: f"the processes hold {corner.numbers(world.fleet.each(lambda member: member.token(), members))}")
    assert requests(corner) == 3
    world.say(f"after the failover {numbers.count(1)} go on with token 1 and {numbers.count(2)} with 2, then all with 3: 3 token requests; lost: nothing")


def reach(world, corner, members, number):
    """Whether all of them have this token by now."""
    return set(corner.numbers(fine(world.fleet.each(lambda member: member.token(), members)))) == {number}


@case("the store starts again without data")
def _(world):
    corner, engine = world.corner(), world.engine()
    *members, late = world.members(8)
    make(world.fleet, [*members, late], corner, world.redis(engine.url))
    assert shared(world, corner, members) == 1
    engine.kill()
    assert shared(world, corner, members) == 1
    engine.start()
    (own,) = fine(world.fleet.each(lambda member: member.token(), [late]))
    assert corner.accepts(own)
    numbers = corner.numbers(fine(world.fleet.each(lambda member: member.token(), members)))
    seen = requests(corner)
    assert seen == 2 and set(numbers) <= {1, 2}, f"{seen} token requests; the processes hold {numbers}"
    world.say(f"{len(members)} processes never noticed, the one without a token asked once: {seen} token requests; lost: nothing")


@case("the scripts are gone (NOSCRIPT)")
def _(world):
    corner, engine = world.corner(), world.engine()
    members = world.members(7)
    make(world.fleet, members, corner, world.redis(engine.url))
    shared(world, corner, members)
    for number, member in enumerate(members, 2):
        engine.ask.script_flush()
        (newest,) = corner.numbers(fine([world.fleet.each(lambda member: member.token(force=True), [member])[0]]))
        assert newest == number and requests(corner) == number, f"{member} has token {newest} after {requests(corner)} requests"
    until(15, lambda: reach(world, corner, members, len(members) + 1), lambda: "a save without scripts did not reach everybody")
    quiet(world, members)
    world.say(f"{len(members)} drivers: {requests(corner)} token requests for {len(members) + 1} tokens; lost: nothing")


def quiet(world, members):
    """That nobody had trouble with the store."""
    for member in members:
        named = [notice["notice"] for notice in member.notices()]
        assert "store_down" not in named, f"{member}: {named}"


@case("a replica that only reads")
def _(world):
    corner, primary, replica = world.corner(), world.engine(), world.engine()
    replica.follow(primary)
    members = world.members(7)
    make(world.fleet, members, corner, world.redis(replica.url), policy={"store_timeout": 2})
    started = time.monotonic()
    tokens = fine(world.fleet.each(lambda member: member.token(), members))
    took = time.monotonic() - started
    assert all(corner.accepts(token) for token in tokens)
    assert requests(corner) == len(members), f"{requests(corner)} token requests"
    for member in members:
        until(10, lambda: any(notice["notice"] == "store_down" for notice in member.notices()), lambda: f"{member} says nothing of it")
    world.say(f"each of {len(members)} processes asked for itself within {took:.1f} s and said store_down: {requests(corner)} token requests; lost: nothing")


@case("a replica that only reads, and a rotating refresh token: nothing is sent")
def _(world):
    corner, primary, replica = world.corner(ROTATING), world.engine(), world.engine()
    replica.follow(primary)
    members = world.members(7)
    make(world.fleet, members, corner, world.redis(replica.url), policy={"store_timeout": 2})
    refresh_token = corner.mint()
    codes = []
    for member in members:
        member.tell("adopt", client="fleet", view="ann", subject="ann", refresh_token=refresh_token)
        (answer,) = world.fleet.each(lambda member: member.token("ann", timeout=5), [member])
        assert isinstance(answer, Exception), f"{member} spent a refresh token that it can't save"
        assert hasattr(answer, "error"), told(answer)
        codes.append(answer.error["code"])
    assert set(codes) == {"store_unavailable"}, codes
    assert requests(corner) == 0, "a refresh token was sent although its successor can't be saved"
    world.say(f"{len(members)} processes: 0 token requests, store_unavailable; lost: nothing")


@case("a failover by Sentinel")
def _(world):
    sentinels = Sentinels(world.stack, world.program)
    corner = world.corner()
    members = able(world, corner, world.store(sentinel=[f"127.0.0.1:{sentinels.port}"], master="fleet"))
    assert shared(world, corner, members) == 1
    sentinels.fail_over()
    assert shared(world, corner, members) == 1
    assert corner.numbers([members[0].token(force=True)]) == [2]
    # By message: a token in hand is looked at once a minute without one.
    until(20, lambda: reach(world, corner, members, 2), lambda: f"not everybody heard of it: {whose(members, corner.numbers(fine(world.fleet.each(lambda member: member.token(), members))))}")
    world.say(f"{', '.join(member.name for member in members)}: {requests(corner)} token requests, everybody heard of the second; lost: nothing")


@case("a cluster of three nodes")
def _(world):
    cluster = Cluster(world.stack, world.program)
    corner = world.corner()
    store = world.store(cluster=cluster.addresses)
    members = able(world, corner, store)
    for number, scope in enumerate(("wallets:read", "policies:read", "ledger:read"), 1):
        make(world.fleet, members, corner, store, name=scope, scope=scope)
        shared(world, corner, members, scope)
        assert requests(corner) == number
    world.say(f"{', '.join(member.name for member in members)}: 3 keys on whatever nodes, {requests(corner)} token requests; lost: nothing")


def able(world, corner, store):
    """Those whose driver can connect in this way."""
    members = world.members(7)
    answers = world.fleet.each(lambda member: member.make(PROFILE, **corner.options, **store), members)
    taken = [member for member, answer in zip(members, answers) if not isinstance(answer, Exception)]
    without = {member.name for member, answer in zip(members, answers) if isinstance(answer, Exception)}
    assert taken, f"no driver can: {told(answers[0])}"
    if without:
        world.say(f"not shown with {', '.join(sorted(without))}")
    return taken
