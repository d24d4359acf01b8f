// What every store must do, whoever wrote it.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";

export const anyKey = () => randomBytes(32).toString("base64url");

/** `open` gives a store that shares with all others that it gave. */
export function contract(name, open) {
  test(`${name}: what is saved is there for others, until it has run out`, async () => {
    const [one, other] = [await open(), await open()];
    const key = anyKey();
    assert.equal((await one.load(key)) ?? undefined, undefined);
    assert.deepEqual(await one.save(key, undefined, "first", 30, undefined), { saved: true });
    assert.equal(await other.load(key), "first");
    assert.equal((await one.load(anyKey())) ?? undefined, undefined);
    assert.deepEqual(await other.save(key, "first", "second", 0.2, undefined), { saved: true });
    await new Promise((resolve) => setTimeout(resolve, 400));
    assert.equal((await one.load(key)) ?? undefined, undefined);
    assert.deepEqual(await one.save(key, undefined, "third", 30, undefined), { saved: true });
  });

  test(`${name}: a save that expects something else writes nothing, and shows what is there`, async () => {
    const store = await open();
    const key = anyKey();
    const early = await store.save(key, "a", "b", 30, undefined);
    assert.deepEqual([early.saved, early.record ?? undefined], [false, undefined]);
    await store.save(key, undefined, "a", 30, undefined);
    assert.deepEqual(await store.save(key, undefined, "c", 30, undefined), { saved: false, record: "a" });
    assert.deepEqual(await store.save(key, "b", "c", 30, undefined), { saved: false, record: "a" });
    assert.equal(await store.load(key), "a");
  });

  test(`${name}: a lock is one owner's, who may extend it, and give it back`, async () => {
    const [one, other] = [await open(), await open()];
    const key = anyKey();
    assert.equal((await one.lock(key, "ann", 20)).locked, true);
    await one.save(key, undefined, "record", 30, undefined);
    const held = await other.lock(key, "bob", 20);
    assert.deepEqual([held.locked, held.record], [false, "record"]);
    assert.ok(held.retryIn > 10 && held.retryIn <= 20, `${held.retryIn} s`);
    assert.deepEqual(await one.lock(key, "ann", 60), { locked: true, record: "record" });
    assert.ok((await other.lock(key, "bob", 20)).retryIn > 40);
    // Who hasn't got it gives nothing back.
    await other.lock(key, "bob", 0);
    assert.equal((await other.lock(key, "bob", 20)).locked, false);
    await one.lock(key, "ann", 0);
    assert.deepEqual(await other.lock(key, "bob", 0.2), { locked: true, record: "record" });
    await new Promise((resolve) => setTimeout(resolve, 400));
    assert.deepEqual(await one.lock(key, "ann", 20), { locked: true, record: "record" });
  });

  test(`${name}: a save ends the lock that it names, if it happened and the lock is that owner's`, async () => {
    const store = await open();
    const key = anyKey();
    await store.lock(key, "ann", 20);
    await store.save(key, "wrong", "a", 30, "ann");
    assert.equal((await store.lock(key, "bob", 20)).locked, false);
    await store.save(key, undefined, "a", 30, "bob");
    assert.equal((await store.lock(key, "bob", 20)).locked, false);
    assert.deepEqual(await store.save(key, "a", "b", 30, "ann"), { saved: true });
    assert.deepEqual(await store.lock(key, "bob", 20), { locked: true, record: "b" });
  });

  test(`${name}: of many who save at once, each time exactly one does`, async () => {
    const key = anyKey();
    const stores = await Promise.all(Array.from({ length: 8 }, open));
    let before;
    for (let round = 1; round <= 10; round++) {
      const answers = await Promise.all(stores.map((store, at) => store.save(key, before, `${round} ${at}`, 30, undefined)));
      const winners = answers.flatMap(({ saved }, at) => (saved ? [at] : []));
      assert.equal(winners.length, 1);
      before = `${round} ${winners[0]}`;
      assert.equal(await stores[0].load(key), before);
    }
  });

  test(`${name}: of many who lock at once, exactly one has it`, async () => {
    const key = anyKey();
    const stores = await Promise.all(Array.from({ length: 8 }, open));
    const answers = await Promise.all(stores.map((store, at) => store.lock(key, `owner-${at}`, 20)));
    assert.equal(answers.filter(({ locked }) => locked).length, 1);
  });
}
