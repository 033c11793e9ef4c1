"""Spreadsheets as people have them, and what becomes of each: a table."""

from __future__ import annotations

import gzip
import zipfile
from datetime import date, datetime, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from openpyxl import Workbook

from airflow_provider_wts.api.addresses import recipient
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.campaigns import recipients
from airflow_provider_wts.campaigns.recipients import Recipients, RowPlan, SkippedRow, checked
from airflow_provider_wts.campaigns.row_templates import RowTemplates

if TYPE_CHECKING:
    from pathlib import Path

ANA, BIA = "+55 11 91000-0001", "+55 11 91000-0002"
TWO = [("+55|11910000001", "Ana"), ("+55|11910000002", "Bia")]
SYMBOLS = "Luís D\u2019Ávila—100%… “oi” \u2018a\u2019 WhatsApp™ R$ 5€ US£ 1ª/2º «x» \u2039y\u203a a·b ¡Hola¡ CN¥ Ærø"
BODY = f"{ANA};Ana\n{BIA};Bia\n"


def excel(*rows_: Any, hidden: int | None = None, **sheets: list[Any]) -> bytes:
    """An Excel file with one sheet, or more."""
    book = Workbook()
    sheet: Any = book.active
    for row in rows_:
        sheet.append(row)
    if hidden:
        sheet.row_dimensions[hidden].hidden = True
    for title, content in sheets.items():
        other = book.create_sheet(title)
        for row in content:
            other.append(row)
    file = BytesIO()
    book.save(file)
    return file.getvalue()


def formatted(value: Any, number_format: str) -> bytes:
    """An Excel file in which a format shows more than the cell of the phone number holds."""
    book = Workbook()
    sheet: Any = book.active
    for row in (["to", "nome"], [value, "Ana"]):
        sheet.append(row)
    sheet["A2"].number_format = number_format
    file = BytesIO()
    book.save(file)
    return file.getvalue()


def edited(content: bytes, old: bytes, new: bytes, part_name: str = "sheet1.xml") -> bytes:
    """An Excel file in which the XML of the sheet, or of another part, was changed."""
    source = zipfile.ZipFile(BytesIO(content))
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in source.namelist():
            part = source.read(name)
            if name.endswith(part_name):
                assert old in part
                part = part.replace(old, new)
            archive.writestr(name, part)
    return file.getvalue()


def damaged() -> bytes:
    """An Excel file with one byte changed inside of what is compressed."""
    content = bytearray(excel(["to", "nome"], *([ANA, f"Ana {number}"] for number in range(200))))
    with zipfile.ZipFile(BytesIO(bytes(content))) as archive:
        sheet = next(part for part in archive.infolist() if part.filename.endswith("sheet1.xml"))
    content[sheet.header_offset + 200] ^= 255
    return bytes(content)


def with_hidden_sheet() -> bytes:
    book = Workbook()
    book.active.append(["to", "nome"])  # type: ignore[union-attr]
    book.active.append([ANA, "Ana"])  # type: ignore[union-attr]
    other = book.create_sheet("Apoio")
    other.append(["lista"])
    other.sheet_state = "hidden"
    file = BytesIO()
    book.save(file)
    return file.getvalue()


def merged() -> bytes:
    book = Workbook()
    sheet: Any = book.active
    for row in (["to", "nome"], [ANA, "Ana"], [BIA, None]):
        sheet.append(row)
    sheet.merge_cells("B2:B3")
    file = BytesIO()
    book.save(file)
    return file.getvalue()


def formula() -> bytes:
    """A file as Excel saves it: the formula, and the value that it had."""
    source = zipfile.ZipFile(BytesIO(excel(["to", "nome"], [ANA, "=UPPER(A1)"])))
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("sheet1.xml"):
                content = content.replace(b'<c r="B2"', b'<c r="B2" t="str"').replace(b"<v />", b"<v>ANA</v>")
                content = content.replace(b"<v></v>", b"<v>ANA</v>")
            archive.writestr(name, content)
    return file.getvalue()


#: Name of the file, its content, the options, and what becomes of it: the recipients with the name that they read,
#: words of a bad row, or words of the error that refuses the file.
TABLE: dict[str, tuple[str, bytes, dict[str, Any], Any]] = {
    # CSV, as programs write it
    "comma": ("a.csv", f"to,nome\n{ANA},Ana\n{BIA},Bia\n".encode(), {}, TWO),
    "semicolon": ("a.csv", f"to;nome\n{BODY}".encode(), {}, TWO),
    "tab": ("a.tsv", f"to;nome\n{BODY}".replace(";", "\t").encode(), {}, TWO),
    "CRLF": ("a.csv", f"to;nome\n{BODY}".replace("\n", "\r\n").encode(), {}, TWO),
    "CR of an old Mac": ("a.csv", f"to;nome\n{BODY}".replace("\n", "\r").encode(), {}, TWO),
    "no line break at the end": ("a.csv", f"to;nome\n{BODY}".rstrip().encode(), {}, TWO),
    "BOM": ("a.csv", f"\ufeffto;nome\n{BODY}".encode(), {}, TWO),
    "doubled BOM": ("a.csv", f"\ufeff\ufeffto;nome\n{BODY}".encode(), {}, TWO),
    "BOM before quotes": ("a.csv", f'\ufeff\ufeff"to";"nome"\n{BODY}'.encode(), {}, TWO),
    "zero-width space in front": ("a.csv", f"\u200bto;nome\u200b\n{BODY}".encode(), {}, TWO),
    "sep=": ("a.csv", f"sep=;\nto;nome\n{BODY}".encode(), {}, TWO),
    "sep= with a BOM and CRLF": ("a.csv", f"\ufeffSEP=;\r\nto;nome\r\n{BODY}".encode(), {}, TWO),
    "sep= that differs from the guess": ("a.csv", f"sep=|\nto|nome\n{ANA}|Ana\n{BIA}|Bia\n".encode(), {}, TWO),
    "empty columns at the end": ("a.csv", f"to;nome;;;\n{BODY}".replace("\n", ";;;\n").encode(), {}, TWO),
    "empty columns in the header alone": ("a.csv", f"to;nome;;\n{BODY}".encode(), {}, TWO),
    "the index of pandas": ("a.csv", f",to,nome\n0,{ANA},Ana\n1,{BIA},Bia\n".encode(), {}, TWO),
    "delimiter inside a quoted header": (
        "a.csv",
        f'to;"valor, com desconto, em R$";nome\n{ANA};1;Ana\n{BIA};2;Bia\n'.encode(),
        {},
        TWO,
    ),
    "delimiter inside an unquoted header": (
        "a.csv",
        f"to;obs (a, b, c);nome\n{ANA};1;Ana\n{BIA};2;Bia\n".encode(),
        {},
        TWO,
    ),
    "line break inside a header": ("a.csv", f'to;"nome\ncompleto"\n{BODY}'.encode(), {"name": "nome completo"}, TWO),
    "blank lines": ("a.csv", f"\nto;nome\n\n{BODY}\n;\n".encode(), {}, TWO),
    "blanks around names": ("a.csv", f" to ; nome \n{BODY}".encode(), {}, TWO),
    "decomposed accents in a name": (
        "a.csv",
        f"to;proprieta\u0301rio\n{BODY}".encode(),
        {"name": "proprietário"},
        TWO,
    ),
    "latin-1": ("a.csv", f"to;nome\n{ANA};João\n".encode("latin-1"), {"encoding": "latin-1"}, [(TWO[0][0], "João")]),
    "cp1252": ("a.csv", f"to;nome\n{ANA};João €\n".encode("cp1252"), {"encoding": "cp1252"}, [(TWO[0][0], "João €")]),
    "UTF-16, Excel's 'Unicode text'": ("a.csv", f"to\tnome\n{ANA}\tJoão\n".encode("utf-16"), {"encoding": "utf-16"}, 1),
    "UTF-16 in the other byte order": (
        "a.csv",
        f"to;nome\n{BODY}".encode("utf-16-le"),
        {"encoding": "utf-16-be"},
        "the other one of utf-16-le and utf-16-be",
    ),
    "UTF-16 without a mark": ("a.csv", f"to;nome\n{BODY}".encode("utf-16-le"), {"encoding": "utf-16-le"}, TWO),
    "gzip": ("a.csv.gz", gzip.compress(f"to;nome\n{BODY}".encode()), {}, TWO),
    "gzip without .gz": ("a.csv", gzip.compress(f"to;nome\n{BODY}".encode()), {}, TWO),
    "gzip of latin-1": ("a.csv.gz", gzip.compress("to;nome\n".encode("latin-1")), {"encoding": "latin-1"}, []),
    "JSON Lines in gzip": ("a.jsonl.gz", gzip.compress(f'{{"to": "{ANA}", "nome": "Ana"}}\n'.encode()), {}, TWO[:1]),
    "JSON Lines with a BOM": ("a.jsonl", f'\ufeff{{"to": "{ANA}", "nome": "Ana"}}\n'.encode(), {}, TWO[:1]),
    # CSV that is refused
    "latin-1, taken for UTF-8": ("a.csv", "to;nome\n1;João\n".encode("latin-1"), {}, "recipients_encoding"),
    "UTF-8 that cp1252 cannot read": (
        "a.csv",
        "to;nome\n1;Áurea\n".encode(),
        {"encoding": "windows-1252"},
        "recipients_encoding='utf-8'",
    ),
    "UTF-16, taken for UTF-8": ("a.csv", f"to;nome\n{BODY}".encode("utf-16"), {}, "recipients_encoding='utf-16'"),
    "UTF-16 without a mark, taken for UTF-8": (
        "a.csv",
        f"to;nome\n{BODY}".encode("utf-16-le"),
        {},
        "recipients_encoding='utf-16'",
    ),
    "UTF-8, taken for latin-1, without a mark": (
        "a.csv",
        f"\ufeffto;nome\n{BODY}".encode(),
        {"encoding": "latin-1"},
        "recipients_encoding='utf-8'",
    ),
    "an encoding that is none": ("a.csv", b"to\n", {"encoding": "excel"}, "recipients_encoding: 'excel' is not"),
    "bytes for text": ("a.csv", b"to\n", {"encoding": "base64"}, "recipients_encoding: 'base64' is not"),
    "gzip cut short": ("a.csv.gz", gzip.compress(BODY.encode() * 99)[:40], {}, "compressed file cannot be read"),
    "no header": ("a.csv", f"{BODY}".encode(), {}, "looks like a phone number"),
    "one column without a header": ("a.csv", f"{ANA}\n{BIA}\n".encode(), {}, "looks like a phone number"),
    "empty file": ("a.csv", b"", {}, "no header line"),
    "the same name twice": ("a.csv", b"to;nome;nome\n1;2;3\n", {}, "the same name, 'nome'"),
    "the same name twice, but for accents": ("a.csv", "to;é;e\u0301\n".encode(), {}, "the same name"),
    # CSV with bad rows
    "a delimiter in an unquoted cell": (
        "a.csv",
        f"to,nome\n{ANA},Ana, Bia\n".encode(),
        {},
        {2: "column 3 has a value"},
    ),
    "a row cut short": ("a.csv", f"to;nome;valor\n{ANA};Ana\n".encode(), {}, {2: "has 2 columns, the header 3"}),
    "a value under no name": (
        "a.csv",
        f"to;nome;\n{ANA};Ana;x\n".encode(),
        {},
        {2: "column 3 has a value, but no name"},
    ),
    "empty cells beyond the header": ("a.csv", f"to;nome\n{BODY}".replace("Ana\n", "Ana;;\n").encode(), {}, TWO),
    "a decimal comma between commas, and an empty cell": (
        "a.csv",
        f"nome,valor,to,avisar\n149,90,{ANA},{BIA},\nAna,149,{BIA},\n".encode(),
        {},
        {2: "has 5 columns, the header 4: an amount such as 149,90 needs quotes"},
    ),
    "nan of pandas": ("a.csv", f"to,nome\n{ANA},nan\n{BIA},\n".encode(), {}, {2: "'nome' has no value", 3: "'nome'"}),
    "a quote that is never closed": (
        "a.csv",
        f'to;nome\n{ANA};"Ana\n{BIA};Bia\n'.encode(),
        {},
        "cannot be read from line 2 on",
    ),
    "a quote in the header that is never closed": ("a.csv", f'to;"nome\n{BODY}'.encode(), {}, "from line 1 on"),
    "a quote that another row closes": (
        "a.csv",
        f'to;nome;obs\n{ANA};"Ana;vip\n{BIA};Bia;"\n'.encode(),
        {},
        {3: "with line 2, has a quote in the wrong place"},
    ),
    "a quote that another row closes in a cell of its own": (
        "a.csv",
        f'to;obs;nome\n{ANA};"a;Ana\n{BIA};b;Bia";Caio\n'.encode(),
        {},
        {3: "has a quote in the wrong place"},
    ),
    "text after a closing quote": (
        "a.csv",
        f'to;nome\n{ANA};"Ana" Silva\n{BIA};Bia\n'.encode(),
        {},
        {2: "has a quote in the wrong place"},
    ),
    "a quote behind a blank": (
        "a.csv",
        f'to, nome\n{ANA}, "Ana"\n'.encode(),
        {},
        {2: "has a quote in the wrong place"},
    ),
    "text as a formula": ("a.csv", f'to;nome\n"=""{ANA}""";="000118"\n'.encode(), {}, [(TWO[0][0], "000118")]),
    "a formula of two texts": ("a.csv", f'to;nome\n{ANA};="A"&"na"\n'.encode(), {}, [(TWO[0][0], '="A"&"na"')]),
    "quotes inside a cell": ("a.csv", f'to;nome\n{ANA};Ana "Nina"\n'.encode(), {}, [(TWO[0][0], 'Ana "Nina"')]),
    "a line break inside a cell": ("a.csv", f'to;nome\n{ANA};"Ana\nS."\n'.encode(), {}, [(TWO[0][0], "Ana\nS.")]),
    "a text of several lines, with a phone number and delimiters": (
        "a.csv",
        f'to,nome\n{ANA},"Oi, tudo bem?\nLigue para:\n(11) 4000-1234"\n'.encode(),
        {},
        [(TWO[0][0], "Oi, tudo bem?\nLigue para:\n(11) 4000-1234")],
    ),
    "a text of several lines in the first column, with a handle and a delimiter": (
        "a.csv",
        f'nome;to\n"Oi; siga\n@loja";{ANA}\n'.encode(),
        {},
        [(TWO[0][0], "Oi; siga\n@loja")],
    ),
    "NUL in a cell": ("a.csv", f"to;nome\n{ANA};A\0na\n".encode(), {}, {2: "nome: 'A\\x00na' is not readable text"}),
    "NULs at the end": ("a.csv", f"to;nome\n{ANA};Ana\n".encode() + b"\0" * 512, {}, {3: "has 1 column, the header 2"}),
    "UTF-8, taken for cp1252": (
        "a.csv",
        f"to;nome\n{ANA};João\n".encode(),
        {"encoding": "cp1252"},
        {2: "read in another encoding"},
    ),
    "UTF-8, taken for latin-1": (
        "a.csv",
        f"to;nome\n{ANA};À vista\n".encode(),
        {"encoding": "latin-1"},
        {2: "read in another encoding"},
    ),
    "quotes of a row that end in the next": (
        "a.csv",
        f'nome;to\n"Ana;{ANA}\nBia";{BIA}\n'.encode(),
        {},
        {3: "with line 2, has a quote in the wrong place"},
    ),
    "quotes that end later, and handles": (
        "a.csv",
        b'nome;to\n"Ana;@ana\nBia;@bia\nCaio";@caio\n',
        {},
        {4: "with line 2, has a quote in the wrong place"},
    ),
    "UTF-8 encoded twice": ("a.csv", f"to;nome\n{ANA};JoÃ£o\n".encode(), {}, {2: "read in another encoding"}),
    "text of a Mac, taken for latin-1": (
        "a.csv",
        f"to;nome\n{ANA};João\n".encode("mac_roman"),
        {"encoding": "latin-1"},
        {2: "read in another encoding"},
    ),
    "text of a Mac, taken for cp1252": (
        "a.csv",
        f"to;nome\n{ANA};João\n{BIA};Márcia\n".encode("mac_roman"),
        {"encoding": "cp1252"},
        {2: "read in another encoding", 3: "read in another encoding"},
    ),
    "text of MS-DOS, taken for cp1252": (
        "a.csv",
        f"to;nome\n{ANA};Luís\n{BIA};JOSÉ GONÇALVES\n{ANA};João\n".replace("É", "é").encode("cp850"),
        {"encoding": "cp1252"},
        dict.fromkeys((2, 3, 4), "read in another encoding"),
    ),
    "text of MS-DOS": ("a.csv", f"to;nome\n{ANA};João\n".encode("cp850"), {"encoding": "cp850"}, [(TWO[0][0], "João")]),
    "symbols beside letters": ("a.csv", f"to;nome\n{ANA};{SYMBOLS}\n".encode(), {}, [(TWO[0][0], SYMBOLS)]),
    "phone numbers that Excel shortened, opened and saved again": (
        "a.csv",
        b"to;nome\n5511990000000;Ana\n5511980000000;Bia\n5511990000000;Caio\n",
        {},
        dict.fromkeys((3, 4), "ends in six zeros, as in line 2, so it may have lost digits"),
    ),
    "phone numbers with a plus sign that end in zeros": (
        "a.csv",
        b"to;nome\n+5511990000000;Ana\n+5511980000000;Bia\n",
        {},
        [("+55|11990000000", "Ana"), ("+55|11980000000", "Bia")],
    ),
    "a phone number that ends in zeros": ("a.csv", b"to;nome\n5511990000000;Ana\n", {}, [("+55|11990000000", "Ana")]),
    "a letter that was lost": ("a.csv", f"to;nome\n{ANA};Jo\ufffdo\n".encode(), {}, {2: "is damaged"}),
    "capitals with accents": ("a.csv", f"to;nome\n{ANA};SÃO JOSÉ\n".encode(), {}, [(TWO[0][0], "SÃO JOSÉ")]),
    "UTF-16 of the other byte order, taken for UTF-8": (
        "a.csv",
        f"to;nome\n{BODY}".encode("utf-16-be"),
        {},
        "without a byte order mark 'utf-16-be'",
    ),
    "UTF-32": ("a.csv", f"to;nome\n{BODY}".encode("utf-32"), {}, "recipients_encoding='utf-32'"),
    "two encodings in one file": (
        "a.csv",
        f"to;nome\n{ANA};João\n".encode() + f"{BIA};João\n".encode("cp1252"),
        {},
        "recipients_encoding",
    ),
    "a huge cell": ("a.csv", f"to;nome\n{ANA};{'x' * 200_000}\n".encode(), {}, "field larger than field limit"),
    "a huge first line": ("a.csv", b"x" * 200_000, {}, "field larger than field limit"),
    "16,384 columns": (
        "a.csv",
        f"to;nome;{';'.join(f'c{number}' for number in range(16382))}\n{ANA};Ana{';' * 16382}\n".encode(),
        {},
        TWO[:1],
    ),
    "a web page": ("a.csv", b"\n<!DOCTYPE html><html></html>", {}, "contains a web page"),
    "JSON": ("a.csv", f'[{{"to": "{ANA}", "nome": "Ana"}}]'.encode(), {}, "contains JSON"),
    "Excel under the name of a CSV file": ("a.csv", excel(["to"]), {}, "the file is an Excel file"),
    "old Excel under the name of a CSV file": ("a.csv", b"\xd0\xcf\x11\xe0" * 99, {}, "old or encrypted Excel file"),
    "gzip twice": ("a.csv.gz", gzip.compress(gzip.compress(BODY.encode())), {}, "compressed twice"),
    "gzip and something behind it": ("a.csv.gz", gzip.compress(BODY.encode()) + b"x", {}, "cannot be read"),
    "a separator of its own in one row": ("a.csv", f"to;nome\n{ANA},Ana\n".encode(), {}, {2: "has 1 column"}),
    "a decimal comma between commas": (
        "a.csv",
        f"to,nome,valor\n{ANA},Ana,149,90\n".encode(),
        {},
        {2: "column 4 has a value"},
    ),
    "the header once more": ("a.csv", f"to;nome\n{ANA};Ana\nto;nome\n".encode(), {}, {3: "'to' is not a valid"}),
    "a line of totals": ("a.csv", f"to;nome\n{ANA};Ana\nTotal;1\n".encode(), {}, {3: "'Total' is not a valid"}),
    "a template in a cell": ("a.csv", f"to;nome\n{ANA};{{{{ conn }}}}\n".encode(), {}, [(TWO[0][0], "{{ conn }}")]),
    "months as names": ("a.csv", f"to;nome;01/12/2026\n{ANA};Ana;1\n".encode(), {}, TWO[:1]),
    # JSON Lines
    "one name twice in an object": ("a.jsonl", f'{{"to": "{ANA}", "to": "{BIA}"}}\n'.encode(), {}, {1: "'to' twice"}),
    "JSON over several lines": ("a.jsonl", b'[\n{"to": 1}\n]', {}, "is a JSON list, not JSON Lines"),
    "half a character": ("a.jsonl", f'{{"to": "{ANA}", "nome": "\\ud800"}}\n'.encode(), {}, {1: "half a character"}),
    "nested without end": ("a.jsonl", b'{"to":' * 100_000, {}, {1: "is not valid JSON"}),
    "a phone number of 5,000 digits": ("a.jsonl", b'{"to": ' + b"1" * 5000 + b"}", {}, {1: "is not valid JSON"}),
    # Excel
    "Excel": ("a.xlsx", excel(["to", "nome"], [ANA, "Ana"], [BIA, "Bia"]), {}, TWO),
    "Excel, numbers as text and blank rows": (
        "a.xlsx",
        excel([], ["to", "nome", None], [], [ANA, "Ana"], [None, "  "], [BIA, "Bia", None]),
        {},
        TWO,
    ),
    "Excel, phone numbers as numbers": (
        "a.xlsx",
        excel(["to", "nome"], [5511910000001, "Ana"], [11910000002, "Bia"]),
        {},
        TWO,
    ),
    "Excel, dates": (
        "a.xlsx",
        excel(["to", "nome"], [ANA, date(2026, 3, 1)], [BIA, datetime(2026, 3, 1, 18, 30)]),
        {},
        [(TWO[0][0], "2026-03-01"), (TWO[1][0], "2026-03-01 18:30:00")],
    ),
    "Excel, numbers": (
        "a.xlsx",
        excel(["to", "nome"], [ANA, 149.9], [BIA, 20]),
        {},
        [(TWO[0][0], "149.9"), (TWO[1][0], "20")],
    ),
    "Excel, a formula's value": ("a.xlsx", formula(), {}, [(TWO[0][0], "ANA")]),
    "Excel, an error of a formula": ("a.xlsx", excel(["to", "nome"], [ANA, "#N/A"]), {}, {2: "'nome' has no value"}),
    "Excel, an error in Portuguese": ("a.xlsx", excel(["to", "nome"], [ANA, "#N/D"]), {}, {2: "'nome' has no value"}),
    "Excel, a formula without a value": ("a.xlsx", excel(["to", "nome"], [ANA, "=A1"]), {}, {2: "without its value"}),
    "Excel, a row of formulas without values": (
        "a.xlsx",
        excel(["to", "nome"], [ANA, "Ana"], ["=A1", "=B1"]),
        {},
        {3: "contains a formula without its value"},
    ),
    "Excel, zero for each formula that was not calculated": (
        "a.xlsx",
        edited(excel(["to", "nome"], [ANA, "=B1"]), b"<v />", b"<v>0</v>"),
        {},
        {2: "contains a formula without its value"},
    ),
    "Excel, zero for each formula that was not calculated, as Apache POI writes it": (
        "a.xlsx",
        edited(excel(["to", "nome"], [ANA, "=B1"]), b"<v />", b"<v>0.0</v>"),
        {},
        {2: "contains a formula without its value"},
    ),
    "Excel, a formula that gives an empty text": (
        "a.xlsx",
        edited(excel(["to", "nome"], [ANA, "=A1"]), b'<c r="B2"', b'<c r="B2" t="str"'),
        {},
        {2: "'nome' has no value"},
    ),
    "Excel, a number of 16 digits": (
        "a.xlsx",
        excel(["to", "nome"], [ANA, 1234567890123450]),
        {},
        {2: "scientific notation and lost digits"},
    ),
    "Excel, a truth value for a phone number": ("a.xlsx", excel(["to", "nome"], [True, "A"]), {}, {2: "a boolean"}),
    "Excel, a truth value for a name": ("a.xlsx", excel(["to", "nome"], [ANA, True]), {}, {2: "would write True"}),
    "Excel, a date for a phone number": (
        "a.xlsx",
        excel(["to", "nome"], [date(2026, 3, 1), "Ana"]),
        {},
        {2: "is not text but date; give it as text"},
    ),
    "Excel, the serial number of a date for a phone number": (
        "a.xlsx",
        excel(["to", "nome"], [46387, "Ana"]),
        {},
        {2: "46387 is a number"},
    ),
    "Excel, a date beyond all dates": ("a.xlsx", formatted(11910000001, "dd/mm/yyyy"), {}, {2: "to: is empty"}),
    "Excel, a format that shows +": ("a.xlsx", formatted(51912345678, "+0"), {}, [("+51|912345678", "Ana")]),
    "Excel, a format that shows +55": ("a.xlsx", formatted(11910000001, '"+55 "00000000000'), {}, TWO[:1]),
    "Excel, a format that shows 0054": ("a.xlsx", formatted(1144445555, '"0054 "0'), {}, [("+54|1144445555", "Ana")]),
    "Excel, a format that shows 00549": (
        "a.xlsx",
        formatted(1144445555, '"00 54 9 "00 0000-0000'),
        {},
        [("+54|91144445555", "Ana")],
    ),
    "the end of a DOS file": ("a.csv", f"to;nome\r\n{BODY}\x1a".encode(), {}, TWO),
    "Excel, a format that shows +351": ("a.xlsx", formatted(912345678, '"+351 "0'), {}, [("+351|912345678", "Ana")]),
    "Excel, a format that shows 1": (
        "a.xlsx",
        formatted(4155552671, '"1 "0'),
        {},
        {2: "'1 4155552671' is not a valid"},
    ),
    "Excel, a format of a phone number": ("a.xlsx", formatted(11910000001, "\\(00\\) 00000\\-0000"), {}, TWO[:1]),
    "Google Sheets, a format that shows +": (
        "a.xlsx",
        edited(formatted(51912345678, "+0"), b"<v>51912345678</v>", b"<v>5.1912345678E10</v>"),
        {},
        [("+51|912345678", "Ana")],
    ),
    "Google Sheets, whole numbers": (
        "a.xlsx",
        edited(excel(["to", "nome"], [5511910000001, 118]), b"<v>118</v>", b"<v>118.0</v>"),
        {},
        [(TWO[0][0], "118")],
    ),
    "Excel, a format with a language that shows +": (
        "a.xlsx",
        formatted(51912345678, "[$-416]+0"),
        {},
        [("+51|912345678", "Ana")],
    ),
    "Excel, a format with a colour that shows +": (
        "a.xlsx",
        formatted(51912345678, "[Blue]+0"),
        {},
        [("+51|912345678", "Ana")],
    ),
    "Excel, a format with a condition that shows +": (
        "a.xlsx",
        formatted(51912345678, "[<=9999999999](00) 0000-0000;+00 000000000"),
        {},
        [("+51|912345678", "Ana")],
    ),
    "Excel, a format with a condition that is not met": (
        "a.xlsx",
        formatted(11910000001, "[>99999999999]+00 00 00000-0000;(00) 00000-0000"),
        {},
        TWO[:1],
    ),
    "Excel, a number that lost digits in a CSV file": (
        "a.xlsx",
        excel(["to", "nome"], [5511910000000, "Ana"]),
        {},
        {2: "lost digits"},
    ),
    "Excel, a large round number": (
        "a.xlsx",
        excel(["to", "nome"], [ANA, 5000000000]),
        {},
        [(TWO[0][0], "5000000000")],
    ),
    "Excel, scientific notation": (
        "a.xlsx",
        excel(["to", "nome"], ["1,19E+10", "A"]),
        {},
        {2: "in scientific notation"},
    ),
    "Excel, a row of no height": (
        "a.xlsx",
        edited(excel(["to", "nome"], [ANA, "Ana"], [BIA, "Bia"]), b'<row r="3"', b'<row r="3" ht="0" customHeight="1"'),
        {},
        {3: "is hidden in the spreadsheet"},
    ),
    "Excel, a row that comes again": (
        "a.xlsx",
        edited(excel(["to", "nome"], [ANA, "Ana"], [BIA, "Bia"]), b'<row r="3"', b'<row r="2"'),
        {},
        "row 2 of the sheet is written after row 2",
    ),
    "Excel, a line break as Excel writes it": (
        "a.xlsx",
        excel(["to", "nome"], [ANA, "Ana_x000D_\nSilva"]),
        {},
        [(TWO[0][0], "Ana\r\nSilva")],
    ),
    "Excel, months as names": ("a.xlsx", excel(["to", "nome", date(2026, 3, 1)], [ANA, "Ana", 1]), {}, TWO[:1]),
    "Excel, a value in the last column": (
        "a.xlsx",
        excel(["to", "nome"], [ANA, "Ana", *[None] * 16381, "x"]),
        {},
        {2: "column 16384 has a value"},
    ),
    "Excel with macros": ("a.xlsm", excel(["to", "nome"], [ANA, "Ana"]), {}, TWO[:1]),
    "Excel cut short": ("a.xlsx", excel(["to", "nome"], [ANA, "Ana"])[:-30], {}, "the Excel file cannot be read"),
    "Excel with a changed byte": ("a.xlsx", damaged(), {}, "the Excel file cannot be read"),
    "Excel with broken XML": (
        "a.xlsx",
        edited(excel(["to", "nome"], [ANA, "Ana"]), b"</row></sheetData>", b""),
        {},
        "the Excel file cannot be read",
    ),
    "an empty ZIP archive": ("a.xlsx", b"PK\x05\x06" + b"\0" * 18, {}, "the Excel file cannot be read"),
    "Excel, an empty cell": ("a.xlsx", excel(["to", "nome"], [ANA, None]), {}, {2: "'nome' has no value"}),
    "Excel, merged cells": ("a.xlsx", merged(), {}, {3: "'nome' has no value"}),
    "Excel, a title over the header": (
        "a.xlsx",
        excel(["Campanha de março"], ["to", "nome"], [ANA, "Ana"]),
        {},
        {2: "column 2 has a value, but no name in line 1. If that line is a title, delete it", 3: "column 2"},
    ),
    "Excel, a hidden row": (
        "a.xlsx",
        excel(["to", "nome"], [ANA, "Ana"], [BIA, "Bia"], hidden=3),
        {},
        {3: "is hidden in the spreadsheet"},
    ),
    "Excel, a hidden row behind an empty one, both without a number": (
        "a.xlsx",
        edited(excel(["to", "nome"], [ANA, "Ana"], [BIA, "Bia"], hidden=3), b'<row r="3"', b"<row/><row"),
        {},
        {4: "is hidden in the spreadsheet"},
    ),
    "Excel, empty sheets": (
        "a.xlsx",
        excel(["to", "nome"], [ANA, "Ana"], [BIA, "Bia"], Plan2=[], Plan3=[[None, " "]]),
        {},
        TWO,
    ),
    "Excel, a hidden sheet": ("a.xlsx", with_hidden_sheet(), {}, TWO[:1]),
    "Excel, two sheets": (
        "a.xlsx",
        excel(["to", "nome"], [ANA, "Ana"], Abril=[["to"], [BIA]]),
        {},
        "2 sheets that are not empty: 'Sheet', 'Abril'",
    ),
    "Excel, two sheets and the name of one": (
        "a.xlsx",
        excel(["to"], [BIA], Março=[["to", "nome"], [ANA, "Ana"]]),
        {"sheet": "Março"},
        TWO[:1],
    ),
    "Excel, no such sheet": ("a.xlsx", excel(["to"], [ANA]), {"sheet": "Abril"}, "there is no sheet 'Abril'"),
    "Excel, nothing in it": ("a.xlsx", excel(), {}, "no visible sheet with a header"),
    "Excel, with a password": ("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 99, {}, "without a password"),
    "Excel, saved as Strict Open XML": (
        "a.xlsx",
        edited(
            excel(["to"], [ANA]),
            b"http://schemas.openxmlformats.org/officeDocument/2006/relationships",
            b"http://purl.oclc.org/ooxml/officeDocument/relationships",
            "xl/workbook.xml",
        ),
        {},
        "not as Strict Open XML",
    ),
    "Excel of 2003": ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" * 99, {}, "Save it as Excel Workbook (.xlsx)"),
    "a web page under the name of an Excel file": ("a.xlsx", b"<html>", {}, "perhaps CSV or a web page"),
    "an OpenDocument file under the name of an Excel file": (
        "a.xlsx",
        b"PK\x03\x04" + bytes(26) + b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
        {},
        "is an OpenDocument file",
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_a_spreadsheet_as_people_have_it(case: str, tmp_path: Path) -> None:
    name, content, options, expected = TABLE[case]
    (tmp_path / name).write_bytes(content)
    given = {"text": f"{{{{ row['{options.get('name', 'nome')}'] }}}} "}
    plan = RowPlan(RowTemplates(None, {}), given, {"text": str.strip}, recipient)

    def read() -> list[Any]:
        options_ = {key: value for key, value in options.items() if key != "name"}
        return list(Recipients(checked(recipients.in_file(str(tmp_path / name), **options_), plan)).entries())

    if isinstance(expected, str):
        with pytest.raises(WtsInvalidRequestError) as caught:
            read()
        assert expected in str(caught.value)
        return
    found = read()
    if isinstance(expected, dict):
        bad = {one.line: one.reason for one in found if isinstance(one, SkippedRow)}
        assert bad.keys() == expected.keys()
        assert all(words in bad[line] for line, words in expected.items())
    elif isinstance(expected, int):
        assert len(found) == expected
    else:
        assert [(one.to, one.values["text"]) for one in found] == expected


@pytest.mark.parametrize(
    ("value", "number_format", "written"),
    [
        (1310100, "00000-000", "01310100"),
        (1234567890, '000"."000"."000\\-00', "01234567890"),
        (7, "[Blue]00;-00", "07"),
        (12345678, '"2026/"00000000', "12345678"),
        (12345678, '"2026-"00000000', "12345678"),
        (118, "00", "118"),
        (7, "0.00", "7"),
        (7, "#,##0", "7"),
        (timedelta(hours=26, minutes=30), "[h]:mm:ss", "26:30:00"),
        (0, "dd/mm/yyyy", "sem valor"),
        (0.5, "dd/mm/yyyy hh:mm", "sem valor"),
        (0.5, '[Red]hh:mm" dia"', "12:00:00"),
    ],
)
def test_a_cell_is_written_as_its_format_shows_it(tmp_path: Path, value: Any, number_format: str, written: str) -> None:
    book = Workbook()
    sheet: Any = book.active
    for row in (["to", "x"], [ANA, value]):
        sheet.append(row)
    sheet["B2"].number_format = number_format
    book.save(tmp_path / "a.xlsx")
    template = "{{ row.x | default('sem valor') }}"
    given = {"text": template, "data": {"x": template}, "key": "{{ row.x or '-' }}"}
    plan = RowPlan(RowTemplates(None, {}), given, {"text": str, "data": dict}, recipient)
    (found,) = checked_entries(tmp_path / "a.xlsx", plan)
    assert found.values["text"] == written
    assert str(found.values["data"]["x"]) == written
    assert found.key == (written if written != "sem valor" else "-")


def test_a_phone_number_has_no_zeros_of_its_format(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(formatted(988887777, "00000000000"))
    for template in ("{{ row.to }}", "+55{{ row.to }}"):
        plan = RowPlan(RowTemplates(None, {}), {"to": template}, {}, recipient)
        (found,) = checked_entries(tmp_path / "a.xlsx", plan)
        assert "988887777" in found.reason
        assert "00988887777" not in found.reason


@pytest.mark.parametrize(
    ("value", "number_format", "to"),
    [
        (1122223333, '00" 9"0000-0000', "+55|11922223333"),
        (1122223333, "(##) \\90000-0000", "+55|11922223333"),
        (1122223333, '"+55 "00 90000-0000', "+55|11922223333"),
        (11988887777, '00" tel. "00000-0000" (9)"', "+55|11988887777"),
        (988887777, '00" 9"0000-0000', None),
        (988887777, '##" 9"0000-0000', None),
        (51912345678, '"+"General', "+51|912345678"),
        (1144445555, '[Blue]"+54 "general', "+54|1144445555"),
        (612345678, '"+39 "0000000000', "+39|0612345678"),
        (1188887777, '"+55 "(00) 00000-0000', "+55|1188887777"),
        (51912345678, "+00 (00) 00000-0000", "+55|51912345678"),
        (551188887777, "(+00) 00 00000-0000", "+55|1188887777"),
        (5511990000000, "+00 (00) 00000-0000", None),
        (51912345678, "*+0_+", "+55|51912345678"),
        (988887777, '"55 11 "00000-0000', "+55|11988887777"),
        (88887777, '"(011) 9"0000-0000', "+55|11988887777"),
        (988887777, '"1 "0', None),
        (988887777, '"Tel 1: "0', None),
        (11988887777, '"Tel 1: "0', "+55|11988887777"),
        (51912345678, '"Tel 1: +"0', "+51|912345678"),
        ("51912345678", '"+"@', "+51|912345678"),
        ("98888-7777", '0;-0;0;"(11) "@', "+55|11988887777"),
        ("11988887777", '"cel. "@', "+55|11988887777"),
    ],
)
def test_digits_that_only_a_format_shows_belong_to_a_number(
    tmp_path: Path, value: Any, number_format: str, to: str | None
) -> None:
    (tmp_path / "a.xlsx").write_bytes(formatted(value, number_format))
    (found,) = checked_entries(tmp_path / "a.xlsx", RowPlan(RowTemplates(None, {}), {}, {}, recipient))
    assert getattr(found, "to", None) == to


def checked_entries(path: Path, plan: RowPlan) -> list[Any]:
    return list(Recipients(checked(recipients.in_file(str(path)), plan)).entries())


def test_the_table_is_as_long_as_it_says() -> None:
    assert len(TABLE) >= 120


def test_an_excel_file_is_read_row_by_row(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(
        excel(["to"], *([f"+55119{index:08d}"] for index in range(10_000_000, 10_001_500)))
    )
    found = recipients.in_file(str(tmp_path / "a.xlsx"))
    assert next(found) == recipients.Row(2, {"to": "+5511910000000"})
    assert sum(1 for _ in found) == 1499


def test_hidden_rows_are_found_across_the_borders_of_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_wts.campaigns.spreadsheets._CHUNK", 7)
    (tmp_path / "a.xlsx").write_bytes(excel(["to"], *([ANA] for _ in range(9)), hidden=8))
    found = list(recipients.in_file(str(tmp_path / "a.xlsx")))
    assert [row.line for row in found if row.problem] == [8]


def test_without_openpyxl_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "openpyxl", None)
    (tmp_path / "a.xlsx").write_bytes(excel(["to"]))
    with pytest.raises(WtsInvalidRequestError, match=r"airflow-provider-wts\[excel\]"):
        list(recipients.in_file(str(tmp_path / "a.xlsx")))


# Tables of other libraries --------------------------------------------------------------------------------------------


class PandasFrame:
    """As pandas shows a data frame to who does not import pandas."""

    columns = ("to", "nome")

    def to_dict(self) -> Any:
        raise AssertionError

    def itertuples(self, *, index: bool, name: None) -> Any:
        return iter([(5511910000001.0, float("nan")), (11910000002, "Bia")])


class PolarsFrame:
    """As Polars shows a data frame to who does not import Polars."""

    def iter_rows(self, *, named: bool) -> Any:
        return iter([{"to": ANA, "nome": None}, {"to": BIA, "nome": "Bia"}])


def arrow_table() -> Any:
    import pyarrow

    return pyarrow.table({"to": [ANA, BIA], "nome": [None, "Bia"]})


class Column:
    """As NumPy, pandas and Polars show a column of single precision, whose numbers they turn into double precision."""

    dtype = "float32"

    def __iter__(self) -> Any:
        return iter([5511909998592.0])


class SinglePandasFrame(PandasFrame):
    dtypes = ("float32", "object")


class PandasFrameInTheOtherByteOrder(PandasFrame):
    dtypes = (">f4", "object")


class SinglePolarsFrame(PolarsFrame):
    schema: ClassVar[dict[str, str]] = {"to": "Float32", "nome": "String"}

    def iter_rows(self, *, named: bool) -> Any:
        return iter([{"to": 5511909998592.0, "nome": "Ana"}])


class Categories:
    """As pandas shows the type of a column of categories, whose values have a type of their own."""

    categories = Column()

    def __str__(self) -> str:
        return "category"


class ColumnOfCategories(Column):
    dtype = Categories()  # type: ignore[assignment]


class PandasFrameOfCategories(PandasFrame):
    dtypes = (Categories(), "object")


@pytest.mark.parametrize(
    "table",
    [
        *(SinglePandasFrame, PandasFrameInTheOtherByteOrder, PandasFrameOfCategories),
        *(SinglePolarsFrame, Column, ColumnOfCategories),
    ],
)
def test_a_phone_number_in_a_column_of_single_precision_is_a_strangers(table: Any) -> None:
    with pytest.raises(WtsInvalidRequestError, match="single precision, which keeps seven digits"):
        list(recipients.listed(table()))


class PandasFrameWithOneNameTwice(PandasFrame):
    columns = ("to", "to")


def test_a_data_frame_with_one_name_twice_is_refused() -> None:
    with pytest.raises(WtsInvalidRequestError, match="two columns have the same name, 'to'"):
        recipients.listed(PandasFrameWithOneNameTwice())


@pytest.mark.parametrize("table", [PandasFrame, PolarsFrame, arrow_table])
def test_a_data_frame_is_a_list_of_its_rows(table: Any) -> None:
    found = [row.values for row in recipients.listed(table())]
    assert [row["nome"] for row in found][1] == "Bia"
    assert len(found) == 2
