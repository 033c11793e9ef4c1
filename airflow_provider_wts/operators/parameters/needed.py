"""Names and ids: what must be there, and what must not be blank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.call import NOT_GIVEN, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError
from airflow_provider_wts.operators.parameters.single import choice, identity, missing, text

if TYPE_CHECKING:
    from collections.abc import Iterable


def needed_identity(name: str, value: Any, *, example: str) -> str:
    """Return an id that must be there.

    :param name: the parameter's name, for the error.
    :param value: a UUID, as text or as itself.
    :param example: a good value, for the error.
    :raises WtsInvalidRequestError: when it is missing or no UUID.
    """
    found = identity(name, value)
    if not isinstance(found, str):
        raise WtsInvalidRequestError(f"{name}: is empty. A good value is {example!r}.")
    return found


def needed_name(name: str, value: Any) -> str:
    """Return a name or id that must be there.

    :param name: the parameter's name, for the error.
    :param value: a name or an id.
    :raises WtsInvalidRequestError: when it is missing or no text.
    """
    found = text(name, value)
    if not isinstance(found, str) or missing(found):
        raise WtsInvalidRequestError(f"{name}: is empty. Give a name or an id.")
    return found.strip()


def needed_choice(name: str, value: Any, choices: Iterable[str]) -> str:
    """Return one of the contract's words that must be there.

    :param name: the parameter's name, for the error.
    :param value: the word, in any case.
    :param choices: the contract's words.
    :raises WtsInvalidRequestError: when it is missing or none of them; lists them.
    """
    words = tuple(choices)
    if missing(value):
        raise WtsInvalidRequestError(f"{name}: is empty. Must be one of {', '.join(map(repr, words))}.")
    return str(choice(name, value, words))


def named(name: str, value: Any) -> Optional[str]:
    """Return a name or id; ``None`` clears.

    :param name: the parameter's name, for the error.
    :param value: a name or an id.
    :raises WtsInvalidRequestError: when it is no text.
    """
    found = text(name, value)
    if not isinstance(found, str):
        return found
    return NOT_GIVEN if missing(found) else found.strip()


def is_id(text: str) -> bool:
    """Whether a text is an id and no name, so that nothing has to be looked up.

    :param text: what the user wrote.
    """
    # Here, because names bring the calls of all that has names, and a DAG file needs none of them.
    from airflow_provider_wts.hooks.names import is_uuid

    return is_uuid(text)
