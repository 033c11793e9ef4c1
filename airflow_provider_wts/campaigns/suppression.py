"""A suppression list: people who must not be messaged, from a file or a query."""

from __future__ import annotations

import logging
import re
from array import array
from bisect import bisect_left
from collections.abc import Mapping
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.addresses import People, has_address, hash_of, identity_of, recipient
from airflow_provider_wts.api.answers import required
from airflow_provider_wts.api.contacts import STATUSES, filter_contacts, get_contact
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, WtsRejectedError, quoted
from airflow_provider_wts.api.wire import is_missing, is_uuid
from airflow_provider_wts.campaigns import recipients
from airflow_provider_wts.campaigns.lost_digits import LostDigits
from airflow_provider_wts.campaigns.row_templates import RowError
from airflow_provider_wts.hooks.contacts import contacts_at
from airflow_provider_wts.hooks.queries import columns_and_rows
from airflow_provider_wts.sending.clock import seconds
from airflow_provider_wts.sending.rules import FRESH_FOR, Refusal, Rule
from airflow_provider_wts.waiting.conditions import reports_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from airflow_provider_wts.campaigns.recipients import Row
    from airflow_provider_wts.hooks.wts import WtsHook


log = logging.getLogger(__name__)

#: The columns that may name the person, if there is more than one column.
COLUMNS = ("to", "recipient", "contact_id")

#: Maximum contacts to look up one at a time; for more, the lists of all contacts are read.
_MAX_LOOKUPS = 300

#: A read stays valid for this many times as long as it took.
_VALID_FACTOR = 20

_HASH = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)

_BYTES_OF_HASH = 32

#: Advice in errors about recipients, and what to say about a list instead.
_ADVICE = (
    (re.compile(r"Example: recipients_encoding=.*"), "Save it in UTF-8."),
    (re.compile(r"Set recipients_format to .*"), "Let its name end in .csv, .jsonl, .xlsx or .parquet."),
    (re.compile(r"Name one of them. Example: recipients_sheet=.*"), "Leave one of them visible."),
)


class Suppression(Rule):
    """Excludes people on a list. If part of the list cannot be read, nothing is sent.

    :param parameter: the parameter that names the list.
    :param alone: whether there is only one recipient, whose contact is looked up.
    """

    def __init__(
        self, hook: WtsHook, read: Callable[[], Iterable[Row]], parameter: str, *, alone: bool = False
    ) -> None:
        self._hook = hook
        self._rows = read
        self._parameter = parameter
        self._alone = alone
        self._refusal = Refusal(parameter, f"is on the list of {parameter}")
        self._listed = _Listed()
        self._contacts: dict[str, Mapping[str, Any]] = {}
        self._people = People[Refusal]()
        self._read_at: float | None = None
        self._fresh_for = FRESH_FOR

    def begin(self) -> None:
        """Read the list, unless it has been read."""
        if self._read_at is None:
            self._read()

    def before_chunk(self) -> None:
        """Read the list again, if the last read is more than a minute old, and older than 20 times what it took."""
        if self._read_at is None or seconds() - self._read_at > self._fresh_for:
            self._read()

    def refusal(self, to: str) -> Refusal | None:
        """Refuse recipients on the list."""
        self.begin()
        if self._listed.holds(to, self._hook) or to in self._people:
            return self._refusal
        if not self._alone or not self._listed.contact_ids:
            return None
        ids = [str(required(one, "id", "get_contact_by_phone")).lower() for one in contacts_at(self._hook, to)]
        return None if self._listed.contact_ids.isdisjoint(ids) else self._refusal

    def _read(self) -> None:
        begun = seconds()
        listed, problems = _Listed(), list[str]()
        for row in self._rows():
            if problem := listed.add(row):
                problems.append(f"Line {row.line}: {problem}.")
        listed.sort()
        self._refuse(problems, listed.rows)
        if not self._alone:
            self._refuse(self._look_up(listed.contact_ids), listed.rows)
        self._listed = listed
        self._read_at, self._fresh_for = begun, max(FRESH_FOR, _VALID_FACTOR * (seconds() - begun))
        log.info("%s: %s people get no message.", self._parameter, f"{listed.rows:,}")

    def _refuse(self, problems: list[str], rows: int) -> None:
        """Refuse a list with an unreadable row, because the person it names would get the message."""
        if not rows:
            raise WtsInvalidRequestError(
                f"{self._parameter}: the list is empty, which happens when the job that writes it fails. Nothing more "
                "was sent. If nobody is on it yet, omit the parameter, or list a number of your own."
            )
        if problems:
            raise recipients.many_problems(
                f"{self._parameter}: {len(problems):,} of {rows:,} rows cannot be read, so these people would get the "
                "message. Nothing more was sent. Correct or remove the rows.",
                problems,
                len(problems),
            )

    def _look_up(self, contact_ids: Collection[str]) -> list[str]:
        """Look up the numbers and handles of contacts, and return a problem for each that has none."""
        problems: list[str] = []
        unknown = [one for one in contact_ids if one not in self._contacts]
        if len(unknown) > _MAX_LOOKUPS:
            self._read_all(set(unknown))
            unknown = [one for one in unknown if one not in self._contacts]
        for place, contact_id in enumerate(unknown):
            if place == _MAX_LOOKUPS:
                return [*problems, f"{len(unknown) - place:,} more contacts are not in WTS Chat"]
            try:
                contact: Any = self._hook.run(get_contact(contact_id))
                self._contacts[contact_id] = contact
            except WtsRejectedError as error:
                if not reports_missing(error):
                    raise
                problems.append(f"Contact {contact_id} is not in WTS Chat, so its number is unknown; list the number.")
        for contact_id in contact_ids:
            known = self._contacts.get(contact_id)
            if known is not None and not (self._people.add(known, self._refusal) and has_address(known)):
                problems.append(f"Contact {contact_id} has a number that cannot be read; list the number.")
        return problems

    def _read_all(self, contact_ids: set[str]) -> None:
        for status in STATUSES:
            for contact in self._hook.client.items(filter_contacts(status=status)):
                if (found := str(contact.get("id")).lower()) in contact_ids:
                    self._contacts[found] = contact


def rows_of_file(path: str) -> Iterator[Row]:
    """Iterate over the rows of a list in a file, as in ``recipients_path``."""
    try:
        for row in recipients.in_file(path):
            if isinstance(row.values, Mapping) and (data := [name for name in row.values if _is_data(name)]):
                raise WtsInvalidRequestError(
                    f"suppression_path: the header contains {quoted(data[0])}, which is data. Nothing more was sent. "
                    "Add a first line with the name of the column. Example: to"
                )
            yield row
    except WtsError as error:
        said = str(error).partition(": ")[2]
        # That advice names parameters of recipients, which do not apply here.
        for pattern, advice in _ADVICE:
            said = pattern.sub(advice, said)
        raise type(error)(f"suppression_path: {said}") from None


def rows_of_query(sql: str, conn_id: str, parameters: Any = None) -> Iterator[Row]:
    """Iterate over the rows of a list from a query."""
    found = columns_and_rows(sql, conn_id, parameters, name="suppression", unsent="Nothing more was sent.")
    columns = next(found)
    for number, cells in enumerate(found, start=1):
        yield recipients.Row(number, dict(zip(columns, cells, strict=True)))


def _without_bytes(cell: Any) -> Any:
    """Decode bytes: some databases return hashes as bytes, and text with a binary collation."""
    if not isinstance(cell, (bytes, bytearray, memoryview)):
        return cell
    found = bytes(cell)
    if len(found) == _BYTES_OF_HASH and not (found.isascii() and found.decode().isprintable()):
        return found.hex()
    try:
        return found.decode()
    except UnicodeError:
        raise WtsInvalidRequestError(
            f"contains {len(found)} bytes that are not text. A hash has {_BYTES_OF_HASH} bytes, or "
            f"{2 * _BYTES_OF_HASH} hexadecimal digits"
        ) from None


def _is_data(text: str) -> bool:
    return bool(_HASH.fullmatch(text)) or is_uuid(text)


class _Listed:
    """A list, in eight bytes per person. A collision between two people is negligibly rare."""

    def __init__(self) -> None:
        self.rows = 0
        self.contact_ids: set[str] = set()
        self._digests: Any = array("Q")
        self._has_hashes = False
        self._lost_digits = LostDigits(skips=False)

    def add(self, row: Row) -> str:
        """Add a row, or return what is wrong with it."""
        self.rows += 1
        if row.problem:
            return row.problem
        values = row.values if isinstance(row.values, Mapping) else {"to": row.values}
        if len(values) > 1 and not (named := [name for name in COLUMNS if name in values]):
            return f"has {len(values)} columns, and none of them is one of {', '.join(map(repr, COLUMNS))}"
        names = list(values) if len(values) == 1 else named
        try:
            given = [value for name in names if not is_missing(value := _without_bytes(values[name]))]
            if not given:
                return "is empty"
            for value in given:
                self._lost_digits.check(value, values, row.line)
                self._add(value)
        except (WtsInvalidRequestError, RowError) as error:
            return str(error).removesuffix(".")
        return ""

    def _add(self, value: Any) -> None:
        text = str(value).strip()
        if _HASH.fullmatch(text):
            self._has_hashes = True
            self._digests.append(_digest(text.lower()))
        elif is_uuid(text):
            self.contact_ids.add(text.lower())
        else:
            self._digests.append(_digest(identity_of(recipient(value))))

    def sort(self) -> None:
        """Prepare for :meth:`holds`."""
        self._digests = array("Q", sorted(self._digests))

    def holds(self, to: str, hook: WtsHook) -> bool:
        """Whether a person is on the list by number, handle or hash."""
        return self._has(identity_of(to)) or (self._has_hashes and self._has(hash_of(to, hook.hash_key)))

    def _has(self, key: str) -> bool:
        digest = _digest(key)
        place = bisect_left(self._digests, digest)
        return place < len(self._digests) and self._digests[place] == digest


def _digest(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest())
