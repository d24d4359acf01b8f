// node holds-nothing.mjs redis|ioredis REDIS TOKENS: a program that closes its Redis client and not its client of remint.
import { Redis } from "ioredis";
import { createClient } from "redis";
import { Client } from "remint";
import { RedisStore } from "remint/redis";

const [kind, url, tokens] = process.argv.slice(2);
const redis = kind === "redis" ? createClient({ url }) : new Redis(url);
redis.on("error", () => {});
if (kind === "redis") await redis.connect();
const client = new Client("phoenix-wallet", {
  clientId: "demo-client", clientSecret: "s3cret+/%&: odd", tokenEndpoint: `${tokens}/oauth/token`, allowLoopbackHttp: true, store: new RedisStore(redis),
});
await client.token();
const subscribed = async () => (kind === "redis" ? (await redis.pubSubNumSub("remint:changed"))["remint:changed"] : (await redis.pubsub("NUMSUB", "remint:changed"))[1]);
while (Number(await subscribed()) === 0) await new Promise((resolve) => setTimeout(resolve, 20));
console.log("heard");
// Its own connection holds a process; the one for messages must not.
if (kind === "redis") redis.unref();
else redis.stream.unref();
