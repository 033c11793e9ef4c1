"""The report of a campaign in a real browser: it loads nothing, follows the colours asked for, and text stays text."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_wts.campaigns.report import Funnel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.browser

SENT_AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVIL = "<img src=x onerror='document.title=\"broken\"'><script>document.title='broken'</script><b>Oi</b>"
NOTHING = {"session_id": None, "sent_at": None, "answers": None}


def rows(count: int, reason: str = "Número inexistente") -> Iterator[dict[str, Any]]:
    """Return the rows of a campaign with a holdout, in which about half of the customers reply."""
    chance = random.Random(4)
    for index in range(count):
        sent_at = SENT_AT + timedelta(seconds=index / 10)
        row: dict[str, Any] = {
            "send_status": "sent",
            "reason": None,
            "failed_reason": None,
            "session_id": f"session {index}",
            "replied": False,
            "completed_at": None,
            "last_reply_at": None,
            "sent_at": sent_at,
            "answers": json.dumps({"nota": str(max(0, min(10, round(chance.gauss(8, 2))))), "fatura": str(index)}),
        }
        share = chance.random()
        if share < 0.015:
            row |= {**NOTHING, "send_status": "bad_row"}
        elif share < 0.04:
            row |= {**NOTHING, "send_status": "skipped"}
        elif share < 0.14:
            row |= {**NOTHING, "send_status": "holdout", "replied": chance.random() < 0.08}
        elif share < 0.16:
            row |= {
                "failed_reason": chance.choice([reason, "Message undeliverable"]),
                "session_id": None,
                "answers": None,
            }
        elif share < 0.6:
            replied_at = sent_at + timedelta(minutes=chance.expovariate(1 / 200))
            row |= {"replied": True, "last_reply_at": replied_at}
            row["completed_at"] = replied_at if chance.random() < 0.7 else None
        yield row


@pytest.fixture
def report(tmp_path: Path, browser: Any) -> Any:
    def opened(language: str = "en", **given: Any) -> Any:
        funnel = Funnel()
        for row in rows(10_000, **given):
            funnel.add(row)
        path = tmp_path / "report.html"
        ids = ["0b6f0a57-9d3e-5c0b-9d0e-2b6d2f4c9a11"]
        path.write_text(funnel.html(language, ids, SENT_AT + timedelta(days=2)), encoding="utf-8")
        browser.get_log("browser")
        browser.get(path.as_uri())
        return browser

    return opened


@pytest.fixture
def colours(browser: Any) -> Iterator[Any]:
    """Ask for light or dark colours, as a system does."""

    def ask(scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    yield ask
    ask("light")


def sections(browser: Any) -> dict[str, Any]:
    return {
        one.find_element("css selector", "h2").text: one for one in browser.find_elements("css selector", "section")
    }


def test_it_shows_the_funnel_and_loads_nothing(report: Any, colours: Any, picture: Any) -> None:
    colours("light")
    page = report()
    shown = sections(page)
    assert list(shown) == [
        "Funnel",
        "Not reached",
        "Holdout against treated: who wrote after the send",
        "Last replies by hour of the day (UTC)",
        "Time from the send to the last reply",
        "Answers: nota",
        "Reasons of failures",
    ]
    assert "10,000" in shown["Funnel"].text
    assert "percentage points (95% interval: " in shown["Holdout against treated: who wrote after the send"].text
    loaded = page.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert loaded == []
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []
    picture("campaign-report")


def test_no_label_leaves_its_chart(report: Any) -> None:
    page = report(language="pt", reason="Mensagem não entregue porque o número não existe no WhatsApp")
    outside = page.execute_script(
        "return [...document.querySelectorAll('svg text')].filter((one) => {"
        " const own = one.getBoundingClientRect(), box = one.closest('svg').getBoundingClientRect();"
        " return own.left < box.left - 1 || own.right > box.right + 1 }).map((one) => one.textContent)"
    )
    assert outside == []


def test_it_is_light_and_dark_as_the_system_is(report: Any, colours: Any, picture: Any) -> None:
    backgrounds = []
    for scheme in ("light", "dark"):
        colours(scheme)
        page = report(language="pt")
        backgrounds.append(page.execute_script("return getComputedStyle(document.body).backgroundColor"))
        assert page.find_element("css selector", "h1").text == "Resultado da campanha"
    assert backgrounds == ["rgb(246, 248, 247)", "rgb(16, 20, 19)"]
    picture("campaign-report-pt-dark")


def test_what_others_wrote_stays_text(report: Any) -> None:
    page = report(reason=EVIL[:80])
    assert page.title == "Outcome of the campaign"
    assert page.find_elements("css selector", "img, script, b") == []
    assert "<img src=x" in sections(page)["Reasons of failures"].text
