"""What a template writes around a missing value is nobody's number, handle or Instagram user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_wts.operators.contact import WtsCreateContactOperator
from airflow_provider_wts.operators.message import WtsSendTextOperator

if TYPE_CHECKING:
    from airflow_provider_wts.emulator.running import Emulator

MISSING = ["None", "none", "null", "NULL", "nan", "NaN", "NaT", "<NA>", "undefined"]
AROUND = [
    "@{}",
    "@ {}",
    "+{}",
    "+55{}",
    "+55 11 {}",
    "+55|{}",
    "tel:{}",
    "whatsapp:{}",
    "https://wa.me/{}",
    "'{}",
]


@pytest.mark.parametrize("value", MISSING)
@pytest.mark.parametrize("around", AROUND)
def test_nobody_gets_a_message(service: Emulator, context: dict[str, Any], around: str, value: str) -> None:
    operator = WtsSendTextOperator(task_id="send", to=around.format("{{ params.x }}"), text="Olá")
    operator.render_template_fields({"params": {"x": value}})
    with pytest.raises(AirflowFailException, match="to: "):
        operator.execute(context)
    assert not service.requests_of("send_text")


@pytest.mark.parametrize("value", MISSING)
def test_no_contact_gets_the_instagram_user_of_nobody(service: Emulator, context: dict[str, Any], value: str) -> None:
    operator = WtsCreateContactOperator(task_id="create", name="Maria", instagram="@{{ params.x }}")
    operator.render_template_fields({"params": {"x": value}})
    with pytest.raises(AirflowFailException, match=r"instagram: .* before a missing value"):
        operator.execute(context)
    assert not service.requests_of("create_contact")
