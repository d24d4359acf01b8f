/** A store in a folder: for command-line tools, jobs and the processes of one machine. */
import { randomBytes } from "node:crypto";
import { type Stats, existsSync, mkdirSync, statSync } from "node:fs";
import { link, open, readFile, readdir, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { misuse } from "./errors.js";
import { type Conflict, type Held, type Locked, type Saved, type Store, StoreDown } from "./store.js";

/** What a version of a key says. Points in time are Unix time in milliseconds. */
interface State {
  readonly expires: number;
  readonly lease: { readonly owner: string; readonly until: number } | null;
  readonly record: string | null;
}

/** What to answer, and what to write if anything is to be. */
type Decision<A> = readonly [answer: A, next?: State];

/**
 * Records in a folder, one folder for each key, which processes of this machine share, whatever languages they are written in.
 * Readable by its owner alone. Survives a crash at any moment: what counts is the version with the highest number, and that is
 * complete before it has its name. Needs a file system with hard links.
 */
export class FileStore implements Store {
  /** Nobody tells of what another process wrote. */
  readonly storeCheck = 0.5;
  readonly #directory: string;

  /** Makes the folder if it is missing. One that others may write to is refused with `invalid_option`. */
  constructor(directory: string) {
    if (typeof directory !== "string" || directory === "") throw misuse("`directory` must be the path of a folder");
    this.#directory = directory;
    let found: Stats | undefined;
    try {
      made(directory);
      found = statSync(directory);
    } catch {
      // Writing will say what is wrong.
    }
    if (found !== undefined && !found.isDirectory()) throw misuse(`\`${directory}\` is not a folder: name another`);
    // Windows has other rights, and shows none of them here.
    if (found !== undefined && process.platform !== "win32" && (found.mode & 0o022) !== 0) {
      throw misuse(`others can write to the folder \`${directory}\`, and so put tokens of theirs into it: run \`chmod 700\` on it`);
    }
  }

  async load(key: string): Promise<string | undefined> {
    const { state } = await this.#read(this.#folder(key));
    return state.record ?? undefined;
  }

  lock(key: string, owner: string, ttl: number, signal?: AbortSignal): Promise<Locked | Held> {
    return this.#write<Locked | Held>(key, signal, (state, now) => {
      const { lease, record } = state;
      const isOurs = lease?.owner === owner;
      if (ttl === 0) return isOurs ? [{ locked: true, record }, { ...state, lease: null }] : [{ locked: true, record }];
      if (lease !== null && !isOurs) return [{ locked: false, retryIn: (lease.until - now) / 1000, record }];
      return [{ locked: true, record }, { ...state, lease: { owner, until: now + Math.round(ttl * 1000) } }];
    });
  }

  save(
    key: string,
    expect: string | undefined,
    record: string,
    ttl: number,
    unlock: string | undefined,
    signal?: AbortSignal,
  ): Promise<Saved | Conflict> {
    return this.#write<Saved | Conflict>(key, signal, (state, now, wasLate) => {
      // Ours was written in time after all, and another process has built on it already.
      if (wasLate && state.record === record) return [{ saved: true }];
      if (state.record !== (expect ?? null)) return [{ saved: false, record: state.record }];
      const lease = state.lease !== null && state.lease.owner === unlock ? null : state.lease;
      return [{ saved: true }, { expires: now + Math.round(ttl * 1000), lease, record }];
    });
  }

  #folder(key: string): string {
    if (!/^[\w-]+$/.test(key)) throw misuse("a key must be made of letters, digits, `-` and `_`");
    return join(this.#directory, key);
  }

  /** The highest version, with what has run out left out. */
  async #read(folder: string): Promise<{ readonly version: number; readonly state: State }> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      let [last] = versions(await list(folder));
      // A version may come and its predecessor go while the folder is being read.
      if (last === undefined) [last] = versions(await list(folder));
      if (last === undefined) return { version: 0, state: NOTHING };
      try {
        const { expires, lease, record } = parsed(await readFile(join(folder, last), "utf8"));
        const now = Date.now();
        const state = { expires, lease: lease !== null && lease.until > now ? lease : null, record: expires > now ? record : null };
        return { version: Number(last), state };
      } catch (error) {
        // Another process has written the next version in the meantime.
        if (codeOf(error) !== "ENOENT") throw new Error(`the store's folder \`${folder}\` can't be read (${codeOf(error)})`);
      }
    }
    throw new StoreDown(`the store's folder \`${folder}\` changes too fast to be read: try again later`);
  }

  /**
   * Writes the version after the one that was decided on. A hard link fails where the name is taken, which is the comparison
   * and the swap in one; there is nothing that a process could leave locked when it dies.
   */
  async #write<A>(key: string, signal: AbortSignal | undefined, decide: (state: State, now: number, wasLate: boolean) => Decision<A>): Promise<A> {
    const folder = this.#folder(key);
    let wasLate = false;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { version, state } = await this.#read(folder);
      const [answer, next] = decide(state, Date.now(), wasLate);
      if (next === undefined) return answer;
      const outcome = await this.#add(folder, version + 1, next, signal);
      if (outcome === "added") return answer;
      wasLate ||= outcome === "late";
      await setTimeout(Math.random() * Math.min(attempt + 1, 10));
    }
    throw new StoreDown(`others write to the store's folder \`${folder}\` all the time: try again later`);
  }

  /** Adds a version, unless another process was faster: then its name is taken, or there is a higher one. */
  async #add(folder: string, version: number, state: State, signal: AbortSignal | undefined): Promise<"added" | "taken" | "late"> {
    const temporary = join(folder, `${TEMPORARY}${randomBytes(12).toString("hex")}`);
    const place = join(folder, nameOf(version));
    try {
      await this.#prepare(folder, temporary, JSON.stringify(state));
      if (signal?.aborted) throw new StoreDown("the store's folder was too slow, and nothing was written");
      await link(temporary, place);
    } catch (error) {
      await unlink(temporary).catch(() => {});
      if (codeOf(error) === "EEXIST") return "taken";
      throw error instanceof StoreDown ? error : new StoreDown(`the store's folder \`${folder}\` can't be written to (${codeOf(error)})`);
    }
    // From here on the version is there. A process that slept between reading and linking takes a name that was used and removed
    // long ago: then there is a much higher one.
    const names = await list(folder);
    const isLate = Number(versions(names)[0]) >= version + KEPT;
    if (isLate) await unlink(place).catch(() => {});
    await unlink(temporary).catch(() => {});
    if (isLate) return "late";
    await sync(folder);
    await this.#tidy(folder, names, version);
    return "added";
  }

  /** A file with the state, on the disk before anybody may see it. */
  async #prepare(folder: string, path: string, text: string): Promise<void> {
    if (made(folder)) await sync(this.#directory);
    const file = await open(path, "wx", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Removes what nobody needs any more: older versions but for the last few, and what processes left that died while they wrote. */
  async #tidy(folder: string, names: readonly string[], version: number): Promise<void> {
    for (const name of names) {
      const path = join(folder, name);
      const isOld = name.startsWith(TEMPORARY) ? await isStale(path) : VERSION.test(name) && Number(name) <= version - KEPT;
      if (isOld) await unlink(path).catch(() => {});
    }
  }
}

/**
 * Makes a folder and those above it; whether it wasn't there. Node's own `recursive` never ends where a file system makes none,
 * as in `/proc`.
 */
function made(directory: string): boolean {
  try {
    mkdirSync(directory, { mode: 0o700 });
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    const parent = dirname(directory);
    if (codeOf(error) !== "ENOENT" || existsSync(parent)) throw error;
    made(parent);
    mkdirSync(directory, { mode: 0o700 });
    return true;
  }
}

/** What is in a folder; nothing, if it isn't there. */
async function list(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    throw new Error(`the store's folder \`${folder}\` can't be read (${codeOf(error)})`);
  }
}

/** The versions among some names, the highest one first. */
function versions(names: readonly string[]): string[] {
  return names.filter((name) => VERSION.test(name)).sort().reverse();
}

function nameOf(version: number): string {
  return String(version).padStart(16, "0");
}

/** What is not a state is given to the core as it is, which says what is wrong with it. */
function parsed(text: string): State {
  try {
    const { expires, lease, record } = JSON.parse(text) as Partial<State>;
    const isLease = lease === null || (typeof lease?.owner === "string" && typeof lease.until === "number");
    if (typeof expires === "number" && isLease && (record === null || typeof record === "string")) return { expires, lease, record };
  } catch {
    // It was cut off, or written by somebody else.
  }
  return { expires: Number.MAX_SAFE_INTEGER, lease: null, record: text };
}

async function isStale(path: string): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  return found !== undefined && Date.now() - found.mtimeMs > 3_600_000;
}

/** Has a folder's names on the disk before anything is built on them. Windows can't be asked for that. */
async function sync(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? (error as Error).name;
}

const NOTHING: State = { expires: 0, lease: null, record: null };
const ATTEMPTS = 100;
/** How many versions stay, in every language: as long as no more were written meanwhile, a name that could be linked was never there before. */
const KEPT = 16;
const VERSION = /^\d{16}$/;
const TEMPORARY = ".tmp-";
