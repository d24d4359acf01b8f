// Not the global ones: a test environment may put others in their place, which know nothing of `unref`.
import { clearTimeout, setTimeout } from "node:timers";
import { Certificate, type ClientCertificate } from "./certificate.js";
import type { Notice } from "./core.js";
import { misuse } from "./errors.js";
import { type Algorithm, type PlainKey, type PrivateKey, type ProofKey, type RemoteKey, type Signer, toProver, toSigner } from "./signing.js";
import { type Store, type StoreKey, checkStore, toStoreKeys } from "./store.js";
import { type Tls, UnreadableFile, agentFor, fetchOver } from "./transport.js";

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

export interface ClientOptions {
  /** The client's identifier. */
  clientId?: string | undefined;
  /** The client's secret, or a function that is called before each token request. */
  clientSecret?: string | (() => string | Promise<string>) | undefined;
  /** The key that the client signs with, in place of a secret: `private_key_jwt`. It signs assertions that are a grant and requests, too. */
  signingKey?: PrivateKey | RemoteKey | PlainKey | undefined;
  /** A function that gives a client assertion which was made elsewhere, called before each token request: it reads a projected token again. */
  clientAssertion?: (() => string | Promise<string>) | undefined;
  /** The same from a file: a path, read again for each token request. */
  clientAssertionFile?: string | undefined;
  /** The certificate that the client shows to servers: `tls_client_auth`, and tokens that are bound to it (RFC 8705). */
  clientCertificate?: ClientCertificate | undefined;
  /** Whether tokens are bound to the certificate, where the profile does not say. */
  certificateBound?: boolean | undefined;
  /** The key that tokens are bound to (RFC 9449): like `signingKey`; `true` makes a new one, which lives as long as the client. */
  dpop?: true | "generate" | ProofKey | PlainKey | undefined;
  /** The grant, where the profile permits more than one. */
  grant?: string | undefined;
  /** Gives the token to be exchanged (RFC 8693), called before each token request. Without a subject it is the client's own. */
  subjectToken?: Provide | undefined;
  /** The same from a file: a path, read again for each token request. */
  subjectTokenFile?: string | undefined;
  /** Gives the token of who acts for the subject. */
  actorToken?: Provide | undefined;
  /** A URI, or `access_token`, `refresh_token`, `id_token`, `jwt`, `saml1` or `saml2` (RFC 8693 section 3). */
  subjectTokenType?: string | undefined;
  actorTokenType?: string | undefined;
  requestedTokenType?: string | undefined;
  /** Gives the assertion that is the grant (RFC 7523), called before each token request; else `signingKey` signs it. */
  assertion?: Provide | undefined;
  assertionIssuer?: string | undefined;
  assertionSubject?: string | undefined;
  /** Further claims of that assertion. */
  assertionClaims?: Readonly<Record<string, string>> | undefined;
  /** What is asked for in detail (RFC 9396 section 2). */
  authorizationDetails?: string | readonly object[] | undefined;
  /** Whether authorization requests are pushed to the server first (RFC 9126). */
  pushedAuthorization?: boolean | undefined;
  /** Whether authorization requests are signed with `signingKey` (RFC 9101). */
  requestObject?: boolean | undefined;
  /** How the answer to an authorization request comes back; with `jwt`, signed by the server (JARM). `query` unless given. */
  responseMode?: "query" | "form_post" | "jwt" | "query.jwt" | "form_post.jwt" | undefined;
  /** What the server signs those answers with, as the client is registered for it; RS256 unless given. */
  authorizationSignedResponseAlg?: Algorithm | "HS256" | undefined;
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
  /** The keys that the records there are encrypted with: the first one writes, all of them read. */
  storeKeys?: readonly StoreKey[] | undefined;
  /** Called with each notice: what happened, never a secret. */
  onNotice?: ((notice: Notice) => void) | undefined;
  /** For tests: the clocks. */
  clock?: Clock | undefined;
  /** For tests: as many random bytes as asked for. */
  random?: ((size: number) => Uint8Array) | undefined;
  /** Whatever else the profile declares as its variables, in camel case. */
  [variable: string]: unknown;
}

/** Gives a token for a user, by your own name for them; for the client itself without one. */
export type Provide = (subject: string | undefined) => string | Promise<string>;

/** Everything that the loop needs of its surroundings. */
export interface Host {
  readonly http: Http;
  readonly clock: Required<Clock>;
  /** Whether both clocks go on by themselves. Those of a test may not. */
  readonly ticks: boolean;
  readonly random: (size: number) => Uint8Array;
  /** The functions that give secrets, by the core's names for what they give. */
  readonly provide: Readonly<Record<string, Provide>>;
  /** Those that sign, by the names of their keys. One that was replaced stays for what is under way. */
  readonly signers: Map<string, RemoteKey["sign"]>;
  readonly certificate: Certificate | undefined;
  readonly store: Store | undefined;
  readonly onNotice: ((notice: Notice) => unknown) | undefined;
}

/** The options that stay on this side; what the core gets to know of them is said below. */
const HOST_OPTIONS = ["http", "ca", "proxy", "clock", "random", "onNotice", "store", "storeKeys", "signingKey", "dpop", "clientCertificate",
  "clientAssertion", "clientAssertionFile", "subjectToken", "subjectTokenFile", "actorToken", "assertion"];

/** The options as the core takes them: one object, names in snake case, values as they are. And what the loop needs of them. */
export function readOptions(profile: string | object, options: ClientOptions): [configuration: Record<string, unknown>, host: Host] {
  const configuration: Record<string, unknown> = { profile };
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || HOST_OPTIONS.includes(name) || (name === "clientSecret" && typeof value === "function")) continue;
    if (typeof value === "function" || typeof value === "symbol" || typeof value === "bigint") {
      throw misuse(`the option \`${name}\` is a ${typeof value}: give a value that JSON has`);
    } else if (name === "backgroundRefresh") {
      configuration["aside"] = value;
    } else {
      configuration[toSnakeCase(name)] = name === "policy" ? withSnakeCase(value) : value;
    }
  }
  const store = options.store === undefined ? undefined : checkStore(options.store);
  if (store !== undefined) configuration["store"] = true;
  if (store?.storeCheck !== undefined && isPlain(options.policy ?? {})) {
    configuration["policy"] = { store_check: store.storeCheck, ...(configuration["policy"] as object | undefined) };
  }
  if (options.storeKeys !== undefined) configuration["store_keys"] = toStoreKeys(options.storeKeys);
  const provide = toProvide(options);
  for (const what of Object.keys(provide)) configuration[`${what}_provided`] = true;
  const keys = toSigners(options);
  for (const [name, { key }] of Object.entries(keys)) configuration[name] = key;
  const certificate = toCertificate(options);
  if (certificate !== undefined) configuration["tls_id"] = certificate.tlsId;
  const { clock, random, onNotice } = options;
  for (const [name, value] of Object.entries({ onNotice, random })) {
    if (value !== undefined && typeof value !== "function") throw misuse(`the option \`${name}\` must be a function`);
  }
  const host = {
    http: toHttp(options, certificate),
    clock: { timer, ...(clock ?? SYSTEM_CLOCK) },
    ticks: clock === undefined,
    random: random ?? drawn,
    provide,
    signers: new Map(Object.values(keys).map(({ key, sign }) => [key.name, sign])),
    certificate,
    store,
    onNotice,
  };
  return [configuration, host];
}

/** The keys that were given, by the core's names of their options. */
export function toSigners({ signingKey, dpop }: Pick<ClientOptions, "signingKey" | "dpop">): Record<string, Signer> {
  return {
    ...(signingKey === undefined ? {} : { signing_key: toSigner(signingKey) }),
    ...(dpop === undefined ? {} : { dpop: toProver(dpop) }),
  };
}

function toProvide(options: ClientOptions): Record<string, Provide> {
  const { clientSecret } = options;
  const provide: Record<string, Provide> = typeof clientSecret === "function" ? { client_secret: () => clientSecret() } : {};
  for (const name of ["clientAssertion", "subjectToken", "actorToken", "assertion"]) {
    const path = options[`${name}File`];
    const give = options[name] ?? (HOST_OPTIONS.includes(`${name}File`) && path !== undefined ? fromFile(name, path) : undefined);
    if (give === undefined) continue;
    if (typeof give !== "function") throw misuse(`the option \`${name}\` must be a function`);
    if (options[name] !== undefined && path !== undefined) throw misuse(`the options \`${name}\` and \`${name}File\` exclude each other: keep one`);
    provide[toSnakeCase(name)] = give as Provide;
  }
  return provide;
}

/** Reads a credential that a platform renews. Most end in a line break that is not part of it. */
function fromFile(name: string, path: unknown): Provide {
  if (typeof path !== "string") throw misuse(`the option \`${name}File\` must be a path`);
  return async () => {
    const { readFile } = require("node:fs/promises") as typeof import("node:fs/promises");
    try {
      return (await readFile(path, "utf8")).replace(/\r?\n$/, "");
    } catch (error) {
      throw new UnreadableFile(path, error);
    }
  };
}

function toCertificate({ clientCertificate, ca, proxy }: ClientOptions): Certificate | undefined {
  return clientCertificate === undefined ? undefined : new Certificate(clientCertificate, { ca, proxy });
}

function toHttp({ http, ca, proxy }: ClientOptions, certificate: Certificate | undefined): Http {
  const own = ca !== undefined || proxy !== undefined || certificate !== undefined;
  if (http !== undefined && own) {
    throw misuse("the options `ca`, `proxy` and `clientCertificate` are for the default transport: leave them out, or `http`");
  }
  if (proxy !== undefined && !/^https?:$/.test(URL.canParse(proxy) ? new URL(proxy).protocol : "")) {
    throw misuse("the option `proxy` must be an absolute URL, as in `http://proxy.example:8080`");
  }
  if (http !== undefined && typeof http !== "function") throw misuse("the option `http` must be a function");
  if (http === undefined && typeof globalThis.fetch !== "function") {
    throw misuse("there is no global `fetch` here: pass the option `http`");
  }
  // Looked up at each request, so that what a test puts in its place is used.
  if (!own) return http ?? ((url, init) => globalThis.fetch(url, init));
  const agent = certificate === undefined ? agentFor({ ca, proxy }) : undefined;
  return fetchOver(() => agent ?? certificate!.agent);
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

/** An object of options. What else is given in its place, the core refuses. */
export function isPlain(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function withSnakeCase(value: unknown): unknown {
  if (!isPlain(value)) return value;
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
