"""Writes rows into a table of a database with an Airflow connection, and creates the table if it is missing."""

from __future__ import annotations

import json
import re
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2b
from itertools import islice
from operator import itemgetter, ne
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, quoted
from airflow_provider_wts.api.parameters import missing
from airflow_provider_wts.hooks.databases import (
    cells_of,
    database_hook,
    is_duplicate_key,
    is_permanent,
    message_of,
    opened,
)
from airflow_provider_wts.hooks.temporary import temporary_database

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

#: Rows per statement. Some databases allow 1,000 values in a list, and 65,535 in all.
_BATCH = 500

#: Characters of text per statement. MySQL and MariaDB refuse one of more than 4 to 64 MB (max_allowed_packet).
_LONGEST = 1 << 20

#: The SQL type of each kind of column, by dialect.
_TYPES = {
    "id": ('CHAR(36) COLLATE "C"', "CHAR(36) CHARACTER SET ascii COLLATE ascii_bin", "CHAR(36)"),
    "key": ('VARCHAR(255) COLLATE "C"', "VARCHAR(255) CHARACTER SET utf8mb4 COLLATE {collation}", "VARCHAR(255)"),
    "text": ("TEXT", "MEDIUMTEXT CHARACTER SET utf8mb4", "TEXT"),
    "json": ("TEXT", "LONGTEXT CHARACTER SET utf8mb4", "TEXT"),
    "count": ("INTEGER", "INTEGER", "INTEGER"),
    "long": ("BIGINT", "BIGINT", "INTEGER"),
    "flag": ("BOOLEAN", "BOOLEAN", "BOOLEAN"),
    "time": ("TIMESTAMP WITH TIME ZONE", "DATETIME(6)", "TEXT"),
    "number": ("NUMERIC(18, 4)", "DECIMAL(18, 4)", "NUMERIC"),
}
_DIALECTS = ("postgresql", "mysql", "sqlite")

#: Binary collations of MariaDB and MySQL. The last one, for old servers, ignores trailing spaces.
_COLLATIONS = ("utf8mb4_nopad_bin", "utf8mb4_0900_bin", "utf8mb4_bin")

#: Dialects with statements of many rows; their drivers' executemany would send one row after another.
_MULTI_ROW = ("postgresql", "mysql")

#: How each dialect converts a cell to text and joins the texts of a row, and an expression that counts the rows, counts
#: those with a text (MySQL returns NULL for one that is too long), and sums their digests, regardless of order.
_SEALS = {
    "postgresql": ("{}", ", ", "COUNT(*), COUNT(*), SUM(hashtextextended(CAST(ROW({}) AS TEXT), 0))"),
    "mysql": (
        "CAST(QUOTE({}) AS BINARY)",
        ", ',', ",
        "COUNT(*), COUNT(CONCAT({0})), SUM(CAST(CONV(LEFT(SHA2(CONCAT({0}), 256), 16), 16, 10) AS UNSIGNED))",
    ),
    "sqlite": ("quote({})", " || ',' || ", "COUNT(*), COUNT(*), wts_digest({})"),
}

#: Begins a transaction that sees a snapshot and its own changes. SQLite blocks other writers.
_SNAPSHOTS = {
    **dict.fromkeys(("postgresql", "mysql"), "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"),
    "sqlite": "BEGIN IMMEDIATE",
}

#: How long PostgreSQL waits for a lock, such as one of a stopped worker. Its default is no limit; that of MySQL, 50 s.
_POSTGRESQL_LOCKS = "2min"

#: Decimals of an amount.
_DIGITS = 4

#: A part of a table's name, and one in quotes, which has no character that could end them or begin a placeholder.
_PART = r"""[A-Za-z_][\w$]*|"[^"`\\%\0-\x1f]+"|`[^"`\\%\0-\x1f]+`"""

_NAME = re.compile(rf"(?:{_PART})(?:\.(?:{_PART})){{0,2}}")


def table_of(
    names: tuple[str, str],
    given: tuple[Any, Any],
    columns: Mapping[str, str],
    key: Sequence[str],
    dates: Sequence[str] = (),
) -> Table | None:
    """Return the table that two parameters name, or ``None`` if neither is given.

    :param names: the names of the parameters for the table and for the connection.
    :param given: the values of these parameters. The others are as in :class:`Table`.
    :raises WtsInvalidRequestError: when only one of them is given, or it is not a valid name.
    """
    table, conn_id = (None if missing(one) else str(one).strip() for one in given)
    if table is None and conn_id is None:
        return None
    if table is None or conn_id is None:
        raise WtsInvalidRequestError(f"{', '.join(names)}: give both of them, or neither.")
    return Table(conn_id, table, columns, key, parameters=names, dates=dates)


class Replaced(NamedTuple):
    """The state of a table after a write.

    :param written: how many rows were written.
    :param seal: a digest of all rows; ``None`` if the database cannot compute it.
    """

    written: int
    seal: str | None


class Table:
    """A table of a database.

    :param conn_id: the Airflow connection of the database.
    :param name: the table's name, optionally with its schema; exact, in double quotes or backticks, or as the database
        reads it without quotes.
    :param columns: the kind of each column, by name.
    :param key: the columns of the primary key.
    :param parameters: the names of the parameters for the table and the connection, for errors.
    :param dates: columns with dates of the row; a row with later dates in the table is not replaced.
    :raises WtsInvalidRequestError: when it is not a valid name.
    """

    def __init__(
        self,
        conn_id: str,
        name: str,
        columns: Mapping[str, str],
        key: Sequence[str],
        *,
        parameters: tuple[str, str],
        dates: Sequence[str] = (),
    ) -> None:
        self._parameter, self._connection = parameters
        if not _NAME.fullmatch(name):
            raise WtsInvalidRequestError(
                f"{self._parameter}: {quoted(name)} is not a valid table name. Put a name with other characters into "
                "quotes. Example: 'crm.outcomes', or '\"CRM\".\"Outcomes of 2026\"'"
            )
        self._hook = database_hook(conn_id, parameter=self._connection)
        self.name = name
        self._columns = columns
        self._key = key
        self._key_places, self._date_places = ([list(columns).index(name) for name in some] for some in (key, dates))
        self._dialect = str(self._hook.dialect_name).partition("+")[0].replace("mariadb", "mysql")
        self._table = _safe(name, self._dialect)

    def check(self, unsent: str) -> None:
        """Create the table if it is missing, and check its columns and who may write to it, before there are any rows.

        :param unsent: a sentence for errors that says what did not happen.
        :raises WtsError: when it cannot be used.
        """
        with self._connected(unsent) as (connection, cursor):
            self._begin(connection, cursor)
            columns = ", ".join(self._columns)
            self._probe(cursor, columns)
            # A statement that changes no row needs the same privileges as one that does.
            cursor.execute(f"INSERT INTO {self._table} ({columns}) SELECT {columns} FROM {self._table} WHERE 1 = 0")  # noqa: S608  # names that were checked
            cursor.execute(f"DELETE FROM {self._table} WHERE 1 = 0")  # noqa: S608  # as above

    def replace(
        self,
        rows: Iterable[Mapping[str, Any]],
        *,
        whole: Sequence[Any] = (),
        done: str = "",
    ) -> int:
        """Replace rows by key, all or none. Rows that have not changed are not written.

        They are compared with the table itself: somebody may have emptied it, or a kill may have come before the end.

        :param whole: values of the key's first column; the table's other rows with these values are deleted.
        :param done: a sentence for errors that says what has happened already.
        :return: how many rows were written.
        :raises WtsError: when they cannot be written; the table is unchanged.
        """
        with self._connected(f"{done} The table is unchanged.".lstrip()) as (connection, cursor):
            # Others may write later rows meanwhile. PostgreSQL refuses to replace what this snapshot does not show.
            self._begin(connection, cursor, snapshot=bool(self._date_places))
            return self._replace(cursor, rows, whole, ())

    def replace_changed(
        self,
        rows: Iterable[Mapping[str, Any]],
        changed: Iterable[Mapping[str, Any]],
        *,
        seal: str | None,
        whole: Sequence[Any],
        unless: Collection[str],
    ) -> Replaced:
        """Write rows as :meth:`replace` does. If nobody else changed the table, only changed rows are compared.

        :param rows: all rows.
        :param changed: the rows that changed since the table had this seal, when the same keys existed.
        :param seal: the seal of the last write, if any.
        :param whole: as in :meth:`replace`.
        :param unless: columns whose changes alone do not cause a write.
        :raises WtsError: when they cannot be written; the table is unchanged.
        """
        with self._connected() as (connection, cursor):
            try:
                # The second seal does not include what others commit meanwhile, so the next call detects it.
                self._begin(connection, cursor, snapshot=True)
                before = self._seal(connection, cursor, whole, unless)
            except Exception:
                # The database may only be compatible with PostgreSQL.
                connection.rollback()
                self._begin(connection, cursor)
                before = None
            if before is None:
                return Replaced(self._replace(cursor, rows, whole, unless), None)
            if before != seal:
                written = self._replace(cursor, rows, whole, unless)
            elif not (written := self._replace(cursor, changed, (), unless)):
                return Replaced(0, seal)
            return Replaced(written, self._seal(connection, cursor, whole, unless))

    @contextmanager
    def _connected(self, consequence: str = "The table is unchanged.") -> Iterator[tuple[Any, Any]]:
        """Open a connection and a cursor in one transaction.

        :param consequence: what an error means, for its message.
        """
        try:
            with opened(self._hook, self._connection, consequence) as connection:
                cursor = connection.cursor()
                yield connection, cursor
                connection.commit()
        except WtsError:
            raise
        except Exception as error:
            raise self._problem(error, consequence) from error

    def _begin(self, connection: Any, cursor: Any, *, snapshot: bool = False) -> None:
        self._make(connection, cursor)
        if snapshot and self._dialect in _SNAPSHOTS:
            connection.commit()
            cursor.execute(_SNAPSHOTS[self._dialect])
        if self._dialect == "postgresql":
            # A column without a time zone stores local time.
            cursor.execute("SET LOCAL TIME ZONE 'UTC'")
            cursor.execute(f"SET LOCAL lock_timeout = '{_POSTGRESQL_LOCKS}'")
        if self._dialect == "mysql":
            # A TIMESTAMP interprets values as local time, and refuses the hour that daylight saving time skips. Unless
            # its mode is strict, the server cuts off what does not fit, and writes ? for characters it does not have.
            cursor.execute("SET time_zone = '+00:00', sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")

    def _replace(
        self, cursor: Any, rows: Iterable[Mapping[str, Any]], whole: Sequence[Any], unless: Collection[str]
    ) -> int:
        # Compare all cells of a row at once, because nearly all are equal.
        compared = itemgetter(*(place for place, name in enumerate(self._columns) if name not in unless))
        written = 0
        with closing(_Keys()) as keys:
            for batch in self._batches(rows):
                if whole:
                    keys.add(batch)
                there = self._existing(cursor, batch)
                if there and self._date_places and self._dialect == "mysql":
                    # MySQL replaces what its snapshot does not show, and shows it only to a query that locks.
                    there = self._existing(cursor, there, " FOR UPDATE")
                changed = {
                    key: row
                    for key, row in batch.items()
                    if (known := there.get(key)) is None
                    or (_differ(compared(known), compared(row)) and not self._is_later(known, row))
                }
                self._delete(cursor, changed.keys() & there.keys())
                self._insert(cursor, list(changed.values()))
                written += len(changed)
            if whole:
                self._delete(cursor, self._surplus(cursor, whole, keys))
        return written

    def _seal(self, connection: Any, cursor: Any, whole: Sequence[Any], unless: Collection[str]) -> str | None:
        """Return a digest of all rows, which the database computes without returning any row."""
        if self._dialect not in _SEALS:
            return None
        cell, join, seal = _SEALS[self._dialect]
        if self._dialect == "sqlite":
            connection.create_aggregate("wts_digest", 1, _Digest)
        texts = join.join(cell.format(name) for name in self._columns if name not in unless)
        cursor.execute(f"SELECT {seal.format(texts)} FROM {self._table} WHERE {self._of_whole(whole)}", tuple(whole))  # noqa: S608  # names that were checked
        (row,) = cursor.fetchall()
        count, has_text, digest = cells_of(row)
        return f"{count}:{digest}" if count == has_text else None

    def _of_whole(self, whole: Sequence[Any]) -> str:
        return f"{self._key[0]} IN ({', '.join([self._hook.placeholder] * len(whole))})"

    def _problem(self, error: Exception, consequence: str) -> WtsError:
        name = f"{self._parameter}: the rows could not be written to {quoted(self.name)}"
        said = f"{name}: {message_of(error).rstrip('.')}. {consequence}"
        is_refused = "IntegrityError" in {kind.__name__ for kind in type(error).__mro__}
        if is_refused and is_duplicate_key(error):
            key = ", ".join(self._key)
            return WtsError(
                f"{said} If another task wrote the same rows meanwhile, a retry finds them. Otherwise, the table "
                f"considers two keys equal, or has another key: its key must be {key}, compared byte by byte. "
                "Change the table, or drop it, so that it is created again; then clear the task."
            )
        if is_refused or is_permanent(error):
            return WtsInvalidRequestError(
                f"{said} Change the table, or drop it, so that it is created again, or change the privileges of the "
                "connection's user; then clear the task."
            )
        return WtsError(f"{said} A retry writes them.")

    def _batches(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[tuple[Any, ...], tuple[Any, ...]]]:
        """Return the rows' values by key, in batches."""
        left = iter(rows)
        while batch := [self._values(row) for row in islice(left, _BATCH)]:
            yield {self._key_of(values): values for values in batch}

    def _key_of(self, values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(_plain(values[place]) for place in self._key_places)

    def _existing(
        self, cursor: Any, keys: Iterable[tuple[Any, ...]], lock: str = ""
    ) -> dict[tuple[Any, ...], Sequence[Any] | None]:
        """Return the table's rows with these keys, by key; ``None`` if several have the same key."""
        there: dict[tuple[Any, ...], Sequence[Any] | None] = {}
        keys = list(keys)
        exact, loose = set(keys), {_loose(key): key for key in keys}
        for where, values in self._conditions(keys):
            cursor.execute(f"SELECT {', '.join(self._columns)} FROM {self._table} WHERE {where}{lock}", values)  # noqa: S608  # names that were checked
            for cells in map(cells_of, cursor.fetchall()):
                key = self._key_of(cells)
                if key in exact:
                    there[key] = None if key in there else cells
                else:
                    there[loose.get(_loose(key), key)] = cells
        return there

    def _is_later(self, there: Sequence[Any], ours: Sequence[Any]) -> bool:
        """Whether a row of the table has a later date, so that ours is older."""
        dates = ((_plain(there[place]), _plain(ours[place])) for place in self._date_places)
        return any(type(known) is type(own) and known is not None and known > own for known, own in dates)

    def _surplus(self, cursor: Any, whole: Sequence[Any], keys: _Keys) -> list[tuple[Any, ...]]:
        """Return the keys in the table that are not ours."""
        names, where = ", ".join(self._key), self._of_whole(whole)
        cursor.execute(f"SELECT COUNT(*) FROM {self._table} WHERE {where}", tuple(whole))  # noqa: S608  # as above
        (row,) = cursor.fetchall()
        if cells_of(row)[0] == len(keys):
            return []
        cursor.execute(f"SELECT {names} FROM {self._table} WHERE {where}", tuple(whole))  # noqa: S608  # as above
        found = map(cells_of, cursor.fetchall())
        return [key for cells in found if (key := tuple(map(_plain, cells))) not in keys]

    def _conditions(self, keys: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, tuple[Any, ...]]]:
        """Return conditions that match some keys: one for each group that differs only in the last column."""
        *group, last = self._key
        same: dict[tuple[Any, ...], list[Any]] = {}
        for key in keys:
            same.setdefault(key[:-1], []).append(key[-1])
        mark = self._hook.placeholder
        where = "".join(f"{column} = {mark} AND " for column in group)
        for values, members in same.items():
            for begin in range(0, len(members), _BATCH):
                some = members[begin : begin + _BATCH]
                yield f"{where}{last} IN ({', '.join([mark] * len(some))})", (*values, *some)

    def _delete(self, cursor: Any, keys: Iterable[tuple[Any, ...]]) -> None:
        for where, values in self._conditions(keys):
            cursor.execute(f"DELETE FROM {self._table} WHERE {where}", values)  # noqa: S608  # as above

    def _insert(self, cursor: Any, batch: Sequence[tuple[Any, ...]]) -> None:
        into = f"INSERT INTO {self._table} ({', '.join(self._columns)}) VALUES "  # noqa: S608  # as above
        row = f"({', '.join([self._hook.placeholder] * len(self._columns))})"
        for some in _portions(batch):
            if self._dialect in _MULTI_ROW:
                cells = tuple(value for values in some for value in values)
                cursor.execute(into + ", ".join([row] * len(some)), cells)
            else:
                cursor.executemany(into + row, some)

    def _make(self, connection: Any, cursor: Any) -> None:
        """Create the table if it is missing, and the types of its database are known."""
        if self._dialect not in _DIALECTS:
            return
        place = _DIALECTS.index(self._dialect)
        # CREATE, even with IF NOT EXISTS, needs a privilege that a task that only writes rows may not have.
        if self._is_there(connection, cursor):
            return
        collation = ""
        if self._dialect == "mysql":
            marks = ", ".join([self._hook.placeholder] * len(_COLLATIONS))
            query = f"SELECT COLLATION_NAME FROM information_schema.COLLATIONS WHERE COLLATION_NAME IN ({marks})"  # noqa: S608  # marks alone
            cursor.execute(query, _COLLATIONS)
            known = {cells_of(row)[0] for row in cursor.fetchall()}
            collation = next(name for name in _COLLATIONS if name in known)
        columns = [
            f"{name} {_TYPES[kind][place].format(collation=collation)}{' NOT NULL' if name in self._key else ''}"
            for name, kind in self._columns.items()
        ]
        try:
            cursor.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} ({', '.join(columns)}, PRIMARY KEY ({', '.join(self._key)}))"
            )
        except Exception:
            # Another task may have created it meanwhile, which PostgreSQL notices too late for IF NOT EXISTS.
            if not self._is_there(connection, cursor):
                raise

    def _is_there(self, connection: Any, cursor: Any) -> bool:
        """Whether the table exists. This rolls back the transaction so far."""
        try:
            # A failed statement ends the transaction of PostgreSQL.
            connection.rollback()
            self._probe(cursor, "1")
        except Exception:
            connection.rollback()
            return False
        return True

    def _probe(self, cursor: Any, columns: str) -> None:
        cursor.execute(f"SELECT {columns} FROM {self._table} WHERE 1 = 0")  # noqa: S608  # names that were checked
        cursor.fetchall()

    def _values(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(self._value(row[column], kind) for column, kind in self._columns.items())

    def _value(self, value: Any, kind: str) -> Any:
        if value is None:
            return None
        if isinstance(value, str):
            if value.isascii() and "\0" not in value:
                return value
            # No database accepts half a character, and PostgreSQL accepts no NUL.
            return value.encode(errors="replace").decode().replace("\0", " ")
        if kind == "number":
            return round(float(value), _DIGITS)
        if not isinstance(value, datetime):
            return value
        if self._dialect == "sqlite":
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        return value.astimezone(UTC) if self._dialect == "postgresql" else value.astimezone(UTC).replace(tzinfo=None)


def _safe(name: str, dialect: str) -> str:
    """Return a table's name in the quotes of its database, which a reserved word needs; the same table as without."""
    if dialect not in _DIALECTS:
        return name
    mark = "`" if dialect == "mysql" else '"'

    def exact(part: str) -> str:
        if part[0] in '"`':
            return f"{mark}{part[1:-1]}{mark}"
        # PostgreSQL reads a name without quotes in lower case, but only its ASCII letters.
        return f"{mark}{part.lower() if dialect == 'postgresql' else part}{mark}" if part.isascii() else part

    return ".".join(map(exact, re.findall(_PART, name)))


def _portions(batch: Sequence[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Split rows into as many as fit into a statement, or a single one that is longer."""
    some: list[tuple[Any, ...]] = []
    length = 0
    for values in batch:
        own = sum(len(value) for value in values if isinstance(value, str))
        if some and length + own > _LONGEST:
            yield some
            some, length = [], 0
        some.append(values)
        length += own
    if some:
        yield some


class _Digest:
    """An aggregate function for SQLite: a digest of texts, regardless of order."""

    def __init__(self) -> None:
        self._sum = 0

    def step(self, text: str) -> None:
        """Add a text."""
        self._sum += int.from_bytes(blake2b(text.encode(errors="replace"), digest_size=8).digest())

    def finalize(self) -> str:
        """Return the digest."""
        return str(self._sum)


class _Keys:
    """The keys that were written, in a temporary database because there may be millions."""

    def __init__(self) -> None:
        self._db = temporary_database("CREATE TABLE key (name TEXT PRIMARY KEY, loose TEXT) WITHOUT ROWID")
        self._has_index = False

    def add(self, keys: Iterable[tuple[Any, ...]]) -> None:
        rows = ((json.dumps(key), json.dumps(_loose(key))) for key in keys)
        self._db.executemany("INSERT OR IGNORE INTO key VALUES (?, ?)", rows)

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        """Whether a key of the table is one of them, or may be after conversion by the table's column types."""
        if self._db.execute("SELECT 1 FROM key WHERE name = ?", [json.dumps(key, default=str)]).fetchone() is not None:
            return True
        if not self._has_index:
            self._db.execute("CREATE INDEX loose_key ON key (loose)")
            self._has_index = True
        return self._db.execute("SELECT 1 FROM key WHERE loose = ?", [json.dumps(_loose(key))]).fetchone() is not None

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM key").fetchone()[0])

    def close(self) -> None:
        self._db.close()


def _loose(key: Sequence[Any]) -> tuple[str, ...]:
    """Return a key without differences that column types cause: numbers, or text padded with spaces."""
    return tuple(str(int(part) if isinstance(part, float) and part.is_integer() else part).rstrip(" ") for part in key)


def _plain(cell: Any) -> Any:
    """Return a cell in a form that can be compared, because each driver has its own types."""
    if isinstance(cell, Decimal):
        return float(cell)
    if isinstance(cell, (bytes, bytearray, memoryview)):
        return bytes(cell).decode(errors="replace")
    if isinstance(cell, datetime):
        return cell if cell.tzinfo else cell.replace(tzinfo=UTC)
    return cell


def _differ(there: Any, ours: Any) -> bool:
    return bool(there != ours) and any(map(ne, map(_plain, there), map(_plain, ours)))
