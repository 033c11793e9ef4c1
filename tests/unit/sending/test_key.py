"""The key of a send: the same over all tries, and another one for everything that is another send."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_wts.api.wire import UNSET
from airflow_provider_wts.hooks.context import TaskIdentity
from airflow_provider_wts.sending.key import Mark, send_key

TASK = TaskIdentity("dag", "run", "task", -1)
SAME = {"generation": 0, "wts_conn_id": "wts_default", "recipient": "+55|11999998888"}


def test_a_key_is_a_uuid_that_stays_the_same() -> None:
    assert send_key(TASK, **SAME) == send_key(TaskIdentity("dag", "run", "task", -1), **SAME)
    assert str(uuid.UUID(send_key(TASK, **SAME))) == send_key(TASK, **SAME)


def test_a_key_is_the_same_in_later_versions_of_this_provider() -> None:
    assert send_key(TASK, **SAME) == "1b8b287d-ad95-5759-bcbc-8e9dabf544af"


@given(st.text(st.characters(codec="utf-8")))
def test_a_key_is_the_uuid_of_its_parts_as_every_library_makes_it(run_id: str) -> None:
    parts = ("dag", run_id, "task", -1, 0, "wts_default", SAME["recipient"])
    made = uuid.uuid5(uuid.UUID("6f1f7f0e-7a55-5c0b-9d0e-2b6d2f4c9a11"), "\0".join(map(str, parts)))
    assert send_key(TASK._replace(run_id=run_id), **SAME) == str(made)


@pytest.mark.parametrize(
    "change",
    [{"recipient": "+55|11999998887"}, {"wts_conn_id": "other"}, {"generation": 1}],
    ids=lambda one: next(iter(one)),
)
def test_another_recipient_connection_or_generation_is_another_send(change: dict[str, Any]) -> None:
    assert send_key(TASK, **{**SAME, **change}) != send_key(TASK, **SAME)


@pytest.mark.parametrize(
    "change", [{"dag_id": "x"}, {"run_id": "x"}, {"task_id": "x"}, {"map_index": 0}], ids=lambda one: next(iter(one))
)
def test_another_dag_run_task_or_map_index_is_another_send(change: dict[str, Any]) -> None:
    assert send_key(TASK._replace(**change), **SAME) != send_key(TASK, **SAME)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.tuples(*[st.text(max_size=5)] * 3), st.tuples(*[st.text(max_size=5)] * 3))
def test_no_two_tasks_share_a_key(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    keys = [send_key(TaskIdentity(*task, -1), **SAME) for task in (one, other)]
    assert (keys[0] == keys[1]) == (one == other) or any("\0" in part for part in one + other)


@pytest.mark.parametrize("map_index", [None, -1])
def test_a_task_that_is_not_mapped_has_one_identity_on_every_airflow(map_index: int | None) -> None:
    named = {"dag_id": "dag", "run_id": "run", "task_id": "task"}
    assert TaskIdentity.of(SimpleNamespace(**named, map_index=map_index)) == TASK
    assert TaskIdentity.of(SimpleNamespace(**named)) == TASK


@pytest.mark.parametrize("given_metadata", [None, UNSET, {}])
def test_a_mark_stands_alone_where_the_user_gives_no_metadata(given_metadata: Any) -> None:
    mark = Mark("12345678-aaaa")
    assert mark.metadata(given_metadata) == {"airflow_send_12345678": "12345678-aaaa"}


def test_a_mark_stands_beside_the_users_metadata_and_changes_it_not() -> None:
    mine = {"invoice": 118}
    assert Mark("12345678-aaaa").metadata(mine) == {"invoice": 118, "airflow_send_12345678": "12345678-aaaa"}
    assert mine == {"invoice": 118}


def test_a_mark_is_found_by_its_whole_key() -> None:
    mark = Mark("12345678-aaaa")
    assert mark.is_in({"metadata": {"airflow_send_12345678": "12345678-aaaa", "x": 1}})
    assert not mark.is_in({"metadata": {"airflow_send_12345678": "12345678-bbbb"}})


@pytest.mark.parametrize("item", [{}, {"metadata": None}, {"metadata": {}}, {"metadata": []}, {"metadata": "text"}])
def test_a_mark_is_not_found_where_there_is_no_metadata(item: dict[str, Any]) -> None:
    assert not Mark("12345678-aaaa").is_in(item)
