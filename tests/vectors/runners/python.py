"""Runs behaviour vectors against the Python package: ``python python.py DIR``.

Every vector runs on the step machine of `remint.core`; those about callers run again through `Client` (threads) and
`AsyncClient` (tasks), with transport, clock and entropy injected. The format is described in ../README.md. What a vector
says and this runner does not understand is a failure, never a skip.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import json
import os
import sys
import threading
import traceback
from base64 import b64decode, urlsafe_b64encode
from pathlib import Path
from time import monotonic
from urllib.parse import parse_qsl

import remint
import remint.core
from remint.core import Registrar, Registration
from remint.errors import RemintError


class Problem(Exception):
    """What differs, or what is not understood."""


# Files.


def vector_files(directory):
    for path in sorted(directory.rglob("*.json")):
        parts = path.relative_to(directory).parts
        hidden = any(part in ("runners", "node_modules") or part.startswith(".") for part in parts[:-1])
        if not hidden and path.name not in ("index.json", "schema.json"):
            yield path


def vectors_of(path):
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Problem(f"  is not JSON: {error}") from None
    if isinstance(content, list):
        return content
    if not isinstance(content, dict):
        raise Problem("  holds neither a vector nor a list of vectors")
    if "vectors" not in content:
        return [content]
    fields = Fields("a file", content)
    fields.some("about", "$schema")
    vectors = fields.take("vectors")
    fields.end()
    if not isinstance(vectors, list):
        raise Problem("  `vectors` must be a list")
    return vectors


class Fields:
    """The members of an object, taken out one by one so that none is passed over."""

    def __init__(self, what, value):
        if not isinstance(value, dict):
            raise Problem(f"  {what} must be an object")
        self.what, self.left = what, dict(value)

    def take(self, name, default=None):
        return self.left.pop(name, default)

    def some(self, *names):
        return {name: self.left.pop(name) for name in names if name in self.left}

    def end(self):
        for name in self.left:
            raise Problem(f"  `{name}` of {self.what} is not understood")


# Comparing.


def shown(value):
    return json.dumps(value, ensure_ascii=False)


def difference(at, expected, came):
    return f"    {at}\n      expected {shown(expected)}\n      came     {shown(came)}"


def subset(at, expected, came, differences):
    """An absent field of an object is not compared; ``None`` stands for absence."""
    if isinstance(expected, dict) and isinstance(came, dict):
        for name, value in expected.items():
            place = f"{at}.{name}"
            if name == "headers":
                compare_headers(place, value, came.get(name) or [], differences)
            elif name == "body":
                compare_body(place, value, came.get(name), differences)
            elif name == "body_bytes":
                subset(place, value, came.get("body"), differences)
            elif name == "names" and "fail" in came:
                compare_names(place, value, came, differences)
            else:
                subset(place, value, came.get(name), differences)
    elif isinstance(expected, list) and isinstance(came, list) and len(expected) == len(came):
        for index, (value, item) in enumerate(zip(expected, came)):
            subset(f"{at}[{index}]", value, item, differences)
    elif expected != came or isinstance(expected, bool) != isinstance(came, bool):
        differences.append(difference(at, expected, came))


def compare_headers(at, expected, came, differences):
    """A list of pairs is the whole list, in any order; an object names some lines, ``None`` one that must not be there."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            found = [line for known, line in came if known.lower() == name.lower()]
            if found != ([] if value is None else [value]):
                differences.append(difference(f"{at}.{name}", value, found))
        return

    def plain(lines):
        return sorted((name.lower(), value) for name, value in lines)

    if plain(expected) != plain(came):
        differences.append(difference(at, expected, came))


def compare_body(at, expected, came, differences):
    """Neither the order of a form's fields nor the choice between ``.`` and ``%2E`` means anything."""

    def fields(text):
        return sorted(parse_qsl(text, keep_blank_values=True), key=lambda field: field[0])

    same = came is None if expected is None else isinstance(came, str) and fields(expected) == fields(came)
    if not same:
        differences.append(difference(at, expected, came))


def compare_names(at, expected, failure, differences):
    """An error's words are no contract, but what they name is."""
    words = f"{failure.get('message')}: {failure.get('hint')}"
    if expected not in words:
        differences.append(difference(at, expected, words))


OUTPUTS = ("answer", "operations", "settled", "withdraw", "request", "token", "client", "deleted", "fail")


def compare_outcome(expected, outcome):
    differences = []
    for name in OUTPUTS:
        if name in expected:
            subset(name, expected[name], outcome.get(name), differences)
        elif outcome.get(name) is not None:
            differences.append(difference(name, "nothing", outcome[name]))
    listed = expected.get("notices", [])
    came = [notice_text(notice) for notice in outcome.get("notices", [])]
    if not same_notices(listed, came):
        differences.append(difference("notices", listed, came))
    return differences


def notice_text(notice):
    return notice["notice"] if notice.get("detail") is None else f"{notice['notice']}:{notice['detail']}"


def same_notices(expected, came):
    """A notice is ``code`` or ``code:detail``; a code alone leaves the detail open."""
    pairs = zip(expected, came)
    return len(expected) == len(came) and all(text == here or here.startswith(f"{text}:") for text, here in pairs)


def leaks(outcome, canaries):
    """Nothing secret may be in an error, a notice or the URL of a token request."""
    places = [("fail", outcome.get("fail")), ("notices", outcome.get("notices"))]
    answer = outcome.get("answer")
    if isinstance(answer, dict) and "fail" in answer:
        places.append(("answer", answer))
    for operation in outcome.get("operations", []):
        places.append(("operations.request.url", operation.get("request", {}).get("url")))
    return [
        f"    {at}\n      shows the secret `{canary}`: {shown(value)}"
        for canary in canaries
        for at, value in places
        if canary in shown(value)
    ]


class Kept:
    """What is kept from one step for a later one."""

    def __init__(self):
        self.values = {}

    def keep(self, keep, outcome):
        for name, pointer in keep.items():
            path, _, field = pointer.partition("?")
            found = outcome
            for part in path[1:].split("/"):
                try:
                    found = found[int(part)] if isinstance(found, list) else found[part]
                except (KeyError, IndexError, TypeError, ValueError):
                    raise Problem(f"  nothing to keep at `{path}` in {shown(outcome)}") from None
            if field:
                fields = dict(parse_qsl(found.partition("?")[2] or found))
                if field not in fields:
                    raise Problem(f"  `{name}`: no such field")
                found = fields[field]
            self.values[name] = found

    def fill(self, value):
        if isinstance(value, str):
            for name, kept in self.values.items():
                value = value.replace("{" + name + "}", kept)
            return value
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {name: self.fill(item) for name, item in value.items()}
        return value

    def check(self, checks):
        for check in checks:
            fields = Fields("a check", check)
            name = fields.take("value")
            value = self.get(name)
            least, most = fields.take("length", [0, sys.maxsize])
            if not least <= len(value) <= most:
                raise Problem(f"  `{name}` has {len(value)} characters")
            alphabet = fields.take("alphabet")
            if alphabet is not None and (alphabet not in ALPHABETS or not set(value) <= ALPHABETS[alphabet]):
                raise Problem(f"  `{name}` leaves its alphabet, {alphabet}")
            verifier = fields.take("s256_of")
            if verifier is not None and value != s256(self.get(verifier)):
                raise Problem(f"  `{name}` is not the S256 challenge of `{verifier}`")
            other = fields.take("differs_from")
            if other is not None and value == self.get(other):
                raise Problem(f"  `{name}` and `{other}` are the same")
            twin = fields.take("same_as")
            if twin is not None and value != self.get(twin):
                raise Problem(f"  `{name}` and `{twin}` are not the same")
            without = fields.take("without")
            if without is not None and without in value:
                raise Problem(f"  `{name}` contains `{without}`")
            fields.end()

    def get(self, name):
        if name not in self.values:
            raise Problem(f"  nothing was kept as `{name}`")
        return self.values[name]


def s256(text):
    return urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


_ALPHANUMERIC = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")
ALPHABETS = {
    "vschar": {chr(code) for code in range(0x20, 0x7F)},
    "unreserved": _ALPHANUMERIC | set("-._~"),
    "base64url": _ALPHANUMERIC | set("-_"),
}


# What a vector sets.


class Given:
    """The options of the client, both clocks' starting points, and the entropy."""

    def __init__(self, value):
        fields = Fields("`given`", value)
        options = dict(fields.take("options", {}))
        profile = fields.take("profile")
        if profile is not None:
            options["profile"] = profile
        self.options = complete(options)
        #: Of what registers clients: there is no client yet.
        self.registrar = {name: value for name, value in self.options.items() if name not in ("client_id", "client_secret")}
        #: The options of those processes that have others.
        self.processes = {name: complete({**options, **own}) for name, own in fields.take("processes", {}).items()}
        self.wall, self.boot = fields.take("wall0", 1_700_000_000_000), fields.take("boot0", 0)
        self.entropy = read_entropy(fields.take("entropy", "zeros"))
        fields.end()

    def clocks(self, fields):
        """``at`` moves both clocks from where they began, ``wall`` and ``boot`` set one."""
        at = fields.take("at", 0)
        return fields.take("wall", self.wall + at), fields.take("boot", self.boot + at)


def complete(options):
    """What nearly every client needs is not written in every vector; null takes it away."""
    defaults = {"client_id": "id"}
    if options.get("client_auth") != "none" and not {"client_secret_provided", "api_token"} & set(options):
        defaults["client_secret"] = "secret"
    return {name: option for name, option in {**defaults, **options}.items() if option is not None}


def read_entropy(text):
    """``zeros``, or up to 64 hexadecimal digits with zeros behind them."""
    if text == "zeros":
        return bytes(32)
    try:
        drawn = bytes.fromhex(text)
    except ValueError:
        raise Problem(f"  the entropy `{text}` is not understood") from None
    if len(drawn) > 32:
        raise Problem(f"  the entropy `{text}` is not understood")
    return drawn.ljust(32, b"\0")


WORDS = (
    "ask start cancel received failed provided signed verified stored tick attach answered changed invalidate renewed forked close drop registration "
    "build finish simulate event"
).split()


def word_of(step):
    words = [word for word in WORDS if word in step]
    if len(words) != 1:
        raise Problem(f"  a step has exactly one of these: {', '.join(WORDS)}")
    return words[0]


def read_answer(fields):
    """An HTTP answer: `json`, `text` or `base64` is its body. With `json` comes its media type, unless `headers` has one."""
    status = fields.take("status")
    if status is None:
        raise Problem("  an answer needs a `status`")
    headers = read_lines(fields.take("headers", {}))
    bodies = fields.some("json", "text", "base64")
    if len(bodies) > 1:
        raise Problem("  an answer has one of `json`, `text` and `base64`")
    body = bodies.get("text", "").encode()
    if "json" in bodies:
        if not any(name.lower() == "content-type" for name, _ in headers):
            headers.append(("content-type", "application/json"))
        body = json.dumps(bodies["json"]).encode()
    elif "base64" in bodies:
        body = b64decode(bodies["base64"])
    return status, headers, body


def read_lines(lines):
    return [(name, value) for name, value in (lines.items() if isinstance(lines, dict) else lines)]


def failure_of(error):
    """The errors of the package, as the core writes them: milliseconds, no absent fields."""
    if not isinstance(error, RemintError):
        raise error

    def millis(seconds):
        return None if seconds is None else round(seconds * 1000)

    failure = {
        "fail": error.code,
        "family": error.family,
        "message": error.message,
        "hint": error.hint,
        "status": error.status,
        "retryable": error.retryable,
        "retry_after": millis(error.retry_after),
        "oauth_error": error.oauth_error,
        "pointer": error.pointer,
        "lifetime": millis(error.lifetime),
        "ambiguous": error.ambiguous or None,
        "acr_values": error.acr_values,
        "max_age": error.max_age,
    }
    return {name: value for name, value in failure.items() if value is not None}


# The step machine.


def run_on_machine(vector):
    fields = Fields("a vector", vector)
    fields.some("id", "title", "covers", "client")
    canaries = fields.take("canaries", [])
    given = Given(fields.take("given"))
    refused = fields.take("refused")
    steps = fields.take("steps", [])
    fields.end()
    try:
        remint.core.Core(given.options)
    except RemintError as error:
        failure = failure_of(error)
        if refused is None:
            raise Problem(f"  the configuration is refused: {shown(failure)}") from None
        differences = leaks({"fail": failure}, canaries)
        subset("refused", refused, failure, differences)
        if differences:
            raise Problem("\n".join(differences)) from None
        return
    if refused is not None:
        raise Problem("  the configuration is accepted, and should not be")
    processes, kept = {}, Kept()
    for number, step in enumerate(steps, 1):
        try:
            fields = Fields("a step", kept.fill(step))
            name = fields.take("process", "")
            if name not in processes:
                processes[name] = Process(remint.core.Core(given.processes.get(name, given.options)), given.registrar)
            processes[name].play(given, fields, step, kept, canaries)
        except Problem as problem:
            raise Problem(f"  step {number} {shown(step)}\n{problem}") from None


class Process:
    """One process under test: a core of its own, and what its callers hold."""

    def __init__(self, core, registrar):
        self.core, self.registrar, self.calls, self.built = core, registrar, {}, None

    def play(self, given, fields, step, kept, canaries):
        now = given.clocks(fields)
        own = fields.take("entropy")
        entropy = given.entropy if own is None else read_entropy(own)
        word = word_of(step)
        value = fields.take(word)
        if word == "simulate":
            simulate(self.core, now, entropy, value)
            return fields.end()
        times = fields.take("times", 1)
        keep, check = fields.take("keep"), fields.take("check")
        act = self.act(word, value, fields, now, entropy)
        expected = fields.some(*OUTPUTS, "notices")
        fields.end()
        for _ in range(times):
            outcome = act()
            if keep is not None:
                kept.keep(keep, outcome)
                expected = kept.fill(expected)
            differences = compare_outcome(expected, outcome) + leaks(outcome, canaries)
            if differences:
                raise Problem("\n".join(differences))
        if check is not None:
            kept.check(check)
        return None

    def act(self, word, value, fields, now, entropy):
        """What a step does, as a function that gives what came of it."""

        def handle(event):
            return lambda: self.core.handle(event, now, entropy)

        def call(label):
            return self.calls.get(label, label)

        def handle_for(label, event):
            """An event whose answer may give this caller another call to go on with."""

            def handled():
                outcome = self.core.handle(event, now, entropy)
                answer = outcome.get("answer")
                if isinstance(answer, dict) and (known := answer.get("call") or answer.get("again")):
                    self.calls[label] = known
                return outcome

            return handled

        if word == "ask":
            ask = fields.some("want", "min_ttl", "force", "deadline", "after")
            repeated = fields.take("call")
            if repeated is not None:
                ask["call"] = call(repeated)

            return handle_for(value, {"ask": ask})
        if word == "start":
            return handle({"start": {"flow": value, **fields.some("deadline", "after")}})
        if word == "renewed":
            return handle({"renewed": value})
        if word in ("cancel", "tick"):
            return handle({word: {"flight": value}})
        if word in ("failed", "provided", "signed", "verified", "stored"):
            names = {"failed": "kind", "provided": "value", "signed": "signature", "verified": "valid", "stored": "result"}
            return handle({word: {"op": value, **fields.some(names[word])}})
        if word == "received":
            status, headers, body = read_answer(fields)
            return lambda: self.core.received(value, status, headers, body, now, entropy)
        if word == "attach":
            names = ("want", "method", "url", "insecure_query", "after")
            return handle_for(value, {"attach": {"call": call(value), **fields.some(*names)}})
        if word == "answered":
            headers = read_lines(fields.take("headers", {}))
            answered = {"call": call(value), "headers": headers, **fields.some("want", "url", "status")}
            return handle_for(value, {"answered": answered})
        # `true` stands for what is meant most often: everything changed, the client's own token.
        if word == "changed":
            return handle({"changed": {} if value is True else {"key": value}})
        if word == "invalidate":
            return handle({"invalidate": {} if value is True else {"want": value}})
        if word in ("forked", "close") and value in ({}, True):
            return handle({word: {}})
        if word == "event":
            return handle(value)
        if word == "drop":
            return dict
        if word == "build":
            return lambda: self.build(value, now)
        if word == "registration":
            return lambda: self.register(value)
        if word == "finish":
            answer = read_answer(fields)
            return lambda: self.finish(*answer, now)
        raise Problem(f"  `{word}: {shown(value)}` is not understood")

    def build(self, request, now):
        try:
            exchange = self.core.build(request)
        except RemintError as error:
            return {"fail": failure_of(error)}
        self.built = exchange, now
        return request_of(exchange)

    def register(self, request):
        try:
            return self.registered(Registrar(self.registrar).build(request))
        except RemintError as error:
            return {"fail": failure_of(error)}

    def registered(self, outcome):
        if isinstance(outcome, Registration):
            self.built = outcome, None
            return request_of(outcome)
        return {"deleted": {}} if outcome is None else {"client": outcome}

    def finish(self, status, headers, body, now):
        if self.built is None:
            raise Problem("  there is nothing to finish: `build` it first")
        (exchange, started), self.built = self.built, None
        try:
            if isinstance(exchange, Registration):
                return self.registered(exchange.finish(status, headers, body, now))
            token = dict(exchange.finish(status, headers, body, started))
        except RemintError as error:
            return {"fail": failure_of(error)}
        token["oddities"] = [notice_text(notice) for notice in token["oddities"]]
        return {"token": token}


def request_of(built):
    headers = [list(line) for line in built.headers]
    return {"request": {"method": built.method, "url": built.url, "headers": headers, "body": built.body}}


def simulate(core, start, entropy, value):
    """A stretch of time with a caller at every tick and a server that always says the same: see ../README.md."""
    fields = Fields("`simulate`", value)
    length, every, latency, bound = (fields.take(name) for name in ("for", "every", "latency", "requests_at_most"))
    served = fields.take("served", True)
    status, headers, body = read_answer(fields)
    fields.end()
    if not all(isinstance(number, int) for number in (length, every, latency, bound)):
        raise Problem("  `simulate` lacks a number")
    agenda, count, requests, callers, waiters, next_ask = [], 0, 0, 0, [], 0

    def add(at, event=None, answer=None):
        nonlocal count
        count += 1
        heapq.heappush(agenda, (at, count, event, answer))

    while next_ask <= length or agenda:
        # Callers come in order; they need no place on the agenda.
        if next_ask <= length and (not agenda or next_ask <= agenda[0][0]):
            at, next_ask, callers = next_ask, next_ask + every, callers + 1
            events = [({"ask": {}}, None, start[1] + at + 30_000)]
        else:
            at, _, event, answer = heapq.heappop(agenda)
            events = [(event, answer, None)]
        if at > length:
            break
        now = (start[0] + at, start[1] + at)
        while events:
            event, answer, deadline = events.pop()
            if answer is None:
                step = core.handle(event, now, entropy)
            else:
                step = core.received(answer, status, headers, body.replace(b"{n}", str(requests).encode()), now, entropy)
            for operation in step.get("operations", ()):
                if "send" in operation:
                    requests += 1
                    add(at + latency, answer=operation["send"])
                elif "sleep" in operation:
                    add(max(operation["until"] - start[1], at), event={"tick": {"flight": operation["sleep"]}})
                else:
                    raise Problem(f"  an operation that a simulation cannot answer: {shown(operation)}")
            if deadline is not None:
                said = step["answer"]
                if "wait" in said:
                    waiters.append((said["wait"], said["until"], deadline))
                elif "use" in said and (not served or said["expires"] <= now[1]):
                    raise Problem(f"  a caller got a token that was not to be had at {now[1]}")
                elif "use" not in said and served:
                    raise Problem(f"  a caller was not served at {now[1]}: {shown(said)}")
            settled = step.get("settled", ())
            woken = [waiter for waiter in waiters if waiter[0] in settled or waiter[1] <= now[1]]
            waiters = [waiter for waiter in waiters if waiter not in woken]
            events += [({"ask": {"after": wait, "deadline": until}}, None, until) for wait, _, until in woken]
    if requests > bound:
        raise Problem(f"    requests\n      expected at most {bound}\n      came     {requests}, for {callers} callers")


# The clients.


class World:
    """Everything around a client under test: clocks, timers, the wire."""

    def __init__(self, given):
        self.now = given.wall, given.boot
        self.entropy = given.entropy
        self.lock = threading.Lock()
        self.timers, self.requests, self.notices = [], [], []

    def wall(self):
        return self.now[0]

    def boot(self):
        return self.now[1]

    def timer(self, millis, run):
        timer = [self.now[1] + millis, run]
        with self.lock:
            self.timers.append(timer)

        def cancel():
            with self.lock:
                if timer in self.timers:
                    self.timers.remove(timer)

        return cancel

    def random(self, size):
        return self.entropy[:size]

    def due(self):
        """The next timer that is due, taken out."""
        with self.lock:
            due = min((timer for timer in self.timers if timer[0] <= self.now[1]), key=lambda timer: timer[0], default=None)
            if due is not None:
                self.timers.remove(due)
            return due and due[1]

    def send(self, request, _timeout, _cap):
        """The wire: a thread of the client's waits here for what the vector says."""
        pending = Request(request)
        with self.lock:
            self.requests.append(pending)
        pending.answered.wait()
        if isinstance(pending.answer, Exception):
            raise pending.answer
        return pending.answer


class Request(dict):
    """A token request on the wire."""

    def __init__(self, request):
        super().__init__(request)
        self.answered, self.answer = threading.Event(), None

    def give(self, answer):
        self.answer = answer
        self.answered.set()


class Threads:
    """Runs callers as threads of `Client`."""

    title, client = "Client", remint.Client

    @staticmethod
    def run(act):
        result = {}

        def work():
            try:
                result["value"] = act()
            except Exception as error:
                result["error"] = error

        threading.Thread(target=work, daemon=True).start()
        return result

    @staticmethod
    def cancel(_result):
        """Nobody can cancel a thread; that its caller no longer listens is all there is to it."""


class Tasks:
    """Runs callers as tasks of `AsyncClient`."""

    title, client = "AsyncClient", remint.AsyncClient

    @staticmethod
    def run(act):
        result = {}

        async def work():
            try:
                result["value"] = await act()
            except Exception as error:
                result["error"] = error

        result["task"] = asyncio.get_running_loop().create_task(work())
        return result

    @staticmethod
    def cancel(result):
        result["task"].cancel()


async def run_on_client(vector, host):
    given = Given(vector["given"])
    world = World(given)
    options = dict(given.options)
    options["background_refresh"] = options.pop("aside", True)
    client = host.client(**options, http=world.send, clock=world, random=world.random, on_notice=lambda notice: world.notices.append(notice_text(notice)))
    play = Play(world, client, host, vector.get("canaries", []))
    steps = vector["steps"]
    index = 0
    try:
        while index < len(steps):
            # The waiters who ask again belong to the moment that woke them.
            first, moment, clocks = index, [steps[index]], given.clocks(Fields("a step", steps[index]))
            index += 1
            while index < len(steps) and "after" in steps[index] and given.clocks(Fields("a step", steps[index])) == clocks:
                moment.append(steps[index])
                index += 1
            try:
                await play.moment(moment, clocks)
            except Problem as problem:
                raise Problem(f"  step {first + 1} {shown(moment[0])}\n{problem}") from None
    finally:
        for request in world.requests:
            request.give(ConnectionRefusedError())


class Play:
    """One vector on its way through one client."""

    def __init__(self, world, client, host, canaries):
        self.world, self.client, self.host, self.canaries = world, client, host, canaries
        self.callers, self.sent, self.differences = {}, {}, []

    async def moment(self, moment, clocks):
        world = self.world
        world.notices.clear()
        before = len(world.requests)
        world.now = clocks
        while (run := world.due()) is not None:
            run()
            await self.rest()
        check = self.event(moment[0])
        # Threads and tasks get the time they need; then one breath more, for what should not happen.
        deadline = monotonic() + 5
        while monotonic() < deadline and self.compare(moment, before, check):
            await self.rest()
            while (run := world.due()) is not None:
                run()
        await self.rest()
        differences = self.compare(moment, before, check)
        if differences:
            raise Problem("\n".join(differences))

    @staticmethod
    async def rest():
        await asyncio.sleep(0.002)

    def compare(self, moment, before, check):
        differences = []
        expected = [operation for step in moment for operation in step.get("operations", []) if "send" in operation]
        came = self.world.requests[before:]
        if len(came) != len(expected):
            differences.append(difference("requests", len(expected), len(came)))
        for operation, request in zip(expected, came):
            self.sent[operation["send"]] = request
            if "request" in operation:
                subset("request", operation["request"], request, differences)
        for step in moment:
            if "ask" in step:
                for result in self.callers.get(step["ask"], []):
                    self.compare_caller(step["answer"], result, differences)

        def telling(notices):
            return sorted(notice for notice in notices if notice not in ("joined", "served_while_failing"))

        listed = telling(notice for step in moment for notice in step.get("notices", []))
        heard = telling(list(self.world.notices))
        if not same_notices(listed, heard):
            differences.append(difference("notices", listed, heard))
        differences += [f"    a notice shows `{canary}`" for canary in self.canaries for notice in heard if canary in notice]
        if check is not None:
            check(differences)
        return differences

    def compare_caller(self, expected, result, differences):
        error, token = result.get("error"), result.get("value")
        came = "waits" if error is None and token is None else failure_of(error) if error is not None else None
        if "wait" in expected:
            if came != "waits":
                differences.append(difference("caller", "waits", came or token.generation))
        elif "use" in expected:
            if token is not None:
                came = {
                    "use": token.access_token,
                    "generation": token.generation,
                    "token_type": token.token_type,
                    "scope": token.scope,
                    "authorization": token.authorization,
                    "expires_wall": round(token.expires_at * 1000),
                    "expires": self.world.boot() + round(token.expires_in() * 1000),
                }
            names = ("use", "generation", "token_type", "scope", "authorization", "expires_wall", "expires")
            subset("caller", {name: expected[name] for name in names if name in expected}, came, differences)
        else:
            subset("caller", expected, came if token is None else token.generation, differences)
            text = "" if error is None else "".join(traceback.format_exception(error)) + repr(error)
            differences += [f"    an error shows `{canary}`" for canary in self.canaries if canary in text]

    def view(self, want):
        client = self.client
        if "subject" in want:
            client = client.with_subject(want["subject"])
        if "scope" in want:
            client = client.with_scope(want["scope"])
        return client

    def event(self, step):
        """Does what the first step of a moment says; gives what is to be checked besides, if anything."""
        word = word_of(step)
        client = self.view(step.get("want", {}))
        if word == "ask":
            if "after" not in step:
                wish = {}
                if "min_ttl" in step:
                    wish["min_ttl"] = step["min_ttl"] / 1000
                if "force" in step:
                    wish["force"] = step["force"]
                if "deadline" in step:
                    wish["timeout"] = (step["deadline"] - self.world.boot()) / 1000
                results = [self.host.run(lambda: client.token(**wish)) for _ in range(step.get("times", 1))]
                self.callers[step["ask"]] = results
            return None
        if word == "received":
            self.request(step).give(read_answer(Fields("a step", step)))
            return None
        if word == "failed":
            kinds = {"not_sent": ConnectionRefusedError, "maybe_sent": ConnectionResetError}
            if step["kind"] not in kinds:
                raise Problem(f"  `{step['kind']}` is not understood in a run through a client")
            self.request(step).give(kinds[step["kind"]]())
            return None
        if word == "attach":
            return self.later(step, self.host.run(lambda: client.headers(step["method"], step["url"])), lambda headers: {"headers": list(headers.items())})
        if word == "answered":
            token = self.callers[step["answered"]][0]["value"]
            headers = read_lines(step.get("headers", {}))
            return self.later(step, self.host.run(lambda: client.reject(token, "GET", step["url"], step["status"], headers)), lambda verdict: verdict)
        if word == "start":
            adopt = step["start"].get("adopt")
            if adopt is None or adopt.get("on_rotated"):
                raise Problem("  of the flows only a plain `adopt` is understood in a run through a client")
            self.client.with_subject(adopt["want"]["subject"], refresh_token=adopt["refresh_token"])
            return None
        if word == "drop":
            for result in self.callers.pop(step["drop"]):
                self.host.cancel(result)
            return None
        if word == "invalidate":
            forgotten = self.view({} if step["invalidate"] is True else step["invalidate"])
            self.host.run(forgotten.invalidate)
            return None
        if word == "close":
            self.host.run(self.client.close)
            return None
        if word == "tick":
            return None
        raise Problem(f"  `{word}` is not understood in a run through a client")

    def request(self, step):
        op = step.get("received", step.get("failed"))
        if op not in self.sent:
            raise Problem(f"  no request is called `{op}`")
        return self.sent[op]

    @staticmethod
    def later(step, result, show):
        def check(differences):
            came = failure_of(result["error"]) if "error" in result else show(result["value"]) if "value" in result else None
            subset("answer", step["answer"], came, differences)

        return check


# All of it.


class Counts:
    """How many vectors passed and failed; what a failure was is printed at once."""

    def __init__(self):
        self.passed = self.failed = 0

    def run(self, name, act):
        try:
            act()
        except Exception as error:
            text = str(error) if isinstance(error, Problem) else traceback.format_exc()
            print(f"FAILED {name}\n{text}\n")
            self.failed += 1
        else:
            self.passed += 1


def main():
    if len(sys.argv) != 2:
        print("a directory is expected: python python.py DIR", file=sys.stderr)
        return 2
    directory, counts = Path(sys.argv[1]), Counts()
    # A caller is small: a thousand of them are at work in some vectors.
    threading.stack_size(256 * 1024)
    for path in vector_files(directory):
        file = path.relative_to(directory)
        try:
            vectors = vectors_of(path)
        except Problem as problem:
            print(f"FAILED {file}\n{problem}\n")
            counts.failed += 1
            continue
        for number, vector in enumerate(vectors, 1):
            place = f"{file}: {vector['id']}" if "id" in vector else f"{file} #{number}"
            name = f"{place}: {vector.get('title')}"
            counts.run(name, lambda: run_on_machine(vector))
            if vector.get("client", any("drop" in step for step in vector.get("steps", []))):
                for host in (Threads, Tasks):
                    counts.run(f"{name} (through {host.title})", lambda: asyncio.run(run_on_client(vector, host)))
    print(f"{counts.passed} passed, {counts.failed} failed")
    return 0 if counts.passed and not counts.failed else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    code = main()
    sys.stdout.flush()
    # Threads of callers that a vector leaves waiting would keep the process.
    os._exit(code)
