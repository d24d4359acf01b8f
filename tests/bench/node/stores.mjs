// What a shared store costs: round trips to a real Redis, the start of a process that finds a token there, processor time.
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Redis } from "ioredis";
import { createClient } from "redis";
import { Client } from "remint";
import { FileStore } from "remint/file";
import { RedisStore } from "remint/redis";

import { limits, median } from "./measure.mjs";

const CREDENTIALS = { clientId: "wallet-client", clientSecret: "s3cr3t-of-the-wallet" };
const ANSWER = '{"access_token":"canary","token_type":"Bearer","expires_in":3600}';
const options = { ...CREDENTIALS, http: async () => new Response(ANSWER, { headers: { "content-type": "application/json" } }) };
const KEYS = 1_000;

/** What a program does with either client. */
const CLIENTS = {
  "node-redis": { connect: (url) => createClient({ url }).connect(), close: (redis) => redis.destroy() },
  ioredis: {
    connect: async (url) => {
      const redis = new Redis(url);
      await once(redis, "ready");
      return redis;
    },
    close: (redis) => redis.disconnect(),
  },
};

export async function stores() {
  const folder = mkdtempSync(join(tmpdir(), "remint-bench-"));
  const server = await start(folder);
  try {
    for (const [name, { connect, close }] of Object.entries(CLIENTS)) {
      const admin = new Redis(server.url);
      const redis = await connect(server.url);
      limits(`Commands to Redis, ${name}`, await roundTrips(admin, redis));
      close(redis);
      admin.disconnect();
    }
    startOfProcess(server.url, folder);
    await processorTime(server.url, folder);
  } finally {
    server.child.kill();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A server on a port that nobody listened to a moment ago. */
async function start(folder) {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  const words = ["--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", folder].map(String);
  const child = spawn("redis-server", words, { stdio: ["ignore", "pipe", "inherit"] });
  for await (const chunk of child.stdout) if (String(chunk).includes("Ready to accept")) break;
  return { child, url: `redis://127.0.0.1:${port}` };
}

async function roundTrips(admin, redis) {
  const client = (prefix) => new Client("phoenix-wallet", { ...options, store: new RedisStore(redis, { prefix }) });
  // Once for the scripts, which stay in the server.
  const first = client("scripts:");
  await first.token();
  await first.close();
  const counted = async (work) => {
    await admin.config("RESETSTAT");
    await work();
    const text = await admin.info("commandstats");
    // Those that a script runs are none that anybody waits for.
    const calls = ["evalsha", "eval", "hget"].map((name) => Number(text.match(new RegExp(`cmdstat_${name}:calls=(\\d+)`))?.[1] ?? 0));
    return calls.reduce((sum, count) => sum + count, 0);
  };
  const one = client("one:");
  const other = client("one:");
  const cold = await counted(() => one.token());
  const cached = await counted(async () => {
    for (let i = 0; i < 1_000; i++) await one.token();
  });
  const warm = await counted(async () => {
    await other.token();
    await other.close();
  });
  await one.close();
  return [
    ["a cold start", cold, 2, "commands"],
    ["1,000 calls with the token in hand", cached, 0, "commands"],
    ["a start that finds a token; the second gives the lock back, and nobody waits for it", warm, 2, "commands"],
  ];
}

/** Fresh processes: what they wait for from the first line of the program to the first token. */
function startOfProcess(url, folder) {
  const program = (store) => `
    const start = performance.now();
    const { Client } = require("remint");
    ${store};
    const http = async () => ({ status: 200, headers: [["content-type", "application/json"]], body: [Buffer.from(${JSON.stringify(ANSWER)})] });
    (async () => {
      const client = new Client("phoenix-wallet", { ...${JSON.stringify(CREDENTIALS)}, http, store });
      await client.token();
      console.log(performance.now() - start);
      process.exit();
    })();`;
  const redis = JSON.stringify(url);
  const programs = {
    "no store, and a token that comes at once": "const store = undefined",
    "a token in a folder": `const store = new (require("remint/file").FileStore)(${JSON.stringify(join(folder, "start"))})`,
    "a token in Redis, by ioredis": `const store = new (require("remint/redis").RedisStore)(new (require("ioredis").Redis)(${redis}))`,
    "a token in Redis, by node-redis": `const redis = require("redis").createClient({ url: ${redis} }); redis.connect(); const store = new (require("remint/redis").RedisStore)(redis)`,
  };
  const run = (text) => Number(execFileSync(process.execPath, ["--eval", program(text)], { cwd: import.meta.dirname }));
  const rows = Object.entries(programs).map(([name, text]) => {
    // The first one leaves the token there, and reads files that are not in memory yet.
    run(text);
    return [name, median(Array.from({ length: 9 }, () => run(text))), undefined, "ms"];
  });
  limits("A fresh process to its first token, imports included", rows);
}

/** Processor time of this process for the first token of each of a thousand users. */
async function processorTime(url, folder) {
  const rows = [];
  const measured = async (name, store) => {
    for (const what of ["cold", "warm"]) {
      const client = new Client("phoenix-wallet", { ...options, store });
      const before = process.cpuUsage();
      for (let i = 0; i < KEYS; i++) await client.withSubject(`user-${i}`).token();
      const { user, system } = process.cpuUsage(before);
      rows.push([`${name}, ${what}`, (user + system) / 1_000, undefined, "ms"]);
      await client.close();
      if (store === undefined) return;
    }
  };
  await measured("no store", undefined);
  await measured("a folder", new FileStore(join(folder, "keys")));
  for (const [name, { connect, close }] of Object.entries(CLIENTS)) {
    const redis = await connect(url);
    await measured(`Redis, by ${name}`, new RedisStore(redis, { prefix: `${name}:` }));
    close(redis);
  }
  limits("Processor time for the first tokens of 1,000 keys", rows);
}
