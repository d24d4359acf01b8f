// FileStore: what it leaves on the disk, other processes, and disks that don't do what they should.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, linkSync, readFileSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { StoreDown } from "remint";
import { FileStore } from "remint/file";
import { Lane, within } from "./authority.mjs";
import { anyKey, contract } from "./contract.mjs";
import { scratch } from "./servers.mjs";

const program = fileURLToPath(new URL("writer.mjs", import.meta.url));
const shared = scratch();
contract("a folder", () => new FileStore(shared));

const numberIn = (record) => parseInt(record ?? "0");
const modeOf = (path) => (statSync(path).mode & 0o777).toString(8);
const newest = (folder) => join(folder, readdirSync(folder).filter((name) => /^\d{16}$/.test(name)).sort().at(-1));

/** Another process that writes, and what it said. */
function writer(words) {
  const child = spawn(process.execPath, [program, ...words.map(String)], { stdio: ["ignore", "pipe", "inherit", "ipc"] });
  let said = "";
  child.stdout.on("data", (chunk) => (said += chunk));
  const ended = once(child, "exit").then(([code, signal]) => ({ code, signal, said }));
  return { child, ended, ready: once(child, "message") };
}

test("what it leaves is the owner's alone, the last versions of each key, as every language writes it", async () => {
  const folder = join(scratch(), "made", "here");
  const store = new FileStore(folder);
  const key = anyKey();
  const before = Date.now();
  await store.lock(key, "ann", 20);
  await store.save(key, undefined, "record", 60, undefined);
  await store.save(key, "record", "another", 60, undefined);
  assert.deepEqual(readdirSync(folder), [key]);
  assert.deepEqual(readdirSync(join(folder, key)).sort(), ["0000000000000001", "0000000000000002", "0000000000000003"]);
  assert.deepEqual([modeOf(folder), modeOf(join(folder, key)), modeOf(newest(join(folder, key)))], ["700", "700", "600"]);
  const { expires, lease, record, ...rest } = JSON.parse(readFileSync(newest(join(folder, key)), "utf8"));
  assert.deepEqual([record, lease.owner, rest], ["another", "ann", {}]);
  assert.ok(expires - before >= 60_000 && expires - before < 70_000);
  assert.ok(lease.until - before >= 20_000 && lease.until - before < 30_000);
});

test("a folder that others can write to is refused, and so is what is none", () => {
  const folder = scratch();
  for (const mode of [0o777, 0o770, 0o707, 0o1777, 0o720]) {
    chmodSync(folder, mode);
    assert.throws(() => new FileStore(folder), { code: "invalid_option", message: /chmod 700/ });
  }
  chmodSync(folder, 0o755);
  new FileStore(folder);
  writeFileSync(join(folder, "file"), "");
  assert.throws(() => new FileStore(join(folder, "file")), { code: "invalid_option" });
  for (const path of ["", undefined, 1, null]) assert.throws(() => new FileStore(path), { code: "invalid_option" });
});

test("a key can't leave the folder", async () => {
  const store = new FileStore(scratch());
  for (const key of ["../x", "a/b", ".", "..", "", "a\0b"]) await assert.rejects(store.load(key), { code: "invalid_option" });
});

test("processes that write at once lose nothing", async () => {
  const folder = scratch();
  const key = anyKey();
  const writers = Array.from({ length: 4 }, () => writer([folder, key, 50]));
  for (const { ended } of writers) assert.deepEqual(await within(60, ended), { code: 0, signal: null, said: "" });
  assert.equal(numberIn(await new FileStore(folder).load(key)), 200);
  assert.equal(readdirSync(join(folder, key)).length, 16);
});

test("processes that are killed in the midst of writing leave what the next one can go on with", async () => {
  const folder = scratch();
  const key = anyKey();
  const store = new FileStore(folder);
  for (let round = 0; round < 8; round++) {
    const { child, ended, ready } = writer([folder, key, 100_000]);
    await ready;
    await new Promise((resolve) => setTimeout(resolve, 20 + Math.random() * 60));
    child.kill("SIGKILL");
    await ended;
    const before = await store.load(key);
    assert.match(before ?? "0 -", /^\d+ /);
    assert.deepEqual(await store.save(key, before, `${numberIn(before) + 1} ours`, 60, undefined), { saved: true });
  }
});

test("a process that slept while others wrote does not write over them", async () => {
  const folder = scratch();
  const key = anyKey();
  const asleep = writer([folder, key, 100_000]);
  await asleep.ready;
  const store = new FileStore(folder);
  let [written, lost] = [0, 0];
  // Wherever it is stopped: between reading, linking and removing, too.
  for (let round = 0; round < 40; round++) {
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 8));
    asleep.child.kill("SIGSTOP");
    for (let own = 0; own < 3; own++) {
      const before = await store.load(key);
      if ((await store.save(key, before, `${numberIn(before) + 1} ours`, 60, undefined)).saved) written++;
    }
    const stopped = numberIn(await store.load(key));
    asleep.child.kill("SIGCONT");
    await new Promise((resolve) => setTimeout(resolve, 5));
    if (numberIn(await store.load(key)) < stopped) lost++;
  }
  asleep.child.kill("SIGKILL");
  await asleep.ended;
  assert.ok(written > 0);
  assert.equal(lost, 0);
});

test("a version that comes too late, under a name that was used and removed, counts for nothing", async () => {
  const folder = scratch();
  const key = anyKey();
  const store = new FileStore(folder);
  for (let n = 1; n <= 20; n++) await store.save(key, await store.load(key), String(n), 60, undefined);
  const place = join(folder, key);
  const last = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => String(from + at).padStart(16, "0"));
  assert.deepEqual(readdirSync(place).sort(), last(5, 20), "every language keeps sixteen: nobody can link what another has just taken away");
  writeFileSync(join(place, "0000000000000002"), JSON.stringify({ expires: Date.now() + 60_000, lease: null, record: "late" }));
  assert.equal(await store.load(key), "20");
  await store.save(key, "20", "21", 60, undefined);
  assert.deepEqual(readdirSync(place).sort(), last(6, 21));
});

test("what a power cut leaves is passed over or handed on: torn files, a version that is empty, one that is missing", async () => {
  const folder = scratch();
  const key = anyKey();
  const store = new FileStore(folder);
  await store.save(key, undefined, "record", 60, undefined);
  const place = join(folder, key);
  // Before it had its name.
  writeFileSync(join(place, ".tmp-0123"), '{"expires": 17');
  writeFileSync(join(place, ".tmp-4567"), "");
  assert.equal(await store.load(key), "record");
  // After it, and before the temporary name was gone.
  linkSync(newest(place), join(place, ".tmp-89ab"));
  const old = new Date(Date.now() - 2 * 3_600_000);
  utimesSync(join(place, ".tmp-0123"), old, old);
  assert.deepEqual(await store.save(key, "record", "another", 60, undefined), { saved: true });
  assert.deepEqual(readdirSync(place).sort(), [".tmp-4567", ".tmp-89ab", "0000000000000001", "0000000000000002"]);
  // Between the new version and the end of the old one.
  linkSync(newest(place), join(place, "0000000000000003"));
  assert.equal(await store.load(key), "another");
  // A disk that lied: the core refuses such a record, and replaces it.
  for (const torn of ["", '{"expires": 99999999999999, "lea', "[]", '{"expires": "1", "lease": null, "record": null}']) {
    writeFileSync(newest(place), torn);
    assert.equal(await store.load(key), torn);
    const { locked, record } = await store.lock(key, "ann", 20);
    assert.deepEqual([locked, record], [true, torn]);
    assert.deepEqual(await store.save(key, torn, "whole", 60, "ann"), { saved: true });
    assert.equal(await store.load(key), "whole");
  }
  rmSync(folder, { recursive: true });
  assert.equal(await store.load(key), undefined);
  assert.deepEqual(await store.save(key, undefined, "anew", 60, undefined), { saved: true });
});

/** Runs the writer by way of a shell's command, which may make the world narrower first; what it said. */
async function narrowed(command, words) {
  const child = spawn("sh", ["-c", `${command}; exec "$0" "$@"`, process.execPath, program, ...words], { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (chunk) => (said += chunk));
  const [code] = await within(20, once(child, "exit"));
  return { code, said };
}

test("a file that may not grow, as on a full disk, is StoreDown; what was there stays readable, and nothing is left over", async () => {
  const folder = scratch();
  const key = anyKey();
  const store = new FileStore(folder);
  await store.save(key, undefined, "7", 60, undefined);
  const { code, said } = await narrowed("ulimit -f 0", [folder, key, "1"]);
  assert.deepEqual([code, said], [1, `StoreDown: the store's folder \`${join(folder, key)}\` can't be written to (EFBIG)\n`]);
  assert.equal(await store.load(key), "7");
  assert.deepEqual(readdirSync(join(folder, key)), ["0000000000000001"]);
});

test("a folder that may only be read from is StoreDown for what writes", async () => {
  const folder = scratch();
  const key = anyKey();
  await new FileStore(folder).save(key, undefined, "7", 60, undefined);
  chmodSync(join(folder, key), 0o500);
  // Root may write everywhere, so the folder goes to somebody else, who then reads and writes.
  const isRoot = process.getuid() === 0;
  if (isRoot) for (const path of [folder, join(folder, key), newest(join(folder, key))]) chownSync(path, 65_534, 65_534);
  const child = spawn(process.execPath, [program, folder, key, "1"], { stdio: ["ignore", "pipe", "inherit"], ...(isRoot ? { uid: 65_534, gid: 65_534 } : {}) });
  let said = "";
  child.stdout.on("data", (chunk) => (said += chunk));
  const [code] = await within(20, once(child, "exit"));
  assert.deepEqual([code, said], [1, `StoreDown: the store's folder \`${join(folder, key)}\` can't be written to (EACCES)\n`]);
  assert.equal(await new FileStore(folder).load(key), "7");
});

test("two clients of remint ask for one token, and a folder that can't be written to does not keep a client from having one", async () => {
  const lane = new Lane();
  const folder = scratch();
  const [one, other] = [lane.client("phoenix-wallet", { store: new FileStore(folder) }), lane.client("phoenix-wallet", { store: new FileStore(folder) })];
  assert.equal((await one.token()).accessToken, (await other.token()).accessToken);
  assert.equal(await lane.tokenRequests(), 1);
  const notices = [];
  const lost = lane.client("phoenix-wallet", { store: new FileStore("/proc/remint"), onNotice: (notice) => notices.push(notice) });
  await within(20, lost.token());
  const { cause } = notices.find(({ notice }) => notice === "store_down");
  assert.ok(cause instanceof StoreDown, inspect(cause));
  assert.match(cause.message, /`\/proc\/remint\/[^`]+` can't be written to/);
  await Promise.all([one, other, lost].map((client) => client.close()));
});
