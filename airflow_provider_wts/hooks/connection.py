"""Parses and validates an Airflow connection of type ``wts``.

A connection comes from the form, a URI, JSON in an environment variable or a secrets backend. These represent values
differently: blank fields may be ``None`` or ``''``, and numbers and booleans may be text.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow_provider_wts.api.addresses import recipient
from airflow_provider_wts.api.errors import WtsInvalidRequestError, quoted
from airflow_provider_wts.api.parameters import as_float
from airflow_provider_wts.provider_info import CONNECTION_FIELDS, CONNECTION_TYPE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow.sdk import Connection

DEFAULT_BASE_URL = "https://api.wts.chat"
DEFAULT_TIMEOUT = 60

_YES, _NO = {"true", "yes", "on", "1"}, {"false", "no", "off", "0"}


@dataclass(frozen=True, slots=True)
class WtsConnection:
    """The settings of a connection.

    :param channel: channel to send from if a task names none.
    :param timeout: seconds for one request.
    :param rate_limit_percent: share of the account's limits that may be used, 1 to 100.
    :param rate_limit_conn_id: a Redis connection through which workers share the limits.
    :param rate_limit_key: name for counting against the account's limits; by default derived from base URL and token.
    :param send_limit_is_separate: whether sends count only against their own limit.
    :param allow_http: whether to allow addresses without TLS outside this machine.
    :param allowed_recipients: the only allowed recipients, as WTS Chat spells them; empty for no restriction.
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
        """Parse an Airflow connection of type ``wts``.

        :raises WtsInvalidRequestError: naming the invalid field, with an example.
        """
        extra = _extra(connection)
        return cls(
            token=connection.password or "",
            base_url=_base_url(connection.host, connection.port, connection.schema),
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
    # Airflow ignores unreadable extras, which would lose any restrictions in them.
    if not isinstance(extra, dict) or (not extra and not _is_empty(connection.extra)):
        raise WtsInvalidRequestError(
            'The connection\'s extra cannot be read. It must be a JSON object. Example: {"timeout": 60}'
        )
    return known_extras(extra, CONNECTION_TYPE, CONNECTION_FIELDS)


def known_extras(extra: Mapping[str, Any], conn_type: str, known: Collection[str]) -> dict[str, Any]:
    """Return extras by name, without the prefix that older versions of Airflow added.

    :param conn_type: the type of the connection, which is in the prefix.
    :param known: the valid names.
    :raises WtsInvalidRequestError: when a name is unknown, because it may be a misspelled restriction, or is given
        twice with different values.
    """
    found: dict[str, Any] = {}
    prefix = f"extra__{conn_type}__"
    # Prefixed ones last, because they are leftovers if both exist.
    for key in sorted(extra, key=lambda key: key.startswith(prefix)):
        name, value = key.removeprefix(prefix), extra[key]
        if _is_blank(value):
            continue
        if name not in known:
            raise WtsInvalidRequestError(_unknown_extra(key, name, known))
        if name in found and found[name] != value:
            raise WtsInvalidRequestError(
                f"The connection's extra {name!r} is given twice, as {name!r} and as {prefix + name!r}, with different "
                f"values. Remove {prefix + name!r}."
            )
        found[name] = value
    return found


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _unknown_extra(key: str, name: str, known: Collection[str]) -> str:
    from difflib import get_close_matches

    folded = name.strip().lower().replace("-", "_").replace(" ", "_").removeprefix("extra__")
    close = get_close_matches(folded, known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Valid extras: {', '.join(map(repr, known))}."
    return f"The connection's extra {quoted(key)} is unknown, so the connection is not used. {hint}"


def _is_empty(extra: str | None) -> bool:
    try:
        return not extra or not extra.strip() or json.loads(extra) in ({}, None)
    except ValueError:
        return False


def _base_url(host: str | None, port: int | str | None, schema: str | None) -> str:
    base_url = (host or "").strip().rstrip("/") or DEFAULT_BASE_URL
    # For a connection URI, Airflow stores the path as the schema; otherwise, the schema may be http or https.
    path = (schema or "").strip().strip("/")
    # An address whose host is missing must not become the host "https".
    if "://" not in base_url and not base_url.lower().startswith(("http:", "https:")):
        scheme, path = (path.lower(), "") if path.lower() in ("http", "https") else ("https", path)
        base_url = f"{scheme}://{base_url}"
    base_url = _with_brackets(base_url) + (f"/{path}" if path.lower() not in ("", "http", "https") else "")
    # Some secrets backends return an unset port as '', and Airflow's Test button sends 0.
    if port in (None, "", 0, "0"):
        return base_url
    try:
        number = int(str(port))
    except ValueError:
        number = 0
    if not 0 < number < 65536:
        raise WtsInvalidRequestError(f"The connection's port is {quoted(port)}. Example: 443, or leave it empty.")
    scheme, _, rest = base_url.partition("://")
    authority, slash, path = rest.partition("/")
    if authority.rpartition(":")[2].isdigit() and not authority.endswith("]"):
        return base_url
    return f"{scheme}://{authority}:{number}{slash}{path}"


def _with_brackets(base_url: str) -> str:
    """Put an IPv6 address into brackets, which Airflow removes from the host of a connection URI."""
    scheme, _, rest = base_url.partition("://")
    authority, slash, path = rest.partition("/")
    try:
        ipaddress.IPv6Address(authority)
    except ValueError:
        return base_url
    return f"{scheme}://[{authority}]{slash}{path}"


def _text(extra: dict[str, Any], name: str) -> str | None:
    value = _digits(extra.get(name))
    if value is None or isinstance(value, str):
        return value and value.strip()
    raise WtsInvalidRequestError(f"The connection's extra {quoted(name)} must be text, not {type(value).__name__}.")


def _digits(value: Any) -> Any:
    """Return a whole number as text, because Airflow 3.3 stores ``channel=5511999998888`` of a URI as a number."""
    return str(value) if type(value) is int else value


def _number(extra: dict[str, Any], name: str, *, default: int, least: int, most: int) -> int:
    value = extra.get(name)
    if value is None:
        return default
    number = as_float(value)
    if not number.is_integer() or not least <= number <= most:
        raise WtsInvalidRequestError(
            f"The connection's extra {quoted(name)} is {quoted(value)}. It must be a whole number from {least} to "
            f"{most}. Example: {default}"
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
    raise WtsInvalidRequestError(f"The connection's extra {quoted(name)} is {quoted(value)}. It must be true or false.")


def _recipients(extra: dict[str, Any]) -> frozenset[str]:
    value = _digits(extra.get("allowed_recipients"))
    if value is None:
        return frozenset()
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = json.loads(text)
            except ValueError:
                value = None
        else:
            value = [part for part in text.replace("\n", ",").replace(";", ",").split(",") if part.strip()]
    if isinstance(value, list):
        value = [_digits(item) for item in value]
    if not value or not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        # An unreadable restriction must not be ignored.
        raise WtsInvalidRequestError(
            "The connection's extra 'allowed_recipients' cannot be read. Separate numbers and @handles by commas. To "
            "allow everybody, remove it. Example: '+55 11 99999-8888, @maria.silva'"
        )
    return frozenset(recipient(item, name="allowed_recipients").lower() for item in value)


_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


def redis_server(connection: Connection) -> tuple[str, dict[str, Any]]:
    """Return the URL of a connection's Redis server, and the options for its client.

    TLS is used if the connection's type or host is ``rediss``, or its extra ``ssl`` is true.

    :param connection: a connection of type ``redis`` or ``rediss``.
    :raises WtsInvalidRequestError: naming the invalid extra.
    """
    prefix = "extra__redis__"
    extra = {key.removeprefix(prefix): value for key, value in connection.extra_dejson.items() if not _is_blank(value)}
    scheme, _, host = (connection.host or "").strip().rpartition("://")
    tls = "rediss" in (scheme, connection.conn_type) or _flag(extra, "ssl")
    options: dict[str, Any] = {}
    if tls:
        options = {name: text for name in _TLS_OPTIONS if (text := _text(extra, name))}
        options["ssl_cert_reqs"] = str(extra.get("ssl_cert_reqs", "required")).strip().lower().removeprefix("cert_")
        if options["ssl_cert_reqs"] not in ("none", "optional", "required"):
            raise WtsInvalidRequestError(
                "The extra 'ssl_cert_reqs' of the Redis connection must be 'none', 'optional' or 'required'."
            )
        checks = options["ssl_cert_reqs"] == "required"
        options["ssl_check_hostname"] = _flag(extra, "ssl_check_hostname") if "ssl_check_hostname" in extra else checks
    password = connection.password
    secret = f"{quote(connection.login or '', safe='')}:{quote(password, safe='')}@" if password else ""
    host = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host or "localhost"
    database = (connection.schema or "").strip() or extra.get("db", 0)
    return f"redis{'s' * tls}://{secret}{host}:{connection.port or 6379}/{database}", options
