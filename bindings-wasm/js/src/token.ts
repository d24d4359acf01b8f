import type { Use } from "./core.js";
import { inspect } from "./errors.js";
import type { Clock } from "./options.js";

/** What ties a token to the machine that gave it out. */
export let originOf: (token: Token) => Use;

/** An access token. Printing, logging or serializing it shows no secret. */
export class Token {
  readonly #use: Use;
  readonly #clock: Clock;

  static {
    originOf = (token) => token.#use;
  }

  /** @internal Clients make tokens. */
  constructor(use: Use, clock: Clock) {
    this.#use = use;
    this.#clock = clock;
  }

  /** The token itself: a secret. */
  get accessToken(): string {
    return this.#use.use;
  }

  /** Its type, as in `Bearer`. */
  get tokenType(): string {
    return this.#use.token_type;
  }

  /** The value of the header that it goes into: a secret. */
  get authorization(): string {
    return this.#use.authorization;
  }

  /** The scope that was granted, space-separated, if that is known. */
  get scope(): string | undefined {
    return this.#use.scope ?? undefined;
  }

  /** When it runs out, in Unix seconds. */
  get expiresAt(): number {
    return this.#use.expires_wall / 1000;
  }

  /** Counts the tokens of one client, subject and scope, from 1. */
  get generation(): number {
    return this.#use.generation;
  }

  /** Seconds that it has left now, by the clock that says less; never below 0. */
  expiresIn(): number {
    const { expires, expires_wall } = this.#use;
    return Math.max(0, Math.min(expires - this.#clock.boot(), expires_wall - this.#clock.wall()) / 1000);
  }

  toJSON(): object {
    const { tokenType, scope, expiresAt, generation } = this;
    return { tokenType, scope, expiresAt, generation };
  }

  toString(): string {
    return `Token ${JSON.stringify(this)}`;
  }

  /** @internal */
  [inspect](): string {
    return this.toString();
  }
}
