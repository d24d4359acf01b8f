#!/usr/bin/env python3
"""Runs every scenario with every server and every host, and ends with `N passed, N failed`. See README.md."""

import argparse
import os
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import servers
from hosts import HOSTS, ROOT, Host
from scenarios import SCENARIOS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default=",".join(HOSTS), help="separated by commas: %(default)s unless told")
    parser.add_argument("--servers", default=",".join(servers.LIGHT), help="separated by commas, or `heavy` for those that take longer: %(default)s unless told")
    parser.add_argument("--only", default="", help="a part of the scenarios' titles")
    parser.add_argument("--verbose", action="store_true", help="with the traceback of each failure")
    arguments = parser.parse_args()
    words = arguments.hosts.split(",")
    if unknown := [word for word in words if word not in HOSTS]:
        parser.error(f"there is no host {', '.join(unknown)}: {', '.join(HOSTS)} are there")
    kinds = servers.HEAVY if arguments.servers == "heavy" else arguments.servers.split(",")
    if unknown := [kind for kind in kinds if kind not in servers.LIGHT + servers.HEAVY]:
        parser.error(f"there is no server {', '.join(unknown)}: {', '.join(servers.LIGHT + servers.HEAVY)} are there")
    names = [name for word in words for name in HOSTS[word]]
    scenarios = [scenario for scenario in SCENARIOS if arguments.only in scenario[0]]
    if not scenarios:
        parser.error(f"no scenario has `{arguments.only}` in its title")

    if "rust" in names:
        subprocess.run([os.environ.get("CARGO", "cargo"), "build", "--quiet", "--package", "peers-rust"], cwd=ROOT, check=True)
    # The servers are here, and no proxy leads to them.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
    started = time.monotonic()
    results = []
    with servers.running(kinds) as peers, ThreadPoolExecutor(len(peers)) as pool:
        tables = [pool.submit(table, peer, names, scenarios, arguments.verbose) for peer in peers]
        for done in tables:
            lines, outcomes = done.result()
            print("\n".join(["", *lines]), flush=True)
            results += outcomes
    print(f"\nin {time.monotonic() - started:.1f} s")
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return not results or not all(results)


def table(peer, names, scenarios, verbose):
    """One server's table, and what each cell came to. One host uses the server at a time, so that its requests can be counted."""
    hosts = [Host(name) for name in names]
    lines = [f"{peer.name:{WIDTH}}{' '.join(f'{name:8}' for name in names)}"]
    failures = []
    results = []
    for title, applies, run in scenarios:
        if not applies(peer):
            continue
        cells = []
        for host in hosts:
            failure = attempt(lambda: run(peer, host), verbose)
            cells.append("FAILED" if failure else "ok")
            failures += [f"\n  {host.name}: {title}\n    {failure}"] if failure else []
        results += [cell == "ok" for cell in cells]
        lines.append(f"  {title:{WIDTH - 2}}{' '.join(f'{cell:8}' for cell in cells)}")
    for host in hosts:
        failure = attempt(host.stop, verbose)
        if failure:
            results.append(False)
            failures.append(f"\n  {host.name}: at its end\n    {failure}")
    return lines + failures, results


def attempt(run, verbose):
    """What went wrong, if something did."""
    try:
        run()
    except Exception as error:
        return traceback.format_exc() if verbose else f"{type(error).__name__}: {error}"
    return None


# The longest title and a little more.
WIDTH = max(len(title) for title, _, _ in SCENARIOS) + 4

if __name__ == "__main__":
    sys.exit(main())
