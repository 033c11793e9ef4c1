"""Templates by name or id."""

from __future__ import annotations

import pytest

from airflow_provider_wts.api.errors import WtsInvalidRequestError, WtsNameError
from airflow_provider_wts.hooks.names import Names

UUID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
CHANNELS = [
    {"id": "c1", "number": "+55|1140028922", "identity": {"humanId": "551140028922"}},
    {"id": "c2", "number": "+55|1140028923", "identity": {"humanId": "551140028923"}},
    {"id": "c3", "number": None, "identity": {"humanId": "loja.exemplo"}},
]
TEMPLATES = [
    {"id": UUID, "name": "cobranca", "channelId": "c1", "params": [{"name": "nome"}]},
    {"id": "t2", "name": "cobranca", "channelId": "c2"},
    {"id": "t5", "name": "cobranca", "channelId": "c3"},
    {"id": "a1b2_saudacao", "name": "Saudação", "channelId": "c1", "internalName": "saudacao_v2"},
    {"id": "t3", "name": "a1b2_saudacao", "channelId": "c1"},
    {"id": "t4", "name": "antiga", "channelId": "c1", "archived": True},
]


class Lists:
    """Stands for the lists of the API, and counts how often they are asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, call):
        self.asked.append(call.operation_id)
        return {"list_templates": TEMPLATES, "list_channels": CHANNELS}[call.operation_id]


@pytest.fixture
def lists():
    return Lists()


@pytest.fixture
def names(lists):
    return Names(lists)


def test_a_uuid_costs_no_call(names, lists):
    assert names.template(UUID) == UUID
    assert lists.asked == []


def test_an_id_that_is_no_uuid_wins_over_a_name(names):
    assert names.template("a1b2_saudacao") == "a1b2_saudacao"


@pytest.mark.parametrize("name", ["Saudação", "SAUDAÇÃO ", "saudacao_v2"])
def test_a_name_is_looked_up(names, lists, name):
    assert names.template(name) == "a1b2_saudacao"
    assert names.template(name) == "a1b2_saudacao"
    assert lists.asked == ["list_templates"]


@pytest.mark.parametrize(
    ("channel", "wanted"), [("+55|1140028922", UUID), ("+551140028923", "t2"), ("@Loja.Exemplo", "t5")]
)
def test_the_channel_decides_between_templates_of_one_name(names, channel, wanted):
    assert names.template("Cobranca", channel) == wanted


def test_without_a_channel_templates_of_one_name_are_an_error_that_lists_them(names):
    with pytest.raises(WtsNameError, match=f"3 templates are called 'cobranca'.*{UUID}, t2, t5"):
        names.template("cobranca")


def test_an_unknown_name_lists_the_candidates(names):
    with pytest.raises(WtsNameError, match=r"no template 'oferta'.*'cobranca'.*'Saudação'"):
        names.template("oferta")


def test_an_archived_template_goes_by_its_id_only(names):
    assert names.template("t4") == "t4"
    with pytest.raises(WtsNameError):
        names.template("antiga")


def test_an_empty_name_is_refused(names):
    with pytest.raises(WtsInvalidRequestError, match="template is empty"):
        names.template(" ")


def test_details_of_a_uuid_are_looked_up_and_may_be_unknown(names):
    assert names.template_details(UUID.upper())["params"] == [{"name": "nome"}]
    assert names.template_details("00000000-0000-4000-8000-000000000000") is None
    with pytest.raises(WtsNameError):
        names.template_details("oferta")
