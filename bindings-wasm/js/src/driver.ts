import type { ClientCertificate } from "./certificate.js";
import type { Again, Answer, Core, Done, Notice, Operation, Step, Use, Verdict, Wait } from "./core.js";
import { type Failure, inCamelCase, misuse, toError } from "./errors.js";
import type { Clock, Host, Http } from "./options.js";
import { type Algorithm, type Signer, isSigned } from "./signing.js";
import { type Store, type Subscription, carryOut } from "./store.js";
import { Token, originOf } from "./token.js";
import { type FailureKind, TransportFailure, failureKind, hintOf, readBody } from "./transport.js";

/** Whose token: the client's own, unless it names a subject, a scope set or resources. */
export interface Want {
  readonly subject?: string;
  readonly scope?: readonly string[];
  readonly resource?: readonly string[];
}

/** One wish, and the lease that answers it without a look into the core. */
export interface View {
  readonly want: Want;
  lease: Lease;
  /** Its cache key, once there was a token. */
  key?: string;
}

/** How a caller wants a token, in the core's own terms. */
export interface Ask {
  readonly min_ttl?: number | undefined;
  readonly force?: boolean | undefined;
  readonly deadline?: number | undefined;
  readonly call?: string | undefined;
}

/** A token that is answered from without asking the core, while both clocks are before `recheck`. */
export interface Lease {
  recheck: number;
  recheckWall: number;
  /** What the wall clock showed when both clocks were last looked at. */
  seen: number;
  readonly generation: number;
  readonly token: Token;
  readonly promise: Promise<Token>;
}

export const NO_LEASE: Lease = Object.freeze({
  recheck: -Infinity,
  recheckWall: -Infinity,
  seen: NaN,
  generation: 0,
  token: undefined as never,
  promise: undefined as never,
});

/** An API request, as far as the core needs to know it. */
export interface Request {
  readonly method: string;
  readonly url: string;
  readonly insecure_query?: boolean;
}

/** What goes on it. */
export type Attached = Done & { readonly headers: readonly [string, string][] };

/** A flight in the air: who waits for it, whose token it renews if that is known, and the host's own error if it had one. */
interface Flight {
  readonly waiters: Set<(cause: unknown) => void>;
  key?: string | undefined;
  cause?: unknown;
}

/** Called with a new refresh token before the access token that came with it is handed out. */
export type OnRotated = (refreshToken: string, subject: string | undefined) => unknown;

/** The one loop: gives the core events, and does what it answers. Decides nothing. */
export class Driver {
  /** Told of new refresh tokens, by subject. */
  readonly onRotated = new Map<string | undefined, OnRotated>();
  /** The keys whose token an API refused last. */
  readonly refused = new Set<string>();
  readonly #core: Core;
  readonly #host: Host;
  readonly #flights = new Map<string, Flight>();
  readonly #leases = new Map<string, Lease>();
  readonly #running = new Set<Promise<void>>();
  #subscription: Promise<Subscription | undefined> | undefined;

  constructor(core: Core, host: Host) {
    this.#core = core;
    this.#host = host;
  }

  get clock(): Clock {
    return this.#host.clock;
  }

  get http(): Http {
    return this.#host.http;
  }

  /** Tells the core what happened, and does what follows. */
  handle(event: object): Answer | undefined {
    return this.#follow(this.#core.handle(event, this.#now(), this.#host.random(32)));
  }

  /** The same, and waits for the end of what that begins. */
  async complete(event: object): Promise<Answer | undefined> {
    const before = new Set(this.#running);
    const answer = this.handle(event);
    await Promise.all([...this.#running].filter((running) => !before.has(running)));
    return answer;
  }

  /** The lease that may be answered from now. This is the whole hot path. */
  fresh({ lease }: View): Lease | undefined {
    const { clock, ticks } = this.#host;
    const wall = clock.wall();
    // Nothing has run out since in the same millisecond.
    if (wall === lease.seen) return lease;
    if (wall >= lease.recheckWall || clock.boot() >= lease.recheck) return undefined;
    if (ticks) lease.seen = wall;
    return lease;
  }

  /** A token for a caller, who may give up; the flight that they wait for goes on for the others. */
  async acquire(view: View, ask: Ask, signal?: AbortSignal | null, wait?: Wait): Promise<Token> {
    const question = (after?: string) => ({ ask: { ...ask, want: view.want, after } });
    const [use, waited] = await this.#ask<Use>(question, signal, view, wait);
    return this.#keep(view, use, waited);
  }

  /** Carries a flow through to its value. */
  async run(flow: object, deadline: number | undefined, signal?: AbortSignal): Promise<Done> {
    const [{ done }] = await this.#ask<{ done: Done }>((after) => ({ start: { flow, deadline, after } }), signal);
    return done;
  }

  /** A token and what to put on one request: headers, or a URL that holds it. With `again` the request has only a new proof. */
  async attach(
    view: View,
    ask: Ask,
    request: Request,
    signal?: AbortSignal | null,
    again?: string,
  ): Promise<{ call: string } & Attached> {
    // The token may be withdrawn between the two steps: then there is another.
    for (let attempt = 0; attempt < 3; attempt++) {
      const lease = attempt === 0 && ask.call === undefined ? this.fresh(view) : undefined;
      const call = (attempt === 0 && again) || originOf(lease?.token ?? (await this.acquire(view, ask, signal))).call;
      const attached = await this.attached(view, call, request, signal);
      if (attached !== undefined) return { call, ...attached };
    }
    const message = "the token was withdrawn three times while this request was prepared: send it again";
    throw toError({ fail: "transport_failed", family: "transport", message, retryable: true });
  }

  /** What to put on one request with a token in hand; nothing if that was withdrawn. */
  async attached({ want }: View, call: string, request: Request, signal?: AbortSignal | null): Promise<Attached | undefined> {
    const question = (after?: string) => ({ attach: { want, call, ...request, after } });
    const [answer] = await this.#ask<Attached | { done: Attached } | "retry">(question, signal);
    if (answer === "retry") return undefined;
    return "done" in answer ? answer.done : answer;
  }

  /** What an API's answer says about the token. Throws where a person has to sign in again. */
  answered({ want }: View, call: string, url: string, status: number, headers: [string, string][]): Verdict | Again {
    const answer = this.handle({ answered: { want, call, url, status, headers } }) as Verdict | Again | Failure;
    if (typeof answer === "object" && "fail" in answer) throw toError(inCamelCase(answer));
    return answer;
  }

  /** Goes on with other keys or another certificate. */
  renew(keys: Readonly<Record<string, Signer>>, certificate?: ClientCertificate): void {
    const { certificate: held, signers } = this.#host;
    if (certificate !== undefined && held === undefined) {
      throw misuse("this client was made without `clientCertificate`: make another with one");
    }
    const told = Object.entries(keys).map(([option, { key }]) => [option, JSON.stringify(key)]);
    for (const { key, sign } of Object.values(keys)) signers.set(key.name, sign);
    const tls_id = certificate === undefined ? undefined : held!.replace(certificate);
    const failure = this.handle({ renewed: { ...Object.fromEntries(told), tls_id } }) as Failure | undefined;
    if (failure !== undefined) throw toError(inCamelCase(failure));
  }

  /** No new work; resolves when what was under way has ended. */
  async close(): Promise<void> {
    this.handle({ close: {} });
    while (this.#running.size > 0) await Promise.all(this.#running);
    await (await this.#subscription)?.close();
  }

  /** Asks, and asks again when what there was to wait for is over. Says whether it had to wait. */
  async #ask<A extends object | string>(
    question: (after?: string) => object,
    signal?: AbortSignal | null,
    view?: View,
    wait?: Wait,
  ): Promise<[answer: A, waited: boolean]> {
    let cause: unknown;
    for (this.#lookAtFiles(); ; ) {
      signal?.throwIfAborted();
      const ended = wait !== undefined && this.#flights.has(wait.wait) ? await this.#settled(wait, signal) : undefined;
      // A flight that only slept leaves the word to the one before it.
      if (ended !== undefined) cause = ended;
      const answer = this.handle(question(wait?.wait)) as A | Failure | Wait;
      if (typeof answer === "object" && "fail" in answer) throw toError({ ...inCamelCase(answer), ...hintOf(cause) }, cause ?? undefined);
      if (typeof answer !== "object" || !("wait" in answer)) return [answer, wait !== undefined];
      wait = answer;
      const flight = this.#flights.get(wait.wait);
      if (flight !== undefined) flight.key ??= view?.key;
    }
  }

  /** Before anything is sent: a certificate may have been replaced on disk. */
  #lookAtFiles(): void {
    const tls_id = this.#host.certificate?.renewed();
    if (tls_id !== undefined) this.handle({ renewed: { tls_id } });
  }

  #follow(step: Step): Answer | undefined {
    // Known before anything else happens: a flight may be over in the very step that began it.
    if (typeof step.answer === "object" && "wait" in step.answer) this.#flight(step.answer.wait);
    for (const operation of step.operations ?? []) {
      if ("sleep" in operation) {
        const { sleep: flight, until } = operation;
        const wake = () => {
          this.#lookAtFiles();
          this.handle({ tick: { flight } });
        };
        this.#at(until, wake, false);
      } else {
        const { answer } = step;
        if (typeof answer === "object" && "use" in answer) this.#flight(operation.flight).key = answer.key;
        this.#start(operation);
      }
    }
    for (const { key, generation = Infinity } of step.withdraw ?? []) {
      for (const [held, lease] of key === undefined ? this.#leases : [[key, this.#leases.get(key)] as const]) {
        if (lease !== undefined && lease.generation <= generation) this.#drop(held);
      }
    }
    for (const id of step.settled ?? []) {
      const flight = this.#flights.get(id);
      this.#flights.delete(id);
      // A lease that was given during the flight knows nothing of how it ended: the next caller asks.
      if (flight?.key !== undefined) this.#drop(flight.key);
      for (const wake of flight?.waiters ?? []) wake(flight!.cause);
    }
    for (const notice of step.notices ?? []) this.notify(notice);
    return step.answer;
  }

  /** Shows a notice. Whatever the user's function does with it, nothing here depends on it. */
  notify(notice: Notice): void {
    try {
      const result = this.#host.onNotice?.(notice);
      if (result instanceof Promise) result.catch(() => {});
    } catch {
      // The function is told what happened; it has no say in it.
    }
  }

  #start(operation: Operation): void {
    if ("send" in operation) {
      const { send: op, flight, request, cap } = operation;
      const { url, method, headers, body } = request;
      this.#run(op, operation, async (signal) => {
        const init = { method, headers, redirect: "manual" as const, signal: signal!, ...(body === undefined ? {} : { body }) };
        const answer = await this.#host.http(url, init);
        const bytes = await readBody(answer.body, cap);
        const lines = [...answer.headers];
        // Whatever went wrong before, the server has the say now.
        this.#blame(flight, null);
        return () => this.#core.received(op, answer.status, lines, bytes, this.#now(), this.#host.random(32));
      }, failureKind);
    } else if ("provide" in operation) {
      const { provide: op } = operation;
      this.#run(op, operation, async () => {
        let value: unknown;
        if (operation.what === "rotated") {
          await this.onRotated.get(operation.subject)?.(operation.refresh_token, operation.subject);
        } else {
          value = await this.#host.provide[operation.what]?.("subject" in operation ? operation.subject : undefined);
          if (typeof value !== "string") throw misuse(`the function that gives the ${operation.what.replace("_", " ")} must give a string`);
        }
        return this.#event({ provided: { op, value } });
      });
    } else if ("store" in operation) {
      const { store: op, flight, until, ...command } = operation;
      this.#run(op, operation, async (signal) => {
        const store = this.#host.store!;
        this.#subscribe(store);
        const { result, cause } = await carryOut(store, command, () => this.clock.boot(), signal);
        // What was given up because it took too long has been told already.
        if (cause !== undefined && signal!.aborted) throw cause;
        this.#blame(flight, cause);
        return () => {
          const step = this.#event({ stored: { op, result } })();
          if (cause === undefined) return step;
          for (const notice of step.notices ?? []) Object.defineProperty(notice, "cause", { value: cause });
          return step;
        };
      });
    } else if ("verify" in operation) {
      const { verify: op, key, alg, input, signature } = operation;
      this.#run(op, operation, async () => this.#event({ verified: { op, valid: isSigned(key, alg, input, signature) } }));
    } else {
      const { sign: op, key, alg, input } = operation;
      this.#run(op, operation, async () => {
        const bytes = await this.#host.signers.get(key)?.(Buffer.from(input), alg as Algorithm);
        if (!(bytes instanceof Uint8Array)) throw misuse("the function `sign` of a key must give the signature's bytes");
        return this.#event({ signed: { op, signature: Buffer.from(bytes).toString("base64url") } });
      });
    }
  }

  /** Carries out one operation and reports how it ended: in time, or late. */
  #run(
    op: string,
    operation: Operation,
    work: (signal?: AbortSignal) => Promise<() => Step>,
    kindOf: (error: unknown) => FailureKind = () => "host_error",
  ): void {
    const { flight, until } = operation;
    // Signing has none: it would cost as much as the rest of a proof's way through here.
    const controller = "sign" in operation ? undefined : new AbortController();
    const fail = (kind: FailureKind) => this.handle({ failed: { op, kind } });
    let overdue = false;
    let leave = () => {};
    const cancel = this.#at(until, () => {
      overdue = true;
      fail("timeout");
      controller?.abort(new TransportFailure("timeout"));
      // What comes late is of use, but a store may never answer.
      if ("store" in operation) leave();
    }, false);
    const ended = work(controller?.signal)
      .finally(cancel)
      .then(
        // Late or not: there may be a new refresh token in it.
        (step) => void this.#follow(step()),
        (error: unknown) => {
          controller?.abort(error);
          if (overdue) return;
          this.#blame(flight, error);
          fail(kindOf(error));
        },
      );
    const bounded = "store" in operation ? Promise.race([ended, new Promise<void>((resolve) => (leave = resolve))]) : ended;
    const running = bounded.finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Keeps the host's own error for those who wait; null, if all went well here. */
  #blame(flight: string, cause: unknown): void {
    const ended = this.#flights.get(flight);
    if (ended !== undefined) ended.cause = cause;
  }

  /** Hears of what other processes write, from the first time on that something is asked of the store. */
  #subscribe(store: Store): void {
    if (this.#subscription !== undefined || store.subscribe === undefined) return;
    const begun = async () => store.subscribe!((key) => void this.handle({ changed: { key } }));
    this.#subscription = begun().catch(() => {
      // The next command tries again. Until then, tokens are compared with the store from time to time.
      this.#subscription = undefined;
      return undefined;
    });
  }

  /** Resolves when the flight is over or the time has come, with the host's own error if one ended the flight. */
  #settled({ wait, until }: Wait, signal?: AbortSignal | null): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const { waiters } = this.#flight(wait);
      const leave = () => {
        waiters.delete(wake);
        cancel();
        signal?.removeEventListener("abort", abort);
      };
      const wake = (cause: unknown) => {
        leave();
        resolve(cause);
      };
      const abort = () => {
        leave();
        reject(signal!.reason);
      };
      // This timer holds the process: somebody waits.
      const cancel = this.#at(until, () => wake(undefined), true);
      waiters.add(wake);
      signal?.addEventListener("abort", abort);
    });
  }

  /**
   * Makes a token of a lease, and keeps the lease where it may be used again. A lease that was waited for names a call in
   * which the token was minted: it is no other caller's, who have one of their own.
   */
  #keep(view: View, use: Use, waited: boolean): Token {
    let lease = this.#leases.get(use.key);
    if (lease?.generation !== use.generation && this.#isAhead(use)) {
      lease = this.#addLease({ ...use, call: use.lease_call });
    } else if (lease !== undefined && lease.generation === use.generation) {
      lease.recheck = use.recheck;
      lease.recheckWall = use.recheck_wall;
      lease.seen = NaN;
    }
    view.lease = lease ?? NO_LEASE;
    view.key = use.key;
    return waited || lease === undefined ? new Token(use, this.clock) : lease.token;
  }

  #addLease(use: Use): Lease {
    // One for each cache key, so that withdrawing it reaches everybody.
    this.#drop(use.key);
    for (const key of this.#leases.keys()) {
      if (this.#leases.size < MAX_LEASES) break;
      this.#drop(key);
    }
    const token = new Token(use, this.clock);
    const { recheck, recheck_wall: recheckWall, generation } = use;
    const lease = { recheck, recheckWall, seen: NaN, generation, token, promise: Promise.resolve(token) };
    this.#leases.set(use.key, lease);
    return lease;
  }

  #isAhead({ recheck, recheck_wall }: Use): boolean {
    return this.clock.boot() < recheck && this.clock.wall() < recheck_wall;
  }

  #event(event: object): () => Step {
    return () => this.#core.handle(event, this.#now(), this.#host.random(32));
  }

  #flight(id: string): Flight {
    let flight = this.#flights.get(id);
    if (flight === undefined) this.#flights.set(id, (flight = { waiters: new Set() }));
    return flight;
  }

  #drop(key: string): void {
    const lease = this.#leases.get(key);
    if (lease !== undefined) {
      lease.recheck = lease.recheckWall = -Infinity;
      lease.seen = NaN;
    }
    this.#leases.delete(key);
  }

  /** Calls `run` at a point of the boot clock, never earlier; the result cancels it. */
  #at(until: number, run: () => void, hold: boolean): () => void {
    const { clock } = this.#host;
    const arm = () => {
      const left = Math.max(0, Math.min(until - clock.boot(), MAX_TIMER));
      cancel = clock.timer(left, () => (clock.boot() < until ? arm() : run()), hold);
    };
    let cancel = () => {};
    arm();
    return () => cancel();
  }

  #now(): { wall: number; boot: number } {
    return { wall: Math.floor(this.clock.wall()), boot: Math.floor(this.clock.boot()) };
  }
}

/** Timers longer than 2^31 ms would fire at once. */
const MAX_TIMER = 3_600_000;
/** Whoever holds more tokens than this asks the core for the others. */
const MAX_LEASES = 10_000;
