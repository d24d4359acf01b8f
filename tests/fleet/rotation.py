"""One refresh token, many processes, random kills: the session survives, or the caller is told why."""

import base64
import collections
import hashlib
import json
import random
import secrets
import time
import urllib.request
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

import browser
from cases import case, told
from clients import CLIENTS, USER
from engines import until
from hosts import Refused
from members import WITH_REDIS
from proxy import Proxy

CLIENT = "web"
#: Lifetimes of the access token, each ended by the server before its time.
LIFETIMES = 200
PROCESSES = 10
#: In one of so many lifetimes processes are killed, up to half of them at once: as often as not, whoever renews the token is among them.
KILLS = 6


class Session:
    """A person who signed in, at a server that none of us wrote."""

    def __init__(self, world, peer, stack):
        self.peer = peer
        root = urlsplit(peer.base_url)
        # Answers that take their time leave room to be killed before them.
        self.wire = Proxy(stack, root.port)
        self.base_url = f"http://127.0.0.1:{self.wire.port}"
        self.api = f"{self.base_url}{urlsplit(peer.addresses['api']).path}"
        self.profile = peer.profile
        self.sign_ins = 0

    def options(self, store):
        client = CLIENTS[CLIENT]
        given = {"client_id": CLIENT, "client_secret": client["secret"], "client_auth": client["method"], "grant": client["grant"], "base_url": self.base_url}
        # A lease of 8 s at most: those whose leader died wait for its end.
        return {**given, **store, "request_timeout": 2, "policy": {"store_timeout": 2}}

    def sign_in(self):
        """A person goes through a browser: the first refresh token."""
        self.sign_ins += 1
        verifier = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": CLIENT,
            "redirect_uri": self.peer.addresses["redirect_uri"],
            "scope": "read",
            "state": secrets.token_urlsafe(16),
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        callback = browser.authorize(f"{self.peer.addresses['authorization_endpoint']}?{urlencode(asked)}", asked["redirect_uri"], USER)
        (code,) = parse_qs(urlsplit(callback).query)["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": asked["redirect_uri"], "code_verifier": verifier}
        request = urllib.request.Request(self.peer.addresses["token_endpoint"], urlencode(form).encode())
        pair = f"{quote_plus(CLIENT)}:{quote_plus(CLIENTS[CLIENT]['secret'])}"
        request.add_header("authorization", f"Basic {base64.b64encode(pair.encode()).decode()}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)["refresh_token"]


def rotate(world, peer, store, lifetimes, names, slow=True):
    """Many processes use one session; each lifetime ends for all of them at once, and now and then one of them dies."""
    chance = random.Random(peer.name)
    session = Session(world, peer, world.stack)
    if slow:
        session.wire.most_delay = 0.3
    members = world.fleet.mixed(PROCESSES, names)
    options = session.options(store)
    counts = collections.Counter()
    started = time.monotonic()

    def begin(member):
        member.make(session.profile, **options)
        member.tell("with_subject", client="fleet", view="ann", subject="ann")

    def sign_in():
        refresh_token = session.sign_in()
        member = next(member for member in members if member.is_alive)
        member.tell("adopt", client="fleet", view="ann", subject="ann", refresh_token=refresh_token)
        member.token("ann")

    def use(member):
        """One request to the API: its status, or why there is none."""
        try:
            return member.tell("call", 90, client="ann", url=session.api)
        except Refused as refusal:
            return refusal.error
        except AssertionError:
            if not member.is_killed:
                raise
            return "killed"

    for answer in world.fleet.each(begin, members):
        assert not isinstance(answer, Exception), told(answer)
    sign_in()
    before = peer.counts()["token"]
    last = None
    trail = collections.deque(maxlen=3)
    for lifetime in range(lifetimes):
        token = held(world, members, session, counts, sign_in)
        assert token != last, f"after {lifetime} lifetimes the ended token is still in use"
        last = token
        peer.forget(token)
        # Whoever dies does so at some moment of the renewal.
        victims = chance.sample(members, chance.randint(1, PROCESSES // 2)) if chance.randrange(KILLS) == 0 else []
        futures = [world.fleet.pool.submit(use, member) for member in members]
        end = time.monotonic() + chance.uniform(0, 1)
        while victims and time.monotonic() < end and not all(future.done() for future in futures):
            time.sleep(0.002)
        for victim in victims:
            victim.kill()
            counts["processes killed"] += 1
        answers = [future.result() for future in futures]
        trail.append(([str(victim) for victim in victims], [answer if isinstance(answer, int | str) else answer["code"] for answer in answers]))
        for member, answer in zip(members, answers):
            if answer == 200:
                counts["calls answered"] += 1
            elif answer == "killed":
                counts["calls of those who were killed"] += 1
            else:
                judge(member, answer, counts, trail)
        for victim, another in zip(victims, world.fleet.each(world.fleet.replace, victims)):
            assert not isinstance(another, Exception), told(another)
            members[members.index(victim)] = another
            begin(another)
    spent = peer.counts()["token"] - before
    signed_in = session.sign_ins - 1
    took = time.monotonic() - started
    assert signed_in <= counts["processes killed"], f"{signed_in} sign-ins after {counts['processes killed']} kills"
    world.say(
        f"{len(members)} processes of {len({member.name for member in members})} drivers, {lifetimes} lifetimes in {took:.0f} s: "
        f"{spent} token requests, {', '.join(f'{name} {count}' for name, count in sorted(counts.items()))}; "
        f"signed in again {signed_in} times, each time told so; silently lost: nothing"
    )
    session.wire.close()
    return counts, signed_in


def judge(member, answer, counts, trail=()):
    """A caller without an answer was told why, in one of the ways that a session may end or wait."""
    if isinstance(answer, int):
        said = [f"{notice['notice']} {notice.get('detail') or ''}".strip() for notice in member.notices("ann")]
        raise AssertionError(f"{member}: the API answered {answer} after the lifetimes (who was killed, answers) {list(trail)}; it said {said}")
    if answer["code"] == "reauthorization_required":
        assert answer["ambiguous"], f"{member}: a person has to sign in, and nobody knows why: {answer}"
        counts["callers told that it is ambiguous"] += 1
    else:
        assert answer["retryable"], f"{member}: {answer}"
        counts[f"callers told {answer['code']} (may try again)"] += 1


def held(world, members, session, counts, sign_in):
    """The token that the session has now, as a new caller gets it; a person signs in if that is what callers are told."""
    member = members[0]
    deadline = time.monotonic() + 60
    while True:
        try:
            return member.token("ann", seconds=90)["access_token"]
        except Refused as refusal:
            judge(member, refusal.error, counts)
            if refusal.error["code"] == "reauthorization_required":
                sign_in()
        assert time.monotonic() < deadline, "the session does not come back"


def peers(world, kind):
    return [peer for peer in world.peers if peer.kind == kind]


@case("oidc-provider, strict reuse detection: one refresh token, random kills")
def _(world):
    (peer,) = peers(world, "oidc-provider")
    rotate(world, peer, world.redis(world.engine().url), world.lifetimes(LIFETIMES), WITH_REDIS)


@case("django-oauth-toolkit, a grace period: one refresh token, random kills")
def _(world):
    peer = next(peer for peer in peers(world, "django-oauth-toolkit") if "grace" in peer.traits)
    _, signed_in = rotate(world, peer, world.redis(world.engine().url), world.lifetimes(LIFETIMES), WITH_REDIS)
    assert signed_in == 0, f"a person signed in again {signed_in} times although answers could be asked for again"


@case("oidc-provider and the file store, all languages: one refresh token, random kills")
def _(world):
    (peer,) = peers(world, "oidc-provider")
    rotate(world, peer, world.directory(), world.lifetimes(LIFETIMES), None)
