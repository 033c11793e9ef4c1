"""The second part of the demo: a warehouse of 300 customers, how they answer, and the funnel in a task's log."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

DAG_ID = "example_wts_campaign"

CUSTOMERS = 300

_NAMES = ("Ana", "Bruno", "Célia", "Davi", "Ester", "Flávio", "Gilda", "Heitor", "Inês", "João")

#: What customers write, one after the other; ``None``: nothing. The outcome does not wait for the last in ten.
_ANSWERS = (
    *("Sim, já paguei", "Pago amanhã", "Ainda não", "Sim, já paguei", "Pago amanhã", "Sim, já paguei"),
    *(None, "Ainda não", "Sim, já paguei", "Pago amanhã", "Sim, já paguei", "Sim, já paguei"),
)

#: Numbers that nobody can have, as forms collect them.
_BAD_PHONES = {41: "não informado", 137: "11 97000", 222: "0800 000 000 000 00"}

_OPTED_OUT = range(60, 68)

#: Numbers that the local WTS Chat service refuses.
REFUSED = (90, 250)


def phone(number: int) -> str:
    """Return the phone number of a customer."""
    return f"+5511970{number:06}"


def behaviours() -> dict[str, Any]:
    """Return how the customers answer, as a seed file has it."""
    return {
        phone(number): {"replies": [answer] if answer else [], "delay": 3 + 7 * number % 20}
        for number in range(CUSTOMERS)
        for answer in [_ANSWERS[number % len(_ANSWERS)]]
    }


def fill_warehouse(path: Path) -> None:
    """Make the database that the campaign reads: an open invoice for each customer, and 40 that are paid."""
    rows = [
        (
            1000 + number,
            f"{_NAMES[number % len(_NAMES)]} {number}",
            _BAD_PHONES.get(number, phone(number)),
            20 + number * 1.5,
            "2026-01-10",
            None if number < CUSTOMERS else "2026-01-09",
        )
        for number in range(CUSTOMERS + 40)
    ]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE invoices (id INTEGER, name TEXT, phone TEXT, amount NUMERIC, due_on DATE, paid_on DATE)"
        )
        connection.execute("CREATE TABLE opt_outs (phone TEXT)")
        connection.executemany("INSERT INTO invoices VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.executemany("INSERT INTO opt_outs VALUES (?)", [(phone(number),) for number in _OPTED_OUT])


def hasty(text: str) -> str:
    """Return the DAG file with a pass every ten seconds: these customers answer quickly."""
    found = "refresh_interval=timedelta(minutes=15)"
    if text.count(found) != 1:
        raise ValueError(f"{DAG_ID} does not say {found}.")
    return text.replace(found, "refresh_interval=timedelta(seconds=10)")


def funnel(lines: Iterable[str]) -> list[str]:
    """Return the last funnel of a log."""
    found: list[str] = []
    for line in lines:
        if re.match(r"[a-z ]+ [\d,]+  ", line):
            found = [line] if line.startswith("rows ") else [*found, line]
    return found


def outcomes(path: Path) -> list[tuple[Any, ...]]:
    """Return how many customers have which outcome, as an analyst would ask for it."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT send_status, session_status, json_extract(answers, '$.resposta') AS answer, count(*), "
            "sum(invoices.amount) FROM reminder_outcomes JOIN invoices ON row_key = CAST(id AS TEXT) "
            "GROUP BY send_status, session_status, answer ORDER BY count(*) DESC"
        ).fetchall()
