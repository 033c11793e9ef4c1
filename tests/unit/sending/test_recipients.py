"""Rows become recipients: read, filled in, checked, and each of them once."""

from __future__ import annotations

import json
import tracemalloc
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.phone import recipient
from airflow_provider_wts.sending import rows
from airflow_provider_wts.sending.recipients import Left, Recipient, Recipients, RowPlan
from airflow_provider_wts.sending.row_templates import RowError, RowTemplates, RowValues
from airflow_provider_wts.sending.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

NUMBER = "+55 11 91000-0001"


def plan(given: dict[str, Any] | None = None, *names: str) -> RowPlan:
    return RowPlan(RowTemplates(None, {"ds": "2026-03-01"}), given or {}, {name: _same for name in names}, recipient)


def _same(value: Any) -> Any:
    return value


def of(values: Iterable[Any], given: dict[str, Any] | None = None, *names: str) -> Recipients:
    return Recipients(rows.listed(list(values)), plan(given, *names))


def filled(template: Any, **row: Any) -> Any:
    return RowTemplates(None, {"ds": "2026-03-01"}).compiled("row_x", template)(RowValues(row))


# Templates of rows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ row.n }}", 7),
        ("{{row.n}}", 7),
        ("{{- row.n -}}", 7),
        ("{{ -row.n }}", -7),
        ("{{ row.n + 1 }}", 8),
        ("{{ row.n > 3 }}", True),
        ("{{ row.none }}", None),
        ("{{ row.list }}", [1, "2"]),
        ("{{ row.phone }}", "0011"),
        ("{{ row['two words'] }}", "x"),
        ("{{ row.items }}", "a column"),
        ("{{ row.n }} ", "7 "),
        ("n={{ row.n }}", "n=7"),
        ("{{ row.n }}{{ row.n }}", "77"),
        ("{% if row.n %}yes{% endif %}", "yes"),
        ("{{ row.absent | default('none') }}", "none"),
        ("{{ ds }}", "2026-03-01"),
        ("plain {text}", "plain {text}"),
        (7, 7),
        (None, None),
        ({"a": ["{{ row.n }}", "x"], "b": False}, {"a": [7, "x"], "b": False}),
    ],
    ids=str,
)
def test_a_template_that_is_one_expression_keeps_its_type(template: Any, value: Any) -> None:
    row = {"n": 7, "none": None, "list": [1, "2"], "phone": "0011", "two words": "x", "items": "a column"}
    assert filled(template, **row) == value
    assert type(filled(template, **row)) is type(value)


@pytest.mark.parametrize("template", ["{{ row.phone }}", "to: {{ row.phone }}", {"a": "{{ row.phone }}"}])
def test_a_column_that_is_not_there_is_named_with_those_that_are(template: Any) -> None:
    with pytest.raises(RowError, match="there is no column 'phone'; the row's columns are 'tel', 'name'"):
        filled(template, tel="1", name="Ana")


def test_a_filter_that_fails_is_the_rows_fault() -> None:
    with pytest.raises(RowError, match="row_x"):
        filled("{{ row.n / 0 }}", n=1)


def test_what_customers_wrote_is_no_template() -> None:
    assert filled("Olá {{ row.name }}", name="{{ 7 * 7 }}") == "Olá {{ 7 * 7 }}"


def test_filters_and_macros_of_the_task_can_be_used() -> None:
    import jinja2

    environment = jinja2.Environment()
    environment.filters["reais"] = lambda value: f"R$ {value}"
    environment.globals["company"] = "ACME"
    templates = RowTemplates(environment, {})
    assert templates.compiled("row_text", "{{ company }}: {{ row.n | reais }}")(RowValues({"n": 5})) == "ACME: R$ 5"


# Rows -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [NUMBER, 5511910000001, {"to": NUMBER}, {"to": 5511910000001}, {"to": NUMBER, "other": object()}],
    ids=str,
)
def test_a_row_is_a_number_or_an_object(row: Any) -> None:
    text = row if not isinstance(row, int) else f"+{row}"
    assert [found.to for found in of([text])] in ([recipient("+55 11 91000-0001")], [])


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (None, "is a NoneType; a row is an object, or a phone number"),
        (True, "is a bool"),
        (["+55"], "is a list"),
        ({}, "to: is empty; say which column holds it with row_to"),
        ({"to": ""}, "to: is empty"),
        ({"to": None}, "to: is empty"),
        ({"to": "12"}, "is not a valid phone number"),
        ({"to": NUMBER, "note": float("nan")}, "Out of range float values"),
        ({"to": NUMBER, "note": "\ud800"}, "surrogates not allowed"),
        ({"to": NUMBER, "note": object()}, "no JSON value"),
    ],
    ids=str,
)
def test_a_bad_row_says_why(row: Any, reason: str) -> None:
    found = of([NUMBER, row, "+55 11 91000-0002"], None, "note")
    assert (found.count, found.bad_rows) == (2, 1)
    left = [entry for entry in found.entries() if isinstance(entry, Left)]
    assert left[0].line == 2
    assert reason in left[0].reason
    with pytest.raises(WtsInvalidRequestError, match=r"1 of 3 rows are bad, so nothing was sent\. Line 2: "):
        found.refuse_bad_rows()


def test_many_bad_rows_are_counted_and_the_first_are_listed() -> None:
    found = of([{"to": "1"}] * 50)
    with pytest.raises(WtsInvalidRequestError, match="And 30 more"):
        found.refuse_bad_rows()


def test_duplicates_name_the_line_of_the_first() -> None:
    found = of([NUMBER, "@maria", "11910000001", "@Maria", "+55|1181000000", "+55|11981000000"])
    left = [entry for entry in found.entries() if isinstance(entry, Left)]
    assert [(one.line, one.status) for one in left] == [(3, "duplicate"), (4, "duplicate"), (6, "duplicate")]
    assert "line 1 already" in left[0].reason


def test_recipients_can_be_walked_again_and_are_as_they_were() -> None:
    values = {"due": datetime(2026, 3, 1), "day": date(2026, 3, 1), "amount": Decimal("149.90"), "n": 1}
    found = of([{"to": NUMBER, "data": values}], None, "data")
    expected = {"due": "2026-03-01T00:00:00", "day": "2026-03-01", "amount": 149.9, "n": 1}
    assert list(found) == list(found) == [Recipient(1, "+55|11910000001", {"data": expected})]


def test_memory_stays_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_wts.sending.recipients._IN_MEMORY", 100_000)
    note = "x" * 10_000
    made = ({"to": f"+5511{910_000_000 + index}", "note": note + str(index)} for index in range(600))
    tracemalloc.start()
    found = Recipients((Row(number, row) for number, row in enumerate(made, 1)), plan(None, "note"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.count == 600
    assert peak < 3_000_000  # the rows alone are 6 MB


# Lists and files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["+55 11 91000-0001", "{}", '"x"', {"to": NUMBER}, 5, None, b"x"], ids=str)
def test_what_is_no_list_is_refused_and_not_taken_apart(given: Any) -> None:
    with pytest.raises(WtsInvalidRequestError, match="recipients: "):
        rows.listed(given)


def test_a_list_as_json_text_and_a_generator() -> None:
    assert [row.values for row in rows.listed(json.dumps([NUMBER]))] == [NUMBER]
    assert [row.line for row in rows.listed(iter([NUMBER, NUMBER]))] == [1, 2]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("to,n\n1,2\n", [(2, {"to": "1", "n": "2"})]),
        ("to;n\r\n1;2,5\r\n", [(2, {"to": "1", "n": "2,5"})]),
        ("to\tn\n1\t2\n\n3\t4", [(2, {"to": "1", "n": "2"}), (4, {"to": "3", "n": "4"})]),
        ('to,n\n1,"a\nb"\n2,c\n', [(3, {"to": "1", "n": "a\nb"}), (4, {"to": "2", "n": "c"})]),
        ("to\n+55 11 91000-0001\n", [(2, {"to": NUMBER})]),
        (" to , n \n1,2\n", [(2, {"to": "1", "n": "2"})]),
    ],
)
def test_csv(tmp_path: Path, content: str, expected: list[Any]) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbf" + content.encode())
    assert [(row.line, row.values) for row in rows.in_file(str(tmp_path / "a.csv"))] == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no header"),
        (b"\n\n", "no header"),
        (b"a,a\n1,2\n", "same name"),
        ("nome\nJoão\n".encode("latin-1"), "not written in UTF-8"),
    ],
)
def test_a_csv_file_that_cannot_be_read(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(WtsInvalidRequestError, match=words):
        list(rows.in_file(str(tmp_path / "a.csv")))


def test_json_lines_with_a_line_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"to": 1}\n\n{oops\n"x"\n')
    found = list(rows.in_file(f"file://{tmp_path}/a.ndjson"))
    assert [(row.line, row.values, bool(row.problem)) for row in found] == [
        (1, {"to": 1}, False),
        (3, None, True),
        (4, "x", False),
    ]


def test_parquet_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setattr(rows, "_PARQUET_ROWS", 10)
    parquet.write_table(pyarrow.table({"to": [str(index) for index in range(25)]}), tmp_path / "a.parquet")
    found = list(rows.in_file(str(tmp_path / "a.parquet")))
    assert [(row.line, row.values["to"]) for row in (found[0], found[24])] == [(1, "0"), (25, "24")]
    (tmp_path / "b.parquet").write_text("no parquet")
    with pytest.raises(WtsInvalidRequestError, match="cannot be read"):
        list(rows.in_file(str(tmp_path / "b.parquet")))


def test_without_pyarrow_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_text("x")
    with pytest.raises(WtsInvalidRequestError, match=r"airflow-provider-wts\[parquet\]"):
        list(rows.in_file(str(tmp_path / "a.parquet")))


def test_a_format_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "export").write_text("to\n1\n")
    with pytest.raises(WtsInvalidRequestError, match="does not tell its format"):
        rows.in_file(str(tmp_path / "export"))
    assert [row.values for row in rows.in_file(str(tmp_path / "export"), "csv")] == [{"to": "1"}]


@pytest.mark.parametrize("path", ["/nowhere/at/all.csv", "nosuchscheme://bucket/a.csv"])
def test_a_file_that_is_not_there(path: str) -> None:
    with pytest.raises(WtsInvalidRequestError, match="recipients_path: "):
        list(rows.in_file(path))
