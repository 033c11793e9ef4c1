"""The recipients of a campaign: every row checked, spelled and looked at for duplicates before the first request.

What was checked is kept in a temporary file, so that a large campaign takes no more memory than a small one, and a
source that changes meanwhile changes nothing.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from datetime import date, datetime
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from airflow_provider_wts.api.call import json_value
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.sending.contacts import identity_of
from airflow_provider_wts.sending.row_templates import RowError, RowValues

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from airflow_provider_wts.sending.row_templates import RowTemplates
    from airflow_provider_wts.sending.rows import Row

#: Bytes of checked recipients that stay in memory.
_IN_MEMORY = 8 * 1024 * 1024

#: Bad rows that an error lists.
_MOST_LISTED = 20


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
        spell: Callable[[str], str],
    ) -> None:
        self._fills = {
            name: templates.compiled(f"row_{name}", template)
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
        plain = isinstance(row.values, (str, int)) and not isinstance(row.values, bool)
        columns = {"to": row.values} if plain else row.values
        if not isinstance(columns, Mapping):
            raise RowError(f"is a {type(columns).__name__}; a row is an object, or a phone number")
        seen = RowValues(columns)
        to = self._value("to", columns, seen)
        if to is None or isinstance(to, bool) or not isinstance(to, (str, int)) or not str(to).strip():
            hint = "" if "to" in self._fills or "to" in columns else "; say which column holds it with row_to"
            raise RowError(f"to: is empty{hint}")
        try:
            spelled = self._spell(str(to))
            values = {name: check(self._value(name, columns, seen)) for name, check in self._checks.items()}
        except WtsInvalidRequestError as error:
            raise RowError(str(error).removesuffix(".")) from None
        return Recipient(row.line, spelled, {name: one for name, one in values.items() if one is not None})

    def _value(self, name: str, columns: Mapping[str, Any], seen: RowValues) -> Any:
        fill = self._fills.get(name)
        return fill(seen) if fill is not None else columns.get(name)


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

    def entries(self) -> Iterator[Recipient | Left]:
        """Walk all rows: the recipients, and what is left out. One walk at a time."""
        self._file.seek(0)
        for line in self._file:
            kept = json.loads(line)
            yield Left(*kept) if isinstance(kept[2], str) else Recipient(*kept)

    def __iter__(self) -> Iterator[Recipient]:
        return (entry for entry in self.entries() if isinstance(entry, Recipient))

    def refuse_bad_rows(self) -> None:
        """Refuse the whole campaign where a row is bad.

        :raises WtsInvalidRequestError: listing the rows.
        """
        if self.bad_rows:
            more = f" And {self.bad_rows - _MOST_LISTED} more." if self.bad_rows > _MOST_LISTED else ""
            raise WtsInvalidRequestError(
                f"{self.bad_rows} of {self.bad_rows + self.duplicates + self.count} rows are bad, so nothing was sent. "
                f"{' '.join(self._problems)}{more} Mend them, or set on_bad_row='skip' to send to the others."
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
    """Turn what Parquet holds beside JSON's kinds, such as moments and decimals, into text or numbers."""
    if isinstance(value, (datetime, date)):
        # Without a time zone it means what it meant to its author.
        return value.isoformat()
    return json_value(value)
