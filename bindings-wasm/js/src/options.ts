// Not the global ones: a test environment may put others in their place, which know nothing of `unref`.
import { clearTimeout, setTimeout } from "node:timers";
import type { Notice, StoreCommand } from "./core.js";
import { misuse } from "./errors.js";
import type { PrivateKey, RemoteKey, Signer } from "./signing.js";
import { type Tls, fetchWith } from "./transport.js";

/** What a fetch-like function is given for one request. */
export interface HttpInit {
  method: string;
  headers: [string, string][] | Headers;
  body?: any;
  redirect: "manual";
  signal?: AbortSignal | null;
}

/** What it answers with: a `Response`, or as much of one. Content codings are undone. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: Iterable<[string, string]>;
  readonly body: AsyncIterable<Uint8Array> | ReadableStream<Uint8Array> | null;
}

/** `fetch`, or something like it: undici's with a `dispatcher` of yours, for example. It must not follow redirects or retry. */
export type Http = (url: string, init: HttpInit) => Promise<HttpAnswer>;

/** For tests: both clocks in milliseconds, and timers. */
export interface Clock {
  /** Unix time. */
  wall(): number;
  /** A clock that never goes back, from any fixed point. */
  boot(): number;
  /** Calls `run` after `ms`; the result cancels it. Without `hold` it must not keep the process alive. Node's timers unless given. */
  timer?(ms: number, run: () => void, hold: boolean): () => void;
}

/** A shared store: `load`, `lock`, `save` and `delete`, answered as `tests/vectors/README.md` says. */
export interface Store {
  handle(command: StoreCommand): Promise<object | string>;
}

export interface ClientOptions {
  /** The client's identifier. */
  clientId?: string | undefined;
  /** The client's secret, or a function that is called before each token request. */
  clientSecret?: string | (() => string | Promise<string>) | undefined;
  /** The key that the client signs with, in place of a secret: `private_key_jwt`. */
  signingKey?: PrivateKey | RemoteKey | undefined;
  /** A function that gives a client assertion which was made elsewhere, called before each token request: it reads a projected token again. */
  clientAssertion?: (() => string | Promise<string>) | undefined;
  /** What the client's assertions name as their audience, the server's issuer identifier, where the profile does not say. */
  assertionAudience?: string | undefined;
  /** The scope to ask for: a list, or separated by spaces. */
  scope?: string | readonly string[] | undefined;
  tokenEndpoint?: string | undefined;
  baseUrl?: string | undefined;
  tenantId?: string | undefined;
  audience?: string | readonly string[] | undefined;
  resource?: string | readonly string[] | undefined;
  redirectUri?: string | undefined;
  /** Further parameters of the token request. */
  parameters?: Readonly<Record<string, string>> | undefined;
  /** Where the token may be sent, beside the origins that the profile declares. */
  apiOrigins?: readonly string[] | undefined;
  /** Permits `http:` for 127.0.0.0/8, ::1 and localhost. */
  allowLoopbackHttp?: boolean | undefined;
  /** How requests are sent; the global `fetch` unless given. */
  http?: Http | undefined;
  /** How many seconds one token request may take; 10 unless given. */
  requestTimeout?: number | undefined;
  /** The constants of the behaviour contract, by their names; durations in seconds. */
  policy?: Readonly<Record<string, number | string>> | undefined;
  /** PEM certificates that `https:` servers may be signed by, instead of Node's own list. */
  ca?: Tls["ca"];
  /** The URL of an HTTP proxy that `https:` requests go through, with its user and password if it wants them. */
  proxy?: Tls["proxy"];
  /** False where the host freezes between requests, as AWS Lambda does: a refresh then runs inside of a call. */
  backgroundRefresh?: boolean | undefined;
  /** A shared store; without one, tokens are kept in memory. */
  store?: Store | undefined;
  /** Called with each notice: what happened, never a secret. */
  onNotice?: ((notice: Notice) => void) | undefined;
  /** For tests: the clocks. */
  clock?: Clock | undefined;
  /** For tests: as many random bytes as asked for. */
  random?: ((size: number) => Uint8Array) | undefined;
  /** Whatever else the profile declares as its variables, in camel case. */
  [variable: string]: unknown;
}

/** Everything that the loop needs of its surroundings. */
export interface Host {
  readonly http: Http;
  readonly clock: Required<Clock>;
  /** Whether both clocks go on by themselves. Those of a test may not. */
  readonly ticks: boolean;
  readonly random: (size: number) => Uint8Array;
  readonly clientSecret: (() => string | Promise<string>) | undefined;
  readonly clientAssertion: (() => string | Promise<string>) | undefined;
  readonly sign: Signer["sign"] | undefined;
  readonly store: Store | undefined;
  readonly onNotice: ((notice: Notice) => unknown) | undefined;
}

/** The options that stay on this side; what the core gets to know of them. */
const HOST_OPTIONS = ["http", "signingKey", "clientAssertion", "ca", "proxy", "store", "onNotice", "clock", "random"] as const;

/** The options as the core takes them: one object, names in snake case, values as they are. */
export function toConfiguration(profile: string | object, options: ClientOptions, signer?: Signer): Record<string, unknown> {
  const configuration: Record<string, unknown> = { profile };
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || (HOST_OPTIONS as readonly string[]).includes(name)) continue;
    if (name === "clientSecret" && typeof value === "function") {
      configuration["client_secret_provided"] = true;
    } else if (typeof value === "function" || typeof value === "symbol" || typeof value === "bigint") {
      throw misuse(`the option \`${name}\` is a ${typeof value}: give a value that JSON has`);
    } else if (name === "backgroundRefresh") {
      configuration["aside"] = value;
    } else {
      configuration[toSnakeCase(name)] = name === "policy" ? withSnakeCase(value) : value;
    }
  }
  if (options.store !== undefined) configuration["store"] = true;
  if (signer !== undefined) configuration["signing_key"] = signer.key;
  if (options.clientAssertion !== undefined) configuration["client_assertion_provided"] = true;
  return configuration;
}

export function toHost(options: ClientOptions, signer?: Signer): Host {
  const { http, ca, proxy, clock, random, clientSecret, clientAssertion, store, onNotice } = options;
  const own = ca !== undefined || proxy !== undefined;
  if (http !== undefined && own) throw misuse("the options `ca` and `proxy` are for the default transport: leave them out, or `http`");
  if (proxy !== undefined && !/^https?:$/.test(URL.canParse(proxy) ? new URL(proxy).protocol : "")) {
    throw misuse("the option `proxy` must be an absolute URL, as in `http://proxy.example:8080`");
  }
  for (const [name, value] of Object.entries({ http, onNotice, random, clientAssertion })) {
    if (value !== undefined && typeof value !== "function") throw misuse(`the option \`${name}\` must be a function`);
  }
  if (http === undefined && typeof globalThis.fetch !== "function") {
    throw misuse("there is no global `fetch` here: pass the option `http`");
  }
  return {
    // Looked up at each request, so that what a test puts in its place is used.
    http: http ?? (own ? fetchWith({ ca, proxy }) : (url, init) => globalThis.fetch(url, init)),
    clock: { timer, ...(clock ?? SYSTEM_CLOCK) },
    ticks: clock === undefined,
    random: random ?? drawn,
    clientSecret: typeof clientSecret === "function" ? clientSecret : undefined,
    clientAssertion,
    sign: signer?.sign,
    store,
    onNotice,
  };
}

const SYSTEM_CLOCK: Clock = { wall: Date.now, boot: () => performance.now() };

/** A timer that keeps the process alive only where it says so. */
function timer(ms: number, run: () => void, hold: boolean): () => void {
  const timeout = setTimeout(run, ms);
  if (!hold) timeout.unref();
  return () => clearTimeout(timeout);
}

let pool = new Uint8Array(0);

/** Random bytes, drawn a page at a time because each draw costs a microsecond. */
function drawn(size: number): Uint8Array {
  if (pool.length < size) pool = (require("node:crypto") as typeof import("node:crypto")).randomBytes(4096);
  const bytes = pool.subarray(0, size);
  pool = pool.subarray(size);
  return bytes;
}

function withSnakeCase(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [toSnakeCase(name), member]));
}

function toSnakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** A scope set as a list. */
export function toScope(scope: string | readonly string[]): readonly string[] {
  const list = typeof scope === "string" ? scope.split(" ").filter((part) => part !== "") : scope;
  if (Array.isArray(list) && list.every((part) => typeof part === "string")) return list;
  throw misuse("`scope` must be a list of strings, or a string with spaces between them");
}
