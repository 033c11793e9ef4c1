"""WtsSendChatbotOperator and WtsSessionSensor in real runs, against the emulator."""

from __future__ import annotations

import json

import pytest
import requests
from real_airflow import without_mark

HEAD = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.sensors.session import WtsSessionSensor

with DAG(DAG_ID, schedule=None):
"""
SEND = HEAD + "    WtsSendChatbotOperator(task_id='send', chatbot='Cobrança', to='+55 11 99999-0001', {arguments})\n"


@pytest.fixture
def run(run_dag, wts_connection, dag_file):
    """Run a DAG that sends, with further arguments."""
    return lambda text, **given: run_dag(dag_file(text), connections={**wts_connection, **given})


def test_xcom_is_the_answer_of_the_api(run, fast_emulator):
    task = run(SEND.format(arguments="session_metadata={'fatura': '7'}")).task("send")
    answer = task.returned
    assert task.state == "success"
    (session,) = fast_emulator.state.sessions.by_creation()
    assert answer["id"] == session.id
    assert answer["contactId"] == session.contact.id
    assert answer["status"] == "STARTED"
    assert without_mark(answer["metadata"]) == {"fatura": "7"}
    assert answer == json.loads(json.dumps(answer))


def test_the_link_opens_the_session(run, fast_emulator):
    task = run(SEND.format(arguments="")).task("send")
    url = task.returned["previewUrl"]
    assert url.startswith("http")
    assert task.links == {"WTS Chat session": url}


def test_the_page_of_the_emulator_names_the_dag_run(run, fast_emulator):
    outcome = run(SEND.format(arguments=""))
    (send,) = requests.get(f"{fast_emulator.url}/_emulator/page", timeout=5).json()["sends"]
    assert outcome.task("send").state == "success"
    assert send["dag"]
    assert send["run"]
    user_agents = {request.header("user-agent") for request in fast_emulator.requests}
    assert len(user_agents) == 1


def test_mapped_tasks_link_each_to_their_own_session(run):
    outcome = run(
        HEAD
        + "    WtsSendChatbotOperator.partial(task_id='send', chatbot='Cobrança')"
        + ".expand(to=['+55 11 99999-0001', '(11) 99999-0002'])\n"
    )
    tasks = outcome.mapped("send")
    assert [task.state for task in tasks] == ["success"] * 2
    urls = [task.returned["previewUrl"] for task in tasks]
    assert len(set(urls)) == 2
    assert [task.links["WTS Chat session"] for task in tasks] == urls


@pytest.mark.parametrize("deferrable", [True, False])
def test_waiting_returns_the_session_at_its_end(run, fast_emulator, deferrable):
    arguments = f"wait_for_completion=True, poll_interval=0.5, deferrable={deferrable}"
    task = run(SEND.format(arguments=arguments)).task("send")
    assert task.state == "success"
    assert task.returned["status"] == "COMPLETED"
    assert task.returned["metadata"]["resposta"] == "Sim"
    # The end of the deferral did not send once more.
    assert len(fast_emulator.received("+5511999990001")) == 1
    assert task.links["WTS Chat session"] == task.returned["previewUrl"]


def test_a_wait_that_takes_too_long_fails_and_does_not_send_again(run, fast_emulator):
    # A bot gives up after a minute or two: not while a busy machine still waits.
    fast_emulator.clock.speed = 1
    fast_emulator.behave("+5511999990001", replies=[])
    arguments = "wait_for_completion=True, poll_interval=0.2, completion_timeout=0.5, deferrable=True, retries=2"
    outcome = run(SEND.format(arguments=arguments))
    assert outcome.task("send").state == "failed"
    assert "is still" in outcome.logs
    assert len(fast_emulator.received("+5511999990001")) == 1


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_sensor_waits_for_the_session(run, deferrable, mode):
    if mode == "reschedule" and not deferrable:
        pytest.skip("dag.test() of Airflow 3 does not wait between rescheduled pokes")
    outcome = run(
        HEAD
        + "    send = WtsSendChatbotOperator(task_id='send', chatbot='Cobrança', to='+55 11 99999-0001')\n"
        + "    WtsSessionSensor(task_id='wait', session_id=\"{{ ti.xcom_pull(task_ids='send')['id'] }}\","
        + f" poke_interval=0.5, mode='{mode}', deferrable={deferrable}).set_upstream(send)\n"
    )
    wait = outcome.task("wait")
    assert wait.state == "success", outcome.logs[-3000:]
    assert wait.returned["status"] == "COMPLETED"
    assert wait.returned["id"] == outcome.task("send").returned["id"]
    assert wait.links["WTS Chat session"] == wait.returned["previewUrl"]


@pytest.mark.parametrize(
    ("arguments", "connection", "told"),
    [
        ("", {"password": "wrong"}, "token"),
        ("", {"host": "http://127.0.0.1:9"}, "cannot be reached"),
        ("chatbot='Nenhum'", {}, "There is no chatbot 'Nenhum' in this account"),
        ("to='11 9abc'", {}, "to: "),
        ("session_metadata='no json'", {}, "session_metadata: is not valid JSON"),
        ("chatbot=''", {}, "chatbot: is empty"),
    ],
    ids=["token", "host", "chatbot", "number", "metadata", "empty"],
)
def test_what_cannot_work_fails_at_once_with_one_readable_error(
    run, wts_connection, fast_emulator, arguments, connection, told
):
    text = HEAD + (
        "    given = dict(chatbot='Cobrança', to='+55 11 99999-0001')\n"
        f"    given.update({arguments})\n"
        "    WtsSendChatbotOperator(task_id='send', retries=3, **given)\n"
    )
    outcome = run(text, wts_default={**wts_connection["wts_default"], **connection})
    # Not up_for_retry: no retry is spent on it.
    assert outcome.task("send").state == "failed"
    assert told in outcome.logs, outcome.logs[-6000:]
    assert "pn_emulator" not in outcome.logs
    assert not fast_emulator.deliveries
