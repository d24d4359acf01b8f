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
from cases import case, fine, told
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
KILLS = 4


class Session:
    """A person who signed in, at a server that none of us wrote."""

    def __init__(self, world, peer, stack):
        self.peer = peer
        root = urlsplit(peer.base_url)
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


class Rotation:
    """Many processes use one session; each lifetime ends for all of them at once, and now and then some of them die."""

    def __init__(self, world, peer, store, names):
        self.world = world
        self.peer = peer
        self.session = Session(world, peer, world.stack)
        self.options = self.session.options(store)
        self.chance = random.Random(f"{world.seed} {peer.name}")
        self.members = world.fleet.mixed(PROCESSES, names)
        self.counts = collections.Counter()
        #: Lifetimes in which somebody was killed.
        self.deadly = 0
        #: Of the last lifetimes: who was killed, and what each caller got.
        self.trail = collections.deque(maxlen=3)

    def begin(self, member):
        member.make(self.session.profile, **self.options)
        member.tell("with_subject", client="fleet", view="ann", subject="ann")

    def sign_in(self, member):
        refresh_token = self.session.sign_in()
        member.tell("adopt", client="fleet", view="ann", subject="ann", refresh_token=refresh_token)

    def run(self, lifetimes):
        for answer in self.world.fleet.each(self.begin, self.members):
            assert not isinstance(answer, Exception), told(answer)
        self.sign_in(self.members[0])
        self.members[0].token("ann")
        started = time.monotonic()
        before = self.peer.counts()["token"]
        for _ in range(lifetimes):
            self.lifetime()
        spent = self.peer.counts()["token"] - before
        took = time.monotonic() - started
        signed_in = self.session.sign_ins - 1
        assert signed_in <= self.deadly, f"a person signed in again {signed_in} times, and only in {self.deadly} lifetimes was somebody killed"
        assert spent >= lifetimes, f"{spent} token requests in {lifetimes} lifetimes: an ended token was still in use"
        self.world.say(
            f"{len(self.members)} processes of {len({member.name for member in self.members})} drivers, {lifetimes} lifetimes in {took:.0f} s: "
            f"{spent} token requests, {', '.join(f'{name} {count}' for name, count in sorted(self.counts.items()))}; "
            f"signed in again {signed_in} times, each time told so; silently lost: nothing"
        )
        self.session.wire.close()
        return signed_in

    def lifetime(self):
        """The server ends the token that all of them have. All of them need another at once, and some may die of it."""
        self.peer.forget(self.shared())
        # Whoever dies does so at some moment of the renewal.
        victims = self.chance.sample(self.members, self.chance.randint(1, PROCESSES // 2)) if self.chance.randrange(KILLS) == 0 else []
        self.deadly += bool(victims)
        # Answers that take their time leave room to be killed before them.
        self.session.wire.most_delay = 0.3 if victims else 0.03
        futures = [self.world.fleet.pool.submit(self.use, member) for member in self.members]
        end = time.monotonic() + self.chance.uniform(0, 1)
        while victims and time.monotonic() < end and not all(future.done() for future in futures):
            time.sleep(0.002)
        for victim in victims:
            victim.kill()
            self.counts["processes killed"] += 1
        answers = [future.result() for future in futures]
        self.trail.append(([str(victim) for victim in victims], [answer if isinstance(answer, int | str) else answer["code"] for answer in answers]))
        self.judge(answers)
        for victim, another in zip(victims, self.world.fleet.each(self.world.fleet.replace, victims)):
            assert not isinstance(another, Exception), told(another)
            self.members[self.members.index(victim)] = another
            self.begin(another)
        self.recover([member for member, answer in zip(self.members, answers) if answer != 200 and member not in victims], 200 in answers)

    def shared(self):
        """The one token that all of them have. Nobody goes into a lifetime with one that was ended before it, so whatever is refused in it was got in it."""

        def held(member):
            try:
                return member.token("ann")["access_token"]
            except Refused as refusal:
                # A process that has just begun on a busy machine may not have reached the store yet.
                assert refusal.error["retryable"], f"{member} has no token, after {self.told()}: {told(refusal)}"
                return None

        def agreed():
            tokens = set(fine(self.world.fleet.each(held, self.members)))
            return tokens.pop() if len(tokens) == 1 else None

        # Who didn't renew it hears of it by a message, or sees it at the next look.
        return until(30, agreed, lambda: f"the processes do not come to have the same token, after {self.told()}")

    def use(self, member):
        """One request to the API: its status, or why there is none."""
        try:
            return member.tell("call", 90, client="ann", url=self.session.api)
        except Refused as refusal:
            return refusal.error
        except AssertionError:
            if not member.is_killed:
                raise
            return "killed"

    def judge(self, answers):
        """A caller without an answer was told why, in one of the ways that a session may end or wait."""
        for member, answer in zip(self.members, answers):
            if answer == 200:
                self.counts["calls answered"] += 1
            elif answer == "killed":
                self.counts["calls of those who were killed"] += 1
            elif isinstance(answer, int):
                # One token was ended in this lifetime, and a call has two tries.
                raise AssertionError(f"{member}: the API answered {answer} although only one token was ended, after {self.told()}; it said {said(member)}")
            elif answer["code"] == "reauthorization_required":
                assert answer["ambiguous"], f"{member}: a person has to sign in, and nobody knows why: {answer}"
                # Whoever was answered renewed the token, or got it from somebody who did: the session had not come to its end.
                assert 200 not in answers, f"{member} was told that a person has to sign in, and the session lives, after {self.told()}; it said {said(member)}"
                self.counts["callers told that it is ambiguous"] += 1
            else:
                assert answer["retryable"], f"{member}: {answer}"
                self.counts[f"callers told {answer['code']} (may try again)"] += 1

    def recover(self, behind, is_alive):
        """Who was refused asks again until there is an answer; if the session is over, a person signs in first."""
        if behind and not is_alive:
            self.sign_in_if_told(behind)
        answers = {}

        def again():
            for member, answer in zip(list(behind), self.world.fleet.each(self.use, behind)):
                assert not isinstance(answer, Exception), told(answer)
                assert answer == 200 or isinstance(answer, dict), f"{member}: the API answered {answer}, after {self.told()}; it said {said(member)}"
                answers[str(member)] = answer
                if answer == 200:
                    behind.remove(member)
            return not behind

        # A refusal is heeded for a while, whatever else happens.
        until(60, again, lambda: f"callers are refused although the session lives: {answers}, after {self.told()}")

    def sign_in_if_told(self, behind):
        """The session may be over, or whoever renews it was killed and the lock outlived it."""
        member = behind[0]
        deadline = time.monotonic() + 60
        while (answer := self.use(member)) != 200:
            assert isinstance(answer, dict), f"{member}: the API answered {answer}, after {self.told()}; it said {said(member)}"
            if answer["code"] == "reauthorization_required":
                assert answer["ambiguous"], f"{member}: a person has to sign in, and nobody knows why: {answer}"
                self.sign_in(member)
                return
            assert answer["retryable"], f"{member}: {answer}"
            assert time.monotonic() < deadline, "the session does not come back"

    def told(self):
        return f"the lifetimes (who was killed, answers) {list(self.trail)}, seed {self.world.seed}"


def said(member):
    return [f"{notice['notice']} {notice.get('detail') or ''}".strip() for notice in member.notices("ann")]


def peers(world, kind):
    return [peer for peer in world.peers if peer.kind == kind]


@case("oidc-provider, strict reuse detection: one refresh token, random kills")
def _(world):
    (peer,) = peers(world, "oidc-provider")
    Rotation(world, peer, world.redis(world.engine().url), WITH_REDIS).run(world.lifetimes(LIFETIMES))


@case("django-oauth-toolkit, a grace period: one refresh token, random kills")
def _(world):
    peer = next(peer for peer in peers(world, "django-oauth-toolkit") if "grace" in peer.traits)
    signed_in = Rotation(world, peer, world.redis(world.engine().url), WITH_REDIS).run(world.lifetimes(LIFETIMES))
    assert signed_in == 0, f"a person signed in again {signed_in} times although answers could be asked for again"


@case("oidc-provider and the file store, all languages: one refresh token, random kills")
def _(world):
    (peer,) = peers(world, "oidc-provider")
    Rotation(world, peer, world.directory(), None).run(world.lifetimes(LIFETIMES))
