#!/usr/bin/env python3
"""Runs the cases of the fleet, prints what each of them counted, and ends with `N passed, N failed`. See README.md."""

import argparse
import contextlib
import os
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).parent
# The drivers, the servers and the local authority of the other tests.
sys.path[1:1] = [str(HERE.parent / "peers"), str(HERE.parent / "examples")]

import cold  # noqa: E402
import faults  # noqa: E402
import figures  # noqa: E402
import invalidation  # noqa: E402
import records  # noqa: E402
import rotation  # noqa: E402
import servers  # noqa: E402
from cases import CASES, World  # noqa: E402
from engines import USUAL, program  # noqa: E402
from hosts import HOSTS  # noqa: E402
from lanes import LocalAuthority  # noqa: E402
from members import WITH_REDIS, Fleet, drivers, shares  # noqa: E402

#: In the order in which they run: what fails soonest comes first.
MODULES = [cold, faults, records, invalidation, figures, rotation]
#: The lifetimes of a rotation that the light run has.
LIGHT_LIFETIMES = 30


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default=",".join(HOSTS), help="separated by commas: %(default)s unless told")
    parser.add_argument("--only", default="", help="a part of the cases' titles, or of their modules' names")
    parser.add_argument("--size", type=int, default=50, help="processes that share a store: %(default)s unless told")
    parser.add_argument("--heavy", action="store_true", help="with the cases that take longer, and 200 lifetimes for each rotation")
    parser.add_argument("--figures", action="store_true", help="only what has figures, and these as a table: `cargo xtask bench`")
    parser.add_argument("--engine", default=USUAL, help="the program: %(default)s unless told")
    parser.add_argument("--seed", type=int, default=1, help="of who is killed, and when: %(default)s unless told")
    parser.add_argument("--verbose", action="store_true", help="with the traceback of each failure")
    arguments = parser.parse_args()
    words = arguments.hosts.split(",")
    if unknown := [word for word in words if word not in HOSTS]:
        parser.error(f"there is no host {', '.join(unknown)}: {', '.join(HOSTS)} are there")
    chosen = [case for case in CASES if arguments.only in f"{case.run.__module__}: {case.title}"]
    chosen = [case for case in chosen if arguments.heavy or arguments.figures or not case.is_heavy]
    if arguments.figures:
        chosen = [case for case in chosen if case.run.__module__ in ("cold", "invalidation", "figures")]
    if not chosen:
        parser.error(f"no case has `{arguments.only}` in its title")
    # Everything is here, and no proxy leads to it.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))

    started = time.monotonic()
    failures = []
    with contextlib.ExitStack() as stack:
        world = begin(stack, words, arguments, chosen)
        print(f"{len(world.fleet.members)} processes run after {time.monotonic() - started:.0f} s", flush=True)
        for case in chosen:
            failure = attempt(world, case, arguments.verbose)
            failures += [case.title] if failure else []
        ending = time.monotonic()
    if arguments.figures:
        print("\n| A fleet | |\n|---|---|")
        for name, value in world.figures.items():
            print(f"| {name} | {value} |")
    print(f"\nin {time.monotonic() - started:.0f} s, {time.monotonic() - ending:.0f} s of them to end it")
    print(f"{len(chosen) - len(failures)} passed, {len(failures)} failed")
    # A bench shows what is; whether that is good enough is the tests' affair.
    return bool(failures) and not arguments.figures


def begin(stack, words, arguments, chosen):
    """All processes that the cases take."""
    authority = stack.enter_context(LocalAuthority())
    names = drivers(words)
    shared = [name for name in names if name in WITH_REDIS]
    others = [name for name in names if name not in WITH_REDIS]
    fleet = Fleet(stack, [*shares(shared, arguments.size), *(name for name in others for _ in range(4))], arguments.figures)
    peers = []
    if any(case.run.__module__ == "rotation" for case in chosen):
        peers = stack.enter_context(servers.running(servers.LIGHT))
    light = LIGHT_LIFETIMES if not arguments.heavy else None
    return World(fleet, authority, program(arguments.engine), words, arguments.size, stack, peers, light, arguments.seed)


def attempt(world, case, verbose):
    """Runs a case and says how it went."""
    world.lines.clear()
    started = time.monotonic()
    failure = None
    whole = world.stack
    with contextlib.ExitStack() as stack:
        # What a case starts ends with it.
        world.stack = stack
        try:
            case.run(world)
        except Exception as error:
            failure = traceback.format_exc() if verbose else f"{type(error).__name__}: {error}"
    world.stack = whole
    world.revive()
    print(f"{'FAILED' if failure else 'ok    '} {case.title} ({time.monotonic() - started:.1f} s)")
    for line in [*world.lines, *([failure] if failure else [])]:
        print(f"         {line}", flush=True)
    return failure


if __name__ == "__main__":
    assert all(case.run.__module__ in {module.__name__ for module in MODULES} for case in CASES)
    sys.exit(main())
