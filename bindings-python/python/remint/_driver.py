"""The one loop: gives the core events, and does what it answers. It decides nothing."""

from __future__ import annotations

import atexit
import os
import sys
from _thread import allocate_lock
from _weakref import ref
from contextvars import copy_context

from remint._native import Core, now
from remint.errors import TransportError, UsageError, from_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any, Optional

    from remint._certificate import Certificate
    from remint._native import LeaseCell
    from remint._shared import Shared
    from remint._signing import Signer

    Bridge = Optional[Callable[[Awaitable[Any], float], Any]]


class Driver:
    """One core with its surroundings. All views of a client, in all threads and event loops, share it."""

    def __init__(
        self,
        core: Core,
        *,
        send: Callable[..., Any],
        functions: Mapping[str, Callable[..., Any]],
        signers: Mapping[str, Signer],
        certificate: Certificate | None,
        proves: bool,
        store: Shared | None,
        on_notice: Callable[[dict[str, Any]], object] | None,
        clock: Any,
        random: Callable[[int], bytes] | None,
        threads: bool,
    ) -> None:
        self.core, self.clock = core, clock
        self.rotated: dict[str | None, Callable[[str], Any]] = {}
        #: The keys by their names, as the core was told them.
        self.signers = dict(signers)
        # Wishes whose token an API refused last: the core wants to hear of the first answer after that, too.
        self._refused: set[str] = set()
        self._send, self._store, self._on_notice = send, store, on_notice
        self._bridge: Bridge = None
        self._subscription: Any = None
        self._store_failure: BaseException | None = None
        self._listens, self._closed, self._subscribing = False, False, allocate_lock()
        self._functions, self.certificate, self._proves = functions, certificate, proves
        self._random, self._threads = random or os.urandom, threads
        self._pid = os.getpid()
        self._until: dict[str, int] = {}
        self._air: dict[object, int] = {}
        self._causes: dict[str, BaseException] = {}
        _drivers.add(ref(self, _drivers.discard))

    def now(self) -> tuple[int, int]:
        """Both clocks, in milliseconds."""
        return now() if self.clock is None else (self.clock.wall(), self.clock.boot())

    def handle(
        self,
        event: dict[str, Any],
        wake: Callable[[], object] | None = None,
        cell: LeaseCell | None = None,
        bridge: Bridge = None,
        begun: list[object] | None = None,
    ) -> Any:
        """Tells the core what happened, does what follows, and gives the answer. ``begun`` gets what then is under way."""
        if os.getpid() != self._pid:
            self.forked()
        # What begins outside of any event loop goes where the last caller was.
        bridge = self._bridge = bridge or self._bridge
        step = Redacted(self.core.handle(event, self.now(), self._random(32), wake, cell))
        for operation in map(Redacted, step.pop("operations", ())):
            self._start(operation, bridge, event["start"].get("deadline") if "start" in event else None, begun)
        self._finish(step)
        answer = step.get("answer")
        if isinstance(answer, dict):
            if "fail" in answer:
                raise self._error(answer, event)
            if "token" in step:
                answer["token"] = step["token"]
        return answer

    def wants_to_hear(self, want: dict[str, Any], status: int, headers: list[tuple[str, str]]) -> bool:
        """Whether an API's answer says something about the token or its proof: a refusal, the first answer after one, a nonce."""
        wish = repr(want)
        if status == 401:
            self._refused.add(wish)
            return True
        if wish in self._refused:
            self._refused.discard(wish)
            return True
        return status == 403 or self._proves and any(name.lower() == "dpop-nonce" for name, _ in headers)

    def seconds_until(self, until: int, flight: str) -> float:
        """How long to wait for a flight: no longer than its present operation, whose end may have gone unreported."""
        boot = self.now()[1]
        overdue = self._until.get(flight, until) + 5
        wait: float = min(until if overdue <= boot else min(until, overdue), boot + MAX_TIMER) - boot
        return max(0.0, wait / 1000)

    def busy(self) -> float:
        """For how many seconds at most requests may still be under way."""
        return max([until - self.now()[1] for until in list(self._air.values())], default=0) / 1000

    def is_under_way(self, begun: list[object]) -> bool:
        """Whether any of this has neither ended nor run out of time."""
        boot = self.now()[1]
        return any(self._air.get(this, 0) > boot for this in begun)

    def notify(self, notice: dict[str, Any]) -> None:
        """Shows a notice. Whatever the user's function does with it, nothing here depends on it."""
        try:
            if self._on_notice is not None:
                self._on_notice(notice)
        except Exception:
            sys.unraisablehook(_Unraisable(self._on_notice))  # type: ignore[arg-type]

    def forked(self) -> None:
        """This process is a fork's child: its parent's flights and waiters are not here."""
        self._pid = os.getpid()
        self._until, self._air, self._causes = {}, {}, {}
        self._bridge, self._subscribing = None, allocate_lock()
        if self.certificate is not None:
            self.certificate.forked()
        self.core.survived_fork()
        events: list[dict[str, Any]] = [{"forked": {}}]
        if self._listens:
            # What the store's other users say is heard by the parent.
            self._listens, self._subscription = False, None
            events.append({"changed": {}})
        for event in events:
            for notice in self._tell(event).get("notices", ()):
                self.notify(notice)

    def unsubscribe(self) -> None:
        """Hears no more of what others write into the store."""
        self._closed, subscription, self._subscription = True, self._subscription, None
        if subscription is not None:
            subscription.close()

    def __del__(self) -> None:
        if self._subscription is not None:
            self._subscription.close()

    def _subscribe(self, resolved: Callable[[Any], Any]) -> None:
        """Hears of what others write, from the first look at the store on. A host without threads looks now and then."""
        if self._store is None or self._store.subscribe is None or not self._threads:
            return
        with self._subscribing:
            if self._listens or self._closed:
                return
            self._listens = True
        try:
            self._subscription = resolved(self._store.subscribe(_listener(ref(self))))
        except BaseException:
            self._listens = False
            raise
        if self._closed:
            self.unsubscribe()

    def _finish(self, step: dict[str, Any]) -> None:
        for flight in step.get("settled", ()):
            self._until.pop(flight, None)
        for wake in step.get("wake", ()):
            wake()
        for notice in step.get("notices", ()):
            self.notify(notice)

    def _start(
        self, operation: dict[str, Any], bridge: Bridge, deadline: int | None = None, begun: list[object] | None = None
    ) -> None:
        self._until[operation.get("flight") or operation["sleep"]] = operation["until"]
        if "sleep" in operation and hasattr(self.clock, "timer"):
            self.clock.timer(operation["until"] - self.now()[1], lambda: self.handle(_tick(operation), bridge=bridge))
        elif "sign" in operation and self._is_quick(operation):
            # A proof per API request is no reason for a thread per API request.
            step = self._perform(operation, bridge)
            for other in map(Redacted, step.pop("operations", ())):
                self._start(other, bridge)
            self._finish(step)
        elif not self._threads:
            self._run(object(), operation, bridge, deadline)
        else:
            from threading import Thread

            name = f"remint-{operation.get('flight') or operation['sleep']}"
            # Whoever closes right now has to wait for it.
            this = object()
            self._air[this] = _due(operation)
            if begun is not None:
                begun.append(this)
            try:
                Thread(target=copy_context().run, args=(self._run, this, operation, bridge), name=name, daemon=True).start()
            except RuntimeError:
                # The interpreter is on its way out, and refuses threads.
                self._run(this, operation, bridge)

    def _is_quick(self, operation: dict[str, Any]) -> bool:
        signer = self.signers.get(operation["key"])
        return signer is not None and signer.is_local

    def _run(self, this: object, operation: dict[str, Any], bridge: Bridge, deadline: int | None = None) -> None:
        """Carries out an operation and, in the same thread, what follows from its end: if that is the caller's, not beyond its deadline."""
        following = [operation]
        try:
            while following and not (deadline is not None and "sleep" in following[0] and following[0]["until"] > deadline):
                self._air[this] = _due(following[0])
                step = self._perform(following[0], bridge)
                following = []
                for other in map(Redacted, step.pop("operations", ())):
                    if following or "sleep" in other and hasattr(self.clock, "timer"):
                        self._start(other, bridge)
                    else:
                        following = [other]
                        self._until[other.get("flight") or other["sleep"]] = other["until"]
                self._finish(step)
        finally:
            self._air.pop(this, None)

    def _perform(self, operation: dict[str, Any], bridge: Bridge) -> dict[str, Any]:
        failed: dict[str, Any] = {"op": next((operation[kind] for kind in ANSWERED if kind in operation), None)}
        try:
            return self._carry_out(operation, bridge)
        except Exception as error:
            failed["kind"] = _failure_kind(error) if "send" in operation else "host_error"
            self._remember(operation["flight"], error)
        except BaseException:
            failed["kind"] = "abandoned"
            self._finish(self._tell({"failed": failed}))
            raise
        return self._tell({"failed": failed})

    def _carry_out(self, operation: dict[str, Any], bridge: Bridge) -> dict[str, Any]:
        def left() -> float:
            return max(0.001, float(operation["until"] - self.now()[1]) / 1000)

        def resolved(result: Any) -> Any:
            if not hasattr(result, "__await__"):
                return result
            if bridge is None:
                getattr(result, "close", bool)()
                raise TypeError("an async function needs `remint.AsyncClient`")
            return bridge(result, left())

        if "sleep" in operation:
            while (seconds := self.seconds_until(operation["until"], "")) > 0:
                _sleep(seconds)
            return self._tell(_tick(operation))
        if "send" in operation:
            if self.certificate is not None and (tls_id := self.certificate.renewed()) is not None:
                self._finish(self._tell({"renewed": {"tls_id": tls_id}}))
            status, headers, body = resolved(self._send(Redacted(operation["request"]), left(), operation["cap"]))
            headers = [(str(name), str(value)) for name, value in headers]
            if len(body) > operation["cap"]:
                return self._tell({"failed": {"op": operation["send"], "kind": "too_large"}})
            return self.core.received(operation["send"], status, headers, bytes(body), self.now(), self._random(32))
        if "store" in operation and self._store is not None:
            cause = None
            try:
                self._subscribe(resolved)
                result = self._store.carry_out(operation, lambda: self.now()[1], resolved)
            except Exception as error:
                self._remember(operation["flight"], error)
                cause, result = error, self._store.failed(operation, error)
            # While the store is not asked because it was down, this is still why.
            self._store_failure = cause
            step = self._tell(Redacted(stored={"op": operation["store"], "result": result}))
            if cause is not None:
                step["notices"] = [Notice(notice, cause) for notice in step.get("notices", ())]
            return step
        if "sign" in operation and (signer := self.signers.get(operation["key"])) is not None:
            signature = signer.encoded(resolved(signer.sign(operation["input"].encode(), operation["alg"])))
            return self._tell({"signed": {"op": operation["sign"], "signature": signature}})
        if "verify" in operation:
            from remint._signing import verify

            valid = verify(operation["key"], operation["alg"], operation["input"].encode(), operation["signature"])
            return self._tell({"verified": {"op": operation["verify"], "valid": valid}})
        value, what = None, operation.get("what", "")
        if what in self._functions:
            about = (operation.get("subject"),) if what in ABOUT_SUBJECT else ()
            value = resolved(self._functions[what](*about))
            if not isinstance(value, str):
                raise TypeError(f"the function `{what}` must give a str")
        elif what == "rotated":
            save = self.rotated.get(operation.get("subject"))
            if save is not None:
                resolved(save(operation["refresh_token"]))
        else:
            raise LookupError("this client was given nothing that could answer")
        return self._tell({"provided": {"op": operation["provide"], "value": value}})

    def _tell(self, event: dict[str, Any]) -> dict[str, Any]:
        return self.core.handle(event, self.now(), self._random(32))

    def _remember(self, flight: str, error: BaseException) -> None:
        """Keeps why a flight failed, for ``__cause__``."""
        while len(self._causes) >= MAX_CAUSES:
            self._causes.pop(next(iter(self._causes)), None)
        self._causes[flight] = without_frames(error)

    def _error(self, answer: dict[str, Any], event: dict[str, Any]) -> Exception:
        error = from_record(answer)
        if isinstance(error, TransportError):
            question = next(iter(event.values()))
            cause = self._causes.get(question.get("after", ""))
            if cause is None and error.code == "store_unavailable":
                cause = self._store_failure
            error.__cause__ = cause
            if error.hint is None and (hint := hint_of(cause)) is not None:
                error.hint = hint
            elif type(cause).__name__ == "StoreDown":
                error.hint = str(cause)
            elif error.code == "host_error" and isinstance(cause, UsageError):
                error.hint = cause.message
            elif error.code == "host_error" and isinstance(cause, OSError) and cause.filename is not None:
                error.hint = f"the file `{cause.filename}` cannot be read: {cause.strerror}"
        return error


class Redacted(dict):  # type: ignore[type-arg]
    """What may hold secrets: tracebacks show the locals of their frames by ``repr``."""

    def __repr__(self) -> str:
        return "<redacted>"


class Notice(dict):  # type: ignore[type-arg]
    """A notice, and beside it what a function of the user's raised: its text is theirs, so printing the notice doesn't show it."""

    def __init__(self, notice: dict[str, Any], cause: BaseException) -> None:
        super().__init__(notice)
        self.cause = cause


class Waiter:
    """A thread that waits for a flight, or until its time is over."""

    def __init__(self) -> None:
        self.woken = False
        self._lock = allocate_lock()
        self._lock.acquire()

    def wake(self) -> None:
        self.woken = True
        try:
            self._lock.release()
        except RuntimeError:
            pass  # It was woken already.

    def wait(self, seconds: float, clock: Any) -> None:
        if hasattr(clock, "timer"):
            cancel = clock.timer(seconds * 1000, self.wake)
            self._lock.acquire()
            cancel()
        else:
            self._lock.acquire(timeout=seconds)


class _Unraisable:
    """What ``sys.unraisablehook`` shows."""

    def __init__(self, function: object) -> None:
        error: tuple[Any, Any, Any] = sys.exc_info()
        self.exc_type, self.exc_value, self.exc_traceback = error
        self.err_msg, self.object = "remint: on_notice failed", function


def _failure_kind(error: BaseException | None) -> str:
    """How a request ended, told by the names that the errors of HTTP libraries have."""
    link: Any = error
    for _ in range(8):
        names = {kind.__name__ for kind in type(link).__mro__}
        if hasattr(link, "kind"):
            return str(link.kind)
        if names & NOT_SENT:
            return "not_sent"
        if names & TIMED_OUT:
            return "timeout"
        link = link and (link.__cause__ or link.__context__)
    return "maybe_sent"


def without_frames(error: BaseException) -> BaseException:
    """Why something failed, as a ``__cause__``: without the frames, whose locals hold the request."""
    cause: BaseException = error.__cause__ if hasattr(error, "kind") and error.__cause__ else error
    link: BaseException | None = cause
    for _ in range(8):
        if link is None:
            break
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return cause


def hint_of(cause: BaseException | None) -> str | None:
    """What helps where a certificate was not accepted."""
    if type(cause).__name__ == "SSLCertVerificationError":
        return "name the authority that signed the server's certificate in `ca`, or the `proxy` in between"
    return None


def _listener(driver: ref[Driver]) -> Callable[[Optional[str]], None]:
    """What a store calls when others have written. It doesn't keep the client."""

    def on_changed(key: str | None = None) -> None:
        there = driver()
        if there is not None:
            try:
                there.handle({"changed": {} if key is None else {"key": key}})
            except UsageError:
                pass  # It was no key: whoever reaches the store may say anything.

    return on_changed


def _tick(operation: dict[str, Any]) -> dict[str, Any]:
    return {"tick": {"flight": operation["sleep"]}}


def _due(operation: dict[str, Any]) -> int:
    """Until when an operation keeps those who close."""
    return 0 if "sleep" in operation else int(operation["until"])


def _sleep(seconds: float) -> None:
    from time import sleep

    sleep(seconds)


def _after_fork() -> None:
    for reference in list(_drivers):
        driver = reference()
        if driver is not None:
            driver.forked()


@atexit.register
def _at_exit() -> None:
    """What is in the air comes down first: a refresh token may be on its way, or its successor."""
    for reference in list(_drivers):
        while (driver := reference()) is not None and driver.clock is None and (seconds := driver.busy()) > 0:
            _sleep(min(seconds, 0.02))


#: No wait is longer, in milliseconds, before the clocks are read again: they know of suspension, timers may not.
MAX_TIMER = 3_600_000
MAX_CAUSES = 64
#: The operations that end with an answer of their own.
ANSWERED = ("send", "provide", "sign", "verify", "store")
#: What functions are asked for with the subject that it is about.
ABOUT_SUBJECT = frozenset(("subject_token", "actor_token", "assertion"))
#: Errors that come before the first byte of a request.
NOT_SENT = frozenset(("ConnectionRefusedError", "gaierror", "SSLCertVerificationError", "ConnectError", "ConnectTimeout", "NewConnectionError", "ClientConnectorError"))
TIMED_OUT = frozenset(("TimeoutError", "timeout", "Timeout", "TimeoutException"))
_drivers: set[ref[Driver]] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
