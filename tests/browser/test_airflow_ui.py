"""What a person sees of this provider in the web interface of a real Airflow, looked at with a browser.

The pictures of the docs are taken here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
from airflow_version import AIRFLOW_VERSION
from whole_airflow import AIRFLOW_3, WholeAirflow

from airflow_provider_wts.emulator.running import Emulator
from airflow_provider_wts.provider_info import CONNECTION_FIELDS, UI_FIELD_BEHAVIOUR

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "example_dags" / "example_wts_chatbot.py"
SECONDS = 60


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(speed=20) as running:
        running.switches.whatsapp_window = "off"
        yield running


@pytest.fixture(scope="module")
def airflow(browser: Any) -> Iterator[WholeAirflow]:
    if AIRFLOW_VERSION < (3, 3):
        pytest.skip("looks at the web interface of Airflow 3.3")
    assert AIRFLOW_3
    # No connection: the test makes it in the form, as a person does.
    running = WholeAirflow(
        [EXAMPLE], None, database="sqlite", parallelism=4, settings={"CORE__TEST_CONNECTION": "Enabled"}
    )
    try:
        yield running.start()
    finally:
        running.stop()


class Page:
    """A page of Airflow, as far as a person looks at it."""

    def __init__(self, browser: Any, until: Any) -> None:
        self._browser = browser
        self._until = until

    def find(self, selector: str) -> Any:
        return self._until(
            lambda: next((one for one in self._all(selector) if one.is_displayed()), None),
            SECONDS,
            f"{selector} did not appear",
        )

    def button(self, name: str) -> Any:
        """Return the button of a text or an accessible name."""

        def look() -> Any:
            buttons = [one for one in self._all("button, [role=button]") if one.is_displayed()]
            named = (one for one in buttons if name in (one.text.strip(), one.get_attribute("aria-label")))
            return next(named, None)

        return self._until(look, SECONDS, f"There is no button {name!r}")

    def text(self, selector: str = "body") -> str:
        return str(self._browser.find_element("css selector", selector).text)

    def until_text(self, words: str, selector: str = "body") -> str:
        def look() -> str | None:
            text = self.text(selector)
            return text if words in text else None

        return str(self._until(look, SECONDS, f"{words!r} does not stand in {selector}"))

    def still(self) -> None:
        """Wait until nothing moves or loads any more."""
        moves = (
            "return document.getAnimations().some((one) => one.playState === 'running' && "
            "one.effect.getTiming().iterations !== Infinity) || "
            "document.querySelectorAll('[class*=skeleton], [class*=Skeleton]').length > 0"
        )
        self._until(lambda: not self._browser.execute_script(moves), SECONDS, "The page does not come to rest")

    def _all(self, selector: str) -> list[Any]:
        return list(self._browser.find_elements("css selector", selector))


@pytest.fixture
def page(browser: Any, until: Any) -> Page:
    return Page(browser, until)


@pytest.fixture(scope="module")
def connection(airflow: WholeAirflow) -> dict[str, bool]:
    return {"made": False}


@pytest.fixture
def run_id(airflow: WholeAirflow, connected: None) -> str:
    """A run of the example through the connection that was made in the form."""
    runs = airflow.call("GET", "dags/example_wts_chatbot/dagRuns")["dag_runs"]
    run_id = runs[0]["dag_run_id"] if runs else airflow.trigger("example_wts_chatbot")
    path = f"dags/example_wts_chatbot/dagRuns/{quote(run_id)}"
    airflow.wait(
        lambda: airflow.call("GET", path)["state"] in ("success", "failed"),
        "The end of the run",
        300,
        lambda: "\n".join(airflow.task_logs(run_id, "rror")[-10:]),
    )
    assert airflow.call("GET", path)["state"] == "success", airflow.task_logs(run_id, "rror")[-10:]
    return str(run_id)


@pytest.fixture
def connected(
    browser: Any, airflow: WholeAirflow, emulator: Emulator, page: Page, connection: dict[str, bool], picture: Any
) -> None:
    """Make the connection in the form, once."""
    if connection["made"]:
        return
    from selenium.webdriver.common.keys import Keys

    browser.get(f"{airflow.url}/connections")
    page.button("Add Connection").click()
    page.find("input[name=connection_id]").send_keys("wts_default")
    kind = page.find("[role=dialog] input[role=combobox]")
    kind.send_keys("WTS Chat")
    page.until_text("WTS Chat", "[role=listbox]")
    kind.send_keys(Keys.ENTER)
    address = urlsplit(emulator.url)
    page.find("input[name=host]").send_keys(f"http://{address.hostname}")
    page.find("input[name=password]").send_keys(emulator.token)
    # In its own field: for an empty one the Test button of Airflow 3.3.2 posts port 0, and Airflow itself refuses it.
    page.find("input[name=port]").send_keys(str(address.port))
    dialog = page.text("[role=dialog]")
    for label in UI_FIELD_BEHAVIOUR["relabeling"].values():
        assert label in dialog
    assert not {"Login", "Schema"} & set(dialog.splitlines())
    # The token is not to be read off the screen while it is typed.
    assert page.find("input[name=password]").get_attribute("type") == "password"
    page.still()
    picture("connection-form")
    page.button("Extra Fields").click()
    page.find("input[name=element_channel]").send_keys("WhatsApp principal")
    page.find("input[name=element_timeout]").send_keys("30")
    dialog = page.text("[role=dialog]")
    for field in CONNECTION_FIELDS.values():
        assert field["label"] in dialog
        assert field["description"] in dialog
    page.still()
    picture("connection-form-extra")
    page.button("Save").click()
    page.until_text("1 Connection")
    connection["made"] = True


def test_the_form_shows_our_labels_and_saves(airflow: WholeAirflow, connected: None) -> None:
    saved = airflow.call("GET", "connections/wts_default")
    assert (saved["conn_type"], saved["host"]) == ("wts", "http://127.0.0.1")
    assert '"channel": "WhatsApp principal"' in saved["extra"]
    assert '"timeout": 30' in saved["extra"]


def test_a_saved_token_is_never_shown(
    browser: Any, airflow: WholeAirflow, emulator: Emulator, connected: None, page: Page
) -> None:
    browser.get(f"{airflow.url}/connections")
    page.button("Edit Connection").click()
    token = page.find("input[name=password]")
    page.button("Show value").click()
    assert token.get_attribute("value") == "***"
    assert emulator.token not in browser.page_source
    page.button("Extra Fields").click()
    assert page.find("input[name=element_channel]").get_attribute("value") == "WhatsApp principal"
    assert page.find("input[name=element_timeout]").get_attribute("value") == "30"


def test_the_test_button_answers(
    browser: Any, airflow: WholeAirflow, emulator: Emulator, connected: None, page: Page, picture: Any
) -> None:
    browser.get(f"{airflow.url}/connections")
    page.button("Test Connection").click()
    words = page.until_text("Connected to")
    assert f"Connected to {emulator.url}. The account has 2 channel(s)." in words
    page.still()
    picture("connection-test")


def test_a_saved_connection_works_in_a_run(run_id: str, emulator: Emulator) -> None:
    assert [len(emulator.received(f"+551199999000{number}")) for number in (1, 2, 3)] == [1, 1, 1]


def test_rendered_templates_show_metadata_as_json(
    browser: Any, airflow: WholeAirflow, run_id: str, page: Page, picture: Any
) -> None:
    task = f"{airflow.url}/dags/example_wts_chatbot/runs/{quote(run_id)}/tasks/send_chatbot/mapped/0"
    browser.get(f"{task}/rendered_templates")
    text = page.until_text("contact_metadata")
    row = "".join(text[text.index("session_metadata") : text.index("contact_metadata")].split())
    assert '"fatura":' in row
    assert '"2026-118"' in row
    # A line of its own for each entry: it is rendered as JSON, and not as the text of a Python object.
    assert len(text[text.index("session_metadata") : text.index("contact_metadata")].splitlines()) > 4
    script = (
        "[...document.querySelectorAll('td')].find((one) => one.textContent.trim() === 'session_metadata')"
        ".scrollIntoView({block: 'center'})"
    )
    browser.execute_script(script)
    page.still()
    picture("rendered-templates")


def test_the_link_opens_the_session(
    browser: Any, airflow: WholeAirflow, emulator: Emulator, run_id: str, page: Page, until: Any, picture: Any
) -> None:
    path = f"dags/example_wts_chatbot/dagRuns/{quote(run_id)}/taskInstances/send_chatbot"
    session = airflow.call("GET", f"{path}/xcomEntries/return_value?map_index=0&stringify=false")["value"]
    browser.get(f"{airflow.url}/dags/example_wts_chatbot/runs/{quote(run_id)}/tasks/send_chatbot/mapped/0/details")
    link = page.find("a[href*='/preview/session/']")
    assert link.text.strip() == "WTS Chat session"
    assert link.get_attribute("href") == session["previewUrl"]
    page.still()
    picture("session-link")
    browser.get(link.get_attribute("href"))
    page.until_text("Carla Dias", "article")
    page.until_text("Obrigado pelo retorno!", "article")
