"""Names become ids: departments, users, tags, sequences, portfolios, custom fields."""

from __future__ import annotations

import pytest

from airflow_provider_wts.api.errors import WtsInvalidRequestError, WtsNameError
from airflow_provider_wts.hooks.names import Names, keyed
from airflow_provider_wts.hooks.wts import WtsHook

SOME_ID = "5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e"
KINDS = ["department", "user", "tag", "sequence", "portfolio"]
EXISTING = {
    "department": "Vendas",
    "user": "Ana Souza",
    "tag": "VIP",
    "sequence": "Pós-venda",
    "portfolio": "Clientes especiais",
}


@pytest.fixture
def names(wts_connection) -> Names:
    return WtsHook().names


def of(items: list[dict]) -> Names:
    return Names(lambda call: items)


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_becomes_an_id(names, kind):
    assert len(getattr(names, kind)(EXISTING[kind])) == 36


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spell", [str.upper, str.lower, lambda name: f"  {name} "])
def test_case_and_blanks_around_do_not_matter(names, kind, spell):
    look_up = getattr(names, kind)

    assert look_up(spell(EXISTING[kind])) == look_up(EXISTING[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_an_id_costs_no_call(names, wts_connection, kind):
    assert getattr(names, kind)(SOME_ID) == SOME_ID
    assert wts_connection.requests == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_list_is_read_once(names, wts_connection, kind):
    getattr(names, kind)(EXISTING[kind])
    getattr(names, kind)(EXISTING[kind])

    assert len(wts_connection.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_name_lists_the_candidates(names, kind):
    with pytest.raises(WtsNameError, match=rf"There is no {kind} 'Nada'.*{EXISTING[kind]}"):
        getattr(names, kind)("Nada")


@pytest.mark.parametrize("kind", KINDS)
def test_a_blank_name_is_refused(names, kind):
    with pytest.raises(WtsInvalidRequestError, match=f"The {kind} is empty"):
        getattr(names, kind)(" ")


def test_an_exact_match_wins_over_another_case():
    assert of([{"id": "1", "name": "vip"}, {"id": "2", "name": "VIP"}]).tag("VIP") == "2"


def test_several_matches_list_their_ids():
    with pytest.raises(WtsNameError, match=r"2 tags are called 'Vip'. Use the ID instead, one of: 1, 2"):
        of([{"id": "1", "name": "vip"}, {"id": "2", "name": "VIP"}]).tag("Vip")


def test_a_user_is_named_by_e_mail_too(names):
    assert names.user("ANA@exemplo.com.br") == names.user("Ana Souza")


def test_a_user_becomes_the_user_id_and_not_the_id():
    assert of([{"id": "agent", "userId": "user", "name": "Ana"}]).user("Ana") == "user"


def test_users_of_one_name_are_listed_by_user_id():
    twins = [{"id": f"agent-{n}", "userId": f"user-{n}", "name": "Ana"} for n in (1, 2)]

    with pytest.raises(WtsNameError, match="one of: user-1, user-2"):
        of(twins).user("Ana")


@pytest.mark.parametrize("text", ["cpf", "CPF", "Cpf", " cpf "])
def test_a_custom_field_is_named_by_key_or_name(names, text):
    assert names.custom_field(text) == "cpf"


def test_a_key_wins_over_the_name_of_another_field():
    fields = [{"key": "plan", "name": "Old", "type": "TEXT"}, {"key": "plan-2", "name": "plan", "type": "TEXT"}]

    assert of(fields).custom_field("plan") == "plan"


def test_a_group_is_no_custom_field(names):
    with pytest.raises(WtsNameError, match="There is no custom field 'Dados do cliente'"):
        names.custom_field("Dados do cliente")


def test_custom_fields_of_panels_are_others(names, wts_connection):
    with pytest.raises(WtsNameError):
        names.custom_field("cpf", "PANEL")

    assert wts_connection.requests[-1].query == [("EntityType", "PANEL")]


def test_two_entries_for_one_field_are_refused(names):
    with pytest.raises(WtsInvalidRequestError, match="'cpf' is the field 'cpf', which is given twice"):
        keyed({"CPF": 1, "cpf": 2}, names.custom_field)
