// Real Redis servers as children of the test, each on a free loopback port, and the four clients that users bring.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Cluster as Cluster5, Redis as IoRedis5 } from "ioredis-5";
import { Cluster as Cluster6, Redis as IoRedis6 } from "ioredis";
import * as redis5 from "redis-5";
import * as redis6 from "redis";

/** What has to end when the tests have ended, the last one first. */
const ends = [];
after(async () => {
  for (const end of ends.reverse()) await end();
});

/** A folder that goes away with the test. */
export function scratch() {
  const folder = mkdtempSync(join(tmpdir(), "remint-store-"));
  ends.push(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A port that nobody listened to a moment ago. Redis wants another one 10,000 above it for its cluster. */
async function freePort() {
  for (;;) {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address();
    server.close();
    await once(server, "close");
    if (port < 55_000) return port;
  }
}

/** A server, and a client that the tests ask it things with. */
export class Server {
  static async start(...options) {
    const server = new Server();
    for (let attempt = 0; ; attempt++) {
      server.port = await freePort();
      try {
        await server.run(options);
        break;
      } catch (error) {
        // Somebody else may have taken the port.
        if (attempt === 2) throw error;
      }
    }
    server.admin = new IoRedis6(server.port, { retryStrategy: () => 50, maxRetriesPerRequest: null });
    server.admin.on("error", () => {});
    ends.push(async () => {
      server.admin.disconnect();
      await server.kill();
    });
    await server.admin.ping();
    return server;
  }

  async run(options = this.options) {
    this.options = options;
    const words = ["--port", this.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", scratch(), ...options];
    this.child = spawn("redis-server", words.map(String), { stdio: ["ignore", "pipe", "inherit"] });
    this.ended = once(this.child, "exit");
    let said = "";
    for await (const chunk of this.child.stdout) {
      said += chunk;
      if (said.includes("Ready to accept connections")) return void this.child.stdout.resume();
    }
    throw new Error(`redis-server did not start:\n${said}`);
  }

  async kill() {
    this.child.kill("SIGKILL");
    await this.ended;
  }

  get url() {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** How often each command was carried out since this was asked last. */
  async commands() {
    const text = await this.admin.info("commandstats");
    await this.admin.config("RESETSTAT");
    return Object.fromEntries([...text.matchAll(/cmdstat_(\S+?):calls=(\d+)/g)].map(([, name, calls]) => [name, Number(calls)]));
  }
}

/** Two masters that share the slots. */
export async function cluster() {
  const options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
  const servers = [await Server.start(...options), await Server.start(...options)];
  await servers[0].admin.cluster("ADDSLOTSRANGE", 0, 8000);
  await servers[1].admin.cluster("ADDSLOTSRANGE", 8001, 16383);
  await servers[1].admin.cluster("MEET", "127.0.0.1", servers[0].port);
  for (const { admin } of servers) await until(async () => /cluster_state:ok[^]*cluster_known_nodes:2/.test(await admin.cluster("INFO")));
  return servers;
}

/** A sentinel that watches a master, and the master. */
export async function sentinel() {
  const master = await Server.start();
  const port = await freePort();
  const file = join(scratch(), "sentinel.conf");
  writeFileSync(file, `port ${port}\nbind 127.0.0.1\nsentinel monitor mymaster 127.0.0.1 ${master.port} 1\n`);
  const child = spawn("redis-server", [file, "--sentinel"], { stdio: "ignore" });
  const ended = once(child, "exit");
  const kill = async () => {
    child.kill("SIGKILL");
    await ended;
  };
  ends.push(kill);
  const asking = new IoRedis6(port, { retryStrategy: () => 50, maxRetriesPerRequest: null });
  asking.on("error", () => {});
  await asking.ping();
  asking.disconnect();
  return { master, port, kill };
}

/** A program beside this file. It does not outlive the tests. */
export function start(file, ...words) {
  const program = fileURLToPath(new URL(file, import.meta.url));
  const child = spawn(process.execPath, [program, ...words.map(String)], { stdio: ["pipe", "ignore", "ignore"] });
  ends.push(() => child.kill("SIGKILL"));
  return child;
}

/** Asks until it is so. */
export async function until(isSo, seconds = 20) {
  for (const end = performance.now() + seconds * 1000; performance.now() < end; await setTimeout(20)) {
    if (await isSo()) return;
  }
  throw new Error(`still not so after ${seconds} s: ${isSo}`);
}

/** By the names of their packages: how a user makes each. Errors of a connection are the user's to hear. */
export const CLIENTS = Object.fromEntries(
  [
    ["redis 6", nodeRedis(redis6)],
    ["redis 5", nodeRedis(redis5)],
    ["ioredis 6", ioRedis(IoRedis6, Cluster6)],
    ["ioredis 5", ioRedis(IoRedis5, Cluster5)],
  ],
);

function nodeRedis({ createClient, createClientPool, createCluster, createSentinel }) {
  const connected = async (client, { waits = true } = {}) => {
    client.on("error", () => {});
    ends.push(() => client.isOpen && client.destroy());
    const connecting = client.connect();
    if (waits) await connecting;
    return client;
  };
  return {
    make: (options) => createClient({ ...options, url: options.url }).on("error", () => {}),
    connect: ({ url }, options) => connected(createClient({ url }), options),
    pool: ({ url }, options) => connected(createClientPool({ url }), options),
    cluster: ([{ url }], options) => connected(createCluster({ rootNodes: [{ url }] }), options),
    remoteCluster: (url) => createCluster({ rootNodes: [{ url }] }),
    sentinel: ({ port }, options) => connected(createSentinel({ name: "mymaster", sentinelRootNodes: [{ host: "127.0.0.1", port }] }), options),
    close: (client) => client.close(),
  };
}

function ioRedis(Redis, Cluster) {
  const connected = (client) => {
    client.on("error", () => {});
    ends.push(() => client.disconnect());
    return client;
  };
  return {
    make: ({ url, ...options }) => new Redis(url, { lazyConnect: true, ...options }),
    connect: async ({ url }, options = {}) => connected(new Redis(url, options)),
    cluster: async ([{ port }]) => connected(new Cluster([{ host: "127.0.0.1", port }])),
    remoteCluster: (url) => new Cluster([url], { lazyConnect: true, redisOptions: url.startsWith("rediss:") ? { tls: {} } : {} }),
    sentinel: async ({ port }) => connected(new Redis({ sentinels: [{ host: "127.0.0.1", port }], name: "mymaster" })),
    close: (client) => client.quit(),
  };
}
