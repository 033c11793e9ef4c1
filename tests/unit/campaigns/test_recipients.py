"""Rows become recipients: read, filled in, checked, and each of them once."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections import UserList
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.api.addresses import recipient
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.api.parameters import metadata
from airflow_provider_wts.api.wire import json_value
from airflow_provider_wts.campaigns import recipients
from airflow_provider_wts.campaigns.missing import with_dates_as_text, without_missing
from airflow_provider_wts.campaigns.recipients import (
    Recipient,
    Recipients,
    Row,
    RowPlan,
    SkippedRow,
    checked,
)
from airflow_provider_wts.campaigns.row_templates import RowError, RowTemplates, RowValues

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBER = "+55 11 91000-0001"


def plan(given: dict[str, Any] | None = None, *names: str, skips: bool = False) -> RowPlan:
    templates = RowTemplates(None, {"ds": "2026-03-01"})
    return RowPlan(templates, given or {}, {name: _same for name in names}, recipient, skips=skips)


def _same(value: Any) -> Any:
    return value


def of(values: Iterable[Any], given: dict[str, Any] | None = None, *names: str) -> Recipients:
    return Recipients(checked(recipients.listed(list(values)), plan(given, *names)))


def bad_lines(values: Iterable[Any], given: dict[str, Any] | None = None, *, skips: bool = False) -> list[int]:
    rows = Recipients(checked(recipients.listed(list(values)), plan(given, skips=skips)))
    assert all("six zeros" in row.reason for row in rows.skipped())
    return [row.line for row in rows.skipped()]


@pytest.mark.parametrize("template", ["{{ row.ddd }}{{ row.fone }}", "+55{{ row.ddd }}{{ row.fone }}"])
@pytest.mark.parametrize("area", [1, "1", "01"])
def test_an_area_code_of_one_digit_is_found_where_a_template_adds_the_number(template: str, area: Any) -> None:
    (row,) = of([{"ddd": area, "fone": "988887777"}], {"to": template}).entries()
    assert isinstance(row, SkippedRow)
    assert "an area code of one digit" in row.reason


@pytest.mark.parametrize("fone", ["988887777", "98888-7777", 33334444])
def test_a_country_code_that_a_template_adds_is_not_the_missing_area_code(fone: Any) -> None:
    rows = of([{"fone": fone}, {"fone": fone, "ddd": 55}], {"to": "55{{ row.fone }}"}).entries()
    missing, there = rows
    assert isinstance(missing, SkippedRow)
    assert "no area code" in missing.reason
    assert isinstance(there, Recipient)


@pytest.mark.parametrize("fone", ["88887777", "33334444"])
def test_a_number_of_eight_digits_is_told_from_a_longer_one_in_another_cell(fone: str) -> None:
    (row,) = of([{"ddd": 19, "fone": fone, "celular": f"9{fone}"}], {"to": "{{ row.ddd }}{{ row.fone }}"}).entries()
    assert isinstance(row, Recipient)
    assert row.to == f"+55|19{fone}"


def macros() -> Any:
    """Airflow's module of macros, wherever this version has it."""
    try:
        from airflow.sdk.execution_time import macros as found
    except ImportError:
        from airflow import macros as found  # type: ignore[no-redef]
    return found


def filled(template: Any, **row: Any) -> Any:
    return RowTemplates(None, {"ds": "2026-03-01"}).compiled("row_x", template)(RowValues(row))


def metadata_of(cell: Any) -> Any:
    """What goes out as metadata for a template of a cell."""
    return metadata("data", with_dates_as_text(without_missing({"x": filled("{{ row.x }}", x=cell)})))


# Templates of rows ----------------------------------------------------------------------------------------------------

SHORTENED = "5511990000000", "5511980000000"


def test_where_bad_rows_are_skipped_the_first_shortened_number_is_skipped_too() -> None:
    assert bad_lines([NUMBER, *SHORTENED]) == [3]
    assert bad_lines([NUMBER, *SHORTENED], skips=True) == [2, 3]
    assert bad_lines([NUMBER, f"+{SHORTENED[0]}"], skips=True) == []


@pytest.mark.parametrize(
    "form",
    [
        *("{} ", "\u00a0{}", "'{}", Decimal, lambda digits: Decimal(f"{digits}.00")),
        *(lambda digits: f"{int(digits):,}", lambda digits: f"{int(digits):_}".replace("_", ".")),
    ],
)
def test_a_shortened_number_is_recognized_in_each_form(form: Any) -> None:
    cells = [form.format(one) if isinstance(form, str) else form(one) for one in SHORTENED]
    assert bad_lines(cells) == [2]
    assert bad_lines(cells, skips=True) == [1, 2]


@pytest.mark.parametrize("template", ["+{{ row.fone }}", "+{{ row['fone'] }}", "{{ '+' ~ row.fone }}"])
def test_a_plus_that_a_template_adds_does_not_vouch_for_a_shortened_number(template: str) -> None:
    assert bad_lines(({"fone": one} for one in SHORTENED), {"to": template}) == [2]
    assert bad_lines(({"fone": int(one)} for one in SHORTENED), {"to": template}) == [2]
    assert bad_lines(({"fone": f"+{one}"} for one in SHORTENED), {"to": "{{ row.fone }}"}) == []


@pytest.mark.parametrize("template", ["{{ row.fone }}", "+55{{ row.fone }}", "+55 {{ row.fone | int }}"])
def test_the_largest_number_of_a_column_is_no_phone_number(template: str) -> None:
    values = [2147483647, "4294967295", Decimal(9999999999), 99999999999, 2147483646]
    found = list(of(({"fone": one} for one in values), {"to": template}).skipped())
    assert [row.line for row in found] == [1, 2, 3, 4]
    assert all("too large for its column" in row.reason for row in found)
    assert bad_lines([{"fone": "21 4748-3647"}], {"to": "+55 {{ row.fone }}"}) == []


@pytest.mark.parametrize("template", ["{{ row.fone }}", "+55 {{ row.fone }}"])
def test_nor_is_what_a_form_shows_in_place_of_a_number(template: str) -> None:
    values = ["(99) 99999-9999", "(99) 9999-9999", "(99) 99999-9998"]
    rows = of(({"fone": one} for one in values), {"to": template})
    assert [row.line for row in rows.skipped()] == [1, 2]


@pytest.mark.parametrize(
    "template", ["+{{ row.fone | int }}", "{{ row.fone | int }}", "+{{ '%d' | format(row.fone) }}"]
)
def test_a_float_that_lost_digits_is_no_number_whatever_a_template_makes_of_it(template: str) -> None:
    # Single precision, then the number that Excel showed as 5,51199E+12; both would be strangers'.
    values = [5511988641792.0, 5511990000000.0, 5511988887777.0, 351912345678.0]
    rows = of(({"fone": one} for one in values), {"to": template})
    assert [row.line for row in rows.skipped()] == ([1, 2] if template[0] == "+" else [1, 2, 4])


@pytest.mark.parametrize(
    "template",
    ["+55 {{ row.fone }}", "+55|{{ row.fone }}", "55 {{ row.fone }}", "+55 ({{ row.fone[:2] }}) {{ row.fone[2:] }}"],
)
def test_nor_do_separators_that_a_template_adds(template: str) -> None:
    shortened = [one.removeprefix("55") for one in SHORTENED]
    assert bad_lines(({"fone": one} for one in shortened), {"to": template}) == [2]
    assert bad_lines(({"fone": one} for one in shortened), {"to": template}, skips=True) == [1, 2]
    written = [f"{one[:2]} {one[2:7]}-{one[7:]}" for one in shortened]
    assert bad_lines(({"fone": one} for one in written), {"to": "+55 {{ row.fone }}"}, skips=True) == []
    # Excel does not shorten an area code or a number of nine digits.
    parts = ({"ddd": one[:2], "fone": one[2:]} for one in shortened)
    assert bad_lines(parts, {"to": "({{ row.ddd }}) {{ row.fone }}"}, skips=True) == []
    # The number as a person wrote it, beside one that a program made of it.
    both = [{"fone": one, "id": one.replace(" ", "").replace("-", "")} for one in written]
    assert bad_lines(both, {"to": "{{ row.fone }}"}, skips=True) == []
    assert bad_lines(both, {"to": "+55 {{ row.fone }}"}, skips=True) == []


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


@pytest.mark.parametrize("name", ["ds_nodash", "ts", "logical_date", "data_interval_end"])
def test_a_date_that_a_run_does_not_have_is_no_column(name: str) -> None:
    with pytest.raises(RowError, match=rf"'{name}' is undefined: this run has no logical date. Use .*run_after"):
        filled(f"em {{{{ {name} }}}}", tel="1")


def test_a_filter_that_fails_is_the_rows_fault() -> None:
    with pytest.raises(RowError, match="row_x"):
        filled("{{ row.n / 0 }}", n=1)


@pytest.mark.parametrize(
    "cell", ["0000-00-00", "0000-00-00 00:00:00", "(null)", "[NULL]", "undefined", "[object Object]", "-nan"]
)
@pytest.mark.parametrize("template", ["{{ row.vencimento }}", "Vence em {{ row.vencimento }}"])
def test_a_databases_word_for_nothing_is_no_value(template: str, cell: str) -> None:
    (row,) = of([{"to": NUMBER, "vencimento": cell}], {"text": template}, "text").entries()
    assert isinstance(row, SkippedRow)
    assert "'vencimento' has no value" in row.reason


@pytest.mark.parametrize(
    "cell",
    [
        *("#SPILL!", "#DESPEJAR!", "#CALC!", "#ERRO!", "#GETTING_DATA", "########", "Err:502"),
        *("#¡REF!", "#¿NOMBRE?", "#BLOQUEADO!", "Loading...", "Carregando..."),
    ],
)
@pytest.mark.parametrize("template", ["{{ row.nome }}", "Olá {{ row.nome }}"])
def test_an_error_of_a_spreadsheet_is_no_value(template: str, cell: str) -> None:
    (row,) = of([{"to": NUMBER, "nome": cell}], {"text": template}, "text").entries()
    assert isinstance(row, SkippedRow)
    assert "'nome' has no value" in row.reason


@pytest.mark.parametrize("cell", ["TRUE", "FALSE", "VERDADEIRO", "FALSO", True])
def test_a_truth_value_in_a_text_makes_a_bad_row(cell: Any) -> None:
    (row,) = of([{"to": NUMBER, "ativo": cell}], {"text": "Ativo: {{ row.ativo }}"}, "text").entries()
    assert isinstance(row, SkippedRow)
    assert "would write" in row.reason


@pytest.mark.parametrize("name", ["text", "session_metadata"])
@pytest.mark.parametrize("template", ["{{ row.boleto }}", "Boleto {{ row.boleto }}"])
@pytest.mark.parametrize("cell", ["2,37934E+46", "2.37934e+46", "1.2345678901E10"])
def test_a_number_that_a_spreadsheet_shortened_reaches_nobody(cell: str, template: str, name: str) -> None:
    (row,) = of([{"to": NUMBER, "boleto": cell}], {name: template}, name).entries()
    assert isinstance(row, SkippedRow)
    assert "lost digits" in row.reason


@pytest.mark.parametrize("cell", [1e16, 1e-7, Decimal("1E+5")], ids=str)
def test_no_customer_reads_an_exponent(cell: Any) -> None:
    (row,) = of([{"to": NUMBER, "valor": cell}], {"text": "R$ {{ row.valor }}"}, "text").entries()
    assert isinstance(row, SkippedRow)
    assert "would write" in row.reason


@pytest.mark.parametrize(
    ("template", "cell"),
    [
        ("Itens: {{ row.x }}", ["camisa", "meia"]),
        ("Itens: {{ row.x }}", {"camisa": 2}),
        ("Itens: {{ row.x | map('upper') }}", ["camisa"]),
        ("Olá {{ row.x }}", b"Ana"),
        ("Olá {{ row.x.title }}", "ana"),
        ("Olá {{ row }}", "ana"),
        ("Olá {{ row.x }}", UserList([1, 2])),
    ],
    ids=str,
)
def test_no_customer_reads_what_only_a_program_writes(template: str, cell: Any) -> None:
    (row,) = of([{"to": NUMBER, "x": cell}], {"text": template}, "text").entries()
    assert isinstance(row, SkippedRow)
    assert "row_text: would write a" in row.reason


@pytest.mark.parametrize("template", ["R$ {{ row.valor }}", "{{ row.valor }}"])
@pytest.mark.parametrize("cell", [0.1 + 0.2, Decimal(100) / 3, "149.90000000000001", 1234567.8900000001], ids=str)
def test_no_customer_reads_the_digits_of_a_calculation(cell: Any, template: str) -> None:
    (row,) = of([{"to": NUMBER, "valor": cell}], {"text": template}, "text").entries()
    assert isinstance(row, SkippedRow)
    assert "Round it" in row.reason


@pytest.mark.parametrize(
    "cell",
    [
        *(149.9, Decimal("149.9000000000000000"), 1234567890123.45, "1234.5678901", 0.7364712141640124),
        *(1795734150.8363123, 1795738050.6399984, 1795738050.0000002),
    ],
    ids=str,
)
def test_a_number_without_the_digits_of_a_calculation_is_written(cell: Any) -> None:
    assert [one.values["text"] for one in of([{"to": NUMBER, "x": cell}], {"text": "{{ row.x }} "}, "text")] == [
        f"{cell} "
    ]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (timedelta(hours=26, minutes=30), "26:30:00"),
        (-timedelta(minutes=90, microseconds=5), "-01:30:00.000005"),
        (time(8, 30), "08:30:00"),
    ],
)
def test_a_time_is_the_same_text_in_a_sentence_and_in_metadata(cell: Any, text: str) -> None:
    assert [one.values["text"] for one in of([{"to": NUMBER, "x": cell}], {"text": "{{ row.x }} "}, "text")] == [
        f"{text} "
    ]
    assert metadata_of(cell) == {"x": text}


@pytest.mark.parametrize("cell", [Decimal("149.90"), Decimal(100) / 3, Decimal("1E+2"), Decimal("12345678901234.56")])
def test_a_decimal_is_a_number_in_metadata(cell: Decimal) -> None:
    assert json.dumps(metadata_of(cell), default=json_value) == json.dumps(
        {"x": int(cell) if cell == 100 else float(cell)}
    )


@pytest.mark.parametrize("is_file", [True, False])
def test_an_amount_whose_cents_a_number_does_not_keep_is_not_sent_without_them(tmp_path: Path, is_file: bool) -> None:
    (tmp_path / "a.jsonl").write_text('{"x": 12345678901234567.89}\n')
    (row,) = recipients.in_file(str(tmp_path / "a.jsonl"))
    cell = row.values["x"] if is_file else Decimal("12345678901234567.89")
    with pytest.raises(WtsInvalidRequestError, match=r"data.x: .* has more digits than a JSON number keeps"):
        metadata_of(cell)
    assert filled("{{ row.x | as_br }}", x=cell) == "12.345.678.901.234.567,89"
    for name in ("money", "number"):
        with pytest.raises(RowError, match=r"row_x: .*(too many digits|not an amount)"):
            filled(f"{{{{ row.x | {name} }}}}", x=cell)


@pytest.mark.parametrize("indent", [None, 0, 2])
def test_a_json_list_that_is_called_json_lines_is_refused_whole(tmp_path: Path, indent: int | None) -> None:
    rows = [{"to": NUMBER}, {"to": "+55|11988887777"}]
    (tmp_path / "a.jsonl").write_text(json.dumps(rows, indent=indent))
    with pytest.raises(WtsInvalidRequestError, match="a JSON list, not JSON Lines"):
        list(recipients.in_file(str(tmp_path / "a.jsonl")))


@pytest.mark.parametrize("names", [("ação", "ac\u0327a\u0303o"), ("é", "e\u0301")])
def test_one_name_in_two_encodings_makes_a_bad_row(names: tuple[str, str]) -> None:
    (row,) = of([{"to": NUMBER, **dict.fromkeys(names, 1)}], {}).entries()
    assert isinstance(row, SkippedRow)
    assert f"has the key {names[0]!r} twice" in row.reason


@pytest.mark.parametrize("template", ["Fatura {{ row.x }}", "{{ row.x }}"])
def test_a_whole_number_of_a_data_frame_is_written_without_a_fraction(template: str) -> None:
    (found,) = of(
        [{"to": NUMBER, "x": 118.0}],
        {"text": template, "key": "{{ row.x }}", "data": {"x": "{{ row.x }}"}},
        "text",
        "data",
    )
    assert str(found.values["text"]).removeprefix("Fatura ") == "118"
    assert found.key == "118"
    assert found.values["data"] == {"x": 118.0}


def test_a_fraction_still_shows_that_a_part_of_a_phone_number_is_uncertain() -> None:
    (row,) = of([{"ddd": 11, "numero": 988880000.0}], {"to": "{{ row.ddd }} {{ row.numero }}"}).entries()
    assert isinstance(row, SkippedRow)
    assert "contains a decimal number" in row.reason


def test_half_a_character_in_a_name_of_a_bad_cell_makes_a_bad_row() -> None:
    (row,) = of([{"to": NUMBER, "\ud83d": "JoÃ£o"}], {"text": "Oi"}, "text").entries()
    assert isinstance(row, SkippedRow)
    assert row.reason.startswith("\\ud83d: 'JoÃ£o' is not readable text")


def test_what_customers_wrote_is_no_template() -> None:
    assert filled("Olá {{ row.name }}", name="{{ 7 * 7 }}") == "Olá {{ 7 * 7 }}"


def test_filters_and_macros_of_the_task_can_be_used() -> None:
    import jinja2

    environment = jinja2.Environment()
    environment.filters["reais"] = lambda value: f"R$ {value}"
    environment.globals["company"] = "ACME"
    templates = RowTemplates(environment, {})
    assert templates.compiled("row_text", "{{ company }}: {{ row.n | reais }}")(RowValues({"n": 5})) == "ACME: R$ 5"


# Cells without a value, and the sandbox -------------------------------------------------------------------------------

MISSING = [None, float("nan"), "nan", "NaN", "None", "NaT", "<NA>", "NULL", "#N/D", "", "  ", Decimal("NaN")]


@pytest.mark.parametrize("cell", MISSING, ids=repr)
@pytest.mark.parametrize(
    "template",
    [
        "Olá {{ row.nome }}!",
        "Olá {{ row['nome'] }}!",
        "{{ row.nome }}!",
        "{{ 'Olá ' ~ row.nome }}",
        "{{ 'Olá %s' | format(row.nome) }}",
        "{{ 'Olá {}'.format(row.nome) }}",
        "{{ row.nome | upper }}",
        "{{ row.nome | title | trim }}!",
        "{{ row.nome | float }}",
        "{{ row.nome | money | as_br }}",
        "{{ row.cliente.nome }}!",
        "{% for one in row.nomes %}{{ one }}{% endfor %}",
        "Olá {{ [row.nome, row.nomes] }}",
    ],
)
def test_a_cell_without_a_value_is_never_written(template: str, cell: Any) -> None:
    if isinstance(cell, str) and "for one" in template:
        pytest.skip("text within a list is text")
    with pytest.raises(RowError, match=r"row_x: .*(nome|missing)"):
        filled(template, nome=cell, cliente={"nome": cell}, nomes=["Ana", cell])


@pytest.mark.parametrize("cell", [float("inf"), Decimal("-Infinity"), "inf", "-inf"], ids=str)
@pytest.mark.parametrize("template", ["Faltam {{ row.valor }}!", "{{ row.valor | default('nada') }}"])
def test_a_number_without_end_is_never_written(template: str, cell: Any) -> None:
    with pytest.raises(RowError, match=r"row_x: would write -?[iI]nf"):
        RowTemplates(None, {}).compiled("row_x", template, needed=True)(RowValues({"valor": cell}))


@pytest.mark.parametrize("cell", MISSING, ids=repr)
def test_a_cell_without_a_value_can_have_a_default_and_be_asked_for(cell: Any) -> None:
    assert filled("Olá {{ row.nome | default('cliente') }}!", nome=cell) == "Olá cliente!"
    assert filled("Olá{% if row.nome %} {{ row.nome }}{% endif %}!", nome=cell) == "Olá!"
    assert filled("{{ row.nome is none }}", nome=cell) is True
    assert filled("{{ row.nome or 'N/A' }}", nome=cell) == "N/A"


@pytest.mark.parametrize("cell", [None, float("nan"), "nan", "NaT", Decimal("NaN")], ids=repr)
def test_a_cell_without_a_value_is_null_in_metadata(cell: Any) -> None:
    found = of([{"to": NUMBER, "nome": cell}], {"data": {"nome": "{{ row.nome }}", "all": ["{{ row.nome }}"]}}, "data")
    assert [one.values for one in found] == [{"data": {"nome": None, "all": [None]}}]
    found = of([{"to": NUMBER, "data": {"nome": cell}}], None, "data")
    assert [one.values for one in found] == [{"data": {"nome": None}}]


@pytest.mark.parametrize("cell", [None, float("nan"), "nan", "NaT"], ids=repr)
def test_a_cell_without_a_value_is_null_where_a_template_writes_json(cell: Any) -> None:
    assert filled(
        '{"nome": {{ row.nome | tojson }}, "dia": {{ row.dia | tojson }}}', nome=cell, dia=date(2026, 3, 1)
    ) == ('{"nome": null, "dia": "2026-03-01"}')


@pytest.mark.parametrize("given", [{"text": "{{ row.nome }}"}, {"text": {"nome": "{{ row.nome }}"}}, None], ids=str)
@pytest.mark.parametrize("cell", [None, float("nan"), "nan", "<NA>"], ids=repr)
def test_what_a_customer_would_read_and_is_missing_is_a_bad_row_that_names_the_column(given: Any, cell: Any) -> None:
    found = of([{"to": NUMBER, "nome": cell, "text": cell}], given, "text")
    (left,) = found.entries()
    assert isinstance(left, SkippedRow)
    assert f"{'nome' if given else 'text'!r} has no value" in left.reason


ESCAPES = [
    "{{ row.__class__ }}",
    "{{ row.__class__.__mro__ }}",
    "{{ row._values }}",
    "{{ row['__class__'] }}",
    "{{ row | attr('__class__') }}",
    "{{ row.nome | attr('__class__') | attr('__mro__') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ lipsum.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ joiner.__init__.__globals__.os }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ dict.__base__ }}",
    "{{ '{0.__class__}'.format(row) }}",
    "{{ '{x.__class__.__mro__}'.format(x=row.nome) }}",
    "{{ '{0.__class__}'.format_map({'0': row}) }}",
    "{{ ('{0.__class__}' | attr('format'))(row) }}",
    "{{ [row] | map(attribute='__class__') | list }}",
    "{{ [row] | map('attr', '__class__') | list }}",
    "{{ self.__init__.__globals__ }}",
    "{{ range(100000000) | list }}",
    "{{ macros.json.codecs.builtins.eval('1') }}",
    "{{ macros.uuid.os.popen('id').read() }}",
    "{{ macros.yaml.unsafe_load('1') }}",
    "{{ task.hook.connection.token }}",
    "{% set x = row.__class__ %}{{ x }}",
]


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("template", [*ESCAPES, *(f"x{escape}" for escape in ESCAPES)])
def test_templates_of_rows_do_not_get_out_of_the_sandbox(template: str, native: bool) -> None:
    from types import SimpleNamespace

    import jinja2.nativetypes

    from airflow_provider_wts.hooks.wts import WtsHook

    environment: Any = jinja2.nativetypes.NativeEnvironment() if native else jinja2.Environment()
    hook = WtsHook()
    hook.__dict__["connection"] = SimpleNamespace(token="secret")
    context = {"macros": macros(), "task": SimpleNamespace(hook=hook)}
    with pytest.raises(RowError):
        RowTemplates(environment, context).compiled("row_x", template)(RowValues({"nome": "Ana"}))


def test_templates_of_rows_use_what_is_harmless() -> None:

    templates = RowTemplates(None, {"macros": macros()})
    fill = templates.compiled(
        "row_x", "{{ macros.datetime(2026, 3, 1).year }} {{ macros.dateutil.parser.parse('2026') }}"
    )
    assert fill(RowValues({})).startswith("2026 2026")
    assert filled("{{ row._id }} {{ row['_id'] }}", _id=7) == "7 7"
    assert filled("{{ 'Olá {}'.format(row.nome) }}", nome="Ana") == "Olá Ana"


@pytest.mark.parametrize(("column", "used"), [("co\u0301digo", "código"), ("código", "co\u0301digo")])
def test_an_accented_column_is_found_however_it_is_encoded(column: str, used: str) -> None:
    assert filled(f"{{{{ row.{used} }}}}", **{column: 7}) == 7
    assert filled(f"n={{{{ row['{used}'] }}}}", **{column: 7}) == "n=7"


# Filters --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "value", "expected"),
    [
        ("row.x | number_br", "1.234,56", 1234.56),
        ("row.x | number_br", "10,50", 10.5),
        ("row.x | number_br", "1.234", 1234),
        ("row.x | number_br", "-7", -7),
        ("row.x | number_br", 149.9, 149.9),
        ("row.x | number", "1234.56", 1234.56),
        ("row.x | number", " 118 ", 118),
        ("row.x | number", "33.3333333333333333", 100 / 3),
        ("row.x | money", "R$ 1.234,5", Decimal("1234.50")),
        ("row.x | money", "R$\u00a0149,90", Decimal("149.90")),
        ("row.x | money", "-R$ 3", Decimal("-3.00")),
        ("row.x | money", 149.9, Decimal("149.90")),
        ("row.x | money", 0.1 + 0.2, Decimal("0.30")),
        ("row.x | date", "31/12/2026", date(2026, 12, 31)),
        ("row.x | date", "1/2/2026", date(2026, 2, 1)),
        ("row.x | date", "2026-12-31", date(2026, 12, 31)),
        ("row.x | date", datetime(2026, 12, 31, 18), date(2026, 12, 31)),
        ("row.x | float", "149.9", 149.9),
        ("row.x | float", "149", 149.0),
        ("row.x | float(0)", None, 0),
        ("row.x | int", "149", 149),
        ("row.x | int", 149.0, 149),
        ("row.x | int(-1)", "", -1),
        ("row.x | number | as_br", "149.9", "149,90"),
        ("row.x | money | as_br", "R$ 1234567,8", "1.234.567,80"),
        ("row.x | number | as_br(0)", "1234.4", "1.234"),
        ("row.x | as_br", 1234.565, "1.234,57"),
        ("row.x | as_br(0)", Decimal("-2.5"), "-3"),
        ("row.x | date | as_br", "2026-03-01", "01/03/2026"),
        ("(row.x | number_br) * 2", "1,25", 2.5),
    ],
)
def test_filters_read_and_write(expression: str, value: Any, expected: Any) -> None:
    found = filled(f"{{{{ {expression} }}}}", x=value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("float", value) for value in ("10,50", "1.234,56", "abc", "1_000", "inf", "0x10", "1e3", True, [1])),
        *(("float(0)", value) for value in ("10,50", "abc")),
        *(("int", value) for value in ("10.5", "10,0", "abc", "1_000", 10.5, "1.234")),
        *(("number", value) for value in ("10,50", "abc", "R$ 10", "1.234.567")),
        *(("number_br", value) for value in ("10.50", "1.23,4", "abc", "1,2,3", "12.34", "R$ 10")),
        *(("number_br", value) for value in ("12345678901234567,89", "12.345.678.901.234.567,89")),
        *(("money", value) for value in ("12345678901234567,89", "149.90", "US$ 10", "1,234", 0.125, "abc")),
        *(
            ("date", value)
            for value in ("31/13/2026", "31-12/2026", "12/2026", "30/02/2026", "amanhã", 46022, "1/2/26")
        ),
        *(("as_br", value) for value in ("149.90", True, [1])),
    ],
)
def test_a_filter_that_cannot_read_makes_a_bad_row(name: str, value: Any) -> None:
    with pytest.raises(RowError, match=r"row_x: .*(not|neither|fractions)"):
        filled(f"{{{{ row.x | {name} }}}}", x=value)


def test_the_template_of_the_docs() -> None:
    page = Path(__file__).parents[3] / "docs" / "howto" / "campaigns.md"
    template = re.search(r'^row_text = "(.*)"$', page.read_text(), re.MULTILINE)
    assert template
    text = filled(template[1], nome="", valor="1.234,5", vencimento="2026-12-31")
    assert text == "Olá cliente, sua fatura de R$ 1.234,50 vence em 31/12/2026."


def test_a_filter_of_the_dag_wins() -> None:
    import jinja2

    environment = jinja2.Environment()
    environment.filters["money"] = lambda value: "mine"
    assert RowTemplates(environment, {}).compiled("row_x", "{{ row.x | money }}")(RowValues({"x": 1})) == "mine"


# Rows -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [NUMBER, 5511910000001, {"to": NUMBER}, {"to": 5511910000001}, {"to": NUMBER, "other": 1j}],
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
        ({}, "to: is empty; name its column with row_to"),
        ({"to": ""}, "to: is empty"),
        ({"to": None}, "to: is empty"),
        ({"to": "12"}, "is not a valid phone number"),
        ({"to": NUMBER, "note": float("inf")}, "Out of range float values"),
        ({"to": NUMBER, "note": "\ud800"}, "which is half a character"),
        ({"to": NUMBER, "note": "JoÃ£o"}, "note: 'JoÃ£o' is not readable text"),
        ({"to": NUMBER, "note": {"fone": NUMBER, "nome": "JoÃ£o"}}, "note: 'JoÃ£o' is not readable text"),
        ({"to": NUMBER, "note": "Jo\ufffdo"}, "is not readable text"),
        ({"to": NUMBER, "note": "a\0b"}, "is not readable text"),
        ({"to": NUMBER, "note": Decimal("Infinity")}, "Infinity is not a JSON value"),
        ({"to": NUMBER, "note": 1j}, "is not a JSON value"),
    ],
    ids=str,
)
def test_a_bad_row_says_why(row: Any, reason: str) -> None:
    found = of([NUMBER, row, "+55 11 91000-0002"], None, "note")
    assert (found.count, found.bad_rows) == (2, 1)
    left = [entry for entry in found.entries() if isinstance(entry, SkippedRow)]
    assert left[0].line == 2
    assert reason in left[0].reason
    with pytest.raises(WtsInvalidRequestError, match=r"1 of 3 rows are bad\. Nothing was sent\. .*\nLine 2: "):
        found.refuse_bad_rows()


def test_a_phone_number_that_is_missing_needs_no_default() -> None:
    (row,) = of([{"fone": None}], {"to": "{{ row.fone }}"}).skipped()
    assert row.reason == "row_to: 'fone' has no value"


def test_many_bad_rows_are_counted_and_the_first_are_listed() -> None:
    found = of([{"to": "1"}] * 50)
    with pytest.raises(WtsInvalidRequestError, match="And 30 more") as caught:
        found.refuse_bad_rows()
    # One row a line, so that the log of Airflow's UI shows them one below the other.
    assert len(str(caught.value).splitlines()) == 22


@pytest.mark.parametrize("rows_per_block", [1, 2, 4, 100])
def test_duplicates_name_the_line_of_the_first(monkeypatch: pytest.MonkeyPatch, rows_per_block: int) -> None:
    monkeypatch.setattr("airflow_provider_wts.campaigns.recipients._ROWS_PER_BLOCK", rows_per_block)
    found = of([NUMBER, "@maria", "11910000001", "@Maria", "+55|1181000000", "+55|11981000000"])
    left = [entry for entry in found.entries() if isinstance(entry, SkippedRow)]
    assert [(one.line, one.status) for one in left] == [(3, "duplicate"), (4, "duplicate"), (6, "duplicate")]
    assert "already in line 1" in left[0].reason


def test_recipients_can_be_walked_again_and_are_as_they_were() -> None:
    values = {"due": datetime(2026, 3, 1), "day": date(2026, 3, 1), "amount": Decimal("149.90"), "n": 1}
    found = of([{"to": NUMBER, "data": values}], None, "data")
    expected = {"due": "2026-03-01T00:00:00", "day": "2026-03-01", "amount": 149.9, "n": 1}
    assert list(found) == list(found) == [Recipient(1, "+55|11910000001", {"data": expected})]


def test_memory_stays_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_wts.campaigns.recipients._IN_MEMORY", 100_000)
    note = "x" * 10_000
    made = ({"to": f"+5511{910_000_000 + index}", "note": note + str(index)} for index in range(600))
    tracemalloc.start()
    found = Recipients(checked((Row(number, row) for number, row in enumerate(made, 1)), plan(None, "note")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.count == 600
    assert peak < 3_000_000  # the rows alone are 6 MB


# Lists and files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["+55 11 91000-0001", "{}", '"x"', {"to": NUMBER}, 5, None, b"x"], ids=str)
def test_what_is_no_list_is_refused_and_not_taken_apart(given: Any) -> None:
    with pytest.raises(WtsInvalidRequestError, match="recipients: "):
        recipients.listed(given)


def test_a_list_as_json_text_and_a_generator() -> None:
    assert [row.values for row in recipients.listed(json.dumps([NUMBER]))] == [NUMBER]
    assert [row.line for row in recipients.listed(iter([NUMBER, NUMBER]))] == [1, 2]


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
    assert [(row.line, row.values) for row in recipients.in_file(str(tmp_path / "a.csv"))] == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no header"),
        (b"\n\n", "no header"),
        (b"a,a\n1,2\n", "same name"),
        ("nome\nJoão\n".encode("latin-1"), "not encoded in UTF-8"),
    ],
)
def test_a_csv_file_that_cannot_be_read(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(WtsInvalidRequestError, match=words):
        list(recipients.in_file(str(tmp_path / "a.csv")))


def test_json_lines_with_a_line_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"to": 1}\n\n{oops\n"x"\n')
    found = list(recipients.in_file(f"file://{tmp_path}/a.ndjson"))
    assert [(row.line, row.values, bool(row.problem)) for row in found] == [
        (1, {"to": 1}, False),
        (3, None, True),
        (4, "x", False),
    ]


def test_parquet_is_read_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow import parquet

    monkeypatch.setattr("airflow_provider_wts.campaigns.frames._ROWS", 10)
    parquet.write_table(pyarrow.table({"to": [str(index) for index in range(25)]}), tmp_path / "a.parquet")
    found = list(recipients.in_file(str(tmp_path / "a.parquet")))
    assert [(row.line, row.values["to"]) for row in (found[0], found[24])] == [(1, "0"), (25, "24")]
    (tmp_path / "b.parquet").write_text("no parquet")
    with pytest.raises(WtsInvalidRequestError, match="cannot be read"):
        list(recipients.in_file(str(tmp_path / "b.parquet")))


@pytest.mark.parametrize("day", ["9999-12-31", "2026-03-01"])
def test_a_date_that_spark_writes_is_not_another_one(tmp_path: Path, day: str) -> None:
    import pyarrow
    from pyarrow import parquet

    at = datetime.fromisoformat(day)
    table = pyarrow.table({"at": pyarrow.array([at], pyarrow.timestamp("us"))})
    parquet.write_table(table, tmp_path / "a.parquet", use_deprecated_int96_timestamps=True)
    assert [row.values for row in recipients.in_file(str(tmp_path / "a.parquet"))] == [{"at": at}]


@pytest.mark.parametrize("is_file", [True, False])
@pytest.mark.parametrize("zone", [None, "America/Sao_Paulo"])
def test_nanoseconds_of_a_date_are_left_out(tmp_path: Path, zone: str | None, is_file: bool) -> None:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"at": pyarrow.array([1767232800123456789], pyarrow.timestamp("ns", zone))})
    parquet.write_table(table, tmp_path / "a.parquet")
    (row,) = recipients.in_file(str(tmp_path / "a.parquet")) if is_file else recipients.listed(table)
    shown = "2025-12-31T23:00:00.123456-03:00" if zone else "2026-01-01T02:00:00.123456"
    assert row.values["at"].isoformat() == shown


@pytest.mark.parametrize("is_file", [True, False])
def test_a_date_that_python_does_not_have_is_refused_by_the_name_of_its_column(tmp_path: Path, is_file: bool) -> None:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"to": [NUMBER], "até": pyarrow.array([2**62], pyarrow.timestamp("us"))})
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(WtsInvalidRequestError, match=r"the column 'até' cannot be read: .*\. Nothing was sent"):
        list(recipients.in_file(str(tmp_path / "a.parquet")) if is_file else recipients.listed(table))


def single_precision(number: float, file: Path, *, is_file: bool) -> Any:
    """Rows whose only column keeps seven digits, as a file or as a table."""
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({"to": pyarrow.array([number, None], pyarrow.float32())})
    if not is_file:
        return recipients.listed(table)
    parquet.write_table(table, file)
    return recipients.in_file(str(file))


@pytest.mark.parametrize("is_file", [True, False])
def test_a_number_that_lost_digits_in_its_column_is_nobodys(tmp_path: Path, is_file: bool) -> None:
    with pytest.raises(WtsInvalidRequestError, match="the column 'to' has single precision"):
        list(single_precision(5511910000001.0, tmp_path / "a.parquet", is_file=is_file))


@pytest.mark.parametrize("is_file", [True, False])
@pytest.mark.parametrize("number", [149.9, 0.1, 16777215.0, 0.0, -3.25, 1e-20])
def test_a_number_of_single_precision_is_read_as_it_was_written(tmp_path: Path, number: float, is_file: bool) -> None:
    found = list(single_precision(number, tmp_path / "a.parquet", is_file=is_file))
    assert [row.values["to"] for row in found] == [number, None]


@pytest.mark.parametrize("is_file", [True, False])
def test_numbers_of_single_precision_inside_of_a_cell_are_read_as_they_were_written(
    tmp_path: Path, is_file: bool
) -> None:
    import pyarrow
    from pyarrow import parquet

    def rows(number: float) -> list[Any]:
        single = pyarrow.float32()
        kind = pyarrow.list_(
            pyarrow.struct(
                [
                    ("float", pyarrow.float64()),
                    ("single", single),
                    ("all", pyarrow.list_(single)),
                    ("map", pyarrow.map_(pyarrow.string(), single)),
                ]
            )
        )
        cell = [{"float": 123456789.12, "single": 149.9, "all": [None, number], "map": [("a", number)]}]
        table = pyarrow.table({"x": pyarrow.array([cell, None], kind)})
        parquet.write_table(table, tmp_path / "a.parquet")
        found = recipients.in_file(str(tmp_path / "a.parquet")) if is_file else recipients.listed(table)
        return [row.values["x"] for row in found]

    assert rows(0.1) == [[{"float": 123456789.12, "single": 149.9, "all": [None, 0.1], "map": [("a", 0.1)]}], None]
    with pytest.raises(WtsInvalidRequestError, match="the column 'x' has single precision"):
        rows(11999990001.0)


@pytest.mark.parametrize("form", ["dictionary", "runs"])
def test_numbers_of_single_precision_that_repeat_are_read_as_others(form: str) -> None:
    import pyarrow

    def rows(number: float) -> list[Any]:
        column = pyarrow.array([number, None], pyarrow.float32())
        if form == "dictionary":
            column = column.dictionary_encode()
        else:
            column = pyarrow.RunEndEncodedArray.from_arrays(pyarrow.array([1, 2], pyarrow.int32()), column)
        return [row.values["to"] for row in recipients.listed(pyarrow.table({"to": column}))]

    assert rows(149.9) == [149.9, None]
    with pytest.raises(WtsInvalidRequestError, match="the column 'to' has single precision"):
        rows(5511999998888.0)


@pytest.mark.parametrize("is_file", [True, False])
def test_two_columns_of_one_name_are_refused(tmp_path: Path, is_file: bool) -> None:
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.Table.from_arrays([pyarrow.array(["1"]), pyarrow.array(["2"])], names=["to", "to"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(WtsInvalidRequestError, match="two columns have the same name, 'to'"):
        list(recipients.in_file(str(tmp_path / "a.parquet")) if is_file else recipients.listed(table))


def test_without_pyarrow_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    (tmp_path / "a.parquet").write_text("x")
    with pytest.raises(WtsInvalidRequestError, match=r"airflow-provider-wts\[parquet\]"):
        list(recipients.in_file(str(tmp_path / "a.parquet")))


def test_a_package_that_is_installed_and_cannot_be_imported_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    (tmp_path / "pyarrow.py").write_text("raise ImportError('libarrow.so: no such file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pyarrow", raising=False)
    (tmp_path / "a.parquet").write_text("x")
    with pytest.raises(WtsInvalidRequestError, match=r"'pyarrow', which cannot be imported: libarrow.so: no such file"):
        list(recipients.in_file(str(tmp_path / "a.parquet")))


def test_a_format_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "export").write_text("to\n1\n")
    with pytest.raises(WtsInvalidRequestError, match=r"the name of .* does not show its format"):
        recipients.in_file(str(tmp_path / "export"))
    assert [row.values for row in recipients.in_file(str(tmp_path / "export"), "csv")] == [{"to": "1"}]


@pytest.mark.parametrize("path", ["/nowhere/at/all.csv", "nosuchscheme://bucket/a.csv"])
def test_a_file_that_is_not_there(path: str) -> None:
    with pytest.raises(WtsInvalidRequestError, match="recipients_path: "):
        list(recipients.in_file(path))
