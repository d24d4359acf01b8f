import { RedisStore } from "remint/redis";
import { contract } from "./contract.mjs";
import { CLIENTS, Server } from "./servers.mjs";
const server = await Server.start();
for (const [name, { connect }] of Object.entries(CLIENTS)) {
  contract(name, async () => new RedisStore(await connect(server)));
}
