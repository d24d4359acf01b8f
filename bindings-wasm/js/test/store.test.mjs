// A store of the user's own: what it is told, what it may answer, and what becomes of its mistakes.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { inspect } from "node:util";
import { Client, StoreDown } from "remint";
import { ManualClock, quiet, tokenAnswer, world } from "./world.mjs";

/** The three functions over a map, which several clients may share. */
class MemoryStore {
  calls = [];
  listeners = new Set();

  constructor(shared = new Map()) {
    this.shared = shared;
  }

  at(key) {
    if (!this.shared.has(key)) this.shared.set(key, {});
    return this.shared.get(key);
  }

  async load(key) {
    this.calls.push(["load", key]);
    return this.at(key).record;
  }

  async lock(key, owner, ttl) {
    this.calls.push(["lock", key, owner, ttl]);
    const held = this.at(key);
    if (held.owner !== undefined && held.owner !== owner) return { locked: false, retryIn: 5, record: held.record };
    if (ttl === 0) held.owner = undefined;
    else held.owner = owner;
    return { locked: true, record: held.record };
  }

  async save(key, expect, record, ttl, unlock) {
    this.calls.push(["save", key, expect, record, ttl, unlock]);
    const held = this.at(key);
    if (held.record !== expect) return { saved: false, record: held.record };
    held.record = record;
    if (held.owner === unlock) held.owner = undefined;
    return { saved: true };
  }

  subscribe(onChanged) {
    this.listeners.add(onChanged);
    return { close: () => this.listeners.delete(onChanged) };
  }
}

const names = (store) => store.calls.map(([name]) => name);

test("a cold start is two commands, and a cached call none", async () => {
  const store = new MemoryStore();
  const { client } = world({ store });
  await client.token();
  await client.token();
  await quiet();
  assert.deepEqual(names(store), ["lock", "save"]);
  const [[, key, owner, lease], [, saved, expect, record, life, unlock]] = store.calls;
  assert.deepEqual([key, expect, unlock], [saved, undefined, owner]);
  assert.match(key, /^[\w-]{43}$/);
  assert.equal(typeof record, "string");
  // Seconds.
  assert.ok(lease >= 10 && lease <= 120, `${lease}`);
  assert.ok(life >= 3_000, `${life}`);
});

test("another client uses what is there, and asks the server nothing", async () => {
  const shared = new Map();
  await world({ store: new MemoryStore(shared) }).client.token();
  const { client, requests, names: notices } = world({ store: new MemoryStore(shared), answer: () => assert.fail("a token request") });
  assert.equal((await client.token()).accessToken, "token-1");
  assert.deepEqual([requests.length, notices()], [0, ["adopted"]]);
});

test("what another client writes is heard, and taken at the next question", async () => {
  const shared = new Map();
  const [one, other] = [new MemoryStore(shared), new MemoryStore(shared)];
  const [writer, reader] = [world({ store: one, answer: (n) => tokenAnswer(`new-${n}`) }), world({ store: other })];
  await writer.client.token();
  assert.equal((await reader.client.token()).accessToken, "new-1");
  await writer.client.token({ force: true });
  assert.equal(reader.client.peek().accessToken, "new-1");
  for (const changed of other.listeners) changed([...shared.keys()][0]);
  assert.equal((await reader.client.token()).accessToken, "new-2");
  assert.equal(reader.requests.length, 0);
  await reader.client.close();
  assert.deepEqual([one.listeners.size, other.listeners.size], [1, 0]);
});

test("when `invalidate` resolves, no other process finds the token", async () => {
  const shared = new Map();
  const slow = new MemoryStore(shared);
  const save = slow.save.bind(slow);
  slow.save = async (...words) => {
    await quiet();
    return save(...words);
  };
  const { client } = world({ store: slow });
  await client.token();
  await client.invalidate();
  const { client: late, requests } = world({ store: new MemoryStore(shared), answer: () => tokenAnswer("new") });
  assert.equal((await late.token()).accessToken, "new");
  assert.equal(requests.length, 1);
});

test("with keys, nothing that is stored is readable", async () => {
  const key = randomBytes(32);
  for (const storeKeys of [[{ id: "a", key }], [{ id: "a", key: key.toString("base64url") }], [{ id: "a", key: new Uint8Array(key) }]]) {
    const store = new MemoryStore();
    const { client } = world({ store, storeKeys, answer: () => tokenAnswer("canary-token") });
    await client.token();
    const [{ record }] = [...store.shared.values()];
    assert.doesNotMatch(record, /canary|access_token/);
    const again = world({ store: new MemoryStore(store.shared), storeKeys: [{ id: "b", key: randomBytes(32) }, { id: "a", key }] });
    assert.equal((await again.client.token()).accessToken, "canary-token");
    assert.equal(again.requests.length, 0);
  }
});

test("a record that can't be believed is told of, and replaced", async () => {
  const store = new MemoryStore();
  await world({ store, storeKeys: [{ id: "a", key: randomBytes(32) }] }).client.token();
  const { client, notices, requests } = world({ store, storeKeys: [{ id: "a", key: randomBytes(32) }] });
  await client.token();
  assert.equal(requests.length, 1);
  assert.equal(notices.find(({ notice }) => notice === "record_refused").detail, "not_authentic");
});

test("another key's record is not used, whoever put it there", async () => {
  for (const storeKeys of [undefined, [{ id: "a", key: randomBytes(32) }]]) {
    const store = new MemoryStore();
    const scopes = { scope: ["wallets:read", "payments:read"] };
    await world({ store, storeKeys, ...scopes, answer: () => tokenAnswer("canary-wide") }).client.token();
    const [wide] = [...store.shared.values()];
    const { client, notices } = world({ store: Object.assign(new MemoryStore(), { at: () => wide }), storeKeys });
    assert.equal((await client.token()).accessToken, "token-1");
    const { detail } = notices.find(({ notice }) => notice === "record_refused");
    assert.match(detail, /^(another_key|not_authentic)$/);
  }
});

for (const [what, broken] of [
  ["throws", () => Promise.reject(new Error("canary-database"))],
  ["throws at once", () => { throw new TypeError("canary-database"); }],
  ["throws StoreDown", () => Promise.reject(new StoreDown("the table is gone"))],
  ["gives nonsense", async () => ({ locked: "yes", saved: 1, record: 5 })],
  ["gives nothing", async () => undefined],
]) {
  test(`a store that ${what} keeps nobody from a token; the notice has what it threw`, async () => {
    const store = { load: broken, lock: broken, save: broken };
    const { client, clock, notices, requests } = world({ store });
    const asked = client.token();
    await clock.advance(3_000);
    assert.equal((await asked).accessToken, "token-1");
    assert.equal(requests.length, 1);
    const down = notices.find(({ notice }) => notice === "store_down");
    assert.ok(down.cause instanceof Error);
    assert.doesNotMatch(`${inspect(notices, { depth: 9 })} ${JSON.stringify(notices)}`, /canary/);
    await client.close();
  });
}

test("without the store no rotation begins, and the error says what the store said", async () => {
  const down = async () => { throw new StoreDown("the disk is full"); };
  const clock = new ManualClock();
  const requests = [];
  const profile = {
    name: "server", title: "Server", grants: ["authorization_code"],
    token: { endpoint: "https://auth.example.com/token", client_auth: ["client_secret_basic"] },
    authorization: { endpoint: "https://auth.example.com/authorize", issuer: "https://auth.example.com" },
    api_origins: ["https://api.example.com"],
  };
  const http = async (url) => requests.push(url);
  const client = new Client(profile, { clientId: "someone", clientSecret: "canary-secret", store: { load: down, lock: down, save: down }, clock, http });
  const person = client.withSubject("ann", { refreshToken: "canary-refresh" });
  const asked = person.token({ timeout: 5 }).catch((error) => error);
  await clock.advance(6_000);
  const error = await asked;
  assert.deepEqual([error.code, requests.length], ["store_unavailable", 0]);
  assert.match(error.message, /the disk is full/);
  assert.doesNotMatch(inspect(error), /canary/);
});

test("a store that never answers is given up after the store's timeout, and holds no `close`", async () => {
  const never = () => new Promise(() => {});
  const store = { load: never, lock: never, save: never };
  const { client, clock } = world({ store, policy: { storeTimeout: 2 } });
  const asked = client.token();
  await clock.advance(1_900);
  assert.equal(client.peek(), undefined);
  await clock.advance(5_000);
  assert.equal((await asked).accessToken, "token-1");
  await client.close();
});

test("the signal that a store is given aborts when it is too late", async () => {
  const signals = [];
  const lock = (_key, _owner, _ttl, signal) => {
    signals.push(signal);
    return new Promise(() => {});
  };
  const { client, clock } = world({ store: { load: lock, lock, save: lock } });
  void client.token();
  await clock.advance(900);
  assert.equal(signals[0].aborted, false);
  await clock.advance(200);
  assert.equal(signals[0].aborted, true);
});

test("a subscription that fails is begun again with the next command", async () => {
  const store = new MemoryStore();
  let attempts = 0;
  const subscribe = store.subscribe.bind(store);
  store.subscribe = (onChanged) => {
    if (++attempts === 1) throw new Error("not yet");
    return subscribe(onChanged);
  };
  const { client } = world({ store });
  await client.token();
  assert.deepEqual([attempts, store.listeners.size], [2, 1]);
});

test("a store that can't tell of changes is looked at as often as it says, unless the policy says otherwise", async () => {
  for (const [storeCheck, policy, seconds] of [[0.5, undefined, 0.5], [0.5, { storeCheck: 7 }, 7], [undefined, undefined, 60]]) {
    const store = Object.assign(new MemoryStore(), { storeCheck });
    const { client, clock } = world({ store, policy });
    await client.token();
    const before = store.calls.length;
    await clock.advance(seconds * 1000 - 100);
    await client.token();
    assert.equal(store.calls.length, before);
    await clock.advance(200);
    await client.token();
    assert.deepEqual(names(store).slice(before), ["load"]);
  }
});

test("what is no store, and keys that are none, are refused by name", () => {
  const make = (options) => () => new Client("phoenix-wallet", { clientId: "a", clientSecret: "b", ...options });
  for (const store of [null, true, {}, { handle() {} }, { load() {}, lock() {} }, "redis://127.0.0.1"]) {
    assert.throws(make({ store }), { code: "invalid_option", message: /`store`/ });
  }
  const store = new MemoryStore();
  const key = randomBytes(32);
  for (const storeKeys of [{}, "canary", [null], ["canary"], [{ id: "a" }], [{ id: 1, key }], [{ id: "a", key: 5 }], [{ id: "a", key: Buffer.from("canary") }], [{ id: "a", key: "canary" }], []]) {
    assert.throws(make({ store, storeKeys }), (error) => {
      assert.equal(error.code, "invalid_option");
      assert.match(error.message, /storeKeys/);
      assert.doesNotMatch(inspect(error), /canary/);
      return true;
    });
  }
});
