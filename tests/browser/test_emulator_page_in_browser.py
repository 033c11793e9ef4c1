"""The emulator's page in a real browser: it lives, it shows statuses as they move, and text stays text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import requests

from airflow_provider_wts.api.contract import operations
from airflow_provider_wts.emulator.running import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.browser

WHATSAPP = "+55|1140028922"
CARLA = "+55|11999990001"
EVIL = "<img src=x onerror='document.title=\"broken\"'><script>document.title='broken'</script><b>Oi</b>"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    # Time stands still: a test moves it.
    with Emulator(speed=0) as running:
        running.switches.whatsapp_window = "off"
        yield running


@pytest.fixture
def ask(emulator: Emulator) -> Any:
    def call(operation_id: str, **body: Any) -> Any:
        operation = operations()[operation_id]
        headers = {"Authorization": f"Bearer {emulator.token}"}
        answer = requests.request(
            operation.method, emulator.url + operation.path, json=body, headers=headers, timeout=10
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    return call


@pytest.fixture
def bot_key(emulator: Emulator) -> str:
    return next(bot["key"] for bot in emulator.state.chatbots if bot["name"] == "Cobrança")


class Page:
    """The page, as far as a test looks at it."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    def texts(self, selector: str) -> list[str]:
        script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
        return list(self._browser.execute_script(script, selector))

    def one(self, selector: str) -> Any:
        return self._browser.find_element("css selector", selector)

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self._browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def page(browser: Any, emulator: Emulator) -> Page:
    browser.get_log("browser")
    browser.get(emulator.url + "/")
    return Page(browser)


def test_it_says_what_to_do_while_nothing_happened(page: Page, until: Any) -> None:
    until(lambda: "No conversation yet" in " ".join(page.texts("#conversations .empty")))
    assert page.errors() == []


def test_a_conversation_appears_by_itself_and_its_statuses_move(
    page: Page, until: Any, ask: Any, emulator: Emulator
) -> None:
    until(lambda: page.texts("#conversations .empty"))
    ask("send_text", **{"from": WHATSAPP, "to": CARLA, "text": "Sua fatura venceu."})
    for seconds, status in ((0.3, "queued"), (0.5, "✓ sent"), (1, "✓✓ delivered"), (5, "✓✓ read")):
        emulator.advance(seconds)
        until(lambda status=status: page.texts("article .foot i") == [status], what=status)
    assert page.texts("article .bubble .text") == ["Sua fatura venceu."]
    assert page.texts("article .who b") == ["Carla Dias"]
    assert page.errors() == []


def test_text_stays_text(page: Page, until: Any, ask: Any, browser: Any, emulator: Emulator) -> None:
    run = {"dag": EVIL, "run": EVIL}
    emulator.seed(contacts=[{"name": EVIL, "phone": "+55|11988887777"}])
    ask(
        "send_text",
        **{"from": WHATSAPP, "to": "+55|11988887777", "text": EVIL, "sessionMetadata": {EVIL: EVIL, "c": run}},
    )
    emulator.advance(1)
    emulator.contact_writes("+55|11988887777", EVIL)
    until(lambda: page.texts("article .bubble .text") == [EVIL, EVIL])
    until(lambda: page.texts("details summary b") == [EVIL])
    assert page.texts("article .who b") == [EVIL]
    assert browser.title == "WTS Chat emulator"
    assert browser.execute_script("return document.querySelectorAll('main img, main script').length") == 0
    assert page.errors() == []


def test_a_person_answers_as_the_customer(page: Page, until: Any, ask: Any, emulator: Emulator, bot_key: str) -> None:
    emulator.behave(CARLA, replies=[])
    ask("send_chatbot", **{"from": WHATSAPP, "to": CARLA, "botKey": bot_key, "sessionMetadata": {"fatura": "118"}})
    emulator.advance(2)
    until(lambda: "Você já fez o pagamento?" in page.texts("article .bubble .text"))
    answer = page.one("article form input")
    answer.send_keys("Pago ama")
    # What is being typed survives that the page changes below it.
    emulator.advance(1)
    until(lambda: "✓✓ delivered" in page.texts("article .foot i"))
    answer.send_keys("nhã\n")
    until(lambda: "Obrigado pelo retorno!" in page.texts("article .bubble .text"))
    assert page.texts("article .bubble.theirs .text") == ["Pago amanhã"]
    assert page.texts("article .state") == ["COMPLETED"]
    assert page.errors() == []


def test_the_clock_moves_on_a_click(page: Page, until: Any, ask: Any, emulator: Emulator) -> None:
    ask("send_text", **{"from": WHATSAPP, "to": CARLA, "text": "Oi"})
    page.one("[data-advance='60']").click()
    until(lambda: page.texts("article .foot i") == ["✓✓ read"])


def test_the_filter_hides_the_others(page: Page, until: Any, ask: Any, emulator: Emulator) -> None:
    for number in (1, 2, 3):
        ask("send_text", **{"from": WHATSAPP, "to": f"+55|1199999000{number}", "text": f"Oi {number}"})
    emulator.advance(1)
    until(lambda: len(page.texts("article")) == 3)
    page.one("#filter").send_keys("diego")
    until(lambda: page.texts("article .who b") == ["Diego Alves"])


def test_the_preview_of_a_session_shows_it_alone(
    browser: Any, page: Page, until: Any, ask: Any, emulator: Emulator
) -> None:
    sessions = [emulator.contact_writes(f"+55|1199999000{number}", f"Oi {number}")["sessionId"] for number in (1, 2)]
    until(lambda: len(page.texts("article")) == 2)
    browser.get(f"{emulator.url}/preview/session/{sessions[0]}")
    until(lambda: page.texts("article .bubble .text") == ["Oi 1"])
    emulator.contact_writes("+55|11999990001", "E agora?")
    until(lambda: page.texts("article .bubble .text") == ["Oi 1", "E agora?"])
    assert page.errors() == []


def test_it_says_when_the_emulator_is_gone_and_goes_on_when_it_is_back(browser: Any, until: Any) -> None:
    first = Emulator(speed=0).start()
    port = int(re.findall(r"\d+$", first.url)[0])
    try:
        browser.get(first.url + "/")
        page = Page(browser)
        until(lambda: page.texts("#conversations .empty"))
        assert not page.one("#lost").is_displayed()
        first.stop()
        until(lambda: page.one("#lost").is_displayed())
        first = Emulator(speed=0, port=port).start()
        first.contact_writes(CARLA, "Oi")
        until(lambda: page.texts("article .bubble .text") == ["Oi"])
        assert not page.one("#lost").is_displayed()
    finally:
        first.stop()


def test_a_campaign_as_a_person_sees_it(
    page: Page, until: Any, ask: Any, emulator: Emulator, bot_key: str, picture: Any
) -> None:
    people = {"Carla Dias": "Sim, paguei ontem", "Diego Alves": "Ainda não", "Elisa Rocha": None, "Fábio Nunes": None}
    emulator.seed(contacts=[{"name": "Fábio Nunes", "phone": "+55|21988880004"}])
    numbers = ["+55|11999990001", "+55|11999990002", "+55|11999990003", "+55|21988880004"]
    emulator.behave(numbers[3], fails="O número não tem WhatsApp")
    for (name, reply), number in zip(people.items(), numbers, strict=True):
        if name != "Fábio Nunes":
            emulator.behave(number, replies=[reply] if reply else [], delay=3)
        ask(
            "send_chatbot",
            **{
                "from": WHATSAPP,
                "to": number,
                "botKey": bot_key,
                "senderId": name,
                "sessionMetadata": {"fatura": f"2026-{number[-3:]}"},
                "contactMetadata": {"campaign": {"dag": "example_wts_chatbot", "run": "manual__2026-11-22T12:00:00"}},
            },
        )
    emulator.advance(12)
    until(lambda: page.texts("article .state").count("COMPLETED") == 2)
    until(lambda: "Sim, paguei ontem" in page.texts("article .theirs .text"))
    assert page.texts("details summary b") == ["example_wts_chatbot"]
    assert "4 sends to 4 recipients" in page.texts("details summary small")[0]
    assert len(page.texts(".send")) == 4
    assert any("O número não tem WhatsApp" in text for text in page.texts("article .failed"))
    picture("emulator-page")
    assert page.errors() == []
