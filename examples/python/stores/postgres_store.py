"""A shared store in PostgreSQL, for services that have such a database anyway."""

from contextlib import contextmanager

import psycopg
from remint.store import Conflict, Held, Locked, Saved

TABLE = """
CREATE TABLE IF NOT EXISTS tokens (
  key text PRIMARY KEY,
  record text, expires timestamptz,
  owner text, until timestamptz
)"""
# The database's clock is the only one that counts.
ROW = """
SELECT CASE WHEN expires > clock_timestamp() THEN record END, owner, extract(epoch FROM until - clock_timestamp())
FROM tokens WHERE key = %s FOR UPDATE"""


class PostgresStore:
    # Nobody tells of changes: look that often, in seconds. (LISTEN and NOTIFY would be the functions `subscribe` and `save`.)
    store_check = 1

    def __init__(self, url):
        self._url = url
        with psycopg.connect(url) as connection:
            # Two who create it at the same time would be in each other's way.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('tokens'))")
            connection.execute(TABLE)

    def load(self, key):
        with psycopg.connect(self._url, connect_timeout=1) as connection:
            row = connection.execute("SELECT record FROM tokens WHERE key = %s AND expires > clock_timestamp()", (key,)).fetchone()
            return row[0] if row else None

    def lock(self, key, owner, ttl):
        with self._row(key) as (connection, record, holder, left):
            if ttl == 0:
                connection.execute("UPDATE tokens SET owner = NULL WHERE key = %s AND owner = %s", (key, owner))
            elif holder not in (None, owner) and left > 0:
                return Held(float(left), record)
            else:
                connection.execute(
                    "UPDATE tokens SET owner = %s, until = clock_timestamp() + make_interval(secs => %s) WHERE key = %s", (owner, ttl, key)
                )
            return Locked(record)

    def save(self, key, expect, record, ttl, unlock):
        with self._row(key) as (connection, stored, holder, _):
            if stored != expect:
                return Conflict(stored)
            connection.execute(
                "UPDATE tokens SET record = %s, expires = clock_timestamp() + make_interval(secs => %s), owner = %s WHERE key = %s",
                (record, ttl, None if holder == unlock else holder, key),
            )
            return Saved()

    @contextmanager
    def _row(self, key):
        """One key's row, which is there afterwards, and nobody else's until the transaction ends."""
        with psycopg.connect(self._url, connect_timeout=1) as connection:
            connection.execute("INSERT INTO tokens (key) VALUES (%s) ON CONFLICT DO NOTHING", (key,))
            yield connection, *connection.execute(ROW, (key,)).fetchone()
