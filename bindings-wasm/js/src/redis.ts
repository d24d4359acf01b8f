/** A store in Redis or Valkey, through a client of yours: node-redis or ioredis. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { clearTimeout, setTimeout } from "node:timers";
import { setTimeout as pause } from "node:timers/promises";
import { misuse } from "./errors.js";
import { LOCK, SAVE, type Script } from "./scripts.js";
import { type Conflict, type Held, type Locked, type Saved, type Store, StoreDown, type Subscription } from "./store.js";

/** As much of node-redis (5 or later) as is used here: a client, a pool, a cluster or a sentinel. */
export interface NodeRedis {
  hGet(...words: any[]): Promise<any>;
  eval(...words: any[]): Promise<any>;
  evalSha(...words: any[]): Promise<any>;
}

/** As much of ioredis (5 or later) as is used here: a client, also by way of sentinels, or a cluster. */
export interface IoRedis {
  hget(...words: any[]): Promise<any>;
  eval(...words: any[]): Promise<any>;
  evalsha(...words: any[]): Promise<any>;
}

export interface RedisStoreOptions {
  /** What all names in Redis begin with; `remint:` unless given. */
  readonly prefix?: string | undefined;
  /** Permits a connection without TLS to another machine. */
  readonly insecurePlaintext?: boolean | undefined;
}

/**
 * Records in Redis (6.2 or later) or Valkey, one hash for each key, which runs out with what is in it. The client stays yours: connect
 * it, handle its `error` event, and close it. What other processes write is heard over a connection of its own, which holds no process.
 */
export class RedisStore implements Store {
  readonly #redis: Redis;
  readonly #prefix: string;
  /** Tells our own messages from others'. */
  readonly #writer = randomBytes(9).toString("base64url");
  #subscribers = 0;

  /** Throws `invalid_option` where secrets would leave this machine without TLS, as far as the client shows that. */
  constructor(client: NodeRedis | IoRedis, { prefix = "remint:", insecurePlaintext = false }: RedisStoreOptions = {}) {
    if (typeof prefix !== "string") throw misuse("`prefix` must be a string");
    this.#redis = toRedis(client);
    this.#prefix = prefix;
    const exposed = insecurePlaintext ? undefined : this.#redis.addresses().find(({ host, tls }) => !tls && !isLoopback(host));
    if (exposed !== undefined) {
      throw misuse(`the connection to Redis at \`${exposed.host}\` has no TLS, and what is stored there is secret: use \`rediss:\`, or pass \`insecurePlaintext: true\``);
    }
  }

  async load(key: string, signal?: AbortSignal): Promise<string | undefined> {
    return toText(await this.#ask(signal, () => this.#redis.load(this.#prefix + key, signal)));
  }

  async lock(key: string, owner: string, ttl: number, signal?: AbortSignal): Promise<Locked | Held> {
    const [locked, rest, record] = await this.#run(LOCK, key, [owner, toMillis(ttl)], signal);
    return Number(locked) === 1 ? { locked: true, record: toText(record) } : { locked: false, retryIn: Number(rest) / 1000, record: toText(record) };
  }

  async save(
    key: string,
    expect: string | undefined,
    record: string,
    ttl: number,
    unlock: string | undefined,
    signal?: AbortSignal,
  ): Promise<Saved | Conflict> {
    const words = [expect ?? "", record, toMillis(ttl), unlock ?? "", this.#channel, `${key} ${this.#writer}`];
    const [saved, stored] = await this.#run(SAVE, key, words, signal);
    return Number(saved) === 1 ? { saved: true } : { saved: false, record: toText(stored) };
  }

  subscribe(onChanged: (key?: string) => void): Subscription {
    const heard = (message: unknown) => {
      const [key, writer] = String(message).split(" ");
      // Of several clients in this process each wants to hear of the others.
      if (writer !== this.#writer || this.#subscribers > 1) onChanged(key);
    };
    this.#subscribers++;
    const listener = new Listener(this.#redis, this.#channel, heard, () => onChanged());
    return {
      close: () => {
        if (listener.close()) this.#subscribers--;
      },
    };
  }

  get #channel(): string {
    return `${this.#prefix}changed`;
  }

  #run({ sha, text }: Script, key: string, words: string[], signal: AbortSignal | undefined): Promise<unknown[]> {
    return this.#ask(signal, async () => {
      const name = this.#prefix + key;
      try {
        return await this.#redis.run("sha", sha, name, words, signal);
      } catch (error) {
        // Redis was restarted, or never saw it.
        if (!messageOf(error).startsWith("NOSCRIPT")) throw error;
        return await this.#redis.run("text", text, name, words, signal);
      }
    });
  }

  /** Waits for the connection, and says whether what failed may have been carried out. */
  async #ask<A>(signal: AbortSignal | undefined, command: () => Promise<A>): Promise<A> {
    try {
      await this.#redis.ready(signal);
    } catch (error) {
      throw new StoreDown(`Redis can't be reached: ${signal?.aborted ? "there was no connection in time" : messageOf(error)}`);
    }
    try {
      return await command();
    } catch (error) {
      const message = messageOf(error);
      // The client's own error may hold the command, and so the record.
      if (message.includes("MOVED ")) throw new StoreDown("this Redis is a node of a cluster: use your client's cluster");
      if (NOT_DONE.test(message) || isUnsent(error)) throw new StoreDown(`Redis did not do it: ${message}`);
      throw new Error(`Redis may have done it or not: ${message}`);
    }
  }
}

/** Where a client is connected to, and whether by TLS. A host that is absent is this machine, or a socket file on it. */
interface Address {
  readonly host?: string | undefined;
  readonly tls: boolean;
}

/** What both clients can do. */
interface Redis {
  addresses(): Address[];
  /** Resolves once commands can be sent. */
  ready(signal: AbortSignal | undefined): Promise<void>;
  /** Whether the user has closed it. */
  isEnded(): boolean;
  load(name: string, signal: AbortSignal | undefined): Promise<unknown>;
  run(by: "sha" | "text", script: string, name: string, words: string[], signal: AbortSignal | undefined): Promise<unknown[]>;
  /** Opens a connection that hears the channel, until it fails or is closed. */
  listen(channel: string, heard: (message: unknown) => void, over: () => void): Promise<() => void>;
}

/** Listens again and again. Not by the clients' own means, whose timers would hold the process. */
class Listener {
  readonly #redis: Redis;
  readonly #channel: string;
  readonly #heard: (message: unknown) => void;
  readonly #lost: () => void;
  #isClosed = false;
  #hasFailed = false;
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #end: (() => void) | undefined;

  constructor(redis: Redis, channel: string, heard: (message: unknown) => void, lost: () => void) {
    this.#redis = redis;
    this.#channel = channel;
    this.#heard = heard;
    this.#lost = lost;
    void this.#listen();
  }

  /** Whether it was open. */
  close(): boolean {
    const wasOpen = !this.#isClosed;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#end?.();
    return wasOpen;
  }

  async #listen(): Promise<void> {
    let isOver = false;
    let end: (() => void) | undefined;
    const over = () => {
      if (isOver) return;
      isOver = true;
      end?.();
      if (this.#isClosed) return;
      this.#hasFailed = true;
      const pause = Math.min(100 * 2 ** this.#failures++, 5000);
      this.#timer = setTimeout(() => void this.#listen(), pause).unref();
    };
    try {
      if (this.#redis.isEnded()) return over();
      end = await this.#redis.listen(this.#channel, this.#heard, over);
      if (isOver || this.#isClosed) return end();
      this.#end = end;
      this.#failures = 0;
      // Whatever was said in between was missed.
      if (this.#hasFailed) this.#lost();
    } catch {
      over();
    }
  }
}

function toRedis(client: any): Redis {
  if (typeof client?.evalSha === "function" && typeof client.hGet === "function") return nodeRedis(client);
  if (typeof client?.evalsha === "function" && typeof client.hget === "function") return ioRedis(client);
  throw misuse("`client` must be a client of node-redis (`redis`, 5 or later) or ioredis");
}

function nodeRedis(client: any): Redis {
  const until = (signal: AbortSignal | undefined) => (signal !== undefined && client.withAbortSignal !== undefined ? client.withAbortSignal(signal) : client);
  /** A client for one server, to be copied. */
  const anyNode = async () => {
    if (typeof client.duplicate !== "function") return client.execute((one: any) => one);
    const masters: any[] | undefined = client.masters;
    return masters === undefined ? client : client.nodeClient(masters[Math.floor(Math.random() * masters.length)]);
  };
  return {
    addresses() {
      const { rootNodes, defaults } = client._options ?? {};
      const tls = defaults?.socket?.tls === true;
      if (rootNodes !== undefined) return rootNodes.map(({ url, socket }: any) => addressOf(url, { tls, ...socket }));
      return client.options === undefined ? [] : [addressOf(undefined, client.options.socket ?? {})];
    },
    async ready(signal) {
      const isClient = client.masters === undefined && client.getMasterNode === undefined;
      const isReady = () => client.isReady ?? client.masters?.length !== 0;
      for (;;) {
        if (client.isOpen === false) throw new Error("call `connect()` of its client first");
        if (isReady()) return;
        // Which event comes at the end, if any, is another one for each version of clusters and sentinels.
        await (isClient ? once(client, "ready", { signal } as object) : pause(CONNECTING, undefined, { signal } as object));
      }
    },
    isEnded: () => client.isOpen === false,
    load: (name, signal) => until(signal).hGet(name, "r"),
    run(by, script, name, words, signal) {
      const what = { keys: [name], arguments: words };
      return by === "sha" ? until(signal).evalSha(script, what) : until(signal).eval(script, what);
    },
    async listen(channel, heard, over) {
      if (typeof client.getMasterNode === "function") {
        // Sentinels' clients have a connection for messages of their own, which can't be copied. While there is no master it would
        // try to connect for ever, even after the user's `destroy()`: so another command goes first.
        const reached = () => client.hGet(channel, "r");
        await reached();
        const events = ["topology-change", "reconnecting", "end"];
        for (const event of events) client.once(event, over);
        // Of its own: whichever ends first, the next one's stays.
        const own = (message: unknown) => heard(message);
        await client.subscribe(channel, own);
        return () => {
          for (const event of events) client.off(event, over);
          reached().then(() => client.unsubscribe(channel, own)).catch(() => {});
        };
      }
      const node = await anyNode();
      const socket = { ...node.options?.socket, reconnectStrategy: false };
      const own = node.duplicate({ socket, clientSideCache: undefined, disableOfflineQueue: false });
      const end = () => {
        client.off("end", over);
        if (own.isOpen) own.destroy();
      };
      own.on("error", over).on("end", over);
      client.once("end", over);
      own.unref();
      try {
        await own.connect();
        await own.subscribe(channel, heard);
      } catch (error) {
        end();
        throw error;
      }
      return end;
    },
  };
}

function ioRedis(client: any): Redis {
  return {
    addresses() {
      const { options } = client;
      const nodes: any[] = client.startupNodes ?? options.sentinels ?? [options];
      const { tls } = options.redisOptions ?? options;
      return nodes.map((node) => (typeof node === "string" ? addressOf(node, { tls }) : addressOf(undefined, { host: node.host, path: node.path, tls })));
    },
    async ready(signal) {
      if (client.status === "end") throw new Error("its client was closed");
      if (client.status === "wait") client.connect().catch(() => {});
      if (client.status !== "ready") await once(client, "ready", { signal } as object);
    },
    isEnded: () => client.status === "end",
    load: (name) => client.hget(name, "r"),
    run: (by, script, name, words) => (by === "sha" ? client.evalsha(script, 1, name, ...words) : client.eval(script, 1, name, ...words)),
    async listen(channel, heard, over) {
      const nodes: any[] = client.isCluster ? client.nodes() : [client];
      const node = nodes[Math.floor(Math.random() * nodes.length)];
      if (node === undefined) throw new Error("no node of the cluster is known yet");
      const notAgain = () => null;
      // Its time for a goodbye would hold the process, and with it the next try.
      const alone = { lazyConnect: true, autoResubscribe: false, enableOfflineQueue: true, reconnectOnError: null, disconnectTimeout: 0 };
      const own = node.duplicate({ ...alone, retryStrategy: notAgain, sentinelRetryStrategy: notAgain });
      const end = () => {
        client.off("end", over);
        own.disconnect();
      };
      own.on("error", () => {}).on("end", over).on("connect", () => own.stream.unref());
      own.on("message", (_: string, message: string) => heard(message));
      client.once("end", over);
      try {
        await own.connect();
        await own.subscribe(channel);
      } catch (error) {
        end();
        throw error;
      }
      return end;
    },
  };
}

/** Clients leave out what isn't given, or say null, or false. */
function addressOf(url: string | undefined, { host, path, tls }: { host?: string; path?: string | null; tls?: unknown }): Address {
  if (url === undefined || !URL.canParse(url)) return { host: path ? undefined : host, tls: Boolean(tls) };
  const { protocol, hostname } = new URL(url);
  return { host: protocol === "unix:" ? undefined : hostname, tls: protocol === "rediss:" || Boolean(tls) };
}

function isLoopback(host: string | undefined): boolean {
  return host === undefined || /^(localhost|127(\.\d+){3}|\[?::1\]?)$/.test(host);
}

/** Whether a client gave a command up before it sent it. */
function isUnsent(error: unknown): boolean {
  const name = (error as Error | undefined)?.constructor?.name ?? "";
  return ["AbortError", "ClientClosedError", "ClientOfflineError"].includes(name) || messageOf(error).includes("enableOfflineQueue");
}

/** An error's words. Those of Redis and of its clients hold no arguments. */
function messageOf(error: unknown): string {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  return String(message || code || error);
}

function toText(value: unknown): string | undefined {
  return value === null || value === undefined ? undefined : String(value);
}

function toMillis(seconds: number): string {
  return String(Math.ceil(seconds * 1000));
}

/** How often it is looked whether a cluster is connected, in milliseconds. */
const CONNECTING = 10;

/** What Redis says when it has carried nothing out. In Redis 6 the code is in the middle of the text. */
const NOT_DONE = /(?:^|-)(ASK|BUSY|CLUSTERDOWN|CROSSSLOT|LOADING|MASTERDOWN|MISCONF|NOAUTH|NOPERM|NOREPLICAS|OOM|READONLY|TRYAGAIN|WRONGPASS)\b/;
