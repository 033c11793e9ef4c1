"""The reader of triggers: which connection it reads with."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING

import pytest

from airflow_provider_wts.api.errors import WtsNotSentError
from airflow_provider_wts.api.sessions import list_sessions
from airflow_provider_wts.waiting import reader as reading
from airflow_provider_wts.waiting.reader import BackgroundReader

if TYPE_CHECKING:
    from airflow_provider_wts.api.client import WtsClient
    from airflow_provider_wts.emulator.running import Emulator


def clients(*before_each: object) -> list[WtsClient]:
    """Return the clients that a reader reads with, after each of these steps."""

    async def read() -> list[WtsClient]:
        reader = BackgroundReader("wts_default", "reader")
        try:
            found = []
            for step in before_each:
                step()  # type: ignore[operator]
                found.append(await reader.read(lambda client: client))
            return found
        finally:
            reader.close()

    return asyncio.run(read())


def test_a_connection_is_read_again_now_and_then_and_a_new_token_is_used(
    wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(**more: str) -> None:
        connection = {"conn_type": "wts", "host": wts_connection.url, "password": wts_connection.token, **more}
        monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps(connection))

    def age(seconds: float) -> None:
        monkeypatch.setattr(reading, "CONNECTION_AGE", seconds)

    first, young, same, other = clients(
        lambda: None,
        lambda: change(password="pn_other"),
        lambda: (change(), age(-1)),
        lambda: change(password="pn_new"),
    )
    assert first is young is same
    assert other is not first


def test_a_connection_that_cannot_be_read_again_is_used_as_it_was(
    wts_connection: Emulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        monkeypatch.setattr(reading, "CONNECTION_AGE", -1)
        monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps({"conn_type": "wts", "host": "not a url"}))

    first, second = clients(lambda: None, broken)
    assert first is second
    assert "The poll continues with the old connection" in caplog.text


def test_without_a_connection_nothing_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_WTS_DEFAULT", json.dumps({"conn_type": "wts", "host": "not a url"}))
    with pytest.raises(WtsNotSentError, match="wts_default"):
        clients(lambda: None)


def test_a_missing_connection_says_nothing_about_what_the_task_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_WTS_DEFAULT", raising=False)
    with pytest.raises(WtsNotSentError, match="no Airflow connection") as caught:
        clients(lambda: None)
    assert "Nothing was sent" not in str(caught.value)


def test_a_thread_that_cannot_be_started_now_is_started_by_the_next_read(monkeypatch: pytest.MonkeyPatch) -> None:
    start, tries = threading.Thread.start, []

    def refuse_once(thread: threading.Thread) -> None:
        tries.append(thread)
        if len(tries) == 1:
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main() -> str:
        background = reading.BackgroundThread("reader")
        try:
            monkeypatch.setattr(threading.Thread, "start", refuse_once)
            with pytest.raises(RuntimeError):
                await background.run(lambda: "first")
            async with asyncio.timeout(5):
                return await background.run(lambda: "second")
        finally:
            background.close()

    assert asyncio.run(main()) == "second"


def test_a_list_is_not_read_to_its_end_if_nobody_waits(wts_connection: Emulator) -> None:
    closed, ended = threading.Event(), threading.Event()

    def read(client: WtsClient) -> None:
        try:
            list(client.pages(list_sessions()))
            assert closed.wait(10)
            list(client.pages(list_sessions()))
        finally:
            ended.set()

    async def main() -> None:
        reader = BackgroundReader("wts_default", "reader")
        reading = asyncio.create_task(reader.read(read))
        async with asyncio.timeout(10):
            while not wts_connection.requests:
                await asyncio.sleep(0.01)
        reading.cancel()
        reader.close()
        closed.set()
        assert await asyncio.to_thread(ended.wait, 10)

    asyncio.run(main())
    assert len(wts_connection.requests) == 1
