"""Turns what a user writes about a contact into what the API takes.

It takes two steps, so that an invalid value costs no request: :func:`checked` only checks the values, and
:func:`resolved` turns names of tags, portfolios, sequences and custom fields into IDs and keys, which may take
requests. An invalid value raises ``WtsInvalidRequestError``, and a name of nothing, or of more than one thing,
``WtsNameError``; both name the parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api import parameters
from airflow_provider_wts.api.errors import WtsInvalidRequestError, WtsNameError, quoted
from airflow_provider_wts.api.wire import UNSET, Missing, Unset

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider_wts.api.contacts import ContactFields
    from airflow_provider_wts.hooks.names import Names


#: By any of these, the API recognizes an existing contact.
IDENTIFIERS = ("phone_number", "email_address", "instagram")

DETAILS = ("Tags", "CustomFields", "Portfolios")

_IN_MASK = ("Name", "PhoneNumber", "Email", "Instagram", "Annotation", "Tags", "Portfolio", "SequenceIds")

_MASK_NAMES = {
    **{name.lower(): name for name in (*_IN_MASK, "CustomFields", "Metadata")},
    **{"emailaddress": "Email", "portfolios": "Portfolio", "sequences": "SequenceIds"},
}

_TAG_OPERATIONS = {
    "add": "InsertIfNotExists",
    "insertifnotexists": "InsertIfNotExists",
    "remove": "DeleteIfExists",
    "deleteifexists": "DeleteIfExists",
    "replace": "ReplaceAll",
    "replaceall": "ReplaceAll",
}

_UTM = {"source", "medium", "campaign", "content", "headline", "term", "referralUrl"}


def checked(given: Mapping[str, Any], *, prefix: str = "") -> dict[str, Any]:
    """Return a contact's fields, checked, with phone numbers in the API's format; nothing is looked up.

    :param given: values by the names of :data:`FIELDS`.
    :param prefix: where the fields are, for the errors, such as ``contacts[3].``.
    """
    return {name: _READERS[name](f"{prefix}{name}", value) for name, value in given.items()}


def resolved(fields: Mapping[str, Any], names: Names, *, prefix: str = "") -> ContactFields:
    """Return the fields that :func:`checked` returned as the API takes them, with names turned into IDs and keys."""
    from airflow_provider_wts.api.contacts import ContactFields

    return ContactFields(
        name=fields.get("name", UNSET),
        phone_number=fields.get("phone_number", UNSET),
        email=fields.get("email_address", UNSET),
        instagram=fields.get("instagram", UNSET),
        annotation=fields.get("annotation", UNSET),
        tag_ids=ids(f"{prefix}tags", fields.get("tags", UNSET), names.tag),
        portfolio_ids=ids(f"{prefix}portfolios", fields.get("portfolios", UNSET), names.portfolio),
        sequence_ids=ids(f"{prefix}sequences", fields.get("sequences", UNSET), names.sequence),
        custom_fields=custom_fields(f"{prefix}custom_fields", fields.get("custom_fields", UNSET), names),
        metadata=fields.get("metadata", UNSET),
    )


def ids(name: str, texts: Missing[Sequence[str]], look_up: Callable[[str], str]) -> Missing[list[str]]:
    """Return IDs for names, each ID once."""
    if texts is UNSET or texts is None:
        return texts
    try:
        return list(dict.fromkeys(look_up(text) for text in texts))
    except WtsNameError as error:
        raise WtsNameError(f"{name}: {error}") from None


def custom_fields(name: str, fields: Any, names: Names) -> dict[str, Any] | Unset | None:
    """Return custom field values by key. An unknown field is refused: the API would drop it silently."""
    if not isinstance(fields, Mapping):
        return UNSET if fields is UNSET else None
    from airflow_provider_wts.hooks.names import keyed

    try:
        return keyed(fields, names.custom_field, name=name)
    except WtsNameError as error:
        raise WtsNameError(f"{name}: {error}") from None


short_text = partial(parameters.bounded_text, most=255)


def phone_number(name: str, value: Any) -> Missing[str]:
    """Return a phone number in WTS Chat's format; blank text stays, because it clears the field."""
    text = parameters.text(name, value)
    if not isinstance(text, str) or not text.strip():
        return text
    from airflow_provider_wts.api.addresses import number

    return number(text, name=name)


def instagram_user(name: str, value: Any) -> Missing[str]:
    """Return an Instagram user, with or without its ``@``."""
    from airflow_provider_wts.api.addresses import refuse_handle_of_nobody

    text = short_text(name, value)
    if isinstance(text, str):
        refuse_handle_of_nobody(text.strip(), name=name)
    return text


def email_address(name: str, value: Any) -> Missing[str]:
    """Return an email address; blank text stays, because it clears the field.

    Only what no address can contain is refused, because no rule covers all valid addresses.
    """
    text = short_text(name, value)
    if not isinstance(text, str) or not text.strip():
        return text
    text = text.strip()
    user, _, host = text.partition("@")
    if not user or not host or "@" in host or any(character.isspace() for character in text):
        raise WtsInvalidRequestError(
            f"{name}: {quoted(text)} is not a valid email address. Example: 'ana+loja@example.com'."
        )
    return text


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "name": short_text,
    "phone_number": phone_number,
    "email_address": email_address,
    "instagram": instagram_user,
    "annotation": parameters.text,
    "tags": parameters.texts,
    "portfolios": parameters.texts,
    "sequences": parameters.texts,
    "custom_fields": parameters.metadata,
    "metadata": parameters.metadata,
}

#: The fields of a contact, as users name them.
FIELDS = tuple(_READERS)


def whom(contact_id: Any, number: Any, *, both: bool = False) -> tuple[str | None, str]:
    """Return a contact's ID or ``None``, and its phone number or ``""``.

    :param both: whether the API takes both together.
    """
    by_id, by_phone = not parameters.missing(contact_id), not parameters.missing(number)
    if by_id and by_phone and not both:
        raise WtsInvalidRequestError("contact_id: was given together with phone. Nothing was sent. Give one of them.")
    if not by_id and not by_phone:
        raise WtsInvalidRequestError(
            "contact_id: is empty, and so is phone. Give one of them. Example: phone='+55 11 99999-8888'."
        )
    found = str(parameters.identity("contact_id", contact_id)) if by_id else None
    return found, str(phone_number("phone", number)) if by_phone else ""


def tag_operation(value: Any) -> str:
    """Return the tag operation as updates spell it; creating and saving spell it in capitals."""
    found = parameters.choice("tag_operation", "add" if parameters.missing(value) else value, _TAG_OPERATIONS)
    return str(found)


def mask(name: str, value: Any) -> Missing[list[str]]:
    """Return the API's names of fields (``PhoneNumber``) for ours (``phone_number``) or its own."""
    found = parameters.texts(name, value)
    if not isinstance(found, list):
        return found
    return list(dict.fromkeys(str(parameters.choice(name, text.replace("_", ""), _MASK_NAMES)) for text in found))


def utm(value: Any) -> dict[str, Any] | Unset:
    """Return where a contact came from."""
    found = parameters.metadata("utm", value)
    if found is UNSET:
        return UNSET
    unknown = sorted((found or {}).keys() - _UTM)
    if found is None or unknown:
        what = f"has {quoted(*unknown)}, which cannot be set" if unknown else "must be an object"
        raise WtsInvalidRequestError(f"utm: {what}. It may hold {', '.join(sorted(_UTM))}.")
    return found


def report_dropped(log: Logger, sent: Mapping[str, Any] | Unset | None, answer: Mapping[str, Any]) -> None:
    """Warn if the response lacks a custom field that was sent: the API silently drops values of the wrong type."""
    kept = answer.get("customFields") if isinstance(answer, Mapping) else None
    if not isinstance(sent, Mapping) or not isinstance(kept, Mapping):
        return
    dropped = sorted(key for key, value in sent.items() if value not in (None, "") and kept.get(key) is None)
    if dropped:
        log.warning("WTS Chat did not keep these custom fields: %s. Check the types of their values.", dropped)


def refuse_shortened(phones: Sequence[tuple[str, Any]]) -> None:
    """Refuse phone numbers of which several may have lost digits, as a campaign does.

    :param phones: the numbers as they were given, each with its place.
    """
    from airflow_provider_wts.api.addresses import LOST_DIGITS, shortened_digits
    from airflow_provider_wts.campaigns.lost_digits import BY_CHANCE

    found = [place for place, phone in phones if shortened_digits(phone) and not str(phone).strip().startswith("+")]
    if 1 < len(found) > len(phones) * BY_CHANCE:
        raise WtsInvalidRequestError(
            f"{found[1]}: ends in six zeros, as {found[0]} does, so it may have {LOST_DIGITS}. Nothing was sent. If it "
            "is right, begin it with +."
        )


def refuse_twins(rows: Iterable[Mapping[str, Any]]) -> None:
    """Refuse rows that are the same contact to the API, which does not document which one wins."""
    from airflow_provider_wts.api.addresses import identity_of, user_of

    seen: dict[tuple[str, str], int] = {}
    for index, row in enumerate(rows):
        for field in IDENTIFIERS:
            if parameters.missing(row.get(field)):
                continue
            text = user_of(row[field])
            # A number may have two spellings, such as with and without Brazil's ninth digit.
            first = seen.setdefault((field, identity_of(text) if field == "phone_number" else text.casefold()), index)
            if first != index:
                raise WtsInvalidRequestError(
                    f"contacts[{index}].{field}: is the same person as in contacts[{first}]. Nothing was saved. Give "
                    "one row for each contact."
                )
