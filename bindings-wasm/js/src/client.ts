import { type Answer, Core, type Verdict, type Wait } from "./core.js";
import { Driver, NO_LEASE, type OnRotated, type View, type Want } from "./driver.js";
import { type Failure, inCamelCase, misuse, toError } from "./errors.js";
import { call } from "./fetch.js";
import { type ClientOptions, toConfiguration, toHost, toScope } from "./options.js";
import { toSigner } from "./signing.js";
import { Token, originOf } from "./token.js";

/** What `Client.token` takes. */
export interface TokenOptions {
  /** How many seconds of life the token must have left. */
  minTtl?: number | undefined;
  /** Whether the cached token won't do. */
  force?: boolean | undefined;
  /** How many seconds to wait; 30 unless given. */
  timeout?: number | undefined;
  /** Ends the waiting of this caller, and of nobody else. */
  signal?: AbortSignal | undefined;
}

/** Gets, keeps and renews one client's tokens. Make one, and share it. */
export class Client {
  /**
   * `fetch` with the token on the request. Follows redirects itself, takes the token off where the origin changes, and
   * repeats a request once after a 401. A function of its own: it can be handed to whatever takes a `fetch`.
   */
  readonly fetch: typeof globalThis.fetch;
  readonly #driver: Driver;
  readonly #view: View;

  /** `profile` is a built-in name, or a document: parsed JSON, or its text. */
  constructor(profile: string | object, options?: ClientOptions);
  /** @internal Another view of the same client. */
  constructor(driver: Driver, want: Want);
  constructor(profile: string | object | Driver, options: ClientOptions | Want = {}) {
    if (profile instanceof Driver) {
      this.#driver = profile;
      this.#view = { want: options as Want, lease: NO_LEASE };
    } else {
      const own = options as ClientOptions;
      if (typeof own !== "object" || own === null) throw misuse("the options must be an object");
      const signer = own.signingKey === undefined ? undefined : toSigner(own.signingKey);
      this.#driver = new Driver(new Core(toConfiguration(profile, own, signer), inCamelCase), toHost(own, signer));
      this.#view = { want: {}, lease: NO_LEASE };
    }
    this.fetch = (input, init) => call(this.#driver, this.#view, input, init);
  }

  /** A client that has this token and asks for no other, for tests of your own. */
  static static(token: string, options: ClientOptions = {}): Client {
    return new Client(STATIC, { ...options, apiToken: token });
  }

  /** A valid token: the cached one, or a new one. One request serves however many callers wait for it. */
  token(options?: TokenOptions): Promise<Token> {
    const lease = options === undefined ? this.#driver.fresh(this.#view) : undefined;
    return lease === undefined ? this.#acquire(options) : lease.promise;
  }

  /** The cached token, if it may be used without a further look. Never sends a request. */
  peek(): Token | undefined {
    return this.#driver.fresh(this.#view)?.token;
  }

  /** What to put on this one request. */
  async headers(method: string, url: string | URL): Promise<Record<string, string>> {
    const { headers } = await this.#driver.attach(this.#view, {}, { method, url: String(url) });
    return Object.fromEntries(headers);
  }

  /** Reports what an API answered to a request with this token, for those who send it themselves. */
  async reject(
    token: Token,
    _method: string,
    url: string | URL,
    status: number,
    headers: Iterable<readonly [string, string]> = [],
  ): Promise<Verdict> {
    if (!(token instanceof Token)) throw misuse("`token` must be a `Token` of this client");
    check("status", status, "number");
    const { call } = originOf(token);
    const answered = { want: this.#view.want, call, url: String(url), status, headers: [...headers] };
    return this.#handle<Verdict>({ answered });
  }

  /** The same client for another set of scopes, with a token of its own. */
  withScope(scope: string | readonly string[]): Client {
    return new Client(this.#driver, { ...this.#view.want, scope: toScope(scope) });
  }

  /** The same client for a user, with the refresh token that your database has for them. */
  withSubject(subject: string, options: { refreshToken?: string; onRotated?: OnRotated } = {}): Client {
    const want = { ...this.#view.want, subject };
    const { refreshToken: refresh_token, onRotated } = options;
    check("subject", subject, "string");
    if (onRotated !== undefined) check("onRotated", onRotated, "function");
    if (refresh_token !== undefined) {
      check("refreshToken", refresh_token, "string");
      this.#handle({ start: { flow: { adopt: { want, refresh_token, on_rotated: onRotated !== undefined } } } });
    }
    if (onRotated !== undefined) this.#driver.onRotated.set(subject, onRotated);
    return new Client(this.#driver, want);
  }

  /** Where to send the browser, and the session to keep until it is back: a secret, and serializable. */
  async authorizationUrl(
    options: {
      /** The option `redirectUri` of the client unless given. */
      redirectUri?: string;
      scope?: string | readonly string[];
      parameters?: Readonly<Record<string, string>>;
    } = {},
  ): Promise<{ url: string; session: string }> {
    const { redirectUri: redirect_uri = "", parameters = {} } = options;
    check("redirectUri", redirect_uri, "string");
    for (const [name, value] of Object.entries(parameters)) check(`parameters.${name}`, value, "string");
    const scope = options.scope === undefined ? this.#view.want.scope : toScope(options.scope);
    const flow = { authorization_url: { redirect_uri, scope, parameters } };
    return this.#handle<{ done: { url: string; session: string } }>({ start: { flow } }).done;
  }

  /** Ends what `authorizationUrl` began. `callback` is the URL that the browser came back with, its query, or its parameters. */
  async exchange(
    callback: string | URL | URLSearchParams | Readonly<Record<string, string | readonly string[]>>,
    session: string,
    options: { subject?: string | undefined; onRotated?: OnRotated; timeout?: number | undefined; signal?: AbortSignal } = {},
  ): Promise<Token> {
    const { subject = this.#view.want.subject, onRotated, timeout, signal } = options;
    check("session", session, "string");
    if (subject !== undefined) check("subject", subject, "string");
    if (onRotated !== undefined) check("onRotated", onRotated, "function");
    const deadline = this.#deadline(timeout);
    const flow = { exchange: { callback: toQuery(callback), session, subject, on_rotated: onRotated !== undefined } };
    if (onRotated !== undefined) this.#driver.onRotated.set(subject, onRotated);
    const wait = this.#handle<Wait>({ start: { flow, deadline } });
    const want = subject === undefined ? {} : { subject };
    return this.#driver.acquire({ want, lease: NO_LEASE }, { deadline }, signal, wait);
  }

  /** The URL with the token in its query, which logs and histories keep; and headers that keep it out of caches. */
  async insecureUrl(url: string | URL): Promise<{ url: string; headers: Record<string, string> }> {
    const request = { method: "GET", url: String(url), insecure_query: true };
    const done = await this.#driver.attach(this.#view, {}, request);
    return { url: done.url!, headers: Object.fromEntries(done.headers) };
  }

  /** Forgets the access token: the next caller gets another. */
  async invalidate(): Promise<void> {
    this.#handle({ invalidate: { want: this.#view.want } });
  }

  /** Refuses new work. Resolves when what was under way has ended. */
  close(): Promise<void> {
    return this.#driver.close();
  }

  async #acquire({ minTtl = 0, force = false, timeout, signal }: TokenOptions = {}): Promise<Token> {
    checkSeconds("minTtl", minTtl);
    check("force", force, "boolean");
    signal?.throwIfAborted();
    const cached = minTtl === 0 && !force ? this.peek() : undefined;
    if (cached !== undefined) return cached;
    const ask = { min_ttl: toMillis(minTtl), force, deadline: this.#deadline(timeout) };
    return this.#driver.acquire(this.#view, ask, signal);
  }

  #deadline(timeout: number | undefined): number | undefined {
    if (timeout === undefined) return undefined;
    checkSeconds("timeout", timeout);
    return toMillis(this.#driver.clock.boot() / 1000 + timeout);
  }

  #handle<A extends Answer>(event: object): A {
    const answer = this.#driver.handle(event) as A | Failure;
    if (typeof answer === "object" && "fail" in answer) throw toError(inCamelCase(answer));
    return answer as A;
  }
}

const STATIC = { name: "static", title: "A token that is there already", grants: ["api_token"], api_token: { scheme: "Bearer" } };

/** TypeScript says so too, and JavaScript doesn't. */
function check(name: string, value: unknown, type: "boolean" | "function" | "number" | "string"): void {
  if (typeof value !== type) throw misuse(`\`${name}\` must be a ${type}`);
}

function checkSeconds(name: string, value: unknown): void {
  if (typeof value !== "number" || !(value >= 0)) throw misuse(`\`${name}\` must be a number of seconds, 0 or more`);
}

function toMillis(seconds: number): number {
  return Math.min(Math.floor(seconds * 1000), Number.MAX_SAFE_INTEGER);
}

function toQuery(callback: string | URL | URLSearchParams | Readonly<Record<string, string | readonly string[]>>): string {
  if (typeof callback === "string") return callback;
  if (callback instanceof URL || callback instanceof URLSearchParams) return String(callback);
  const pairs = Object.entries(callback).flatMap(([name, values]) => [values].flat().map((value) => [name, value] as [string, string]));
  return String(new URLSearchParams(pairs));
}
