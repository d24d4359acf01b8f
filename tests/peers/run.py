#!/usr/bin/env python3
"""Runs every scenario with every server and every host, and ends with `N passed, N failed`. See README.md."""

import argparse
import os
import subprocess
import sys
import time
import traceback

import servers
from hosts import HOSTS, ROOT, Host
from scenarios import SCENARIOS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default="rust,node,python", help="separated by commas; python stands for python and asyncio")
    parser.add_argument("--only", default="", help="a part of the scenarios' titles")
    parser.add_argument("--verbose", action="store_true", help="with the traceback of each failure")
    arguments = parser.parse_args()
    names = [name for word in arguments.hosts.split(",") for name in (["python", "asyncio"] if word == "python" else [word])]
    unknown = set(names) - set(HOSTS)
    if unknown:
        parser.error(f"there is no host {', '.join(sorted(unknown))}: {', '.join(HOSTS)} are there")
    scenarios = [scenario for scenario in SCENARIOS if arguments.only in scenario[0]]
    if not scenarios:
        parser.error(f"no scenario has `{arguments.only}` in its title")

    if "rust" in names:
        subprocess.run([os.environ.get("CARGO", "cargo"), "build", "--quiet", "--package", "peers-rust"], cwd=ROOT, check=True)
    started = time.monotonic()
    results = []
    with servers.running() as peers:
        for peer in peers:
            print(f"\n{peer.name}{'':{max(1, WIDTH - len(peer.name))}}{' '.join(f'{name:8}' for name in names)}", flush=True)
            results += table(peer, names, scenarios, arguments.verbose)
    print(f"\nin {time.monotonic() - started:.1f} s")
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return not results or not all(results)


def table(peer, names, scenarios, verbose):
    """One server's rows. Each host has a driver for all of them."""
    hosts = [Host(name) for name in names]
    failures = []
    results = []
    for title, applies, run in scenarios:
        if not applies(peer):
            continue
        cells = []
        for host in hosts:
            try:
                run(peer, host)
                cells.append("ok")
            except Exception as error:
                cells.append("FAILED")
                failures.append((title, host.name, error))
        results += [cell == "ok" for cell in cells]
        print(f"  {title:{WIDTH - 2}}{' '.join(f'{cell:8}' for cell in cells)}", flush=True)
    for host in hosts:
        try:
            host.stop()
        except AssertionError as error:
            results.append(False)
            failures.append(("the end", host.name, error))
    for title, name, error in failures:
        print(f"\n  {name}: {title}\n    {type(error).__name__}: {error}", flush=True)
        if verbose:
            traceback.print_exception(error, file=sys.stdout)
    return results


# The longest title and a little more.
WIDTH = max(len(title) for title, _, _ in SCENARIOS) + 4

if __name__ == "__main__":
    sys.exit(main())
