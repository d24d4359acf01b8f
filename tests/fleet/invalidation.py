"""How long it takes until nobody uses a token that one of them has invalidated."""

import hashlib
import time

from cases import PATIENT, case, fine, make, requests, shared
from engines import until
from members import pause_until

#: Between two looks of a process at its token, in seconds.
LOOK = 0.02
#: What the store check is shortened to where the message is lost.
CHECK = 2


def measure(world, corner, members, first):
    """Seconds from the end of `invalidate` in one process until the last other one has let go of the token."""
    number = shared(world, corner, members)
    old = first.token()["access_token"]
    others = [member for member in members if member is not first]
    is_over = []

    def let_go(member):
        """When this process has another token."""
        turn = time.monotonic()
        while not is_over:
            asked = time.monotonic()
            if member.token()["access_token"] != old:
                return asked
            turn += LOOK
            pause_until(turn)
        raise AssertionError(f"{member} still uses the invalidated token")

    futures = [world.fleet.pool.submit(let_go, member) for member in others]
    first.tell("invalidate", client="fleet")
    done = time.monotonic()
    try:
        until(90, lambda: all(future.done() for future in futures), lambda: f"{sum(not future.done() for future in futures)} processes go on with an invalidated token")
    finally:
        is_over.append(True)
    moments = [future.result() for future in futures]
    assert shared(world, corner, members) == number + 1, f"{requests(corner)} token requests after one invalidation"
    return max(0.0, max(moments) - done)


@case("invalidation by message: until the last process")
def _(world):
    for size in (7, world.size):
        corner, engine = world.corner(), world.engine()
        members = world.members(size)
        make(world.fleet, members, corner, world.redis(engine.url))
        took = [measure(world, corner, members, first) for first in members[:5]]
        assert requests(corner) == 1 + len(took), f"{requests(corner)} token requests"
        assert max(took) < 1, f"{max(took):.2f} s until the last process let go of the token"
        world.figure(f"from invalidation to the last of {len(members)} processes, by message", f"{sorted(took)[len(took) // 2]:.3f} s, at most {max(took):.3f} s")


@case("invalidation without the message: at the next look into the store")
def _(world):
    corner, engine = world.corner(), world.engine()
    # Whoever may not publish has its save, and nobody hears of it.
    engine.ask.acl_setuser("silent", enabled=True, passwords=["+" + PASSWORD], commands=["+@all"], keys=["*"], reset_channels=True)
    store = world.redis(engine.url.replace("redis://", f"redis://silent:{PASSWORD}@"))
    members = world.members(7)
    make(world.fleet, members, corner, store, policy={**PATIENT, "store_check": CHECK})
    took = [measure(world, corner, members, first) for first in members[:3]]
    assert max(took) < CHECK + 1, f"{max(took):.2f} s where the store is looked at every {CHECK} s"
    world.figure(f"the same with the message lost, store_check {CHECK} s instead of 60 s", f"at most {max(took):.2f} s")


@case("invalidation with the file store")
def _(world):
    corner = world.corner()
    members = world.fleet.mixed(10)
    make(world.fleet, members, corner, world.directory())
    took = [measure(world, corner, members, first) for first in members[:5]]
    assert max(took) < 1, f"{max(took):.2f} s until the last process let go of the token"
    world.figure(f"from invalidation to the last of {len(members)} processes, file store", f"{sorted(took)[len(took) // 2]:.3f} s, at most {max(took):.3f} s")


PASSWORD = hashlib.sha256(b"only for the tests").hexdigest()
