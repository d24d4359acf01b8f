import type { StoreCommand } from "./core.js";
import { misuse } from "./errors.js";

/**
 * What processes share: records, each under its key, and locks on them. A record is opaque text of one line, and a secret:
 * it holds tokens, unless there are `storeKeys`. Durations are seconds. `signal` aborts when an answer would come too late.
 *
 * What throws has failed, and is told as the notice `store_down`; a `lock` or `save` that throws may have been carried out, unless
 * it throws `StoreDown`.
 */
export interface Store {
  /** The record under `key`, if there is one. */
  load(key: string, signal?: AbortSignal): Promise<string | null | undefined>;
  /**
   * Takes the lock on `key` for `ttl`, if nobody else has it, and reads the record. Repeated by its owner, it extends; with a
   * `ttl` of 0 it releases what that owner still has.
   */
  lock(key: string, owner: string, ttl: number, signal?: AbortSignal): Promise<Locked | Held>;
  /**
   * Writes `record` if what is stored is exactly `expect`, or if nothing is and `expect` is undefined, in one step; keeps it for
   * `ttl`. If it did, the lock ends that `unlock` has, if given.
   */
  save(
    key: string,
    expect: string | undefined,
    record: string,
    ttl: number,
    unlock: string | undefined,
    signal?: AbortSignal,
  ): Promise<Saved | Conflict>;
  /**
   * Has `onChanged` called with each key that another process writes to; without a key when any may have been missed, as when a
   * connection was lost. Must not keep the process alive.
   */
  subscribe?(onChanged: (key?: string) => void): Subscription | Promise<Subscription>;
  /** For a store that can't tell of changes: after how many seconds a token in hand is compared with it, where the policy says nothing. */
  readonly storeCheck?: number | undefined;
}

/** The lock is the owner's. */
export interface Locked {
  readonly locked: true;
  /** What is stored. */
  readonly record?: string | null | undefined;
}

/** Somebody else has the lock. */
export interface Held {
  readonly locked: false;
  /** After how many seconds it ends if nothing else ends it. */
  readonly retryIn: number;
  /** What is stored: a token in it may be good enough. */
  readonly record?: string | null | undefined;
}

/** The record was written. */
export interface Saved {
  readonly saved: true;
}

/** Something else is stored than was expected, and stays. */
export interface Conflict {
  readonly saved: false;
  /** What is stored. */
  readonly record?: string | null | undefined;
}

/** What `subscribe` began. */
export interface Subscription {
  close(): unknown;
}

/** A key that records are encrypted with. */
export interface StoreKey {
  /** Its name, which is stored beside what it encrypts. */
  readonly id: string;
  /** Its 32 bytes, or those in base64url. */
  readonly key: Uint8Array | string;
}

/** For a store to throw: the command was surely not carried out. The message may be shown, so it holds no secret. */
export class StoreDown extends Error {
  static {
    this.prototype.name = "StoreDown";
  }

  constructor(message: string, cause?: unknown) {
    super(message);
    // Not enumerable: what a database's error prints may hold the statement, and so the record.
    if (cause !== undefined) Object.defineProperty(this, "cause", { value: cause, configurable: true });
  }
}

export function checkStore(store: unknown): Store {
  const methods = ["load", "lock", "save"] as const;
  if (typeof store === "object" && store !== null && methods.every((name) => typeof (store as Store)[name] === "function")) return store as Store;
  throw misuse("the option `store` must have the functions `load`, `lock` and `save`: see `FileStore` and `RedisStore`");
}

/** The keys as the core takes them. */
export function toStoreKeys(keys: unknown): object[] {
  if (!Array.isArray(keys) || keys.length === 0) throw misuse("the option `storeKeys` must be a list of `{ id, key }`, the one to write with first");
  return keys.map((given: Partial<StoreKey> | null) => {
    const { id, key } = given ?? {};
    if (typeof id === "string" && typeof key === "string") return { id, key };
    if (typeof id === "string" && key instanceof Uint8Array) return { id, key: Buffer.from(key).toString("base64url") };
    throw misuse("each of `storeKeys` must be `{ id, key }`: a string, and 32 bytes or those in base64url");
  });
}

/** Has the store carry out a command: what it says, in the core's words, and its error if it threw. */
export async function carryOut(
  store: Store,
  command: StoreCommand,
  boot: () => number,
  signal?: AbortSignal,
): Promise<{ readonly result: object | string; readonly cause?: unknown }> {
  try {
    return { result: await asked(store, command, boot, signal) };
  } catch (cause) {
    return { result: command.command === "load" || cause instanceof StoreDown ? "down" : "unknown", cause };
  }
}

async function asked(store: Store, command: StoreCommand, boot: () => number, signal?: AbortSignal): Promise<object | string> {
  const { key } = command;
  switch (command.command) {
    case "load": {
      const record = checked("load", await store.load(key, signal));
      return record === undefined ? "none" : { record };
    }
    case "lock": {
      const answer = await store.lock(key, command.owner, command.ttl / 1000, signal);
      if (command.ttl === 0) return "ok";
      const record = checked("lock", answer?.record);
      if (answer?.locked === true) return { locked: { record } };
      if (answer?.locked === false && answer.retryIn >= 0) return { held: { retry_at: Math.ceil(boot() + answer.retryIn * 1000), record } };
      throw misuse("the store's `lock` must give `{ locked: true, record }` or `{ locked: false, retryIn, record }`");
    }
    case "save": {
      const { expect, record, ttl, unlock } = command;
      const answer = await store.save(key, expect, record, ttl / 1000, unlock, signal);
      if (answer?.saved === true) return "ok";
      if (answer?.saved === false) return { conflict: { record: checked("save", answer.record) } };
      throw misuse("the store's `save` must give `{ saved: true }` or `{ saved: false, record }`");
    }
  }
}

function checked(name: string, record: string | null | undefined): string | undefined {
  if (record === null || record === undefined) return undefined;
  if (typeof record === "string") return record;
  throw misuse(`the store's \`${name}\` must give a record as the string that was saved, or nothing`);
}
