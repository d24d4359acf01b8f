import { type ClientInformation, Registrar, type Registration } from "./core.js";
import { inCamelCase, inspect, misuse, toError } from "./errors.js";
import { type ClientOptions, isPlain, readOptions } from "./options.js";
import { failureKind, hintOf, readBody } from "./transport.js";

/** What to ask of the server: a new client (RFC 7591), or one of what RFC 7592 has for it. */
export type RegistrationRequest =
  | {
      readonly register: {
        /** The client's metadata (RFC 7591 section 2): an object, or its JSON. */
        readonly metadata: object | string;
        /** What permits the registration, where the server wants that. */
        readonly initialAccessToken?: string | undefined;
        /** What somebody whom the server trusts says about the client: a JWT. */
        readonly softwareStatement?: string | undefined;
      };
    }
  | { readonly read: RegistrationAccess }
  | {
      /** All of the client's metadata, not only what is new. */
      readonly update: RegistrationAccess & {
        readonly metadata: object | string;
        readonly clientId?: string | undefined;
        readonly clientSecret?: string | undefined;
      };
    }
  | { readonly delete: RegistrationAccess };

/** Where a registration is, and what permits to look after it: a `RegisteredClient` has both. */
export interface RegistrationAccess {
  readonly registrationClientUri?: string | undefined;
  readonly registrationAccessToken?: string | undefined;
}

/** The profile's variables, and how requests are sent. */
export interface RegistrationOptions extends Pick<ClientOptions, "http" | "ca" | "proxy" | "allowLoopbackHttp" | "policy" | "tokenEndpoint" | "baseUrl" | "tenantId"> {
  /** How many seconds each request may take; 10 unless given. */
  readonly requestTimeout?: number | undefined;
  readonly [variable: string]: unknown;
}

/**
 * A client as the server has registered it. Keep it, with its secrets: some servers show them once. Points in time are Unix seconds.
 * Printing or serializing it shows no secret.
 */
export class RegisteredClient {
  readonly clientId: string;
  readonly clientIdIssuedAt: number | undefined;
  /** Undefined if the secret does not end. */
  readonly clientSecretExpiresAt: number | undefined;
  readonly registrationClientUri: string | undefined;
  /** What the server registered, which may differ from what was asked for. */
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly #information: ClientInformation;

  /** @internal Servers make clients. */
  constructor(information: ClientInformation) {
    this.clientId = information.client_id;
    this.clientIdIssuedAt = information.client_id_issued_at ?? undefined;
    this.clientSecretExpiresAt = information.client_secret_expires_at ?? undefined;
    this.registrationClientUri = information.registration_client_uri ?? undefined;
    this.metadata = JSON.parse(information.metadata) as Record<string, unknown>;
    this.#information = information;
  }

  get clientSecret(): string | undefined {
    return this.#information.client_secret ?? undefined;
  }

  get registrationAccessToken(): string | undefined {
    return this.#information.registration_access_token ?? undefined;
  }

  /** @internal */
  [inspect](): object {
    return { ...this };
  }
}

/**
 * Registers a client, or looks after a registration. Gives the client as it is registered now, and nothing once it is deleted.
 * Each request is sent once, because a server that saw it has another client then.
 */
export async function register(
  profile: string | object,
  request: RegistrationRequest,
  options: RegistrationOptions = {},
): Promise<RegisteredClient | undefined> {
  const { requestTimeout = 10, ...rest } = options;
  if (typeof requestTimeout !== "number" || !(requestTimeout > 0)) throw misuse("`requestTimeout` must be a number of seconds above 0");
  const [configuration, { http, clock }] = readOptions(profile, rest);
  const cap = Number((configuration["policy"] as { answer_cap?: number } | undefined)?.answer_cap ?? 262_144);
  let next = new Registrar(configuration, inCamelCase).build(inWords(request));
  // The server's metadata may come first, at one of two addresses.
  for (;;) {
    const { status, headers, body } = await sent(next, http, requestTimeout, cap);
    const now = { wall: Math.floor(clock.wall()), boot: Math.floor(clock.boot()) };
    const outcome = next.finish(status, headers, body, now);
    if (outcome === null) return undefined;
    if (outcome !== next) return new RegisteredClient(outcome as ClientInformation);
    next = outcome;
  }
}

async function sent({ method, url, headers, body }: Registration, http: NonNullable<ClientOptions["http"]>, seconds: number, cap: number) {
  const signal = AbortSignal.timeout(seconds * 1000);
  try {
    const answer = await http(url, { method, headers, redirect: "manual", signal, ...(body === undefined ? {} : { body }) });
    return { status: answer.status, headers: [...answer.headers], body: await readBody(answer.body, cap) };
  } catch (error) {
    const kind = signal.aborted ? "timeout" : failureKind(error);
    const [fail, message] = TROUBLE[kind] ?? TROUBLE["maybe_sent"]!;
    throw toError({ fail, family: "transport", message, retryable: kind === "not_sent", ...hintOf(error) }, error);
  }
}

function inWords(request: unknown): object {
  const [[word, members] = [], ...more] = isPlain(request) ? Object.entries(request) : [];
  if (word === undefined || more.length > 0 || !isPlain(members)) throw misuse("`request` must have exactly one of `register`, `read`, `update` and `delete`");
  const given = members as { [member: string]: unknown };
  const metadata = typeof given["metadata"] === "object" ? JSON.stringify(given["metadata"]) : given["metadata"];
  // One by one: a registered client, which may be given here, has its secrets where a copy would miss them.
  const access = { registration_client_uri: given["registrationClientUri"], registration_access_token: given["registrationAccessToken"] };
  const named = {
    register: { metadata, initial_access_token: given["initialAccessToken"], software_statement: given["softwareStatement"] },
    update: { ...access, client_id: given["clientId"], client_secret: given["clientSecret"], metadata },
  }[word] ?? access;
  return { [word]: named };
}

const TROUBLE: Readonly<Record<string, readonly [code: string, message: string]>> = {
  not_sent: ["transport_failed", "the server can't be reached"],
  maybe_sent: ["transport_failed", "the connection ended before the answer: the server may have done what was asked"],
  timeout: ["timeout", "there was no answer in time: the server may have done what was asked"],
  too_large: ["answer_too_large", "the answer is too long to be one of a registration"],
};
