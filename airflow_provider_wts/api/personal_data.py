"""Removes personal data from the API's texts, because errors, logs and events outlive the customer's consent."""

from __future__ import annotations

import re

from airflow_provider_wts.api.errors import without_tokens

# Eight digits or more, in the usual spellings, but not those of a UUID.
_PHONE = re.compile(
    r"(?<![\w-])(?![0-9a-fA-F]{8}-[0-9a-fA-F]{4}-)\+?\(?\d(?:[ ().|-]{0,2}\d){3,}[ ().|-]{0,2}(\d{4})(?![\w-])"
)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_HANDLE = re.compile(r"(?<![\w@])@\w[\w.]+")

_NAME = r"(?:[A-ZÀ-Þ][\w']*[a-zß-ÿ][\w']*|[A-ZÀ-Þ][A-ZÀ-Þ']+(?!\w))"
_PARTICLE = r"(?i:d[aeo]s?|e|van|von|del?|la)"
_PARTICLES = re.compile(_PARTICLE)
_NAMES = re.compile(rf"(?<!\w){_NAME}(?: (?:{_PARTICLE} )*{_NAME})+")
_PEOPLE = "contato|contact|cliente|customer|usuário|usuario|user|destinatário|destinatario|recipient|nome|name|para|to"
_AFTER_A_WORD = re.compile(rf"\b((?i:{_PEOPLE})s?:? +[\"']?)({_NAME}(?: (?:{_PARTICLE} )*{_NAME})*)")
#: Capitalized words in texts of Meta and WTS Chat that are not part of a name.
_NO_NAMES = re.compile(
    r"(?i:message|messages|undeliverable|account|business|template|whatsapp|meta|facebook|instagram|messenger|error|user"
    r"|user's|unsupported|payment|issue|rate|limit|spam|media|number|phone|mensagem|erro|modelo|conta|canal|número"
    r"|envio|falha|parameter|invalid|required|missing|access|token|service|system|server|request|wts|chat|api|http"
    r"|internal|bad|failed|not|the|cloud|policy|experiment|recipient|sender|contact|contato|cliente|customer|não|nao|opt"
    r"|out|id|url|json|oauth|csv|pdf|sms|mm|lite|found|locked|blocked|expired|window|session|unknown|undefined|send|sent"
    r"|mysql|mariadb|postgresql|boolean|bigint|integer|numeric|decimal|timestamp|date"
    r"|timeout|denied|allowed|limited|inválido|invalido|inválida|expirada|expirado|sessão|janela|fora|em|para|to|is)"
)


def without_personal_data(text: str) -> str:
    """Shorten numbers to their last digits and names to initials, and remove e-mail addresses, handles and tokens.

    A name is anything that looks like one: several capitalized words, or one after a word such as ``contact``.
    """
    text = _EMAIL.sub("…@…", _PHONE.sub(r"…\1", without_tokens(text)))
    text = _HANDLE.sub("@…", text)
    text = _AFTER_A_WORD.sub(lambda found: found[1] + _initials(found[2]), text)
    return _NAMES.sub(lambda found: _initials(found[0]), text)


def _initials(name: str) -> str:
    words = name.split(" ")
    if any(_NO_NAMES.fullmatch(word) for word in words):
        return name
    return " ".join(f"{word[0]}." for word in words if word[0].isupper() and not _PARTICLES.fullmatch(word))
