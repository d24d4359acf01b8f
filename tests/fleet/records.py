"""What is in the store: each language reads what each other wrote, and nobody else does."""

from pathlib import Path

from cases import case, fine, make, requests, told
from engines import until
from hosts import HOSTS
from lanes import ROTATING, key_text

LANGUAGES = {driver: language for language, drivers in HOSTS.items() for driver in drivers}
KEYS = [{"id": "2026-11", "key": key_text("the fleet's")}]


def one_of_each(world):
    """A process per language."""
    by_language = {}
    for member in world.fleet.members:
        if member.is_alive:
            by_language.setdefault(LANGUAGES[member.name], member)
    return by_language


@case("records: each language reads what each other wrote, encrypted and plain")
def _(world):
    members = one_of_each(world)
    pairs = 0
    for keys in ({}, {"store_keys": KEYS}):
        for writer in members.values():
            corner, store = world.corner(), world.directory()
            readers = [member for member in members.values() if member is not writer]
            make(world.fleet, [writer], corner, store, **keys)
            (written,) = fine(world.fleet.each(lambda member: member.token(), [writer]))
            # The writer reads it, too, as another process would.
            make(world.fleet, [*readers, writer], corner, store, **keys)
            for member, token in zip([*readers, writer], fine(world.fleet.each(lambda member: member.token(), [*readers, writer]))):
                assert token["access_token"] == written["access_token"], f"{member} did not take what {writer} wrote"
                assert abs(token["expires_in"] - written["expires_in"]) < 30, f"{member}: {token['expires_in']} s where {writer} has {written['expires_in']} s"
                pairs += 1
            assert requests(corner) == 1, f"{requests(corner)} token requests although {writer} had written the token"
    world.say(f"{len(members)} languages, {pairs} pairs of writer and reader (half of them encrypted): no further token request; lost: nothing")


@case("a rotating session: each language goes on where each other stopped, encrypted")
def _(world):
    members = one_of_each(world)
    corner, store = world.corner(ROTATING), world.directory()
    make(world.fleet, list(members.values()), corner, store, store_keys=KEYS)
    for member in members.values():
        member.tell("with_subject", client="fleet", view="ann", subject="ann")
    first = next(iter(members.values()))
    first.tell("adopt", client="fleet", view="ann", subject="ann", refresh_token=corner.mint())
    first.token("ann")
    for turn in range(2):
        for member in members.values():
            fine(world.fleet.each(lambda member: member.token("ann", force=True), [member]))
    assert corner.seen()["refresh_tokens_reused"] == 0
    assert requests(corner) == 1 + 2 * len(members)
    world.say(f"{len(members)} languages in turn, {requests(corner)} rotations of one refresh token, none used twice; lost: nothing")


@case("canaries: nothing plain in an encrypted store, everything in a plain one")
def _(world):
    members = one_of_each(world)
    for keys, is_plain in (({"store_keys": KEYS}, False), ({}, True)):
        for member in members.values():
            texts = []
            stores = [world.directory()]
            if member.name != "swift":
                engine = world.engine()
                stores.append(world.redis(engine.url))
            for store in stores:
                corner = world.corner(ROTATING)
                make(world.fleet, [member], corner, store, **keys)
                refresh_token = corner.mint()
                member.tell("adopt", client="fleet", view="ann", subject="ann", refresh_token=refresh_token)
                token = member.token("ann")
                rotated = member.tell("rotated", client="ann")
                assert rotated, f"{member} was given no new refresh token"
                if "file" in store["store"]:
                    texts = [path.read_text() for path in Path(store["store"]["file"]).rglob("*") if path.is_file()]
                else:
                    texts = [str(engine.ask.hgetall(name)) for name in engine.ask.scan_iter()]
                everything = "\n".join(texts)
                assert everything, f"{member} left nothing in the store"
                canaries = {"access token": token["access_token"], "refresh token": rotated[-1], "client secret": corner.options["client_secret"]}
                found = {name for name, secret in canaries.items() if secret in everything}
                # The plain store is what the README warns of. A client secret has no business in either.
                wanted = {"access token", "refresh token"} if is_plain else set()
                assert found == wanted, f"{member}: the store shows {sorted(found)}, where {sorted(wanted)} was expected"
    world.say(f"{len(members)} languages: an encrypted store shows no secret, a plain one the access token and the refresh token")


@case("a wrong key, an unknown key id, a plain record, another key's record, noise: refused, and said so")
def _(world):
    members = one_of_each(world)
    writer = members["python"] if "python" in members else next(iter(members.values()))
    wrong = [{"id": "2026-11", "key": key_text("somebody else's")}]
    unknown = [{"id": "2027-01", "key": key_text("a later one")}]
    both = [unknown[0], KEYS[0]]
    for member in members.values():
        for written, read, detail in ((KEYS, wrong, "not_authentic"), (KEYS, unknown, "unknown_key_id"), (None, KEYS, "not_encrypted")):
            corner, store = world.corner(), world.directory()
            make(world.fleet, [writer], corner, store, **({"store_keys": written} if written else {}))
            writer.token()
            make(world.fleet, [member], corner, store, store_keys=read)
            (token,) = fine(world.fleet.each(lambda member: member.token(), [member]))
            assert corner.numbers([token]) == [2], f"{member} took what it can't trust"
            said(member, detail)
        # An old key is still good for reading.
        corner, store = world.corner(), world.directory()
        make(world.fleet, [writer], corner, store, store_keys=KEYS)
        writer.token()
        make(world.fleet, [member], corner, store, store_keys=both)
        member.token()
        assert requests(corner) == 1, f"{member} does not read what the old key wrote"
        for damage, detail in ((swapped, "another_key"), (torn, "damaged")):
            corner, store = world.corner(), world.directory()
            make(world.fleet, [writer], corner, store)
            writer.token()
            make(world.fleet, [writer], corner, store, name="other", scope="wallets:write")
            writer.token("other")
            damage(Path(store["store"]["file"]))
            make(world.fleet, [member], corner, store)
            fine(world.fleet.each(lambda member: member.token(), [member]))
            said(member, detail)
            assert requests(corner) == 3, f"{member}: {requests(corner)} token requests after a record that is {detail}"
    world.say(f"{len(members)} languages: not_authentic, unknown_key_id, not_encrypted, another_key, damaged: each a notice and one token request, no loop")


def said(member, detail):
    seen = []

    def has():
        seen.extend(member.notices())
        return any(notice["notice"] == "record_refused" and notice.get("detail") == detail for notice in seen)

    until(10, has, lambda: f"{member} does not say that the record is {detail}: {[(notice['notice'], notice.get('detail')) for notice in seen]}")


def states(folder):
    """The newest state of each key."""
    return [max(path for path in key.iterdir() if path.name.isdigit()) for key in sorted(folder.iterdir()) if key.is_dir()]


def swapped(folder):
    """Two keys' records change places."""
    one, other = states(folder)
    texts = one.read_bytes(), other.read_bytes()
    other.write_bytes(texts[0])
    one.write_bytes(texts[1])


def torn(folder):
    """Every record lost its second half."""
    for path in states(folder):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])


@case("a wrong key and a rotating session: nothing is sent, a typed error")
def _(world):
    for member in one_of_each(world).values():
        corner, store = world.corner(ROTATING), world.directory()
        make(world.fleet, [member], corner, store, store_keys=KEYS)
        member.tell("adopt", client="fleet", view="ann", subject="ann", refresh_token=corner.mint())
        member.token("ann")
        before = requests(corner)
        make(world.fleet, [member], corner, store, store_keys=[{"id": "2026-11", "key": key_text("somebody else's")}])
        member.tell("with_subject", client="fleet", view="ann", subject="ann")
        (answer,) = world.fleet.each(lambda member: member.token("ann", timeout=5), [member])
        assert hasattr(answer, "error"), f"{member}: {told(answer) if isinstance(answer, Exception) else 'a token'}"
        assert answer.error["code"] == "record_refused", told(answer)
        assert requests(corner) == before
    world.say("record_refused in every language, nothing sent; the session is still in the store for those with the key")
