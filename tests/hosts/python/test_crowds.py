"""Many callers at once: threads, tasks, event loops, processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

import pytest
import remint
from conftest import Lane, ShiftedClock

CROWD = 1000


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """Runs `work` in so many threads at once."""
    results: list[Any] = [None] * count
    start = threading.Event()

    def run(index: int) -> None:
        start.wait()
        try:
            results[index] = work(index)
        except BaseException as error:
            results[index] = error

    stack = threading.stack_size(256 * 1024)
    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    threading.stack_size(stack)
    start.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a caller hangs"
    return results


def test_1000_threads_on_a_cold_key_send_one_request(lane: Lane) -> None:
    lane.settings(token_latency_ms=200)
    wallet = lane.wallet()
    tokens = in_threads(CROWD, lambda _: wallet.token().access_token)
    assert len(set(tokens)) == 1 and isinstance(tokens[0], str)
    assert lane.token_requests() == 1


def test_at_the_soft_margin_nobody_waits(lane: Lane, clock: ShiftedClock) -> None:
    wallet = lane.wallet(clock=clock)
    old = wallet.token().access_token
    clock.advance(3400)
    lane.settings(token_latency_ms=3000)
    before = time.monotonic()
    tokens = in_threads(CROWD, lambda _: wallet.token().access_token)
    assert set(tokens) == {old} and time.monotonic() - before < 2.9
    time.sleep(3.2)
    clock.advance(175)
    assert wallet.token().generation == 2
    assert lane.token_requests() == 2


def test_at_the_hard_margin_all_wait_for_one_request(lane: Lane, clock: ShiftedClock) -> None:
    wallet = lane.wallet(clock=clock)
    old = wallet.token().access_token
    clock.advance(3580)
    lane.settings(token_latency_ms=200)
    tokens = in_threads(CROWD, lambda _: wallet.token().access_token)
    assert len(set(tokens)) == 1 and tokens[0] != old
    assert lane.token_requests() == 2


def test_a_failed_flight_fails_its_waiters_with_one_request(lane: Lane) -> None:
    lane.settings(token_latency_ms=200)
    lane.faults(status=400, error="invalid_client", count=None, delay_ms=200)
    wallet = lane.wallet()
    errors = in_threads(CROWD, lambda _: wallet.token())
    assert {getattr(error, "code", error) for error in errors} == {"invalid_client"}
    assert lane.token_requests() == 1


def test_1000_keys_send_1000_requests_and_wait_for_nobody_else(lane: Lane) -> None:
    lane.settings(token_latency_ms=500)
    wallet = lane.wallet()
    subjects = [wallet.with_subject(str(index)) for index in range(CROWD)]
    before = time.monotonic()
    tokens = in_threads(CROWD, lambda index: subjects[index].token().access_token)
    # One after the other they would take 500 seconds.
    assert time.monotonic() - before < 30
    assert len(set(tokens)) == CROWD == lane.token_requests()

    async def story() -> int:
        client = lane.wallet(remint.AsyncClient)
        subjects = [client.with_subject(str(index)) for index in range(CROWD)]
        return len({token.access_token for token in await asyncio.gather(*(view.token() for view in subjects))})

    assert asyncio.run(story()) == CROWD
    assert lane.token_requests() == 2 * CROWD


def test_a_slow_key_does_not_delay_another(lane: Lane) -> None:
    wallet = lane.wallet()
    lane.faults(hold=True)
    slow = threading.Thread(target=wallet.token)
    slow.start()
    time.sleep(0.2)
    before = time.monotonic()
    assert wallet.with_scope("ledger:read").token()
    assert time.monotonic() - before < 5
    lane.control("POST", "release", {})
    slow.join(10)


def test_1000_tasks_on_a_cold_key_send_one_request_and_300_of_them_may_leave(lane: Lane) -> None:
    lane.settings(token_latency_ms=300)

    async def story() -> None:
        wallet = lane.wallet(remint.AsyncClient)
        tasks = [asyncio.create_task(wallet.token()) for _ in range(CROWD)]
        dice = random.Random(7)
        for task in dice.sample(tasks, 300):
            if dice.random() < 0.5:
                await asyncio.sleep(0)
            task.cancel()
        results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 20)
        tokens = [result.access_token for result in results if isinstance(result, remint.Token)]
        left = [result for result in results if isinstance(result, asyncio.CancelledError)]
        assert (len(tokens), len(left), len(set(tokens))) == (700, 300, 1)

    asyncio.run(story())
    assert lane.token_requests() == 1


def test_even_if_all_callers_leave_the_flight_ends_well(lane: Lane) -> None:
    lane.settings(token_latency_ms=200)

    async def story() -> None:
        wallet = lane.wallet(remint.AsyncClient)
        tasks = [asyncio.create_task(wallet.token()) for _ in range(10)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await wallet.token()).generation == 1

    asyncio.run(story())
    assert lane.token_requests() == 1


def test_at_the_margins_of_tasks(lane: Lane, clock: ShiftedClock) -> None:
    async def story() -> None:
        wallet = lane.wallet(remint.AsyncClient, clock=clock)
        first = (await wallet.token()).access_token
        clock.advance(3400)
        lane.settings(token_latency_ms=2000)
        before = time.monotonic()
        tokens = await asyncio.gather(*(wallet.token() for _ in range(CROWD)))
        assert {token.access_token for token in tokens} == {first} and time.monotonic() - before < 1.9
        await asyncio.sleep(2.2)
        clock.advance(3580)
        lane.settings(token_latency_ms=0)
        tokens = await asyncio.gather(*(wallet.token() for _ in range(CROWD)))
        assert len({token.access_token for token in tokens}) == 1 and tokens[0].generation == 3

    asyncio.run(story())
    assert lane.token_requests() == 3


def test_event_loops_share_one_client(lane: Lane) -> None:
    lane.settings(token_latency_ms=200)
    wallet = lane.wallet(remint.AsyncClient)

    async def crowd() -> set[str]:
        return {token.access_token for token in await asyncio.gather(*(wallet.token() for _ in range(50)))}

    with ThreadPoolExecutor(8) as pool:
        loops = list(pool.map(lambda _: asyncio.run(crowd()), range(8)))
    assert len(set().union(*loops)) == 1
    assert lane.token_requests() == 1


def test_a_loop_that_ends_takes_nobody_else_with_it(lane: Lane) -> None:
    calls: list[str] = []

    async def send(request: dict[str, Any], timeout: float, cap: int) -> Any:
        calls.append(threading.current_thread().name)
        if len(calls) == 1:
            await asyncio.sleep(60)
        return 200, [], b'{"access_token":"T","token_type":"Bearer","expires_in":3600}'

    wallet = lane.wallet(remint.AsyncClient, http=send)

    async def first() -> None:
        task = asyncio.create_task(wallet.token())
        await asyncio.sleep(0.2)
        task.cancel()

    waiting = threading.Thread(target=asyncio.run, args=(first(),))
    waiting.start()
    time.sleep(0.1)
    assert asyncio.run(asyncio.wait_for(wallet.token(), 10)).access_token == "T"
    waiting.join()
    assert len(calls) == 2


def test_the_refresh_can_run_inline_where_a_host_freezes(lane: Lane, clock: ShiftedClock) -> None:
    lane.settings(token_latency_ms=100)
    wallet = lane.wallet(background_refresh=False, clock=clock)
    threads: set[str] = set()
    first = wallet.token()
    clock.advance(3400)
    tokens = in_threads(20, lambda _: (wallet.token().access_token, threads.update(t.name for t in threading.enumerate()))[0])
    assert len(set(tokens)) == 2 and first.access_token in tokens
    assert not any(name.startswith("remint") for name in threads)
    assert lane.token_requests() == 2


def test_the_flight_sees_the_context_of_its_caller(lane: Lane) -> None:
    from contextvars import ContextVar

    tenant: ContextVar[str] = ContextVar("tenant")
    seen: list[str] = []

    def secret() -> str:
        seen.append(tenant.get("none"))
        return "s3cret+/%&: odd"

    tenant.set("blue")
    lane.wallet(client_secret=secret).token()
    assert seen == ["blue"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_a_flight_is_in_the_air_does_not_hang(lane: Lane) -> None:
    lane.settings(token_latency_ms=500)
    wallet = lane.wallet()
    callers = [threading.Thread(target=wallet.token) for _ in range(20)]
    for caller in callers:
        caller.start()
    time.sleep(0.2)
    child = os.fork()
    if child == 0:
        # The parent's flight is not in this process: the child has one of its own.
        signal.alarm(10)
        os._exit(0 if wallet.token().generation == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    for caller in callers:
        caller.join(10)
    assert wallet.token()
    assert lane.token_requests() == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_leaves_the_parents_refresh_token_alone(lane: Lane) -> None:
    minted = lane.control("POST", "mint", {"provider": "rapidomize", "subject": "bob"})
    bob = lane.rapidomize().with_subject("bob", refresh_token=minted["refresh_token"])
    bob.token()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        bob.invalidate()
        try:
            bob.token()
        except remint.ServerError as error:
            os._exit(0 if error.code == "reauthorization_required" else 2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bob.token(force=True).generation == 2
    assert lane.counters()["refresh_tokens_reused"] == 0


def _worker(options: dict[str, Any]) -> str:
    return str(remint.Client(**options).token().access_token)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_of_multiprocessing(lane: Lane, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not here")
    options = {
        "profile": "phoenix-wallet",
        "client_id": "demo-client",
        "client_secret": "s3cret+/%&: odd",
        "token_endpoint": lane.url("phoenix-wallet/oauth/token"),
        "allow_loopback_http": True,
    }
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert len(set(pool.map(_worker, [options] * 2))) == 2


def test_an_interrupt_in_one_waiter_orphans_nobody(lane: Lane) -> None:
    lane.settings(token_latency_ms=600)
    wallet = lane.wallet()
    others: list[str] = []
    friend = threading.Thread(target=lambda: others.append(wallet.token().access_token))
    timer = threading.Timer(0.2, lambda: signal.raise_signal(signal.SIGINT) if sys.platform == "win32" else os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        friend.start()
        wallet.token()
    friend.join(10)
    assert others == [wallet.token().access_token]
    assert lane.token_requests() == 1


def test_a_token_may_be_asked_for_in_a_signal_handler(lane: Lane) -> None:
    lane.settings(token_latency_ms=400)
    wallet = lane.wallet()
    seen: list[str] = []
    previous = signal.signal(signal.SIGALRM, lambda *_: seen.append(wallet.token().access_token))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        assert wallet.token().access_token
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert len(seen) == 1 and lane.token_requests() == 1


def run_program(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], check=True, timeout=30, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


def test_a_request_in_the_air_holds_the_process_for_its_timeout_at_most(lane: Lane) -> None:
    lane.faults(hold=True, count=None)
    options = {"client_id": "a", "client_secret": "b", "token_endpoint": lane.url("phoenix-wallet/oauth/token")}
    program = f"""
import remint, threading, time
client = remint.Client("phoenix-wallet", allow_loopback_http=True, request_timeout=1, **{options!r})
threading.Thread(target=lambda: client.token(timeout=20), daemon=True).start()
time.sleep(0.3)
"""
    before = time.monotonic()
    run_program(program)
    assert time.monotonic() - before < 4
    lane.control("POST", "release", {})


def test_a_pause_before_the_next_attempt_holds_no_process(lane: Lane) -> None:
    lane.faults(status=503, retry_after="20", count=None)
    options = {"client_id": "a", "client_secret": "b", "token_endpoint": lane.url("phoenix-wallet/oauth/token")}
    program = f"""
import remint, threading, time
client = remint.Client("phoenix-wallet", allow_loopback_http=True, **{options!r})
threading.Thread(target=lambda: client.token(timeout=25), daemon=True).start()
time.sleep(0.5)
"""
    before = time.monotonic()
    run_program(program)
    assert time.monotonic() - before < 4


def test_a_process_that_ends_does_not_lose_the_refresh_token_in_the_air(lane: Lane, tmp_path: Any) -> None:
    minted = lane.control("POST", "mint", {"provider": "rapidomize", "subject": "bob"})
    lane.settings(token_latency_ms=700)
    options = {
        "client_id": "demo-client",
        "client_secret": "s3cret+/%&: odd",
        "token_endpoint": lane.url("rapidomize/oauth/token"),
        "authorization_endpoint": lane.url("rapidomize/oauth/authorize"),
    }
    saved = tmp_path / "saved"
    program = f"""
import pathlib, remint, threading, time
app = remint.Client("rapidomize", allow_loopback_http=True, **{options!r})
save = pathlib.Path({str(saved)!r}).write_text
bob = app.with_subject("bob", refresh_token={minted["refresh_token"]!r}, on_rotated=save)
threading.Thread(target=bob.token, daemon=True).start()
time.sleep(0.3)
"""
    run_program(program)
    lane.settings(token_latency_ms=0)
    assert lane.rapidomize().with_subject("bob", refresh_token=saved.read_text()).token()


def test_daemon_threads_that_wait_while_the_process_ends_do_not_crash_it() -> None:
    # CPython before 3.14 ends such a thread by unwinding it, native frames and all, when it wants to go on.
    program = """
import threading, time, remint
def send(request, timeout, cap):
    time.sleep(5)
client = remint.Client("phoenix-wallet", client_id="a", client_secret="b", http=send, request_timeout=0.1)
def wait(seconds):
    try:
        client.token(timeout=seconds)
    except remint.RemintError:
        pass
for number in range(60):
    threading.Thread(target=wait, args=(0.3 + number * 0.03,), daemon=True).start()
slow_to_tear_down = [{number: str(number)} for number in range(400000)]
"""
    for _ in range(3):
        run_program(program)


def test_close_waits_for_what_is_in_the_air(lane: Lane) -> None:
    lane.settings(token_latency_ms=400)
    wallet = lane.wallet()
    caller = threading.Thread(target=wallet.token)
    caller.start()
    time.sleep(0.1)
    wallet.close()
    assert lane.counters()["token"]["by_status"] == {"200": 1}
    caller.join(5)
    with pytest.raises(remint.UsageError):
        wallet.token()


def test_a_token_may_be_asked_for_at_exit(lane: Lane) -> None:
    options = {
        "client_id": "demo-client",
        "client_secret": "s3cret+/%&: odd",
        "token_endpoint": lane.url("phoenix-wallet/oauth/token"),
        "allow_loopback_http": True,
    }
    program = f"""
import atexit, remint
client = remint.Client("phoenix-wallet", **{options!r})
atexit.register(lambda: print(client.token().generation))
"""
    assert run_program(program) == "1"
