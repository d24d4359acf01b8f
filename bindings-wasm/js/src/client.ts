import type { ClientCertificate } from "./certificate.js";
import { type Answer, Core, type Done, type Verdict, type Wait } from "./core.js";
import { Driver, NO_LEASE, type OnRotated, type View, type Want } from "./driver.js";
import { inCamelCase, misuse, toCamelCase, toError } from "./errors.js";
import { call } from "./fetch.js";
import { type ClientOptions, readOptions, toScope, toSigners } from "./options.js";
import { type BackchannelAuthentication, type DeviceAuthorization, begun } from "./pending.js";
import { Token, originOf } from "./token.js";

/** What `Client.token` takes. */
export interface TokenOptions extends Waiting {
  /** How many seconds of life the token must have left. */
  minTtl?: number | undefined;
  /** Whether the cached token won't do. */
  force?: boolean | undefined;
}

/** For how long to wait. */
export interface Waiting {
  /** How many seconds; 30 unless given. */
  timeout?: number | undefined;
  /** Ends the waiting of this caller, and of nobody else. */
  signal?: AbortSignal | undefined;
}

/** What an authorization asks for beside the client's own. */
export interface Asking extends Waiting {
  scope?: string | readonly string[];
  /** Further parameters of the request. */
  parameters?: Readonly<Record<string, string>>;
}

/** How a flow ends that a person has a part in. */
export interface Signing extends Waiting {
  /** The user that answers, by your own name for them. */
  subject?: string | undefined;
  onRotated?: OnRotated;
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
      const [configuration, host] = readOptions(profile, own);
      this.#driver = new Driver(new Core(configuration, inCamelCase), host);
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

  /**
   * Reports what an API answered to a request with this token, for those who send it themselves. `retry` says that the request
   * may be sent once more, with what `headers` gives then. Throws where a person has to sign in more strongly (RFC 9470).
   */
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
    const lines = [...headers].map(([name, value]) => [name, value] as [string, string]);
    const verdict = this.#driver.answered(this.#view, call, String(url), status, lines);
    return typeof verdict === "object" ? "retry" : verdict;
  }

  /** The same client for another set of scopes, with a token of its own. */
  withScope(scope: string | readonly string[]): Client {
    return new Client(this.#driver, { ...this.#view.want, scope: toScope(scope) });
  }

  /** The same client for other resources (absolute URIs, RFC 8707 section 2), with a token of its own. */
  withResource(...resource: string[]): Client {
    for (const uri of resource) check("resource", uri, "string");
    return new Client(this.#driver, { ...this.#view.want, resource });
  }

  /**
   * The same client for a user, with the refresh token that your database has for them; or, for the grant `token_exchange`
   * (RFC 8693), with their token, and that of who acts for them. A later one takes the place of an earlier one.
   */
  withSubject(
    subject: string,
    options: { refreshToken?: string; subjectToken?: string; actorToken?: string; onRotated?: OnRotated } = {},
  ): Client {
    const want = { ...this.#view.want, subject };
    const { refreshToken: refresh_token, subjectToken: subject_token, actorToken: actor_token, onRotated } = options;
    check("subject", subject, "string");
    if (onRotated !== undefined) check("onRotated", onRotated, "function");
    const given = { refresh_token, subject_token, actor_token };
    const names = Object.keys(given).filter((name) => given[name as keyof typeof given] !== undefined);
    for (const name of names) check(toCamelCase(name), given[name as keyof typeof given], "string");
    if (names.length > 0) this.#handle({ start: { flow: { adopt: { want, ...given, on_rotated: onRotated !== undefined } } } });
    if (onRotated !== undefined) this.#driver.onRotated.set(subject, onRotated);
    return new Client(this.#driver, want);
  }

  /** Where to send the browser, and the session to keep until it is back: a secret, and serializable. */
  async authorizationUrl(
    options: Asking & {
      /** The option `redirectUri` of the client unless given. */
      redirectUri?: string;
      /** What is asked for in detail, in place of the client's own: an array, or its JSON (RFC 9396 section 2). */
      authorizationDetails?: string | readonly object[];
    } = {},
  ): Promise<{ url: string; readonly session: string }> {
    const { redirectUri: redirect_uri = "", authorizationDetails: details } = options;
    check("redirectUri", redirect_uri, "string");
    const authorization_details = details === undefined || typeof details === "string" ? details : JSON.stringify(details);
    const { url, session } = await this.#run({ authorization_url: { redirect_uri, authorization_details, ...this.#asked(options) } }, options);
    return begun({ url: url! }, session!);
  }

  /** Ends what `authorizationUrl` began. `callback` is the URL that the browser came back with, its query, or its parameters. */
  async exchange(
    callback: string | URL | URLSearchParams | Readonly<Record<string, string | readonly string[]>>,
    session: string,
    options: Signing = {},
  ): Promise<Token> {
    check("session", session, "string");
    return this.#consent("exchange", { callback: toQuery(callback), session }, options);
  }

  /** Begins an authorization on another device (RFC 8628). Show the person what it gives, and `poll` its session. */
  async deviceAuthorization(options: Asking = {}): Promise<DeviceAuthorization> {
    const done = await this.#run({ device: this.#asked(options) }, options);
    const members = {
      userCode: done.user_code!,
      verificationUri: done.verification_uri!,
      verificationUriComplete: done.verification_uri_complete,
      qrText: done.qr_text!,
      expiresIn: done.expires_in! / 1000,
      interval: done.interval! / 1000,
    };
    return begun(members, done.session!);
  }

  /** Has the server ask a person on a device of their own (CIBA section 7.1). Exactly one hint says whom. Go on with `poll`. */
  async backchannelAuthentication(
    options: Asking & {
      loginHint?: string;
      loginHintToken?: string;
      idTokenHint?: string;
      /** What both devices show, so that the person can compare. */
      bindingMessage?: string;
      /** What only the person knows, where the server asks for that. */
      userCode?: string;
      /** For how many seconds the request is to live. */
      requestedExpiry?: number;
      /** The authentication that is asked for, space-separated. */
      acrValues?: string;
    },
  ): Promise<BackchannelAuthentication> {
    const { loginHint, loginHintToken, idTokenHint, bindingMessage, userCode, requestedExpiry, acrValues } = options;
    for (const [name, value] of Object.entries({ loginHint, loginHintToken, idTokenHint, bindingMessage, userCode, acrValues })) {
      if (value !== undefined) check(name, value, "string");
    }
    if (requestedExpiry !== undefined) checkSeconds("requestedExpiry", requestedExpiry);
    const backchannel = {
      login_hint: loginHint,
      login_hint_token: loginHintToken,
      id_token_hint: idTokenHint,
      binding_message: bindingMessage,
      user_code: userCode,
      requested_expiry: requestedExpiry === undefined ? undefined : toMillis(requestedExpiry),
      acr_values: acrValues,
      ...this.#asked(options),
    };
    const done = await this.#run({ backchannel }, options);
    return begun({ expiresIn: done.expires_in! / 1000, interval: done.interval! / 1000 }, done.session!);
  }

  /**
   * Waits until the person has answered, asking as often as the server likes (RFC 8628 section 3.4). Without `timeout` it ends
   * when the code runs out, with `authorization_expired`. Whoever gives up ends the polls; the session can be polled again.
   */
  async poll(session: string, options: Signing = {}): Promise<Token> {
    check("session", session, "string");
    return this.#consent("poll", { session }, options);
  }

  /** What the server knows about a token (RFC 7662): `active`, and the other members of its answer. */
  async introspect(token: string | Token, options: Waiting & { hint?: string } = {}): Promise<{ active: boolean; [member: string]: unknown }> {
    const { active, introspection } = await this.#run({ introspect: { token: toText(token), hint: options.hint } }, options);
    return { ...(JSON.parse(introspection!) as object), active: active! };
  }

  /**
   * Has the server forget a token (RFC 7009); without one, what this client holds: its refresh token, with which go the access
   * tokens that came of it, or its access token. It is forgotten here, too.
   */
  async revoke(options: Waiting & { token?: string | Token; hint?: string } = {}): Promise<void> {
    const token = options.token === undefined ? undefined : toText(options.token);
    await this.#run({ revoke: { want: this.#view.want, token, hint: options.hint } }, options);
  }

  /**
   * Goes on with another key or certificate, without a restart: as in the options of the same names. Tokens that are bound to
   * the old one are not used any more. Certificates that were given as files need no call.
   */
  renew(keys: Pick<ClientOptions, "signingKey" | "dpop"> & { clientCertificate?: ClientCertificate }): void {
    this.#driver.renew(toSigners(keys), keys.clientCertificate);
  }

  /** The URL with the token in its query, which logs and histories keep; and headers that keep it out of caches. */
  async insecureUrl(url: string | URL): Promise<{ url: string; headers: Record<string, string> }> {
    const request = { method: "GET", url: String(url), insecure_query: true };
    const done = await this.#driver.attach(this.#view, {}, request);
    return { url: done.url!, headers: Object.fromEntries(done.headers) };
  }

  /** Forgets the access token: the next caller gets another. Resolves when a shared store knows it, too, or has failed. */
  async invalidate(): Promise<void> {
    answered(await this.#driver.complete({ invalidate: { want: this.#view.want } }));
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

  /** What an authorization asks for, in the core's words. */
  #asked({ scope, parameters = {} }: Asking): object {
    for (const [name, value] of Object.entries(parameters)) check(`parameters.${name}`, value, "string");
    return { scope: scope === undefined ? this.#view.want.scope : toScope(scope), parameters };
  }

  async #run(flow: object, { timeout, signal }: Waiting): Promise<Done> {
    return this.#driver.run(flow, this.#deadline(timeout), signal);
  }

  /** A flow with a person in it, which ends in a token. */
  async #consent(name: "exchange" | "poll", members: object, options: Signing): Promise<Token> {
    const { subject = this.#view.want.subject, onRotated, timeout, signal } = options;
    if (subject !== undefined) check("subject", subject, "string");
    if (onRotated !== undefined) check("onRotated", onRotated, "function");
    signal?.throwIfAborted();
    const deadline = this.#deadline(timeout);
    if (onRotated !== undefined) this.#driver.onRotated.set(subject, onRotated);
    const flow = { [name]: { ...members, subject, on_rotated: onRotated !== undefined } };
    const wait = this.#handle<Wait>({ start: { flow, deadline } });
    const want = subject === undefined ? {} : { subject };
    try {
      return await this.#driver.acquire({ want, lease: NO_LEASE }, { deadline }, signal, wait);
    } catch (error) {
      // Nobody else waits for this person. To a poll that has ended by itself it means nothing.
      if (name === "poll") this.#handle({ cancel: { flight: wait.wait } });
      throw error;
    }
  }

  #deadline(timeout: number | undefined): number | undefined {
    if (timeout === undefined) return undefined;
    checkSeconds("timeout", timeout);
    return toMillis(this.#driver.clock.boot() / 1000 + timeout);
  }

  #handle<A extends Answer>(event: object): A {
    return answered(this.#driver.handle(event)) as A;
  }
}

const STATIC = { name: "static", title: "A token that is there already", grants: ["api_token"], api_token: { scheme: "Bearer" } };

/** What the core says, unless it says no. */
function answered(answer: Answer | undefined): Answer | undefined {
  if (typeof answer === "object" && "fail" in answer) throw toError(inCamelCase(answer));
  return answer;
}

/** TypeScript says so too, and JavaScript doesn't. */
function check(name: string, value: unknown, type: "boolean" | "function" | "number" | "string"): void {
  if (typeof value !== type) throw misuse(`\`${name}\` must be a ${type}`);
}

function checkSeconds(name: string, value: unknown): void {
  if (typeof value !== "number" || !(value >= 0)) throw misuse(`\`${name}\` must be a number of seconds, 0 or more`);
}

function toText(token: unknown): string {
  if (token instanceof Token) return token.accessToken;
  check("token", token, "string");
  return token as string;
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
