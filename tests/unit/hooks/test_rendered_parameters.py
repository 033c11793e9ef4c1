"""How templates become parameters of operators, sensors and the notifier."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException

from airflow_provider_wts.api.wire import UNSET
from airflow_provider_wts.notifications.wts import WtsNotifier
from airflow_provider_wts.operators.chatbot import WtsSendChatbotOperator
from airflow_provider_wts.operators.contact import WtsUpdateContactOperator
from airflow_provider_wts.operators.message import WtsSendTextOperator
from airflow_provider_wts.sensors.session import WtsSessionSensor

PARAMS = {"phone": "+51912345678", "none": None, "blank": " ", "nan": float("nan"), "list": ["a"], "name": "Ana"}

#: Templates that render to nothing.
NOTHING = [
    "{{ '' }}",
    "{{ params.blank }}",
    "{{ params.none }}",
    "{{ none }}",
    "{{ params.nan }}",
    "{% if false %}x{% endif %}",
    "{{ 'None' }}",
]


@pytest.fixture(params=[False, True], ids=["text", "native"])
def dag(request: pytest.FixtureRequest) -> DAG:
    return DAG(
        dag_id="campaign",
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        render_template_as_native_obj=request.param,
    )


def rendered(owner: Any, dag: DAG) -> Any:
    """Render an operator, a sensor or the notifier as Airflow does."""
    owner.render_template_fields({"dag": dag, "params": PARAMS})
    return owner


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda dag, text: WtsSendTextOperator(task_id="t", dag=dag, to=text, text="Oi"), "to"),
        (lambda dag, text: WtsSessionSensor(task_id="t", dag=dag, session_id=text), "session_id"),
        (lambda _, text: WtsNotifier(to=text, text="Oi"), "to"),
    ],
    ids=["operator", "sensor", "notifier"],
)
@pytest.mark.parametrize("text", ["+51912345678", "{{ params.phone }}", "0012", "149,90", "1e5", "[1]", "{{ '1e5' }}"])
def test_text_stays_text(dag: DAG, build: Any, field: str, text: str) -> None:
    expected = {"{{ params.phone }}": "+51912345678", "{{ '1e5' }}": "1e5"}.get(text, text)
    assert getattr(rendered(build(dag, text), dag), field) == expected


def test_the_value_of_an_expression_keeps_its_type_in_native_rendering_only(dag: DAG) -> None:
    operator = WtsSendTextOperator(task_id="t", dag=dag, to="{{ params.list }}", text="{{ [1] }}")
    native = dag.render_template_as_native_obj
    assert rendered(operator, dag).to == (["a"] if native else "['a']")
    assert operator.text == ([1] if native else "[1]")


@pytest.mark.parametrize("template", NOTHING)
def test_a_template_that_renders_to_nothing_leaves_the_default(dag: DAG, template: str) -> None:
    operator = WtsSendChatbotOperator(
        task_id="t",
        dag=dag,
        chatbot="x",
        to="x",
        session_id=template,
        sender_id=template,
        hidden_session=template,
        session_metadata=template,
    )
    assert rendered(operator, dag).session_id in (None, UNSET)
    assert operator.sender_id is UNSET
    assert operator.hidden_session is UNSET
    assert operator.session_metadata is UNSET
    notifier = rendered(WtsNotifier(to="x", text="Oi", channel=template, template=template), dag)
    assert (notifier.channel, notifier.template) == (None, None)


@pytest.mark.parametrize("value", [None, "", "None"])
def test_what_is_not_a_template_stays(dag: DAG, value: Any) -> None:
    assert rendered(WtsUpdateContactOperator(task_id="t", dag=dag, phone="x", name=value), dag).name == value


@pytest.mark.parametrize("missing", ["params.none", "params.nan", "none"])
def test_a_missing_value_inside_a_text_for_people_is_refused(dag: DAG, missing: str) -> None:
    operator = WtsSendTextOperator(task_id="t", dag=dag, to="x", text=f"Oi {{{{ {missing} }}}}!")
    with pytest.raises(AirflowFailException, match="text: an expression in its template renders as"):
        rendered(operator, dag)


def test_a_text_with_all_its_values_is_rendered(dag: DAG) -> None:
    text = "Oi {{ params.none or params.name }}{{ '' }}, {{ 1 }}!"
    assert rendered(WtsSendTextOperator(task_id="t", dag=dag, to="x", text=text), dag).text == "Oi Ana, 1!"
