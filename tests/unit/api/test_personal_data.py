"""The API's words without personal data."""

from __future__ import annotations

import pytest

from airflow_provider_wts.api.personal_data import without_personal_data


@pytest.mark.parametrize(
    ("text", "discreet"),
    [
        ("O contato Maria Silva (+55 11 99999-8888) bloqueou", "O contato M. S. (…8888) bloqueou"),
        ("Falha ao enviar para João da Silva: número inválido", "Falha ao enviar para J. S.: número inválido"),
        ("Contact Ana not found", "Contact A. not found"),
        ("nome: Fernanda", "nome: F."),
        ("Zé Carlos dos Santos bloqueou", "Z. C. S. bloqueou"),
        ("Falha ao enviar para JOSÉ SOUZA: bloqueado", "Falha ao enviar para J. S.: bloqueado"),
        ("JOSÉ DA SILVA bloqueou", "J. S. bloqueou"),
        ("José SOUZA bloqueou", "J. S. bloqueou"),
        ("nome: FERNANDA", "nome: F."),
        ("CONTATO ANA D'ÁVILA", "CONTATO A. D."),
        ("maria@example.com.br, @maria.silva", "…@…, @…"),
        ("+5511999998888", "…8888"),
    ],
)
def test_numbers_names_addresses_and_handles_are_left_out(text: str, discreet: str) -> None:
    assert without_personal_data(text) == discreet


@pytest.mark.parametrize(
    "text",
    [
        "(#131026) Message Undeliverable.",
        "User's number is part of an experiment",
        "Re-engagement message",
        "Business Account Locked",
        "O contato não foi encontrado(a).",
        "Canal inválido",
        "WHATSAPP BUSINESS ACCOUNT LOCKED",
        "CONTACT NOT FOUND",
        "ENTITY_ERROR_SAVE: FORM_ERROR",
        "CONTATO NÃO ENCONTRADO",
        "Template parameter mismatch (132000)",
        "Lost connection to MySQL server during query",
        "cannot cast type INTEGER to BOOLEAN",
        "8a1c9a54-7d8e-4c39-9d4c-0a8b9a3f1e22 was not found",
        "",
    ],
)
def test_what_is_about_nobody_stays(text: str) -> None:
    assert without_personal_data(text) == text
