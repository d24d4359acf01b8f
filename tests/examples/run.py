#!/usr/bin/env python3
"""Runs every example in every language against the local authority, and ends with `N passed, N failed`.

It needs the packages installed: `cargo xtask test examples` does that.
"""

import argparse
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import profiles
import programs
import providers
import story
from authority import Authority

HOSTS = ("rust", "node", "python", "kotlin", "swift")
TESTS = [(kind.__name__, *test) for kind in (providers, profiles, story) for test in kind.TESTS]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default=",".join(HOSTS), help="separated by commas")
    parser.add_argument("--only", default="", help="a part of the tests' names")
    arguments = parser.parse_args()
    hosts = arguments.hosts.split(",")
    if unknown := set(hosts) - set(HOSTS):
        parser.error(f"there is no host {', '.join(sorted(unknown))}: {', '.join(HOSTS)} are there")
    selected = [
        (f"{host}: {kind}: {test.__name__.replace('_', ' ')}", test, host)
        for host in hosts
        for kind, able, test in TESTS
        if host in able and arguments.only in f"{kind}: {test.__name__.replace('_', ' ')}"
    ]
    if not selected:
        parser.error(f"no test has `{arguments.only}` in its name")
    if "rust" in hosts:
        programs.executables()

    started = time.monotonic()
    with Authority() as authority, ThreadPoolExecutor(4) as threads:
        results = list(threads.map(lambda each: passes(*each, authority), selected))
    print(f"\nin {time.monotonic() - started:.1f} s")
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return not all(results)


def passes(title, test, host, authority):
    try:
        test(host, authority)
    except Exception:
        print(f"FAILED  {title}\n{traceback.format_exc()}", flush=True)
        return False
    print(f"ok      {title}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
