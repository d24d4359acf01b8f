import { inspect } from "./errors.js";

/** What to show a person who authorizes on another device (RFC 8628 section 3.2). Times are seconds. */
export interface DeviceAuthorization extends BackchannelAuthentication {
  /** What they type in. */
  readonly userCode: string;
  /** Where they type it in. */
  readonly verificationUri: string;
  /** The same with the code in it. Show the code all the same, to be compared. */
  readonly verificationUriComplete: string | undefined;
  /** The text for a QR code. */
  readonly qrText: string;
}

/** A person is asked on a device of their own (CIBA section 7.3). Times are seconds. */
export interface BackchannelAuthentication {
  /** For how long they may take. */
  readonly expiresIn: number;
  /** The pause between two polls, which `poll` keeps. */
  readonly interval: number;
  /** What `poll` goes on with: a secret, and serializable by itself. */
  readonly session: string;
}

/** What goes on later. Printing or serializing it shows no session. */
class Begun {
  readonly #session: string;

  constructor(members: object, session: string) {
    Object.assign(this, members);
    this.#session = session;
  }

  get session(): string {
    return this.#session;
  }

  /** @internal */
  [inspect](): object {
    return { ...this };
  }
}

export function begun<T extends object>(members: T, session: string): T & { readonly session: string } {
  return new Begun(members, session) as T & Begun;
}
