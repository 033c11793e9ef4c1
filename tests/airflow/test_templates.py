"""Airflow renders the chatbot operator: nested templates, numbers and booleans kept, and what people see of it."""

from __future__ import annotations

import json
import operator
import sqlite3
from contextlib import closing

import pytest
from airflow_version import AIRFLOW_VERSION
from real_airflow import without_mark

NESTED = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator

with DAG(DAG_ID, schedule=None, params={"to": "+55 11 99999-0001", "invoice": "2026-118"} RENDER):
    WtsSendChatbotOperator(
        task_id="send",
        chatbot="Cobrança",
        to="{{ params.to }}",
        force_start_session="{{ 1 == 1 }}",
        hidden_session=False,
        session_metadata={
            "fatura": "{{ params.invoice }}",
            "valor": 149.9,
            "parcelas": 3,
            "aviso": True,
            "obs": None,
            "itens": [{"nome": "{{ params.invoice }}-a", "preço": 1}, "{{ dag.dag_id }}", 2.5, False],
        },
        contact_metadata={"campanha": {"run": "{{ run_id }}", "n": 0}},
        callback_url="https://example.com/{{ params.invoice }}",
    )
"""


@pytest.fixture
def sent(run_dag, wts_connection, fast_emulator, dag_file):
    """Run the DAG; return what came of the task, and the request's body."""

    def run(text: str):
        outcome = run_dag(dag_file(text), connections=wts_connection)
        assert outcome.state == "success", outcome.logs[-4000:]
        (request,) = fast_emulator.requests_of("send_chatbot")
        return outcome, outcome.task("send"), json.loads(request.raw_body)

    return run


@pytest.mark.parametrize("native", ["", ", render_template_as_native_obj=True"], ids=["text", "native"])
def test_nested_templates_reach_the_wire_and_types_are_kept(sent, native):
    outcome, _, body = sent(NESTED.replace(" RENDER", native))
    options = body["options"]
    assert body["to"] == "+55|11999990001"
    assert without_mark(body["sessionMetadata"]) == {
        "fatura": "2026-118",
        "valor": 149.9,
        "parcelas": 3,
        "aviso": True,
        "obs": None,
        "itens": [{"nome": "2026-118-a", "preço": 1}, outcome.dag_id, 2.5, False],
    }
    assert body["sessionMetadata"]["aviso"] is True
    assert body["contactMetadata"] == {"campanha": {"run": outcome.run_id, "n": 0}}
    assert body["callbackUrl"] == "https://example.com/2026-118"
    # Text from a template and a boolean of Python both become booleans.
    assert options["forceStartSession"] is True
    assert options["hiddenSession"] is False
    # Nothing that the task did not set.
    assert set(options) == {"forceStartSession", "hiddenSession"}


JSON_TEXT = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator

with DAG(DAG_ID, schedule=None, params={"n": 7, "note": 'Diz "oi"'}):
    WtsSendChatbotOperator(
        task_id="send",
        chatbot="Cobrança",
        to="+55 11 99999-0001",
        session_metadata='{"n": {{ params.n }}, "note": {{ params.note | tojson }}, "deep": [1, {"ok": true}]}',
    )
"""


def test_metadata_may_be_json_text(sent):
    _, _, body = sent(JSON_TEXT)
    assert without_mark(body["sessionMetadata"]) == {"n": 7, "note": 'Diz "oi"', "deep": [1, {"ok": True}]}


def test_people_see_what_was_sent(sent):
    outcome, task, _ = sent(NESTED.replace(" RENDER", ""))
    rendered = task.rendered
    assert rendered["chatbot"] == "Cobrança"
    assert rendered["to"] == "+55 11 99999-0001"
    shown = rendered["session_metadata"]
    shown = json.loads(shown) if isinstance(shown, str) else shown
    assert shown["itens"] == [{"nome": "2026-118-a", "preço": 1}, outcome.dag_id, 2.5, False]
    assert shown["valor"] == 149.9


def test_parameters_that_were_not_given_show_a_stable_text(sent):
    _, task, _ = sent(JSON_TEXT)
    not_given = ("channel", "session_id", "skip_if_in_progress", "contact_metadata", "sender_id", "callback_url")
    shown = {name: task.rendered[name] for name in not_given}
    # The same text in every run, and no address of an object in memory.
    assert set(map(str, shown.values())) == {"UNSET"}


def test_the_serialized_dag_is_stable(airflow_home, dag_runner, dag_file):
    # Otherwise Airflow stores another version of the DAG each time it reads the file.
    first = dag_runner.serialized(dag_file(JSON_TEXT))
    assert dag_runner.serialized(dag_file(JSON_TEXT)) == first
    assert " at 0x" not in json.dumps(first)


def test_fields_are_shown_as_json():
    from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator

    renderers = WtsSendChatbotOperator.template_fields_renderers
    assert renderers["session_metadata"] == renderers["contact_metadata"] == "json"
    assert set(renderers) <= set(WtsSendChatbotOperator.template_fields)


# Texts that Python would read as something else.
TEXTS = ["+51912345678", "149,90", "149.90", "0012", "None!", "1e5", "[1]", "{'a': 1}", "True", "1_000", "'x'"]

NATIVE = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator

PARAMS = {"texts": %s, "to": "+51912345678", "plan": {"n": [1, 2.5, None, True]}}

with DAG(DAG_ID, schedule=None, params=PARAMS, render_template_as_native_obj=True):
    whole = {f"t{n}": "{{ params.texts[%%d] }}" %% n for n in range(len(PARAMS["texts"]))}
    literal = {f"l{n}": text for n, text in enumerate(PARAMS["texts"])}
    joined = {f"j{n}": "{{ params.texts[%%d] }}{{ '' }}" %% n for n in range(len(PARAMS["texts"]))}
    metadata = {**whole, **literal, **joined}
    metadata |= {"plan": "{{ params.plan }}", "list": "{{ [1, 'a'] }}", "sum": "{{ 1 + 1 }}"}
    WtsSendChatbotOperator(task_id="send", chatbot="Cobrança", to="{{ params.to }}", session_metadata=metadata)
    WtsSendChatbotOperator.partial(task_id="mapped", chatbot="Cobrança", session_metadata=metadata).expand(
        to=["{{ params.to }}" if MAPPED_TEMPLATES else "+51912345678"]
    )
"""


@pytest.mark.parametrize("task_id", ["send", "mapped"])
def test_native_rendering_never_parses_text(run_dag, wts_connection, fast_emulator, dag_file, task_id):
    # Airflow renders templates in what is mapped over from 3.0 on.
    text = (NATIVE % TEXTS).replace("MAPPED_TEMPLATES", str(AIRFLOW_VERSION >= (3,)))
    outcome = run_dag(dag_file(text), connections=wts_connection)
    assert outcome.state == "success", outcome.logs[-4000:]
    bodies = [json.loads(request.raw_body) for request in fast_emulator.requests_of("send_chatbot")]
    assert len(bodies) == 2
    body = bodies[("send", "mapped").index(task_id)]
    assert body["to"] == "+51|912345678"
    sent = without_mark(body["sessionMetadata"])
    for kind in ("t", "l", "j"):
        assert [sent.pop(f"{kind}{n}") for n in range(len(TEXTS))] == TEXTS
    assert sent == {"plan": {"n": [1, 2.5, None, True]}, "list": [1, "a"], "sum": 2}


MAPPED = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator

with DAG(DAG_ID, schedule=None, params={"campaign": "natal"}):
    WtsSendChatbotOperator.partial(
        task_id="send", chatbot="Cobrança", contact_metadata={"campaign": "{{ params.campaign }}"}
    ).expand_kwargs(
        [
            {"to": "+55 11 99999-0001", "session_metadata": {"n": 1, "map": "{{ ti.map_index }}"}},
            {"to": "+55 11 99999-0002", "session_metadata": {"n": 2, "map": "{{ ti.map_index }}"}},
        ]
    )
"""


def test_mapped_tasks_render_each_their_own(run_dag, wts_connection, fast_emulator, dag_file):
    outcome = run_dag(dag_file(MAPPED), connections=wts_connection)
    assert outcome.state == "success", outcome.logs[-4000:]
    bodies = [json.loads(request.raw_body) for request in fast_emulator.requests_of("send_chatbot")]
    # The order of mapped tasks is nobody's promise.
    bodies.sort(key=operator.itemgetter("to"))
    assert [body["to"] for body in bodies] == ["+55|11999990001", "+55|11999990002"]
    assert [body["contactMetadata"] for body in bodies] == [{"campaign": "natal"}] * 2
    assert [body["sessionMetadata"]["n"] for body in bodies] == [1, 2]
    if AIRFLOW_VERSION >= (3,):
        # Airflow renders templates in what is mapped over, too.
        assert [body["sessionMetadata"]["map"] for body in bodies] == ["0", "1"]


OUTPUT = """
from airflow.providers.common.compat.sdk import DAG, task
from airflow_provider_wts.operators.contact import WtsUpdateContactOperator
from airflow_provider_wts.operators.message import WtsSendTextOperator

TO = "+55 11 99999-0001"
with DAG(DAG_ID, schedule=None, default_args={"exclude_tags": None}):

    @task
    def made(rows): return rows

    @task
    def texts(): return ["a {{ ds }}", "b {% c %}", "d {# e"]

    for guard in ("exclude_tags", "send_window"):
        nothing = [None, []]
        WtsSendTextOperator.partial(task_id=f"expand_{guard}", to=TO, text="Oi").expand(**{guard: made(nothing)})
        WtsSendTextOperator.partial(task_id=f"rows_{guard}", to=TO, text="Oi").expand_kwargs(
            made([{guard: value} for value in nothing])
        )
        WtsSendTextOperator.partial(task_id=f"row_{guard}", to=TO, text="Oi").expand_kwargs([made({guard: None})])
    WtsSendTextOperator.partial(task_id="text", to="+55 11 99999-0002", send_window=None).expand(text=texts())
    WtsSendTextOperator.partial(task_id="only", text="f").expand_kwargs(made([{"to": "+55 11 99999-0002"}]))
    phones = {"phone": TO, "annotation": "Antes", "email_address": "a@example.com"}
    before = WtsUpdateContactOperator(task_id="before", **phones)
    nothing = made([None, "", "nan"])
    kept = WtsUpdateContactOperator.partial(task_id="kept", phone=TO, name="Ana").expand(annotation=nothing)
    cleared = WtsUpdateContactOperator.partial(task_id="cleared").expand_kwargs([{"phone": TO, "email_address": None}])
    before >> kept >> cleared
"""


def test_an_output_that_is_nothing_is_not_given_where_it_is_mapped_over(
    run_dag, wts_connection, fast_emulator, dag_file
):
    outcome = run_dag(dag_file(OUTPUT), connections=wts_connection)
    states = {task: set(found) for task, found in outcome.states.items() if not task.startswith(("made", "texts"))}
    guarded = {task for task in states if task.split("_")[0] in ("expand", "rows", "row")}
    assert len(guarded) == 6
    assert [task for task in guarded if states[task] != {"failed"}] == []
    assert [task for task in states.keys() - guarded if states[task] != {"success"}] == []
    assert fast_emulator.received("+5511999990001") == []
    texts = sorted(one.text for one in fast_emulator.received("+5511999990002"))
    assert texts == ["a {{ ds }}", "b {% c %}", "d {# e", "f"]
    (contact,) = [one for one in fast_emulator.state.contacts if one["phoneNumber"] == "+55|11999990001"]
    assert (contact["annotation"], contact["email"]) == ("Antes", None)


UNDEFINED = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_wts.operators.message import WtsSendTextOperator

with DAG(DAG_ID, schedule=None):
    WtsSendTextOperator(task_id="send", to="+55 11 99999-0001", text="{{ nobody.name }}")
"""


def test_a_name_that_is_not_defined_is_the_error(run_dag, wts_connection, fast_emulator, dag_file):
    outcome = run_dag(dag_file(UNDEFINED), connections=wts_connection)
    assert outcome.states == {"send": ["failed"]}
    assert "UndefinedError: 'nobody' is undefined" in outcome.logs
    assert "AttributeError" not in outcome.logs
    assert fast_emulator.requests == []


FILES = """
from airflow.providers.common.compat.sdk import DAG
from airflow_provider_wts.operators.campaign import WtsSendTextBatchOperator
from airflow_provider_wts.operators.contact import WtsSaveContactsOperator
from airflow_provider_wts.operators.message import WtsSendTextOperator

with DAG(DAG_ID, schedule=None, template_searchpath=FOLDER, params={"who": "+55%"}):
    suppressed = {
        "suppression_sql": "opt_outs.sql",
        "suppression_conn_id": "warehouse",
        "suppression_sql_parameters": {"who": "{{ params.who }}"},
    }
    WtsSendTextBatchOperator(
        task_id="queried",
        recipients_sql="customers.sql",
        recipients_conn_id="warehouse",
        row_text="veja {{ row.name }}.sql",
        results_path=FOLDER + "/queried.sql",
        **suppressed,
    )
    WtsSendTextBatchOperator(
        task_id="listed", recipients=[{"to": "+5511999990003", "text": "veja relatorio.sql"}], **suppressed
    )
    WtsSaveContactsOperator(
        task_id="saved", contacts=[{"phone_number": "+5511999990004", "annotation": "veja relatorio.sql"}]
    )
    WtsSendTextOperator.partial(task_id="mapped", **suppressed).expand_kwargs(
        [{"to": "+5511999990002", "text": "veja relatorio.sql"}, {"to": "+5511999990005", "text": "veja outro.sql"}]
    )
    WtsSendTextBatchOperator.partial(
        task_id="mapped_queries",
        recipients_conn_id="warehouse",
        row_text="{{ row.name }}",
        results_path=FOLDER + "/{{ ti.map_index }}.sql",
    ).expand(recipients_sql=["customers.sql", "SELECT '+5511999990006' AS 'to', 'Fabio' AS name"])
"""


def test_a_text_that_ends_in_sql_is_a_text_and_only_queries_may_be_files(
    run_dag, wts_connection, fast_emulator, dag_file, tmp_path
):
    (tmp_path / "customers.sql").write_text("SELECT phone AS 'to', '{{ params.who }}' AS name FROM customers")
    (tmp_path / "opt_outs.sql").write_text("SELECT phone FROM customers WHERE opted_out AND phone LIKE :who")
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as database, database:
        database.execute("CREATE TABLE customers (phone TEXT, opted_out BOOLEAN)")
        database.execute("INSERT INTO customers VALUES ('+5511999990001', FALSE), ('+5511999990002', TRUE)")
    outcome = run_dag(
        dag_file(FILES.replace("FOLDER", repr(str(tmp_path)))),
        connections={**wts_connection, "warehouse": {"conn_type": "sqlite", "host": str(tmp_path / "warehouse.db")}},
        environment={"AIRFLOW__WTS__LEDGER_PATH": f"file://{tmp_path}/ledger"},
    )
    assert outcome.states == {
        "queried": ["success"],
        "listed": ["success"],
        "saved": ["success"],
        "mapped": ["skipped", "success"],
        "mapped_queries": ["success", "success"],
    }, outcome.logs[-5000:]
    texts = {
        number: sorted(one.text for one in fast_emulator.received(f"+551199999000{number}")) for number in range(1, 7)
    }
    assert texts == {
        1: ["+55%", "veja +55%.sql"],
        2: ["+55%"],
        3: ["veja relatorio.sql"],
        4: [],
        5: ["veja outro.sql"],
        6: ["Fabio"],
    }
    (saved,) = fast_emulator.requests_of("batch_save_contacts")
    assert "veja relatorio.sql" in saved.raw_body.decode()
    assert sorted(path.name for path in tmp_path.glob("*.sql")) == [
        *("0.sql", "1.sql", "customers.sql", "opt_outs.sql", "queried.sql")
    ]
