"""What an Airflow connection of type ``wts`` says, read and checked.

A connection comes from the form, a URI, JSON in an environment variable or a secrets backend. They write the same
thing differently: blank fields arrive as ``None`` or ``''``, and numbers and yes/no as text or as themselves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider_wts.api.addresses import recipient
from airflow_provider_wts.api.errors import WtsInvalidRequestError

if TYPE_CHECKING:
    from airflow.sdk import Connection

DEFAULT_BASE_URL = "https://api.wts.chat"
DEFAULT_TIMEOUT = 60

_YES, _NO = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


@dataclass(frozen=True, slots=True)
class WtsConnection:
    """A connection's content.

    :param token: the account's API token.
    :param base_url: where the API stands.
    :param channel: channel to send from where a task names none.
    :param timeout: seconds for one request.
    :param rate_limit_percent: part of the account's limits that may be used, 1 to 100.
    :param rate_limit_conn_id: a Redis connection through which workers share the limits.
    :param rate_limit_key: name under which the limits of the account are counted; ``None``: base URL and token tell it.
    :param send_limit_is_separate: whether sends count against their own limit only.
    :param allow_http: allow an address without TLS that is not on this machine.
    :param allowed_recipients: the only recipients, as WTS Chat spells them; empty: no restriction.
    :param ca_bundle: path of a file with certificate authorities.
    """

    token: str = field(repr=False)
    base_url: str = DEFAULT_BASE_URL
    channel: str | None = None
    timeout: int = DEFAULT_TIMEOUT
    rate_limit_percent: int = 100
    rate_limit_conn_id: str | None = None
    rate_limit_key: str | None = None
    send_limit_is_separate: bool = False
    allow_http: bool = False
    allowed_recipients: frozenset[str] = frozenset()
    ca_bundle: str | None = None

    @classmethod
    def read(cls, connection: Connection) -> WtsConnection:
        """Read an Airflow connection.

        :param connection: the connection, of type ``wts``.
        :raises WtsInvalidRequestError: naming the field that holds an impossible value, and a good one.
        """
        extra = _extra(connection)
        return cls(
            token=connection.password or "",
            base_url=_base_url(connection.host, connection.port),
            channel=_text(extra, "channel"),
            timeout=_number(extra, "timeout", default=DEFAULT_TIMEOUT, least=1, most=3600),
            rate_limit_percent=_number(extra, "rate_limit_percent", default=100, least=1, most=100),
            rate_limit_conn_id=_text(extra, "rate_limit_conn_id"),
            rate_limit_key=_text(extra, "rate_limit_key"),
            send_limit_is_separate=_flag(extra, "send_limit_is_separate"),
            allow_http=_flag(extra, "allow_http"),
            allowed_recipients=_recipients(extra),
            ca_bundle=_text(extra, "ca_bundle"),
        )


def _extra(connection: Connection) -> dict[str, Any]:
    extra: Any = connection.extra_dejson
    # Airflow takes unreadable extras for none, and a restriction in them would be gone.
    if not isinstance(extra, dict) or (not extra and not _is_empty(connection.extra)):
        raise WtsInvalidRequestError(
            'The connection\'s extra cannot be read: it must be a JSON object, for example {"timeout": 60}.'
        )
    return extra


def _is_empty(extra: str | None) -> bool:
    try:
        return not extra or not extra.strip() or json.loads(extra) in ({}, None)
    except ValueError:
        return False


def _base_url(host: str | None, port: int | str | None) -> str:
    base_url = (host or "").strip().rstrip("/") or DEFAULT_BASE_URL
    if "://" not in base_url:
        base_url = f"https://{base_url}"
    # Some secrets backends deliver an unset port as '', and Airflow's Test button as 0.
    if port in (None, "", 0, "0"):
        return base_url
    try:
        number = int(str(port))
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise WtsInvalidRequestError(f"The connection's port is {port!r}. A good value is 443, or leave it empty.")
    scheme, _, rest = base_url.partition("://")
    authority, slash, path = rest.partition("/")
    if authority.rpartition(":")[2].isdigit() and not authority.endswith("]"):
        return base_url
    return f"{scheme}://{authority}:{number}{slash}{path}"


def _text(extra: dict[str, Any], name: str) -> str | None:
    value = extra.get(name)
    if value is None or isinstance(value, str):
        return (value or "").strip() or None
    raise WtsInvalidRequestError(f"The connection's extra {name!r} must be text, not {type(value).__name__}.")


def _number(extra: dict[str, Any], name: str, *, default: int, least: int, most: int) -> int:
    value = extra.get(name)
    if value is None or (isinstance(value, str) and not value.strip()):
        return default
    try:
        number = float(value) if not isinstance(value, bool) else 0.5
    except (TypeError, ValueError):
        number = 0.5
    if not number.is_integer() or not least <= number <= most:
        raise WtsInvalidRequestError(
            f"The connection's extra {name!r} is {value!r}. It must be a whole number from {least} to {most}; "
            f"a good value is {default}."
        )
    return int(number)


def _flag(extra: dict[str, Any], name: str) -> bool:
    value = extra.get(name)
    if isinstance(value, bool):
        return value
    text = str(value if value is not None else "").strip().lower()
    if text in _YES:
        return True
    if text in _NO or text in ("", "none", "null"):
        return False
    raise WtsInvalidRequestError(f"The connection's extra {name!r} is {value!r}. It must be true or false.")


def _recipients(extra: dict[str, Any]) -> frozenset[str]:
    value = extra.get("allowed_recipients")
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = json.loads(text)
            except ValueError:
                value = None
        else:
            value = [part for part in text.replace("\n", ",").replace(";", ",").split(",") if part.strip()]
    if not value and value is not None:
        return frozenset()
    if value is None and extra.get("allowed_recipients") is None:
        return frozenset()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        # A restriction that cannot be read must not become no restriction.
        raise WtsInvalidRequestError(
            "The connection's extra 'allowed_recipients' cannot be read. Separate numbers and @handles by commas, "
            "for example '+55 11 99999-8888, @maria.silva'."
        )
    return frozenset(recipient(item, name="allowed_recipients").lower() for item in value)
