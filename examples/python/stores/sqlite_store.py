"""A shared store in SQLite, for the processes of one machine that have such a database anyway."""

import sqlite3
import time
from contextlib import closing, contextmanager

from remint.store import Conflict, Held, Locked, Saved

TABLE = """
CREATE TABLE IF NOT EXISTS tokens (
  key TEXT PRIMARY KEY,
  record TEXT, expires REAL NOT NULL DEFAULT 0,
  owner TEXT, until REAL NOT NULL DEFAULT 0
)"""


class SqliteStore:
    # Nobody tells of changes: look that often, in seconds.
    store_check = 1

    def __init__(self, path):
        self._path = path
        with self._transaction() as database:
            database.execute(TABLE)

    def load(self, key):
        with self._transaction() as database:
            return self._row(database, key)[0]

    def lock(self, key, owner, ttl):
        now = time.time()
        with self._transaction() as database:
            record, holder, until = self._row(database, key)
            if ttl == 0:
                database.execute("UPDATE tokens SET owner = NULL WHERE key = ? AND owner = ?", (key, owner))
            elif holder not in (None, owner) and until > now:
                return Held(until - now, record)
            else:
                database.execute(
                    "INSERT INTO tokens (key, owner, until) VALUES (?, ?, ?)"
                    " ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, until = excluded.until",
                    (key, owner, now + ttl),
                )
            return Locked(record)

    def save(self, key, expect, record, ttl, unlock):
        with self._transaction() as database:
            stored, holder, until = self._row(database, key)
            if stored != expect:
                return Conflict(stored)
            database.execute(
                "INSERT INTO tokens (key, record, expires, owner, until) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET record = excluded.record, expires = excluded.expires, owner = excluded.owner",
                (key, record, time.time() + ttl, None if holder == unlock else holder, until),
            )
            return Saved()

    def _row(self, database, key):
        row = database.execute("SELECT record, expires, owner, until FROM tokens WHERE key = ?", (key,)).fetchone()
        record, expires, owner, until = row or (None, 0, None, 0)
        return record if expires > time.time() else None, owner, until

    @contextmanager
    def _transaction(self):
        """From the first read on, nobody else writes. A connection for each call: any thread may make one."""
        with closing(sqlite3.connect(self._path, timeout=1, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            finally:
                if database.in_transaction:
                    database.execute("ROLLBACK")
