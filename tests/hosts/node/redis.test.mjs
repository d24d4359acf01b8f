// RedisStore with each client that users have, against real servers.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { StoreDown } from "remint";
import { RedisStore } from "remint/redis";
import { Lane, within } from "./authority.mjs";
import { anyKey, contract } from "./contract.mjs";
import { CLIENTS, Server, cluster, sentinel, start, until } from "./servers.mjs";

const server = await Server.start();
const nodes = await cluster();
const watched = await sentinel();
const scripts = ["lock", "save"].map((name) => readFileSync(new URL(`../../stores/redis/${name}.lua`, import.meta.url), "utf8"));

/** What a subscription of this store heard, oldest first. */
function hearing(store) {
  const heard = [];
  const subscription = store.subscribe((key) => heard.push(key));
  return { heard, subscription };
}

const listeners = async (admin) => (await admin.client("LIST", "TYPE", "pubsub")).split("\n").filter((line) => line.includes("id=")).length;
/** Ends a program's input, and waits for its end. */
async function endsByItself(child) {
  child.stdin.end();
  const [code] = await within(20, once(child, "exit"));
  assert.equal(code, 0);
}

const failure = (promise) => promise.then((value) => assert.fail(`it gave ${inspect(value)}`), (error) => error);

for (const [name, client] of Object.entries(CLIENTS)) {
  const { make, connect } = client;
  const open = async (options) => new RedisStore(await connect(server), options);
  contract(name, open);

  test(`${name}: what it writes runs out by itself, and no other prefix sees it`, async () => {
    const store = await open({ prefix: "mine:" });
    const key = anyKey();
    const life = async () => server.admin.pttl(`mine:${key}`);
    await store.lock(key, "ann", 5);
    assert.ok((await life()) > 0 && (await life()) <= 5_000, `${await life()}`);
    await store.save(key, undefined, "record", 60, undefined);
    assert.ok((await life()) > 50_000 && (await life()) <= 60_000, `${await life()}`);
    await store.lock(key, "ann", 90);
    assert.ok((await life()) > 80_000, `${await life()}`);
    await (await open({ prefix: "theirs:" })).save(key, undefined, "another", 60, undefined);
    assert.equal(await store.load(key), "record");
    assert.deepEqual(await server.admin.hkeys(`theirs:${key}`), ["r"]);
  });

  test(`${name}: the scripts are those of the other languages, and loaded again where Redis has lost them`, async () => {
    const store = await open();
    const key = anyKey();
    for (let round = 0; round < 2; round++) {
      await server.admin.script("FLUSH");
      assert.equal((await store.lock(key, "ann", 20)).locked, true);
      assert.equal((await store.save(key, await store.load(key), `record ${round}`, 60, "ann")).saved, true);
      const shas = scripts.map((text) => createHash("sha1").update(text).digest("hex"));
      assert.deepEqual(await server.admin.script("EXISTS", ...shas), [1, 1]);
    }
    await server.commands();
    await store.lock(key, "ann", 20);
    const { eval: whole, evalsha } = await server.commands();
    assert.deepEqual([whole, evalsha], [undefined, 1]);
  });

  test(`${name}: others hear of a save within a second, and who saved does not`, async () => {
    const [one, other] = [await open({ prefix: `${name}:` }), await open({ prefix: `${name}:` })];
    const [mine, theirs] = [hearing(one), hearing(other)];
    await until(async () => (await server.admin.pubsub("NUMSUB", `${name}:changed`))[1] === 2);
    const key = anyKey();
    await one.save(key, undefined, "record", 60, undefined);
    await until(() => theirs.heard.length > 0, 1);
    await one.save(key, "wrong", "another", 60, undefined);
    await other.save(key, "record", "another", 60, undefined);
    await until(() => mine.heard.length > 0, 1);
    assert.deepEqual([mine.heard, theirs.heard], [[key], [key]]);
    mine.subscription.close();
    theirs.subscription.close();
    await until(async () => (await server.admin.pubsub("NUMSUB", `${name}:changed`))[1] === 0);
  });

  test(`${name}: two clients of remint that share a store hear each other`, async () => {
    const store = await open({ prefix: `${name} shared:` });
    const [mine, theirs] = [hearing(store), hearing(store)];
    await until(async () => (await server.admin.pubsub("NUMSUB", `${name} shared:changed`))[1] === 2);
    const key = anyKey();
    await store.save(key, undefined, "record", 60, undefined);
    await until(() => mine.heard.length === 1 && theirs.heard.length === 1, 1);
    mine.subscription.close();
    mine.subscription.close();
    await store.save(key, "record", "another", 60, undefined);
    await (await open({ prefix: `${name} shared:` })).save(anyKey(), undefined, "x", 60, undefined);
    await until(() => theirs.heard.length === 2, 1);
    theirs.subscription.close();
    assert.equal(theirs.heard.includes(key), true);
  });

  test(`${name}: where messages may have been missed, everything may have changed`, async () => {
    const own = await Server.start();
    const store = new RedisStore(await connect(own));
    const { heard, subscription } = hearing(store);
    await until(async () => (await listeners(own.admin)) === 1);
    await own.admin.client("KILL", "TYPE", "pubsub");
    await until(() => heard.length > 0, 5);
    assert.deepEqual(heard, [undefined]);
    await own.kill();
    await own.run();
    await until(() => heard.length > 1);
    assert.equal(await listeners(own.admin), 1);
    subscription.close();
    await until(async () => (await listeners(own.admin)) === 0);
  });

  test(`${name}: a client that the user closes takes the subscription with it`, async () => {
    const own = await Server.start();
    const redis = await connect(own);
    const { subscription } = hearing(new RedisStore(redis));
    await until(async () => (await listeners(own.admin)) === 1);
    await client.close(redis);
    await until(async () => (await listeners(own.admin)) === 0);
    subscription.close();
  });

  test(`${name}: no connection is StoreDown at once or in time, and commands that were not sent stay so`, async () => {
    const own = await Server.start();
    const store = new RedisStore(await connect(own));
    const key = anyKey();
    await store.save(key, undefined, "record", 60, undefined);
    await own.kill();
    await failure(store.load(key, AbortSignal.timeout(500)));
    const error = await within(5, failure(store.save(key, "record", "canary", 60, undefined, AbortSignal.timeout(500))));
    assert.ok(error instanceof StoreDown, inspect(error));
    await own.run();
    await until(async () => (await failure(store.load(key, AbortSignal.timeout(500)).then(() => Promise.reject("there")))) === "there");
    assert.equal(await own.admin.exists(`remint:${key}`), 0);
  });

  test(`${name}: a save whose answer is cut off is not StoreDown, and nothing that is thrown holds the record`, async () => {
    const own = await Server.start();
    // ioredis would send it again, which the comparison makes harmless.
    const store = new RedisStore(await connect(own, { maxRetriesPerRequest: 0 }));
    const key = anyKey();
    await store.save(key, undefined, "record", 60, undefined);
    await own.admin.client("PAUSE", "60000", "ALL");
    const saving = failure(store.save(key, "record", "canary-record", 60, undefined));
    await new Promise((resolve) => setTimeout(resolve, 200));
    await own.kill();
    const error = await within(10, saving);
    assert.ok(error instanceof Error && !(error instanceof StoreDown), inspect(error));
    assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), /canary/);
  });

  for (const [what, ready, says] of [
    ["a replica that only reads", (admin) => admin.replicaof("127.0.0.1", "9"), /READONLY/],
    ["no memory", (admin) => admin.config("SET", "maxmemory", "1"), /OOM/],
    ["a user without rights", (admin) => admin.acl("SETUSER", "default", "-evalsha"), /NOPERM/],
  ]) {
    test(`${name}: ${what} is StoreDown, without the record`, async () => {
      const own = await Server.start();
      const store = new RedisStore(await connect(own));
      await store.save(anyKey(), undefined, "x", 60, undefined);
      await ready(own.admin);
      for (const asked of [store.save(anyKey(), undefined, "canary", 60, undefined), store.lock(anyKey(), "canary", 60)]) {
        const error = await failure(asked);
        assert.ok(error instanceof StoreDown, inspect(error));
        assert.match(error.message, says);
        assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), /canary/);
      }
    });
  }

  test(`${name}: who may not publish saves all the same`, async () => {
    const own = await Server.start();
    await own.admin.acl("SETUSER", "default", "resetchannels");
    const store = new RedisStore(await connect(own));
    assert.deepEqual(await store.save(anyKey(), undefined, "x", 60, undefined), { saved: true });
  });

  test(`${name}: a cluster, with messages`, async () => {
    const [one, other] = [new RedisStore(await client.cluster(nodes)), new RedisStore(await client.cluster(nodes))];
    const { heard, subscription } = hearing(other);
    await until(async () => (await Promise.all(nodes.map(({ admin }) => listeners(admin)))).some((count) => count > 0));
    // So many that each node has some.
    const keys = Array.from({ length: 40 }, anyKey);
    for (const key of keys) {
      assert.equal((await one.lock(key, "ann", 20)).locked, true);
      assert.equal((await one.save(key, undefined, "record", 60, "ann")).saved, true);
      assert.equal(await other.load(key), "record");
    }
    const counts = await Promise.all(nodes.map(({ admin }) => admin.dbsize()));
    assert.ok(counts.every((count) => count > 0), `${counts}`);
    await until(() => heard.length === keys.length, 2);
    subscription.close();
    await until(async () => (await Promise.all(nodes.map(({ admin }) => listeners(admin)))).every((count) => count === 0));
  });

  test(`${name}: a node of a cluster without the others says what to use`, async () => {
    const store = new RedisStore(await connect(nodes[0]));
    const errors = await Promise.all(Array.from({ length: 20 }, () => store.lock(anyKey(), "ann", 20).catch((error) => error)));
    const moved = errors.find((error) => error instanceof StoreDown);
    assert.match(moved.message, /use your client's cluster/);
  });

  test(`${name}: a master that a sentinel names, with messages`, async () => {
    const [one, other] = [new RedisStore(await client.sentinel(watched)), new RedisStore(await client.sentinel(watched))];
    const { heard, subscription } = hearing(other);
    const { admin } = watched.master;
    await until(async () => Number((await admin.pubsub("NUMSUB", "remint:changed"))[1]) === 1);
    const key = anyKey();
    assert.equal((await one.lock(key, "ann", 20)).locked, true);
    assert.equal((await one.save(key, undefined, "record", 60, "ann")).saved, true);
    assert.equal(await other.load(key), "record");
    await until(() => heard.length === 1, 2);
    subscription.close();
    await until(async () => Number((await admin.pubsub("NUMSUB", "remint:changed"))[1]) === 0);
  });

  for (const [what, place] of Object.entries({ connect: server, pool: server, cluster: nodes, sentinel: watched })) {
    if (client[what] === undefined) continue;
    test(`${name}: ${what}, used before it is connected`, async () => {
      // Several in turn: what comes of it is a matter of a few milliseconds.
      for (let round = 0; round < 5; round++) {
        const store = new RedisStore(await client[what](place, { waits: false }));
        const { subscription } = hearing(store);
        const lock = await within(5, store.lock(anyKey(), "ann", 20, AbortSignal.timeout(5_000)));
        assert.equal(lock.locked, true);
        subscription.close();
      }
    });
  }

  if (client.pool !== undefined) {
    test(`${name}: a pool, with messages`, async () => {
      const own = await Server.start();
      const [one, other] = [new RedisStore(await client.pool(own)), new RedisStore(await client.pool(own))];
      const { heard, subscription } = hearing(other);
      await until(async () => (await listeners(own.admin)) === 1);
      const key = anyKey();
      await one.save(key, undefined, "record", 60, undefined);
      assert.equal(await other.load(key), "record");
      await until(() => heard.length === 1, 2);
      subscription.close();
    });
  }

  test(`${name}: another machine without TLS is refused before anything is sent`, async () => {
    for (const url of ["redis://redis.example:6379", "redis://10.0.0.1", "redis://127.0.0.1.example"]) {
      assert.throws(() => new RedisStore(make({ url })), { code: "invalid_option", message: /rediss:.*insecurePlaintext/ });
      assert.throws(() => new RedisStore(client.remoteCluster(url)), { code: "invalid_option" });
      new RedisStore(make({ url }), { insecurePlaintext: true });
    }
    for (const url of ["rediss://redis.example:6379", "redis://localhost", "redis://127.0.0.2", "redis://[::1]:6379"]) new RedisStore(make({ url }));
    new RedisStore(client.remoteCluster("rediss://redis.example:6379"));
  });

  test(`${name}: two clients of remint ask for one token`, async () => {
    const lane = new Lane();
    await lane.settings({ token_latency_ms: 300 });
    const prefix = `${name} fleet:`;
    const fleet = await Promise.all(Array.from({ length: 6 }, async () => lane.client("phoenix-wallet", { store: await open({ prefix }) })));
    const tokens = await within(30, Promise.all(fleet.map((one) => one.token())));
    assert.equal(new Set(tokens.map(({ accessToken }) => accessToken)).size, 1);
    assert.equal(await lane.tokenRequests(), 1);
    const late = lane.client("phoenix-wallet", { store: await open({ prefix }) });
    assert.equal((await late.token()).accessToken, tokens[0].accessToken);
    assert.equal(await lane.tokenRequests(), 1);
    await Promise.all([...fleet, late].map((one) => one.close()));
    await until(async () => Number((await server.admin.pubsub("NUMSUB", `${prefix}changed`))[1]) === 0);
  });
}

for (const kind of ["redis", "ioredis"]) {
  test(`${kind}: a client that hears messages holds no process`, async () => {
    const lane = new Lane();
    const program = fileURLToPath(new URL("holds-nothing.mjs", import.meta.url));
    const child = spawn(process.execPath, [program, kind, server.url, lane.url("phoenix-wallet")], { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    child.stdout.on("data", (chunk) => (said += chunk));
    const [code] = await within(20, once(child, "exit"));
    assert.deepEqual([code, said], [0, "heard\n"]);
  });
}

for (const kind of ["redis", "redis-5"]) {
  test(`${kind}: a client that looked for a master in vain holds no process once it is destroyed`, async () => {
    const { master, port, kill } = await sentinel();
    const child = start("without-master.mjs", kind, port);
    await until(async () => Number((await master.admin.pubsub("NUMSUB", "remint:changed"))[1]) === 1);
    await Promise.all([kill(), master.kill()]);
    await endsByItself(child);
  });
}

for (const kind of ["ioredis", "ioredis-5"]) {
  test(`${kind}: clients that looked for their server in vain hold no process once they are disconnected`, async () => {
    const own = await Server.start();
    const child = start("without-server.mjs", kind, own.url);
    await until(async () => (await listeners(own.admin)) === 8);
    await own.kill();
    await endsByItself(child);
  });
}

test("what is no client of either is refused", () => {
  for (const client of [undefined, null, {}, "redis://127.0.0.1", { get() {} }]) {
    assert.throws(() => new RedisStore(client), { code: "invalid_option", message: /node-redis .*ioredis/ });
  }
});

test("a store prints nothing of its client", async () => {
  const store = new RedisStore(CLIENTS["ioredis 6"].make({ url: "redis://ann:canary@127.0.0.1" }));
  assert.doesNotMatch(inspect(store, { depth: 9, showHidden: true }), /canary/);
});
