"""Temporary databases: what has to be looked up, and is too much for memory with a million recipients."""

from __future__ import annotations

import sqlite3

#: KiB of a database that stay in memory.
_IN_MEMORY = 16 * 1024


def temporary_database(schema: str) -> sqlite3.Connection:
    """Return a database in a file without a name, which is gone when it is closed or its process ends.

    :param schema: makes its tables.
    """
    database = sqlite3.connect("")
    # Nobody reads it after a crash, so nothing is ever rolled back or waited for.
    database.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -{_IN_MEMORY}")
    database.executescript(schema)
    return database
