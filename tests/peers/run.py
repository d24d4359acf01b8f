#!/usr/bin/env python3
"""Runs every scenario with every server and every host, and ends with `N passed, N failed`. See README.md."""

import argparse
import os
import subprocess
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import readme
import servers
from features import FEATURES, matrix
from hosts import HOSTS, ROOT, Host
from scenarios import SCENARIOS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default=",".join(HOSTS), help="separated by commas: %(default)s unless told")
    parser.add_argument("--servers", default=",".join(servers.LIGHT), help="separated by commas, or `heavy` for those that take longer: %(default)s unless told")
    parser.add_argument("--only", default="", help="a part of the scenarios' titles")
    parser.add_argument("--verbose", action="store_true", help="with the traceback of each failure")
    parser.add_argument("--write-matrix", action="store_true", help="writes the matrix of what is expected into README.md, and runs nothing")
    arguments = parser.parse_args()
    if arguments.write_matrix:
        readme.write()
        return False
    words = arguments.hosts.split(",")
    if unknown := [word for word in words if word not in HOSTS]:
        parser.error(f"there is no host {', '.join(unknown)}: {', '.join(HOSTS)} are there")
    kinds = servers.HEAVY if arguments.servers == "heavy" else arguments.servers.split(",")
    if unknown := [kind for kind in kinds if kind not in servers.LIGHT + servers.HEAVY]:
        parser.error(f"there is no server {', '.join(unknown)}: {', '.join(servers.LIGHT + servers.HEAVY)} are there")
    names = [name for word in words for name in HOSTS[word]]
    scenarios = [scenario for scenario in SCENARIOS if arguments.only in scenario[0]]
    chosen = [feature for feature in FEATURES if arguments.only in feature.title]
    if not scenarios and not chosen:
        parser.error(f"no scenario has `{arguments.only}` in its title")

    if "rust" in names:
        subprocess.run([os.environ.get("CARGO", "cargo"), "build", "--quiet", "--package", "peers-rust"], cwd=ROOT, check=True)
    # The servers are here, and no proxy leads to them.
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
    started = time.monotonic()
    outcomes = []
    with servers.running(kinds) as peers, ThreadPoolExecutor(len(peers)) as pool:
        tables = [pool.submit(table, peer, names, scenarios, chosen, arguments.verbose) for peer in peers]
        for done in tables:
            lines, cells = done.result()
            print("\n".join(["", *lines]), flush=True)
            outcomes += cells
    print("\n".join(["", *seen(outcomes, kinds, words)]))
    failed = [outcome for outcome in outcomes if not outcome.passed]
    stale = readme.is_stale()
    if stale:
        print("\nREADME.md shows another matrix: run `python3 tests/peers/run.py --write-matrix`")
    print(f"\nin {time.monotonic() - started:.1f} s")
    print(f"{len(outcomes) - len(failed)} passed, {len(failed) + stale} failed")
    return not outcomes or bool(failed) or stale


class Outcome(NamedTuple):
    """What came of one scenario or feature with one server and one driver."""

    title: str
    kind: str
    driver: str
    passed: bool


def table(peer, names, scenarios, features, verbose):
    """One server's table, and what each cell came to. One host uses the server at a time, so that its requests can be counted."""
    hosts = [Host(name) for name in names]
    lines = [f"{peer.name:{WIDTH}}{' '.join(f'{name:8}' for name in names)}"]
    failures = []
    outcomes = []
    rows = [(title, run, lambda _: None) for title, applies, run in scenarios if applies(peer)]
    rows += [(feature.title, feature.run, feature.why_not) for feature in features if feature.applies(peer)]
    for title, run, why_not in rows:
        cells = []
        for host in hosts:
            if why_not(LANGUAGES[host.name]):
                cells.append("not yet")
                continue
            failure = attempt(lambda: run(peer, host), verbose)
            cells.append("FAILED" if failure else "ok")
            failures += [f"\n  {host.name}: {title}\n    {failure}"] if failure else []
            outcomes.append(Outcome(title, peer.kind, host.name, not failure))
        lines.append(f"  {title:{WIDTH - 2}}{' '.join(f'{cell:8}' for cell in cells)}")
    for host in hosts:
        failure = attempt(host.stop, verbose)
        if failure:
            outcomes.append(Outcome("its end", peer.kind, host.name, False))
            failures.append(f"\n  {host.name}: at its end\n    {failure}")
    return lines + failures, outcomes


def seen(outcomes, kinds, words):
    """The matrix of this run, and what is not shown yet."""
    passed = {(outcome.title, outcome.kind, LANGUAGES[outcome.driver]): True for outcome in outcomes}
    passed |= {(outcome.title, outcome.kind, LANGUAGES[outcome.driver]): False for outcome in outcomes if not outcome.passed}

    def show(feature, kind, host):
        outcome = passed.get((feature.title, kind, host))
        return "" if outcome is None else host if outcome else f"{host}: FAILED"

    missing = {}
    for each in FEATURES:
        for host in words:
            if each.why_not(host) and set(each.kinds) & set(kinds):
                missing.setdefault((each.title, each.why_not(host)), []).append(host)
    lines = [f"  {title}: {why} ({' '.join(hosts)})" for (title, why), hosts in missing.items()]
    return matrix(show) + (["", f"not shown yet, {len(lines)} features:", *lines] if lines else [])


def attempt(run, verbose):
    """What went wrong, if something did."""
    try:
        run()
    except Exception as error:
        return traceback.format_exc() if verbose else f"{type(error).__name__}: {error}"
    return None


# The longest title and a little more.
WIDTH = max(len(title) for title, _, _ in SCENARIOS) + 4
LANGUAGES = {driver: language for language, drivers in HOSTS.items() for driver in drivers}

if __name__ == "__main__":
    sys.exit(main())
