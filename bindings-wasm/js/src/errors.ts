/** An error as the core describes it. Times are milliseconds. */
export interface Failure {
  readonly fail: string;
  readonly family: "usage" | "server" | "transport";
  readonly message: string;
  readonly hint?: string;
  readonly status?: number;
  readonly retryable: boolean;
  readonly retry_after?: number;
  readonly oauth_error?: string;
  readonly pointer?: string;
  readonly lifetime?: number;
  readonly ambiguous?: boolean;
  readonly acr_values?: string;
  readonly max_age?: number;
}

/** The method that `console.log` and `util.inspect` ask. */
export const inspect: unique symbol = Symbol.for("nodejs.util.inspect.custom") as never;

/** What all errors of this package have in common. None holds a token, a credential or a body. */
export class RemintError extends Error {
  static {
    this.prototype.name = "RemintError";
  }
  /** Stable, and the same in every language: `"invalid_client"`, `"server_unavailable"` … */
  readonly code: string;
  /** Whether the same call may succeed later. */
  readonly retryable: boolean;
  /** The HTTP status of the answer, if there was one. */
  readonly status: number | undefined;
  /** Seconds until a further attempt is made. */
  readonly retryAfter: number | undefined;
  /** The OAuth `error` code of the answer (RFC 6749 section 5.2). */
  readonly oauthError: string | undefined;
  /** The likely cause, where one can be told. */
  readonly hint: string | undefined;
  /** A JSON pointer to the wrong field of a profile. */
  readonly pointer: string | undefined;
  /** The lifetime in seconds that the server gives, for `min_ttl_unavailable`. */
  readonly lifetime: number | undefined;
  /** Whether a refused refresh token may have been spent by an earlier request whose answer was lost. */
  readonly ambiguous: boolean;
  /** The authentication that an API asks for, space-separated, for `insufficient_user_authentication` (RFC 9470 section 3). */
  readonly acrValues: string | undefined;
  /** How many seconds ago the person may have signed in at most, for the same. */
  readonly maxAge: number | undefined;

  constructor(failure: Failure, cause?: unknown) {
    const { message, hint, retry_after: retryAfter, lifetime } = failure;
    super(hint === undefined ? message : `${message}: ${hint}`);
    // As an accessor: what Node prints of an error that nobody caught would repeat the cause in full, and a transport's error
    // may hold the whole request.
    if (cause !== undefined) Object.defineProperty(this, "cause", { get: () => cause, configurable: true });
    this.code = failure.fail;
    this.retryable = failure.retryable;
    this.status = failure.status;
    this.retryAfter = retryAfter === undefined ? undefined : retryAfter / 1000;
    this.oauthError = failure.oauth_error;
    this.hint = hint;
    this.pointer = failure.pointer;
    this.lifetime = lifetime === undefined ? undefined : lifetime / 1000;
    this.ambiguous = failure.ambiguous ?? false;
    this.acrValues = failure.acr_values;
    this.maxAge = failure.max_age;
  }

  /** What `console.log` shows. The cause is the host's own: it may hold a whole request, so it is only named. */
  [inspect](): string {
    const facts = Object.entries(this).filter(([name, value]) => name !== "hint" && value !== undefined && value !== false);
    const lines = [`${this.stack} {`, ...facts.map(([name, value]) => `  ${name}: ${JSON.stringify(value)},`), "}"];
    const causes: string[] = [];
    for (let cause = this.cause; cause instanceof Error && causes.length < 5; cause = cause.cause) {
      const { code } = cause as { code?: unknown };
      causes.push(typeof code === "string" ? `${cause.name} (${code})` : cause.name);
    }
    return lines.join("\n") + (causes.length === 0 ? "" : `\n  [cause]: ${causes.join(", caused by ")}`);
  }
}

/** The library was misused: change the program or its configuration. */
export class UsageError extends RemintError {
  static {
    this.prototype.name = "UsageError";
  }
}

/** The authorization server, or what answered in its place, said no. */
export class ServerError extends RemintError {
  static {
    this.prototype.name = "ServerError";
  }
}

/** No usable answer arrived, or a function of the host's failed: then that error is the `cause`. */
export class TransportError extends RemintError {
  static {
    this.prototype.name = "TransportError";
  }
}

const FAMILIES = { usage: UsageError, server: ServerError, transport: TransportError };

export function toError(failure: Failure, cause?: unknown): RemintError {
  return new FAMILIES[failure.family](failure, cause);
}

/** The same failure with the names of options as `Client` has them. Values and OAuth's own names stay as they are. */
export function inCamelCase(failure: Failure): Failure {
  const { fail, message } = failure;
  if (!NAMING.includes(fail)) return failure;
  const names = / is not known: /.test(message) ? /`[^`]+`/g : /(?:^|(?:option|exceed|set|in|raise|beside) )`(?!parameters\.)[^`]+`/g;
  return { ...failure, message: message.replace(names, toCamelCase).replace("`aside`", "`backgroundRefresh`") };
}

export function toCamelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

const NAMING = ["invalid_option", "origin_not_allowed", "cache_full"];

/** An error that the shell itself finds: an option or argument of the wrong kind. */
export function misuse(message: string, code = "invalid_option"): UsageError {
  return new UsageError({ fail: code, family: "usage", message, retryable: false });
}
