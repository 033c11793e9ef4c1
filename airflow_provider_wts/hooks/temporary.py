"""Temporary databases, for data that does not fit into memory with a million recipients."""

from __future__ import annotations

import sqlite3

#: KiB of a database that stay in memory.
_IN_MEMORY = 16 * 1024


def temporary_database(schema: str) -> sqlite3.Connection:
    """Return a database in an unnamed file that disappears when it is closed or its process ends.

    :param schema: the SQL that creates its tables.
    """
    database = sqlite3.connect("")
    # It needs neither rollback nor durability, because nothing reads it after a crash.
    database.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_IN_MEMORY}")
    database.executescript(schema)
    return database
