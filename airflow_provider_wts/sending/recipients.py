"""The recipients of a campaign: every row checked, spelled and looked at for duplicates before the first request.

What was checked is kept in a temporary file, so that a large campaign takes no more memory than a small one, and a
source that changes meanwhile changes nothing.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.addresses import identity_of
from airflow_provider_wts.api.call import json_value
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.campaigns.missing import is_blank, is_missing, plain_number, without_missing
from airflow_provider_wts.sending.row_templates import RowError, RowValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_wts.sending.row_templates import RowTemplates
    from airflow_provider_wts.sending.rows import Row

#: Bytes of checked recipients that stay in memory.
_IN_MEMORY = 8 * 1024 * 1024

#: Bad rows that an error lists.
_MOST_LISTED = 20

#: What a customer reads: a cell without a value makes the row a bad one.
_READ_BY_CUSTOMERS = frozenset(("text", "parameters"))


class Recipient(NamedTuple):
    """One recipient, checked.

    :param line: where a person finds the row.
    :param to: phone number or handle, as the API spells it.
    :param values: what goes to this recipient, by parameter.
    """

    line: int
    to: str
    values: dict[str, Any]

    @property
    def identity(self) -> str:
        """What stays the same however the number was written: with the ninth digit, where Brazil has one."""
        return identity_of(self.to)


class Left(NamedTuple):
    """A row that nothing goes to.

    :param line: where a person finds the row.
    :param status: ``bad_row`` or ``duplicate``.
    :param reason: why.
    """

    line: int
    status: str
    reason: str


class RowPlan:
    """How a row becomes a recipient.

    A parameter comes from its template; without one, from the column of its name. A row that is no object is the
    recipient itself.

    :param templates: compiles the templates.
    :param given: templates by parameter; ``None`` = none was given.
    :param checks: turn what a row gives into what the API takes, or raise ``WtsInvalidRequestError``, by parameter.
    :param spell: spells a recipient, and refuses one that the connection does not allow.
    """

    def __init__(
        self,
        templates: RowTemplates,
        given: Mapping[str, Any],
        checks: Mapping[str, Callable[[Any], Any]],
        spell: Callable[[Any], str],
    ) -> None:
        self._fills = {
            name: templates.compiled(f"row_{name}", template, needed=name == "to" or name in _READ_BY_CUSTOMERS)
            for name, template in given.items()
            if template is not None
        }
        self._checks = checks
        self._spell = spell

    def recipient(self, row: Row) -> Recipient:
        """Return the recipient of a row.

        :param row: the row.
        :raises RowError: saying what is wrong with it.
        """
        if row.problem:
            raise RowError(row.problem)
        value = plain_number(row.values)
        plain = isinstance(value, (str, int, float, Decimal)) and not isinstance(value, bool)
        columns = {"to": value} if plain else value
        if not isinstance(columns, Mapping):
            raise RowError(f"is a {type(columns).__name__}; a row is an object, or a phone number")
        seen = RowValues(columns)
        to = self._value("to", columns, seen)
        if is_blank(to):
            hint = "" if "to" in self._fills or "to" in columns else "; say which column holds it with row_to"
            raise RowError(f"to: is empty{hint}")
        try:
            spelled = self._spell(to)
            values = {name: check(self._value(name, columns, seen)) for name, check in self._checks.items()}
        except WtsInvalidRequestError as error:
            raise RowError(str(error).removesuffix(".")) from None
        return Recipient(row.line, spelled, {name: one for name, one in values.items() if one is not None})

    def _value(self, name: str, columns: Mapping[str, Any], seen: RowValues) -> Any:
        fill = self._fills.get(name)
        if fill is not None:
            return fill(seen)
        value = columns.get(name)
        if name in columns and name in _READ_BY_CUSTOMERS and is_missing(value):
            raise RowError(f"{name}: the column {name!r} has no value")
        return without_missing(value)


class Recipients:
    """The checked recipients of a campaign, in the order of their rows; can be walked any number of times.

    :param rows: the rows.
    :param plan: how a row becomes a recipient.
    """

    def __init__(self, rows: Iterable[Row], plan: RowPlan) -> None:
        self.count = 0
        self.bad_rows = 0
        self.duplicates = 0
        self._problems: list[str] = []
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  # see close()
        lines: dict[str, int] = {}
        for row in rows:
            self._file.write(self._checked(row, plan, lines) + b"\n")

    def __enter__(self) -> Recipients:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the temporary file."""
        self._file.close()

    @property
    def rows(self) -> int:
        """How many rows there are, whatever is in them."""
        return self.count + self.bad_rows + self.duplicates

    def entries(self) -> Iterator[Recipient | Left]:
        """Walk all rows: the recipients, and what is left out. One walk at a time."""
        self._file.seek(0)
        for line in self._file:
            kept = json.loads(line)
            yield Left(*kept) if isinstance(kept[2], str) else Recipient(*kept)

    def __iter__(self) -> Iterator[Recipient]:
        return (entry for entry in self.entries() if isinstance(entry, Recipient))

    def refuse_bad_rows(self, where: str = "") -> None:
        """Refuse the whole campaign where a row is bad.

        :param where: says where all of them are, at the end of the first line.
        :raises WtsInvalidRequestError: listing the rows.
        """
        if self.bad_rows:
            more = self.bad_rows - _MOST_LISTED
            problems = [*self._problems, f"And {more:,} more."] if more > 0 else self._problems
            raise WtsInvalidRequestError(
                "\n".join(
                    [
                        f"{self.bad_rows:,} of {self.rows:,} rows are bad. Nothing was sent. Fix them, or set "
                        f"on_bad_row='skip' to send to the others.{where}",
                        *problems,
                    ]
                )
            )

    def _checked(self, row: Row, plan: RowPlan, lines: dict[str, int]) -> bytes:
        """Return a row as it is kept."""
        try:
            recipient = plan.recipient(row)
            kept = _written(recipient)
        except (RowError, TypeError, ValueError) as error:
            self.bad_rows += 1
            if len(self._problems) < _MOST_LISTED:
                self._problems.append(f"Line {row.line}: {error}.")
            return _written(Left(row.line, "bad_row", str(error)))
        first = lines.setdefault(recipient.identity, row.line)
        if first != row.line:
            self.duplicates += 1
            return _written(Left(row.line, "duplicate", f"the recipient stands in line {first} already"))
        self.count += 1
        return kept


def _written(entry: Recipient | Left) -> bytes:
    # As it will go out: what cannot be written then is a bad row now.
    return json.dumps(entry, default=_json, allow_nan=False, ensure_ascii=False).encode()


def _json(value: object) -> object:
    """Turn what Parquet holds beside JSON's kinds, such as dates and decimals, into text or numbers."""
    if isinstance(value, (datetime, date, time)):
        # Without a time zone it means what it meant to its author.
        return value.isoformat()
    return json_value(value)
