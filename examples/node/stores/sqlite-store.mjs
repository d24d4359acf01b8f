// A shared store in SQLite, for the processes of one machine that have such a database anyway. The database comes from
// `node:sqlite` (`new DatabaseSync("tokens.db")`, Node 22.13 or later) or from better-sqlite3 (`new Database("tokens.db")`).

const TABLE = `
CREATE TABLE IF NOT EXISTS tokens (
  key TEXT PRIMARY KEY,
  record TEXT, expires REAL NOT NULL DEFAULT 0,
  owner TEXT, until REAL NOT NULL DEFAULT 0
)`;

export class SqliteStore {
  /** Nobody tells of changes: look that often, in seconds. */
  storeCheck = 1;
  #database;

  constructor(database) {
    this.#database = database;
    database.exec("PRAGMA busy_timeout = 1000");
    database.exec(TABLE);
  }

  async load(key) {
    return this.#row(key).record;
  }

  async lock(key, owner, ttl) {
    return this.#transaction((now) => {
      const { record, owner: holder, until } = this.#row(key);
      if (ttl === 0) {
        this.#database.prepare("UPDATE tokens SET owner = NULL WHERE key = ? AND owner = ?").run(key, owner);
      } else if (holder !== null && holder !== owner && until > now) {
        return { locked: false, retryIn: until - now, record };
      } else {
        const sql = `INSERT INTO tokens (key, owner, until) VALUES (?, ?, ?)
          ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, until = excluded.until`;
        this.#database.prepare(sql).run(key, owner, now + ttl);
      }
      return { locked: true, record };
    });
  }

  async save(key, expect, record, ttl, unlock) {
    return this.#transaction((now) => {
      const { record: stored, owner, until } = this.#row(key);
      if (stored !== expect) return { saved: false, record: stored };
      const sql = `INSERT INTO tokens (key, record, expires, owner, until) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (key) DO UPDATE SET record = excluded.record, expires = excluded.expires, owner = excluded.owner`;
      this.#database.prepare(sql).run(key, record, now + ttl, owner === unlock ? null : owner, until);
      return { saved: true };
    });
  }

  #row(key) {
    const row = this.#database.prepare("SELECT record, expires, owner, until FROM tokens WHERE key = ?").get(key);
    const { record, expires, owner, until } = row ?? { record: null, expires: 0, owner: null, until: 0 };
    return { record: expires > Date.now() / 1000 ? (record ?? undefined) : undefined, owner, until };
  }

  /** From the first read on, nobody else writes. */
  #transaction(work) {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      const answer = work(Date.now() / 1000);
      this.#database.exec("COMMIT");
      return answer;
    } catch (error) {
      this.#database.exec("ROLLBACK");
      throw error;
    }
  }
}
