// Listens behind a sentinel; destroys its client a few seconds after its input has ended. Nothing is to keep it then.
import { once } from "node:events";
import { setTimeout } from "node:timers/promises";
import { RedisStore } from "remint/redis";

const [kind, port] = process.argv.slice(2);
const { createSentinel } = await import(kind);
const redis = createSentinel({ name: "mymaster", sentinelRootNodes: [{ host: "127.0.0.1", port: Number(port) }] });
redis.on("error", () => {});
await redis.connect();
const subscription = new RedisStore(redis).subscribe(() => {});
process.stdin.resume();
await once(process.stdin, "end");
// Long enough for another try to listen.
await setTimeout(3_000);
subscription.close();
await setTimeout(500);
await redis.destroy();
