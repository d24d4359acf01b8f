/**
 * The step machine without a host: for those who drive it themselves, and for the vectors.
 * An advanced entry, outside of semantic versioning. `tests/vectors/README.md` says what events and steps mean.
 */
import { type Failure, inspect, misuse, toError } from "./errors.js";
import { type NativeCore, type NativeExchange, type NativeRegistrar, type NativeRegistration, native } from "./native.js";

export { RemintError, ServerError, TransportError, UsageError } from "./errors.js";

/** What both clocks show, in integer milliseconds. */
export interface Now {
  /** Unix time. */
  readonly wall: number;
  /** A clock that never goes back. */
  readonly boot: number;
}

/** A token that may be used without asking again while both clocks are before `recheck`. */
export interface Use {
  readonly use: string;
  readonly token_type: string;
  readonly header: string;
  readonly authorization: string;
  readonly scope: string | null;
  readonly key: string;
  readonly generation: number;
  readonly expires: number;
  readonly expires_wall: number;
  readonly recheck: number;
  readonly recheck_wall: number;
  readonly call: string;
  readonly lease_call: string;
}

/** Ask again when the flight is over, or at `until` on the boot clock. */
export interface Wait {
  readonly wait: string;
  readonly until: number;
}

export type Answer =
  | Use
  | Wait
  | { readonly headers: readonly [string, string][] }
  | { readonly done: Done }
  | Again
  | Failure
  | Verdict;

/** The token is good and its proof was not: attach with this call, and send the request once more. */
export interface Again {
  readonly again: string;
}

export type Verdict = "pass" | "retry" | "give_up";

/** What a flow ends with: `url` and `session`, or `url` and `headers`, what to show a person, what is known of a token, or nothing. */
export interface Done {
  readonly url?: string;
  readonly session?: string;
  readonly headers?: readonly [string, string][];
  readonly user_code?: string;
  readonly verification_uri?: string;
  readonly verification_uri_complete?: string;
  readonly qr_text?: string;
  readonly expires_in?: number;
  readonly interval?: number;
  readonly active?: boolean;
  readonly introspection?: string;
}

/** One HTTP request. */
export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: [string, string][];
  readonly body?: string;
}

/** What the shared store is to do. */
export type StoreCommand = { readonly key: string } & (
  | { readonly command: "load" }
  | { readonly command: "lock"; readonly owner: string; readonly ttl: number }
  | { readonly command: "save"; readonly expect?: string; readonly record: string; readonly ttl: number; readonly unlock?: string }
);

export type Operation = { readonly flight: string; readonly until: number } & (
  | { readonly send: string; readonly request: HttpRequest; readonly tls_id?: string; readonly cap: number }
  | { readonly provide: string; readonly what: "client_secret" | "client_assertion" }
  | { readonly provide: string; readonly what: "subject_token" | "actor_token" | "assertion"; readonly subject?: string }
  | { readonly provide: string; readonly what: "rotated"; readonly subject?: string; readonly refresh_token: string }
  | { readonly sign: string; readonly key: string; readonly alg: string; readonly input: string }
  | { readonly verify: string; readonly key: string; readonly alg: string; readonly input: string; readonly signature: string }
  | ({ readonly store: string } & StoreCommand)
);

/** Something that happened. Never holds a secret. */
export interface Notice {
  readonly notice: string;
  readonly detail?: unknown;
  readonly key?: string;
  readonly flight?: string;
  /** What your store threw, where that is what happened. Not enumerable: it is yours, and may hold anything. */
  readonly cause?: unknown;
}

/** All that follows from one event. */
export interface Step {
  readonly answer?: Answer;
  readonly operations?: readonly (Operation | { readonly sleep: string; readonly until: number })[];
  readonly settled?: readonly string[];
  readonly withdraw?: readonly { readonly key?: string; readonly generation?: number }[];
  readonly notices?: readonly Notice[];
}

/** A token as it arrived. `lifetime` is milliseconds from the start of the request. */
export interface TokenRecord {
  readonly access_token: string;
  readonly token_type: string;
  readonly lifetime: number;
  readonly scope: string | undefined;
  readonly refresh_token: string | undefined;
  readonly oddities: readonly Notice[];
}

export class Core {
  readonly #native: NativeCore;

  /** `options` are those of `Client` with the names that they have in JSON: `client_id`, `token_endpoint` … */
  constructor(options: object);
  /** @internal */
  constructor(options: object, spell: (failure: Failure) => Failure);
  constructor(options: object, spell?: (failure: Failure) => Failure) {
    const { Core } = native();
    this.#native = translated(() => new Core(json(options)), spell);
  }

  /** Takes one event, an object with one member: `{ ask: { min_ttl: 60000 } }`. `entropy` is 32 fresh bytes. */
  handle(event: object, now: Now, entropy: Uint8Array): Step {
    return JSON.parse(this.#native.handle(json(event), now.wall, now.boot, entropy)) as Step;
  }

  /** Takes the answer to a `send`. */
  received(
    op: string,
    status: number,
    headers: Iterable<readonly [string, string]>,
    body: Uint8Array,
    now: Now,
    entropy: Uint8Array,
  ): Step {
    return JSON.parse(this.#native.received(op, status, lines(headers), body, now.wall, now.boot, entropy)) as Step;
  }

  /** One token request outside of the cache: `{ client_credentials: {} }`, `{ refresh: { refresh_token } }` … */
  build(request: object): Exchange {
    return new Exchange(this.#native, request);
  }
}

/** One token request, and what alone can read its answer. */
export class Exchange implements HttpRequest {
  readonly #native: NativeExchange;
  method = "";
  url = "";
  headers: [string, string][] = [];
  declare readonly body?: string;

  /** @internal */
  constructor(core: NativeCore, request: object) {
    this.#native = translated(() => core.build(json(request), this));
  }

  /** Reads the answer, once. */
  finish(status: number, headers: Iterable<readonly [string, string]>, body: Uint8Array, now: Now): TokenRecord {
    const record = new FinishedRecord();
    translated(() => this.#native.finish(status, lines(headers), body, now.wall, now.boot, record));
    return record;
  }

  /** @internal Called by the core. */
  request(text: string, hasBody: boolean): void {
    const lines = new Lines(text);
    this.method = lines.next();
    this.url = lines.next();
    const body = lines.next();
    if (hasBody) (this as { body?: string }).body = body;
    while (lines.more) this.headers.push([lines.next(), lines.next()]);
  }

  /** @internal */
  [inspect](): string {
    return `Exchange { ${this.method}, <redacted> }`;
  }
}

/** A client as the server has registered it. Points in time are Unix seconds; `metadata` is a JSON object as text. */
export interface ClientInformation {
  readonly client_id: string;
  readonly client_secret: string | null;
  readonly client_id_issued_at: number | null;
  /** `null` if the secret does not end. */
  readonly client_secret_expires_at: number | null;
  readonly registration_access_token: string | null;
  readonly registration_client_uri: string | null;
  readonly metadata: string;
}

/** What registers clients (RFC 7591) and looks after registrations (RFC 7592). */
export class Registrar {
  readonly #native: NativeRegistrar;

  /** `options` are `profile`, the profile's variables, and `allow_loopback_http` and `policy` if need be. */
  constructor(options: object);
  /** @internal */
  constructor(options: object, spell: (failure: Failure) => Failure);
  constructor(options: object, spell?: (failure: Failure) => Failure) {
    const { Registrar } = native();
    this.#native = translated(() => new Registrar(json(options)), spell);
  }

  /** One request: `{ register: { metadata, initial_access_token, software_statement } }`, `{ read: { registration_client_uri,
   * registration_access_token } }`, `update` (the same, and `client_id`, `client_secret`, `metadata`) or `delete`. */
  build(request: object): Registration {
    return new Registration(this.#native, request);
  }
}

/** One request about a registration, and what alone can read its answer. */
export class Registration implements HttpRequest {
  readonly #native: NativeRegistration;
  method = "";
  url = "";
  headers: [string, string][] = [];
  declare readonly body?: string;

  /** @internal */
  constructor(registrar: NativeRegistrar, request: object) {
    this.#native = translated(() => registrar.build(json(request)));
    this.#show();
  }

  /** Reads the answer: the client, `null` once it is deleted, or this with another request to send (the server's metadata came first). */
  finish(
    status: number,
    headers: Iterable<readonly [string, string]>,
    body: Uint8Array,
    now: Now,
  ): ClientInformation | Registration | null {
    const told = translated(() => this.#native.finish(status, lines(headers), body, now.wall, now.boot));
    if (told !== undefined) return JSON.parse(told) as ClientInformation | null;
    this.#show();
    return this;
  }

  #show(): void {
    const { body, ...request } = JSON.parse(this.#native.request()) as HttpRequest;
    delete (this as { body?: string }).body;
    Object.assign(this, request, body === undefined ? {} : { body });
  }

  /** @internal */
  [inspect](): string {
    return `Registration { ${this.method}, <redacted> }`;
  }
}

class FinishedRecord implements TokenRecord {
  access_token = "";
  token_type = "";
  lifetime = 0;
  scope: string | undefined;
  refresh_token: string | undefined;
  oddities: readonly Notice[] = [];

  token(text: string, lifetime: number, hasScope: boolean, hasRefreshToken: boolean): void {
    const lines = new Lines(text);
    this.access_token = lines.next();
    this.token_type = lines.next();
    this.lifetime = lifetime;
    const scope = lines.next();
    if (hasScope) this.scope = scope;
    const refreshToken = lines.next();
    if (hasRefreshToken) this.refresh_token = refreshToken;
    const oddities = lines.next();
    if (oddities !== "") this.oddities = JSON.parse(oddities);
  }

  /** @internal */
  [inspect](): string {
    return `TokenRecord { ${this.token_type}, <redacted> }`;
  }
}

/** Reads line after line, in half the time that it takes to split the text. */
class Lines {
  #at = 0;

  constructor(readonly text: string) {}

  get more(): boolean {
    return this.#at <= this.text.length;
  }

  next(): string {
    const from = this.#at;
    const end = this.text.indexOf("\n", from);
    this.#at = (end < 0 ? this.text.length : end) + 1;
    return end < 0 ? this.text.slice(from) : this.text.slice(from, end);
  }
}

function json(value: object): Uint8Array {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // The error's own text would name parts of it.
    throw misuse("what was given can't be written as JSON: it refers to itself, or holds a bigint");
  }
  return Buffer.from(text ?? "null");
}

/** A name and a value for each header, one a line. A line break inside of one cannot have come over HTTP. */
function lines(headers: Iterable<readonly [string, string]>): Uint8Array {
  let text = "";
  for (const [name, value] of headers) {
    if (!name.includes("\n") && !value.includes("\n")) text += `${name}\n${value}\n`;
  }
  return Buffer.from(text);
}

/** The core throws its errors as JSON. */
function translated<T>(call: () => T, spell = (failure: Failure) => failure): T {
  try {
    return call();
  } catch (thrown) {
    if (typeof thrown !== "string") throw thrown;
    throw toError(spell((JSON.parse(thrown) as { answer: Failure }).answer));
  }
}
