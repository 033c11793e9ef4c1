"""Checks rendered parameters: what a template left behind becomes what the API takes, or a clear error.

A template renders to text, unless the DAG renders native objects. So numbers, yes/no, lists and objects come as
themselves or as text, and mean the same. ``None`` and :data:`~airflow_provider_wts.api.call.NOT_GIVEN` pass through.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from airflow_provider_wts.api.call import NOT_GIVEN, NotGiven, Optional
from airflow_provider_wts.api.errors import WtsInvalidRequestError

_YES, _NO = {"true", "yes", "1"}, {"false", "no", "0"}


def missing(value: object) -> bool:
    """Whether a parameter says nothing: not given, ``None``, or blank text.

    :param value: the rendered parameter.
    """
    return value is NOT_GIVEN or value is None or (isinstance(value, str) and not value.strip())


def flag(name: str, value: Any) -> Optional[bool]:
    """Return a yes/no parameter.

    :param name: the parameter's name, for the error.
    :param value: ``True``, ``False``, or their text.
    :raises WtsInvalidRequestError: when it is neither.
    """
    if value is NOT_GIVEN or value is None or isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _YES:
        return True
    if text in _NO:
        return False
    raise WtsInvalidRequestError(f"{name}: {value!r} is neither true nor false. A good value is True.")


def text(name: str, value: Any) -> Optional[str]:
    """Return a text parameter.

    :param name: the parameter's name, for the error.
    :param value: text, or a number or id that stands for one.
    :raises WtsInvalidRequestError: when it is a list, an object or something else.
    """
    if value is NOT_GIVEN or value is None or isinstance(value, str):
        return value
    if isinstance(value, (int, float, uuid.UUID)) and not isinstance(value, bool):
        return str(value)
    raise WtsInvalidRequestError(f"{name}: must be text, not {type(value).__name__}.")


def identity(name: str, value: Any) -> Optional[str]:
    """Return an id parameter.

    :param name: the parameter's name, for the error.
    :param value: a UUID, as text or as itself.
    :raises WtsInvalidRequestError: when it is no UUID.
    """
    if value is NOT_GIVEN or value is None:
        return value
    try:
        return str(uuid.UUID(str(value).strip()))
    except ValueError:
        raise WtsInvalidRequestError(
            f"{name}: {value!r} is no id. A good value is '5f0c6c8e-2f3a-4d55-9a40-4f4b3a1d2c7e'."
        ) from None


def metadata(name: str, value: Any) -> dict[str, Any] | NotGiven | None:
    """Return a metadata parameter; numbers, booleans and nested values are kept as they are.

    :param name: the parameter's name, for the error.
    :param value: an object, or an object as JSON text.
    :raises WtsInvalidRequestError: when it is no JSON object.
    """
    good = """A good value is {"invoice": "2026-118", "amount": 149.9}."""
    if value is NOT_GIVEN or value is None:
        return value
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise WtsInvalidRequestError(f"{name}: is no JSON: {error}. {good}") from None
    if not isinstance(value, Mapping):
        raise WtsInvalidRequestError(f"{name}: must be an object, not {type(value).__name__}. {good}")
    if bad := [key for key in value if not isinstance(key, str)]:
        raise WtsInvalidRequestError(f"{name}: the key {bad[0]!r} is no text. {good}")
    return dict(value)


def url(name: str, value: Any) -> Optional[str]:
    """Return a URL parameter.

    :param name: the parameter's name, for the error.
    :param value: an http(s) address.
    :raises WtsInvalidRequestError: when it is none.
    """
    address = text(name, value)
    if isinstance(address, str) and not address.strip().lower().startswith(("http://", "https://")):
        raise WtsInvalidRequestError(f"{name}: is no http(s) address. A good value is 'https://example.com/hook'.")
    return address.strip() if isinstance(address, str) else address
