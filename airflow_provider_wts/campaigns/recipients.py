"""The recipients of a campaign: rows of a list or file, what each recipient gets, and which rows are bad."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import math
import re
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import date, datetime, time
from decimal import Decimal
from io import BufferedReader, RawIOBase, TextIOWrapper
from itertools import islice
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast
from unicodedata import normalize

import jinja2
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.sandbox import SandboxedEnvironment, safe_range

from airflow_provider_wts.api.addresses import identity_of
from airflow_provider_wts.api.errors import WtsError, WtsInvalidRequestError, quoted, reason_of
from airflow_provider_wts.api.parameters import KeyTwiceError, read_json, twice
from airflow_provider_wts.api.wire import json_value
from airflow_provider_wts.campaigns.attempts import place
from airflow_provider_wts.campaigns.frames import frame_rows, parquet_rows
from airflow_provider_wts.campaigns.garbled import garbled_cell
from airflow_provider_wts.campaigns.missing import clock_time, is_blank, is_missing, plain_number, without_missing
from airflow_provider_wts.campaigns.row_filters import FILTERS
from airflow_provider_wts.campaigns.sent import LONGEST_KEY
from airflow_provider_wts.campaigns.shown_number import ShownNumber
from airflow_provider_wts.hooks.output_files import file_problem
from airflow_provider_wts.hooks.temporary import temporary_database

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow.sdk import ObjectStoragePath

    from airflow_provider_wts.sending.key import Mark


class Send(NamedTuple):
    """A send to a recipient, and its marker."""

    recipient: Recipient
    mark: Mark

    @property
    def to(self) -> str:
        """Phone number or handle, as the API spells it."""
        return self.recipient.to


#: Bytes of checked rows that stay in memory.
_IN_MEMORY = 8 * 1024 * 1024

#: Bytes to read from a file at a time.
_BLOCK = 1024 * 1024

#: Rows that are checked together.
_ROWS_PER_BLOCK = 100

#: Maximum problems that an error lists.
_MAX_LISTED = 20

#: How spreadsheets write booleans, in English and Portuguese.
_BOOLEANS = frozenset(["TRUE", "FALSE", "True", "False", "VERDADEIRO", "FALSO"])

#: How spreadsheets shorten long numbers.
_SHORTENED = re.compile(r"\s*[+-]?\d(?:(?:[.,]\d+)?[Ee][+-]\d{2,}|[.,]\d+[Ee]\+?\d+)\s*")

#: A number with many decimals, as programs write the result of a calculation.
_FRACTION = re.compile(r"-?\d+[.,]\d{13,}")

#: Digits of a number: up to 9,999,999.99; that are exact in binary; and that are written.
_AMOUNT, _EXACT, _WRITTEN = 9, 15, 17

#: Parameters that customers read, so that a cell without a value makes the row a bad one.
_READ_BY_CUSTOMERS = frozenset(("text", "parameters"))


class Recipient(NamedTuple):
    """One recipient, checked.

    :param line: line number of the row in its source.
    :param to: phone number or handle, as the API spells it.
    :param values: what goes to this recipient, by parameter.
    """

    line: int
    to: str
    values: dict[str, Any]
    key: str = ""

    @property
    def identity(self) -> str:
        """The person's identity, which does not depend on how the number is written (Brazil's ninth digit)."""
        return identity_of(self.to)


class SkippedRow(NamedTuple):
    """A row that nothing is sent to.

    :param line: line number of the row in its source.
    :param status: ``bad_row`` or ``duplicate``.
    :param key: the row's ``row_key``; blank without one, or if the key is what is wrong.
    """

    line: int
    status: str
    reason: str
    key: str = ""


class RowPlan:
    """How a row becomes a recipient.

    A parameter comes from its template, or else from the column with its name. A row that is not an object is the
    recipient itself.

    :param given: templates by parameter; ``None`` if none was given.
    :param checks: convert a row's values to what the API accepts, or raise ``WtsInvalidRequestError``, by parameter.
    :param spell: normalizes a recipient, and refuses one that the connection does not allow.
    """

    def __init__(
        self,
        templates: RowTemplates,
        given: Mapping[str, Any],
        checks: Mapping[str, Callable[[Any], Any]],
        spell: Callable[[Any], str],
    ) -> None:
        self._fills = {
            name: templates.compiled(
                f"row_{name}", template, needed=name in ("to", "key") or name in _READ_BY_CUSTOMERS
            )
            for name, template in given.items()
            if template is not None
        }
        self._checks = checks
        self._spell = spell

    def recipient(self, row: Row) -> Recipient:
        """Return the recipient of a row, without its key."""
        if row.problem:
            raise RowError(row.problem)
        value = plain_number(row.values)
        plain = isinstance(value, (str, int, float, Decimal)) and not isinstance(value, bool)
        columns = {"to": value} if plain else value
        if not isinstance(columns, Mapping):
            raise RowError(f"is a {type(columns).__name__}; a row is an object, or a phone number")
        if garbled := garbled_cell(columns):
            raise RowError(garbled)
        seen = RowValues(columns)
        if twice := seen.twice:
            raise RowError(str(KeyTwiceError(twice)))
        to = self._value("to", columns, seen)
        if is_blank(to):
            hint = "" if "to" in self._fills or "to" in columns else "; name its column with row_to"
            raise RowError(f"to: is empty{hint}")
        try:
            spelled = self._spell(to)
            values = {name: check(self._value(name, columns, seen)) for name, check in self._checks.items()}
        except WtsInvalidRequestError as error:
            raise RowError(str(error).removesuffix(".")) from None
        return Recipient(row.line, spelled, {name: one for name, one in values.items() if one is not None})

    def key(self, row: Row) -> str:
        """Return what identifies a row in the results and outcomes; blank without ``row_key``."""
        fill = self._fills.get("key")
        if fill is None or row.problem:
            return ""
        value = fill(RowValues(row.values if isinstance(row.values, Mapping) else {"to": row.values}))
        if isinstance(value, (bool, bytes, list, dict)):
            raise RowError(f"row_key: must be text or a number, not {type(value).__name__}")
        key = str(_whole(value)).strip()
        if not key:
            raise RowError("row_key: is empty")
        if len(key) > LONGEST_KEY:
            raise RowError(f"row_key: has {len(key)} characters; the maximum is {LONGEST_KEY}")
        if "\0" in key:
            raise RowError("row_key: contains the character NUL, which databases refuse")
        if key.startswith("line:"):
            raise RowError("row_key: must not begin with 'line:', which identifies bad rows")
        return key

    def _value(self, name: str, columns: Mapping[str, Any], seen: RowValues) -> Any:
        fill = self._fills.get(name)
        if fill is not None:
            return fill(seen)
        value = columns.get(name)
        if name in columns and name in _READ_BY_CUSTOMERS and is_missing(value):
            raise RowError(f"{name}: the column {name!r} has no value")
        found = without_missing(value)
        return _result(found, needed=True, whole=True) if name in _READ_BY_CUSTOMERS else found


class Recipients:
    """The checked rows of a campaign in order. They can be iterated repeatedly, but only once at a time."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        self.count = 0
        self.bad_rows = 0
        self.duplicates = 0
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  # see __exit__
        for line in lines:
            self._file.write(line)
            if not (skipped := _SKIPPED.match(line)):
                self.count += 1
            elif skipped[1] == b"duplicate":
                self.duplicates += 1
            else:
                self.bad_rows += 1

    def __enter__(self) -> Recipients:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def rows(self) -> int:
        """How many rows there are, including bad rows and duplicates."""
        return self.count + self.bad_rows + self.duplicates

    def entries(self) -> Iterator[Recipient | SkippedRow]:
        """Iterate over all rows, including skipped ones."""
        return (
            SkippedRow(*_decoded(line)) if _is_skipped(line) else Recipient(*_decoded(line)) for line in self.lines()
        )

    def skipped(self) -> Iterator[SkippedRow]:
        """Iterate over the rows that nothing is sent to."""
        return (SkippedRow(*_decoded(line)) for line in self.lines() if _is_skipped(line))

    def __iter__(self) -> Iterator[Recipient]:
        return (Recipient(*_decoded(line)) for line in self.lines() if not _is_skipped(line))

    def lines(self) -> Iterator[bytes]:
        """Iterate over all rows in their stored form."""
        self._file.seek(0)
        # Not "yield from", which would close the file if the iteration ends early.
        for line in self._file:  # noqa: UP028
            yield line

    def blocks(self) -> Iterator[bytes]:
        """Iterate over the bytes of :meth:`lines`, in blocks."""
        self._file.seek(0)
        yield from iter(lambda: self._file.read(_BLOCK), b"")

    def refuse_bad_rows(self, where: str = "", *, sent_before: bool = False) -> None:
        """Refuse the whole campaign if a row is bad; ``where`` says where to find all of them."""
        if self.bad_rows:
            raise many_problems(
                f"{self.bad_rows:,} of {self.rows:,} rows are bad. Nothing {'more ' if sent_before else ''}was sent. "
                f"Fix them, or set on_bad_row='skip' to send to the others.{where}",
                (f"Line {row.line}: {row.reason}." for row in self.skipped() if row.status == "bad_row"),
                self.bad_rows,
            )


def many_problems(said: str, problems: Iterable[str], count: int) -> WtsInvalidRequestError:
    """Return an error that lists the first of many problems."""
    more = [f"And {count - _MAX_LISTED:,} more."] if count > _MAX_LISTED else []
    return WtsInvalidRequestError("\n".join([said, *islice(problems, _MAX_LISTED), *more]))


def checked(rows: Iterable[Row], plan: RowPlan) -> Iterator[bytes]:
    """Check rows, and return them in the form that :class:`Recipients` stores."""
    with closing(FirstLines()) as lines, closing(FirstLines()) as keys:
        left = iter(rows)
        while block := [_checked(row, plan, keys) for row in islice(left, _ROWS_PER_BLOCK)]:
            firsts = iter(lines.firsts([(one.identity, one.line) for one in block if one.identity]))
            for one in block:
                first = next(firsts) if one.identity else one.line
                yield (one.stored if first == one.line else _duplicate(one, first)) + b"\n"


class _CheckedRow(NamedTuple):
    """A row in the form that applies unless an earlier one has the same person; a bad row has no ``identity``."""

    line: int
    identity: str
    key: str
    stored: bytes


def _checked(row: Row, plan: RowPlan, keys: FirstLines) -> _CheckedRow:
    key = ""
    try:
        given = plan.key(row)
        if given and (earlier := keys.first(given, row.line)) != row.line:
            raise RowError(f"row_key: {quoted(given)} is already in line {earlier}")
        key = given
        recipient = plan.recipient(row)
        recipient = recipient._replace(key=key) if key else recipient
        return _CheckedRow(row.line, recipient.identity, key, _written_row(recipient))
    except (RowError, TypeError, ValueError) as problem:
        error: Exception = problem
        if isinstance(problem, UnicodeEncodeError):
            error = RowError(f"contains {problem.object[problem.start]!r}, which is half a character")
        reason = str(error).encode(errors="backslashreplace").decode()
        return _CheckedRow(row.line, "", key, _written_row(SkippedRow(row.line, "bad_row", reason, key)))


def _duplicate(row: _CheckedRow, first: int) -> bytes:
    return _written_row(SkippedRow(row.line, "duplicate", f"the recipient is already in line {first}", row.key))


class FirstLines:
    """The first line of each person or key, in a temporary database because there may be millions."""

    def __init__(self) -> None:
        self._database = temporary_database("CREATE TABLE lines (named TEXT PRIMARY KEY, line INTEGER) WITHOUT ROWID")

    def first(self, named: str, line: int) -> int:
        """Return the first line of a person or key; if there is none yet, store the given one."""
        if self._database.execute("INSERT OR IGNORE INTO lines VALUES (?, ?)", (named, line)).rowcount:
            return line
        (first,) = self._database.execute("SELECT line FROM lines WHERE named = ?", (named,)).fetchone()
        return int(first)

    def firsts(self, lines: Sequence[tuple[str, int]]) -> list[int]:
        """Call :meth:`first` for many people or keys with their lines, but faster."""
        if self._database.executemany("INSERT OR IGNORE INTO lines VALUES (?, ?)", lines).rowcount == len(lines):
            return [line for _, line in lines]
        return [self.first(named, line) for named, line in lines]

    def close(self) -> None:
        """Remove the database."""
        self._database.close()


#: A skipped row in its stored form. A recipient has an address in place of the status.
_SKIPPED = re.compile(rb'\[\d+, "(bad_row|duplicate)"')


def _is_skipped(line: bytes) -> bool:
    return _SKIPPED.match(line) is not None


def _written_row(entry: Recipient | SkippedRow) -> bytes:
    # Encoded as it will be sent, so that a value that cannot be encoded makes the row a bad one.
    return _ENCODER.encode(entry).encode()


def _json(value: object) -> object:
    """Convert types that Parquet has and JSON does not, such as dates and decimals, to text or numbers."""
    if isinstance(value, (datetime, date, time)):
        # Without a time zone, it keeps the meaning it had for its author.
        return value.isoformat()
    return json_value(value)


def _decoded(line: bytes) -> Any:
    return _DECODER.decode(line.decode())


#: Created once: ``json.dumps`` would create one per row, and ``json.loads`` would detect the encoding of each.
_DECODER = json.JSONDecoder()
_ENCODER = json.JSONEncoder(default=_json, allow_nan=False, ensure_ascii=False)

_COLUMN = re.compile(r"\s*row\.([^\W\d_]\w*)\s*")

_NO_COLUMN = re.compile(r"'[\w.]*RowValues object' has no attribute ('.*')")

#: What templates may use of the module ``yaml`` in Airflow's macros; its other functions can run code.
_SAFE_YAML = frozenset(("safe_load", "safe_dump", "dump"))


class RowError(Exception):
    """A row is bad; the message says why."""


class RowValues:
    """A row as templates see it: ``row.amount`` or ``row["amount"]``, without methods that would hide a column.

    Names are compared in NFC, so that the encoding of accented letters does not matter.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {_composed(name): value for name, value in values.items()}
        self._given = values

    @property
    def twice(self) -> str | None:
        """A name that two columns have, each encoded in its way."""
        return None if len(self._values) == len(self._given) else str(twice(map(_composed, self._given)))

    def __getitem__(self, name: str) -> Any:
        return self._values[_composed(name)]

    def __contains__(self, name: object) -> bool:
        return _composed(name) in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)


class RowTemplates:
    """Compiles templates once, to render them for thousands of rows.

    :param environment: Airflow's Jinja environment of the task, whose filters and macros can be used.
    :param context: what templates see besides ``row``, such as ``ds`` and ``params``.
    """

    def __init__(self, environment: jinja2.Environment | None, context: Mapping[str, Any]) -> None:
        self._environment = _environment(environment)
        self._readers = self._environment.overlay(finalize=_read)
        self._globals = {**self._environment.globals, **context}

    def compiled(self, name: str, template: Any, *, needed: bool = False) -> Callable[[RowValues], Any]:
        """Return a function that renders a template for a row.

        :param template: text, or lists and objects with texts; anything else is returned as it is.
        :param needed: whether a cell without a value makes the row a bad one, because a customer would read it.
            Otherwise, a template that is a single expression returns ``None`` for it.
        """
        if isinstance(template, dict):
            parts = {key: self.compiled(f"{name}[{key!r}]", one, needed=needed) for key, one in template.items()}
            return lambda row: {key: fill(row) for key, fill in parts.items()}
        if isinstance(template, (list, tuple)):
            fills = [self.compiled(f"{name}[{index}]", one, needed=needed) for index, one in enumerate(template)]
            return lambda row: [fill(row) for fill in fills]
        if isinstance(template, str) and ("{{" in template or "{%" in template or "{#" in template):
            return self._compiled_text(name, template, needed=needed)
        return lambda row: template

    def _compiled_text(self, name: str, template: str, *, needed: bool) -> Callable[[RowValues], Any]:
        try:
            expression = self._single_expression(template)
            if expression is None:
                # For row_to, keep the fraction: it shows that part of a phone number was a float of a data frame.
                environment = self._environment if name == "row_to" else self._readers
                fill = self._render(environment.from_string(template))
            elif column := _COLUMN.fullmatch(expression):
                # By far the most common case, so it should be fast.
                fill = _column(column[1])
            else:
                fill = self._value(self._environment.from_string(f"{{% set result = ({expression}) %}}"))
        except jinja2.TemplateError as error:
            raise WtsInvalidRequestError(f"{name}: is not a valid template: {error}.") from None
        return _guarded(name, fill, needed=needed)

    def _render(self, template: jinja2.Template) -> Callable[[RowValues], str]:
        # Like Template.render, but without copying all globals for every row.
        return lambda row: "".join(
            template.root_render_func(template.new_context({**self._globals, "row": row}, shared=True))
        )

    def _value(self, template: jinja2.Template) -> Callable[[RowValues], Any]:
        def value(row: RowValues) -> Any:
            context = template.new_context({**self._globals, "row": row}, shared=True)
            for _ in template.root_render_func(context):
                pass
            return context.vars["result"]

        return value

    def _single_expression(self, template: str) -> str | None:
        """Return the expression if a template consists of a single one, or ``None``."""
        from jinja2 import nodes

        body = self._environment.parse(template).body
        if len(body) != 1 or not isinstance(body[0], nodes.Output) or len(body[0].nodes) != 1:
            return None
        if isinstance(body[0].nodes[0], nodes.TemplateData):
            return None
        inner = template.strip()[2:-2]
        # Remove the signs of Jinja's whitespace control.
        inner = inner[1:] if inner[:1] in ("-", "+") else inner
        return inner[:-1] if inner[-1:] in ("-", "+") else inner


class NoValueError(jinja2.UndefinedError):
    """A template would render a cell without a value."""


class NoValue(jinja2.Undefined):
    """A cell without a value: falsy, equal to ``None`` and ``""``, and an error if it is rendered."""

    __slots__ = ()
    __str__ = __len__ = __iter__ = jinja2.Undefined._fail_with_undefined_error

    def __eq__(self, other: object) -> bool:
        return other is None or other == "" or isinstance(other, NoValue)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(None)

    @classmethod
    def of(cls, name: object, cell: object) -> NoValue:
        """Return what a template sees in place of a cell."""
        return cls(f"{name!r} has no value", obj=cell, exc=NoValueError)

    @property
    def cell(self) -> object:
        """The content of the cell: blank text as it is, else ``None``."""
        cell = self._undefined_obj
        return cell if isinstance(cell, str) and not is_missing(cell) else None


class RowEnvironment(SandboxedEnvironment):
    """Jinja's sandbox, in which a cell without a value never renders as text."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return ``obj.attribute``."""
        if isinstance(obj, RowValues):
            return self.getitem(obj, attribute)
        return _seen(super().getattr(obj, attribute), attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return ``obj[argument]``."""
        if isinstance(obj, RowValues):
            found = obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
            return _seen(found, argument)
        return _seen(super().getitem(obj, argument), argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may read an attribute."""
        from airflow.providers.common.compat.sdk import BaseHook, Connection

        if isinstance(obj, (BaseHook, Connection)):
            # They contain the token.
            return False
        return super().is_safe_attribute(obj, attr, value) and (
            not isinstance(obj, ModuleType) or _is_safe_in_module(obj, attr, value)
        )


def _seen(value: Any, name: Any) -> Any:
    return value if isinstance(value, jinja2.Undefined) or not is_blank(value) else NoValue.of(name, value)


def _environment(given: jinja2.Environment | None) -> jinja2.Environment:
    # Not the task's own: this one returns the value of an expression, and fails if a column is missing.
    environment = RowEnvironment(undefined=jinja2.StrictUndefined, finalize=_written)
    if given is not None:
        environment.filters.update(given.filters)
        environment.tests.update(given.tests)
        environment.globals.update(given.globals)
    environment.globals["range"] = safe_range
    environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": _for_json}
    environment.tests["none"] = lambda value: value is None or isinstance(value, NoValue)
    # Filters of the same names that the DAG defines take precedence.
    environment.filters.update(
        {name: one for name, one in FILTERS.items() if environment.filters.get(name) in (None, JINJA_FILTERS.get(name))}
    )
    return environment


def _is_safe_in_module(module: ModuleType, name: str, value: Any) -> bool:
    """Whether a template may use an attribute of a module. Other modules would give access to the operating system."""
    if module.__name__.rpartition(".")[2] == "yaml":
        return name in _SAFE_YAML
    is_macros = module.__name__.endswith(".macros")
    return not isinstance(value, ModuleType) or is_macros or value.__name__.startswith(f"{module.__name__}.")


def _for_json(value: Any) -> Any:
    """Convert a value for the filter ``tojson``."""
    return value.cell if isinstance(value, NoValue) else json_value(value)


def _written(value: Any) -> Any:
    """Refuse computed values that would render as "None" or "nan"; cells have been checked before."""
    if isinstance(value, jinja2.Undefined):
        str(value)  # says what is missing
    elif isinstance(value, (list, tuple, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            _written(one)
        _refuse_without_text(value)
    elif not isinstance(value, str) and is_missing(value):
        raise RowError("a value in it is missing")
    else:
        value = int(value) if isinstance(value, ShownNumber) else clock_time(plain_number(value))
        _refuse_illegible(value)
        _refuse_without_text(value)
    return value


def _read(value: Any) -> Any:
    """Like :func:`_written`, and an integer as people write it: without a fraction, with the zeros of its format."""
    return str(value) if isinstance(value, ShownNumber) else _whole(_written(value))


def _whole(value: Any) -> Any:
    if isinstance(value, ShownNumber):
        return str(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refuse_illegible(value: Any) -> None:
    """Refuse values in a form that only programs use."""
    if isinstance(value, bool) or (isinstance(value, str) and value in _BOOLEANS):
        raise RowError(f"would write {value}. Write it in words: {{{{ 'sim' if row.ativo else 'não' }}}}")
    if isinstance(value, (float, Decimal)):
        text = str(value)
        if math.isinf(value) or "e" in text.lower():
            raise RowError(f"would write {value}")
        if _is_calculated(text):
            raise RowError(
                f"would write {value}. Round it: {{{{ row.valor | round(2) }}}}, {{{{ row.valor | as_br }}}}"
            )
    if isinstance(value, str) and _FRACTION.fullmatch(value) and _is_calculated(value.replace(",", ".")):
        raise RowError(f"would write {value}. Round it: {{{{ row.valor | number | as_br }}}}")
    _refuse_shortened(value)


def _is_calculated(text: str) -> bool:
    """Whether a number has a rounding error: 0.30000000000000004 is 0.3, but 1795738050.6399984 is a timestamp."""
    digits = len(text.replace(".", "").strip("-0")) if "." in text else 0
    if digits <= _EXACT:
        return False
    # Longer numbers may round to an amount by chance: one timestamp in a thousand does.
    rounded = f"{float(text):.{_EXACT}g}".replace(".", "").lstrip("-0")
    return digits > _WRITTEN or len(rounded) <= _AMOUNT


def _refuse_without_text(value: Any) -> None:
    """Refuse objects without a readable text, such as lists, and methods that were not called."""
    if isinstance(value, (str, int, float)):
        return
    has_text = "__str__" in {name for kind in type(value).__mro__[:-1] for name in vars(kind)}
    is_list = hasattr(value, "__iter__") and not isinstance(value, (bytes, bytearray, Mapping))
    if is_list or isinstance(value, (bytes, bytearray)) or not has_text:
        what = "a method; call it: {{ row.nome.title() }}" if callable(value) else f"a {type(value).__name__}"
        if is_list:
            what += "; join it: {{ row.itens | join(', ') }}"
        raise RowError(f"would write {what}")


def _refuse_shortened(value: Any) -> None:
    if isinstance(value, str) and _SHORTENED.fullmatch(value):
        raise RowError(
            f"{quoted(value)} is in scientific notation and lost digits, because spreadsheets shorten long numbers; "
            "format the column as text and export it again"
        )


def _column(column: str) -> Callable[[RowValues], Any]:
    column = _composed(column)

    def value(row: RowValues) -> Any:
        if column not in row:
            raise RowError(_columns_of(f"there is no column {column!r}", row))
        return _seen(row[column], column)

    return value


def _columns_of(what: str, row: RowValues) -> str:
    return f"{what}; the row's columns are {', '.join(map(repr, row)) or 'none at all'}"


def _guarded(name: str, fill: Callable[[RowValues], Any], *, needed: bool) -> Callable[[RowValues], Any]:

    def guarded(row: RowValues) -> Any:
        try:
            found = _result(fill(row), needed=needed, whole=needed and name != "row_to")
            return str(found) if isinstance(found, ShownNumber) and name != "row_to" else found
        except NoValueError as error:
            raise RowError(f"{name}: {error}. To write something else instead, add: | default('cliente')") from None
        except jinja2.UndefinedError as error:
            what = _NO_COLUMN.sub(r"there is no column \1", error.message or "something is undefined")
            raise RowError(f"{name}: {_columns_of(what, row)}") from None
        except Exception as error:
            # A filter may raise anything for a value it does not support, which makes the row a bad one.
            raise RowError(f"{name}: {error}") from None

    return guarded


def _result(value: Any, *, needed: bool, whole: bool = False) -> Any:
    """Convert the value of an expression to plain data."""
    if isinstance(value, NoValue) and not needed:
        return value.cell
    if isinstance(value, jinja2.Undefined):
        str(value)  # says what is missing
    if isinstance(value, dict):
        return {key: _result(one, needed=needed, whole=whole) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_result(one, needed=needed, whole=whole) for one in value]
    found = value if isinstance(value, str) else clock_time(without_missing(value))
    if needed and not isinstance(found, bool):
        _refuse_illegible(found)
    else:
        _refuse_shortened(found)
    return _whole(found) if whole else found


def _composed(name: Any) -> Any:
    """Return a column's name in NFC."""
    return normalize("NFC", name) if isinstance(name, str) and not name.isascii() else name


#: How the names of files end, by format.
_ENDINGS = {
    "csv": (".csv", ".tsv"),
    "jsonl": (".jsonl", ".ndjson"),
    "parquet": (".parquet", ".pq"),
    "xlsx": (".xlsx", ".xlsm"),
}

#: The formats of files.
FORMATS = tuple(_ENDINGS)

_EXAMPLE = "Example: 's3://aws_default@bucket/campaign.csv'."


class Row(NamedTuple):
    """One row as it was read.

    :param line: line number of the row in its source.
    :param values: the values by column; a plain number or handle if the list does not contain objects.
    :param problem: why it could not be read; empty if it could.
    """

    line: int
    values: Any
    problem: str = ""


def listed(recipients: Any) -> Iterator[Row]:
    """Iterate over the rows of a list or data frame.

    :param recipients: a list of objects or plain numbers, such a list as JSON text, or a table of pandas, Polars or
        PyArrow.
    """
    value = recipients
    if isinstance(value, str):
        try:
            value = read_json(value)
        except KeyTwiceError as error:
            raise WtsInvalidRequestError(f"recipients: a row {error}. Nothing was sent. Give it once.") from None
        except ValueError as error:
            raise WtsInvalidRequestError(
                f"recipients: is not valid JSON: {error}. Nothing was sent. Give a list, or the output of a task "
                "itself. A template renders a list as Python code; to make it JSON, end it with '| tojson'. Name a "
                "file with recipients_path."
            ) from None
    if value is None:
        raise WtsInvalidRequestError(
            "recipients: the value was None. Nothing was sent. The task that should return the list returned nothing, "
            "or its XCom has another key."
        )
    value = value if (table := frame_rows(value)) is None else table
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise WtsInvalidRequestError(
            f"recipients: must be a list, not {type(value).__name__}. Nothing was sent. Example: "
            "[{'to': '+55 11 99999-8888', 'session_metadata': {'invoice': 118}}]."
        )
    return _numbered(value)


def in_file(
    path: str, file_format: str | None = None, *, encoding: str | None = None, sheet: str | None = None
) -> Iterator[Row]:
    """Iterate over the rows of a file, which may be compressed with gzip.

    :param path: any address that ``ObjectStoragePath`` supports.
    :param file_format: one of :data:`FORMATS`; inferred from the name if omitted.
    :param encoding: of a CSV or JSON Lines file; UTF-8 if omitted.
    :param sheet: name of the sheet of an Excel file; the only non-empty one if omitted.
    """
    file = _existing(path)
    name = file.name.lower().removesuffix(".gz")
    known = file_format or next((kind for kind, ends in _ENDINGS.items() if name.endswith(ends)), None)
    if known is None:
        old = " Save an old Excel file as .xlsx first." if name.endswith((".xls", ".xlsb", ".ods")) else ""
        raise WtsInvalidRequestError(
            f"recipients_path: the name of {quoted(path)} does not show its format.{old} Set recipients_format to one "
            f"of {', '.join(map(repr, FORMATS))}."
        )
    if encoding is not None:
        _check_encoding(encoding)
    return _rows_of(path, file, known, encoding or "utf-8", sheet)


def _rows_of(path: str, file: ObjectStoragePath, file_format: str, encoding: str, sheet: str | None) -> Iterator[Row]:
    """Iterate over the rows of a file; what its file system raises becomes an error that names the parameter."""
    from airflow_provider_wts.campaigns.spreadsheets import csv_rows, excel_rows

    try:
        if file_format in ("csv", "jsonl"):
            with _text(file, encoding) as text:
                yield from map(Row._make, csv_rows(text)) if file_format == "csv" else _json_lines(text)
        else:
            with _open(file) as opened_:
                is_excel = file_format == "xlsx"
                yield from map(Row._make, excel_rows(opened_, sheet)) if is_excel else _numbered(parquet_rows(opened_))
    except WtsError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from error


def _json_lines(text: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(text, start=1):
        if not line.strip():
            continue
        try:
            yield Row(number, read_json(line))
        except KeyTwiceError as error:
            yield Row(number, None, str(error))
        except ValueError as error:
            yield Row(number, None, f"is not valid JSON: {error}")


def _numbered(values: Iterable[Any]) -> Iterator[Row]:
    return (Row(number, one) for number, one in enumerate(values, start=1))


@contextmanager
def _text(path: ObjectStoragePath, encoding: str) -> Iterator[TextIOWrapper]:
    """Open a file as text; if it is something else, the error names the parameter that helps."""
    with _open(path) as binary:
        file = BufferedReader(_Bytes(binary))
        start = file.peek(4)[:4]
        if start.startswith(b"\x1f\x8b"):
            file = BufferedReader(cast("Any", gzip.GzipFile(fileobj=file)))
        try:
            start = file.peek(4)[:4]
            if what := next((what for mark, what in _BINARY.items() if start.startswith(mark)), None):
                raise WtsInvalidRequestError(
                    f"recipients_path: the file is {what}, not text. Nothing was sent. Export it as text, or name its "
                    "format. Example: recipients_format='xlsx'"
                )
            _check_start(start, encoding)
            # A byte order mark is not part of the first name.
            encoding_ = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
            with TextIOWrapper(file, encoding=encoding_, newline="") as text:
                yield text
        except UnicodeError:
            raise WtsInvalidRequestError(
                f"recipients_encoding: the file is not encoded in {encoding.upper()}. Nothing was sent. Excel in "
                "Brazil writes cp1252, unless you choose 'CSV UTF-8'. Example: recipients_encoding='cp1252'"
            ) from None
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise WtsInvalidRequestError(
                f"recipients_path: the compressed file cannot be read: {error}. Nothing was sent."
            ) from None


#: First bytes of files that have the name of a CSV or JSON Lines file, but another format.
_BINARY = {
    b"PK\x03\x04": "an Excel file or another ZIP archive",
    b"\xd0\xcf\x11\xe0": "an old or encrypted Excel file",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "compressed twice",
}


class _Bytes(RawIOBase):
    """Adapts a file to the standard library's readers: files that Airflow 2.11 opens only have ``read``."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _check_encoding(encoding: str) -> None:
    try:
        b"".decode(encoding)
        "".encode(encoding)
    except (LookupError, ValueError):
        raise WtsInvalidRequestError(
            f"recipients_encoding: {encoding!r} is not a text encoding. Examples: 'utf-8', 'cp1252', 'latin-1', "
            "'utf-16'."
        ) from None


def _check_start(start: bytes, encoding: str) -> None:
    """Refuse an encoding that the byte order mark of the file contradicts."""
    marks = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe\0\0": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    marked = next((name for mark, name in marks.items() if start.startswith(mark)), None)
    if marked and not codecs.lookup(encoding).name.startswith((marked, "utf-32")):
        raise WtsInvalidRequestError(
            f"recipients_encoding: the file is not encoded in {encoding}: it begins with the byte order mark of "
            f"{marked}. Nothing was sent. Example: recipients_encoding={marked!r}"
        )


def checksum_of(path: str) -> str:
    """Return the SHA-256 of a file."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def opened(path: str) -> Iterator[BufferedReader]:
    """Open a file with Python's own buffering, which reads lines several times as fast as Airflow's."""
    with _open(place(path)) as file:
        yield BufferedReader(_Bytes(file), _BLOCK)


def _open(path: ObjectStoragePath) -> IO[bytes]:
    return cast("IO[bytes]", path.open("rb"))  # type: ignore[no-untyped-call]


def _unreadable(path: str, error: Exception) -> WtsError:
    said = f"recipients_path: {quoted(path)} cannot be read: {reason_of(error)}. Nothing was sent."
    return file_problem(said, _EXAMPLE, error)


def _existing(path: str) -> ObjectStoragePath:
    try:
        file = place(path)
        if not (found := file.is_file()):
            # File systems of object stores call it missing, too, if they cannot be asked.
            with suppress(FileNotFoundError):
                file.stat()
    except PermissionError as error:
        raise WtsInvalidRequestError(
            f"recipients_path: no permission to read {quoted(path)}: {reason_of(error)}."
        ) from None
    except Exception as error:
        raise _unreadable(path, error) from None
    if not found:
        raise WtsInvalidRequestError(
            f"recipients_path: there is no file {quoted(path)}, as seen from this worker. {_EXAMPLE}"
        )
    return file
