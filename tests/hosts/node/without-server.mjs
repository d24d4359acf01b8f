// node without-server.mjs ioredis|ioredis-5 REDIS: listens through several clients, which it disconnects a few seconds after its
// input has ended. It closes no store: nothing of those is to keep it.
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { RedisStore } from "remint/redis";

const [kind, url] = process.argv.slice(2);
const { Redis } = await import(kind);
const clients = Array.from({ length: 8 }, () => new Redis(url).on("error", () => {}));
for (const redis of clients) {
  new RedisStore(redis).subscribe(() => {});
  // Their tries are not all at the same time.
  await setTimeout(50);
}
process.stdin.resume();
await once(process.stdin, "end");
await setTimeout(3_000);
for (const redis of clients) redis.disconnect();
